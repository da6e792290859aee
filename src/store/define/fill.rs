//! What a new column shows in rows that are older than it is.

use p2pdb_core::affinity::Affinity;
use p2pdb_core::body::Cell;
use p2pdb_core::value::Value;
use rusqlite::{Connection, OptionalExtension};

use super::{Definition, StoreError};
use crate::quote::Quoted;
use crate::schema::Column;
use crate::store::rows::{BindValue, values_of};

/// A greater value in all rows is not taken for what rows that are not here are to show.
const FILL_BYTES_MAX: i64 = 1024;

/// What a column that is new shows in rows that are there: the value, and whether all of them show it by now.
///
/// One that can't be NULL and has no DEFAULT was put there by a rebuild, which gave each row a value. Where that is one for all,
/// rows that others wrote meanwhile show it too: an ORM says so what its default is, and leaves no word of it in the schema.
pub(super) fn of_new(conn: &Connection, table: &Definition, column: &Column) -> Result<(Value, bool), StoreError> {
    let at = table.columns.iter().position(|c| c.name == column.name).unwrap_or_default();
    // What a reference means each database says for itself.
    let is_reference = table.foreign_keys.iter().any(|f| f.columns.contains(&at));
    let default = stored_default(column)?;
    Ok(match default {
        Some(default) if !is_reference && default != Value::Null => (default, true),
        default if column.not_null.is_none() || is_reference => (Value::Null, default == Some(Value::Null)),
        _ => match of_all_rows(conn, table, column)? {
            Some(value) => (value, true),
            None => (nothing_of(column), false),
        },
    })
}

/// The value that all rows have; none where there are several, or no row.
fn of_all_rows(conn: &Connection, table: &Definition, column: &Column) -> Result<Option<Value>, StoreError> {
    let (table, column) = (Quoted(&table.name), Quoted(&column.name));
    let first =
        format!("SELECT {column} FROM main.{table} WHERE length(CAST({column} AS BLOB)) <= {FILL_BYTES_MAX} LIMIT 1");
    let first = conn.query_row(&first, [], |row| values_of(row, 1)).optional()?;
    let Some(value) = first.and_then(|mut values| values.pop()).filter(|value| *value != Value::Null) else {
        return Ok(None);
    };
    // What is equal is not always the same: 1 and 1.0, or two texts under NOCASE.
    let is_other = format!("{column} COLLATE BINARY IS NOT ?1 OR typeof({column}) <> typeof(?1)");
    let other = format!("SELECT EXISTS(SELECT 1 FROM main.{table} WHERE {is_other})");
    let has_other: bool = conn.query_row(&other, [BindValue(&value)], |row| row.get(0))?;
    Ok((!has_other).then_some(value))
}

/// A fill as the column shows it. Two databases may have added one column, and only one of them NOT NULL: then what was to be
/// NULL is the DEFAULT, or stands for nothing.
pub(super) fn as_shown(column: &Column, fill: &Value) -> Result<Value, StoreError> {
    if *fill != Value::Null || column.not_null.is_none() {
        return as_stored(column, fill);
    }
    let default = stored_default(column)?.filter(|default| *default != Value::Null);
    Ok(default.unwrap_or_else(|| nothing_of(column)))
}

/// What a column that can't be NULL shows where there is nothing.
fn nothing_of(column: &Column) -> Value {
    match Affinity::of(&column.declared) {
        Affinity::Text => Value::Text(Vec::new()),
        Affinity::None if !column.declared.is_empty() => Value::Blob(Vec::new()),
        _ => Value::Integer(0),
    }
}

/// A constant DEFAULT as a column of this type stores it; NULL where there is none, nothing where it is no constant.
pub(in crate::store) fn stored_default(column: &Column) -> Result<Option<Value>, StoreError> {
    let Some(default) = &column.default else { return Ok(Some(Value::Null)) };
    if !default.is_constant() {
        return Ok(None);
    }
    let conn = Connection::open_in_memory()?;
    let default = conn.query_row(&format!("SELECT {}", default.sql(&[])), [], |row| values_of(row, 1))?;
    default.first().map(|default| as_stored(column, default)).transpose()
}

fn as_stored(column: &Column, value: &Value) -> Result<Value, StoreError> {
    stored_by(Affinity::of(&column.declared), value)
}

/// A value as a column of this affinity stores it: told by a database in memory, for here statements may be under way.
pub(in crate::store) fn stored_by(affinity: Affinity, value: &Value) -> Result<Value, StoreError> {
    if !affinity.may_change(&Cell::from(value)) {
        return Ok(value.clone());
    }
    let declared = match affinity {
        Affinity::None => "BLOB",
        Affinity::Integer => "INTEGER",
        Affinity::Real => "REAL",
        Affinity::Numeric => "NUMERIC",
        Affinity::Text => "TEXT",
    };
    let conn = Connection::open_in_memory()?;
    conn.execute_batch(&format!("CREATE TABLE stored(c {declared})"))?;
    conn.execute("INSERT INTO stored VALUES(?1)", [BindValue(value)])?;
    let mut stored = conn.query_row("SELECT c FROM stored", [], |row| values_of(row, 1))?;
    Ok(stored.pop().unwrap_or(Value::Null))
}
