//! The book of conflicts, as it is to be read: values that are not visible and that nobody who had seen them replaced.
//!
//! Lines whose value is visible again are left out; rows that are alive and hidden are listed whole (rules R19, P3).

use p2pdb_core::body::Cell;
use p2pdb_core::clock::Stamp;
use p2pdb_core::codec::Reader;
use p2pdb_core::id::Seq;
use p2pdb_core::merge::{Key, Rows};
use p2pdb_core::name::Name;
use p2pdb_core::row::{RowState, Write};
use p2pdb_core::value::Value;
use rusqlite::params_from_iter;
use rusqlite::types::{ToSqlOutput, Value as SqlValue, ValueRef};
use std::collections::BTreeSet;

use super::shown::{key_text, value_shown};
use super::{View, clock_of};
use crate::store::dangling::{self, Dangling};
use crate::store::rows::{SqliteRows, key_of};
use crate::store::{StoreError, tables::Tracked, unique};

/// What became of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Another value stands in its place: a concurrent write that is later, or the row's of a later birth.
    Overwritten,
    /// The row is gone: it was deleted by one who had not seen the write.
    Deleted,
    /// The row is alive and can't be shown, for the reason given.
    Hidden(String),
    /// An earlier row holds it in a unique index: this one shows another value in its place.
    Taken,
    /// It refers to a row that is not there: NULL stands in its place, or the default.
    Dangling,
}

/// One value that lost.
#[derive(Clone, Debug)]
pub struct ConflictLine {
    /// Its number: the same on every replica, and as long as the value is lost, whatever becomes of its row meanwhile.
    pub id: i64,
    /// The table.
    pub table: String,
    /// The row's key as text; a JSON array where it has several columns.
    pub key: String,
    /// The row's name.
    pub name: Name,
    /// The column.
    pub column: String,
    /// What was written.
    pub value: Value,
    /// The same as the table would show it: a reference as the key of the row that it means.
    pub shown: SqlValue,
    /// What became of it.
    pub fate: Fate,
    /// When it was written, and by whom.
    pub stamp: Stamp,
    /// The write that stands in its place, where one does.
    pub by: Option<Stamp>,
}

struct Line {
    t: i64,
    name: Name,
    column: usize,
    value: Value,
    stamp: Stamp,
}

const SELECT: &str = "SELECT t, name, col, value, clock, author, seq, op FROM _p2p_conflict";

/// Of which row lines are read: its table's number, and its name as bytes. None for all.
type Of<'a> = Option<(i64, &'a [u8])>;

impl View<'_> {
    /// All conflicts, in the order they came up, hidden rows last.
    ///
    /// # Errors
    /// SQLite's.
    pub fn conflicts(&mut self) -> Result<Vec<ConflictLine>, StoreError> {
        self.conflicts_where(None)
    }

    /// Those of one row.
    pub(super) fn conflicts_of(&mut self, t: i64, name: &Name) -> Result<Vec<ConflictLine>, StoreError> {
        let mut bytes = Vec::new();
        name.write(&mut bytes);
        self.conflicts_where(Some((t, &bytes)))
    }

    fn conflicts_where(&mut self, of: Of<'_>) -> Result<Vec<ConflictLine>, StoreError> {
        let mut taken = self.taken(of)?;
        taken.extend(self.dangling(of)?);
        let told_there: BTreeSet<_> = taken.iter().map(|line| line.id).collect();
        let mut found = Vec::new();
        for line in self.lines(of)? {
            let told = self.rows(line.t, |rows, table| told(rows, table, line))?;
            found.extend(told.flatten().filter(|line| !told_there.contains(&line.id)));
        }
        found.extend(taken);
        self.hidden(of, &mut found)?;
        Ok(found)
    }

    /// Values of visible rows that show another because an earlier row holds them.
    fn taken(&mut self, of: Of<'_>) -> Result<Vec<ConflictLine>, StoreError> {
        let repaired: Vec<(i64, Vec<u8>, i64)> = {
            let sql = format!("SELECT t, name, col FROM _p2p_repair{} ORDER BY t, name, col", filter(of));
            let mut statement = self.conn.prepare_cached(&sql)?;
            let repaired =
                statement.query_map(params_from_iter(bound(of)), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
            repaired.collect::<rusqlite::Result<_>>()?
        };
        let mut found = Vec::new();
        for (t, name, column) in repaired {
            let name = Name::read(&mut Reader::new(&name))?;
            let lines = self.rows(t, |rows, table| covered(rows, table, &name, column as usize, Fate::Taken))?;
            found.extend(lines.into_iter().flatten());
        }
        Ok(found)
    }

    /// References of visible rows to rows that are not visible.
    fn dangling(&mut self, of: Of<'_>) -> Result<Vec<ConflictLine>, StoreError> {
        let is_meant = |t: &&Tracked| !t.merge.weak.is_empty() && of.is_none_or(|(of, _)| of == t.t);
        let tables: Vec<i64> = self.tables.iter().filter(is_meant).map(|t| t.t).collect();
        let of = of.map(|(_, name)| Name::read(&mut Reader::new(name))).transpose()?;
        let mut found = Vec::new();
        for t in tables {
            for Dangling { t, key, column } in dangling::all(self.conn, t)? {
                let lines = self.rows(t, |rows, table| {
                    let Some(record) = rows.record(&key)? else { return Ok(Vec::new()) };
                    let name = rows.merging(|merge| Ok(merge.name_of(&key, &record)))?;
                    if of.as_ref().is_some_and(|of| *of != name) {
                        return Ok(Vec::new());
                    }
                    covered(rows, table, &name, column, Fate::Dangling)
                })?;
                found.extend(lines.into_iter().flatten());
            }
        }
        Ok(found)
    }

    fn lines(&self, of: Of<'_>) -> Result<Vec<Line>, StoreError> {
        let mut statement = self.conn.prepare_cached(&format!("{SELECT}{} ORDER BY id", filter(of)))?;
        let mut rows = statement.query(params_from_iter(bound(of)))?;
        let mut lines = Vec::new();
        while let Some(row) = rows.next()? {
            let stamp = Stamp {
                clock: clock_of(row.get(4)?),
                author: self.author(row.get(5)?),
                seq: Seq(row.get::<_, i64>(6)? as u64),
                op: row.get(7)?,
            };
            lines.push(Line {
                t: row.get(0)?,
                name: Name::read(&mut Reader::new(row.get_ref(1)?.as_blob()?))?,
                column: row.get::<_, i64>(2)? as usize,
                value: Value::read(&mut Reader::new(row.get_ref(3)?.as_blob()?))?,
                stamp,
            });
        }
        Ok(lines)
    }

    /// Rows that are alive and not in the table.
    fn hidden(&mut self, of: Of<'_>, found: &mut Vec<ConflictLine>) -> Result<(), StoreError> {
        if let Some((t, name)) = of {
            let name = Name::read(&mut Reader::new(name))?;
            let lines = self.rows(t, |rows, table| match rows.merging(|merge| merge.located(&name))? {
                Some((key, record)) if record.is_hidden => {
                    let why = rows.why_hidden(&key)?;
                    hidden_row(rows, table, &key, &why)
                }
                _ => Ok(Vec::new()),
            })?;
            found.extend(lines.into_iter().flatten());
            return Ok(());
        }
        let stuck: Vec<(i64, Option<Key>, String)> = {
            let mut statement = self.conn.prepare_cached("SELECT t, name, reason FROM _p2p_stuck ORDER BY t, name")?;
            let stuck = statement.query_map([], |row| Ok((row.get(0)?, key_of(row.get_ref(1)?), row.get(2)?)))?;
            stuck.collect::<rusqlite::Result<_>>()?
        };
        for (t, key, why) in stuck {
            let Some(key) = key else { continue };
            let lines = self.rows(t, |rows, table| hidden_row(rows, table, &key, &why))?;
            found.extend(lines.into_iter().flatten());
        }
        Ok(())
    }
}

fn filter(of: Of<'_>) -> &'static str {
    if of.is_some() { " WHERE t = ?1 AND name = ?2" } else { "" }
}

fn bound<'a>(of: Of<'a>) -> Vec<rusqlite::types::ToSqlOutput<'a>> {
    of.map(|(t, name)| vec![t.into(), ToSqlOutput::Borrowed(ValueRef::Blob(name))]).unwrap_or_default()
}

/// A hash of what was written where: below 2^52, so that JavaScript hosts read it exactly.
fn number(table: &Tracked, name: &Name, column: usize, stamp: &Stamp) -> i64 {
    let mut bytes = table.merge.id.0.to_vec();
    name.write(&mut bytes);
    bytes.extend(table.columns.get(column).map(|column| column.0).unwrap_or_default());
    bytes.extend(stamp.clock.0.to_le_bytes());
    stamp.dot().write(&mut bytes);
    let hash = blake3::Hasher::new_derive_key("p2pdb 1 conflict").update(&bytes).finalize();
    let [a, b, c, d, e, f, g, ..] = *hash.as_bytes();
    (i64::from_le_bytes([a, b, c, d, e, f, g, 0])) & ((1 << 52) - 1)
}

/// Does a column that holds `stands` show `value`? A plain value may look like the key of the row that a reference means.
fn is_seen(rows: &mut SqliteRows<'_>, column: usize, value: &Value, stands: &Value) -> Result<bool, StoreError> {
    if stands == value || !matches!(stands, Value::Ref(_)) || matches!(value, Value::Ref(_)) {
        return Ok(stands == value);
    }
    let stands = Cell::from(stands);
    let shown = rows.resolve([(column, &stands)].into_iter())?;
    Ok(shown.is_ok_and(|cells| cells.first().and_then(Cell::to_value).as_ref() == Some(value)))
}

/// A line of the book as it is to be read; none if its value is visible, or is listed with a hidden row.
fn told(rows: &mut SqliteRows<'_>, table: &Tracked, line: Line) -> Result<Option<ConflictLine>, StoreError> {
    let Line { name, column, value, stamp, .. } = line;
    let by = match shown(rows, table, &name)? {
        Shown::Visible(cells) => match cells.into_iter().nth(column) {
            Some((stands, _)) if is_seen(rows, column, &value, &stands)? => return Ok(None),
            place => place.map(|(_, by)| by),
        },
        Shown::Hidden(state) if has_write(&state, column, &stamp) => return Ok(None),
        Shown::Hidden(state) => state.cell(column).map(|w| w.stamp),
        Shown::Gone => None,
    };
    let shown = value_shown(rows, column, &value)?;
    Ok(Some(ConflictLine {
        id: number(table, &name, column, &stamp),
        table: table.name.clone(),
        key: key_text(rows, &name)?,
        name,
        column: table.names.get(column).cloned().unwrap_or_default(),
        value,
        shown,
        fate: if by.is_some() { Fate::Overwritten } else { Fate::Deleted },
        stamp,
        by,
    }))
}

/// What a visible row does not show in a column for another stands there: the cell, and what other births hold that is the same.
fn covered(
    rows: &mut SqliteRows<'_>,
    table: &Tracked,
    name: &Name,
    column: usize,
    fate: Fate,
) -> Result<Vec<ConflictLine>, StoreError> {
    let located = rows.merging(|merge| merge.located(name))?.filter(|(_, record)| !record.is_hidden);
    let Some(state) = located.and_then(|(_, record)| record.state) else { return Ok(Vec::new()) };
    let Some(cell) = state.cell(column) else { return Ok(Vec::new()) };
    let writes = &state.writes[column];
    let Some(won) = writes.iter().find(|w| w.stamp == cell.stamp) else { return Ok(Vec::new()) };
    let text = key_text(rows, name)?;
    let same = writes.iter().filter(|w| w.value == won.value);
    same.map(|write| written(rows, table, name, &text, column, write, fate.clone())).collect()
}

/// A write that stands in the merged state and not in the table.
fn written(
    rows: &mut SqliteRows<'_>,
    table: &Tracked,
    name: &Name,
    key: &str,
    column: usize,
    write: &Write,
    fate: Fate,
) -> Result<ConflictLine, StoreError> {
    Ok(ConflictLine {
        id: number(table, name, column, &write.stamp),
        table: table.name.clone(),
        key: key.to_owned(),
        name: name.clone(),
        column: table.names.get(column).cloned().unwrap_or_default(),
        value: write.value.clone(),
        shown: value_shown(rows, column, &write.value)?,
        fate,
        stamp: write.stamp,
        by: None,
    })
}

enum Shown {
    /// All values, references as names, and when they were written.
    Visible(Vec<(Value, Stamp)>),
    Hidden(Box<RowState>),
    Gone,
}

fn shown(rows: &mut SqliteRows<'_>, table: &Tracked, name: &Name) -> Result<Shown, StoreError> {
    let Some((key, record)) = rows.merging(|merge| merge.located(name))? else { return Ok(Shown::Gone) };
    match record.state {
        Some(state) if record.is_hidden => Ok(Shown::Hidden(state)),
        Some(state) => {
            let value = |c: usize| table.merge.cell(&state, c).to_value().unwrap_or(Value::Null);
            let cell = |c: usize| (value(c), state.cell(c).map_or(record.born, |w| w.stamp));
            let mut cells: Vec<_> = (0..table.merge.columns).map(cell).collect();
            for (column, value) in unique::repairs(rows.shared.conn, table.t, name)? {
                cells[column].0 = value;
            }
            let merged: Vec<_> = (0..table.merge.columns).map(|c| table.merge.cell(&state, c)).collect();
            for (column, value) in rows.standing_in(&merged)? {
                cells[column].0 = value;
            }
            Ok(Shown::Visible(cells))
        }
        None => Ok(Shown::Visible(rows.values(&key)?.into_iter().map(|value| (value, record.born)).collect())),
    }
}

fn has_write(state: &RowState, column: usize, stamp: &Stamp) -> bool {
    state.writes.get(column).is_some_and(|writes| writes.iter().any(|w| w.stamp == *stamp))
}

fn hidden_row(
    rows: &mut SqliteRows<'_>,
    table: &Tracked,
    key: &Key,
    why: &str,
) -> Result<Vec<ConflictLine>, StoreError> {
    let Some(record) = rows.record(key)?.filter(|r| r.is_hidden) else { return Ok(Vec::new()) };
    let Some(state) = &record.state else { return Ok(Vec::new()) };
    let name = rows.merging(|merge| Ok(merge.name_of(key, &record)))?;
    let text = key_text(rows, &name)?;
    let mut lines = Vec::new();
    for (column, writes) in state.writes.iter().enumerate() {
        for write in writes {
            lines.push(written(rows, table, &name, &text, column, write, Fate::Hidden(why.to_owned()))?);
        }
    }
    Ok(lines)
}
