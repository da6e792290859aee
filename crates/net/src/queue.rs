//! The events on their way to the caller.
//!
//! The one idea: a queued frame carries the permits that its bytes took, one from its stream and one from the
//! process. Taking the event gives them back, which lets the reader of that stream go on; nothing else counts.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{Event, limit, process::InThisProcess, thread::Bell};

/// What the bytes of a frame were charged to.
pub(crate) struct Charge {
    _stream: OwnedSemaphorePermit,
    _process: OwnedSemaphorePermit,
}

/// The queue, its bell, and the process's budget for inbound frames.
pub(crate) struct Queue {
    waiting: Mutex<VecDeque<(Event, Option<Charge>)>>,
    is_closed: AtomicBool,
    bell: Bell,
    small: Arc<Semaphore>,
    large: Arc<Semaphore>,
}

impl Queue {
    pub(crate) fn new(budget_bytes: usize, bell: Bell) -> Queue {
        Queue {
            waiting: Mutex::default(),
            is_closed: AtomicBool::new(false),
            bell,
            small: Arc::new(Semaphore::new(budget_bytes / 2)),
            large: Arc::new(Semaphore::new(budget_bytes / 2)),
        }
    }

    /// Queues an event and rings.
    pub(crate) fn push(&self, event: Event) {
        self.push_charged(event, None);
    }

    /// Queues an event that may be forgone: not where the caller is far behind.
    pub(crate) fn push_optional(&self, event: Event) {
        if !self.is_crowded() {
            self.push(event);
        }
    }

    /// Queues a frame with what it was charged to.
    pub(crate) fn push_frame(&self, event: Event, charge: Charge) {
        self.push_charged(event, Some(charge));
    }

    /// Whether the caller is so far behind that nothing new should be let in.
    pub(crate) fn is_crowded(&self) -> bool {
        self.lock().len() >= limit::EVENTS_CROWDED
    }

    /// Nothing is queued from now on: the caller is gone, or the last event is in.
    pub(crate) fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
    }

    /// Waits until a frame of `length` bytes fits into what its stream and the process may hold. The whole
    /// length is reserved before its first byte is read (memory is not): readers that each hold a part and
    /// wait for the rest would wait for each other.
    pub(crate) async fn charge(&self, stream: &Arc<Semaphore>, length: usize) -> Charge {
        let pool = if length <= limit::SMALL_FRAME_BYTES_MAX { &self.small } else { &self.large };
        let bytes = u32::try_from(length + limit::FRAME_OVERHEAD_BYTES).unwrap_or(u32::MAX);
        let of_stream = Arc::clone(stream).acquire_many_owned(bytes).await;
        let of_process = Arc::clone(pool).acquire_many_owned(bytes).await;
        match (of_stream, of_process) {
            (Ok(of_stream), Ok(of_process)) => Charge { _stream: of_stream, _process: of_process },
            // Neither is ever closed.
            _ => std::future::pending().await,
        }
    }

    fn push_charged(&self, event: Event, charge: Option<Charge>) {
        if self.is_closed.load(Ordering::Acquire) {
            return;
        }
        self.lock().push_back((event, charge));
        // Outside the lock: the bell is the caller's code, and may drain the queue then and there.
        (self.bell)();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<(Event, Option<Charge>)>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The caller's end of the queue. Dropped, events are no longer collected.
pub struct Events {
    queue: InThisProcess<Arc<Queue>>,
}

impl Events {
    pub(crate) fn new(queue: Arc<Queue>) -> Events {
        Events { queue: InThisProcess::new(queue) }
    }

    /// The next event; `None` when there is none yet, and in a forked child. Each ring of the bell may stand
    /// for several: drain until `None`.
    pub fn try_recv(&mut self) -> Option<Event> {
        let queue = self.queue.here()?;
        // In two steps, so that the permits go back after the lock is free.
        let taken = queue.lock().pop_front();
        taken.map(|(event, _)| event)
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        if let Some(queue) = self.queue.here() {
            queue.close();
            queue.lock().clear();
        }
    }
}
