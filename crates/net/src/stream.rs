//! A stream as both sides of the thread border see it: its send queue and its phase.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::sync::{Notify, Semaphore, watch};

use crate::{
    CloseReason, Event, Limits, NetError, SendError, StreamId,
    frame::{HEADER_BYTES_MAX, put_header},
    limit::{FRAME_OVERHEAD_BYTES, WRITE_BLOCK_BYTES},
    queue::Queue,
    room::Room,
};

/// Where a stream stands. It only ever moves down this list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Nothing is proved: limits on bytes and time hold.
    Stranger,
    /// The caller vouches for the other side.
    Proved,
    /// Queued frames leave, none is taken any more.
    Closing,
    /// The connection is given up: nothing more is written or read.
    Aborted,
}

/// One open stream.
pub(crate) struct Stream {
    pub(crate) id: StreamId,
    pub(crate) is_dialer: bool,
    pub(crate) phase: watch::Sender<Phase>,
    /// Permits for bytes of frames that arrived and were not taken.
    pub(crate) inbound: Arc<Semaphore>,
    /// Signalled when the send queue is no longer empty.
    pub(crate) has_frames: Notify,
    outbox: Mutex<Outbox>,
}

#[derive(Default)]
struct Outbox {
    frames: VecDeque<Vec<u8>>,
    /// Cost of the queued frames and of the block being written.
    held: usize,
    /// Whether somebody was told that it is full and waits for room.
    is_awaited: bool,
    is_closed: bool,
    /// Why the stream was aborted.
    fate: Option<CloseReason>,
}

/// What all streams of a network share.
pub(crate) struct Net {
    pub(crate) limits: Limits,
    pub(crate) queue: Arc<Queue>,
    room: Room,
    streams: Mutex<Table>,
    dials: AtomicUsize,
}

#[derive(Default)]
struct Table {
    open: HashMap<StreamId, Arc<Stream>>,
    last_id: u64,
    is_stopped: bool,
}

impl Net {
    pub(crate) fn new(limits: Limits, queue: Arc<Queue>) -> Net {
        let room = Room::new(limits.budget_bytes / 2, limits.streams, limits.stream_out_bytes_max);
        Net { limits, queue, room, streams: Mutex::default(), dials: AtomicUsize::new(0) }
    }

    /// Counts a dial that begins.
    ///
    /// # Errors
    /// [`NetError::Busy`].
    pub(crate) fn dial_begins(&self) -> Result<(), NetError> {
        let max = self.limits.dials;
        let more = |under_way| if under_way < max { Some(under_way + 1) } else { None };
        match self.dials.fetch_update(Ordering::AcqRel, Ordering::Acquire, more) {
            Ok(_) => Ok(()),
            Err(_) => Err(NetError::Busy(max)),
        }
    }

    /// Counts a dial that has ended, one way or the other.
    pub(crate) fn dial_ended(&self) {
        self.dials.fetch_sub(1, Ordering::AcqRel);
    }

    /// Registers a stream; `None` where a limit is reached: streams in all, and inbound strangers.
    pub(crate) fn open(&self, is_dialer: bool) -> Option<Arc<Stream>> {
        let mut table = self.table();
        let strangers = || table.open.values().filter(|stream| stream.is_strange() && !stream.is_dialer).count();
        if table.is_stopped
            || table.open.len() >= self.limits.streams
            || (!is_dialer && strangers() >= self.limits.strangers)
        {
            return None;
        }
        table.last_id += 1;
        let stream = Arc::new(Stream {
            id: StreamId(table.last_id),
            is_dialer,
            phase: watch::Sender::new(Phase::Stranger),
            inbound: Arc::new(Semaphore::new(self.limits.stream_in_bytes_max)),
            has_frames: Notify::new(),
            outbox: Mutex::default(),
        });
        table.open.insert(stream.id, Arc::clone(&stream));
        Some(stream)
    }

    pub(crate) fn stream(&self, id: StreamId) -> Option<Arc<Stream>> {
        self.table().open.get(&id).cloned()
    }

    pub(crate) fn streams_open(&self) -> usize {
        self.table().open.len()
    }

    /// Queues a frame on a stream.
    pub(crate) fn send(&self, id: StreamId, frame: Vec<u8>) -> Result<(), SendError> {
        let max = self.limits.frame_bytes_max;
        if frame.len() > max {
            return Err(SendError::TooLong { length: frame.len(), max });
        }
        let stream = self.stream(id).ok_or(SendError::Gone)?;
        let mut outbox = stream.outbox();
        if outbox.is_closed || *stream.phase.borrow() >= Phase::Closing {
            return Err(SendError::Gone);
        }
        let cost = cost(&frame);
        if !self.room.take(&stream, outbox.held, cost) {
            outbox.is_awaited = true;
            return Err(SendError::Full);
        }
        outbox.held += cost;
        outbox.frames.push_back(frame);
        drop(outbox);
        stream.has_frames.notify_one();
        Ok(())
    }

    /// Tells the room that `bytes` have left a stream, and the caller what may be written to again.
    pub(crate) fn wrote(&self, stream: &Stream, bytes: usize) {
        let (before, after, is_writable) = {
            let mut outbox = stream.outbox();
            let before = outbox.held;
            outbox.held = before.saturating_sub(bytes);
            let is_writable = outbox.is_awaited && outbox.held <= self.room.low_water();
            outbox.is_awaited &= !is_writable;
            (before, outbox.held, is_writable)
        };
        // The room first: told that it may write, the caller should find it.
        let waited = self.room.give(before, after);
        if is_writable {
            self.queue.push(Event::Writable { stream: stream.id });
        }
        for other in waited {
            if std::mem::take(&mut other.outbox().is_awaited) {
                self.queue.push(Event::Writable { stream: other.id });
            }
        }
    }

    /// Ends a stream: nothing can be sent, its bytes are free, the caller is told.
    pub(crate) fn end(&self, stream: &Stream, why: CloseReason) {
        self.table().open.remove(&stream.id);
        self.room.forget(stream);
        let (held, fate) = {
            let mut outbox = stream.outbox();
            outbox.is_closed = true;
            outbox.is_awaited = false;
            outbox.frames.clear();
            (outbox.held, outbox.fate.take())
        };
        self.wrote(stream, held);
        self.queue.push(Event::Closed { stream: stream.id, why: fate.unwrap_or(why) });
    }

    /// Asks every stream to close; returns whether there was one.
    pub(crate) fn close_all(&self) -> bool {
        let mut table = self.table();
        table.is_stopped = true;
        for stream in table.open.values() {
            stream.advance(Phase::Closing);
        }
        !table.open.is_empty()
    }

    /// The thread has ended: no stream is left.
    pub(crate) fn stop(&self) {
        let mut table = self.table();
        table.is_stopped = true;
        table.open.clear();
    }

    fn table(&self) -> std::sync::MutexGuard<'_, Table> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stream {
    pub(crate) fn is_strange(&self) -> bool {
        *self.phase.borrow() == Phase::Stranger
    }

    /// Moves on to a later phase; an earlier one is ignored.
    pub(crate) fn advance(&self, phase: Phase) {
        self.phase.send_if_modified(|current| {
            let is_later = phase > *current;
            if is_later {
                *current = phase;
            }
            is_later
        });
    }

    /// Waits until the stream has reached a phase.
    pub(crate) async fn reached(&self, phase: Phase) {
        let mut watching = self.phase.subscribe();
        // An error would mean that the sender is gone, and it is a field of ours.
        if watching.wait_for(|current| *current >= phase).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Ends the stream here and now, for a reason that lies in its connection. Closing the connection alone
    /// would not do: yamux wakes no reader of a connection that this side closes.
    pub(crate) fn abort(&self, why: CloseReason) {
        self.outbox().fate = Some(why);
        self.advance(Phase::Aborted);
    }

    /// Moves frames from the queue into a block to write, with their lengths; returns their cost.
    pub(crate) fn gather(&self, block: &mut Vec<u8>) -> usize {
        let mut outbox = self.outbox();
        let mut cost_gathered = 0;
        while let Some(frame) = outbox.frames.front() {
            if !block.is_empty() && block.len() + HEADER_BYTES_MAX + frame.len() > WRITE_BLOCK_BYTES {
                break;
            }
            cost_gathered += cost(frame);
            put_header(frame.len(), block);
            block.extend_from_slice(frame);
            outbox.frames.pop_front();
        }
        cost_gathered
    }

    fn outbox(&self) -> std::sync::MutexGuard<'_, Outbox> {
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn cost(frame: &[u8]) -> usize {
    frame.len() + FRAME_OVERHEAD_BYTES
}
