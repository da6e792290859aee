//! Changes of a whole table come as runs of many entries, and are merged together in the order of the rows' names.

use super::*;
use p2pdb_core::body::{Body, Kind, unpack};
use p2pdb_core::entry::Entry;

const ITEM: &str = "CREATE TABLE item(code TEXT PRIMARY KEY, price, stock)";
const ROWS: u32 = 3000;

/// Two replicas with equal rows. The codes are in no order.
fn stocked() -> (Replica, Replica) {
    let (mut a, mut b) = (Replica::new(1, ITEM, &["item"]), Replica::new(2, "", &[]));
    a.run(&format!(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {ROWS})
         INSERT INTO item SELECT printf('%x', i * 40503 % 65536), i, 0 FROM n"
    ));
    a.seal(1000);
    b.take(&a);
    (a, b)
}

/// One step of a seal: a batch, with the group left open behind it.
fn step(a: &mut Replica, ms: u64) {
    assert!(a.store.seal(ms, || false).unwrap().is_partial);
}

/// Of each entry behind the first `after` what its sections do, and how many there are.
fn kinds(a: &Replica, after: usize) -> Vec<Vec<Kind>> {
    let mut all = Vec::new();
    for bytes in a.entries().iter().skip(after) {
        let entry = Entry::from_bytes(bytes).unwrap();
        let raw = unpack(&entry.body).unwrap();
        let body = Body::read(&raw, entry.header.author).unwrap();
        let (mut sections, mut kinds) = (body.sections(), Vec::new());
        while let Some(section) = sections.next().unwrap() {
            assert!(section.kind != Kind::Update || section.is_ascending().unwrap());
            kinds.push(section.kind);
        }
        all.push(kinds);
    }
    all
}

#[test]
fn runs_of_one_group_are_merged_together_and_what_befell_one_row_in_its_order() {
    let (mut a, mut b) = stocked();
    let before = a.entries().len();
    a.run("UPDATE item SET price = price + 1");
    step(&mut a, 2000);
    // Rows that were sealed and rows that were not, in the same column and in another.
    a.run("UPDATE item SET price = -price WHERE rowid % 2 = 0; UPDATE item SET stock = rowid WHERE rowid % 3 = 0");
    step(&mut a, 2001);
    a.run("UPDATE item SET price = price * 2, stock = stock - 1 WHERE rowid % 5 = 0");
    a.seal(2002);
    let kinds = kinds(&a, before);
    assert!(kinds.len() >= 3 && kinds.iter().flatten().all(|kind| *kind == Kind::Update), "{kinds:?}");
    b.take(&a);
    a.equals(&b, &["item"]);
    assert_eq!(b.status().conflicts, 0, "whoever writes again has seen what was there");
}

#[test]
fn births_and_deaths_among_the_runs_stand_where_they_stood() {
    let (mut a, mut b) = stocked();
    a.run("UPDATE item SET price = 1");
    step(&mut a, 2000);
    a.run("DELETE FROM item WHERE rowid % 4 = 0; INSERT INTO item VALUES('new', 0, 0)");
    step(&mut a, 2001);
    a.run("UPDATE item SET price = 2; INSERT INTO item SELECT code || '+', 3, 3 FROM item WHERE rowid % 7 = 0");
    step(&mut a, 2002);
    a.run("UPDATE item SET stock = 9 WHERE code LIKE '%+'");
    a.seal(2003);
    b.take(&a);
    a.equals(&b, &["item"]);
}

#[test]
fn runs_meet_concurrent_changes_as_single_operations_do() {
    let (mut a, mut b) = stocked();
    b.run("UPDATE item SET price = 'b' WHERE rowid % 2 = 0; DELETE FROM item WHERE rowid % 10 = 1");
    b.seal(2000);
    a.run("UPDATE item SET price = 'a'");
    step(&mut a, 1999);
    a.run("UPDATE item SET stock = 'a' WHERE rowid % 3 = 0");
    a.seal(2001);
    sync(&mut a, &mut b);
    a.equals(&b, &["item"]);
    let lost = "SELECT count(*) FROM item WHERE price = 'b'";
    assert_ne!(a.one(lost), Sql::Integer(0), "some of both won");
    assert_ne!(b.one("SELECT count(*) FROM item WHERE price = 'a'"), Sql::Integer(0));
}
