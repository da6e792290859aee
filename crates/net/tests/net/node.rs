//! One network under test, with its events in hand.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        mpsc::{Receiver, channel},
    },
    time::{Duration, Instant},
};

use p2pdb_net::{CloseReason, Config, Event, Events, Handle, Limits, StreamId, start};

/// Far longer than anything here takes on a loaded machine; only a failing test waits for it.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

pub(crate) struct Node {
    pub(crate) handle: Handle,
    pub(crate) events: Events,
    rung: Receiver<()>,
    kept: VecDeque<Event>,
}

impl Node {
    pub(crate) fn start(limits: Limits) -> Node {
        let (ring, rung) = channel();
        let bell = Arc::new(move || ring.send(()).unwrap_or(()));
        let (handle, events) = start(Config { seed: None, limits }, bell).unwrap();
        Node { handle, events, rung, kept: VecDeque::new() }
    }

    /// Listens on loopback and returns the address.
    pub(crate) fn listen(&mut self) -> String {
        self.handle.listen("127.0.0.1:0").unwrap();
        self.wait("listening", |event| match event {
            Event::Listening { address } => Some(address.clone()),
            _ => None,
        })
    }

    /// Waits for the first event that `pick` accepts and removes it; the others are kept in order.
    pub(crate) fn wait<T>(&mut self, what: &str, pick: impl Fn(&Event) -> Option<T>) -> T {
        let deadline = Instant::now() + DEADLINE;
        let mut looked_at = 0;
        loop {
            while let Some(event) = self.events.try_recv() {
                self.kept.push_back(event);
            }
            for at in looked_at..self.kept.len() {
                if let Some(found) = pick(&self.kept[at]) {
                    self.kept.remove(at);
                    return found;
                }
            }
            looked_at = self.kept.len();
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(self.rung.recv_timeout(left).is_ok(), "waited for {what} in vain; events: {:.2000?}", self.kept);
        }
    }

    /// Waits until some event has come, without taking any.
    pub(crate) fn wait_ring(&self) {
        self.rung.recv_timeout(DEADLINE).unwrap();
    }

    /// Forgets the rings so far.
    pub(crate) fn forget_rings(&self) {
        while self.rung.try_recv().is_ok() {}
    }

    /// Whether the stream becomes writable within that time.
    pub(crate) fn is_writable_soon(&mut self, which: StreamId, time: Duration) -> bool {
        let deadline = Instant::now() + time;
        let is_meant = |event: &Event| matches!(event, Event::Writable { stream } if *stream == which);
        loop {
            while let Some(event) = self.events.try_recv() {
                self.kept.push_back(event);
            }
            if let Some(at) = self.kept.iter().position(is_meant) {
                self.kept.remove(at);
                return true;
            }
            if self.rung.recv_timeout(deadline.saturating_duration_since(Instant::now())).is_err() {
                return false;
            }
        }
    }

    pub(crate) fn opened(&mut self) -> StreamId {
        self.wait("an open stream", |event| match event {
            Event::Opened { stream, .. } => Some(*stream),
            _ => None,
        })
    }

    pub(crate) fn frame(&mut self, on: StreamId) -> Vec<u8> {
        self.wait("a frame", |event| match event {
            Event::Frame { stream, frame } if *stream == on => Some(frame.clone()),
            _ => None,
        })
    }

    pub(crate) fn closed(&mut self, which: StreamId) -> CloseReason {
        self.wait("a close", |event| match event {
            Event::Closed { stream, why } if *stream == which => Some(why.clone()),
            _ => None,
        })
    }

    pub(crate) fn writable(&mut self, which: StreamId) {
        self.wait("room to write", |event| match event {
            Event::Writable { stream } if *stream == which => Some(()),
            _ => None,
        });
    }

    pub(crate) fn dial_failed(&mut self, of: u64) -> p2pdb_net::DialFailure {
        self.wait("a failed dial", |event| match event {
            Event::DialFailed { token, why } if *token == of => Some(why.clone()),
            _ => None,
        })
    }

    /// Takes what is there and counts what `is_meant` accepts.
    pub(crate) fn count(&mut self, is_meant: impl Fn(&Event) -> bool) -> usize {
        while let Some(event) = self.events.try_recv() {
            self.kept.push_back(event);
        }
        self.kept.iter().filter(|event| is_meant(event)).count()
    }
}

/// A dials B. Returns both ends of the stream, still strangers.
pub(crate) fn join(a: &mut Node, b: &mut Node, address: &str) -> (StreamId, StreamId) {
    a.handle.dial(address, 1).unwrap();
    (a.opened(), b.opened())
}

/// A dials B, and each vouches for the other.
pub(crate) fn join_proved(a: &mut Node, b: &mut Node, address: &str) -> (StreamId, StreamId) {
    let (at_a, at_b) = join(a, b, address);
    a.handle.promote(at_a);
    b.handle.promote(at_b);
    (at_a, at_b)
}
