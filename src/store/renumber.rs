//! Visible rows that change their integer key, and the foreign keys that follow them.
//!
//! Ids may swap: rows are taken out first and put back under their new ids, so that no order of single
//! updates has to be found. References are re-pointed in one statement a column, from a list of all
//! moves, for the same reason. No REPLACE anywhere.

use rusqlite::{Connection, params_from_iter};
use std::collections::BTreeSet;

use super::StoreError;
use super::rows::{BindValue, Shared, SqliteRows, values_of};
use super::tables::Tracked;
use super::triggers;
use crate::quote::Quoted;
use crate::schema::trigger::Event;
use p2pdb_core::value::Value;

/// Ids from here on are nobody's: hidden rows stand higher, derived ids are positive.
const FAR_AWAY: i64 = i64::MIN + 1;

pub(super) fn renumber(rows: &mut SqliteRows<'_>, moves: &[(i64, i64)]) -> Result<(), StoreError> {
    let (shared, table) = (rows.shared, rows.table);
    let Some(id) = table.merge.id_column else { return Ok(()) };
    take_out_and_put_back(shared.conn, table, id, moves)?;
    if table.referring.is_empty() {
        return Ok(());
    }
    // SQLite checks a key after each row that an UPDATE changes: where an id is given to one row and taken from another
    // all go by way of ids that nobody has.
    let old: BTreeSet<i64> = moves.iter().map(|(old, _)| *old).collect();
    let is_chain = moves.iter().any(|(_, new)| old.contains(new));
    if is_chain {
        let by_way = || (FAR_AWAY..).zip(moves).map(|(far, (old, new))| (*old, far, *new));
        list_moves(shared.conn, by_way().map(|(old, far, _)| (old, far)))?;
        follow(rows)?;
        list_moves(shared.conn, by_way().map(|(_, far, new)| (far, new)))?;
        follow(rows)?;
    }
    list_moves(shared.conn, moves.iter().copied())?;
    if !is_chain {
        follow(rows)?;
    }
    super::unique::follow_moves(rows)?;
    super::dangling::moved(rows)?;
    super::literal::restore(rows)
}

fn take_out_and_put_back(
    conn: &Connection,
    table: &Tracked,
    id: usize,
    moves: &[(i64, i64)],
) -> Result<(), StoreError> {
    let mut out = Vec::with_capacity(moves.len());
    let mut select = conn.prepare_cached(&table.sql.select)?;
    let mut delete = conn.prepare_cached(&table.sql.delete)?;
    for (old, new) in moves {
        out.push((select.query_row([old], |row| values_of(row, table.merge.columns))?, *new));
        triggers::run(conn, table.t, Event::Delete, || delete.execute([old]))?;
    }
    let mut insert = conn.prepare_cached(&table.sql.insert)?;
    for (mut row, new) in out {
        row[id] = Value::Integer(new);
        triggers::run(conn, table.t, Event::Insert, || insert.execute(params_from_iter(row.iter().map(BindValue))))?;
    }
    Ok(())
}

fn list_moves(conn: &Connection, moves: impl Iterator<Item = (i64, i64)>) -> Result<(), StoreError> {
    conn.execute_batch(
        "CREATE TEMP TABLE IF NOT EXISTS _p2p_move(old INTEGER PRIMARY KEY, new INTEGER NOT NULL);
         DELETE FROM temp._p2p_move",
    )?;
    let mut add = conn.prepare_cached("INSERT INTO temp._p2p_move(old, new) VALUES(?1, ?2)")?;
    for (old, new) in moves {
        add.execute([old, new])?;
    }
    Ok(())
}

/// Re-points every column that means a moved row, and through keys that are references themselves, on down.
fn follow(rows: &mut SqliteRows<'_>) -> Result<(), StoreError> {
    let Shared { conn, tables, .. } = rows.shared;
    let mut todo = vec![rows.table.t];
    let mut done = BTreeSet::from([rows.table.t]);
    while let Some(t) = todo.pop() {
        for (child, column) in tables.referring(t) {
            super::unique::make_room(rows, child, column)?;
            let (table, name) = (Quoted(&child.name), Quoted(&child.names[column]));
            let sql = format!(
                "UPDATE{} main.{table} SET {name} = (SELECT new FROM temp._p2p_move WHERE old = {name})
                 WHERE {name} IN (SELECT old FROM temp._p2p_move)",
                child.sql.or_abort
            );
            let mut update = conn.prepare_cached(&sql)?;
            triggers::run(conn, child.t, Event::Update, || update.execute([]))?;
            let is_key = matches!(child.merge.key.as_slice(), [(key, _)] if *key == column);
            if is_key && done.insert(child.t) {
                todo.push(child.t);
            }
        }
    }
    Ok(())
}
