//! Hidden rows that wait for rows they refer to: which of them can be shown, together (rule P2).
//!
//! All that wait are taken to be visible, and those are dropped that refer to a row which neither is visible nor waits
//! itself, until nothing changes: the greatest fixpoint. So rows that refer to each other in a circle come back
//! together, as they would never one by one.

use p2pdb_core::body::Cell;
use p2pdb_core::merge::{Key, Rows, Table};
use p2pdb_core::name::Name;
use p2pdb_core::row::RowState;
use std::collections::BTreeSet;

use super::StoreError;
use super::authors::Authors;
use super::rows::{Shared, SqliteRows, key_of};

/// A row that waits.
pub(super) struct Waiting {
    pub(super) t: i64,
    pub(super) key: Key,
    name: Name,
    state: Box<RowState>,
}

/// The waiting rows that can be shown now.
pub(super) fn showable(
    shared: Shared<'_>,
    authors: &mut Authors,
    digest: &mut u128,
) -> Result<Vec<Waiting>, StoreError> {
    let mut waiting = all(shared, authors, digest)?;
    loop {
        let before = waiting.len();
        let names: BTreeSet<(i64, Name)> = waiting.iter().map(|w| (w.t, w.name.clone())).collect();
        let mut kept = Vec::with_capacity(before);
        for w in waiting {
            if is_free(shared, authors, digest, &w, &names)? {
                kept.push(w);
            }
        }
        waiting = kept;
        if waiting.len() == before {
            return Ok(waiting);
        }
    }
}

fn all(shared: Shared<'_>, authors: &mut Authors, digest: &mut u128) -> Result<Vec<Waiting>, StoreError> {
    let keys: Vec<(i64, Option<Key>)> = {
        let mut statement = shared.conn.prepare_cached("SELECT t, name FROM _p2p_stuck WHERE waits = 1")?;
        let keys = statement.query_map([], |row| Ok((row.get(0)?, key_of(row.get_ref(1)?))))?;
        keys.collect::<rusqlite::Result<_>>()?
    };
    let mut waiting = Vec::with_capacity(keys.len());
    for (t, key) in keys {
        let (Some(table), Some(key)) = (shared.tables.get(t), key) else { continue };
        let mut rows = SqliteRows::new(shared, table, authors, digest)?;
        let Some(record) = rows.record(&key)?.filter(|r| r.is_hidden) else { continue };
        let name = match &key {
            Key::Id(id) => Name::Born { dot: record.born.dot(), id: record.birth_id.unwrap_or(*id) },
            Key::Name(bytes) => Name::Key(bytes.clone()),
            Key::Born(dot) => Name::Born { dot: *dot, id: 0 },
        };
        waiting.extend(record.state.map(|state| Waiting { t, key, name, state }));
    }
    Ok(waiting)
}

/// Does every reference mean a row that is visible or in `names`?
fn is_free(
    shared: Shared<'_>,
    authors: &mut Authors,
    digest: &mut u128,
    waiting: &Waiting,
    names: &BTreeSet<(i64, Name)>,
) -> Result<bool, StoreError> {
    let Some(table) = shared.tables.get(waiting.t) else { return Ok(false) };
    let mut cells = cells_of(&table.merge, &waiting.state);
    for (column, parent) in &table.refs {
        // A key can't be told before the row that it is made of is there: such rows come one after the other.
        let is_key = table.merge.key.iter().any(|(c, _)| c == column);
        if let Some(Cell::Ref(name)) = cells.get(*column)
            && !is_key
            && names.contains(&(*parent, name.clone()))
        {
            cells[*column] = Cell::Null;
        }
    }
    let mut rows = SqliteRows::new(shared, table, authors, digest)?;
    Ok(rows.missing(&cells)?.is_none())
}

/// Shows them: first without what they refer to among themselves, then with it. What can't stand with it after all is hidden again.
pub(super) fn show(
    shared: Shared<'_>,
    authors: &mut Authors,
    digest: &mut u128,
    waiting: Vec<Waiting>,
) -> Result<(), StoreError> {
    shared.flags.is_lenient.set(true);
    let shown = waiting.iter().try_for_each(|w| {
        let Some(table) = shared.tables.get(w.t) else { return Ok(()) };
        SqliteRows::new(shared, table, authors, digest)?.merging(|merge| merge.retry(&w.key))
    });
    shared.flags.is_lenient.set(false);
    shown?;
    for Waiting { t, name, .. } in waiting {
        let Some(table) = shared.tables.get(t) else { continue };
        let mut rows = SqliteRows::new(shared, table, authors, digest)?;
        if let Some((key, _)) = rows.merging(|merge| merge.located(&name))?.filter(|(_, record)| !record.is_hidden) {
            rows.merging(|merge| merge.retry(&key))?;
        }
    }
    super::apply::follow_up(shared, authors, digest)
}

fn cells_of<'s>(table: &'s Table, state: &'s RowState) -> Vec<Cell<'s>> {
    (0..table.columns).map(|c| table.cell(state, c)).collect()
}
