"""A host at work while rows are merged in: it meets no error that it would not meet alone."""

import sqlite3
import threading
import time

from host import SO, SOAK, Script, Shell, connect, equal, figure, found, invite, join, one, pair, plain, same, sizes, sound, until

# A peer that inserts 500 rows a second until it is told to stop: what is due, in one transaction, every some milliseconds. Each
# row says in `qty` when it was written, in milliseconds of the clock that all processes share.
RATE = 500
FEED = f"""
import select
from host import *
c = connect(sys.argv[1], timeout=10)
c.execute(SALE); one(c, "SELECT p2p_track('*')"); print(one(c, "SELECT p2p_invite()"), flush=True)
sys.stdin.readline()
start, sent = time.monotonic(), 0
while not select.select([sys.stdin], [], [], 0.004)[0]:
    due = int((time.monotonic() - start) * {RATE})
    if sent < due:
        c.execute("BEGIN IMMEDIATE")
        c.executemany("INSERT INTO sale(item, qty) VALUES('fed', ?)", [(int(time.monotonic() * 1000),)] * (due - sent))
        c.execute("COMMIT")
        sent = due
print(sent, time.monotonic() - start, flush=True)
equal([sys.stdin.readline(), sys.stdin.readline()], ["stop\\n", "end\\n"])
c.close()
"""


def _rate(sent, took):
    """Rows a second that the peer wrote. In the soak, which runs alone on its machine, it must have been what the claim names."""
    rate = int(sent) / float(took)
    assert rate > 0.98 * RATE or not SOAK, f"the peer wrote {rate:.0f} rows/s, not {RATE}"
    return rate


def _fed(loop):
    """Runs `loop(conn)` on a host while a peer feeds it; then waits for every row."""
    feed = Script(FEED, "feed.db")
    conn = connect("host.db", timeout=0)
    one(conn, "SELECT p2p_join(?)", feed.line())
    until("schema", lambda: one(conn, "SELECT count(*) FROM sqlite_schema WHERE name='sale'"))
    equal(one(conn, "PRAGMA journal_mode"), "wal", "journal mode")
    feed.say("go")
    until("rows come", lambda: one(conn, "SELECT count(*) FROM sale"))
    worst_lag = loop(conn)
    feed.say("stop")
    sent, took = feed.line().split()
    start = time.monotonic()
    until("every row is there", lambda: one(conn, "SELECT count(*) FROM sale WHERE item = 'fed'") == int(sent), 5)
    rate = _rate(sent, took)
    figure("fed", f"{sent} rows in {float(took):.1f} s, {rate:.0f} a second; the last were there {time.monotonic() - start:.2f} s after the end{worst_lag or ''}")
    feed.say("end")
    feed.finish()
    conn.close()
    same("feed.db", "host.db")


def a_read_then_write_transaction_never_fails_while_rows_are_merged():
    """A commit of ours between the SELECT and the UPDATE would make it fail with SQLITE_BUSY, whatever the timeout. And what
    waits for a gap between the transactions must find one: the soak goes on for longer than a row may be on its way."""
    def loop(conn):
        conn.execute("INSERT INTO sale(id, item, qty) VALUES(?, 'counter', 0)", (1 << 40,))
        oldest = 0
        rounds, least = 0, time.monotonic() + sizes(0, 20)
        while rounds < sizes(300, 1000) or time.monotonic() < least:
            rounds += 1
            conn.execute("BEGIN")
            # The peer writes without a pause: what is missing here was written after the newest row that is not.
            newest, = conn.execute("SELECT max(qty) FROM sale WHERE item = 'fed'").fetchone()
            now = time.monotonic()
            oldest = max(oldest, now * 1000 - newest)
            end = now + 0.002
            while time.monotonic() < end:
                pass
            equal(conn.execute("UPDATE sale SET qty = qty + 1 WHERE item = 'counter'").rowcount, 1, "rows updated")
            conn.execute("COMMIT")
        equal(one(conn, "SELECT qty FROM sale WHERE item = 'counter'"), rounds, "the host's own count")
        assert oldest < 5000, f"a row that was written {oldest} ms ago is not here"
        return f"; {rounds} transactions beside, no row was on its way for more than {oldest:.0f} ms"
    _fed(loop)


def a_loop_over_an_open_cursor_that_updates_never_fails():
    """SELECT in one statement, UPDATE of each row in another: the read stays open all the while."""
    def loop(conn):
        # All at once: the peer goes on behind the greatest id that it has seen, and of two claims of an id one would be renumbered
        # under the loop. (sqlite3 of Python reads a row ahead: the last update of a round has no read open beside it.)
        conn.execute("BEGIN")
        conn.executemany("INSERT INTO sale(id, item, qty) VALUES(?, 'mine', 0)", [((1 << 40) + n,) for n in range(200)])
        conn.execute("COMMIT")
        rounds = sizes(10, 60)
        for _ in range(rounds):
            for id, in conn.execute("SELECT id FROM sale WHERE item = 'mine'"):
                conn.execute("UPDATE sale SET qty = qty + 1 WHERE id = ?", (id,))
        equal(conn.execute("SELECT DISTINCT qty FROM sale WHERE item = 'mine'").fetchall(), [(rounds,)], "updates")
    _fed(loop)


def an_abandoned_cursor_is_told_in_status_and_merging_goes_on_after_it():
    feed = Script(FEED, "feed.db")
    conn = connect("host.db", timeout=0)
    one(conn, "SELECT p2p_join(?)", feed.line())
    until("schema", lambda: one(conn, "SELECT count(*) FROM sqlite_schema WHERE name='sale'"))
    conn.executemany("INSERT INTO sale(id, item) VALUES(?, 'mine')", [((1 << 40) + n,) for n in range(20)])
    cursor = conn.execute("SELECT id FROM sale")
    cursor.fetchone()
    feed.say("go")
    until("the status tells", lambda: one(conn, "SELECT state FROM p2p_status") == "waiting", 10)
    detail = one(conn, "SELECT detail FROM p2p_status")
    assert "read open" in detail and "COMMIT" in detail, detail
    conn.execute("UPDATE sale SET qty = 1 WHERE item = 'mine'")
    cursor.close()
    feed.say("stop")
    sent = int(feed.line().split()[0])
    until("every row is there", lambda: one(conn, "SELECT count(*) FROM sale WHERE item = 'fed'") == sent, 5)
    until("the status is well", lambda: one(conn, "SELECT state FROM p2p_status") == "level", 5)
    feed.say("end")
    feed.finish()


def the_stock_shell_without_a_timeout_meets_no_error():
    """Its connection has no mutex (SQLITE_CONFIG_MULTITHREAD); see src/surface/hosts/turnstile.rs."""
    feed = Script(FEED, "feed.db")
    b = Shell("host.db")
    join(b, feed.line())
    equal(b.run("PRAGMA busy_timeout"), "0", "busy_timeout")
    feed.say("go")
    until("rows come", lambda: b.run("SELECT count(*) FROM sale") != "0")
    b.ok("INSERT INTO sale(id, item, qty) VALUES(1 << 40, 'counter', 0)")
    rounds = sizes(300, 1000)
    for number in range(rounds):
        mark = f"--round {number}--"
        b.send(f"BEGIN;\nSELECT count(*) FROM sale;\n.print '{mark}'\n")
        b.read_to(mark, 20)
        end = time.monotonic() + 0.002
        while time.monotonic() < end:
            pass
        b.send(f"UPDATE sale SET qty = qty + 1 WHERE item = 'counter';\nCOMMIT;\n.print '{mark}'\n")
        out = b.read_to(mark, 20)
        equal(out, "", f"round {number}")
    equal(b.run("SELECT qty FROM sale WHERE item = 'counter'"), str(rounds), "the host's own count")
    # Autocommit statements one after the other, as from a script.
    b.send("".join(f"UPDATE sale SET qty = qty + 1 WHERE item = 'counter';\nSELECT max(qty) FROM sale WHERE item = 'nothing';\n" for _ in range(rounds)))
    equal(b.run(".print ''", 60).strip(), "", "errors of autocommit statements")
    feed.say("stop")
    sent, took = feed.line().split()
    start = time.monotonic()
    until("every row is there", lambda: b.run("SELECT count(*) FROM sale WHERE item = 'fed'") == sent, 5)
    rate = _rate(sent, took)
    figure("the shell beside merges", f"{rounds} transactions and {rounds} updates beside {sent} rows in {float(took):.1f} s, {rate:.0f} a second; the last were there {time.monotonic() - start:.2f} s after the end")
    feed.say("end")
    feed.finish()
    b.close()
    same("feed.db", "host.db")


def threads_of_one_host_write_while_rows_are_merged():
    """With a timeout, as threads of one application have anyway: they compete with each other."""
    def loop(conn):
        errors = []

        def work(name):
            try:
                own = connect("host.db", timeout=10, check_same_thread=False)
                for number in range(sizes(60, 400)):
                    # Far apart: the peer's next automatic id is one above the greatest that it has heard of.
                    id = (1 << 40) + (name << 32) + number * 100_000
                    own.execute("BEGIN IMMEDIATE")
                    own.execute("INSERT INTO sale(id, item, qty) VALUES(?, ?, ?)", (id, "thread", number))
                    own.execute("COMMIT")
                own.close()
            except Exception as e:
                errors.append(e)
        threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        equal(errors, [], "errors of threads")
        equal(one(conn, "SELECT count(*) FROM sale WHERE item = 'thread'"), 4 * sizes(60, 400), "their rows")
    _fed(loop)


def a_commit_is_seen_at_a_peer_within_milliseconds():
    from statistics import median, quantiles
    a, b = connect("a.db"), Script("""
from host import *
c = connect("b.db")
one(c, "SELECT p2p_join(?)", sys.stdin.readline().strip())
until("schema", lambda: one(c, "SELECT count(*) FROM sqlite_schema WHERE name='sale'"))
print("joined", flush=True)
plain = sqlite3.connect("b.db", isolation_level=None)
for line in sys.stdin:
    wanted = int(line)
    until("it arrives", lambda: plain.execute("SELECT 1 FROM sale WHERE id = ?", (wanted,)).fetchone(), every=0.0002)
    print(time.monotonic(), flush=True)
""")
    a.execute("CREATE TABLE sale(id INTEGER PRIMARY KEY, item TEXT, qty INTEGER)")
    one(a, "SELECT p2p_track('*')")
    b.say(one(a, "SELECT p2p_invite()"))
    equal(b.line(), "joined")
    times = []
    for number in range(1, sizes(60, 500)):
        b.say(str(number))
        start = time.monotonic()
        a.execute("INSERT INTO sale(id, item) VALUES(?, 'x')", (number,))
        times.append((float(b.line()) - start) * 1000)
    figure("commit to visible at a peer in another process", f"median {median(times):.1f} ms, p99 {quantiles(times, n=100)[98]:.1f} ms, "
                                                             f"worst {max(times):.1f} ms")
    b.kill()
