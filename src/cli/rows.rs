//! What a query answers: columns and rows, as JSON or as a table for people.

use rusqlite::types::ValueRef;
use rusqlite::{Connection, Params};
use serde_json::{Map, Number, Value};

/// An answer of SQL, whole. For small answers: bounded by the query.
#[derive(Debug)]
pub(super) struct Rows {
    pub(super) columns: Vec<String>,
    pub(super) rows: Vec<Vec<Value>>,
}

impl Rows {
    /// Asks. The statement is over when this returns: a connection that waits must hold none open, or the node waits too.
    ///
    /// # Errors
    /// SQLite's.
    pub(super) fn query(conn: &Connection, sql: &str, params: impl Params) -> rusqlite::Result<Self> {
        // A daemon asks the same again and again.
        let mut statement = conn.prepare_cached(sql)?;
        let columns: Vec<String> = statement.column_names().into_iter().map(str::to_owned).collect();
        let count = columns.len();
        let rows = statement.query_map(params, |row| (0..count).map(|at| Ok(json_of(row.get_ref(at)?))).collect())?;
        let rows = rows.collect::<rusqlite::Result<_>>()?;
        Ok(Self { columns, rows })
    }

    /// One object a row.
    pub(super) fn objects(&self) -> Vec<Value> {
        self.rows.iter().map(|row| Value::Object(self.object(row))).collect()
    }

    fn object(&self, row: &[Value]) -> Map<String, Value> {
        self.columns.iter().cloned().zip(row.iter().cloned()).collect()
    }
}

/// A function's answer as text.
///
/// # Errors
/// SQLite's, and the function's own.
pub(super) fn call(conn: &Connection, sql: &str, params: impl Params) -> rusqlite::Result<String> {
    conn.query_row(sql, params, |row| {
        Ok(match row.get_ref(0)? {
            ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
            other => text_of(&json_of(other)),
        })
    })
}

/// A value of SQL; a blob as SQL writes it, a number that JSON has not as its name.
fn json_of(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(i) => i.into(),
        ValueRef::Real(r) => Number::from_f64(r).map_or_else(|| r.to_string().into(), Value::Number),
        ValueRef::Text(text) => String::from_utf8_lossy(text).into(),
        ValueRef::Blob(bytes) => {
            let hex: String = bytes.iter().map(|b| format!("{b:02X}")).collect();
            format!("x'{hex}'").into()
        }
    }
}

/// A value as people read it.
pub(super) fn text_of(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
