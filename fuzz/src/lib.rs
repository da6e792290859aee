//! Puts the claims of [`p2pdb_sim::hostile`] to what the fuzzer comes upon.

use p2pdb_sim::hostile::Target;

/// Puts the claim to an input.
///
/// # Panics
/// Where the claim does not hold, or takes more memory than it may: then the fuzzer keeps the input.
pub fn put(target: &Target, input: &[u8]) {
    let taken = allocation_counter::measure(|| (target.claim)(input)).bytes_max;
    let max = target.memory_bytes_max(input.len()) as u64;
    assert!(taken <= max, "{} took {taken} bytes of at most {max}", target.name);
}
