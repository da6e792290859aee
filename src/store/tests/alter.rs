//! Tables that are altered after they were announced.

use super::*;

const COLUMNS: &str =
    "SELECT group_concat(name || ' ' || type, ', ') FROM (SELECT * FROM pragma_table_info('sale') ORDER BY name)";

fn text(r: &Replica, sql: &str) -> String {
    let Sql::Text(text) = r.one(sql) else { panic!("{sql} gives no text: {:?}", r.one(sql)) };
    text
}

/// A pair that shares `schema`, with what `rows` inserts.
fn pair(schema: &str, table: &str, rows: &str) -> (Replica, Replica) {
    let mut a = Replica::new(1, schema, &[table]);
    let mut b = Replica::new(2, "", &[]);
    a.run(rows);
    a.seal(1000);
    b.take(&a);
    (a, b)
}

fn sale() -> (Replica, Replica) {
    pair(SALE, "sale", "INSERT INTO sale VALUES(1, 'tea', 2), (2, 'milk', 1)")
}

/// Both seal and exchange, are equal and say nothing of trouble.
fn meet(a: &mut Replica, b: &mut Replica, table: &str) {
    a.seal(5000);
    b.seal(5001);
    sync(a, b);
    // What they altered in answer would be told again.
    a.seal(6000);
    b.seal(6001);
    sync(a, b);
    a.equals(b, &[table]);
    for r in [&*a, &*b] {
        assert_eq!(r.rows("SELECT state, note FROM _p2p_table"), [[Sql::Integer(1), Sql::Text(String::new())]]);
        assert_eq!(r.rows("PRAGMA integrity_check"), [[Sql::Text("ok".into())]]);
        assert_eq!(r.one("SELECT count(*) FROM _p2p_mark"), Sql::Integer(0));
    }
}

#[test]
fn a_column_that_is_added_arrives_with_what_is_written_in_it() {
    let (mut a, mut b) = sale();
    a.run("ALTER TABLE sale ADD COLUMN price INTEGER NOT NULL DEFAULT 5; UPDATE sale SET price = 9 WHERE id = 2");
    a.seal(2000);
    b.take(&a);
    assert_eq!(b.rows("SELECT price FROM sale ORDER BY id"), [[Sql::Integer(5)], [Sql::Integer(9)]]);
    b.run("UPDATE sale SET price = 7 WHERE id = 1; INSERT INTO sale(id, item, price) VALUES(3, 'salt', 1)");
    meet(&mut a, &mut b, "sale");
    assert_eq!(a.rows("SELECT price FROM sale ORDER BY id"), [[Sql::Integer(7)], [Sql::Integer(9)], [Sql::Integer(1)]]);
}

#[test]
fn adding_a_column_changes_no_digest_and_touches_no_row() {
    let (mut a, _) = sale();
    let before = a.store.digest();
    a.run("ALTER TABLE sale ADD COLUMN price DEFAULT 5");
    a.seal(2000);
    assert_eq!(a.store.digest(), before);
    let entries = a.entries();
    a.seal(3000);
    assert_eq!(a.entries().len(), entries.len(), "nothing is left to tell");
    assert_eq!(a.view(|view| view.verify()).unwrap(), []);
}

#[test]
fn rows_from_before_a_column_show_its_default_whenever_they_arrive() {
    let (mut a, mut b) = sale();
    a.run("ALTER TABLE sale ADD COLUMN price TEXT DEFAULT 'free'");
    b.run("INSERT INTO sale VALUES(3, 'salt', 1); UPDATE sale SET qty = 8 WHERE id = 1");
    a.seal(2000);
    b.seal(2001);
    let mut c = Replica::new(3, "", &[]);
    let (of_a, of_b) = (a.entries(), b.entries());
    c.take_entries(&of_b);
    c.take_entries(&of_a);
    meet(&mut a, &mut b, "sale");
    for r in [&a, &b, &c] {
        let free = [Sql::Text("free".into())];
        assert_eq!(r.rows("SELECT price FROM sale"), [free.clone(), free.clone(), free]);
    }
    assert_eq!(a.store.digest(), c.store.digest());
}

#[test]
fn two_databases_that_add_different_columns_have_both() {
    let (mut a, mut b) = sale();
    a.run("ALTER TABLE sale ADD COLUMN price INTEGER DEFAULT 1; INSERT INTO sale VALUES(10, 'rice', 1, 100)");
    b.run("ALTER TABLE sale ADD COLUMN note TEXT; INSERT INTO sale VALUES(20, 'oil', 1, 'good')");
    a.seal(2000);
    b.seal(2001);
    sync(&mut a, &mut b);
    for r in [&a, &b] {
        assert_eq!(text(r, COLUMNS), "id INTEGER, item TEXT, note TEXT, price INTEGER, qty INTEGER");
        let shown = "SELECT group_concat(id || ':' || price || ':' || coalesce(note, '-'), ' ') FROM (SELECT * FROM sale ORDER BY id)";
        assert_eq!(text(r, shown), "1:1:- 2:1:- 10:100:- 20:1:good");
        assert_eq!(r.view(|view| view.verify()).unwrap(), []);
    }
    assert_eq!(a.store.digest(), b.store.digest());
}

#[test]
fn one_column_that_two_databases_add_is_one() {
    let (mut a, mut b) = sale();
    for (r, price) in [(&a, 3), (&b, 4)] {
        r.run(&format!(
            "ALTER TABLE sale ADD COLUMN price INTEGER DEFAULT 5; UPDATE sale SET price = {price} WHERE id = 1"
        ));
    }
    meet(&mut a, &mut b, "sale");
    assert_eq!(a.rows("SELECT price FROM sale ORDER BY id"), [[Sql::Integer(4)], [Sql::Integer(5)]]);
}

#[test]
fn of_one_column_that_two_databases_add_otherwise_the_later_type_and_the_earlier_fill_count() {
    let (mut a, mut b) = sale();
    a.run("ALTER TABLE sale ADD COLUMN price INTEGER DEFAULT 5; INSERT INTO sale VALUES(10, 'rice', 1, 5)");
    a.seal(2000);
    b.run("ALTER TABLE sale ADD COLUMN price TEXT DEFAULT 'x'; INSERT INTO sale VALUES(20, 'oil', 1, 'x')");
    b.seal(3000);
    meet(&mut a, &mut b, "sale");
    assert_eq!(text(&a, COLUMNS), "id INTEGER, item TEXT, price TEXT, qty INTEGER");
    let shown = "SELECT group_concat(id || ':' || price, ' ') FROM (SELECT * FROM sale ORDER BY id)";
    assert_eq!(text(&a, shown), "1:5 2:5 10:5 20:x");
}

#[test]
fn a_renamed_column_keeps_its_values_and_meets_edits_under_the_old_name() {
    let (mut a, mut b) = sale();
    a.run("ALTER TABLE sale RENAME COLUMN qty TO amount; UPDATE sale SET amount = 9 WHERE id = 2");
    b.run("UPDATE sale SET qty = 7 WHERE id = 1");
    meet(&mut a, &mut b, "sale");
    assert_eq!(text(&b, COLUMNS), "amount INTEGER, id INTEGER, item TEXT");
    assert_eq!(b.rows("SELECT amount FROM sale ORDER BY id"), [[Sql::Integer(7)], [Sql::Integer(9)]]);
}

#[test]
fn columns_that_trade_names_keep_their_values() {
    let (mut a, mut b) = pair(
        "CREATE TABLE sale(id INTEGER PRIMARY KEY, x TEXT, y TEXT)",
        "sale",
        "INSERT INTO sale VALUES(1, 'of x', 'of y')",
    );
    for change in ["x TO z", "y TO x", "z TO y"] {
        a.run(&format!("ALTER TABLE sale RENAME COLUMN {change}"));
        a.seal(2000);
    }
    meet(&mut a, &mut b, "sale");
    assert_eq!(b.rows("SELECT x, y FROM sale"), [[Sql::Text("of y".into()), Sql::Text("of x".into())]]);
}

/// Between two looks at the schema names may go round: a column under its old name was taken for the same, and what it showed
/// was neither told nor found.
#[test]
fn names_that_went_round_between_two_looks_lose_no_value() {
    let schema = "CREATE TABLE sale(id INTEGER PRIMARY KEY, x TEXT, y TEXT, z INTEGER)";
    for change in [
        "RENAME COLUMN x TO w; RENAME COLUMN y TO x; RENAME COLUMN w TO y",
        "DROP COLUMN x; RENAME COLUMN y TO x",
        "DROP COLUMN y; RENAME COLUMN x TO y",
        "RENAME COLUMN y TO w; RENAME COLUMN x TO y",
        "DROP COLUMN y; RENAME COLUMN z TO y",
    ] {
        let (mut a, mut b) = pair(schema, "sale", "INSERT INTO sale VALUES(1, 'of x', 'of y', 1), (2, 'x', NULL, 2)");
        let all: Vec<_> = change.split("; ").map(|step| format!("ALTER TABLE sale {step};")).collect();
        a.run(&all.concat());
        let columns = text(&a, COLUMNS);
        for ms in [5000, 6000] {
            a.seal(ms);
            b.seal(ms + 1);
            sync(&mut a, &mut b);
        }
        for r in [&a, &b] {
            assert_eq!(r.view(|view| view.verify()).unwrap(), [], "{change}");
            assert_eq!(text(r, COLUMNS), columns, "{change}");
        }
        // By name: the order of columns is each database's own.
        for column in ["x", "y", "z", "w"] {
            let sql = format!("SELECT quote(\"{column}\") FROM sale ORDER BY id");
            assert_eq!(a.rows(&sql), b.rows(&sql), "{change}: {column}");
        }
    }
}

#[test]
fn a_dropped_column_goes_everywhere_and_edits_of_it_have_no_effect() {
    let (mut a, mut b) = sale();
    a.run("ALTER TABLE sale DROP COLUMN item");
    b.run("UPDATE sale SET item = 'black tea', qty = 5 WHERE id = 1; INSERT INTO sale VALUES(3, 'salt', 4)");
    meet(&mut a, &mut b, "sale");
    assert_eq!(text(&b, COLUMNS), "id INTEGER, qty INTEGER");
    assert_eq!(b.rows("SELECT qty FROM sale ORDER BY id"), [[Sql::Integer(5)], [Sql::Integer(1)], [Sql::Integer(4)]]);
    // One of that name that comes later is another.
    b.run("ALTER TABLE sale ADD COLUMN item TEXT DEFAULT 'new'");
    meet(&mut a, &mut b, "sale");
    assert_eq!(a.one("SELECT count(*) FROM sale WHERE item = 'new'"), Sql::Integer(3));
}

#[test]
fn a_column_that_takes_another_s_place_is_not_that_one_renamed() {
    let (mut a, mut b) = sale();
    a.run("ALTER TABLE sale DROP COLUMN qty; ALTER TABLE sale ADD COLUMN pieces INTEGER DEFAULT 100");
    b.run("UPDATE sale SET qty = 7 WHERE id = 1");
    meet(&mut a, &mut b, "sale");
    assert_eq!(b.rows("SELECT pieces FROM sale"), [[Sql::Integer(100)], [Sql::Integer(100)]]);
}

#[test]
fn a_renamed_table_goes_on_under_its_new_name() {
    let (mut a, mut b) = sale();
    a.run("ALTER TABLE sale RENAME TO sold; INSERT INTO sold VALUES(3, 'salt', 1)");
    b.run("UPDATE sale SET qty = 7 WHERE id = 1");
    meet(&mut a, &mut b, "sold");
    assert_eq!(b.rows("SELECT qty FROM sold ORDER BY id"), [[Sql::Integer(7)], [Sql::Integer(1)], [Sql::Integer(1)]]);
}

#[test]
fn two_new_names_of_a_table_end_as_the_later() {
    let (mut a, mut b) = sale();
    a.run("ALTER TABLE sale RENAME TO earlier");
    a.seal(2000);
    b.run("ALTER TABLE sale RENAME TO later");
    b.seal(3000);
    meet(&mut a, &mut b, "later");
}

#[test]
fn a_table_whose_new_name_is_taken_keeps_its_own_and_says_so() {
    let (mut a, mut b) = sale();
    b.run("CREATE TABLE sold(x)");
    a.run("ALTER TABLE sale RENAME TO sold; UPDATE sold SET qty = 7");
    a.seal(2000);
    b.take(&a);
    assert_eq!(b.rows("SELECT qty FROM sale"), [[Sql::Integer(7)], [Sql::Integer(7)]]);
    let note = "it is named \"sold\" elsewhere, which is another table here";
    assert_eq!(b.rows("SELECT state, note FROM _p2p_table"), [[Sql::Integer(1), Sql::Text(note.into())]]);
    b.run("UPDATE sale SET qty = 8 WHERE id = 1");
    b.seal(3000);
    a.take(&b);
    assert_eq!(a.rows("SELECT qty FROM sold ORDER BY id"), [[Sql::Integer(8)], [Sql::Integer(7)]]);
}

#[test]
fn an_index_travels_and_goes() {
    let (mut a, mut b) = sale();
    let indexes = "SELECT group_concat(name) FROM (SELECT name FROM sqlite_schema WHERE type = 'index' AND tbl_name = 'sale' ORDER BY 1)";
    a.run("CREATE INDEX by_item ON sale(item, qty DESC); CREATE INDEX cheap ON sale(qty) WHERE qty < 3");
    meet(&mut a, &mut b, "sale");
    assert_eq!(text(&b, indexes), "by_item,cheap");
    b.run("DROP INDEX by_item");
    meet(&mut a, &mut b, "sale");
    assert_eq!(text(&a, indexes), "cheap");
}

#[test]
fn a_unique_index_that_comes_after_rows_that_break_it_hides_none() {
    let (mut a, mut b) = sale();
    a.run("CREATE UNIQUE INDEX one_item ON sale(item)");
    b.run("INSERT INTO sale VALUES(3, 'tea', 9), (4, 'milk', 9)");
    meet(&mut a, &mut b, "sale");
    for r in [&a, &b] {
        assert_eq!(r.one("SELECT count(*) FROM sale"), Sql::Integer(4));
        assert_eq!(r.one("SELECT count(DISTINCT item) FROM sale"), Sql::Integer(4));
        assert_eq!(r.view(|view| view.conflicts()).unwrap().len(), 2);
    }
    // Without it each shows its own again.
    b.run("DROP INDEX one_item");
    meet(&mut a, &mut b, "sale");
    assert_eq!(a.one("SELECT count(DISTINCT item) FROM sale"), Sql::Integer(2));
}

/// As Django, Rails and Alembic alter a table.
fn rebuild(r: &Replica, columns: &str, copied: &str) {
    r.run(&format!(
        "PRAGMA foreign_keys=OFF; BEGIN; CREATE TABLE new__sale({columns}); INSERT INTO new__sale SELECT {copied} FROM sale;
         DROP TABLE sale; ALTER TABLE new__sale RENAME TO sale; COMMIT"
    ));
}

/// Django adds a column that can't be NULL by a rebuild that gives each row its default, and leaves no DEFAULT in the schema.
#[test]
fn what_a_rebuild_gave_to_all_rows_a_peers_rows_from_meanwhile_show_too() {
    for (kind, given, shown) in [("TEXT", "'grey'", "grey"), ("INTEGER", "7", "7"), ("TEXT COLLATE NOCASE", "'x'", "x")]
    {
        let (mut a, mut b) = sale();
        rebuild(
            &a,
            &format!("id INTEGER PRIMARY KEY, item TEXT, qty INTEGER, tone {kind} NOT NULL"),
            &format!("id, item, qty, {given}"),
        );
        b.run("INSERT INTO sale VALUES(3, 'salt', 1); UPDATE sale SET qty = 8 WHERE id = 1");
        a.seal(2000);
        assert_eq!(a.one("SELECT count(*) FROM _p2p_mark"), Sql::Integer(0));
        meet(&mut a, &mut b, "sale");
        let tones = "SELECT group_concat(id || ' ' || qty || ' ' || tone, ', ') FROM (SELECT * FROM sale ORDER BY id)";
        assert_eq!(text(&b, tones), format!("1 8 {shown}, 2 1 {shown}, 3 1 {shown}"));
        b.run("UPDATE sale SET tone = 'red' WHERE id = 3");
        meet(&mut a, &mut b, "sale");
        assert_eq!(text(&a, "SELECT tone FROM sale WHERE id = 3"), "red");
    }
}

#[test]
fn what_a_rebuild_gave_to_each_row_is_that_rows_alone() {
    for given in
        ["item", "CASE id WHEN 1 THEN 'x' ELSE 'X' END", "CASE id WHEN 1 THEN 1 ELSE 1.0 END", "zeroblob(2000)"]
    {
        let (mut a, mut b) = sale();
        rebuild(
            &a,
            "id INTEGER PRIMARY KEY, item TEXT, qty INTEGER, tone BLOB COLLATE NOCASE NOT NULL",
            &format!("id, item, qty, {given}"),
        );
        b.run("INSERT INTO sale VALUES(3, 'salt', 1)");
        let tones = "SELECT group_concat(quote(tone), ', ') FROM (SELECT * FROM sale WHERE id < 3 ORDER BY id)";
        let before = text(&a, tones);
        meet(&mut a, &mut b, "sale");
        assert_eq!(text(&b, tones), before, "{given}");
        assert_eq!(text(&b, "SELECT quote(tone) FROM sale WHERE id = 3"), "X''", "{given}");
    }
}

/// Alembic's rebuild forgets AUTOINCREMENT. It says how numbers are picked; each database goes on as it did.
#[test]
fn autoincrement_comes_and_goes_and_the_key_is_the_same() {
    for (before, after) in [("", " AUTOINCREMENT"), (" AUTOINCREMENT", "")] {
        let schema = format!("CREATE TABLE sale(id INTEGER PRIMARY KEY{before}, item TEXT, qty INTEGER)");
        let (mut a, mut b) = pair(&schema, "sale", "INSERT INTO sale VALUES(1, 'tea', 2), (2, 'milk', 1)");
        rebuild(
            &a,
            &format!("id INTEGER PRIMARY KEY{after}, item TEXT, qty INTEGER, at TEXT DEFAULT 'x'"),
            "id, item, qty, 'x'",
        );
        b.run("INSERT INTO sale(item) VALUES('salt')");
        meet(&mut a, &mut b, "sale");
        a.run("INSERT INTO sale(item) VALUES('rice')");
        rebuild(&b, "id INTEGER PRIMARY KEY AUTOINCREMENT, item TEXT, qty INTEGER, at TEXT DEFAULT 'x'", "*");
        meet(&mut a, &mut b, "sale");
        for r in [&a, &b] {
            assert_eq!(r.one("SELECT count(*) || ' ' || count(at) FROM sale"), Sql::Text("4 4".into()));
        }
        let has = |r: &Replica| r.one("SELECT sql LIKE '%AUTOINCREMENT%' FROM sqlite_schema WHERE name = 'sale'");
        assert_eq!((has(&a), has(&b)), (Sql::Integer(i64::from(!after.is_empty())), Sql::Integer(1)));
    }
}

/// Python's sqlite3 commits a CREATE TABLE at once, so Alembic's rebuild can be looked at between its statements.
#[test]
fn a_rebuild_that_is_met_half_done_is_one() {
    for making in ["_alembic_tmp_sale", "new__sale"] {
        let (mut a, mut b) = sale();
        crate::store::define::track_all(&a.user).unwrap();
        b.run("UPDATE sale SET qty = 7 WHERE id = 1; INSERT INTO sale VALUES(3, 'salt', 1)");
        a.run(&format!("CREATE TABLE {making}(id INTEGER PRIMARY KEY, item TEXT, qty INTEGER, at TEXT DEFAULT 'x')"));
        a.seal(2000);
        // What it writes begins a transaction there.
        a.run(&format!(
            "BEGIN; INSERT INTO {making}(id, item, qty) SELECT * FROM sale; DROP TABLE sale;
             ALTER TABLE {making} RENAME TO sale; COMMIT"
        ));
        a.seal(2001);
        meet(&mut a, &mut b, "sale");
        assert_eq!(text(&b, "SELECT group_concat(qty || at) FROM (SELECT * FROM sale ORDER BY id)"), "7x,1x,1x");
    }
    let (a, _) = sale();
    a.run("CREATE TABLE new__bill(id INTEGER PRIMARY KEY)");
    let decided = crate::store::define::track_all(&a.user).unwrap();
    assert_eq!(decided.last().map(|d| d.0.as_str()), Some("new__bill"));
    assert!(matches!(decided.last(), Some((_, crate::store::define::Decision::Tracked(_)))));
}

#[test]
fn the_rows_of_a_table_that_was_made_anew_are_compared_once() {
    let (mut a, _) = sale();
    rebuild(&a, "id INTEGER PRIMARY KEY, item VARCHAR(9), qty INTEGER", "*");
    a.store.tend().unwrap();
    // Each by what it was sealed with, and each that is there.
    assert_eq!(a.one("SELECT count(*) FROM _p2p_mark"), Sql::Integer(4));
}

#[test]
fn a_row_that_shows_another_value_is_not_listed_as_stuck_when_its_table_is_altered_again() {
    let (mut a, mut b) = sale();
    rebuild(&a, "id INTEGER PRIMARY KEY, item TEXT UNIQUE, qty INTEGER CHECK(qty >= 0)", "*");
    a.seal(2000);
    a.run("CREATE INDEX by_qty ON sale(qty)");
    a.seal(2001);
    b.run("INSERT INTO sale VALUES(3, 'rice', -1), (4, 'tea', 1)");
    meet(&mut a, &mut b, "sale");
    for r in [&a, &b] {
        assert_eq!(r.one("SELECT count(*) || ' ' || count(DISTINCT item) FROM sale"), Sql::Text("3 3".into()));
        // The debt alone.
        assert_eq!(r.rows("SELECT reason LIKE 'CHECK%' FROM _p2p_stuck"), [[Sql::Integer(1)]]);
    }
}

#[test]
fn a_rebuild_that_changes_types_and_constraints_is_brought_about_at_a_peer() {
    let (mut a, mut b) = sale();
    rebuild(
        &a,
        "id INTEGER PRIMARY KEY, item VARCHAR(20) NOT NULL UNIQUE, qty REAL CHECK(qty >= 0), at TEXT DEFAULT 'here'",
        "id, item, qty, 'there'",
    );
    b.run("UPDATE sale SET qty = 7 WHERE id = 1; INSERT INTO sale VALUES(3, 'salt', 1)");
    meet(&mut a, &mut b, "sale");
    assert_eq!(text(&b, COLUMNS), "at TEXT, id INTEGER, item VARCHAR(20), qty REAL");
    assert_eq!(
        text(&b, "SELECT group_concat(id || ' ' || qty || ' ' || at, ', ') FROM (SELECT * FROM sale ORDER BY id)"),
        "1 7.0 there, 2 1.0 there, 3 1.0 here"
    );
    let refused = b.user.execute("INSERT INTO sale VALUES(4, 'tea', 1, 1)", []).unwrap_err().to_string();
    assert_eq!(refused, "UNIQUE constraint failed: sale.item");
}

#[test]
fn a_rebuild_that_drops_and_renames_is_followed() {
    let (mut a, mut b) = sale();
    rebuild(&a, "id INTEGER PRIMARY KEY, amount INTEGER", "id, qty");
    b.run("UPDATE sale SET qty = 7 WHERE id = 1");
    meet(&mut a, &mut b, "sale");
    assert_eq!(text(&b, COLUMNS), "amount INTEGER, id INTEGER");
    assert_eq!(b.rows("SELECT amount FROM sale ORDER BY id"), [[Sql::Integer(7)], [Sql::Integer(1)]]);
}

#[test]
fn a_write_in_the_midst_of_a_rebuild_is_not_lost() {
    let (mut a, mut b) = sale();
    a.run("PRAGMA foreign_keys=OFF; BEGIN; CREATE TABLE new__sale(id INTEGER PRIMARY KEY, item TEXT, qty INTEGER, note);
         INSERT INTO new__sale SELECT id, item, qty * 10, 'old' FROM sale; DELETE FROM new__sale WHERE id = 2;
         INSERT INTO new__sale VALUES(5, 'salt', 1, 'new'); DROP TABLE sale; ALTER TABLE new__sale RENAME TO sale; COMMIT");
    meet(&mut a, &mut b, "sale");
    assert_eq!(
        text(&b, "SELECT group_concat(id || ' ' || qty || ' ' || note, ', ') FROM (SELECT * FROM sale ORDER BY id)"),
        "1 20 old, 5 1 new"
    );
}

#[test]
fn rows_that_a_new_constraint_refuses_are_listed_and_come_back_with_its_end() {
    let (mut a, mut b) = sale();
    rebuild(&a, "id INTEGER PRIMARY KEY, item TEXT, qty INTEGER CHECK(qty < 10)", "id, item, qty");
    b.run("INSERT INTO sale VALUES(3, 'salt', 100)");
    a.seal(2000);
    b.seal(2001);
    sync(&mut a, &mut b);
    for r in [&a, &b] {
        assert_eq!(r.one("SELECT count(*) FROM sale"), Sql::Integer(2));
        assert_eq!(r.view(|view| view.conflicts()).unwrap().iter().filter(|c| c.column == "qty").count(), 1);
        assert_eq!(r.view(|view| view.verify()).unwrap(), []);
    }
    rebuild(&a, "id INTEGER PRIMARY KEY, item TEXT, qty INTEGER", "id, item, qty");
    meet(&mut a, &mut b, "sale");
    for r in [&a, &b] {
        assert_eq!(r.one("SELECT count(*) FROM sale"), Sql::Integer(3));
    }
}

#[test]
fn a_peer_s_triggers_and_views_survive_that_its_table_is_made_anew() {
    let (mut a, mut b) = sale();
    b.run(
        "CREATE TABLE audit(x); CREATE VIEW big AS SELECT * FROM sale WHERE qty > 1;
           CREATE TRIGGER audited AFTER UPDATE ON sale BEGIN INSERT INTO audit VALUES(NEW.id); END",
    );
    rebuild(&a, "id INTEGER PRIMARY KEY, item TEXT NOT NULL DEFAULT '-', qty INTEGER", "id, item, qty");
    meet(&mut a, &mut b, "sale");
    b.run("UPDATE sale SET qty = 5 WHERE id = 1");
    assert_eq!(b.rows("SELECT x FROM audit"), [[Sql::Integer(1)]]);
    assert_eq!(b.one("SELECT count(*) FROM big"), Sql::Integer(1));
    meet(&mut a, &mut b, "sale");
}

#[test]
fn children_refer_to_a_table_that_was_made_anew_as_before() {
    let schema = "CREATE TABLE sale(id INTEGER PRIMARY KEY, item TEXT);
        CREATE TABLE line(id INTEGER PRIMARY KEY, sale_id INTEGER REFERENCES sale(id), n INTEGER);";
    let mut a = Replica::new(1, schema, &["sale", "line"]);
    let mut b = Replica::new(2, "", &[]);
    a.run("INSERT INTO sale VALUES(1, 'tea'); INSERT INTO line VALUES(1, 1, 3)");
    a.seal(1000);
    b.take(&a);
    rebuild(&a, "id INTEGER PRIMARY KEY, item TEXT NOT NULL", "id, item");
    for (r, n) in [(&a, "a"), (&b, "b")] {
        r.run(&format!("INSERT INTO sale VALUES(2, 'of {n}'); INSERT INTO line VALUES(2, 2, 1)"));
    }
    a.seal(2000);
    b.seal(2001);
    sync(&mut a, &mut b);
    a.equals(&b, &["sale", "line"]);
    for r in [&a, &b] {
        assert_eq!(r.one("SELECT count(*) FROM sale JOIN line ON sale_id = sale.id"), Sql::Integer(3));
        assert_eq!(r.rows("PRAGMA foreign_key_check"), [[]; 0]);
        assert_eq!(text(r, "SELECT \"table\" FROM pragma_foreign_key_list('line')"), "sale");
    }
}

#[test]
fn two_columns_that_get_one_name_are_told_apart_until_one_gives_it_up() {
    let (mut a, mut b) = sale();
    a.run("ALTER TABLE sale RENAME COLUMN item TO what");
    b.run("ALTER TABLE sale RENAME COLUMN qty TO what");
    meet(&mut a, &mut b, "sale");
    let other = text(&a, "SELECT name FROM pragma_table_info('sale') WHERE name GLOB 'what_[0-9a-f]*'");
    assert_eq!(a.one("SELECT count(*) FROM sale WHERE 'tea' IN (what, \"sale\".\"id\") OR what = 2"), Sql::Integer(1));
    a.run(&format!("UPDATE sale SET \"{other}\" = \"{other}\" || ''; ALTER TABLE sale RENAME COLUMN what TO which"));
    meet(&mut a, &mut b, "sale");
    assert_eq!(
        a.one("SELECT count(*) FROM pragma_table_info('sale') WHERE name IN ('id', 'what', 'which')"),
        Sql::Integer(3)
    );
}

#[test]
fn a_late_joiner_goes_through_all_changes() {
    let (mut a, mut b) = sale();
    for (ms, change) in [
        (2000, "ALTER TABLE sale ADD COLUMN price INTEGER DEFAULT 5; UPDATE sale SET price = 6 WHERE id = 1"),
        (3000, "ALTER TABLE sale RENAME COLUMN qty TO amount; INSERT INTO sale VALUES(3, 'salt', 1, 1)"),
        (4000, "ALTER TABLE sale DROP COLUMN item; DELETE FROM sale WHERE id = 2"),
        (5000, "ALTER TABLE sale RENAME TO sold; CREATE INDEX i ON sold(price)"),
    ] {
        a.run(change);
        a.seal(ms);
    }
    meet(&mut a, &mut b, "sold");
    let mut c = Replica::new(3, "", &[]);
    c.take(&a);
    a.equals(&c, &["sold"]);
    c.run("UPDATE sold SET price = 1");
    c.seal(7000);
    a.take(&c);
    a.equals(&c, &["sold"]);
}

#[test]
fn a_column_that_can_t_be_had_here_waits_with_what_is_written_and_is_taken_when_it_is_made_by_hand() {
    let (mut a, mut b) = sale();
    rebuild(&a, "id INTEGER PRIMARY KEY, item TEXT, qty INTEGER, code TEXT DEFAULT (likely('x'))", "*, NULL");
    a.run("UPDATE sale SET code = 'x', qty = 4 WHERE id = 1");
    a.seal(2000);
    b.take(&a);
    let note = text(&b, "SELECT note FROM _p2p_table");
    let why = "it was altered by a peer and can't be altered so here: the DEFAULT of column \"code\": the function likely() in \
               ((likely ('x'))); alter the table here by hand as it is there";
    assert!(note.starts_with(why), "{note}");
    assert_eq!(b.one("SELECT qty FROM sale WHERE id = 1"), Sql::Integer(2), "what comes with it waits");
    // What is written here meanwhile is kept.
    b.run("UPDATE sale SET item = 'green tea' WHERE id = 1");
    b.seal(3000);
    rebuild(&b, "id INTEGER PRIMARY KEY, item TEXT, qty INTEGER, code TEXT DEFAULT (likely('x'))", "*, NULL");
    b.seal(4000);
    sync(&mut a, &mut b);
    a.equals(&b, &["sale"]);
    assert_eq!(b.one("SELECT state FROM _p2p_table"), Sql::Integer(1));
    let row = [Sql::Text("green tea".into()), Sql::Integer(4), Sql::Text("x".into())];
    assert_eq!(b.rows("SELECT item, qty, code FROM sale WHERE id = 1"), [row]);
}

#[test]
fn a_constraint_that_can_t_be_had_here_keeps_no_row_from_coming() {
    let (mut a, mut b) = sale();
    a.run("ALTER TABLE sale ADD COLUMN code TEXT CHECK(likely(code <> 'y')); UPDATE sale SET code = 'x', qty = 4 WHERE id = 1");
    a.seal(2000);
    sync(&mut a, &mut b);
    a.equals(&b, &["sale"]);
    assert_eq!(b.rows("SELECT qty, code FROM sale WHERE id = 1"), [[Sql::Integer(4), Sql::Text("x".into())]]);
    let note = text(&b, "SELECT note FROM _p2p_table");
    assert!(note.starts_with("here it does without what a peer added: a CHECK: the function likely()"), "{note}");
    b.run("UPDATE sale SET code = 'z'");
    b.seal(3000);
    sync(&mut a, &mut b);
    a.equals(&b, &["sale"]);
}

#[test]
fn one_table_that_two_databases_create_otherwise_is_one_with_the_columns_of_both() {
    let (mut a, mut b) = sale();
    a.run("CREATE TABLE note(id INTEGER PRIMARY KEY, text TEXT); INSERT INTO note VALUES(1, 'of a')");
    b.run("CREATE TABLE note(id INTEGER PRIMARY KEY, body TEXT); INSERT INTO note VALUES(1, 'of b')");
    for (r, ms) in [(&mut a, 2000), (&mut b, 2001)] {
        define::track(&r.user, "note", "").unwrap();
        r.seal(ms);
    }
    sync(&mut a, &mut b);
    for r in [&a, &b] {
        assert_eq!(r.one("SELECT count(*) FROM note"), Sql::Integer(2));
        assert_eq!(r.one("SELECT count(*) FROM note WHERE text = 'of a' AND body IS NULL"), Sql::Integer(1));
        assert_eq!(r.one("SELECT count(*) FROM note WHERE body = 'of b' AND text IS NULL"), Sql::Integer(1));
        assert_eq!(r.view(|view| view.verify()).unwrap(), []);
    }
    assert_eq!(a.store.digest(), b.store.digest());
}

#[test]
fn a_table_without_a_key_is_altered_as_others_are() {
    let (mut a, mut b) =
        pair("CREATE TABLE sale(item TEXT, qty INTEGER)", "sale", "INSERT INTO sale VALUES('tea', 2), ('tea', 2)");
    a.run("ALTER TABLE sale ADD COLUMN price INTEGER DEFAULT 5; ALTER TABLE sale RENAME COLUMN qty TO amount; INSERT INTO sale VALUES('milk', 1, 7)");
    b.run("INSERT INTO sale VALUES('salt', 3)");
    a.seal(2000);
    b.seal(2001);
    sync(&mut a, &mut b);
    a.equals(&b, &["sale"]);
    let shown = "SELECT group_concat(item || amount || price) FROM (SELECT * FROM sale ORDER BY 1, 2, 3)";
    assert_eq!(text(&b, shown), "milk17,salt35,tea25,tea25");
    b.run("ALTER TABLE sale DROP COLUMN amount; UPDATE sale SET price = 1 WHERE item = 'salt'");
    b.seal(3000);
    sync(&mut a, &mut b);
    a.equals(&b, &["sale"]);
    assert_eq!(text(&a, "SELECT group_concat(name) FROM pragma_table_info('sale')"), "item,price");
}
