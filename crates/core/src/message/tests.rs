use super::hello::Ends;
use super::*;
use crate::id::GroupId;
use crate::key::Secret;
use proptest::prelude::*;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn tip(author: u8, seq: u64) -> Tip {
    Tip { author: AuthorId([author; 16]), seq: Seq(seq), hash: [0xab; 8] }
}

fn summary() -> Summary {
    Summary { root: [1; 32], digest: Digest([2; 16]), withheld: [3; 16], last_arrival: 300 }
}

const ENDS: Ends<'static> = Ends { dialer: b"dialer", listener: b"listener" };

fn hello() -> Hello {
    Hello::new(GroupId([4; 16]), &Secret([5; 32]), 6, 0x81, ENDS, true)
}

/// The bytes on the wire, for other implementations to check themselves by. A change here is a new protocol.
#[test]
fn golden_vectors() {
    let state = State {
        is_reply: true,
        author: AuthorId([6; 16]),
        life: Life([7; 16]),
        summary: summary(),
        schema: [8; 16],
        cursor: Some((Life([9; 16]), 5)),
        frontier: Some(vec![tip(1, 2)]),
    };
    let summary_hex = format!("{}{}{}ac02", "01".repeat(32), "02".repeat(16), "03".repeat(16));
    let tip_hex = format!("{}02{}", "01".repeat(16), "ab".repeat(8));
    let state_hex = format!(
        "0207{}{}{summary_hex}{}{}0501{tip_hex}",
        "06".repeat(16),
        "07".repeat(16),
        "08".repeat(16),
        "09".repeat(16)
    );
    let entries = Entries { cursor: 300, has_more: true, entries: vec![b"one", b"three"] };
    let vectors = [
        (Message::State(state), state_hex),
        (Message::Want(Want::After(Life([7; 16]), 300)), format!("0300{}ac02", "07".repeat(16))),
        (Message::Want(Want::Page { tips: vec![tip(1, 2)], is_last: false }), format!("030101{tip_hex}")),
        (Message::Want(Want::Page { tips: vec![], is_last: true }), "030200".into()),
        (Message::Entries(entries), "0401ac0202036f6e65057468726565".into()),
        (Message::Ack(Ack { batches: 300, cursor: 0 }), "06ac0200".into()),
        (Message::Have(vec![tip(1, 2)]), format!("0701{tip_hex}")),
        (Message::peers(&["/ip4/1.2.3.4".into()]), "0a010c2f6970342f312e322e332e34".into()),
        (Message::Digest(summary()), format!("0b{summary_hex}")),
        (Message::Sync(Sync::Question { number: 300 }), "0c00ac02".into()),
        (Message::Sync(Sync::Answer { number: 1, is_held_back: false }), "0c0101".into()),
        (Message::Sync(Sync::Answer { number: 1, is_held_back: true }), "0c0301".into()),
        (Message::Bye(Bye { pause_ms: 300 }), "0eac02".into()),
        (Message::error(ErrorCode::Fork, "no"), "0f04026e6f".into()),
        (Message::stranger(), "0f0100".into()),
    ];
    for (message, wanted) in vectors {
        let frame = message.write();
        assert_eq!(hex(&frame), wanted, "{message:?}");
        assert_eq!(Message::read(&frame).unwrap(), Some(message));
    }
}

/// HELLO of both roles, whole: tag and MAC are what two implementations must agree on before anything else.
#[test]
fn golden_hello() {
    let tag = "0a1ef5ffb628729254e210d636ace311";
    let vectors = [
        (true, "b39c5930a2e70ddc6162e34af25e5fe850c0390dc2dfa4dca8b4e02ad9ab2fae"),
        (false, "98cde46407c20c23efbb111fcdd471cf9b228eee2c5effca28835070c1cd31f0"),
    ];
    for (is_dialer, mac) in vectors {
        let hello = Hello::new(GroupId([4; 16]), &Secret([5; 32]), 6, 0x81, ENDS, is_dialer);
        let frame = Message::Hello(hello.clone()).write();
        assert_eq!(hex(&frame), format!("0100810106000000{tag}{mac}"), "is the dialer: {is_dialer}");
        assert_eq!(Message::read(&frame).unwrap(), Some(Message::Hello(hello)));
    }
}

#[test]
fn a_hello_proves_one_role_on_one_connection_for_one_group() {
    let (group, secret) = (GroupId([4; 16]), Secret([5; 32]));
    assert!(hello().proves(group, &secret, ENDS, true));
    assert!(!hello().proves(group, &secret, ENDS, false), "the other role");
    assert!(!hello().proves(GroupId([0; 16]), &secret, ENDS, true), "another group");
    assert!(!hello().proves(group, &Secret([0; 32]), ENDS, true), "another secret");
    let swapped = Ends { dialer: ENDS.listener, listener: ENDS.dialer };
    assert!(!hello().proves(group, &secret, swapped, true), "another connection");
    let changed = Hello { features: 0, ..hello() };
    assert!(!changed.proves(group, &secret, ENDS, true), "other features");
    let other = Hello { tag: [0; 16], ..hello() };
    assert!(!other.proves(group, &secret, ENDS, true), "another tag");
}

#[test]
fn a_listener_finds_the_group_among_several() {
    let secrets = [Secret([1; 32]), Secret([5; 32]), Secret([5; 32])];
    let groups = [GroupId([4; 16]), GroupId([4; 16]), GroupId([1; 16])];
    let find = |n: usize| find_group(&hello(), ENDS, groups.iter().copied().zip(&secrets).take(n));
    assert_eq!(find(3), Some(1));
    assert_eq!(find(1), None);
    assert_eq!(find(0), None);
}

#[test]
fn a_later_minor_version_may_append_fields_to_hello() {
    let (group, secret) = (GroupId([4; 16]), Secret([5; 32]));
    let mut later = Hello { minor: 1, later: b"new".to_vec(), ..hello() };
    let mut hashed = Vec::new();
    later.write(&mut hashed);
    hashed.truncate(hashed.len() - 32);
    later.mac = secret.hello_mac(true, ENDS.dialer, ENDS.listener, &hashed);
    let frame = Message::Hello(later.clone()).write();
    let read = Hello::read(&frame).unwrap();
    assert_eq!(read, later);
    assert!(read.proves(group, &secret, ENDS, true));
    let mut same_minor = frame;
    same_minor[1] = 0;
    assert_eq!(Hello::read(&same_minor), Err(Malformed::Trailing(3)));
}

#[test]
fn a_type_of_a_later_version_is_skipped_and_an_unknown_one_is_not() {
    assert_eq!(Message::read(&[0x80, 1, 2, 3]), Ok(None));
    assert_eq!(Message::read(&[0xff]), Ok(None));
    for unknown in [0x00, 0x05, 0x08, 0x09, 0x0d, 0x10, 0x7f] {
        let got = u64::from(unknown);
        assert_eq!(Message::read(&[unknown]), Err(Malformed::Unknown { what: "frame type", got }));
    }
    assert_eq!(Message::read(&[]), Err(Malformed::Truncated("frame type")));
}

fn tips(n: usize) -> Vec<Tip> {
    let author = |n: usize| {
        let mut id = AuthorId([0; 16]);
        id.0[..8].copy_from_slice(&(n as u64).to_be_bytes());
        id
    };
    (0..n).map(|n| Tip { author: author(n), seq: Seq(1), hash: [0; 8] }).collect()
}

/// Each limit at itself and one above.
#[test]
fn limits_hold() {
    let is_read = |message: Message<'_>| Message::read(&message.write()).is_ok();
    let n = limit::FRONTIER_INLINE_MAX;
    assert!(is_read(Message::Have(tips(n))) && !is_read(Message::Have(tips(n + 1))));
    let page = |n| Message::Want(Want::Page { tips: tips(n), is_last: true });
    assert!(is_read(page(n)) && !is_read(page(n + 1)));
    let addresses = |n, bytes| Message::Peers(vec!["a".repeat(bytes); n]);
    let (n, bytes) = (limit::ADDRESSES_MAX, limit::ADDRESS_BYTES_MAX);
    assert!(is_read(addresses(n, bytes)) && !is_read(addresses(n + 1, 1)) && !is_read(addresses(1, bytes + 1)));
    let one = [0; 1];
    let entries = |n| Message::Entries(Entries { cursor: 0, has_more: false, entries: vec![&one[..]; n] });
    let n = limit::BATCH_ENTRIES_MAX;
    assert!(is_read(entries(n)) && !is_read(entries(n + 1)));
    let long = vec![0; limit::ENTRY_BYTES_MAX + 1];
    let entry = |bytes: usize| Message::Entries(Entries { cursor: 0, has_more: false, entries: vec![&long[..bytes]] });
    assert!(is_read(entry(limit::ENTRY_BYTES_MAX)) && !is_read(entry(limit::ENTRY_BYTES_MAX + 1)));
    let ack = |cursor| Message::Ack(Ack { batches: 1, cursor });
    assert!(is_read(ack(i64::MAX as u64)) && !is_read(ack(i64::MAX as u64 + 1)));
    let frame = vec![0x80; limit::FRAME_BYTES_MAX + 1];
    assert!(Message::read(&frame[1..]).is_ok() && Message::read(&frame).is_err());
    let text = |n: usize| Message::Err(Error { code: ErrorCode::Failure, text: "x".repeat(n) });
    assert!(is_read(text(limit::ERROR_TEXT_BYTES_MAX)) && !is_read(text(limit::ERROR_TEXT_BYTES_MAX + 1)));
    assert!(is_read(Message::error(ErrorCode::Failure, &"ä".repeat(1_000))), "a long text is cut between letters");
    assert!(is_read(Message::peers(&vec!["a".repeat(300); 100])), "what does not fit is left out");
    let mut hello = Hello { minor: 1, later: vec![0; limit::HELLO_BYTES_MAX - 56], ..hello() };
    assert!(is_read(Message::Hello(hello.clone())));
    hello.later.push(0);
    assert!(!is_read(Message::Hello(hello)));
}

#[test]
fn heads_out_of_order_or_twice_are_refused() {
    for bad in [vec![tip(2, 1), tip(1, 1)], vec![tip(1, 1), tip(1, 2)], vec![tip(1, 0)], vec![tip(1, 1 << 63)]] {
        assert!(matches!(Message::read(&Message::Have(bad).write()), Err(Malformed::Rule(_))));
    }
}

fn any_tips() -> impl Strategy<Value = Vec<Tip>> {
    let tip = (any::<[u8; 16]>(), 1..1u64 << 40, any::<[u8; 8]>());
    prop::collection::btree_map(any::<[u8; 16]>(), tip, 0..5).prop_map(|tips| {
        let tip = |(author, (_, seq, hash))| Tip { author: AuthorId(author), seq: Seq(seq), hash };
        tips.into_iter().map(tip).collect()
    })
}

fn any_summary() -> impl Strategy<Value = Summary> {
    (any::<[u8; 32]>(), any::<[u8; 16]>(), any::<[u8; 16]>(), 0..1u64 << 50).prop_map(
        |(root, digest, withheld, last_arrival)| Summary { root, digest: Digest(digest), withheld, last_arrival },
    )
}

fn any_message() -> impl Strategy<Value = Message<'static>> {
    let state = (
        any::<bool>(),
        any::<[u8; 16]>(),
        any_summary(),
        any::<[u8; 16]>(),
        prop::option::of((any::<[u8; 16]>(), 0..1u64 << 50)),
        prop::option::of(any_tips()),
    );
    prop_oneof![
        state.prop_map(|(is_reply, id, summary, schema, cursor, frontier)| Message::State(State {
            is_reply,
            author: AuthorId(id),
            life: Life(id),
            summary,
            schema,
            cursor: cursor.map(|(life, n)| (Life(life), n)),
            frontier,
        })),
        (any_tips(), any::<bool>()).prop_map(|(tips, is_last)| Message::Want(Want::Page { tips, is_last })),
        (any::<[u8; 16]>(), 0..1u64 << 50).prop_map(|(life, n)| Message::Want(Want::After(Life(life), n))),
        (0..9u64, any::<bool>()).prop_map(|(cursor, has_more)| {
            Message::Entries(Entries { cursor, has_more, entries: vec![b"a", b"", b"ccc"] })
        }),
        (0..1u64 << 50, 0..1u64 << 50).prop_map(|(batches, cursor)| Message::Ack(Ack { batches, cursor })),
        any_tips().prop_map(Message::Have),
        prop::collection::vec(".{0,20}", 0..4).prop_map(Message::Peers),
        any_summary().prop_map(Message::Digest),
        any::<u64>().prop_map(|number| Message::Sync(Sync::Question { number })),
        (any::<u64>(), any::<bool>())
            .prop_map(|(number, is_held_back)| Message::Sync(Sync::Answer { number, is_held_back })),
        any::<u64>().prop_map(|pause_ms| Message::Bye(Bye { pause_ms })),
        (any::<u8>(), ".{0,40}").prop_map(|(code, text)| Message::Err(Error { code: ErrorCode::from_u8(code), text })),
    ]
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(message in any_message()) {
        let frame = message.write();
        prop_assert_eq!(Message::read(&frame).unwrap(), Some(message));
    }

    /// Random bytes are read or refused, never a panic; what is read has that encoding and no other.
    #[test]
    fn random_bytes_are_read_or_refused(kind in 0u8..0x12, rest in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut frame = vec![kind];
        frame.extend(rest);
        if let Ok(Some(message)) = Message::read(&frame) {
            prop_assert_eq!(message.write(), frame);
        }
    }

    /// The same for frames that are almost right.
    #[test]
    fn broken_frames_are_read_or_refused(message in any_message(), at in any::<prop::sample::Index>(), to in any::<u8>(), cut in any::<prop::sample::Index>()) {
        let mut frame = message.write();
        let at = at.index(frame.len());
        frame[at] = to;
        frame.truncate(1 + cut.index(frame.len()));
        if let Ok(Some(message)) = Message::read(&frame) {
            prop_assert_eq!(message.write(), frame);
        }
    }
}
