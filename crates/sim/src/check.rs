//! What must hold: at any moment of one replica, and at the end of all.

use crate::database::Database;
use crate::node::Node;
use crate::oracle::{self, RowName, Verdict};
use crate::rows::Grid;
use crate::world::Report;
use p2pdb_core::id::Dot;
use p2pdb_core::merge::{Conflict, Key};
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
    for (t, grid) in db.grids.iter().enumerate() {
        let shown = shown(grid);
        let wanted = verdict.visible.iter().filter(|((of, _), _)| *of == t);
        let wanted: BTreeMap<_, _> = wanted.map(|((_, name), values)| (name.clone(), values.clone())).collect();
        let is_orphan = |name: &RowName| verdict.orphans.contains(&(t, name.clone()));
        let shown: BTreeMap<_, _> = shown.into_iter().filter(|(name, _)| !is_orphan(name)).collect();
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

/// No value is missing from both the tables and the book.
fn book(db: &Database, n: usize, verdict: &Verdict) -> Check {
    type Line<'a> = (usize, RowName, usize, Dot, &'a Value);
    let line = |t: usize, c: &'_ Conflict| (t, RowName::from(&c.name), c.column, c.stamp.dot());
    let mut lines: BTreeMap<_, &Value> = BTreeMap::new();
    for (t, grid) in db.grids.iter().enumerate() {
        lines.extend(grid.book.iter().map(|c| (line(t, c), &c.value)));
    }
    let wanted: Vec<Line<'_>> =
        verdict.lost.iter().map(|l| (l.t, l.row.clone(), l.column, l.stamp.dot(), &l.value)).collect();
    let missing =
        wanted.iter().find(|(t, row, column, dot, value)| lines.get(&(*t, row.clone(), *column, *dot)) != Some(value));
    match missing {
        Some((t, row, column, dot, value)) => Err(format!(
            "replica {n}: {value:?}, written by {dot} to column {column} of row {row:?} of table {t}, is neither shown nor in the book"
        )),
        None => Ok(()),
    }
}

fn shown(grid: &Grid) -> BTreeMap<RowName, Vec<Value>> {
    let rows = grid.shown.iter().map(|(key, row)| {
        let name = match key {
            Key::Name(bytes) => RowName::Key(bytes.clone()),
            key @ Key::Id(_) => RowName::Dot(grid.records.get(key).map(|r| r.born.dot()).unwrap_or_default()),
        };
        (name, row.display.clone())
    });
    rows.collect()
}
