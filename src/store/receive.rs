//! Taking in entries from elsewhere: checked, stored and merged in one transaction.
//!
//! Whatever way they come, over the network or through `p2p_log`, they pass here. Checks that need no
//! lock (form, group, signatures) come first. A run of one author's entries is checked by its last
//! signature: the chain vouches for the rest.

use p2pdb_core::body::{Body, unpack};
use p2pdb_core::clock::Clock;
use p2pdb_core::entry::{self, Entry};
use p2pdb_core::id::{AuthorId, EntryId, Seq};
use p2pdb_core::key::PublicKey;
use std::collections::BTreeMap;

use super::authors::Author;
use super::error::Refused;
use super::{Applied, Store, StoreError};

/// What became of a batch.
#[derive(Clone, Debug, Default)]
pub struct Received {
    /// Entries that are new here and durable.
    pub stored: usize,
    /// What was merged, of these and of what waited.
    pub applied: Applied,
    /// The author and number of each entry of the batch that is here now.
    pub heads: Vec<(AuthorId, Seq)>,
}

pub(super) type Heads = Vec<(AuthorId, Seq)>;

pub(super) struct Checked {
    pub(super) entry: Entry,
    pub(super) ops: u32,
}

/// Where an author's chain ends.
#[derive(Clone, Copy)]
struct End {
    seq: Seq,
    id: EntryId,
    clock: Clock,
    key: PublicKey,
}

impl End {
    fn of(author: &Author) -> Self {
        Self { seq: author.held, id: author.head, clock: author.clock, key: author.key }
    }

    fn before_first(key: PublicKey) -> Self {
        Self { seq: Seq(0), id: EntryId::default(), clock: Clock(0), key }
    }
}

impl Store {
    /// Takes in a batch from a peer, in the order it came.
    ///
    /// # Errors
    /// [`StoreError::Refused`] if an entry breaks a rule: nothing of the batch is kept then. A failure of
    /// SQLite leaves the store as it was; the batch may be offered again.
    pub fn receive(
        &mut self,
        batch: &[&[u8]],
        now_ms: u64,
        mut has_time: impl FnMut() -> bool,
    ) -> Result<Received, StoreError> {
        let (fresh, heads) = self.check(batch).map_err(StoreError::Refused)?;
        self.write(|store| {
            let stored = fresh.len();
            for Checked { entry, ops } in &fresh {
                store.append(entry, *ops)?;
            }
            let applied = store.apply_in(now_ms, &mut has_time)?;
            Ok(Received { stored, applied, heads })
        })
    }

    /// Checks everything that can be checked without the write lock; entries that are here already are left out.
    pub(super) fn check(&self, batch: &[&[u8]]) -> Result<(Vec<Checked>, Heads), Refused> {
        let mut fresh: Vec<Checked> = Vec::with_capacity(batch.len());
        let mut heads = Vec::with_capacity(batch.len());
        let mut ends: BTreeMap<AuthorId, End> = BTreeMap::new();
        for bytes in batch {
            let entry = Entry::from_bytes(bytes)?;
            let h = &entry.header;
            if h.group != self.identity.group {
                return Err(Refused::OtherGroup);
            }
            heads.push((h.author, h.seq));
            let known = ends.get(&h.author).copied().or_else(|| self.authors.get(&h.author).map(End::of));
            let end = match known {
                Some(end) => end,
                None if h.seq != Seq(1) => return Err(Refused::Gap),
                None => End::before_first(entry::check_first(h, &self.identity.secret)?),
            };
            if h.seq <= end.seq {
                self.check_same(&entry)?;
                continue;
            }
            if h.seq != end.seq.next() {
                return Err(Refused::Gap);
            }
            if h.prev != end.id {
                return Err(Refused::Chain);
            }
            if h.clock <= end.clock {
                return Err(Refused::Clock);
            }
            let raw = unpack(&entry.body)?;
            let ops = Body::read(&raw, h.author)?.check()?;
            ends.insert(h.author, End { seq: h.seq, id: entry.id, clock: h.clock, key: end.key });
            fresh.push(Checked { entry, ops });
        }
        check_signatures(&fresh, &ends)?;
        Ok((fresh, heads))
    }

    /// An entry in a place that is taken must be the one that is there.
    fn check_same(&self, entry: &Entry) -> Result<(), Refused> {
        match self.entry(&entry.header.author, entry.header.seq) {
            Ok(Some(there)) if there.id == entry.id => Ok(()),
            Ok(Some(_)) => Err(Refused::Fork(entry.header.author, entry.header.seq.0)),
            // Twice in one batch, or it can't be read now: dropping it loses nothing.
            Ok(None) | Err(_) => Ok(()),
        }
    }
}

/// The last entry of each author's run vouches for the run.
fn check_signatures(fresh: &[Checked], ends: &BTreeMap<AuthorId, End>) -> Result<(), Refused> {
    for Checked { entry, .. } in fresh {
        let Some(end) = ends.get(&entry.header.author) else { continue };
        if entry.header.seq == end.seq && !entry.is_signed_by(&end.key) {
            return Err(Refused::Signature);
        }
    }
    Ok(())
}
