//! The process's budget for outbound frames.
//!
//! The one idea: a stream may queue an eighth of what is still free, up to its own limit (dynamic thresholds,
//! Choudhury and Hahne 1998). However many peers are slow, their queues shrink before they fill the budget, and
//! a stream to a quick one always finds room.

use std::sync::{Arc, Mutex, PoisonError};

use crate::stream::Stream;

/// Queued bytes of all streams, and who waits for less.
pub(crate) struct Room {
    max: usize,
    stream_max: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    used: usize,
    waiting: Vec<Arc<Stream>>,
}

impl Room {
    pub(crate) fn new(max: usize, stream_max: usize) -> Room {
        Room { max, stream_max, state: Mutex::default() }
    }

    /// Takes `cost` bytes for a stream that holds `held`, or says no. A stream that holds nothing gets one
    /// frame of any length unless that is more than half of what is free; where even this is refused no
    /// frame of its own will make room, so it is told when others have.
    pub(crate) fn take(&self, stream: &Arc<Stream>, held: usize, cost: usize) -> bool {
        let mut state = self.lock();
        let free = self.max.saturating_sub(state.used);
        let fits = held + cost <= self.stream_max.min(free / 8) || (held == 0 && cost <= free / 2);
        if fits {
            state.used += cost;
        } else if held == 0 && !state.waiting.iter().any(|other| other.id == stream.id) {
            state.waiting.push(Arc::clone(stream));
        }
        fits
    }

    /// Gives bytes back, and returns the streams that had waited for it.
    pub(crate) fn give(&self, bytes: usize) -> Vec<Arc<Stream>> {
        let mut state = self.lock();
        state.used = state.used.saturating_sub(bytes);
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

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
