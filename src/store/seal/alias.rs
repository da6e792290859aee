//! Rows of alias tables: who died, who moved, who changed, who is new.
//!
//! Touched ids mostly lie close together, as a bulk load leaves them: then the rows are read in one walk and not one by
//! one. The values go from SQLite into the entry without being copied in between.

use p2pdb_core::body::Cell;
use p2pdb_core::local::Pen;
use p2pdb_core::merge::{Key, Merge, Rows};
use p2pdb_core::name::Name;
use p2pdb_core::record::Record;
use p2pdb_core::value::Value;
use rusqlite::{Row, params};
use std::collections::{BTreeMap, BTreeSet};

use super::batch::Sealing;
use super::work::{Shown, Work};
use crate::quote::Quoted;
use crate::store::StoreError;
use crate::store::rows::{SqliteRows, cells_of};
use crate::store::tables::Tracked;

/// A walk over a range of ids pays while at least one of so many rows in it was touched.
const SPARSE: i128 = 4;

/// Below so many rows it does not matter.
const FEW: usize = 8;

impl Sealing<'_, '_> {
    /// Also of rows that have no key, by their rowid.
    pub(super) fn deaths_by_id(&mut self, table: &Tracked, work: &Work) -> Result<(), StoreError> {
        let staying: BTreeSet<i64> = work.stays.values().copied().collect();
        let dead: Vec<_> = work.records.iter().filter(|(id, _)| !staying.contains(id)).collect();
        if dead.is_empty() {
            return Ok(());
        }
        self.merge(table, |merge, pen| {
            dead.iter()
                .try_for_each(|(id, record)| merge.seal_death(pen, &kept_under(table, **id, record), record, false))
        })
    }

    /// What is there. Rows that refer to ones without a record are left in `work` for a second round, once; given back
    /// is what they refer to.
    pub(super) fn change_alias(&mut self, table: &Tracked, work: &mut Work) -> Result<Vec<(i64, Value)>, StoreError> {
        let here = std::mem::take(&mut work.here);
        let (early, conn) = (std::mem::take(&mut self.early), self.shared.conn);
        let (mut born, mut missing, mut waiting) = (Vec::new(), Vec::new(), Vec::new());
        let work_now = &*work;
        self.merge(table, |merge, pen| {
            let work = work_now;
            if !work.is_second {
                move_records(merge.rows, work)?;
            }
            let ids: Vec<i64> = here.keys().filter_map(Shown::id).collect();
            let mut seal = |merge: &mut Merge<'_, SqliteRows<'_>>, pen: &mut Pen<'_, '_>, id: i64, row: &Row<'_>| {
                let mut cells = cells_of(row, table.merge.columns)?;
                let lacking = merge.rows.name_refs(&mut cells)?;
                if !work.is_second && !lacking.is_empty() {
                    missing.extend(lacking);
                    waiting.push(Shown::Id(id));
                } else if change_row(merge, pen, work, id, &cells, &early, table.t)? {
                    born.push(id);
                }
                Ok::<_, StoreError>(())
            };
            if is_dense(&ids) {
                let id = Quoted(&table.names[table.merge.id_column.unwrap_or_default()]);
                let sql = format!(
                    "SELECT {} FROM main.{} WHERE {id} BETWEEN ?1 AND ?2 ORDER BY {id}",
                    table.sql.names.join(", "),
                    Quoted(&table.name)
                );
                let mut statement = conn.prepare_cached(&sql)?;
                let mut rows = statement.query(params![ids.first(), ids.last()])?;
                let column = table.merge.id_column.unwrap_or_default();
                let mut left = ids.iter().copied().peekable();
                while let Some(row) = rows.next()? {
                    let id: i64 = row.get(column)?;
                    while let Some(gone) = left.next_if(|next| *next < id) {
                        unmarked_death(merge, pen, work, gone)?;
                    }
                    if left.next_if_eq(&id).is_some() {
                        seal(merge, pen, id, row)?;
                    }
                }
                return left.try_for_each(|gone| unmarked_death(merge, pen, work, gone));
            }
            let mut statement = conn.prepare_cached(&table.sql.select)?;
            for id in ids {
                let mut rows = statement.query([id])?;
                match rows.next()? {
                    Some(row) => seal(merge, pen, id, row)?,
                    None => unmarked_death(merge, pen, work, id)?,
                }
            }
            Ok(())
        })?;
        work.here.extend(waiting.into_iter().map(|key| (key.clone(), here.get(&key).cloned().flatten())));
        self.early = early;
        if !table.referring.is_empty() && self.shared.flags.of(conn, table.t)?.meant {
            born.into_iter().try_for_each(|id| self.meet(table, &Value::Integer(id)))?;
        }
        Ok(missing)
    }
}

/// Where the record of a row is kept which shows this id, or has this rowid where it has no key.
pub(super) fn kept_under(table: &Tracked, id: i64, record: &Record) -> Key {
    if table.merge.id_column.is_some() { Key::Id(id) } else { Key::Born(record.born.dot()) }
}

/// Seals a row that is there. True if it was born.
fn change_row(
    merge: &mut Merge<'_, SqliteRows<'_>>,
    pen: &mut Pen<'_, '_>,
    work: &Work,
    id: i64,
    cells: &[Cell<'_>],
    early: &BTreeSet<(i64, i64)>,
    t: i64,
) -> Result<bool, StoreError> {
    match work.stays.get(&id).and_then(|old| Some((*old, work.records.get(old)?))) {
        Some((old, record)) => {
            merge.seal_change(pen, &Key::Id(old), &Key::Id(id), record.clone(), cells)?;
            Ok(false)
        }
        // Its own child had it born already.
        None if early.contains(&(t, id)) => Ok(false),
        None => merge.seal_birth(pen, &Key::Id(id), cells).map(|()| true),
    }
}

/// A row that no marker says is gone, and that is not there: a trigger was passed by.
fn unmarked_death(
    merge: &mut Merge<'_, SqliteRows<'_>>,
    pen: &mut Pen<'_, '_>,
    work: &Work,
    id: i64,
) -> Result<(), StoreError> {
    match work.records.get(&id).filter(|_| work.stays.get(&id) == Some(&id)) {
        Some(record) => merge.seal_death(pen, &Key::Id(id), record, false),
        None => Ok(()),
    }
}

pub(super) fn is_dense(ids: &[i64]) -> bool {
    match (ids.first(), ids.last()) {
        (Some(first), Some(last)) if ids.len() >= FEW => {
            i128::from(*last) - i128::from(*first) < SPARSE * ids.len() as i128
        }
        _ => false,
    }
}

/// Puts the records of rows that changed their id where these stand now, so that references to them find them. What
/// else there is to their change comes row by row.
fn move_records(rows: &mut SqliteRows<'_>, work: &Work) -> Result<(), StoreError> {
    let moved: BTreeMap<i64, i64> = work.stays.iter().filter(|(new, old)| new != old).map(|(n, o)| (*n, *o)).collect();
    for old in moved.values() {
        rows.forget(&Key::Id(*old))?;
        if let (false, Some(record)) = (rows.table.refs.is_empty(), work.records.get(old)) {
            let name = Name::Born { dot: record.born.dot(), id: record.birth_id.unwrap_or(*old) };
            rows.set_literals(&Key::Id(*old), &[])?;
            rows.set_dangling(&Key::Id(*old), &name, &[])?;
        }
    }
    for (new, old) in moved {
        if let Some(record) = work.records.get(&old) {
            let mut record = record.clone();
            record.birth_id = Some(record.birth_id.unwrap_or(old));
            rows.put(&Key::Id(new), &record)?;
        }
    }
    Ok(())
}
