//! What a peer lacks, in clock order: a merge over the chains of all authors that it lacks something of.
//!
//! The idea: a clock is later than every clock its author had seen, so ascending clocks are an order in which every
//! entry comes after what it depends on. The chains are merged like sorted runs; what is read ahead is bounded, and
//! dropped and read again where the bound is met.

use crate::clock::Clock;
use crate::id::{AuthorId, Seq};
use crate::limit;
use crate::log::{Head, Log, LogEntry};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// The least that is read of a chain at a time: with very many authors more would only be dropped again.
const READ_BYTES_MIN: usize = 4 * 1024;

/// A catch-up under way.
#[derive(Debug)]
pub(super) struct CatchUp {
    /// The last arrival when it started: what comes later is not its business.
    pub(super) until: u64,
    lanes: BTreeMap<AuthorId, Lane>,
    /// The clock of each lane's next entry.
    order: BTreeSet<(Clock, AuthorId)>,
    read_bytes: usize,
}

/// The rest of one author's chain.
#[derive(Debug)]
struct Lane {
    next: Seq,
    end: Seq,
    read: VecDeque<LogEntry>,
}

impl CatchUp {
    /// Everything in `frontier` that comes after what `has` says of its author.
    pub(super) fn new<L: Log>(
        frontier: &[Head],
        has: impl Fn(&AuthorId) -> Seq,
        until: u64,
        log: &L,
    ) -> Result<Self, L::Error> {
        let mut catch_up = Self { until, lanes: BTreeMap::new(), order: BTreeSet::new(), read_bytes: 0 };
        for head in frontier {
            let next = has(&head.author).next();
            if next <= head.seq {
                catch_up.lanes.insert(head.author, Lane { next, end: head.seq, read: VecDeque::new() });
            }
        }
        let authors: Vec<_> = catch_up.lanes.keys().copied().collect();
        for author in authors {
            catch_up.line_up(author, log)?;
        }
        Ok(catch_up)
    }

    pub(super) fn is_done(&self) -> bool {
        self.order.is_empty()
    }

    /// The next entry, if it is no longer than `room_bytes`.
    pub(super) fn next<L: Log>(&mut self, room_bytes: usize, log: &L) -> Result<Option<LogEntry>, L::Error> {
        let Some((clock, author)) = self.order.first().copied() else { return Ok(None) };
        self.read(author, log)?;
        let Some(lane) = self.lanes.get_mut(&author) else { return Ok(None) };
        if lane.read.front().is_none_or(|e| e.bytes.len() > room_bytes) {
            return Ok(None);
        }
        let Some(entry) = lane.read.pop_front() else { return Ok(None) };
        self.read_bytes -= entry.bytes.len();
        lane.next = entry.seq.next();
        self.order.remove(&(clock, author));
        self.line_up(author, log)?;
        Ok(Some(entry))
    }

    /// Puts a lane into the order by its next entry's clock, or drops it at its end.
    fn line_up<L: Log>(&mut self, author: AuthorId, log: &L) -> Result<(), L::Error> {
        self.read(author, log)?;
        let next = self.lanes.get(&author).and_then(|lane| lane.read.front());
        match next.map(|entry| entry.clock) {
            Some(clock) => {
                self.order.insert((clock, author));
            }
            None => {
                self.lanes.remove(&author);
            }
        }
        Ok(())
    }

    /// Reads ahead in a lane where nothing is left of what was read.
    fn read<L: Log>(&mut self, author: AuthorId, log: &L) -> Result<(), L::Error> {
        let lanes = self.lanes.len().max(1);
        if self.read_bytes > limit::CATCH_UP_BYTES_MAX {
            self.lanes.values_mut().filter(|lane| lane.read.len() > 1).for_each(|lane| lane.read.clear());
            self.read_bytes = self.lanes.values().flat_map(|lane| &lane.read).map(|e| e.bytes.len()).sum();
        }
        let Some(lane) = self.lanes.get_mut(&author) else { return Ok(()) };
        if !lane.read.is_empty() || lane.next > lane.end {
            return Ok(());
        }
        let bytes_max = (limit::CATCH_UP_BYTES_MAX / lanes).clamp(READ_BYTES_MIN, limit::BATCH_BYTES);
        let read = log.entries(&author, lane.next, bytes_max)?;
        // A pruned body can't be sent, nor what comes after it; an entry beyond the end will come as an arrival.
        let end = lane.end;
        lane.read.extend(read.into_iter().take_while(|e| e.seq <= end && !e.bytes.is_empty()));
        self.read_bytes += lane.read.iter().map(|e| e.bytes.len()).sum::<usize>();
        Ok(())
    }
}
