//! The sync session: one a connection and group, without input or output of its own.
//!
//! The idea: both sides say what they hold (STATE), each streams at once what the other lacks, and goes on streaming
//! whatever arrives. What is sent is bounded by what the other has stored durably (ACK), so a slow peer costs nobody
//! memory: the log on disk is the queue. A digest now and then finds what was missed, whatever the cause.
//!
//! ```text
//! dialer                          listener
//!   HELLO (tag, proof)  ─────────►            nothing is sent or believed before the proof
//!             ◄─────────  HELLO (proof) STATE
//!   STATE [ENTRIES …]   ─────────►
//!             ◄─────────  [ENTRIES …]         then both ways: ENTRIES, ACK, DIGEST, SYNC
//! ```
//!
//! It does not know sockets, clocks or SQL: frames, the time and a [`Log`] are handed in, what is to be done comes out.
//!
//! ```
//! # use p2pdb_core::{id::*, key::*, log::*, session::*};
//! # struct Empty(Life);
//! # impl Log for Empty {
//! #     type Error = std::convert::Infallible;
//! #     fn frontier(&self) -> Result<Vec<Head>, Self::Error> { Ok(Vec::new()) }
//! #     fn life(&self) -> Life { self.0 }
//! #     fn last_arrival(&self) -> Result<u64, Self::Error> { Ok(0) }
//! #     fn arrivals_after(&self, _: u64, _: usize) -> Result<Vec<LogEntry>, Self::Error> { Ok(Vec::new()) }
//! #     fn entries(&self, _: &AuthorId, _: Seq, _: usize) -> Result<Vec<LogEntry>, Self::Error> { Ok(Vec::new()) }
//! #     fn cursor(&self, _: &Life) -> Result<Option<u64>, Self::Error> { Ok(None) }
//! #     fn digest(&self) -> Result<Digest, Self::Error> { Ok(Digest::default()) }
//! #     fn withheld_root(&self) -> Result<[u8; 16], Self::Error> { Ok([0; 16]) }
//! #     fn schema_hash(&self) -> Result<[u8; 16], Self::Error> { Ok([0; 16]) }
//! # }
//! let config = |is_dialer| Config {
//!     group: GroupId([1; 16]), secret: Secret([2; 32]), epoch: 0, is_dialer,
//!     dialer: b"dialer's transport key".to_vec(), listener: b"listener's".to_vec(),
//!     author: AuthorId([u8::from(is_dialer); 16]), features: 0, seed: 7,
//! };
//! let (mut dialer, first) = Session::new(config(true), 0);
//! let (mut listener, nothing) = Session::new(config(false), 0);
//! assert!(nothing.is_empty());
//! let (left, right) = (Empty(Life([3; 16])), Empty(Life([4; 16])));
//! let mut to_listener = first;
//! let mut is_level = false;
//! while !to_listener.is_empty() {
//!     let mut to_dialer = Vec::new();
//!     for output in to_listener.drain(..) {
//!         if let Output::Send(frame) = output { to_dialer.extend(listener.handle(Input::Frame(&frame), 1, &right)?); }
//!     }
//!     for output in to_dialer {
//!         if let Output::Send(frame) = output { to_listener.extend(dialer.handle(Input::Frame(&frame), 1, &left)?); }
//!     }
//!     is_level |= to_listener.contains(&Output::Level);
//! }
//! assert!(is_level);
//! # Ok::<(), std::convert::Infallible>(())
//! ```

use crate::chain::Refused;
use crate::id::{AuthorId, GroupId, Life, Seq};
use crate::key::Secret;
use crate::limit;
use crate::log::{Head, Log, Root, frontier_root};
use crate::message::hello::Ends;
use crate::message::{Bye, Hello, Message, Summary};

mod catch_up;
mod exchange;
mod outgoing;
mod peer;
mod reason;
mod sync;

pub use crate::message::find_group;
pub use reason::Reason;

use outgoing::Outgoing;
use peer::Peer;
use std::collections::VecDeque;
use sync::Syncs;

/// What a session must be told at its start.
#[derive(Clone, Debug)]
pub struct Config {
    /// The group.
    pub group: GroupId,
    /// Its secret.
    pub secret: Secret,
    /// The secret's epoch.
    pub epoch: u32,
    /// Did this side dial?
    pub is_dialer: bool,
    /// The dialer's transport key, as the transport authenticated it.
    pub dialer: Vec<u8>,
    /// The listener's.
    pub listener: Vec<u8>,
    /// This side's author.
    pub author: AuthorId,
    /// Feature bits on offer.
    pub features: u64,
    /// Any random number; spreads the digests of many sessions over time.
    pub seed: u64,
}

/// What happens to a session.
#[derive(Clone, Debug)]
pub enum Input<'a> {
    /// A frame came, without its length prefix.
    Frame(&'a [u8]),
    /// Durable entries are in the log that were not before: local commits, or another peer's.
    LogGrew,
    /// A batch delivered by [`Output::Store`] is done with. Batches are answered in the order they came.
    Stored {
        /// [`Batch::token`].
        token: u64,
        /// What became of it.
        outcome: Outcome,
    },
    /// Everything handed out by [`Output::Send`] is written: more is welcome. Without it entries stop after
    /// [`limit::UNWRITTEN_BYTES_MAX`] bytes.
    Writable,
    /// Time went by; once a second is enough.
    Tick,
    /// Addresses of members, to be told to the peer.
    Addresses(&'a [String]),
    /// Ask the peer for all that is committed there: see [`Status::is_answered`].
    Ask,
    /// Answers [`Output::Seal`]: what was committed then is sealed and in the log.
    Sealed {
        /// Or not: something may be committed that can't be sealed at the moment.
        is_held_back: bool,
    },
    /// Say goodbye: we leave, and come back in so many milliseconds at the earliest.
    Leave {
        /// Milliseconds.
        pause_ms: u64,
    },
}

/// What became of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is durable, and so is its cursor. Its fresh entries got the arrival numbers after `after`, up to `last`; with none
    /// fresh both are the last arrival.
    Durable {
        /// The last arrival number before.
        after: u64,
        /// The last arrival number now.
        last: u64,
    },
    /// It breaks a rule; nothing of it is kept.
    Refused(Refused),
    /// The store failed; nothing of it is kept.
    Failed,
}

/// What is to be done, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send a frame.
    Send(Vec<u8>),
    /// Check, store and merge a batch in one durable transaction, then say [`Input::Stored`].
    Store(Batch),
    /// Remember that everything of that life's arrival order up to that number is here; 0 forgets it. It may be lost.
    Remember(Life, u64),
    /// The other side has proved that it is a member.
    Established,
    /// Both sides hold the same entries now.
    Level,
    /// Both sides hold the same entries and merged the same ones, to different states: a bug, to be reported.
    Diverged,
    /// Addresses of other members, as the peer says.
    Peers(Vec<String>),
    /// The peer asks for all that is committed here: seal it, then say [`Input::Sealed`].
    Seal,
    /// The session is over: close its stream once what was sent before is written.
    Close {
        /// Why.
        reason: Reason,
        /// Did the peer break a rule?
        is_peer_at_fault: bool,
    },
}

/// Entries that a peer sent, not checked yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Comes back in [`Input::Stored`].
    pub token: u64,
    /// Whole entries, at most [`limit::BATCH_ENTRIES_MAX`].
    pub entries: Vec<Vec<u8>>,
    /// To be remembered in the same transaction (see [`Output::Remember`]), if there is something to be.
    pub cursor: Option<(Life, u64)>,
}

/// What a session says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Status {
    /// Is the peer a proven member?
    pub is_established: bool,
    /// The peer's author, once it said.
    pub author: Option<AuthorId>,
    /// Do both hold the same entries, as far as is known?
    pub is_level: bool,
    /// Entries that the peer holds and we don't, as far as is known.
    pub behind: u64,
    /// Entries that we hold and the peer doesn't, as far as is known.
    pub ahead: u64,
    /// Is all here, stored or on its way into the store, that was committed at the peer when it was last asked (see
    /// [`Input::Ask`])? True as well where it was never asked.
    pub is_answered: bool,
    /// Did its last answer say that something may be committed there that can't be sealed at the moment?
    pub is_held_back: bool,
    /// The outcome of the last comparison of digests at equal frontiers.
    pub digest_equal: Option<bool>,
    /// When the last frame came, in the milliseconds handed in.
    pub last_heard_ms: u64,
    /// Bytes sent and not acknowledged.
    pub unacknowledged_bytes: usize,
    /// Bytes received and not stored.
    pub unstored_bytes: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The proof is outstanding.
    Proof,
    /// The peer's first STATE is outstanding.
    State,
    Open,
    Closed,
}

/// One batch delivered to the store.
#[derive(Clone, Debug)]
struct Pending {
    token: u64,
    bytes: usize,
    heads: Vec<(AuthorId, Seq)>,
    cursor: Option<u64>,
}

/// What a STATE of ours said: the reply is about that, whatever arrived meanwhile.
#[derive(Clone, Debug)]
struct Told {
    root: Root,
    frontier: Vec<Head>,
    last_arrival: u64,
    is_inline: bool,
}

/// One sync session.
#[derive(Debug)]
pub struct Session {
    config: Config,
    phase: Phase,
    started_ms: u64,
    last_heard_ms: u64,
    peer: Peer,
    outgoing: Outgoing,
    pending: VecDeque<Pending>,
    pending_bytes: usize,
    next_token: u64,
    stored: u64,
    is_level: bool,
    /// Is the root to be announced at the next level?
    must_announce: bool,
    digest_equal: Option<bool>,
    next_digest_ms: u64,
    digests: u64,
    /// What we said in a STATE that has no reply yet.
    told: Option<Told>,
    /// When we, and the peer, last sent STATE a second time.
    reopened_ms: Option<u64>,
    peer_reopened_ms: Option<u64>,
    syncs: Syncs,
}

type Outputs<E> = Result<Vec<Output>, E>;

impl Session {
    /// Starts one at `now_ms`. A dialer's HELLO is among the outputs.
    pub fn new(config: Config, now_ms: u64) -> (Self, Vec<Output>) {
        let mut session = Self {
            phase: Phase::Proof,
            started_ms: now_ms,
            last_heard_ms: now_ms,
            peer: Peer::default(),
            outgoing: Outgoing::default(),
            pending: VecDeque::new(),
            pending_bytes: 0,
            next_token: 0,
            stored: 0,
            is_level: false,
            must_announce: false,
            digest_equal: None,
            next_digest_ms: 0,
            digests: 0,
            told: None,
            reopened_ms: None,
            peer_reopened_ms: None,
            syncs: Syncs::default(),
            config,
        };
        session.schedule_digest(now_ms);
        let mut out = Vec::new();
        if session.config.is_dialer {
            let hello = session.hello();
            session.send(&Message::Hello(hello), &mut out);
        }
        (session, out)
    }

    /// Takes an input at `now_ms` and says what is to be done. After [`Output::Close`] every input is ignored.
    ///
    /// # Errors
    /// The log's; the session is unusable then and must be dropped with its stream.
    pub fn handle<L: Log>(&mut self, input: Input<'_>, now_ms: u64, log: &L) -> Outputs<L::Error> {
        let mut out = Vec::new();
        if self.phase == Phase::Closed {
            return Ok(out);
        }
        let broken = match input {
            Input::Frame(frame) => self.on_frame(frame, now_ms, log, &mut out)?,
            Input::Stored { token, outcome } => self.on_stored(token, outcome, &mut out),
            Input::LogGrew => None,
            Input::Writable => {
                self.outgoing.unwritten_bytes = 0;
                None
            }
            Input::Tick => self.on_tick(now_ms, log, &mut out)?,
            Input::Addresses(addresses) => {
                if self.is_established() {
                    self.send(&Message::peers(addresses), &mut out);
                }
                None
            }
            Input::Ask => {
                self.syncs.ask();
                None
            }
            Input::Sealed { is_held_back } => {
                self.on_sealed(is_held_back, log)?;
                None
            }
            Input::Leave { pause_ms } => {
                if self.is_established() {
                    self.send(&Message::Bye(Bye { pause_ms }), &mut out);
                }
                Some(Reason::Left)
            }
        };
        match broken {
            Some(reason) => self.close(reason, &mut out),
            None => self.go_on(log, &mut out)?,
        }
        Ok(out)
    }

    /// What it knows of the peer, and how far both are.
    ///
    /// # Errors
    /// The log's.
    pub fn status<L: Log>(&self, log: &L) -> Result<Status, L::Error> {
        let (behind, ahead) = self.peer.distance(&log.frontier()?);
        Ok(Status {
            is_established: self.is_established(),
            author: self.peer.author,
            is_level: self.is_level,
            behind,
            ahead,
            is_answered: self.syncs.is_answered(),
            is_held_back: self.syncs.is_held_back(),
            digest_equal: self.digest_equal,
            last_heard_ms: self.last_heard_ms,
            unacknowledged_bytes: self.outgoing.unacked_bytes,
            unstored_bytes: self.pending_bytes,
        })
    }

    /// Is the peer a proven member?
    pub fn is_established(&self) -> bool {
        matches!(self.phase, Phase::State | Phase::Open)
    }

    /// Is it over?
    pub fn is_closed(&self) -> bool {
        self.phase == Phase::Closed
    }

    fn on_frame<L: Log>(
        &mut self,
        frame: &[u8],
        now_ms: u64,
        log: &L,
        out: &mut Vec<Output>,
    ) -> Result<Option<Reason>, L::Error> {
        if self.phase == Phase::Proof {
            return self.on_proof(frame, now_ms, log, out);
        }
        self.last_heard_ms = now_ms;
        let message = match Message::read(frame) {
            Ok(Some(message)) => message,
            Ok(None) => return Ok(None),
            Err(malformed) => return Ok(Some(Reason::Malformed(malformed))),
        };
        match message {
            Message::Hello(_) => Ok(Some(Reason::Rule("a second HELLO"))),
            Message::State(state) => self.on_state(state, now_ms, log, out),
            Message::Err(error) => Ok(Some(Reason::PeerError(error))),
            Message::Bye(bye) => Ok(Some(Reason::PeerLeft { pause_ms: bye.pause_ms })),
            Message::Peers(addresses) => {
                out.push(Output::Peers(addresses));
                Ok(None)
            }
            Message::Have(_) => Ok(None),
            _ if self.phase == Phase::State => Ok(Some(Reason::Rule("STATE must come first"))),
            Message::Want(want) => self.on_want(want, now_ms, log, out),
            Message::Entries(entries) => Ok(self.on_entries(&entries, out)),
            Message::Ack(ack) => Ok(self.on_ack(ack)),
            Message::Digest(summary) => self.on_digest(summary, now_ms, log, out),
            Message::Sync(sync) => Ok(self.on_sync(sync, out)),
        }
    }

    /// Before the proof only HELLO is read, and ERR from the one we dialed.
    fn on_proof<L: Log>(
        &mut self,
        frame: &[u8],
        now_ms: u64,
        log: &L,
        out: &mut Vec<Output>,
    ) -> Result<Option<Reason>, L::Error> {
        if self.config.is_dialer
            && frame.len() <= limit::HELLO_BYTES_MAX
            && let Ok(Some(Message::Err(error))) = Message::read(frame)
        {
            return Ok(Some(Reason::PeerError(error)));
        }
        let Config { group, secret, is_dialer, dialer, listener, .. } = &self.config;
        let ends = Ends { dialer, listener };
        let is_proof = Hello::read(frame).is_ok_and(|hello| hello.proves(*group, secret, ends, !is_dialer));
        if !is_proof {
            return Ok(Some(Reason::Stranger));
        }
        self.last_heard_ms = now_ms;
        self.phase = Phase::State;
        if !self.config.is_dialer {
            let hello = self.hello();
            self.send(&Message::Hello(hello), out);
            self.send_state(false, None, log, out)?;
        }
        out.push(Output::Established);
        Ok(None)
    }

    fn on_tick<L: Log>(&mut self, now_ms: u64, log: &L, out: &mut Vec<Output>) -> Result<Option<Reason>, L::Error> {
        if self.phase == Phase::Proof {
            let is_late = now_ms.saturating_sub(self.started_ms) >= limit::HELLO_TIMEOUT_MS;
            return Ok(is_late.then_some(Reason::Timeout(limit::HELLO_TIMEOUT_MS)));
        }
        if self.phase == Phase::Open && now_ms >= self.next_digest_ms {
            self.schedule_digest(now_ms);
            self.send_digest(log, out)?;
            self.remember(out);
        }
        Ok(None)
    }

    /// After each input: stream what there is room for, and see whether both are level.
    fn go_on<L: Log>(&mut self, log: &L, out: &mut Vec<Output>) -> Result<(), L::Error> {
        if self.phase != Phase::Open {
            return Ok(());
        }
        self.pump(log, out)?;
        self.sync(out);
        let was_level = std::mem::replace(&mut self.is_level, false);
        if !self.is_quiet() {
            return Ok(());
        }
        let frontier = log.frontier()?;
        self.is_level = self.peer.is_level(&frontier);
        if self.is_level && !was_level {
            out.push(Output::Level);
        }
        // A peer whose frontier is not known whole learns by the root alone that both are level.
        if self.must_announce && (self.is_level || !self.peer.is_complete()) {
            self.must_announce = false;
            self.send_digest(log, out)?;
        }
        Ok(())
    }

    /// Nothing is under way, in either direction, as far as this side knows.
    fn is_quiet(&self) -> bool {
        self.pending.is_empty() && self.outgoing.is_drained()
    }

    fn hello(&self) -> Hello {
        let Config { group, secret, epoch, is_dialer, dialer, listener, features, .. } = &self.config;
        Hello::new(*group, secret, *epoch, *features, Ends { dialer, listener }, *is_dialer)
    }

    fn send(&mut self, message: &Message<'_>, out: &mut Vec<Output>) {
        out.push(Output::Send(message.write()));
    }

    fn send_digest<L: Log>(&mut self, log: &L, out: &mut Vec<Output>) -> Result<(), L::Error> {
        let summary = summary(log, &log.frontier()?)?;
        self.send(&Message::Digest(summary), out);
        Ok(())
    }

    fn close(&mut self, reason: Reason, out: &mut Vec<Output>) {
        self.phase = Phase::Closed;
        // What is remembered here dies with the session, its buffers at once.
        self.remember(out);
        self.outgoing = Outgoing::default();
        if let Some(farewell) = reason.farewell() {
            self.send(&farewell, out);
        }
        let is_peer_at_fault = reason.is_peer_at_fault();
        out.push(Output::Close { reason, is_peer_at_fault });
    }

    /// A minute, give or take a fifth, so that the sessions of one hub do not all speak at once.
    fn schedule_digest(&mut self, now_ms: u64) {
        let fifth = limit::DIGEST_INTERVAL_MS / 5;
        let jitter = mix(self.config.seed.wrapping_add(self.digests)) % (2 * fifth + 1);
        self.digests += 1;
        self.next_digest_ms = now_ms + limit::DIGEST_INTERVAL_MS - fifth + jitter;
    }
}

/// The hashes over everything a log holds.
fn summary<L: Log>(log: &L, frontier: &[Head]) -> Result<Summary, L::Error> {
    let (digest, withheld, last_arrival) = (log.digest()?, log.withheld_root()?, log.last_arrival()?);
    Ok(Summary { root: frontier_root(frontier), digest, withheld, last_arrival })
}

/// SplitMix64's finaliser: spreads any number over all 64 bits. Source: Steele, Lea, Flood, *Fast Splittable
/// Pseudorandom Number Generators*, 2014.
fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests;
