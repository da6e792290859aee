"""What the tests of real hosts share: peers to drive over pipes, files to work in, and waiting for what must come.

A test is a function whose name is its claim. It runs in a process of its own (run.py), in an empty folder, so it may itself
be the host under test: what it loads, forks or breaks ends with it. Nothing here sleeps to let something happen:
`until` polls for it with a deadline.
"""

import json
import os
import pathlib
import select
import signal
import sqlite3
import struct
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
SOAK = os.environ.get("P2PDB_SOAK") == "1"
# Without the ending: SQLite adds the system's own.
SO = os.environ.get("P2PDB_SO", str(ROOT / "target" / "debug" / "libp2pdb.so"))
# Interpreters and packages that the tests fetch for themselves.
CACHE = pathlib.Path(os.environ.get("P2PDB_HOSTS_CACHE", ROOT / "target" / "hosts"))
# Debian's: the interpreter that is first on the PATH is often built without extensions.
PYTHON = "/usr/bin/python3"
VENV = CACHE / "venv" / "bin" / "python"


class Skip(Exception):
    """What the claim needs is not on this machine."""


def sizes(small, full):
    """A count for CI, and one for the soak."""
    return full if SOAK else small


def figure(name, value):
    """A measured figure, for the report of the run."""
    print(f"figure {name}: {value}", flush=True)


def until(what, is_so, seconds=20.0, every=0.01):
    """Waits until `is_so()` holds and gives its value."""
    end = time.monotonic() + seconds
    while True:
        value = is_so()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not so within {seconds} s: {what}; last: {value!r}")
        time.sleep(every)


def equal(got, wanted, what=""):
    assert got == wanted, f"{what}: got {got!r}, wanted {wanted!r}"


class Shell:
    """A stock sqlite3 shell, driven over pipes."""

    def __init__(self, database, load=True, arguments=(), env=None, timeout_ms=0):
        self.asked = 0
        self.process = subprocess.Popen(
            ["sqlite3", *arguments, str(database)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, bufsize=0,
            env=dict(os.environ, **(env or {})),
        )
        self.buffer = b""
        # Beside another process on the same file a writer may meet the other's lock, as ever with SQLite.
        if timeout_ms:
            self.run(f".timeout {timeout_ms}")
        if load:
            equal(self.run(f".load {SO}"), "", "loading prints nothing")

    def send(self, text):
        self.process.stdin.write(text.encode())

    def run(self, sql, seconds=60.0):
        """The output of a statement, or of a dot command."""
        self.asked += 1
        mark = f"--answered {self.asked}--"
        end = "\n" if sql.startswith(".") else ";\n"
        self.send(f"{sql}{end}.print '{mark}'\n")
        return self.read_to(mark, seconds)

    def read_to(self, mark, seconds):
        end = time.monotonic() + seconds
        mark = mark.encode() + b"\n"
        while mark not in self.buffer:
            left = end - time.monotonic()
            ready, _, _ = select.select([self.process.stdout], [], [], max(left, 0))
            if not ready:
                raise AssertionError(f"the shell did not answer within {seconds} s; so far: {self.buffer[-2000:]!r}")
            more = os.read(self.process.stdout.fileno(), 1 << 16)
            if not more:
                raise AssertionError(f"the shell ended with {self.process.wait()}; it said {self.buffer[-2000:]!r}")
            self.buffer += more
        before, _, self.buffer = self.buffer.partition(mark)
        return before.decode("utf-8", "surrogateescape").rstrip("\n")

    def ok(self, sql, seconds=60.0):
        """The same; an error fails the test."""
        out = self.run(sql, seconds)
        assert "rror" not in out.split("\n")[0][:16], f"{sql}: {out}"
        return out

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def close(self, seconds=10.0, may_have_failed=False):
        """Ends it as a user does; gives the seconds that took. The shell's status is 1 where a statement failed on the way,
        which a test may allow; a crash is a signal, and shows as a negative status."""
        start = time.monotonic()
        self.process.stdin.close()
        code = self.process.wait(timeout=seconds)
        took = time.monotonic() - start
        if not (may_have_failed and code == 1):
            equal(code, 0, "the shell's exit status")
        return took


class Script:
    """A process that runs a Python text, speaking in lines."""

    def __init__(self, text, *arguments, python=PYTHON, env=None):
        self.process = subprocess.Popen(
            [str(python), "-c", f"import sys; sys.path.insert(0, {str(HERE)!r})\n" + text, *map(str, arguments)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1,
            env=dict(os.environ, **(env or {})),
        )

    def line(self):
        """The next line it says; an empty one when it has ended."""
        return self.process.stdout.readline().rstrip("\n")

    def say(self, text):
        self.process.stdin.write(text + "\n")

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def finish(self, seconds=60.0):
        """Waits for its end and gives what it still had to say; a failure fails the test."""
        out, err = self.process.communicate(timeout=seconds)
        assert self.process.returncode == 0, f"it ended with {self.process.returncode}: {out}{err}"
        return out + err


def run(text, *arguments, python=PYTHON, seconds=120.0, env=None):
    """Runs a Python text to its end and gives what it said."""
    return Script(text, *arguments, python=python, env=env).finish(seconds)


def connect(database, module=sqlite3, **options):
    """A connection of this process with the extension loaded, in autocommit."""
    conn = module.connect(str(database), isolation_level=None, **options)
    conn.enable_load_extension(True)
    conn.load_extension(SO)
    return conn


def one(conn, sql, *arguments):
    """The first value of the first row."""
    return conn.execute(sql, arguments).fetchone()[0]


def plain(database, sql, *arguments):
    """All rows of a query, by a connection that never heard of us."""
    conn = sqlite3.connect(str(database), isolation_level=None, timeout=30)
    try:
        return conn.execute(sql, arguments).fetchall()
    finally:
        conn.close()


SALE = "CREATE TABLE sale(id INTEGER PRIMARY KEY, item TEXT, qty INTEGER)"


def found(peer, schema=SALE):
    """Makes a peer the first of a group; gives a ticket."""
    for statement in schema.split(";"):
        peer.ok(statement)
    peer.ok("SELECT p2p_track('*')")
    return invite(peer)


def invite(peer):
    ticket = peer.ok("SELECT p2p_invite()")
    assert ticket.startswith("p2pdb1"), ticket
    return ticket


def join(peer, ticket, table="sale"):
    """Makes a peer a member; waits for the schema."""
    peer.ok(f"SELECT p2p_join('{ticket}')")
    until(f"{table} arrives", lambda: peer.run(f"SELECT count(*) FROM sqlite_schema WHERE name='{table}'") == "1")


def pair(schema=SALE, table="sale"):
    """Two shells of one group."""
    a, b = Shell("a.db"), Shell("b.db")
    join(b, found(a, schema), table)
    return a, b


def dump(database, table="sale"):
    """A table, cell by cell: type and bytes, and the bits of a real (SQLite's own text of it has no sign of zero)."""
    conn = sqlite3.connect(str(database), isolation_level=None, timeout=30)
    conn.text_factory = bytes
    try:
        rows = conn.execute(f"SELECT * FROM {table}").fetchall()
    finally:
        conn.close()
    exact = lambda cell: struct.pack(">d", cell).hex() if isinstance(cell, float) else cell
    return sorted(repr([(type(cell).__name__, exact(cell)) for cell in row]) for row in rows)


def same(a, b, seconds=30.0, table="sale"):
    """Waits until two files hold equal tables."""
    def is_so():
        return dump(a, table) == dump(b, table)
    try:
        until("equal tables", is_so, seconds, every=0.05)
    except AssertionError:
        left, right = set(dump(a, table)), set(dump(b, table))
        raise AssertionError(f"{a} and {b} differ: only here {sorted(left - right)[:3]} ({len(left - right)}), "
                             f"only there {sorted(right - left)[:3]} ({len(right - left)})") from None


def sound(database):
    """Is the file sound, for SQLite and for us? Looks through a process of its own."""
    text = f"""
import sqlite3
c = sqlite3.connect({str(database)!r}, isolation_level=None, timeout=30); c.enable_load_extension(True); c.load_extension({SO!r})
print(c.execute("PRAGMA integrity_check").fetchone()[0], c.execute("SELECT p2p_verify()").fetchone()[0])
"""
    equal(run(text, env={"P2PDB_NETWORK": "off"}).strip(), "ok ok", f"integrity_check and p2p_verify of {database}")


def rss_kib(pid, field="VmRSS"):
    """Resident memory of a process in KiB; `VmHWM` is its peak."""
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1])
    raise AssertionError(f"no {field} of {pid}")


def cpu_seconds(pid):
    """What all living threads of a process ran, to the nanosecond."""
    tasks = pathlib.Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9
