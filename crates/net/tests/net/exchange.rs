//! Frames both ways.

use p2pdb_net::{CloseReason, Event, Limits, SendError, limit::FRAME_BYTES_MAX};

use crate::node::{Node, join, join_proved};

#[test]
fn frames_go_both_ways_in_order() {
    let (mut a, mut b) = (Node::start(Limits::default()), Node::start(Limits::default()));
    let address = b.listen();
    let (at_a, at_b) = join_proved(&mut a, &mut b, &address);
    for n in 0..1000u32 {
        a.handle.send(at_a, n.to_le_bytes().to_vec()).unwrap();
        b.handle.send(at_b, (!n).to_le_bytes().to_vec()).unwrap();
    }
    for n in 0..1000u32 {
        assert_eq!(b.frame(at_b), n.to_le_bytes());
        assert_eq!(a.frame(at_a), (!n).to_le_bytes());
    }
}

#[test]
fn both_ends_are_told_the_same_two_keys() {
    let (mut a, mut b) = (Node::start(Limits::default()), Node::start(Limits::default()));
    let listening = b.listen();
    a.handle.dial(&listening, 77).unwrap();
    let seen_by_a = a.wait("open", |event| match event {
        Event::Opened { is_dialer, local, remote, address, token, .. } => {
            Some((*is_dialer, local.clone(), remote.clone(), address.clone(), *token))
        }
        _ => None,
    });
    assert_eq!(seen_by_a, (true, a.handle.local_key(), b.handle.local_key(), listening, Some(77)));
    let seen_by_b = b.wait("open", |event| match event {
        Event::Opened { is_dialer, local, remote, token, .. } => {
            Some((*is_dialer, local.clone(), remote.clone(), *token))
        }
        _ => None,
    });
    assert_eq!(seen_by_b, (false, b.handle.local_key(), a.handle.local_key(), None));
}

#[test]
fn a_seed_makes_the_same_key_again() {
    let key = |seed| {
        let config = p2pdb_net::Config { seed, limits: Limits::default() };
        let (handle, _events) = p2pdb_net::start(config, std::sync::Arc::new(|| {})).unwrap();
        let key = handle.local_key();
        handle.shutdown();
        key
    };
    assert_eq!(key(Some([7; 32])), key(Some([7; 32])));
    assert_ne!(key(None), key(None));
}

#[test]
fn a_frame_passes_at_the_limit_and_is_refused_above() {
    let (mut a, mut b) = (Node::start(Limits::default()), Node::start(Limits::default()));
    let address = b.listen();
    let (at_a, at_b) = join_proved(&mut a, &mut b, &address);
    let largest: Vec<u8> = (0..FRAME_BYTES_MAX).map(|at| (at * 31) as u8).collect();
    a.handle.send(at_a, largest.clone()).unwrap();
    assert!(b.frame(at_b) == largest);
    let refused = a.handle.send(at_a, vec![0; FRAME_BYTES_MAX + 1]);
    assert_eq!(refused, Err(SendError::TooLong { length: FRAME_BYTES_MAX + 1, max: FRAME_BYTES_MAX }));
    a.handle.send(at_a, Vec::new()).unwrap();
    assert_eq!(b.frame(at_b), Vec::<u8>::new());
}

#[test]
fn a_peer_that_allows_itself_longer_frames_is_cut_off() {
    let generous = Limits { frame_bytes_max: FRAME_BYTES_MAX + 1, stream_in_bytes_max: 1 << 22, ..Limits::default() };
    let (mut a, mut b) = (Node::start(generous), Node::start(Limits::default()));
    let address = b.listen();
    let (at_a, at_b) = join_proved(&mut a, &mut b, &address);
    a.handle.send(at_a, vec![0; FRAME_BYTES_MAX + 1]).unwrap();
    let claimed = FRAME_BYTES_MAX as u64 + 1;
    assert_eq!(b.closed(at_b), CloseReason::FrameTooLong { claimed, max: FRAME_BYTES_MAX });
    assert!(matches!(a.closed(at_a), CloseReason::Remote | CloseReason::Broken(_)));
}

#[test]
fn a_second_dial_opens_a_second_stream_on_the_same_connection() {
    let (mut a, mut b) = (Node::start(Limits::default()), Node::start(Limits::default()));
    let address = b.listen();
    let (first, first_at_b) = join_proved(&mut a, &mut b, &address);
    // More than the two connections that a peer may have: each must be a stream on the first.
    for _ in 0..4 {
        let (at_a, at_b) = join(&mut a, &mut b, &address);
        assert_ne!(at_a, first);
        a.handle.send(at_a, b"hello".to_vec()).unwrap();
        assert_eq!(b.frame(at_b), b"hello");
    }
    b.handle.open_beside(first_at_b, 9).unwrap();
    let (beside, at_a) = (b.opened(), a.opened());
    b.handle.send(beside, b"bulk".to_vec()).unwrap();
    assert_eq!(a.frame(at_a), b"bulk");
}

#[test]
fn two_that_dial_each_other_at_once_both_get_their_stream() {
    let (mut a, mut b) = (Node::start(Limits::default()), Node::start(Limits::default()));
    let (to_a, to_b) = (a.listen(), b.listen());
    a.handle.dial(&to_b, 1).unwrap();
    b.handle.dial(&to_a, 2).unwrap();
    for node in [&mut a, &mut b] {
        let first = node.opened();
        let second = node.opened();
        assert_ne!(first, second);
    }
}

#[test]
fn a_name_is_resolved_and_dialled() {
    let (mut a, mut b) = (Node::start(Limits::default()), Node::start(Limits::default()));
    let address = b.listen();
    let port = address.rsplit('/').next().unwrap();
    let (at_a, at_b) = join(&mut a, &mut b, &format!("localhost:{port}"));
    a.handle.send(at_a, b"by name".to_vec()).unwrap();
    assert_eq!(b.frame(at_b), b"by name");
}

#[test]
fn the_round_trip_is_told() {
    let (mut a, mut b) =
        (Node::start(Limits::default()), Node::start(Limits { ping_time: SHORT, ..Limits::default() }));
    let address = b.listen();
    let (_, at_b) = join_proved(&mut a, &mut b, &address);
    b.wait("a round trip", |event| match event {
        Event::Rtt { stream, micros } if *stream == at_b => Some(*micros),
        _ => None,
    });
}

const SHORT: std::time::Duration = std::time::Duration::from_millis(20);
