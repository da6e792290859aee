//! Processor time of this thread.

use crate::{Failure, REPEATS};
use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds that this thread has been on a processor.
pub(crate) fn cpu_ns() -> u64 {
    let t = clock_gettime(ClockId::ThreadCPUTime);
    t.tv_sec as u64 * 1_000_000_000 + t.tv_nsec as u64
}

/// Runs `work` and says what it took.
pub(crate) fn spent(work: impl FnOnce() -> Result<(), Failure>) -> Result<u64, Failure> {
    let start = cpu_ns();
    work()?;
    Ok(cpu_ns() - start)
}

pub(crate) fn median(mut all: Vec<u64>) -> u64 {
    all.sort_unstable();
    all[all.len() / 2]
}

/// Plain and ours in turns; for each of `N` figures the two medians, in nanoseconds.
pub(crate) fn interleaved<const N: usize>(
    mut plain: impl FnMut() -> Result<[u64; N], Failure>,
    mut ours: impl FnMut() -> Result<[u64; N], Failure>,
) -> Result<[(u64, u64); N], Failure> {
    let (mut a, mut b) = (Vec::new(), Vec::new());
    for _ in 0..REPEATS {
        a.push(plain()?);
        b.push(ours()?);
    }
    let middle = |all: &[[u64; N]], at: usize| median(all.iter().map(|one| one[at]).collect());
    Ok(std::array::from_fn(|at| (middle(&a, at), middle(&b, at))))
}
