//! Finding the row that a key means, and what its record and the books say of it.

use p2pdb_core::codec::Reader;
use p2pdb_core::merge::{Key, Rows};
use p2pdb_core::name::{self, Name};
use p2pdb_core::record::Record;
use p2pdb_core::value::Value;
use rusqlite::{OptionalExtension, params, params_from_iter};

use super::{Account, Derived, Parent, Waits, Whereabouts};
use crate::capture;
use crate::store::rows::{BindValue, SqliteRows, bind_key};
use crate::store::tables::Tracked;
use crate::store::view::shown::{key_literal, literal, value_shown};
use crate::store::{StoreError, seal, unique};

/// A key as it was given, and as a column of the other affinity would hold it.
pub(super) fn alike(key: &[Value]) -> [Vec<Value>; 2] {
    let other = |value: &Value| match value {
        Value::Integer(i) => Value::Text(i.to_string().into_bytes()),
        Value::Text(text) => {
            let integer = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
            integer.map_or_else(|| value.clone(), Value::Integer)
        }
        value => value.clone(),
    };
    [key.to_vec(), key.iter().map(other).collect()]
}

/// Has a marker this key? Those that say that a row may have been displaced are none of a change.
pub(super) fn is_pending(rows: &SqliteRows<'_>, table: &Tracked, key: &[Value]) -> Result<bool, StoreError> {
    let conn = rows.shared.conn;
    if seal::pending(conn)? == 0 {
        return Ok(false);
    }
    let is = |p: &str| (1..=key.len()).map(|i| format!("{p}{i} = ?{i}")).collect::<Vec<_>>().join(" AND ");
    let sql = format!(
        "SELECT EXISTS(SELECT 1 FROM _p2p_mark WHERE t = {} AND m <> {} AND ({} OR {}))",
        table.t,
        capture::HINT,
        is("k"),
        is("o")
    );
    for key in alike(key) {
        if conn.prepare(&sql)?.query_row(params_from_iter(key.iter().map(BindValue)), |row| row.get(0))? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Finds the row that shows the key, or was written with it, and says what is known of it. Gives its name.
pub(super) fn find(
    rows: &mut SqliteRows<'_>,
    table: &Tracked,
    given: &[Value],
    account: &mut Account,
) -> Result<Option<Name>, StoreError> {
    for key in alike(given) {
        let is_there = rows.visible_by(&key)?;
        let visible = is_there.as_ref().map(|row| table.key().iter().map(|(c, _)| row[*c].clone()).collect::<Vec<_>>());
        let values = visible.as_ref().unwrap_or(&key);
        let Some((key, record)) = recorded(rows, table, values)? else {
            if let Some(visible) = visible {
                // New, and not sealed yet.
                (account.whereabouts, account.key) = (Whereabouts::Shown, literal(&visible));
                return Ok(None);
            }
            continue;
        };
        account.key = literal(values);
        account.whereabouts = match (visible.is_some(), record.is_hidden) {
            (_, true) => hidden(rows, table, &key, &record)?,
            (true, false) => Whereabouts::Shown,
            (false, false) => Whereabouts::JustDeleted,
        };
        return tell(rows, table, &key, record, account).map(Some);
    }
    let ids = alike(given);
    let id = ids.iter().find_map(|key| if let [Value::Integer(id)] = key[..] { Some(id) } else { None });
    match id.filter(|_| table.merge.id_column.is_some()) {
        Some(id) => written_with(rows, table, id, account),
        None => Ok(None),
    }
}

/// The record of the row that shows the key, or that is named by it.
fn recorded(rows: &mut SqliteRows<'_>, table: &Tracked, values: &[Value]) -> Result<Option<(Key, Record)>, StoreError> {
    let Some(key) = rows.key_shown(values)? else { return Ok(None) };
    if let Some(record) = rows.record(&key)? {
        return Ok(Some((key, record)));
    }
    // A plain value in the key may look like a reference to a row that came later.
    let plain = Key::Name(seal::fold(values, &table.merge.key));
    Ok(rows.record(&plain)?.map(|record| (plain, record)))
}

/// No row shows this integer key: one that was written with it is hidden, or shows another.
fn written_with(
    rows: &mut SqliteRows<'_>,
    table: &Tracked,
    id: i64,
    account: &mut Account,
) -> Result<Option<Name>, StoreError> {
    let mut found = born_with(rows, table, id)?;
    if found.is_empty() {
        return Ok(None);
    }
    // Of several the one that is not to be seen otherwise.
    let (key, record) = found.swap_remove(found.iter().position(|(_, record)| record.is_hidden).unwrap_or_default());
    if record.is_hidden {
        account.whereabouts = hidden(rows, table, &key, &record)?;
        return tell(rows, table, &key, record, account).map(Some);
    }
    account.whereabouts = Whereabouts::Elsewhere(key_literal(rows, &key)?);
    rows.merging(|merge| Ok(merge.name_of(&key, &record))).map(Some)
}

/// Rows that were written with this integer key and do not show it.
fn born_with(rows: &mut SqliteRows<'_>, table: &Tracked, id: i64) -> Result<Vec<(Key, Record)>, StoreError> {
    let moved: Vec<i64> = {
        let mut statement =
            rows.shared.conn.prepare_cached("SELECT shown FROM _p2p_moved WHERE t = ?1 ORDER BY shown")?;
        let moved = statement.query_map([table.t], |row| row.get(0))?;
        moved.collect::<rusqlite::Result<_>>()?
    };
    let mut found = Vec::new();
    for key in moved.into_iter().map(Key::Id) {
        let record = rows.record(&key)?.filter(|record| record.birth_id == Some(id));
        found.extend(record.map(|record| (key, record)));
    }
    Ok(found)
}

/// Says of a row that has a record who wrote it, and what it shows in place of what was written.
fn tell(
    rows: &mut SqliteRows<'_>,
    table: &Tracked,
    key: &Key,
    record: Record,
    account: &mut Account,
) -> Result<Name, StoreError> {
    let name = rows.merging(|merge| Ok(merge.name_of(key, &record)))?;
    for (column, of) in table.names.iter().enumerate() {
        let stamp = match &record.state {
            Some(state) => state.cell(column).map(|cell| cell.stamp),
            None => Some(record.stamp(column)),
        };
        let Some(stamp) = stamp else { continue };
        match account.writes.iter_mut().find(|(known, _)| *known == stamp) {
            Some((_, columns)) => columns.push(of.clone()),
            None => account.writes.push((stamp, vec![of.clone()])),
        }
    }
    if record.is_hidden {
        return Ok(name);
    }
    if let (Key::Id(shown), Some(column)) = (key, table.merge.id_column) {
        let wrote = record.state.as_ref().and_then(|state| state.writes.get(column)?.first()).map(|w| w.value.clone());
        if let Some(Value::Integer(wrote)) = wrote.filter(|wrote| *wrote != Value::Integer(*shown)) {
            let holder = rows.visible(&Key::Id(wrote))?.map(|_| wrote.to_string());
            let (column, written) = (table.names[column].clone(), wrote.to_string());
            account.derived.push(Derived { column, written, holder });
        }
        let others = born_with(rows, table, *shown)?;
        let others = others.into_iter().filter_map(|(key, r)| if let Key::Id(id) = key { Some((id, r)) } else { None });
        account.namesakes.extend(others.filter(|(_, r)| !r.is_hidden).map(|(id, _)| id.to_string()));
    }
    for (column, _) in unique::repairs(rows.shared.conn, table.t, &name)? {
        let Some(cell) = record.state.as_ref().and_then(|state| state.cell(column)) else { continue };
        let (column, written) = (table.names[column].clone(), shown_literal(rows, column, cell.value)?);
        account.derived.push(Derived { column, written, holder: holder(rows, &name)? });
    }
    Ok(name)
}

/// Why a row is not in the table.
fn hidden(rows: &mut SqliteRows<'_>, table: &Tracked, key: &Key, record: &Record) -> Result<Whereabouts, StoreError> {
    let sql = "SELECT reason, waits FROM _p2p_stuck WHERE t = ?1 AND name = ?2";
    let stuck = rows
        .shared
        .conn
        .prepare_cached(sql)?
        .query_row(params![table.t, bind_key(key)], |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?)));
    let (reason, waits) = stuck.optional()?.unwrap_or_default();
    let name = rows.merging(|merge| Ok(merge.name_of(key, record)))?;
    let waits = match waits {
        1 => Waits::Parents(missing(rows, table, record)?),
        2 => Waits::Holder(holder(rows, &name)?),
        _ => Waits::Constraint,
    };
    Ok(Whereabouts::Hidden { reason, waits })
}

/// The rows that a hidden row refers to and that are not there.
fn missing(rows: &mut SqliteRows<'_>, table: &Tracked, record: &Record) -> Result<Vec<Parent>, StoreError> {
    let Some(state) = &record.state else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for (column, parent) in &table.refs {
        let Some(cell) = state.cell(*column) else { continue };
        if let Value::Ref(name) = cell.value
            && rows.name_shown_as(name, *parent, 0)?.is_none()
        {
            let parent = rows.shared.tables.get(*parent).map(|parent| parent.name.clone()).unwrap_or_default();
            let key = match &**name {
                Name::Born { id, .. } => id.to_string(),
                Name::Key(bytes) => literal(&name::key_values(bytes).unwrap_or_default()),
            };
            found.push(Parent { column: table.names[*column].clone(), table: parent, key });
        }
    }
    Ok(found)
}

/// The key of the row that has what this one claims in a unique index.
fn holder(rows: &mut SqliteRows<'_>, name: &Name) -> Result<Option<String>, StoreError> {
    let mut bytes = Vec::new();
    name.write(&mut bytes);
    let sql = "SELECT holder FROM _p2p_contend WHERE t = ?1 AND name = ?2 AND holder IS NOT NULL LIMIT 1";
    let found = rows.shared.conn.prepare_cached(sql)?.query_row(params![rows.table.t, bytes], |row| row.get(0));
    let found: Option<Vec<u8>> = found.optional()?;
    let Some(bytes) = found else { return Ok(None) };
    shown_key(rows, &Name::read(&mut Reader::new(&bytes))?)
}

/// The key that a row shows, as it is written in SQL; none if it is not in the table.
pub(super) fn shown_key(rows: &mut SqliteRows<'_>, name: &Name) -> Result<Option<String>, StoreError> {
    let located = rows.merging(|merge| merge.located(name))?.filter(|(_, record)| !record.is_hidden);
    located.map(|(key, _)| key_literal(rows, &key)).transpose()
}

fn shown_literal(rows: &mut SqliteRows<'_>, column: usize, value: &Value) -> Result<String, StoreError> {
    Ok(match value_shown(rows, column, value)? {
        rusqlite::types::Value::Text(text) => literal(&[Value::Text(text.into_bytes())]),
        rusqlite::types::Value::Integer(i) => i.to_string(),
        _ => literal(std::slice::from_ref(value)),
    })
}
