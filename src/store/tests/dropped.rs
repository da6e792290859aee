//! A table that is dropped is gone where it was dropped. That is told and shown, and nobody else loses a row.

use super::*;

const SCHEMA: &str = "CREATE TABLE sale(id INTEGER PRIMARY KEY, item TEXT); CREATE TABLE log(line, n)";
const ROWS: &str = "INSERT INTO sale VALUES(1, 'tea'), (2, 'milk'); INSERT INTO log VALUES('one', 1), ('one', 1)";

fn pair() -> (Replica, Replica) {
    let (mut a, mut b) = (Replica::new(1, SCHEMA, &["sale", "log"]), Replica::new(2, "", &[]));
    a.run(ROWS);
    a.seal(1000);
    b.take(&a);
    (a, b)
}

/// Name, is it here, and note of each table.
fn listed(r: &Replica) -> Vec<(String, bool, String)> {
    r.view(|view| view.tables()).unwrap().into_iter().map(|t| (t.name, t.is_here, t.note)).collect()
}

fn look(r: &mut Replica, ms: u64) {
    r.store.tend().unwrap();
    r.seal(ms);
}

#[test]
fn a_table_that_is_dropped_stays_at_the_peers_and_both_are_told() {
    let (mut a, mut b) = pair();
    a.run("DROP TABLE sale");
    look(&mut a, 2000);
    let (name, is_here, note) = listed(&a).remove(0);
    assert_eq!((name.as_str(), is_here), ("sale", false));
    assert!(note.starts_with("it was dropped here, and its peers keep it"), "{note}");
    b.take(&a);
    assert_eq!(b.one("SELECT count(*) FROM sale"), Sql::Integer(2));
    let (name, is_here, note) = listed(&b).remove(0);
    assert_eq!((name.as_str(), is_here), ("sale", true));
    let author = identity(1).key.public().author();
    assert_eq!(note, format!("dropped by {author}: it stays here with its rows until it is dropped here too"));
    assert_eq!(listed(&b)[1].2, "", "the other table is as it was");
    let events = b.view(|view| view.events_after(0)).unwrap();
    let dropped: Vec<_> = events.iter().filter(|e| e.event == "dropped").map(|e| e.table.as_str()).collect();
    assert_eq!(dropped, ["sale"]);
    // Told once.
    let entries = a.entries().len();
    look(&mut a, 3000);
    assert_eq!(a.entries().len(), entries);
}

#[test]
fn a_table_that_is_created_again_gets_its_rows_back_and_the_word_is_taken_back() {
    let (mut a, mut b) = pair();
    a.run("DROP TABLE sale; DROP TABLE log");
    look(&mut a, 2000);
    b.take(&a);
    b.run("INSERT INTO sale VALUES(3, 'salt'); UPDATE sale SET item = 'green tea' WHERE id = 1; INSERT INTO log VALUES('two', 2)");
    b.seal(2500);
    a.take(&b);
    a.run(SCHEMA);
    look(&mut a, 3000);
    a.store.apply(LATE, || true).unwrap();
    sync(&mut a, &mut b);
    for r in [&a, &b] {
        assert!(listed(r).iter().all(|(_, is_here, note)| *is_here && !note.contains("dropped")), "{:?}", listed(r));
    }
    a.equals(&b, &["sale", "log"]);
    let items = "SELECT group_concat(item) FROM (SELECT item FROM sale ORDER BY id)";
    assert_eq!(b.one(items), Sql::Text("green tea,milk,salt".into()));
    assert_eq!(b.one("SELECT count(*) FROM log"), Sql::Integer(3));
}

#[test]
fn one_that_dropped_it_too_is_not_spoken_for_by_another() {
    let (mut a, mut b) = pair();
    a.run("DROP TABLE sale");
    look(&mut a, 2000);
    b.take(&a);
    let entries = b.entries().len();
    look(&mut b, 2100);
    assert_eq!(b.entries().len(), entries, "it has the table, and has nothing to say of it");
    b.run("DROP TABLE sale");
    look(&mut b, 2200);
    a.take(&b);
    assert!(!listed(&a)[0].1 && !listed(&b)[0].1);
}

/// As scripts do that set a database up: nobody looks in between.
#[test]
fn a_table_that_is_dropped_and_created_at_once_deletes_nobodys_rows() {
    let (mut a, mut b) = pair();
    a.run("DROP TABLE IF EXISTS sale; DROP TABLE IF EXISTS log");
    a.run(SCHEMA);
    look(&mut a, 2000);
    a.store.apply(LATE, || true).unwrap();
    assert_eq!(a.one("SELECT count(*) FROM sale"), Sql::Integer(2));
    sync(&mut a, &mut b);
    a.equals(&b, &["sale", "log"]);
    assert_eq!(b.one("SELECT count(*) FROM log"), Sql::Integer(2));
}

#[test]
fn rows_put_into_a_table_that_is_created_again_stand_beside_those_that_come_back() {
    let (mut a, mut b) = pair();
    a.run("DROP TABLE sale");
    look(&mut a, 2000);
    a.run("CREATE TABLE sale(id INTEGER PRIMARY KEY, item TEXT); INSERT INTO sale(item) VALUES('bread'); INSERT INTO sale VALUES(9, 'oil')");
    look(&mut a, 3000);
    a.store.apply(LATE, || true).unwrap();
    sync(&mut a, &mut b);
    a.equals(&b, &["sale"]);
    let items = "SELECT group_concat(item) FROM (SELECT item FROM sale ORDER BY item)";
    assert_eq!(b.one(items), Sql::Text("bread,milk,oil,tea".into()));
    assert_eq!(b.one("SELECT id FROM sale WHERE item = 'tea'"), Sql::Integer(1));
    assert_eq!(a.view(|view| view.conflicts()).unwrap().len(), 0);
}

/// Not in one transaction, and looked at after each step: it is a rebuild all the same.
#[test]
fn a_rebuild_that_is_met_between_its_steps_doubles_no_row() {
    let (mut a, mut b) = pair();
    let steps = [
        "CREATE TABLE new__sale(id INTEGER PRIMARY KEY, item TEXT, qty INTEGER DEFAULT 1)",
        "INSERT INTO new__sale(id, item) SELECT id, item FROM sale",
        "DROP TABLE sale",
        "ALTER TABLE new__sale RENAME TO sale",
        "CREATE TABLE new__log(line, n, more)",
        "INSERT INTO new__log(line, n) SELECT line, n FROM log",
        "DROP TABLE log",
        "ALTER TABLE new__log RENAME TO log",
    ];
    for (step, sql) in steps.into_iter().enumerate() {
        a.run(sql);
        look(&mut a, 2000 + step as u64);
        b.take(&a);
    }
    b.run("UPDATE sale SET item = 'green tea' WHERE id = 1");
    b.seal(4000);
    sync(&mut a, &mut b);
    a.equals(&b, &["sale", "log"]);
    let items = "SELECT group_concat(item || qty) FROM (SELECT item, qty FROM sale ORDER BY id)";
    assert_eq!(b.one(items), Sql::Text("green tea1,milk1".into()));
    assert_eq!(a.one("SELECT count(*) FROM log"), Sql::Integer(2));
}

#[test]
fn a_table_that_was_emptied_and_rebuilt_stays_empty() {
    let (mut a, mut b) = pair();
    a.run("BEGIN; DELETE FROM sale; CREATE TABLE new(id INTEGER PRIMARY KEY, item TEXT); INSERT INTO new SELECT * FROM sale; DROP TABLE sale; ALTER TABLE new RENAME TO sale; COMMIT");
    look(&mut a, 2000);
    sync(&mut a, &mut b);
    assert_eq!(b.one("SELECT count(*) FROM sale"), Sql::Integer(0));
}

#[test]
fn what_was_a_conflict_before_a_table_was_dropped_is_one_after_it_came_back() {
    let (mut a, mut b) = pair();
    a.run("UPDATE sale SET item = 'from a' WHERE id = 1; DELETE FROM sale WHERE id = 2");
    b.run("UPDATE sale SET item = 'from b' WHERE id = 1; UPDATE sale SET item = 'cream' WHERE id = 2");
    a.seal(2000);
    b.seal(2001);
    sync(&mut a, &mut b);
    let told = |r: &Replica| {
        let mut ids: Vec<_> = r.view(|view| view.conflicts()).unwrap().iter().map(|line| line.id).collect();
        ids.sort_unstable();
        ids
    };
    let before = told(&a);
    assert_eq!(before.len(), 2);
    a.run("DROP TABLE sale; CREATE TABLE sale(id INTEGER PRIMARY KEY, item TEXT)");
    look(&mut a, 3000);
    a.store.apply(LATE, || true).unwrap();
    sync(&mut a, &mut b);
    a.equals(&b, &["sale"]);
    assert_eq!((told(&a), told(&b)), (before.clone(), before));
}
