//! Which tables can be tracked, and why others can't.

use rusqlite::Connection;

use super::{Definition, ReadError, StoreError};
use crate::schema::is_virtual;

/// Why not, without the name of the call.
pub(super) enum Untrackable {
    Table(String),
    Store(StoreError),
}

impl Untrackable {
    pub(super) fn in_call(self, call: &str) -> StoreError {
        match self {
            Self::Table(why) => StoreError::Table(format!("{call}: {why}")),
            Self::Store(e) => e,
        }
    }
}

impl From<rusqlite::Error> for Untrackable {
    fn from(e: rusqlite::Error) -> Self {
        Self::Store(e.into())
    }
}

/// The definition of a table that can be tracked.
pub(super) fn read_trackable(conn: &Connection, table: &str) -> Result<Definition, Untrackable> {
    let refuse = |why: &str| Err(Untrackable::Table(format!("table \"{table}\" {why}")));
    let starts = |prefix: &str| table.get(..prefix.len()).is_some_and(|head| head.eq_ignore_ascii_case(prefix));
    if starts("sqlite_") {
        return refuse("is SQLite's own and can't be tracked");
    }
    if starts("_p2p_") {
        return refuse("is P2PDB's own and can't be tracked");
    }
    let definition = match Definition::read_local(conn, table) {
        Ok(definition) => definition,
        Err(ReadError::Missing) if is_temporary(conn, table)? => {
            return refuse("is temporary and ends with this connection; track one of the database file");
        }
        Err(ReadError::Missing) => return refuse("does not exist; create it first"),
        Err(ReadError::NotATable(what)) => {
            let why = format!("\"{table}\" is a {what}; track the tables whose rows it shows");
            return Err(Untrackable::Table(why));
        }
        Err(ReadError::Sqlite(e)) => return Err(e.into()),
    };
    if let Some(owner) = shadowed(conn, table)? {
        let why = format!("table \"{table}\" is a part of the virtual table \"{owner}\" and can't be tracked");
        return Err(Untrackable::Table(why));
    }
    if definition.columns.iter().all(|c| c.generated.is_some()) {
        return refuse("has no columns but generated ones");
    }
    Ok(definition)
}

/// The user's tables of the main database. Left out are SQLite's, ours, and those in which virtual tables keep their data.
pub(super) fn tables(conn: &Connection) -> Result<Vec<String>, StoreError> {
    let sql = "SELECT name FROM main.sqlite_schema WHERE type = 'table'
               AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND name NOT LIKE '\\_p2p\\_%' ESCAPE '\\' ORDER BY rowid";
    let mut statement = conn.prepare_cached(sql)?;
    let names = statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<Vec<String>>>()?;
    let mut tables = Vec::with_capacity(names.len());
    for name in names {
        if shadowed(conn, &name)?.is_none() {
            tables.push(name);
        }
    }
    Ok(tables)
}

/// How Django and Alembic call the table in which they make another one anew. Python's sqlite3 commits each CREATE TABLE that
/// begins no transaction, so one may be met half made.
const MAKING: [&str; 2] = ["new__", "_alembic_tmp_"];

/// The table that is made anew in this one: tracked as a table of its own, it would become that one's twin when it is done.
pub(super) fn made_in<'a>(conn: &Connection, table: &'a str) -> rusqlite::Result<Option<&'a str>> {
    let made = |prefix: &&str| table.get(..prefix.len()).filter(|head| head.eq_ignore_ascii_case(prefix)).is_some();
    let Some(other) = MAKING.iter().find(|p| made(p)).and_then(|prefix| table.get(prefix.len()..)) else {
        return Ok(None);
    };
    let sql = "SELECT EXISTS(SELECT 1 FROM _p2p_table WHERE name = ?1 COLLATE NOCASE)
               OR EXISTS(SELECT 1 FROM main.sqlite_schema WHERE type = 'table' AND name = ?1 COLLATE NOCASE)";
    let is_there: bool = conn.prepare_cached(sql)?.query_row([other], |row| row.get(0))?;
    Ok(is_there.then_some(other))
}

/// What else is in the schema of the main database and can't be tracked, with the reason: views, virtual tables and their parts. Left
/// out is what is SQLite's or ours.
///
/// # Errors
/// SQLite's.
pub fn left_alone(conn: &Connection) -> Result<Vec<(String, String)>, StoreError> {
    let sql = "SELECT name FROM main.sqlite_schema WHERE type IN ('table', 'view')
               AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND name NOT LIKE '\\_p2p\\_%' ESCAPE '\\' ORDER BY rowid";
    let mut statement = conn.prepare_cached(sql)?;
    let names = statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<Vec<String>>>()?;
    let mut left = Vec::new();
    for name in names {
        match read_trackable(conn, &name) {
            Err(Untrackable::Table(why)) => left.push((name, why)),
            Err(Untrackable::Store(e)) => return Err(e),
            Ok(_) => {}
        }
    }
    Ok(left)
}

fn is_temporary(conn: &Connection, table: &str) -> rusqlite::Result<bool> {
    let sql =
        "SELECT EXISTS(SELECT 1 FROM sqlite_temp_schema WHERE type IN ('table', 'view') AND name = ?1 COLLATE NOCASE)";
    conn.prepare_cached(sql)?.query_row([table], |row| row.get(0))
}

/// Endings of the tables in which SQLite's own modules keep their data: FTS3 to FTS5, R*Tree and Geopoly. PRAGMA
/// table_list would tell, from SQLite 3.37 on.
const SHADOWS: [&str; 14] = [
    "data", "idx", "content", "docsize", "config", "segments", "segdir", "stat", "node", "parent", "rowid", "instance",
    "index", "vocab",
];

/// The virtual table whose part this table is.
fn shadowed(conn: &Connection, table: &str) -> rusqlite::Result<Option<String>> {
    let mut statement =
        conn.prepare_cached("SELECT name, sql FROM main.sqlite_schema WHERE type = 'table' AND rootpage = 0")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (name, sql): (String, Option<String>) = (row.get(0)?, row.get(1)?);
        let head = table.get(..name.len()).filter(|head| head.eq_ignore_ascii_case(&name));
        let ending = head.and_then(|_| table.get(name.len()..)?.strip_prefix('_'));
        let is_shadow = ending.is_some_and(|e| SHADOWS.iter().any(|s| s.eq_ignore_ascii_case(e)));
        if is_shadow && is_virtual(&sql.unwrap_or_default()) {
            return Ok(Some(name));
        }
    }
    Ok(None)
}
