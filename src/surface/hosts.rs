//! The host connections of this process, and the gate between them and the node.
//!
//! A commit of ours while a host is between `BEGIN`, a `SELECT` and its first write makes that host fail with
//! SQLITE_BUSY, whatever its `busy_timeout`. So the node commits only while it holds the mutex of every host
//! connection on the file and none of them is in a transaction: a host then waits a moment where it would have
//! failed. The mutexes are tried, never waited for: a host in its busy handler holds its own while it waits for
//! the write lock.
//!
//! A connection without a mutex gets a [turnstile](turnstile) in its place.
//!
//! A host that waits in one of our functions holds its mutex for the whole statement; it *lends* its connection, and
//! the gate passes it by.

use rusqlite::ffi;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::node::{Busy, Gate};

mod turnstile;

use turnstile::Turnstile;

/// One connection that loaded us.
#[derive(Debug)]
struct Host {
    db: Db,
    file: PathBuf,
    is_lent: bool,
    /// Where the connection has no mutex.
    turnstile: Option<Arc<Turnstile>>,
}

/// The handle of a host connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Db(pub *mut ffi::sqlite3);

// SAFETY: the handle is only used by SQLite's own rules for threads: for its mutex, and for its transaction state while
// that mutex is held. It is alive as long as it is listed, and the list is locked throughout.
unsafe impl Send for Db {}
// SAFETY: as above; a shared reference gives no more than a copy.
unsafe impl Sync for Db {}

static HOSTS: Mutex<Vec<Host>> = Mutex::new(Vec::new());

fn hosts() -> std::sync::MutexGuard<'static, Vec<Host>> {
    // A panic while the list was locked left it whole: each change to it is one step.
    HOSTS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lists a connection. It must be taken off the list before its handle dies.
pub(super) fn enter(db: Db, file: &Path) {
    let mut hosts = hosts();
    if hosts.iter().any(|h| h.db == db) {
        return;
    }
    // SAFETY: the caller is on the connection's own thread, inside a call of it.
    let has_mutex = unsafe { !ffi::sqlite3_db_mutex(db.0).is_null() };
    let turnstile = (!has_mutex).then(|| Turnstile::install(db));
    hosts.push(Host { db, file: file.to_owned(), is_lent: false, turnstile });
    // Mutexes are taken in the order of their addresses, whoever takes them.
    hosts.sort_unstable_by_key(|h| h.db);
}

/// Takes a connection off the list; waits for at most one batch of the node's.
pub(super) fn leave(db: Db) {
    let mut hosts = hosts();
    if hosts.iter().any(|h| h.db == db && h.turnstile.is_some()) {
        Turnstile::remove(db);
    }
    hosts.retain(|h| h.db != db);
}

/// Passes a connection by in the gate until the answer is dropped. Its thread is inside one of our functions and outside any
/// transaction.
pub(super) fn lend(db: Db) -> Lent {
    set_lent(db, true);
    Lent(db)
}

/// A connection that is lent; given back when dropped.
#[derive(Debug)]
pub(super) struct Lent(Db);

impl Drop for Lent {
    fn drop(&mut self) {
        set_lent(self.0, false);
    }
}

fn set_lent(db: Db, is_lent: bool) {
    if let Some(host) = hosts().iter_mut().find(|h| h.db == db) {
        host.is_lent = is_lent;
    }
}

/// The gate of one database file.
#[derive(Debug)]
pub(super) struct HostGate(pub(super) PathBuf);

impl Gate for HostGate {
    fn enter(&self, work: &mut dyn FnMut()) -> Result<(), Busy> {
        // Held to the end: a connection that is being closed waits for it in `leave`.
        let hosts = hosts();
        let mine: Vec<_> = hosts.iter().filter(|h| h.file == self.0 && !h.is_lent).collect();
        let mut held = Vec::with_capacity(mine.len());
        for host in mine {
            held.push(hold(host)?);
        }
        if held.iter().any(is_in_transaction) {
            return Err(Busy::Transaction);
        }
        work();
        Ok(())
    }
}

/// One connection kept from starting a statement.
enum Held<'a> {
    Mutex { db: Db, mutex: *mut ffi::sqlite3_mutex },
    Turnstile { db: Db, turnstile: &'a Turnstile },
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        match self {
            // SAFETY: this thread entered the mutex in `hold`, and its connection is still listed.
            Self::Mutex { mutex, .. } => unsafe { ffi::sqlite3_mutex_leave(*mutex) },
            Self::Turnstile { turnstile, .. } => turnstile.leave(),
        }
    }
}

fn hold(host: &Host) -> Result<Held<'_>, Busy> {
    let db = host.db;
    if let Some(turnstile) = &host.turnstile {
        return if turnstile.enter() { Ok(Held::Turnstile { db, turnstile }) } else { Err(Busy::Statement) };
    }
    // SAFETY: a listed handle is alive, and the list is locked.
    let mutex = unsafe { ffi::sqlite3_db_mutex(db.0) };
    // SAFETY: the mutex lives as long as its connection.
    match unsafe { ffi::sqlite3_mutex_try(mutex) } {
        ffi::SQLITE_OK => Ok(Held::Mutex { db, mutex }),
        _ => Err(Busy::Statement),
    }
}

fn is_in_transaction(held: &Held<'_>) -> bool {
    let (Held::Mutex { db, .. } | Held::Turnstile { db, .. }) = held;
    // SAFETY: the connection's mutex is held by this thread. Without a mutex no statement of it runs or can start, and what
    // ended before is visible here through the turnstile's lock; a statement that is only now being reset may still count
    // as a read, which is the safe answer.
    unsafe { ffi::sqlite3_txn_state(db.0, std::ptr::null()) != ffi::SQLITE_TXN_NONE }
}

/// Is this connection, on whose thread we are, in a transaction or in the midst of a read?
pub(super) fn is_busy(db: Db) -> bool {
    // SAFETY: called from a function that this very connection is running.
    unsafe {
        ffi::sqlite3_get_autocommit(db.0) == 0 || ffi::sqlite3_txn_state(db.0, std::ptr::null()) != ffi::SQLITE_TXN_NONE
    }
}
