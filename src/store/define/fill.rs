//! What a new column shows in rows that are older than it is.

use p2pdb_core::affinity::Affinity;
use p2pdb_core::body::Cell;
use p2pdb_core::value::Value;
use rusqlite::Connection;

use super::{Definition, StoreError};
use crate::schema::Column;
use crate::store::rows::{BindValue, values_of};

/// What a column that is new shows in rows that are there: the value and whether SQLite shows it by itself.
pub(super) fn of_new(table: &Definition, column: &Column) -> Result<(Value, bool), StoreError> {
    let at = table.columns.iter().position(|c| c.name == column.name).unwrap_or_default();
    // What a reference means each database says for itself.
    let is_reference = table.foreign_keys.iter().any(|f| f.columns.contains(&at));
    let default = stored_default(column)?;
    Ok(match default {
        Some(default) if !is_reference && default != Value::Null => (default, true),
        default if column.not_null.is_none() || is_reference => (Value::Null, default == Some(Value::Null)),
        _ => (nothing_of(column), false),
    })
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

/// A value as a column of this type stores it: told by a database in memory, for here statements may be under way.
fn as_stored(column: &Column, value: &Value) -> Result<Value, StoreError> {
    if !Affinity::of(&column.declared).may_change(&Cell::from(value)) {
        return Ok(value.clone());
    }
    let conn = Connection::open_in_memory()?;
    conn.execute_batch(&format!("CREATE TABLE stored(c {})", column.declared))?;
    conn.execute("INSERT INTO stored VALUES(?1)", [BindValue(value)])?;
    let mut stored = conn.query_row("SELECT c FROM stored", [], |row| values_of(row, 1))?;
    Ok(stored.pop().unwrap_or(Value::Null))
}
