//! A large group is sealed in many steps.
//!
//! A shop of a million rows took 27 seconds to seal and a hundred thousand half a one: each step looked through all markers
//! that were left for ids that moved, and read all entries of the group so far to number its parts.

use super::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A step of SQLite's virtual machine is counted this many at a time.
const STEPS: i32 = 100;

fn fill(replica: &Replica, rows: usize) {
    replica.run(&format!(
        "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < {rows})
         INSERT INTO sale SELECT i, 'item ' || i, i FROM c"
    ));
}

#[test]
fn each_step_of_a_large_group_costs_the_same() {
    let mut a = Replica::new(1, SALE, &["sale"]);
    fill(&a, 40_000);
    let steps = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&steps);
    let count = move || {
        counted.fetch_add(1, Ordering::Relaxed);
        false
    };
    a.store.conn.progress_handler(STEPS, Some(count)).unwrap();
    let mut costs = Vec::new();
    while a.store.seal(1000, || false).unwrap().is_partial {
        costs.push(steps.swap(0, Ordering::Relaxed));
        let counted = a.store.open_group.parts.map_or(0, |(seq, ..)| seq.0);
        assert!(counted + 3 > costs.len() as u64, "step {} counted parts up to entry {counted}", costs.len());
    }
    // The first looks at all markers once.
    let (first, rest) = costs.split_first().unwrap();
    let (least, most) = (rest.iter().min().unwrap(), rest.iter().max().unwrap());
    assert!(rest.len() > 30 && *most < *least * 3 / 2, "{first}, then {least} to {most}: {costs:?}");
}

#[test]
fn ids_that_move_while_a_group_is_open_are_followed() {
    let mut a = Replica::new(1, SALE, &["sale"]);
    let mut b = Replica::new(2, "", &[]);
    a.run("CREATE TABLE other(id INTEGER PRIMARY KEY)");
    define::track(&a.user, "other", "").unwrap();
    fill(&a, 5_000);
    assert!(a.store.seal(1000, || false).unwrap().is_partial);
    assert!(a.store.seal(1000, || false).unwrap().is_partial);
    // One that is sealed already, one that is not, and two that change places.
    a.run(
        "UPDATE sale SET id = 90001 WHERE id = 7; UPDATE sale SET id = 90002 WHERE id = 4500;
         UPDATE sale SET id = -1 WHERE id = 8; UPDATE sale SET id = 8 WHERE id = 4501; UPDATE sale SET id = 4501 WHERE id = -1;",
    );
    a.seal(1001);
    b.take(&a);
    a.equals(&b, &["sale"]);
    // Markers are taken away besides the seal, and their numbers are used again.
    a.run("UPDATE sale SET qty = qty + 1 WHERE id < 3000");
    assert!(a.store.seal(1002, || false).unwrap().is_partial);
    define::untrack(&a.user, "other").unwrap();
    a.run("UPDATE sale SET id = id + 200000 WHERE id BETWEEN 100 AND 110; UPDATE sale SET id = 100 WHERE id = 200105");
    a.seal(1003);
    b.take(&a);
    a.equals(&b, &["sale"]);
}
