//! Bytes from a hostile peer, and what the readers of them promise.
//!
//! The idea: a promise is a function over bytes that panics where it is broken. Ordinary tests put it to valid inputs, to
//! seeded mutations of those and to inputs that fuzzing came upon (`tests/hostile.rs`); fuzzing guided by coverage puts it
//! to whatever it can think of (`fuzz/`). So a claim stands in one place, and both judge by it.
//!
//! | target | bytes | claim |
//! |---|---|---|
//! | [`frame`] | one frame | what is read is written again as the same bytes; nobody without the secret proves anything |
//! | [`session`] | steps of a peer, a member or a stranger | buffers keep to their bounds, what is sent is well formed, a stranger learns nothing, what is stored merges |
//! | [`entry`] | one entry | what is read is written again as the same bytes; nothing passes for another author's |
//! | [`body`] | a stored or raw body | cells and operations keep to their bounds; a body has one normal form |
//! | [`value`] | values, names, cells, dots and stamps in a row | each is written again as the same bytes |
//! | [`ticket`] | a ticket's text | what is read is said again as a ticket of the same content |
//!
//! None panics, and none takes more memory than [`Target::memory_bytes_max`] tells. That the time is bounded follows from
//! the bounds on what is read; the fuzzer's own time limit watches over it.
//!
//! It knows no fuzzer and measures nothing itself: who calls a claim does.

use p2pdb_core::id::GroupId;
use p2pdb_core::key::{AuthorKey, Secret};

pub mod body;
pub mod entry;
pub mod frame;
pub mod mutate;
pub mod session;
pub mod ticket;
pub mod value;

/// A reader of a peer's bytes, with what it promises.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name; that of the fuzzer's binary too.
    pub name: &'static str,
    /// Panics where the promise does not hold for these bytes.
    pub claim: fn(&[u8]),
    /// Inputs that do not stop at the first check.
    valid: fn() -> Vec<Vec<u8>>,
    /// Inputs that fuzzing came upon: together they lead through the reader's branches. In hexadecimal, one a line.
    kept: &'static str,
    /// Bytes of memory that the claim may take whatever the input says: what limits allow, and its own fixture.
    memory_base: usize,
    /// Bytes of memory that it may take besides for each byte of input.
    memory_per_byte: usize,
}

impl Target {
    /// What a mutation starts from: the valid inputs, then those that are kept.
    ///
    /// # Panics
    /// If a kept input is no line of hexadecimal digits.
    pub fn inputs(&self) -> Vec<Vec<u8>> {
        let kept = self.kept.lines().map(from_hex);
        (self.valid)().into_iter().chain(kept).collect()
    }

    /// Bytes of memory that may be in use at once while the claim is put to an input of `input_bytes`.
    pub fn memory_bytes_max(&self, input_bytes: usize) -> usize {
        self.memory_base + self.memory_per_byte * input_bytes
    }
}

/// All of them.
pub const TARGETS: [Target; 6] =
    [frame::TARGET, session::TARGET, entry::TARGET, body::TARGET, value::TARGET, ticket::TARGET];

fn from_hex(line: &str) -> Vec<u8> {
    let digit = |at: usize| line.get(at..at + 2).and_then(|two| u8::from_str_radix(two, 16).ok());
    let bytes = (0..line.len()).step_by(2).map(digit).collect::<Option<_>>();
    bytes.unwrap_or_else(|| panic!("a kept input is hexadecimal: {line}"))
}

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// The group that the peer wants in.
const GROUP: GroupId = GroupId([1; 16]);
/// Its secret.
const SECRET: Secret = Secret([2; 32]);

/// The key of an author: 1 is the one under attack, 2 an honest one, 3 the attacker as far as it is a member.
fn key(n: u8) -> AuthorKey {
    AuthorKey::from_seed(&[n; 32])
}
