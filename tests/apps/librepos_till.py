"""LibrePOS at a till: its own pages through Flask's client, and its own models where it has no page yet (this version takes no
payment and no quantity). See `member.py` for how it is driven. `librepos_till.py FILE`."""

import os
import sys

sys.path[:0] = [os.path.dirname(os.path.abspath(__file__)), os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "hosts")]
os.environ.update(DATABASE_URL=f"sqlite:///{sys.argv[1]}", SECRET_KEY="of a test", TIMEZONE="UTC")

from sqlalchemy import event
from sqlalchemy.engine import Engine

import member
from librepos import create_app
from librepos.extensions import db
from librepos.models.menu_items import MenuItem
from librepos.models.shop_orders import ShopOrder
from librepos.models.users import User
from librepos.utils.enums import OrderStateEnum
from librepos.order.repository import OrderRepository
from librepos.menu.repository import MenuRepository
from librepos.user.repository import UserRepository


@event.listens_for(Engine, "connect")
def load(connection, _):
    member.load(connection)


app = create_app()
app.config["WTF_CSRF_ENABLED"] = False
client = app.test_client()


def execute(sql, values):
    with app.app_context():
        connection = db.engine.raw_connection()
        try:
            cursor = connection.cursor()
            rows = cursor.execute(sql, values).fetchall()
            cursor.close()
            connection.commit()
            return rows
        finally:
            connection.close()


def initdb():
    """`flask initdb`: its tables and what it seeds them with."""
    result = app.test_cli_runner().invoke(args=["initdb"])
    assert result.exit_code == 0, result.output


def login(email):
    answer = client.post("/auth/login", data={"email": email, "password": "librepos"})
    assert answer.status_code == 302, answer.text


def hire(email):
    """A cashier, with the rights of an administrator."""
    with app.app_context():
        UserRepository().create({"first_name": "a", "middle_name": None, "last_name": "cashier", "email": email,
                                    "password": "librepos", "active": True, "role_id": 1})


def offer(name, price):
    """Puts a thing on the menu; gives its id."""
    with app.app_context():
        return MenuRepository.create_item({"group_id": 1, "name": name, "description": "", "price": price}).id


def reprice(name, price):
    with app.app_context():
        item = MenuItem.query.filter_by(name=name).one()
        MenuRepository().update_item(item.id, {"price": price})


def sell(lines, paid):
    """An order, its lines (item, quantity) and its payment; gives id and number."""
    answer = client.post("/orders/create-order")
    assert answer.json == {"success": True}, answer.text
    order_id = int(answer.headers["HX-Redirect"].rsplit("/", 1)[1])
    for item_id, _ in lines:
        answer = client.post(f"/orders/add-item-to-order/{order_id}/{item_id}")
        assert answer.json == {"success": True}, answer.text
    with app.app_context():
        order = db.session.get(ShopOrder, order_id)
        for line, (_, quantity) in zip(sorted(order.items, key=lambda line: line.id), lines):
            line.quantity, line.price, line.total = quantity, line.menu_item.price, quantity * line.menu_item.price
        total = sum(line.total for line in order.items)
        db.session.commit()
        OrderRepository().update_order(order_id, {"subtotal_amount": total, "total_amount": total, "paid_amount": paid,
                                                  "due_amount": total - paid, "status": OrderStateEnum.COMPLETED})
        return [order_id, order.order_number]


def void(order_id):
    answer = client.post(f"/orders/void-order/{order_id}")
    assert answer.json == {"success": True}, answer.text


def orders():
    """Every order as the application shows it, without its id."""
    with app.app_context():
        return sorted([order.user.email, order.order_number, order.status.name, order.subtotal_amount, order.total_amount,
                       order.paid_amount, order.due_amount,
                       sorted([line.item_name, line.quantity, line.price, line.total, line.menu_item.price]
                              for line in order.items)] for order in ShopOrder.query.all())


def page(path):
    """A page's status and text."""
    answer = client.get(path)
    return [answer.status_code, answer.text]


member.serve(execute, {f.__name__: f for f in (initdb, login, hire, offer, reprice, sell, void, orders, page)})
