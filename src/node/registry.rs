//! The one registry of nodes in a process, and the driver thread that serves them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::{Gate, NodeError, Shared, driver};

/// Wakes the driver.
#[derive(Default)]
pub(super) struct Bell {
    rung: Mutex<bool>,
    heard: Condvar,
}

impl Bell {
    pub(super) fn ring(&self) {
        *self.rung.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.heard.notify_all();
    }

    /// Waits for a ring, or until `deadline`. Was there a ring?
    pub(super) fn wait(&self, deadline: Instant) -> bool {
        let mut rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
        while !*rung {
            let left = deadline.saturating_duration_since(Instant::now());
            if left == Duration::ZERO {
                break;
            }
            rung = self.heard.wait_timeout(rung, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        std::mem::take(&mut *rung)
    }
}

#[derive(Default)]
struct Registry {
    nodes: BTreeMap<PathBuf, (Arc<Shared>, usize)>,
    bell: Option<Arc<Bell>>,
}

static REGISTRY: Mutex<Registry> = Mutex::new(Registry { nodes: BTreeMap::new(), bell: None });
/// The process that the driver runs in; 0 before there is one.
static OWNER: AtomicU32 = AtomicU32::new(0);

thread_local! {
    static IS_OURS: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Is a connection that this thread opens now ours, not a host's? Hosts may load us into every connection of theirs.
pub fn is_ours() -> bool {
    IS_OURS.get()
}

/// Runs `work`, whose connections are ours.
pub fn as_ours<T>(work: impl FnOnce() -> T) -> T {
    let before = IS_OURS.replace(true);
    let done = work();
    IS_OURS.set(before);
    done
}

/// Was this process forked from the one whose driver it remembers? Locks may be held for ever by threads that are not here:
/// this is asked before any is taken.
pub fn is_forked() -> bool {
    let owner = OWNER.load(Ordering::Relaxed);
    owner != 0 && owner != std::process::id()
}

/// Held by the driver while it works.
static AT_WORK: Mutex<()> = Mutex::new(());
/// How many threads wait for the driver to pause.
static WAITING: AtomicU32 = AtomicU32::new(0);
/// Between two looks of the driver whether those who want it to pause have come by.
const PAUSE: Duration = Duration::from_micros(100);

/// Keeps the driver from working while it is held.
pub(crate) type Paused = MutexGuard<'static, ()>;

/// Waits until the driver stands still, at most a turn of it. A process that forks meanwhile copies no lock that the driver's
/// connections hold within SQLite, and that nobody would give back in the child.
pub(crate) fn pause() -> Paused {
    WAITING.fetch_add(1, Ordering::SeqCst);
    let paused = AT_WORK.lock().unwrap_or_else(PoisonError::into_inner);
    WAITING.fetch_sub(1, Ordering::SeqCst);
    paused
}

/// The driver's side.
pub(super) fn work() -> Paused {
    // The lock is not fair: a driver with much to do would be back before one who waits woke up.
    while WAITING.load(Ordering::SeqCst) > 0 {
        std::thread::sleep(PAUSE);
    }
    AT_WORK.lock().unwrap_or_else(PoisonError::into_inner)
}

fn lock() -> std::sync::MutexGuard<'static, Registry> {
    REGISTRY.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn attach(database: &Path, gate: Arc<dyn Gate>) -> Result<Arc<Shared>, NodeError> {
    if is_forked() {
        return Err(NodeError::Forked);
    }
    let mut registry = lock();
    start_driver(&mut registry)?;
    let entry = registry.nodes.entry(database.to_owned()).or_insert_with(|| {
        let (inbox, view, attachments) = Default::default();
        (Arc::new(Shared { database: database.to_owned(), gate, inbox, view, attachments }), 0)
    });
    entry.1 += 1;
    entry.0.attachments.fetch_add(1, Ordering::Relaxed);
    let shared = Arc::clone(&entry.0);
    if let Some(bell) = &registry.bell {
        bell.ring();
    }
    Ok(shared)
}

fn start_driver(registry: &mut Registry) -> Result<(), NodeError> {
    if registry.bell.is_some() {
        return Ok(());
    }
    let bell = Arc::new(Bell::default());
    let its = Arc::clone(&bell);
    let body = move || {
        as_ours(|| driver::run(&its));
    };
    driver::spawn("p2pdb", body).map_err(|e| NodeError::Thread(e.to_string()))?;
    OWNER.store(std::process::id(), Ordering::Relaxed);
    registry.bell = Some(bell);
    Ok(())
}

pub(super) fn ring() {
    if let Some(bell) = &lock().bell {
        bell.ring();
    }
}

pub(super) fn is_last(shared: &Arc<Shared>) -> bool {
    lock().nodes.get(&shared.database).is_some_and(|(_, holders)| *holders == 1)
}

pub(super) fn detach(shared: &Arc<Shared>) {
    let mut registry = lock();
    if let Some((_, holders)) = registry.nodes.get_mut(&shared.database) {
        *holders -= 1;
        if *holders == 0 {
            registry.nodes.remove(&shared.database);
        }
    }
    if let Some(bell) = &registry.bell {
        bell.ring();
    }
}

/// The nodes that someone holds.
pub(super) fn held() -> Vec<Arc<Shared>> {
    lock().nodes.values().map(|(shared, _)| Arc::clone(shared)).collect()
}
