//! One database in the driver's hands: its store, its sessions, and what was asked of it.
//!
//! A *turn* does everything that can be done now and says when it wants the next: take requests, look whether something
//! was committed, write through the gate (seal first, then merge what peers sent), stream, dial, answer. A turn
//! never waits.

use p2pdb_core::backoff::Backoff;
use p2pdb_core::session::Input;
use rusqlite::{Connection, OpenFlags};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::driver::{Now, Tools};
use super::leader::Leader;
use super::pace::Pace;
use super::sidecar::Sidecar;
use super::{Shared, config};
use crate::store::{Store, StoreError};

mod answers;
mod elsewhere;
mod forks;
mod links;
mod lock;
mod mirror;
mod show;
mod wire;
mod work;

use answers::Asked;
use links::Links;
use mirror::Mirror;

/// Milliseconds between two looks where nothing rang: the system's notifications may be off, or may miss one.
const LOOK_MS: u64 = 1_000;
/// Milliseconds to the looks after the one that follows a ring.
const RELOOK_MS: [u64; 5] = [1, 2, 4, 8, 16];
/// Milliseconds without work after which the store's cache is given back to the host.
const REST_MS: u64 = 2_000;
/// Milliseconds between two tries to become the one that runs the node.
const LEADER_MS: u64 = 1_000;
/// Milliseconds between two looks at what another process's node did, while somebody waits for it.
const FOLLOW_MS: u64 = 20;
/// Panics in a row after which a replica stands still.
const PANICS_MAX: u32 = 5;
/// Milliseconds without one after which those before are forgotten. A turn that ends well is no sign: the same peer's next
/// frame, or the next try to open, may meet the same bug.
const CALM_MS: u64 = 60_000;
/// For how long what was seen to hold the gate is told, if statements that come and go are all that is seen after it.
const LASTING_MS: u64 = 1_000;

/// A database file that is open.
struct Open {
    store: Store,
    sidecar: Sidecar,
    /// `PRAGMA data_version` as last seen: it moves when another connection commits.
    data_version: i64,
    /// Did another connection commit since the last seal?
    has_moved: bool,
    /// When it is looked for rows that were changed past the triggers.
    mirror: Mirror,
    /// May there be something to seal?
    is_dirty: bool,
    /// Are there stored entries that could be merged now?
    must_apply: bool,
    /// Is this the first seal since the file was opened? Its changes may be old.
    is_first_seal: bool,
    /// The last arrival number that the sessions were told of.
    told: u64,
    /// How long the next seal may hold the gate.
    pace: Pace,
    /// `PRAGMA data_version` at the last pass.
    passed_version: i64,
    /// When something was last written, until the memory for it is given back.
    worked_ms: Option<u64>,
}

impl Open {
    /// Moves when another connection commits, in whatever process.
    fn version(&self) -> rusqlite::Result<i64> {
        self.store.connection().query_row("PRAGMA data_version", [], |row| row.get(0))
    }
}

/// One database.
pub(super) struct Replica {
    shared: Arc<Shared>,
    leader: Option<Leader>,
    open: Option<Open>,
    links: Links,
    asked: Vec<Asked>,
    trouble: Trouble,
    watched: Vec<PathBuf>,
    next_look_ms: u64,
    looks: std::iter::Copied<std::slice::Iter<'static, u64>>,
    next_leader_ms: u64,
    is_follower: bool,
    /// The number of attachments at which the last host asked to leave.
    left_at: Option<u64>,
    panics: u32,
    panicked_ms: u64,
    /// Where the processes of this host find us, as last told.
    announced: Vec<String>,
    next_host_ms: u64,
    /// The writing of the sidecar that was read last.
    sidecar_read: Option<elsewhere::Writing>,
    next_sidecar_ms: u64,
}

/// What goes wrong, and when it is tried again.
#[derive(Default)]
struct Trouble {
    last_error: Option<String>,
    backoff: Backoff,
    retry_ms: Option<u64>,
    held_up: Option<HeldUp>,
    /// When the gate is tried next.
    gate_ms: u64,
    gate_tries: u32,
    /// When it was last knocked without pauses.
    spun_ms: u64,
}

/// Why it is not our turn to write.
#[derive(Clone, Copy)]
struct HeldUp {
    why: super::Busy,
    /// When that was seen last.
    seen_ms: u64,
    /// Since when it has not been our turn, whatever the reason.
    since_ms: u64,
}

impl HeldUp {
    /// Statements come and go beside what lasts, the one that reads p2p_status included: it is told for as long as it is
    /// seen again and again.
    fn then(before: Option<Self>, why: super::Busy, now_ms: u64) -> Self {
        match before {
            Some(before) if why == super::Busy::Statement && now_ms < before.seen_ms + LASTING_MS => before,
            _ => Self { why, seen_ms: now_ms, since_ms: before.map_or(now_ms, |before| before.since_ms) },
        }
    }
}

impl Replica {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            leader: None,
            open: None,
            links: Links::default(),
            asked: Vec::new(),
            trouble: Trouble::default(),
            watched: Vec::new(),
            next_look_ms: 0,
            looks: Default::default(),
            next_leader_ms: 0,
            is_follower: false,
            left_at: None,
            panics: 0,
            panicked_ms: 0,
            announced: Vec::new(),
            next_host_ms: 0,
            sidecar_read: None,
            next_sidecar_ms: 0,
        }
    }

    /// The file.
    pub(super) fn database(&self) -> &Path {
        &self.shared.database
    }

    /// The members' sidecar, once the file is open.
    pub(super) fn sidecar(&self) -> Option<&Sidecar> {
        self.open.as_ref().map(|o| &o.sidecar)
    }

    /// Does all that can be done now. Gives the time of the next turn, on the monotone clock.
    pub(super) fn turn(&mut self, tools: &mut Tools<'_>) -> u64 {
        if self.panics >= PANICS_MAX {
            self.refuse_all(
                "the node stopped after repeated internal errors; close all connections and open the database again",
            );
            return u64::MAX;
        }
        self.take_requests(tools);
        self.heed_sidecar(tools);
        let now = tools.now.mono_ms;
        if self.ensure_open(tools) {
            self.look(tools.now);
            self.work(tools);
            self.stream(tools);
            self.sync(tools);
            self.heed_forks(tools);
            self.dial(tools);
            self.look_through(tools);
        }
        // Before the answers: who was answered may look at once, and must see what the answer says.
        self.show(tools);
        self.answer(tools);
        if self.left_at.is_some() {
            self.show(tools);
        }
        if self.panicked_ms + CALM_MS <= now {
            self.panics = 0;
        }
        self.next_turn_ms(now)
    }

    fn next_turn_ms(&self, now_ms: u64) -> u64 {
        let has_work = self.open.as_ref().is_some_and(|o| o.is_dirty || o.must_apply) || self.links.has_batches();
        let gate = if has_work { Some(self.trouble.gate_ms.max(now_ms)) } else { None };
        let deadline = self.asked.iter().filter_map(|a| a.deadline_ms).min();
        let dial = self.links.dialer.next_ms().filter(|_| self.open.is_some());
        let tick = self.links.next_tick_ms();
        // A follower has no store: what is asked of it is looked up in the file.
        let follow = (self.is_follower && !self.asked.is_empty()).then_some(now_ms + FOLLOW_MS);
        let leader = (self.open.is_none() && self.left_at.is_none()).then_some(self.next_leader_ms);
        let all = [
            self.next_step_ms(),
            follow,
            gate,
            deadline,
            dial,
            tick,
            leader,
            self.trouble.retry_ms,
            Some(self.next_look_ms),
        ];
        all.into_iter().flatten().min().unwrap_or(now_ms + LOOK_MS).max(now_ms + 1)
    }

    /// A panic came out of a turn: what it held is dropped, for its state can't be trusted; the file's can.
    pub(super) fn recover(&mut self, why: String, tools: &mut Tools<'_>) {
        tracing::error!(database = %self.database().display(), why, "a turn of the node panicked");
        self.panics += 1;
        self.panicked_ms = tools.now.mono_ms;
        self.close(tools);
        self.fail(why.clone(), tools);
        if self.panics >= PANICS_MAX {
            self.trouble.retry_ms = None;
        }
        self.show(tools);
        self.refuse_all(&why);
    }

    /// When the database is tried again after a failure.
    pub(super) fn retry_ms(&self) -> Option<u64> {
        self.trouble.retry_ms
    }

    /// Notes a failure, and when to try again.
    fn fail(&mut self, why: String, tools: &mut Tools<'_>) {
        let wait_ms = self.trouble.backoff.next_ms(tools.random.next());
        self.trouble.last_error = Some(why);
        self.trouble.retry_ms = Some(tools.now.mono_ms + wait_ms);
    }

    /// Opens the file if it is this process's turn to run its node.
    fn ensure_open(&mut self, tools: &mut Tools<'_>) -> bool {
        let now = tools.now.mono_ms;
        if let Some(left_at) = self.left_at {
            if self.shared.attachments.load(Ordering::Relaxed) == left_at {
                return false;
            }
            self.left_at = None;
        }
        if self.trouble.retry_ms.is_some_and(|at| at > now) {
            return false;
        }
        if self.open.is_some() {
            return true;
        }
        if self.next_leader_ms > now {
            return false;
        }
        self.next_leader_ms = now + LEADER_MS;
        match self.try_open(tools) {
            Ok(is_open) => {
                (self.trouble.retry_ms, self.trouble.backoff) = Default::default();
                is_open
            }
            Err(why) => {
                self.fail(why, tools);
                false
            }
        }
    }

    fn try_open(&mut self, tools: &mut Tools<'_>) -> Result<bool, String> {
        let database = self.shared.database.clone();
        // Before it is read: a writing in between is then read twice, and none is missed.
        self.sidecar_read = elsewhere::Writing::of(&database);
        let sidecar = Sidecar::load(&database).map_err(|e| e.to_string())?;
        let Some(sidecar) = sidecar.filter(|s| s.has_group) else { return Ok(false) };
        if self.leader.is_none() {
            self.leader = Leader::attempt(&database).map_err(|e| format!("the lock file beside the database: {e}"))?;
        }
        self.is_follower = self.leader.is_none();
        if self.is_follower {
            return Ok(false);
        }
        let sidecar = self.at_home(sidecar)?;
        let mut opened = None;
        // Opening may create the private tables: a write like any other.
        let entered = self.shared.gate.enter(&mut |_| opened = Some(open_store(&database, &sidecar)));
        if let Err(busy) = entered {
            self.is_busy(busy, tools.now.mono_ms);
            self.next_leader_ms = self.trouble.gate_ms;
            return Ok(false);
        }
        let store = match opened.ok_or("the gate did not run")? {
            Err(why) if work::is_busy(&why) => {
                self.is_busy(super::Busy::OtherProcess, tools.now.mono_ms);
                self.next_leader_ms = self.trouble.gate_ms;
                return Ok(false);
            }
            opened => opened.map_err(|e| e.to_string())?,
        };
        self.trouble.held_up = None;
        if store.is_retired() {
            drop(store);
            self.keep(&sidecar.with_new_author().map_err(|e| e.to_string())?)?;
            self.next_leader_ms = 0;
            return Ok(false);
        }
        self.watch(tools);
        let peers = sidecar.peers.clone();
        let told = store.last_arrival().map_err(|e| e.to_string())?;
        self.open = Some(Open {
            store,
            sidecar,
            data_version: -1,
            has_moved: true,
            mirror: Mirror::default(),
            is_dirty: true,
            must_apply: true,
            is_first_seal: true,
            told,
            pace: Pace::default(),
            passed_version: -1,
            worked_ms: None,
        });
        for address in peers {
            self.links.dialer.add(&address, super::dialer::Origin::User, tools.now.mono_ms);
        }
        self.next_look_ms = 0;
        Ok(true)
    }

    fn watch(&mut self, tools: &mut Tools<'_>) {
        let database = &self.shared.database;
        let mut wal = database.as_os_str().to_owned();
        wal.push("-wal");
        self.watched = vec![database.clone(), PathBuf::from(wal)];
        self.watched.iter().for_each(|path| tools.watch.add(path));
    }

    /// Gives the file up: sessions end, the connection closes, another process may run the node.
    pub(super) fn close(&mut self, tools: &mut Tools<'_>) {
        self.withdraw(tools);
        self.links.close_all(tools);
        self.open = None;
        self.leader = None;
        self.is_follower = false;
        for path in self.watched.drain(..) {
            tools.watch.remove(&path);
        }
    }

    /// The bell rang. A file is written before its commit shows: the first look may be too early, and no second ring comes.
    pub(super) fn rung(&mut self) {
        self.looks = RELOOK_MS.iter().copied();
    }

    /// Was something committed?
    fn look(&mut self, now: Now) {
        let Some(open) = &mut self.open else { return };
        self.next_look_ms = now.mono_ms + self.looks.next().unwrap_or(LOOK_MS);
        match open.version() {
            Ok(version) if version == open.data_version => {
                if open.worked_ms.take_if(|at| now.mono_ms.saturating_sub(*at) > REST_MS).is_some()
                    && let Err(why) = open.store.rest()
                {
                    tracing::debug!(%why, "the cache stays");
                }
            }
            Ok(version) => {
                open.data_version = version;
                (open.is_dirty, open.has_moved) = (true, true);
            }
            // A host that locks the file for itself: the next look may be luckier.
            Err(why) => tracing::debug!(%why, "data_version can't be read"),
        }
        if std::mem::take(&mut self.links.must_seal) {
            (open.is_dirty, self.trouble.gate_ms) = (true, 0);
        }
        match open.store.quarantined_until() {
            Ok(until) => open.must_apply |= until.is_some_and(|until| until <= now.wall_ms),
            Err(why) => tracing::debug!(%why, "what is quarantined can't be read"),
        }
    }

    /// The sidecar changed.
    fn reload(&mut self, tools: &mut Tools<'_>) -> Result<(), String> {
        self.sidecar_read = elsewhere::Writing::of(&self.shared.database);
        let sidecar = Sidecar::load(&self.shared.database).map_err(|e| e.to_string())?;
        let is_same = match (&self.open, &sidecar) {
            (Some(open), Some(sidecar)) => open.store.identity().group == sidecar.identity().group,
            _ => false,
        };
        if !is_same {
            self.close(tools);
            (self.next_leader_ms, self.trouble.retry_ms) = (0, None);
            return Ok(());
        }
        if let (Some(open), Some(sidecar)) = (&mut self.open, sidecar) {
            for address in &sidecar.peers {
                self.links.dialer.add(address, super::dialer::Origin::User, tools.now.mono_ms);
            }
            open.sidecar = sidecar;
            if !is_networked(&open.sidecar) {
                self.links.close_all(tools);
            }
        }
        Ok(())
    }

    fn log_grew(&mut self, tools: &mut Tools<'_>) {
        self.links.all(Input::LogGrew, self.open.as_ref(), tools);
    }

    /// May this database use the network?
    pub(super) fn is_networked(&self) -> bool {
        self.open.as_ref().is_some_and(|o| is_networked(&o.sidecar))
    }

    fn is_busy(&mut self, busy: super::Busy, now_ms: u64) {
        self.trouble.held_up = Some(HeldUp::then(self.trouble.held_up, busy, now_ms));
        // From 1 to 50 milliseconds: short transactions pass quickly, a long one must not cost a core.
        self.trouble.gate_tries = (self.trouble.gate_tries + 1).min(6);
        self.trouble.gate_ms = now_ms + (1u64 << self.trouble.gate_tries.saturating_sub(1)).min(50);
    }

    fn is_our_turn(&mut self) {
        (self.trouble.held_up, self.trouble.gate_tries, self.trouble.gate_ms) = (None, 0, 0);
    }
}

fn open_store(database: &Path, sidecar: &Sidecar) -> Result<Store, StoreError> {
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_FULL_MUTEX | OpenFlags::SQLITE_OPEN_PRIVATE_CACHE;
    let conn = Connection::open_with_flags(database, flags)?;
    // Within the gate the hosts of this process wait for us: it is put off rather than waited for another's write lock.
    conn.busy_handler(Some(lock::wait))?;
    switch_to_wal(&conn);
    Store::open(conn, sidecar.identity())
}

/// `p2p_track` switches the file; within a transaction of its caller it could not. Where this can't either, entries move all
/// the same, and `p2p_status` tells.
fn switch_to_wal(conn: &Connection) {
    let switched = conn.query_row("PRAGMA journal_mode=WAL", [], |row| row.get::<_, String>(0));
    if let Err(why) = switched {
        tracing::debug!(%why, "the journal mode stays");
    }
}

fn is_networked(sidecar: &Sidecar) -> bool {
    sidecar.is_joined && config::of("network", &sidecar.config) == "on"
}

/// Milliseconds of wall time that a seal is stamped with. Changes found at the first look may be as old as the file.
fn stamp_ms(now: Now, open: &Open, database: &Path) -> u64 {
    if !open.is_first_seal {
        return now.wall_ms;
    }
    let mut wal = database.as_os_str().to_owned();
    wal.push("-wal");
    let modified =
        [database.to_owned(), PathBuf::from(wal)].iter().filter_map(|p| p.metadata().ok()?.modified().ok()).max();
    let modified = modified.and_then(|t| t.duration_since(std::time::UNIX_EPOCH).ok()).map(|d| d.as_millis() as u64);
    modified.map_or(now.wall_ms, |ms| ms.min(now.wall_ms))
}

#[cfg(test)]
mod tests {
    use super::super::Busy;
    use super::HeldUp;

    #[test]
    fn what_holds_the_gate_for_long_is_told_and_not_the_statements_beside_it() {
        let first = HeldUp::then(None, Busy::Statement, 10);
        assert_eq!((first.why, first.since_ms), (Busy::Statement, 10));
        let lasting = HeldUp::then(Some(first), Busy::OtherProcess, 20);
        assert_eq!((lasting.why, lasting.since_ms), (Busy::OtherProcess, 10));
        let beside = HeldUp::then(Some(lasting), Busy::Statement, 900);
        assert_eq!((beside.why, beside.since_ms), (Busy::OtherProcess, 10));
        let alone = HeldUp::then(Some(beside), Busy::Statement, 1_020);
        assert_eq!((alone.why, alone.since_ms), (Busy::Statement, 10));
        assert_eq!(HeldUp::then(Some(lasting), Busy::Transaction, 30).why, Busy::Transaction);
    }
}
