//! Writing through the gate: what the user committed is sealed first, then what peers sent is stored and merged.
//!
//! Each pass through the gate is a few milliseconds and one fsync, so that a host that wants to write waits no
//! longer than that; a seal takes longer ones where no host is at work (see [`pace`]).

use p2pdb_core::limit;
use p2pdb_core::session::{Batch, Input, Outcome};
use rusqlite::ErrorCode;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::{HeldUp, Open, Replica, Trouble, lock, stamp_ms};
use crate::node::driver::{Now, Tools};
use crate::node::swarm::Stream;
use crate::node::{Busy, Gate, Hosts, pace};
use crate::store::{Applied, Offered, StoreError, Taken};

/// Passes in one turn: then the sessions get theirs.
const PASSES_MAX: usize = 16;
/// Knocks at the gate before a pass is put off by milliseconds: a host that reads in a tight loop is in a statement nine
/// tenths of its time, and leaves gaps of microseconds that a single knock seldom meets.
const KNOCKS: usize = 24;
/// Between two knocks; the system makes about a tenth of a millisecond of it.
const KNOCK_PAUSE: Duration = Duration::from_micros(40);
/// Milliseconds of knocking in vain after which a round of it has no pauses: a host that begins its next transaction
/// right after each COMMIT leaves microseconds in which it is in none.
const STARVING_MS: u64 = 50;
/// How long such a round lasts. They come ever more seldom (see [`Trouble::may_spin`]): a transaction that is just long must not cost a core.
const SPIN: Duration = Duration::from_millis(5);
/// Batches that are stored in one transaction, and their bytes, as far as the time of a pass goes: the peers of a busy host
/// send many small ones, a catch-up brings full ones.
const BATCHES_MAX: usize = 64;
const BATCHES_BYTES: usize = 16 * limit::BATCH_BYTES;

/// What a pass did.
#[derive(Default)]
struct Done {
    sealed: usize,
    applied: usize,
    stored: Vec<(Stream, u64, Outcome)>,
    failure: Option<StoreError>,
    /// Taken, and not stored, for another process writes or time ran out: they come first in the next pass.
    put_back: VecDeque<(Stream, Batch)>,
}

impl Trouble {
    /// Is a round of knocks without pauses due? Each starts a quarter later, counted from when it began to be in vain.
    fn may_spin(&mut self, now_ms: u64) -> bool {
        let Some(HeldUp { since_ms, .. }) = self.held_up else { return false };
        let waited_ms = now_ms - since_ms;
        let is_due = waited_ms >= STARVING_MS && self.spun_ms.max(since_ms) + waited_ms / 4 <= now_ms;
        if is_due {
            self.spun_ms = now_ms;
        }
        is_due
    }
}

/// The time of a pass.
struct Time {
    begun: Instant,
    /// How long its seal may take.
    seal: Duration,
}

impl Time {
    fn begin(open: &mut Open, hosts: Hosts) -> Self {
        let begun = Instant::now();
        // Where it can't be read somebody has the file locked.
        let version = open.version().unwrap_or(-1);
        let is_same = version >= 0 && std::mem::replace(&mut open.passed_version, version) == version;
        let is_alone = is_same && hosts == Hosts::Idle;
        let seal = if open.is_dirty { open.pace.seal(is_alone) } else { open.pace.merge(is_alone) };
        Self { begun, seal }
    }

    fn has_for(&self, length: Duration) -> bool {
        self.begun.elapsed() < length
    }
}

impl Replica {
    pub(super) fn work(&mut self, tools: &mut Tools<'_>) {
        let begun = Instant::now();
        for _ in 0..PASSES_MAX {
            if !self.has_work() || self.trouble.gate_ms > tools.now.mono_ms {
                return;
            }
            let Some(done) = self.pass(tools.now) else { return };
            if !self.report(done, tools) {
                return;
            }
            if let Some(gap) = self.open.as_ref().filter(|_| self.has_work()).and_then(|o| o.pace.gap()) {
                let until = begun.elapsed() + gap;
                self.trouble.gate_ms = tools.now.mono_ms + until.as_millis() as u64 + 1;
                return;
            }
        }
    }

    fn has_work(&self) -> bool {
        let has_work = self.open.as_ref().is_some_and(|o| o.is_dirty || o.must_apply);
        has_work || self.links.has_batches() || !self.links.cursors.is_empty()
    }

    /// One pass through the gate; none if it is not our turn.
    fn pass(&mut self, now: Now) -> Option<Done> {
        let open = self.open.as_mut()?;
        let (links, database) = (&mut self.links, &self.shared.database);
        let mut done = Done::default();
        let may_spin = self.trouble.may_spin(now.mono_ms);
        lock::spin(may_spin);
        let entered = knock(&*self.shared.gate, may_spin, &mut |hosts| {
            let time = Time::begin(open, hosts);
            let cursors = std::mem::take(&mut links.cursors);
            let mut next = || links.next_batch();
            if let Err(why) = open.store.remember_all(&cursors) {
                done.failure = Some(why);
                return;
            }
            done = run(open, stamp_ms(now, open, database), now, &time, &mut next);
        });
        match entered {
            Ok(()) => {
                open.worked_ms = Some(now.mono_ms);
                Some(done)
            }
            Err(busy) => {
                open.pace.met();
                self.is_busy(busy, now.mono_ms);
                None
            }
        }
    }

    /// Tells sessions and askers what a pass did. False if it failed.
    fn report(&mut self, done: Done, tools: &mut Tools<'_>) -> bool {
        if done.applied > 0 {
            self.remote_change(done.applied);
        }
        self.note_sealed(done.sealed);
        for batch in done.put_back.into_iter().rev() {
            self.links.put_back(batch);
        }
        for (stream, token, outcome) in done.stored {
            self.links.one(stream, Input::Stored { token, outcome }, self.open.as_ref(), tools);
        }
        match done.failure {
            None => {
                self.is_our_turn();
                self.trouble.last_error = None;
                true
            }
            Some(why) if is_busy(&why) => {
                // Another process writes: it will be done in a moment.
                self.is_busy(Busy::OtherProcess, tools.now.mono_ms);
                false
            }
            Some(why) => {
                self.fail(why.to_string(), tools);
                false
            }
        }
    }
}

/// Enters the gate at the first gap that a busy host leaves.
fn knock(gate: &dyn Gate, may_spin: bool, work: &mut dyn FnMut(Hosts)) -> Result<(), Busy> {
    let start = Instant::now();
    for knocks in 1.. {
        match gate.enter(work) {
            Ok(()) => return Ok(()),
            // Another process holds the file: it does not leave gaps so short.
            Err(busy @ Busy::OtherProcess) => return Err(busy),
            Err(_) if may_spin && start.elapsed() < SPIN => std::thread::yield_now(),
            Err(_) if !may_spin && knocks < KNOCKS => std::thread::sleep(KNOCK_PAUSE),
            Err(busy) => return Err(busy),
        }
    }
    Err(Busy::Statement)
}

fn run(
    open: &mut Open,
    stamp_ms: u64,
    now: Now,
    time: &Time,
    next: &mut dyn FnMut() -> Option<(Stream, Batch)>,
) -> Done {
    let mut done = Done::default();
    if let Err(why) = try_run(open, stamp_ms, now, time, next, &mut done) {
        done.failure = Some(why);
    }
    done
}

fn try_run(
    open: &mut Open,
    stamp_ms: u64,
    now: Now,
    time: &Time,
    next: &mut dyn FnMut() -> Option<(Stream, Batch)>,
    done: &mut Done,
) -> Result<(), StoreError> {
    let has_time = || time.has_for(pace::SHORT);
    if open.is_dirty {
        if std::mem::take(&mut open.has_moved) {
            open.mirror.committed(open.store.pending()? > 0);
        }
        let sealed = open.store.seal(stamp_ms, || time.has_for(time.seal))?;
        done.sealed = sealed.entries;
        if sealed.is_partial {
            return Ok(());
        }
        (open.is_dirty, open.is_first_seal) = (false, false);
        if let Some(drained) = open.store.drain(now.wall_ms, has_time)? {
            for (id, why) in &drained.refused {
                tracing::warn!(%id, %why, "an imported entry was dropped");
            }
            open.is_dirty = drained.is_partial;
            note(open, done, drained.applied);
        }
        // The user made room for a table that peers announced, or said that the rows of his belong to it.
        open.must_apply |= open.store.has_table_come()?;
    }
    if open.must_apply && has_time() {
        let applied = open.store.apply(now.wall_ms, has_time)?;
        note(open, done, applied);
    }
    while !open.is_dirty && has_time() {
        let batches = together(next);
        if batches.is_empty() {
            break;
        }
        store(open, batches, now, has_time, done)?;
    }
    Ok(())
}

/// The batches that are stored next, in one transaction.
fn together(next: &mut dyn FnMut() -> Option<(Stream, Batch)>) -> VecDeque<(Stream, Batch)> {
    let (mut batches, mut bytes) = (VecDeque::new(), 0);
    while batches.len() < BATCHES_MAX && bytes < BATCHES_BYTES {
        let Some((stream, batch)) = next() else { break };
        bytes += batch.entries.iter().map(Vec::len).sum::<usize>();
        batches.push_back((stream, batch));
    }
    batches
}

/// What an apply left to be done.
fn note(open: &mut Open, done: &mut Done, applied: Applied) {
    done.applied += applied.entries;
    open.must_apply = applied.is_partial || applied.needs_seal;
    // Many changes of the user came in between: they are sealed first.
    open.is_dirty |= applied.needs_seal;
}

fn store(
    open: &mut Open,
    mut batches: VecDeque<(Stream, Batch)>,
    now: Now,
    has_time: impl Fn() -> bool + Copy,
    done: &mut Done,
) -> Result<(), StoreError> {
    let offered: Vec<_> =
        batches.iter().map(|(_, b)| Offered { entries: b.entries.as_slice(), cursor: b.cursor }).collect();
    match open.store.receive(&offered, now.wall_ms, has_time) {
        Ok(received) => {
            note(open, done, received.applied);
            for outcome in received.batches {
                let Some((stream, batch)) = batches.pop_front() else { break };
                let outcome = match outcome {
                    Ok(Taken { after, last, .. }) => Outcome::Durable { after, last },
                    Err(refused) => Outcome::Refused(refused),
                };
                done.stored.push((stream, batch.token, outcome));
            }
            done.put_back.extend(batches);
            Ok(())
        }
        Err(why) if is_busy(&why) => {
            done.put_back.extend(batches);
            Err(why)
        }
        // What one of them meets is no fault of the others: each for itself.
        Err(_) if batches.len() > 1 => {
            while let Some(batch) = batches.pop_front() {
                if let Err(why) = store(open, VecDeque::from([batch]), now, has_time, done) {
                    done.put_back.extend(batches);
                    return Err(why);
                }
            }
            Ok(())
        }
        Err(why) => {
            done.stored.extend(batches.into_iter().map(|(stream, batch)| (stream, batch.token, Outcome::Failed)));
            Err(why)
        }
    }
}

/// Does another process hold the file?
pub(super) fn is_busy(why: &StoreError) -> bool {
    let StoreError::Sqlite(why) = why else { return false };
    matches!(why.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}
