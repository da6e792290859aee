//! Seeded mutations: inputs that are almost right, for tests without a fuzzer.
//!
//! The idea: what breaks a reader is mostly a valid input with a length, a tag or a number that is not. Random bytes stop
//! at the first check.

use crate::random::Random;

/// Bytes that lie at a border: of signed and unsigned numbers, of a varint's parts, of tags.
const EDGES: [u8; 8] = [0, 1, 2, 0x7f, 0x80, 0x81, 0xfe, 0xff];

/// The most that one change inserts or repeats.
const CHUNK_BYTES_MAX: u64 = 64;

/// One of `valid`, changed in one to four places. Empty where there is nothing to change.
pub fn mutate(random: &mut Random, valid: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = random.pick(valid).cloned().unwrap_or_default();
    for _ in 0..=random.below(4) {
        change(random, &mut bytes, valid);
    }
    bytes
}

fn change(random: &mut Random, bytes: &mut Vec<u8>, valid: &[Vec<u8>]) {
    let at = random.below(bytes.len() as u64 + 1) as usize;
    let end = (at + random.below(CHUNK_BYTES_MAX) as usize).min(bytes.len());
    match random.below(9) {
        0 => set(bytes, at, |byte| byte ^ (1 << (at % 8))),
        1 => set(bytes, at, |byte| byte.wrapping_add(1)),
        2 => {
            let edge = random.pick(&EDGES).copied().unwrap_or_default();
            set(bytes, at, |_| edge);
        }
        3 => drop(bytes.drain(at..end)),
        // A number that takes a byte more than it needs.
        8 if at < bytes.len() => {
            bytes[at] |= 0x80;
            bytes.insert(at + 1, 0);
        }
        4 => bytes.truncate(at),
        5 => {
            let chunk = bytes[at..end].to_vec();
            bytes.splice(at..at, chunk);
        }
        6 => {
            // A varint of up to 64 bits: a length, a count, a number.
            let wide = random.draw() >> random.below(64);
            p2pdb_core::codec::Write::uvarint(bytes, wide);
            let written = bytes.split_off(bytes.len() - wide.max(1).ilog2() as usize / 7 - 1);
            bytes.splice(at..end.min(at + 1), written);
        }
        _ => {
            let other = random.pick(valid).map(Vec::as_slice).unwrap_or_default();
            let from = random.below(other.len() as u64 + 1) as usize;
            let to = (from + random.below(CHUNK_BYTES_MAX) as usize).min(other.len());
            bytes.splice(at..end, other[from..to].iter().copied());
        }
    }
}

fn set(bytes: &mut [u8], at: usize, to: impl FnOnce(u8) -> u8) {
    if let Some(byte) = bytes.get_mut(at) {
        *byte = to(*byte);
    }
}
