//! Opens a connection of our own that has what a host's has: functions, tables, and its place in the gate.
//!
//! For programs that carry SQLite with them, as the command line does. Such a connection is a host like any other: while it
//! holds a transaction or an open statement, the node does not write.

use rusqlite::{Connection, OpenFlags};
use std::path::Path;

use super::{Db, register};

/// Opens a database file, which is made if it is not there, and registers functions and tables. The node starts if the
/// database is in a group, and leaves when the connection is closed.
///
/// # Errors
/// SQLite's.
pub fn open(path: &Path) -> rusqlite::Result<Connection> {
    // With a mutex of its own the gate needs no trace callback.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_FULL_MUTEX;
    let conn = Connection::open_with_flags(path, flags)?;
    // SAFETY: the handle is alive as long as `conn`; it is taken off the gate's list when SQLite closes it.
    let db = Db(unsafe { conn.handle() });
    register(&conn, db)?;
    Ok(conn)
}
