"""Values that are at the edge, and transactions that are large: they arrive bit for bit, whole."""

import os
import sqlite3
import sys
import time

from host import Shell, Skip, connect, dump, equal, figure, found, join, one, plain, rss_kib, same, sizes, sound, until

EDGE = [
    "9223372036854775807", "-9223372036854775808", "0", "5e-324", "-5e-324", "1.7976931348623157e308", "9e999", "-9e999", "-0.0", "0.0",
    "2.2250738585072011e-308", "0.1", "9007199254740993", "9007199254740993.0", "-9223372036854775808.0", "''", "x''", "NULL",
    "CAST(x'61006200' AS TEXT)", "CAST(x'ff00fec3' AS TEXT)", "CAST(x'eda080' AS TEXT)", "char(0x10ffff, 0xfeff, 0x202e)", "x'00ff'",
    "CAST(x'00' AS TEXT)", "'1'", "'1.0'", "1", "1.0",
]


def extreme_values_arrive_bit_exact():
    a, b = Shell("a.db"), Shell("b.db")
    schema = ("CREATE TABLE free(id INTEGER PRIMARY KEY, v); CREATE TABLE typed(id INTEGER PRIMARY KEY, i INTEGER, r REAL, t TEXT, n NUMERIC, b BLOB);"
              "CREATE TABLE keyed(k PRIMARY KEY, v) WITHOUT ROWID")
    join(b, found(a, schema), "free")
    for number, value in enumerate(EDGE):
        a.ok(f"INSERT INTO free VALUES({number}, {value})")
        a.ok(f"INSERT INTO typed VALUES({number}, {value}, {value}, {value}, {value}, {value})")
        if value != "NULL":
            a.ok(f"INSERT OR IGNORE INTO keyed VALUES({value}, {value})")
    a.ok("INSERT INTO free VALUES(9223372036854775807, 'the last id'), (-9223372036854775808, 'the first id')")
    a.ok("SELECT p2p_sync(10000)")
    for table in ("free", "typed", "keyed"):
        same("a.db", "b.db", table=table)
    a.ok("UPDATE free SET v = CASE WHEN id % 2 THEN v ELSE x'00' END")
    b.ok("UPDATE typed SET t = CAST(x'00' AS TEXT) WHERE id % 2")
    for table in ("free", "typed", "keyed"):
        same("a.db", "b.db", table=table)
    until("digests are equal", lambda: _digest(a) == _digest(b))
    a.close(), b.close()


def _digest(shell):
    return shell.run("SELECT digest FROM p2p_status")


def a_blob_of_50_mb_arrives():
    a = connect("a.db", timeout=30)
    a.execute("CREATE TABLE b(id INTEGER PRIMARY KEY, v)")
    one(a, "SELECT p2p_track('*')")
    ticket = one(a, "SELECT p2p_invite()")
    b = Shell("b.db")
    join(b, ticket, "b")
    size = sizes(50_000_000, 50_000_000)
    before = (rss_kib(os.getpid()), rss_kib(b.process.pid))
    start = time.monotonic()
    a.execute("INSERT INTO b VALUES(1, randomblob(?))", (size,))
    a.execute("INSERT INTO b VALUES(2, 'and what follows')")
    until("both rows arrive", lambda: b.run("SELECT count(*) FROM b") == "2", 60, every=0.05)
    took = time.monotonic() - start
    figure("a blob of 50 MB", f"{took:.1f} s; peak resident {rss_kib(os.getpid(), 'VmHWM') / 1024:.0f} and "
                              f"{rss_kib(b.process.pid, 'VmHWM') / 1024:.0f} MiB, before {before[0] / 1024:.0f} and {before[1] / 1024:.0f}")
    import hashlib
    hashes = {hashlib.sha256(plain(path, "SELECT v FROM b WHERE id = 1")[0][0]).digest() for path in ("a.db", "b.db")}
    equal(len(hashes), 1, "different blobs")
    assert rss_kib(os.getpid(), "VmHWM") < 900_000 and rss_kib(b.process.pid, "VmHWM") < 900_000


def a_blob_written_in_place_arrives():
    if sys.version_info < (3, 11):
        raise Skip("no Connection.blobopen before Python 3.11")
    a = connect("a.db", timeout=30)
    a.execute("CREATE TABLE picture(id INTEGER PRIMARY KEY, name TEXT, bytes BLOB)")
    one(a, "SELECT p2p_track('*')")
    a.execute("INSERT INTO picture VALUES(1, 'cat', zeroblob(1000)), (2, 'dog', zeroblob(1000))")
    b = Shell("b.db")
    join(b, one(a, "SELECT p2p_invite()"), "picture")
    same("a.db", "b.db", table="picture")
    # By a connection that loaded us, and by one that did not; another column is written meanwhile.
    other = sqlite3.connect("a.db", isolation_level=None, timeout=30)
    for conn, row in ((a, 1), (other, 2)):
        with conn.blobopen("picture", "bytes", row) as blob:
            blob.seek(500)
            blob.write(b"whiskers")
    other.close()
    b.ok("UPDATE picture SET name = 'hound' WHERE id = 2")
    wanted = "SELECT count(*) FROM picture WHERE substr(bytes, 501, 8) = CAST('whiskers' AS BLOB) AND name IN ('cat', 'hound')"
    until("both blobs are there", lambda: b.run(wanted) == "2")
    until("the name is here", lambda: one(a, wanted) == 2)
    same("a.db", "b.db", table="picture")
    b.close()
    a.close()
    sound("a.db")


def a_huge_transaction_is_seen_whole_or_not_at_all():
    rows = sizes(50_000, 1_000_000)
    a = Shell("a.db")
    ticket = found(a, "CREATE TABLE big(id INTEGER PRIMARY KEY, k TEXT, v INTEGER)")
    b = Shell("b.db")
    join(b, ticket, "big")
    # Large enough to hold the table; memory beyond it is what is measured.
    start = time.monotonic()
    a.ok(f"INSERT INTO big SELECT value, 'row number ' || value, value FROM generate_series(1, {rows})", 300)
    wrote = time.monotonic() - start
    seen = set()

    def arrived():
        seen.add(plain("b.db", "SELECT count(*) FROM big")[0][0])
        assert seen <= {0, rows}, f"a part is seen: {seen}"
        return rows in seen
    until("it arrives", arrived, sizes(60, 900), every=0.02)
    took = time.monotonic() - start
    figure(f"a transaction of {rows:,} rows", f"written in {wrote:.1f} s, at the peer after {took:.1f} s; peak resident "
           f"{rss_kib(a.process.pid, 'VmHWM') / 1024:.0f} and {rss_kib(b.process.pid, 'VmHWM') / 1024:.0f} MiB")
    # 100 bytes a row would be the whole transaction in memory at the full count.
    assert rss_kib(a.process.pid, "VmHWM") < 200_000 and rss_kib(b.process.pid, "VmHWM") < 200_000
    # The same for an update of all of it, and its deletion.
    b.ok("UPDATE big SET v = -v", 300)
    seen_sums = set()

    def updated():
        seen_sums.add(plain("a.db", "SELECT sum(v) FROM big")[0][0])
        total = rows * (rows + 1) // 2
        assert seen_sums <= {total, -total}, f"a part is seen: {seen_sums}"
        return -total in seen_sums
    until("the update arrives", updated, sizes(60, 900), every=0.02)
    same("a.db", "b.db", table="big")
    a.close(), b.close()


def a_collation_that_only_the_host_has_stops_no_other_table():
    """The node's connection does not have it: it can't write where a key or an index compares by it."""
    def host(file):
        conn = connect(file)
        conn.create_collation("mine", lambda a, b: (a.lower() > b.lower()) - (a.lower() < b.lower()))
        return conn

    a = host("a.db")
    a.execute("CREATE TABLE keyed(k TEXT PRIMARY KEY COLLATE mine, x)")
    a.execute("CREATE TABLE late(id INTEGER PRIMARY KEY, name TEXT)")
    a.execute("CREATE TABLE plain(id INTEGER PRIMARY KEY, name TEXT)")
    told = dict(row[:2] for row in a.execute("SELECT * FROM p2p_track('*')"))
    equal(told, {"keyed": "captured", "late": "tracked", "plain": "tracked"})
    b = host("b.db")
    one(b, "SELECT p2p_join(?)", one(a, "SELECT p2p_invite()"))
    a.execute("INSERT INTO keyed VALUES('A', 1)")
    a.execute("INSERT INTO late(name) VALUES('A')")
    until("rows arrive", lambda: "late" in _tables(b) and one(b, "SELECT count(*) FROM late") == 1)
    # An index makes a table one of those.
    a.execute("CREATE INDEX by_name ON late(name COLLATE mine)")
    until("it is captured", lambda: _state(a, "late") == "captured")
    a.execute("INSERT INTO late(name) VALUES('B')")
    a.execute("INSERT INTO plain(name) VALUES('A')")
    until("the others go on", lambda: "plain" in _tables(b) and one(b, "SELECT count(*) FROM plain") == 1)
    equal(one(b, "SELECT count(*) FROM late"), 1)
    note = one(a, "SELECT note FROM p2p_tables WHERE name = 'late'")
    assert "compares by mine, a collation that only the host has" in note, note
    equal(one(a, "SELECT state FROM p2p_status"), "level")
    # Without it the table catches up.
    a.execute("DROP INDEX by_name")
    until("it is exchanged again", lambda: one(b, "SELECT count(*) FROM late") == 2)
    equal(_state(a, "late"), "tracked")
    # So is one that was never announced.
    a.executescript("BEGIN; CREATE TABLE new(k TEXT PRIMARY KEY COLLATE NOCASE, x); INSERT INTO new SELECT * FROM keyed;"
                    "DROP TABLE keyed; ALTER TABLE new RENAME TO keyed; COMMIT")
    until("its row arrives", lambda: "keyed" in _tables(b) and one(b, "SELECT count(*) FROM keyed WHERE k = 'a'") == 1)
    a.execute("INSERT INTO keyed VALUES('B', 2)")
    until("and the next", lambda: one(b, "SELECT count(*) FROM keyed") == 2)


def _tables(conn):
    return [name for (name,) in conn.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]


def _state(conn, table):
    return one(conn, "SELECT state FROM p2p_tables WHERE name = ?", table)
