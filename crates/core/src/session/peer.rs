//! What is known of the peer: who it is, what it holds, how far of its arrival order is here.

use crate::id::{AuthorId, Life, Seq};
use crate::limit;
use crate::log::{Head, Root, frontier_root};
use crate::message::{Summary, Tip};
use std::collections::BTreeMap;

/// The other side of a session.
#[derive(Debug, Default)]
pub(super) struct Peer {
    pub(super) author: Option<AuthorId>,
    pub(super) life: Option<Life>,
    /// What it last said of everything it holds.
    pub(super) summary: Option<Summary>,
    /// The last entry of each author that it holds: told, sent by it, or acknowledged.
    has: BTreeMap<AuthorId, Seq>,
    /// Does `has` name every author it holds?
    is_complete: bool,
    /// Everything up to this number of its arrival order is here or on its way into the store.
    pub(super) cursor: u64,
    /// What of that the store was told.
    pub(super) remembered: u64,
}

impl Peer {
    /// It holds exactly that.
    pub(super) fn holds(&mut self, tips: impl IntoIterator<Item = (AuthorId, Seq)>) {
        self.has = tips.into_iter().collect();
        self.is_complete = true;
    }

    /// It holds something else than was thought, and has not said what yet.
    pub(super) fn is_unknown(&mut self) {
        self.has.clear();
        self.is_complete = false;
    }

    /// A page of what it holds. False if that is more than is remembered of a peer.
    #[must_use]
    pub(super) fn holds_also(&mut self, tips: &[Tip], is_last: bool) -> bool {
        self.has.extend(tips.iter().map(|t| (t.author, t.seq)));
        self.is_complete |= is_last;
        self.has.len() <= limit::FRONTIER_AUTHORS_MAX
    }

    /// It holds that entry and all before it.
    pub(super) fn gained(&mut self, author: AuthorId, seq: Seq) {
        let has = self.has.entry(author).or_default();
        *has = seq.max(*has);
    }

    pub(super) fn has(&self, author: &AuthorId) -> Seq {
        self.has.get(author).copied().unwrap_or_default()
    }

    /// Does it hold exactly our frontier?
    pub(super) fn is_level(&self, frontier: &[Head]) -> bool {
        if self.is_complete {
            return frontier.len() == self.has.len()
                && frontier.iter().all(|h| self.has.get(&h.author) == Some(&h.seq));
        }
        self.root() == Some(frontier_root(frontier))
    }

    /// Is it known of every author what the peer holds?
    pub(super) fn is_complete(&self) -> bool {
        self.is_complete
    }

    pub(super) fn root(&self) -> Option<Root> {
        self.summary.map(|s| s.root)
    }

    /// Entries it holds and we don't, and the other way round.
    pub(super) fn distance(&self, frontier: &[Head]) -> (u64, u64) {
        if !self.is_complete {
            return (0, 0);
        }
        let ours: BTreeMap<_, _> = frontier.iter().map(|h| (h.author, h.seq)).collect();
        let over = |a: &BTreeMap<AuthorId, Seq>, b: &BTreeMap<AuthorId, Seq>| {
            let more = a.iter().map(|(author, s)| s.0.saturating_sub(b.get(author).map_or(0, |s| s.0)));
            more.fold(0, u64::saturating_add)
        };
        (over(&self.has, &ours), over(&ours, &self.has))
    }
}
