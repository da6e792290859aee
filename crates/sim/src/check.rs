//! What must hold: at any moment of one replica, and at the end of all.

use crate::database::Database;
use crate::node::Node;
use crate::oracle::{self, Lost, Merged, RowName, Verdict};
use crate::rows::Grid;
use crate::schema::COLUMNS;
use crate::world::Report;
use p2pdb_core::merge::{Conflict, Key};
use p2pdb_core::record::Record;
use p2pdb_core::value::Value;
use std::collections::BTreeMap;

type Check = Result<(), String>;

/// Everything, once all replicas are level.
pub fn all(nodes: &[Node], report: &mut Report) -> Check {
    let Some(first) = nodes.first() else { return Ok(()) };
    for (n, node) in nodes.iter().enumerate() {
        if let Some((author, _)) = node.db.log.authors.iter().find(|(_, a)| a.applied < a.held) {
            return Err(format!("replica {n} holds entries of {author} that it never merged"));
        }
        if node.db.digest != first.db.digest {
            return Err(format!("the digests of replicas 0 and {n} differ"));
        }
        let verdict = tables(&node.db, n)?;
        book(&node.db, n, &verdict)?;
        let missing = nodes.iter().flat_map(|n| &n.db.ledger.due).find(|v| !verdict.written.contains(v));
        if let Some(value) = missing {
            return Err(format!("value {value} was written and durable, and is in no entry of replica {n}"));
        }
        report.conflicts += node.db.grids.iter().map(|g| g.book.len() as u64).sum::<u64>();
    }
    report.entries = first.db.log.last_arrival();
    let is_derived = |key: &&Key| matches!(key, Key::Id(id) if *id >= 1 << 32);
    report.renumbered = first.db.grids.iter().map(|g| g.shown.keys().filter(is_derived).count() as u64).sum();
    Ok(())
}

/// One replica shows what the oracle makes of the entries that it merged.
pub fn tables(db: &Database, n: usize) -> Result<Verdict, String> {
    let verdict = oracle::judge(&db.log.merged()).map_err(|e| format!("the oracle can't read an entry: {e}"))?;
    merged(db, n, &verdict)?;
    for (t, grid) in db.grids.iter().enumerate() {
        let shown = shown(grid);
        let wanted = verdict.visible.iter().filter(|((of, _), _)| *of == t);
        let wanted: BTreeMap<_, _> = wanted.map(|((_, name), values)| (name.clone(), values.clone())).collect();
        if let Some((name, values)) = wanted.iter().find(|(name, values)| shown.get(*name) != Some(*values)) {
            let got = shown.get(name);
            return Err(format!("replica {n}, table {t}, row {name:?}: the oracle says {values:?}, shown is {got:?}"));
        }
        if let Some((name, values)) = shown.iter().find(|(name, _)| !wanted.contains_key(*name)) {
            return Err(format!("replica {n}, table {t}: row {name:?} {values:?} is shown, the oracle knows none"));
        }
    }
    Ok(verdict)
}

/// The records of one replica hold what the oracle makes of the entries that it merged, hidden rows and orphans included.
fn merged(db: &Database, n: usize, verdict: &Verdict) -> Check {
    let mut held: BTreeMap<(usize, RowName), Merged> = BTreeMap::new();
    for (t, grid) in db.grids.iter().enumerate() {
        for (key, record) in &grid.records {
            let state = record.expand(|| grid.shown.get(key).map(|s| s.logged.clone()).unwrap_or_default());
            let cell = |c| state.cell(c).map(|w| (w.value.clone(), w.stamp, w.claim));
            let mut alive: Vec<_> = state.incarnations.iter().map(|i| i.dot()).collect();
            alive.sort_unstable_by_key(|dot| (dot.author, dot.seq, dot.op));
            held.insert((t, name(key, record)), (alive, (0..COLUMNS).map(cell).collect()));
        }
    }
    let names = verdict.merged.keys().chain(held.keys());
    match names.into_iter().find(|name| verdict.merged.get(*name) != held.get(*name)) {
        Some(name) => {
            let (wanted, got) = (verdict.merged.get(name), held.get(name));
            Err(format!("replica {n}, row {name:?} as merged:\n  oracle  {wanted:?}\n  replica {got:?}\n"))
        }
        None => Ok(()),
    }
}

fn name(key: &Key, record: &Record) -> RowName {
    match key {
        Key::Name(bytes) => RowName::Key(bytes.clone()),
        Key::Id(_) | Key::Born(_) => RowName::Dot(record.born.dot()),
    }
}

/// No value is missing from both the tables and the book. Of two writes of one value one line is enough.
fn book(db: &Database, n: usize, verdict: &Verdict) -> Check {
    let has_line = |lost: &Lost| {
        let is_it =
            |c: &Conflict| c.column == lost.column && c.value == lost.value && RowName::from(&c.name) == lost.row;
        db.grids[lost.t].book.iter().any(is_it)
    };
    match verdict.lost.iter().find(|lost| !has_line(lost)) {
        Some(lost) => Err(format!("replica {n}: this is neither shown nor in the book of conflicts: {lost:?}")),
        None => Ok(()),
    }
}

fn shown(grid: &Grid) -> BTreeMap<RowName, Vec<Value>> {
    let rows = grid.shown.iter().map(|(key, row)| {
        let name = match key {
            Key::Name(bytes) => RowName::Key(bytes.clone()),
            key @ (Key::Id(_) | Key::Born(_)) => {
                RowName::Dot(grid.records.get(key).map(|r| r.born.dot()).unwrap_or_default())
            }
        };
        (name, row.display.clone())
    });
    rows.collect()
}
