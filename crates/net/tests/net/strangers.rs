//! Those who have proved nothing: bytes, time and number.

use std::{fs, io::Read, net::TcpStream, time::Duration};

use p2pdb_net::{CloseReason, Event, Limits, StreamId, limit::STRANGER_FRAMES_MAX};

use crate::node::{DEADLINE, Node, join};

const MAX: usize = 4 * 1024;

fn hasty() -> Limits {
    Limits { stranger_time: Duration::from_millis(300), ..Limits::default() }
}

/// A dials B; B is one who gives strangers little time, A has patience.
fn stranger() -> (Node, Node, StreamId, StreamId) {
    let (mut a, mut b) = (Node::start(Limits::default()), Node::start(hasty()));
    let address = b.listen();
    let (at_a, at_b) = join(&mut a, &mut b, &address);
    (a, b, at_a, at_b)
}

fn is_frame(event: &Event) -> bool {
    matches!(event, Event::Frame { .. })
}

#[test]
fn a_strangers_first_frame_passes_below_and_at_the_limit() {
    for length in [MAX - 1, MAX] {
        let (a, mut b, at_a, at_b) = stranger();
        a.handle.send(at_a, vec![1; length]).unwrap();
        assert_eq!(b.frame(at_b).len(), length);
    }
}

#[test]
fn a_strangers_first_frame_above_the_limit_is_refused_at_once() {
    let (mut a, mut b, at_a, at_b) = stranger();
    a.handle.send(at_a, vec![1; MAX + 1]).unwrap();
    assert_eq!(b.closed(at_b), CloseReason::FrameTooLong { claimed: MAX as u64 + 1, max: MAX });
    assert!(matches!(a.closed(at_a), CloseReason::Remote | CloseReason::Broken(_)));
    assert_eq!(b.count(is_frame), 0);
}

#[test]
fn a_strangers_frames_are_read_up_to_the_limit_in_all() {
    let (a, mut b, at_a, at_b) = stranger();
    for length in [MAX / 2, MAX / 2, 1] {
        a.handle.send(at_a, vec![1; length]).unwrap();
    }
    assert_eq!(b.closed(at_b), CloseReason::NotProved(300));
    assert_eq!(b.count(is_frame), 2);
}

#[test]
fn a_strangers_frames_are_few() {
    let (a, mut b, at_a, at_b) = stranger();
    for _ in 0..=STRANGER_FRAMES_MAX {
        a.handle.send(at_a, Vec::new()).unwrap();
    }
    assert_eq!(b.closed(at_b), CloseReason::NotProved(300));
    assert_eq!(b.count(is_frame), STRANGER_FRAMES_MAX);
}

#[test]
fn what_a_member_sends_before_it_is_vouched_for_waits_and_then_passes() {
    let (mut a, mut b) = (Node::start(Limits::default()), Node::start(Limits::default()));
    let address = b.listen();
    let (at_a, at_b) = join(&mut a, &mut b, &address);
    a.handle.send(at_a, vec![1; MAX]).unwrap();
    a.handle.send(at_a, vec![2; 100 * 1024]).unwrap();
    assert_eq!(b.frame(at_b), vec![1; MAX]);
    b.handle.promote(at_b);
    assert_eq!(b.frame(at_b), vec![2; 100 * 1024]);
}

#[test]
fn a_stranger_has_its_time_and_no_more() {
    let (mut a, mut b, at_a, at_b) = stranger();
    assert_eq!(b.closed(at_b), CloseReason::NotProved(300));
    assert!(matches!(a.closed(at_a), CloseReason::Remote | CloseReason::Broken(_)));
}

#[test]
fn one_who_is_vouched_for_outlives_the_time_of_strangers() {
    let (mut a, mut b, at_a, at_b) = stranger();
    b.handle.promote(at_b);
    // A second stream that stays a stranger tells when the time is over.
    a.handle.open_beside(at_a, 2).unwrap();
    let (_, late) = (a.opened(), b.opened());
    assert_eq!(b.closed(late), CloseReason::NotProved(300));
    a.handle.send(at_a, vec![3; 10_000]).unwrap();
    assert_eq!(b.frame(at_b), vec![3; 10_000]);
}

#[test]
fn a_connection_that_opens_no_stream_is_closed_too() {
    let mut b = Node::start(hasty());
    let address = b.listen();
    let peer = crate::raw::Peer::connect(&address);
    peer.wait_end();
}

#[test]
fn streams_of_strangers_are_few_and_a_proof_makes_room() {
    let limits = Limits { strangers: 3, ..Limits::default() };
    let (mut a, mut b) = (Node::start(Limits::default()), Node::start(limits));
    let address = b.listen();
    let (_, first) = join(&mut a, &mut b, &address);
    join(&mut a, &mut b, &address);
    join(&mut a, &mut b, &address);
    a.handle.dial(&address, 1).unwrap();
    let fourth = a.opened();
    assert!(matches!(a.closed(fourth), CloseReason::Remote | CloseReason::Broken(_)));
    b.handle.promote(first);
    let (fifth, at_b) = join(&mut a, &mut b, &address);
    a.handle.send(fifth, vec![1]).unwrap();
    assert_eq!(b.frame(at_b), [1]);
}

#[test]
fn connections_of_strangers_are_few() {
    let limits = Limits { strangers: 2, stranger_time: Duration::from_secs(60), ..Limits::default() };
    let mut b = Node::start(limits);
    let address = b.listen();
    let mut peers: Vec<_> = (0..3).map(|_| Node::start(Limits::default())).collect();
    let first = join(&mut peers[0], &mut b, &address).1;
    join(&mut peers[1], &mut b, &address);
    peers[2].handle.dial(&address, 9).unwrap();
    // The connection stood for a moment, so the stream may have, too.
    peers[2].wait("a refusal", |event| matches!(event, Event::DialFailed { .. } | Event::Closed { .. }).then_some(()));
    b.handle.promote(first);
    b.handle.send(first, vec![1]).unwrap();
    let mut fourth = Node::start(Limits::default());
    join(&mut fourth, &mut b, &address);
}

#[test]
fn a_thousand_half_open_strangers_stay_outside() {
    // They would have a minute; the first sixteen take it, the others get no place.
    let mut b = Node::start(Limits { stranger_time: Duration::from_secs(60), ..Limits::default() });
    let address = b.listen();
    let port: u16 = address.rsplit('/').next().unwrap().parse().unwrap();
    let (memory, files) = (resident_bytes(), open_files());
    let mut inside = Vec::new();
    let mut refused = 0;
    // In hundreds, so that the test needs no more open files than a shell allows.
    for _ in 0..10 {
        let strangers: Vec<_> = (0..100).map(|_| TcpStream::connect(("127.0.0.1", port)).unwrap()).collect();
        for mut stranger in strangers {
            if inside.len() < 16 {
                inside.push(stranger);
                continue;
            }
            stranger.set_read_timeout(Some(DEADLINE)).unwrap();
            match stranger.read(&mut [0]) {
                Ok(0) => refused += 1,
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => refused += 1,
                other => panic!("a stranger was let in or kept waiting: {other:?}"),
            }
        }
    }
    assert_eq!(refused, 984);
    assert!(open_files() <= files + 2 * 16 + 4, "{} files open, {files} before", open_files());
    assert!(resident_bytes() < memory + (20 << 20), "{} bytes resident, {memory} before", resident_bytes());
    // When they go, the next one comes in.
    drop(inside);
    let mut honest = Node::start(Limits::default());
    loop {
        honest.handle.dial(&address, 1).unwrap();
        let is_in = honest.wait("an answer", |event| match event {
            Event::Opened { .. } => Some(true),
            Event::DialFailed { .. } => Some(false),
            _ => None,
        });
        if is_in {
            break;
        }
    }
}

fn resident_bytes() -> usize {
    let statm = fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

fn open_files() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}
