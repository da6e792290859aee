"""What needs the real extension in real processes: latency, cold join, load, idle, size.

Each role is a stock Python with its own sqlite3 module and libp2pdb.so loaded; this script starts them, on loopback,
and prints one line a figure as examples/bench does. `bin/bench` runs it.
"""

import json
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time

LIBRARY = os.path.abspath(sys.argv[1])
COMMITS = int(os.environ.get("BENCH_COMMITS", "500"))
JOIN_ROWS = int(os.environ.get("BENCH_JOIN_ROWS", "1000000"))
IDLE_SECONDS = float(os.environ.get("BENCH_IDLE_SECONDS", "30"))
TABLE = "CREATE TABLE t(k INTEGER PRIMARY KEY, a INTEGER, b TEXT, c REAL, d TEXT, e INTEGER, f INTEGER, g TEXT)"
WORDS = ["amber", "bread", "cedar", "delta", "ember", "flour", "grain", "honey"]


def row(i):
    h = (i * 0x9E3779B97F4A7C15) & (2**64 - 1)
    words = lambda n, s: " ".join(WORDS[h >> (s + 3 * j) & 7] for j in range(n))
    return i, h >> 8 & 0xFFFFFF, words(3, 0), (h % 10000) / 100, words(7, 12), 1700000000 + i, h >> 50 & 255, "open"


INSERT = "INSERT INTO t(k, a, b, c, d, e, f, g) VALUES(?, ?, ?, ?, ?, ?, ?, ?)"


# ---- roles, each in a process of its own


def connect(path):
    conn = sqlite3.connect(path, isolation_level=None, timeout=10)
    conn.execute("PRAGMA journal_mode=WAL")
    conn.execute("PRAGMA synchronous=NORMAL")
    return conn


def load(conn):
    conn.enable_load_extension(True)
    start = time.perf_counter_ns()
    conn.load_extension(LIBRARY)
    return time.perf_counter_ns() - start


def tell(**what):
    print(json.dumps(what), flush=True)


def memory():
    """Resident bytes of this process: all, and those that no file backs."""
    found = {}
    with open("/proc/self/smaps_rollup") as lines:
        for line in lines:
            name, _, rest = line.partition(":")
            if rest.strip().endswith("kB"):
                found[name] = int(rest.split()[0]) * 1024
    return found["Rss"], found["Anonymous"]


def role_load(path):
    tell(ns=load(connect(path)))


def role_writer(path, rows):
    conn = connect(path)
    load(conn)
    conn.execute(TABLE)
    start = time.monotonic()
    conn.execute("BEGIN")
    conn.executemany(INSERT, (row(i) for i in range(int(rows))))
    conn.execute("COMMIT")
    conn.execute("SELECT p2p_track('t')").fetchall()
    (ticket,) = conn.execute("SELECT p2p_invite()").fetchone()
    conn.execute("SELECT p2p_seal()").fetchall()
    tell(ticket=ticket, seconds=time.monotonic() - start)
    for line in sys.stdin:
        if line.startswith("write"):
            first, count, gap = (float(n) for n in line.split()[1:])
            times = []
            for i in range(int(first), int(first + count)):
                conn.execute(INSERT, row(i))
                times.append(time.monotonic_ns())
                time.sleep(gap)
            tell(times=times)
        else:
            break


def await_rows(conn, rows, pause):
    while True:
        try:
            if rows == 0:
                conn.execute("SELECT max(k) FROM t").fetchone()
                return
            if conn.execute("SELECT max(k) FROM t").fetchone()[0] == rows - 1:
                return
        except sqlite3.OperationalError as e:
            if "no such table" not in str(e):
                raise
        time.sleep(pause)


def role_reader(path, ticket, rows):
    conn = connect(path)
    before = memory()
    load(conn)
    start = time.monotonic()
    conn.execute("SELECT p2p_join(?)", (ticket,)).fetchall()
    await_rows(conn, int(rows), 0.02)
    seconds = time.monotonic() - start
    assert int(rows) == conn.execute("SELECT count(*) FROM t").fetchone()[0]
    tell(seconds=seconds, before=before)
    for line in sys.stdin:
        if line.startswith("see"):
            next_key, end = (int(n) for n in line.split()[1:])
            times = []
            tell(ready=True)
            while next_key < end:
                (last,) = conn.execute("SELECT max(k) FROM t").fetchone()
                now = time.monotonic_ns()
                while last is not None and next_key <= last:
                    times.append(now)
                    next_key += 1
            tell(times=times)
        elif line.startswith("memory"):
            tell(memory=memory())
        else:
            break


ROLES = {"loader": role_load, "writer": role_writer, "reader": role_reader}


# ---- the one who asks


class Peer:
    def __init__(self, folder, *role):
        environment = dict(
            os.environ, P2PDB_LISTEN="/ip4/127.0.0.1/tcp/0", P2PDB_MDNS="off", P2PDB_RUNTIME_DIR=folder
        )
        command = [sys.executable, __file__, LIBRARY, *map(str, role)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def say(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def hear(self):
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("a peer ended early")
        return json.loads(line)

    def cpu_ns(self):
        tasks = f"/proc/{self.process.pid}/task"
        return sum(int(open(f"{tasks}/{task}/schedstat").read().split()[0]) for task in os.listdir(tasks))

    def end(self):
        self.process.stdin.close()
        self.process.wait(timeout=60)


def pair(folder, rows):
    writer = Peer(folder, "writer", os.path.join(folder, "a.db"), rows)
    wrote = writer.hear()
    reader = Peer(folder, "reader", os.path.join(folder, "b.db"), wrote["ticket"], rows)
    return writer, wrote, reader, reader.hear()


def line(figure, must, aim, measured, unit, note=""):
    verdict = "aim" if measured <= aim else "must" if measured <= must else "MISSED"
    print(f"{figure}\t{must:g} {unit}\t{aim:g} {unit}\t{measured:.3g} {unit}\t{verdict}\t{note}", flush=True)


def latency():
    with tempfile.TemporaryDirectory() as folder:
        writer, _, reader, _ = pair(folder, 0)
        for warm in (True, False):
            first, count = (0, 50) if warm else (50, COMMITS)
            reader.say(f"see {first} {first + count}")
            reader.hear()
            writer.say(f"write {first} {count} 0.005")
            wrote, saw = writer.hear()["times"], reader.hear()["times"]
        took = sorted((s - w) / 1e6 for w, s in zip(wrote, saw))
        at = lambda part: took[min(len(took) - 1, int(len(took) * part))]
        note = f"{COMMITS} commits, 5 ms apart; p10 {at(.1):.2f}, p90 {at(.9):.2f}, max {took[-1]:.1f} ms"
        line("commit visible at a loopback peer, median", 6, 2.5, at(0.5), "ms", note)
        line("commit visible at a loopback peer, p99", 25, 8, at(0.99), "ms")
        writer.end(), reader.end()


def join():
    with tempfile.TemporaryDirectory() as folder:
        writer, wrote, reader, read = pair(folder, JOIN_ROWS)
        note = f"the author took {wrote['seconds']:.1f} s to write, track and seal them"
        line(f"cold join, {JOIN_ROWS:,} rows", 30, 10, read["seconds"], "s", note)
        writer.end(), reader.end()


def loading():
    with tempfile.TemporaryDirectory() as folder:
        times = []
        for _ in range(11):
            peer = Peer(folder, "loader", os.path.join(folder, "a.db"))
            times.append(peer.hear()["ns"] / 1e6)
            peer.end()
        line("load the extension", 10, 3, statistics.median(times), "ms", f"slowest of 11: {max(times):.1f} ms")


def idle():
    with tempfile.TemporaryDirectory() as folder:
        writer, _, reader, read = pair(folder, 0)
        time.sleep(3)
        before, start = reader.cpu_ns(), time.monotonic()
        time.sleep(IDLE_SECONDS)
        share = (reader.cpu_ns() - before) / (time.monotonic() - start) / 1e7
        reader.say("memory")
        rss, anonymous = (now - then for now, then in zip(reader.hear()["memory"], read["before"]))
        line("idle and joined, CPU", 0.1, 0.02, share, "% of a core", f"over {IDLE_SECONDS:g} s")
        note = f"{anonymous / 1e6:.1f} MB of it private, the rest pages of the library"
        line("idle and joined, extra memory", 30, 15, rss / 1e6, "MB", note)
        writer.end(), reader.end()


def size():
    with tempfile.TemporaryDirectory() as folder:
        stripped = os.path.join(folder, "stripped.so")
        subprocess.run(["strip", "-o", stripped, LIBRARY], check=True)
        print(f"size of libp2pdb.so, stripped\t-\t-\t{os.stat(stripped).st_size / 1e6:.2f} MB\t\t", flush=True)


ALL = {"latency": latency, "join": join, "load": loading, "idle": idle, "size": size}

if __name__ == "__main__":
    if len(sys.argv) > 2 and sys.argv[2] in ROLES:
        ROLES[sys.argv[2]](*sys.argv[3:])
    else:
        for name, measure in ALL.items():
            if len(sys.argv) == 2 or name in sys.argv[2:]:
                measure()
