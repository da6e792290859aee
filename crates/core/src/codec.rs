//! Canonical bytes, written and read by hand.
//!
//! Integers are little endian where their width is fixed and LEB128 (`uvarint`) where it is not; a
//! signed integer is zigzag-folded first. Each number has exactly one encoding: a padded varint is
//! refused, so that equal things have equal bytes and equal hashes. A reader never allocates by a
//! length that it has not compared with the bytes that are left.

/// The bytes broke a rule of the format. Retrying is useless.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The input ended inside a field.
    #[error("the bytes end inside {0}")]
    Truncated(&'static str),
    /// Bytes are left over after the last field.
    #[error("{0} bytes are left over after the last field")]
    Trailing(usize),
    /// A varint is longer than its value needs, or over 64 bits.
    #[error("a number is not in its shortest form")]
    Varint,
    /// A count or length passes its bound.
    #[error("{what} is {got}, over the limit of {max}")]
    OverLimit {
        /// The field.
        what: &'static str,
        /// What the bytes say.
        got: u64,
        /// The bound, from [`crate::limit`].
        max: u64,
    },
    /// A tag or flag has no meaning in this version.
    #[error("{what} has the unknown value {got}; a newer version of P2PDB may have written it")]
    Unknown {
        /// The field.
        what: &'static str,
        /// What the bytes say.
        got: u64,
    },
    /// A rule between fields is broken.
    #[error("{0}")]
    Rule(&'static str),
}

/// Appends fields to a byte vector.
pub trait Write {
    /// One byte.
    fn u8(&mut self, v: u8);
    /// Four bytes, little endian.
    fn u32(&mut self, v: u32);
    /// Eight bytes, little endian.
    fn u64(&mut self, v: u64);
    /// LEB128, shortest form.
    fn uvarint(&mut self, v: u64);
    /// Zigzag, then LEB128.
    fn varint(&mut self, v: i64);
    /// The bytes as they are.
    fn raw(&mut self, v: &[u8]);
    /// Length as uvarint, then the bytes.
    fn bytes(&mut self, v: &[u8]);
}

impl Write for Vec<u8> {
    fn u8(&mut self, v: u8) {
        self.push(v);
    }
    fn u32(&mut self, v: u32) {
        self.extend_from_slice(&v.to_le_bytes());
    }
    fn u64(&mut self, v: u64) {
        self.extend_from_slice(&v.to_le_bytes());
    }
    fn uvarint(&mut self, mut v: u64) {
        while v >= 0x80 {
            self.push((v as u8) | 0x80);
            v >>= 7;
        }
        self.push(v as u8);
    }
    fn varint(&mut self, v: i64) {
        self.uvarint(((v << 1) ^ (v >> 63)) as u64);
    }
    fn raw(&mut self, v: &[u8]) {
        self.extend_from_slice(v);
    }
    fn bytes(&mut self, v: &[u8]) {
        self.uvarint(v.len() as u64);
        self.extend_from_slice(v);
    }
}

/// Reads fields from the front of a slice.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads from the start of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Bytes not read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Is everything read?
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// # Errors
    /// [`Malformed::Trailing`] if bytes are left.
    pub fn end(&self) -> Result<(), Malformed> {
        match self.rest.len() {
            0 => Ok(()),
            n => Err(Malformed::Trailing(n)),
        }
    }

    /// The next `n` bytes as they are.
    ///
    /// # Errors
    /// [`Malformed::Truncated`] if fewer are left.
    pub fn raw(&mut self, n: usize, what: &'static str) -> Result<&'a [u8], Malformed> {
        let (head, rest) = self.rest.split_at_checked(n).ok_or(Malformed::Truncated(what))?;
        self.rest = rest;
        Ok(head)
    }

    /// The next `N` bytes as an array.
    ///
    /// # Errors
    /// [`Malformed::Truncated`] if fewer are left.
    pub fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], Malformed> {
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or(Malformed::Truncated(what))?;
        self.rest = rest;
        Ok(*head)
    }

    /// # Errors
    /// [`Malformed::Truncated`] at the end.
    pub fn u8(&mut self, what: &'static str) -> Result<u8, Malformed> {
        Ok(self.array::<1>(what)?[0])
    }

    /// # Errors
    /// [`Malformed::Truncated`] if fewer than four bytes are left.
    pub fn u32(&mut self, what: &'static str) -> Result<u32, Malformed> {
        Ok(u32::from_le_bytes(self.array(what)?))
    }

    /// # Errors
    /// [`Malformed::Truncated`] if fewer than eight bytes are left.
    pub fn u64(&mut self, what: &'static str) -> Result<u64, Malformed> {
        Ok(u64::from_le_bytes(self.array(what)?))
    }

    /// # Errors
    /// [`Malformed::Varint`] if it is padded or over 64 bits.
    pub fn uvarint(&mut self, what: &'static str) -> Result<u64, Malformed> {
        let mut v = 0u64;
        for shift in (0..64).step_by(7) {
            let b = self.u8(what)?;
            if shift == 63 && b > 1 {
                return Err(Malformed::Varint);
            }
            v |= u64::from(b & 0x7f) << shift;
            if b & 0x80 == 0 {
                return if b == 0 && shift > 0 { Err(Malformed::Varint) } else { Ok(v) };
            }
        }
        Err(Malformed::Varint)
    }

    /// # Errors
    /// As [`Reader::uvarint`].
    pub fn varint(&mut self, what: &'static str) -> Result<i64, Malformed> {
        let u = self.uvarint(what)?;
        Ok((u >> 1) as i64 ^ -((u & 1) as i64))
    }

    /// Eight bytes of an IEEE 754 double, bit-exact.
    ///
    /// # Errors
    /// [`Malformed::Truncated`] if fewer are left; [`Malformed::Rule`] if it is NaN, which SQLite stores as NULL.
    pub fn real(&mut self, what: &'static str) -> Result<f64, Malformed> {
        let real = f64::from_bits(self.u64(what)?);
        if real.is_nan() {
            return Err(Malformed::Rule("a REAL is never NaN; SQLite has NULL instead"));
        }
        Ok(real)
    }

    /// A count or length that must not pass `max`.
    ///
    /// # Errors
    /// [`Malformed::OverLimit`] if it does.
    pub fn count(&mut self, what: &'static str, max: usize) -> Result<usize, Malformed> {
        let got = self.uvarint(what)?;
        if got > max as u64 {
            return Err(Malformed::OverLimit { what, got, max: max as u64 });
        }
        Ok(got as usize)
    }

    /// How many items follow, each at least `item_bytes_min` long: a claim that the bytes left can not
    /// hold is refused, so a vector of that many items is safe to allocate.
    ///
    /// # Errors
    /// [`Malformed::OverLimit`] if they can't be there.
    pub fn items(&mut self, what: &'static str, item_bytes_min: usize) -> Result<usize, Malformed> {
        let got = self.uvarint(what)?;
        let max = self.rest.len() / item_bytes_min.max(1);
        if got > max as u64 {
            return Err(Malformed::OverLimit { what, got, max: max as u64 });
        }
        Ok(got as usize)
    }

    /// Length as uvarint, then that many bytes, at most `max`.
    ///
    /// # Errors
    /// [`Malformed::OverLimit`], [`Malformed::Truncated`].
    pub fn bytes(&mut self, what: &'static str, max: usize) -> Result<&'a [u8], Malformed> {
        let n = self.count(what, max)?;
        self.raw(n, what)
    }
}

#[cfg(test)]
mod tests;
