//! Merging one operation into the rows of one table.
//!
//! The merge works on records (see [`crate::record`]) and touches the visible row only where a cell
//! changed. The common cases, a birth under a free name and a newer write to a plain row, never read a
//! value back. Everything else goes the general way: expand the record to a [`RowState`], let the rules
//! act on it, show what differs, keep what is left.
//!
//! It does not know SQL: the visible rows stand behind [`Rows`], which the store implements on SQLite and
//! the simulator in memory.

use crate::body::Cell;
use crate::cellhash::{CellHash, CellHasher};
use crate::claim::{self, Claim};
use crate::clock::{Clock, Stamp};
use crate::codec::Malformed;
use crate::digest;
use crate::id::{AuthorId, Dot, Seq, TableId};
use crate::name::{Collation, Name, key_name};
use crate::record::Record;
use crate::row::{RowState, Settle};
use crate::value::Value;
use std::collections::{BTreeMap, BTreeSet};

/// What the merge must know of a table.
#[derive(Clone, Debug)]
pub struct Table {
    /// Its id in the log.
    pub id: TableId,
    /// The column whose integer is only a claim; none where the key names the row.
    pub id_column: Option<usize>,
    /// The key columns that name a row, with their collations; empty where `id_column` is set.
    pub key: Vec<(usize, Collation)>,
    /// How many columns it has.
    pub columns: usize,
}

/// Where a row's record is kept: under the id that it shows, or under its name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// An alias table's visible id. A hidden row has a negative one of its own.
    Id(i64),
    /// The canonical key.
    Name(Box<[u8]>),
}

/// Why a row, or a change to it, can't stand in the table, in SQLite's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal(pub String);

/// A value that is not visible and that nobody who had seen it replaced (rule R19).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The row.
    pub name: Name,
    /// The column.
    pub column: usize,
    /// What was written.
    pub value: Value,
    /// By whom and when.
    pub stamp: Stamp,
    /// What became of it.
    pub reason: Reason,
    /// The write or delete that stands in its place.
    pub by: Stamp,
}

/// What became of a value that lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// A concurrent write to the same column is later.
    Overwritten,
    /// The row was deleted by one who had not seen the write.
    Deleted,
}

/// The rows of one table: records, and the visible rows they are about.
pub trait Rows {
    /// What can fail below.
    type Error: From<Malformed>;

    /// The record under a key.
    fn record(&mut self, key: &Key) -> Result<Option<Record>, Self::Error>;
    /// Keeps a record under a key.
    fn put(&mut self, key: &Key, record: &Record) -> Result<(), Self::Error>;
    /// Drops the record under a key.
    fn forget(&mut self, key: &Key) -> Result<(), Self::Error>;

    /// All values of a visible row, foreign keys as names.
    fn values(&mut self, key: &Key) -> Result<Vec<Value>, Self::Error>;
    /// Puts a row into the table. A refusal leaves the table as it was.
    fn show(&mut self, key: &Key, cells: &[Cell<'_>]) -> Result<Option<Refusal>, Self::Error>;
    /// Changes columns of a visible row. A refusal leaves the row as it was.
    fn change(&mut self, key: &Key, cells: &[(usize, Cell<'_>)]) -> Result<Option<Refusal>, Self::Error>;
    /// Takes a visible row out of the table.
    fn hide(&mut self, key: &Key) -> Result<(), Self::Error>;
    /// Gives visible rows other ids, all at once, and re-points the foreign keys that mean them.
    fn renumber(&mut self, moves: &[(i64, i64)]) -> Result<(), Self::Error>;

    /// Where a row is that does not show its birth id.
    fn moved(&mut self, name: &Dot) -> Result<Option<i64>, Self::Error>;
    /// Notes it, or that it is back.
    fn set_moved(&mut self, name: &Dot, shown: Option<i64>) -> Result<(), Self::Error>;
    /// The ids shown by rows that claim `id` and show another.
    fn claimants(&mut self, id: i64) -> Result<Vec<i64>, Self::Error>;
    /// Notes that the row showing `shown` claims another id, or no longer does.
    fn set_claim(&mut self, shown: i64, claimed: Option<i64>) -> Result<(), Self::Error>;
    /// The ids shown by all rows that claim another.
    fn displaced(&mut self) -> Result<Vec<i64>, Self::Error>;
    /// Notes why a row is not shown as merged, or that it is.
    fn set_stuck(&mut self, key: &Key, why: Option<&Refusal>) -> Result<(), Self::Error>;

    /// Enters a loss into the book.
    fn lose(&mut self, conflict: Conflict) -> Result<(), Self::Error>;
    /// Strikes from the book what `context` had seen of the row's columns (all of them if none are
    /// given). Returns whether lines on the row are left.
    fn strike(&mut self, name: &Name, columns: Option<&[usize]>, context: &Context<'_>) -> Result<bool, Self::Error>;
    /// Has the book any line on this table?
    fn has_book(&self) -> bool;

    /// Adds to the digest and takes from it, modulo 2^128.
    fn digest(&mut self, add: u128, sub: u128);
    /// The group's cell hash.
    fn hasher(&self) -> &CellHasher;
}

/// Who writes, and what they had seen.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The entry's clock.
    pub clock: Clock,
    /// Its author.
    pub author: AuthorId,
    /// Its seq.
    pub seq: Seq,
    /// The last entry of each author that this entry's author had seen.
    pub seen: &'a BTreeMap<AuthorId, Seq>,
}

impl Context<'_> {
    /// The stamp of the entry's `op`-th operation.
    pub fn stamp(&self, op: u32) -> Stamp {
        Stamp { clock: self.clock, author: self.author, seq: self.seq, op }
    }

    /// Had the author seen that write?
    pub fn saw(&self, stamp: &Stamp) -> bool {
        stamp.author == self.author || self.seen.get(&stamp.author).is_some_and(|s| *s >= stamp.seq)
    }
}

/// One table in the course of a merge.
pub struct Merge<'a, R: Rows> {
    /// The table.
    pub table: &'a Table,
    /// Its rows.
    pub rows: &'a mut R,
    /// The entry that is being merged.
    pub context: Context<'a>,
}

/// A row found, with all that is needed to change it.
struct Found {
    key: Key,
    name: Name,
    record: Record,
}

impl<R: Rows> Merge<'_, R> {
    /// A birth: of a row, or of another incarnation of one.
    ///
    /// # Errors
    /// As [`Rows`], and [`Malformed`] if the cells do not fit the table.
    pub fn insert(&mut self, op: u32, name: Option<&Name>, over: &[Dot], cells: &[Cell<'_>]) -> Result<(), R::Error> {
        let at = self.context.stamp(op);
        if cells.len() != self.table.columns {
            return Err(Malformed::Rule("an insert does not have a cell for each column").into());
        }
        if let Some(name) = name
            && let Some(found) = self.find(name)?
        {
            return self.reinsert(found, at, over, cells);
        }
        match self.table.id_column {
            Some(column) => self.insert_alias(at, name, claimed_id(&cells[column])?, cells),
            None => {
                let name = self.name_by_key(cells)?;
                match self.find(&name)? {
                    Some(found) => self.reinsert(found, at, over, cells),
                    None => self.insert_named(at, name, cells),
                }
            }
        }
    }

    /// New values for some columns of a row.
    ///
    /// # Errors
    /// As [`Rows`].
    pub fn update(
        &mut self,
        op: u32,
        name: &Name,
        seen: Option<&[Dot]>,
        cells: &[(usize, Cell<'_>)],
    ) -> Result<(), R::Error> {
        let at = self.context.stamp(op);
        let Some(found) = self.find(name)? else { return self.lose_late(name, at, cells) };
        let implied = implied_seen(name);
        let seen = seen.or(implied.as_ref().map(std::slice::from_ref)).unwrap_or_default();
        if found.record.state.is_none() && seen == [found.record.born.dot()] && self.newer_and_seen(&found, at, cells) {
            return self.update_plain(found, at, cells);
        }
        let before = self.expand(&found)?;
        let mut after = before.clone();
        let values: Vec<_> = cells.iter().map(|(c, cell)| Ok((*c, own(cell)?))).collect::<Result<_, Malformed>>()?;
        if !after.update(at, seen, values.iter().cloned()) {
            return self.lose_late(name, at, cells);
        }
        self.finish(found, &before, after, at, &values)
    }

    /// Removal of the incarnations that the author saw.
    ///
    /// # Errors
    /// As [`Rows`].
    pub fn delete(&mut self, op: u32, name: &Name, seen: Option<&[Dot]>, is_auto: bool) -> Result<(), R::Error> {
        let at = self.context.stamp(op);
        if !is_auto && self.rows.has_book() {
            self.rows.strike(name, None, &self.context)?;
        }
        let Some(found) = self.find(name)? else { return Ok(()) };
        let implied = implied_seen(name);
        let seen = seen.or(implied.as_ref().map(std::slice::from_ref)).unwrap_or_default();
        if found.record.state.is_none() && self.has_seen_row(&found.record) {
            return if seen.contains(&found.record.born.dot()) { self.remove(&found, None) } else { Ok(()) };
        }
        let before = self.expand(&found)?;
        let mut after = before.clone();
        after.delete(seen);
        self.finish(found, &before, after, at, &[])
    }

    /// "This displayed, derived value stays" (rule R12).
    ///
    /// # Errors
    /// As [`Rows`].
    pub fn settle(&mut self, op: u32, name: &Name, column: usize, at: Stamp, cell: &Cell<'_>) -> Result<(), R::Error> {
        let stamp = self.context.stamp(op);
        let Some(found) = self.find(name)? else { return Ok(()) };
        let before = self.expand(&found)?;
        let mut after = before.clone();
        after.settle(Settle { column, at, stamp, value: own(cell)? });
        if before == after {
            return Ok(());
        }
        self.finish(found, &before, after, stamp, &[])
    }

    /// Tries again to show a row as merged that could not be.
    ///
    /// # Errors
    /// As [`Rows`].
    pub fn retry(&mut self, key: &Key) -> Result<(), R::Error> {
        let Some(record) = self.rows.record(key)? else { return self.rows.set_stuck(key, None) };
        let name = self.name_of(key, &record);
        let found = Found { key: key.clone(), name, record };
        let state = self.expand(&found)?;
        self.show_state(found, state)
    }

    // ---- finding

    fn find(&mut self, name: &Name) -> Result<Option<Found>, R::Error> {
        match name {
            Name::Key(bytes) => {
                let key = Key::Name(bytes.clone());
                let record = self.rows.record(&key)?;
                Ok(record.map(|record| Found { key, name: name.clone(), record }))
            }
            Name::Born { dot, id } => {
                let key = Key::Id(*id);
                if let Some(record) = self.rows.record(&key)?.filter(|r| r.born.dot() == *dot) {
                    return Ok(Some(Found { key, name: name.clone(), record }));
                }
                let Some(shown) = self.rows.moved(dot)? else { return Ok(None) };
                let key = Key::Id(shown);
                let record = self.rows.record(&key)?.filter(|r| r.born.dot() == *dot);
                Ok(record.map(|record| Found { key, name: name.clone(), record }))
            }
        }
    }

    /// The name of the row that a record is about.
    pub fn name_of(&self, key: &Key, record: &Record) -> Name {
        match key {
            Key::Id(id) => Name::Born { dot: record.born.dot(), id: record.birth_id.unwrap_or(*id) },
            Key::Name(bytes) => Name::Key(bytes.clone()),
        }
    }

    fn name_by_key(&self, cells: &[Cell<'_>]) -> Result<Name, R::Error> {
        let values = self.table.key.iter().map(|(c, coll)| Ok((own(&cells[*c])?, *coll)));
        let values: Vec<_> = values.collect::<Result<_, Malformed>>()?;
        Ok(key_name(values.iter().map(|(v, coll)| (v, *coll))))
    }

    fn expand(&mut self, found: &Found) -> Result<RowState, R::Error> {
        if found.record.state.is_some() {
            return Ok(found.record.expand(Vec::new));
        }
        let values = self.rows.values(&found.key)?;
        Ok(found.record.expand(|| values))
    }

    /// A hash a column; the id of an alias row is its key and has none.
    pub(crate) fn hashes_of(&self, cells: &[Cell<'_>]) -> Vec<CellHash> {
        let id = self.table.id_column;
        let hash = |(c, cell)| if Some(c) == id { CellHash::default() } else { self.rows.hasher().hash(cell) };
        cells.iter().enumerate().map(hash).collect()
    }

    // ---- the common ways

    fn insert_named(&mut self, at: Stamp, name: Name, cells: &[Cell<'_>]) -> Result<(), R::Error> {
        let Name::Key(bytes) = &name else { return Err(Malformed::Rule("a keyed row is named by its key").into()) };
        let key = Key::Name(bytes.clone());
        let refusal = self.rows.show(&key, cells)?;
        self.keep_birth(Found { key, name, record: Record::born(at, self.hashes_of(cells)) }, at, cells, refusal)
    }

    fn insert_alias(&mut self, at: Stamp, name: Option<&Name>, id: i64, cells: &[Cell<'_>]) -> Result<(), R::Error> {
        let key = Key::Id(id);
        if name.is_none() && self.rows.record(&key)?.is_none() {
            let refusal = self.rows.show(&key, cells)?;
            let name = Name::Born { dot: at.dot(), id };
            let record = Record::born(at, self.hashes_of(cells));
            return self.keep_birth(Found { key, name, record }, at, cells, refusal);
        }
        // The id is taken, or a forgotten row is born again under its old name.
        let mut state = RowState::new(self.table.columns);
        state.insert(at, &[], cells.iter().map(own).collect::<Result<_, _>>()?);
        let (born, birth_id) = match name {
            Some(Name::Born { dot, id }) => {
                (Stamp { clock: Clock(0), author: dot.author, seq: dot.seq, op: dot.op }, *id)
            }
            _ => (at, id),
        };
        let mut record = Record::born(born, Vec::new());
        record.birth_id = Some(birth_id);
        record.is_hidden = true;
        self.place(Member { key: None, record, state: Some(state), claim: Claim { stamp: at, name: born.dot(), id } })
    }

    fn keep_birth(
        &mut self,
        mut found: Found,
        at: Stamp,
        cells: &[Cell<'_>],
        refusal: Option<Refusal>,
    ) -> Result<(), R::Error> {
        let is_hashed = matches!(&found.key, Key::Name(k) if is_hashed(k));
        if refusal.is_some() || is_hashed {
            let mut state = RowState::new(self.table.columns);
            state.insert(at, &[], cells.iter().map(own).collect::<Result<_, _>>()?);
            found.record.state = Some(Box::new(state));
        }
        if let Some(refusal) = refusal {
            found.record.is_hidden = true;
            found.record.hashes.clear();
            self.hide_away(&mut found)?;
            self.rows.set_stuck(&found.key, Some(&refusal))?;
        }
        self.rows.digest(self.row_digest(&found.key, &found.record), 0);
        self.rows.put(&found.key, &found.record)
    }

    /// A hidden row of an alias table shows no id: its record stands under a negative one, derived from its name, and is
    /// found there by the list of rows that do not show their birth id.
    fn hide_away(&mut self, found: &mut Found) -> Result<(), R::Error> {
        if let (Key::Id(id), Name::Born { dot, id: birth }) = (&mut found.key, &found.name) {
            *id = -claim::derived_id(dot, 0);
            found.record.birth_id = Some(*birth);
            self.rows.set_moved(dot, Some(*id))?;
        }
        Ok(())
    }

    /// Every column is written later than before by one who had seen what was there: nothing is lost.
    fn newer_and_seen(&self, found: &Found, at: Stamp, cells: &[(usize, Cell<'_>)]) -> bool {
        let plain = |column: usize| {
            let old = found.record.stamp(column);
            at > old && self.context.saw(&old) && Some(column) != self.table.id_column
        };
        !found.record.is_hidden && cells.iter().all(|(column, _)| plain(*column))
    }

    fn update_plain(&mut self, mut found: Found, at: Stamp, cells: &[(usize, Cell<'_>)]) -> Result<(), R::Error> {
        let old = self.row_digest(&found.key, &found.record);
        let before = found.record.clone();
        if let Some(refusal) = self.rows.change(&found.key, cells)? {
            let state = self.expand(&found)?;
            let mut after = state;
            let values: Vec<_> =
                cells.iter().map(|(c, cell)| Ok((*c, own(cell)?))).collect::<Result<_, Malformed>>()?;
            after.update(at, &[before.born.dot()], values);
            return self.keep_stuck(found, after, old, &refusal);
        }
        for (column, cell) in cells {
            found.record.diverge(*column, at, self.rows.hasher().hash(cell));
        }
        if found.record.has_conflicts {
            let columns: Vec<_> = cells.iter().map(|c| c.0).collect();
            found.record.has_conflicts = self.rows.strike(&found.name, Some(&columns), &self.context)?;
        }
        self.rows.digest(self.row_digest(&found.key, &found.record), old);
        self.rows.put(&found.key, &found.record)
    }

    fn has_seen_row(&self, record: &Record) -> bool {
        self.context.saw(&record.born) && record.diverged.iter().all(|(_, stamp)| self.context.saw(stamp))
    }

    // ---- the general way

    fn reinsert(&mut self, found: Found, at: Stamp, over: &[Dot], cells: &[Cell<'_>]) -> Result<(), R::Error> {
        let before = self.expand(&found)?;
        let values: Vec<Value> = cells.iter().map(own).collect::<Result<_, _>>()?;
        let mut after = before.clone();
        after.insert(at, over, values.clone());
        let incoming: Vec<_> = values.into_iter().enumerate().collect();
        self.finish(found, &before, after, at, &incoming)
    }

    fn finish(
        &mut self,
        mut found: Found,
        before: &RowState,
        after: RowState,
        at: Stamp,
        incoming: &[(usize, Value)],
    ) -> Result<(), R::Error> {
        let columns: Vec<_> = incoming.iter().map(|(c, _)| *c).collect();
        if found.record.has_conflicts && !columns.is_empty() {
            found.record.has_conflicts = self.rows.strike(&found.name, Some(&columns), &self.context)?;
        }
        if self.book(&found.name, before, &after, at, incoming)? {
            found.record.has_conflicts = true;
        }
        if after.is_alive() { self.show_state(found, after) } else { self.remove(&found, Some(before)) }
    }

    /// Enters what this operation made invisible without its author having seen it, or what of the
    /// operation itself is not visible.
    fn book(
        &mut self,
        name: &Name,
        before: &RowState,
        after: &RowState,
        at: Stamp,
        incoming: &[(usize, Value)],
    ) -> Result<bool, R::Error> {
        let mut is_booked = false;
        for column in 0..before.writes.len().max(after.writes.len()) {
            let winner = after.cell(column);
            let old = before.writes.get(column).and_then(|w| w.first()).map(|w| (w.value.clone(), w.stamp));
            let new = incoming.iter().find(|(c, _)| *c == column).map(|(_, v)| (v.clone(), at));
            for (value, stamp) in old.into_iter().chain(new) {
                let is_shown = winner.is_some_and(|w| w.stamp == stamp || *w.value == value);
                if is_shown || (stamp != at && self.context.saw(&stamp)) {
                    continue;
                }
                let reason = if winner.is_some() { Reason::Overwritten } else { Reason::Deleted };
                let by = winner.map_or(at, |w| w.stamp);
                self.rows.lose(Conflict { name: name.clone(), column, value, stamp, reason, by })?;
                is_booked = true;
            }
        }
        Ok(is_booked)
    }

    /// A write that comes after all it had seen of its row is gone.
    fn lose_late(&mut self, name: &Name, at: Stamp, cells: &[(usize, Cell<'_>)]) -> Result<(), R::Error> {
        for (column, cell) in cells {
            let (name, value) = (name.clone(), own(cell)?);
            self.rows.lose(Conflict { name, column: *column, value, stamp: at, reason: Reason::Deleted, by: at })?;
        }
        Ok(())
    }

    fn remove(&mut self, found: &Found, before: Option<&RowState>) -> Result<(), R::Error> {
        let old = self.row_digest(&found.key, &found.record);
        if !found.record.is_hidden {
            self.rows.hide(&found.key)?;
        }
        self.rows.forget(&found.key)?;
        self.rows.digest(0, old);
        if found.record.state.is_some() || before.is_some() {
            self.rows.set_stuck(&found.key, None)?;
        }
        if let (Key::Id(id), Name::Born { dot, id: birth }) = (&found.key, &found.name) {
            if id != birth {
                self.rows.set_moved(dot, None)?;
            }
            self.rows.set_claim(*id, None)?;
            self.take_back(*id)?;
        }
        Ok(())
    }

    /// An id came free: the earliest row that claims it gets it.
    fn take_back(&mut self, id: i64) -> Result<(), R::Error> {
        let Some(shown) = self.rows.claimants(id)?.first().copied() else { return Ok(()) };
        let member = self.member(shown)?;
        match member {
            Some(member) => self.place(member),
            None => Ok(()),
        }
    }

    /// Brings the visible row to the merged state, and keeps the record that fits.
    fn show_state(&mut self, mut found: Found, state: RowState) -> Result<(), R::Error> {
        if let Some(column) = self.table.id_column {
            let claim = id_claim(&found.record, &state, column);
            let key = match found.key {
                Key::Id(id) if !found.record.is_hidden => Some(id),
                _ => {
                    self.unhide(&found)?;
                    None
                }
            };
            let old = self.row_digest(&found.key, &found.record);
            self.rows.digest(0, old);
            return self.place(Member { key, record: found.record, state: Some(state), claim });
        }
        let old = self.row_digest(&found.key, &found.record);
        let refusal = self.show_cells(&mut found, &state)?;
        self.rows.set_stuck(&found.key, refusal.as_ref())?;
        found.record = self.fit_record(found.record, &found.key, state);
        self.rows.digest(self.row_digest(&found.key, &found.record), old);
        self.rows.put(&found.key, &found.record)
    }

    fn unhide(&mut self, found: &Found) -> Result<(), R::Error> {
        self.rows.forget(&found.key)?;
        self.rows.set_stuck(&found.key, None)
    }

    /// Changes what differs between the row as shown and its cells; the id is not this function's business.
    fn show_cells(&mut self, found: &mut Found, state: &RowState) -> Result<Option<Refusal>, R::Error> {
        let id = match (&found.key, self.table.id_column) {
            (Key::Id(id), Some(column)) => Some((column, *id)),
            _ => None,
        };
        let cells: Vec<Cell<'_>> = (0..self.table.columns)
            .map(|c| match id {
                Some((column, id)) if c == column => Cell::Integer(id),
                _ => state.cell(c).map_or(Cell::Null, |w| Cell::from(w.value)),
            })
            .collect();
        let hashes = self.hashes_of(&cells);
        if found.record.is_hidden {
            let refusal = self.rows.show(&found.key, &cells)?;
            if refusal.is_none() {
                found.record.is_hidden = false;
                found.record.hashes = hashes;
            }
            return Ok(refusal);
        }
        let differs = |c: &usize| found.record.hashes.get(*c) != Some(&hashes[*c]) && Some(*c) != self.table.id_column;
        let changed: Vec<_> = (0..self.table.columns).filter(differs).map(|c| (c, cells[c].clone())).collect();
        if changed.is_empty() {
            return Ok(None);
        }
        let refusal = self.rows.change(&found.key, &changed)?;
        if refusal.is_none() {
            found.record.hashes = hashes;
        }
        Ok(refusal)
    }

    /// The record for a row with that state: plain where it can be.
    pub(crate) fn fit_record(&self, mut record: Record, key: &Key, state: RowState) -> Record {
        let incarnation = state.incarnations.first().copied().unwrap_or_default();
        let is_named = self.table.id_column.is_none();
        let keeps_name = is_named || incarnation.dot() == record.born.dot();
        let shows = |c: usize| match (key, self.table.id_column) {
            (Key::Id(id), Some(column)) if column == c => {
                state.cell(c).is_some_and(|w| *w.value == Value::Integer(*id))
            }
            _ => state
                .cell(c)
                .is_some_and(|w| record.hashes.get(c) == Some(&self.rows.hasher().hash(&Cell::from(w.value)))),
        };
        let hashed = matches!(key, Key::Name(k) if is_hashed(k));
        if !record.is_hidden && !hashed && keeps_name && state.is_simple() && (0..self.table.columns).all(shows) {
            record.born = incarnation;
            let stamps = (0..self.table.columns).filter_map(|c| state.cell(c).map(|w| (c, w.stamp)));
            record.diverged = stamps.filter(|(_, stamp)| *stamp != incarnation).collect();
            record.state = None;
        } else {
            record.diverged.clear();
            record.state = Some(Box::new(state));
        }
        record
    }

    fn keep_stuck(&mut self, mut found: Found, state: RowState, old: u128, why: &Refusal) -> Result<(), R::Error> {
        self.rows.set_stuck(&found.key, Some(why))?;
        found.record = self.fit_record(found.record, &found.key, state);
        self.rows.digest(self.row_digest(&found.key, &found.record), old);
        self.rows.put(&found.key, &found.record)
    }

    /// The row's share of the digest.
    pub fn row_digest(&self, key: &Key, record: &Record) -> u128 {
        digest::row(self.table, key, record, self.rows.hasher())
    }

    // ---- integer keys (rule P4)

    fn member(&mut self, shown: i64) -> Result<Option<Member>, R::Error> {
        let Some(record) = self.rows.record(&Key::Id(shown))?.filter(|r| !r.is_hidden) else { return Ok(None) };
        let column = self.table.id_column.unwrap_or_default();
        let claim = match &record.state {
            Some(state) => id_claim(&record, state, column),
            None => Claim { stamp: record.stamp(column), name: record.born.dot(), id: shown },
        };
        Ok(Some(Member { key: Some(shown), record, state: None, claim }))
    }

    /// Gives ids to `first` and to all rows whose ids hang on it.
    ///
    /// The digest must hold nothing of `first` (its share was taken off, or it is new); a member that has a key and no
    /// state of its own is as stored.
    fn place(&mut self, first: Member) -> Result<(), R::Error> {
        let mut members = vec![first];
        let mut visited = BTreeSet::new();
        let shown = loop {
            let claims: Vec<_> = members.iter().map(|m| m.claim).collect();
            let shown = claim::assign(&claims);
            let ids: BTreeSet<i64> = members
                .iter()
                .flat_map(|m| [Some(m.claim.id), m.key])
                .chain(shown.iter().copied())
                .flatten()
                .filter(|id| !visited.contains(id))
                .collect();
            if ids.is_empty() {
                break shown;
            }
            for id in ids {
                visited.insert(id);
                let others = self.rows.claimants(id)?;
                for other in others.into_iter().chain([id]) {
                    if members.iter().all(|m| m.key != Some(other))
                        && let Some(member) = self.member(other)?
                    {
                        members.push(member);
                    }
                }
            }
        };
        self.move_members(members, &shown)
    }

    fn move_members(&mut self, mut members: Vec<Member>, shown: &[Option<i64>]) -> Result<(), R::Error> {
        for (member, shown) in members.iter_mut().zip(shown) {
            let Some(key) = member.key else { continue };
            if member.state.is_none() {
                if *shown == Some(key) {
                    continue;
                }
                let old = self.row_digest(&Key::Id(key), &member.record);
                self.rows.digest(0, old);
                let name = self.name_of(&Key::Id(key), &member.record);
                let found = Found { key: Key::Id(key), name, record: member.record.clone() };
                member.state = Some(self.expand(&found)?);
            }
            let birth = member.record.birth_id.unwrap_or(key);
            member.record.birth_id = Some(birth);
            self.rows.forget(&Key::Id(key))?;
            self.rows.set_claim(key, None)?;
        }
        let moves: Vec<_> =
            members.iter().zip(shown).filter_map(|(m, to)| Some((m.key?, (*to)?))).filter(|(a, b)| a != b).collect();
        if !moves.is_empty() {
            self.rows.renumber(&moves)?;
        }
        // Rows that were there before come first: a new one may be refused for their sake, not they for its.
        let (old, new): (Vec<_>, Vec<_>) = members.into_iter().zip(shown).partition(|(m, _)| m.key.is_some());
        old.into_iter().chain(new).try_for_each(|(member, shown)| self.keep_member(member, *shown))
    }

    fn keep_member(&mut self, member: Member, shown: Option<i64>) -> Result<(), R::Error> {
        let Some(state) = member.state else { return Ok(()) };
        let Member { mut record, claim, .. } = member;
        let birth = record.birth_id.unwrap_or(claim.id);
        let name = Name::Born { dot: record.born.dot(), id: birth };
        let id = shown.unwrap_or(claim.id);
        record.birth_id = (id != birth).then_some(birth);
        let mut found = Found { key: Key::Id(id), name, record };
        let refusal = match shown {
            Some(_) => self.show_cells(&mut found, &state)?,
            None => Some(Refusal("no derived id is free".into())),
        };
        let gives_back = found.record.is_hidden.then_some(shown).flatten();
        if found.record.is_hidden {
            self.hide_away(&mut found)?;
        } else if id != claim.id {
            self.rows.set_claim(id, Some(claim.id))?;
        }
        let Key::Id(kept) = found.key else { return Ok(()) };
        self.rows.set_moved(&claim.name, (kept != birth).then_some(kept))?;
        if kept != birth {
            found.record.birth_id = Some(birth);
        }
        self.rows.set_stuck(&found.key, refusal.as_ref())?;
        found.record = self.fit_record(found.record, &found.key, state);
        self.rows.digest(self.row_digest(&found.key, &found.record), 0);
        self.rows.put(&found.key, &found.record)?;
        // Only visible rows claim ids: what made room for a row that was refused then takes its own back.
        gives_back.map_or(Ok(()), |id| self.take_back(id))
    }
}

/// One row whose id is being decided.
struct Member {
    /// The id it shows; none while it is not in the table.
    key: Option<i64>,
    record: Record,
    /// Its merged state, once known to change.
    state: Option<RowState>,
    claim: Claim,
}

fn id_claim(record: &Record, state: &RowState, column: usize) -> Claim {
    let cell = state.cell(column);
    let id = cell.and_then(|w| if let Value::Integer(id) = w.value { Some(*id) } else { None });
    Claim { stamp: cell.map_or(record.born, |w| w.claim), name: record.born.dot(), id: id.unwrap_or_default() }
}

fn claimed_id(cell: &Cell<'_>) -> Result<i64, Malformed> {
    match cell {
        Cell::Integer(id) => Ok(*id),
        _ => Err(Malformed::Rule("a row of a table with an integer key claims no integer")),
    }
}

/// A row named by birth has that birth as its incarnation unless the operation says otherwise.
fn implied_seen(name: &Name) -> Option<Dot> {
    match name {
        Name::Born { dot, .. } => Some(*dot),
        Name::Key(_) => None,
    }
}

fn is_hashed(key: &[u8]) -> bool {
    crate::name::is_hashed(key)
}

/// The value of a cell; the store replaces long ones before it merges.
fn own(cell: &Cell<'_>) -> Result<Value, Malformed> {
    cell.to_value().ok_or(Malformed::Rule("a long value was not put together from its parts"))
}
