//! Markers: what the triggers wrote, as touches of keys.

use p2pdb_core::local::Touch;
use p2pdb_core::name::{Collation, Name, key_name};
use p2pdb_core::value::Value;
use rusqlite::Connection;
use std::collections::{BTreeMap, BTreeSet};

use crate::store::StoreError;
use crate::store::rows::value_of;
use crate::store::tables::Tables;

/// Kinds of markers, as the triggers write them.
const INSERTED: i64 = 1;
const DELETED: i64 = 2;
pub(super) const MOVED: i64 = 4;
const HINT: i64 = 5;

/// A visible key, folded as SQLite compares it.
pub(in crate::store) type Folded = Box<[u8]>;

/// The touches of one table, and the values of the keys that they name.
#[derive(Default)]
pub(super) struct Touched {
    pub(super) touches: Vec<Touch<Folded>>,
    pub(super) keys: BTreeMap<Folded, Vec<Value>>,
    pub(super) hinted: BTreeSet<Folded>,
}

/// Some markers from the front: the number of the last, and what they say of each table.
pub(super) struct Markers {
    pub(super) top: i64,
    pub(super) tables: BTreeMap<i64, Touched>,
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

/// A key folded for comparison.
pub(in crate::store) fn fold(values: &[Value], key: &[(usize, Collation)]) -> Folded {
    match key_name(values.iter().zip(key).map(|(v, (_, collation))| (v, *collation))) {
        Name::Key(bytes) => bytes,
        Name::Born { .. } => Folded::default(),
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
        let key = table.key();
        let read = |from: usize| {
            (from..from + key.len()).map(|c| row.get_ref(c).map(value_of)).collect::<rusqlite::Result<Vec<_>>>()
        };
        let touched = by_table.entry(t).or_default();
        let keys = &mut touched.keys;
        let mut note = |values: Vec<Value>| {
            let folded = fold(&values, &key);
            keys.entry(folded.clone()).or_insert(values);
            folded
        };
        let new = note(read(3)?);
        let touch = match kind {
            INSERTED => Touch::Inserted(new),
            DELETED => Touch::Deleted(new),
            MOVED => Touch::Moved(note(read(3 + width)?), new),
            HINT => {
                touched.hinted.insert(new.clone());
                Touch::Hint(new)
            }
            _ => Touch::Updated(new),
        };
        touched.touches.push(touch);
    }
    Ok(top.map(|top| Markers { top, tables: by_table }))
}
