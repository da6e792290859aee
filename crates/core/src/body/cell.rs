//! One value, name or dot in a column, coded against the one before it.

use super::Authors;
use crate::clock::{Clock, Stamp};
use crate::codec::{Malformed, Reader, Write};
use crate::id::{Dot, Seq};
use crate::limit;
use crate::name::Name;
use crate::value::Value;

/// A value in a body, borrowed from it.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell<'a> {
    /// NULL.
    Null,
    /// INTEGER.
    Integer(i64),
    /// REAL.
    Real(f64),
    /// TEXT.
    Text(&'a [u8]),
    /// BLOB.
    Blob(&'a [u8]),
    /// A foreign key by the name of the row it means.
    Ref(Name),
    /// A text or blob of `bytes` bytes that starts at part number `part` of the atomic group.
    Long {
        /// TEXT, else BLOB.
        is_text: bool,
        /// Number of its first part, counted from 0 over the group.
        part: u64,
        /// Its length.
        bytes: u64,
    },
}

const NULL: u8 = 0;
const INTEGER: u8 = 1;
const REAL: u8 = 2;
const TEXT: u8 = 3;
const BLOB: u8 = 4;
const REF: u8 = 5;
const LONG_TEXT: u8 = 6;
const LONG_BLOB: u8 = 7;

const NAME_BORN: u8 = 0;
const NAME_KEY: u8 = 1;

impl Cell<'_> {
    pub(super) fn tag(&self) -> u8 {
        match self {
            Self::Null => NULL,
            Self::Integer(_) => INTEGER,
            Self::Real(_) => REAL,
            Self::Text(_) => TEXT,
            Self::Blob(_) => BLOB,
            Self::Ref(_) => REF,
            Self::Long { is_text: true, .. } => LONG_TEXT,
            Self::Long { is_text: false, .. } => LONG_BLOB,
        }
    }

    /// The value that it holds, if it holds one.
    pub fn to_value(&self) -> Option<Value> {
        Some(match self {
            Self::Null => Value::Null,
            Self::Integer(i) => Value::Integer(*i),
            Self::Real(r) => Value::Real(*r),
            Self::Text(t) => Value::Text(t.to_vec()),
            Self::Blob(b) => Value::Blob(b.to_vec()),
            Self::Ref(name) => Value::Ref(Box::new(name.clone())),
            Self::Long { .. } => return None,
        })
    }

    /// Bytes of text or blob it brings into the body.
    pub fn payload_bytes(&self) -> usize {
        match self {
            Self::Text(b) | Self::Blob(b) => b.len(),
            Self::Ref(Name::Key(k)) => k.len(),
            _ => 8,
        }
    }
}

impl<'a> From<&'a Value> for Cell<'a> {
    fn from(v: &'a Value) -> Self {
        match v {
            Value::Null => Cell::Null,
            Value::Integer(i) => Cell::Integer(*i),
            Value::Real(r) => Cell::Real(*r),
            Value::Text(t) => Cell::Text(t),
            Value::Blob(b) => Cell::Blob(b),
            Value::Ref(name) => Cell::Ref((**name).clone()),
        }
    }
}

/// What a column was last: integers, sequence numbers and ids stand as differences to it.
#[derive(Clone, Debug, Default)]
pub struct Coder {
    integer: i64,
    seq: u64,
    op: u32,
    id: i64,
    clock: u64,
}

impl Coder {
    /// Tag, then payload.
    pub fn write_cell(&mut self, cell: &Cell<'_>, authors: &mut Authors, out: &mut Vec<u8>) {
        out.u8(cell.tag());
        self.write_payload(cell, authors, out);
    }

    /// Only the payload, where the column's tag is known.
    pub(super) fn write_payload(&mut self, cell: &Cell<'_>, authors: &mut Authors, out: &mut Vec<u8>) {
        match cell {
            Cell::Null => {}
            Cell::Integer(i) => {
                out.varint(i.wrapping_sub(self.integer));
                self.integer = *i;
            }
            Cell::Real(r) => out.u64(r.to_bits()),
            Cell::Text(b) | Cell::Blob(b) => out.bytes(b),
            Cell::Ref(name) => self.write_name(name, authors, out),
            Cell::Long { part, bytes, .. } => {
                out.uvarint(*part);
                out.uvarint(*bytes);
            }
        }
    }

    /// Tag, then payload.
    ///
    /// # Errors
    /// [`Malformed`] if the bytes are no cell.
    pub fn read_cell<'a>(&mut self, r: &mut Reader<'a>, authors: &Authors) -> Result<Cell<'a>, Malformed> {
        let tag = r.u8("cell tag")?;
        self.read_payload(tag, r, authors)
    }

    pub(super) fn read_payload<'a>(
        &mut self,
        tag: u8,
        r: &mut Reader<'a>,
        authors: &Authors,
    ) -> Result<Cell<'a>, Malformed> {
        Ok(match tag {
            NULL => Cell::Null,
            INTEGER => {
                self.integer = self.integer.wrapping_add(r.varint("integer")?);
                Cell::Integer(self.integer)
            }
            REAL => Cell::Real(r.real("real")?),
            TEXT => Cell::Text(r.bytes("text", limit::BODY_RAW_BYTES_MAX)?),
            BLOB => Cell::Blob(r.bytes("blob", limit::BODY_RAW_BYTES_MAX)?),
            REF => Cell::Ref(self.read_name(r, authors)?),
            LONG_TEXT | LONG_BLOB => Cell::Long {
                is_text: tag == LONG_TEXT,
                part: r.uvarint("part number")?,
                bytes: r.count("value length", limit::VALUE_BYTES_MAX)? as u64,
            },
            got => return Err(Malformed::Unknown { what: "cell tag", got: got.into() }),
        })
    }

    /// Author number, then seq and op as differences.
    pub fn write_dot(&mut self, dot: &Dot, authors: &mut Authors, out: &mut Vec<u8>) {
        out.uvarint(authors.number(&dot.author));
        out.varint(dot.seq.0.wrapping_sub(self.seq) as i64);
        out.varint(i64::from(dot.op) - i64::from(self.op));
        (self.seq, self.op) = (dot.seq.0, dot.op);
    }

    /// # Errors
    /// [`Malformed`] if the bytes are no dot.
    pub fn read_dot(&mut self, r: &mut Reader<'_>, authors: &Authors) -> Result<Dot, Malformed> {
        let author = authors.author(r.uvarint("author number")?)?;
        self.seq = self.seq.wrapping_add(r.varint("seq")? as u64);
        let op = i64::from(self.op).wrapping_add(r.varint("operation number")?);
        self.op = u32::try_from(op).map_err(|_| Malformed::Rule("an operation number is over 32 bits"))?;
        if self.seq == 0 || self.seq > i64::MAX as u64 {
            return Err(Malformed::Rule("a dot's seq counts from 1 and stays below 2^63"));
        }
        Ok(Dot { author, seq: Seq(self.seq), op: self.op })
    }

    /// The clock as a difference, then the dot.
    pub fn write_stamp(&mut self, stamp: &Stamp, authors: &mut Authors, out: &mut Vec<u8>) {
        out.varint(stamp.clock.0.wrapping_sub(self.clock) as i64);
        self.clock = stamp.clock.0;
        self.write_dot(&stamp.dot(), authors, out);
    }

    /// # Errors
    /// [`Malformed`] if the bytes are no stamp.
    pub fn read_stamp(&mut self, r: &mut Reader<'_>, authors: &Authors) -> Result<Stamp, Malformed> {
        self.clock = self.clock.wrapping_add(r.varint("clock")? as u64);
        let dot = self.read_dot(r, authors)?;
        Ok(Stamp { clock: Clock(self.clock), author: dot.author, seq: dot.seq, op: dot.op })
    }

    /// Tag, then dot and id difference, or the key's bytes.
    pub fn write_name(&mut self, name: &Name, authors: &mut Authors, out: &mut Vec<u8>) {
        match name {
            Name::Born { dot, id } => {
                out.u8(NAME_BORN);
                self.write_dot(dot, authors, out);
                out.varint(id.wrapping_sub(self.id));
                self.id = *id;
            }
            Name::Key(key) => {
                out.u8(NAME_KEY);
                out.bytes(key);
            }
        }
    }

    /// # Errors
    /// [`Malformed`] if the bytes are no name.
    pub fn read_name(&mut self, r: &mut Reader<'_>, authors: &Authors) -> Result<Name, Malformed> {
        match r.u8("name tag")? {
            NAME_BORN => {
                let dot = self.read_dot(r, authors)?;
                self.id = self.id.wrapping_add(r.varint("id")?);
                Ok(Name::Born { dot, id: self.id })
            }
            NAME_KEY => Ok(Name::Key(r.bytes("key", limit::NAME_BYTES_MAX)?.into())),
            got => Err(Malformed::Unknown { what: "name tag", got: got.into() }),
        }
    }
}
