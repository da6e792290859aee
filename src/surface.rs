//! What a host sees: SQL functions that act, virtual tables that show. Thin: it translates, it decides nothing.
//!
//! A connection is *attached* when it loads us and detached when it closes: SQLite disconnects eponymous virtual tables at
//! the start of `sqlite3_close`, before it looks for open statements, so the lifeline hangs on one of them and no call
//! of the host's is needed.

use rusqlite::Connection;

mod actions;
mod attached;
mod fork;
pub mod guard;
mod hosts;
mod ids;
mod membership;
mod memory;
mod open;
mod tables;
mod wal;
mod whole;
mod why;

pub use attached::Attached;
pub use hosts::{Db, DbName, set_db_name};
pub use open::open;

/// Makes functions and tables known to a host connection, and starts the node if its database has joined a group.
///
/// # Errors
/// SQLite's, if it refuses a function or table.
pub fn register(conn: &Connection, db: Db) -> rusqlite::Result<()> {
    let attached = Attached::new(conn, db)?;
    actions::register(conn, &attached)?;
    tables::register(conn, &attached)?;
    attached.begin(conn);
    Ok(())
}
