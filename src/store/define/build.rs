//! Building a table that a peer announced, or taking one that is here for it.
//!
//! Whatever a peer announces, this ends well: the table is there and armed, or its announcement is kept with the reason why
//! it is not. What a peer sent is never run but as SQL generated from checked fields, and what that made is read back
//! and compared before it is believed.

use p2pdb_core::body::ColumnId;
use p2pdb_core::id::TableId;
use p2pdb_core::limit;
use rusqlite::{Connection, OptionalExtension, params};

use super::{
    Definition, ReadError, State, StoreError, alter, armed, atomically, existing, kinds, list_as, listed, records,
};
use crate::capture;
use crate::schema::Index;
use crate::store::Store;

/// Builds a table that a peer announced, or takes it as the one that is here, or parks it.
pub(in crate::store) fn build(
    store: &mut Store,
    id: TableId,
    columns: &[ColumnId],
    definition: &[u8],
) -> Result<(), StoreError> {
    match number(&store.conn, id)? {
        Some(t) => alter::merge_announced(store, t, columns, definition)?,
        None => {
            place(&store.conn, id, columns, definition)?;
            if let Some(t) = number(&store.conn, id)? {
                store.flags.events.note_table(t);
            }
        }
    }
    store.refresh_tables()?;
    store.copy_triggers()
}

/// The local number of a table that is listed.
fn number(conn: &Connection, id: TableId) -> rusqlite::Result<Option<i64>> {
    let sql = "SELECT t FROM _p2p_table WHERE id = ?1";
    conn.prepare_cached(sql)?.query_row([id.0], |row| row.get(0)).optional()
}

/// Tries parked tables again: what was in their way may be gone. Returns numbers and names of those that are there now.
///
/// # Errors
/// SQLite's.
pub fn retry_parked(conn: &Connection) -> Result<Vec<(i64, String)>, StoreError> {
    let sql = "SELECT t, id, columns, definition FROM _p2p_table WHERE state = 3";
    let parked = conn
        .prepare(sql)?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    let mut built = Vec::new();
    for (t, id, columns, bytes) in parked {
        let (t, columns, bytes): (i64, Vec<u8>, Vec<u8>) = (t, columns, bytes);
        let ids: Vec<ColumnId> = columns.chunks_exact(4).map(|c| ColumnId([c[0], c[1], c[2], c[3]])).collect();
        let Ok((definition, names)) = attempt(conn, TableId(id), &ids, &bytes) else { continue };
        atomically(conn, || {
            let names = serde_json::Value::from(names).to_string();
            let sql = "UPDATE _p2p_table SET state = 1, note = '', name = ?2, names = ?3 WHERE t = ?1";
            conn.execute(sql, params![t, definition.name, names])?;
            arm(conn, t, &definition)?;
            crate::store::events::built(conn, t)
        })?;
        built.push((t, definition.name));
    }
    Ok(built)
}

fn place(conn: &Connection, id: TableId, columns: &[ColumnId], bytes: &[u8]) -> Result<(), StoreError> {
    let tables: i64 = conn.prepare_cached("SELECT count(*) FROM _p2p_table")?.query_row([], |row| row.get(0))?;
    if tables >= limit::TABLES_MAX as i64 {
        // Its operations are withheld with those of every table that is not known here.
        return Ok(());
    }
    match attempt(conn, id, columns, bytes) {
        Ok((definition, names)) => atomically(conn, || {
            // Rows that it has are sealed first, as those of any table that is new here.
            let state = if existing::has_rows(conn, &definition.name)? { State::New } else { State::Tracked };
            let t = list_as(conn, id, &definition.name, columns, &names, bytes, state, "")?;
            arm(conn, t, &definition)
        }),
        Err(Reason::Store(e)) => Err(e),
        Err(Reason::Parked(reason)) => {
            let definition = Definition::read(bytes).ok();
            let name = definition.as_ref().map_or_else(|| id.to_string(), |d| d.name.clone());
            let names = definition.map(|d| d.stored_names()).unwrap_or_default();
            list_as(conn, id, &name, columns, &names, bytes, State::Parked, &reason).map(drop)
        }
    }
}

fn arm(conn: &Connection, t: i64, definition: &Definition) -> Result<(), StoreError> {
    records::create(conn, t, definition)?;
    capture::arm(conn, t, definition)?;
    armed::reconcile(conn, t, definition).map(drop)
}

enum Reason {
    Parked(String),
    Store(StoreError),
}

impl From<rusqlite::Error> for Reason {
    fn from(e: rusqlite::Error) -> Self {
        Self::Store(e.into())
    }
}

impl From<StoreError> for Reason {
    fn from(e: StoreError) -> Self {
        Self::Store(e)
    }
}

fn park<T>(reason: impl Into<String>) -> Result<T, Reason> {
    Err(Reason::Parked(reason.into()))
}

/// Makes the table be there. Gives its local definition, and the local names of its columns in the announced order.
fn attempt(
    conn: &Connection,
    _id: TableId,
    columns: &[ColumnId],
    bytes: &[u8],
) -> Result<(Definition, Vec<String>), Reason> {
    let announced = match Definition::read(bytes) {
        Ok(definition) => definition,
        Err(e) => return park(format!("its announcement can't be read: {e}")),
    };
    if announced.stored_names().len() != columns.len() {
        return park("its announcement has other columns than it lists");
    }
    if announced.key.is_none() && !announced.names_by_birth() {
        return park(
            "it can't be exchanged: nothing tells its rows, it has no key and its columns take all names of the rowid",
        );
    }
    let unlisted = announced.unlisted();
    if !unlisted.is_empty() {
        return park(format!("it can't be built here: {}", unlisted.join("; ")));
    }
    let local = match Definition::read_local(conn, &announced.name) {
        Ok(local) => take(conn, &announced, local.keyed_like(&announced))?,
        Err(ReadError::Missing) => create(conn, &announced)?,
        Err(ReadError::NotATable(what)) => {
            return park(format!("here \"{}\" is a {what}; rename or drop it", announced.name));
        }
        Err(ReadError::Sqlite(e)) => return Err(e.into()),
    };
    let names = local.stored_names();
    Ok((local, names))
}

/// A table of that name is here: is it the same?
fn take(conn: &Connection, announced: &Definition, local: Definition) -> Result<Definition, Reason> {
    if let Some(difference) = local.difference(announced) {
        return park(format!(
            "another table of this name is here: {difference}; rename or drop it, or make them equal"
        ));
    }
    let others = listed(conn, &announced.name)?;
    let tracked = others.iter().find(|o| matches!(o.state, State::New | State::Tracked | State::Captured));
    if let Some(tracked) = tracked {
        let is_natural = |d: &Definition| d.key.as_ref().is_some_and(|k| k.is_natural);
        return match Definition::read(&tracked.definition) {
            Ok(here) if is_natural(&here) != is_natural(announced) => park(
                "the table of this name is tracked here with the other kind of integer key (option \"key\" of p2p_track); \
                 p2p_untrack() it here or there",
            ),
            _ => park("another table of this name is tracked here"),
        };
    }
    if let Err(e) = kinds::read_trackable(conn, &announced.name) {
        return park(e.in_call("the table of this name here can't be tracked").to_string());
    }
    if !existing::may_take(conn, &announced.name)? {
        return park(
            "a table of this name holds rows here; p2p_join(ticket, '{\"existing\":\"merge\"}') merges them into the group's",
        );
    }
    Ok(local)
}

/// Builds it, and believes it only when what stands there reads as what was announced.
fn create(conn: &Connection, announced: &Definition) -> Result<Definition, Reason> {
    let mut wanted = announced.clone();
    rename_indexes(conn, &mut wanted)?;
    let built = atomically(conn, || {
        for sql in wanted.create_sql() {
            conn.prepare(&sql)?.execute([])?;
        }
        let local = Definition::read_local(conn, &announced.name).map_err(|e| StoreError::Table(e.to_string()))?;
        let local = local.keyed_like(announced);
        match local.difference(announced) {
            None => Ok(local),
            Some(difference) => Err(StoreError::Table(format!("this SQLite makes another table of it: {difference}"))),
        }
    });
    match built {
        Ok(local) => Ok(local),
        Err(StoreError::Table(reason)) => park(reason),
        // What SQLite does not understand is no failure of it; that the disk is full is.
        Err(StoreError::Sqlite(e)) if e.sqlite_error_code() == Some(rusqlite::ErrorCode::Unknown) => {
            park(format!("it can't be built here: {e}"))
        }
        Err(e) => Err(e.into()),
    }
}

/// Names of indexes are the database's, not the table's: one that is taken gets a number.
fn rename_indexes(conn: &Connection, wanted: &mut Definition) -> Result<(), Reason> {
    let mut statement =
        conn.prepare_cached("SELECT EXISTS(SELECT 1 FROM main.sqlite_schema WHERE name = ?1 COLLATE NOCASE)")?;
    let mut is_taken = |name: &str| statement.query_row([name], |row| row.get::<_, bool>(0));
    let table = wanted.name.clone();
    let indexes: Vec<&mut Index> = wanted.uniques.iter_mut().chain(&mut wanted.indexes).collect();
    for index in indexes {
        let Some(name) = &index.name else { continue };
        let mut candidate = name.clone();
        let mut n = 2;
        while is_taken(&candidate)? || candidate.eq_ignore_ascii_case(&table) {
            candidate = format!("{name}_{n}");
            n += 1;
        }
        index.name = Some(candidate);
    }
    Ok(())
}
