//! No panic of ours crosses into C: rusqlite guards scalar functions, and nothing else.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs `work`; a panic in it becomes an error that names the place.
///
/// # Errors
/// Those of `work`, and [`rusqlite::Error::ModuleError`] for a panic.
pub fn guard<T>(work: impl FnOnce() -> rusqlite::Result<T>) -> rusqlite::Result<T> {
    // What `work` may have left half done is either dropped with it or guarded by a mutex whose data is changed in one step.
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| Err(rusqlite::Error::ModuleError(panic_text(&*panic))))
}

/// What a panic said.
pub fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    format!("p2pdb: internal error, please report it: {}", text.as_deref().unwrap_or("a panic without words"))
}
