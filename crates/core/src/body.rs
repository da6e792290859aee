//! The body of an entry: row operations, column by column.
//!
//! A body is a list of *sections*; a section is a run of operations of one kind, on one table, over the
//! same columns. Its values stand column by column, so that like stands beside like and LZ4 finds it. The
//! operations of all sections are numbered in order, from 0: that number makes the dot of an operation
//! (rule R1). `docs/format.md` draws the bytes.
//!
//! Reading borrows: a row's text and blobs are slices of the unpacked body.

use crate::codec::{Malformed, Reader, Write};
use crate::id::AuthorId;
use crate::limit;
use std::collections::BTreeSet;

pub mod cell;
pub mod pack;
pub mod read;
pub mod write;

pub use cell::{Cell, Coder};
pub use pack::{pack, unpack};
pub use read::{Body, RowOp, Section};
pub use write::BodyWriter;

/// A column's id in its table: first four bytes of a hash of its folded name, made unique by the definition.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct ColumnId(pub [u8; 4]);

impl ColumnId {
    /// # Errors
    /// [`Malformed`] if fewer bytes are left.
    pub fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        let mut id = [0; 4];
        id.copy_from_slice(r.raw(4, "column id")?);
        Ok(Self(id))
    }

    /// The id of a column that has no namesake by hash among `taken`.
    pub fn of(name: &str, taken: &[ColumnId]) -> Self {
        (0u32..)
            .map(|salt| {
                let mut h = blake3::Hasher::new_derive_key("p2pdb 1 column");
                h.update(name.to_ascii_lowercase().as_bytes()).update(&salt.to_le_bytes());
                let hash = h.finalize();
                let [a, b, c, d, ..] = *hash.as_bytes();
                Self([a, b, c, d])
            })
            .find(|id| !taken.contains(id))
            .unwrap_or_default()
    }
}

/// What the operations of a section do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Kind {
    /// Announce a table: its definition, and the ids of its columns in order.
    Define = 1,
    /// A new row, or a new incarnation of one.
    Insert = 2,
    /// New values for some columns of a row.
    Update = 3,
    /// Removal of the incarnations that the author saw.
    Delete = 4,
    /// "This displayed, derived value stays" (rule R12).
    Settle = 5,
    /// A piece of a value too long for one entry; cells of the same atomic group name it by number.
    Part = 6,
    /// From some authors the writer had not seen all on one table that its entry says it had: what follows on that table was
    /// written without it.
    Unseen = 7,
    /// Change an announced table: what of it is otherwise now.
    Alter = 8,
}

impl Kind {
    /// Is it about rows?
    pub fn has_rows(self) -> bool {
        matches!(self, Self::Insert | Self::Update | Self::Delete | Self::Settle)
    }

    fn from_u8(got: u8) -> Result<Self, Malformed> {
        Ok(match got {
            1 => Self::Define,
            2 => Self::Insert,
            3 => Self::Update,
            4 => Self::Delete,
            5 => Self::Settle,
            6 => Self::Part,
            7 => Self::Unseen,
            8 => Self::Alter,
            got => return Err(Malformed::Unknown { what: "section kind", got: got.into() }),
        })
    }
}

/// The rows have names of their own in the section; without it a name follows from the dot or the key's cells.
pub(crate) const FLAG_NAMED: u8 = 1;
/// The rows list the incarnations that their author saw; without it that is the one the name tells.
pub(crate) const FLAG_SEEN: u8 = 2;
/// A delete by the seal, of a row that its user never saw (rule R12).
pub(crate) const FLAG_AUTO: u8 = 4;
/// Update: after the written columns come others of their check groups, as the author saw them (rule P1).
pub(crate) const FLAG_SNAPSHOT: u8 = 8;

/// Authors that dots in a body name by number; number 0 is the entry's own.
#[derive(Clone, Debug, Default)]
pub struct Authors(Vec<AuthorId>);

impl Authors {
    /// Only the entry's own.
    pub fn new(own: AuthorId) -> Self {
        Self(vec![own])
    }

    fn number(&mut self, author: &AuthorId) -> u64 {
        let at = self.0.iter().position(|a| a == author).unwrap_or_else(|| {
            self.0.push(*author);
            self.0.len() - 1
        });
        at as u64
    }

    fn author(&self, number: u64) -> Result<AuthorId, Malformed> {
        let found = usize::try_from(number).ok().and_then(|n| self.0.get(n));
        found.copied().ok_or(Malformed::Rule("a dot names an author that the body does not list"))
    }

    fn write(&self, out: &mut Vec<u8>) {
        let others = self.0.get(1..).unwrap_or_default();
        out.uvarint(others.len() as u64);
        others.iter().for_each(|a| out.raw(&a.0));
    }

    fn read(own: AuthorId, r: &mut Reader<'_>) -> Result<Self, Malformed> {
        let n = r.items("authors", AuthorId::BYTES)?;
        let mut all = Vec::with_capacity(n + 1);
        all.push(own);
        for _ in 0..n {
            all.push(AuthorId::read(r)?);
        }
        let distinct: BTreeSet<_> = all.iter().collect();
        if distinct.len() < all.len() {
            return Err(Malformed::Rule("a body lists authors other than the entry's own, each once"));
        }
        Ok(Self(all))
    }
}

/// Bounds that a section's counts are checked against.
fn check_columns(n: usize) -> Result<usize, Malformed> {
    if n > limit::COLUMNS_MAX {
        let (got, max) = (n as u64, limit::COLUMNS_MAX as u64);
        return Err(Malformed::OverLimit { what: "columns", got, max });
    }
    Ok(n)
}

#[cfg(test)]
mod tests;
