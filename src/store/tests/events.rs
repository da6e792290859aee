//! Events: what merges did to rows that are known by their keys elsewhere.

use super::*;
use p2pdb_core::limit;

impl Replica {
    /// All events from after a number: what, table, key before, key since, by whom.
    fn events_after(&self, n: i64) -> Vec<(String, String, Sql, Sql, Option<String>)> {
        let lines = self.view(|view| view.events_after(n)).unwrap();
        lines.into_iter().map(|e| (e.event, e.table, e.old, e.new, e.by)).collect()
    }

    fn peer_id(&self) -> Option<String> {
        Some(self.store.identity().key.public().author().to_string())
    }
}

/// Two replicas that share a table and have not heard of each other since.
fn pair(schema: &str, tables: &[&str]) -> (Replica, Replica) {
    let mut a = Replica::new(1, schema, tables);
    let mut b = Replica::new(2, "", &[]);
    a.seal(500);
    b.take(&a);
    (a, b)
}

fn event(event: &str, table: &str, old: Sql, new: Sql, by: &Replica) -> (String, String, Sql, Sql, Option<String>) {
    (event.to_owned(), table.to_owned(), old, new, by.peer_id())
}

#[test]
fn a_renumbered_row_is_an_event_with_both_ids_where_it_was_shown_and_nowhere_else() {
    let (mut a, mut b) = pair(SALE, &["sale"]);
    a.run("INSERT INTO sale VALUES(10, 'bread', 1)");
    b.run("INSERT INTO sale VALUES(10, 'butter', 1)");
    a.seal(1000);
    b.seal(1001);
    let before = b.view(|view| view.events_after(0)).unwrap().last().map_or(0, |e| e.n);
    sync(&mut a, &mut b);
    let Sql::Integer(derived) = b.one("SELECT id FROM sale WHERE item = 'butter'") else { panic!() };
    assert!(derived > 1 << 32);
    let told = event("renumbered", "sale", Sql::Integer(10), Sql::Integer(derived), &a);
    assert_eq!(b.events_after(before), [told]);
    // There it never had another id.
    assert_eq!(a.events_after(0), []);
}

#[test]
fn an_id_that_is_given_back_is_an_event_too() {
    let (mut a, mut b) = pair(SALE, &["sale"]);
    a.run("INSERT INTO sale VALUES(10, 'bread', 1)");
    b.run("INSERT INTO sale VALUES(10, 'butter', 1)");
    a.seal(1000);
    b.seal(1001);
    b.take(&a);
    let derived = b.one("SELECT id FROM sale WHERE item = 'butter'");
    let before = b.view(|view| view.events_after(0)).unwrap().last().unwrap().n;
    a.run("DELETE FROM sale");
    a.seal(1100);
    b.take(&a);
    assert_eq!(b.events_after(before), [event("renumbered", "sale", derived, Sql::Integer(10), &a)]);
}

#[test]
fn what_ends_as_it_began_is_none() {
    let (mut a, mut b) = pair(SALE, &["sale"]);
    a.run("INSERT INTO sale VALUES(10, 'bread', 1)");
    b.run("INSERT INTO sale VALUES(10, 'butter', 1)");
    a.seal(1000);
    b.seal(1001);
    a.run("DELETE FROM sale");
    a.seal(1100);
    let before = b.view(|view| view.events_after(0)).unwrap().len() as i64;
    // Both entries in one transaction: the id was lost and given back in it.
    b.take(&a);
    assert_eq!(b.one("SELECT id FROM sale"), Sql::Integer(10));
    assert_eq!(b.events_after(before), []);
}

#[test]
fn rows_that_move_together_are_told_together() {
    let (mut a, mut b) = pair(SALE, &["sale"]);
    a.run("INSERT INTO sale VALUES(1, 'a1', 1), (2, 'a2', 1)");
    b.run("INSERT INTO sale VALUES(1, 'b1', 1), (2, 'b2', 1)");
    a.seal(1000);
    b.seal(1001);
    b.take(&a);
    let events = b.view(|view| view.events_after(0)).unwrap();
    let moved: Vec<_> = events.iter().filter(|e| e.event == "renumbered").collect();
    assert_eq!(moved.len(), 2);
    assert_eq!([moved[0].merge, moved[1].merge], [moved[0].n, moved[0].n]);
    assert_eq!([moved[0].time_ms, moved[1].time_ms], [LATE as i64; 2]);
    let mut ids: Vec<_> = moved.iter().map(|e| (e.old.clone(), e.new.clone())).collect();
    ids.sort_by_key(|(old, _)| format!("{old:?}"));
    assert_eq!(ids[0].1, b.one("SELECT id FROM sale WHERE item = 'b1'"));
    assert_eq!(ids[1].1, b.one("SELECT id FROM sale WHERE item = 'b2'"));
}

#[test]
fn a_row_that_is_hidden_is_told_with_the_reason() {
    let schema = "CREATE TABLE person(id INTEGER PRIMARY KEY, name TEXT);
        CREATE TABLE passport(no TEXT PRIMARY KEY NOT NULL, person INTEGER NOT NULL UNIQUE REFERENCES person(id));";
    let mut a = Replica::new(1, schema, &["person", "passport"]);
    let mut b = Replica::new(2, "", &[]);
    a.run("INSERT INTO person VALUES(1, 'Ann')");
    a.seal(500);
    b.take(&a);
    a.run("INSERT INTO passport VALUES('A', 1)");
    b.run("INSERT INTO passport VALUES('B', 1)");
    a.seal(1000);
    b.seal(1001);
    let before = b.view(|view| view.events_after(0)).unwrap().len() as i64;
    b.take(&a);
    a.take(&b);
    let text = |text: &str| Sql::Text(text.to_owned());
    assert_eq!(b.events_after(before), [event("hidden", "passport", text("B"), Sql::Null, &a)]);
    // It came and could not be shown.
    assert_eq!(a.events_after(0), [event("hidden", "passport", text("B"), Sql::Null, &b)]);
    let note = b.view(|view| view.events_after(before)).unwrap().remove(0).note;
    assert!(note.contains("UNIQUE") || note.contains("earlier"), "{note}");
}

#[test]
fn a_row_comes_back_with_the_one_that_it_waits_for() {
    let schema = "CREATE TABLE person(id INTEGER PRIMARY KEY, name TEXT);
        CREATE TABLE passport(no TEXT PRIMARY KEY NOT NULL, person INTEGER NOT NULL UNIQUE REFERENCES person(id));";
    let mut a = Replica::new(1, schema, &["person", "passport"]);
    let (mut b, mut c) = (Replica::new(2, "", &[]), Replica::new(3, "", &[]));
    a.run("INSERT INTO person VALUES(1, 'Ann')");
    a.seal(500);
    b.take(&a);
    c.take(&a);
    a.run("INSERT INTO passport VALUES('A', 1)");
    b.run("INSERT INTO passport VALUES('B', 1)");
    a.seal(1000);
    b.seal(1001);
    // Had not heard of B, so the delete frees the value for it.
    a.run("DELETE FROM passport WHERE no = 'A'");
    let first = a.entries();
    a.seal(1002);
    c.take(&b);
    c.take_entries(&first);
    let before = c.view(|view| view.events_after(0)).unwrap().len() as i64;
    assert_eq!(c.one("SELECT no FROM passport"), Sql::Text("A".into()));
    c.take(&a);
    assert_eq!(c.events_after(before), [event("shown", "passport", Sql::Null, Sql::Text("B".into()), &a)]);
}

#[test]
fn a_table_that_a_peer_announced_is_told_as_built_or_parked() {
    let mut a = Replica::new(
        1,
        "CREATE TABLE sale(id INTEGER PRIMARY KEY); CREATE TABLE note(id INTEGER PRIMARY KEY)",
        &["sale", "note"],
    );
    let mut b = Replica::new(2, "CREATE TABLE note(id TEXT PRIMARY KEY); INSERT INTO note VALUES('x')", &[]);
    a.seal(500);
    b.take(&a);
    let told: Vec<_> = b.events_after(0).into_iter().map(|(event, table, _, _, by)| (event, table, by)).collect();
    let named = |event: &str, table: &str| (event.to_owned(), table.to_owned(), a.peer_id());
    assert_eq!(told, [named("built", "sale"), named("parked", "note")]);
    let before = b.view(|view| view.events_after(0)).unwrap().last().unwrap().n;
    b.run("DROP TABLE note");
    b.store.tend().unwrap();
    let told = b.events_after(before);
    assert_eq!(told, [("built".to_owned(), "note".to_owned(), Sql::Null, Sql::Null, None)]);
}

#[test]
fn the_oldest_events_go_where_there_are_more_than_the_limit() {
    let (mut a, mut b) = pair(SALE, &["sale"]);
    let built = b.view(|view| view.events_after(0)).unwrap().last().unwrap().n;
    // So many that those before them just stay, then one more.
    let rows = limit::EVENTS_MAX as i64 - built;
    let insert = |rows: i64| {
        format!(
            "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < {rows}) INSERT INTO sale(id, item) SELECT i, 'x' FROM c"
        )
    };
    a.run(&insert(rows + 1));
    b.run(&insert(rows));
    a.seal(1000);
    b.seal(1001);
    b.take(&a);
    let ends = "SELECT min(n) || ' ' || max(n) || ' ' || count(*) FROM _p2p_event";
    let max = limit::EVENTS_MAX;
    assert_eq!(b.one(ends), Sql::Text(format!("1 {max} {max}")));
    let last = rows + 1;
    b.run(&format!("INSERT INTO sale(id, item) VALUES({0}, 'y')", last + 1));
    a.run(&format!("INSERT INTO sale(id, item) VALUES({0}, 'z')", last + 1));
    a.seal(2000);
    b.seal(2001);
    b.take(&a);
    assert_eq!(b.one(ends), Sql::Text(format!("2 {} {max}", max + 1)));
    // Read in pages, whole.
    let mut read = 0;
    loop {
        let page = b.view(|view| view.events_after(read)).unwrap();
        let Some(end) = page.last() else { break };
        assert!(page.len() <= limit::EVENTS_PAGE_MAX);
        read = end.n;
    }
    assert_eq!(read, max as i64 + 1);
}
