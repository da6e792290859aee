//! What the private tables tell a reader: counts, tables, conflicts, the log. Works on any connection of the
//! database, the host's included; nothing is changed and no statement outlives a call.

use p2pdb_core::codec::{Reader, Write};
use p2pdb_core::entry::Header;
use p2pdb_core::id::{AuthorId, GroupId};
use p2pdb_core::name::{Name, key_values};
use p2pdb_core::value::Value;
use rusqlite::{Connection, OptionalExtension};

use super::StoreError;
use crate::quote::Quoted;
use crate::schema;

/// How much of what there is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Entries in the log.
    pub entries: i64,
    /// Changes that are captured and not sealed yet.
    pub pending: i64,
    /// Rows and operations that are kept and can't be shown.
    pub parked: i64,
    /// Entries that are kept and whose effect waits.
    pub quarantined: i64,
    /// The state digest, 16 bytes.
    pub digest: Option<[u8; 16]>,
}

/// Counts everything.
///
/// # Errors
/// SQLite's.
pub fn counts(conn: &Connection) -> rusqlite::Result<Counts> {
    let sql = "SELECT (SELECT coalesce(sum(held), 0) FROM _p2p_author),
                      (SELECT count(*) FROM _p2p_mark),
                      (SELECT count(*) FROM _p2p_stuck) + (SELECT count(*) FROM _p2p_withheld),
                      (SELECT coalesce(sum(held - applied), 0) FROM _p2p_author),
                      (SELECT value FROM _p2p_meta WHERE key = 'digest')";
    conn.query_row(sql, [], |row| {
        Ok(Counts {
            entries: row.get(0)?,
            pending: row.get(1)?,
            parked: row.get(2)?,
            quarantined: row.get(3)?,
            digest: row.get(4)?,
        })
    })
}

/// One tracked table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableReport {
    /// Its name here.
    pub name: String,
    /// How its rows are named.
    pub key: String,
    /// Its columns, separated by commas.
    pub columns: String,
    /// Rows that are visible.
    pub rows: i64,
    /// Changes not sealed yet.
    pub pending: i64,
    /// Rows and operations that can't be shown.
    pub parked: i64,
    /// In one word.
    pub state: String,
    /// What there is to say about it.
    pub note: String,
}

/// All tracked tables, by name.
///
/// # Errors
/// [`StoreError`].
pub fn tables(conn: &Connection) -> Result<Vec<TableReport>, StoreError> {
    let sql = "SELECT t, name, names, definition, state, note,
                      (SELECT count(*) FROM _p2p_mark m WHERE m.t = x.t),
                      (SELECT count(*) FROM _p2p_stuck s WHERE s.t = x.t)
                        + (SELECT count(*) FROM _p2p_withheld w WHERE w.table_id = x.id)
               FROM _p2p_table x WHERE state <> 2 ORDER BY name";
    let mut statement = conn.prepare(sql)?;
    let mut rows = statement.query([])?;
    let mut reports = Vec::new();
    while let Some(row) = rows.next()? {
        let name: String = row.get(1)?;
        let names: Vec<String> = schema::read_names(&row.get::<_, String>(2)?);
        let definition: Vec<u8> = row.get(3)?;
        let key = match schema::read_definition(&definition) {
            Ok(Some(def)) => key_text(&def),
            // Of a later version: it is parked, and its note says so.
            Ok(None) | Err(_) => "unknown".to_owned(),
        };
        let state = match row.get::<_, i64>(4)? {
            0 | 1 => "tracked",
            4 => "captured",
            _ => "parked",
        };
        let counted = conn.query_row(&format!("SELECT count(*) FROM main.{}", Quoted(&name)), [], |row| row.get(0));
        reports.push(TableReport {
            key,
            columns: names.join(", "),
            // Parked before it could be built, or dropped since.
            rows: counted.unwrap_or_default(),
            pending: row.get(6)?,
            parked: row.get(7)?,
            state: state.to_owned(),
            note: row.get(5)?,
            name,
        });
    }
    Ok(reports)
}

fn key_text(def: &schema::Definition) -> String {
    let columns: Vec<_> = def.key_columns().into_iter().map(|(c, _)| c).collect();
    match (columns.is_empty(), def.is_alias()) {
        (true, _) => "none".to_owned(),
        (false, true) => format!("{} (integer, claimed)", columns.join(", ")),
        (false, false) => columns.join(", "),
    }
}

/// A value that lost, or a row that is not shown.
#[derive(Clone, Debug, PartialEq)]
pub struct ConflictReport {
    /// The table.
    pub table: String,
    /// The row, as JSON: its key, or its birth.
    pub row: String,
    /// The column; none where the whole row is not shown.
    pub column: Option<String>,
    /// What was written; none where the whole row is not shown.
    pub value: Option<Value>,
    /// What became of it.
    pub reason: String,
    /// Milliseconds since 1970 when it was written.
    pub time_ms: Option<i64>,
    /// Who wrote it.
    pub author: Option<AuthorId>,
    /// Who wrote what stands in its place.
    pub by: Option<AuthorId>,
}

/// A conflict's number, and what it is. In ascending order, after `after`; at most `most`.
///
/// # Errors
/// [`StoreError`].
pub fn conflicts(conn: &Connection, after: i64, most: usize) -> Result<Vec<(i64, ConflictReport)>, StoreError> {
    let sql = "SELECT c.id, x.name, x.names, c.name, c.col, c.value, c.reason, c.clock, a.id, b.id
               FROM _p2p_conflict c LEFT JOIN _p2p_table x USING(t)
               LEFT JOIN _p2p_author a ON a.n = c.author LEFT JOIN _p2p_author b ON b.n = c.by_author
               WHERE c.id > ?1 ORDER BY c.id LIMIT ?2";
    let mut statement = conn.prepare(sql)?;
    let mut rows = statement.query(rusqlite::params![after, most as i64])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let names = schema::read_names(&row.get::<_, Option<String>>(2)?.unwrap_or_default());
        let name = Name::read(&mut Reader::new(row.get_ref(3)?.as_blob().unwrap_or_default()))?;
        let column = row.get::<_, i64>(4)? as usize;
        let reason = match row.get::<_, i64>(6)? {
            1 => "a concurrent write to the same column is later",
            2 => "the row was deleted by one who had not seen the write",
            _ => "unknown",
        };
        let report = ConflictReport {
            table: row.get::<_, Option<String>>(1)?.unwrap_or_default(),
            row: name_text(&name),
            column: Some(names.get(column).cloned().unwrap_or_else(|| format!("column {column}"))),
            value: Some(Value::read(&mut Reader::new(row.get_ref(5)?.as_blob().unwrap_or_default()))?),
            reason: reason.to_owned(),
            time_ms: Some(row.get::<_, i64>(7)? >> 16),
            author: row.get::<_, Option<[u8; 16]>>(8)?.map(AuthorId),
            by: row.get::<_, Option<[u8; 16]>>(9)?.map(AuthorId),
        };
        found.push((row.get(0)?, report));
    }
    Ok(found)
}

/// Rows that are alive and not shown as merged, and why.
///
/// # Errors
/// SQLite's.
pub fn stuck(conn: &Connection) -> Result<Vec<ConflictReport>, StoreError> {
    let sql = "SELECT x.name, s.name, s.reason FROM _p2p_stuck s LEFT JOIN _p2p_table x USING(t) ORDER BY s.t, s.name";
    let mut statement = conn.prepare(sql)?;
    let mut rows = statement.query([])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let name = match row.get_ref(1)? {
            rusqlite::types::ValueRef::Integer(id) => id.to_string(),
            rusqlite::types::ValueRef::Blob(key) => name_text(&Name::Key(key.into())),
            _ => String::new(),
        };
        found.push(ConflictReport {
            table: row.get::<_, Option<String>>(0)?.unwrap_or_default(),
            row: name,
            column: None,
            value: None,
            reason: format!("not shown as merged: {}", row.get::<_, String>(2)?),
            time_ms: None,
            author: None,
            by: None,
        });
    }
    Ok(found)
}

/// A row's name for a reader: its key as a JSON array, or the birth that names it.
pub fn name_text(name: &Name) -> String {
    match name {
        Name::Born { dot, id } => serde_json::json!({ "born": dot.to_string(), "id": id }).to_string(),
        Name::Key(key) => match key_values(key) {
            Ok(values) => serde_json::Value::Array(values.iter().map(value_json).collect()).to_string(),
            Err(_) => "a key too long to be kept".to_owned(),
        },
    }
}

fn value_json(value: &Value) -> serde_json::Value {
    match value {
        Value::Null => serde_json::Value::Null,
        Value::Integer(i) => (*i).into(),
        Value::Real(r) => (*r).into(),
        Value::Text(t) => String::from_utf8_lossy(t).into(),
        Value::Blob(b) => b.iter().map(|b| format!("{b:02x}")).collect::<String>().into(),
        Value::Ref(name) => serde_json::json!({ "row": name_text(name) }),
    }
}

/// One entry of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryReport {
    /// Its arrival number here.
    pub n: i64,
    /// Its id.
    pub hash: Vec<u8>,
    /// Its header.
    pub header: Header,
    /// How many operations it has.
    pub ops: i64,
    /// The whole of it.
    pub entry: Vec<u8>,
}

/// Entries after an arrival number, until about `bytes_max` bytes; at least one if there is one.
///
/// # Errors
/// [`StoreError`].
pub fn log_after(conn: &Connection, after: i64, bytes_max: usize) -> Result<Vec<EntryReport>, StoreError> {
    let mut statement = conn.prepare("SELECT n, hash, header, body, ops FROM _p2p_entry WHERE n > ?1 ORDER BY n")?;
    let mut rows = statement.query([after])?;
    let (mut found, mut bytes) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        let mut entry: Vec<u8> = row.get(2)?;
        let header = Header::read(&mut Reader::new(&entry))?;
        if let Some(body) = row.get_ref(3)?.as_blob_or_null().map_err(rusqlite::Error::from)? {
            entry.raw(body);
        }
        bytes += entry.len();
        if bytes > bytes_max && !found.is_empty() {
            break;
        }
        found.push(EntryReport { n: row.get(0)?, hash: row.get(1)?, header, ops: row.get(4)?, entry });
    }
    Ok(found)
}

/// The group that the database's log belongs to, if it has one yet.
///
/// # Errors
/// SQLite's.
pub fn group(conn: &Connection) -> rusqlite::Result<Option<GroupId>> {
    let sql = "SELECT value FROM _p2p_meta WHERE key = 'group'";
    Ok(conn.query_row(sql, [], |row| row.get::<_, [u8; 16]>(0)).optional()?.map(GroupId))
}
