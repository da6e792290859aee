//! Integer keys as claims (rules P4, R2): two replicas that insert id 1 made two rows.
//!
//! Every visible row of an alias table claims an id. Each id goes to the earliest claim; a loser shows
//! an id derived from its *name*, so that every replica derives the same one, whatever it heard first. A
//! derived id is positive and below 2^52, so that JavaScript hosts read it exactly; an explicit claim to
//! it wins, and the loser derives the next.

use crate::clock::Stamp;
use crate::codec::Write;
use crate::id::Dot;
use std::collections::BTreeSet;

/// How many derived ids are tried before a row counts as unshowable.
pub const DERIVED_TRIES: u8 = 16;

/// The `i`-th id derived from a row's name: 2^32 + hash mod (2^52 - 2^32).
pub fn derived_id(name: &Dot, i: u8) -> i64 {
    let mut bytes = Vec::with_capacity(32);
    name.write(&mut bytes);
    bytes.u8(i);
    let hash = blake3::Hasher::new_derive_key("p2pdb 1 derived id").update(&bytes).finalize();
    let [a, b, c, d, e, f, g, h, ..] = *hash.as_bytes();
    let span = (1u64 << 52) - (1 << 32);
    ((1u64 << 32) + u64::from_le_bytes([a, b, c, d, e, f, g, h]) % span) as i64
}

/// One row's claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Claim {
    /// The stamp of the id cell, or of its settle.
    pub stamp: Stamp,
    /// The row.
    pub name: Dot,
    /// The id it asks for.
    pub id: i64,
}

/// Who shows which id, none where no derived id is free: rule P4 over all `claims` that could touch one another.
/// The answer stands in the order of `claims`.
pub fn assign(claims: &[Claim]) -> Vec<Option<i64>> {
    let mut order: Vec<usize> = (0..claims.len()).collect();
    order.sort_unstable_by_key(|&at| claims[at]);
    let wanted: BTreeSet<i64> = claims.iter().map(|c| c.id).collect();
    let mut taken = BTreeSet::new();
    let mut shown = vec![None; claims.len()];
    let mut losers = Vec::new();
    for at in order {
        if taken.insert(claims[at].id) {
            shown[at] = Some(claims[at].id);
        } else {
            losers.push(at);
        }
    }
    for at in losers {
        let free = (0..DERIVED_TRIES)
            .map(|i| derived_id(&claims[at].name, i))
            .find(|id| !wanted.contains(id) && !taken.contains(id));
        shown[at] = free;
        taken.extend(free);
    }
    shown
}

#[cfg(test)]
mod tests;
