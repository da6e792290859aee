//! The switch to write-ahead logging: in a rollback journal the node's very reads could make a host's commit fail.

use rusqlite::{Connection, OpenFlags};
use std::path::Path;

use crate::node::as_ours;

/// What became of the journal mode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Switch {
    /// It was WAL already.
    Was,
    /// It is now.
    Now,
    /// It could not be changed; changes move, more slowly, and the reason is told.
    Not(String),
}

/// Switches the file, through a connection of its own: the host's is in the midst of calling us.
pub(super) fn switch(host: &Connection, file: &Path, is_in_transaction: bool) -> rusqlite::Result<Switch> {
    let mode: String = host.query_row("PRAGMA main.journal_mode", [], |row| row.get(0))?;
    if mode.eq_ignore_ascii_case("wal") {
        return Ok(Switch::Was);
    }
    if is_in_transaction {
        return Ok(Switch::Not("the file changes to WAL mode after your COMMIT".into()));
    }
    let outcome = as_ours(|| {
        let conn =
            Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE)?;
        conn.query_row("PRAGMA journal_mode=WAL", [], |row| row.get::<_, String>(0))
    });
    Ok(match outcome {
        Ok(now) if now.eq_ignore_ascii_case("wal") => Switch::Now,
        Ok(now) => Switch::Not(format!("the journal mode stays {now}")),
        Err(why) => Switch::Not(format!(
            "the journal mode stays {mode}: {why}; run PRAGMA journal_mode=WAL when no other connection uses the file"
        )),
    })
}
