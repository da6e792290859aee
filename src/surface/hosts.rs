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
//! A file is also written through ATTACH, by a connection whose main file is another. SQLite tells a connection's
//! schemas by number since 3.39; in an older one such a host is not seen, and meets our commits as those of
//! another process.
//!
//! A host that waits in one of our functions holds its mutex for the whole statement; it *lends* its connection, and
//! the gate passes it by.

use rusqlite::ffi;
use std::collections::BTreeSet;
use std::ffi::{CStr, OsStr, c_char, c_int};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use super::attached::Attached;
use crate::node::{Busy, Gate, Hosts};

mod turnstile;

use turnstile::Turnstile;

/// How long a connection that is never met between two statements is taken for one that may have attached the file since
/// it was last met.
const DOUBT: Duration = Duration::from_millis(20);

/// One connection that loaded us.
struct Host {
    db: Db,
    owner: Weak<Attached>,
    /// Its main file; none for `:memory:` and temporary databases.
    file: Option<PathBuf>,
    /// Files of nodes that it had attached when it was last held.
    attached: BTreeSet<PathBuf>,
    /// Since when it was not met between two statements.
    busy_since: Option<Instant>,
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

/// `sqlite3_db_name`, which gives the name of a schema by its number. It is younger than the API that we are built with.
pub type DbName = unsafe extern "C" fn(*mut ffi::sqlite3, c_int) -> *const c_char;

static DB_NAME: OnceLock<DbName> = OnceLock::new();

/// Tells where `sqlite3_db_name` is, in a SQLite that has it: then the gate sees what is attached.
pub fn set_db_name(db_name: DbName) {
    // All calls of a process go through one SQLite: a second telling says the same.
    DB_NAME.get_or_init(|| db_name);
}

fn hosts() -> std::sync::MutexGuard<'static, Vec<Host>> {
    // A panic while the list was locked left it whole: each change to it is one step.
    HOSTS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lists a connection. It must be taken off the list before its handle dies.
pub(super) fn enter(db: Db, file: Option<&Path>, owner: &Weak<Attached>) {
    let mut hosts = hosts();
    if hosts.iter().any(|h| h.db == db) {
        return;
    }
    // SAFETY: the caller is on the connection's own thread, inside a call of it.
    let has_mutex = unsafe { !ffi::sqlite3_db_mutex(db.0).is_null() };
    let turnstile = (!has_mutex).then(|| Turnstile::install(db));
    let (file, attached, owner) = (file.map(Path::to_owned), BTreeSet::new(), Weak::clone(owner));
    hosts.push(Host { db, owner, file, attached, busy_since: None, is_lent: false, turnstile });
    // Mutexes are taken in the order of their addresses, whoever takes them.
    hosts.sort_unstable_by_key(|h| h.db);
}

/// The other connections whose main file this is.
pub(super) fn others(db: Db, file: &Path) -> Vec<Arc<Attached>> {
    let hosts = hosts();
    let others = hosts.iter().filter(|h| h.db != db && h.file.as_deref() == Some(file));
    others.filter_map(|h| h.owner.upgrade()).collect()
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
pub(super) struct HostGate {
    file: PathBuf,
    /// What all its hosts together had done when it was entered last.
    done: AtomicU64,
}

impl HostGate {
    pub(super) fn new(file: PathBuf) -> Self {
        Self { file, done: AtomicU64::new(0) }
    }
}

impl Gate for HostGate {
    fn enter(&self, work: &mut dyn FnMut(Hosts)) -> Result<(), Busy> {
        // Held to the end: a connection that is being closed waits for it in `leave`.
        let mut hosts = hosts();
        let mut held = Vec::with_capacity(hosts.len());
        for host in hosts.iter_mut().filter(|h| !h.is_lent) {
            if let Some(one) = hold_on(host, &self.file)? {
                held.push(one);
            }
        }
        let done = held.iter().map(Held::done).fold(0, u64::wrapping_add);
        let is_same = self.done.swap(done, Ordering::Relaxed) == done;
        work(if is_same { Hosts::Idle } else { Hosts::Active });
        Ok(())
    }
}

/// Holds a connection that has the file open and is in no transaction on it; none if it has nothing to do with the file.
fn hold_on(host: &mut Host, file: &Path) -> Result<Option<Held>, Busy> {
    let is_main = host.file.as_deref() == Some(file);
    let held = match hold(host) {
        Ok(held) => held,
        // Its schemas can't be read now: after a while it is taken for what it was.
        Err(busy) => {
            let is_doubtful = host.busy_since.get_or_insert_with(Instant::now).elapsed() < DOUBT;
            return if is_main || is_doubtful || host.attached.contains(file) { Err(busy) } else { Ok(None) };
        }
    };
    host.busy_since = None;
    if is_main {
        return if is_in_transaction(&held, std::ptr::null()) { Err(Busy::Transaction) } else { Ok(Some(held)) };
    }
    let Some(schema) = schema_of(&held, file) else {
        host.attached.remove(file);
        return Ok(None);
    };
    if !host.attached.contains(file) {
        host.attached.insert(file.to_owned());
    }
    if is_in_transaction(&held, schema) { Err(Busy::Transaction) } else { Ok(Some(held)) }
}

/// The name under which a connection has attached the file. Valid while the connection is held.
fn schema_of(held: &Held, file: &Path) -> Option<*const c_char> {
    let (Held::Mutex { db, .. } | Held::Turnstile { db, .. }) = held;
    let db_name = DB_NAME.get()?;
    // 0 is main, 1 is temp.
    for number in 2.. {
        // SAFETY: the connection is held: no ATTACH or DETACH runs, so names and file names stay where they are.
        let (name, of) = unsafe {
            let name = db_name(db.0, number);
            if name.is_null() {
                return None;
            }
            (name, ffi::sqlite3_db_filename(db.0, name))
        };
        // SAFETY: a C string of SQLite's, where there is one: a temporary schema has none.
        if !of.is_null() && is_path(unsafe { CStr::from_ptr(of) }, file) {
            return Some(name);
        }
    }
    None
}

/// SQLite gives the full path, its links resolved, as we keep it.
fn is_path(name: &CStr, file: &Path) -> bool {
    #[cfg(unix)]
    let name: &OsStr = std::os::unix::ffi::OsStrExt::from_bytes(name.to_bytes());
    #[cfg(not(unix))]
    let Ok(name) = name.to_str().map(OsStr::new) else { return false };
    name == file.as_os_str()
}

/// One connection kept from starting a statement.
enum Held {
    Mutex { db: Db, mutex: *mut ffi::sqlite3_mutex },
    Turnstile { db: Db, turnstile: Arc<Turnstile> },
}

impl Held {
    /// Grows with all that the connection does on its files.
    fn done(&self) -> u64 {
        match self {
            // Each page that a statement looks at is found in the cache or is not.
            Self::Mutex { db, .. } => [ffi::SQLITE_DBSTATUS_CACHE_HIT, ffi::SQLITE_DBSTATUS_CACHE_MISS]
                .into_iter()
                .map(|counter| u64::from(counted(*db, counter)))
                .sum(),
            Self::Turnstile { turnstile, .. } => turnstile.passed(),
        }
    }
}

/// One of SQLite's counters of a connection, which this thread holds; 0 where it has none such.
fn counted(db: Db, counter: c_int) -> u32 {
    let (mut now, mut highest) = (0, 0);
    // SAFETY: the connection is listed, thus alive, and its mutex is held by this thread; both results outlive the call.
    let outcome = unsafe { ffi::sqlite3_db_status(db.0, counter, &mut now, &mut highest, 0) };
    if outcome == ffi::SQLITE_OK { now as u32 } else { 0 }
}

impl Drop for Held {
    fn drop(&mut self) {
        match self {
            // SAFETY: this thread entered the mutex in `hold`, and its connection is still listed.
            Self::Mutex { mutex, .. } => unsafe { ffi::sqlite3_mutex_leave(*mutex) },
            Self::Turnstile { turnstile, .. } => turnstile.leave(),
        }
    }
}

fn hold(host: &Host) -> Result<Held, Busy> {
    let db = host.db;
    if let Some(turnstile) = &host.turnstile {
        let is_in = turnstile.enter();
        return is_in.then(|| Held::Turnstile { db, turnstile: Arc::clone(turnstile) }).ok_or(Busy::Statement);
    }
    // SAFETY: a listed handle is alive, and the list is locked.
    let mutex = unsafe { ffi::sqlite3_db_mutex(db.0) };
    // SAFETY: the mutex lives as long as its connection.
    match unsafe { ffi::sqlite3_mutex_try(mutex) } {
        ffi::SQLITE_OK => Ok(Held::Mutex { db, mutex }),
        _ => Err(Busy::Statement),
    }
}

/// Is the connection in a transaction on this schema? Null: on any.
fn is_in_transaction(held: &Held, schema: *const c_char) -> bool {
    let (Held::Mutex { db, .. } | Held::Turnstile { db, .. }) = held;
    // SAFETY: the connection's mutex is held by this thread. Without a mutex no statement of it runs or can start, and what
    // ended before is visible here through the turnstile's lock; a statement that is only now being reset may still count
    // as a read, which is the safe answer.
    unsafe { ffi::sqlite3_txn_state(db.0, schema) != ffi::SQLITE_TXN_NONE }
}

/// Is this connection, on whose thread we are, in a transaction or in the midst of a read?
pub(super) fn is_busy(db: Db) -> bool {
    // SAFETY: called from a function that this very connection is running.
    unsafe {
        ffi::sqlite3_get_autocommit(db.0) == 0 || ffi::sqlite3_txn_state(db.0, std::ptr::null()) != ffi::SQLITE_TXN_NONE
    }
}

#[cfg(test)]
mod tests;
