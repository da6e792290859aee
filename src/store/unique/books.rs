//! The books of contenders: what they claim and do not show, and what they show instead.

use p2pdb_core::codec::Reader;
use p2pdb_core::merge::{Refusal, Rows};
use p2pdb_core::name::Name;
use p2pdb_core::unique::Tuple;
use p2pdb_core::value::Value;
use rusqlite::{Connection, Params, params};
use std::collections::BTreeMap;

use super::component::{Component, tuple};
use crate::store::StoreError;
use crate::store::rows::SqliteRows;

/// The rows that claim a tuple of an index and show another.
pub(in crate::store) fn contenders(
    conn: &Connection,
    t: i64,
    number: usize,
    tuple: &Tuple,
) -> Result<Vec<Name>, StoreError> {
    let sql = "SELECT name FROM _p2p_contend WHERE t = ?1 AND idx = ?2 AND tuple = ?3";
    names(conn, sql, params![t, number as i64, tuple])
}

/// All contenders of a table.
pub(in crate::store) fn all(conn: &Connection, t: i64) -> Result<Vec<Name>, StoreError> {
    names(conn, "SELECT DISTINCT name FROM _p2p_contend WHERE t = ?1", params![t])
}

fn names(conn: &Connection, sql: &str, params: impl Params) -> Result<Vec<Name>, StoreError> {
    let mut statement = conn.prepare_cached(sql)?;
    let mut found = statement.query(params)?;
    let mut names = Vec::new();
    while let Some(row) = found.next()? {
        names.push(Name::read(&mut Reader::new(row.get_ref(0)?.as_blob()?))?);
    }
    Ok(names)
}

/// What a contender claims and does not show.
pub(in crate::store) fn claims(conn: &Connection, t: i64, name: &Name) -> Result<Vec<(usize, Tuple)>, StoreError> {
    let mut statement = conn.prepare_cached("SELECT idx, tuple FROM _p2p_contend WHERE t = ?1 AND name = ?2")?;
    let claims = statement.query_map(params![t, bytes(name)], |row| {
        Ok((row.get::<_, i64>(0)? as usize, row.get::<_, Vec<u8>>(1)?.into_boxed_slice()))
    })?;
    Ok(claims.collect::<rusqlite::Result<_>>()?)
}

/// The contenders that claim what a row shows.
pub(super) fn waiting_for(conn: &Connection, t: i64, holder: &Name) -> Result<Vec<Name>, StoreError> {
    names(conn, "SELECT name FROM _p2p_contend WHERE t = ?1 AND holder = ?2", params![t, bytes(holder)])
}

/// Does a row claim what it does not show?
pub(in crate::store) fn is_contender(conn: &Connection, t: i64, name: &Name) -> Result<bool, StoreError> {
    let sql = "SELECT EXISTS(SELECT 1 FROM _p2p_contend WHERE t = ?1 AND name = ?2)";
    Ok(conn.prepare_cached(sql)?.query_row(params![t, bytes(name)], |row| row.get(0))?)
}

/// The values that a row shows in place of those merged, by column.
pub(in crate::store) fn repairs(conn: &Connection, t: i64, name: &Name) -> Result<Vec<(usize, Value)>, StoreError> {
    let mut statement = conn.prepare_cached("SELECT col, value FROM _p2p_repair WHERE t = ?1 AND name = ?2")?;
    let mut found = statement.query(params![t, bytes(name)])?;
    let mut repairs = Vec::new();
    while let Some(row) = found.next()? {
        let value = Value::read(&mut Reader::new(row.get_ref(1)?.as_blob()?))?;
        repairs.push((row.get::<_, i64>(0)? as usize, value));
    }
    Ok(repairs)
}

/// Takes a row out of the books.
pub(in crate::store) fn strike(conn: &Connection, t: i64, name: &Name) -> Result<(), StoreError> {
    let params = params![t, bytes(name)];
    conn.prepare_cached("DELETE FROM _p2p_contend WHERE t = ?1 AND name = ?2")?.execute(params)?;
    conn.prepare_cached("DELETE FROM _p2p_repair WHERE t = ?1 AND name = ?2")?.execute(params)?;
    Ok(())
}

/// Writes down what was decided.
pub(in crate::store) fn keep(rows: &mut SqliteRows<'_>, component: &Component) -> Result<(), StoreError> {
    let (conn, t) = (rows.shared.conn, rows.table.t);
    for name in &component.gone {
        strike(conn, t, name)?;
        let located = rows.merging(|merge| merge.located(name))?;
        if let Some((key, _)) = located.filter(|(_, record)| record.is_hidden) {
            rows.set_stuck(&key, Some(&Refusal::no_parent()))?;
        }
    }
    let mut shown = BTreeMap::new();
    for (name, member) in &component.members {
        let Some(place) = component.places.get(name).filter(|place| place.hidden_by.is_none()) else { continue };
        let values = member.target(place);
        for number in 0..rows.table.uniques.len() {
            shown.extend(tuple(rows, number, &values)?.map(|tuple| ((number, tuple), name)));
        }
    }
    for (name, member) in &component.members {
        strike(conn, t, name)?;
        let Some(place) = component.places.get(name) else { continue };
        if place.repairs.is_empty() && place.hidden_by.is_none() {
            continue;
        }
        rows.shared.flags.raise(t, |flags| flags.contends = true);
        for (column, value) in &place.repairs {
            let sql = "INSERT INTO _p2p_repair(t, name, col, value) VALUES(?1, ?2, ?3, ?4)";
            let mut shown = Vec::new();
            value.write(&mut shown);
            conn.prepare_cached(sql)?.execute(params![t, bytes(name), *column as i64, shown])?;
        }
        let mut claimed = place.missed.clone();
        for number in 0..rows.table.uniques.len() {
            claimed.extend(tuple(rows, number, &member.row.values)?.map(|tuple| (number, tuple)));
        }
        for (number, tuple) in claimed {
            let holder = shown.get(&(number, tuple.clone())).filter(|holder| **holder != name).map(|name| bytes(name));
            let sql = "INSERT OR IGNORE INTO _p2p_contend(t, idx, tuple, name, holder) VALUES(?1, ?2, ?3, ?4, ?5)";
            conn.prepare_cached(sql)?.execute(params![t, number as i64, tuple, bytes(name), holder])?;
        }
    }
    Ok(())
}

fn bytes(name: &Name) -> Vec<u8> {
    let mut bytes = Vec::new();
    name.write(&mut bytes);
    bytes
}
