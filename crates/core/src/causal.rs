//! Causal order: which stored atomic groups may be merged now, and what an entry's author had seen.
//!
//! The idea: an entry is merged once everything its author had seen is: the author's entry before it, and its deps. An
//! atomic group is merged whole or not at all. Entries from a clock too far ahead wait until time catches up; they are
//! stored and passed on all the same.

use crate::entry::Header;
use crate::id::{AuthorId, EntryId, Seq};
use crate::limit;
use std::collections::BTreeMap;

/// What an author had seen: the last entry of each author, its own included.
pub type Seen = BTreeMap<AuthorId, Seq>;

/// What must be known of the stored log.
pub trait Stored {
    /// What can fail below.
    type Error;

    /// The end of an author's chain as stored; 0 if nothing is.
    ///
    /// # Errors
    /// The store's.
    fn held(&self, author: &AuthorId) -> Result<Seq, Self::Error>;

    /// The end of an author's chain as merged; 0 if nothing is.
    ///
    /// # Errors
    /// The store's.
    fn applied(&self, author: &AuthorId) -> Result<Seq, Self::Error>;

    /// The first stored entry of an author from `from` on that ends an atomic group.
    ///
    /// # Errors
    /// The store's.
    fn group_end(&self, author: &AuthorId, from: Seq) -> Result<Option<Seq>, Self::Error>;

    /// The header of a stored entry.
    ///
    /// # Errors
    /// The store's.
    fn header(&self, author: &AuthorId, seq: Seq) -> Result<Option<Header>, Self::Error>;

    /// Where a stored entry stands.
    ///
    /// # Errors
    /// The store's.
    fn place(&self, id: &EntryId) -> Result<Option<(AuthorId, Seq)>, Self::Error>;
}

/// First and last number of the author's next atomic group, if it can be merged at `now_ms`.
///
/// # Errors
/// The store's.
pub fn next_group<S: Stored>(stored: &S, author: &AuthorId, now_ms: u64) -> Result<Option<(Seq, Seq)>, S::Error> {
    let first = stored.applied(author)?.next();
    if stored.held(author)? < first {
        return Ok(None);
    }
    let Some(last) = stored.group_end(author, first)? else { return Ok(None) };
    for seq in (first.0..=last.0).map(Seq) {
        let Some(header) = stored.header(author, seq)? else { return Ok(None) };
        if is_ahead(&header, now_ms) || !are_applied(stored, &header.deps)? {
            return Ok(None);
        }
    }
    Ok(Some((first, last)))
}

/// Is the entry's clock so far ahead of `now_ms` that its effect waits?
pub fn is_ahead(header: &Header, now_ms: u64) -> bool {
    header.clock.ms() > now_ms.saturating_add(limit::CLOCK_AHEAD_MS_MAX)
}

fn are_applied<S: Stored>(stored: &S, deps: &[EntryId]) -> Result<bool, S::Error> {
    for dep in deps {
        let Some((author, seq)) = stored.place(dep)? else { return Ok(false) };
        if stored.applied(&author)? < seq {
            return Ok(false);
        }
    }
    Ok(true)
}

/// What an entry's author had seen, from what it had seen at its entry before.
///
/// An author names in its deps the head of *every* other author that changed for it since, so the deps tell it whole; what
/// their authors had seen by now must not be added: that may be later than what this one saw of them.
///
/// # Errors
/// The store's.
pub fn see<S: Stored>(stored: &S, header: &Header, mut before: Seen) -> Result<Seen, S::Error> {
    for dep in &header.deps {
        if let Some((author, seq)) = stored.place(dep)? {
            let known = before.entry(author).or_default();
            *known = seq.max(*known);
        }
    }
    before.insert(header.author, header.seq);
    Ok(before)
}

#[cfg(test)]
mod tests;
