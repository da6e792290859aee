//! The log as the sync session sees it: heads, entries, cursors.
//!
//! The idea: the hash of an entry is the truth, its number is the index. Two logs compare by the ends of their
//! authors' chains (the *frontier*), and what one lacks follows from the numbers alone. The store implements
//! [`Log`] on SQLite, the simulator in memory.

use crate::clock::Clock;
use crate::codec::Write;
use crate::id::{AuthorId, Digest, EntryId, Life, Seq};

/// An entry as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// Its arrival number here, from 1, never used twice in one life of the store.
    pub n: u64,
    /// Its author.
    pub author: AuthorId,
    /// Its place in the author's chain.
    pub seq: Seq,
    /// Its clock.
    pub clock: Clock,
    /// Its id.
    pub id: EntryId,
    /// The whole of it; empty where the body was pruned.
    pub bytes: Vec<u8>,
}

/// The end of one author's chain as stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The author.
    pub author: AuthorId,
    /// The last entry's number.
    pub seq: Seq,
    /// The last entry's id.
    pub id: EntryId,
    /// The last entry's clock.
    pub clock: Clock,
}

/// Hash over a frontier.
pub type Root = [u8; 32];

/// What a session reads of the store. All answers of one call of [`crate::session::Session::handle`] are of one moment.
pub trait Log {
    /// What can fail below.
    type Error;

    /// The end of each author's chain as stored durably, in ascending order of author ids.
    ///
    /// # Errors
    /// The store's.
    fn frontier(&self) -> Result<Vec<Head>, Self::Error>;

    /// The life of the arrival order.
    fn life(&self) -> Life;

    /// The last arrival number; 0 in an empty log.
    ///
    /// # Errors
    /// The store's.
    fn last_arrival(&self) -> Result<u64, Self::Error>;

    /// Entries that arrived after number `n`, in order, until about `bytes_max` bytes; at least one if there is one.
    ///
    /// # Errors
    /// The store's.
    fn arrivals_after(&self, n: u64, bytes_max: usize) -> Result<Vec<LogEntry>, Self::Error>;

    /// One author's entries from number `from` on, in order, until about `bytes_max` bytes; at least one if there is one.
    ///
    /// # Errors
    /// The store's.
    fn entries(&self, author: &AuthorId, from: Seq, bytes_max: usize) -> Result<Vec<LogEntry>, Self::Error>;

    /// How far of the arrival order of that life everything is here; none or 0 if that is not known.
    ///
    /// # Errors
    /// The store's.
    fn cursor(&self, life: &Life) -> Result<Option<u64>, Self::Error>;

    /// The state digest (rule R20).
    ///
    /// # Errors
    /// The store's.
    fn digest(&self) -> Result<Digest, Self::Error>;

    /// Hash over what is stored and not merged, whatever the reason (quarantine, an unknown table, a dep that is not
    /// here, markers that wait for the seal); all zeros if that is nothing. Digests are compared only where it is equal.
    ///
    /// # Errors
    /// The store's.
    fn withheld_root(&self) -> Result<[u8; 16], Self::Error>;

    /// Hash over the definitions of tracked tables.
    ///
    /// # Errors
    /// The store's.
    fn schema_hash(&self) -> Result<[u8; 16], Self::Error>;
}

/// The hash of a frontier: over author, number and id of each head, in ascending order of authors.
///
/// ```
/// use p2pdb_core::log::{Head, frontier_root};
/// let head = Head { author: Default::default(), seq: Default::default(), id: Default::default(), clock: Default::default() };
/// assert_ne!(frontier_root(&[]), frontier_root(&[head]));
/// ```
pub fn frontier_root(frontier: &[Head]) -> Root {
    let mut h = blake3::Hasher::new_derive_key("p2pdb 1 frontier");
    let mut bytes = Vec::with_capacity(56);
    for head in frontier {
        bytes.clear();
        bytes.raw(&head.author.0);
        bytes.u64(head.seq.0);
        bytes.raw(&head.id.0);
        h.update(&bytes);
    }
    *h.finalize().as_bytes()
}
