use super::*;
use crate::message::{Ack, Entries, Error, ErrorCode, Sync, Want};
use proptest::prelude::*;
use world::{Pair, config, memory, with_common};

mod world;

#[test]
fn equal_logs_are_level_after_one_round_trip() {
    let mut pair = Pair::new(with_common(3));
    pair.run().assert_level();
    let kinds: Vec<_> = [0, 1].map(|side| pair.sent(side).len()).into();
    assert_eq!(kinds, [2, 2], "HELLO and STATE each");
    assert!(matches!(&pair.sent(0)[1], Message::State(s) if s.frontier.is_none()), "an equal root says it all");
    assert_eq!(pair.count(0, |o| *o == Output::Level), 1);
}

#[test]
fn both_sides_get_what_they_lack_and_nothing_twice() {
    let mut logs = with_common(2);
    for clock in 2..200 {
        logs[0].write(0, clock, 1_000);
        logs[1].write(1, clock, 1_000);
    }
    let mut pair = Pair::new(logs);
    pair.run().assert_level();
    assert_eq!((pair.entries(0).len(), pair.entries(1).len()), (198, 198));
    let digests = pair.sent(0).iter().filter(|m| matches!(m, Message::Digest(_))).count();
    assert_eq!(digests, 1, "the root is announced once after a catch-up");
    assert_eq!(pair.sessions[0].digest_equal, Some(true));
}

#[test]
fn a_catch_up_comes_in_clock_order_over_all_authors() {
    let mut logs = [memory(1), memory(2)];
    for clock in 1..400 {
        logs[0].write(clock * 7 % 5, clock, 700);
    }
    // A log that met them in another order: author by author.
    logs[0].arrivals.sort_by_key(|e| (e.author, e.seq));
    (1..).zip(&mut logs[0].arrivals).for_each(|(n, e)| e.n = n);
    let mut pair = Pair::new(logs);
    pair.run().assert_level();
    let clocks: Vec<_> = pair.entries(0).iter().map(|h| h.clock.0).collect();
    assert_eq!(clocks, (1..400).collect::<Vec<_>>());
}

#[test]
fn a_new_entry_is_pushed_at_once_and_not_sent_back() {
    let mut pair = Pair::new(with_common(1));
    pair.run();
    let before = [0, 1].map(|side| pair.sent(side).len());
    pair.logs[0].write(0, 2, 10);
    pair.input(0, Input::LogGrew);
    pair.run().assert_level();
    // The store tells every session, the one that brought the entry too.
    pair.input(1, Input::LogGrew);
    pair.run().assert_level();
    let after = [0, 1].map(|side| pair.sent(side).len());
    assert_eq!([after[0] - before[0], after[1] - before[1]], [1, 1], "ENTRIES and ACK");
    assert_eq!(pair.count(1, |o| *o == Output::Level), 2);
}

#[test]
fn a_frontier_too_long_for_state_comes_in_pages() {
    let mut logs = with_common(limit::FRONTIER_INLINE_MAX as u64 + 100);
    logs[0].write(0, 2, 10);
    logs[1].write(1, 2, 10);
    logs[1].write(9_999, 2, 10);
    let mut pair = Pair::new(logs);
    pair.run().assert_level();
    assert_eq!((pair.entries(0).len(), pair.entries(1).len()), (1, 2));
    let pages = pair.sent(0).iter().filter(|m| matches!(m, Message::Want(Want::Page { .. }))).count();
    assert_eq!(pages, 2);
}

#[test]
fn one_side_may_have_a_long_frontier_and_the_other_none() {
    for side in [0, 1] {
        let mut logs = [memory(1), memory(2)];
        (0..600).for_each(|key| logs[side].write(key, key + 1, 10));
        let mut pair = Pair::new(logs);
        pair.run().assert_level();
        assert_eq!(pair.entries(side).len(), 600);
    }
}

#[test]
fn a_known_cursor_makes_a_reconnect_cost_the_difference() {
    let mut logs = with_common(600);
    let cursors = [(Life([2; 16]), 600), (Life([1; 16]), 600)];
    for (log, cursor) in logs.iter_mut().zip(cursors) {
        log.cursors.extend([cursor]);
    }
    logs[0].write(0, 2, 10);
    logs[1].write(1, 2, 10);
    let mut pair = Pair::new(logs);
    pair.run().assert_level();
    assert_eq!((pair.entries(0).len(), pair.entries(1).len()), (1, 1));
    let pages =
        pair.sent(0).iter().chain(&pair.sent(1)).filter(|m| matches!(m, Message::Want(Want::Page { .. }))).count();
    assert_eq!(pages, 0);
    assert_eq!(pair.logs[0].cursors[&Life([2; 16])], 601, "and the cursor moved");
}

/// The file was restored from an older copy: the other side thinks it has more of it than there is.
#[test]
fn a_cursor_beyond_the_log_is_answered_by_the_frontier() {
    let mut logs = with_common(600);
    logs[1].cursors.insert(Life([1; 16]), 700);
    logs[1].write(1, 2, 10);
    logs[0].write(0, 2, 10);
    let mut pair = Pair::new(logs);
    pair.run().assert_level();
    assert_eq!((pair.entries(0).len(), pair.entries(1).len()), (1, 1));
}

#[test]
fn a_peer_that_does_not_store_costs_a_bounded_amount() {
    let mut logs = [memory(1), memory(2)];
    (1..=60).for_each(|clock| logs[0].write(0, clock, 200_000));
    let mut pair = Pair::new(logs);
    pair.is_store_slow = true;
    pair.run();
    let bytes: usize = pair.entries(0).iter().map(|h| h.body_bytes as usize).sum();
    let max = limit::CREDIT_BYTES + limit::ENTRY_BYTES_MAX;
    assert!((limit::CREDIT_BYTES..max).contains(&bytes), "{bytes}");
    pair.is_store_slow = false;
    let batches: Vec<_> =
        pair.seen.iter().filter_map(|(_, o)| if let Output::Store(b) = o { Some(b.clone()) } else { None }).collect();
    batches.iter().for_each(|batch| pair.store(1, batch));
    pair.run().assert_level();
}

#[test]
fn a_wire_that_does_not_write_gets_a_bounded_amount() {
    let mut logs = [memory(1), memory(2)];
    (1..=60).for_each(|clock| logs[0].write(0, clock, 60_000));
    let mut pair = Pair::new(logs);
    pair.is_wire_slow = true;
    pair.run();
    let bytes: usize = pair.entries(0).iter().map(|h| h.body_bytes as usize).sum();
    assert!((1..limit::UNWRITTEN_BYTES_MAX + limit::BATCH_BYTES).contains(&bytes), "{bytes}");
    pair.is_wire_slow = false;
    pair.input(0, Input::Writable);
    pair.run().assert_level();
}

#[test]
fn a_stranger_learns_nothing() {
    let wrong_secret = Config { secret: Secret([9; 32]), ..config(true) };
    let wrong_group = Config { group: GroupId([9; 16]), ..config(true) };
    let wrong_ends = Config { dialer: b"another".to_vec(), ..config(true) };
    let hellos = [wrong_secret, wrong_group, wrong_ends].map(|config| match &Session::new(config, 0).1[..] {
        [Output::Send(hello)] => hello.clone(),
        other => panic!("{other:?}"),
    });
    let garbage = [vec![], vec![0x02], vec![0x01], vec![0xff; 5_000], Message::stranger().write()];
    for frame in hellos.into_iter().chain(garbage) {
        let (mut listener, _) = Session::new(config(false), 0);
        let outputs = listener.handle(Input::Frame(&frame), 1, &memory(1)).unwrap();
        let close = Output::Close { reason: Reason::Stranger, is_peer_at_fault: true };
        assert_eq!(outputs, [Output::Send(Message::stranger().write()), close]);
        assert!(listener.handle(Input::Frame(&frame), 2, &memory(1)).unwrap().is_empty());
    }
}

#[test]
fn a_dialer_believes_no_listener_without_proof() {
    let (mut dialer, first) = Session::new(config(true), 0);
    let [Output::Send(own)] = &first[..] else { panic!("{first:?}") };
    let outputs = dialer.handle(Input::Frame(own), 1, &memory(1)).unwrap();
    assert!(outputs.contains(&Output::Close { reason: Reason::Stranger, is_peer_at_fault: true }), "its own HELLO");
    let (mut dialer, _) = Session::new(config(true), 0);
    let outputs = dialer.handle(Input::Frame(&Message::stranger().write()), 1, &memory(1)).unwrap();
    let error = Error { code: ErrorCode::Stranger, text: String::new() };
    assert_eq!(outputs, [Output::Close { reason: Reason::PeerError(error), is_peer_at_fault: false }]);
}

#[test]
fn a_stranger_has_three_seconds() {
    let (mut listener, _) = Session::new(config(false), 1_000);
    let at = 1_000 + limit::HELLO_TIMEOUT_MS;
    assert_eq!(listener.handle(Input::Tick, at - 1, &memory(1)).unwrap(), []);
    let outputs = listener.handle(Input::Tick, at, &memory(1)).unwrap();
    assert_eq!(outputs[0], Output::Send(Message::stranger().write()));
    assert!(listener.is_closed());
    let mut pair = Pair::new(with_common(0));
    pair.run();
    pair.now_ms = 10_000;
    pair.input(1, Input::Tick);
    pair.run().assert_level();
}

#[test]
fn a_fork_closes_with_a_reason_on_the_first_word() {
    let mut logs = [memory(1), memory(2)];
    logs[0].write(0, 1, 10);
    logs[1].write(0, 1, 11);
    let author = logs[0].arrivals[0].author;
    let mut pair = Pair::new(logs);
    pair.run();
    let closes = pair.closes();
    assert_eq!(closes[0], (0, Reason::Fork(author, Seq(1))));
    assert!(matches!(&closes[1], (1, Reason::PeerError(Error { code: ErrorCode::Fork, .. }))));
    for (_, reason) in closes {
        assert!(!reason.is_peer_at_fault());
        assert_eq!(reason.pause_ms(), 60_000, "no hot loop");
    }
}

#[test]
fn a_fork_that_the_store_finds_closes_with_a_reason() {
    let mut logs = [memory(1), memory(2)];
    logs[0].write(0, 1, 10);
    logs[0].write(0, 2, 10);
    let mut pair = Pair::new(logs);
    pair.is_store_slow = true;
    pair.run();
    let refused = Refused::Chain(AuthorId([0; 16]), Seq(2));
    pair.input(1, Input::Stored { token: 0, outcome: Outcome::Refused(refused.clone()) });
    pair.run();
    let closes = pair.closes();
    assert_eq!(closes[0], (1, Reason::Refused(refused)));
    assert!(matches!(&closes[1], (0, Reason::PeerError(Error { code: ErrorCode::Fork, .. }))));
    assert!(closes.iter().all(|(_, r)| r.pause_ms() == 60_000 && !r.is_peer_at_fault()));
}

#[test]
fn a_gap_forgets_the_cursor_that_led_to_it() {
    let mut logs = with_common(1);
    logs[0].write(0, 2, 10);
    let mut pair = Pair::new(logs);
    pair.is_store_slow = true;
    pair.run();
    let gap = Refused::Gap { author: AuthorId([0; 16]), got: Seq(9), wanted: Seq(2) };
    pair.input(1, Input::Stored { token: 0, outcome: Outcome::Refused(gap) });
    pair.run();
    assert_eq!(pair.logs[1].cursors[&Life([1; 16])], 0);
    assert!(pair.closes().iter().all(|(_, reason)| !reason.is_peer_at_fault()));
}

#[test]
fn a_failed_store_closes_without_blame() {
    let mut logs = with_common(1);
    logs[0].write(0, 2, 10);
    let mut pair = Pair::new(logs);
    pair.is_store_slow = true;
    pair.run();
    pair.input(1, Input::Stored { token: 0, outcome: Outcome::Failed });
    pair.run();
    assert_eq!(pair.closes()[0], (1, Reason::StoreFailed));
    assert!(matches!(&pair.closes()[1], (0, Reason::PeerError(Error { code: ErrorCode::Failure, .. }))));
}

#[test]
fn a_digest_finds_what_was_missed() {
    let mut pair = Pair::new(with_common(1));
    pair.run();
    pair.logs[1].drops_batches = true;
    pair.logs[0].write(0, 2, 10);
    pair.input(0, Input::LogGrew);
    pair.run();
    pair.logs[1].drops_batches = false;
    assert_eq!(pair.logs[1].arrivals.len(), 1);
    pair.wait(80);
    pair.assert_level();
    assert_eq!(pair.logs[1].arrivals.len(), 2);
}

#[test]
fn a_digest_finds_what_was_missed_in_a_group_of_many_authors() {
    let mut pair = Pair::new(with_common(600));
    pair.run();
    pair.logs[1].drops_batches = true;
    pair.logs[0].write(0, 2, 10);
    pair.input(0, Input::LogGrew);
    pair.run();
    pair.logs[1].drops_batches = false;
    pair.wait(80);
    pair.assert_level();
}

#[test]
fn digests_come_about_once_a_minute_and_nothing_else_does() {
    let mut pair = Pair::new(with_common(2));
    pair.run();
    let before = pair.seen.len();
    pair.wait(600);
    let sent = pair.seen.len() - before;
    assert!((2 * 8..=2 * 12 + 2).contains(&sent), "{sent} outputs in ten minutes");
}

#[test]
fn equal_entries_with_different_digests_are_reported_once() {
    let mut logs = with_common(2);
    logs[1].digest_is_wrong = true;
    let mut pair = Pair::new(logs);
    pair.run();
    pair.wait(200);
    for side in [0, 1] {
        assert_eq!(pair.count(side, |o| *o == Output::Diverged), 1);
        assert_eq!(pair.sessions[side].status(&pair.logs[side]).unwrap().digest_equal, Some(false));
    }
}

#[test]
fn a_question_is_answered_after_the_last_entry_that_was_committed_when_it_came() {
    let mut pair = Pair::new(with_common(2));
    pair.run().assert_level();
    pair.is_store_slow = true;
    pair.input(0, Input::Ask);
    pair.run();
    assert_eq!(pair.count(1, |o| *o == Output::Seal), 1);
    let status = |pair: &Pair| pair.sessions[0].status(&pair.logs[0]).unwrap();
    assert!(!status(&pair).is_answered);
    (0..5).for_each(|n| pair.logs[1].write(7, 10 + n, 30_000));
    pair.input(1, Input::Sealed { is_held_back: false });
    pair.run();
    assert!(status(&pair).is_answered && !status(&pair).is_held_back);
    // On their way into the store.
    assert!(!status(&pair).is_level);
    assert_eq!(pair.entries(1).len(), 5);
    assert!(matches!(pair.sent(1).last(), Some(Message::Sync(Sync::Answer { number: 1, is_held_back: false }))));
}

#[test]
fn a_question_before_the_first_state_waits_for_it_and_a_second_takes_its_place() {
    let mut pair = Pair::new(with_common(2));
    pair.input(0, Input::Ask);
    pair.input(0, Input::Ask);
    pair.run().assert_level();
    pair.input(1, Input::Sealed { is_held_back: true });
    // There is no second question.
    pair.input(1, Input::Sealed { is_held_back: false });
    pair.run().assert_level();
    let status = pair.sessions[0].status(&pair.logs[0]).unwrap();
    assert!(status.is_answered && status.is_held_back);
    let questions = |m: &Message<'_>| matches!(m, Message::Sync(Sync::Question { number: 2 }));
    assert_eq!(pair.sent(0).iter().filter(|m| questions(m)).count(), 1);
}

#[test]
fn a_goodbye_and_addresses_reach_the_other_side() {
    let mut pair = Pair::new(with_common(1));
    pair.run();
    let addresses = ["/ip4/127.0.0.1/tcp/1".to_owned()];
    pair.input(0, Input::Addresses(&addresses));
    pair.input(0, Input::Leave { pause_ms: 5_000 });
    pair.run();
    assert_eq!(pair.count(1, |o| *o == Output::Peers(addresses.to_vec())), 1);
    assert_eq!(pair.closes(), [(0, Reason::Left), (1, Reason::PeerLeft { pause_ms: 5_000 })]);
    assert_eq!(Reason::PeerLeft { pause_ms: u64::MAX }.pause_ms(), 60 * 60 * 1000, "nobody keeps us away for ever");
}

/// Frames that an established peer must not send, each with the reason it closes with.
#[test]
fn broken_rules_close() {
    let entry = with_common(1)[0].arrivals[0].bytes.clone();
    let entries = |entries| Message::Entries(Entries { cursor: 0, has_more: false, entries });
    let cases = [
        (Message::Hello(Session::new(config(true), 0).0.hello()).write(), Reason::Rule("a second HELLO")),
        (entries(vec![]).write(), Reason::Rule("ENTRIES without an entry")),
        (entries(vec![&entry[..40]]).write(), Reason::Malformed(crate::codec::Malformed::Truncated("author key"))),
        (
            Message::Ack(Ack { batches: 1, cursor: 0 }).write(),
            Reason::Rule("ACK counts batches that were not sent, or again"),
        ),
        (
            Message::Ack(Ack { batches: 0, cursor: 0 }).write(),
            Reason::Rule("ACK counts batches that were not sent, or again"),
        ),
        (
            Message::Sync(Sync::Answer { number: 1, is_held_back: false }).write(),
            Reason::Rule("SYNC answers no question"),
        ),
        (vec![0x05], Reason::Malformed(crate::codec::Malformed::Unknown { what: "frame type", got: 5 })),
    ];
    for (frame, wanted) in cases {
        let mut pair = Pair::new(with_common(1));
        pair.run();
        pair.input(1, Input::Frame(&[0x80, 1, 2]));
        assert!(pair.run().closes().is_empty(), "a later version's frame is skipped");
        pair.input(1, Input::Frame(&frame));
        pair.run();
        assert_eq!(pair.closes()[0], (1, wanted.clone()));
        assert!(wanted.is_peer_at_fault());
    }
}

#[test]
fn nothing_but_state_comes_after_the_proof() {
    let (mut listener, _) = Session::new(config(false), 0);
    let (_, first) = Session::new(config(true), 0);
    let [Output::Send(hello)] = &first[..] else { panic!("{first:?}") };
    listener.handle(Input::Frame(hello), 1, &memory(1)).unwrap();
    let ack = Message::Ack(Ack { batches: 0, cursor: 0 }).write();
    let outputs = listener.handle(Input::Frame(&ack), 1, &memory(1)).unwrap();
    let reason = Reason::Rule("STATE must come first");
    assert!(outputs.contains(&Output::Close { reason, is_peer_at_fault: true }));
}

#[test]
fn more_than_the_credit_closes() {
    let mut logs = [memory(1), memory(2)];
    (1..=40).for_each(|clock| logs[0].write(0, clock, 250_000));
    let all: Vec<_> = logs[0].arrivals.iter().map(|e| e.bytes.clone()).collect();
    let mut pair = Pair::new(with_common(0));
    pair.is_store_slow = true;
    pair.run();
    for entry in &all {
        let batch = Entries { cursor: 0, has_more: false, entries: vec![entry] };
        pair.input(1, Input::Frame(&Message::Entries(batch).write()));
    }
    pair.run();
    assert_eq!(pair.closes()[0], (1, Reason::Rule("more ENTRIES than the credit allows")));
}

#[test]
fn state_again_and_again_closes() {
    let mut pair = Pair::new(with_common(1));
    pair.run();
    let state = pair.seen.iter().find_map(|(side, o)| match o {
        Output::Send(frame) if *side == 1 && frame[0] == 0x02 => Some(frame.clone()),
        _ => None,
    });
    let state = state.unwrap();
    let mut input = || pair.sessions[0].handle(Input::Frame(&state), 5_000, &pair.logs[0]).unwrap();
    let is_close = |o: &Output| matches!(o, Output::Close { .. });
    assert!(!input().iter().any(is_close));
    let reason = Reason::Rule("STATE comes too often");
    assert!(input().contains(&Output::Close { reason, is_peer_at_fault: true }));
}

proptest! {
    /// Whatever an established member sends, the session answers or closes, and its buffers stay bounded.
    #[test]
    fn frames_of_a_mad_member_never_panic(frames in prop::collection::vec((1u8..0x12, prop::collection::vec(any::<u8>(), 0..80)), 1..20), at in any::<prop::sample::Index>(), to in any::<u8>()) {
        let mut logs = with_common(3);
        logs[0].write(0, 2, 100);
        let mut pair = Pair::new(logs);
        pair.run();
        let honest: Vec<_> = pair.seen.iter().filter_map(|(_, o)| if let Output::Send(f) = o { Some(f.clone()) } else { None }).collect();
        let mut changed = honest[at.index(honest.len())].clone();
        let place = at.index(changed.len());
        changed[place] = to;
        let random = frames.into_iter().map(|(kind, mut rest)| { rest.insert(0, kind); rest });
        pair.is_store_slow = true;
        for frame in std::iter::once(changed).chain(random) {
            pair.input(1, Input::Frame(&frame));
            pair.queue.clear();
        }
        prop_assert!(pair.sessions[1].pending_bytes <= limit::CREDIT_BYTES + limit::FRAME_BYTES_MAX);
    }

    /// Any two logs become level, whatever each holds of the other.
    #[test]
    fn any_two_logs_become_level(writes in prop::collection::vec((0usize..3, 0u64..4, 1usize..3_000), 0..60)) {
        let mut logs = [memory(1), memory(2)];
        for (clock, (side, key, bytes)) in (1..).zip(writes) {
            // An author lives on one side; side 2 is common history.
            match side {
                2 => {
                    logs[0].write(key + 100, clock, bytes);
                    let entry = logs[0].arrivals.last().unwrap().bytes.clone();
                    logs[1].append(&entry);
                }
                side => logs[side].write(key + 10 * side as u64, clock, bytes),
            }
        }
        let mut pair = Pair::new(logs);
        pair.run().assert_level();
        let mut again = Pair::new(pair.logs.clone());
        again.run().assert_level();
        prop_assert_eq!(again.entries(0).len() + again.entries(1).len(), 0);
    }
}
