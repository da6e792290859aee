//! The stand-in world of the session's tests: a log in memory, and two sessions on one wire.
//!
//! The idea: a session has no input or output of its own, so a queue of outputs is the network, and a flag makes the
//! store or the wire as slow as a test wants them. Entries are signed as real ones are; bodies are filler.

use crate::clock::Clock;
use crate::entry::{Entry, First, Header};
use crate::id::{AuthorId, Digest, EntryId, GroupId, Life, Seq};
use crate::key::{AuthorKey, Secret};
use crate::log::{Head, Log, LogEntry, frontier_root};
use crate::message::Message;
use crate::session::{Batch, Config, Input, Outcome, Output, Reason, Session};
use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;

const GROUP: GroupId = GroupId([1; 16]);

fn secret() -> Secret {
    Secret([2; 32])
}

/// A log in memory.
#[derive(Clone, Default)]
pub(super) struct Memory {
    pub(super) life: Life,
    pub(super) arrivals: Vec<LogEntry>,
    pub(super) cursors: BTreeMap<Life, u64>,
    pub(super) digest_is_wrong: bool,
    /// Says that batches are stored and does not: a fault of the store.
    pub(super) drops_batches: bool,
}

impl Memory {
    /// The last entry of an author.
    pub(super) fn head(&self, author: &AuthorId) -> Option<&LogEntry> {
        self.arrivals.iter().rfind(|e| e.author == *author)
    }

    /// Appends a new entry of the author with that key number.
    pub(super) fn write(&mut self, key: u64, clock: u64, body_bytes: usize) {
        let mut seed = [9; 32];
        seed[..8].copy_from_slice(&key.to_le_bytes());
        let key = AuthorKey::from_seed(&seed);
        let author = key.public().author();
        let head = self.head(&author);
        let (seq, prev) = head.map_or((Seq(1), EntryId::default()), |h| (h.seq.next(), h.id));
        let first = First { key: key.public(), epoch: 0, mac: secret().author_mac(GROUP, &key.public()) };
        let header = Header {
            group: GROUP,
            author,
            seq,
            prev,
            deps: Vec::new(),
            clock: Clock(clock),
            schema: [0; 16],
            certificate: [0; 32],
            first: (seq == Seq(1)).then_some(first),
            continues: false,
            body_bytes: 0,
            body_hash: [0; 32],
        };
        self.append(&Entry::seal(header, vec![7; body_bytes], &key).to_bytes());
    }

    /// Appends an entry that continues its chain; one that is held already changes nothing.
    pub(super) fn append(&mut self, bytes: &[u8]) {
        let entry = Entry::from_bytes(bytes).unwrap();
        let h = &entry.header;
        let held = self.head(&h.author).map_or(Seq(0), |e| e.seq);
        if h.seq > held {
            assert_eq!(h.seq, held.next(), "chains come in order");
            let n = self.arrivals.len() as u64 + 1;
            let (author, seq, clock, id) = (h.author, h.seq, h.clock, entry.id);
            self.arrivals.push(LogEntry { n, author, seq, clock, id, bytes: bytes.to_vec() });
        }
    }
}

/// The first of `entries` until about `bytes_max` bytes, and at least one.
fn take<'a>(entries: impl Iterator<Item = &'a LogEntry>, bytes_max: usize) -> Vec<LogEntry> {
    let mut bytes = 0;
    let mut fits = |at: usize, e: &LogEntry| {
        bytes += e.bytes.len();
        at == 0 || bytes <= bytes_max
    };
    entries.enumerate().take_while(|(at, e)| fits(*at, e)).map(|(_, e)| e.clone()).collect()
}

impl Log for Memory {
    type Error = Infallible;

    fn frontier(&self) -> Result<Vec<Head>, Infallible> {
        let heads: BTreeMap<_, _> = self.arrivals.iter().map(|e| (e.author, (e.seq, e.id, e.clock))).collect();
        Ok(heads.into_iter().map(|(author, (seq, id, clock))| Head { author, seq, id, clock }).collect())
    }

    fn life(&self) -> Life {
        self.life
    }

    fn last_arrival(&self) -> Result<u64, Infallible> {
        Ok(self.arrivals.len() as u64)
    }

    fn arrivals_after(&self, n: u64, bytes_max: usize) -> Result<Vec<LogEntry>, Infallible> {
        Ok(take(self.arrivals.iter().skip(n as usize), bytes_max))
    }

    fn entries(&self, author: &AuthorId, from: Seq, bytes_max: usize) -> Result<Vec<LogEntry>, Infallible> {
        Ok(take(self.arrivals.iter().filter(|e| e.author == *author && e.seq >= from), bytes_max))
    }

    fn cursor(&self, life: &Life) -> Result<Option<u64>, Infallible> {
        Ok(self.cursors.get(life).copied())
    }

    fn digest(&self) -> Result<Digest, Infallible> {
        Ok(Digest([if self.digest_is_wrong { 1 } else { 0 }; 16]))
    }

    fn withheld_root(&self) -> Result<[u8; 16], Infallible> {
        Ok([0; 16])
    }

    fn schema_hash(&self) -> Result<[u8; 16], Infallible> {
        Ok([0; 16])
    }
}

/// What one end of the wire is told at its start.
pub(super) fn config(is_dialer: bool) -> Config {
    Config {
        group: GROUP,
        secret: secret(),
        epoch: 0,
        is_dialer,
        dialer: b"dialer".to_vec(),
        listener: b"listener".to_vec(),
        author: AuthorId([u8::from(is_dialer); 16]),
        features: 0,
        seed: 1,
    }
}

/// Two sessions (0 dialed) and what went between them.
pub(super) struct Pair {
    pub(super) logs: [Memory; 2],
    pub(super) sessions: [Session; 2],
    pub(super) now_ms: u64,
    /// What is still to be done, by side.
    pub(super) queue: VecDeque<(usize, Output)>,
    /// Everything that came out, by side.
    pub(super) seen: Vec<(usize, Output)>,
    /// Batches wait until a test stores them.
    pub(super) is_store_slow: bool,
    /// Nobody says that frames are written.
    pub(super) is_wire_slow: bool,
}

impl Pair {
    /// A wire that was just dialed; nothing has run on it yet.
    pub(super) fn new(logs: [Memory; 2]) -> Self {
        let ((dialer, first), (listener, _)) = (Session::new(config(true), 0), Session::new(config(false), 0));
        let queue = first.into_iter().map(|o| (0, o)).collect();
        let sessions = [dialer, listener];
        Self { logs, sessions, now_ms: 0, queue, seen: Vec::new(), is_store_slow: false, is_wire_slow: false }
    }

    /// Hands an input to one side.
    pub(super) fn input(&mut self, side: usize, input: Input<'_>) {
        let outputs = self.sessions[side].handle(input, self.now_ms, &self.logs[side]).unwrap();
        self.queue.extend(outputs.into_iter().map(|o| (side, o)));
    }

    /// Does what is to be done until nothing is left.
    pub(super) fn run(&mut self) -> &mut Self {
        while let Some((side, output)) = self.queue.pop_front() {
            self.seen.push((side, output.clone()));
            match output {
                Output::Send(frame) => {
                    self.input(1 - side, Input::Frame(&frame));
                    if !self.is_wire_slow {
                        self.input(side, Input::Writable);
                    }
                }
                Output::Store(batch) if !self.is_store_slow => self.store(side, &batch),
                Output::Remember(life, n) => {
                    self.logs[side].cursors.insert(life, n);
                }
                _ => {}
            }
        }
        self
    }

    /// Stores a batch and says so.
    pub(super) fn store(&mut self, side: usize, batch: &Batch) {
        let log = &mut self.logs[side];
        let after = log.arrivals.len() as u64;
        if !log.drops_batches {
            batch.entries.iter().for_each(|e| log.append(e));
            log.cursors.extend(batch.cursor);
        }
        let last = log.arrivals.len() as u64;
        self.input(side, Input::Stored { token: batch.token, outcome: Outcome::Durable { after, last } });
    }

    /// Seconds go by.
    pub(super) fn wait(&mut self, s: u64) {
        for _ in 0..s {
            self.now_ms += 1_000;
            self.input(0, Input::Tick);
            self.input(1, Input::Tick);
            self.run();
        }
    }

    /// All frames that a side sent.
    pub(super) fn sent(&self, side: usize) -> Vec<Message<'_>> {
        let frames = self.seen.iter().filter_map(|(s, o)| match o {
            Output::Send(frame) if *s == side => Some(frame),
            _ => None,
        });
        frames.filter_map(|f| Message::read(f).unwrap()).collect()
    }

    /// The headers of all entries that a side sent.
    pub(super) fn entries(&self, side: usize) -> Vec<Header> {
        let batches =
            self.sent(side).into_iter().filter_map(|m| if let Message::Entries(e) = m { Some(e) } else { None });
        batches.flat_map(|b| b.entries).map(|e| Entry::from_bytes(e).unwrap().header).collect()
    }

    /// How many such outputs a side had.
    pub(super) fn count(&self, side: usize, is_it: impl Fn(&Output) -> bool) -> usize {
        self.seen.iter().filter(|(s, o)| *s == side && is_it(o)).count()
    }

    /// Which sides closed and why, in order.
    pub(super) fn closes(&self) -> Vec<(usize, Reason)> {
        let close = |(side, output): &(usize, Output)| match output {
            Output::Close { reason, .. } => Some((*side, reason.clone())),
            _ => None,
        };
        self.seen.iter().filter_map(close).collect()
    }

    /// Both hold the same entries, know it, and nothing is under way.
    pub(super) fn assert_level(&self) {
        assert_eq!(self.closes(), []);
        let roots = [0, 1].map(|side| frontier_root(&self.logs[side].frontier().unwrap()));
        assert_eq!(roots[0], roots[1]);
        for side in [0, 1] {
            let status = self.sessions[side].status(&self.logs[side]).unwrap();
            assert!(status.is_level, "side {side}: {status:?}");
            assert_eq!((status.behind, status.ahead), (0, 0));
            assert_eq!((status.unacknowledged_bytes, status.unstored_bytes), (0, 0));
        }
    }
}

/// An empty log with a life of its own.
pub(super) fn memory(n: u8) -> Memory {
    Memory { life: Life([n; 16]), ..Memory::default() }
}

/// Two logs: `common` authors with one entry each in both.
pub(super) fn with_common(common: u64) -> [Memory; 2] {
    let mut log = memory(1);
    (0..common).for_each(|key| log.write(key, 1, 10));
    [log.clone(), Memory { life: Life([2; 16]), ..log }]
}
