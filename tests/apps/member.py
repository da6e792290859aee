"""What the tests with real applications share: an application in a process of its own, driven over pipes, and what must hold of
databases that have met.

An application's program (`librepos_till.py`, `oscar_shop.py`) loads the extension by a hook on new connections, as its owner
would add it, and changes nothing else. It reads a line of JSON, `[action, arguments]`, and answers with one.
"""

import itertools
import json
import os
import pathlib
import select
import shutil
import sqlite3
import subprocess
import time

from host import PYTHON, ROOT, SO, connect, dump, equal, figure, one, plain, sizes, sound, until  # noqa: F401 (for the claims)

HERE = pathlib.Path(__file__).resolve().parent
CACHE = pathlib.Path(os.environ.get("P2PDB_APPS_CACHE", ROOT / "target" / "apps"))
VENV = CACHE / "venv" / "bin" / "python"


class Member:
    """An application on a database file."""

    def __init__(self, program, database, env=None):
        self.database = str(pathlib.Path(database).resolve())
        self.process = subprocess.Popen(
            [str(VENV), str(HERE / program), self.database], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=open(f"{self.database}.log", "ab"), text=True, bufsize=1,
            env=dict(os.environ, P2PDB_SO=SO, **(env or {})),
        )

    def send(self, action, *arguments):
        self.process.stdin.write(json.dumps([action, arguments]) + "\n")

    def answer(self, seconds=120.0):
        ready, _, _ = select.select([self.process.stdout], [], [], seconds)
        assert ready, f"no answer of {self.database} within {seconds} s"
        line = self.process.stdout.readline()
        assert line, f"the application ended; it said {pathlib.Path(self.database + '.log').read_text()[-3000:]}"
        answer = json.loads(line)
        assert "error" not in answer, answer["error"]
        return answer["value"]

    def ask(self, action, *arguments, seconds=120.0):
        self.send(action, *arguments)
        return self.answer(seconds)

    def sql(self, statement, *values):
        """The rows of a statement, through a connection of the application."""
        return self.ask("sql", statement, list(values))

    def value(self, statement, *values):
        return self.sql(statement, *values)[0][0]

    def network(self, word):
        equal(self.value("SELECT p2p_config('network', ?)", word), word)

    def close(self):
        self.process.stdin.close()
        equal(self.process.wait(timeout=30), 0, f"exit status; it said {pathlib.Path(self.database + '.log').read_text()[-3000:]}")


def serve(execute, actions):
    """The loop of a program: `execute(sql, values)` gives rows, an action what can be told in JSON."""
    import sys
    import traceback
    actions = dict(actions, sql=lambda sql, values: [list(row) for row in execute(sql, values)])
    for line in sys.stdin:
        name, arguments = json.loads(line)
        try:
            answer = {"value": actions[name](*arguments)}
        except Exception:
            answer = {"error": traceback.format_exc()}
        print(json.dumps(answer, default=str), flush=True)


def load(connection):
    """The hook: what its owner adds to an application, for each new connection."""
    connection.enable_load_extension(True)
    connection.load_extension(os.environ["P2PDB_SO"])
    connection.enable_load_extension(False)


def cached(name, make):
    """A file that takes long to make, and is the same each time: made once for this list of packages, then copied here."""
    kept = CACHE / "venv" / name
    if not kept.exists():
        making = kept.with_suffix(f".{os.getpid()}")
        make(making)
        os.replace(making, kept)
    shutil.copyfile(kept, name)
    return name


def group(first, others):
    """Makes connections one group, the network off: the others join by a ticket and get the log by hand."""
    for conn in (first, *others):
        one(conn, "SELECT p2p_config('network', 'off')")
    start = time.monotonic()
    told = [row for (answer,) in first.execute("SELECT p2p_track('*')") for row in answer.splitlines()]
    took = time.monotonic() - start
    refused = [line for line in told if "tracked, " not in line and "WAL" not in line]
    equal(refused, [], "tables that are not exchanged")
    ticket = one(first, "SELECT p2p_invite()")
    one(first, "SELECT p2p_seal()")
    for conn in others:
        one(conn, "SELECT p2p_join(?)", ticket)
        carry(first, conn)
    return took


def carry(source, target):
    """All entries that one database has, brought to another by hand."""
    target.execute("BEGIN")
    target.executemany("INSERT INTO p2p_log(entry) VALUES(?)", source.execute("SELECT entry FROM p2p_log").fetchall())
    target.execute("COMMIT")
    one(target, "SELECT p2p_sync()")


def tables(database):
    return [name for (name,) in plain(database, "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' "
                                                "AND name NOT LIKE '\\_p2p\\_%' ESCAPE '\\' ORDER BY name")]


def columns(database, table):
    return plain(database, "SELECT * FROM pragma_table_xinfo(?) ORDER BY name", table)


def cells(database, table):
    """A table, cell by cell; its columns by name, since their order is each database's own."""
    names = ", ".join(f'"{name}"' for _, name, *_ in columns(database, table))
    return dump(database, f'(SELECT {names} FROM "{table}")')


def definition(database, table):
    """What SQLite says of a table's columns, foreign keys and indexes, their order aside."""
    indexes = plain(database, "SELECT name, \"unique\", origin, partial FROM pragma_index_list(?)", table)
    return {
        "columns": [column[1:] for column in columns(database, table)],
        "foreign keys": sorted(row[2:] for row in plain(database, "SELECT * FROM pragma_foreign_key_list(?)", table)),
        "indexes": sorted(
            [name if origin == "c" else "", *rest,
             [row[2:5] for row in plain(database, "SELECT * FROM pragma_index_xinfo(?) WHERE key", name)]]
            for name, origin, *rest in ((i[0], i[2], i[1], i[3]) for i in indexes)),
    }


def agree(databases, parked=0):
    """Databases that have the same entries hold the same: every table cell by cell, foreign keys, digests, and all is sound.
    `parked` rows can't be shown. Gives the count of rows."""
    states = []
    rows = 0
    for database in databases:
        equal(tables(database), tables(databases[0]), f"tables of {database}")
        for table in tables(database):
            equal(definition(database, table), definition(databases[0], table), f"definition of {table} in {database}")
            ours, theirs = cells(databases[0], table), cells(database, table)
            equal(sorted(set(ours) - set(theirs))[:3], [], f"{table}: rows of {databases[0]} that {database} lacks")
            equal(theirs, ours, f"{table} of {database}")
            rows += len(ours)
        equal(plain(database, "PRAGMA foreign_key_check"), [], f"rows of {database} that refer to nothing")
        sound(database)
        states.append(state(database))
    for database, found in zip(databases, states):
        equal(found, states[0], f"entries, digest of {database}")
        equal(found[2:], (0, parked, 0), f"pending, parked, quarantined of {database}")
    return rows // len(databases)


def state(database):
    conn = connect(database)
    try:
        return until("the node has opened it", lambda: _ready(conn))
    finally:
        conn.close()


def _ready(conn):
    row = conn.execute("SELECT entries, digest, pending, parked, quarantined, state FROM p2p_status").fetchone()
    return row[:5] if row[5] not in ("starting", "syncing") else None


def level(members, seconds=60.0):
    """Waits until members that can reach each other have the same entries and the same state; gives the seconds that took."""
    start = time.monotonic()

    def is_level():
        for member in members:
            member.send("sql", "SELECT p2p_sync(500)", [])
        for member in members:
            try:
                member.answer()
            except AssertionError as why:
                # It is not yet; what it waits for is asked below.
                assert any(text in str(why) for text in ("not level after", "no answer within")), why
        states = [member.sql("SELECT entries, digest, pending FROM p2p_status")[0] for member in members]
        return all(s == states[0] for s in states)

    until("members are level", is_level, seconds)
    return time.monotonic() - start
