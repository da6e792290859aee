//! How long to wait before the next try: exponential, with full jitter.
//!
//! The idea: a random wait *between zero and the bound* spreads many peers that lost one hub at the same moment
//! better than the bound plus some noise. The random number is an argument.
//! Source: Brooker, *Exponential Backoff and Jitter*, AWS Architecture Blog, 2015.

/// The bound of the first wait.
pub const BACKOFF_MS_MIN: u64 = 500;

/// The bound of all waits: a peer that comes back is found within a minute.
pub const BACKOFF_MS_MAX: u64 = 60_000;

/// Tries that failed in a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// Milliseconds to wait after one more failure, from 1 to the bound: 0.5 s, doubled each time up to 60 s.
    /// `random` is any uniformly random number.
    ///
    /// ```
    /// use p2pdb_core::backoff::Backoff;
    /// let mut backoff = Backoff::default();
    /// assert!(backoff.next_ms(u64::MAX / 2) <= 500);
    /// assert!(backoff.next_ms(u64::MAX) <= 1_000);
    /// ```
    pub fn next_ms(&mut self, random: u64) -> u64 {
        let bound = bound_ms(self.failures);
        self.failures = self.failures.saturating_add(1);
        1 + random % bound
    }

    /// Something worked, or there is new reason to hope (the peer was seen, an interface came up): start over.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// Failures in a row.
    pub fn failures(&self) -> u32 {
        self.failures
    }
}

fn bound_ms(failures: u32) -> u64 {
    // Seven doublings pass the bound; more would overflow the shift.
    (BACKOFF_MS_MIN << failures.min(7)).min(BACKOFF_MS_MAX)
}

#[cfg(test)]
mod tests;
