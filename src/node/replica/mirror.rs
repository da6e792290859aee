//! When a database is looked through for rows that were changed past the triggers.
//!
//! Once after it was opened, and whenever somebody committed and left no marker: that may have been another table, or a
//! blob written in place. A pass goes in steps of milliseconds while there is nothing else to do, and all passes
//! together take at most a fiftieth of the time: a host that writes tables which nobody tracks must not pay for it.

use std::time::{Duration, Instant};

use super::{Open, Replica, work};
use crate::node::driver::Tools;
use crate::node::{Busy, Gate};
use crate::store::{Pass, StoreError};

/// How long one step reads.
const STEP: Duration = Duration::from_millis(5);
/// Milliseconds between two steps of a pass.
const STEPS_MS: u64 = 20;
/// Milliseconds between two passes, at least.
const PASSES_MS: u64 = 1_000;
/// The time between two passes, in times of what the one before took.
const PASSES_TIMES: u32 = 50;
/// Milliseconds until the next try where a pass failed.
const RETRY_MS: u64 = 60_000;

/// The look-out of one database.
#[derive(Debug, Default)]
pub(super) struct Mirror {
    /// Is there reason for a pass?
    is_due: bool,
    /// The pass under way.
    pass: Option<Pass>,
    /// What it took so far.
    spent: Duration,
    /// When the next step may be taken, on the monotone clock.
    next_ms: u64,
}

impl Mirror {
    /// Something was committed that left no marker.
    pub(super) fn suspect(&mut self) {
        self.is_due = true;
    }

    fn is_over(&mut self, now_ms: u64) {
        let pause = (self.spent * PASSES_TIMES).as_millis() as u64;
        (self.pass, self.spent, self.next_ms) = (None, Duration::ZERO, now_ms + pause.max(PASSES_MS));
    }
}

impl Replica {
    /// Takes the next step of a pass, if one is due.
    pub(super) fn look_through(&mut self, tools: &mut Tools<'_>) {
        let now_ms = tools.now.mono_ms;
        if self.next_step_ms().is_none_or(|at| at > now_ms) {
            return;
        }
        let gate = &*self.shared.gate;
        let Some(open) = &mut self.open else { return };
        let mut pass = open.mirror.pass.take().unwrap_or_else(|| {
            open.mirror.is_due = false;
            Pass::default()
        });
        let begun = Instant::now();
        let outcome = step(open, &mut pass, gate);
        open.mirror.spent += begun.elapsed();
        match outcome {
            Ok(Ok(is_over)) => {
                open.mirror.next_ms = now_ms + STEPS_MS;
                match is_over {
                    true => open.mirror.is_over(now_ms),
                    false => open.mirror.pass = Some(pass),
                }
            }
            Ok(Err(why)) if !work::is_busy(&why) => {
                tracing::warn!(database = %self.shared.database.display(), %why, "rows can't be compared with their records");
                (open.mirror.pass, open.mirror.is_due, open.mirror.next_ms) = (None, true, now_ms + RETRY_MS);
            }
            Ok(Err(_)) | Err(_) => {
                open.mirror.next_ms = now_ms + STEPS_MS;
                open.mirror.pass = Some(pass);
            }
        }
    }

    /// When the next step may be taken; none where there is no reason for one, or other work comes first.
    pub(super) fn next_step_ms(&self) -> Option<u64> {
        let open = self.open.as_ref()?;
        let is_wanted = open.mirror.is_due || open.mirror.pass.is_some();
        let is_idle = !open.is_dirty && !open.must_apply && !self.links.has_batches();
        (is_wanted && is_idle).then_some(open.mirror.next_ms.max(self.trouble.gate_ms))
    }
}

/// One step: reading, and marking what was found. True if the pass is over.
fn step(open: &mut Open, pass: &mut Pass, gate: &dyn Gate) -> Result<Result<bool, StoreError>, Busy> {
    let mut is_over = Ok(false);
    // A reader harms nobody in WAL mode; else it may have a host's COMMIT fail.
    if is_wal(open) {
        is_over = look(open, pass);
    } else {
        gate.enter(&mut |_| is_over = look(open, pass))?;
    }
    if is_over.is_ok() && pass.has_found() {
        let mut marked = Ok(0);
        gate.enter(&mut |_| marked = open.store.mark_found(pass))?;
        match marked {
            Ok(rows) => {
                tracing::info!(rows, "rows were changed past the triggers, and are sealed now");
                open.is_dirty = true;
            }
            Err(why) => is_over = Err(why),
        }
    }
    Ok(is_over)
}

fn look(open: &mut Open, pass: &mut Pass) -> Result<bool, StoreError> {
    // What was found and could not be marked yet comes first.
    if pass.has_found() {
        return Ok(false);
    }
    let begun = Instant::now();
    open.store.look_through(pass, || begun.elapsed() < STEP)
}

fn is_wal(open: &Open) -> bool {
    let mode = open.store.connection().query_row("PRAGMA journal_mode", [], |row| row.get::<_, String>(0));
    mode.is_ok_and(|mode| mode.eq_ignore_ascii_case("wal"))
}
