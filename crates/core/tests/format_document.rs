//! The worked examples in `docs/format.md` say what the code does: their bytes are read here, comments and all.
#![allow(clippy::unwrap_used)]

use p2pdb_core::body::{Body, Cell, Kind, RowOp, unpack};
use p2pdb_core::clock::Clock;
use p2pdb_core::entry::Entry;
use p2pdb_core::id::{AuthorId, Digest, Dot, GroupId, Life, Seq};
use p2pdb_core::key::{AuthorKey, Secret};
use p2pdb_core::message::hello::Ends;
use p2pdb_core::message::{Ack, Bye, Entries, ErrorCode, Hello, Message, State, Summary, Sync, Tip, Want};
use p2pdb_core::name::Name;

const DOCUMENT: &str = include_str!("../../../docs/format.md");

/// Where the comments of the example begin.
const COMMENT_AT: usize = 66;

/// The bytes of each part of the `n`-th block marked `hex`; a part ends at an empty line.
fn example(n: usize) -> Vec<Vec<u8>> {
    let block = DOCUMENT.split("```hex\n").nth(n).and_then(|rest| rest.split("```").next()).unwrap();
    block.split("\n\n").map(bytes).collect()
}

fn bytes(part: &str) -> Vec<u8> {
    let lines = part.lines().map(|line| line.get(..COMMENT_AT).unwrap_or(line));
    let digits: String = lines.flat_map(str::chars).filter(|c| *c != ' ').collect();
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

/// What the comments say of row operation `op`.
fn told(op: u32, own: AuthorId) -> (Option<Name>, Vec<Cell<'static>>) {
    let born = |author, seq, op, id| Some(Name::Born { dot: Dot { author, seq: Seq(seq), op }, id });
    let other = AuthorId([0xbb; 16]);
    match op {
        1 => (None, vec![Cell::Integer(1), Cell::Text(b"tea"), Cell::Integer(2)]),
        2 => (None, vec![Cell::Integer(2), Cell::Text(b"milk"), Cell::Null]),
        3 => (born(own, 2, 1, 1), vec![Cell::Integer(5)]),
        4 => (born(other, 7, 3, 4), vec![Cell::Integer(3)]),
        5 => (born(other, 7, 4, 5), vec![]),
        6 => (born(other, 6, 0, 1), vec![Cell::Integer(4_294_967_373)]),
        op => panic!("the document has no row operation {op}"),
    }
}

#[test]
fn the_example_of_the_format_document_reads_as_it_says() {
    let entry = Entry::from_bytes(&example(1)[0]).unwrap();
    let key = AuthorKey::from_seed(&[7; 32]).public();
    assert!(entry.is_signed_by(&key));
    assert!(DOCUMENT.contains(&format!("Its id: `{}`", entry.id)));
    assert_eq!(entry.header.prev.to_string(), include_str!("../src/entry/tests/golden.id").trim());
    let raw = unpack(&entry.body).unwrap();
    let body = Body::read(&raw, key.author()).unwrap();
    assert_eq!(body.check(), Ok(9));

    let mut sections = body.sections();
    let (mut row, mut met) = (RowOp::default(), Vec::new());
    while let Some(mut section) = sections.next().unwrap() {
        met.push(section.kind);
        let unseen = [(AuthorId([0xbb; 16]), Seq(7))];
        assert_eq!(section.unseen, if section.kind == Kind::Unseen { &unseen[..] } else { &[] });
        while section.next_row(&mut row).unwrap() {
            let (name, cells) = told(row.op, key.author());
            assert_eq!((&row.name, &row.cells), (&name, &cells), "operation {}", row.op);
            let settled = row.at.map(|at| at.clock);
            assert_eq!(settled, (row.op == 6).then_some(Clock::from_ms(1_749_999_999_000)));
        }
    }
    assert_eq!(met, [Kind::Define, Kind::Insert, Kind::Update, Kind::Delete, Kind::Settle, Kind::Part, Kind::Unseen]);
}

/// What the comments say of the frames, in their order.
fn told_frames() -> Vec<Message<'static>> {
    let ends = Ends { dialer: b"dialer", listener: b"listener" };
    let hello = |is_dialer| Hello::new(GroupId([4; 16]), &Secret([5; 32]), 6, 0x81, ends, is_dialer);
    let tips = vec![Tip { author: AuthorId([1; 16]), seq: Seq(2), hash: [0xab; 8] }];
    let summary = Summary { root: [1; 32], digest: Digest([2; 16]), withheld: [3; 16], last_arrival: 300 };
    let state = State {
        is_reply: true,
        author: AuthorId([6; 16]),
        life: Life([7; 16]),
        summary,
        schema: [8; 16],
        cursor: Some((Life([9; 16]), 5)),
        frontier: Some(tips.clone()),
    };
    vec![
        Message::Hello(hello(true)),
        Message::Hello(hello(false)),
        Message::State(state),
        Message::Want(Want::After(Life([7; 16]), 300)),
        Message::Want(Want::Page { tips: tips.clone(), is_last: false }),
        Message::Want(Want::Page { tips: Vec::new(), is_last: true }),
        Message::Entries(Entries { cursor: 300, has_more: true, entries: vec![b"one", b"three"] }),
        Message::Ack(Ack { batches: 300, cursor: 0 }),
        Message::Have(tips),
        Message::peers(&["/ip4/1.2.3.4".into()]),
        Message::Digest(summary),
        Message::Sync(Sync::Question { number: 300 }),
        Message::Sync(Sync::Answer { number: 1, is_held_back: false }),
        Message::Sync(Sync::Answer { number: 1, is_held_back: true }),
        Message::Bye(Bye { pause_ms: 300 }),
        Message::error(ErrorCode::Fork, "no"),
        Message::stranger(),
    ]
}

#[test]
fn the_frames_of_the_format_document_read_as_they_say() {
    let (frames, told) = (example(2), told_frames());
    assert_eq!(frames.len(), told.len());
    for (frame, told) in frames.iter().zip(told) {
        assert_eq!(Message::read(frame), Ok(Some(told.clone())));
        assert_eq!(told.write(), *frame, "{told:?}");
    }
}
