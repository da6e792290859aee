//! Entries come in any order, twice, late, in part, and too early.

use super::*;
use p2pdb_core::chain::Refused;
use p2pdb_core::id::Seq;

fn pair() -> (Replica, Replica) {
    (Replica::new(1, SALE, &["sale"]), Replica::new(2, "", &[]))
}

fn many(a: &mut Replica, n: usize) {
    for i in 0..n {
        a.run(&format!("INSERT INTO sale(item, qty) VALUES('item {i}', {i})"));
        a.seal(1000 + i as u64);
    }
}

#[test]
fn an_import_in_the_worst_order_ends_like_any_other() {
    let (mut a, mut b) = pair();
    many(&mut a, 20);
    let entries = a.entries();
    for (at, entry) in entries.iter().enumerate().rev() {
        let drained = b.store.import(entry, LATE).unwrap();
        assert_eq!(drained.stored, if at == 0 { entries.len() } else { 0 });
        b.store.import(entry, LATE).unwrap();
        assert_eq!(b.status().staged, if at == 0 { 0 } else { (entries.len() - at) as u64 });
    }
    a.equals(&b, &["sale"]);
}

#[test]
fn a_full_stage_refuses_and_an_entry_of_another_group_too() {
    let (mut a, mut b) = pair();
    many(&mut a, 3);
    b.store.set_meta("staged_bytes", p2pdb_core::limit::STAGED_BYTES_MAX as i64).unwrap();
    let refused = b.store.import(&a.entries()[2], LATE);
    assert!(matches!(refused, Err(StoreError::StageFull)));
    let other = stage(b.store.connection(), GroupId([9; 16]), &a.entries()[0]);
    assert!(matches!(other, Err(StoreError::Refused(Refused::OtherGroup))));
}

#[test]
fn a_stage_filled_by_a_host_is_drained_by_the_store() {
    let (mut a, mut b) = pair();
    many(&mut a, 5);
    for entry in a.entries().iter().rev() {
        stage(&b.user, GroupId([1; 16]), entry).unwrap();
    }
    assert_eq!(b.status().staged, 5);
    let drained = b.store.drain(LATE, || false).unwrap().expect("something is staged");
    assert!(drained.is_partial && drained.stored == 1);
    while b.store.drain(LATE, || false).unwrap().is_some_and(|d| d.is_partial) {}
    // It was taken for "all is merged" here, and what waited for the next turn waited for the next entry.
    assert!(b.store.drain(LATE, || true).unwrap().is_none(), "with an empty stage nothing is told");
    while b.store.apply(LATE, || false).unwrap().is_partial {}
    a.equals(&b, &["sale"]);
}

#[test]
fn a_forged_entry_is_refused_and_does_not_block_the_true_one() {
    let (mut a, mut b) = pair();
    many(&mut a, 2);
    let true_one = a.entries();
    let mut forged = true_one[1].clone();
    let at = forged.len() - p2pdb_core::entry::Entry::from_bytes(&forged).unwrap().body.len() - 1;
    forged[at] ^= 1;
    b.store.import(&true_one[0], LATE).unwrap();
    assert!(matches!(b.store.import(&forged, LATE), Err(StoreError::Refused(Refused::Signature(..)))));
    b.store.import(&true_one[1], LATE).unwrap();
    a.equals(&b, &["sale"]);
}

/// A forged twin has the id of the true entry. Staged first, it used to keep the true one out, and was dropped when its turn came:
/// the chain stood still for ever.
#[test]
fn a_forged_entry_that_waits_does_not_keep_the_true_one_out() {
    let (mut a, mut b) = pair();
    many(&mut a, 3);
    let true_ones = a.entries();
    let mut forged = true_ones[1].clone();
    let at = forged.len() - p2pdb_core::entry::Entry::from_bytes(&forged).unwrap().body.len() - 1;
    forged[at] ^= 1;
    for waiting in [&forged, &true_ones[1], &true_ones[2]] {
        b.store.import(waiting, LATE).unwrap();
    }
    let drained = b.store.import(&true_ones[0], LATE).unwrap();
    assert!(matches!(drained.refused.as_slice(), [(_, Refused::Signature(..))] | []));
    assert_eq!(drained.stored, 3);
    a.equals(&b, &["sale"]);
}

/// A table that is untracked and tracked again, or dropped and made anew: what peers wrote on it meanwhile waited, and its
/// author's entries said that they had seen it all the same. The value that lost was told where it was written, and nowhere else.
#[test]
fn what_was_written_while_a_table_was_away_is_told_alike_by_all() {
    let away =
        [("untracked", "", ""), ("dropped", "DROP TABLE sale", "INSERT INTO sale VALUES(1, 'tea', 7), (2, 'milk', 1)")];
    for (how, leave, come) in away {
        let schema = "CREATE TABLE sale(id TEXT PRIMARY KEY NOT NULL, item TEXT, qty INTEGER)";
        let (mut a, mut b) = (Replica::new(1, schema, &["sale"]), Replica::new(2, "", &[]));
        a.run("INSERT INTO sale VALUES(1, 'tea', 1), (2, 'milk', 1)");
        a.seal(1000);
        b.take(&a);
        if leave.is_empty() {
            define::untrack(&b.user, "sale").unwrap();
        } else {
            b.run(leave);
            b.seal(1100);
        }
        a.run("UPDATE sale SET qty = 5 WHERE id = 1; UPDATE sale SET qty = 6 WHERE id = 2");
        a.seal(2000);
        b.take(&a);
        if leave.is_empty() {
            b.run("UPDATE sale SET qty = 7 WHERE id = 1");
            define::track(&b.user, "sale", "").unwrap();
        } else {
            b.run(schema);
            b.run(come);
        }
        b.seal(3000);
        b.store.apply(LATE, || true).unwrap();
        sync(&mut a, &mut b);
        a.equals(&b, &["sale"]);
        let told = |r: &Replica| {
            let lines = r.view(|view| view.conflicts()).unwrap();
            let mut lines: Vec<_> = lines.into_iter().map(|l| (l.key, l.column, l.value, l.by)).collect();
            lines.sort_by_key(|l| format!("{l:?}"));
            lines
        };
        assert_eq!(told(&a), told(&b), "{how}");
        let qty =
            |l: &(String, String, _, _)| l.0 == "1" && l.1 == "qty" && l.2 == p2pdb_core::value::Value::Integer(5);
        assert!(told(&a).iter().any(qty), "{how}: {:?}", told(&a));
        assert_eq!(a.one("SELECT qty FROM sale WHERE id = 1"), Sql::Integer(7), "{how}");
    }
}

#[test]
fn an_entry_from_the_future_waits_and_its_clock_does_not_spread() {
    let (mut a, mut b) = pair();
    a.seal(1000);
    b.take(&a);
    a.run("INSERT INTO sale VALUES(1, 'tea', 1)");
    let ahead = 2_000_000 + p2pdb_core::limit::CLOCK_AHEAD_MS_MAX + 1;
    a.seal(ahead);
    let entries = a.entries();
    b.receive(&entries, 2_000_000);
    assert_eq!(b.rows("SELECT * FROM sale"), Vec::<Vec<Sql>>::new());
    let status = b.view(|view| view.status(2_000_000)).unwrap();
    assert_eq!((status.quarantined, status.entries), (1, 2));
    assert_ne!(b.store.withheld_root().unwrap(), a.store.withheld_root().unwrap());
    // What is written here meanwhile is stamped with the time here.
    b.run("INSERT INTO sale VALUES(2, 'milk', 1)");
    b.seal(2_000_000);
    assert!(b.store.frontier().unwrap().iter().any(|h| h.clock.ms() == 2_000_000));
    assert_eq!(b.store.quarantined_until().unwrap(), Some(ahead - p2pdb_core::limit::CLOCK_AHEAD_MS_MAX));
    b.store.apply(2_000_001, || true).unwrap();
    a.take(&b);
    a.equals(&b, &["sale"]);
    assert_eq!(b.store.withheld_root().unwrap(), a.store.withheld_root().unwrap());
}

#[test]
fn a_group_is_merged_whole_or_not_at_all() {
    let (mut a, mut b) = pair();
    a.seal(1000);
    b.take(&a);
    a.run("WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 30000) INSERT INTO sale SELECT i, hex(randomblob(20)), i FROM c");
    // Time is up after each batch: the group spreads over many transactions of the author.
    while a.store.seal(2000, || false).unwrap().is_partial {}
    let entries = a.entries();
    assert!(entries.len() > 20);
    for (at, entry) in entries.iter().enumerate().skip(1) {
        assert_eq!(b.one("SELECT count(*) FROM sale"), Sql::Integer(0));
        let received = b.receive(&[entry], LATE);
        assert_eq!(received.applied.entries > 0, at + 1 == entries.len());
    }
    assert_eq!(b.one("SELECT count(*) FROM sale"), Sql::Integer(30000));
    a.equals(&b, &["sale"]);
}

#[test]
fn of_batches_offered_together_one_that_breaks_a_rule_is_left_out_alone() {
    let (mut a, mut b) = pair();
    many(&mut a, 5);
    let mut entries = a.entries();
    let gap = entries.split_off(4);
    let batches = [&entries[..2], &gap, &entries[1..3], &entries[3..]];
    let offered = batches.map(|entries| Offered { entries, cursor: None });
    let received = b.store.receive(&offered, LATE, || true).unwrap();
    let taken = |stored, after, last| Ok(Taken { stored, after, last });
    let gap = Err(Refused::Gap { author: a.store.identity().key.public().author(), got: Seq(5), wanted: Seq(3) });
    assert_eq!(received.batches, [taken(2, 0, 2), gap, taken(1, 2, 3), taken(1, 3, 4)]);
    b.take(&a);
    a.equals(&b, &["sale"]);
}

/// The merged columns of the two break the CHECK: either replica refuses the other's update, and keeps it.
#[test]
fn an_update_that_the_table_refuses_is_kept_and_the_row_stays_as_it_is() {
    for key in ["TEXT PRIMARY KEY NOT NULL", "INTEGER PRIMARY KEY"] {
        let schema = format!("CREATE TABLE r(k {key}, x INTEGER, y INTEGER, CHECK(x <= y))");
        let (mut a, mut b) = (Replica::new(1, &schema, &["r"]), Replica::new(2, "", &[]));
        a.run("INSERT INTO r VALUES(1, 1, 9)");
        a.seal(1000);
        b.take(&a);
        a.run("UPDATE r SET x = 5");
        a.seal(2000);
        b.run("UPDATE r SET y = 4");
        b.seal(3000);
        sync(&mut a, &mut b);
        assert_eq!(a.rows("SELECT x, y FROM r"), [[Sql::Integer(5), Sql::Integer(9)]], "{key}");
        assert_eq!(b.rows("SELECT x, y FROM r"), [[Sql::Integer(1), Sql::Integer(4)]], "{key}");
        assert_eq!(a.store.digest(), b.store.digest(), "{key}");
        for replica in [&a, &b] {
            assert_eq!(replica.view(|view| view.verify()).unwrap(), [], "{key}");
            assert_eq!(replica.status().parked(), 1, "{key}");
        }
        // A later write lifts it, on both.
        a.run("UPDATE r SET y = 7");
        a.seal(4000);
        b.take(&a);
        assert_eq!(b.rows("SELECT x, y FROM r"), [[Sql::Integer(5), Sql::Integer(7)]], "{key}");
        assert_eq!(b.status().parked(), 0, "{key}");
    }
}

#[test]
fn batches_for_which_time_runs_out_are_not_touched() {
    let (mut a, mut b) = pair();
    many(&mut a, 3);
    let entries = a.entries();
    let offered: Vec<_> = entries.chunks(1).map(|entries| Offered { entries, cursor: None }).collect();
    let received = b.store.receive(&offered, LATE, || false).unwrap();
    assert_eq!(received.batches, [Ok(Taken { stored: 1, after: 0, last: 1 })]);
    assert_eq!(b.status().entries, 1);
    b.store.receive(&offered[1..], LATE, || true).unwrap();
    a.equals(&b, &["sale"]);
}

#[test]
fn local_changes_are_sealed_before_anything_is_merged_over_them() {
    // Otherwise the value from elsewhere would be published as a local change, and the local one lost.
    let (mut a, mut b) = pair();
    a.run("INSERT INTO sale VALUES(1, 'tea', 1), (2, 'milk', 1)");
    a.seal(1000);
    b.take(&a);
    a.run("UPDATE sale SET qty = 5");
    a.seal(2000);
    b.run("UPDATE sale SET qty = 7 WHERE id = 1");
    let entries = a.entries();
    b.receive(&entries, 3000);
    assert_eq!(b.status().pending, 0);
    assert_eq!(b.rows("SELECT qty FROM sale ORDER BY id"), [[Sql::Integer(7)], [Sql::Integer(5)]]);
    a.take(&b);
    a.equals(&b, &["sale"]);
    assert_eq!(a.view(|view| view.conflicts()).unwrap().len(), 1);
}

#[test]
fn many_local_changes_are_sealed_first_in_steps() {
    let (mut a, mut b) = pair();
    a.run("INSERT INTO sale VALUES(1, 'tea', 1)");
    a.seal(1000);
    let entries = a.entries();
    b.take_entries(&entries[..1]);
    a.run("UPDATE sale SET qty = 5");
    a.seal(2000);
    b.run("WITH RECURSIVE c(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM c WHERE i < 6000) INSERT INTO sale SELECT i, 'x', i FROM c");
    let entries = a.entries();
    let received = b.receive(&entries[1..2], 3000);
    assert_eq!(received.batches[0].as_ref().unwrap().stored, 1);
    assert!(received.applied.needs_seal && received.applied.entries == 0);
    let mut steps = 0;
    while b.store.seal(3000, || false).unwrap().is_partial {
        assert!(b.store.apply(3000, || true).unwrap().needs_seal || b.status().pending <= 200);
        steps += 1;
    }
    assert!(steps > 3);
    b.store.apply(3000, || true).unwrap();
    a.take(&b);
    a.equals(&b, &["sale"]);
    assert_eq!(b.rows("SELECT qty FROM sale WHERE id = 1"), [[Sql::Integer(5)]]);
}
