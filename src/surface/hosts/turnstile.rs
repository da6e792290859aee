//! A mutex for connections that have none: in SQLite's multi-thread mode (the stock shell's) a connection's own mutex
//! does not exist.
//!
//! SQLite tells when a statement starts, before it takes a snapshot, and when it ends, through the connection's trace
//! callback. A statement that starts while the node is writing waits in the callback; the node does not begin while one
//! runs. It is used only where there is no mutex. SQLite keeps one trace callback a connection: a host that sets one of its own
//! takes ours away, and then only its transactions are seen, not its statements; one that it had set before is gone.

use rusqlite::ffi;
use std::ffi::{c_int, c_uint, c_void};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::Db;
use crate::node::is_forked;
use crate::surface::guard::guard;

#[derive(Debug, Default)]
struct Inside {
    is_node: bool,
    is_host: bool,
    /// Statements that went through.
    passed: u64,
}

/// Node or host: one at a time.
#[derive(Debug, Default)]
pub(super) struct Turnstile {
    inside: Mutex<Inside>,
    node_left: Condvar,
}

impl Turnstile {
    /// Puts one up on a connection, on its own thread.
    pub(super) fn install(db: Db) -> Arc<Self> {
        let turnstile = Arc::new(Self::default());
        let mask = (ffi::SQLITE_TRACE_STMT | ffi::SQLITE_TRACE_PROFILE) as c_uint;
        // SAFETY: called on the connection's own thread; the pointer stays valid until `remove`, for the list of hosts holds the
        // turnstile as long as the connection is on it.
        unsafe { ffi::sqlite3_trace_v2(db.0, mask, Some(traced), Arc::as_ptr(&turnstile).cast_mut().cast()) };
        turnstile
    }

    /// Takes it down, on the connection's own thread.
    pub(super) fn remove(db: Db) {
        // SAFETY: the connection is alive, and no statement of it is running: it is closing.
        unsafe { ffi::sqlite3_trace_v2(db.0, 0, None, std::ptr::null_mut()) };
    }

    /// The node wants in. False while a statement of the host's runs.
    pub(super) fn enter(&self) -> bool {
        let mut inside = self.lock();
        if !inside.is_host {
            inside.is_node = true;
        }
        inside.is_node
    }

    pub(super) fn leave(&self) {
        self.lock().is_node = false;
        self.node_left.notify_all();
    }

    /// How many statements of the host's went through.
    pub(super) fn passed(&self) -> u64 {
        self.lock().passed
    }

    fn statement_starts(&self) {
        let mut inside = self.lock();
        while inside.is_node {
            inside = self.node_left.wait(inside).unwrap_or_else(PoisonError::into_inner);
        }
        inside.is_host = true;
        inside.passed += 1;
    }

    fn statement_ends(&self, is_other_running: bool) {
        self.lock().is_host = is_other_running;
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// SQLite's trace callback.
unsafe extern "C" fn traced(event: c_uint, context: *mut c_void, statement: *mut c_void, _: *mut c_void) -> c_int {
    if is_forked() {
        // The node is in the parent, and may have been inside when this process was made.
        return 0;
    }
    // SAFETY: `context` is the turnstile that `install` gave, alive while the callback is set.
    let turnstile = unsafe { &*context.cast::<Turnstile>() };
    let done = guard(|| {
        if event == ffi::SQLITE_TRACE_STMT as c_uint {
            turnstile.statement_starts();
        } else {
            turnstile.statement_ends(is_other_running(statement.cast()));
        }
        Ok(())
    });
    if let Err(why) = done {
        tracing::error!(%why, "a trace callback failed");
    }
    0
}

/// Does the connection run a statement beside this one, which is ending?
fn is_other_running(ending: *mut ffi::sqlite3_stmt) -> bool {
    // SAFETY: on the connection's thread, in a callback of it: its list of statements stands still.
    unsafe {
        let db = ffi::sqlite3_db_handle(ending);
        let mut statement = ffi::sqlite3_next_stmt(db, std::ptr::null_mut());
        while !statement.is_null() {
            if statement != ending && ffi::sqlite3_stmt_busy(statement) != 0 {
                return true;
            }
            statement = ffi::sqlite3_next_stmt(db, statement);
        }
    }
    false
}
