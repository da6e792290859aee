//! What goes to the peer: where it comes from, and how much may be under way.
//!
//! The idea: no queue. The log on disk is read on as credit and the pipe allow, from the peer's frontier first where that is
//! known, then in order of arrival for as long as the session lives. What the peer sent or was sent is left out.

use super::catch_up::CatchUp;
use super::peer::Peer;
use crate::id::{AuthorId, Seq};
use crate::limit;
use crate::log::{Head, Log, LogEntry};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

#[derive(Debug, Default)]
pub(super) struct Outgoing {
    source: Source,
    /// The last entry of each author that was sent to the peer, or that the peer is sending.
    sent: BTreeMap<AuthorId, Seq>,
    /// Authors whose next entry can't be sent: its body was pruned.
    pruned: BTreeSet<AuthorId>,
    unacked: VecDeque<Unacked>,
    pub(super) unacked_bytes: usize,
    /// Handed to the transport and not known to be written.
    pub(super) unwritten_bytes: usize,
    acked_batches: u64,
    is_at_end: bool,
}

#[derive(Debug)]
struct Unacked {
    bytes: usize,
    heads: Vec<(AuthorId, Seq)>,
}

#[derive(Debug, Default)]
enum Source {
    /// The peer has not said yet where to start.
    #[default]
    Waiting,
    /// What the peer lacks by its frontier.
    CatchUp(Box<CatchUp>),
    /// What arrived here after that number.
    Arrivals(u64),
}

/// A batch to be sent.
#[derive(Debug)]
pub(super) struct Outbound {
    pub(super) entries: Vec<LogEntry>,
    /// With it everything up to this arrival is sent; 0 if not.
    pub(super) cursor: u64,
    pub(super) has_more: bool,
}

impl Outgoing {
    /// Starts over; `receiving` is what is on its way from the peer into the store.
    pub(super) fn wait(&mut self, receiving: impl Iterator<Item = (AuthorId, Seq)>) {
        self.source = Source::Waiting;
        self.pruned.clear();
        self.is_at_end = false;
        self.sent.clear();
        let sending = self.unacked.iter().flat_map(|u| u.heads.iter().copied());
        let in_flight: Vec<_> = sending.chain(receiving).collect();
        in_flight.into_iter().for_each(|(author, seq)| self.skip(author, seq));
    }

    pub(super) fn is_waiting(&self) -> bool {
        matches!(self.source, Source::Waiting)
    }

    /// Goes on with what arrived after number `n`.
    pub(super) fn start_arrivals(&mut self, n: u64) {
        self.source = Source::Arrivals(n);
        self.is_at_end = false;
    }

    /// Goes on with everything in `frontier` that the peer does not hold.
    pub(super) fn start_catch_up<L: Log>(&mut self, frontier: &[Head], peer: &Peer, log: &L) -> Result<(), L::Error> {
        let has = |author: &AuthorId| self.known(author, peer);
        self.source = Source::CatchUp(Box::new(CatchUp::new(frontier, has, log.last_arrival()?, log)?));
        self.is_at_end = false;
        Ok(())
    }

    /// The peer has or will have that entry and all before it.
    pub(super) fn skip(&mut self, author: AuthorId, seq: Seq) {
        let sent = self.sent.entry(author).or_default();
        *sent = seq.max(*sent);
    }

    /// Everything from arrival `after` to `last` came from this very peer.
    pub(super) fn arrived_from_peer(&mut self, after: u64, last: u64) {
        if let Source::Arrivals(n) = &mut self.source
            && *n == after
        {
            *n = last;
        }
    }

    /// May more be sent now?
    pub(super) fn has_room(&self) -> bool {
        self.unacked_bytes < limit::CREDIT_BYTES && self.unwritten_bytes < limit::UNWRITTEN_BYTES_MAX
    }

    /// Is everything sent and acknowledged?
    pub(super) fn is_drained(&self) -> bool {
        self.unacked.is_empty() && self.is_at_end && !self.is_waiting()
    }

    /// Is everything up to that arrival sent, or known to be with the peer?
    pub(super) fn has_sent(&self, until: u64) -> bool {
        matches!(self.source, Source::Arrivals(n) if n >= until)
    }

    /// How much of our arrival order is with the peer durably; 0 where that can't be said.
    pub(super) fn acked_cursor(&self) -> u64 {
        match self.source {
            Source::Arrivals(n) if self.unacked.is_empty() && self.pruned.is_empty() => n,
            _ => 0,
        }
    }

    /// The next batch and notes it as sent; none if nothing is left for now.
    pub(super) fn next_batch<L: Log>(&mut self, peer: &Peer, log: &L) -> Result<Option<Outbound>, L::Error> {
        let mut entries = Vec::new();
        if let Source::CatchUp(_) = self.source {
            entries = self.read_catch_up(peer, log)?;
        }
        // The end of a catch-up and what arrived meanwhile are separate batches: a batch has one order.
        if entries.is_empty() {
            entries = self.read_arrivals(peer, log)?;
        }
        self.is_at_end = entries.is_empty();
        if self.is_at_end {
            return Ok(None);
        }
        let bytes = entries.iter().map(|e| e.bytes.len()).sum();
        let heads: Vec<_> = entries.iter().map(|e| (e.author, e.seq)).collect();
        heads.iter().for_each(|(author, seq)| self.skip(*author, *seq));
        self.unacked.push_back(Unacked { bytes, heads });
        self.unacked_bytes += bytes;
        let (cursor, has_more) = match &self.source {
            Source::Arrivals(n) if self.pruned.is_empty() => (*n, log.last_arrival()? > *n),
            _ => (0, true),
        };
        Ok(Some(Outbound { entries, cursor, has_more }))
    }

    /// The peer acknowledges all batches up to number `batches`, counted from 1. Gives what it holds by that; none if it counts
    /// wrong.
    pub(super) fn acknowledge(&mut self, batches: u64) -> Option<Vec<(AuthorId, Seq)>> {
        let n = batches.checked_sub(self.acked_batches).filter(|n| *n > 0 && *n <= self.unacked.len() as u64)?;
        let mut heads = Vec::new();
        for done in self.unacked.drain(..n as usize) {
            self.unacked_bytes -= done.bytes;
            heads.extend(done.heads);
        }
        self.acked_batches = batches;
        Some(heads)
    }

    fn known(&self, author: &AuthorId, peer: &Peer) -> Seq {
        self.sent.get(author).copied().unwrap_or_default().max(peer.has(author))
    }

    fn read_catch_up<L: Log>(&mut self, peer: &Peer, log: &L) -> Result<Vec<LogEntry>, L::Error> {
        let mut entries: Vec<LogEntry> = Vec::new();
        let mut bytes = 0;
        while let Source::CatchUp(catch_up) = &mut self.source {
            if catch_up.is_done() {
                self.source = Source::Arrivals(catch_up.until);
                break;
            }
            let room = if entries.is_empty() { usize::MAX } else { limit::BATCH_BYTES.saturating_sub(bytes) };
            if entries.len() == limit::BATCH_ENTRIES_MAX {
                break;
            }
            let Some(entry) = catch_up.next(room, log)? else { break };
            if entry.seq > self.known(&entry.author, peer) {
                bytes += entry.bytes.len();
                entries.push(entry);
            }
        }
        Ok(entries)
    }

    fn read_arrivals<L: Log>(&mut self, peer: &Peer, log: &L) -> Result<Vec<LogEntry>, L::Error> {
        let mut entries: Vec<LogEntry> = Vec::new();
        while let (Source::Arrivals(n), true) = (&self.source, entries.is_empty()) {
            let mut after = *n;
            let found = log.arrivals_after(after, limit::BATCH_BYTES)?;
            if found.is_empty() {
                break;
            }
            for entry in found.into_iter().take(limit::BATCH_ENTRIES_MAX) {
                after = entry.n;
                if entry.bytes.is_empty() {
                    self.pruned.insert(entry.author);
                }
                if entry.seq > self.known(&entry.author, peer) && !self.pruned.contains(&entry.author) {
                    entries.push(entry);
                }
            }
            self.source = Source::Arrivals(after);
        }
        Ok(entries)
    }
}
