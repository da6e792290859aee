//! Updates of one table, merged in the order of its keys.
//!
//! A seal writes the changes of a batch in the order of the rows' names, one batch after the other. Merged in that order a group
//! of many batches goes through the whole table once for each of them, and where keys lie anywhere hardly two of its
//! rows in turn share a page. Rows that only change are independent of each other, so the batches are merged as sorted runs are: together,
//! each page is met once. What is done to one row keeps its order.

use p2pdb_core::body::{Body, Kind, RowOp, Section};
use p2pdb_core::clock::Clock;
use p2pdb_core::codec::Malformed;
use p2pdb_core::id::{AuthorId, Seq, TableId};
use p2pdb_core::merge::Context;
use p2pdb_core::name::Name;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;

use super::ops::{Parts, apply_op, follow_up, places};
use crate::store::rows::{Shared, SqliteRows};
use crate::store::seen::Seen;
use crate::store::tables::{Tables, Tracked};
use crate::store::{Store, StoreError};

/// Bytes of unpacked bodies that are merged together: some hundred thousand small rows, a quarter of the page cache.
const BYTES_MAX: usize = 4 * 1024 * 1024;

/// An entry of the group.
pub(super) struct Unpacked {
    pub(super) clock: Clock,
    pub(super) seq: Seq,
    pub(super) seen: Seen,
    /// Its body.
    pub(super) raw: Vec<u8>,
}

impl Unpacked {
    pub(super) fn context(&self, author: AuthorId) -> Context<'_> {
        Context { clock: self.clock, author, seq: self.seq, seen: &self.seen }
    }
}

/// Consecutive entries of a group that are about one table, and are runs.
#[derive(Default)]
pub(super) struct Runs {
    table: TableId,
    bytes: usize,
    entries: Vec<Unpacked>,
}

impl Runs {
    /// May the entry be merged together with these, where they are on this table?
    pub(super) fn has_room(&self, table: TableId, entry: &Unpacked) -> bool {
        self.entries.is_empty() || self.table == table && self.bytes + entry.raw.len() <= BYTES_MAX
    }

    pub(super) fn push(&mut self, table: TableId, entry: Unpacked) {
        self.table = table;
        self.bytes += entry.raw.len();
        self.entries.push(entry);
    }
}

/// The table of a body that holds nothing but runs on one whose rows do not depend on each other.
///
/// # Errors
/// [`Malformed`] if it is no body.
pub(super) fn table_of_runs(body: &Body<'_>, tables: &Tables) -> Result<Option<TableId>, Malformed> {
    let mut sections = body.sections();
    let mut table = None;
    while let Some(section) = sections.next()? {
        let is_run = section.kind == Kind::Update && table.is_none_or(|t| t == section.table);
        if !is_run || !tables.ready(&section.table).is_some_and(is_independent) || !section.is_ascending()? {
            return Ok(None);
        }
        table = Some(section.table);
    }
    Ok(table)
}

/// Are the table's rows named by keys of their own, with no references from them or to them?
fn is_independent(table: &Tracked) -> bool {
    table.merge.id_column.is_none() && table.merge.refs.is_empty() && table.referring.is_empty()
}

/// A run, and where it is.
struct Cursor<'a, 'b> {
    section: Section<'a, 'b>,
    row: RowOp<'a>,
    context: Context<'b>,
    places: Vec<Option<usize>>,
}

impl Cursor<'_, '_> {
    /// Goes to the next row and takes its name.
    fn next(&mut self) -> Result<Option<Name>, Malformed> {
        if !self.section.next_row(&mut self.row)? {
            return Ok(None);
        }
        self.row.name.take().map(Some).ok_or(Malformed::Rule("an operation names no row"))
    }
}

impl Store {
    /// Merges the entries, and leaves none.
    pub(super) fn apply_runs(&mut self, author: AuthorId, runs: &mut Runs) -> Result<(), StoreError> {
        let runs = std::mem::take(runs);
        let Self { conn, tables, authors, hasher, digest, flags, .. } = self;
        let Some(table) = tables.ready(&runs.table) else { return Ok(()) };
        let mut rows = SqliteRows::new(Shared { conn, tables, hasher, flags }, table, authors, digest)?;
        let bodies = runs.entries.iter().map(|e| Body::read(&e.raw, author)).collect::<Result<Vec<_>, _>>()?;
        let (mut cursors, mut order) = (Vec::new(), BinaryHeap::new());
        for (entry, body) in runs.entries.iter().zip(&bodies) {
            let mut sections = body.sections();
            while let Some(section) = sections.next()? {
                let (row, context, places) = (RowOp::default(), entry.context(author), places(&section, table));
                let mut cursor = Cursor { section, row, context, places };
                if let Some(name) = cursor.next()? {
                    // Of those on one row the earlier entry is first.
                    order.push(Reverse((name, cursors.len())));
                }
                cursors.push(cursor);
            }
        }
        while let Some(mut first) = order.peek_mut() {
            let Reverse((name, at)) = &mut *first;
            let Cursor { section, row, context, places } = &mut cursors[*at];
            row.name = Some(std::mem::replace(name, Name::Key(Box::default())));
            apply_op(&mut rows, section, row, places, *context, &mut Parts::default())?;
            match cursors[*at].next()? {
                Some(next) => *name = next,
                None => drop(PeekMut::pop(first)),
            }
        }
        follow_up(rows.shared, rows.authors, rows.digest)
    }
}
