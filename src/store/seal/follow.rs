//! What else is to be sealed with a row: those that refer to it, and those that it refers to.

use p2pdb_core::body::Cell;
use p2pdb_core::merge::{Key, Rows};
use p2pdb_core::name::Name;
use p2pdb_core::value::Value;
use std::collections::{BTreeMap, BTreeSet};

use super::batch::Sealing;
use super::named::name_of;
use super::work::{Bytes, Shown, Work, fold};
use crate::quote::Quoted;
use crate::store::StoreError;
use crate::store::rows::{BindValue, SqliteRows, values_of};
use crate::store::tables::Tracked;

impl Sealing<'_, '_> {
    /// Finds out what the touched keys of a table were, and which rows of other tables that touches.
    pub(super) fn prepare(&mut self, t: i64, work: &mut BTreeMap<i64, Work>) -> Result<(), StoreError> {
        let Some(table) = self.shared.tables.get(t) else { return Ok(()) };
        let Some(mut mine) = work.remove(&t) else { return Ok(()) };
        self.fill(table, &mut mine)?;
        let gone = if table.referring.is_empty() { Vec::new() } else { mine.gone(table) };
        if !gone.is_empty() && table.referring.iter().any(|(child, column)| self.is_in_key(*child, *column)) {
            for key in &gone {
                let names = mine.names_gone(key);
                self.before.entry((t, key.clone())).or_default().extend(names);
            }
        }
        let values: Vec<Value> = gone.iter().filter_map(|key| mine.value(key)).collect();
        work.insert(t, mine);
        if !values.is_empty() {
            self.touch_children(table, &values, work)?;
        }
        Ok(())
    }

    fn is_in_key(&self, t: i64, column: usize) -> bool {
        self.shared.tables.get(t).is_some_and(|t| t.merge.key.iter().any(|(c, _)| *c == column))
    }

    /// Who had a record and who stays, or which names the keys may have meant.
    fn fill(&mut self, table: &Tracked, work: &mut Work) -> Result<(), StoreError> {
        if table.merge.id_column.is_some() || table.merge.has_nameless {
            self.fill_records(table, work)?;
        }
        if !table.merge.key.iter().any(|(c, _)| table.refs.contains_key(c)) {
            return Ok(());
        }
        let before = std::mem::take(&mut self.before);
        let keys: Vec<_> = work.kept_keys().filter(|(k, _)| !work.was.contains_key(*k)).collect();
        let found = self.merge(table, |merge, _| {
            let names = |(k, v): (&Shown, &Vec<Value>)| Ok((k.clone(), names_of(merge.rows, table, v, &before)?));
            keys.into_iter().map(names).collect::<Result<Vec<_>, StoreError>>()
        });
        self.before = before;
        work.was.extend(found?);
        Ok(())
    }

    fn fill_records(&mut self, table: &Tracked, work: &mut Work) -> Result<(), StoreError> {
        self.merge(table, |merge, _| {
            for key in work.here.iter().flat_map(|(new, old)| [Some(new), old.as_ref().filter(|old| *old != new)]) {
                let Some(id) = key.and_then(Shown::id).filter(|id| !work.records.contains_key(id)) else { continue };
                let record = match table.merge.id_column {
                    Some(_) => merge.rows.record(&Key::Id(id))?,
                    None => merge.rows.standing_at(id)?.map(|(_, record)| record),
                };
                work.records.extend(record.filter(|r| !r.is_hidden).map(|record| (id, record)));
            }
            if work.records.is_empty() {
                return Ok(());
            }
            for (new, old) in &work.here {
                let (Some(id), Some(old)) = (new.id(), old.as_ref().and_then(Shown::id)) else { continue };
                let had_record = work.records.contains_key(&old);
                let is_there = |rows: &mut SqliteRows<'_>| match table.merge.id_column {
                    Some(_) => Ok::<_, StoreError>(rows.visible(&Key::Id(id))?.is_some()),
                    None => Ok(rows.visible_by(&rows.at(id))?.is_some()),
                };
                if had_record && (work.is_certain(new) || is_there(merge.rows)?) {
                    work.stays.insert(id, old);
                }
            }
            Ok(())
        })
    }

    /// Rows that still hold, as a foreign key, a key that belongs to another row now, or to none.
    fn touch_children(
        &mut self,
        table: &Tracked,
        gone: &[Value],
        work: &mut BTreeMap<i64, Work>,
    ) -> Result<(), StoreError> {
        let conn = self.shared.conn;
        conn.execute_batch("CREATE TEMP TABLE IF NOT EXISTS _p2p_gone(value); DELETE FROM temp._p2p_gone")?;
        let mut insert = conn.prepare_cached("INSERT INTO temp._p2p_gone(value) VALUES(?1)")?;
        for value in gone {
            insert.execute([BindValue(value)])?;
        }
        for (child, column) in self.shared.tables.referring(table.t) {
            let width = child.sql.key.len();
            let sql = format!(
                "SELECT {} FROM main.{} WHERE {} IN (SELECT value FROM temp._p2p_gone)",
                child.sql.key.join(", "),
                Quoted(&child.name),
                Quoted(&child.names[column])
            );
            let mut statement = conn.prepare_cached(&sql)?;
            let found = statement.query_map([], |row| values_of(row, width))?;
            let found = found.collect::<rusqlite::Result<Vec<_>>>()?;
            if found.is_empty() {
                continue;
            }
            let mut theirs = work.remove(&child.t).unwrap_or_default();
            for values in found {
                theirs.add(child, values);
            }
            self.fill(child, &mut theirs)?;
            work.insert(child.t, theirs);
        }
        Ok(())
    }

    /// Gives birth to rows that others refer to and whose own markers come later.
    pub(super) fn bear_parents(&mut self, mut todo: Vec<(i64, Value)>) -> Result<(), StoreError> {
        // A parent's own parents go first; one that is met again on the way is a cycle and stays a value for now: the
        // birth of the row that it means makes it a reference.
        let mut met = BTreeSet::new();
        while let Some((t, value)) = todo.pop() {
            let Some(parent) = self.shared.tables.get(t) else { continue };
            let key = vec![value.clone()];
            let is_new = met.insert((t, Shown::of(&key, parent)));
            let found = self.merge(parent, |merge, _| {
                let Some(values) = merge.rows.visible_by(&key)? else { return Ok(None) };
                if merge.rows.name_shown(t, &value, 0)?.is_some() {
                    return Ok(None);
                }
                merge.rows.logged_or_missing(&values).map(Some)
            })?;
            match found {
                Some((_, up)) if is_new && !up.is_empty() => {
                    todo.push((t, value));
                    todo.extend(up);
                }
                Some((values, _)) => self.bear(parent, &values)?,
                None => {}
            }
        }
        Ok(())
    }

    fn bear(&mut self, table: &Tracked, values: &[Value]) -> Result<(), StoreError> {
        let key = match table.merge.id_column {
            Some(column) => match values[column] {
                Value::Integer(id) => Key::Id(id),
                _ => return Ok(()),
            },
            None => Key::Name(name_of(table, values)),
        };
        let cells: Vec<_> = values.iter().map(Cell::from).collect();
        let hidden = self.merge(table, |merge, _| merge.rows.record(&key))?;
        if let Key::Id(id) = key {
            self.early.insert((table.t, id));
        }
        self.merge(table, |merge, pen| match &hidden {
            Some(record) => merge.seal_rebirth(pen, &key, record, &cells),
            None => merge.seal_birth(pen, &key, &cells),
        })?;
        match key {
            Key::Id(id) => self.meet(table, &Value::Integer(id)),
            Key::Name(_) | Key::Born(_) => {
                self.has_woken = true;
                Ok(())
            }
        }
    }

    /// Rows whose plain values mean the row that was born under this key hold references to it from now on (rule R4).
    pub(super) fn meet(&mut self, table: &Tracked, value: &Value) -> Result<(), StoreError> {
        if table.referring.is_empty() {
            return Ok(());
        }
        for (t, key) in crate::store::literal::meaning(self.shared, table.t, value)? {
            let Some(child) = self.shared.tables.get(t) else { continue };
            let Some(values) = self.merge(child, |merge, _| merge.rows.key_params(&key))? else { continue };
            self.again.entry(t).or_default().add(child, values);
        }
        Ok(())
    }

    /// A hidden row that what the user did would bring back is deleted: its user never saw it (rule R12).
    pub(super) fn hold_back(&mut self, order: &[i64]) -> Result<(), StoreError> {
        if !self.has_woken {
            return Ok(());
        }
        let waits = |t: &i64| Ok(self.shared.flags.of(self.shared.conn, *t)?.waits);
        if !order.iter().map(waits).collect::<Result<Vec<_>, StoreError>>()?.contains(&true) {
            return Ok(());
        }
        for waiting in crate::store::waiting::showable(self.shared, self.authors, self.digest)? {
            let Some(table) = self.shared.tables.get(waiting.t) else { continue };
            self.merge(table, |merge, pen| match merge.rows.record(&waiting.key)? {
                Some(record) => merge.seal_death(pen, &waiting.key, &record, true),
                None => Ok(()),
            })?;
        }
        Ok(())
    }
}

/// The names that a key as displayed may have meant: with references to the rows that show them, to those that did so
/// before, and to none.
fn names_of(
    rows: &mut SqliteRows<'_>,
    table: &Tracked,
    key: &[Value],
    before: &BTreeMap<(i64, Shown), BTreeSet<Name>>,
) -> Result<BTreeSet<Bytes>, StoreError> {
    let mut keys: Vec<Vec<Value>> = vec![Vec::new()];
    for (value, (column, _)) in key.iter().zip(&table.merge.key) {
        let mut choices: Vec<Value> = Vec::new();
        if let Some(parent) = table.refs.get(column).filter(|_| *value != Value::Null) {
            let key = rows.shared.tables.get(*parent).map(|up| Shown::of(std::slice::from_ref(value), up));
            let past = key.and_then(|key| before.get(&(*parent, key)));
            let names = past.into_iter().flatten().cloned().chain(rows.name_shown(*parent, value, 0)?);
            choices.extend(names.map(|name| Value::Ref(Box::new(name))));
        }
        if choices.is_empty() || rows.flags().literals {
            choices.push(value.clone());
        }
        choices.dedup();
        let longer = |k: &Vec<Value>| {
            choices.iter().map(|c| [k.as_slice(), std::slice::from_ref(c)].concat()).collect::<Vec<_>>()
        };
        keys = keys.iter().flat_map(longer).collect();
    }
    Ok(keys.iter().map(|k| fold(k, &table.merge.key)).collect())
}
