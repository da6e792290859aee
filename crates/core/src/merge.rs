//! Merging one operation into the rows of one table.
//!
//! The merge works on records (see [`crate::record`]) and touches the visible row only where a cell
//! changed. The common cases, a birth under a free name and a newer write to a plain row, never read a
//! value back. Everything else goes the general way (`show`): expand the record to a [`RowState`], let the
//! rules act on it, show what differs, keep what is left. Which row shows which integer key is decided in
//! `place`, what goes into the book of conflicts in `book`.
//!
//! An operation that breaks a rule (a claim that is no integer, a key that is not its row's) has no effect: every
//! replica finds the same, so nothing diverges, and an author's later entries are not held up by it.
//!
//! It does not know SQL: the visible rows stand behind [`Rows`], which the store implements on SQLite and
//! the simulator in memory.

use crate::affinity::Affinity;
use crate::body::{Cell, ColumnId};
use crate::cellhash::CellHash;
use crate::claim::Claim;
use crate::clock::{Clock, Stamp};
use crate::codec::Malformed;
use crate::digest;
use crate::id::{AuthorId, Dot, Seq, TableId};
use crate::name::{Collation, Name, key_name, may_be_key};
use crate::record::Record;
use crate::row::{RowState, Settle};
use crate::value::Value;
use std::borrow::Cow;
use std::collections::BTreeMap;

mod book;
mod place;
mod rows;
mod show;

use place::Member;
pub use rows::{Conflict, Key, Refusal, Rows, Standing};

/// What the merge must know of a table.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// Its id in the log.
    pub id: TableId,
    /// The column whose integer is only a claim; none where the key names the row.
    pub id_column: Option<usize>,
    /// The key columns that name a row, with their collations; empty where `id_column` is set, and where there is no key.
    pub key: Vec<(usize, Collation)>,
    /// Is a row that has no key, or NULL in it, named by its birth?
    pub has_nameless: bool,
    /// How many columns it has.
    pub columns: usize,
    /// Its columns in the order of their ids, the same on every replica, in which they count for the digest.
    pub order: Vec<(ColumnId, usize)>,
    /// What the columns' types make of values. Where it is empty every value stays as it is.
    pub affinities: Vec<Affinity>,
    /// What a column shows in a row for which nobody has written it: one that is older than the column. NULL where nothing stands here.
    pub fills: BTreeMap<usize, Value>,
    /// Columns that hold references, ascending. Such a column with a plain value in it means no row (rule R4).
    pub refs: Vec<usize>,
    /// Those of them that show NULL, or the row of a default, where the row they mean is not visible (rule P2).
    pub weak: Vec<usize>,
}

impl Table {
    /// What a column shows that nobody has written.
    pub fn fill(&self, column: usize) -> Cell<'_> {
        self.fills.get(&column).map_or(Cell::Null, Cell::from)
    }

    /// May the column store the value as another?
    fn may_change(&self, column: usize, cell: &Cell<'_>) -> bool {
        self.affinities.get(column).is_some_and(|affinity| affinity.may_change(cell))
    }

    /// May the row's columns store one of these values as another?
    fn may_change_any(&self, cells: &[Cell<'_>]) -> bool {
        cells.iter().enumerate().any(|(c, cell)| self.may_change(c, cell))
    }

    /// What a column of a row holds as merged, or its fill.
    pub fn cell<'a>(&'a self, state: &'a RowState, column: usize) -> Cell<'a> {
        state.cell(column).map_or_else(|| self.fill(column), |w| Cell::from(w.value))
    }
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
    /// Columns that the births which are being merged say nothing of: their author did not know them.
    pub absent: &'a [usize],
}

/// A row found, with all that is needed to change it.
struct Found {
    key: Key,
    name: Name,
    record: Record,
}

impl<R: Rows> Merge<'_, R> {
    /// A birth: of a row, or of another incarnation of one. Absent columns have their fill among the cells.
    ///
    /// # Errors
    /// As [`Rows`], and [`Malformed`] if the cells do not fit the table.
    pub fn insert(&mut self, op: u32, name: Option<&Name>, over: &[Dot], cells: &[Cell<'_>]) -> Result<(), R::Error> {
        let at = self.context.stamp(op);
        if cells.len() != self.table.columns {
            return Err(Malformed::Rule("an insert does not have a cell for each column").into());
        }
        match self.table.id_column {
            Some(column) => {
                let Cell::Integer(id) = cells[column] else { return Ok(()) };
                match name {
                    Some(Name::Key(_)) => Ok(()),
                    Some(name) => match self.find(name)? {
                        Some(found) => self.reinsert(found, at, over, cells),
                        None => self.insert_alias(at, Some(name), id, cells),
                    },
                    None => self.insert_alias(at, None, id, cells),
                }
            }
            None if self.is_nameless(cells) => self.insert_nameless(at, cells),
            None => {
                let name = self.name_by_key(cells)?;
                if self.insert_new(at, &name, cells)? {
                    return Ok(());
                }
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
        if cells.is_empty() {
            // All that it writes are columns that are gone.
            return Ok(());
        }
        let at = self.context.stamp(op);
        let name = &*self.told(name);
        if let Some(claim) = cells.iter().find(|(c, cell)| self.table.id_column == Some(*c) && is_no_claim(cell)) {
            let rest: Vec<_> = cells.iter().filter(|(c, _)| *c != claim.0).cloned().collect();
            return if rest.is_empty() { Ok(()) } else { self.update(op, name, seen, &rest) };
        }
        let implied = implied_seen(name);
        let seen = seen.or(implied.as_ref().map(std::slice::from_ref)).unwrap_or_default();
        let touches_key = cells.iter().any(|(c, _)| self.is_key(*c));
        if !touches_key && self.update_plain(name, at, seen, cells)? {
            return Ok(());
        }
        let Some(found) = self.find(name)? else { return self.lose_late(name, at, cells).map(drop) };
        let before = self.expand(&found)?;
        let mut values: Vec<_> =
            cells.iter().map(|(c, cell)| Ok((*c, own(cell)?))).collect::<Result<_, Malformed>>()?;
        if touches_key {
            self.keep_key(&found, &before, &mut values);
        }
        let mut after = before.clone();
        if !after.update(at, seen, values.iter().cloned()) {
            let has = self.lose_late(name, at, cells)?;
            return self.note_conflicts(found, has);
        }
        self.finish(found, &before, after, at, &values)
    }

    /// Removal of the incarnations that the author saw.
    ///
    /// # Errors
    /// As [`Rows`].
    pub fn delete(&mut self, op: u32, name: &Name, seen: Option<&[Dot]>, is_auto: bool) -> Result<(), R::Error> {
        let at = self.context.stamp(op);
        let name = &*self.told(name);
        let Some(mut found) = self.find(name)? else { return self.strike_gone(name, is_auto) };
        let implied = implied_seen(name);
        let seen = seen.or(implied.as_ref().map(std::slice::from_ref)).unwrap_or_default();
        if found.record.has_conflicts && !is_auto {
            found.record.has_conflicts = self.rows.strike(name, None, &self.context)?;
        }
        if found.record.state.is_none() && !is_auto && self.has_seen_row(&found.record) {
            let is_meant = seen.contains(&found.record.born.dot());
            return if is_meant { self.remove(&found, None) } else { self.rows.put(&found.key, &found.record) };
        }
        let before = self.expand(&found)?;
        let mut after = before.clone();
        after.delete(seen);
        self.book_and_show(found, &before, after, at, &[], is_auto)
    }

    /// "This displayed, derived value stays" (rule R12).
    ///
    /// # Errors
    /// As [`Rows`].
    pub fn settle(&mut self, op: u32, name: &Name, column: usize, at: Stamp, cell: &Cell<'_>) -> Result<(), R::Error> {
        let stamp = self.context.stamp(op);
        let fits = self.table.id_column != Some(column) || matches!(cell, Cell::Integer(_));
        let Some(mut found) = self.find(name)?.filter(|_| fits && !self.is_key(column)) else { return Ok(()) };
        let before = self.expand(&found)?;
        let mut after = before.clone();
        after.settle(Settle { column, at, stamp, value: own(cell)? });
        if before == after {
            return Ok(());
        }
        found.record.has_conflicts |= self.lose_settled(&found.name, &before, column, at)?;
        self.show_state(found, after)
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

    /// Where the row of a name is kept, with its record; none if there is no such row.
    ///
    /// # Errors
    /// As [`Rows`].
    pub fn located(&mut self, name: &Name) -> Result<Option<(Key, Record)>, R::Error> {
        Ok(self.find(name)?.map(|found| (found.key, found.record)))
    }

    /// Shows a row as it should stand now: as merged, with the values that it shows in place of others. It was taken out of the
    /// table for the moment, or is hidden.
    ///
    /// # Errors
    /// As [`Rows`].
    pub fn put_back(&mut self, key: &Key, state: RowState) -> Result<(), R::Error> {
        let Some(record) = self.rows.record(key)? else { return Ok(()) };
        let name = self.name_of(key, &record);
        let mut found = Found { key: key.clone(), name, record };
        if found.record.is_hidden {
            return self.show_state(found, state);
        }
        let old = self.row_digest(&found.key, &found.record);
        found.record.is_hidden = true;
        if let Some(refusal) = self.show_cells(&mut found, &state)? {
            self.rows.note_standing(&found.name, Standing::Shown(found.key.clone()));
            self.rows.digest(0, old);
            let freed = self.leave_table(&mut found)?;
            self.keep_hidden(found, state, &refusal)?;
            return self.take_back_all(freed);
        }
        self.stick(&found, None)?;
        found.record = self.fit_record(found.record, &found.key, state);
        self.keep(&found, old)
    }

    /// Notes that a row is not shown as merged, or that it is.
    fn stick(&mut self, found: &Found, refusal: Option<&Refusal>) -> Result<(), R::Error> {
        if refusal.is_some_and(|r| r.contends) {
            self.rows.contend(&found.name)?;
        }
        self.rows.set_stuck(&found.key, refusal)
    }

    /// The name of the row that a record is about.
    pub fn name_of(&self, key: &Key, record: &Record) -> Name {
        match key {
            Key::Id(id) => Name::Born { dot: record.born.dot(), id: record.birth_id.unwrap_or(*id) },
            Key::Born(dot) => Name::Born { dot: *dot, id: 0 },
            Key::Name(bytes) => Name::Key(bytes.clone()),
        }
    }

    /// The row's share of the digest.
    pub fn row_digest(&self, key: &Key, record: &Record) -> u128 {
        digest::row(self.table, key, record, self.rows.hasher())
    }

    /// A hash a column; the id of an alias row is its key and has none.
    pub(crate) fn hashes_of(&self, cells: &[Cell<'_>]) -> Vec<CellHash> {
        let id = self.table.id_column;
        let hash = |(c, cell)| if Some(c) == id { CellHash::default() } else { self.rows.hasher().hash(cell) };
        cells.iter().enumerate().map(hash).collect()
    }

    /// The same of a birth.
    fn birth_hashes(&self, cells: &[Cell<'_>]) -> Vec<CellHash> {
        let mut hashes = self.hashes_of(cells);
        self.absent.iter().for_each(|c| hashes[*c] = CellHash::UNWRITTEN);
        hashes
    }

    /// What a birth writes.
    fn written(&self, cells: &[Cell<'_>]) -> Result<Vec<(usize, Value)>, Malformed> {
        let written = cells.iter().enumerate().filter(|(c, _)| !self.absent.contains(c));
        written.map(|(c, cell)| Ok((c, own(cell)?))).collect()
    }

    fn find(&mut self, name: &Name) -> Result<Option<Found>, R::Error> {
        let Some(key) = self.kept_under(name) else { return Ok(None) };
        let is_it = |record: &Record| !matches!(name, Name::Born { dot, .. } if record.born.dot() != *dot);
        if let Some(record) = self.rows.record(&key)?.filter(is_it) {
            let name = self.name_of(&key, &record);
            return Ok(Some(Found { key, name, record }));
        }
        let (Key::Id(_), Name::Born { dot, .. }) = (key, name) else { return Ok(None) };
        let Some(shown) = self.rows.moved(dot)? else { return Ok(None) };
        let key = Key::Id(shown);
        let record = self.rows.record(&key)?.filter(is_it);
        Ok(record.map(|record| Found { name: self.name_of(&key, &record), key, record }))
    }

    /// Where the record of a row of this name is kept, unless the row shows another id; none where there can be no such row.
    fn kept_under(&self, name: &Name) -> Option<Key> {
        match (name, self.table.id_column) {
            (Name::Born { id, .. }, Some(_)) => Some(Key::Id(*id)),
            (Name::Born { dot, .. }, None) => self.table.has_nameless.then_some(Key::Born(*dot)),
            (Name::Key(_), Some(_)) => None,
            (Name::Key(bytes), None) => may_be_key(bytes).then(|| Key::Name(bytes.clone())),
        }
    }

    /// The name as the books have it: where births name rows without a key they claim no id.
    fn told<'n>(&self, name: &'n Name) -> Cow<'n, Name> {
        match name {
            Name::Born { dot, .. } if self.table.id_column.is_none() => Cow::Owned(Name::Born { dot: *dot, id: 0 }),
            name => Cow::Borrowed(name),
        }
    }

    /// Has a row with these cells no key, so that its birth names it?
    fn is_nameless(&self, cells: &[Cell<'_>]) -> bool {
        self.table.has_nameless
            && (self.table.key.is_empty() || self.table.key.iter().any(|(c, _)| cells[*c] == Cell::Null))
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

    fn is_key(&self, column: usize) -> bool {
        self.table.key.iter().any(|(c, _)| *c == column)
    }

    // ---- the common ways

    fn insert_named(&mut self, at: Stamp, name: Name, cells: &[Cell<'_>]) -> Result<(), R::Error> {
        let Name::Key(bytes) = &name else { return Err(Malformed::Rule("a keyed row is named by its key").into()) };
        let key = Key::Name(bytes.clone());
        let refusal = self.rows.show(&key, cells)?;
        if refusal.is_none() {
            self.rows.came(&name)?;
        }
        let mut record = Record::born(at, self.birth_hashes(cells));
        if self.rows.has_book() {
            record.has_conflicts = self.rows.strike(&name, None, &self.context)?;
        }
        self.keep_birth(Found { key, name, record }, at, cells, refusal)
    }

    /// A row without a key: it is a row of its own, whatever it holds.
    fn insert_nameless(&mut self, at: Stamp, cells: &[Cell<'_>]) -> Result<(), R::Error> {
        let key = Key::Born(at.dot());
        let refusal = self.rows.show(&key, cells)?;
        let record = Record::born(at, self.birth_hashes(cells));
        let name = self.name_of(&key, &record);
        self.keep_birth(Found { key, name, record }, at, cells, refusal)
    }

    /// The likeliest insert, of a plain row under a name that has no record: that is known by keeping one. False, and
    /// nothing is done, where it is another.
    fn insert_new(&mut self, at: Stamp, name: &Name, cells: &[Cell<'_>]) -> Result<bool, R::Error> {
        let Name::Key(bytes) = name else { return Ok(false) };
        let key = Key::Name(bytes.clone());
        // A row that refers to itself must not find itself before it is shown.
        let has_refs = cells.iter().any(|c| matches!(c, Cell::Ref(_)));
        if has_refs
            || self.table.may_change_any(cells)
            || self.rows.has_book()
            || self.needs_state(&key, |c| cells.get(c).is_some_and(is_literal))
        {
            return Ok(false);
        }
        let record = Record::born(at, self.birth_hashes(cells));
        if !self.rows.put_new(&key, &record)? {
            return Ok(false);
        }
        match self.rows.show(&key, cells)? {
            None => {
                self.rows.came(name)?;
                self.note(&key, &record, 0)?;
            }
            refusal => self.keep_birth(Found { key, name: name.clone(), record }, at, cells, refusal)?,
        }
        Ok(true)
    }

    fn insert_alias(&mut self, at: Stamp, name: Option<&Name>, id: i64, cells: &[Cell<'_>]) -> Result<(), R::Error> {
        let key = Key::Id(id);
        if name.is_none() && self.rows.record(&key)?.is_none() {
            let refusal = self.rows.show(&key, cells)?;
            let name = Name::Born { dot: at.dot(), id };
            if !refusal.as_ref().is_some_and(|r| r.is_weak) {
                if refusal.is_none() {
                    self.rows.came(&name)?;
                }
                let record = Record::born(at, self.birth_hashes(cells));
                return self.keep_birth(Found { key, name, record }, at, cells, refusal);
            }
        }
        // The id is taken, a forgotten row is born again under its old name, or the row can't show all that it refers to.
        let mut state = RowState::new(self.table.columns);
        state.insert(at, &[], self.written(cells)?);
        let (born, birth_id) = match name {
            Some(Name::Born { dot, id }) => {
                (Stamp { clock: Clock(0), author: dot.author, seq: dot.seq, op: dot.op }, *id)
            }
            _ => (at, id),
        };
        let mut record = Record::born(born, Vec::new());
        record.birth_id = Some(birth_id);
        record.is_hidden = true;
        if let Some(refusal) = self.rows.missing(cells)? {
            let name = Name::Born { dot: born.dot(), id: birth_id };
            self.rows.note_standing(&name, Standing::Nowhere);
            return self.keep_hidden(Found { key, name, record }, state, &refusal);
        }
        let claim = Claim { stamp: at, name: born.dot(), id };
        self.place(Member { key: None, record, state: Some(state), claim })
    }

    fn keep_birth(
        &mut self,
        mut found: Found,
        at: Stamp,
        cells: &[Cell<'_>],
        refusal: Option<Refusal>,
    ) -> Result<(), R::Error> {
        let may_change = self.table.may_change_any(cells);
        if refusal.is_some() || may_change || self.needs_state(&found.key, |c| cells.get(c).is_some_and(is_literal)) {
            let mut state = RowState::new(self.table.columns);
            state.insert(at, &[], self.written(cells)?);
            if let Some(refusal) = refusal {
                found.record.is_hidden = true;
                let refusal = if refusal.is_weak { self.show_cells(&mut found, &state)? } else { Some(refusal) };
                if let Some(refusal) = refusal {
                    self.rows.note_standing(&found.name, Standing::Nowhere);
                    return self.keep_hidden(found, state, &refusal);
                }
            } else if may_change {
                self.hash_shown(&mut found.record, &found.key, cells)?;
            }
            found.record = self.fit_record(found.record, &found.key, state);
        }
        self.keep(&found, 0)
    }

    /// The hashes of what the table shows where that may be otherwise than merged.
    fn hash_shown(&mut self, record: &mut Record, key: &Key, cells: &[Cell<'_>]) -> Result<(), R::Error> {
        let columns = (0..self.table.columns).filter(|c| record.hash(*c) != CellHash::UNWRITTEN);
        let columns: Vec<_> = columns.filter(|c| self.table.may_change(*c, &cells[*c])).collect();
        if columns.is_empty() {
            return Ok(());
        }
        let values = self.rows.values(key)?;
        let hasher = self.rows.hasher();
        columns.into_iter().for_each(|c| record.hashes[c] = hasher.hash(&Cell::from(&values[c])));
        Ok(())
    }

    /// The likeliest update: of a plain row under its own key, each column later than before and by one who had seen what was
    /// there, so that nothing is lost. False, and nothing is done, where it is another.
    fn update_plain(
        &mut self,
        name: &Name,
        at: Stamp,
        seen: &[Dot],
        cells: &[(usize, Cell<'_>)],
    ) -> Result<bool, R::Error> {
        let Some(key) = self.kept_under(name) else { return Ok(false) };
        let is_of = |record: &Record| !matches!(name, Name::Born { dot, .. } if record.born.dot() != *dot);
        if cells.iter().any(|(c, cell)| self.table.may_change(*c, cell)) {
            return Ok(false);
        }
        let (table, context, hasher) = (self.table, self.context, self.rows.hasher().clone());
        let (mut before, mut share) = (None, (0, 0));
        let is_amended = self.rows.amend(&key, &mut |record| {
            let is_plain = record.state.is_none() && !record.is_hidden && !record.has_conflicts;
            let is_meant = is_plain && is_of(&record) && seen == [record.born.dot()];
            if !is_meant || !cells.iter().all(|(c, cell)| is_newer_and_seen(table, &context, &record, at, *c, cell)) {
                return None;
            }
            let mut new = record.clone();
            cells.iter().for_each(|(column, cell)| new.diverge(*column, at, hasher.hash(cell)));
            share = (digest::row(table, &key, &new, &hasher), digest::row(table, &key, &record, &hasher));
            before = Some(record);
            Some(new)
        })?;
        let Some(before) = before.filter(|_| is_amended) else { return Ok(false) };
        if self.rows.change(&key, cells)?.is_some() {
            // The table refuses it: what is done then depends on the record as it was.
            self.rows.put(&key, &before)?;
            return Ok(false);
        }
        self.rows.digest(share.0, share.1);
        Ok(true)
    }

    fn has_seen_row(&self, record: &Record) -> bool {
        self.context.saw(&record.born) && record.diverged.iter().all(|(_, stamp)| self.context.saw(stamp))
    }

    /// Keeps a record, and its share of the digest in place of `old`.
    fn keep(&mut self, found: &Found, old: u128) -> Result<(), R::Error> {
        self.note(&found.key, &found.record, old)?;
        self.rows.put(&found.key, &found.record)
    }

    /// What is to be noted of a record beside it; `old` is the share that the digest has of it.
    fn note(&mut self, key: &Key, record: &Record, old: u128) -> Result<(), R::Error> {
        self.rows.digest(self.row_digest(key, record), old);
        if self.table.refs.is_empty() { Ok(()) } else { self.note_refs(key, record) }
    }

    /// Notes what of a row's references shows something else than a row they mean.
    pub(crate) fn note_refs(&mut self, key: &Key, record: &Record) -> Result<(), R::Error> {
        let (mut literals, mut dangling) = (Vec::new(), Vec::new());
        if let Some(state) = record.state.as_deref().filter(|_| !record.is_hidden) {
            for (column, w) in self.table.refs.iter().filter_map(|c| Some((*c, state.cell(*c)?))) {
                let cell = Cell::from(w.value);
                match w.value {
                    Value::Ref(meant) if record.hash(column) != self.rows.hasher().hash(&cell) => {
                        dangling.push((column, (**meant).clone()));
                    }
                    _ if is_literal(&cell) => literals.push((column, w.value.clone())),
                    _ => {}
                }
            }
        }
        self.rows.set_literals(key, &literals)?;
        self.rows.set_dangling(key, &self.name_of(key, record), &dangling)
    }

    /// The row leaves its key: nothing stands noted of its references any more.
    pub(crate) fn forget_refs(&mut self, key: &Key, name: &Name) -> Result<(), R::Error> {
        if self.table.refs.is_empty() {
            return Ok(());
        }
        self.rows.set_literals(key, &[])?;
        self.rows.set_dangling(key, name, &[])
    }
}

/// Is the column written later than before, by one who had seen what was there, and with a value that needs no note?
fn is_newer_and_seen(
    table: &Table,
    context: &Context<'_>,
    record: &Record,
    at: Stamp,
    column: usize,
    cell: &Cell<'_>,
) -> bool {
    let old = record.stamp(column);
    let is_literal = table.refs.contains(&column) && is_literal(cell);
    at > old && context.saw(&old) && Some(column) != table.id_column && !is_literal
}

fn is_no_claim(cell: &Cell<'_>) -> bool {
    !matches!(cell, Cell::Integer(_))
}

/// A row named by birth has that birth as its incarnation unless the operation says otherwise.
fn implied_seen(name: &Name) -> Option<Dot> {
    match name {
        Name::Born { dot, .. } => Some(*dot),
        Name::Key(_) => None,
    }
}

/// The value of a cell; the store replaces long ones before it merges.
fn own(cell: &Cell<'_>) -> Result<Value, Malformed> {
    cell.to_value().ok_or(Malformed::Rule("a long value was not put together from its parts"))
}

/// A value in a column for references that means no row.
pub(crate) fn is_literal(cell: &Cell<'_>) -> bool {
    !matches!(cell, Cell::Null | Cell::Ref(_))
}
