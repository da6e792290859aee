//! The general way: the row's whole merged state, what the table shows of it, and the record that fits.
//!
//! A row that can't be shown is *hidden*: its state is kept whole in its record and the reason beside it. A row that
//! refers to one that is not visible is hidden until that one is.

use super::{Found, Key, Member, Merge, Refusal, Rows, Standing, Table, is_literal};
use crate::affinity;
use crate::body::Cell;
use crate::cellhash::CellHash;
use crate::claim;
use crate::clock::Stamp;
use crate::id::Dot;
use crate::name::{self, Name, key_name};
use crate::record::Record;
use crate::row::RowState;
use crate::value::Value;

impl<R: Rows> Merge<'_, R> {
    pub(super) fn reinsert(
        &mut self,
        found: Found,
        at: Stamp,
        over: &[Dot],
        cells: &[Cell<'_>],
    ) -> Result<(), R::Error> {
        let before = self.expand(&found)?;
        let incoming = self.written(cells)?;
        let mut after = before.clone();
        after.insert(at, over, incoming.iter().cloned());
        self.finish(found, &before, after, at, &incoming)
    }

    pub(super) fn finish(
        &mut self,
        found: Found,
        before: &RowState,
        after: RowState,
        at: Stamp,
        incoming: &[(usize, Value)],
    ) -> Result<(), R::Error> {
        self.book_and_show(found, before, after, at, incoming, false)
    }

    pub(super) fn book_and_show(
        &mut self,
        mut found: Found,
        before: &RowState,
        after: RowState,
        at: Stamp,
        incoming: &[(usize, Value)],
        is_auto: bool,
    ) -> Result<(), R::Error> {
        let columns: Vec<_> = incoming.iter().map(|(c, _)| *c).collect();
        if found.record.has_conflicts && !columns.is_empty() {
            found.record.has_conflicts = self.rows.strike(&found.name, Some(&columns), &self.context)?;
        }
        if self.book(&found.name, before, &after, at, incoming, is_auto)? {
            found.record.has_conflicts = true;
        }
        if after.is_alive() { self.show_state(found, after) } else { self.remove(&found, Some(before)) }
    }

    /// Brings the visible row to the merged state, and keeps the record that fits.
    pub(super) fn show_state(&mut self, mut found: Found, state: RowState) -> Result<(), R::Error> {
        let refs = state.writes.iter().flatten().any(|w| matches!(w.value, Value::Ref(_)));
        if refs && let Some(refusal) = self.missing(&found.name, &state)? {
            let freed = self.park_found(found, state, &refusal)?;
            return self.take_back_all(freed);
        }
        if found.record.is_hidden {
            self.rows.note_standing(&found.name, Standing::Hidden);
        }
        let old = self.row_digest(&found.key, &found.record);
        if let Some(column) = self.table.id_column {
            let claim = super::place::id_claim(&found.record, &state, column);
            let key = match found.key {
                Key::Id(id) if !found.record.is_hidden => Some(id),
                _ => {
                    self.rows.forget(&found.key)?;
                    self.rows.set_stuck(&found.key, None)?;
                    None
                }
            };
            self.rows.digest(0, old);
            return self.place(Member { key, record: found.record, state: Some(state), claim });
        }
        let refusal = self.show_cells(&mut found, &state)?;
        self.stick(&found, refusal.as_ref())?;
        found.record = self.fit_record(found.record, &found.key, state);
        self.keep(&found, old)
    }

    fn missing(&mut self, name: &Name, state: &RowState) -> Result<Option<Refusal>, R::Error> {
        let mut cells = Self::cells_of(self.table, state, None);
        // A row that refers to itself waits for nobody.
        let own = Cell::Ref(name.clone());
        cells.iter_mut().filter(|c| **c == own).for_each(|c| *c = Cell::Null);
        self.rows.missing(&cells)
    }

    /// Hides a row that refers to one that is not visible any more, with the state that it had. Gives the id that came
    /// free, for [`Merge::take_back_all`] once all such rows are parked.
    ///
    /// # Errors
    /// As [`Rows`].
    pub fn park(&mut self, key: &Key, state: RowState, why: &Refusal) -> Result<Option<i64>, R::Error> {
        let Some(record) = self.rows.record(key)? else { return Ok(None) };
        let found = Found { key: key.clone(), name: self.name_of(key, &record), record };
        self.rows.note_standing(&found.name, Standing::Shown(key.clone()));
        self.rows.hide(key)?;
        let mut found = found;
        let old = self.row_digest(&found.key, &found.record);
        let freed = self.leave_table(&mut found)?;
        self.rows.digest(0, old);
        self.keep_hidden(found, state, why)?;
        Ok(freed)
    }

    /// References of a visible row show NULL from now on, for the rows they mean are about to go; `state` is what the row has, told
    /// while these are there. Where it can't be without them it is hidden. Gives the id that came free, for
    /// [`Merge::take_back_all`].
    ///
    /// # Errors
    /// As [`Rows`].
    pub fn let_dangle(&mut self, key: &Key, columns: &[usize], state: RowState) -> Result<Option<i64>, R::Error> {
        let Some(record) = self.rows.record(key)? else { return Ok(None) };
        let mut found = Found { key: key.clone(), name: self.name_of(key, &record), record };
        let nulls: Vec<_> = columns.iter().map(|c| (*c, Cell::Null)).collect();
        if let Some(refusal) = self.rows.change(key, &nulls)? {
            return self.park_found(found, state, &refusal);
        }
        let old = self.row_digest(key, &found.record);
        let null = self.rows.hasher().hash(&Cell::Null);
        found.record.hashes.resize(self.table.columns, CellHash::UNWRITTEN);
        columns.iter().for_each(|c| found.record.hashes[*c] = null);
        found.record = self.fit_record(found.record, key, state);
        self.keep(&found, old)?;
        Ok(None)
    }

    /// The row's whole state as merged; none if there is no such row.
    ///
    /// # Errors
    /// As [`Rows`].
    pub fn state_of(&mut self, key: &Key) -> Result<Option<RowState>, R::Error> {
        let Some(record) = self.rows.record(key)? else { return Ok(None) };
        let found = Found { key: key.clone(), name: self.name_of(key, &record), record };
        self.expand(&found).map(Some)
    }

    /// Hides a row, with the state that it has and the rows that refer to it; one that is hidden gets another reason. Gives the id
    /// that came free, for [`Merge::take_back_all`].
    ///
    /// # Errors
    /// As [`Rows`].
    pub fn take_out(&mut self, key: &Key, state: RowState, why: &Refusal) -> Result<Option<i64>, R::Error> {
        let Some(record) = self.rows.record(key)? else { return Ok(None) };
        let found = Found { key: key.clone(), name: self.name_of(key, &record), record };
        self.park_found(found, state, why)
    }

    fn park_found(&mut self, mut found: Found, state: RowState, refusal: &Refusal) -> Result<Option<i64>, R::Error> {
        let old = self.row_digest(&found.key, &found.record);
        let mut freed = None;
        if !found.record.is_hidden {
            self.rows.note_standing(&found.name, Standing::Shown(found.key.clone()));
            self.rows.before_gone(&found.key)?;
            self.rows.hide(&found.key)?;
            freed = self.leave_table(&mut found)?;
        }
        self.rows.digest(0, old);
        self.keep_hidden(found, state, refusal)?;
        Ok(freed)
    }

    /// The books of a row that leaves the table but stays alive. Gives the id that came free.
    pub(super) fn leave_table(&mut self, found: &mut Found) -> Result<Option<i64>, R::Error> {
        self.rows.forget(&found.key)?;
        self.forget_refs(&found.key, &found.name)?;
        found.record.is_hidden = true;
        let Key::Id(id) = found.key else { return Ok(None) };
        self.rows.set_claim(id, None)?;
        Ok(Some(id))
    }

    /// Keeps a row that is not in the table. The digest must hold nothing of it.
    pub(super) fn keep_hidden(&mut self, mut found: Found, state: RowState, refusal: &Refusal) -> Result<(), R::Error> {
        found.record.is_hidden = true;
        found.record.hashes.clear();
        self.hide_away(&mut found);
        if let (Key::Id(id), Name::Born { dot, .. }) = (&found.key, &found.name) {
            self.rows.set_moved(dot, Some(*id))?;
        }
        self.stick(&found, Some(refusal))?;
        found.record = self.fit_record(found.record, &found.key, state);
        self.keep(&found, 0)
    }

    /// A hidden row of an alias table shows no id: its record stands under a negative one, derived from its name.
    pub(super) fn hide_away(&mut self, found: &mut Found) {
        if let (Key::Id(id), Name::Born { dot, id: birth }) = (&mut found.key, &found.name) {
            *id = -claim::derived_id(dot, 0);
            found.record.birth_id = Some(*birth);
        }
    }

    pub(super) fn remove(&mut self, found: &Found, before: Option<&RowState>) -> Result<(), R::Error> {
        let old = self.row_digest(&found.key, &found.record);
        if !found.record.is_hidden {
            self.rows.before_gone(&found.key)?;
            self.rows.hide(&found.key)?;
        }
        self.rows.forget(&found.key)?;
        self.rows.digest(0, old);
        if found.record.state.is_some() || before.is_some() {
            self.rows.uncontend(&found.name)?;
            self.rows.set_stuck(&found.key, None)?;
            self.forget_refs(&found.key, &found.name)?;
        }
        if let (Key::Id(id), Name::Born { dot, id: birth }) = (&found.key, &found.name) {
            if id != birth {
                self.rows.set_moved(dot, None)?;
            }
            self.rows.set_claim(*id, None)?;
            if !found.record.is_hidden {
                self.take_back(*id)?;
            }
        }
        Ok(())
    }

    /// Columns of a row have other types now, and show its values otherwise: they show what was merged as the new type stores it.
    /// The record says what was merged, or what is shown tells. Where neither does, or the column shows something else, the
    /// user wrote it: the seal will find it.
    ///
    /// # Errors
    /// As [`Rows`].
    pub fn retype(&mut self, key: &Key, columns: &[usize]) -> Result<(), R::Error> {
        let Some(mut record) = self.rows.record(key)?.filter(|r| !r.is_hidden) else { return Ok(()) };
        let shown = self.rows.values(key)?;
        let hasher = self.rows.hasher().clone();
        let hash = |value: &Value| hasher.hash(&Cell::from(value));
        // What of the old value is left to be seen: itself, or what the new type made of it.
        let old = |c: usize, old: CellHash| {
            let made_of = affinity::sources(&shown[c]).into_iter();
            [shown[c].clone()].into_iter().chain(made_of).find(|value| hash(value) == old)
        };
        let repairs = self.rows.repairs(&self.name_of(key, &record))?;
        let mut merged = shown.clone();
        let mut again = Vec::new();
        let dangles = |c: usize| {
            let cell = record.state.as_ref().and_then(|state| state.cell(c));
            cell.is_some_and(|w| matches!(w.value, Value::Ref(_)) && hash(w.value) != record.hash(c))
        };
        let dangling: Vec<_> = columns.iter().copied().filter(|c| dangles(*c)).collect();
        for c in columns.iter().copied().filter(|c| !repairs.iter().any(|(r, _)| r == c) && !dangling.contains(c)) {
            let cell = record.state.as_ref().and_then(|state| state.cell(c)).map(|w| w.value.clone());
            let fill = self.table.fill(c).to_value().unwrap_or(Value::Null);
            let (source, value) = match (record.hash(c), cell) {
                (CellHash::UNWRITTEN, _) => (old(c, hash(&fill)), fill),
                (was, Some(cell)) => (old(c, was).or_else(|| old(c, hash(&cell))), cell),
                (was, None) => (old(c, was), old(c, was).unwrap_or(Value::Null)),
            };
            if source.is_some() {
                merged[c] = value.clone();
                again.push((c, value));
            }
        }
        // A change of the user's that is not sealed yet is no merged value: of such a row the seal tells all.
        let is_sealed = |c: usize| {
            let is_known = again.iter().any(|(a, _)| *a == c) || Some(c) == self.table.id_column;
            is_known || record.hash(c) == CellHash::UNWRITTEN || record.hash(c) == hash(&shown[c])
        };
        if record.state.is_none() && !(0..self.table.columns).all(is_sealed) {
            return Ok(());
        }
        let cells: Vec<_> = again.iter().map(|(c, value)| (*c, Cell::from(value))).collect();
        let differs = |(c, cell): &(usize, Cell<'_>)| hash(&shown[*c]) != hasher.hash(cell);
        if !cells.iter().any(differs) || self.rows.change(key, &cells)?.is_some() {
            return Ok(());
        }
        let (state, now) = (record.expand(|| merged), self.rows.values(key)?);
        for (c, _) in &again {
            if record.hash(*c) != CellHash::UNWRITTEN {
                record.hashes[*c] = hash(&now[*c]);
            }
        }
        let record = self.fit_record(record, key, state);
        self.rows.put(key, &record)
    }

    /// A row is about to show its values otherwise: its record keeps what they were merged as.
    ///
    /// # Errors
    /// As [`Rows`].
    pub fn keep_state(&mut self, key: &Key) -> Result<(), R::Error> {
        let (Some(mut record), Some(state)) = (self.rows.record(key)?, self.state_of(key)?) else { return Ok(()) };
        record.diverged.clear();
        record.state = Some(Box::new(state));
        self.rows.put(key, &record)
    }

    /// The cells as merged; `id` stands for the cell that is only a claim.
    pub(super) fn cells_of<'s>(table: &'s Table, state: &'s RowState, id: Option<i64>) -> Vec<Cell<'s>> {
        let cell = |c: usize| match id {
            Some(id) if table.id_column == Some(c) => Cell::Integer(id),
            _ => table.cell(state, c),
        };
        (0..table.columns).map(cell).collect()
    }

    /// Changes what differs between the row as shown and its cells; the id is not this function's business.
    pub(super) fn show_cells(&mut self, found: &mut Found, state: &RowState) -> Result<Option<Refusal>, R::Error> {
        let id = if let Key::Id(id) = found.key { Some(id) } else { None };
        let repairs = self.rows.repairs(&found.name)?;
        let mut cells = Self::cells_of(self.table, state, id);
        let stand_ins = if self.table.refs.is_empty() { Vec::new() } else { self.rows.stand_ins(&cells)? };
        stand_ins.iter().for_each(|(c, value)| cells[*c] = Cell::from(value));
        repairs.iter().for_each(|(c, value)| cells[*c] = Cell::from(value));
        let mut hashes = self.hashes_of(&cells);
        let is_unwritten = |c: &usize| state.cell(*c).is_none() && !repairs.iter().any(|(r, _)| r == c);
        (0..self.table.columns).filter(is_unwritten).for_each(|c| hashes[c] = CellHash::UNWRITTEN);
        if found.record.is_hidden {
            let refusal = self.rows.show(&found.key, &cells)?;
            if refusal.is_none() {
                found.record.is_hidden = false;
                found.record.hashes = hashes;
                self.rows.came(&found.name)?;
                self.hash_shown(&mut found.record, &found.key, &cells)?;
            }
            return Ok(refusal);
        }
        self.rows.reclaim(&found.key)?;
        let differs = |c: &usize| found.record.hash(*c) != hashes[*c] && Some(*c) != self.table.id_column;
        let changed: Vec<_> = (0..self.table.columns).filter(differs).map(|c| (c, cells[c].clone())).collect();
        if changed.is_empty() {
            return Ok(None);
        }
        let refusal = self.rows.change(&found.key, &changed)?;
        if refusal.is_none() {
            found.record.hashes = hashes;
            self.hash_shown(&mut found.record, &found.key, &cells)?;
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
            _ => {
                let hash = |value| self.rows.hasher().hash(&Cell::from(value));
                record.hash(c) == state.cell(c).map_or(CellHash::UNWRITTEN, |w| hash(w.value))
            }
        };
        let literal = |c: usize| state.cell(c).is_some_and(|w| is_literal(&Cell::from(w.value)));
        let is_plain = !record.is_hidden
            && keeps_name
            && state.is_simple()
            && !self.needs_state(key, literal)
            && (0..self.table.columns).all(shows);
        if is_plain {
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

    /// Does the record have to hold the values, since the visible row does not tell them?
    pub(crate) fn needs_state(&self, key: &Key, is_literal: impl Fn(usize) -> bool) -> bool {
        let is_hashed = matches!(key, Key::Name(k) if name::is_hashed(k));
        is_hashed || self.table.refs.iter().any(|c| is_literal(*c))
    }

    /// Drops from an update what would make the row's key another one, be it all of a key or one with NULL in it.
    pub(super) fn keep_key(&self, found: &Found, before: &RowState, values: &mut Vec<(usize, Value)>) {
        let null = Value::Null;
        let old = |c: usize| before.cell(c).map_or(&null, |w| w.value);
        let new = |c: usize| values.iter().find(|(column, _)| *column == c).map_or_else(|| old(c), |(_, v)| v);
        let is_same = match &found.name {
            name @ Name::Key(_) => key_name(self.table.key.iter().map(|(c, by)| (new(*c), *by))) == *name,
            Name::Born { .. } => {
                key_name(self.table.key.iter().map(|(c, by)| (new(*c), *by)))
                    == key_name(self.table.key.iter().map(|(c, by)| (old(*c), *by)))
            }
        };
        if !is_same {
            values.retain(|(c, _)| !self.is_key(*c));
        }
    }
}
