"""The schema editors of Django and SQLAlchemy on a tracked table, while the other database is away and writes."""

from member import Member, agree, carry, connect, equal, group, one, plain

ROWS = 40
# Products after this one have no note: what is made NOT NULL must be filled there.
EMPTY = 35
STEPS = ["add", "rename", "alter", "drop"]


def _found():
    maker = Member("schema_editor.py", "a.db", env={"EDITOR_WITHOUT": "1"})
    maker.ask("create")
    maker.close()
    conn = connect("a.db")
    conn.execute("PRAGMA foreign_keys = ON")
    conn.execute("INSERT INTO stock_supplier(name) VALUES('one'), ('two')")
    conn.executemany("INSERT INTO stock_product(name, price, note, legacy, barcode) VALUES(?, ?, ?, 'x', ?)",
                     [(f"product {n}", n, None if n > EMPTY else f"note {n}", f"B{n}") for n in range(1, ROWS + 1)])
    conn.execute("INSERT INTO stock_line(product_id, quantity) SELECT id, 1 FROM stock_product")
    away = connect("b.db")
    group(conn, [away])
    conn.close()
    away.execute("PRAGMA foreign_keys = ON")
    return away


def _write_away(away, step):
    """What the other database's user does while a column is changed that he does not know to be."""
    n = STEPS.index(step) + 1
    away.execute("UPDATE stock_product SET note = ? WHERE id = ?", (f"away {step}", n))
    away.execute("UPDATE stock_product SET price = ? WHERE id = ?", (100 + n, 10 + n))
    away.execute("UPDATE stock_product SET legacy = 'written in vain' WHERE id = ?", (20 + n,))
    away.execute("INSERT INTO stock_product(name, price, note, legacy, barcode) VALUES(?, ?, ?, 'y', ?)", (f"away {step}", n, f"new {step}", f"A{n}"))
    away.execute("INSERT INTO stock_line(product_id, quantity) SELECT max(id), 7 FROM stock_product")
    away.execute("DELETE FROM stock_product WHERE id = ? AND NOT EXISTS (SELECT 1 FROM stock_line l WHERE l.product_id = stock_product.id)", (30 + n,))
    away.execute("DELETE FROM stock_line WHERE product_id = ?", (30 + n,))
    away.execute("DELETE FROM stock_product WHERE id = ?", (30 + n,))
    one(away, "SELECT p2p_seal()")


def _write_here(step):
    """What is written beside the editor, by whatever names the columns have just then."""
    n = STEPS.index(step) + 1
    conn = connect("a.db")
    names = [row[1] for row in conn.execute("PRAGMA table_info(stock_product)")]
    note = "remark" if "remark" in names else "note"
    conn.execute(f"UPDATE stock_product SET {note} = ? WHERE id = ?", (f"here {step}", 24 + n))
    conn.execute("INSERT INTO stock_line(product_id, quantity) VALUES(?, 9)", (n,))
    conn.close()


def _reunited(away, steps):
    here = connect("a.db")
    for _ in range(2):
        carry(away, here)
        carry(here, away)
    for conn in (here, away):
        equal(conn.execute("SELECT name, state, note FROM p2p_tables WHERE state <> 'tracked' OR coalesce(note, '') <> ''").fetchall(), [])
        names = {row[1] for row in conn.execute("PRAGMA table_info(stock_product)")}
        assert {"colour", "remark"} <= names and not {"note", "legacy"} & names, names
        for step in steps:
            n = STEPS.index(step) + 1
            get = lambda sql, *values: conn.execute(sql, values).fetchall()
            equal(get("SELECT remark FROM stock_product WHERE id = ?", n), [(f"away {step}",)], f"{step}: a value under a renamed column")
            equal(get("SELECT price, typeof(price) FROM stock_product WHERE id = ?", 10 + n), [(100 + n, "integer")], f"{step}: a value of another type")
            equal(get("SELECT remark, price, colour FROM stock_product WHERE name = ?", f"away {step}"), [(f"new {step}", n, "grey")], f"{step}: a row")
            equal(get("SELECT l.quantity FROM stock_line l JOIN stock_product p ON p.id = l.product_id WHERE p.name = ?", f"away {step}"), [(7,)],
                  f"{step}: what refers to the row")
            equal(get("SELECT count(*) FROM stock_product WHERE id = ?", 30 + n), [(0,)], f"{step}: a row deleted")
            equal(get("SELECT count(*) FROM stock_line WHERE product_id = ?", n), [(2,)], f"{step}: what was written beside the editor")
            equal(get("SELECT remark FROM stock_product WHERE id = ?", 24 + n), [(f"here {step}",)], f"{step}: a value written beside the editor")
        equal(get("SELECT count(*) FROM stock_product"), [(ROWS,)])
        equal(get("SELECT count(*) FROM stock_product WHERE remark IS NULL"), [(0,)], "remark is NOT NULL")
        equal(get("SELECT DISTINCT remark FROM stock_product WHERE id BETWEEN ? AND ?", EMPTY + 1, ROWS), [("none",)], "what was filled in")
    # And on: what the new columns hold goes both ways.
    here.execute("UPDATE stock_product SET colour = 'red', price = 2.5 WHERE id = 5")
    away.execute("UPDATE stock_product SET colour = 'blue', remark = 'seen' WHERE id = 6")
    one(here, "SELECT p2p_seal()")
    carry(here, away)
    carry(away, here)
    for conn in (here, away):
        equal(conn.execute("SELECT colour, price FROM stock_product WHERE id = 5").fetchall(), [("red", 2.5)])
        equal(conn.execute("SELECT colour, remark FROM stock_product WHERE id = 6").fetchall(), [("blue", "seen")])
    here.close()
    away.close()
    agree(["a.db", "b.db"])


def _edited_by(does, without):
    away = _found()
    editor = Member("schema_editor.py", "a.db", env={"EDITOR_WITHOUT": "1"} if without else {})
    editor.ask("known")
    for step in STEPS:
        does(editor, step)
        _write_here(step)
        _write_away(away, step)
    editor.close()
    _reunited(away, STEPS)


def _in_one_go(does):
    """All four before anybody looks."""
    away = _found()
    editor = Member("schema_editor.py", "a.db", env={"EDITOR_WITHOUT": "1"})
    editor.ask("known")
    _write_away(away, "add")
    for step in STEPS:
        does(editor, step)
    editor.close()
    _write_here("add")
    _reunited(away, ["add"])


def _django(editor, step):
    editor.ask("django_does", step)


def _batch(editor, step):
    editor.ask("alembic_does", step, "always")


def _alter(editor, step):
    # SQLite can't alter a column: Alembic rebuilds the table for that one.
    editor.ask("alembic_does", step, "auto")


def django_adds_renames_alters_and_drops_columns():
    _edited_by(_django, without=False)


def django_that_never_heard_of_us_adds_renames_alters_and_drops_columns():
    _edited_by(_django, without=True)


def django_changes_all_before_anybody_looks():
    _in_one_go(_django)


def alembic_batches_add_rename_alter_and_drop_columns():
    _edited_by(_batch, without=False)


def alembic_batches_that_never_heard_of_us_add_rename_alter_and_drop_columns():
    _edited_by(_batch, without=True)


def alembic_batches_change_all_before_anybody_looks():
    _in_one_go(_batch)


def alembic_alters_the_table_where_sqlite_can():
    _edited_by(_alter, without=False)


def constraints_and_a_name_that_django_gives_a_table_reach_the_other():
    away = _found()
    editor = Member("schema_editor.py", "a.db")
    editor.ask("known")
    for step in STEPS:
        editor.ask("django_does", step)
    for change in ("constrain", "rename_table"):
        editor.ask("django_does", change)
    editor.close()
    # Two that Django will not have any more: a debt, and a name twice.
    away.execute("INSERT INTO stock_product(name, price, note, barcode) VALUES('a debt', -1, '', 'D1'), ('product 1', 1, '', 'D2')")
    away.execute("UPDATE stock_line SET quantity = 3 WHERE product_id = 1")
    one(away, "SELECT p2p_seal()")
    here = connect("a.db")
    for _ in range(2):
        carry(away, here)
        carry(here, away)
    for conn in (here, away):
        names = [name for (name,) in conn.execute("SELECT name FROM stock_article WHERE id > ? ORDER BY name", (ROWS,))]
        equal(len(names), 1, f"rows that can be shown: {names}")
        assert names[0].startswith("product 1~"), names
        equal(conn.execute("SELECT DISTINCT key FROM p2p_conflicts WHERE value = 'a debt'").fetchall() != [], True, "the debt is listed")
        equal(conn.execute("SELECT l.quantity FROM stock_line l JOIN stock_article a ON a.id = l.product_id WHERE a.id = 1").fetchall(), [(3,)])
    here.close()
    away.close()
    agree(["a.db", "b.db"], parked=1)
