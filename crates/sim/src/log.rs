//! One replica's log and authors in memory, with the traits by which the core reads them.

use p2pdb_core::causal::{Seen, Stored};
use p2pdb_core::chain::{Chains, Held};
use p2pdb_core::clock::Clock;
use p2pdb_core::entry::{Entry, Header};
use p2pdb_core::id::{AuthorId, EntryId, Life, Seq};
use p2pdb_core::key::PublicKey;
use p2pdb_core::log::{Head, LogEntry};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::rc::Rc;

/// An author as known here.
#[derive(Clone, Debug)]
pub struct Author {
    /// Its key.
    pub key: PublicKey,
    /// The end of its chain as stored.
    pub held: Seq,
    /// The id of the entry there.
    pub head: EntryId,
    /// The clock of the entry there.
    pub clock: Clock,
    /// The end of its chain as merged.
    pub applied: Seq,
    /// What its entry there had seen.
    pub seen: Seen,
}

/// The log.
#[derive(Clone, Debug, Default)]
pub struct MemoryLog {
    /// Authors with an entry here, and the own one.
    pub authors: BTreeMap<AuthorId, Author>,
    /// How far of which other store's arrivals is here.
    pub cursors: BTreeMap<Life, u64>,
    arrivals: Vec<(Rc<Entry>, Rc<LogEntry>)>,
    by_author: BTreeMap<AuthorId, Vec<usize>>,
    places: BTreeMap<EntryId, (AuthorId, Seq)>,
}

impl MemoryLog {
    /// Appends an entry and moves its author's head.
    pub fn append(&mut self, entry: Entry) {
        let h = &entry.header;
        let (author, seq) = (h.author, h.seq);
        if let Some(first) = &h.first {
            self.author(author, first.key);
        }
        let log = LogEntry {
            n: self.arrivals.len() as u64 + 1,
            author,
            seq,
            clock: h.clock,
            id: entry.id,
            bytes: entry.to_bytes(),
        };
        if let Some(a) = self.authors.get_mut(&author) {
            (a.held, a.head, a.clock) = (seq, entry.id, h.clock);
        }
        self.places.insert(entry.id, (author, seq));
        self.by_author.entry(author).or_default().push(self.arrivals.len());
        self.arrivals.push((Rc::new(entry), Rc::new(log)));
    }

    /// The author, known from now on.
    pub fn author(&mut self, author: AuthorId, key: PublicKey) -> &mut Author {
        let (zero, head, clock) = (Seq(0), EntryId::default(), Clock(0));
        let new = || Author { key, held: zero, head, clock, applied: zero, seen: Seen::new() };
        self.authors.entry(author).or_insert_with(new)
    }

    /// All entries in order of arrival.
    pub fn all(&self) -> impl Iterator<Item = &Rc<Entry>> {
        self.arrivals.iter().map(|a| &a.0)
    }

    /// One entry.
    pub fn get(&self, author: &AuthorId, seq: Seq) -> Option<&Rc<Entry>> {
        self.at(author, seq).map(|a| &a.0)
    }

    /// The last arrival number.
    pub fn last_arrival(&self) -> u64 {
        self.arrivals.len() as u64
    }

    /// Entries after an arrival number.
    pub fn arrivals_after(&self, n: u64, bytes_max: usize) -> Vec<LogEntry> {
        take(self.arrivals.iter().skip(n as usize).map(|a| &a.1), bytes_max)
    }

    /// An author's entries from a number on.
    pub fn entries(&self, author: &AuthorId, from: Seq, bytes_max: usize) -> Vec<LogEntry> {
        let chain = self.by_author.get(author).map(Vec::as_slice).unwrap_or_default();
        let rest = chain.iter().skip((from.0 as usize).saturating_sub(1));
        take(rest.filter_map(|at| self.arrivals.get(*at)).map(|a| &a.1), bytes_max)
    }

    /// The end of each chain, in order of author ids.
    pub fn frontier(&self) -> Vec<Head> {
        let held = self.authors.iter().filter(|(_, a)| a.held > Seq(0));
        held.map(|(id, a)| Head { author: *id, seq: a.held, id: a.head, clock: a.clock }).collect()
    }

    /// What is merged: the context of the next local entry.
    pub fn applied_all(&self) -> Seen {
        self.authors.iter().filter(|(_, a)| a.applied > Seq(0)).map(|(id, a)| (*id, a.applied)).collect()
    }

    /// The entries that are merged.
    pub fn merged(&self) -> Vec<Rc<Entry>> {
        let is_merged = |e: &&Rc<Entry>| self.authors.get(&e.header.author).is_some_and(|a| a.applied >= e.header.seq);
        self.all().filter(is_merged).cloned().collect()
    }

    fn at(&self, author: &AuthorId, seq: Seq) -> Option<&(Rc<Entry>, Rc<LogEntry>)> {
        let at = self.by_author.get(author)?.get((seq.0 as usize).checked_sub(1)?)?;
        self.arrivals.get(*at)
    }
}

fn take<'a>(entries: impl Iterator<Item = &'a Rc<LogEntry>>, bytes_max: usize) -> Vec<LogEntry> {
    let (mut found, mut bytes) = (Vec::new(), 0);
    for entry in entries {
        bytes += entry.bytes.len();
        if bytes > bytes_max && !found.is_empty() {
            break;
        }
        found.push((**entry).clone());
    }
    found
}

impl Chains for MemoryLog {
    type Error = Infallible;

    fn held(&self, author: &AuthorId) -> Result<Option<Held>, Infallible> {
        let known = self.authors.get(author).filter(|a| a.held > Seq(0));
        Ok(known.map(|a| Held { seq: a.held, id: a.head, clock: a.clock, key: a.key }))
    }

    fn id_at(&self, author: &AuthorId, seq: Seq) -> Result<Option<EntryId>, Infallible> {
        Ok(self.get(author, seq).map(|e| e.id))
    }
}

impl Stored for MemoryLog {
    type Error = Infallible;

    fn held(&self, author: &AuthorId) -> Result<Seq, Infallible> {
        Ok(self.authors.get(author).map_or(Seq(0), |a| a.held))
    }

    fn applied(&self, author: &AuthorId) -> Result<Seq, Infallible> {
        Ok(self.authors.get(author).map_or(Seq(0), |a| a.applied))
    }

    fn group_end(&self, author: &AuthorId, from: Seq) -> Result<Option<Seq>, Infallible> {
        let chain = self.by_author.get(author).map(Vec::as_slice).unwrap_or_default();
        let rest = chain.iter().skip((from.0 as usize).saturating_sub(1));
        let ends = rest.filter_map(|at| self.arrivals.get(*at)).map(|a| &a.0.header);
        Ok(ends.filter(|h| !h.continues).map(|h| h.seq).next())
    }

    fn header(&self, author: &AuthorId, seq: Seq) -> Result<Option<Header>, Infallible> {
        Ok(self.get(author, seq).map(|e| e.header.clone()))
    }

    fn place(&self, id: &EntryId) -> Result<Option<(AuthorId, Seq)>, Infallible> {
        Ok(self.places.get(id).copied())
    }
}
