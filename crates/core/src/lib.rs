//! The pure core of P2PDB.
//!
//! Everything that must be the same on every replica stands here: names, clocks, the bytes of an entry,
//! the merge of rows, the projection of integer keys and the sync session. Nothing here reads a clock,
//! draws a random number, opens a socket, starts a thread or speaks SQL: time and randomness are
//! arguments, storage is a trait. That is what lets one seeded simulator run many replicas of the very
//! code that the extension runs.
#![forbid(unsafe_code)]

pub mod affinity;
pub mod backoff;
pub mod body;
pub mod causal;
pub mod cellhash;
pub mod chain;
pub mod claim;
pub mod clock;
pub mod codec;
pub mod digest;
pub mod entry;
pub mod id;
pub mod key;
pub mod limit;
pub mod local;
pub mod log;
pub mod merge;
pub mod message;
pub mod name;
pub mod record;
pub mod row;
pub mod session;
pub mod ticket;
pub mod unique;
pub mod value;
pub mod writer;
