//! One frame.

use super::{GROUP, KIB, SECRET, Target};
use p2pdb_core::id::{AuthorId, Digest, Life, Seq};
use p2pdb_core::key::Secret;
use p2pdb_core::message::hello::Ends;
use p2pdb_core::message::{Ack, Bye, Entries, ErrorCode, Hello, Message, State, Summary, Tip, Want, find_group};

/// Frames: [`Message::read`].
pub const TARGET: Target = Target {
    name: "frame",
    claim,
    valid,
    kept: include_str!("kept/frame.hex"),
    memory_base: 128 * KIB,
    memory_per_byte: 8,
};

/// What a listener holds that no input here was made with.
const OTHER_SECRET: Secret = Secret([0xee; 32]);

fn claim(frame: &[u8]) {
    let Ok(Some(message)) = Message::read(frame) else { return };
    assert!(message.write() == frame, "a frame has one encoding, and this has another: {message:?}");
    if let Message::Hello(hello) = message {
        let ends = Ends { dialer: b"dialer", listener: b"listener" };
        let groups = [(GROUP, &OTHER_SECRET), (GROUP, &OTHER_SECRET)];
        assert_eq!(find_group(&hello, ends, groups), None, "who lacks the secret proves nothing");
    }
}

fn valid() -> Vec<Vec<u8>> {
    let ends = Ends { dialer: b"dialer", listener: b"listener" };
    let hello = Hello::new(GROUP, &SECRET, 0, 0x81, ends, true);
    let later = Hello { minor: 1, later: b"later".to_vec(), ..hello.clone() };
    let messages = [
        Message::Hello(hello),
        Message::Hello(later),
        Message::State(state(None, None)),
        Message::State(state(Some((Life([9; 16]), 5)), Some(vec![tip(1, 2), tip(2, 300)]))),
        Message::Want(Want::After(Life([7; 16]), 300)),
        Message::Want(Want::Page { tips: vec![tip(1, 2)], is_last: false }),
        Message::Want(Want::Page { tips: Vec::new(), is_last: true }),
        Message::Entries(Entries { cursor: 300, has_more: true, entries: vec![b"one", b"", b"three"] }),
        Message::Ack(Ack { batches: 300, cursor: 0 }),
        Message::Have(vec![tip(1, 2)]),
        Message::peers(&["/ip4/192.0.2.7/tcp/4001".to_owned(), "/dns4/shop.example/tcp/1".to_owned()]),
        Message::Digest(summary()),
        Message::Bye(Bye { pause_ms: 300 }),
        Message::error(ErrorCode::Fork, "zwei Ketten, één auteur"),
        Message::stranger(),
    ];
    messages.iter().map(Message::write).chain([vec![0x80, 1, 2]]).collect()
}

fn tip(author: u8, seq: u64) -> Tip {
    Tip { author: AuthorId([author; 16]), seq: Seq(seq), hash: [0xab; 8] }
}

fn summary() -> Summary {
    Summary { root: [1; 32], digest: Digest([2; 16]), withheld: [3; 16], last_arrival: 300 }
}

fn state(cursor: Option<(Life, u64)>, frontier: Option<Vec<Tip>>) -> State {
    let (author, life) = (AuthorId([6; 16]), Life([7; 16]));
    State { is_reply: cursor.is_none(), author, life, summary: summary(), schema: [8; 16], cursor, frontier }
}
