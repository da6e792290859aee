//! Rows that are named by their key: who died, who changed, who is new, who is born again.

use p2pdb_core::body::Cell;
use p2pdb_core::local::Pen;
use p2pdb_core::merge::{Key, Merge, Rows};
use p2pdb_core::value::Value;
use rusqlite::params_from_iter;
use std::collections::{BTreeMap, BTreeSet};

use super::batch::Sealing;
use super::work::{Bytes, Shown, Work, fold};
use crate::store::StoreError;
use crate::store::rows::{SqliteRows, cells_of};
use crate::store::tables::Tracked;

impl Sealing<'_, '_> {
    pub(super) fn deaths_named(&mut self, table: &Tracked, work: &Work) -> Result<(), StoreError> {
        // A row that moved may still bear the name that its old key meant.
        let moved = work.here.iter().filter(|(key, origin)| origin.as_ref() != Some(*key));
        let moved: BTreeSet<&Shown> = moved.filter_map(|(_, origin)| origin.as_ref()).collect();
        let uncertain = || work.here.keys().filter(|k| k.id().is_none() && !moved.contains(k) && !work.is_certain(k));
        if uncertain().next().is_none() {
            return Ok(());
        }
        self.merge(table, |merge, pen| {
            for key in uncertain() {
                for name in work.names(key) {
                    let name = Key::Name(name);
                    let Some(record) = merge.rows.record(&name)?.filter(|r| !r.is_hidden) else { continue };
                    if merge.rows.visible_by(&work.values(key)?)?.is_none() {
                        merge.seal_death(pen, &name, &record, false)?;
                    }
                }
            }
            Ok(())
        })
    }

    /// What is there. Rows that refer to ones without a record are left in `work` for a second round, once; given back
    /// is what they refer to.
    pub(super) fn change_named(&mut self, table: &Tracked, work: &mut Work) -> Result<Vec<(i64, Value)>, StoreError> {
        // What stands here by its rowid was sealed, or waits.
        let (waiting, here) = std::mem::take(&mut work.here).into_iter().partition(|(key, _)| key.id().is_some());
        let here: BTreeMap<Shown, Option<Shown>> = here;
        work.here = waiting;
        let (mut missing, mut has_born, conn) = (Vec::new(), false, self.shared.conn);
        self.merge(table, |merge, pen| {
            let mut rows: BTreeMap<Bytes, (Vec<Value>, bool)> = BTreeMap::new();
            let mut names = BTreeSet::new();
            let mut select = conn.prepare_cached(&table.sql.select)?;
            let mut are_new = true;
            for (key, origin) in here {
                let mut found = select.query(params_from_iter(table.sql.finding(&work.values(&key)?)))?;
                let mut cells = match found.next()? {
                    Some(row) => Some(cells_of(row, table.merge.columns)?),
                    None => None,
                };
                if let Some(cells) = &mut cells {
                    let lacking = merge.rows.name_refs(cells)?;
                    if !work.is_second && !lacking.is_empty() {
                        missing.extend(lacking);
                        work.here.insert(key, origin);
                        continue;
                    }
                }
                if let (true, Shown::Key(name)) = (work.was.is_empty(), &key) {
                    // The key is the name: nothing has to be brought together.
                    let stays = origin.as_ref() == Some(&key);
                    has_born |= change_row(merge, pen, name.clone(), cells.as_deref(), stays, &mut are_new)?;
                    continue;
                }
                names.extend(work.names(&key));
                if let Some(cells) = cells {
                    let values: Vec<Value> = cells.iter().filter_map(Cell::to_value).collect();
                    let name = name_of(table, &values);
                    let stays = origin.is_some_and(|origin| work.names(&origin).contains(&name));
                    rows.insert(name, (values, stays));
                }
            }
            names.extend(rows.keys().cloned());
            for name in names {
                let row = match rows.remove(&name) {
                    Some(row) => Some(row),
                    None if merge.rows.record(&Key::Name(name.clone()))?.is_none() => continue,
                    // Under a key that no marker names: it stayed.
                    None => match merge.rows.visible(&Key::Name(name.clone()))? {
                        Some(values) => Some((merge.rows.logged(values)?, true)),
                        None => None,
                    },
                };
                let cells: Option<Vec<_>> = row.as_ref().map(|(values, _)| values.iter().map(Cell::from).collect());
                let stays = row.as_ref().is_some_and(|(_, stays)| *stays);
                has_born |= change_row(merge, pen, name, cells.as_deref(), stays, &mut are_new)?;
            }
            Ok(())
        })?;
        self.has_woken |= has_born && !table.referring.is_empty();
        Ok(missing)
    }
}

/// Seals what became of the row of this name: its cells if it is there, and whether it is the row that it was. True if
/// it was born, or born again.
///
/// Births and changes come in runs. `are_new` is what the row before was: where that was a birth this one is tried as
/// one first, without a look for a record that is hardly there.
fn change_row(
    merge: &mut Merge<'_, SqliteRows<'_>>,
    pen: &mut Pen<'_, '_>,
    name: Bytes,
    cells: Option<&[Cell<'_>]>,
    stays: bool,
    are_new: &mut bool,
) -> Result<bool, StoreError> {
    let key = Key::Name(name);
    if let (true, Some(cells)) = (*are_new, cells)
        && merge.seal_birth_if_new(pen, &key, cells)?
    {
        return Ok(true);
    }
    let record = merge.rows.record(&key)?;
    *are_new = record.is_none();
    let Some(cells) = cells else {
        if let Some(record) = record.filter(|r| !r.is_hidden) {
            merge.seal_death(pen, &key, &record, false)?;
        }
        return Ok(false);
    };
    match record {
        None => merge.seal_birth(pen, &key, cells)?,
        Some(record) if record.is_hidden || !stays => merge.seal_rebirth(pen, &key, &record, cells)?,
        Some(record) => {
            merge.seal_change(pen, &key, &key, record, cells)?;
            return Ok(false);
        }
    }
    Ok(true)
}

/// The name of a row with these values, references as names.
pub(super) fn name_of(table: &Tracked, logged: &[Value]) -> Bytes {
    let key: Vec<Value> = table.merge.key.iter().map(|(c, _)| logged[*c].clone()).collect();
    fold(&key, &table.merge.key)
}
