//! Visible rows that change their integer key, and the foreign keys that follow them.
//!
//! Ids may swap: rows are taken out first and put back under their new ids, so that no order of single
//! updates has to be found. References are re-pointed in one statement a column, from a list of all
//! moves, for the same reason. No REPLACE anywhere.

use rusqlite::types::Value as SqlValue;
use rusqlite::{Connection, params_from_iter};
use std::collections::BTreeSet;

use super::StoreError;
use super::tables::{Tables, Tracked};
use crate::quote::Quoted;

pub(super) fn renumber(
    conn: &Connection,
    tables: &Tables,
    table: &Tracked,
    moves: &[(i64, i64)],
) -> Result<(), StoreError> {
    let Some(id) = table.merge.id_column else { return Ok(()) };
    take_out_and_put_back(conn, table, id, moves)?;
    list_moves(conn, moves)?;
    follow(conn, tables, table.t)
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
        let row = select.query_row([old], |row| {
            (0..table.merge.columns)
                .map(|c| row.get_ref(c).map(super::rows::value_of))
                .collect::<rusqlite::Result<Vec<_>>>()
        })?;
        delete.execute([old])?;
        out.push((row, *new));
    }
    let mut insert = conn.prepare_cached(&table.sql.insert)?;
    for (mut row, new) in out {
        row[id] = p2pdb_core::value::Value::Integer(new);
        let cells: Vec<_> = row.iter().map(p2pdb_core::body::Cell::from).collect();
        insert.execute(params_from_iter(cells.iter().map(super::rows::Bind)))?;
    }
    Ok(())
}

fn list_moves(conn: &Connection, moves: &[(i64, i64)]) -> Result<(), StoreError> {
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
fn follow(conn: &Connection, tables: &Tables, moved: i64) -> Result<(), StoreError> {
    let mut todo = vec![moved];
    let mut done = BTreeSet::from([moved]);
    while let Some(t) = todo.pop() {
        for (child, column) in tables.referring(t) {
            let (table, name) = (Quoted(&child.name), Quoted(&child.names[column]));
            let sql = format!(
                "UPDATE main.{table} SET {name} = (SELECT new FROM temp._p2p_move WHERE old = {name})
                 WHERE {name} IN (SELECT old FROM temp._p2p_move)"
            );
            conn.prepare_cached(&sql)?.execute(params_from_iter(std::iter::empty::<SqlValue>()))?;
            let is_key = matches!(child.merge.key.as_slice(), [(key, _)] if *key == column);
            if is_key && done.insert(child.t) {
                todo.push(child.t);
            }
        }
    }
    Ok(())
}
