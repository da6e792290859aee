//! When a database is looked through for rows that were changed past the triggers.
//!
//! Once after it was opened; whenever somebody committed and left no marker, which may have been another table, or a blob
//! written in place; and again after something was found. Where a commit left markers another may stand beside it that left
//! none: then too, but seldom. A pass goes in steps of milliseconds while there is nothing else to do, and all passes
//! together take at most a fiftieth of the time: a host that writes tables which nobody tracks must not pay for it.

use rustix::time::{ClockId, clock_gettime};
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
/// The same two where no more is known than that somebody committed.
const SELDOM_MS: u64 = 60_000;
const SELDOM_TIMES: u32 = 500;
/// Milliseconds until the next try where a pass failed.
const RETRY_MS: u64 = 60_000;

/// The look-out of one database.
#[derive(Debug)]
pub(super) struct Mirror {
    /// Is there reason for a pass?
    is_due: bool,
    /// Did anybody commit since the last pass began?
    is_stale: bool,
    /// The pass under way.
    pass: Option<Pass>,
    /// What it took of a processor so far.
    spent: Duration,
    /// When the next step may be taken, on the monotone clock.
    next_ms: u64,
    /// When the next pass may begin without a reason.
    seldom_ms: u64,
}

impl Default for Mirror {
    /// Of a file that was opened just now: what was written before is not known.
    fn default() -> Self {
        Self { is_due: true, is_stale: true, pass: None, spent: Duration::ZERO, next_ms: 0, seldom_ms: 0 }
    }
}

impl Mirror {
    /// Somebody committed; `left_markers` says whether there is something to seal.
    pub(super) fn committed(&mut self, left_markers: bool) {
        (self.is_due, self.is_stale) = (self.is_due || !left_markers, true);
    }

    fn begin(&mut self) -> Pass {
        (self.is_due, self.is_stale) = (false, false);
        Pass::default()
    }

    fn end(&mut self, now_ms: u64) {
        let pause = |times: u32, least_ms: u64| now_ms + ((self.spent * times).as_millis() as u64).max(least_ms);
        (self.next_ms, self.seldom_ms) = (pause(PASSES_TIMES, PASSES_MS), pause(SELDOM_TIMES, SELDOM_MS));
        (self.pass, self.spent) = (None, Duration::ZERO);
    }

    /// When there is a step to be taken; none where there is no reason for one.
    fn next_ms(&self) -> Option<u64> {
        match self {
            Self { pass: Some(_), .. } | Self { is_due: true, .. } => Some(self.next_ms),
            Self { is_stale: true, .. } => Some(self.seldom_ms),
            Self { .. } => None,
        }
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
        let mut pass = open.mirror.pass.take().unwrap_or_else(|| open.mirror.begin());
        let before = processor_time();
        let outcome = step(open, &mut pass, gate);
        // Not by the clock on the wall: a moment in which the machine stood still is no reason to rest for fifty of them.
        open.mirror.spent += processor_time().saturating_sub(before);
        match outcome {
            Ok(Ok(is_over)) => {
                open.mirror.next_ms = now_ms + STEPS_MS;
                match is_over {
                    true => open.mirror.end(now_ms),
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
        let is_idle = !open.is_dirty && !open.must_apply && !self.links.has_batches();
        open.mirror.next_ms().filter(|_| is_idle).map(|at| at.max(self.trouble.gate_ms))
    }
}

/// What this thread has taken of a processor.
fn processor_time() -> Duration {
    clock_gettime(ClockId::ThreadCPUTime).try_into().unwrap_or_default()
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
                // What was written past the triggers meanwhile may hide behind these markers.
                (open.is_dirty, open.mirror.is_due) = (true, true);
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A look-out whose first pass is over, after so long.
    fn looked(spent_ms: u64) -> Mirror {
        let mut mirror = Mirror::default();
        assert_eq!(mirror.next_ms(), Some(0));
        mirror.begin();
        mirror.spent = Duration::from_millis(spent_ms);
        mirror.end(1_000);
        mirror
    }

    #[test]
    fn a_commit_without_a_marker_is_followed_by_a_pass_and_one_with_markers_by_one_later() {
        let mut mirror = looked(1);
        assert_eq!(mirror.next_ms(), None);
        mirror.committed(true);
        assert_eq!(mirror.next_ms(), Some(1_000 + SELDOM_MS));
        // Whatever is committed beside it.
        mirror.committed(false);
        mirror.committed(true);
        assert_eq!(mirror.next_ms(), Some(1_000 + PASSES_MS));
        mirror.begin();
        assert_eq!(mirror.next_ms(), None);
    }

    #[test]
    fn passes_keep_to_their_share_of_the_time() {
        let mut mirror = looked(10_000);
        mirror.committed(true);
        assert_eq!(mirror.next_ms(), Some(1_000 + 10_000 * u64::from(SELDOM_TIMES)));
        mirror.committed(false);
        assert_eq!(mirror.next_ms(), Some(1_000 + 10_000 * u64::from(PASSES_TIMES)));
    }

    #[test]
    fn what_is_committed_under_a_pass_asks_for_another() {
        let mut mirror = looked(1);
        mirror.committed(false);
        mirror.pass = Some(mirror.begin());
        mirror.committed(false);
        mirror.end(5_000);
        assert_eq!(mirror.next_ms(), Some(5_000 + PASSES_MS));
    }
}
