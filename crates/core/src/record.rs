//! The packed clock record of one row: all that the merge needs beside the visible row.
//!
//! *Plain*: the row has one incarnation, each column one write, and what the table shows is what the
//! cells hold; then the birth's stamp, the stamps of columns written since and a hash a column are
//! enough, and the values stay in the table alone. *Full*: anything else (two births of one key, a
//! renumbered id, a hidden row, a settle) is kept with all its values as a [`RowState`].
//!
//! Stamps name authors by small local numbers; nothing packed here is hashed, signed or sent.

use crate::cellhash::{CELL_HASH_BYTES, CellHash};
use crate::clock::{Clock, Stamp};
use crate::codec::{Malformed, Reader, Write as _};
use crate::id::{AuthorId, Dot, Seq};
use crate::limit;
use crate::row::{RowState, Settle, Write};
use crate::value::Value;

/// Local numbers for authors.
pub trait AuthorNumbers {
    /// The number of an author, given out at first use.
    fn number(&mut self, author: &AuthorId) -> u32;
    /// The author of a number.
    fn author(&self, number: u32) -> Option<AuthorId>;
}

/// One row's record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The first insert of the row, whose dot names it where the id is only a claim; of a plain row it is the incarnation.
    pub born: Stamp,
    /// The id claimed at birth, where it is not the id that the row shows now.
    pub birth_id: Option<i64>,
    /// A column's hash as shown when last sealed or applied; of columns behind the last one here nobody wrote any
    /// ([`Record::hash`]).
    pub hashes: Vec<CellHash>,
    /// Columns written since birth, ascending. Plain rows only.
    pub diverged: Vec<(usize, Stamp)>,
    /// The merged state of a row that is not plain.
    pub state: Option<Box<RowState>>,
    /// Alive, but not in the table.
    pub is_hidden: bool,
    /// Has the book of conflicts a line on this row?
    pub has_conflicts: bool,
}

const FULL: u8 = 1;
const BIRTH_ID: u8 = 2;
const DIVERGED: u8 = 4;
const HIDDEN: u8 = 8;
const CONFLICTS: u8 = 16;

impl Record {
    /// The record of a row just born and shown.
    pub fn born(born: Stamp, hashes: Vec<CellHash>) -> Self {
        Self { born, birth_id: None, hashes, diverged: Vec::new(), state: None, is_hidden: false, has_conflicts: false }
    }

    /// When a column of a plain row was last written.
    pub fn stamp(&self, column: usize) -> Stamp {
        match self.diverged.binary_search_by_key(&column, |d| d.0) {
            Ok(at) => self.diverged[at].1,
            Err(_) => self.born,
        }
    }

    /// A column's hash as shown when last sealed or applied.
    pub fn hash(&self, column: usize) -> CellHash {
        self.hashes.get(column).copied().unwrap_or(CellHash::UNWRITTEN)
    }

    /// Notes a write to a column of a plain row.
    pub fn diverge(&mut self, column: usize, stamp: Stamp, hash: CellHash) {
        match self.diverged.binary_search_by_key(&column, |d| d.0) {
            Ok(at) => self.diverged[at].1 = stamp,
            Err(at) => self.diverged.insert(at, (column, stamp)),
        }
        if self.hashes.len() <= column {
            self.hashes.resize(column + 1, CellHash::UNWRITTEN);
        }
        self.hashes[column] = hash;
    }

    /// The live incarnations.
    pub fn incarnations(&self) -> Vec<Dot> {
        match &self.state {
            Some(state) => state.incarnations.iter().map(Stamp::dot).collect(),
            None => vec![self.born.dot()],
        }
    }

    /// The merged state, with `values` read from the table if the record is plain.
    pub fn expand(&self, values: impl FnOnce() -> Vec<Value>) -> RowState {
        if let Some(state) = &self.state {
            return (**state).clone();
        }
        let mut state = RowState::new(0);
        state.insert(self.born, &[], values().into_iter().enumerate().filter(|(c, _)| self.is_written(*c)));
        for (column, stamp) in &self.diverged {
            if let Some(write) = state.writes.get_mut(*column).and_then(|w| w.first_mut()) {
                write.stamp = *stamp;
            }
        }
        state
    }

    fn is_written(&self, column: usize) -> bool {
        self.hash(column) != CellHash::UNWRITTEN
    }

    /// The record where the columns have other numbers: column `c` has number `place(c)` now, or is gone; there are `columns`.
    pub fn renumbered(mut self, place: &dyn Fn(usize) -> Option<usize>, columns: usize) -> Self {
        let mut hashes = vec![CellHash::UNWRITTEN; columns];
        for (c, hash) in self.hashes.iter().enumerate() {
            if let Some(to) = place(c).filter(|to| *to < columns) {
                hashes[to] = *hash;
            }
        }
        self.hashes = if self.is_hidden { Vec::new() } else { hashes };
        self.diverged = self.diverged.iter().filter_map(|(c, stamp)| Some((place(*c)?, *stamp))).collect();
        self.diverged.sort_unstable_by_key(|d| d.0);
        if let Some(state) = &mut self.state {
            let mut writes = vec![Vec::new(); columns];
            for (c, of_column) in std::mem::take(&mut state.writes).into_iter().enumerate() {
                if let Some(to) = place(c).filter(|to| *to < columns) {
                    writes[to] = of_column;
                }
            }
            state.writes = writes;
            state.settles.retain_mut(|s| {
                place(s.column).is_some_and(|to| {
                    s.column = to;
                    true
                })
            });
            state.settles.sort_unstable_by_key(|s| (s.column, s.at));
        }
        self
    }

    /// Packs it.
    pub fn pack(&self, authors: &mut impl AuthorNumbers, out: &mut Vec<u8>) {
        let flag = |on, bit| if on { bit } else { 0 };
        out.u8(flag(self.state.is_some(), FULL)
            | flag(self.birth_id.is_some(), BIRTH_ID)
            | flag(!self.diverged.is_empty(), DIVERGED)
            | flag(self.is_hidden, HIDDEN)
            | flag(self.has_conflicts, CONFLICTS));
        write_stamp(&self.born, authors, out);
        if let Some(id) = self.birth_id {
            out.varint(id);
        }
        if !self.diverged.is_empty() {
            out.uvarint(self.diverged.len() as u64);
            for (column, stamp) in &self.diverged {
                out.uvarint(*column as u64);
                write_stamp(stamp, authors, out);
            }
        }
        if let Some(state) = &self.state {
            write_state(state, authors, out);
        }
        // Hashes stand last: their number follows from the bytes that are left.
        for hash in &self.hashes {
            out.raw(&hash.0.to_le_bytes()[..CELL_HASH_BYTES]);
        }
    }

    /// Unpacks it.
    ///
    /// # Errors
    /// [`Malformed`] if the bytes are no record: the private tables are damaged.
    pub fn unpack(bytes: &[u8], authors: &impl AuthorNumbers) -> Result<Self, Malformed> {
        let mut r = Reader::new(bytes);
        let flags = r.u8("record flags")?;
        let born = read_stamp(&mut r, authors)?;
        let birth_id = if flags & BIRTH_ID != 0 { Some(r.varint("birth id")?) } else { None };
        let mut diverged = Vec::new();
        if flags & DIVERGED != 0 {
            for _ in 0..r.items("diverged columns", 5)? {
                let column = r.count("column", limit::COLUMNS_MAX)?;
                diverged.push((column, read_stamp(&mut r, authors)?));
            }
        }
        let state = if flags & FULL != 0 { Some(Box::new(read_state(&mut r, authors)?)) } else { None };
        let hashes = r.rest().chunks_exact(CELL_HASH_BYTES).map(|chunk| {
            let mut wide = [0; 8];
            wide[..CELL_HASH_BYTES].copy_from_slice(chunk);
            CellHash(u64::from_le_bytes(wide))
        });
        Ok(Self {
            born,
            birth_id,
            hashes: hashes.collect(),
            diverged,
            state,
            is_hidden: flags & HIDDEN != 0,
            has_conflicts: flags & CONFLICTS != 0,
        })
    }
}

fn write_stamp(stamp: &Stamp, authors: &mut impl AuthorNumbers, out: &mut Vec<u8>) {
    out.uvarint(stamp.clock.ms());
    out.uvarint(stamp.clock.0 & 0xffff);
    write_dot(&stamp.dot(), authors, out);
}

fn read_stamp(r: &mut Reader<'_>, authors: &impl AuthorNumbers) -> Result<Stamp, Malformed> {
    let ms = r.uvarint("clock")?;
    let counter = r.uvarint("clock counter")?;
    let dot = read_dot(r, authors)?;
    Ok(Stamp { clock: Clock((ms << 16) | (counter & 0xffff)), author: dot.author, seq: dot.seq, op: dot.op })
}

fn write_dot(dot: &Dot, authors: &mut impl AuthorNumbers, out: &mut Vec<u8>) {
    out.uvarint(authors.number(&dot.author).into());
    out.uvarint(dot.seq.0);
    out.uvarint(dot.op.into());
}

fn read_dot(r: &mut Reader<'_>, authors: &impl AuthorNumbers) -> Result<Dot, Malformed> {
    let number = r.count("author number", u32::MAX as usize)? as u32;
    let author = authors.author(number).ok_or(Malformed::Rule("a record names an author that is not listed"))?;
    Ok(Dot { author, seq: Seq(r.uvarint("seq")?), op: r.count("operation", u32::MAX as usize)? as u32 })
}

fn write_state(state: &RowState, authors: &mut impl AuthorNumbers, out: &mut Vec<u8>) {
    out.uvarint(state.incarnations.len() as u64);
    state.incarnations.iter().for_each(|i| write_stamp(i, authors, out));
    out.uvarint(state.writes.len() as u64);
    for writes in &state.writes {
        out.uvarint(writes.len() as u64);
        for w in writes {
            write_stamp(&w.stamp, authors, out);
            out.uvarint(w.seen.len() as u64);
            w.seen.iter().for_each(|d| write_dot(d, authors, out));
            w.value.write(out);
        }
    }
    out.uvarint(state.settles.len() as u64);
    for s in &state.settles {
        out.uvarint(s.column as u64);
        write_stamp(&s.at, authors, out);
        write_stamp(&s.stamp, authors, out);
        s.value.write(out);
    }
}

fn read_state(r: &mut Reader<'_>, authors: &impl AuthorNumbers) -> Result<RowState, Malformed> {
    let mut state = RowState::new(0);
    for _ in 0..r.items("incarnations", 5)? {
        state.incarnations.push(read_stamp(r, authors)?);
    }
    for _ in 0..r.items("columns", 1)? {
        let mut writes = Vec::new();
        for _ in 0..r.items("writes", 7)? {
            let stamp = read_stamp(r, authors)?;
            let mut seen = Vec::new();
            for _ in 0..r.items("seen", 3)? {
                seen.push(read_dot(r, authors)?);
            }
            writes.push(Write { stamp, value: Value::read(r)?, seen });
        }
        state.writes.push(writes);
    }
    for _ in 0..r.items("settles", 12)? {
        let column = r.count("column", limit::COLUMNS_MAX)?;
        let (at, stamp) = (read_stamp(r, authors)?, read_stamp(r, authors)?);
        state.settles.push(Settle { column, at, stamp, value: Value::read(r)? });
    }
    Ok(state)
}
