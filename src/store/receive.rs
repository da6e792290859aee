//! Taking in entries from elsewhere: checked, stored and merged in one transaction.
//!
//! Whatever way they come, over the network or through `p2p_log`, they pass here. Checks that need no
//! lock (form, group, signatures) come first. A run of one author's entries is checked by its last
//! signature: the chain vouches for the rest.

use p2pdb_core::body::{Body, unpack};
use p2pdb_core::entry::{self, Entry};
use p2pdb_core::id::{AuthorId, EntryId, Seq};
use p2pdb_core::key::PublicKey;
use std::collections::BTreeMap;

use super::error::Refused;
use super::{Store, StoreError};

/// What became of a batch.
#[derive(Clone, Debug, Default)]
pub struct Received {
    /// Entries that are new here and durable.
    pub stored: usize,
    /// Entries merged, now or waiting from before.
    pub applied: usize,
    /// The author and number of each entry of the batch that is here now.
    pub heads: Vec<(AuthorId, Seq)>,
}

type Heads = Vec<(AuthorId, Seq)>;

struct Checked {
    entry: Entry,
    ops: u32,
}

impl Store {
    /// Takes in a batch from a peer, in the order it came.
    ///
    /// # Errors
    /// [`StoreError::Refused`] if an entry breaks a rule: nothing of the batch is kept then. A failure of
    /// SQLite leaves the store as it was; the batch may be offered again.
    pub fn receive(&mut self, batch: &[&[u8]], now_ms: u64) -> Result<Received, StoreError> {
        let (fresh, heads) = self.check(batch).map_err(StoreError::Refused)?;
        self.write(|store| {
            let stored = fresh.len();
            for Checked { entry, ops } in &fresh {
                store.append(entry, *ops)?;
            }
            let applied = if store.has_markers()? { 0 } else { store.apply_ready(now_ms)? };
            Ok(Received { stored, applied, heads })
        })
    }

    /// Checks everything that can be checked without the write lock; entries that are here already are left out.
    fn check(&self, batch: &[&[u8]]) -> Result<(Vec<Checked>, Heads), Refused> {
        let mut fresh: Vec<Checked> = Vec::with_capacity(batch.len());
        let mut heads = Vec::with_capacity(batch.len());
        let mut ends: BTreeMap<AuthorId, (Seq, EntryId, PublicKey)> = BTreeMap::new();
        for bytes in batch {
            let entry = Entry::from_bytes(bytes)?;
            let h = &entry.header;
            if h.group != self.identity.group {
                return Err(Refused::OtherGroup);
            }
            heads.push((h.author, h.seq));
            let known =
                ends.get(&h.author).copied().or_else(|| self.authors.get(&h.author).map(|a| (a.held, a.head, a.key)));
            let (held, head) = known.map_or((Seq(0), EntryId::default()), |k| (k.0, k.1));
            if h.seq <= held {
                self.check_same(&entry)?;
                continue;
            }
            if h.seq != held.next() {
                return Err(Refused::Gap);
            }
            if h.prev != head {
                return Err(Refused::Chain);
            }
            let key = match known {
                Some((_, _, key)) => key,
                None => entry::check_first(h, &self.identity.secret)?,
            };
            let raw = unpack(&entry.body)?;
            let ops = Body::read(&raw, h.author)?.check()?;
            ends.insert(h.author, (h.seq, entry.id, key));
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
fn check_signatures(fresh: &[Checked], ends: &BTreeMap<AuthorId, (Seq, EntryId, PublicKey)>) -> Result<(), Refused> {
    for Checked { entry, .. } in fresh {
        let Some((last, _, key)) = ends.get(&entry.header.author) else { continue };
        if entry.header.seq == *last && !entry.is_signed_by(key) {
            return Err(Refused::Signature);
        }
    }
    Ok(())
}
