"""django-oscar: two shops of one group, their check-outs at once, and `migrate` in one while the other is away."""

import os
import random
import shutil

from member import Member, agree, cached, carry, connect, equal, figure, group, level, one, plain, sizes, tables

TITLES = ["Assam", "Ceylon", "Darjeeling"]
SHOPS = ["a", "b"]
SEED = 20261129
# As of Oscar 2.0: what came after adds, renames, alters and removes columns, adds and removes tables and fills columns.
OSCAR_2 = {
    "address": "0006_auto_20181115_1953", "analytics": "0002_auto_20140827_1705", "basket": "0008_auto_20181115_1953",
    "catalogue": "0016_auto_20190327_0757", "reviews": "0004_auto_20170429_0941", "customer": "0006_auto_20190430_1736",
    "communication": "0003_remove_notification_category_make_code_uppercase",
    "offer": "0008_auto_20181115_1953", "order": "0008_auto_20190301_1035", "partner": "0005_auto_20181115_1953",
    "payment": "0004_auto_20181115_1953", "voucher": "0007_auto_20181115_1953", "wishlists": "0002_auto_20160111_1108",
}


def _make_new(database):
    shop = Member("oscar_shop.py", database, env={"SHOP_WITHOUT": "1"})
    shop.ask("migrate", {})
    shop.ask("stock", TITLES)
    shop.close()


def _make_old(database):
    shop = Member("oscar_shop.py", database, env={"SHOP_WITHOUT": "1"})
    shop.ask("migrate", OSCAR_2)
    shop.ask("old_stock", OSCAR_2, TITLES)
    shop.close()


def _found(name, make):
    shutil.move(cached(name, make), "a.db")
    count = len(tables("a.db"))
    connections = [connect(f"{shop}.db") for shop in SHOPS]
    took = group(connections[0], connections[1:])
    for conn in connections:
        conn.close()
    figure(f"tracking the {count} tables of django-oscar", f"{took:.3f} s")
    assert took < 1.0, f"tracking {count} tables took {took:.3f} s"
    return count, [f"{shop}.db" for shop in SHOPS]


def _lines(rng):
    return [(title, rng.randrange(1, 5)) for title in rng.sample(TITLES, rng.randrange(1, 4))]


def check_outs_of_two_shops_that_were_apart_are_all_there():
    count, files = _found("oscar.db", _make_new)
    equal(count, 94, "tables of django-oscar")
    shops = [Member("oscar_shop.py", file) for file in files]
    rng = random.Random(SEED)
    numbers = [[shop.ask("checkout", f"{name}{n}@shop.example", _lines(rng)) for n in range(sizes(10, 200))]
               for name, shop in zip(SHOPS, shops)]
    # Both know a customer that the other does not.
    for shop in shops:
        shop.ask("checkout", "regular@shop.example", [("Assam", 1)])
    equal(numbers[0], numbers[1], "the numbers that both shops gave")
    written = [shop.ask("orders") for shop in shops]
    for shop in shops:
        shop.network("on")
    figure("two shops level", f"{level(shops):.2f} s")
    for shop in shops:
        _kept(shop.ask("orders"), written)
        equal(shop.ask("page", "/catalogue/"), 200)
    # It goes on: the next check-outs are in neither's way.
    for name, shop in zip(SHOPS, shops):
        shop.ask("checkout", f"later-{name}@shop.example", [("Ceylon", 2)])
        level(shops)
    for shop in shops:
        equal(len(shop.ask("orders")), sum(map(len, written)) + 2)
        shop.close()
    # Oscar's statistics have a row for each product, one to one and NOT NULL: of two that were made, one can only be listed.
    figure("rows compared", agree(files, parked=len(TITLES)))
    conn = connect(files[0])
    listed = conn.execute("SELECT \"table\", count(DISTINCT key) FROM p2p_conflicts WHERE reason LIKE 'the row is kept%' GROUP BY 1").fetchall()
    conn.close()
    equal(listed, [("analytics_productrecord", len(TITLES))], "rows that are kept and not shown")


def _kept(shown, written):
    """Every order with its customer, lines and payment. The numbers are UNIQUE: the later order of two shows one derived from
    it, that begins with what was printed."""
    plainly = lambda orders: sorted([*o[:2], o[2].split("~")[0], *o[3:]] for o in orders)
    wanted = plainly(o for orders in written for o in orders)
    equal([_person(o) for o in plainly(shown)], [_person(o) for o in wanted], "orders")
    equal(len({o[2] for o in shown}), len(shown), "order numbers that differ")


def _person(order):
    """The regular customer was made twice, by two databases: two rows, one of which shows a derived name."""
    return [*(cell.split("~")[0] if isinstance(cell, str) else cell for cell in order)]


def a_shop_is_migrated_while_the_other_is_away_and_sells():
    count, files = _found("oscar-2.db", _make_old)
    shops = [Member("oscar_shop.py", file) for file in files]
    rng = random.Random(SEED)
    sold = {}

    def sell(shop, action, email, *arguments):
        lines = _lines(rng)
        number = shop.ask(action, *arguments, email, lines)
        sold[email] = (str(number), sorted(lines))

    for name, shop in zip(SHOPS, shops):
        for n in range(sizes(5, 50)):
            sell(shop, "old_checkout", f"{name}{n}@shop.example", OSCAR_2)
    done = shops[0].ask("migrate", {})
    figure("migrations that ran", done)
    assert done > 40, done
    for n in range(sizes(5, 50)):
        sell(shops[0], "checkout", f"new{n}@shop.example")
        sell(shops[1], "old_checkout", f"away{n}@shop.example", OSCAR_2)
    for shop in shops:
        shop.network("on")
    figure("level after the migrations", f"{level(shops, 120):.2f} s")
    for shop in shops:
        equal(shop.ask("unapplied"), [], "migrations to do")
        equal(shop.sql("SELECT name, state, note FROM p2p_tables WHERE state <> 'tracked' OR note IS NOT NULL AND note <> ''"), [])
    shown = [shop.ask("orders") for shop in shops]
    equal(shown[0], shown[1])
    # Email, number as printed, lines: nothing that was sold under either schema is missing, and each has its payment.
    equal({o[0]: (o[2].split("~")[0], sorted((l[0], l[3]) for l in o[5])) for o in shown[0]}, sold, "orders")
    equal([len(o[6]) for o in shown[0]], [1] * len(sold), "payments of each order")
    equal([float(o[3]) - sum(float(l[4]) for l in o[5]) for o in shown[0]], [0.0] * len(sold), "total less lines")
    for name, shop in zip(SHOPS, shops):
        shop.ask("checkout", f"later-{name}@shop.example", [("Ceylon", 2)])
        level(shops)
    for shop in shops:
        shop.close()
    figure("rows compared", agree(files))
