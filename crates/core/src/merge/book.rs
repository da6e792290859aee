//! The book of conflicts: values that are not visible and that nobody who had seen them replaced (rule R19).
//!
//! A write that stops being the cell gets a line unless the operation that displaced it came from one who had seen
//! it. A write that is kept beside the cell (it belongs to another birth of the row) and holds the very value that is
//! shown needs none: the record still knows it. Lines are struck when somebody who had seen the value writes the
//! column or deletes the row. A line whose value is visible again is left out when the book is read, not struck: the
//! next write may cover it again. What stands in a value's place is not written down either: the merged state says it,
//! the same on every replica, whatever came first there.

use super::{Conflict, Found, Merge, Rows, own};
use crate::body::Cell;
use crate::clock::Stamp;
use crate::name::Name;
use crate::row::{RowState, Write};
use crate::value::Value;

impl<R: Rows> Merge<'_, R> {
    /// Enters what this operation made invisible without its author having seen it, or what of the
    /// operation itself is not visible. True if there is a line on the row now.
    pub(crate) fn book(
        &mut self,
        name: &Name,
        before: &RowState,
        after: &RowState,
        at: Stamp,
        incoming: &[(usize, Value)],
        is_auto: bool,
    ) -> Result<bool, R::Error> {
        let mut is_booked = false;
        for column in 0..before.writes.len().max(after.writes.len()) {
            if self.tells_name(name, column) {
                continue;
            }
            let winner = after.cell(column);
            let kept = after.writes.get(column).map(Vec::as_slice).unwrap_or_default();
            let old = before.writes.get(column).into_iter().flatten().map(|w| (&w.value, w.stamp));
            let new = incoming.iter().filter(|(c, _)| *c == column).map(|(_, value)| (value, at));
            for (value, stamp) in old.chain(new) {
                let is_kept = kept.iter().any(|w| w.stamp == stamp);
                let is_shown = winner.is_some_and(|w| w.stamp == stamp || (is_kept && w.value == value));
                let is_replaced = !is_kept && stamp != at && self.context.saw(&stamp) && !is_auto;
                if is_shown || is_replaced {
                    continue;
                }
                self.rows.lose(Conflict { name: name.clone(), column, value: value.clone(), stamp })?;
                is_booked = true;
            }
        }
        Ok(is_booked)
    }

    /// Is the column one of the key that names the row? What it holds is told by the name.
    fn tells_name(&self, name: &Name, column: usize) -> bool {
        matches!(name, Name::Key(_)) && self.is_key(column)
    }

    /// A write that comes after all it had seen of its row is gone. True if there is a line on the row now.
    pub(super) fn lose_late(&mut self, name: &Name, at: Stamp, cells: &[(usize, Cell<'_>)]) -> Result<bool, R::Error> {
        if self.rows.has_book() {
            let columns: Vec<_> = cells.iter().map(|c| c.0).collect();
            self.rows.strike(name, Some(&columns), &self.context)?;
        }
        let mut is_booked = false;
        for (column, cell) in cells {
            if self.tells_name(name, *column) || *column >= self.table.columns {
                continue;
            }
            let (name, value) = (name.clone(), own(cell)?);
            self.rows.lose(Conflict { name, column: *column, value, stamp: at })?;
            is_booked = true;
        }
        Ok(is_booked)
    }

    /// A settle puts something in the place of a write's value, which nobody replaced. True if there is a line on the row now. An id
    /// is a claim, and no value that is lost.
    pub(crate) fn lose_settled(
        &mut self,
        name: &Name,
        state: &RowState,
        column: usize,
        at: Stamp,
    ) -> Result<bool, R::Error> {
        let writes =
            state.writes.get(column).filter(|_| !self.tells_name(name, column) && self.table.id_column != Some(column));
        let writes = writes.map(Vec::as_slice).unwrap_or_default();
        let Some(write) = writes.iter().find(|w| w.stamp == at) else { return Ok(false) };
        // Those of other births that hold the same were shown with it.
        for Write { value, stamp, .. } in writes.iter().filter(|w| w.value == write.value) {
            self.rows.lose(Conflict { name: name.clone(), column, value: value.clone(), stamp: *stamp })?;
        }
        Ok(true)
    }

    /// A delete of a row that is gone already: its author had seen what stands in the book all the same.
    pub(super) fn strike_gone(&mut self, name: &Name, is_auto: bool) -> Result<(), R::Error> {
        if !is_auto && self.rows.has_book() {
            self.rows.strike(name, None, &self.context)?;
        }
        Ok(())
    }

    /// Notes on the row's record that it has a line.
    pub(super) fn note_conflicts(&mut self, mut found: Found, has: bool) -> Result<(), R::Error> {
        if !has || found.record.has_conflicts {
            return Ok(());
        }
        found.record.has_conflicts = true;
        self.rows.put(&found.key, &found.record)
    }
}
