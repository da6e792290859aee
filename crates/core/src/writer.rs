//! Writing an atomic group: as many entries as one batch of committed transactions needs.
//!
//! Operations go into the body under way; when it is full its entry is signed, marked as continued, and
//! the next begins. Values too long for an entry go ahead of their row as parts. Nothing is kept but the entry under way
//! and those not yet taken, so that a batch of any size needs bounded memory.

use crate::body::write::Shape;
use crate::body::{self, BodyWriter, Cell, ColumnId};
use crate::clock::{Clock, Stamp};
use crate::entry::{Entry, First, Header};
use crate::id::{AuthorId, Dot, EntryId, GroupId, Seq, TableId};
use crate::key::AuthorKey;
use crate::limit;
use crate::name::Name;
use std::collections::{BTreeMap, BTreeSet};

/// Where a new group starts.
#[derive(Clone, Debug)]
pub struct Start {
    /// The group (of peers) it is for.
    pub group: GroupId,
    /// Parts that the atomic group has so far, where it goes on from an earlier transaction.
    pub parts: u64,
    /// The author's head: zero and seq 0 for a new author.
    pub prev: EntryId,
    /// The author's last seq.
    pub last: Seq,
    /// Heads of other authors that changed since.
    pub deps: Vec<EntryId>,
    /// The clock of the first entry.
    pub clock: Clock,
    /// Hash over the author's definitions.
    pub schema: [u8; 16],
    /// What the author's first entry carries; used only at seq 1.
    pub first: First,
}

/// An entry that is finished.
#[derive(Clone, Debug)]
pub struct Written {
    /// The entry.
    pub entry: Entry,
    /// Its operations.
    pub ops: u32,
}

/// Builds the entries of one atomic group.
pub struct GroupWriter<'k> {
    key: &'k AuthorKey,
    author: AuthorId,
    at: Start,
    body: BodyWriter,
    parts: u64,
    finished: Vec<Written>,
    /// What was not seen on which tables.
    unseen: BTreeMap<TableId, Vec<(AuthorId, Seq)>>,
    /// The tables of which the entry under way says it.
    told: BTreeSet<TableId>,
}

impl<'k> GroupWriter<'k> {
    /// Starts one.
    pub fn new(key: &'k AuthorKey, at: Start) -> Self {
        let (author, parts) = (key.public().author(), at.parts);
        let (finished, unseen, told) = Default::default();
        Self { key, author, at, body: BodyWriter::new(author), parts, finished, unseen, told }
    }

    /// Where there are more deps than one entry may name, entries without operations go ahead with the first of them.
    fn split_deps(&mut self) {
        while self.at.deps.len() > limit::DEPS_MAX {
            let rest = self.at.deps.split_off(limit::DEPS_MAX);
            self.close(true);
            self.at.deps = rest;
        }
    }

    /// Is there anything to sign?
    pub fn is_empty(&self) -> bool {
        self.body.ops() == 0 && self.finished.is_empty()
    }

    /// The clock of the entry under way.
    pub fn clock(&self) -> Clock {
        self.at.clock
    }

    /// Adds a row operation and returns its stamp. Cells of a row that is too long to stand inline go ahead as parts.
    pub fn row(
        &mut self,
        shape: &Shape,
        name: Option<&Name>,
        seen: &[Dot],
        at: Option<&Stamp>,
        cells: &[Cell<'_>],
    ) -> Stamp {
        let op = if is_inline(cells) {
            self.make_room(shape.cells());
            self.tell_unseen(shape.table);
            self.body.row(shape, name, seen, at, cells)
        } else {
            let cells = self.shorten(cells);
            self.make_room(shape.cells());
            self.tell_unseen(shape.table);
            self.body.row(shape, name, seen, at, &cells)
        };
        self.stamp(op)
    }

    /// Notes that the author had not seen, on that table, these entries and what comes after them in their chains, whatever the
    /// entries' deps say: each entry that has operations on it will say so.
    pub fn not_seen(&mut self, table: TableId, unseen: Vec<(AuthorId, Seq)>) {
        if !unseen.is_empty() {
            self.unseen.insert(table, unseen);
        }
    }

    fn tell_unseen(&mut self, table: TableId) {
        if let Some(unseen) = self.unseen.get(&table).filter(|_| self.told.insert(table)) {
            self.body.unseen(table, unseen);
        }
    }

    /// The stamp that a row of this shape and these cells will have if it is the next; none where something goes ahead of it:
    /// an entry that is full, what was not seen, or parts of its cells.
    pub fn next_stamp(&self, shape: &Shape, cells: &[Cell<'_>]) -> Option<Stamp> {
        let is_told = !self.unseen.contains_key(&shape.table) || self.told.contains(&shape.table);
        let is_next = self.body.ops() > 0 && self.has_room(shape.cells()) && is_told && is_inline(cells);
        is_next.then(|| self.stamp(self.body.ops()))
    }

    /// Operations come in the order of their rows' names up to here, and may begin anew: a run of them has a section of its own.
    pub fn end_run(&mut self) {
        self.body.end_section();
    }

    /// Announces a table.
    pub fn define(&mut self, table: TableId, columns: &[ColumnId], definition: &[u8]) -> Stamp {
        self.make_room(0);
        let op = self.body.define(table, columns, definition);
        self.stamp(op)
    }

    /// Changes an announced table.
    pub fn alter(&mut self, table: TableId, changes: &[u8]) -> Stamp {
        self.make_room(0);
        let op = self.body.alter(table, changes);
        self.stamp(op)
    }

    /// Entries that are finished and not yet taken.
    pub fn take(&mut self) -> Vec<Written> {
        std::mem::take(&mut self.finished)
    }

    /// Who writes.
    pub fn author(&self) -> AuthorId {
        self.author
    }

    /// Signs the entry under way; `continues` says that the atomic group goes on in a later entry, `must_close` that an
    /// earlier entry said so and this one must end it, be it empty. Gives the entries not yet taken.
    pub fn finish(mut self, continues: bool, must_close: bool) -> Vec<Written> {
        if self.body.ops() > 0 || must_close {
            if self.body.ops() == 0 {
                self.split_deps();
            }
            self.close(continues);
        }
        self.finished
    }

    fn stamp(&self, op: u32) -> Stamp {
        Stamp { clock: self.at.clock, author: self.author, seq: self.at.last.next(), op }
    }

    /// Closes the entry under way where it is full, or `cells` more would pass what a body may have.
    fn make_room(&mut self, cells: usize) {
        if self.body.ops() == 0 {
            self.split_deps();
        }
        if !self.has_room(cells) {
            self.close(true);
        }
    }

    /// Does a row of so many cells go into the entry under way?
    fn has_room(&self, cells: usize) -> bool {
        self.body.raw_bytes() < limit::BODY_RAW_BYTES_TARGET && self.body.cells() + cells <= limit::BODY_CELLS_MAX
    }

    fn close(&mut self, continues: bool) {
        let ops = self.body.ops();
        let body = std::mem::replace(&mut self.body, BodyWriter::new(self.author));
        self.told.clear();
        let seq = self.at.last.next();
        let header = Header {
            group: self.at.group,
            author: self.author,
            seq,
            prev: self.at.prev,
            deps: std::mem::take(&mut self.at.deps),
            clock: self.at.clock,
            schema: self.at.schema,
            certificate: [0; 32],
            first: (seq.0 == 1).then(|| self.at.first.clone()),
            continues,
            body_bytes: 0,
            body_hash: [0; 32],
        };
        let entry = Entry::seal(header, body::pack(&body.finish()), self.key);
        (self.at.prev, self.at.last, self.at.clock) = (entry.id, seq, Clock(self.at.clock.0 + 1));
        self.finished.push(Written { entry, ops });
    }

    /// Inlines cells while they fit, in order; the rest travel as parts.
    fn shorten<'c>(&mut self, cells: &[Cell<'c>]) -> Vec<Cell<'c>> {
        let mut room = limit::VALUE_INLINE_BYTES_MAX;
        let mut short = Vec::with_capacity(cells.len());
        for cell in cells {
            let bytes = cell.payload_bytes();
            short.push(match cell {
                Cell::Text(b) | Cell::Blob(b) if bytes > room => {
                    let is_text = matches!(cell, Cell::Text(_));
                    Cell::Long { is_text, part: self.parts(b), bytes: bytes as u64 }
                }
                _ => {
                    room = room.saturating_sub(bytes);
                    cell.clone()
                }
            });
        }
        short
    }

    fn parts(&mut self, bytes: &[u8]) -> u64 {
        let first = self.parts;
        if self.body.ops() == 0 {
            self.split_deps();
        }
        for part in bytes.chunks(limit::PART_BYTES_MAX) {
            if self.body.ops() > 0 && self.body.raw_bytes() + part.len() > limit::BODY_RAW_BYTES_TARGET {
                self.close(true);
            }
            self.body.part(part);
            self.parts += 1;
        }
        first
    }
}

/// Does a row of these cells stand in an entry as it is?
fn is_inline(cells: &[Cell<'_>]) -> bool {
    cells.iter().map(Cell::payload_bytes).sum::<usize>() <= limit::VALUE_INLINE_BYTES_MAX
}

#[cfg(test)]
mod tests;
