//! What is kept about a table's columns, while these are added, renamed, moved, retyped and dropped.

use p2pdb_core::affinity::Affinity;
use p2pdb_core::body::{Cell, ColumnId};
use p2pdb_core::cellhash::CellHash;
use p2pdb_core::digest;
use p2pdb_core::id::TableId;
use p2pdb_core::limit::COLUMNS_MAX;
use p2pdb_core::merge::{self, Key, Rows};
use p2pdb_core::name;
use p2pdb_core::record::Record;
use p2pdb_core::value::Value;
use rusqlite::types::Value as SqlValue;
use rusqlite::{Connection, OptionalExtension, params, params_from_iter};

use super::alter::Known;
use super::{Definition, StoreError};
use crate::quote::Quoted;
use crate::store::rows::{BindValue, Shared, SqliteRows, key_of, values_of};
use crate::store::tables::{Tables, merged};
use crate::store::{Store, records};

/// Rows that are looked at to tell a column that was renamed from one that took another's place.
const SAMPLE: usize = 16;

/// The books follow what the table is now: its columns' numbers and names, and its records.
pub(super) fn settle(
    store: &mut Store,
    known: &Known,
    now: &Definition,
    columns: &[ColumnId],
) -> Result<(), StoreError> {
    let (conn, t) = (&store.conn, known.t);
    let id: TableId = conn.query_row("SELECT id FROM _p2p_table WHERE t = ?1", [t], |row| row.get(0).map(TableId))?;
    let names = serde_json::Value::from(now.stored_names()).to_string();
    let ids: Vec<u8> = columns.iter().flat_map(|c| c.0).collect();
    let sql = "UPDATE _p2p_table SET name = ?2, names = ?3, columns = ?4, definition = ?5 WHERE t = ?1";
    conn.execute(sql, params![t, now.name, names, ids, now.to_bytes()])?;
    if let Ok(before) = Definition::read(&known.definition) {
        let old = merged(id, &before, &known.columns, &known.names);
        if known.columns.iter().enumerate().any(|(at, id)| columns.get(at) != Some(id)) {
            let new = merged(id, now, columns, &now.stored_names());
            renumber_columns(store, t, &known.columns, columns, &old, &new)?;
        }
    }
    store.tables = Tables::load(&store.conn)?;
    retype(store, known, now, columns)?;
    decide_anew(store, t)?;
    store.retry_table(t)
}

/// Columns of another type show what is in them otherwise.
fn retype(store: &mut Store, known: &Known, now: &Definition, columns: &[ColumnId]) -> Result<(), StoreError> {
    let Ok(before) = Definition::read(&known.definition) else { return Ok(()) };
    let affinities = |d: &Definition| d.stored().map(|c| Affinity::of(&c.declared)).collect::<Vec<_>>();
    let (old, new) = (affinities(&before), affinities(now));
    let is_other = |at: &usize| {
        let was = known.columns.iter().position(|id| Some(id) == columns.get(*at));
        was.is_some_and(|was| old.get(was) != new.get(*at))
    };
    let retyped: Vec<usize> = (0..columns.len()).filter(is_other).collect();
    let Store { conn, tables, authors, hasher, digest, flags, .. } = store;
    let Some(table) = tables.get(known.t).filter(|_| !retyped.is_empty()) else { return Ok(()) };
    let keys = keys(conn, known.t)?;
    let mut rows = SqliteRows::new(Shared { conn, tables, hasher, flags }, table, authors, digest)?;
    rows.merging(|merge| keys.iter().try_for_each(|key| merge.retype(key, &retyped)))
}

/// Where the table's records are kept.
fn keys(conn: &Connection, t: i64) -> Result<Vec<Key>, StoreError> {
    let mut statement = conn.prepare(&format!("SELECT key FROM {}", records::table(t)))?;
    let keys = statement.query_map([], |row| Ok(key_of(row.get_ref(0)?)))?.collect::<rusqlite::Result<Vec<_>>>()?;
    Ok(keys.into_iter().flatten().collect())
}

/// Columns have other numbers, or are gone: so they do in everything that is kept about them.
fn renumber_columns(
    store: &mut Store,
    t: i64,
    from: &[ColumnId],
    to: &[ColumnId],
    old: &merge::Table,
    new: &merge::Table,
) -> Result<(), StoreError> {
    let place = |c: usize| to.iter().position(|id| Some(id) == from.get(c));
    let table = records::table(t);
    let Store { conn, authors, hasher, digest, .. } = store;
    let mut select = conn.prepare(&format!("SELECT key, record FROM {table}"))?;
    let mut update = conn.prepare(&format!("UPDATE {table} SET record = ?2 WHERE key = ?1"))?;
    let mut rows = select.query([])?;
    let mut changed: Vec<(SqlValue, Vec<u8>)> = Vec::new();
    while let Some(row) = rows.next()? {
        let Some(key) = key_of(row.get_ref(0)?) else { continue };
        let record = Record::unpack(row.get_ref(1)?.as_blob()?, authors)?;
        *digest = digest.wrapping_sub(digest::row(old, &key, &record, hasher));
        let record = record.renumbered(&place, to.len());
        *digest = digest.wrapping_add(digest::row(new, &key, &record, hasher));
        let mut packed = Vec::new();
        record.pack(authors, &mut packed);
        changed.push((row.get(0)?, packed));
    }
    for (key, packed) in changed {
        update.execute(params![key, packed])?;
    }
    for book in ["_p2p_conflict", "_p2p_repair", "_p2p_literal", "_p2p_decision", "_p2p_dangling"] {
        // First to numbers that none has, then to those that they get.
        for c in 0..from.len() {
            let sql = match place(c) {
                Some(to) => format!("UPDATE {book} SET col = {} WHERE t = ?1 AND col = {c}", to + COLUMNS_MAX),
                None => format!("DELETE FROM {book} WHERE t = ?1 AND col = {c}"),
            };
            conn.execute(&sql, [t])?;
        }
        let sql = format!("UPDATE {book} SET col = col - {COLUMNS_MAX} WHERE t = ?1 AND col >= {COLUMNS_MAX}");
        conn.execute(&sql, [t])?;
    }
    Ok(())
}

/// Unique indexes, or the numbers of their columns, may be others now: what rows claim and show is decided anew.
fn decide_anew(store: &mut Store, t: i64) -> Result<(), StoreError> {
    let Store { conn, tables, authors, hasher, digest, flags, .. } = store;
    let Some(table) = tables.get(t) else { return Ok(()) };
    let names = crate::store::unique::all(conn, t)?;
    if names.is_empty() {
        return Ok(());
    }
    for book in ["_p2p_contend", "_p2p_repair"] {
        conn.execute(&format!("DELETE FROM {book} WHERE t = ?1"), [t])?;
    }
    conn.execute("UPDATE _p2p_stuck SET waits = 0 WHERE t = ?1 AND waits = 2", [t])?;
    let shared = Shared { conn, tables, hasher, flags };
    let mut rows = SqliteRows::new(shared, table, authors, digest)?;
    for name in names {
        let Some((key, _)) = rows.merging(|merge| merge.located(&name))? else { continue };
        rows.merging(|merge| merge.retry(&key))?;
    }
    crate::store::apply::follow_up(shared, rows.authors, rows.digest)
}

/// Rows in which nobody has written a column show something else there than before.
pub(super) fn refill(store: &mut Store, t: i64, id: ColumnId) -> Result<(), StoreError> {
    let Store { conn, tables, authors, hasher, digest, flags, .. } = store;
    let Some(table) = tables.get(t) else { return Ok(()) };
    let Some(column) = table.columns.iter().position(|c| *c == id) else { return Ok(()) };
    let mut unwritten = Vec::new();
    {
        let mut statement = conn.prepare(&format!("SELECT key, record FROM {}", records::table(t)))?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let record = Record::unpack(row.get_ref(1)?.as_blob()?, authors)?;
            if !record.is_hidden && record.hash(column) == CellHash::UNWRITTEN {
                unwritten.extend(key_of(row.get_ref(0)?));
            }
        }
    }
    let shared = Shared { conn, tables, hasher, flags };
    let mut rows = SqliteRows::new(shared, table, authors, digest)?;
    let fill = table.merge.fill(column);
    for key in unwritten {
        if let Some(refusal) = rows.change(&key, &[(column, fill.clone())])? {
            rows.set_stuck(&key, Some(&refusal))?;
        }
    }
    crate::store::apply::follow_up(shared, rows.authors, rows.digest)
}

/// Does the column `new` show, in some rows, what the column `id` was sealed with?
pub(super) fn shows_the_same(
    store: &mut Store,
    known: &Known,
    now: &Definition,
    id: ColumnId,
    new: &str,
) -> Result<bool, StoreError> {
    let Some(column) = known.columns.iter().position(|c| *c == id) else { return Ok(false) };
    let key = now.key_columns();
    let key: Vec<String> = key.iter().map(|(c, _)| Quoted(c).to_string()).collect();
    if key.is_empty() {
        return Ok(true);
    }
    // A key that was renamed leaves nothing to find the rows by; it is where it was.
    let old_key = Definition::read(&known.definition)?.key_columns();
    if old_key.iter().any(|(c, _)| c.eq_ignore_ascii_case(&known.names[column])) {
        return Ok(key.len() == old_key.len());
    }
    if now.foreign_keys.iter().any(|f| f.columns.iter().any(|c| now.columns[*c].name == new)) {
        return Ok(true);
    }
    let sql = format!("SELECT key, record FROM {} LIMIT {SAMPLE}", records::table(known.t));
    let by_key: Vec<String> = (1..=key.len()).map(|n| format!("{} = ?{n}", key[n - 1])).collect();
    let find = format!("SELECT {} FROM main.{} WHERE {}", Quoted(new), Quoted(&now.name), by_key.join(" AND "));
    let (mut statement, mut find) = (store.conn.prepare(&sql)?, store.conn.prepare(&find)?);
    let mut rows = statement.query([])?;
    let (mut same, mut other) = (0, 0);
    while let Some(row) = rows.next()? {
        let record = Record::unpack(row.get_ref(1)?.as_blob()?, &store.authors)?;
        let values = match key_of(row.get_ref(0)?) {
            _ if record.is_hidden => continue,
            Some(Key::Id(id)) => vec![Value::Integer(id)],
            Some(Key::Name(bytes)) if !name::is_hashed(&bytes) => name::key_values(&bytes)?,
            _ => continue,
        };
        if values.len() != key.len() {
            continue;
        }
        let shown =
            find.query_row(params_from_iter(values.iter().map(BindValue)), |row| values_of(row, 1)).optional()?;
        let Some(shown) = shown.and_then(|v| v.into_iter().next()) else { continue };
        let is_same = record.hash(column) == store.hasher.hash(&Cell::from(&shown));
        (same, other) = (same + usize::from(is_same), other + usize::from(!is_same));
    }
    Ok(same >= other)
}
