//! Opening a database for a command, and waiting until its node has looked at it.

use rusqlite::Connection;
use std::path::Path;
use std::time::{Duration, Instant};

use super::Failure;
use super::rows::call;
use crate::surface;

/// How long a statement of a command waits for other writers.
const BUSY: Duration = Duration::from_secs(10);
/// How long the node may take to say how things are.
const SETTLE: Duration = Duration::from_secs(3);
/// Between two looks at the node's view, which costs next to nothing.
const LOOK: Duration = Duration::from_millis(2);

/// Opens a database file that must be there.
///
/// # Errors
/// [`Failure`].
pub(super) fn open(path: &Path) -> Result<Connection, Failure> {
    if !path.exists() {
        return Err(Failure::new(format!(
            "{}: there is no such file; name a database file that is there",
            path.display()
        )));
    }
    open_or_create(path)
}

/// Opens a database file, a new one if there is none.
///
/// # Errors
/// [`Failure`].
pub(super) fn open_or_create(path: &Path) -> Result<Connection, Failure> {
    if path.is_dir() {
        return Err(Failure::new(format!("{}: this is a folder; name a database file", path.display())));
    }
    let opened = surface::open(path).and_then(|conn| {
        conn.busy_timeout(BUSY)?;
        // Opening reads nothing yet: this is where a file that is no database shows.
        conn.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
        Ok(conn)
    });
    opened.map_err(|why| {
        let remedy = match why.sqlite_error_code() {
            Some(rusqlite::ErrorCode::NotADatabase) => "name an SQLite file (an encrypted one can't be read)",
            Some(rusqlite::ErrorCode::CannotOpen) => "check that the folder is there and that you may write to it",
            Some(rusqlite::ErrorCode::DatabaseBusy | rusqlite::ErrorCode::DatabaseLocked) => {
                "another program holds it; close that one or try again"
            }
            _ => "check the file and its folder",
        };
        Failure::new(format!("{}: {why}; {remedy}", path.display()))
    })
}

/// The node's state in one word, once it has looked.
///
/// # Errors
/// [`Failure::Sqlite`].
pub(super) fn settled_state(conn: &Connection) -> Result<String, Failure> {
    let end = Instant::now() + SETTLE;
    loop {
        let state = call(conn, "SELECT state FROM p2p_status", [])?;
        if state != "starting" || Instant::now() >= end {
            return Ok(state);
        }
        std::thread::sleep(LOOK);
    }
}

/// Gives the node up to `wait_ms` to reach its peers, so that what is shown is not the moment before. It may be in vain:
/// what is shown then says so.
///
/// # Errors
/// [`Failure::Sqlite`].
pub(super) fn reach(conn: &Connection, wait_ms: u64) -> Result<(), Failure> {
    let state = settled_state(conn)?;
    if wait_ms > 0
        && !matches!(state.as_str(), "unjoined" | "follower" | "local")
        && let Err(why) = call(conn, "SELECT p2p_sync(?1)", [wait_ms as i64])
    {
        tracing::info!(%why, "shown as it is");
    }
    Ok(())
}
