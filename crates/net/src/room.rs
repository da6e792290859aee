//! The process's budget for outbound frames.
//!
//! The one idea: half of the budget is divided, so that each stream has a small share whatever the others
//! hold; the other half is for those who need more, each up to a quarter of what is free of it then (dynamic
//! thresholds, Choudhury and Hahne 1998). A few peers who do not read can keep others from sending much at
//! once, and no number of them from sending.

use std::sync::{Arc, Mutex, PoisonError};

use crate::stream::Stream;

/// Queued bytes of all streams, and who waits for less.
pub(crate) struct Room {
    /// Bytes beyond their shares that all streams may hold.
    common: usize,
    /// Bytes that each stream may hold whatever the others do.
    share: usize,
    stream_max: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    used: usize,
    waiting: Vec<Arc<Stream>>,
}

impl Room {
    /// Room of `max` bytes for so many streams, of which each takes at most `stream_max`.
    pub(crate) fn new(max: usize, streams: usize, stream_max: usize) -> Room {
        Room { common: max - max / 2, share: max / 2 / streams.max(1), stream_max, state: Mutex::default() }
    }

    /// Takes `cost` bytes for a stream that holds `held`, or says no. A stream that holds nothing gets one
    /// frame of any length unless that is more than half of what is free; where even this is refused no
    /// frame of its own will make room, so it is told when others have.
    pub(crate) fn take(&self, stream: &Arc<Stream>, held: usize, cost: usize) -> bool {
        let mut state = self.lock();
        let free = self.common.saturating_sub(state.used);
        let (before, after) = (self.beyond(held), self.beyond(held + cost));
        let is_modest = held + cost <= self.stream_max && after <= free / 4;
        let fits = after == 0 || is_modest || (held == 0 && after <= free / 2);
        if fits {
            state.used += after - before;
        } else if held == 0 && !state.waiting.iter().any(|other| other.id == stream.id) {
            state.waiting.push(Arc::clone(stream));
        }
        fits
    }

    /// Takes note that a stream that held `before` holds `after` now, and returns the streams that had
    /// waited for it.
    pub(crate) fn give(&self, before: usize, after: usize) -> Vec<Arc<Stream>> {
        let given = self.beyond(before) - self.beyond(after);
        if given == 0 {
            return Vec::new();
        }
        let mut state = self.lock();
        state.used = state.used.saturating_sub(given);
        std::mem::take(&mut state.waiting)
    }

    /// Held bytes at which a stream that was refused should try again.
    pub(crate) fn low_water(&self) -> usize {
        self.stream_max / 2
    }

    /// A stream that is closing waits for nothing.
    pub(crate) fn forget(&self, stream: &Stream) {
        self.lock().waiting.retain(|other| other.id != stream.id);
    }

    fn beyond(&self, held: usize) -> usize {
        held.saturating_sub(self.share)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
