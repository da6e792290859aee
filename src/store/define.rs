//! Tables in the log: announcing one, and building one that a peer announced.

use p2pdb_core::body::ColumnId;
use p2pdb_core::id::TableId;
use rusqlite::{Connection, params};

use super::{Store, StoreError};
use crate::quote::Quoted;
use crate::schema;

/// Begins to track a table: arms its triggers and marks the rows that it has.
pub(crate) fn track(conn: &Connection, table: &str) -> Result<i64, StoreError> {
    let sql: String = conn.query_row("SELECT sql FROM sqlite_schema WHERE name = ?1", [table], |r| r.get(0))?;
    let names: Vec<String> = {
        let mut s = conn.prepare("SELECT name FROM pragma_table_info(?1)")?;
        s.query_map([table], |r| r.get(0))?.collect::<rusqlite::Result<_>>()?
    };
    let mut ids: Vec<ColumnId> = Vec::new();
    for n in &names {
        let id = ColumnId::of(n, &ids);
        ids.push(id);
    }
    let id = TableId::from_slice(&blake3::hash(table.to_ascii_lowercase().as_bytes()).as_bytes()[..8]).unwrap_or_default();
    add(conn, table, id, &ids, &names, sql.as_bytes(), 0)
}

fn add(conn: &Connection, table: &str, id: TableId, ids: &[ColumnId], names: &[String], def: &[u8], state: i64) -> Result<i64, StoreError> {
    let columns: Vec<u8> = ids.iter().flat_map(|c| c.0).collect();
    conn.execute(
        "INSERT INTO _p2p_table(id, name, columns, names, definition, state) VALUES(?1, ?2, ?3, ?4, ?5, ?6)",
        params![id.0, table, columns, serde_json::to_string(names).unwrap_or_default(), def, state],
    )?;
    let t = conn.last_insert_rowid();
    let def = schema::read_definition(def)?;
    let key: Vec<String> = def.map(|d| d.key_columns().into_iter().map(|k| k.0).collect()).unwrap_or_default();
    let q = Quoted(table);
    let cols = |p: &str| (1..=key.len()).map(|i| format!("{p}{i}")).collect::<Vec<_>>().join(",");
    let vals = |p: &str| key.iter().map(|k| format!("{p}.{}", Quoted(k))).collect::<Vec<_>>().join(",");
    let diff = key.iter().map(|k| format!("NEW.{0} COLLATE BINARY IS NOT OLD.{0}", Quoted(k))).collect::<Vec<_>>().join(" OR ");
    conn.execute_batch(&format!(
        "CREATE TABLE IF NOT EXISTS _p2p_mark(n INTEGER PRIMARY KEY, t, m, r, k1, k2, k3, k4, o1, o2, o3, o4);
         CREATE TRIGGER _p2p_{t}i AFTER INSERT ON {q} BEGIN INSERT INTO _p2p_mark(t,m,{0}) VALUES({t},1,{1}); END;
         CREATE TRIGGER _p2p_{t}d AFTER DELETE ON {q} BEGIN INSERT INTO _p2p_mark(t,m,{0}) VALUES({t},2,{2}); END;
         CREATE TRIGGER _p2p_{t}u AFTER UPDATE ON {q} WHEN NOT ({diff}) BEGIN INSERT INTO _p2p_mark(t,m,{0}) VALUES({t},3,{1}); END;
         CREATE TRIGGER _p2p_{t}k AFTER UPDATE ON {q} WHEN {diff} BEGIN INSERT INTO _p2p_mark(t,m,{0},{3}) VALUES({t},4,{1},{2}); END;",
        cols("k"), vals("NEW"), vals("OLD"), cols("o")
    ))?;
    conn.execute_batch(&format!("INSERT INTO _p2p_mark(t,m,{}) SELECT {t},1,{} FROM {q} AS x", cols("k"), vals("x")))?;
    Ok(t)
}

/// Builds a table that a peer announced, or takes it as the one that is here.
pub(super) fn build(store: &mut Store, id: TableId, columns: &[ColumnId], definition: &[u8]) -> Result<(), StoreError> {
    if store.tables.by_id(&id).is_some() {
        return Ok(());
    }
    let Some(def) = schema::read_definition(definition)? else { return Ok(()) };
    store.conn.execute_batch(&def.sql)?;
    let name: String = store.conn.query_row("SELECT name FROM sqlite_schema WHERE type='table' ORDER BY rowid DESC LIMIT 1", [], |r| r.get(0))?;
    let names: Vec<String> = {
        let mut s = store.conn.prepare("SELECT name FROM pragma_table_info(?1)")?;
        s.query_map([&name], |r| r.get(0))?.collect::<rusqlite::Result<_>>()?
    };
    add(&store.conn, &name, id, columns, &names, definition, 1)?;
    store.refresh_tables()
}
