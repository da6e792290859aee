//! Writing through the gate: what the user committed is sealed first, then what peers sent is stored and merged.
//!
//! Each pass through the gate is a few milliseconds and one fsync, so that a host that wants to write waits no
//! longer than that.

use p2pdb_core::session::{Batch, Input, Outcome};
use p2pdb_net::StreamId;
use rusqlite::ErrorCode;
use std::time::{Duration, Instant};

use super::{Open, Replica, stamp_ms};
use crate::node::driver::{Now, Tools};
use crate::node::{Busy, Gate};
use crate::store::StoreError;

/// How long one pass may hold the gate, the last fsync aside.
const PASS: Duration = Duration::from_millis(5);
/// Passes in one turn: then the sessions get theirs.
const PASSES_MAX: usize = 16;
/// Knocks at the gate before a pass is put off by milliseconds: a host that reads in a tight loop is in a statement nine
/// tenths of its time, and leaves gaps of microseconds that a single knock seldom meets.
const KNOCKS: usize = 24;
/// Between two knocks; the system makes about a tenth of a millisecond of it.
const KNOCK_PAUSE: Duration = Duration::from_micros(40);

/// What a pass did.
#[derive(Default)]
struct Done {
    sealed: usize,
    applied: usize,
    stored: Vec<(StreamId, u64, Outcome)>,
    failure: Option<StoreError>,
}

impl Replica {
    pub(super) fn work(&mut self, tools: &mut Tools<'_>) {
        for _ in 0..PASSES_MAX {
            let is_dirty = self.open.as_ref().is_some_and(|o| o.is_dirty);
            let has_work = is_dirty || self.links.has_batches() || !self.links.cursors.is_empty();
            if !has_work || self.trouble.gate_ms > tools.now.mono_ms {
                return;
            }
            let Some(done) = self.pass(tools.now) else { return };
            self.is_our_turn();
            if !self.report(done, tools) {
                return;
            }
        }
    }

    /// One pass through the gate; none if it is not our turn.
    fn pass(&mut self, now: Now) -> Option<Done> {
        let open = self.open.as_mut()?;
        let (links, database) = (&mut self.links, &self.shared.database);
        let mut done = Done::default();
        let entered = knock(&*self.shared.gate, &mut || {
            let end = Instant::now() + PASS;
            let cursors = std::mem::take(&mut links.cursors);
            let mut next = || links.next_batch();
            if let Err(why) = open.store.remember_all(&cursors) {
                done.failure = Some(why);
                return;
            }
            done = run(open, stamp_ms(now, open, database), now, end, &mut next);
        });
        match entered {
            Ok(()) => {
                open.worked_ms = Some(now.mono_ms);
                Some(done)
            }
            Err(busy) => {
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
        for (stream, token, outcome) in done.stored {
            self.links.one(stream, Input::Stored { token, outcome }, self.open.as_ref(), tools);
        }
        match done.failure {
            None => {
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
fn knock(gate: &dyn Gate, work: &mut dyn FnMut()) -> Result<(), Busy> {
    for _ in 1..KNOCKS {
        match gate.enter(work) {
            Ok(()) => return Ok(()),
            // Another process holds the file: it does not leave gaps so short.
            Err(busy @ Busy::OtherProcess) => return Err(busy),
            Err(_) => std::thread::sleep(KNOCK_PAUSE),
        }
    }
    gate.enter(work)
}

fn run(
    open: &mut Open,
    stamp_ms: u64,
    now: Now,
    end: Instant,
    next: &mut dyn FnMut() -> Option<(StreamId, Batch)>,
) -> Done {
    let mut done = Done::default();
    let has_time = || Instant::now() < end;
    if open.is_dirty {
        if let Err(why) = open.store.tend() {
            return Done { failure: Some(why), ..done };
        }
        match open.store.seal(stamp_ms, has_time) {
            Ok(sealed) => {
                done.sealed = sealed.entries;
                open.is_dirty = sealed.is_partial;
                open.is_first_seal = sealed.is_partial && open.is_first_seal;
            }
            Err(why) => return Done { failure: Some(why), ..done },
        }
        match open.store.catch_up(now.wall_ms) {
            Ok(applied) => done.applied += applied,
            Err(why) => return Done { failure: Some(why), ..done },
        }
    }
    // Nothing is merged over a local edit that is not sealed.
    while !open.is_dirty && has_time() {
        let Some((stream, batch)) = next() else { break };
        match store(open, &batch, now) {
            Ok((outcome, applied)) => {
                done.applied += applied;
                done.stored.push((stream, batch.token, outcome));
            }
            Err(why) => {
                done.stored.push((stream, batch.token, Outcome::Failed));
                done.failure = Some(why);
                break;
            }
        }
    }
    done
}

fn store(open: &mut Open, batch: &Batch, now: Now) -> Result<(Outcome, usize), StoreError> {
    let entries: Vec<&[u8]> = batch.entries.iter().map(Vec::as_slice).collect();
    match open.store.receive(&entries, batch.cursor, now.wall_ms) {
        Ok(received) => Ok((Outcome::Durable { after: received.after, last: received.last }, received.applied)),
        Err(StoreError::Refused(refused)) => Ok((Outcome::Refused(refused), 0)),
        Err(why) => Err(why),
    }
}

fn is_busy(why: &StoreError) -> bool {
    let StoreError::Sqlite(why) = why else { return false };
    matches!(why.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}
