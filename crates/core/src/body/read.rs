//! Reading a body: sections in order, rows in order, text and blobs borrowed.

use super::{Authors, Cell, Coder, ColumnId, FLAG_AUTO, FLAG_NAMED, FLAG_SEEN, FLAG_SNAPSHOT, Kind, check_columns};
use crate::clock::Stamp;
use crate::codec::{Malformed, Reader};
use crate::id::{AuthorId, Dot, Seq, TableId};
use crate::limit;
use crate::name::Name;

/// A raw body, its author list read.
pub struct Body<'a> {
    authors: Authors,
    sections: &'a [u8],
}

impl<'a> Body<'a> {
    /// Reads the list of authors; `own` is the entry's.
    ///
    /// # Errors
    /// [`Malformed`] if it is none.
    pub fn read(raw: &'a [u8], own: AuthorId) -> Result<Self, Malformed> {
        let mut r = Reader::new(raw);
        let authors = Authors::read(own, &mut r)?;
        Ok(Self { authors, sections: r.rest() })
    }

    /// The sections in order.
    pub fn sections(&self) -> Sections<'a, '_> {
        Sections { authors: &self.authors, rest: Reader::new(self.sections), next_op: 0, cells: 0 }
    }

    /// Reads everything once: an entry that passes can be applied without meeting a malformed byte.
    /// Returns the number of operations.
    ///
    /// # Errors
    /// [`Malformed`] at the first broken rule.
    pub fn check(&self) -> Result<u32, Malformed> {
        let mut sections = self.sections();
        let mut row = RowOp::default();
        while let Some(mut section) = sections.next()? {
            while section.next_row(&mut row)? {}
        }
        Ok(sections.next_op)
    }
}

/// An iterator over sections that can fail.
pub struct Sections<'a, 'b> {
    authors: &'b Authors,
    rest: Reader<'a>,
    next_op: u32,
    /// Cells so far, bounded by [`limit::BODY_CELLS_MAX`].
    cells: usize,
}

impl<'a, 'b> Sections<'a, 'b> {
    /// The next section.
    ///
    /// # Errors
    /// [`Malformed`] if the bytes are none.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Option<Section<'a, 'b>>, Malformed> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let kind = Kind::from_u8(self.rest.u8("section kind")?)?;
        let flags = self.rest.u8("section flags")?;
        let payload = self.rest.bytes("section", limit::BODY_RAW_BYTES_MAX)?;
        let section = Section::read(kind, flags, payload, self.next_op, self.authors)?;
        self.cells = check_cells(self.cells, &section)?;
        let ops = u32::try_from(section.rows).map_err(|_| Malformed::Rule("too many operations"))?;
        self.next_op = self.next_op.checked_add(ops).ok_or(Malformed::Rule("too many operations"))?;
        Ok(Some(section))
    }
}

/// A run of operations of one kind on one table.
pub struct Section<'a, 'b> {
    /// What they do.
    pub kind: Kind,
    /// To which table (zero for a part).
    pub table: TableId,
    /// The columns of their cells, in order.
    pub columns: Vec<ColumnId>,
    /// How many of `columns` are written; the rest are a check group's snapshot.
    pub written: usize,
    /// A delete that the seal made by itself.
    pub is_auto: bool,
    /// How many operations.
    pub rows: usize,
    /// The number of the first.
    pub first_op: u32,
    /// A definition's or part's bytes; empty for row operations.
    pub bytes: &'a [u8],
    /// Of each author the first entry that was not seen; empty but for that kind.
    pub unseen: Vec<(AuthorId, Seq)>,
    authors: &'b Authors,
    at_row: usize,
    names: Option<(Reader<'a>, Coder)>,
    seen: Option<(Reader<'a>, Coder)>,
    at: Option<(Reader<'a>, Coder)>,
    cells: Vec<CellColumn<'a>>,
}

struct CellColumn<'a> {
    tags: &'a [u8],
    payload: Reader<'a>,
    coder: Coder,
}

/// One row operation; reused from row to row.
#[derive(Debug, Default)]
pub struct RowOp<'a> {
    /// Its number in the entry.
    pub op: u32,
    /// The row's name, where the section brings one.
    pub name: Option<Name>,
    /// Incarnations seen (update, delete) or replaced (insert), where the section lists them.
    pub seen: Option<Vec<Dot>>,
    /// The write that a settle is about.
    pub at: Option<Stamp>,
    /// One a column.
    pub cells: Vec<Cell<'a>>,
}

impl<'a, 'b> Section<'a, 'b> {
    fn read(kind: Kind, flags: u8, payload: &'a [u8], first_op: u32, authors: &'b Authors) -> Result<Self, Malformed> {
        check_flags(kind, flags)?;
        let mut section = Self {
            kind,
            table: TableId::default(),
            columns: Vec::new(),
            written: 0,
            is_auto: flags & FLAG_AUTO != 0,
            rows: 1,
            first_op,
            bytes: payload,
            unseen: Vec::new(),
            authors,
            at_row: 0,
            names: None,
            seen: None,
            at: None,
            cells: Vec::new(),
        };
        if kind == Kind::Part {
            return Ok(section);
        }
        let mut r = Reader::new(payload);
        section.table = TableId::read(&mut r)?;
        if kind == Kind::Unseen {
            (section.bytes, section.unseen) = (&[], read_unseen(&mut r, authors)?);
            return r.end().map(|()| section);
        }
        if kind == Kind::Alter {
            section.bytes = r.rest();
            return Ok(section);
        }
        section.columns = read_columns(&mut r)?;
        section.written = section.columns.len();
        if kind == Kind::Define {
            section.bytes = r.rest();
            return Ok(section);
        }
        section.bytes = &[];
        section.read_rows(flags, r)?;
        Ok(section)
    }

    fn read_rows(&mut self, flags: u8, mut r: Reader<'a>) -> Result<(), Malformed> {
        if flags & FLAG_SNAPSHOT != 0 {
            self.written = r.count("written columns", self.columns.len())?;
            if self.written == self.columns.len() {
                return Err(Malformed::Rule("a snapshot has columns besides the written ones"));
            }
        }
        if self.kind == Kind::Settle && self.columns.len() != 1 {
            return Err(Malformed::Rule("a settle is about one column"));
        }
        self.rows = r.count("rows", limit::BODY_CELLS_MAX)?;
        if self.rows == 0 {
            return Err(Malformed::Rule("a section has at least one row"));
        }
        if flags & FLAG_NAMED != 0 {
            self.names = Some((sub(&mut r)?, Coder::default()));
        }
        if flags & FLAG_SEEN != 0 {
            self.seen = Some((sub(&mut r)?, Coder::default()));
        }
        if self.kind == Kind::Settle {
            self.at = Some((sub(&mut r)?, Coder::default()));
        }
        for _ in 0..self.columns.len() {
            let mut column = sub(&mut r)?;
            let tags = match column.u8("column form")? {
                0 => column.raw(1, "column tag")?,
                1 => column.raw(self.rows, "column tags").and_then(differing)?,
                got => return Err(Malformed::Unknown { what: "column form", got: got.into() }),
            };
            self.cells.push(CellColumn { tags, payload: column, coder: Coder::default() });
        }
        r.end()
    }

    /// Does each row's name come after the one before? Then no two operations are on one row. False where rows have no names.
    ///
    /// # Errors
    /// [`Malformed`] if the bytes are no names.
    pub fn is_ascending(&self) -> Result<bool, Malformed> {
        let Some((mut r, mut coder)) = self.names.clone() else { return Ok(false) };
        let mut last = None;
        for _ in self.at_row..self.rows {
            let name = Some(coder.read_name(&mut r, self.authors)?);
            if name <= last {
                return Ok(false);
            }
            last = name;
        }
        Ok(true)
    }

    /// Reads the next row operation into `row`; false after the last.
    ///
    /// # Errors
    /// [`Malformed`] if the bytes are none.
    pub fn next_row(&mut self, row: &mut RowOp<'a>) -> Result<bool, Malformed> {
        if !self.kind.has_rows() {
            return Ok(false);
        }
        if self.at_row == self.rows {
            return self.end().map(|()| false);
        }
        row.op = self.first_op + self.at_row as u32;
        row.name = match &mut self.names {
            Some((r, coder)) => Some(coder.read_name(r, self.authors)?),
            None => None,
        };
        row.seen = match &mut self.seen {
            Some((r, coder)) => Some(read_dots(r, coder, self.authors)?),
            None => None,
        };
        row.at = match &mut self.at {
            Some((r, coder)) => Some(coder.read_stamp(r, self.authors)?),
            None => None,
        };
        row.cells.clear();
        for column in &mut self.cells {
            let tag = if column.tags.len() == 1 { column.tags[0] } else { column.tags[self.at_row] };
            row.cells.push(column.coder.read_payload(tag, &mut column.payload, self.authors)?);
        }
        self.at_row += 1;
        Ok(true)
    }

    fn end(&self) -> Result<(), Malformed> {
        [&self.names, &self.seen, &self.at].into_iter().flatten().try_for_each(|(r, _)| r.end())?;
        self.cells.iter().try_for_each(|c| c.payload.end())
    }
}

/// Bytes bound no cells: many rows of NULL stand in a few of them. Gives how many there are with this section.
fn check_cells(before: usize, section: &Section<'_, '_>) -> Result<usize, Malformed> {
    let here = if section.kind.has_rows() { section.rows.saturating_mul(section.columns.len().max(1)) } else { 0 };
    let cells = before.saturating_add(here);
    if cells > limit::BODY_CELLS_MAX {
        let (got, max) = (cells as u64, limit::BODY_CELLS_MAX as u64);
        return Err(Malformed::OverLimit { what: "cells of a body", got, max });
    }
    Ok(cells)
}

/// Each kind has its flags; update, delete and settle must name their rows.
fn check_flags(kind: Kind, flags: u8) -> Result<(), Malformed> {
    let (allowed, needed) = match kind {
        Kind::Define | Kind::Part | Kind::Unseen | Kind::Alter => (0, 0),
        Kind::Insert => (FLAG_NAMED | FLAG_SEEN, 0),
        Kind::Update => (FLAG_NAMED | FLAG_SEEN | FLAG_SNAPSHOT, FLAG_NAMED),
        Kind::Delete => (FLAG_NAMED | FLAG_SEEN | FLAG_AUTO, FLAG_NAMED),
        Kind::Settle => (FLAG_NAMED, FLAG_NAMED),
    };
    if flags & !allowed != 0 || flags & needed != needed {
        return Err(Malformed::Unknown { what: "section flags", got: flags.into() });
    }
    Ok(())
}

/// Tags one a row; where all are one it stands there once, so that cells have one encoding.
fn differing(tags: &[u8]) -> Result<&[u8], Malformed> {
    if tags.iter().all(|tag| tags.first() == Some(tag)) {
        return Err(Malformed::Rule("a column's tags stand one a row only where they differ"));
    }
    Ok(tags)
}

fn sub<'a>(r: &mut Reader<'a>) -> Result<Reader<'a>, Malformed> {
    Ok(Reader::new(r.bytes("column", limit::BODY_RAW_BYTES_MAX)?))
}

fn read_columns(r: &mut Reader<'_>) -> Result<Vec<ColumnId>, Malformed> {
    let n = check_columns(r.items("columns", 4)?)?;
    (0..n).map(|_| Ok(ColumnId(r.array("column id")?))).collect()
}

/// Other authors of the body's list, ascending, with the numbers of entries.
fn read_unseen(r: &mut Reader<'_>, authors: &Authors) -> Result<Vec<(AuthorId, Seq)>, Malformed> {
    let n = r.items("authors", 2)?;
    let (mut unseen, mut last) = (Vec::with_capacity(n), 0);
    for _ in 0..n {
        let number = r.uvarint("author number")?;
        let seq = r.uvarint("seq")?;
        if number <= last || seq == 0 {
            return Err(Malformed::Rule("what was not seen is a list of other authors, ascending, with a seq from 1"));
        }
        last = number;
        unseen.push((authors.author(number)?, Seq(seq)));
    }
    if unseen.is_empty() {
        return Err(Malformed::Rule("a section says what was not seen and names nobody"));
    }
    Ok(unseen)
}

fn read_dots(r: &mut Reader<'_>, coder: &mut Coder, authors: &Authors) -> Result<Vec<Dot>, Malformed> {
    let n = r.items("incarnations", 3)?;
    (0..n).map(|_| coder.read_dot(r, authors)).collect()
}
