//! The seal: what the user did to the rows of one table, as operations and records (rules R3, R9, R12, R13).
//!
//! Capture says which keys were touched, not what became of them; the record says what the row was, the
//! table says what it is. [`who_is_who`] follows identities through the markers of an alias table, where
//! an id that was deleted and inserted again is another row. The visible rows are left alone: they are what the
//! user left.

use crate::body::write::Shape;
use crate::body::{Cell, ColumnId, Kind};
use crate::cellhash::CellHash;
use crate::clock::Stamp;
use crate::codec::Malformed;
use crate::id::Dot;
use crate::merge::{Key, Merge, Rows};
use crate::name::Name;
use crate::record::Record;
use crate::row::Settle;
use crate::value::Value;
use crate::writer::GroupWriter;
use std::collections::{BTreeMap, BTreeSet};

/// One marker of an alias table, in the order they were written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Touch {
    /// A row was inserted under this id.
    Inserted(i64),
    /// The row of this id was deleted.
    Deleted(i64),
    /// The row of this id was updated.
    Updated(i64),
    /// A row went from the first id to the second.
    Moved(i64, i64),
    /// The row of this id may have been displaced by a REPLACE.
    Hint(i64),
}

/// Who stands where after the markers: per touched id the id under which the row's record is kept, none for a new row.
///
/// Rule R3: a delete ends an identity, a key change moves it; an insert on a key whose row is still there (REPLACE on
/// its own key) keeps it; an insert on a key that was deleted, moved away or marked as a possible REPLACE victim
/// starts a new row.
pub fn who_is_who(touches: &[Touch]) -> BTreeMap<i64, Option<i64>> {
    let mut here: BTreeMap<i64, Option<i64>> = BTreeMap::new();
    let mut hinted = BTreeSet::new();
    for touch in touches {
        match *touch {
            Touch::Updated(id) => {
                here.entry(id).or_insert(Some(id));
            }
            Touch::Hint(id) => {
                here.entry(id).or_insert(Some(id));
                hinted.insert(id);
            }
            Touch::Deleted(id) => {
                here.insert(id, None);
            }
            Touch::Inserted(id) => {
                let stays = here.entry(id).or_insert(Some(id));
                if hinted.contains(&id) {
                    *stays = None;
                }
            }
            Touch::Moved(old, new) => {
                let who = here.insert(old, None).unwrap_or(Some(old));
                here.insert(new, who);
            }
        }
    }
    here
}

/// Where operations go: the group that is being written, and how the table's columns are named there.
pub struct Pen<'a, 'k> {
    /// The atomic group under way.
    pub group: &'a mut GroupWriter<'k>,
    /// The columns' ids, by their number in the table.
    pub columns: &'a [ColumnId],
    /// Columns that common CHECKs join (rule P1).
    pub groups: &'a [Vec<usize>],
}

impl<R: Rows> Merge<'_, R> {
    /// A row without a record is there.
    ///
    /// # Errors
    /// As [`Rows`].
    pub fn seal_birth(&mut self, pen: &mut Pen<'_, '_>, key: &Key, cells: &[Cell<'_>]) -> Result<(), R::Error> {
        let shape = Shape::new(Kind::Insert, self.table.id, pen.columns.to_vec());
        let at = pen.group.row(&shape, None, &[], None, cells);
        self.keep_local(key, Record::born(at, self.hashes_of(cells)))
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
        let mut shape = Shape::new(Kind::Insert, self.table.id, pen.columns.to_vec());
        shape.has_seen = true;
        let at = pen.group.row(&shape, None, &record.incarnations(), None, cells);
        self.rows.digest(0, self.row_digest(key, record));
        self.rows.set_stuck(key, None)?;
        self.keep_local(key, Record::born(at, self.hashes_of(cells)))
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
        mut record: Record,
        cells: &[Cell<'_>],
    ) -> Result<(), R::Error> {
        let hashes = self.hashes_of(cells);
        let differs = |c: &usize| match self.table.id_column {
            Some(id) if id == *c => old != key,
            _ => record.hashes.get(*c) != Some(&hashes[*c]),
        };
        let changed: Vec<usize> = (0..self.table.columns).filter(differs).collect();
        if changed.is_empty() {
            return Ok(());
        }
        let name = self.name_of(old, &record);
        let at = self.write_update(pen, &name, &record, &changed, cells);
        self.rows.digest(0, self.row_digest(old, &record));
        if old != key {
            self.rekey(old, key, &name, &mut record)?;
        }
        record = self.note_update(key, record, at, &changed, cells, hashes)?;
        if record.has_conflicts {
            record.has_conflicts = self.rows.strike(&name, Some(&changed), &self.context)?;
        }
        self.keep_local(key, record)
    }

    /// A row that was is gone.
    ///
    /// # Errors
    /// As [`Rows`].
    pub fn seal_death(&mut self, pen: &mut Pen<'_, '_>, key: &Key, record: &Record) -> Result<(), R::Error> {
        let name = self.name_of(key, record);
        let seen = record.incarnations();
        let mut shape = Shape::new(Kind::Delete, self.table.id, Vec::new());
        shape.is_named = true;
        shape.has_seen = !is_implied(&name, &seen);
        pen.group.row(&shape, Some(&name), &seen, None, &[]);
        if record.has_conflicts {
            self.rows.strike(&name, None, &self.context)?;
        }
        self.rows.digest(0, self.row_digest(key, record));
        self.rows.set_stuck(key, None)?;
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
            self.keep_local(&key, record)?;
        }
        Ok(())
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
            columns.extend(group.iter().filter(|c| !changed.contains(c)));
        }
        let seen = record.incarnations();
        let mut shape = Shape::new(Kind::Update, self.table.id, columns.iter().map(|c| pen.columns[*c]).collect());
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
        let Some(state) = record.state.take() else {
            changed.iter().for_each(|c| record.diverge(*c, at, hashes[*c]));
            return Ok(record);
        };
        let mut state = *state;
        let seen: Vec<Dot> = state.incarnations.iter().map(Stamp::dot).collect();
        let values = changed.iter().map(|c| {
            let value = cells[*c].to_value().ok_or(Malformed::Rule("a row as the seal reads it has whole values"));
            value.map(|v| (*c, v))
        });
        let values: Vec<_> = values.collect::<Result<_, _>>()?;
        state.update(at, &seen, values);
        record.hashes = hashes;
        Ok(self.fit_record(record, key, state))
    }

    fn rekey(&mut self, old: &Key, new: &Key, name: &Name, record: &mut Record) -> Result<(), R::Error> {
        let (Key::Id(from), Key::Id(to), Name::Born { dot, id: birth }) = (old, new, name) else { return Ok(()) };
        self.rows.set_claim(*from, None)?;
        self.rows.set_moved(dot, (to != birth).then_some(*to))?;
        record.birth_id = (to != birth).then_some(*birth);
        Ok(())
    }

    fn keep_local(&mut self, key: &Key, record: Record) -> Result<(), R::Error> {
        self.rows.digest(self.row_digest(key, &record), 0);
        self.rows.put(key, &record)
    }
}

fn is_implied(name: &Name, seen: &[Dot]) -> bool {
    matches!(name, Name::Born { dot, .. } if seen == [*dot])
}
