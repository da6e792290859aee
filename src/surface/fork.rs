//! A host that forks: the driver stands still while it does.
//!
//! The child has a copy of SQLite's memory and not the driver's thread. A lock that the driver's connection held within SQLite
//! at that moment would be held for ever there, and the child, which may write with a connection of its own, would be told
//! that the database is locked.

#[cfg(unix)]
use std::cell::RefCell;
#[cfg(unix)]
use std::sync::Once;

#[cfg(unix)]
use crate::node::{Paused, pause};

#[cfg(unix)]
thread_local! {
    /// Held by the thread that forks, from before to after, in parent and child.
    static PAUSED: RefCell<Option<Paused>> = const { RefCell::new(None) };
}

/// Asks the system to tell of forks, once a process.
#[cfg(unix)]
pub(super) fn watch() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: plain functions, of a library that is loaded permanently.
        let code = unsafe { libc::pthread_atfork(Some(before), Some(after), Some(after)) };
        if code != 0 {
            tracing::warn!(code, "forks can't be noticed; a forked child may find the database locked");
        }
    });
}

/// There is no fork.
#[cfg(not(unix))]
pub(super) fn watch() {}

#[cfg(unix)]
unsafe extern "C" fn before() {
    let paused = pause();
    // A thread at its very end has no such place any more: then the driver goes on.
    if PAUSED.try_with(|place| place.replace(Some(paused)).is_some()).unwrap_or_default() {
        tracing::debug!("a fork within a fork");
    }
}

#[cfg(unix)]
unsafe extern "C" fn after() {
    if PAUSED.try_with(|place| place.take().is_none()).unwrap_or_default() {
        tracing::debug!("a fork without a beginning");
    }
}
