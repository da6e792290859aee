//! Keeping triggers in place while the schema moves under them.
//!
//! A rebuild (create, copy, drop, rename) drops triggers, a rename takes them along, an index changes what they must
//! say, a newer trigger of the user's fires before them. Whenever the schema cookie moved, all of them are compared.

use p2pdb_core::name::{self, key_values};
use p2pdb_core::value::Value;
use rusqlite::types::Value as SqlValue;
use rusqlite::{Connection, OptionalExtension, params, params_from_iter};

use super::{Definition, ReadError, StoreError, atomically, existing, places, read_listed, records};
use crate::capture;

/// Re-arms every tracked table whose triggers are not as they should be; where they were gone or said something else, all
/// rows are marked, for the seal to find what changed meanwhile. Returns numbers and names of the tables re-armed.
/// Belongs inside a write transaction: then no writer can come between.
///
/// # Errors
/// SQLite's; nothing is changed then.
pub fn check_armed(conn: &Connection) -> Result<Vec<(i64, String)>, StoreError> {
    let sql = "SELECT t, name FROM _p2p_table WHERE state IN (0, 1, 4)";
    let tracked: Vec<(i64, String)> =
        conn.prepare(sql)?.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<rusqlite::Result<_>>()?;
    let mut armed = Vec::new();
    for (t, name) in tracked {
        let name = follow_rename(conn, t, &name)?;
        let definition = match read_listed(conn, t, &name) {
            Ok(definition) => definition,
            Err(ReadError::Missing | ReadError::NotATable(_)) => continue,
            Err(ReadError::Sqlite(e)) => return Err(e.into()),
        };
        // One that an older version made has no place for places.
        records::create(conn, t, &definition)?;
        if capture::is_armed(conn, t, &definition)? {
            continue;
        }
        atomically(conn, || {
            let was_whole = has_texts(conn, t, &definition)?;
            capture::arm(conn, t, &definition)?;
            if !was_whole {
                reconcile(conn, t, &definition)?;
            }
            Ok(())
        })?;
        armed.push((t, name));
    }
    Ok(armed)
}

/// The table's name now: ALTER TABLE … RENAME takes our triggers along.
pub(super) fn follow_rename(conn: &Connection, t: i64, name: &str) -> Result<String, StoreError> {
    let sql = "SELECT tbl_name FROM main.sqlite_schema WHERE type = 'trigger' AND name = ?2
               AND NOT EXISTS(SELECT 1 FROM main.sqlite_schema WHERE type = 'table' AND name = ?1 COLLATE NOCASE)";
    let now: Option<String> =
        conn.prepare_cached(sql)?.query_row(params![name, format!("_p2p_{t}i")], |row| row.get(0)).optional()?;
    let Some(now) = now else { return Ok(name.to_owned()) };
    conn.execute("UPDATE _p2p_table SET name = ?2 WHERE t = ?1", params![t, now])?;
    Ok(now)
}

/// Are the triggers there word for word, whatever their age?
pub(super) fn has_texts(conn: &Connection, t: i64, definition: &Definition) -> Result<bool, StoreError> {
    let sql = "SELECT EXISTS(SELECT 1 FROM main.sqlite_schema WHERE type = 'trigger' AND name = ?1 AND sql = ?2)";
    let mut statement = conn.prepare_cached(sql)?;
    for trigger in capture::texts(t, definition) {
        let is_there: bool = statement.query_row(params![trigger.name, trigger.stored_sql()], |row| row.get(0))?;
        if !is_there {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Marks every row that the table has, and every row that it had when it was last sealed: the seal compares. Returns how
/// many rows it has.
pub(super) fn reconcile(conn: &Connection, t: i64, definition: &Definition) -> Result<usize, StoreError> {
    // Rows without a key may have other rowids now; where there are none they are found as they come.
    match existing::has_rows(conn, &definition.name)? || existing::has_rows(conn, &records::table(t))? {
        true => places::set_unknown(conn, t)?,
        false => places::set_known(conn, t)?,
    }
    mark_records(conn, t, definition)?;
    Ok(capture::mark_all(conn, t, definition)?)
}

/// The same for every table that is exchanged.
pub(in crate::store) fn reconcile_all(conn: &Connection) -> Result<(), StoreError> {
    let names = conn
        .prepare("SELECT t, name FROM _p2p_table WHERE state IN (0, 1)")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<Vec<(i64, String)>>>()?;
    for (t, name) in names {
        match read_listed(conn, t, &name) {
            Ok(definition) => reconcile(conn, t, &definition).map(drop)?,
            Err(ReadError::Missing | ReadError::NotATable(_)) => {}
            Err(ReadError::Sqlite(e)) => return Err(e.into()),
        }
    }
    Ok(())
}

/// Rows that have a record, by the key that it is kept under.
fn mark_records(conn: &Connection, t: i64, definition: &Definition) -> Result<(), StoreError> {
    let records = records::table(t);
    if definition.is_alias() {
        let sql = format!("INSERT INTO _p2p_mark(t, m, k1) SELECT ?1, ?2, key FROM {records}");
        conn.prepare(&sql)?.execute(params![t, capture::LOOK])?;
        return Ok(());
    }
    let columns = definition.key_columns().len();
    let keys: Vec<String> = (1..=columns).map(|i| format!(", k{i}")).collect();
    let marks: Vec<String> = (1..=columns).map(|i| format!(", ?{}", i + 2)).collect();
    let mut insert =
        conn.prepare(&format!("INSERT INTO _p2p_mark(t, m{}) VALUES(?1, ?2{})", keys.concat(), marks.concat()))?;
    let mut records = conn.prepare(&format!("SELECT key FROM {records}"))?;
    let mut rows = records.query([])?;
    while let Some(row) = rows.next()? {
        let bytes = row.get_ref(0)?.as_blob().unwrap_or_default();
        // That of a row without a key is no key.
        if name::is_hashed(bytes) || !name::may_be_key(bytes) {
            continue;
        }
        let values = key_values(bytes)?;
        let values: Option<Vec<SqlValue>> = values.into_iter().map(to_sql).collect();
        // A key that means another table's row has no value of its own: the row it names is marked where it stands.
        if let Some(values) = values.filter(|v| v.len() == columns) {
            insert.execute(params_from_iter(
                [SqlValue::Integer(t), SqlValue::Integer(capture::LOOK)].into_iter().chain(values),
            ))?;
        }
    }
    Ok(())
}

fn to_sql(value: Value) -> Option<SqlValue> {
    Some(match value {
        Value::Null => SqlValue::Null,
        Value::Integer(i) => SqlValue::Integer(i),
        Value::Real(r) => SqlValue::Real(r),
        Value::Text(t) => SqlValue::Text(String::from_utf8(t).ok()?),
        Value::Blob(b) => SqlValue::Blob(b),
        Value::Ref(_) => return None,
    })
}
