//! Markers: what the triggers wrote, as touches of keys.

use p2pdb_core::local::Touch;
use rusqlite::{Connection, Row};
use std::collections::BTreeMap;

use super::work::{Shown, Work, must_keep};
use crate::capture::{DELETED, HINT, INSERTED, LOOK, MOVED};
use crate::store::StoreError;
use crate::store::rows::value_of;
use crate::store::tables::{Tables, Tracked};
use p2pdb_core::value::Value;

/// Some markers from the front: the number of the last, and what they say of each table.
pub(super) struct Markers {
    pub(super) top: i64,
    pub(super) work: BTreeMap<i64, Work>,
}

/// About how many markers there are; none where the marker table is not there.
pub(in crate::store) fn pending(conn: &Connection) -> Result<i64, StoreError> {
    let sql = "SELECT coalesce((SELECT max(n) FROM _p2p_mark) - (SELECT min(n) FROM _p2p_mark) + 1, 0)";
    match conn.prepare_cached(sql) {
        Ok(mut statement) => Ok(statement.query_row([], |row| row.get(0))?),
        Err(e) if e.to_string().contains("no such table") => Ok(0),
        Err(e) => Err(e.into()),
    }
}

#[derive(Default)]
struct Touched {
    touches: Vec<Touch<Shown>>,
    keys: BTreeMap<Shown, Vec<Value>>,
}

/// Where what a marker says stands in the row that was read.
#[derive(Clone, Copy)]
struct At {
    /// The first column of the key.
    key: usize,
    /// The rowid, where it is told.
    rowid: Option<usize>,
}

impl Touched {
    /// The key that a marker tells; none where a row has none, and its rowid is not told.
    fn key(&mut self, row: &Row<'_>, table: &Tracked, at: At) -> rusqlite::Result<Option<Shown>> {
        if table.merge.id_column.is_some() {
            return row.get(at.key).map(|id| Some(Shown::Id(id)));
        }
        let columns = at.key..at.key + table.merge.key.len();
        let values = columns.map(|c| row.get_ref(c).map(value_of)).collect::<rusqlite::Result<Vec<_>>>()?;
        if table.merge.has_nameless && (values.is_empty() || values.contains(&Value::Null)) {
            let rowid = at.rowid.map(|at| row.get::<_, Option<i64>>(at)).transpose()?.flatten();
            return Ok(rowid.map(Shown::Id));
        }
        let key = Shown::of(&values, table);
        if must_keep(&key, table) {
            self.keys.entry(key.clone()).or_insert(values);
        }
        Ok(Some(key))
    }
}

/// Reads about `limit` markers: a hint and the write that it is about stay together.
pub(super) fn read(conn: &Connection, tables: &Tables, limit: usize) -> Result<Option<Markers>, StoreError> {
    let width = tables.key_width();
    let keys = |p: &str| (1..=width).map(|i| format!("{p}{i}")).collect::<Vec<_>>().join(", ");
    let has_rowids = tables.iter().any(|t| t.merge.has_nameless);
    // The old rowid of a row without a key stands in the place of its old key.
    let rowids = if has_rowids { ", r, o1" } else { "" };
    let sql = format!("SELECT n, t, m, {}, {}{rowids} FROM _p2p_mark ORDER BY n", keys("k"), keys("o"));
    let new_at = At { key: 3, rowid: has_rowids.then_some(3 + 2 * width) };
    // Where a row in a table with a key had none, a marker of its own says which it was.
    let old_at = |table: &Tracked| At {
        key: 3 + width,
        rowid: (has_rowids && table.merge.key.is_empty()).then_some(4 + 2 * width),
    };
    let mut statement = conn.prepare_cached(&sql)?;
    let mut rows = statement.query([])?;
    let (mut top, mut count, mut was_hint) = (None, 0, false);
    let mut by_table = BTreeMap::<i64, Touched>::new();
    while let Some(row) = rows.next()? {
        if count >= limit && !was_hint {
            break;
        }
        let (t, kind): (i64, i64) = (row.get(1)?, row.get(2)?);
        was_hint = kind == HINT;
        top = Some(row.get(0)?);
        count += 1;
        let Some(table) = tables.get(t) else { continue };
        let touched = by_table.entry(t).or_default();
        let new = touched.key(row, table, new_at)?;
        let touch = match (kind, new) {
            (MOVED, new) => match (touched.key(row, table, old_at(table))?, new) {
                (Some(old), Some(new)) => Touch::Moved(old, new),
                (Some(old), None) => Touch::Deleted(old),
                (None, Some(new)) => Touch::Arrived(new),
                (None, None) => continue,
            },
            (_, None) => continue,
            (INSERTED, Some(new)) => Touch::Inserted(new),
            (DELETED, Some(new)) => Touch::Deleted(new),
            (HINT, Some(new)) => Touch::Hint(new),
            (LOOK, Some(new)) => Touch::Look(new),
            (_, Some(new)) => Touch::Updated(new),
        };
        touched.touches.push(touch);
    }
    let work = by_table.into_iter().map(|(t, touched)| (t, Work::new(touched.touches, touched.keys))).collect();
    Ok(top.map(|top| Markers { top, work }))
}
