"""Writers that never heard of us, and statements that are easily missed."""

import sqlite3
import subprocess

from host import PYTHON, SALE, SO, Script, Shell, connect, dump, equal, figure, found, invite, join, one, pair, plain, run, same, sizes, sound, until
import time


def a_writer_without_the_extension_is_heard():
    a, b = pair()
    run("import sqlite3; c = sqlite3.connect('a.db'); c.execute(\"INSERT INTO sale(item, qty) VALUES('plain', 1)\"); c.commit()")
    until("its row arrives", lambda: b.run("SELECT item FROM sale") == "plain")
    run("import sqlite3; c = sqlite3.connect('a.db'); c.execute('UPDATE sale SET qty = 5'); c.commit()")
    until("its update arrives", lambda: b.run("SELECT qty FROM sale") == "5")


def what_it_wrote_while_no_node_ran_is_sent_when_one_does():
    a, b = pair()
    a.close()
    subprocess.run(["sqlite3", "a.db", "INSERT INTO sale VALUES(7, 'alone', 1); DELETE FROM sale WHERE id = 8;"], check=True)
    a = Shell("a.db")
    until("its row arrives", lambda: b.run("SELECT item FROM sale") == "alone")


def delete_without_where_and_its_return_are_captured():
    a, b = pair()
    a.ok("INSERT INTO sale(item, qty) SELECT 'x' || value, value FROM generate_series(1, 1000)")
    until("rows arrive", lambda: b.run("SELECT count(*) FROM sale") == "1000")
    a.ok("DELETE FROM sale")
    until("all go", lambda: b.run("SELECT count(*) FROM sale") == "0")
    a.ok("INSERT INTO sale VALUES(5, 'again', 1)")
    until("one returns", lambda: b.run("SELECT id || item FROM sale") == "5again")
    a.close(), b.close()
    same("a.db", "b.db")


def vacuum_by_anybody_does_no_harm():
    a, b = pair()
    a.ok("INSERT INTO sale(item, qty) SELECT 'x' || value, value FROM generate_series(1, 2000)")
    until("rows arrive", lambda: b.run("SELECT count(*) FROM sale") == "2000")
    a.ok("DELETE FROM sale WHERE id % 3 = 0")
    a.ok("VACUUM")
    b.ok("VACUUM")
    subprocess.run(["sqlite3", "-cmd", ".timeout 10000", "a.db", "VACUUM"], check=True)
    a.ok("UPDATE sale SET qty = -qty WHERE id % 7 = 0")
    b.ok("UPDATE sale SET item = 'b' || item WHERE id % 7 = 1")
    same("a.db", "b.db")
    a.close(), b.close()
    sound("a.db"), sound("b.db")


def writes_through_attach_from_a_foreign_main_are_captured():
    a, b = pair()
    for loads in (False, True):
        shell = Shell("foreign.db", load=loads, timeout_ms=5000)
        shell.ok("ATTACH 'a.db' AS till")
        shell.ok(f"INSERT INTO till.sale(item, qty) VALUES('attached {loads}', 1)")
        until("the row arrives", lambda: b.run(f"SELECT count(*) FROM sale WHERE item = 'attached {loads}'") == "1")
        shell.close()


def a_host_with_the_file_attached_can_write_while_rows_are_merged():
    """The gate knows a connection by its main file; an attached one must not be made to fail either."""
    a, b = pair()
    b.close()
    b = connect("b.db")
    until("level", lambda: one(b, "SELECT state FROM p2p_status") == "level")
    conn = connect("foreign.db", timeout=0)
    conn.execute("ATTACH 'b.db' AS till")
    end = time.monotonic() + 3
    number = errors = 0
    while time.monotonic() < end:
        number += 1
        a.ok(f"INSERT INTO sale(item, qty) VALUES('row {number}', 0)")
        try:
            conn.execute("BEGIN")
            conn.execute("SELECT count(*) FROM till.sale").fetchall()
            conn.execute("INSERT INTO till.sale(id, item) VALUES(?, 'attached')", (1_000_000 + number,))
            conn.execute("COMMIT")
        except sqlite3.OperationalError as e:
            errors += 1
            last = e
            if conn.in_transaction:
                conn.execute("ROLLBACK")
    figure("attached writers beside merges", f"{number} transactions, {errors} errors")
    assert errors == 0, f"{errors} of {number} failed: {last}"
    until("all rows are there", lambda: one(b, "SELECT count(*) FROM sale") == 2 * number, 5)


def untrusted_schemas_and_defensive_mode_change_nothing():
    a, b = pair()
    shell = Shell("a.db", timeout_ms=5000)
    shell.ok("PRAGMA trusted_schema = OFF")
    shell.run(".dbconfig defensive on")
    shell.run(".dbconfig trusted_schema off")
    shell.ok("CREATE TABLE more(code TEXT PRIMARY KEY, v)")
    shell.ok("SELECT p2p_track('more')")
    shell.ok("INSERT INTO sale(item, qty) VALUES('defensive', 1)")
    shell.ok("INSERT INTO more VALUES('k', 2)")
    until("rows arrive", lambda: b.run("SELECT count(*) FROM sale") == "1" and b.run("SELECT v FROM more") == "2")
    equal(shell.ok("SELECT count(*) FROM p2p_log") != "0", True, "the log can be read")
    for each in (shell, a, b):
        each.close()
    plain_writer = "import sqlite3; c = sqlite3.connect('a.db'); c.execute('PRAGMA trusted_schema = OFF'); c.execute('INSERT INTO more VALUES(?, 3)', ('m',)); c.commit()"
    run(plain_writer)
    equal(plain("a.db", "SELECT count(*) FROM _p2p_mark"), [(1,)], "a marker of an untrusting writer")


def a_table_is_tracked_beside_a_process_that_writes_without_a_pause():
    """What p2p_track reads first and writes then must be one snapshot, in a shell without a timeout too."""
    a, b = pair()
    a.close(), b.close()
    writer = Script("""
import sqlite3
c = sqlite3.connect('a.db', isolation_level=None, timeout=30)
print('writes', flush=True)
while True:
    c.execute("INSERT INTO sale(item, qty) VALUES('beside', 1)")
""")
    writer.line()
    shell = Shell("a.db")
    for number in range(sizes(20, 200)):
        until("the table is there", lambda: shell.run(f"CREATE TABLE IF NOT EXISTS t{number}(code TEXT PRIMARY KEY)") == "")
        shell.ok(f"SELECT p2p_track('t{number}')")
        shell.ok(f"SELECT p2p_untrack('t{number}')")
    writer.kill()
    shell.close(may_have_failed=True)


def of_two_processes_one_runs_the_node_and_the_other_takes_over():
    a, b = pair()
    second = Shell("a.db", timeout_ms=5000)
    until("the second follows", lambda: second.run("SELECT state FROM p2p_status") == "follower")
    second.ok("INSERT INTO sale(item, qty) VALUES('by the follower', 1)")
    until("its row arrives", lambda: b.run("SELECT count(*) FROM sale") == "1")
    second.ok("SELECT p2p_sync(5000)")
    a.kill()
    second.ok("INSERT INTO sale(item, qty) VALUES('after the kill', 1)")
    start = time.monotonic()
    until("the second takes over", lambda: second.run("SELECT state FROM p2p_status") == "level", 10)
    until("its row arrives", lambda: b.run("SELECT count(*) FROM sale") == "2", 10)
    figure("takeover after kill -9 of the node", f"{time.monotonic() - start:.2f} s to level with a peer")
    b.ok("INSERT INTO sale(item, qty) VALUES('answer', 1)")
    until("and it receives", lambda: second.run("SELECT count(*) FROM sale") == "3", 10)


def a_write_lock_of_another_process_keeps_no_reader_here_waiting():
    """The node waits for the write lock while it holds the mutexes of the hosts: it must not wait long."""
    a, b = pair()
    b.close()
    b = connect("b.db", timeout=0)
    until("level", lambda: one(b, "SELECT state FROM p2p_status") == "level")
    holder = Script("""
import sqlite3, sys
c = sqlite3.connect("b.db", isolation_level=None, timeout=10)
c.execute("BEGIN IMMEDIATE"); c.execute("INSERT INTO sale(item) VALUES('held')")
print("held", flush=True); sys.stdin.readline(); c.execute("COMMIT")
""")
    equal(holder.line(), "held")
    a.ok("INSERT INTO sale(item, qty) VALUES('to be merged', 1)")
    end, worst = time.monotonic() + 3, 0.0
    while time.monotonic() < end:
        start = time.monotonic()
        equal(one(b, "SELECT count(*) FROM sale"), 0, "rows")
        worst = max(worst, time.monotonic() - start)
        time.sleep(0.001)
    figure("the longest SELECT while another process holds the write lock", f"{worst * 1000:.0f} ms")
    detail = one(b, "SELECT detail FROM p2p_status")
    assert "another process is writing" in detail, detail
    holder.say("")
    holder.finish()
    until("both rows are there", lambda: one(b, "SELECT count(*) FROM sale") == 2 and a.run("SELECT count(*) FROM sale") == "2")
    assert worst < 0.25, f"a SELECT took {worst} s"


def a_node_gets_its_turn_beside_a_process_that_writes_without_a_pause():
    a, b = pair()
    writer = Script("""
from host import *
c = sqlite3.connect("a.db", isolation_level=None, timeout=10)
number, start = 0, time.monotonic()
while time.monotonic() - start < 5:
    c.execute("BEGIN IMMEDIATE"); c.execute("INSERT INTO sale(item, qty) VALUES('w', ?)", (number,)); c.execute("COMMIT")
    number += 1
print(number)
""")
    first = until("rows arrive while it writes", lambda: int(b.run("SELECT count(*) FROM sale")), 4)
    number = int(writer.finish())
    start = time.monotonic()
    until("all are there", lambda: b.run("SELECT count(*) FROM sale") == str(number), 20)
    figure("beside a writer without a pause", f"{number} transactions in 5 s; the first {first} seen while it wrote, all {time.monotonic() - start:.1f} s after")


def a_node_gets_its_turn_beside_a_process_whose_transactions_are_long():
    """What another process locks for 50 ms, and locks again at once, is free for microseconds in between."""
    a, b = pair()
    seconds = sizes(12, 30)
    writer = Script(f"""
from host import *
c = sqlite3.connect("a.db", isolation_level=None, timeout=10)
start = time.monotonic()
while time.monotonic() - start < {seconds}:
    c.execute("BEGIN IMMEDIATE")
    began = time.monotonic()
    c.execute("INSERT INTO sale(item, qty) VALUES('w', ?)", (int(began * 1000),))
    while time.monotonic() - began < 0.05:
        pass
    c.execute("COMMIT")
print("done")
""")
    until("rows arrive while it writes", lambda: b.run("SELECT count(*) FROM sale") != "0", 10)
    lags, end = [0], time.monotonic() + seconds - 10

    def look():
        lags.append(time.monotonic() * 1000 - int(b.run("SELECT max(qty) FROM sale")))
        return time.monotonic() > end

    # Not without a pause: the writer has one of two cores, and the node needs its moment too.
    until("the end", look, seconds + 20, every=0.05)
    oldest = max(lags)
    equal(writer.finish().strip(), "done", "the writer")
    figure("beside transactions of 50 ms without a pause", f"no row was on its way for more than {oldest:.0f} ms")
    assert oldest < 5000, f"a row that was written {oldest} ms ago is not at the peer"
