//! A record changed where it lies: one statement finds it, has it made into another, and keeps that.
//!
//! What it is made into depends on what it says. So the statement calls a function of this connection, and the function calls
//! whoever runs the statement: looking the record up first would go down the tree a second time, a fifth of what a merged
//! update costs.

use rusqlite::Connection;
use rusqlite::functions::FunctionFlags;
use scoped_tls_hkt::scoped_thread_local;

scoped_thread_local!(static mut CHANGE: for<'a> &'a mut (dyn FnMut(&[u8]) -> Option<Vec<u8>> + 'a));

/// The function's name, in statements of ours.
pub(super) const FUNCTION: &str = "_p2p_amend";

/// Registers the function, if that was not done on this connection: a host's own is lent again and again.
pub(super) fn register(conn: &Connection) -> rusqlite::Result<()> {
    if conn.prepare(&format!("SELECT {FUNCTION}(x'')")).is_ok() {
        return Ok(());
    }
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DIRECTONLY;
    conn.create_scalar_function(FUNCTION, 1, flags, |context| {
        let old = context.get_raw(0).as_blob()?;
        let new = if CHANGE.is_set() { CHANGE.with(|change| change(old)) } else { None };
        Ok(new.unwrap_or_else(|| old.to_vec()))
    })
}

/// Runs a statement that uses the function. `change` is given a record's bytes, and gives those that take their place; none
/// leaves them.
pub(super) fn with<T>(change: &mut dyn FnMut(&[u8]) -> Option<Vec<u8>>, statement: impl FnOnce() -> T) -> T {
    CHANGE.set(change, statement)
}
