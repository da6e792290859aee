use proptest::prelude::*;

use super::{HEADER_BYTES_MAX, Header, header, put_header};
use crate::CloseReason;

const MAX: usize = 1024 * 1024;

#[test]
fn lengths_are_spelled_as_pinned() {
    let pinned: [(usize, &[u8]); 6] = [
        (0, &[0]),
        (1, &[1]),
        (127, &[0x7f]),
        (128, &[0x80, 0x01]),
        (4096, &[0x80, 0x20]),
        (1024 * 1024, &[0x80, 0x80, 0x40]),
    ];
    for (length, bytes) in pinned {
        let mut out = Vec::new();
        put_header(length, &mut out);
        assert_eq!(out, bytes);
        assert_eq!(header(bytes, MAX), Ok(Some(Header { length, used: bytes.len() })));
    }
}

#[test]
fn a_length_passes_at_the_limit_and_not_above() {
    let mut at = Vec::new();
    put_header(MAX, &mut at);
    assert_eq!(header(&at, MAX), Ok(Some(Header { length: MAX, used: 3 })));
    let mut above = Vec::new();
    put_header(MAX + 1, &mut above);
    assert_eq!(header(&above, MAX), Err(CloseReason::FrameTooLong { claimed: MAX as u64 + 1, max: MAX }));
}

#[test]
fn four_gigabytes_are_refused_by_their_length_alone() {
    let bytes = [0xff, 0xff, 0xff, 0xff, 0x0f];
    assert_eq!(header(&bytes, MAX), Err(CloseReason::FrameTooLong { claimed: u64::from(u32::MAX), max: MAX }));
}

#[test]
fn a_padded_or_endless_length_is_malformed() {
    assert_eq!(header(&[0x80, 0x00], MAX), Err(CloseReason::Malformed));
    assert_eq!(header(&[0xff; HEADER_BYTES_MAX], MAX), Err(CloseReason::Malformed));
}

#[test]
fn an_unfinished_length_waits_for_more() {
    for bytes in [&[][..], &[0x80], &[0xff; HEADER_BYTES_MAX - 1]] {
        assert_eq!(header(bytes, MAX), Ok(None));
    }
}

proptest! {
    #[test]
    fn a_written_length_reads_back(length in 0..=MAX, rest in proptest::collection::vec(any::<u8>(), 0..8)) {
        let mut bytes = Vec::new();
        put_header(length, &mut bytes);
        let used = bytes.len();
        bytes.extend(rest);
        prop_assert_eq!(header(&bytes, MAX), Ok(Some(Header { length, used })));
    }

    #[test]
    fn what_is_accepted_has_no_other_spelling(bytes in proptest::collection::vec(any::<u8>(), 0..12)) {
        if let Ok(Some(Header { length, used })) = header(&bytes, MAX) {
            let mut again = Vec::new();
            put_header(length, &mut again);
            prop_assert_eq!(&again[..], &bytes[..used]);
        }
    }
}
