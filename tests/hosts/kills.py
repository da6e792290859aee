"""kill -9 at random moments: what was acknowledged stays, files are sound, peers become equal."""

import os
import random
import time

from host import SALE, Script, Shell, connect, dump, equal, figure, found, invite, join, one, plain, run, same, sizes, sound, until

# Commits transactions of some rows and says the number of each after its COMMIT returned.
WRITER = """
from host import *
c = connect(sys.argv[1], timeout=10)
c.execute("PRAGMA synchronous = NORMAL")
number = int(sys.argv[2])
print("open", flush=True)
while True:
    c.execute("BEGIN IMMEDIATE")
    for part in range(number % 5 + 1):
        c.execute("INSERT INTO sale(item, qty) VALUES(?, ?)", (f"{sys.argv[1]} {number}", part))
    if number % 4 == 0:
        c.execute("UPDATE sale SET qty = qty + 100 WHERE item = ?", (f"{sys.argv[1]} {number - 1}",))
    if number % 7 == 0:
        c.execute("DELETE FROM sale WHERE item = ?", (f"{sys.argv[1]} {number - 5}",))
    c.execute("COMMIT")
    if len(sys.argv) == 3:      # A pipe that nobody reads would stop it.
        print(number, flush=True)
    number += 1
"""


def _after(rows, name, number):
    """What the transaction of this number does to what a table holds, ids aside: rows by the number that wrote them."""
    rows[number] = [(f"{name} {number}", part) for part in range(number % 5 + 1)]
    if number % 4 == 0 and number - 1 in rows:
        rows[number - 1] = [(item, qty + 100) for item, qty in rows[number - 1]]
    if number % 7 == 0:
        rows.pop(number - 5, None)


def _wanted(name, numbers):
    """What a table holds after these transactions, ids aside."""
    rows = {}
    for number in range(numbers):
        _after(rows, name, number)
    return sorted(row for each in rows.values() for row in each)


def _sound_after(kill, name):
    """Every tenth time the node looks too, which seals what the killed process left; else the next process finds it as it is.
    A file that has grown large is looked at by SQLite every tenth time as well."""
    if kill % 10 == 9:
        sound(name)
    elif os.path.getsize(name) < 20_000_000:
        equal(plain(name, "PRAGMA integrity_check"), [("ok",)], f"{name} after kill {kill}")


def a_writer_killed_at_random_moments_loses_no_acknowledged_transaction():
    r = random.Random(1)
    a = Shell("a.db")
    ticket = found(a)
    b = Shell("b.db")
    join(b, ticket)
    a.close()
    next_number, kills = 0, sizes(20, 200)
    for kill in range(kills):
        writer = Script(WRITER, "a.db", next_number)
        equal(writer.line(), "open", "the writer")
        end = time.monotonic() + r.choice([0, 0.005, 0.05, 0.3]) * r.random()
        acknowledged = next_number - 1
        while time.monotonic() < end:
            acknowledged = int(writer.line())
        writer.process.kill()
        for line in writer.process.stdout.read().split():
            acknowledged = int(line)
        writer.process.wait()
        # The one that was not acknowledged may be there or not; all others must.
        held = plain("a.db", "SELECT item, qty FROM sale ORDER BY item, qty")
        done = acknowledged + 1
        if sorted(held) != _wanted("a.db", done):
            done += 1
            equal(sorted(held), _wanted("a.db", done), f"rows after {acknowledged} was acknowledged")
        next_number = done
        _sound_after(kill, "a.db")
    a = Shell("a.db")
    start = time.monotonic()
    same("a.db", "b.db", 30)
    figure("kills of a writer", f"{kills}, {next_number} transactions; equal {time.monotonic() - start:.1f} s after the last restart")
    a.ok("SELECT p2p_sync(10000)")
    a.close(), b.close()
    sound("a.db"), sound("b.db")
    equal(sorted(plain("b.db", "SELECT item, qty FROM sale")), _wanted("a.db", next_number), "rows at the peer")


def a_receiver_killed_in_the_midst_of_a_stream_becomes_equal():
    r = random.Random(2)
    a = Shell("a.db")
    ticket = found(a)
    run(f"from host import *\nc = connect('b.db'); one(c, 'SELECT p2p_join(?)', {ticket!r}); "
        "until('schema', lambda: one(c, \"SELECT count(*) FROM sqlite_schema WHERE name='sale'\")); c.close()")
    receiver = """
from host import *
c = connect("b.db")
print("open", flush=True)
sys.stdin.read()
"""
    writer = Script(WRITER, "a.db", 0, "says nothing")
    kills = sizes(20, 200)
    for number in range(kills):
        process = Script(receiver)
        equal(process.line(), "open", "the receiver")
        before = plain("b.db", "SELECT count(*) FROM sale")[0][0]
        if number % 2:
            until("rows come", lambda: plain("b.db", "SELECT count(*) FROM sale")[0][0] > before)
        end = time.monotonic() + 0.1 * r.random()
        until("a moment", lambda: time.monotonic() > end, every=0.001)
        process.kill()
        _sound_after(number, "b.db")
    writer.kill()
    b = Shell("b.db")
    start = time.monotonic()
    a.ok("SELECT p2p_sync(10000)")
    same("a.db", "b.db", 30)
    figure("kills of a receiver", f"{kills}, {plain('a.db', 'SELECT count(*) FROM sale')[0][0]} rows; equal {time.monotonic() - start:.1f} s after the last restart")
    a.close(), b.close()
    sound("a.db"), sound("b.db")


def both_killed_again_and_again_become_equal():
    r = random.Random(3)
    a = Shell("a.db")
    ticket = found(a)
    b = Shell("b.db")
    join(b, ticket)
    a.close(), b.close()
    kills = sizes(10, 100)
    numbers = {"a.db": 0, "b.db": 0}
    for kill in range(kills):
        writers = {name: Script(WRITER, name, numbers[name]) for name in numbers}
        for name, writer in writers.items():
            equal(writer.line(), "open", name)
        end = time.monotonic() + 0.4 * r.random()
        until("a moment", lambda: time.monotonic() > end, every=0.001)
        for name, writer in sorted(writers.items(), key=lambda _: r.random()):
            writer.process.kill()
            acknowledged = [int(line) for line in writer.process.stdout.read().split()]
            writer.process.wait()
            last = acknowledged[-1] if acknowledged else numbers[name] - 1
            # What was committed and not said is known from the file.
            held = plain(name, "SELECT count(*) FROM sale WHERE item = ?", f"{name} {last + 1}")[0][0]
            numbers[name] = last + 1 + (held > 0)
            _sound_after(kill, name)
    a, b = Shell("a.db"), Shell("b.db")
    start = time.monotonic()
    same("a.db", "b.db", 30)
    figure("kills of both", f"{kills}; equal {time.monotonic() - start:.1f} s after the last restart, {sum(numbers.values())} transactions")
    wanted = sorted(_wanted("a.db", numbers["a.db"]) + _wanted("b.db", numbers["b.db"]))
    equal(sorted(plain("a.db", "SELECT item, qty FROM sale")), wanted, "rows")
    a.close(), b.close()
    sound("a.db"), sound("b.db")
