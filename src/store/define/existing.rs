//! Tables that were here before a group was joined: may their rows be merged into the group's?

use rusqlite::{Connection, OptionalExtension};

use super::{StoreError, has_private_tables};
use crate::quote::Quoted;

/// Notes whether a table that a peer announces may take in the rows of one that is here already.
///
/// # Errors
/// SQLite's.
pub fn set_existing(conn: &Connection, merges: bool) -> Result<(), StoreError> {
    conn.execute("INSERT OR REPLACE INTO _p2p_meta(key, value) VALUES('existing', ?1)", [merges])?;
    Ok(())
}

/// May this table be taken for one that a peer announces? It may if it is empty, or if its user said so when joining.
pub(super) fn may_take(conn: &Connection, table: &str) -> rusqlite::Result<bool> {
    let sql = "SELECT value FROM _p2p_meta WHERE key = 'existing'";
    let merges: Option<bool> = conn.prepare_cached(sql)?.query_row([], |row| row.get(0)).optional()?;
    Ok(merges == Some(true) || !has_rows(conn, table)?)
}

/// The names of tables tracked here.
///
/// # Errors
/// SQLite's.
pub fn tracked(conn: &Connection) -> Result<Vec<String>, StoreError> {
    if !has_private_tables(conn)? {
        return Ok(Vec::new());
    }
    let sql = "SELECT name FROM _p2p_table WHERE state IN (0, 1, 4) ORDER BY name";
    let names = conn.prepare(sql)?.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    Ok(names)
}

/// Has any of these tables a row?
///
/// # Errors
/// SQLite's.
pub fn any_rows(conn: &Connection, tables: &[String]) -> Result<bool, StoreError> {
    for table in tables {
        if has_rows(conn, table)? {
            return Ok(true);
        }
    }
    Ok(false)
}

pub(super) fn has_rows(conn: &Connection, table: &str) -> rusqlite::Result<bool> {
    conn.query_row(&format!("SELECT EXISTS(SELECT 1 FROM main.{})", Quoted(table)), [], |row| row.get(0))
}
