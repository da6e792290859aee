//! Queues that fill: nothing grows without bound, and nobody waits for somebody else's slowness.

use std::time::Duration;

use p2pdb_net::{CloseReason, Event, Limits, SendError, StreamId, limit::FRAME_BYTES_MAX};

use crate::node::{Node, join_proved};

/// Sends until the stream takes no more, and has not for a while. Returns the bytes it took.
pub(crate) fn flood(node: &mut Node, stream: StreamId, frame_bytes: usize) -> usize {
    let mut taken = 0u32;
    loop {
        let mut frame = vec![0; frame_bytes];
        frame[..4].copy_from_slice(&taken.to_le_bytes());
        match node.handle.send(stream, frame) {
            Ok(()) => taken += 1,
            Err(SendError::Full) if node.is_writable_soon(stream, Duration::from_millis(300)) => {}
            Err(SendError::Full) => return taken as usize * frame_bytes,
            Err(error) => panic!("{error}"),
        }
        assert!(taken < 100_000, "no back-pressure");
    }
}

#[test]
fn one_who_does_not_read_stops_the_sender_and_nobody_else() {
    let (mut a, mut b, mut c) =
        (Node::start(Limits::default()), Node::start(Limits::default()), Node::start(Limits::default()));
    let (to_b, to_c) = (b.listen(), c.listen());
    let (a_to_b, at_b) = join_proved(&mut a, &mut b, &to_b);
    let (a_to_c, at_c) = join_proved(&mut a, &mut c, &to_c);
    let frame_bytes = 64 * 1024;
    let taken = flood(&mut a, a_to_b, frame_bytes);
    // A's queue, B's queue, and what yamux and the sockets hold between them.
    assert!(taken < 32 << 20, "{taken} bytes went to one who reads nothing");
    // A's other peer notices nothing.
    for n in 0..100u8 {
        a.handle.send(a_to_c, vec![n; 1000]).unwrap();
        assert_eq!(c.frame(at_c), vec![n; 1000]);
        c.handle.send(at_c, vec![n; 2000]).unwrap();
        assert_eq!(a.frame(a_to_c), vec![n; 2000]);
    }
    // Nor does B's other stream, even on the same connection, though B has not taken an event since.
    a.handle.dial(&to_b, 5).unwrap();
    let beside = a.opened();
    b.forget_rings();
    a.handle.send(beside, b"quick".to_vec()).unwrap();
    b.wait_ring();
    // Once B reads, everything is there, in order, and A may write again.
    for n in 0..u32::try_from(taken / frame_bytes).unwrap() {
        assert_eq!(b.frame(at_b)[..4], n.to_le_bytes());
    }
    a.writable(a_to_b);
    a.handle.send(a_to_b, b"more".to_vec()).unwrap();
    assert_eq!(b.frame(at_b), b"more");
}

#[test]
fn frames_that_were_not_taken_are_bounded_for_each_stream() {
    let (mut a, mut b, mut c) =
        (Node::start(Limits::default()), Node::start(Limits::default()), Node::start(Limits::default()));
    let to_b = b.listen();
    let (a_to_b, _) = join_proved(&mut a, &mut b, &to_b);
    let (c_to_b, c_at_b) = join_proved(&mut c, &mut b, &to_b);
    flood(&mut a, a_to_b, FRAME_BYTES_MAX / 2);
    b.forget_rings();
    c.handle.send(c_to_b, b"quick".to_vec()).unwrap();
    b.wait_ring();
    // What lies before it in B's queue is one stream's allowance: 2 MiB.
    let mut before = 0;
    loop {
        match b.events.try_recv() {
            Some(Event::Frame { stream, frame }) if stream == c_at_b => {
                assert_eq!(frame, b"quick");
                break;
            }
            Some(Event::Frame { frame, .. }) => before += frame.len(),
            Some(_) => {}
            None => panic!("the quick frame did not arrive"),
        }
    }
    assert!(before <= 2 * FRAME_BYTES_MAX, "{before}");
}

#[test]
fn one_who_never_reads_is_given_up() {
    let hasty = Limits { frame_time: Duration::from_millis(400), ..Limits::default() };
    let (mut a, mut b) = (Node::start(hasty), Node::start(Limits::default()));
    let address = b.listen();
    let (at_a, _) = join_proved(&mut a, &mut b, &address);
    flood(&mut a, at_a, 64 * 1024);
    assert_eq!(a.closed(at_a), CloseReason::Slow(400));
}

#[test]
fn empty_frames_are_not_free() {
    let (mut a, mut b) = (Node::start(Limits::default()), Node::start(Limits::default()));
    let address = b.listen();
    let (at_a, _) = join_proved(&mut a, &mut b, &address);
    // A's queue and B's hold 24 Ki of them at 128 bytes each; a byte each, some 256 Ki lie in yamux's window.
    let mut sent = 0;
    while a.handle.send(at_a, Vec::new()).is_ok() || a.is_writable_soon(at_a, Duration::from_millis(300)) {
        sent += 1;
        assert!(sent < 1_000_000, "no back-pressure");
    }
}

#[test]
fn one_frame_of_the_largest_size_always_fits_an_empty_queue() {
    let (mut a, mut b) = (Node::start(Limits::default()), Node::start(Limits::default()));
    let address = b.listen();
    let (at_a, at_b) = join_proved(&mut a, &mut b, &address);
    for n in 0..20u8 {
        while a.handle.send(at_a, vec![n; FRAME_BYTES_MAX]) == Err(SendError::Full) {
            a.writable(at_a);
        }
        let frame = b.frame(at_b);
        assert!(frame.len() == FRAME_BYTES_MAX && frame[0] == n);
    }
}
