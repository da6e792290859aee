//! Changes of a function of ours through the host's connection: all of one, or nothing.

use rusqlite::{Connection, ErrorCode};
use std::time::{Duration, Instant};

use crate::store;

/// How long another process is waited for, whatever the host's busy timeout: somebody who calls a function once, by hand, wants it done.
const PATIENCE: Duration = Duration::from_secs(2);
const NAP: Duration = Duration::from_millis(2);

/// Runs `work` in a savepoint.
pub(super) fn whole<T>(conn: &Connection, work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    begin(conn).map_err(|e| e.to_string())?;
    match work() {
        Ok(done) => conn.execute_batch("RELEASE _p2p_whole").map(|()| done).map_err(|e| e.to_string()),
        // The first error is the one to tell; where the undoing fails too, SQLite has rolled back already.
        Err(why) => match undo(conn) {
            Ok(()) => Err(why),
            Err(also) => Err(format!("{why} (and the change could not be undone: {also})")),
        },
    }
}

/// Opens the savepoint with the write lock in hand. One that reads first fails at its first write where another process
/// commits in between, and no busy timeout helps it.
fn begin(conn: &Connection) -> rusqlite::Result<()> {
    let until = Instant::now() + PATIENCE;
    loop {
        // Where they are missing the first statement of the work makes them, which is a write.
        let has_tables = store::has_private_tables(conn)?;
        let may_wait = conn.is_autocommit() && Instant::now() < until;
        conn.execute_batch("SAVEPOINT _p2p_whole")?;
        if !has_tables {
            return Ok(());
        }
        match conn.execute("UPDATE _p2p_meta SET value = value WHERE 0", []) {
            Ok(_) => return Ok(()),
            Err(busy) if may_wait && busy.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => {
                undo(conn)?;
                std::thread::sleep(NAP);
            }
            Err(why) => return undo(conn).and(Err(why)),
        }
    }
}

fn undo(conn: &Connection) -> rusqlite::Result<()> {
    conn.execute_batch("ROLLBACK TO _p2p_whole; RELEASE _p2p_whole")
}
