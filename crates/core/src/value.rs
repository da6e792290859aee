//! Values: SQLite's five storage classes, bit-exact, and the reference that replaces a foreign key.
//!
//! Text is bytes: SQLite stores text that is not UTF-8, and a replica must give back what it was given.
//! Equality here is identity of type and bits; how SQLite *compares* (1 = 1.0, collations) is the
//! business of [`crate::name`].

use crate::codec::{Malformed, Reader, Write};
use crate::limit;
use crate::name::Name;

/// What a cell holds.
#[derive(Clone, Debug)]
pub enum Value {
    /// NULL.
    Null,
    /// INTEGER, 64 bits.
    Integer(i64),
    /// REAL, bit-exact; never NaN, which SQLite stores as NULL and a reader refuses.
    Real(f64),
    /// TEXT in the bytes of the database's UTF-8, valid or not.
    Text(Vec<u8>),
    /// BLOB.
    Blob(Vec<u8>),
    /// A foreign key, kept as the name of the row that it means (rule R4).
    Ref(Box<Name>),
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Integer(a), Self::Integer(b)) => a == b,
            (Self::Real(a), Self::Real(b)) => a.to_bits() == b.to_bits(),
            (Self::Text(a), Self::Text(b)) | (Self::Blob(a), Self::Blob(b)) => a == b,
            (Self::Ref(a), Self::Ref(b)) => a == b,
            _ => false,
        }
    }
}

impl Eq for Value {}

const NULL: u8 = 0;
const INTEGER: u8 = 1;
const REAL: u8 = 2;
const TEXT: u8 = 3;
const BLOB: u8 = 4;
const REF: u8 = 5;

impl Value {
    /// Tag byte, then: nothing; a zigzag varint; eight bytes; length and bytes; a name.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Null => out.u8(NULL),
            Self::Integer(i) => {
                out.u8(INTEGER);
                out.varint(*i);
            }
            Self::Real(r) => {
                out.u8(REAL);
                out.u64(r.to_bits());
            }
            Self::Text(t) => {
                out.u8(TEXT);
                out.bytes(t);
            }
            Self::Blob(b) => {
                out.u8(BLOB);
                out.bytes(b);
            }
            Self::Ref(name) => {
                out.u8(REF);
                name.write(out);
            }
        }
    }

    /// # Errors
    /// [`Malformed`] if the bytes are no value.
    pub fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(match r.u8("value")? {
            NULL => Self::Null,
            INTEGER => Self::Integer(r.varint("integer")?),
            REAL => Self::Real(r.real("real")?),
            TEXT => Self::Text(r.bytes("text", limit::VALUE_BYTES_MAX)?.to_vec()),
            BLOB => Self::Blob(r.bytes("blob", limit::VALUE_BYTES_MAX)?.to_vec()),
            REF => Self::Ref(Box::new(Name::read(r)?)),
            got => return Err(Malformed::Unknown { what: "value tag", got: got.into() }),
        })
    }

    /// The bytes of text or blob it holds, for bounds.
    pub fn payload_bytes(&self) -> usize {
        match self {
            Self::Text(b) | Self::Blob(b) => b.len(),
            Self::Null | Self::Integer(_) | Self::Real(_) | Self::Ref(_) => 0,
        }
    }
}
