"""The network off: entries move through p2p_log, in any order, twice, into files and into memory."""

import random
import sqlite3

from host import Shell, connect, equal, found, invite, one, until

OFF = {"P2PDB_NETWORK": "off"}


def _offline():
    import os
    os.environ.update(OFF)


def _founder(path):
    conn = connect(path)
    conn.executescript("CREATE TABLE sale(id INTEGER PRIMARY KEY, item TEXT, qty INTEGER);"
                       "CREATE TABLE kind(code TEXT PRIMARY KEY, note)")
    one(conn, "SELECT p2p_track('*')")
    one(conn, "SELECT p2p_seal()")
    return conn, one(conn, "SELECT p2p_invite()")


def _write(conn, r, name, count):
    for number in range(count):
        conn.execute("BEGIN")
        for _ in range(r.randrange(1, 4)):
            conn.execute("INSERT INTO sale(item, qty) VALUES(?, ?)", (f"{name} {number}", r.randrange(100)))
        conn.execute("INSERT OR REPLACE INTO kind VALUES(?, ?)", (r.choice("abcdef"), f"{name} {number}"))
        if r.random() < 0.3:
            conn.execute("DELETE FROM sale WHERE id = ?", (r.randrange(1, 20),))
        conn.execute("COMMIT")
        one(conn, "SELECT p2p_seal()")


def _log(conn):
    return [row[0] for row in conn.execute("SELECT entry FROM p2p_log")]


def _take(conn, entries):
    """Imports, a few a transaction."""
    for at in range(0, len(entries), 7):
        conn.execute("BEGIN")
        for entry in entries[at:at + 7]:
            conn.execute("INSERT INTO p2p_log(entry) VALUES(?)", (entry,))
        conn.execute("COMMIT")
    one(conn, "SELECT p2p_sync(10000)")


def _state(conn):
    return (sorted(conn.execute("SELECT id, item, qty FROM sale")), sorted(conn.execute("SELECT code, note FROM kind")),
            one(conn, "SELECT digest FROM p2p_status"))


def entries_moved_by_hand_in_any_order_and_twice_give_one_state():
    _offline()
    for seed in range(3):
        r = random.Random(seed)
        a, ticket = _founder(f"a{seed}.db")
        others = [connect(f"b{seed}.db"), connect(":memory:"), connect(":memory:")]
        for conn in others:
            one(conn, "SELECT p2p_join(?)", ticket)
            _take(conn, _log(a))
        everyone = [a, *others]
        for _ in range(2):
            for number, conn in enumerate(everyone):
                _write(conn, r, f"w{number}", 5)
            for conn in everyone:
                entries = [entry for other in everyone for entry in _log(other)]
                entries += r.sample(entries, len(entries) // 2)
                r.shuffle(entries)
                _take(conn, entries)
        for conn in everyone:
            _take(conn, [entry for other in everyone for entry in _log(other)])
        for number, conn in enumerate(everyone):
            equal(_state(conn), _state(a), f"seed {seed}, replica {number}")
            equal(one(conn, "SELECT p2p_verify()"), "ok", f"seed {seed}, replica {number}")
            equal(one(conn, "SELECT listen FROM p2p_status"), "", "it listens nowhere")


def two_shells_exchange_entries_through_a_file():
    a, b = Shell("a.db", env=OFF), Shell("b.db", env=OFF)
    ticket = found(a)
    equal(a.ok("INSERT INTO sale(item, qty) VALUES('tea', 2)"), "")
    a.ok("SELECT p2p_sync(5000)")
    b.ok(f"SELECT p2p_join('{ticket}')")
    a.ok("ATTACH 'carrier.db' AS carrier")
    a.ok("CREATE TABLE carrier.entries AS SELECT entry FROM p2p_log")
    b.ok("ATTACH 'carrier.db' AS carrier")
    b.ok("INSERT INTO p2p_log(entry) SELECT entry FROM carrier.entries ORDER BY random()")
    b.ok("INSERT INTO p2p_log(entry) SELECT entry FROM carrier.entries")
    b.ok("SELECT p2p_sync(5000)")
    until("the row is there", lambda: b.run("SELECT item || qty FROM sale") == "tea2")
    b.ok("UPDATE sale SET qty = 3")
    b.ok("SELECT p2p_sync(5000)")
    b.ok("CREATE TABLE carrier.back AS SELECT entry FROM p2p_log")
    a.ok("INSERT INTO p2p_log(entry) SELECT entry FROM carrier.back")
    a.ok("SELECT p2p_sync(5000)")
    until("the update is back", lambda: a.run("SELECT item || qty FROM sale") == "tea3")


def an_import_that_is_rolled_back_leaves_nothing():
    _offline()
    a, ticket = _founder("a.db")
    _write(a, random.Random(1), "a", 3)
    b = connect("b.db")
    one(b, "SELECT p2p_join(?)", ticket)
    b.execute("BEGIN")
    for entry in _log(a):
        b.execute("INSERT INTO p2p_log(entry) VALUES(?)", (entry,))
    b.execute("ROLLBACK")
    one(b, "SELECT p2p_sync(5000)")
    equal(one(b, "SELECT count(*) FROM p2p_log"), 0, "entries")


def bad_entries_are_refused_with_a_reason_and_the_rest_stands():
    _offline()
    a, ticket = _founder("a.db")
    _write(a, random.Random(1), "a", 3)
    b = connect("b.db")
    one(b, "SELECT p2p_join(?)", ticket)
    good = _log(a)
    stranger, _ = _founder("stranger.db")
    _write(stranger, random.Random(2), "s", 1)
    r = random.Random(3)
    refused = 0
    for entry in good:
        for _ in range(60):
            bad = bytearray(entry)
            for _ in range(r.randrange(1, 4)):
                bad[r.randrange(len(bad))] ^= 1 << r.randrange(8)
            bad = bytes(bad)[: r.choice([len(bad), len(bad), r.randrange(len(bad))])]
            if bad == entry:
                continue
            try:
                b.execute("INSERT INTO p2p_log(entry) VALUES(?)", (bad,))
            except sqlite3.OperationalError as why:
                assert str(why).strip(), "an error without words"
                refused += 1
    for bad in [*_log(stranger), None, 5, "text", b""]:
        try:
            b.execute("INSERT INTO p2p_log(entry) VALUES(?)", (bad,))
            raise AssertionError(f"{bad!r} was taken")
        except sqlite3.OperationalError as why:
            assert str(why).strip(), "an error without words"
    for sql in ("DELETE FROM p2p_log", "UPDATE p2p_log SET entry = x'00'", "INSERT INTO p2p_status(state) VALUES('level')"):
        try:
            a.execute(sql)
            raise AssertionError(sql)
        except sqlite3.OperationalError:
            pass
    one(b, "SELECT p2p_sync(5000)")
    _take(b, good)
    equal(_state(b), _state(a), "state after bad and good entries")
    equal(one(b, "SELECT count(*) FROM p2p_log"), len(good), "entries")
