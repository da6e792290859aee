//! Ending a conflict: what lost is put back by an ordinary write on the user's own connection, captured as any other; or what is
//! shown stands, which the next seal writes down (`seal/decide.rs`).
//!
//! Nothing is decided here that the user could not do by hand, but two things: that what is shown stands, since writing it again
//! is no change; and that a row put back under an integer key is the hidden one, and no other.

use p2pdb_core::claim;
use p2pdb_core::merge::Key;
use p2pdb_core::name::{self, Name};
use p2pdb_core::value::Value;
use rusqlite::types::Value as SqlValue;
use rusqlite::{Connection, params, params_from_iter};
use std::collections::BTreeMap;

use super::StoreError;
use super::rows::{BindValue, SqliteRows};
use super::view::{ConflictLine, Fate, View};
use crate::quote::Quoted;

/// What is to become of a conflict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// What lost is put back.
    Lost,
    /// What is shown stands.
    Kept,
}

/// A column's place in `_p2p_decision` where the decision is about the row.
const WHOLE_ROW: i64 = -1;

/// Ends a conflict, inside a transaction or a savepoint of the caller's. Says in words what was done.
///
/// # Errors
/// [`StoreError::Table`] says what stands in the way, and what to do; SQLite's.
pub fn resolve(conn: &Connection, id: i64, choice: Choice) -> Result<String, StoreError> {
    let none = || refuse(format!("there is no conflict {id}; SELECT id FROM p2p_conflicts lists those that there are"));
    let mut view = View::open(conn)?.ok_or_else(none)?;
    let all = view.conflicts()?;
    let line = all.iter().find(|line| line.id == id).ok_or_else(none)?;
    let row: Vec<_> = all.iter().filter(|l| (&l.table, &l.name) == (&line.table, &line.name)).collect();
    match (choice, &line.fate) {
        (Choice::Kept, fate) => keep(&mut view, line, matches!(fate, Fate::Overwritten | Fate::Taken | Fate::Dangling)),
        (Choice::Lost, Fate::Overwritten | Fate::Taken | Fate::Dangling) => write(&mut view, line),
        (Choice::Lost, Fate::Deleted) => insert_again(&mut view, line, &row),
        (Choice::Lost, Fate::Hidden(_)) => show_again(&mut view, line),
    }
}

fn refuse(why: String) -> StoreError {
    StoreError::Table(why)
}

/// The table's refusal in words.
fn refused(why: rusqlite::Error, what: &str) -> StoreError {
    let why = match why {
        rusqlite::Error::SqliteFailure(_, Some(message)) => message,
        other => other.to_string(),
    };
    refuse(format!("the table refuses {what}: {why}; change what stands in its way first, or write it by hand"))
}

/// Notes for the seal that what is shown stands.
fn keep(view: &mut View<'_>, line: &ConflictLine, is_column: bool) -> Result<String, StoreError> {
    let ConflictLine { table, key, column, name, .. } = line;
    let told = view.with_table(table, |rows| {
        let place = rows.table.names.iter().position(|name| name == column);
        let column_at = if is_column { place.map_or(WHOLE_ROW, |c| c as i64) } else { WHOLE_ROW };
        decide(rows, name, column_at, None)?;
        Ok(match &line.fate {
            Fate::Hidden(_) => format!("{table} {key} is let go"),
            Fate::Deleted => format!("{table} {key} stays deleted"),
            Fate::Overwritten | Fate::Taken | Fate::Dangling => format!("{table} {key}: {column} stays as it is shown"),
        })
    })?;
    told.ok_or_else(|| gone(line))
}

fn decide(rows: &SqliteRows<'_>, name: &Name, column: i64, shown: Option<i64>) -> Result<(), StoreError> {
    let mut bytes = Vec::new();
    name.write(&mut bytes);
    let sql = "INSERT OR REPLACE INTO _p2p_decision(t, name, col, shown) VALUES(?1, ?2, ?3, ?4)";
    rows.shared.conn.prepare_cached(sql)?.execute(params![rows.table.t, bytes, column, shown])?;
    Ok(())
}

fn gone(line: &ConflictLine) -> StoreError {
    refuse(format!("the row of {} {} is not there any more", line.table, line.key))
}

/// Writes the value that lost into the row that is shown.
fn write(view: &mut View<'_>, line: &ConflictLine) -> Result<String, StoreError> {
    let ConflictLine { table, key, column, name, .. } = line;
    let told = view.with_table(table, |rows| {
        let Some(at) = rows.table.names.iter().position(|name| name == column) else { return Err(gone(line)) };
        let Some((place, _)) = rows.merging(|merge| merge.located(name))? else { return Err(gone(line)) };
        let Some(by) = rows.key_params(&place)? else { return Err(gone(line)) };
        let value = plain(rows, at, &line.value)?;
        let what = format!("{column} = {}", literal(rows, &value)?);
        let params = by.iter().chain([&value]).map(BindValue);
        let written = rows.shared.conn.execute(&rows.table.sql.update(&[at]), params_from_iter(params));
        match written.map_err(|why| refused(why, &what))? {
            0 => Err(gone(line)),
            _ => Ok(format!("{table} {key}: {what} is written")),
        }
    })?;
    told.ok_or_else(|| gone(line))
}

/// Inserts a row anew that was deleted, with what is in the book of it: the last write of each column.
fn insert_again(view: &mut View<'_>, line: &ConflictLine, row: &[&ConflictLine]) -> Result<String, StoreError> {
    let ConflictLine { table, key, name, .. } = line;
    let told = view.with_table(table, |rows| {
        let mut columns: BTreeMap<usize, &ConflictLine> = BTreeMap::new();
        for line in row {
            let Some(at) = rows.table.names.iter().position(|name| *name == line.column) else { continue };
            let last = columns.entry(at).or_insert(line);
            if last.stamp < line.stamp {
                *last = line;
            }
        }
        let mut values = BTreeMap::new();
        for (at, line) in columns {
            values.insert(at, plain(rows, at, &line.value)?);
        }
        match (name, rows.table.merge.id_column) {
            (Name::Born { id, .. }, Some(column)) => {
                let id = match values.get(&column) {
                    Some(Value::Integer(id)) => *id,
                    _ => *id,
                };
                // Where another row shows it by now, it is a row of a number of its own.
                let is_free = rows.visible(&Key::Id(id))?.is_none();
                values.insert(column, if is_free { Value::Integer(id) } else { Value::Null });
                decide(rows, name, WHOLE_ROW, None)?;
            }
            (Name::Key(_), _) => values.extend(key_of(rows, name)?),
            // A row without a key comes back as another one, for it has no name to come back under.
            (Name::Born { .. }, None) => decide(rows, name, WHOLE_ROW, None)?,
        }
        insert(rows, &values, "the row")?;
        Ok(format!("{table} {key} is inserted again"))
    })?;
    told.ok_or_else(|| gone(line))
}

/// Puts a hidden row into the table, with all that was merged of it.
fn show_again(view: &mut View<'_>, line: &ConflictLine) -> Result<String, StoreError> {
    let ConflictLine { table, key, name, .. } = line;
    let told = view.with_table(table, |rows| {
        let located = rows.merging(|merge| merge.located(name))?.filter(|(_, record)| record.is_hidden);
        let Some(state) = located.and_then(|(_, record)| record.state) else { return Err(gone(line)) };
        let mut values = BTreeMap::new();
        for at in 0..rows.table.merge.columns {
            if let Some(cell) = state.cell(at) {
                values.insert(at, plain(rows, at, cell.value)?);
            }
        }
        if rows.table.merge.id_column.is_none() && matches!(name, Name::Born { .. }) {
            decide(rows, name, WHOLE_ROW, None)?;
        }
        if let (Name::Born { dot, id: birth }, Some(column)) = (name, rows.table.merge.id_column) {
            let claimed = match values.get(&column) {
                Some(Value::Integer(claimed)) => *claimed,
                _ => *birth,
            };
            let mut ids = [claimed].into_iter().chain((0..claim::DERIVED_TRIES).map(|i| claim::derived_id(dot, i)));
            let free = loop {
                let Some(id) = ids.next() else { return Err(refuse(format!("no id is free for {table} {key}"))) };
                if rows.visible(&Key::Id(id))?.is_none() {
                    break id;
                }
            };
            values.insert(column, Value::Integer(free));
            decide(rows, name, WHOLE_ROW, Some(free))?;
        }
        insert(rows, &values, "the row")?;
        Ok(format!("{table} {key} is in the table again"))
    })?;
    told.ok_or_else(|| gone(line))
}

fn insert(rows: &SqliteRows<'_>, values: &BTreeMap<usize, Value>, what: &str) -> Result<(), StoreError> {
    let columns = values.keys().map(|c| Quoted(&rows.table.names[*c]).to_string()).collect::<Vec<_>>().join(", ");
    let marks = vec!["?"; values.len()].join(", ");
    let sql = format!("INSERT INTO main.{}({columns}) VALUES({marks})", Quoted(&rows.table.name));
    let inserted = rows.shared.conn.execute(&sql, params_from_iter(values.values().map(BindValue)));
    inserted.map(drop).map_err(|why| refused(why, what))
}

/// The key columns of a row that is named by them.
fn key_of(rows: &mut SqliteRows<'_>, name: &Name) -> Result<Vec<(usize, Value)>, StoreError> {
    let Name::Key(bytes) = name else { return Ok(Vec::new()) };
    if name::is_hashed(bytes) {
        return Err(refuse("its key is too long to be kept; INSERT the row by hand".into()));
    }
    let columns: Vec<_> = rows.table.merge.key.iter().map(|(column, _)| *column).collect();
    let held = columns.into_iter().zip(name::key_values(bytes)?);
    held.map(|(column, value)| Ok((column, plain(rows, column, &value)?))).collect()
}

/// A value as the table shows it: of a reference the key of the row that it means.
fn plain(rows: &mut SqliteRows<'_>, column: usize, value: &Value) -> Result<Value, StoreError> {
    let Value::Ref(name) = value else { return Ok(value.clone()) };
    let shown = match rows.table.refs.get(&column) {
        Some(parent) => rows.name_shown_as(name, *parent, 0)?,
        None => None,
    };
    shown.ok_or_else(|| {
        let column = &rows.table.names[column];
        refuse(format!("it refers in {column} to a row that is not there; bring that one back first"))
    })
}

fn literal(rows: &SqliteRows<'_>, value: &Value) -> Result<String, StoreError> {
    let quoted = rows.shared.conn.prepare_cached("SELECT quote(?1)")?.query_row([BindValue(value)], |row| row.get(0));
    Ok(match quoted? {
        SqlValue::Text(text) => text,
        _ => String::new(),
    })
}
