//! Which tables take part, and how the node keeps up with a schema that moves.

use crate::world::{World, error, one, until};

const SALE: &str = "CREATE TABLE sale(id INTEGER PRIMARY KEY, item TEXT)";
const ITEMS: &str = "SELECT group_concat(item) FROM (SELECT item FROM sale ORDER BY item)";

#[test]
fn what_changed_while_a_table_was_not_tracked_moves_once_it_is_again() {
    let world = World::new();
    let a = world.tracked("a", SALE);
    a.execute_batch("INSERT INTO sale(id, item) VALUES(1, 'tea'), (2, 'milk'), (3, 'bread')").unwrap();
    let b = world.joined("b", &a);
    until(&b, ITEMS, "bread,milk,tea");
    assert_eq!(one(&a, "SELECT p2p_untrack('sale')"), "no longer tracked: sale; rows and history stay");
    a.execute_batch("UPDATE sale SET item = 'green tea' WHERE id = 1; DELETE FROM sale WHERE id = 2").unwrap();
    a.execute_batch("INSERT INTO sale(id, item) VALUES(4, 'butter')").unwrap();
    assert_eq!(one(&a, "SELECT pending FROM p2p_status"), "0");
    one(&a, "SELECT p2p_sync()");
    assert_eq!(one(&b, ITEMS), "bread,milk,tea");
    one(&a, "SELECT p2p_track('sale')");
    until(&b, ITEMS, "bread,butter,green tea");
    until(&b, "SELECT item FROM sale WHERE id = 4", "butter");
}

#[test]
fn a_table_that_was_untracked_by_hand_stays_so_under_all() {
    let world = World::new();
    let a = world.tracked("a", SALE);
    one(&a, "SELECT p2p_untrack('sale')");
    a.execute_batch("CREATE TABLE note(id INTEGER PRIMARY KEY); INSERT INTO sale(item) VALUES('tea')").unwrap();
    until(&a, "SELECT group_concat(name) FROM p2p_tables", "note");
}

#[test]
fn the_triggers_of_a_table_are_listed_with_what_becomes_of_them() {
    let world = World::new();
    let a = world.tracked("a", SALE);
    let b = world.joined("b", &a);
    until(&b, "SELECT state FROM p2p_tables WHERE name = 'sale'", "tracked");
    let triggers = "SELECT triggers FROM p2p_tables WHERE name = 'sale'";
    assert_eq!(one(&b, triggers), "");
    let fts = "CREATE VIRTUAL TABLE f USING fts5(item); CREATE TRIGGER i AFTER INSERT ON sale BEGIN INSERT INTO f(rowid, item) VALUES(new.id, new.item); END";
    world.plain("b").execute_batch(fts).unwrap();
    until(&b, triggers, "run: i");
    a.execute_batch("INSERT INTO sale(item) VALUES('tea')").unwrap();
    until(&b, "SELECT item FROM f WHERE f MATCH 'tea'", "tea");
    world.plain("b").execute_batch("DROP TRIGGER i").unwrap();
    until(&b, triggers, "");
}

#[test]
fn untracking_what_is_not_tracked_is_an_error_that_names_it() {
    let world = World::new();
    let a = world.open("a");
    a.execute_batch(SALE).unwrap();
    assert_eq!(error(&a, "SELECT p2p_untrack('sale')"), "p2p_untrack: table \"sale\" is not tracked");
    assert_eq!(one(&a, "SELECT p2p_untrack('*')"), "no table was tracked");
    one(&a, "SELECT p2p_track('sale')");
    assert_eq!(error(&a, "SELECT p2p_untrack('nosuch')"), "p2p_untrack: table \"nosuch\" is not tracked");
}

#[test]
fn tracking_all_says_of_each_table_what_it_is() {
    // Tables in which FTS keeps its data were listed too, and one that is not exchanged as tracked with 0 rows.
    let world = World::new();
    let a = world.open("a");
    a.execute_batch(
        "CREATE TABLE scrap(rowid, oid, _rowid_); INSERT INTO scrap VALUES(1, 1, 1); CREATE VIRTUAL TABLE doc USING fts5(text);
         CREATE TABLE line(x); INSERT INTO line VALUES(1), (1)",
    )
    .unwrap();
    let answer = "scrap: captured; it has no PRIMARY KEY, and columns are named _rowid_, rowid and oid: nothing tells its rows, so \
                  they are captured and not exchanged; rename one of these columns, or give the table a key\n\
                  doc: not tracked: \"doc\" is a virtual table; track the tables whose rows it shows\n\
                  line: tracked, 2 rows; it has no PRIMARY KEY: each row is one of its own, also where two are equal\n\
                  the file is now in WAL mode";
    assert_eq!(one(&a, "SELECT p2p_track('*')"), answer);
    assert!(one(&a, "SELECT p2p_track('scrap')").starts_with("scrap: captured already; "));
    assert_eq!(one(&a, "SELECT name || rows || state FROM p2p_tables"), "scrap1captured");
    assert_eq!(one(&a, "SELECT name || rows || key || state FROM p2p_tables WHERE name = 'line'"), "line2nonetracked");
    // A part of a virtual table that comes later is no new table either.
    a.execute_batch("CREATE VIRTUAL TABLE doc2 USING fts5(text)").unwrap();
    one(&a, "SELECT p2p_seal()");
    assert_eq!(one(&a, "SELECT group_concat(name) FROM p2p_tables"), "scrap,line");
}

#[test]
fn nothing_tracked_is_nothing_wrong() {
    let world = World::new();
    let a = world.open("a");
    assert_eq!(error(&a, "SELECT p2p_verify()"), "p2p_verify: no table is tracked; there is nothing to verify");
    assert_eq!(one(&a, "SELECT count(*) FROM p2p_log"), "0");
    assert_eq!(one(&a, "SELECT count(*) FROM p2p_tables"), "0");
    assert_eq!(one(&a, "SELECT count(*) FROM p2p_conflicts"), "0");
    assert_eq!(one(&a, "SELECT state FROM p2p_status"), "unjoined");
}

#[test]
fn a_table_made_after_all_were_tracked_is_tracked_by_itself_and_reaches_peers() {
    let world = World::new();
    let a = world.tracked("a", SALE);
    let b = world.joined("b", &a);
    // By a writer that never heard of us.
    let writer = world.plain("a");
    writer
        .execute_batch("CREATE TABLE note(id TEXT PRIMARY KEY, text); INSERT INTO note VALUES('x', 'hello')")
        .unwrap();
    until(&a, "SELECT state FROM p2p_tables WHERE name = 'note'", "tracked");
    until(&b, "SELECT text FROM note", "hello");
    writer.execute_batch("UPDATE note SET text = 'goodbye'").unwrap();
    until(&b, "SELECT text FROM note", "goodbye");
}

#[test]
fn a_table_made_before_anything_was_in_the_log_is_tracked_too() {
    let world = World::new();
    let a = world.open("a");
    assert_eq!(
        one(&a, "SELECT p2p_track('*')"),
        "no table yet; tables created from now on are tracked\nthe file is now in WAL mode"
    );
    a.execute_batch(SALE).unwrap();
    until(&a, "SELECT state FROM p2p_tables", "tracked");
}

/// What an ORM does to change a table: create a copy, fill it, drop the old one, rename. Writes go on in between.
#[test]
fn a_table_rebuilt_by_copy_and_rename_is_armed_again_and_loses_nothing() {
    let world = World::new();
    let a = world.tracked("a", SALE);
    a.execute_batch("INSERT INTO sale(id, item) VALUES(1, 'tea'), (2, 'milk')").unwrap();
    let b = world.joined("b", &a);
    until(&b, ITEMS, "milk,tea");
    let writer = world.plain("a");
    writer
        .execute_batch(
            "BEGIN;
             CREATE TABLE sale_new(id INTEGER PRIMARY KEY, item TEXT);
             INSERT INTO sale_new SELECT * FROM sale;
             UPDATE sale_new SET item = 'green tea' WHERE id = 1;
             DELETE FROM sale_new WHERE id = 2;
             INSERT INTO sale_new(id, item) VALUES(3, 'bread');
             DROP TABLE sale;
             ALTER TABLE sale_new RENAME TO sale;
             COMMIT",
        )
        .unwrap();
    until(&b, ITEMS, "bread,green tea");
    writer
        .execute_batch("INSERT INTO sale(id, item) VALUES(4, 'butter'); UPDATE sale SET item = 'rye' WHERE id = 3")
        .unwrap();
    until(&b, ITEMS, "butter,green tea,rye");
    b.execute_batch("DELETE FROM sale WHERE item = 'green tea'").unwrap();
    until(&a, ITEMS, "butter,rye");
    assert_eq!(one(&a, "SELECT count(*) FROM p2p_conflicts"), "0");
    assert_eq!(one(&a, "SELECT p2p_verify()"), "ok");
}

#[test]
fn a_rename_takes_tracking_along() {
    let world = World::new();
    let a = world.tracked("a", SALE);
    a.execute_batch("INSERT INTO sale(item) VALUES('tea')").unwrap();
    one(&a, "SELECT p2p_seal()");
    a.execute_batch("ALTER TABLE sale RENAME TO sold; INSERT INTO sold(item) VALUES('milk')").unwrap();
    until(&a, "SELECT name FROM p2p_tables", "sold");
    until(&a, "SELECT pending FROM p2p_status", "0");
}

/// The rows of a query, columns with `|` between them.
fn rows(conn: &rusqlite::Connection, sql: &str) -> Vec<String> {
    let mut statement = conn.prepare(sql).unwrap();
    let columns = statement.column_count();
    let row = |row: &rusqlite::Row<'_>| {
        let cells = (0..columns).map(|at| row.get::<_, rusqlite::types::Value>(at));
        let text = |cell| match cell {
            rusqlite::types::Value::Text(text) => text,
            rusqlite::types::Value::Null => String::new(),
            other => format!("{other:?}"),
        };
        Ok(cells.collect::<rusqlite::Result<Vec<_>>>()?.into_iter().map(text).collect::<Vec<_>>().join("|"))
    };
    statement.query_map([], row).unwrap().map(Result::unwrap).collect()
}

#[test]
fn read_as_a_table_it_tracks_and_tells_what_was_decided_of_each() {
    let world = World::new();
    let a = world.open("a");
    a.execute_batch(
        "CREATE TABLE shop(id INTEGER PRIMARY KEY, code TEXT, city TEXT, UNIQUE(code, city));
         CREATE TABLE till(id INTEGER PRIMARY KEY, shop INTEGER UNIQUE REFERENCES shop(id), no INTEGER NOT NULL UNIQUE);
         CREATE TABLE owner(name TEXT PRIMARY KEY NOT NULL, shop INTEGER NOT NULL UNIQUE REFERENCES shop(id));
         CREATE TABLE scrap(x); CREATE VIRTUAL TABLE doc USING fts5(text); CREATE VIEW v AS SELECT 1;
         CREATE TRIGGER b AFTER INSERT ON till BEGIN SELECT 1; END; CREATE TRIGGER a DELETE ON till BEGIN SELECT 1; END",
    )
    .unwrap();
    let told = [
        "shop|tracked|id (claimed)|code, city: another city|||",
        "till|tracked|id (claimed)|shop: NULL in shop; no: another no|shop: shop|not looked at yet: a, b|",
        "owner|tracked|name|shop: hidden|shop: shop||",
        "scrap|tracked|none||||it has no PRIMARY KEY: each row is one of its own, also where two are equal",
        "doc|left alone|||||\"doc\" is a virtual table; track the tables whose rows it shows",
    ];
    let all = rows(&a, "SELECT * FROM p2p_track('*')");
    assert_eq!(all[..5], told);
    let part = |name: &str| {
        format!("{name}|left alone|||||table \"{name}\" is a part of the virtual table \"doc\" and can't be tracked")
    };
    assert_eq!(all[5], part("doc_data"));
    assert_eq!(all.last().unwrap(), "v|left alone|||||\"v\" is a view; track the tables whose rows it shows");
    // The same as the list of tables says, and the change is captured from here on.
    let listed = "SELECT name, state, key, uniques, follows, '', note FROM p2p_tables";
    let without = |line: &&str| line.replace("not looked at yet: a, b", "");
    assert_eq!(rows(&a, listed), told[..4].iter().map(without).collect::<Vec<_>>());
    a.execute_batch("INSERT INTO shop VALUES(1, 'x', 'y')").unwrap();
    one(&a, "SELECT p2p_seal()");
    assert_eq!(one(&a, "SELECT sum(ops) FROM p2p_log"), "5");
    until(&a, "PRAGMA journal_mode", "wal");
}

#[test]
fn as_a_table_it_takes_what_the_function_takes() {
    let world = World::new();
    let a = world.open("a");
    a.execute_batch("CREATE TABLE vat(id INTEGER PRIMARY KEY, percent); CREATE TABLE note(id TEXT PRIMARY KEY)")
        .unwrap();
    assert_eq!(rows(&a, "SELECT name, key FROM p2p_track('VAT', '{\"key\":\"natural\"}')"), ["vat|id (natural)"]);
    assert_eq!(rows(&a, "SELECT name FROM p2p_tables"), ["vat"]);
    let joined = "SELECT t.name, t.state FROM (SELECT 'note' AS n) w JOIN p2p_track(w.n) t";
    assert_eq!(rows(&a, joined), ["note|tracked"]);
    assert_eq!(
        error(&a, "SELECT * FROM p2p_track('nosuch')"),
        "p2p_track: table \"nosuch\" does not exist; create it first"
    );
    assert_eq!(error(&a, "SELECT * FROM p2p_track"), "p2p_track: give it a table or '*': SELECT * FROM p2p_track('*')");
    a.execute_batch("CREATE TABLE late(id INTEGER PRIMARY KEY); BEGIN").unwrap();
    assert_eq!(rows(&a, "SELECT state FROM p2p_track('late')"), ["tracked"]);
    a.execute_batch("ROLLBACK").unwrap();
    assert_eq!(one(&a, "SELECT count(*) FROM p2p_tables WHERE name = 'late'"), "0");
    a.execute_batch("CREATE VIEW sly AS SELECT * FROM p2p_track('*')").unwrap();
    assert!(error(&a, "SELECT * FROM sly").contains("unsafe use of"));
}
