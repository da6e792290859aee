//! Writing a body: operations in, sections out.

use super::{Authors, Cell, Coder, ColumnId, FLAG_AUTO, FLAG_NAMED, FLAG_SEEN, FLAG_SNAPSHOT, Kind};
use crate::clock::Stamp;
use crate::codec::Write;
use crate::id::{AuthorId, Dot, Seq, TableId};
use crate::name::Name;

/// What operations must share to stand in one section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// What they do.
    pub kind: Kind,
    /// To which table.
    pub table: TableId,
    /// The columns of their cells; for an update the written ones, then the snapshot's others.
    pub columns: Vec<ColumnId>,
    /// How many of `columns` are written; the rest are a check group's snapshot.
    pub written: usize,
    /// Do the rows bring names?
    pub is_named: bool,
    /// Do the rows list incarnations?
    pub has_seen: bool,
    /// Is this a delete that the seal made by itself?
    pub is_auto: bool,
}

impl Shape {
    /// Operations of `kind` on all of `columns`.
    pub fn new(kind: Kind, table: TableId, columns: Vec<ColumnId>) -> Self {
        let written = columns.len();
        Self { kind, table, columns, written, is_named: false, has_seen: false, is_auto: false }
    }

    /// What one row of it adds to [`BodyWriter::cells`].
    pub fn cells(&self) -> usize {
        self.columns.len().max(1)
    }

    fn flags(&self) -> u8 {
        let flag = |on, bit| if on { bit } else { 0 };
        flag(self.is_named, FLAG_NAMED)
            | flag(self.has_seen, FLAG_SEEN)
            | flag(self.is_auto, FLAG_AUTO)
            | flag(self.written < self.columns.len(), FLAG_SNAPSHOT)
    }
}

#[derive(Default)]
struct Column {
    tags: Vec<u8>,
    payload: Vec<u8>,
    coder: Coder,
}

struct Open {
    shape: Shape,
    rows: u64,
    names: Column,
    seen: Column,
    at: Column,
    cells: Vec<Column>,
}

/// Builds the raw body of one entry.
pub struct BodyWriter {
    authors: Authors,
    sections: Vec<u8>,
    open: Option<Open>,
    open_bytes: usize,
    cells: usize,
    ops: u32,
}

impl BodyWriter {
    /// An empty body of an entry by `own`.
    pub fn new(own: AuthorId) -> Self {
        Self { authors: Authors::new(own), sections: Vec::new(), open: None, open_bytes: 0, cells: 0, ops: 0 }
    }

    /// Operations so far; also the number that the next one will have.
    pub fn ops(&self) -> u32 {
        self.ops
    }

    /// Cells so far, as [`crate::limit::BODY_CELLS_MAX`] counts them.
    pub fn cells(&self) -> usize {
        self.cells
    }

    /// About how many raw bytes the body has so far.
    pub fn raw_bytes(&self) -> usize {
        self.sections.len() + self.open_bytes
    }

    /// Adds one row operation and returns its number. `name` and `seen` count only if the shape says so,
    /// `at` only for a settle.
    pub fn row(
        &mut self,
        shape: &Shape,
        name: Option<&Name>,
        seen: &[Dot],
        at: Option<&Stamp>,
        cells: &[Cell<'_>],
    ) -> u32 {
        if self.open.as_ref().is_none_or(|open| open.shape != *shape) {
            self.close();
            let cells = (0..shape.columns.len()).map(|_| Column::default()).collect();
            let (names, seen, at) = Default::default();
            self.open = Some(Open { shape: shape.clone(), rows: 0, names, seen, at, cells });
        }
        let Self { authors, open: Some(open), open_bytes, .. } = self else { return self.ops };
        if let Some(name) = name.filter(|_| shape.is_named) {
            open.names.coder.write_name(name, authors, &mut open.names.payload);
        }
        if shape.has_seen {
            open.seen.payload.uvarint(seen.len() as u64);
            seen.iter().for_each(|dot| open.seen.coder.write_dot(dot, authors, &mut open.seen.payload));
        }
        if let Some(at) = at.filter(|_| shape.kind == Kind::Settle) {
            open.at.coder.write_stamp(at, authors, &mut open.at.payload);
        }
        for (column, cell) in open.cells.iter_mut().zip(cells) {
            column.tags.push(cell.tag());
            column.coder.write_payload(cell, authors, &mut column.payload);
            *open_bytes += 2 + cell.payload_bytes();
        }
        *open_bytes += 16;
        open.rows += 1;
        self.cells += shape.cells();
        self.count()
    }

    /// Adds the announcement of a table: its definition's bytes and its columns' ids in order.
    pub fn define(&mut self, table: TableId, columns: &[ColumnId], definition: &[u8]) -> u32 {
        self.close();
        let mut payload = Vec::with_capacity(definition.len() + 4 * columns.len() + 16);
        payload.raw(&table.0);
        write_columns(columns, &mut payload);
        payload.raw(definition);
        self.section(Kind::Define, 0, &payload);
        self.count()
    }

    /// Adds a change of an announced table: what of it is otherwise now, as bytes.
    pub fn alter(&mut self, table: TableId, changes: &[u8]) -> u32 {
        self.close();
        self.section(Kind::Alter, 0, &[&table.0[..], changes].concat());
        self.count()
    }

    /// Adds one part of a long value.
    pub fn part(&mut self, bytes: &[u8]) -> u32 {
        self.close();
        self.section(Kind::Part, 0, bytes);
        self.count()
    }

    /// Says that operations which follow on a table were written without those entries of others, and what comes after them in
    /// their authors' chains. There is at least one, none of the own author.
    pub fn unseen(&mut self, table: TableId, unseen: &[(AuthorId, Seq)]) -> u32 {
        self.close();
        let mut by_number: Vec<_> = unseen.iter().map(|(author, seq)| (self.authors.number(author), seq.0)).collect();
        by_number.sort_unstable();
        let mut payload = Vec::with_capacity(16 + 8 * by_number.len());
        payload.raw(&table.0);
        payload.uvarint(by_number.len() as u64);
        for (number, seq) in by_number {
            payload.uvarint(number);
            payload.uvarint(seq);
        }
        self.section(Kind::Unseen, 0, &payload);
        self.count()
    }

    /// Ends the section under way: the next operation begins another, of its shape or not.
    pub fn end_section(&mut self) {
        self.close();
    }

    /// The raw body.
    pub fn finish(mut self) -> Vec<u8> {
        self.close();
        let mut out = Vec::with_capacity(self.sections.len() + 64);
        self.authors.write(&mut out);
        out.raw(&self.sections);
        out
    }

    fn count(&mut self) -> u32 {
        self.ops += 1;
        self.ops - 1
    }

    fn section(&mut self, kind: Kind, flags: u8, payload: &[u8]) {
        self.sections.u8(kind as u8);
        self.sections.u8(flags);
        self.sections.bytes(payload);
    }

    fn close(&mut self) {
        let Some(open) = self.open.take() else { return };
        let mut payload = Vec::with_capacity(self.open_bytes + 64);
        payload.raw(&open.shape.table.0);
        write_columns(&open.shape.columns, &mut payload);
        if open.shape.written < open.shape.columns.len() {
            payload.uvarint(open.shape.written as u64);
        }
        payload.uvarint(open.rows);
        if open.shape.is_named {
            payload.bytes(&open.names.payload);
        }
        if open.shape.has_seen {
            payload.bytes(&open.seen.payload);
        }
        if open.shape.kind == Kind::Settle {
            payload.bytes(&open.at.payload);
        }
        for column in &open.cells {
            write_cells(column, &mut payload);
        }
        self.section(open.shape.kind, open.shape.flags(), &payload);
        self.open_bytes = 0;
    }
}

fn write_columns(columns: &[ColumnId], out: &mut Vec<u8>) {
    out.uvarint(columns.len() as u64);
    columns.iter().for_each(|c| out.raw(&c.0));
}

/// A tag for the whole column where all its cells have it, else one a row.
fn write_cells(column: &Column, out: &mut Vec<u8>) {
    let first = column.tags.first().copied().unwrap_or_default();
    let is_uniform = column.tags.iter().all(|t| *t == first);
    let tags: &[u8] = if is_uniform { &[first] } else { &column.tags };
    out.uvarint((1 + if is_uniform { 1 } else { tags.len() } + column.payload.len()) as u64);
    out.u8(u8::from(!is_uniform));
    out.raw(tags);
    out.raw(&column.payload);
}
