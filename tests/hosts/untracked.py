"""A tracked table answers its writer as an untracked one does: row counts, ids, RETURNING, error codes."""

import random
import sqlite3

from host import SO, connect, equal, figure, one, sizes, sound

SCHEMA = """
CREATE TABLE item(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, qty INTEGER CHECK(qty >= 0) DEFAULT 1);
CREATE TABLE part(code TEXT PRIMARY KEY, item INTEGER REFERENCES item(id) ON DELETE CASCADE, note);
CREATE TABLE pair(a INTEGER, b TEXT, v REAL, PRIMARY KEY(a, b)) WITHOUT ROWID;
CREATE TABLE auto(id INTEGER PRIMARY KEY AUTOINCREMENT, v);
CREATE TABLE bag(v, w);
CREATE TABLE scratch(id INTEGER PRIMARY KEY);
CREATE TABLE log(what TEXT, n INTEGER);
CREATE TRIGGER item_log AFTER UPDATE OF qty ON item BEGIN INSERT INTO log VALUES('qty', NEW.id); END;
"""


def _statement(r):
    """One statement of any kind, and its arguments."""
    n, s = r.randrange(1, 25), r.choice(["a", "b", "c", "d", "e", "f"]) + str(r.randrange(6))
    q = r.choice([r.randrange(-1, 9), None])
    clash = r.choice(["", "OR IGNORE ", "OR REPLACE ", "OR FAIL ", "OR ABORT ", "OR ROLLBACK "])
    back = r.choice(["", "", " RETURNING *", " RETURNING rowid, *"])
    return r.choice([
        lambda: (f"INSERT {clash}INTO item(name, qty) VALUES(?, ?){back}", (s, q)),
        lambda: (f"INSERT {clash}INTO item VALUES(?, ?, ?){back}", (r.choice([n, None]), s, q)),
        lambda: (f"INSERT {clash}INTO item(name) VALUES(?), (?), (NULL)", (s, s + "x")),
        lambda: (f"INSERT INTO item(id, name) VALUES(?, ?) ON CONFLICT(id) DO UPDATE SET name = excluded.name{back}", (n, s)),
        lambda: (f"INSERT INTO item(name, qty) VALUES(?, 1) ON CONFLICT DO NOTHING{back}", (s,)),
        lambda: (f"UPDATE {clash}item SET qty = ? WHERE id > ?{back}", (q, n)),
        lambda: (f"UPDATE {clash}item SET id = id + ? WHERE id = ?", (r.randrange(-3, 4), n)),
        lambda: (f"UPDATE {clash}item SET name = ? WHERE id IN (?, ?)", (s, n, n + 1)),
        lambda: (f"DELETE FROM item WHERE id % ? = 1{back}", (r.randrange(2, 9),)),
        lambda: (f"INSERT {clash}INTO part VALUES(?, ?, ?)", (s, r.choice([n, None]), r.choice([1, "x", b"\0", 1.5]))),
        lambda: (f"UPDATE part SET item = ? WHERE code < ?{back}".replace("rowid, ", ""), (n, s)),
        lambda: ("DELETE FROM part", ()),
        lambda: (f"INSERT {clash}INTO pair VALUES(?, ?, ?)" + back.replace("rowid, ", ""), (n % 7, s, 1.5)),
        lambda: (f"UPDATE {clash}pair SET a = a + 1 WHERE b = ?", (s,)),
        lambda: ("DELETE FROM pair WHERE a = ?", (n % 7,)),
        lambda: (f"INSERT INTO auto(v) VALUES(?){back}", (s,)),
        lambda: (f"INSERT {clash}INTO auto VALUES(?, ?)", (n, s)),
        lambda: ("DELETE FROM auto WHERE id > ?", (n,)),
        lambda: (f"INSERT INTO bag VALUES(?, ?), (?, ?){back}", (s, q, n, None)),
        lambda: ("UPDATE bag SET w = v WHERE rowid % 3 = ?", (n % 3,)),
        lambda: (r.choice(["BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT x", "RELEASE x", "ROLLBACK TO x"]), ()),
        lambda: (r.choice(["INSERT INTO none VALUES(1)", "INSERT INTO item VALUES(1)", "UPDATE item SET nope = 1"]), ()),
        lambda: ("SELECT count(*), sum(qty) FROM item", ()),
    ])()


def _answer(conn, sql, arguments):
    try:
        cursor = conn.execute(sql, arguments)
        answer = (cursor.fetchall(), cursor.rowcount, cursor.lastrowid)
    except sqlite3.Error as e:
        answer = (type(e).__name__, str(e), getattr(e, "sqlite_errorcode", None), getattr(e, "sqlite_errorname", None))
    changes, last = conn.execute("SELECT changes(), last_insert_rowid()").fetchone()
    if answer[2] == sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY:
        # On a table with triggers, whoever's, SQLite inserts the row before it looks at the key, and takes only the row back.
        last = None
    return (*answer, conn.in_transaction, changes, last)


def _compare(seed, rounds, between):
    r = random.Random(seed)
    ours, theirs = connect("ours.db"), sqlite3.connect("theirs.db", isolation_level=None)
    for conn in (ours, theirs):
        conn.execute("PRAGMA foreign_keys = ON")
        conn.executescript("PRAGMA journal_mode = WAL;" + SCHEMA)
    for table in ("item", "part", "pair", "auto", "bag"):
        one(ours, "SELECT p2p_track(?)", table)
    refused = 0
    for number in range(rounds):
        sql, arguments = _statement(r)
        got, wanted = _answer(ours, sql, arguments), _answer(theirs, sql, arguments)
        equal(got, wanted, f"seed {seed}, statement {number}: {sql} {arguments}")
        refused += isinstance(got[0], str)
        if got[2] == sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY:
            for conn in (ours, theirs):
                conn.execute("INSERT INTO scratch DEFAULT VALUES")
        between(r, ours)
    for conn in (ours, theirs):
        if conn.in_transaction:
            conn.execute("COMMIT")
    for table in ("item", "part", "pair", "auto", "bag", "log"):
        sql = f"SELECT * FROM {table}"
        equal(ours.execute(sql).fetchall(), theirs.execute(sql).fetchall(), f"seed {seed}: {table}")
    ours.close(), theirs.close()
    sound("ours.db")
    return refused


def two_thousand_random_statements_answer_as_on_an_untracked_table():
    rounds = sizes(2000, 20000)
    refused = _compare(20261125, rounds, lambda r, conn: None)
    figure("random statements", f"{rounds}, {refused} of them refused, all alike")


def they_do_so_while_the_node_seals_between_them():
    """Sealing and merging write on another connection; they must not show in this one's counters."""
    def between(r, conn):
        if r.random() < 0.2 and not conn.in_transaction:
            changed = conn.execute("SELECT changes(), last_insert_rowid()").fetchone()
            one(conn, "SELECT p2p_seal()")
            equal(conn.execute("SELECT changes(), last_insert_rowid()").fetchone(), changed, "after p2p_seal()")
    _compare(7, sizes(500, 5000), between)


def total_changes_counts_rows_of_the_host_only():
    """sqlite3_total_changes() counts rows that triggers change, by SQLite's own rule: ours add one marker a row, and that is
    all they add. An application that compares two values of it, as 'did anything change?', is right as before."""
    conn = connect("a.db")
    conn.execute("CREATE TABLE t(id INTEGER PRIMARY KEY, v)")
    one(conn, "SELECT p2p_track('t')")
    before = conn.total_changes
    conn.execute("UPDATE t SET v = 1 WHERE id = 99")
    equal(conn.total_changes, before, "an UPDATE of no row")
    conn.execute("INSERT INTO t(v) VALUES(1), (2), (3)")
    equal(conn.total_changes - before, 6, "three rows and their markers")
