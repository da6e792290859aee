//! One batch of a seal: deaths first, children before parents; then births and changes, parents before children.
//!
//! In that order a name can always be told: what a foreign key meant, from the records as they were; what it means
//! now, from those of the parents that are sealed already. Where a key belongs to another row than before, rows that
//! still hold it as a foreign key are sealed with it, marked or not (rule R3).

use p2pdb_core::body::Cell;
use p2pdb_core::local::{Pen, who_is_who};
use p2pdb_core::merge::{Context, Key, Merge, Rows};
use p2pdb_core::name::Name;
use p2pdb_core::record::Record;
use p2pdb_core::value::Value;
use p2pdb_core::writer::{GroupWriter, Written};
use rusqlite::params;
use std::collections::{BTreeMap, BTreeSet};

use super::marker::{self, Folded};
use crate::store::StoreError;
use crate::store::authors::Authors;
use crate::store::rows::{Shared, SqliteRows};
use crate::store::seen::Seen;
use crate::store::tables::Tracked;
use p2pdb_core::codec::Reader;
use p2pdb_core::id::Seq;

/// What is to be sealed of one table.
#[derive(Default)]
pub(super) struct Work {
    /// Per visible key the one under which the row stood before.
    pub(super) here: BTreeMap<Folded, Option<Folded>>,
    pub(super) keys: BTreeMap<Folded, Vec<Value>>,
    /// Keys whose rows a REPLACE may have evicted, which leaves no other mark.
    pub(super) hinted: BTreeSet<Folded>,
    /// The names that a key may have meant, where that does not follow from the key itself.
    pub(super) was: BTreeMap<Folded, BTreeSet<Folded>>,
    /// Of an alias table: who had a record, who stays (new key to old).
    pub(super) records: BTreeMap<Folded, Record>,
    pub(super) stays: BTreeMap<Folded, Folded>,
    /// Only rows are left that had to wait for the birth of those they refer to.
    is_second: bool,
}

impl Work {
    /// A row that no marker names, to be compared with its record.
    pub(super) fn add(&mut self, table: &Tracked, values: Vec<Value>) -> Folded {
        let key = marker::fold(&values, &table.key());
        self.here.entry(key.clone()).or_insert_with(|| Some(key.clone()));
        self.keys.entry(key.clone()).or_insert(values);
        key
    }

    /// Is the row of this key surely there, and who it was?
    pub(super) fn is_certain(&self, key: &Folded) -> bool {
        !self.hinted.contains(key) && self.here.get(key).is_some_and(|origin| origin.as_ref() == Some(key))
    }

    /// The names that `key` may have meant.
    pub(super) fn names(&self, key: &Folded) -> BTreeSet<Folded> {
        self.was.get(key).cloned().unwrap_or_else(|| BTreeSet::from([key.clone()]))
    }
}

/// What a seal works with: the store, taken apart.
pub(super) struct Sealing<'s, 'k> {
    pub(super) shared: Shared<'s>,
    pub(super) authors: &'s mut Authors,
    pub(super) digest: &'s mut u128,
    pub(super) group: GroupWriter<'k>,
    pub(super) seen: Seen,
    /// Names of rows that lost their key while this group was open, by table and key.
    pub(super) before: BTreeMap<(i64, Folded), BTreeSet<Name>>,
    /// Rows whose plain values mean a row that was born just now.
    pub(super) again: BTreeMap<i64, Work>,
    /// Rows that were born before their own markers came up, by table and key.
    pub(super) early: BTreeSet<(i64, Folded)>,
    /// A row came to be that hidden rows may refer to.
    pub(super) has_woken: bool,
    order: Vec<i64>,
}

impl<'s, 'k> Sealing<'s, 'k> {
    pub(super) fn new(
        shared: Shared<'s>,
        authors: &'s mut Authors,
        digest: &'s mut u128,
        group: GroupWriter<'k>,
        seen: Seen,
    ) -> Self {
        let order = shared.tables.parents_first();
        let (before, again, early) = Default::default();
        Self { shared, authors, digest, group, seen, before, again, early, has_woken: false, order }
    }

    /// Announces tables that are not in the log yet, and takes up an open group where it was left.
    pub(super) fn announce(&mut self) -> Result<(), StoreError> {
        for table in self.shared.tables.iter().filter(|t| t.is_new) {
            self.group.define(table.merge.id, &table.columns, &table.definition);
            self.shared.conn.execute("UPDATE _p2p_table SET state = 1 WHERE t = ?1", [table.t])?;
        }
        let mut statement = self.shared.conn.prepare_cached("SELECT t, key, name FROM _p2p_before")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let name = Name::read(&mut Reader::new(row.get_ref(2)?.as_blob()?))?;
            self.before.entry((row.get(0)?, row.get_ref(1)?.as_blob()?.into())).or_default().insert(name);
        }
        Ok(())
    }

    pub(super) fn has_moves(&self) -> Result<bool, StoreError> {
        let ids = self.shared.tables.iter().filter(|t| t.merge.id_column.is_some()).map(|t| t.t.to_string());
        let ids = ids.collect::<Vec<_>>().join(", ");
        let sql = format!("SELECT EXISTS(SELECT 1 FROM _p2p_mark WHERE m = {} AND t IN ({ids}))", marker::MOVED);
        Ok(self.shared.conn.prepare_cached(&sql)?.query_row([], |row| row.get(0))?)
    }

    /// Works off the next markers.
    pub(super) fn batch(&mut self, limit: usize) -> Result<(), StoreError> {
        let Some(markers) = marker::read(self.shared.conn, self.shared.tables, limit)? else { return Ok(()) };
        let touched = markers.tables.into_iter();
        let mut work: BTreeMap<i64, Work> = touched
            .map(|(t, touched)| (t, Work { here: who_is_who(touched.touches), keys: touched.keys, ..Work::default() }))
            .collect();
        let order = std::mem::take(&mut self.order);
        self.settle_all(&order)?;
        for t in &order {
            self.prepare(*t, &mut work)?;
        }
        for t in order.iter().rev() {
            self.deaths(*t, &work)?;
        }
        loop {
            for t in &order {
                if let (Some(table), Some(work)) = (self.shared.tables.get(*t), work.remove(t)) {
                    self.changes(table, work)?;
                }
            }
            work = std::mem::take(&mut self.again);
            if work.is_empty() {
                break;
            }
            for t in &order {
                self.prepare(*t, &mut work)?;
            }
        }
        self.hold_back(&order)?;
        self.order = order;
        super::drop_markers(self.shared.conn, markers.top)
    }

    /// Ends the group or leaves it open; gives what the author had seen, and the entries not yet taken.
    pub(super) fn finish(self, is_partial: bool, must_close: bool) -> Result<(Seen, Vec<Written>), StoreError> {
        self.shared.conn.execute("DELETE FROM _p2p_before", [])?;
        if is_partial {
            let sql = "INSERT INTO _p2p_before(t, key, name) VALUES(?1, ?2, ?3)";
            let mut insert = self.shared.conn.prepare_cached(sql)?;
            for ((t, key), names) in &self.before {
                for name in names {
                    let mut bytes = Vec::new();
                    name.write(&mut bytes);
                    insert.execute(params![t, key, bytes])?;
                }
            }
        }
        Ok((self.seen, self.group.finish(is_partial, must_close)))
    }

    /// Derived ids on display stay (rule R13).
    fn settle_all(&mut self, order: &[i64]) -> Result<(), StoreError> {
        for t in order {
            let Some(table) = self.shared.tables.get(*t).filter(|t| t.merge.id_column.is_some()) else { continue };
            if self.shared.flags.of(self.shared.conn, *t)?.claims {
                self.merge(table, |merge, pen| merge.seal_settles(pen))?;
            }
        }
        Ok(())
    }

    /// Runs `work` on one table's rows.
    pub(super) fn merge<T>(
        &mut self,
        table: &Tracked,
        work: impl FnOnce(&mut Merge<'_, SqliteRows<'_>>, &mut Pen<'_, '_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut rows = SqliteRows::new(self.shared, table, self.authors, self.digest)?;
        let context = Context { clock: self.group.clock(), author: self.group.author(), seq: Seq(0), seen: &self.seen };
        let mut merge = Merge { table: &table.merge, rows: &mut rows, context };
        let mut pen = Pen { group: &mut self.group, columns: &table.columns, groups: &table.groups };
        work(&mut merge, &mut pen)
    }

    /// Rows that are gone, while it can still be told what they were.
    fn deaths(&mut self, t: i64, work: &BTreeMap<i64, Work>) -> Result<(), StoreError> {
        let (Some(table), Some(work)) = (self.shared.tables.get(t), work.get(&t)) else { return Ok(()) };
        if table.merge.id_column.is_some() {
            let staying: BTreeSet<&Folded> = work.stays.values().collect();
            let dead: Vec<_> = work.records.iter().filter(|(key, _)| !staying.contains(key)).collect();
            if dead.is_empty() {
                return Ok(());
            }
            return self.merge(table, |merge, pen| {
                dead.iter().try_for_each(|(key, record)| match id_of(work, key) {
                    Some(id) => merge.seal_death(pen, &Key::Id(id), record, false),
                    None => Ok(()),
                })
            });
        }
        let moved: BTreeSet<&Folded> =
            work.here.iter().filter(|(k, o)| *o != &Some((*k).clone())).filter_map(|(_, o)| o.as_ref()).collect();
        self.merge(table, |merge, pen| {
            for key in work.here.keys().filter(|k| !moved.contains(k) && !work.is_certain(k)) {
                for name in work.names(key) {
                    let name = Key::Name(name);
                    let Some(record) = merge.rows.record(&name)?.filter(|r| !r.is_hidden) else { continue };
                    if merge.rows.visible_by(&work.keys[key])?.is_none() {
                        merge.seal_death(pen, &name, &record, false)?;
                    }
                }
            }
            Ok(())
        })
    }

    /// Births and changes of one table.
    fn changes(&mut self, table: &Tracked, mut work: Work) -> Result<(), StoreError> {
        // A row may refer to one that has no record yet, its own marker still to come: that one is born first.
        for _ in 0..2 {
            let missing = match table.merge.id_column {
                Some(_) => self.change_alias(table, &mut work)?,
                None => self.change_named(table, &mut work)?,
            };
            if missing.is_empty() {
                break;
            }
            self.bear_parents(missing)?;
        }
        Ok(())
    }

    /// What of an alias table is there. Rows that refer to ones without a record are left for a second round, once.
    fn change_alias(&mut self, table: &Tracked, work: &mut Work) -> Result<Vec<(i64, Value)>, StoreError> {
        let mut born = Vec::new();
        let here = std::mem::take(&mut work.here);
        let (is_first, mut missing) = (!work.is_second, Vec::new());
        let early = std::mem::take(&mut self.early);
        self.merge(table, |merge, pen| {
            if is_first {
                move_records(merge.rows, work)?;
            }
            for (key, origin) in here {
                let Some(id) = id_of(work, &key) else { continue };
                let Some(values) = merge.rows.visible(&Key::Id(id))? else {
                    // It went without a mark.
                    if let Some(record) =
                        work.stays.get(&key).filter(|old| **old == key).and_then(|old| work.records.get(old))
                    {
                        merge.seal_death(pen, &Key::Id(id), record, false)?;
                    }
                    continue;
                };
                let (values, lacking) = merge.rows.logged_or_missing(values)?;
                if is_first && !lacking.is_empty() {
                    missing.extend(lacking);
                    work.here.insert(key, origin);
                    continue;
                }
                let cells: Vec<_> = values.iter().map(Cell::from).collect();
                match work.stays.get(&key).and_then(|old| Some((id_of(work, old)?, work.records.get(old)?))) {
                    Some((old, record)) => {
                        merge.seal_change(pen, &Key::Id(old), &Key::Id(id), record.clone(), &cells)?;
                    }
                    // Its own child may have had it born already.
                    None if early.contains(&(table.t, key)) => {}
                    None => {
                        merge.seal_birth(pen, &Key::Id(id), &cells)?;
                        born.push(id);
                    }
                }
            }
            Ok(())
        })?;
        work.is_second = true;
        self.early = early;
        born.into_iter().try_for_each(|id| self.meet(table, &Value::Integer(id)))?;
        Ok(missing)
    }

    /// The same of a table whose keys name the rows.
    fn change_named(&mut self, table: &Tracked, work: &mut Work) -> Result<Vec<(i64, Value)>, StoreError> {
        let here = std::mem::take(&mut work.here);
        let (is_first, mut missing, mut has_born) = (!work.is_second, Vec::new(), false);
        self.merge(table, |merge, pen| {
            let mut rows: BTreeMap<Folded, (Vec<Value>, bool)> = BTreeMap::new();
            let mut names = BTreeSet::new();
            for (key, origin) in here {
                let row = match merge.rows.visible_by(&work.keys[&key])? {
                    Some(values) => {
                        let (values, lacking) = merge.rows.logged_or_missing(values)?;
                        if is_first && !lacking.is_empty() {
                            missing.extend(lacking);
                            work.here.insert(key, origin);
                            continue;
                        }
                        Some(values)
                    }
                    None => None,
                };
                if work.was.is_empty() {
                    // The key is the name: nothing has to be brought together.
                    let row = row.map(|values| (values, origin.as_ref() == Some(&key)));
                    has_born |= change_row(merge, pen, key, row)?;
                    continue;
                }
                names.extend(work.names(&key));
                if let Some(values) = row {
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
                has_born |= change_row(merge, pen, name, row)?;
            }
            Ok(())
        })?;
        work.is_second = true;
        self.has_woken |= has_born && !table.referring.is_empty();
        Ok(missing)
    }
}

/// Seals what became of the row of this name: its values if it is there, and whether it is the row that it was. True if
/// it was born, or born again.
fn change_row(
    merge: &mut Merge<'_, SqliteRows<'_>>,
    pen: &mut Pen<'_, '_>,
    name: Folded,
    row: Option<(Vec<Value>, bool)>,
) -> Result<bool, StoreError> {
    let key = Key::Name(name);
    let record = merge.rows.record(&key)?;
    let Some((values, stays)) = row else {
        if let Some(record) = record.filter(|r| !r.is_hidden) {
            merge.seal_death(pen, &key, &record, false)?;
        }
        return Ok(false);
    };
    let cells: Vec<_> = values.iter().map(Cell::from).collect();
    match record {
        None => merge.seal_birth(pen, &key, &cells)?,
        Some(record) if record.is_hidden || !stays => merge.seal_rebirth(pen, &key, &record, &cells)?,
        Some(record) => {
            merge.seal_change(pen, &key, &key, record, &cells)?;
            return Ok(false);
        }
    }
    Ok(true)
}

pub(super) fn id_of(work: &Work, key: &Folded) -> Option<i64> {
    match work.keys.get(key).map(Vec::as_slice) {
        Some([Value::Integer(id)]) => Some(*id),
        _ => None,
    }
}

/// Puts the records of rows that changed their id where these stand now, so that references to them find them. What
/// else there is to their change comes row by row.
fn move_records(rows: &mut SqliteRows<'_>, work: &Work) -> Result<(), StoreError> {
    let moved = || work.stays.iter().filter(|(new, old)| new != old);
    for (_, old) in moved() {
        if let Some(id) = id_of(work, old) {
            rows.forget(&Key::Id(id))?;
        }
    }
    for (new, old) in moved() {
        if let (Some(old_id), Some(new_id), Some(record)) = (id_of(work, old), id_of(work, new), work.records.get(old))
        {
            let mut record = record.clone();
            let birth = record.birth_id.unwrap_or(old_id);
            record.birth_id = Some(birth);
            rows.put(&Key::Id(new_id), &record)?;
        }
    }
    Ok(())
}

pub(super) fn name_of(table: &Tracked, logged: &[Value]) -> Folded {
    let key: Vec<Value> = table.merge.key.iter().map(|(c, _)| logged[*c].clone()).collect();
    marker::fold(&key, &table.merge.key)
}
