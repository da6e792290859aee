"""The shared library as a guest: what it shows, prints, opens and costs."""

import os
import pathlib
import re
import shutil
import statistics
import subprocess
import time

from host import HERE, PYTHON, ROOT, SO, Script, Shell, Skip, cpu_seconds, equal, figure, found, plain, rss_kib, run, sizes, until


def it_exports_its_three_entry_points_and_nothing_else():
    out = subprocess.run(["nm", "-D", "--defined-only", SO], capture_output=True, text=True, check=True).stdout
    names = sorted(line.split()[2] for line in out.splitlines())
    equal(names, ["sqlite3_extension_init", "sqlite3_p2pdb_init", "sqlite3_ppdb_init"], "exported symbols")


def it_needs_no_sqlite_of_its_own():
    out = subprocess.run(["readelf", "-d", SO], capture_output=True, text=True, check=True).stdout
    needed = re.findall(r"NEEDED.*\[(.*)\]", out)
    assert needed and not [n for n in needed if "sqlite" in n], needed
    out = subprocess.run(["nm", "-D", "--undefined-only", SO], capture_output=True, text=True, check=True).stdout
    equal([line for line in out.splitlines() if "sqlite3" in line], [], "symbols of SQLite that it needs")
    figure("libraries needed", ", ".join(needed))


def tables_of_the_users_with_names_of_ours_do_no_harm():
    """Loading looked into p2p_status; the user's has no such column, and SQLite unloaded a library that was in use."""
    names = ["p2p_status", "p2p_peers", "p2p_tables", "p2p_log", "p2p_conflicts"]
    for name in names:
        plain("names.db", f"CREATE TABLE {name}(a)")
    equal(run("from host import *\nc = connect('names.db'); c.execute(SALE); print(one(c, \"SELECT p2p_track('sale')\").split(',')[0])\n"
              "c.execute(\"INSERT INTO sale VALUES(1, 'x', 1)\"); one(c, 'SELECT p2p_seal()')\n"
              # The node may have been there first, and entries are its own business: none of the row's marks is left.
              "print(one(c, 'SELECT count(*) FROM _p2p_mark'), one(c, 'SELECT count(*) FROM _p2p_row_1')); c.close()"),
          "sale: tracked\n0 1\n", "a host whose tables have our names")


def a_load_that_fails_leaves_the_host_alive():
    text = """
from host import *
c = sqlite3.connect("late.db", isolation_level=None); c.execute("CREATE TABLE _p2p_connection(a)"); c.enable_load_extension(True)
try:
    c.load_extension(SO)
    raise AssertionError("it was loaded")
except sqlite3.OperationalError as why:
    print(why)
try:
    c.execute("SELECT p2p_version()").fetchall()
except sqlite3.OperationalError:
    pass
c.execute(SALE); c.execute("INSERT INTO sale VALUES(1, 'x', 1)"); print(one(c, "SELECT count(*) FROM sale")); c.close()
"""
    out = run(text).splitlines()
    assert len(out) == 2 and "no such column" in out[0] and out[1] == "1", out


def it_prints_nothing():
    text = f"""
from host import *
a, b = connect("a.db"), connect("b.db")
a.execute(SALE); a.execute("SELECT p2p_track('*')")
ticket = one(a, "SELECT p2p_invite()")
one(b, "SELECT p2p_join(?)", ticket)
until("schema", lambda: one(b, "SELECT count(*) FROM sqlite_schema WHERE name='sale'"))
a.execute("INSERT INTO sale VALUES(1, 'x', 1)")
until("row", lambda: one(b, "SELECT count(*) FROM sale"))
for bad in ("SELECT p2p_join('nonsense')", "SELECT p2p_track('none')", "INSERT INTO p2p_log(entry) VALUES(x'00')"):
    try:
        a.execute(bad).fetchall()
        raise AssertionError(bad)
    except sqlite3.OperationalError:
        pass
a.close(); b.close()
"""
    equal(run(text, env={"RUST_LOG": "trace", "RUST_BACKTRACE": "1"}), "", "what it printed")


def loading_opens_no_socket_and_starts_no_thread():
    strace = shutil.which("strace")
    if not strace:
        raise Skip("no strace")
    text = f"import sys; sys.path.insert(0, {str(HERE)!r}); from host import *\nc = connect(sys.argv[1] + '.db'); c.execute(SALE); one(c, 'SELECT p2p_version()'); " \
           "c.execute(\"SELECT p2p_track('*')\").fetchall() if sys.argv[1] == 'track' else None; c.close()"
    for what in ("load", "track"):
        trace = f"{what}.trace"
        done = subprocess.run([strace, "-f", "-o", trace, "-e", "trace=socket,clone,clone3", PYTHON, "-c", text, what],
                              capture_output=True, text=True)
        if done.returncode and "PTRACE" in done.stderr:
            raise Skip("strace may not trace here")
        equal(done.returncode, 0, done.stderr)
        calls = pathlib.Path(trace).read_text()
        assert "socket(" not in calls, calls
        if what == "load":
            assert "clone" not in calls, calls


def loading_takes_milliseconds():
    text = """
import sqlite3, sys, time
from host import SO
c = sqlite3.connect(sys.argv[1]); c.enable_load_extension(True)
start = time.perf_counter(); c.load_extension(SO); first = time.perf_counter() - start
d = sqlite3.connect(sys.argv[1]); d.enable_load_extension(True)
start = time.perf_counter(); d.load_extension(SO); second = time.perf_counter() - start
print(first * 1000, second * 1000)
"""
    shell = Shell("joined.db")
    found(shell)
    shell.close()
    for name in ("new.db", "joined.db"):
        times = [list(map(float, run(text, name).split())) for _ in range(sizes(5, 20))]
        first, second = statistics.median(t[0] for t in times), statistics.median(t[1] for t in times)
        figure(f"load into {name}", f"{first:.2f} ms, a further connection {second:.2f} ms")
        assert first < 50, times


def a_joined_process_idles_cheaply():
    bare = Script("import sqlite3, sys; c = sqlite3.connect('bare.db'); c.execute('CREATE TABLE t(x)'); print(1); sys.stdin.read()")
    bare.line()
    host = """
from host import *
c = connect(sys.argv[1])
c.execute("SELECT p2p_join(?)", (sys.argv[2],))
until("schema", lambda: one(c, "SELECT count(*) FROM sqlite_schema WHERE name='sale'"))
until("level", lambda: one(c, "SELECT state FROM p2p_status") == "level")
print("level"); sys.stdin.read()
"""
    a = Shell("a.db")
    ticket = found(a)
    b = Script(host, "b.db", ticket)
    assert b.line() == "level"
    bare_kib, joined_kib = rss_kib(bare.process.pid), rss_kib(b.process.pid)
    start, wall = cpu_seconds(b.process.pid), sizes(5, 20)
    end = time.monotonic() + wall
    until("time passed", lambda: time.monotonic() > end, wall + 5, every=0.25)
    share = (cpu_seconds(b.process.pid) - start) / wall
    figure("idle", f"{share * 100:.3f} % of a core over {wall} s; {joined_kib / 1024:.1f} MiB resident, "
                   f"{(joined_kib - bare_kib) / 1024:.1f} MiB more than bare Python with sqlite3 "
                   f"(the harness itself included)")
    assert share < 0.01, share
    a.close()


def its_size_is_told():
    for build in ("debug", "release"):
        path = ROOT / "target" / build / "libp2pdb.so"
        if not path.exists():
            continue
        stripped = "stripped.so"
        subprocess.run(["strip", "-o", stripped, str(path)], check=True)
        figure(f"libp2pdb.so, {build}", f"{path.stat().st_size / 1e6:.1f} MB, stripped {os.path.getsize(stripped) / 1e6:.1f} MB")
