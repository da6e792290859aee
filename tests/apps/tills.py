"""LibrePOS: three tills that were apart. Each wrote orders under the ids and numbers that the others took, sold what all sell."""

import collections
import itertools
import random
import shutil

from member import Member, agree, cached, carry, connect, equal, figure, group, level, one, plain, sizes

TILLS = ["a", "b", "c"]
# What all three tills sell: the items that LibrePOS is seeded with, by id.
MENU = [1, 2]
SEED = 20261129


def _make(database):
    till = Member("librepos_till.py", database)
    till.ask("initdb")
    for name in TILLS:
        till.ask("hire", f"{name}@till.example")
    till.close()


def _found():
    """Three files of one group, with LibrePOS's own tables and seeds."""
    shutil.move(cached("librepos.db", _make), "a.db")
    connections = [connect(f"{name}.db") for name in TILLS]
    took = group(connections[0], connections[1:])
    for conn in connections:
        conn.close()
    figure("tracking the 11 tables of LibrePOS", f"{took:.3f} s")
    return [f"{name}.db" for name in TILLS]


def _work(tills, rng, rounds):
    """What each till does while it is alone; gives the orders as each till shows them, and how often a number was given."""
    numbers = collections.Counter()
    ids = collections.Counter()
    for name, till in zip(TILLS, tills):
        till.ask("login", f"{name}@till.example")
        # The same thing put on three menus, at three prices, and a cashier hired three times.
        special = till.ask("offer", "lemonade", 200 + ord(name))
        till.ask("hire", "temp@till.example")
        till.ask("reprice", "Soda2", 150 + ord(name))
        for _ in range(rounds):
            lines = [(rng.choice([*MENU, special]), rng.randrange(1, 9)) for _ in range(rng.randrange(1, 5))]
            order, number = till.ask("sell", lines, rng.randrange(0, 2000))
            ids[order] += 1
            numbers[number] += 1
        till.ask("void", order)
    return numbers, ids


def _without_menu_prices(orders):
    """Orders without what the menu says of their items now, which a till may change for all."""
    return [[*order[:-1], [line[:-1] for line in order[-1]]] for order in orders]


def _kept(shown, written):
    equal(_without_menu_prices(shown), sorted(o for orders in written for o in _without_menu_prices(orders)),
          "orders, their numbers, totals, payments and lines")
    for order in shown:
        for item, _, price, _, now in order[-1]:
            if "Lemonade" in item:
                # Each line is still about the lemonade of its own till.
                equal(now, price, f"the price of the item that {order[0]} sold")
                equal(price, 200 + ord(order[0][0]), f"the price at which {order[0]} sold")


def _apart(rounds):
    """Three tills that worked apart and were closed; gives their files and their orders as they wrote them."""
    files = _found()
    tills = [Member("librepos_till.py", file) for file in files]
    numbers, ids = _work(tills, random.Random(SEED), rounds)
    equal([max(numbers.values()), max(ids.values())], [3, 3], "how many tills gave one number, one id")
    written = [till.ask("orders") for till in tills]
    for till in tills:
        equal(till.value("SELECT p2p_seal() >= 0"), 1)
        till.close()
    for file in files:
        # They will be copied, and the application leaves its connections to the end of the process.
        equal(plain(file, "PRAGMA wal_checkpoint(TRUNCATE)"), [(0, 0, 0)])
    return files, written


def _settled(files):
    """Three lemonades and three temporary cashiers are kept, under values that differ, and are told of."""
    for file in files:
        for table, column, like in [("menu_items", "name", "Lemonade%"), ("menu_items", "slug", "lemonade%"),
                                    ("users", "email", "temp@till.example%")]:
            (count, kinds), = plain(file, f"SELECT count(*), count(DISTINCT {column}) FROM {table} WHERE {column} LIKE ?", like)
            equal((count, kinds), (3, 3), f"{table}.{column}")
        conn = connect(file)
        told = one(conn, "SELECT count(*) FROM p2p_conflicts WHERE \"table\" = 'menu_items' AND \"column\" = 'name'")
        conn.close()
        equal(told, 2, "lemonades whose name is told as lost")


def three_tills_that_were_apart_have_every_order_when_the_network_is_back():
    files, written = _apart(sizes(12, 300))
    tills = [Member("librepos_till.py", file) for file in files]
    for till in tills:
        till.network("on")
    figure("three tills level", f"{level(tills):.2f} s")
    for till in tills:
        _kept(till.ask("orders"), written)
        equal(till.value("SELECT count(*) FROM p2p_conflicts WHERE \"table\" LIKE 'shop_%'"), 0, "orders that are not whole")
    # Work goes on: what was renumbered is found, changed and paid for, by any till.
    for name, till in zip(TILLS, tills):
        till.ask("login", f"{name}@till.example")
        order, _ = till.ask("sell", [(MENU[0], 1)], 100)
        equal(till.ask("page", f"/orders/{order}")[0], 200)
        long = till.value("SELECT max(id) FROM shop_orders WHERE user_id <> (SELECT id FROM users WHERE email = ?)", f"{name}@till.example")
        assert long > 1 << 32, long
        equal(till.ask("page", f"/orders/{long}")[0], 200)
        till.ask("void", long)
    level(tills)
    equal([len(till.ask("orders")) for till in tills], [sum(map(len, written)) + 3] * 3, "orders after three more")
    for till in tills:
        till.close()
    _settled(files)
    figure("rows compared", agree(files))


def tills_reunite_in_every_order_by_hand():
    files, written = _apart(sizes(5, 60))
    # Everything each till has is carried to each other one, in any order: 720.
    errands = list(itertools.permutations(itertools.permutations(range(3), 2)))
    chosen = random.Random(SEED).sample(errands, sizes(8, len(errands)))
    digests = set()
    for count, order in enumerate(chosen):
        here = []
        for file in files:
            for ending in ("", "-p2pdb"):
                shutil.copyfile(file + ending, f"{count}-{file}{ending}")
            here.append(f"{count}-{file}")
        connections = [connect(file) for file in here]
        for source, target in order:
            carry(connections[source], connections[target])
        for source, target in itertools.permutations(range(3), 2):
            carry(connections[source], connections[target])
        for conn in connections:
            digests.add(one(conn, "SELECT digest FROM p2p_status"))
            conn.close()
        agree(here)
        _settled(here)
        if count == 0:
            for file in here:
                till = Member("librepos_till.py", file)
                _kept(till.ask("orders"), written)
                till.close()
        else:
            agree([f"0-{files[0]}", here[0]])
    equal(len(digests), 1, f"digests after {len(chosen)} orders of exchange, seed {SEED}")
