//! How long a seal may hold the gate.
//!
//! While it does, the hosts of this process wait, and every other process waits for the write lock: a pass is short. But each pass
//! ends in a commit, and where keys lie anywhere it writes nearly every page of the records anew, however few rows it
//! sealed. So passes grow while nobody else uses the file, and the first sign of somebody makes them short again.
//!
//! It knows no clock and no host: the replica tells it what it saw.

use std::time::Duration;

/// A pass in company. Also the length of every pass that merges: rows come in atomic groups, merged whole whatever the pass.
pub const SHORT: Duration = Duration::from_millis(5);

/// The longest pass: what a host that comes back from a rest waits at worst, once.
pub const LONG: Duration = Duration::from_millis(40);

/// After a longer pass the gate stays open for this part of it. A host that waits for a mutex or for the write lock
/// has nothing to show for it yet: it needs a gap to get through, and writers of other processes poll for one.
const GAP: u32 = 20;

/// After a pass in company the gate stays open for so long: a mutex that is let go and taken again at once goes to nobody else.
const GAP_IN_COMPANY: Duration = Duration::from_millis(1);

/// The lengths of passes, one after the other.
#[derive(Debug)]
pub struct Pace {
    last: Duration,
    was_alone: bool,
}

impl Default for Pace {
    fn default() -> Self {
        Self { last: SHORT, was_alone: true }
    }
}

impl Pace {
    /// The length of the next pass, which seals; `is_alone` says that nobody else used the file since the one before.
    pub fn seal(&mut self, is_alone: bool) -> Duration {
        let last = if is_alone { (self.last * 2).min(LONG) } else { SHORT };
        (self.last, self.was_alone) = (last, is_alone);
        last
    }

    /// The same of one that merges only.
    pub fn merge(&mut self, is_alone: bool) -> Duration {
        (self.last, self.was_alone) = (SHORT, is_alone);
        SHORT
    }

    /// Somebody was in the way.
    pub fn met(&mut self) {
        self.last = SHORT;
    }

    /// How long the gate stays open after the last pass, where there is more to do; none after a short one alone.
    pub fn gap(&self) -> Option<Duration> {
        match self.was_alone {
            true => (self.last > SHORT).then(|| self.last / GAP),
            false => Some(GAP_IN_COMPANY),
        }
    }
}

#[cfg(test)]
mod tests;
