//! Plain values in columns for references: they mean no row, until somebody here inserts the row (rule R4).

use p2pdb_core::merge::Key;
use p2pdb_core::value::Value;
use rusqlite::params;

use super::StoreError;
use super::rows::{BindValue, Shared, SqliteRows, bind_key, is_unique, key_of};
use super::triggers;
use crate::quote::Quoted;
use crate::schema::trigger::Event;

/// Keeps the list of such values of one visible row.
pub(super) fn set(rows: &mut SqliteRows<'_>, key: &Key, literals: &[(usize, Value)]) -> Result<(), StoreError> {
    let Shared { conn, flags, .. } = rows.shared;
    let t = rows.table.t;
    if rows.flags().literals {
        let sql = "DELETE FROM _p2p_literal WHERE t = ?1 AND name = ?2";
        conn.prepare_cached(sql)?.execute(params![t, bind_key(key)])?;
    }
    for (column, value) in literals {
        let Some(parent) = rows.table.refs.get(column) else { continue };
        let sql = "INSERT OR REPLACE INTO _p2p_literal(t, name, col, parent, value) VALUES(?1, ?2, ?3, ?4, ?5)";
        conn.prepare_cached(sql)?.execute(params![t, bind_key(key), *column as i64, parent, BindValue(value)])?;
        flags.of(conn, *parent)?;
        flags.raise(*parent, |flags| flags.meant = true);
        flags.raise(t, |flags| flags.literals = true);
    }
    Ok(())
}

/// The rows that hold `value` as a plain value where it would mean a row of `parent`: (table, key).
pub(super) fn meaning(shared: Shared<'_>, parent: i64, value: &Value) -> Result<Vec<(i64, Key)>, StoreError> {
    if !shared.flags.of(shared.conn, parent)?.meant {
        return Ok(Vec::new());
    }
    let sql = "SELECT t, name FROM _p2p_literal WHERE parent = ?1 AND value = ?2";
    let mut statement = shared.conn.prepare_cached(sql)?;
    let found =
        statement.query_map(params![parent, BindValue(value)], |row| Ok((row.get(0)?, key_of(row.get_ref(1)?))))?;
    let found: Vec<(i64, Option<Key>)> = found.collect::<rusqlite::Result<_>>()?;
    Ok(found.into_iter().filter_map(|(t, key)| Some((t, key?))).collect())
}

/// Puts plain values back that a renumbering took for references to a moved row.
pub(super) fn restore(rows: &mut SqliteRows<'_>) -> Result<(), StoreError> {
    let Shared { conn, tables, flags, .. } = rows.shared;
    let parent = rows.table.t;
    if !flags.of(conn, parent)?.meant {
        return Ok(());
    }
    let sql = "SELECT t, name, col, value FROM _p2p_literal
               WHERE parent = ?1 AND value IN (SELECT old FROM temp._p2p_move)";
    let mut statement = conn.prepare_cached(sql)?;
    let found = statement.query_map([parent], |row| {
        Ok((row.get::<_, i64>(0)?, key_of(row.get_ref(1)?), row.get::<_, i64>(2)? as usize, row.get::<_, i64>(3)?))
    })?;
    for (t, key, column, value) in found.collect::<rusqlite::Result<Vec<_>>>()? {
        let (Some(table), Some(key)) = (tables.get(t), key) else { continue };
        let mut child = SqliteRows::new(rows.shared, table, rows.authors, rows.digest)?;
        let Some(mut values) = child.key_params(&key)? else { continue };
        let set = format!("{} = ?{}", Quoted(&table.names[column]), values.len() + 1);
        let sql = format!("UPDATE{} main.{} SET {set} {}", table.sql.or_abort, Quoted(&table.name), table.sql.by_key);
        values.push(Value::Integer(value));
        let mut update = conn.prepare_cached(&sql)?;
        let done = triggers::run(conn, t, Event::Update, || {
            update.execute(rusqlite::params_from_iter(values.iter().map(BindValue)))
        });
        match done.map_err(|e| (is_unique(&e), e)) {
            Ok(_) => {}
            // A row that moved is referred to by that id now.
            Err((true, _)) => super::unique::take_out(&mut child, column, &key)?,
            Err((false, e)) => return Err(e.into()),
        }
    }
    Ok(())
}
