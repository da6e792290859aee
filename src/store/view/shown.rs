//! Keys and values as people know them: a reference as the key that the row shows which it means.

use p2pdb_core::merge::{Key, Rows};
use p2pdb_core::name::{self, Name};
use p2pdb_core::value::Value;
use rusqlite::types::Value as SqlValue;

use crate::store::rows::SqliteRows;
use crate::store::{StoreError, places};

/// A row's key as text: the value, or a JSON array of the values of a key of several columns.
pub(super) fn key_text(rows: &mut SqliteRows<'_>, name: &Name) -> Result<String, StoreError> {
    let key = key_of_name(rows, name)?;
    if let Key::Born(dot) = &key {
        let place = if places::are_known(rows.shared.conn, rows.table.t)? { rows.place_of(dot)? } else { None };
        return Ok(place.map_or_else(|| ABSENT.to_owned(), rowid_text));
    }
    Ok(match key_values(rows, &key)?.as_slice() {
        [value] => text_of(value),
        values => json_array(values),
    })
}

/// A row's key: the value, or a JSON array of the values of a key of several columns.
pub(in crate::store) fn key_value(rows: &mut SqliteRows<'_>, key: &Key) -> Result<SqlValue, StoreError> {
    if let Key::Born(dot) = key {
        let place = if places::are_known(rows.shared.conn, rows.table.t)? { rows.place_of(dot)? } else { None };
        return Ok(place.map_or(SqlValue::Null, SqlValue::Integer));
    }
    Ok(match <[Value; 1]>::try_from(key_values(rows, key)?) {
        Ok([value]) => sql_of(value),
        Err(values) => SqlValue::Text(json_array(&values)),
    })
}

/// The same of a row that is told by its name.
pub(in crate::store) fn name_value(rows: &mut SqliteRows<'_>, name: &Name) -> Result<SqlValue, StoreError> {
    let key = key_of_name(rows, name)?;
    key_value(rows, &key)
}

/// A hidden row shows no id: it is told by the one that it was born with.
fn key_of_name(rows: &mut SqliteRows<'_>, name: &Name) -> Result<Key, StoreError> {
    Ok(match name {
        Name::Key(bytes) => Key::Name(bytes.clone()),
        Name::Born { dot, .. } if rows.table.merge.id_column.is_none() => Key::Born(*dot),
        Name::Born { dot, id } => Key::Id(rows.moved(dot)?.filter(|id| *id >= 0).unwrap_or(*id)),
    })
}

fn json_array(values: &[Value]) -> String {
    serde_json::Value::from(values.iter().map(json_of).collect::<Vec<_>>()).to_string()
}

/// What stands for a row that is not there.
const ABSENT: &str = "a row that is not there";

fn rowid_text(place: i64) -> String {
    format!("rowid {place}")
}

/// A row's key as it is written in SQL.
pub(super) fn key_literal(rows: &mut SqliteRows<'_>, key: &Key) -> Result<String, StoreError> {
    match key {
        Key::Born(dot) => Ok(rows.place_of(dot)?.map_or_else(|| ABSENT.to_owned(), rowid_text)),
        key => Ok(literal(&key_values(rows, key)?)),
    }
}

/// The same of a row that shows this (see [`crate::store::tables::Sql::key`]).
pub(super) fn key_shown_literal(rows: &SqliteRows<'_>, shown: &[Value]) -> String {
    let key = &shown[..rows.table.key().len()];
    match shown.last() {
        Some(Value::Integer(rowid))
            if rows.table.merge.has_nameless && (key.is_empty() || key.contains(&Value::Null)) =>
        {
            rowid_text(*rowid)
        }
        _ => literal(key),
    }
}

/// Values as they are written in SQL; several as a row value.
pub(super) fn literal(values: &[Value]) -> String {
    match values {
        [value] => literal_of(value),
        values => format!("({})", values.iter().map(literal_of).collect::<Vec<_>>().join(", ")),
    }
}

/// What a value of a column looks like in the table.
pub(super) fn value_shown(rows: &mut SqliteRows<'_>, column: usize, value: &Value) -> Result<SqlValue, StoreError> {
    resolve(rows, column, value).map(sql_of)
}

/// The same; never a reference.
fn resolve(rows: &mut SqliteRows<'_>, column: usize, value: &Value) -> Result<Value, StoreError> {
    let Value::Ref(name) = value else { return Ok(value.clone()) };
    let shown = match rows.table.refs.get(&column) {
        Some(parent) => rows.name_shown_as(name, *parent, 0)?,
        None => None,
    };
    Ok(shown.unwrap_or_else(|| absent(name)))
}

/// The values of a key; what refers to a row that is not there is told by [`absent`].
fn key_values(rows: &mut SqliteRows<'_>, key: &Key) -> Result<Vec<Value>, StoreError> {
    if let Some(mut values) = rows.key_params(key)? {
        values.truncate(rows.table.key().len());
        return Ok(values);
    }
    let Key::Name(bytes) = key else { return Ok(Vec::new()) };
    let values = if name::is_hashed(bytes) { Vec::new() } else { name::key_values(bytes).unwrap_or_default() };
    let columns: Vec<_> = rows.table.merge.key.iter().map(|(column, _)| *column).collect();
    values.iter().zip(columns).map(|(value, column)| resolve(rows, column, value)).collect()
}

/// What stands for a row that is not in its table: its key where that is its name; an integer key may be another row's by
/// now, so it is told with a word.
fn absent(name: &Name) -> Value {
    let mut name = name.clone();
    loop {
        match &name {
            Name::Born { id, .. } => return Value::Text(format!("row {id}, which is not there").into()),
            Name::Key(bytes) => match name::key_values(bytes).unwrap_or_default().as_slice() {
                [Value::Ref(inner)] => name = (**inner).clone(),
                [value] => return value.clone(),
                _ => return Value::Text(ABSENT.into()),
            },
        }
    }
}

fn sql_of(value: Value) -> SqlValue {
    match value {
        Value::Null => SqlValue::Null,
        Value::Integer(i) => SqlValue::Integer(i),
        Value::Real(r) => SqlValue::Real(r),
        Value::Text(text) => match String::from_utf8(text) {
            Ok(text) => SqlValue::Text(text),
            Err(e) => SqlValue::Blob(e.into_bytes()),
        },
        Value::Blob(bytes) => SqlValue::Blob(bytes),
        Value::Ref(name) => sql_of(absent(&name)),
    }
}

fn text_of(value: &Value) -> String {
    match value {
        Value::Text(text) => String::from_utf8_lossy(text).into_owned(),
        value => match json_of(value) {
            serde_json::Value::String(s) => s,
            json => json.to_string(),
        },
    }
}

fn json_of(value: &Value) -> serde_json::Value {
    match value {
        Value::Null => serde_json::Value::Null,
        Value::Integer(i) => (*i).into(),
        Value::Real(r) => serde_json::Number::from_f64(*r).map_or_else(|| r.to_string().into(), Into::into),
        Value::Text(text) => String::from_utf8_lossy(text).into(),
        Value::Blob(_) => literal_of(value).into(),
        Value::Ref(name) => json_of(&absent(name)),
    }
}

fn literal_of(value: &Value) -> String {
    match value {
        Value::Null => "NULL".to_owned(),
        Value::Integer(i) => i.to_string(),
        Value::Real(r) if r.is_infinite() => if *r > 0.0 { "9e999" } else { "-9e999" }.to_owned(),
        Value::Real(r) => format!("{r:?}"),
        Value::Text(text) => format!("'{}'", String::from_utf8_lossy(text).replace('\'', "''")),
        Value::Blob(bytes) => format!("x'{}'", bytes.iter().map(|b| format!("{b:02X}")).collect::<String>()),
        Value::Ref(name) => literal_of(&absent(name)),
    }
}
