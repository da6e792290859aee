//! The private tables as a whole: are they there, and how they go.

use p2pdb_core::id::GroupId;
use rusqlite::{Connection, OptionalExtension};

use crate::quote::Quoted;

/// Has this database been tracked or joined, ever?
///
/// # Errors
/// SQLite's.
pub fn has_private_tables(conn: &Connection) -> rusqlite::Result<bool> {
    let sql = "SELECT EXISTS(SELECT 1 FROM main.sqlite_schema WHERE type = 'table' AND name = '_p2p_meta')";
    conn.query_row(sql, [], |row| row.get(0))
}

/// The group that the private tables belong to, if any does.
///
/// # Errors
/// SQLite's.
pub fn group(conn: &Connection) -> rusqlite::Result<Option<GroupId>> {
    if !has_private_tables(conn)? {
        return Ok(None);
    }
    let sql = "SELECT value FROM main._p2p_meta WHERE key = 'group'";
    conn.query_row(sql, [], |row| row.get(0).map(GroupId)).optional()
}

/// Makes the database an ordinary one: takes away every trigger and table of ours. The user's rows stay as they are.
///
/// # Errors
/// SQLite's.
pub fn drop_private_tables(conn: &Connection) -> rusqlite::Result<()> {
    for kind in ["trigger", "table"] {
        let sql = "SELECT name FROM main.sqlite_schema WHERE type = ?1 AND name GLOB '_p2p_*'";
        let names: Vec<String> = conn.prepare(sql)?.query_map([kind], |row| row.get(0))?.collect::<Result<_, _>>()?;
        for name in names {
            conn.execute_batch(&format!("DROP {kind} main.{}", Quoted(&name)))?;
        }
    }
    Ok(())
}
