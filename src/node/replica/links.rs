//! The sessions of one database, each on a stream of the network.
//!
//! Frames that the network has no room for wait here, in order; a session is told to go on once they are gone, so what
//! waits is bounded by what a session hands out at a time.

use p2pdb_core::id::{AuthorId, Life};
use p2pdb_core::session::{Batch, Config, Input, Output, Reason, Session};
use p2pdb_net::SendError;
use std::collections::{BTreeMap, VecDeque};

use super::Open;
use super::forks::fork_of;
use crate::node::dialer::{Dialer, Origin};
use crate::node::driver::Tools;
use crate::node::swarm::{Opened, Stream};

/// Milliseconds between two ticks of the sessions.
const TICK_MS: u64 = 1_000;

/// A session and its stream.
pub(super) struct Link {
    pub(super) session: Session,
    pub(super) opened: Opened,
    outbox: VecDeque<Vec<u8>>,
    pub(super) rtt_micros: Option<u64>,
    pub(super) last_heard_wall_ms: Option<u64>,
    is_diverged: bool,
    was_established: bool,
    /// The last of the questions in [`Links::questions`] that the peer was asked.
    asked: u64,
    /// Does the peer wait for what is committed here to be sealed?
    is_waited_for: bool,
}

/// All of them.
#[derive(Default)]
pub(super) struct Links {
    links: BTreeMap<Stream, Link>,
    batches: VecDeque<(Stream, Batch)>,
    pub(super) dialer: Dialer,
    next_tick_ms: u64,
    /// Why the last session ended, where that was not somebody's leaving.
    pub(super) last_error: Option<String>,
    /// A peer asks for what is committed here: it may not be noticed yet.
    pub(super) must_seal: bool,
    /// How often all peers were to be asked for what is committed there.
    questions: u64,
    /// Forks that sessions ended by: whose, where that is known.
    pub(super) forks: Vec<Option<AuthorId>>,
    /// What the last of them said, until sessions go on.
    pub(super) fork_told: Option<String>,
    /// How far of a peer's arrival order is here, for the replica to keep at its next write.
    pub(super) cursors: Vec<(Life, u64)>,
}

impl Links {
    pub(super) fn iter(&self) -> impl Iterator<Item = &Link> {
        self.links.values()
    }

    pub(super) fn has_batches(&self) -> bool {
        !self.batches.is_empty()
    }

    pub(super) fn next_batch(&mut self) -> Option<(Stream, Batch)> {
        self.batches.pop_front()
    }

    /// A batch that could not be stored yet.
    pub(super) fn put_back(&mut self, batch: (Stream, Batch)) {
        self.batches.push_front(batch);
    }

    pub(super) fn next_tick_ms(&self) -> Option<u64> {
        (!self.links.is_empty()).then_some(self.next_tick_ms)
    }

    /// A stream is open: it gets a session.
    pub(super) fn open(&mut self, opened: Opened, open: &Open, tools: &mut Tools<'_>) {
        let identity = open.store.identity();
        let (dialer, listener) = match opened.is_dialer {
            true => (opened.local.clone(), opened.remote.clone()),
            false => (opened.remote.clone(), opened.local.clone()),
        };
        let config = Config {
            group: identity.group,
            secret: identity.secret.clone(),
            epoch: identity.epoch,
            is_dialer: opened.is_dialer,
            dialer,
            listener,
            author: identity.key.public().author(),
            features: 0,
            seed: tools.random.next(),
        };
        let (session, outputs) = Session::new(config, tools.now.mono_ms);
        let stream = opened.stream;
        let (outbox, rtt_micros, last_heard_wall_ms) = Default::default();
        let link = Link {
            session,
            opened,
            outbox,
            rtt_micros,
            last_heard_wall_ms,
            is_diverged: false,
            was_established: false,
            asked: 0,
            is_waited_for: false,
        };
        self.links.insert(stream, link);
        self.perform(stream, outputs, open, tools);
    }

    /// Is it one of ours?
    pub(super) fn has(&self, stream: Stream) -> bool {
        self.links.contains_key(&stream)
    }

    pub(super) fn heard(&mut self, stream: Stream, rtt_micros: Option<u64>, wall_ms: u64) {
        if let Some(link) = self.links.get_mut(&stream) {
            link.rtt_micros = rtt_micros.or(link.rtt_micros);
            link.last_heard_wall_ms = Some(wall_ms);
        }
    }

    /// Hands an input to one session, and does what it says.
    pub(super) fn one(&mut self, stream: Stream, input: Input<'_>, open: Option<&Open>, tools: &mut Tools<'_>) {
        let (Some(link), Some(open)) = (self.links.get_mut(&stream), open) else { return };
        match link.session.handle(input, tools.now.mono_ms, &open.store) {
            Ok(outputs) => self.perform(stream, outputs, open, tools),
            Err(why) => {
                self.last_error = Some(why.to_string());
                self.end(stream, 0, tools);
            }
        }
    }

    /// The same to all.
    pub(super) fn all(&mut self, input: Input<'_>, open: Option<&Open>, tools: &mut Tools<'_>) {
        let streams: Vec<_> = self.links.keys().copied().collect();
        for stream in streams {
            self.one(stream, input.clone(), open, tools);
        }
    }

    pub(super) fn tick(&mut self, open: Option<&Open>, tools: &mut Tools<'_>) {
        if self.links.is_empty() || self.next_tick_ms > tools.now.mono_ms {
            return;
        }
        self.next_tick_ms = tools.now.mono_ms + TICK_MS;
        self.all(Input::Tick, open, tools);
    }

    /// All peers are to be asked for what is committed there, those that are only now being reached too.
    pub(super) fn ask_all(&mut self) {
        self.questions += 1;
    }

    /// Asks those that were not asked yet.
    pub(super) fn ask(&mut self, open: Option<&Open>, tools: &mut Tools<'_>) {
        let questions = self.questions;
        let left = self.links.values_mut().filter(|l| l.was_established && l.asked < questions);
        let streams: Vec<_> = left.map(|l| (l.asked = questions, l.opened.stream).1).collect();
        for stream in streams {
            self.one(stream, Input::Ask, open, tools);
        }
    }

    /// Does a peer wait for what is committed here to be sealed?
    pub(super) fn is_waited_for(&self) -> bool {
        self.links.values().any(|l| l.is_waited_for)
    }

    /// Tells the peers that waited.
    pub(super) fn sealed(&mut self, is_held_back: bool, open: Option<&Open>, tools: &mut Tools<'_>) {
        let waiting = self.links.values_mut().filter(|l| l.is_waited_for);
        let streams: Vec<_> = waiting.map(|l| (l.is_waited_for = false, l.opened.stream).1).collect();
        for stream in streams {
            self.one(stream, Input::Sealed { is_held_back }, open, tools);
        }
    }

    /// The network has room again.
    pub(super) fn writable(&mut self, stream: Stream, open: Option<&Open>, tools: &mut Tools<'_>) {
        if let Some(open) = open {
            self.flush(stream, open, tools);
        }
    }

    fn perform(&mut self, stream: Stream, outputs: Vec<Output>, open: &Open, tools: &mut Tools<'_>) {
        let mut is_sending = false;
        for output in outputs {
            let Some(link) = self.links.get_mut(&stream) else { return };
            match output {
                Output::Send(frame) => {
                    link.outbox.push_back(frame);
                    is_sending = true;
                }
                Output::Store(batch) => self.batches.push_back((stream, batch)),
                Output::Remember(life, n) => self.cursors.push((life, n)),
                Output::Established => self.established(stream, open, tools),
                Output::Level => {}
                Output::Seal => (link.is_waited_for, self.must_seal) = (true, true),
                Output::Diverged => {
                    link.is_diverged = true;
                    tracing::error!(
                        "two replicas hold the same entries and differ; please report it with the output of p2p_verify()"
                    );
                }
                Output::Peers(addresses) => {
                    for address in addresses {
                        self.dialer.add(&address, Origin::Peer, tools.now.mono_ms);
                    }
                }
                Output::Close { reason, is_peer_at_fault } => {
                    if is_peer_at_fault || !matches!(reason, Reason::PeerLeft { .. } | Reason::Left) {
                        self.last_error = Some(format!("{}: {reason}", link.opened.address));
                    }
                    if let Some(author) = fork_of(&reason) {
                        self.forks.push(author);
                        self.fork_told = Some(reason.to_string());
                    }
                    let pause_ms = reason.pause_ms();
                    self.flush_all(stream, tools);
                    return self.end_because(stream, &reason.to_string(), pause_ms, tools);
                }
            }
        }
        if is_sending {
            self.flush(stream, open, tools);
        }
    }

    /// Sends what waits; when all of it is gone the session is asked for more.
    fn flush(&mut self, stream: Stream, open: &Open, tools: &mut Tools<'_>) {
        loop {
            if !self.flush_all(stream, tools) {
                return;
            }
            let Some(link) = self.links.get_mut(&stream) else { return };
            let outputs = match link.session.handle(Input::Writable, tools.now.mono_ms, &open.store) {
                Ok(outputs) => outputs,
                Err(why) => {
                    self.last_error = Some(why.to_string());
                    return self.end(stream, 0, tools);
                }
            };
            let (sends, others): (Vec<_>, Vec<_>) = outputs.into_iter().partition(|o| matches!(o, Output::Send(_)));
            let is_done = sends.is_empty();
            for output in sends {
                if let (Output::Send(frame), Some(link)) = (output, self.links.get_mut(&stream)) {
                    link.outbox.push_back(frame);
                }
            }
            if !others.is_empty() {
                self.perform(stream, others, open, tools);
            }
            if is_done {
                return;
            }
        }
    }

    /// True when nothing is left to send.
    fn flush_all(&mut self, stream: Stream, tools: &mut Tools<'_>) -> bool {
        let Some(link) = self.links.get_mut(&stream) else { return false };
        while let Some(frame) = link.outbox.pop_front() {
            match tools.swarm.send(stream, frame.clone()) {
                Ok(()) => {}
                Err(SendError::Full) => {
                    link.outbox.push_front(frame);
                    return false;
                }
                // Its Closed event is on the way.
                Err(SendError::Gone | SendError::TooLong { .. }) => return false,
            }
        }
        true
    }

    /// Membership is proved: of two streams to one peer the one stays that the smaller transport key dialed.
    fn established(&mut self, stream: Stream, open: &Open, tools: &mut Tools<'_>) {
        tools.swarm.promote(stream);
        let Some(link) = self.links.get_mut(&stream) else { return };
        link.was_established = true;
        let (remote, token) = (link.opened.remote.clone(), link.opened.token);
        if let Some(token) = token {
            self.dialer.reached(token, &remote);
        }
        let mut same: Vec<_> = self
            .links
            .values()
            .filter(|l| l.was_established && l.opened.remote == remote)
            .map(|l| (!l.is_dialed_by_smaller(), l.opened.stream))
            .collect();
        same.sort_unstable();
        for (_, extra) in same.into_iter().skip(1) {
            self.one(extra, Input::Leave { pause_ms: 0 }, Some(open), tools);
        }
        if self.has(stream) {
            let mut addresses: Vec<String> = tools.swarm.listening().to_vec();
            addresses.extend(self.dialer.good().map(str::to_owned));
            self.one(stream, Input::Addresses(&addresses), Some(open), tools);
        }
    }

    fn end(&mut self, stream: Stream, pause_ms: u64, tools: &mut Tools<'_>) {
        self.end_because(stream, "closed", pause_ms, tools);
    }

    /// The stream is over, or is to be.
    pub(super) fn end_because(&mut self, stream: Stream, why: &str, pause_ms: u64, tools: &mut Tools<'_>) {
        let Some(link) = self.links.remove(&stream) else { return };
        tools.swarm.close(stream, tools.now.mono_ms);
        self.batches.retain(|(s, _)| *s != stream);
        let now = tools.now.mono_ms;
        if let (Some(token), false) = (link.opened.token, link.was_established) {
            self.dialer.failed(token, why, now, tools.random.next());
        }
        let is_last = !self.links.values().any(|l| l.was_established && l.opened.remote == link.opened.remote);
        if link.was_established && is_last {
            self.dialer.parted(&link.opened.remote, pause_ms, now, tools.random.next());
        }
    }

    pub(super) fn close_all(&mut self, tools: &mut Tools<'_>) {
        let streams: Vec<_> = self.links.keys().copied().collect();
        for stream in streams {
            self.end(stream, 0, tools);
        }
    }

    pub(super) fn is_any_diverged(&self) -> bool {
        self.links.values().any(|l| l.is_diverged)
    }

    /// Is a membership proof outstanding?
    pub(super) fn is_proving(&self) -> bool {
        self.links.values().any(|l| !l.was_established)
    }
}

impl Link {
    pub(super) fn is_established(&self) -> bool {
        self.was_established
    }

    fn is_dialed_by_smaller(&self) -> bool {
        self.opened.is_dialer == (self.opened.local < self.opened.remote)
    }
}
