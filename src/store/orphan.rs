//! Rows that refer to a row that leaves the table: they are hidden with it, and with them those that refer to them; or show
//! something else in its place, where their foreign key says so.
//!
//! What they mean can only be told while the row that goes still has its record, so the states of all are taken first
//! and only then the first is moved. Walks a list, never the stack: how deep a tree of rows is, a peer decides.

use p2pdb_core::merge::{Key, Refusal};
use p2pdb_core::row::RowState;
use p2pdb_core::value::Value;
use rusqlite::params_from_iter;
use std::collections::{BTreeMap, BTreeSet};

use super::StoreError;
use super::rows::{BindValue, SqliteRows, values_of};
use super::tables::Tracked;
use crate::quote::Quoted;

/// A row that goes, or one that refers to it.
struct Leaving {
    t: i64,
    key: Key,
    /// The key that it shows.
    visible: Vec<Value>,
    state: RowState,
}

/// Parks all rows that can't be without the row under `key`, which is about to go; from others it takes the reference.
pub(super) fn park(rows: &mut SqliteRows<'_>, key: &Key) -> Result<(), StoreError> {
    // Rows are referred to by keys of one column.
    let Some(value) = rows.key_params(key)?.and_then(|v| v.into_iter().next()) else { return Ok(()) };
    let mut met = BTreeSet::from([(rows.table.t, key.clone())]);
    let mut todo = vec![(rows.table.t, value)];
    let mut parked: Vec<Leaving> = Vec::new();
    let mut left: BTreeMap<(i64, Key), (BTreeSet<usize>, RowState)> = BTreeMap::new();
    while let Some((t, value)) = todo.pop() {
        for (child, column) in rows.shared.tables.referring(t) {
            let is_weak = child.merge.weak.contains(&column);
            let mut visible = referring_rows(rows, child, column, &value)?;
            visible.extend(super::unique::orphans(rows, child, column, t, &value)?);
            for visible in visible {
                let mut below = SqliteRows::new(rows.shared, child, rows.authors, rows.digest)?;
                let Some(key) = below.key_shown(&visible)? else { continue };
                if met.contains(&(child.t, key.clone())) {
                    continue;
                }
                let state = below.merging(|merge| merge.state_of(&key))?;
                let Some(state) = state.filter(|s| s.cell(column).is_some_and(|w| matches!(w.value, Value::Ref(_))))
                else {
                    continue;
                };
                if is_weak {
                    left.entry((child.t, key)).or_insert_with(|| (BTreeSet::new(), state)).0.insert(column);
                    continue;
                }
                met.insert((child.t, key.clone()));
                if !child.referring.is_empty()
                    && let Some(value) = visible.first()
                {
                    todo.push((child.t, value.clone()));
                }
                parked.push(Leaving { t: child.t, key, visible, state });
            }
        }
    }
    let why = Refusal::no_parent();
    for Leaving { t, key, visible, state } in parked {
        let Some(child) = rows.shared.tables.get(t) else { continue };
        let mut below = SqliteRows::new(rows.shared, child, rows.authors, rows.digest)?;
        // By the key that it shows: one that is made of references can't be told once the rows they mean are hidden.
        below.delete(&visible)?;
        let freed = below.merging(|merge| merge.park(&key, state, &why))?;
        rows.shared.flags.freed.borrow_mut().extend(freed.map(|id| (t, id)));
    }
    for ((t, key), (columns, state)) in left {
        let Some(child) = rows.shared.tables.get(t).filter(|_| !met.contains(&(t, key.clone()))) else { continue };
        let mut below = SqliteRows::new(rows.shared, child, rows.authors, rows.digest)?;
        super::dangling::let_go(&mut below, &key, &columns.into_iter().collect::<Vec<_>>(), state)?;
    }
    Ok(())
}

/// The visible keys of rows that hold `value` in a column.
pub(super) fn referring_rows(
    rows: &SqliteRows<'_>,
    child: &Tracked,
    column: usize,
    value: &Value,
) -> Result<Vec<Vec<Value>>, StoreError> {
    let (columns, width) = (child.sql.key.join(", "), child.sql.key.len());
    let (table, column) = (Quoted(&child.name), Quoted(&child.names[column]));
    let sql = format!("SELECT {columns} FROM main.{table} WHERE {column} = ?1");
    let mut statement = rows.shared.conn.prepare_cached(&sql)?;
    let found = statement.query_map(params_from_iter([BindValue(value)]), |row| values_of(row, width))?;
    Ok(found.collect::<rusqlite::Result<_>>()?)
}

impl SqliteRows<'_> {
    /// The key under which the record of a visible row is kept, told by the key that it shows.
    pub(super) fn key_shown(&mut self, visible: &[Value]) -> Result<Option<Key>, StoreError> {
        if self.table.merge.id_column.is_some() {
            return Ok(if let [Value::Integer(id)] = visible { Some(Key::Id(*id)) } else { None });
        }
        let table = self.table;
        if table.merge.has_nameless
            && (table.merge.key.is_empty() || visible.iter().take(table.merge.key.len()).any(|v| *v == Value::Null))
        {
            let Some(Value::Integer(place)) = visible.last() else { return Ok(None) };
            return Ok(self.standing_at(*place)?.map(|(key, _)| key));
        }
        let mut values = Vec::with_capacity(visible.len());
        for (value, (column, collation)) in visible.iter().zip(&table.merge.key) {
            let name = match table.refs.get(column) {
                Some(parent) if *value != Value::Null => self.name_shown(*parent, value, 0)?,
                _ => None,
            };
            values.push((name.map_or_else(|| value.clone(), |n| Value::Ref(Box::new(n))), *collation));
        }
        Ok(match p2pdb_core::name::key_name(values.iter().map(|(v, c)| (v, *c))) {
            p2pdb_core::name::Name::Key(bytes) => Some(Key::Name(bytes)),
            p2pdb_core::name::Name::Born { .. } => None,
        })
    }
}
