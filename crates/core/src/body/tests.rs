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
    crate::codec::Write::uvarint(&mut bomb, 1 << 40);
    assert!(matches!(unpack(&bomb), Err(Malformed::OverLimit { what: "raw body length", .. })));
}

#[test]
fn a_short_section_cannot_claim_many_rows() {
    let mut raw = vec![0, Kind::Delete as u8, FLAG_NAMED];
    let mut payload = vec![0; 8];
    crate::codec::Write::uvarint(&mut payload, 0);
    crate::codec::Write::uvarint(&mut payload, 1_000_000);
    crate::codec::Write::bytes(&mut raw, &payload);
    assert!(matches!(Body::read(&raw, author(0)).unwrap().check(), Err(Malformed::OverLimit { what: "rows", .. })));
}
