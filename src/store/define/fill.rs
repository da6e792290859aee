//! What a new column shows in rows that are older than it is.

use p2pdb_core::affinity::Affinity;
use p2pdb_core::body::Cell;
use p2pdb_core::value::Value;
use rusqlite::Connection;

use super::{Definition, StoreError};
use crate::schema::Column;
use crate::store::rows::{BindValue, values_of};

/// What a column that is new shows in rows that are there: the value and whether SQLite shows it by itself.
pub(super) fn of_new(conn: &Connection, table: &Definition, column: &Column) -> Result<(Value, bool), StoreError> {
    let at = table.columns.iter().position(|c| c.name == column.name).unwrap_or_default();
    // What a reference means each database says for itself.
    let is_reference = table.foreign_keys.iter().any(|f| f.columns.contains(&at));
    let default = stored_default(conn, column)?;
    Ok(match default {
        Some(default) if !is_reference && default != Value::Null => (default, true),
        default if column.not_null.is_none() || is_reference => (Value::Null, default == Some(Value::Null)),
        // Rows that are older can't show NULL.
        _ if column.declared.to_ascii_uppercase().contains("BLOB") => (Value::Blob(Vec::new()), false),
        _ if is_text(&column.declared) => (Value::Text(Vec::new()), false),
        _ => (Value::Integer(0), false),
    })
}

fn is_text(declared: &str) -> bool {
    let declared = declared.to_ascii_uppercase();
    ["CHAR", "CLOB", "TEXT"].iter().any(|t| declared.contains(t)) && !declared.contains("INT")
}

/// A constant DEFAULT as a column of this type stores it; NULL where there is none, nothing where it is no constant.
fn stored_default(conn: &Connection, column: &Column) -> Result<Option<Value>, StoreError> {
    let Some(default) = &column.default else { return Ok(Some(Value::Null)) };
    if !default.is_constant() {
        return Ok(None);
    }
    let default = conn.query_row(&format!("SELECT {}", default.sql(&[])), [], |row| values_of(row, 1))?;
    default.first().map(|default| as_stored(column, default)).transpose()
}

/// A value as a column of this type stores it: told by a database in memory, for here statements may be under way.
pub(super) fn as_stored(column: &Column, value: &Value) -> Result<Value, StoreError> {
    if !Affinity::of(&column.declared).may_change(&Cell::from(value)) {
        return Ok(value.clone());
    }
    let conn = Connection::open_in_memory()?;
    conn.execute_batch(&format!("CREATE TABLE stored(c {})", column.declared))?;
    conn.execute("INSERT INTO stored VALUES(?1)", [BindValue(value)])?;
    let mut stored = conn.query_row("SELECT c FROM stored", [], |row| values_of(row, 1))?;
    Ok(stored.pop().unwrap_or(Value::Null))
}
