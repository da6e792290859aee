//! The body of an entry: as stored, and as it is once unpacked.

use super::{MIB, Target, key};
use p2pdb_core::body::write::Shape;
use p2pdb_core::body::{Body, BodyWriter, Cell, ColumnId, Kind, RowOp, pack, unpack};
use p2pdb_core::clock::{Clock, Stamp};
use p2pdb_core::codec::Malformed;
use p2pdb_core::id::{AuthorId, Dot, Seq, TableId};
use p2pdb_core::limit;
use p2pdb_core::name::Name;

/// Bodies: [`unpack`], [`Body::read`] and the sections and rows after it.
pub const TARGET: Target = Target {
    name: "body",
    claim,
    valid,
    kept: include_str!("kept/body.hex"),
    memory_base: 96 * MIB,
    memory_per_byte: 256,
};

fn own() -> AuthorId {
    key(3).public().author()
}

fn claim(bytes: &[u8]) {
    claim_raw(bytes);
    let Ok(raw) = unpack(bytes) else { return };
    assert!(raw.len() <= limit::BODY_RAW_BYTES_MAX, "{} bytes were unpacked", raw.len());
    assert_eq!(unpack(&pack(&raw)), Ok(raw.clone()), "what was unpacked packs");
    claim_raw(&raw);
}

/// The claim of an unpacked body.
fn claim_raw(raw: &[u8]) {
    let Ok(ops) = Body::read(raw, own()).and_then(|body| body.check()) else { return };
    // Each operation is a row of a cell or more, or a section of three bytes or more.
    assert!(ops as usize <= limit::BODY_CELLS_MAX + raw.len() / 3, "{ops} operations");
    let read = operations(raw).expect("what was checked is read again");
    assert_eq!(read.len(), ops as usize, "each operation has a number");
    let cells: usize = read.iter().filter_map(Operation::cells).sum();
    assert!(cells <= limit::BODY_CELLS_MAX, "{cells} cells");
    let normal = write(&read);
    let again = operations(&normal).expect("what was written is read");
    assert_eq!(again, read, "what is written means what was read");
    assert!(write(&again) == normal, "a body has one normal form");
}

/// One operation of a body with all that belongs to it.
#[derive(Debug, PartialEq)]
enum Operation<'a> {
    Define { table: TableId, columns: Vec<ColumnId>, definition: &'a [u8] },
    Part(&'a [u8]),
    Unseen { table: TableId, unseen: Vec<(AuthorId, Seq)> },
    Alter { table: TableId, changes: &'a [u8] },
    Row { shape: Shape, name: Option<Name>, seen: Option<Vec<Dot>>, at: Option<Stamp>, cells: Vec<Cell<'a>> },
}

impl Operation<'_> {
    fn cells(&self) -> Option<usize> {
        match self {
            Self::Row { shape, .. } => Some(shape.cells()),
            Self::Define { .. } | Self::Part(_) | Self::Unseen { .. } | Self::Alter { .. } => None,
        }
    }
}

fn operations(raw: &[u8]) -> Result<Vec<Operation<'_>>, Malformed> {
    let body = Body::read(raw, own())?;
    let (mut sections, mut all) = (body.sections(), Vec::new());
    while let Some(mut section) = sections.next()? {
        let (kind, table) = (section.kind, section.table);
        match kind {
            Kind::Part => all.push(Operation::Part(section.bytes)),
            Kind::Unseen => all.push(Operation::Unseen { table, unseen: section.unseen }),
            Kind::Alter => all.push(Operation::Alter { table, changes: section.bytes }),
            Kind::Define => {
                let (columns, definition) = (section.columns.clone(), section.bytes);
                all.push(Operation::Define { table, columns, definition });
            }
            Kind::Insert | Kind::Update | Kind::Delete | Kind::Settle => {
                let mut row = RowOp::default();
                while section.next_row(&mut row)? {
                    let RowOp { name, seen, at, cells, .. } = std::mem::take(&mut row);
                    let mut shape = Shape::new(kind, table, section.columns.clone());
                    (shape.written, shape.is_auto) = (section.written, section.is_auto);
                    (shape.is_named, shape.has_seen) = (name.is_some(), seen.is_some());
                    all.push(Operation::Row { shape, name, seen, at, cells });
                }
            }
        }
    }
    Ok(all)
}

fn write(operations: &[Operation<'_>]) -> Vec<u8> {
    let mut body = BodyWriter::new(own());
    for operation in operations {
        match operation {
            Operation::Define { table, columns, definition } => body.define(*table, columns, definition),
            Operation::Part(bytes) => body.part(bytes),
            Operation::Unseen { table, unseen } => body.unseen(*table, unseen),
            Operation::Alter { table, changes } => body.alter(*table, changes),
            Operation::Row { shape, name, seen, at, cells } => {
                body.row(shape, name.as_ref(), seen.as_deref().unwrap_or_default(), at.as_ref(), cells)
            }
        };
    }
    body.finish()
}

fn valid() -> Vec<Vec<u8>> {
    let raw = [every_kind(), wide(), BodyWriter::new(own()).finish()];
    raw.iter().cloned().chain(raw.iter().map(|raw| pack(raw))).collect()
}

/// A section of each kind, with every flag.
pub(super) fn every_kind() -> Vec<u8> {
    use crate::schema::{ITEM, TAG, columns, id};
    let other = |op| Dot { author: key(2).public().author(), seq: Seq(1), op };
    let born = Name::Born { dot: other(0), id: 1 };
    let by_key = Name::Key(b"\x03\x01k".as_slice().into());
    let named = |kind, table, columns| Shape { is_named: true, ..Shape::new(kind, id(table), columns) };
    let item = [Cell::Integer(7), Cell::Text(b"tea"), Cell::Null];
    let mut body = BodyWriter::new(own());
    body.define(TableId([9; 8]), &columns(TAG), b"no definition");
    body.row(&Shape::new(Kind::Insert, id(ITEM), columns(ITEM)), None, &[], None, &item);
    body.row(&Shape::new(Kind::Insert, id(ITEM), columns(ITEM)), None, &[], None, &item);
    let again = Shape { has_seen: true, ..named(Kind::Insert, ITEM, columns(ITEM)) };
    body.row(&again, Some(&born), &[other(0)], None, &[Cell::Integer(-1), Cell::Blob(b"\0\xff"), Cell::Real(0.5)]);
    let tag = [Cell::Text(b"k"), Cell::Ref(born.clone()), Cell::Long { is_text: false, part: 0, bytes: 4 }];
    body.row(&Shape::new(Kind::Insert, id(TAG), columns(TAG)), None, &[], None, &tag);
    let snapshot = Shape { written: 1, ..named(Kind::Update, ITEM, columns(ITEM)[1..].to_vec()) };
    body.row(&snapshot, Some(&born), &[], None, &item[1..]);
    let delete = Shape { has_seen: true, is_auto: true, ..named(Kind::Delete, TAG, Vec::new()) };
    body.row(&delete, Some(&by_key), &[other(1), other(2)], None, &[]);
    let at = Stamp { clock: Clock::from_ms(1), author: own(), seq: Seq(1), op: 1 };
    let settle = named(Kind::Settle, ITEM, columns(ITEM)[..1].to_vec());
    body.row(&settle, Some(&born), &[], Some(&at), &[Cell::Integer(1 << 40)]);
    body.part(b"part");
    body.unseen(id(TAG), &[(key(2).public().author(), Seq(1))]);
    body.alter(TableId([9; 8]), b"no change");
    body.finish()
}

/// A row in the table of integer keys and one in that of text keys.
pub(super) fn honest() -> Vec<u8> {
    use crate::schema::{ITEM, TAG, columns, id};
    let mut body = BodyWriter::new(own());
    let insert = |table| Shape::new(Kind::Insert, id(table), columns(table));
    body.row(&insert(ITEM), None, &[], None, &[Cell::Integer(1), Cell::Text(b"tea"), Cell::Integer(2)]);
    body.row(&insert(TAG), None, &[], None, &[Cell::Text(b"k"), Cell::Text(b"a"), Cell::Null]);
    body.finish()
}

/// As many cells as there may be, in few bytes: a row more is too many.
fn wide() -> Vec<u8> {
    const COLUMNS: usize = 8;
    let columns = (0..COLUMNS as u32).map(|id| ColumnId(id.to_le_bytes())).collect();
    let shape = Shape::new(Kind::Insert, TableId([9; 8]), columns);
    let mut body = BodyWriter::new(own());
    for _ in 0..limit::BODY_CELLS_MAX / COLUMNS {
        body.row(&shape, None, &[], None, &[const { Cell::Null }; COLUMNS]);
    }
    body.finish()
}
