use futures::{FutureExt, io::Cursor};
use proptest::prelude::*;

use super::FrameReader;
use crate::{CloseReason, frame::put_header, limit::READ_STEP_BYTES};

const MAX: usize = 1024 * 1024;

/// Reads all frames of bytes that are at hand at once.
fn read_all(bytes: &[u8]) -> (Vec<Vec<u8>>, CloseReason) {
    let mut reader = FrameReader::new(Cursor::new(bytes));
    let mut frames = Vec::new();
    loop {
        let next = async {
            let length = reader.header(MAX).await?;
            reader.body(length).await
        };
        match next.now_or_never() {
            Some(Ok(frame)) => frames.push(frame),
            Some(Err(why)) => return (frames, why),
            None => unreachable!("a cursor never waits"),
        }
    }
}

#[test]
fn a_stream_may_end_between_frames_only() {
    assert_eq!(read_all(&[1, 7]), (vec![vec![7]], CloseReason::Remote));
    for bytes in [&[0x80][..], &[2, 7]] {
        assert!(matches!(read_all(bytes), (frames, CloseReason::Broken(_)) if frames.is_empty()));
    }
}

#[test]
fn a_claimed_length_allocates_one_step_and_no_more() {
    let mut bytes = Vec::new();
    put_header(MAX, &mut bytes);
    bytes.push(7);
    let mut reader = FrameReader::new(Cursor::new(bytes));
    let length = reader.header(MAX).now_or_never().and_then(Result::ok);
    assert_eq!(length, Some(MAX));
    // One byte of a megabyte is there. `body` fails at the end of input; what it held until then is
    // bounded by construction, which is what this pins: a step, not the claim.
    assert!(matches!(reader.body(MAX).now_or_never(), Some(Err(CloseReason::Broken(_)))));
    const { assert!(READ_STEP_BYTES <= MAX / 16) };
}

proptest! {
    #[test]
    fn frames_of_any_length_come_out_as_they_went_in(lengths in proptest::collection::vec(0usize..200_000, 0..6)) {
        let frames: Vec<Vec<u8>> = lengths.iter().map(|&n| (0..n).map(|at| at as u8).collect()).collect();
        let mut bytes = Vec::new();
        for frame in &frames {
            put_header(frame.len(), &mut bytes);
            bytes.extend_from_slice(frame);
        }
        prop_assert_eq!(read_all(&bytes), (frames, CloseReason::Remote));
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        read_all(&bytes);
    }
}
