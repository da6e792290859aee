//! Checking a received batch: form, group, chain, membership, signatures, forks, gaps.
//!
//! The idea: an entry is the next link of its author's chain or it is here already; anything else is refused, and with
//! it the whole batch. The chain vouches for what it holds: one signature a contiguous run is checked, the last.
//!
//! Nothing here stores anything, and no lock is needed: what passes is stored in the order it came, if what was held
//! of the authors is still the same.

use crate::body::{Body, unpack};
use crate::clock::Clock;
use crate::codec::Malformed;
use crate::entry::{self, Entry};
use crate::id::{AuthorId, EntryId, GroupId, Seq};
use crate::key::{PublicKey, Secret};
use std::collections::BTreeMap;

/// What is held of one author: the end of its chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// The last entry's number.
    pub seq: Seq,
    /// The last entry's id.
    pub id: EntryId,
    /// The last entry's clock.
    pub clock: Clock,
    /// The author's key.
    pub key: PublicKey,
}

/// What the check must know of the log.
pub trait Chains {
    /// What can fail below.
    type Error;

    /// The end of an author's chain; none of an author with no entry here.
    ///
    /// # Errors
    /// The store's.
    fn held(&self, author: &AuthorId) -> Result<Option<Held>, Self::Error>;

    /// The id of an entry that is held.
    ///
    /// # Errors
    /// The store's.
    fn id_at(&self, author: &AuthorId, seq: Seq) -> Result<Option<EntryId>, Self::Error>;
}

/// An entry that passed, and how many operations it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// The entry.
    pub entry: Entry,
    /// Its operations.
    pub ops: u32,
}

/// A batch that passed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckedBatch {
    /// Entries that are not held yet, in the order they came.
    pub fresh: Vec<Checked>,
    /// Author and number of every entry of the batch, fresh or not.
    pub heads: Vec<(AuthorId, Seq)>,
}

/// Why a batch is refused. Its sender is at fault unless [`Refused::is_peer_at_fault`] says otherwise; trying the same again is
/// useless.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// An entry's form is broken.
    #[error("entry {1} of author {0}: {2}")]
    Entry(AuthorId, Seq, Malformed),
    /// The bytes are no entry at all.
    #[error("{0}")]
    Malformed(#[from] Malformed),
    /// It is another group's.
    #[error("an entry belongs to another group")]
    OtherGroup,
    /// The signature of a run's last entry does not fit.
    #[error("the signature of entry {1} of author {0} does not verify")]
    Signature(AuthorId, Seq),
    /// Two entries claim one place.
    #[error(
        "author {0} wrote two entries with number {1}: its database was copied or restored with its keys; where peers refuse it, remove the file <database>-p2pdb and call p2p_join(ticket)"
    )]
    Fork(AuthorId, Seq),
    /// The entry does not follow the one held before it: the author's chain forked further back.
    #[error(
        "entry {1} of author {0} does not follow the entry held here: its database was copied or restored with its keys; where peers refuse it, remove the file <database>-p2pdb and call p2p_join(ticket)"
    )]
    Chain(AuthorId, Seq),
    /// An author's clock must grow from entry to entry.
    #[error("the clock of entry {1} of author {0} is not later than that of the entry before it")]
    Clock(AuthorId, Seq),
    /// Entries before it are missing.
    #[error("author {author}: entry {got} came, {wanted} is the next")]
    Gap {
        /// The author.
        author: AuthorId,
        /// The entry that came.
        got: Seq,
        /// The one that had to.
        wanted: Seq,
    },
}

impl Refused {
    /// Did the sender break a rule? A fork and a gap can come through an honest peer.
    pub fn is_peer_at_fault(&self) -> bool {
        !self.is_fork() && !matches!(self, Self::Gap { .. })
    }

    /// Do two chains of one author exist?
    pub fn is_fork(&self) -> bool {
        matches!(self, Self::Fork(..) | Self::Chain(..))
    }
}

/// A refusal, or a failure of the store below.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckError<E> {
    /// The batch breaks a rule.
    #[error("{0}")]
    Refused(#[from] Refused),
    /// The store failed; the batch may be offered again.
    #[error("{0}")]
    Store(E),
}

/// Checks a batch, in the order it came, against what is held. Linear in its bytes.
///
/// # Errors
/// [`CheckError::Refused`] at the first broken rule: nothing of the batch may be kept then. [`CheckError::Store`] as the
/// store's.
pub fn check<C: Chains, B: AsRef<[u8]>>(
    group: GroupId,
    secret: &Secret,
    batch: &[B],
    chains: &C,
) -> Result<CheckedBatch, CheckError<C::Error>> {
    let mut run =
        Run { group, secret, chains, ends: BTreeMap::new(), met: BTreeMap::new(), out: CheckedBatch::default() };
    for bytes in batch {
        run.take(bytes.as_ref())?;
    }
    run.finish()
}

struct Run<'a, C> {
    group: GroupId,
    secret: &'a Secret,
    chains: &'a C,
    /// The ends of chains once the batch is stored.
    ends: BTreeMap<AuthorId, Held>,
    /// Ids of the batch's own fresh entries.
    met: BTreeMap<(AuthorId, Seq), EntryId>,
    out: CheckedBatch,
}

impl<C: Chains> Run<'_, C> {
    fn take(&mut self, bytes: &[u8]) -> Result<(), CheckError<C::Error>> {
        let entry = Entry::from_bytes(bytes).map_err(Refused::Malformed)?;
        let (author, seq) = (entry.header.author, entry.header.seq);
        if entry.header.group != self.group {
            return Err(Refused::OtherGroup.into());
        }
        self.out.heads.push((author, seq));
        let known = match self.ends.get(&author) {
            Some(end) => Some(*end),
            None => self.chains.held(&author).map_err(CheckError::Store)?,
        };
        let held = known.map_or(Seq(0), |k| k.seq);
        if seq <= held {
            return self.same(&entry);
        }
        if seq != held.next() {
            return Err(Refused::Gap { author, got: seq, wanted: held.next() }.into());
        }
        if known.is_some_and(|k| k.id != entry.header.prev) {
            return Err(Refused::Chain(author, seq).into());
        }
        if known.is_some_and(|k| k.clock >= entry.header.clock) {
            return Err(Refused::Clock(author, seq).into());
        }
        let broken = |e| Refused::Entry(author, seq, e);
        let key = match known {
            Some(known) => known.key,
            None => entry::check_first(&entry.header, self.secret).map_err(broken)?,
        };
        let raw = unpack(&entry.body).map_err(broken)?;
        let ops = Body::read(&raw, author).and_then(|body| body.check()).map_err(broken)?;
        self.ends.insert(author, Held { seq, id: entry.id, clock: entry.header.clock, key });
        self.met.insert((author, seq), entry.id);
        self.out.fresh.push(Checked { entry, ops });
        Ok(())
    }

    /// An entry in a place that is taken must be the one that is there.
    fn same(&self, entry: &Entry) -> Result<(), CheckError<C::Error>> {
        let (author, seq) = (entry.header.author, entry.header.seq);
        let there = match self.met.get(&(author, seq)) {
            Some(id) => Some(*id),
            None => self.chains.id_at(&author, seq).map_err(CheckError::Store)?,
        };
        match there {
            Some(id) if id != entry.id => Err(Refused::Fork(author, seq).into()),
            // An id that can't be told any more was stored: dropping the copy loses nothing.
            Some(_) | None => Ok(()),
        }
    }

    /// The last entry of each author's run vouches for the run.
    fn finish(self) -> Result<CheckedBatch, CheckError<C::Error>> {
        for Checked { entry, .. } in &self.out.fresh {
            let (author, seq) = (entry.header.author, entry.header.seq);
            let Some(end) = self.ends.get(&author).filter(|end| end.seq == seq) else { continue };
            if !entry.is_signed_by(&end.key) {
                return Err(Refused::Signature(author, seq).into());
            }
        }
        Ok(self.out)
    }
}

#[cfg(test)]
mod tests;
