//! Identities: who wrote (author), for whom (group), what (entry), and where in it (dot).

use crate::codec::{Malformed, Reader, Write};
use std::fmt;

macro_rules! hash_id {
    ($(#[$doc:meta])* $name:ident, $bytes:literal, $words:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub [u8; $bytes]);

        impl $name {
            /// Its length in bytes.
            pub const BYTES: usize = $bytes;

            /// Reads it as it stands.
            ///
            /// # Errors
            /// [`Malformed::Truncated`] if the bytes end first.
            pub fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
                Ok(Self(r.array($words)?))
            }

            /// From a slice of the right length.
            pub fn from_slice(bytes: &[u8]) -> Option<Self> {
                bytes.try_into().ok().map(Self)
            }

            /// From lower-case hexadecimal.
            pub fn from_hex(text: &str) -> Option<Self> {
                let mut out = [0; $bytes];
                if text.len() != 2 * $bytes || !text.is_ascii() {
                    return None;
                }
                for (i, b) in out.iter_mut().enumerate() {
                    *b = u8::from_str_radix(text.get(2 * i..2 * i + 2)?, 16).ok()?;
                }
                Some(Self(out))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }
    };
}

hash_id! {
    /// `blake3(public key)[..16]`: one author key. A copied file, a restore or a corrected clock takes a new one.
    AuthorId, 16, "author id"
}
hash_id! {
    /// `blake3(nonce, founder's key)[..16]`. Public; the group's *secret* is another thing.
    GroupId, 16, "group id"
}
hash_id! {
    /// `blake3(header without signature)`: the true name of an entry.
    EntryId, 32, "entry id"
}
hash_id! {
    /// Hash of (folded name, generation): a table keeps it through a rename.
    TableId, 8, "table id"
}
hash_id! {
    /// The life of a store's arrival order: drawn anew whenever arrival numbers start over.
    Life, 16, "life"
}
hash_id! {
    /// Order-independent sum over live rows (rule R20), modulo 2^128, little endian.
    Digest, 16, "digest"
}

/// Position in an author's chain, from 1 without gaps.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Seq(pub u64);

impl Seq {
    /// The position after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The `op`-th operation of entry (author, seq) (rule R1). Names an incarnation, and a row that has no key of its own.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Dot {
    /// Whose entry.
    pub author: AuthorId,
    /// Which of that author's entries.
    pub seq: Seq,
    /// Which operation in it, from 0.
    pub op: u32,
}

impl Dot {
    /// Appends 16 bytes of author, then seq and op as uvarints.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.raw(&self.author.0);
        out.uvarint(self.seq.0);
        out.uvarint(self.op.into());
    }

    /// # Errors
    /// [`Malformed`] if the bytes are no dot.
    pub fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        let (author, seq) = (AuthorId::read(r)?, Seq(r.uvarint("seq")?));
        if seq.0 == 0 || seq.0 > i64::MAX as u64 {
            return Err(Malformed::Rule("a dot's seq counts from 1 and stays below 2^63"));
        }
        Ok(Self { author, seq, op: r.count("operation number", u32::MAX as usize)? as u32 })
    }
}

impl fmt::Display for Dot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.author, self.seq, self.op)
    }
}

#[cfg(test)]
mod tests;
