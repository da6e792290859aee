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

impl Touched {
    /// The key that stands in a marker from column `from` on.
    fn key(&mut self, row: &Row<'_>, table: &Tracked, from: usize) -> rusqlite::Result<Shown> {
        if table.merge.id_column.is_some() {
            return row.get(from).map(Shown::Id);
        }
        let columns = from..from + table.merge.key.len();
        let values = columns.map(|c| row.get_ref(c).map(value_of)).collect::<rusqlite::Result<Vec<_>>>()?;
        let key = Shown::of(&values, table);
        if must_keep(&key, table) {
            self.keys.entry(key.clone()).or_insert(values);
        }
        Ok(key)
    }
}

/// Reads about `limit` markers: a hint and the write that it is about stay together.
pub(super) fn read(conn: &Connection, tables: &Tables, limit: usize) -> Result<Option<Markers>, StoreError> {
    let width = tables.key_width();
    let keys = |p: &str| (1..=width).map(|i| format!("{p}{i}")).collect::<Vec<_>>().join(", ");
    let sql = format!("SELECT n, t, m, {}, {} FROM _p2p_mark ORDER BY n", keys("k"), keys("o"));
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
        let new = touched.key(row, table, 3)?;
        let touch = match kind {
            INSERTED => Touch::Inserted(new),
            DELETED => Touch::Deleted(new),
            MOVED => Touch::Moved(touched.key(row, table, 3 + width)?, new),
            HINT => Touch::Hint(new),
            LOOK => Touch::Look(new),
            _ => Touch::Updated(new),
        };
        touched.touches.push(touch);
    }
    let work = by_table.into_iter().map(|(t, touched)| (t, Work::new(touched.touches, touched.keys))).collect();
    Ok(top.map(|top| Markers { top, work }))
}
