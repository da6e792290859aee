//! STATE, WANT and DIGEST: what a peer holds.
//!
//! Equal roots say it in 32 bytes. Otherwise the ends of all chains follow, inline while they are few, in pages of WANT
//! while they are many; eight bytes of each head's id tell a fork at once.

use super::{AuthorId, Digest, Head, Life, Malformed, Reader, Root, Seq, Write};
use crate::limit;

/// A few hashes over everything a peer holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Summary {
    /// [`crate::log::frontier_root`].
    pub root: Root,
    /// The state digest (rule R20).
    pub digest: Digest,
    /// [`crate::log::Log::withheld_root`].
    pub withheld: [u8; 16],
    /// The last number of its arrival order.
    pub last_arrival: u64,
}

/// The end of a chain, told to a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tip {
    /// The author.
    pub author: AuthorId,
    /// The last entry's number.
    pub seq: Seq,
    /// The first bytes of the last entry's id.
    pub hash: [u8; 8],
}

impl From<&Head> for Tip {
    fn from(head: &Head) -> Self {
        let mut hash = [0; 8];
        hash.copy_from_slice(&head.id.0[..8]);
        Self { author: head.author, seq: head.seq, hash }
    }
}

/// What a peer holds and how far it knows what the other holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// Does this answer a STATE? Otherwise it asks for one.
    pub is_reply: bool,
    /// The sender's author.
    pub author: AuthorId,
    /// The life of the sender's arrival order.
    pub life: Life,
    /// Everything it holds, in hashes.
    pub summary: Summary,
    /// Hash over its table definitions.
    pub schema: [u8; 16],
    /// "Of your arrival order in that life I hold everything up to this number."
    pub cursor: Option<(Life, u64)>,
    /// The ends of all its chains, in ascending order of authors; none where the roots are equal or they are too many.
    pub frontier: Option<Vec<Tip>>,
}

const IS_REPLY: u8 = 1;
const HAS_CURSOR: u8 = 2;
const HAS_FRONTIER: u8 = 4;

const AFTER: u8 = 0;
const PAGE: u8 = 1;
const LAST_PAGE: u8 = 2;

/// Where a peer wants the other to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Want {
    /// After this number of your arrival order in that life.
    After(Life, u64),
    /// A page of the ends of all chains I hold, ascending from page to page: send what comes after them.
    Page {
        /// At most [`limit::FRONTIER_INLINE_MAX`].
        tips: Vec<Tip>,
        /// Is it the last page?
        is_last: bool,
    },
}

impl Summary {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.raw(&self.root);
        out.raw(&self.digest.0);
        out.raw(&self.withheld);
        out.uvarint(self.last_arrival);
    }

    pub(super) fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            root: r.array("frontier root")?,
            digest: Digest::read(r)?,
            withheld: r.array("withheld root")?,
            last_arrival: super::read_arrival(r)?,
        })
    }
}

impl State {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let flag = |on, bit| if on { bit } else { 0 };
        out.u8(flag(self.is_reply, IS_REPLY)
            | flag(self.cursor.is_some(), HAS_CURSOR)
            | flag(self.frontier.is_some(), HAS_FRONTIER));
        out.raw(&self.author.0);
        out.raw(&self.life.0);
        self.summary.write(out);
        out.raw(&self.schema);
        if let Some((life, n)) = &self.cursor {
            out.raw(&life.0);
            out.uvarint(*n);
        }
        if let Some(tips) = &self.frontier {
            write_tips(tips, out);
        }
    }

    pub(super) fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        let flags = r.u8("flags")?;
        if flags & !(IS_REPLY | HAS_CURSOR | HAS_FRONTIER) != 0 {
            return Err(Malformed::Unknown { what: "STATE flags", got: flags.into() });
        }
        let author = AuthorId::read(r)?;
        let life = Life::read(r)?;
        let summary = Summary::read(r)?;
        let schema = r.array("schema hash")?;
        let cursor = if flags & HAS_CURSOR != 0 { Some((Life::read(r)?, super::read_arrival(r)?)) } else { None };
        let has_frontier = flags & HAS_FRONTIER != 0;
        let frontier = if has_frontier { Some(read_tips(r, limit::FRONTIER_INLINE_MAX)?) } else { None };
        Ok(Self { is_reply: flags & IS_REPLY != 0, author, life, summary, schema, cursor, frontier })
    }
}

impl Want {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::After(life, n) => {
                out.u8(AFTER);
                out.raw(&life.0);
                out.uvarint(*n);
            }
            Self::Page { tips, is_last } => {
                out.u8(if *is_last { LAST_PAGE } else { PAGE });
                write_tips(tips, out);
            }
        }
    }

    pub(super) fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(match r.u8("WANT form")? {
            AFTER => Self::After(Life::read(r)?, super::read_arrival(r)?),
            form @ (PAGE | LAST_PAGE) => {
                Self::Page { tips: read_tips(r, limit::FRONTIER_INLINE_MAX)?, is_last: form == LAST_PAGE }
            }
            got => return Err(Malformed::Unknown { what: "WANT form", got: got.into() }),
        })
    }
}

pub(super) fn write_tips(tips: &[Tip], out: &mut Vec<u8>) {
    out.uvarint(tips.len() as u64);
    for tip in tips {
        out.raw(&tip.author.0);
        out.uvarint(tip.seq.0);
        out.raw(&tip.hash);
    }
}

pub(super) fn read_tips(r: &mut Reader<'_>, max: usize) -> Result<Vec<Tip>, Malformed> {
    const TIP_BYTES_MIN: usize = 16 + 1 + 8;
    let n = r.count("heads", max)?;
    let mut tips: Vec<Tip> = Vec::with_capacity(n.min(r.rest().len() / TIP_BYTES_MIN));
    for _ in 0..n {
        let author = AuthorId::read(r)?;
        let seq = Seq(r.uvarint("seq")?);
        if seq.0 == 0 || seq.0 > i64::MAX as u64 {
            return Err(Malformed::Rule("a head's seq counts from 1 and stays below 2^63"));
        }
        if tips.last().is_some_and(|last| last.author >= author) {
            return Err(Malformed::Rule("heads stand in ascending order of authors, each once"));
        }
        tips.push(Tip { author, seq, hash: r.array("head")? });
    }
    Ok(tips)
}
