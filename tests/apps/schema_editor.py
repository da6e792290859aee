"""The schema editors of Django and of SQLAlchemy (Alembic) on a database. See `member.py` for how it is driven.
`schema_editor.py FILE`; with EDITOR_WITHOUT=1 it has never heard of the extension."""

import os
import pathlib
import sys

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parent), str(pathlib.Path(__file__).resolve().parent.parent / "hosts")]

import django
import sqlalchemy as sa
from alembic.migration import MigrationContext
from alembic.operations import Operations
from django.conf import settings

import member

settings.configure(
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": sys.argv[1]}},
    DEFAULT_AUTO_FIELD="django.db.models.AutoField", INSTALLED_APPS=[], USE_TZ=True)
django.setup()

from django.db import connection, migrations, models
from django.db.backends.signals import connection_created
from django.db.migrations.state import ProjectState

engine = sa.create_engine(f"sqlite:///{sys.argv[1]}", poolclass=sa.NullPool)
if os.environ.get("EDITOR_WITHOUT") != "1":
    connection_created.connect(lambda connection, **_: member.load(connection.connection), weak=False)
    sa.event.listen(engine, "connect", lambda connection, _: member.load(connection))

CREATE = [
    migrations.CreateModel("Supplier", [("id", models.AutoField(primary_key=True)), ("name", models.CharField(max_length=40, unique=True))]),
    migrations.CreateModel("Product", [
        ("id", models.AutoField(primary_key=True)),
        ("name", models.CharField(max_length=40)),
        ("price", models.IntegerField(db_index=True)),
        ("note", models.TextField(null=True)),
        ("legacy", models.CharField(max_length=20, null=True)),
        ("barcode", models.CharField(max_length=20, unique=True)),
    ]),
    migrations.CreateModel("Line", [
        ("id", models.AutoField(primary_key=True)),
        ("product", models.ForeignKey("stock.Product", on_delete=models.CASCADE)),
        ("quantity", models.PositiveIntegerField()),
    ]),
]
CHANGE = {
    "add": [migrations.AddField("product", "colour", models.CharField(max_length=20, default="grey")),
            migrations.AddField("product", "supplier", models.ForeignKey("stock.Supplier", null=True, on_delete=models.SET_NULL))],
    "rename": [migrations.RenameField("product", "note", "remark")],
    "alter": [migrations.AlterField("product", "price", models.DecimalField(max_digits=10, decimal_places=2)),
              migrations.AlterField("product", "remark", models.TextField(default="none"), preserve_default=True)],
    "drop": [migrations.RemoveField("product", "legacy"), migrations.RemoveField("product", "barcode")],
    "constrain": [migrations.AddConstraint("product", models.CheckConstraint(condition=models.Q(price__gte=0), name="price_is_no_debt")),
                  migrations.AddConstraint("product", models.UniqueConstraint(fields=["name"], name="one_name")),
                  migrations.AddIndex("product", models.Index(fields=["colour", "name"], name="by_colour"))],
    "rename_table": [migrations.RenameModel("Product", "Article")],
}
state = ProjectState()


def _apply(operations):
    """As `migrate` does it, a migration an operation."""
    global state
    for operation in operations:
        after = state.clone()
        operation.state_forwards("stock", after)
        with connection.schema_editor(atomic=True) as editor:
            operation.database_forwards("stock", editor, state, after)
        state = after


def create():
    _apply(CREATE)


def known():
    """Makes Django know the tables that are there."""
    for operation in CREATE:
        operation.state_forwards("stock", state)


def django_does(change):
    _apply(CHANGE[change])


def _batch(recreate):
    def change(work):
        # As Alembic's own template of env.py does it, a transaction a migration.
        with engine.begin() as conn:
            operations = Operations(MigrationContext.configure(conn))
            with operations.batch_alter_table("stock_product", recreate=recreate) as batch:
                work(batch)
    return change


def _alembic_add(batch):
    batch.add_column(sa.Column("colour", sa.String(20), nullable=False, server_default="grey"))


def _alembic_alter(batch):
    batch.alter_column("price", type_=sa.Numeric(10, 2), existing_type=sa.Integer(), existing_nullable=False)
    batch.alter_column("remark", nullable=False, server_default="none", existing_type=sa.Text())


ALEMBIC = {
    "add": _alembic_add,
    "rename": lambda batch: batch.alter_column("note", new_column_name="remark", existing_type=sa.Text()),
    "alter": _alembic_alter,
    "drop": lambda batch: batch.drop_column("legacy"),
}


def alembic_does(change, recreate):
    if change == "alter":
        # NOT NULL is for rows that have a value: what every migration of this kind does first.
        with engine.begin() as conn:
            conn.execute(sa.text("UPDATE stock_product SET remark = 'none' WHERE remark IS NULL"))
    _batch(recreate)(ALEMBIC[change])


def execute(sql, values):
    with connection.cursor() as cursor:
        return cursor.cursor.execute(sql, values).fetchall()


member.serve(execute, {f.__name__: f for f in (create, known, django_does, alembic_does)})
