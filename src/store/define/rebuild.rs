//! A table made anew, as ORMs do it: one as it is to be, the rows copied, the old one dropped.

use p2pdb_core::body::ColumnId;
use p2pdb_core::merge::Refusal;
use p2pdb_core::value::Value;
use rusqlite::{Connection, OptionalExtension, params, params_from_iter};

use super::alter::{Known, wanted};
use super::realize::Refused;
use super::{Definition, fill, read_listed};
use crate::capture;
use crate::quote::Quoted;
use crate::schema::element::{self, Element};
use crate::store::Store;
use crate::store::rows::{BindValue, Shared, SqliteRows, values_of};
use crate::store::tables::Tables;

/// The name of a table in the making.
const NEW: &str = "_p2p_new";

/// Makes the table anew; rows that the new one refuses are hidden before.
pub(super) fn rebuild(
    store: &mut Store,
    known: &Known,
    target: &Definition,
    columns: &[ColumnId],
) -> Result<(), Refused> {
    let name = Quoted(&target.name).to_string();
    let triggers: Vec<String> = {
        let sql = "SELECT sql FROM main.sqlite_schema WHERE type = 'trigger' AND tbl_name = ?1 COLLATE NOCASE
                   AND name NOT GLOB '_p2p_*' ORDER BY rowid";
        let mut statement = store.conn.prepare(sql)?;
        statement.query_map([&target.name], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?
    };
    capture::disarm(&store.conn, known.t)?;
    let here = read_listed(&store.conn, known.t, &target.name).map_err(|e| Refused::Because(e.to_string()))?;
    for index in here.uniques.iter().chain(&here.indexes).filter_map(|i| i.name.as_ref()) {
        store.conn.execute_batch(&format!("DROP INDEX main.{}", Quoted(index)))?;
    }
    let making = Definition { name: NEW.into(), ..target.clone() };
    for sql in making.create_sql() {
        store.conn.execute_batch(&sql)?;
    }
    copy(store, known, &here, target, columns)?;
    keep_shown_otherwise(store, known, &name, target, columns)?;
    hide_refused(store, known, &name, target)?;
    let sequence = sequence(&store.conn, &target.name)?;
    store.conn.execute_batch(&format!("DROP TABLE main.{name}"))?;
    // What refers to the table by name goes on to do so.
    let is_legacy: bool = store.conn.query_row("PRAGMA legacy_alter_table", [], |row| row.get(0))?;
    store.conn.execute_batch("PRAGMA legacy_alter_table=ON")?;
    let renamed = store.conn.execute_batch(&format!("ALTER TABLE main.{NEW} RENAME TO {name}"));
    store.conn.execute_batch(if is_legacy { "" } else { "PRAGMA legacy_alter_table=OFF" })?;
    renamed?;
    for sql in triggers {
        store.conn.execute_batch(&sql)?;
    }
    if let Some(sequence) = sequence {
        let sql = "UPDATE sqlite_sequence SET seq = max(seq, ?2) WHERE name = ?1";
        if store.conn.execute(sql, params![target.name, sequence])? == 0 {
            let sql = "INSERT INTO sqlite_sequence(name, seq) VALUES(?1, ?2)";
            store.conn.execute(sql, params![target.name, sequence])?;
        }
    }
    Ok(())
}

/// The rows, as far as the new table takes them: columns by their names, those that are new by what they show in older rows.
fn copy(
    store: &Store,
    known: &Known,
    here: &Definition,
    target: &Definition,
    columns: &[ColumnId],
) -> Result<(), Refused> {
    let elements = wanted(&store.conn, known.t)?.unwrap_or_default();
    let old = here.stored_names();
    let (mut into, mut from, mut fills) = (Vec::new(), Vec::new(), Vec::new());
    // Where the rowid is nobody's column it stays as it is: an index beside the table may go by it.
    let takes = |d: &Definition| d.columns.iter().any(|c| c.name.eq_ignore_ascii_case("_rowid_"));
    let is_rowid = target.key.as_ref().is_some_and(|k| k.is_rowid);
    if !target.without_rowid && !here.without_rowid && !is_rowid && !takes(here) && !takes(target) {
        into.push("_rowid_".to_owned());
        from.push("_rowid_".to_owned());
    }
    for (column, id) in target.stored().zip(columns) {
        into.push(Quoted(&column.name).to_string());
        from.push(match known.columns.iter().position(|c| c == id).and_then(|at| old.get(at)) {
            Some(old) => Quoted(old).to_string(),
            None => {
                let fill = elements.get(&Element::Fill(*id)).map_or(Value::Null, |says| element::read_fill(says));
                fills.push(fill::as_shown(column, &fill)?);
                format!("?{}", fills.len())
            }
        });
    }
    let (into, from, old) = (into.join(", "), from.join(", "), Quoted(&target.name));
    let sql = format!("INSERT OR IGNORE INTO main.{NEW}({into}) SELECT {from} FROM main.{old}");
    store.conn.execute(&sql, params_from_iter(fills.iter().map(BindValue)))?;
    Ok(())
}

/// Rows of the old table that the new one refused leave it, whole, and are tried again when the new one is in place.
fn hide_refused(store: &mut Store, known: &Known, old: &str, target: &Definition) -> Result<(), Refused> {
    let key: Vec<String> = target.key_columns().iter().map(|(c, _)| Quoted(c).to_string()).collect();
    let joined: Vec<String> = key.iter().map(|c| format!("n.{c} IS o.{c}")).collect();
    let listed: Vec<String> = key.iter().map(|c| format!("o.{c}")).collect();
    let sql = format!(
        "SELECT {} FROM main.{old} o WHERE NOT EXISTS(SELECT 1 FROM main.{NEW} n WHERE {})",
        listed.join(", "),
        joined.join(" AND ")
    );
    let refused: Vec<Vec<Value>> = {
        let mut statement = store.conn.prepare(&sql)?;
        let rows = statement.query_map([], |row| values_of(row, key.len()))?;
        rows.collect::<rusqlite::Result<_>>()?
    };
    if refused.is_empty() {
        return Ok(());
    }
    // Within the old table still: its columns have the numbers that its records go by.
    store.tables = Tables::load(&store.conn)?;
    let Store { conn, tables, authors, hasher, digest, flags, .. } = store;
    let Some(table) = tables.get(known.t) else {
        return Err(Refused::Because(format!("{} of its rows do not fit", refused.len())));
    };
    let shared = Shared { conn, tables, hasher, flags };
    let mut rows = SqliteRows::new(shared, table, authors, digest)?;
    let why = Refusal::constraint("it does not fit the table as it was altered");
    for values in refused {
        let Some(key) = rows.key_shown(&values)? else { continue };
        let Some(state) = rows.merging(|merge| merge.state_of(&key))? else { continue };
        let freed = rows.merging(|merge| merge.take_out(&key, state, &why))?;
        flags.freed.borrow_mut().extend(freed.map(|id| (known.t, id)));
        flags.woke.set(true);
    }
    Ok(())
}

/// Rows that show something else in the new table, for its columns have other types: their records keep what was merged.
fn keep_shown_otherwise(
    store: &mut Store,
    known: &Known,
    old: &str,
    target: &Definition,
    columns: &[ColumnId],
) -> Result<(), Refused> {
    store.tables = Tables::load(&store.conn)?;
    let Store { conn, tables, authors, hasher, digest, flags, .. } = store;
    let Some(table) = tables.get(known.t) else { return Ok(()) };
    let names = target.stored_names();
    let new_name = |id: &ColumnId| columns.iter().position(|c| c == id).and_then(|at| names.get(at));
    let (mut pairs, mut joined) = (Vec::new(), Vec::new());
    for (at, id) in known.columns.iter().enumerate() {
        let (Some(old), Some(new)) = (table.names.get(at), new_name(id)) else { continue };
        let (old, new) = (Quoted(old), Quoted(new));
        pairs.push(format!("n.{new} IS NOT o.{old} OR typeof(n.{new}) <> typeof(o.{old})"));
        if table.key().iter().any(|(c, _)| *c == at) {
            joined.push(format!("n.{new} IS o.{old}"));
        }
    }
    let listed: Vec<String> = table.key().iter().map(|(c, _)| format!("o.{}", Quoted(&table.names[*c]))).collect();
    let (listed, joined, pairs) = (listed.join(", "), joined.join(" AND "), pairs.join(" OR "));
    let sql = format!("SELECT {listed} FROM main.{old} o JOIN main.{NEW} n ON {joined} WHERE {pairs}");
    let shown: Vec<Vec<Value>> = {
        let mut statement = conn.prepare(&sql)?;
        let rows = statement.query_map([], |row| values_of(row, table.key().len()))?;
        rows.collect::<rusqlite::Result<_>>()?
    };
    let mut rows = SqliteRows::new(Shared { conn, tables, hasher, flags }, table, authors, digest)?;
    for values in shown {
        if let Some(key) = rows.key_shown(&values)? {
            rows.merging(|merge| merge.keep_state(&key))?;
        }
    }
    Ok(())
}

/// How far AUTOINCREMENT has counted.
fn sequence(conn: &Connection, table: &str) -> rusqlite::Result<Option<i64>> {
    let is_there = "SELECT EXISTS(SELECT 1 FROM main.sqlite_schema WHERE name = 'sqlite_sequence')";
    if !conn.query_row(is_there, [], |row| row.get(0))? {
        return Ok(None);
    }
    conn.query_row("SELECT seq FROM sqlite_sequence WHERE name = ?1", [table], |row| row.get(0)).optional()
}
