//! Hybrid logical clocks: wall time where it can be trusted, causality where it can't.
//!
//! 48 bits of milliseconds since 1970 and a 16-bit counter in one number, so that comparing clocks is
//! comparing integers. The counter's overflow carries into the milliseconds, which keeps it monotone.
//! Source: Kulkarni, Demirbas et al., *Logical Physical Clocks*, 2014.

use crate::id::{AuthorId, Dot, Seq};
use std::fmt;

/// Milliseconds since 1970 in the upper 48 bits, a counter in the lower 16.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Clock(pub u64);

impl Clock {
    /// The first clock of a millisecond.
    pub fn from_ms(ms: u64) -> Self {
        Self(ms << 16)
    }

    /// Its wall part, milliseconds since 1970.
    pub fn ms(self) -> u64 {
        self.0 >> 16
    }

    /// The clock of the next local event: later than everything seen (`self` is the floor), and not
    /// before the wall.
    #[must_use]
    pub fn tick(self, wall_ms: u64) -> Self {
        Self(self.0 + 1).max(Self::from_ms(wall_ms))
    }
}

impl fmt::Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.ms(), self.0 & 0xffff)
    }
}

/// When a write happened, totally ordered by (clock, author, seq, op) (rule R1).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Stamp {
    /// The entry's clock.
    pub clock: Clock,
    /// Its author: the tie-break.
    pub author: AuthorId,
    /// The entry's position in the author's chain.
    pub seq: Seq,
    /// The operation in the entry.
    pub op: u32,
}

impl Stamp {
    /// The same without its clock.
    pub fn dot(&self) -> Dot {
        Dot { author: self.author, seq: self.seq, op: self.op }
    }
}
