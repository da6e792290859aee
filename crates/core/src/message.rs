//! Frames of `/p2pdb/sync/1`: `u8 type | body`, one a frame; the length before it is the transport's.
//!
//! The idea: every field is bounded before it is read, and a frame has exactly one encoding, so that what is read and
//! written again is the same bytes. A type from 0x80 on that is not known is for a later version and skipped; one below
//! breaks the protocol. `docs/format.md` draws the bytes; golden vectors in the tests pin them.
//!
//! This module knows no order of messages: that is [`crate::session`].

use crate::codec::{Malformed, Reader, Write};
use crate::id::{AuthorId, Digest, Life, Seq};
use crate::limit;
use crate::log::{Head, Root};

pub mod hello;
pub mod state;

pub use hello::{Hello, find_group};
pub use state::{State, Summary, Tip, Want};

/// The protocol's id on the wire.
pub const PROTOCOL: &str = "/p2pdb/sync/1";

const HELLO: u8 = 0x01;
const STATE: u8 = 0x02;
const WANT: u8 = 0x03;
const ENTRIES: u8 = 0x04;
const ACK: u8 = 0x06;
const HAVE: u8 = 0x07;
const PEERS: u8 = 0x0a;
const DIGEST: u8 = 0x0b;
const SYNC: u8 = 0x0c;
const BYE: u8 = 0x0e;
const ERR: u8 = 0x0f;
/// Types from here on are skipped where they are not known.
const SKIPPED_FROM: u8 = 0x80;

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// The proof of membership; nothing else is sent or believed before it.
    Hello(Hello),
    /// What I hold, and how far I know what you hold.
    State(State),
    /// Where to start, in a group too large for STATE to say it.
    Want(Want),
    /// Entries, a catch-up's or live ones.
    Entries(Entries<'a>),
    /// Batches that are durable here.
    Ack(Ack),
    /// Heads on offer (reserved: read and ignored).
    Have(Vec<Tip>),
    /// Addresses of other members.
    Peers(Vec<String>),
    /// What I hold, in a few hashes.
    Digest(Summary),
    /// Seal and send what is committed, and say when.
    Sync(Sync),
    /// I leave.
    Bye(Bye),
    /// You broke a rule, or I failed.
    Err(Error),
}

/// A batch of entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entries<'a> {
    /// With this batch everything up to this number of my arrival order was sent to you, or is known to be with you; 0
    /// if that is not so yet.
    pub cursor: u64,
    /// Is more ready to be sent?
    pub has_more: bool,
    /// Whole entries, an author's in the order of its chain.
    pub entries: Vec<&'a [u8]>,
}

/// How many ENTRIES frames of this session are done with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack {
    /// Frames that are durable, counted from the start of the session.
    pub batches: u64,
    /// As [`Entries::cursor`]: everything up to this number of my arrival order is with you.
    pub cursor: u64,
}

/// Wants to have, or has, all that was committed at a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sync {
    /// Seal what is committed and send it; then answer. A later question takes the place of one that has no answer yet.
    Question {
        /// Counts the sender's questions of this session, from 1.
        number: u64,
    },
    /// All that was committed when that question was taken up has been sent.
    Answer {
        /// The question's.
        number: u64,
        /// Or not: something may be committed that can't be sealed at the moment.
        is_held_back: bool,
    },
}

/// A peer leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bye {
    /// Milliseconds after which a new connection is welcome.
    pub pause_ms: u64,
}

/// Why a peer closes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// What kind.
    pub code: ErrorCode,
    /// One line for the other side's log; empty towards a stranger.
    pub text: String,
}

/// Kinds of errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorCode {
    /// No proof of membership, whatever was wrong with it.
    Stranger,
    /// A frame or its order breaks the protocol.
    Protocol,
    /// An entry was refused.
    Entry,
    /// Two entries in one place: a copied or restored database.
    Fork,
    /// The sender of the error failed itself: its disk, its database.
    Failure,
    /// One of a later version.
    Other(u8),
}

impl ErrorCode {
    fn to_u8(self) -> u8 {
        match self {
            Self::Stranger => 1,
            Self::Protocol => 2,
            Self::Entry => 3,
            Self::Fork => 4,
            Self::Failure => 5,
            Self::Other(code) => code,
        }
    }

    fn from_u8(code: u8) -> Self {
        match code {
            1 => Self::Stranger,
            2 => Self::Protocol,
            3 => Self::Entry,
            4 => Self::Fork,
            5 => Self::Failure,
            other => Self::Other(other),
        }
    }
}

const HAS_MORE: u8 = 1;

const IS_ANSWER: u8 = 1;
const IS_HELD_BACK: u8 = 2;

impl<'a> Message<'a> {
    /// Reads a frame; none if it is of a later version's type, to be skipped.
    ///
    /// # Errors
    /// [`Malformed`] if it breaks the format; [`Malformed::Unknown`] for a type below 0x80 that is not known.
    pub fn read(frame: &'a [u8]) -> Result<Option<Self>, Malformed> {
        if frame.len() > limit::FRAME_BYTES_MAX {
            let (got, max) = (frame.len() as u64, limit::FRAME_BYTES_MAX as u64);
            return Err(Malformed::OverLimit { what: "frame length", got, max });
        }
        let mut r = Reader::new(frame);
        let message = match r.u8("frame type")? {
            // A HELLO is hashed whole and has its own way to end.
            HELLO => return Ok(Some(Self::Hello(Hello::read(frame)?))),
            STATE => Self::State(State::read(&mut r)?),
            WANT => Self::Want(Want::read(&mut r)?),
            ENTRIES => Self::Entries(read_entries(&mut r)?),
            ACK => Self::Ack(Ack { batches: r.uvarint("batches")?, cursor: read_arrival(&mut r)? }),
            HAVE => Self::Have(state::read_tips(&mut r, limit::FRONTIER_INLINE_MAX)?),
            PEERS => Self::Peers(read_addresses(&mut r)?),
            DIGEST => Self::Digest(Summary::read(&mut r)?),
            SYNC => Self::Sync(read_sync(&mut r)?),
            BYE => Self::Bye(Bye { pause_ms: r.uvarint("pause")? }),
            ERR => Self::Err(read_error(&mut r)?),
            got if got < SKIPPED_FROM => return Err(Malformed::Unknown { what: "frame type", got: got.into() }),
            _ => return Ok(None),
        };
        r.end()?;
        Ok(Some(message))
    }

    /// The frame's bytes.
    pub fn write(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64);
        match self {
            Self::Hello(hello) => hello.write(&mut out),
            Self::State(state) => {
                out.u8(STATE);
                state.write(&mut out);
            }
            Self::Want(want) => {
                out.u8(WANT);
                want.write(&mut out);
            }
            Self::Entries(entries) => write_entries(entries, &mut out),
            Self::Ack(ack) => {
                out.u8(ACK);
                out.uvarint(ack.batches);
                out.uvarint(ack.cursor);
            }
            Self::Have(tips) => {
                out.u8(HAVE);
                state::write_tips(tips, &mut out);
            }
            Self::Peers(addresses) => {
                out.u8(PEERS);
                out.uvarint(addresses.len() as u64);
                addresses.iter().for_each(|a| out.bytes(a.as_bytes()));
            }
            Self::Digest(summary) => {
                out.u8(DIGEST);
                summary.write(&mut out);
            }
            Self::Sync(sync) => write_sync(*sync, &mut out),
            Self::Bye(bye) => {
                out.u8(BYE);
                out.uvarint(bye.pause_ms);
            }
            Self::Err(error) => {
                out.u8(ERR);
                out.u8(error.code.to_u8());
                out.bytes(error.text.as_bytes());
            }
        }
        out
    }

    /// The answer to a HELLO that proves nothing: the same bytes whatever was wrong with it.
    pub fn stranger() -> Self {
        Self::Err(Error { code: ErrorCode::Stranger, text: String::new() })
    }

    /// PEERS with as many of `addresses` as it holds; those too long are left out.
    pub fn peers(addresses: &[String]) -> Self {
        let fitting = addresses.iter().filter(|a| a.len() <= limit::ADDRESS_BYTES_MAX);
        Self::Peers(fitting.take(limit::ADDRESSES_MAX).cloned().collect())
    }

    /// ERR, its text cut to the bound.
    pub fn error(code: ErrorCode, text: &str) -> Self {
        let end = (0..=text.len().min(limit::ERROR_TEXT_BYTES_MAX)).rev().find(|at| text.is_char_boundary(*at));
        Self::Err(Error { code, text: text[..end.unwrap_or_default()].to_owned() })
    }
}

fn write_entries(entries: &Entries<'_>, out: &mut Vec<u8>) {
    out.reserve(entries.entries.iter().map(|e| e.len() + 4).sum());
    out.u8(ENTRIES);
    out.u8(if entries.has_more { HAS_MORE } else { 0 });
    out.uvarint(entries.cursor);
    out.uvarint(entries.entries.len() as u64);
    entries.entries.iter().for_each(|e| out.bytes(e));
}

fn read_entries<'a>(r: &mut Reader<'a>) -> Result<Entries<'a>, Malformed> {
    let flags = r.u8("flags")?;
    if flags & !HAS_MORE != 0 {
        return Err(Malformed::Unknown { what: "ENTRIES flags", got: flags.into() });
    }
    let cursor = read_arrival(r)?;
    let n = r.count("entries", limit::BATCH_ENTRIES_MAX)?;
    let mut entries = Vec::with_capacity(n.min(r.rest().len()));
    for _ in 0..n {
        entries.push(r.bytes("entry length", limit::ENTRY_BYTES_MAX)?);
    }
    Ok(Entries { cursor, has_more: flags & HAS_MORE != 0, entries })
}

fn write_sync(sync: Sync, out: &mut Vec<u8>) {
    out.u8(SYNC);
    let (flags, number) = match sync {
        Sync::Question { number } => (0, number),
        Sync::Answer { number, is_held_back: false } => (IS_ANSWER, number),
        Sync::Answer { number, is_held_back: true } => (IS_ANSWER | IS_HELD_BACK, number),
    };
    out.u8(flags);
    out.uvarint(number);
}

fn read_sync(r: &mut Reader<'_>) -> Result<Sync, Malformed> {
    let flags = r.u8("flags")?;
    let number = r.uvarint("question number")?;
    match flags {
        0 => Ok(Sync::Question { number }),
        IS_ANSWER => Ok(Sync::Answer { number, is_held_back: false }),
        flags if flags == IS_ANSWER | IS_HELD_BACK => Ok(Sync::Answer { number, is_held_back: true }),
        got => Err(Malformed::Unknown { what: "SYNC flags", got: got.into() }),
    }
}

/// An arrival number: a database keeps it in a signed integer.
fn read_arrival(r: &mut Reader<'_>) -> Result<u64, Malformed> {
    let n = r.uvarint("arrival number")?;
    if n > i64::MAX as u64 {
        return Err(Malformed::OverLimit { what: "an arrival number", got: n, max: i64::MAX as u64 });
    }
    Ok(n)
}

fn read_addresses(r: &mut Reader<'_>) -> Result<Vec<String>, Malformed> {
    let n = r.count("addresses", limit::ADDRESSES_MAX)?;
    (0..n).map(|_| read_text(r, "address length", limit::ADDRESS_BYTES_MAX)).collect()
}

fn read_error(r: &mut Reader<'_>) -> Result<Error, Malformed> {
    let code = ErrorCode::from_u8(r.u8("error code")?);
    Ok(Error { code, text: read_text(r, "error text length", limit::ERROR_TEXT_BYTES_MAX)? })
}

fn read_text(r: &mut Reader<'_>, what: &'static str, bytes_max: usize) -> Result<String, Malformed> {
    let bytes = r.bytes(what, bytes_max)?;
    String::from_utf8(bytes.to_vec()).map_err(|_| Malformed::Rule("a text in a frame is not UTF-8"))
}

#[cfg(test)]
mod tests;
