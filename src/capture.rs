//! Capture: which rows did any writer touch?
//!
//! Triggers in plain SQL write one marker a row operation into `_p2p_mark`: table number, kind, key. They call no function of
//! ours, so that a process that never heard of P2PDB can write the table; they name only key and unique columns, so
//! that other columns can be dropped. Values are not captured: the seal reads the row as it is then. So a marker too
//! many costs a look, and only a row changed without one is lost. That is why
//!
//! - rows that a REPLACE may displace are marked *before* the statement, on every unique index: SQLite deletes them without
//!   firing delete triggers;
//! - ours are kept the newest triggers of a table: the newest fires first, and a RAISE(IGNORE) of the user's would end
//!   the row's program before ours had run.
//!
//! This module does not know the log, nor what a seal makes of a marker.

use rusqlite::{Connection, params};
use std::collections::{BTreeMap, BTreeSet};

use crate::quote::Quoted;
use crate::schema::Definition;

mod probe;
mod text;

pub use text::texts;

/// A row was inserted under the key `k`.
pub const INSERTED: i64 = 1;
/// The row of the key `k` was deleted.
pub const DELETED: i64 = 2;
/// The row of the key `k` was updated.
pub const UPDATED: i64 = 3;
/// A row went from the key `o` to the key `k`.
pub const MOVED: i64 = 4;
/// The row of the key `k` may have been displaced by a REPLACE.
pub const HINT: i64 = 5;
/// The row of the key `k` had a record when the table was armed anew: it may be there, changed, or gone.
pub const LOOK: i64 = 6;

/// One trigger of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trigger {
    /// Its name: `_p2p_`, the table's number, and letters for what it fires at.
    pub name: String,
    /// What follows `CREATE TRIGGER` and the name, as `sqlite_schema` keeps it.
    pub body: String,
}

impl Trigger {
    /// Its text as `sqlite_schema` keeps it.
    pub fn stored_sql(&self) -> String {
        format!("CREATE TRIGGER {}{}", Quoted(&self.name), self.body)
    }

    fn create_sql(&self) -> String {
        format!("CREATE TRIGGER main.{}{}", Quoted(&self.name), self.body)
    }
}

/// Makes table number `t` captured: its triggers are there, as they should be now, and the newest. Does nothing where
/// that is so already. Runs on any connection, inside a transaction or not, but is atomic only inside one.
///
/// # Errors
/// SQLite's.
pub fn arm(conn: &Connection, t: i64, definition: &Definition) -> rusqlite::Result<()> {
    if is_armed(conn, t, definition)? {
        return Ok(());
    }
    disarm(conn, t)?;
    widen(conn, definition.key_columns().len(), definition.has_nameless_rows())?;
    for trigger in texts(t, definition) {
        conn.execute_batch(&trigger.create_sql())?;
    }
    Ok(())
}

/// Drops the triggers of table number `t`, whatever table they are on by now.
///
/// # Errors
/// SQLite's.
pub fn disarm(conn: &Connection, t: i64) -> rusqlite::Result<()> {
    let sql = "SELECT name FROM main.sqlite_schema WHERE type = 'trigger' AND name GLOB ?1";
    let names: Vec<String> = conn
        .prepare(sql)?
        .query_map([format!("_p2p_{t}[a-z]*")], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    for name in names {
        conn.execute_batch(&format!("DROP TRIGGER main.{}", Quoted(&name)))?;
    }
    Ok(())
}

/// Are the triggers of table number `t` there, word for word, and newer than every other trigger on the table?
///
/// # Errors
/// SQLite's.
pub fn is_armed(conn: &Connection, t: i64, definition: &Definition) -> rusqlite::Result<bool> {
    let sql = "SELECT name, sql, rowid, name GLOB ?2 FROM main.sqlite_schema
               WHERE type = 'trigger' AND (tbl_name = ?1 COLLATE NOCASE OR name GLOB ?2)";
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query(params![definition.name, format!("_p2p_{t}[a-z]*")])?;
    let (mut ours, mut oldest_ours, mut newest_theirs) = (BTreeMap::new(), i64::MAX, 0);
    while let Some(row) = rows.next()? {
        let rowid: i64 = row.get(2)?;
        if row.get(3)? {
            ours.insert(row.get::<_, String>(0)?, row.get::<_, Option<String>>(1)?.unwrap_or_default());
            oldest_ours = rowid.min(oldest_ours);
        } else {
            newest_theirs = rowid.max(newest_theirs);
        }
    }
    let wanted: BTreeMap<_, _> = texts(t, definition).into_iter().map(|w| (w.name.clone(), w.stored_sql())).collect();
    Ok(ours == wanted && oldest_ours > newest_theirs)
}

/// Gives the marker table room for keys of `columns` columns, and for rowids.
fn widen(conn: &Connection, columns: usize, has_rowids: bool) -> rusqlite::Result<()> {
    let mut statement = conn.prepare("SELECT name FROM pragma_table_info('_p2p_mark', 'main')")?;
    let there: BTreeSet<String> = statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    drop(statement);
    let keys = (2..=columns).flat_map(|n| [format!("k{n}"), format!("o{n}")]);
    for column in keys.chain(has_rowids.then(|| "r".to_string())).filter(|c| !there.contains(c)) {
        conn.execute_batch(&format!("ALTER TABLE main._p2p_mark ADD COLUMN {column}"))?;
    }
    Ok(())
}

/// Marks every row that the table has, as inserted.
///
/// # Errors
/// SQLite's.
pub fn mark_all(conn: &Connection, t: i64, definition: &Definition) -> rusqlite::Result<usize> {
    conn.execute(&text::mark_all(t, definition), [])
}
