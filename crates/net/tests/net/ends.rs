//! How streams, dials and the network end, and that each end is told.

use std::{
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc::channel,
    },
    time::{Duration, Instant},
};

use p2pdb_net::{CloseReason, Config, DialFailure, Event, Limits, NetError, SendError, limit::SHUTDOWN, start};

use crate::{
    forward::Forwarder,
    node::{DEADLINE, Node, join, join_proved},
};

const SHORT: Duration = Duration::from_millis(200);

#[test]
fn a_close_is_told_on_both_sides_after_the_last_frames() {
    let (mut a, mut b) = (Node::start(Limits::default()), Node::start(Limits::default()));
    let address = b.listen();
    let (at_a, at_b) = join_proved(&mut a, &mut b, &address);
    for n in 0..10 {
        b.handle.send(at_b, vec![n; 50_000]).unwrap();
    }
    b.handle.close(at_b);
    assert_eq!(b.closed(at_b), CloseReason::Local);
    for n in 0..10 {
        assert_eq!(a.frame(at_a), vec![n; 50_000]);
    }
    assert_eq!(a.closed(at_a), CloseReason::Remote);
    assert_eq!(a.handle.send(at_a, vec![1]), Err(SendError::Gone));
    assert!(matches!(a.handle.open_beside(at_a, 5), Err(NetError::Gone)));
}

#[test]
fn shutdown_flushes_tells_and_is_quick() {
    let (mut a, mut b) = (Node::start(Limits::default()), Node::start(Limits::default()));
    let address = b.listen();
    let (at_a, at_b) = join_proved(&mut a, &mut b, &address);
    let spare = a.handle.clone();
    a.handle.send(at_a, b"bye".to_vec()).unwrap();
    let begun = Instant::now();
    a.handle.clone().shutdown();
    assert!(begun.elapsed() < SHUTDOWN, "{:?}", begun.elapsed());
    assert_eq!(b.frame(at_b), b"bye");
    assert!(matches!(b.closed(at_b), CloseReason::Remote | CloseReason::Broken(_)));
    assert_eq!(a.closed(at_a), CloseReason::Local);
    a.wait("the end", |event| matches!(event, Event::Stopped { .. }).then_some(()));
    assert_eq!(spare.send(at_a, vec![1]), Err(SendError::Gone));
    assert!(matches!(spare.dial("127.0.0.1:1", 1), Err(NetError::Stopped)));
    spare.shutdown();
}

#[test]
fn shutdown_does_not_wait_for_a_peer_that_reads_nothing() {
    let (mut a, mut b) = (Node::start(Limits::default()), Node::start(Limits::default()));
    let address = b.listen();
    let (at_a, _) = join_proved(&mut a, &mut b, &address);
    crate::pressure::flood(&mut a, at_a, 512 * 1024);
    let begun = Instant::now();
    a.handle.clone().shutdown();
    // The promise is to return by then, joined or not; a machine under load gets as much again.
    assert!(begun.elapsed() < 2 * SHUTDOWN, "{:?}", begun.elapsed());
}

#[test]
fn dropping_all_handles_ends_the_thread() {
    let Node { handle, mut events, .. } = Node::start(Limits::default());
    let (ring, rung) = channel();
    let (second, mut second_events) = start(Config::default(), Arc::new(move || ring.send(()).unwrap_or(()))).unwrap();
    drop(second.clone());
    assert!(second.listen("127.0.0.1:0").is_ok());
    drop(second);
    let mut is_over = false;
    while !is_over {
        rung.recv_timeout(DEADLINE).unwrap();
        while let Some(event) = second_events.try_recv() {
            is_over |= matches!(event, Event::Stopped { .. });
        }
    }
    assert_eq!(events.try_recv(), None);
    handle.shutdown();
}

#[test]
fn a_dial_that_nobody_answers_is_reported() {
    let mut a = Node::start(Limits::default());
    let nobody = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().to_string()
    };
    a.handle.dial(&nobody, 7).unwrap();
    match a.dial_failed(7) {
        DialFailure::Unreachable(why) => assert!(why.contains("refused"), "{why}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_dial_to_one_that_stays_silent_ends_in_time_and_occupies_one_place() {
    let mut a = Node::start(Limits { dial_time: SHORT, dials: 1, ..Limits::default() });
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    a.handle.dial(&address, 7).unwrap();
    assert!(matches!(a.handle.dial(&address, 8), Err(NetError::Busy(1))));
    assert!(matches!(a.dial_failed(7), DialFailure::Unreachable(_)));
    a.handle.dial(&address, 9).unwrap();
    assert!(matches!(a.dial_failed(9), DialFailure::Unreachable(_)));
}

#[test]
fn one_who_dials_oneself_is_told_so_by_address_by_key_and_by_handshake() {
    let mut a = Node::start(Limits::default());
    let address = a.listen();
    a.handle.dial(&address, 1).unwrap();
    assert_eq!(a.dial_failed(1), DialFailure::Oneself);
    let port = address.rsplit('/').next().unwrap();
    a.handle.dial(&format!("localhost:{port}"), 2).unwrap();
    assert_eq!(a.dial_failed(2), DialFailure::Oneself);
    // An address that is not known to be ours, as behind a router: only the handshake can tell.
    let mirror = Forwarder::to(&address);
    a.handle.dial(&mirror.address, 3).unwrap();
    assert_eq!(a.dial_failed(3), DialFailure::Oneself);
    assert_eq!(a.count(|event| matches!(event, Event::Opened { .. })), 0);
}

#[test]
fn another_peer_than_the_one_named_is_refused() {
    let (mut a, mut b, c) =
        (Node::start(Limits::default()), Node::start(Limits::default()), Node::start(Limits::default()));
    let address = b.listen();
    let named = |node: &Node| {
        let peer = libp2p::PeerId::from_bytes(&node.handle.local_key()).unwrap();
        format!("{address}/p2p/{peer}")
    };
    a.handle.dial(&named(&c), 1).unwrap();
    assert_eq!(a.dial_failed(1), DialFailure::OtherPeer);
    let right = named(&b);
    join(&mut a, &mut b, &right);
    // And a dial that names the peer alone decides, whatever the address: the connection stands.
    a.handle.dial(&right.replace("/tcp/", "/tcp/1"), 2).unwrap_or(());
    a.handle.dial(&named(&a), 3).unwrap();
    assert_eq!(a.dial_failed(3), DialFailure::Oneself);
}

#[test]
fn a_line_that_goes_dead_is_closed() {
    let limits = Limits { ping_time: SHORT, dead_time: SHORT, ..Limits::default() };
    let (mut a, mut b) = (Node::start(limits), Node::start(Limits::default()));
    let line = Forwarder::to(&b.listen());
    let (at_a, _) = join_proved(&mut a, &mut b, &line.address.clone());
    line.cut();
    assert_eq!(a.closed(at_a), CloseReason::Dead);
}

#[test]
fn a_connection_without_streams_is_closed() {
    let limits = Limits { idle_time: SHORT, ..Limits::default() };
    let (mut a, mut b) = (Node::start(limits), Node::start(Limits::default()));
    let line = Forwarder::to(&b.listen());
    let (at_a, at_b) = join_proved(&mut a, &mut b, &line.address.clone());
    a.handle.close(at_a);
    b.closed(at_b);
    line.wait_end();
}

#[test]
fn listening_ends_when_told_and_streams_stay() {
    let (mut a, mut b) = (Node::start(Limits::default()), Node::start(Limits::default()));
    let address = b.listen();
    let (at_a, at_b) = join_proved(&mut a, &mut b, &address);
    b.handle.unlisten_all();
    b.wait("the end of listening", |event| match event {
        Event::ListenEnded { address: ended } if *ended == address => Some(()),
        _ => None,
    });
    a.handle.send(at_a, b"still here".to_vec()).unwrap();
    assert_eq!(b.frame(at_b), b"still here");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    b.handle.listen(&taken.local_addr().unwrap().to_string()).unwrap();
    b.wait("a refusal", |event| matches!(event, Event::ListenFailed { .. }).then_some(()));
}

#[test]
fn a_panic_on_the_thread_is_told_and_ends_the_network() {
    let (ring, rung) = channel();
    let rings = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&rings);
    let (handle, mut events) = start(
        Config::default(),
        Arc::new(move || {
            assert_ne!(counted.fetch_add(1, Ordering::SeqCst), 0, "planted");
            ring.send(()).unwrap_or(());
        }),
    )
    .unwrap();
    handle.listen("127.0.0.1:0").unwrap();
    rung.recv_timeout(DEADLINE).unwrap();
    let mut last = None;
    while let Some(event) = events.try_recv() {
        last = Some(event);
    }
    match last {
        Some(Event::Stopped { why }) => assert!(why.contains("panicked") && why.contains("planted"), "{why}"),
        other => panic!("{other:?}"),
    }
    assert!(matches!(handle.listen("127.0.0.1:0"), Err(NetError::Stopped)));
    handle.shutdown();
}

#[test]
fn a_panic_in_the_task_of_a_stream_is_told_too() {
    let (ring, rung) = channel();
    let (handle, mut events) = start(Config::default(), {
        let rings = AtomicUsize::new(0);
        Arc::new(move || {
            // Listening, Opened, then the first frame, which a task of its own tells of.
            let count = rings.fetch_add(1, Ordering::SeqCst);
            ring.send(()).unwrap_or(());
            assert_ne!(count, 2, "planted");
        })
    })
    .unwrap();
    handle.listen("127.0.0.1:0").unwrap();
    rung.recv_timeout(DEADLINE).unwrap();
    let Some(Event::Listening { address }) = events.try_recv() else { panic!("not listening") };
    let mut a = Node::start(Limits::default());
    a.handle.dial(&address, 1).unwrap();
    let at_a = a.opened();
    a.handle.send(at_a, vec![1]).unwrap();
    let mut is_over = false;
    while !is_over {
        rung.recv_timeout(DEADLINE).unwrap();
        while let Some(event) = events.try_recv() {
            is_over |= matches!(event, Event::Stopped { why } if why.contains("planted"));
        }
    }
    assert!(matches!(a.closed(at_a), CloseReason::Remote | CloseReason::Broken(_)));
}

#[test]
fn limits_that_contradict_each_other_are_refused() {
    for limits in [
        Limits { frame_bytes_max: 100, ..Limits::default() },
        Limits { stream_in_bytes_max: 1000, ..Limits::default() },
        Limits { budget_bytes: 1 << 20, ..Limits::default() },
        Limits { substreams: 5, ..Limits::default() },
    ] {
        let refused = start(Config { seed: None, limits }, Arc::new(|| {}));
        assert!(matches!(refused, Err(NetError::Limits(_))));
    }
    start(Config { seed: None, limits: Limits::daemon() }, Arc::new(|| {})).unwrap().0.shutdown();
}

/// A handler of the host program must run on a thread that the program knows.
#[cfg(target_os = "linux")]
#[test]
fn the_thread_takes_no_signals_and_the_callers_mask_is_as_before() {
    let blocked = |status: String| {
        let line = status.lines().find(|line| line.starts_with("SigBlk:")).unwrap();
        u64::from_str_radix(line["SigBlk:".len()..].trim(), 16).unwrap()
    };
    let mine = || blocked(std::fs::read_to_string("/proc/thread-self/status").unwrap());
    let before = mine();
    let mut a = Node::start(Limits::default());
    a.listen();
    assert_eq!(mine(), before);
    let threads = std::fs::read_dir("/proc/self/task").unwrap().map(|task| task.unwrap().path());
    let ours: Vec<_> =
        threads.filter(|task| std::fs::read_to_string(task.join("comm")).unwrap().trim() == "p2pdb-net").collect();
    assert!(!ours.is_empty());
    for task in ours {
        // All of 64 but the two that cannot be blocked and the two that the C library keeps to itself.
        assert!(blocked(std::fs::read_to_string(task.join("status")).unwrap()).count_ones() >= 60);
    }
}
