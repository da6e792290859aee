"""A shop of django-oscar: its own migrations and its own check-out. See `member.py` for how it is driven. `oscar_shop.py FILE`.

At an earlier migration the models of today can't be used; Django has those of then (`old`)."""

import os
import pathlib
import sys
from decimal import Decimal

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parent), str(pathlib.Path(__file__).resolve().parent.parent / "hosts")]
os.environ.update(DJANGO_SETTINGS_MODULE="oscar_settings", SHOP_DATABASE=sys.argv[1])

import django

django.setup()

from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import connection, transaction
from django.db.backends.signals import connection_created
from django.db.migrations.executor import MigrationExecutor
from django.test import Client
from django.utils import timezone
from oscar.core.loading import get_class, get_model

import member

USER = get_user_model()


def load(connection, **_):
    member.load(connection.connection)


if os.environ.get("SHOP_WITHOUT") != "1":
    connection_created.connect(load)


def execute(sql, values):
    with connection.cursor() as cursor:
        # Django's own placeholders would take a percent sign for one.
        return cursor.cursor.execute(sql, values).fetchall() if hasattr(cursor, "cursor") else []


def nodes(limits):
    """The migrations up to which to go: those named, and the last of every other application."""
    leaves = MigrationExecutor(connection).loader.graph.leaf_nodes()
    return [(app, limits.get(app, name)) for app, name in leaves]


def migrate(limits):
    """`migrate`, or as far as is said; gives how many migrations that were."""
    executor = MigrationExecutor(connection)
    before = len(executor.loader.applied_migrations)
    if limits:
        executor.migrate(nodes(limits))
        from django.core.management.sql import emit_post_migrate_signal
        emit_post_migrate_signal(0, False, "default")
    else:
        call_command("migrate", verbosity=0)
    return len(MigrationExecutor(connection).loader.applied_migrations) - before


def unapplied():
    """What `migrate` would still do."""
    executor = MigrationExecutor(connection)
    return [str(m) for m, _ in executor.migration_plan(executor.loader.graph.leaf_nodes())]


def stock(titles):
    """A catalogue: products with a price and ten of each in stock."""
    partner = get_model("partner", "Partner").objects.create(name="A supplier", code="a-supplier")
    kind = get_model("catalogue", "ProductClass").objects.create(name="Tea", slug="tea")
    for number, title in enumerate(titles):
        product = get_model("catalogue", "Product").objects.create(title=title, slug=f"p{number}", upc=f"U{number}", product_class=kind)
        product.stockrecords.create(partner=partner, partner_sku=f"S{number}", price=Decimal(5 + number), num_in_stock=1000)
    get_model("address", "Country").objects.create(iso_3166_1_a2="NL", printable_name="Netherlands", name="Netherlands")
    get_model("payment", "SourceType").objects.create(name="Card", code="card")


def checkout(email, lines):
    """A customer, a basket, an address, an order, and its payment; gives its number."""
    with transaction.atomic():
        user, _ = USER.objects.get_or_create(email=email, defaults={"username": email})
        basket = get_model("basket", "Basket").objects.create(owner=user)
        basket.strategy = get_class("partner.strategy", "Default")()
        for title, quantity in lines:
            basket.add_product(get_model("catalogue", "Product").objects.get(title=title), quantity)
        country = get_model("address", "Country").objects.get(pk="NL")
        address = get_model("order", "ShippingAddress").objects.create(first_name=email, line1="Dam 1", line4="Amsterdam",
                                                                       postcode="1012", country=country)
        shipping = get_class("shipping.methods", "Free")()
        charge = shipping.calculate(basket)
        total = get_class("checkout.calculators", "OrderTotalCalculator")().calculate(basket, charge)
        order = get_class("order.utils", "OrderCreator")().place_order(
            basket=basket, total=total, shipping_method=shipping, shipping_charge=charge, user=user, shipping_address=address)
        source = order.sources.create(source_type=get_model("payment", "SourceType").objects.get(code="card"))
        source.allocate(order.total_incl_tax, reference=email)
        source.debit(reference=email)
        basket.submit()
    return order.number


def orders():
    """Every order as the application has it, without ids."""
    return sorted([o.user.email, o.basket.owner.email, o.number, str(o.total_incl_tax), o.shipping_address.first_name,
                   sorted([l.title, l.product.title, l.stockrecord.partner_sku, l.quantity, str(l.line_price_incl_tax),
                           l.prices.count()] for l in o.lines.all()),
                   sorted([str(s.amount_debited), sorted([t.txn_type, str(t.amount), t.reference] for t in s.transactions.all())]
                          for s in o.sources.all())] for o in get_model("order", "Order").objects.all())


def old_checkout(limits, email, lines):
    """An order at an earlier migration, by the models of then."""
    apps = MigrationExecutor(connection).loader.project_state(nodes(limits)).apps
    model = apps.get_model
    with transaction.atomic():
        user = model("auth", "User").objects.create(username=email, email=email)
        basket = model("basket", "Basket").objects.create(owner=user, status="Submitted")
        total = Decimal(0)
        order = model("order", "Order").objects.create(
            number=str(100000 + basket.id), basket_id=basket.id, user_id=user.id, total_incl_tax=0, total_excl_tax=0, shipping_method="Free", date_placed=timezone.now(),
            shipping_address=model("order", "ShippingAddress").objects.create(
                first_name=email, line1="Dam 1", line4="Amsterdam", country=model("address", "Country").objects.get(pk="NL")))
        for title, quantity in lines:
            product = model("catalogue", "Product").objects.get(title=title)
            record = model("partner", "StockRecord").objects.get(product_id=product.id)
            record.num_allocated = (record.num_allocated or 0) + quantity
            record.save()
            price = quantity * Decimal(5)
            line = model("order", "Line").objects.create(
                order=order, product_id=product.id, stockrecord_id=record.id, partner_id=record.partner_id, partner_sku=record.partner_sku,
                title=title, quantity=quantity, line_price_incl_tax=price, line_price_excl_tax=price,
                line_price_before_discounts_incl_tax=price, line_price_before_discounts_excl_tax=price)
            model("order", "LinePrice").objects.create(order=order, line=line, quantity=quantity, price_incl_tax=5, price_excl_tax=5)
            total += price
        order.total_incl_tax = order.total_excl_tax = total
        order.save()
        source = model("payment", "Source").objects.create(
            order_id=order.id, source_type=model("payment", "SourceType").objects.get(code="card"), amount_debited=total)
        source.transactions.create(txn_type="Debit", amount=total, reference=email)
    return order.number


def old_stock(limits, titles):
    """A catalogue at an earlier migration."""
    model = MigrationExecutor(connection).loader.project_state(nodes(limits)).apps.get_model
    partner = model("partner", "Partner").objects.create(name="A supplier", code="a-supplier")
    kind = model("catalogue", "ProductClass").objects.create(name="Tea", slug="tea")
    for number, title in enumerate(titles):
        product = model("catalogue", "Product").objects.create(title=title, slug=f"p{number}", upc=f"U{number}", product_class=kind)
        model("partner", "StockRecord").objects.create(
            product_id=product.id, partner=partner, partner_sku=f"S{number}", price_excl_tax=5, num_in_stock=1000)
    model("address", "Country").objects.create(iso_3166_1_a2="NL", printable_name="Netherlands", name="Netherlands")
    model("payment", "SourceType").objects.create(name="Card", code="card")


def page(path):
    """A page's status."""
    return Client(SERVER_NAME="localhost").get(path).status_code


member.serve(execute, {f.__name__: f for f in (migrate, unapplied, stock, checkout, orders, old_checkout, old_stock, page)})
