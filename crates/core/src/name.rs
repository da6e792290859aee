//! Row names: what makes two rows on two replicas the same row (rule R2).
//!
//! A row of a table whose INTEGER PRIMARY KEY may be renumbered (an *alias* table) is named by the dot of
//! its first insert; its id is only a claim. Any other row is named by its key, in the equality that
//! SQLite itself uses for that key: 1 and 1.0 are one key, and so are 'a' and 'A' under NOCASE. A key
//! column that is a foreign key stands in the name as the *name* of the row it means.

use crate::codec::{Malformed, Reader, Write};
use crate::id::Dot;
use crate::limit;
use crate::value::Value;

/// A row's name within its table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Name {
    /// By birth. `id` is the id claimed at birth: a function of the dot that travels along, so that a
    /// receiver finds the row without an index on dots (rule R6).
    Born {
        /// The dot of the row's first insert.
        dot: Dot,
        /// The id claimed there.
        id: i64,
    },
    /// By key: the canonical bytes that [`key_name`] makes.
    Key(Box<[u8]>),
}

const BORN: u8 = 0;
const KEY: u8 = 1;

impl Name {
    /// Tag byte, then the dot and the id, or the key's bytes with their length.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Born { dot, id } => {
                out.u8(BORN);
                dot.write(out);
                out.varint(*id);
            }
            Self::Key(key) => {
                out.u8(KEY);
                out.bytes(key);
            }
        }
    }

    /// # Errors
    /// [`Malformed`] if the bytes are no name.
    pub fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        match r.u8("name")? {
            BORN => Ok(Self::Born { dot: Dot::read(r)?, id: r.varint("id")? }),
            KEY => Ok(Self::Key(r.bytes("key", limit::NAME_BYTES_MAX)?.into())),
            got => Err(Malformed::Unknown { what: "name tag", got: got.into() }),
        }
    }
}

/// How a key column compares text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Collation {
    /// Byte by byte. Also what a collation that only the host has is named by; its equality is left to UNIQUE.
    #[default]
    Binary,
    /// ASCII letters folded to lower case.
    NoCase,
    /// Trailing spaces ignored.
    RTrim,
}

impl Collation {
    /// From its SQL name, in any case; one that is not built in counts as [`Collation::Binary`].
    pub fn from_sql(name: &str) -> Self {
        if name.eq_ignore_ascii_case("nocase") {
            Self::NoCase
        } else if name.eq_ignore_ascii_case("rtrim") {
            Self::RTrim
        } else {
            Self::Binary
        }
    }
}

const NULL: u8 = 0;
const INTEGER: u8 = 1;
const REAL: u8 = 2;
const TEXT: u8 = 3;
const BLOB: u8 = 4;
const REF: u8 = 5;
const HASHED: u8 = 6;

/// The canonical bytes of a key: each column as a tag and its folded value, the whole replaced by its
/// BLAKE3 hash where it is longer than [`limit::NAME_BYTES_MAX`].
pub fn key_name<'a>(columns: impl IntoIterator<Item = (&'a Value, Collation)>) -> Name {
    let mut out = Vec::with_capacity(24);
    for (value, collation) in columns {
        write_folded(value, collation, &mut out);
    }
    if out.len() > limit::NAME_BYTES_MAX {
        let hash = blake3::hash(&out);
        out.clear();
        out.u8(HASHED);
        out.raw(hash.as_bytes());
    }
    Name::Key(out.into())
}

/// Is this key only the hash of one? Then its values can't be read from it.
pub fn is_hashed(key: &[u8]) -> bool {
    key.first() == Some(&HASHED)
}

/// Can these bytes, which a peer may have written, be a key? None begins with another tag than those of [`key_name`].
pub fn may_be_key(key: &[u8]) -> bool {
    key.first().is_some_and(|tag| *tag <= HASHED)
}

/// The values of a key that is not hashed, folded as they compare.
///
/// # Errors
/// [`Malformed`] if the bytes are no key.
pub fn key_values(key: &[u8]) -> Result<Vec<Value>, Malformed> {
    let mut r = Reader::new(key);
    let mut values = Vec::new();
    while !r.is_empty() {
        // The tags and payloads of a key are those of values.
        values.push(Value::read(&mut r)?);
    }
    Ok(values)
}

fn write_folded(value: &Value, collation: Collation, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.u8(NULL),
        Value::Integer(i) => {
            out.u8(INTEGER);
            out.varint(*i);
        }
        Value::Real(r) => match as_integer(*r) {
            Some(i) => {
                out.u8(INTEGER);
                out.varint(i);
            }
            None => {
                out.u8(REAL);
                out.u64(r.to_bits());
            }
        },
        Value::Text(t) => {
            out.u8(TEXT);
            match collation {
                Collation::Binary => out.bytes(t),
                Collation::NoCase => out.bytes(&t.to_ascii_lowercase()),
                Collation::RTrim => {
                    let end = t.iter().rposition(|&b| b != b' ').map_or(0, |i| i + 1);
                    out.bytes(&t[..end]);
                }
            }
        }
        Value::Blob(b) => {
            out.u8(BLOB);
            out.bytes(b);
        }
        Value::Ref(name) => {
            out.u8(REF);
            name.write(out);
        }
    }
}

/// The integer that a REAL equals in SQLite's comparison, if one does.
fn as_integer(r: f64) -> Option<i64> {
    const TWO_63: f64 = 9_223_372_036_854_775_808.0;
    (r.trunc() == r && (-TWO_63..TWO_63).contains(&r)).then_some(r as i64)
}

#[cfg(test)]
mod tests;
