//! The seal: what the user did to the rows of one table, as operations and records (rules R3, R9, R12, R13).
//!
//! Capture says which keys were touched, not what became of them; the record says what the row was, the
//! table says what it is. [`who_is_who`] follows identities through the markers, where a key that was deleted and
//! inserted again is another row. The visible rows are left alone: they are what the user left.

use crate::body::write::Shape;
use crate::body::{Cell, ColumnId, Kind};
use crate::cellhash::CellHash;
use crate::claim;
use crate::clock::Stamp;
use crate::codec::Malformed;
use crate::id::{Dot, TableId};
use crate::merge::{Key, Merge, Rows, is_literal};
use crate::name::Name;
use crate::record::Record;
use crate::row::{RowState, Settle};
use crate::value::Value;
use crate::writer::GroupWriter;

pub mod who;

pub use who::{Touch, who_is_who};

/// Where operations go: the group that is being written, and how the table's columns are named there.
pub struct Pen<'a, 'k> {
    /// The atomic group under way.
    pub group: &'a mut GroupWriter<'k>,
    /// The columns' ids, by their number in the table.
    pub columns: &'a [ColumnId],
    /// Columns that common CHECKs join (rule P1).
    pub groups: &'a [Vec<usize>],
    /// What births look like: one after the other, mostly.
    birth: Shape,
}

impl<'a, 'k> Pen<'a, 'k> {
    /// For the rows of one table.
    pub fn new(
        group: &'a mut GroupWriter<'k>,
        table: TableId,
        columns: &'a [ColumnId],
        groups: &'a [Vec<usize>],
    ) -> Self {
        Self { group, columns, groups, birth: Shape::new(Kind::Insert, table, columns.to_vec()) }
    }
}

impl<R: Rows> Merge<'_, R> {
    /// A row without a record is there.
    ///
    /// # Errors
    /// As [`Rows`].
    pub fn seal_birth(&mut self, pen: &mut Pen<'_, '_>, key: &Key, cells: &[Cell<'_>]) -> Result<(), R::Error> {
        let at = pen.group.row(&pen.birth, None, &[], None, cells);
        self.keep_born(key, at, cells)
    }

    /// A row without a key is there that has no record, at a place that is this replica's own.
    ///
    /// # Errors
    /// As [`Rows`].
    pub fn seal_nameless_birth(
        &mut self,
        pen: &mut Pen<'_, '_>,
        place: i64,
        cells: &[Cell<'_>],
    ) -> Result<(), R::Error> {
        let at = pen.group.row(&pen.birth, None, &[], None, cells);
        let key = Key::Born(at.dot());
        self.rows.set_place(&key, place)?;
        self.keep_born(&key, at, cells)
    }

    /// The same where nobody looked for a record: of a plain row that has none, which is known by keeping one. False, and
    /// nothing is done, where that is not so.
    ///
    /// # Errors
    /// As [`Rows`].
    pub fn seal_birth_if_new(
        &mut self,
        pen: &mut Pen<'_, '_>,
        key: &Key,
        cells: &[Cell<'_>],
    ) -> Result<bool, R::Error> {
        if self.rows.has_book() || self.needs_state(key, |c| is_literal(&cells[c])) {
            return Ok(false);
        }
        let Some(at) = pen.group.next_stamp(&pen.birth, cells) else { return Ok(false) };
        let record = Record::born(at, self.hashes_of(cells));
        if !self.rows.put_new(key, &record)? {
            return Ok(false);
        }
        let written = pen.group.row(&pen.birth, None, &[], None, cells);
        assert_eq!(written, at, "a row's stamp is the one that was told");
        self.note_local(key, &record)?;
        Ok(true)
    }

    /// A row is there whose key had another life: deleted and inserted again, or alive but hidden.
    ///
    /// # Errors
    /// As [`Rows`].
    pub fn seal_rebirth(
        &mut self,
        pen: &mut Pen<'_, '_>,
        key: &Key,
        record: &Record,
        cells: &[Cell<'_>],
    ) -> Result<(), R::Error> {
        let mut shape = pen.birth.clone();
        shape.has_seen = true;
        let at = pen.group.row(&shape, None, &record.incarnations(), None, cells);
        self.rows.digest(0, self.row_digest(key, record));
        let name = self.name_of(key, record);
        self.rows.let_go(&name)?;
        self.rows.uncontend(&name)?;
        self.rows.set_stuck(key, None)?;
        self.keep_born(key, at, cells)
    }

    /// A row is there that was: an update of the columns that differ, or nothing.
    ///
    /// `key` is where the row stands now, `old` where its record was: where they differ the caller has forgotten
    /// that one, and those of all rows that moved, before it keeps the first.
    ///
    /// # Errors
    /// As [`Rows`].
    pub fn seal_change(
        &mut self,
        pen: &mut Pen<'_, '_>,
        old: &Key,
        key: &Key,
        record: Record,
        cells: &[Cell<'_>],
    ) -> Result<(), R::Error> {
        let hashes = self.hashes_of(cells);
        let hasher = self.rows.hasher();
        let differs = |c: &usize| match (self.table.id_column, record.hash(*c)) {
            (Some(id), _) if id == *c => old != key,
            (_, CellHash::UNWRITTEN) => hasher.hash(&self.table.fill(*c)) != hashes[*c],
            (_, hash) => hash != hashes[*c],
        };
        let changed: Vec<usize> = (0..self.table.columns).filter(differs).collect();
        if changed.is_empty() {
            return Ok(());
        }
        self.seal_columns(pen, old, key, record, &changed, cells, hashes)
    }

    /// What a row shows in these columns stands, though nobody wrote it anew: its user knows what else was written there. An
    /// update as any other, so that what lost is replaced by one who had seen it (rule R19).
    ///
    /// # Errors
    /// As [`Rows`].
    pub fn seal_kept(
        &mut self,
        pen: &mut Pen<'_, '_>,
        key: &Key,
        record: Record,
        columns: &[usize],
        cells: &[Cell<'_>],
    ) -> Result<(), R::Error> {
        let hashes = self.hashes_of(cells);
        self.seal_columns(pen, key, key, record, columns, cells, hashes)
    }

    /// A row that is gone stays gone: its user knows what was written to it. A delete that removes nothing, for nothing of the
    /// row is here, and strikes what stands in the book (rule R19).
    ///
    /// # Errors
    /// As [`Rows`].
    pub fn seal_gone(&mut self, pen: &mut Pen<'_, '_>, name: &Name) -> Result<(), R::Error> {
        let mut shape = Shape::new(Kind::Delete, self.table.id, Vec::new());
        (shape.is_named, shape.has_seen) = (true, true);
        pen.group.row(&shape, Some(name), &[], None, &[]);
        self.rows.strike(name, None, &self.context).map(drop)
    }

    /// A hidden row of an alias table that its user put into the table under an id: from now on its record stands there, and what
    /// the row holds is a change of it. The marker of that insert is still to come.
    ///
    /// # Errors
    /// As [`Rows`].
    pub fn seal_revival(&mut self, key: &Key, id: i64, mut record: Record) -> Result<(), R::Error> {
        let (Some(column), Some(state)) = (self.table.id_column, &record.state) else { return Ok(()) };
        let Name::Born { dot, id: birth } = self.name_of(key, &record) else { return Ok(()) };
        let claimed = match state.cell(column).map(|cell| cell.value) {
            Some(Value::Integer(claimed)) => *claimed,
            _ => birth,
        };
        self.rows.forget(key)?;
        self.rows.set_stuck(key, None)?;
        self.rows.uncontend(&Name::Born { dot, id: birth })?;
        self.rows.set_moved(&dot, (id != birth).then_some(id))?;
        if id != claimed {
            self.rows.set_claim(id, Some(claimed))?;
            if id != claim::derived_id(&dot, 0) {
                self.rows.set_prober(id)?;
            }
        }
        record.birth_id = (id != birth).then_some(birth);
        (record.is_hidden, record.hashes) = (false, Vec::new());
        self.rows.put(&Key::Id(id), &record)
    }

    #[allow(clippy::too_many_arguments)]
    fn seal_columns(
        &mut self,
        pen: &mut Pen<'_, '_>,
        old: &Key,
        key: &Key,
        mut record: Record,
        changed: &[usize],
        cells: &[Cell<'_>],
        hashes: Vec<CellHash>,
    ) -> Result<(), R::Error> {
        let name = self.name_of(old, &record);
        self.rows.let_go(&name)?;
        let at = self.write_update(pen, &name, &record, changed, cells);
        self.rows.digest(0, self.row_digest(old, &record));
        if old != key {
            self.rekey(old, key, &name, &mut record)?;
        }
        record = self.note_update(key, record, at, changed, cells, hashes)?;
        if record.has_conflicts {
            record.has_conflicts = self.rows.strike(&name, Some(changed), &self.context)?;
        }
        self.keep_local(key, &record)
    }

    /// A row that was is gone; `is_auto` says that its user never saw it (rule R12).
    ///
    /// # Errors
    /// As [`Rows`].
    pub fn seal_death(
        &mut self,
        pen: &mut Pen<'_, '_>,
        key: &Key,
        record: &Record,
        is_auto: bool,
    ) -> Result<(), R::Error> {
        let name = self.name_of(key, record);
        self.rows.let_go(&name)?;
        let seen = record.incarnations();
        let mut shape = Shape::new(Kind::Delete, self.table.id, Vec::new());
        shape.is_named = true;
        shape.has_seen = !is_implied(&name, &seen);
        shape.is_auto = is_auto;
        let at = pen.group.row(&shape, Some(&name), &seen, None, &[]);
        if is_auto {
            self.lose_unseen(&name, record, at)?;
        } else if record.has_conflicts {
            self.rows.strike(&name, None, &self.context)?;
        }
        self.rows.digest(0, self.row_digest(key, record));
        if record.state.is_some() {
            self.rows.uncontend(&name)?;
            self.rows.set_stuck(key, None)?;
            self.forget_refs(key, &name)?;
        }
        self.rows.forget(key)?;
        if let (Key::Id(id), Name::Born { dot, id: birth }) = (key, &name) {
            if id != birth {
                self.rows.set_moved(dot, None)?;
            }
            self.rows.set_claim(*id, None)?;
        }
        Ok(())
    }

    /// Settles every derived id that is on display (rule R13), so that a local write frees none of them.
    ///
    /// # Errors
    /// As [`Rows`].
    pub fn seal_settles(&mut self, pen: &mut Pen<'_, '_>) -> Result<(), R::Error> {
        let Some(column) = self.table.id_column else { return Ok(()) };
        for shown in self.rows.displaced()? {
            let key = Key::Id(shown);
            let Some(mut record) = self.rows.record(&key)? else { continue };
            let Some(at) = record.state.as_ref().and_then(|s| s.cell(column)).map(|w| w.stamp) else { continue };
            let name = self.name_of(&key, &record);
            let mut shape = Shape::new(Kind::Settle, self.table.id, vec![pen.columns[column]]);
            shape.is_named = true;
            let stamp = pen.group.row(&shape, Some(&name), &[], Some(&at), &[Cell::Integer(shown)]);
            self.rows.digest(0, self.row_digest(&key, &record));
            if let Some(state) = &mut record.state {
                state.settle(Settle { column, at, stamp, value: Value::Integer(shown) });
            }
            self.rows.set_claim(shown, None)?;
            self.keep_local(&key, &record)?;
        }
        Ok(())
    }

    /// What a row shows in place of merged values stays (rule R12): columns, and what is visible there.
    ///
    /// # Errors
    /// As [`Rows`].
    pub fn seal_shown(&mut self, pen: &mut Pen<'_, '_>, key: &Key, shown: &[(usize, &Value)]) -> Result<(), R::Error> {
        let Some(mut record) = self.rows.record(key)? else { return Ok(()) };
        let Some(mut state) = record.state.take() else { return Ok(()) };
        let name = self.name_of(key, &record);
        record.state = Some(state.clone());
        self.rows.digest(0, self.row_digest(key, &record));
        for &(column, value) in shown.iter().filter(|(c, _)| Some(*c) != self.table.id_column) {
            let Some(at) = state.cell(column).map(|w| w.stamp) else { continue };
            let mut shape = Shape::new(Kind::Settle, self.table.id, vec![pen.columns[column]]);
            shape.is_named = true;
            let stamp = pen.group.row(&shape, Some(&name), &[], Some(&at), &[Cell::from(value)]);
            record.has_conflicts |= self.lose_settled(&name, &state, column, at)?;
            state.settle(Settle { column, at, stamp, value: value.clone() });
        }
        let record = self.fit_record(record, key, *state);
        self.keep_local(key, &record)
    }

    /// A row that its user never saw goes: what it held is in the book, since nobody who had seen it let it go.
    fn lose_unseen(&mut self, name: &Name, record: &Record, at: Stamp) -> Result<(), R::Error> {
        let Some(before) = &record.state else { return Ok(()) };
        let mut after = (**before).clone();
        after.delete(&record.incarnations());
        self.book(name, before, &after, at, &[], true).map(drop)
    }

    fn write_update(
        &self,
        pen: &mut Pen<'_, '_>,
        name: &Name,
        record: &Record,
        changed: &[usize],
        cells: &[Cell<'_>],
    ) -> Stamp {
        let mut columns = changed.to_vec();
        for group in pen.groups.iter().filter(|g| g.iter().any(|c| changed.contains(c))) {
            let others: Vec<_> = group.iter().copied().filter(|c| !columns.contains(c)).collect();
            columns.extend(others);
        }
        let seen = record.incarnations();
        let columns_of = |c: &usize| pen.columns[*c];
        let mut shape = Shape::new(Kind::Update, self.table.id, columns.iter().map(columns_of).collect());
        shape.written = changed.len();
        shape.is_named = true;
        shape.has_seen = !is_implied(name, &seen);
        let cells: Vec<_> = columns.iter().map(|c| cells[*c].clone()).collect();
        pen.group.row(&shape, Some(name), &seen, None, &cells)
    }

    fn note_update(
        &mut self,
        key: &Key,
        mut record: Record,
        at: Stamp,
        changed: &[usize],
        cells: &[Cell<'_>],
        hashes: Vec<CellHash>,
    ) -> Result<Record, R::Error> {
        let mut state = match record.state.take() {
            Some(state) => *state,
            None if self.needs_state(key, |c| is_literal(&cells[c])) => {
                let values = whole(cells)?;
                record.expand(|| values)
            }
            None => {
                changed.iter().for_each(|c| record.diverge(*c, at, hashes[*c]));
                return Ok(record);
            }
        };
        let seen: Vec<Dot> = state.incarnations.iter().map(Stamp::dot).collect();
        let values = changed.iter().map(|c| Ok((*c, cells[*c].to_value().ok_or(NOT_WHOLE)?)));
        let values: Vec<_> = values.collect::<Result<_, Malformed>>()?;
        state.update(at, &seen, values);
        let is_unwritten = |c: &usize| record.hash(*c) == CellHash::UNWRITTEN && !changed.contains(c);
        record.hashes = hashes
            .into_iter()
            .enumerate()
            .map(|(c, h)| if is_unwritten(&c) { CellHash::UNWRITTEN } else { h })
            .collect();
        Ok(self.fit_record(record, key, state))
    }

    fn rekey(&mut self, old: &Key, new: &Key, name: &Name, record: &mut Record) -> Result<(), R::Error> {
        let (Key::Id(from), Key::Id(to), Name::Born { dot, id: birth }) = (old, new, name) else { return Ok(()) };
        self.rows.set_claim(*from, None)?;
        self.rows.set_moved(dot, (to != birth).then_some(*to))?;
        record.birth_id = (to != birth).then_some(*birth);
        Ok(())
    }

    fn keep_born(&mut self, key: &Key, at: Stamp, cells: &[Cell<'_>]) -> Result<(), R::Error> {
        let mut record = Record::born(at, self.hashes_of(cells));
        if self.needs_state(key, |c| is_literal(&cells[c])) {
            let mut state = RowState::new(self.table.columns);
            state.insert(at, &[], whole(cells)?.into_iter().enumerate());
            record.state = Some(Box::new(state));
        }
        if let (Key::Name(bytes), true) = (key, self.rows.has_book()) {
            let name = Name::Key(bytes.clone());
            record.has_conflicts = self.rows.strike(&name, None, &self.context)?;
        }
        self.keep_local(key, &record)
    }

    fn keep_local(&mut self, key: &Key, record: &Record) -> Result<(), R::Error> {
        self.note_local(key, record)?;
        self.rows.put(key, record)
    }

    /// What is to be noted of a record beside it.
    fn note_local(&mut self, key: &Key, record: &Record) -> Result<(), R::Error> {
        self.rows.digest(self.row_digest(key, record), 0);
        self.rows.reclaim(key)?;
        if self.table.refs.is_empty() { Ok(()) } else { self.note_refs(key, record) }
    }
}

const NOT_WHOLE: Malformed = Malformed::Rule("a row as the seal reads it has whole values");

fn whole(cells: &[Cell<'_>]) -> Result<Vec<Value>, Malformed> {
    cells.iter().map(|c| c.to_value().ok_or(NOT_WHOLE)).collect()
}

fn is_implied(name: &Name, seen: &[Dot]) -> bool {
    matches!(name, Name::Born { dot, .. } if seen == [*dot])
}
