//! Where a row stands, in words. On databases in memory: it needs no node.

use rusqlite::Connection;
use std::time::SystemTime;

use crate::memory::{carry, open};
use crate::world::{error, one};

/// Two databases of one group with these tables, all that is in the first one in both.
pub(crate) fn pair(schema: &str) -> (Connection, Connection) {
    let (a, b) = (open(), open());
    a.execute_batch(schema).unwrap();
    one(&a, "SELECT p2p_track('*')");
    one(&a, "SELECT p2p_sync()");
    let ticket = one(&a, "SELECT p2p_invite()");
    one(&b, &format!("SELECT p2p_join('{ticket}')"));
    bring(&a, &b);
    (a, b)
}

/// What is in one is in the other.
pub(crate) fn bring(from: &Connection, to: &Connection) {
    one(from, "SELECT p2p_sync()");
    carry(from, to);
    one(to, "SELECT p2p_sync()");
}

/// Writes on one, and later by the clock on the other, neither knowing of the other's; then both know.
pub(crate) fn apart(a: &Connection, first: &str, b: &Connection, second: &str) {
    a.execute_batch(first).unwrap();
    one(a, "SELECT p2p_sync()");
    let begun = SystemTime::now();
    while begun.elapsed().unwrap().as_millis() < 2 {}
    b.execute_batch(second).unwrap();
    one(b, "SELECT p2p_sync()");
    bring(a, b);
    bring(b, a);
}

pub(crate) fn author(conn: &Connection) -> String {
    one(conn, "SELECT peer_id FROM p2p_status")
}

/// The answer with everything that differs from run to run in words.
fn why(conn: &Connection, call: &str, authors: &[(&str, &Connection)]) -> Vec<String> {
    let mut text = one(conn, &format!("SELECT p2p_why({call})"));
    for (name, of) in authors {
        text = text.replace(&author(of), name);
    }
    let is_time = |word: &str| word.len() == 8 && word.as_bytes()[2] == b':';
    let is_date = |word: &str| word.len() == 10 && word.as_bytes()[4] == b'-';
    let plain = |line: &str| {
        let words = line.split(' ').filter(|w| !is_date(w) && *w != "UTC").map(|w| if is_time(w) { "WHEN" } else { w });
        words.collect::<Vec<_>>().join(" ")
    };
    text.lines().map(plain).collect()
}

const SALE: &str = "CREATE TABLE sale(id INTEGER PRIMARY KEY, item TEXT, qty INTEGER);
    INSERT INTO sale VALUES(1, 'tea', 2)";

#[test]
fn a_plain_row_tells_who_wrote_which_column() {
    let (a, b) = pair(SALE);
    b.execute_batch("UPDATE sale SET qty = 3").unwrap();
    bring(&b, &a);
    let told = ["sale 1 is in the table", "id, item: written WHEN by A, this database", "qty: written WHEN by B"];
    assert_eq!(why(&a, "'sale', 1", &[("A", &a), ("B", &b)]), told);
    assert_eq!(why(&a, "'SALE', '1'", &[("A", &a), ("B", &b)]), told);
}

#[test]
fn what_lost_is_told_with_what_can_be_done() {
    let (a, b) = pair(SALE);
    apart(&a, "UPDATE sale SET qty = 4", &b, "UPDATE sale SET qty = 5");
    let told = why(&a, "'sale', 1", &[("A", &a), ("B", &b)]);
    assert_eq!(told[2], "qty: written WHEN by B");
    let id = one(&a, "SELECT id FROM p2p_conflicts");
    let lost = "lost: qty = 4, written WHEN by A, this database: a concurrent write to the same column is later";
    let [lost, kept] = [format!("{lost} (conflict {id})"), format!("SELECT p2p_resolve({id}, 'kept')")];
    let next =
        format!("next: put back what lost: SELECT p2p_resolve({id}, 'lost'); or have what is shown stand: {kept}");
    assert_eq!(told[3..], [lost, next]);
    assert_eq!(one(&a, &kept), "sale 1: qty stays as it is shown");
    bring(&a, &b);
    assert_eq!(why(&a, "'sale', 1", &[]).len(), 3);
    assert_eq!(one(&b, "SELECT count(*) FROM p2p_conflicts"), "0");
}

#[test]
fn a_change_that_is_not_sealed_is_told_as_pending() {
    let (a, _b) = pair(SALE);
    a.execute_batch("INSERT INTO sale VALUES(2, 'milk', 1); UPDATE sale SET qty = 9 WHERE id = 1").unwrap();
    let pending = "pending: a change made here is not sealed yet; p2p_seal() waits for it";
    assert_eq!(why(&a, "'sale', 2", &[]), ["sale 2 is in the table", pending]);
    assert_eq!(why(&a, "'sale', 1", &[]).last().unwrap(), pending);
    a.execute_batch("DELETE FROM sale WHERE id = 1").unwrap();
    assert_eq!(why(&a, "'sale', 1", &[])[0], "sale 1 was deleted here a moment ago");
    one(&a, "SELECT p2p_sync()");
    assert_eq!(why(&a, "'sale', 2", &[("A", &a)]).len(), 2);
}

#[test]
fn a_derived_id_tells_what_it_is_derived_from_and_both_find_each_other() {
    let (a, b) = pair(SALE);
    apart(&a, "INSERT INTO sale VALUES(10, 'bread', 1)", &b, "INSERT INTO sale VALUES(10, 'butter', 1)");
    let derived = one(&b, "SELECT id FROM sale WHERE item = 'butter'");
    let told = why(&b, &format!("'sale', {derived}"), &[("B", &b)]);
    assert_eq!(told[2], "id: shown in place of 10, which sale 10 has by an earlier write");
    let told = why(&a, "'sale', 10", &[("A", &a)]);
    assert_eq!(told.last().unwrap(), &format!("key: sale {derived} was written with it too"));
    // Settled by a later write of its author, and the other row gone.
    b.execute_batch("DELETE FROM sale WHERE id = 10").unwrap();
    bring(&b, &a);
    let elsewhere = format!("sale 10 shows the key {derived} now: SELECT p2p_why('sale', {derived})");
    assert_eq!(why(&a, "'sale', 10", &[])[0], elsewhere);
    let told = why(&a, &format!("'sale', {derived}"), &[("B", &b)]);
    assert_eq!(told.last().unwrap(), "id: shown in place of 10, which another row had by an earlier write");
}

#[test]
fn a_row_that_is_gone_tells_who_deleted_it() {
    let (a, b) = pair(SALE);
    b.execute_batch("DELETE FROM sale").unwrap();
    bring(&b, &a);
    assert_eq!(why(&a, "'sale', 1", &[("B", &b)]), ["sale 1 was deleted, WHEN by B"]);
    assert_eq!(why(&b, "'sale', 1", &[("B", &b)]), ["sale 1 was deleted, WHEN by B, this database"]);
    assert_eq!(why(&a, "'sale', 2", &[]), ["sale 2 is not in the table, and the log does not know of it"]);
}

#[test]
fn an_id_that_was_changed_leads_to_the_row() {
    let (a, b) = pair(SALE);
    a.execute_batch("UPDATE sale SET id = 7").unwrap();
    bring(&a, &b);
    a.execute_batch("UPDATE sale SET id = 8").unwrap();
    bring(&a, &b);
    for id in [1, 7] {
        assert_eq!(
            why(&b, &format!("'sale', {id}"), &[])[0],
            format!("sale {id} shows the key 8 now: SELECT p2p_why('sale', 8)")
        );
    }
}

#[test]
fn keys_of_several_columns_are_so_many_arguments() {
    let (a, b) = pair(
        "CREATE TABLE bill(id INTEGER PRIMARY KEY);
         CREATE TABLE line(bill INTEGER REFERENCES bill(id), no INTEGER, text TEXT COLLATE NOCASE,
             PRIMARY KEY(bill, no)) WITHOUT ROWID;
         INSERT INTO bill VALUES(1); INSERT INTO line VALUES(1, 1, 'x'), (1, 2, 'y')",
    );
    let told = ["line (1, 2) is in the table", "bill, no, text: written WHEN by A"];
    assert_eq!(why(&b, "'line', 1, 2", &[("A", &a)]), told);
    a.execute_batch("DELETE FROM line WHERE no = 2; DELETE FROM line; DELETE FROM bill").unwrap();
    bring(&a, &b);
    // Its key is made of a row that is gone as well.
    assert_eq!(why(&b, "'line', 1, 2", &[("A", &a)]), ["line (1, 2) was deleted, WHEN by A"]);
    let one_of_two = "p2p_why: the key of table \"line\" is bill, no: 1 of it is given";
    assert_eq!(error(&a, "SELECT p2p_why('line', 1)"), one_of_two);
}

#[test]
fn a_row_without_its_parent_tells_what_it_waits_for() {
    let (a, b) = pair(
        "CREATE TABLE bill(id INTEGER PRIMARY KEY);
         CREATE TABLE line(id INTEGER PRIMARY KEY, bill INTEGER REFERENCES bill(id));
         INSERT INTO bill VALUES(1)",
    );
    apart(&a, "DELETE FROM bill", &b, "INSERT INTO line VALUES(5, 1)");
    let told = why(&a, "'line', 5", &[("B", &b)]);
    assert_eq!(told[0], "line 5 is kept and not in the table: the row that it refers to is not there");
    assert!(told.contains(&"kept: id = 5, written WHEN by B".to_owned()), "{told:?}");
    assert!(
        told.contains(&"waits: bill refers to bill 1, which is not there: SELECT p2p_why('bill', 1)".to_owned()),
        "{told:?}"
    );
    assert!(told.last().unwrap().starts_with("next: it comes back with"), "{told:?}");
}

#[test]
fn a_value_that_is_taken_tells_who_has_it() {
    let (a, b) = pair("CREATE TABLE item(no TEXT PRIMARY KEY NOT NULL, code TEXT UNIQUE)");
    apart(&a, "INSERT INTO item VALUES('a', 'X')", &b, "INSERT INTO item VALUES('b', 'X')");
    let told = why(&b, "'item', 'b'", &[("B", &b)]);
    assert_eq!(told[2], "code: shown in place of 'X', which item 'a' has by an earlier write");
    assert!(
        told[3].starts_with("lost: code = 'X', written WHEN by B, this database: an earlier row holds"),
        "{told:?}"
    );
    assert!(told[4].starts_with("next: give it a value of its own"), "{told:?}");
}

#[test]
fn a_row_that_can_not_stand_beside_another_tells_which() {
    let (a, b) = pair(
        "CREATE TABLE person(id INTEGER PRIMARY KEY);
         CREATE TABLE passport(no TEXT PRIMARY KEY NOT NULL, person INTEGER NOT NULL UNIQUE REFERENCES person(id));
         INSERT INTO person VALUES(1)",
    );
    apart(&a, "INSERT INTO passport VALUES('A', 1)", &b, "INSERT INTO passport VALUES('B', 1)");
    let told = why(&a, "'passport', 'B'", &[("B", &b)]);
    assert!(told[0].starts_with("passport 'B' is kept and not in the table: "), "{told:?}");
    assert!(told.contains(&"waits: passport 'A' has what it claims, by an earlier write".to_owned()), "{told:?}");
    assert!(told.last().unwrap().starts_with("next: give the row that has what it claims"), "{told:?}");
}

#[test]
fn a_table_that_is_not_exchanged_says_so() {
    let (a, _b) = pair(SALE);
    a.execute_batch("CREATE TABLE scrap(x); CREATE TABLE note(id TEXT PRIMARY KEY)").unwrap();
    one(&a, "SELECT p2p_track('scrap')");
    let why = "p2p_why: rows of table \"scrap\" have no key to be asked by; p2p_conflicts lists what they lost";
    assert_eq!(error(&a, "SELECT p2p_why('scrap', 1)"), why);
    let unknown = |name: &str| {
        format!(
            "p2p_why: table \"{name}\" is not tracked, so nothing is known of its rows; SELECT p2p_track('{name}') begins"
        )
    };
    assert_eq!(error(&a, "SELECT p2p_why('nosuch', 1)"), unknown("nosuch"));
    assert_eq!(error(&a, "SELECT p2p_why('note', 'x')"), unknown("note"));
    assert!(error(&a, "SELECT p2p_why('sale')").starts_with("p2p_why: the key of the row is missing"));
    assert!(error(&a, "SELECT p2p_why()").starts_with("p2p_why: the table is missing"));
    assert!(error(&open(), "SELECT p2p_why('sale', 1)").starts_with("p2p_why: nothing is tracked here"));
}

#[test]
fn a_table_that_can_not_be_built_says_what_waits_for_it() {
    let (a, b) = pair(SALE);
    b.execute_batch("CREATE TABLE note(id TEXT PRIMARY KEY); INSERT INTO note VALUES('x')").unwrap();
    a.execute_batch("CREATE TABLE note(id INTEGER PRIMARY KEY); INSERT INTO note VALUES(1)").unwrap();
    one(&a, "SELECT p2p_track('note')");
    bring(&a, &b);
    let told: Vec<String> = one(&b, "SELECT p2p_why('note', 1)").lines().map(str::to_owned).collect();
    assert!(told[0].starts_with("table \"note\" was announced by a peer and can't be built here: "), "{told:?}");
    assert_eq!(told[1], "waiting: 1 entry with changes of it");
    assert!(told[2].starts_with("next: "), "{told:?}");
}
