//! The 40-bit hash of a cell, by which a seal tells which columns of a touched row changed.
//!
//! Triggers mark rows, not columns; the row's record holds one such hash a column, and the seal compares.
//! The key derives from the group, so that members can compare digests made of these hashes while an
//! outsider can't choose two values that look the same. A change is missed once in 10^12. -0.0 is folded
//! into 0.0: SQLite gives one for the other in REAL columns.

use crate::body::Cell;
use crate::codec::Write;
use crate::id::GroupId;
use siphasher::sip::SipHasher24;

/// Bytes of a cell hash in a record.
pub const CELL_HASH_BYTES: usize = 5;

/// Forty bits in the lower end.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, PartialOrd, Ord)]
pub struct CellHash(pub u64);

impl CellHash {
    /// Of a column that nobody has written in the row: it is younger, and shows its fill (see [`crate::merge::Table::fills`]).
    /// No value has this hash.
    pub const UNWRITTEN: Self = Self(0xff_ffff_ffff);
}

/// Hashes cells under a group's key.
#[derive(Clone, Debug)]
pub struct CellHasher {
    key: [u8; 16],
}

impl CellHasher {
    /// The group's key.
    pub fn new(group: GroupId) -> Self {
        let derived = blake3::derive_key("p2pdb 1 cell hash", &group.0);
        let mut key = [0; 16];
        key.copy_from_slice(&derived[..16]);
        Self { key }
    }

    /// 128 bits over a row's share of the digest. Keyed like the rest: it tells replicas that differ, it proves nothing.
    pub(crate) fn wide(&self, bytes: &[u8]) -> u128 {
        siphasher::sip128::SipHasher24::new_with_key(&self.key).hash(bytes).as_u128()
    }

    /// The hash of one value; a reference counts by the name it holds.
    pub fn hash(&self, cell: &Cell<'_>) -> CellHash {
        let sip = SipHasher24::new_with_key(&self.key);
        let mut small = Vec::new();
        let hash = match cell {
            Cell::Null => sip.hash(&[0]),
            Cell::Integer(i) => sip.hash(&tagged(1, *i as u64)),
            Cell::Real(r) => sip.hash(&tagged(2, if *r == 0.0 { 0 } else { r.to_bits() })),
            // A tag behind the bytes costs no copy of them: it goes into the key's place of a second round.
            Cell::Text(t) => sip.hash(&tagged(3, sip.hash(t))),
            Cell::Blob(b) => sip.hash(&tagged(4, sip.hash(b))),
            Cell::Ref(name) => {
                small.u8(5);
                name.write(&mut small);
                sip.hash(&small)
            }
            Cell::Long { .. } => 0,
        };
        let hash = CellHash(hash & 0xff_ffff_ffff);
        if hash == CellHash::UNWRITTEN { CellHash(hash.0 - 1) } else { hash }
    }
}

fn tagged(tag: u8, v: u64) -> [u8; 9] {
    let mut out = [tag; 9];
    out[1..].copy_from_slice(&v.to_le_bytes());
    out
}
