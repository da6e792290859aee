//! The worked example in `docs/format.md` says what the code does: its bytes are read here, comments and all.
#![allow(clippy::unwrap_used)]

use p2pdb_core::body::{Body, Cell, Kind, RowOp, unpack};
use p2pdb_core::clock::Clock;
use p2pdb_core::entry::Entry;
use p2pdb_core::id::{AuthorId, Dot, Seq};
use p2pdb_core::key::AuthorKey;
use p2pdb_core::name::Name;

const DOCUMENT: &str = include_str!("../../../docs/format.md");

/// Where the comments of the example begin.
const COMMENT_AT: usize = 66;

/// The bytes of the block marked `hex`.
fn example() -> Vec<u8> {
    let block = DOCUMENT.split("```hex\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let bytes = block.lines().map(|line| line.get(..COMMENT_AT).unwrap_or(line));
    let digits: String = bytes.flat_map(str::chars).filter(|c| *c != ' ').collect();
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
    let entry = Entry::from_bytes(&example()).unwrap();
    let key = AuthorKey::from_seed(&[7; 32]).public();
    assert!(entry.is_signed_by(&key));
    assert!(DOCUMENT.contains(&format!("Its id: `{}`", entry.id)));
    assert_eq!(entry.header.prev.to_string(), include_str!("../src/entry/tests/golden.id").trim());
    let raw = unpack(&entry.body).unwrap();
    let body = Body::read(&raw, key.author()).unwrap();
    assert_eq!(body.check(), Ok(8));

    let mut sections = body.sections();
    let (mut row, mut met) = (RowOp::default(), Vec::new());
    while let Some(mut section) = sections.next().unwrap() {
        met.push(section.kind);
        while section.next_row(&mut row).unwrap() {
            let (name, cells) = told(row.op, key.author());
            assert_eq!((&row.name, &row.cells), (&name, &cells), "operation {}", row.op);
            let settled = row.at.map(|at| at.clock);
            assert_eq!(settled, (row.op == 6).then_some(Clock::from_ms(1_749_999_999_000)));
        }
    }
    assert_eq!(met, [Kind::Define, Kind::Insert, Kind::Update, Kind::Delete, Kind::Settle, Kind::Part]);
}
