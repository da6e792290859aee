//! Rows without a key: who changed, who is new. Who died is told as in alias tables: by the rowid, which is to such a row what the
//! id is there, only that it is nobody's claim and stays on this replica.

use p2pdb_core::body::Cell;
use p2pdb_core::local::Pen;
use p2pdb_core::merge::{Key, Merge};
use p2pdb_core::value::Value;
use rusqlite::{Row, params};

use super::alias::is_dense;
use super::batch::Sealing;
use super::work::{Shown, Work};
use crate::quote::Quoted;
use crate::store::StoreError;
use crate::store::rows::{SqliteRows, cells_of};
use crate::store::tables::Tracked;

impl Sealing<'_, '_> {
    /// What is there. Rows that refer to ones without a record are left in `work` for a second round, once; given back
    /// is what they refer to.
    pub(super) fn change_nameless(
        &mut self,
        table: &Tracked,
        work: &mut Work,
    ) -> Result<Vec<(i64, Value)>, StoreError> {
        let ids: Vec<i64> = work.here.keys().filter_map(Shown::id).collect();
        let (mut missing, mut waiting, conn) = (Vec::new(), Vec::new(), self.shared.conn);
        let work_now = &*work;
        self.merge(table, |merge, pen| {
            if !work_now.is_second {
                move_places(merge.rows, work_now)?;
            }
            let mut seal = |merge: &mut Merge<'_, SqliteRows<'_>>, pen: &mut Pen<'_, '_>, id: i64, row: &Row<'_>| {
                let mut cells = cells_of(row, table.merge.columns)?;
                if !is_nameless(table, &cells) {
                    return gone(merge, pen, work_now, id);
                }
                let lacking = merge.rows.name_refs(&mut cells)?;
                if !work_now.is_second && !lacking.is_empty() {
                    missing.extend(lacking);
                    waiting.push(id);
                    return Ok(());
                }
                change_row(merge, pen, work_now, id, &cells)
            };
            let names = format!("{}, {}", table.sql.names.join(", "), rowid(table));
            let (name, rowid) = (Quoted(&table.name), rowid(table));
            if is_dense(&ids) {
                let sql = format!("SELECT {names} FROM main.{name} WHERE {rowid} BETWEEN ?1 AND ?2 ORDER BY {rowid}");
                let mut statement = conn.prepare_cached(&sql)?;
                let mut rows = statement.query(params![ids.first(), ids.last()])?;
                let mut left = ids.iter().copied().peekable();
                while let Some(row) = rows.next()? {
                    let id: i64 = row.get(table.merge.columns)?;
                    while let Some(before) = left.next_if(|next| *next < id) {
                        gone(merge, pen, work_now, before)?;
                    }
                    if left.next_if_eq(&id).is_some() {
                        seal(merge, pen, id, row)?;
                    }
                }
                return left.try_for_each(|id| gone(merge, pen, work_now, id));
            }
            let mut statement = conn.prepare_cached(&format!("SELECT {names} FROM main.{name} WHERE {rowid} = ?1"))?;
            for id in ids {
                let mut rows = statement.query([id])?;
                match rows.next()? {
                    Some(row) => seal(merge, pen, id, row)?,
                    None => gone(merge, pen, work_now, id)?,
                }
            }
            Ok(())
        })?;
        // The others are for a second round, or named by a key.
        work.here.retain(|key, _| key.id().is_none_or(|id| waiting.binary_search(&id).is_ok()));
        Ok(missing)
    }
}

/// The rowid in SQL.
pub(super) fn rowid(table: &Tracked) -> &str {
    table.sql.key.last().map_or("", String::as_str)
}

/// Has a row with these cells no key?
pub(super) fn is_nameless(table: &Tracked, cells: &[Cell<'_>]) -> bool {
    table.merge.key.is_empty() || table.merge.key.iter().any(|(c, _)| cells[*c] == Cell::Null)
}

fn change_row(
    merge: &mut Merge<'_, SqliteRows<'_>>,
    pen: &mut Pen<'_, '_>,
    work: &Work,
    id: i64,
    cells: &[Cell<'_>],
) -> Result<(), StoreError> {
    let Some(record) = work.stays.get(&id).and_then(|old| work.records.get(old)) else {
        return merge.seal_nameless_birth(pen, id, cells);
    };
    let key = Key::Born(record.born.dot());
    let hash = |c: usize| merge.rows.shared.hasher.hash(&cells[c]);
    if merge.table.key.iter().any(|(c, _)| record.hashes.get(*c) != Some(&hash(*c))) {
        // As where a key names its row: one with another key is another row.
        merge.seal_death(pen, &key, record, false)?;
        return merge.seal_nameless_birth(pen, id, cells);
    }
    merge.seal_change(pen, &key, &key, record.clone(), cells)
}

/// No row without a key is there. Where no marker says what became of the one that was, a trigger was passed by.
fn gone(merge: &mut Merge<'_, SqliteRows<'_>>, pen: &mut Pen<'_, '_>, work: &Work, id: i64) -> Result<(), StoreError> {
    match work.stays.get(&id).and_then(|old| work.records.get(old)) {
        Some(record) => merge.seal_death(pen, &Key::Born(record.born.dot()), record, false),
        None => Ok(()),
    }
}

/// Notes where rows are that changed their rowid, before any is looked for there.
fn move_places(rows: &mut SqliteRows<'_>, work: &Work) -> Result<(), StoreError> {
    for (new, old) in work.stays.iter().filter(|(new, old)| new != old) {
        if let Some(record) = work.records.get(old) {
            rows.move_place(&Key::Born(record.born.dot()), *new)?;
        }
    }
    Ok(())
}
