use super::write::Shape;
use super::*;
use crate::clock::{Clock, Stamp};
use crate::id::{Dot, Seq, TableId};
use crate::name::Name;
use proptest::prelude::*;

fn author(n: u8) -> AuthorId {
    AuthorId([n; 16])
}

fn dot() -> impl Strategy<Value = Dot> {
    (0u8..3, 1u64..1 << 40, any::<u32>()).prop_map(|(a, s, op)| Dot { author: author(a), seq: Seq(s), op })
}

fn name() -> impl Strategy<Value = Name> {
    prop_oneof![
        (dot(), any::<i64>()).prop_map(|(dot, id)| Name::Born { dot, id }),
        proptest::collection::vec(any::<u8>(), 0..20).prop_map(|k| Name::Key(k.into())),
    ]
}

#[derive(Debug, Clone)]
enum Owned {
    Null,
    Integer(i64),
    Real(f64),
    Text(Vec<u8>),
    Blob(Vec<u8>),
    Ref(Name),
    Long(bool, u64, u32),
}

impl Owned {
    fn cell(&self) -> Cell<'_> {
        match self {
            Self::Null => Cell::Null,
            Self::Integer(i) => Cell::Integer(*i),
            Self::Real(r) => Cell::Real(*r),
            Self::Text(t) => Cell::Text(t),
            Self::Blob(b) => Cell::Blob(b),
            Self::Ref(n) => Cell::Ref(n.clone()),
            Self::Long(is_text, part, bytes) => Cell::Long { is_text: *is_text, part: *part, bytes: (*bytes).into() },
        }
    }
}

fn cell() -> impl Strategy<Value = Owned> {
    prop_oneof![
        Just(Owned::Null),
        any::<i64>().prop_map(Owned::Integer),
        any::<f64>().prop_filter("NaN is NULL in SQLite", |r| !r.is_nan()).prop_map(Owned::Real),
        any::<Vec<u8>>().prop_map(Owned::Text),
        any::<Vec<u8>>().prop_map(Owned::Blob),
        name().prop_map(Owned::Ref),
        (any::<bool>(), any::<u64>(), 0u32..1_000_000_000).prop_map(|(t, p, b)| Owned::Long(t, p, b)),
    ]
}

type Row = (Name, Vec<Dot>, Vec<Owned>);

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let row = (name(), proptest::collection::vec(dot(), 0..3), proptest::collection::vec(cell(), 3));
    proptest::collection::vec(row, 1..12)
}

fn columns() -> Vec<ColumnId> {
    vec![ColumnId([1; 4]), ColumnId([2; 4]), ColumnId([3; 4])]
}

proptest! {
    #[test]
    fn what_is_written_reads_back_in_order(batches in proptest::collection::vec((rows(), 2u8..4), 1..4)) {
        let mut w = BodyWriter::new(author(0));
        let mut ops = 0;
        for (rows, kind) in &batches {
            let kind = Kind::from_u8(*kind).unwrap();
            let mut shape = Shape::new(kind, TableId([*rows.len().to_le_bytes().first().unwrap(); 8]), columns());
            (shape.is_named, shape.has_seen) = (true, true);
            for (name, seen, cells) in rows {
                let cells: Vec<_> = cells.iter().map(Owned::cell).collect();
                prop_assert_eq!(w.row(&shape, Some(name), seen, None, &cells), ops);
                ops += 1;
            }
        }
        let raw = w.finish();
        prop_assert_eq!(unpack(&pack(&raw)).unwrap(), raw.clone());
        let body = Body::read(&raw, author(0)).unwrap();
        prop_assert_eq!(body.check(), Ok(ops));
        let mut expected = batches.iter().flat_map(|(rows, _)| rows);
        let mut sections = body.sections();
        let mut row = RowOp::default();
        let mut op = 0;
        while let Some(mut section) = sections.next().unwrap() {
            while section.next_row(&mut row).unwrap() {
                let (name, seen, cells) = expected.next().unwrap();
                prop_assert_eq!(row.op, op);
                prop_assert_eq!(row.name.as_ref(), Some(name));
                prop_assert_eq!(row.seen.as_ref(), Some(seen));
                prop_assert_eq!(&row.cells, &cells.iter().map(Owned::cell).collect::<Vec<_>>());
                op += 1;
            }
        }
        prop_assert!(expected.next().is_none());
    }

    #[test]
    fn a_changed_byte_is_read_or_refused_but_never_panics(rows in rows(), at: prop::sample::Index, to: u8) {
        let mut shape = Shape::new(Kind::Insert, TableId([7; 8]), columns());
        shape.is_named = true;
        let mut w = BodyWriter::new(author(0));
        for (name, _, cells) in &rows {
            w.row(&shape, Some(name), &[], None, &cells.iter().map(Owned::cell).collect::<Vec<_>>());
        }
        let mut raw = w.finish();
        let at = at.index(raw.len());
        raw[at] = to;
        if let Ok(body) = Body::read(&raw, author(0)) {
            let _ = body.check();
        }
        let _ = unpack(&raw);
    }
}

#[test]
fn a_settle_carries_the_write_it_is_about() {
    let shape = Shape { is_named: true, ..Shape::new(Kind::Settle, TableId([1; 8]), vec![ColumnId([9; 4])]) };
    let at = Stamp { clock: Clock(77), author: author(2), seq: Seq(5), op: 3 };
    let name = Name::Born { dot: at.dot(), id: 7 };
    let mut w = BodyWriter::new(author(0));
    w.row(&shape, Some(&name), &[], Some(&at), &[Cell::Integer(1 << 40)]);
    let raw = w.finish();
    let body = Body::read(&raw, author(0)).unwrap();
    let mut sections = body.sections();
    let mut section = sections.next().unwrap().unwrap();
    let mut row = RowOp::default();
    assert!(section.next_row(&mut row).unwrap());
    assert_eq!((row.at, row.name), (Some(at), Some(name)));
}

#[test]
fn a_bomb_is_refused_before_it_is_unpacked() {
    let mut bomb = vec![1];
    bomb.uvarint(1 << 40);
    assert!(matches!(unpack(&bomb), Err(Malformed::OverLimit { what: "raw body length", .. })));
}

/// A raw body of one section of rows, its payload written by hand after table and columns.
fn section(kind: Kind, flags: u8, columns: usize, rest: &[u8]) -> Vec<u8> {
    let mut payload = vec![7; 8];
    payload.uvarint(columns as u64);
    (0..columns as u32).for_each(|id| payload.raw(&id.to_le_bytes()));
    payload.raw(rest);
    let mut raw = vec![0, kind as u8, flags];
    raw.bytes(&payload);
    raw
}

/// What a section of inserts holds after its columns, where every cell is NULL: three bytes a column.
fn nulls(columns: usize, rows: usize) -> Vec<u8> {
    let mut rest = Vec::new();
    rest.uvarint(rows as u64);
    (0..columns).for_each(|_| rest.raw(&[2, 0, 0]));
    rest
}

fn check(raw: &[u8]) -> Result<u32, Malformed> {
    Body::read(raw, author(0))?.check()
}

#[test]
fn a_short_section_cannot_claim_many_rows() {
    for claimed in [limit::BODY_CELLS_MAX + 1, 1_000_000, usize::MAX] {
        let raw = section(Kind::Insert, 0, 1, &nulls(1, claimed));
        assert!(matches!(check(&raw), Err(Malformed::OverLimit { what: "rows", .. })), "{claimed}");
    }
}

/// A column of NULLs takes three bytes however many rows it has. A body of the widest table, 230 kilobytes that LZ4 packs
/// into a few, could claim a row for each byte left, 3 × 10^9 cells in all, and each of them was read.
#[test]
fn a_body_has_no_more_cells_than_its_bound() {
    let max = limit::BODY_CELLS_MAX;
    for (columns, rows) in [(1, max), (2, max / 2), (1_000, max / 1_000), (limit::COLUMNS_MAX, 4)] {
        let raw = section(Kind::Insert, 0, columns, &nulls(columns, rows));
        assert_eq!(check(&raw), Ok(rows as u32), "{rows} rows of {columns} columns");
        let raw = section(Kind::Insert, 0, columns, &nulls(columns, rows + 1));
        assert!(matches!(check(&raw), Err(Malformed::OverLimit { .. })), "a row more, of {columns} columns");
    }
    let wide = section(Kind::Insert, 0, 1_000, &nulls(1_000, 100_000));
    assert!(wide.len() < 8 * 1024);
    let (what, got, max) = ("cells of a body", 100_000_000, max as u64);
    assert_eq!(check(&wide), Err(Malformed::OverLimit { what, got, max }));
}

#[test]
fn the_cells_of_all_sections_count_together_and_a_row_without_columns_is_one() {
    let half = section(Kind::Insert, 0, 8, &nulls(8, limit::BODY_CELLS_MAX / 16));
    let mut raw = half.clone();
    raw.raw(&half[1..]);
    assert_eq!(check(&raw), Ok(limit::BODY_CELLS_MAX as u32 / 8));
    raw.raw(&section(Kind::Insert, 0, 0, &nulls(0, 1))[1..]);
    assert!(matches!(check(&raw), Err(Malformed::OverLimit { what: "cells of a body", .. })));
}

#[test]
fn a_section_has_at_least_one_row() {
    for columns in [0, 1] {
        let mut rest = nulls(columns, 0);
        assert_eq!(
            check(&section(Kind::Insert, 0, columns, &rest)),
            Err(Malformed::Rule("a section has at least one row"))
        );
        rest[0] = 1;
        assert_eq!(check(&section(Kind::Insert, 0, columns, &rest)), Ok(1));
    }
}

/// SQLite turns NaN into NULL wherever it stores a value: a replica that kept one would show another table than its peers.
#[test]
fn nan_is_refused_whatever_its_bits() {
    let real = |bits: u64| {
        let mut rest = vec![1, 10, 0, 2];
        rest.u64(bits);
        check(&section(Kind::Insert, 0, 1, &rest))
    };
    for nan in [f64::NAN.to_bits(), (-f64::NAN).to_bits(), 0x7ff0_0000_0000_0001, u64::MAX] {
        assert_eq!(real(nan), Err(Malformed::Rule("a REAL is never NaN; SQLite has NULL instead")));
    }
    for number in [0.0, -0.0, f64::INFINITY, f64::NEG_INFINITY, f64::MIN_POSITIVE / 2.0] {
        assert_eq!(real(number.to_bits()), Ok(1));
    }
}

#[test]
fn tags_that_are_all_one_stand_there_once() {
    let rule = Malformed::Rule("a column's tags stand one a row only where they differ");
    assert_eq!(check(&section(Kind::Insert, 0, 1, &[2, 3, 1, 0, 0])), Err(rule.clone()));
    assert_eq!(check(&section(Kind::Insert, 0, 1, &[1, 2, 1, 0])), Err(rule));
    assert_eq!(check(&section(Kind::Insert, 0, 1, &[2, 4, 1, 0, 1, 2])), Ok(2), "NULL and 1");
}

#[test]
fn a_body_lists_other_authors_each_once() {
    let list = |authors: &[u8]| {
        let mut raw = Vec::new();
        raw.uvarint(authors.len() as u64);
        authors.iter().for_each(|n| raw.raw(&author(*n).0));
        check(&raw)
    };
    assert_eq!(list(&[2, 1, 3]), Ok(0));
    let rule = Malformed::Rule("a body lists authors other than the entry's own, each once");
    assert_eq!(list(&[0]), Err(rule.clone()), "the entry's own");
    assert_eq!(list(&[1, 2, 1]), Err(rule));
}

#[test]
fn a_snapshot_is_more_than_what_is_written() {
    let update = |written: u8| {
        let names = [4, 1, 2, b'k', b'y'];
        let mut rest = vec![written, 1];
        rest.raw(&names);
        rest.raw(&[2, 0, 0, 2, 0, 0]);
        check(&section(Kind::Update, FLAG_NAMED | FLAG_SNAPSHOT, 2, &rest))
    };
    assert_eq!(update(1), Ok(1));
    assert_eq!(update(2), Err(Malformed::Rule("a snapshot has columns besides the written ones")));
    assert!(matches!(update(3), Err(Malformed::OverLimit { what: "written columns", .. })));
}
