//! Tables in the log: announcing one of ours, and building one that a peer announced.
//!
//! `p2p_track` runs on the host's connection, with or without a transaction of the host's around it: everything here
//! is one SAVEPOINT, all or nothing. What a table can't do yet is decided here and written down in its `note`;
//! nothing is refused that could be captured.

use p2pdb_core::body::ColumnId;
use p2pdb_core::id::TableId;
use rusqlite::{Connection, OptionalExtension, params};

use super::{StoreError, has_private_tables, places, records};
use crate::capture;
use crate::schema::{Definition, ReadError};

pub(super) mod alter;
mod armed;
mod build;
mod columns;
pub(super) mod dropped;
mod existing;
pub(super) mod fill;
mod kinds;
mod realize;
mod rebuild;

pub use armed::check_armed;
pub(super) use armed::reconcile_all;
pub(super) use build::build;
pub use build::retry_parked;
pub use existing::{any_rows, set_existing, tracked};
pub(super) use fill::stored_default;
pub use kinds::left_alone;

/// How a table takes part, as `_p2p_table.state` keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i64)]
pub enum State {
    /// Tracked, and to be announced by the next seal.
    New = 0,
    /// Tracked, and in the log.
    Tracked = 1,
    /// Not tracked any more.
    Untracked = 2,
    /// Announced by a peer, and it can't be built here.
    Parked = 3,
    /// Its changes are captured, and not exchanged yet.
    Captured = 4,
}

impl State {
    pub(super) fn from_i64(state: i64) -> Self {
        match state {
            0 => Self::New,
            1 => Self::Tracked,
            3 => Self::Parked,
            4 => Self::Captured,
            _ => Self::Untracked,
        }
    }
}

/// What [`track`] decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tracking {
    /// The table's local number.
    pub t: i64,
    /// Its name in its own spelling.
    pub name: String,
    /// How it takes part.
    pub state: State,
    /// Was it not tracked before?
    pub is_new: bool,
    /// Rows that it had, marked to be sealed.
    pub rows: usize,
    /// What is special about it; empty where nothing is.
    pub note: String,
}

/// What became of a table in [`track_all`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It is tracked.
    Tracked(Tracking),
    /// It is none that can be, or should be: why.
    Skipped(String),
}

/// A table as `_p2p_table` has it.
struct Listed {
    t: i64,
    state: State,
    definition: Vec<u8>,
    note: String,
}

/// The id of a table: a hash of its name, ASCII-folded, and how many tables had the name before. One whose integer key names its
/// rows is another table than one whose key does not.
pub fn table_id(name: &str, generation: u32, is_natural: bool) -> TableId {
    let mut h = blake3::Hasher::new_derive_key(if is_natural { "p2pdb 1 natural table" } else { "p2pdb 1 table" });
    h.update(name.to_ascii_lowercase().as_bytes()).update(&generation.to_le_bytes());
    let mut id = TableId::default();
    id.0.copy_from_slice(&h.finalize().as_bytes()[..TableId::BYTES]);
    id
}

/// Begins to track a table of the main database: arms its triggers and marks the rows that it has. The private tables are there.
/// Options are a JSON object, or empty: `{"key":"natural"}` has an integer key name its rows.
///
/// # Errors
/// [`StoreError::Table`] says why it can't be tracked and what to do; nothing is changed then.
pub fn track(conn: &Connection, table: &str, options: &str) -> Result<Tracking, StoreError> {
    let options = Options::read(options)?;
    let mut definition = kinds::read_trackable(conn, table).map_err(|e| e.in_call("p2p_track"))?;
    let known = if has_private_tables(conn)? { listed(conn, &definition.name)?.pop() } else { None };
    let known = known.filter(|b| b.state != State::Untracked);
    match (&options.key, known.and_then(|b| Definition::read(&b.definition).ok())) {
        (None, Some(known)) => definition = definition.keyed_like(&known),
        (None, None) => {}
        (Some(wanted), known) => definition = wanted.of(definition, known.as_ref())?,
    }
    atomically(conn, || track_in(conn, &definition))
}

/// What a table's integer key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Key {
    /// A claim: two replicas that insert one id made two rows.
    Claim,
    /// A name: they made one.
    Natural,
}

/// Options of `p2p_track`.
#[derive(Debug, Default)]
struct Options {
    key: Option<Key>,
}

impl Options {
    fn read(text: &str) -> Result<Self, StoreError> {
        let mut options = Self::default();
        if text.trim().is_empty() {
            return Ok(options);
        }
        let refuse = |why: String| Err(StoreError::Table(format!("p2p_track: {why}")));
        let parsed: serde_json::Map<String, serde_json::Value> = match serde_json::from_str(text) {
            Ok(parsed) => parsed,
            Err(e) => return refuse(format!("options must be a JSON object such as '{{\"key\":\"natural\"}}': {e}")),
        };
        for (name, value) in &parsed {
            options.key = Some(match (name.as_str(), value.as_str()) {
                ("key", Some("natural")) => Key::Natural,
                ("key", Some("claim")) => Key::Claim,
                ("key", _) => return refuse(format!("the option \"key\" is \"claim\" or \"natural\", not {value}")),
                _ => return refuse(format!("unknown option \"{name}\"; there is \"key\"")),
            });
        }
        Ok(options)
    }
}

impl Key {
    /// The definition with this kind of key.
    fn of(self, mut definition: Definition, known: Option<&Definition>) -> Result<Definition, StoreError> {
        let name = definition.name.clone();
        let refuse = |why: &str| Err(StoreError::Table(format!("p2p_track: table \"{name}\" {why}")));
        let Some(key) = definition.key.as_mut().filter(|k| k.is_rowid) else {
            return refuse(
                "has no INTEGER PRIMARY KEY: the option \"key\" is about none other, a key of another kind always names its row",
            );
        };
        key.is_natural = self == Self::Natural;
        let is_natural = key.is_natural;
        let before = known.and_then(|d| d.key.as_ref()).map(|k| k.is_natural);
        if before.is_some_and(|before| before != is_natural) {
            return refuse(
                "is tracked with the other kind of key; p2p_untrack() it first: it is another table then, and what was exchanged before stays with the old one",
            );
        }
        Ok(definition)
    }
}

/// The definition of a listed table as it stands here; its key is of the kind that was announced.
fn read_listed(conn: &Connection, t: i64, name: &str) -> Result<Definition, ReadError> {
    let local = Definition::read_local(conn, name)?;
    let sql = "SELECT definition FROM _p2p_table WHERE t = ?1";
    let announced: Option<Vec<u8>> = conn.prepare_cached(sql)?.query_row([t], |row| row.get(0)).optional()?;
    Ok(match announced.and_then(|bytes| Definition::read(&bytes).ok()) {
        Some(announced) => local.keyed_like(&announced),
        None => local,
    })
}

fn track_in(conn: &Connection, definition: &Definition) -> Result<Tracking, StoreError> {
    let name = definition.name.clone();
    let bytes = definition.to_bytes();
    let (mut state, note) = standing(definition, &bytes);
    let before = listed(conn, &name)?;
    let is_same = |b: &Listed| Definition::read(&b.definition).is_ok_and(|d| definition.difference(&d).is_none());
    let t = match before.last() {
        Some(b) if matches!(b.state, State::New | State::Tracked | State::Captured) => {
            capture::arm(conn, b.t, definition)?;
            return Ok(Tracking { t: b.t, name, state: b.state, is_new: false, rows: 0, note: b.note.clone() });
        }
        Some(b) if b.state == State::Parked && !is_same(b) => {
            let why = format!(
                "p2p_track: table \"{name}\" is announced by a peer and differs from the one here ({}); make them equal",
                b.note
            );
            return Err(StoreError::Table(why));
        }
        Some(b) if matches!(b.state, State::Untracked | State::Parked) && is_same(b) => {
            let back = if b.state == State::Parked { State::Tracked } else { state };
            conn.execute("UPDATE _p2p_table SET state = ?2, note = ?3 WHERE t = ?1", params![b.t, back as i64, note])?;
            state = back;
            b.t
        }
        Some(_) | None => list(conn, free_id(conn, definition)?, definition, &bytes, state, &note)?,
    };
    records::create(conn, t, definition)?;
    capture::arm(conn, t, definition)?;
    // What the seal leaves alone need not wait for it.
    let rows = if state == State::Captured { 0 } else { armed::reconcile(conn, t, definition)? };
    Ok(Tracking { t, name, state, is_new: true, rows, note })
}

/// Ends the tracking of a table: its triggers and markers go, its rows and its history stay.
///
/// # Errors
/// [`StoreError::Table`] if it is not tracked.
pub fn untrack(conn: &Connection, table: &str) -> Result<(), StoreError> {
    // Before anything was tracked there is no list.
    let all = if has_private_tables(conn)? { listed(conn, table)? } else { Vec::new() };
    let tracked = all.last().filter(|b| matches!(b.state, State::New | State::Tracked | State::Captured));
    let Some(t) = tracked.map(|b| b.t) else {
        return Err(StoreError::Table(format!("p2p_untrack: table \"{table}\" is not tracked")));
    };
    atomically(conn, || {
        capture::disarm(conn, t)?;
        conn.execute("DELETE FROM _p2p_mark WHERE t = ?1", [t])?;
        conn.execute(
            "UPDATE _p2p_table SET state = ?2, note = 'untracked here' WHERE t = ?1",
            params![t, State::Untracked as i64],
        )?;
        Ok(())
    })
}

/// Tracks every table that can be, and notes that later ones are to be tracked as well.
///
/// # Errors
/// SQLite's. A table that can't be tracked is no error but a [`Decision`].
pub fn track_all(conn: &Connection) -> Result<Vec<(String, Decision)>, StoreError> {
    conn.execute("INSERT OR REPLACE INTO _p2p_meta(key, value) VALUES('track_all', 1)", [])?;
    track_these(conn, &kinds::tables(conn)?)
}

/// Tracks tables that are new since [`track_all`]; those that were untracked by hand stay so. Nothing if it never ran.
///
/// # Errors
/// As [`track_all`].
pub fn track_new(conn: &Connection) -> Result<Vec<(String, Decision)>, StoreError> {
    let decisions = track_these(conn, &to_be_tracked(conn)?)?;
    Ok(decisions.into_iter().filter(|d| matches!(d.1, Decision::Tracked(_))).collect())
}

/// Tables that [`track_new`] is going to track.
///
/// # Errors
/// SQLite's.
pub(super) fn to_be_tracked(conn: &Connection) -> Result<Vec<String>, StoreError> {
    let sql = "SELECT value FROM _p2p_meta WHERE key = 'track_all'";
    let is_on: Option<bool> = conn.prepare_cached(sql)?.query_row([], |row| row.get(0)).optional()?;
    let mut fresh = Vec::new();
    if is_on == Some(true) {
        for name in kinds::tables(conn)? {
            let is_other = kinds::made_in(conn, &name)?.is_none();
            if is_other && listed(conn, &name)?.is_empty() && kinds::read_trackable(conn, &name).is_ok() {
                fresh.push(name);
            }
        }
    }
    Ok(fresh)
}

fn track_these(conn: &Connection, names: &[String]) -> Result<Vec<(String, Decision)>, StoreError> {
    let mut decisions = Vec::with_capacity(names.len());
    for name in names {
        if let Some(other) = kinds::made_in(conn, name)?
            && listed(conn, name)?.is_empty()
        {
            let why = format!("\"{other}\" is made anew in it; rename it, or track it by its name");
            decisions.push((name.clone(), Decision::Skipped(why)));
            continue;
        }
        let decision = match track(conn, name, "") {
            Ok(tracking) => Decision::Tracked(tracking),
            Err(StoreError::Table(why)) => Decision::Skipped(why),
            Err(e) => return Err(e),
        };
        decisions.push((name.clone(), decision));
    }
    Ok(decisions)
}

/// How a table of this definition takes part, and what is special about it.
fn standing(definition: &Definition, bytes: &[u8]) -> (State, String) {
    match Definition::read(bytes) {
        _ if definition.key.is_none() && !definition.names_by_birth() => (State::Captured, UNTOLD.into()),
        _ if definition.host_collation().is_some() => (State::Captured, of_the_host(definition)),
        Ok(_) => (State::New, note_of(definition)),
        Err(e) => {
            let why = format!("its changes are captured and not exchanged: its definition can't be announced, {e}");
            (State::Captured, why)
        }
    }
}

/// Of a table without a key whose columns have taken all three names of the rowid.
const UNTOLD: &str = "it has no PRIMARY KEY, and columns are named _rowid_, rowid and oid: nothing tells its rows, so they are captured and \
     not exchanged; rename one of these columns, or give the table a key";

/// Of a table that the node can't write, for its connection does not have a collation that the host made.
fn of_the_host(definition: &Definition) -> String {
    let collation = definition.host_collation().unwrap_or_default();
    format!(
        "its key or an index compares by {collation}, a collation that only the host has: its changes are captured and not exchanged; \
         compare by BINARY, NOCASE or RTRIM there"
    )
}

/// What is special about a table.
fn note_of(definition: &Definition) -> String {
    let mut notes = Vec::new();
    if definition.key.is_none() {
        notes.push("it has no PRIMARY KEY: each row is one of its own, also where two are equal".to_string());
    } else if definition.names_by_birth() {
        notes.push("the key may be NULL: each row with a NULL in it is one of its own".into());
    } else if definition.has_nameless_rows() {
        notes.push(
            "rows with NULL in the key are captured and not exchanged: columns are named _rowid_, rowid and oid, and nothing \
             else tells such rows; rename one of these columns"
                .into(),
        );
    }
    let unlisted = definition.unlisted();
    if !unlisted.is_empty() {
        notes.push(format!("peers can't build it: {}", unlisted.join("; ")));
    }
    notes.join(". ")
}

/// Every table of this name, the youngest last.
fn listed(conn: &Connection, name: &str) -> Result<Vec<Listed>, StoreError> {
    let sql = "SELECT t, state, definition, note FROM _p2p_table WHERE name = ?1 COLLATE NOCASE ORDER BY t";
    let mut statement = conn.prepare_cached(sql)?;
    let all = statement.query_map([name], |row| {
        Ok(Listed { t: row.get(0)?, state: State::from_i64(row.get(1)?), definition: row.get(2)?, note: row.get(3)? })
    });
    Ok(all?.collect::<rusqlite::Result<_>>()?)
}

/// The id of the first generation of this name that is free.
fn free_id(conn: &Connection, definition: &Definition) -> Result<TableId, StoreError> {
    let is_natural = definition.key.as_ref().is_some_and(|k| k.is_natural);
    let mut statement = conn.prepare_cached("SELECT EXISTS(SELECT 1 FROM _p2p_table WHERE id = ?1)")?;
    let mut generation = 0;
    loop {
        let id = table_id(&definition.name, generation, is_natural);
        if !statement.query_row([id.0], |row| row.get::<_, bool>(0))? {
            return Ok(id);
        }
        generation += 1;
    }
}

/// The ids of a definition's columns, in order.
fn column_ids(names: &[String]) -> Vec<ColumnId> {
    let mut ids: Vec<ColumnId> = Vec::with_capacity(names.len());
    for name in names {
        let id = ColumnId::of(name, &ids);
        ids.push(id);
    }
    ids
}

fn list(
    conn: &Connection,
    id: TableId,
    definition: &Definition,
    bytes: &[u8],
    state: State,
    note: &str,
) -> Result<i64, StoreError> {
    let names = definition.stored_names();
    list_as(conn, id, &definition.name, &column_ids(&names), &names, bytes, state, note)
}

#[allow(clippy::too_many_arguments)]
fn list_as(
    conn: &Connection,
    id: TableId,
    name: &str,
    ids: &[ColumnId],
    names: &[String],
    definition: &[u8],
    state: State,
    note: &str,
) -> Result<i64, StoreError> {
    let columns: Vec<u8> = ids.iter().flat_map(|c| c.0).collect();
    let names = serde_json::Value::from(names).to_string();
    let sql =
        "INSERT INTO _p2p_table(id, name, columns, names, definition, state, note) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    conn.prepare_cached(sql)?.execute(params![id.0, name, columns, names, definition, state as i64, note])?;
    Ok(conn.last_insert_rowid())
}

/// Runs `work` in a SAVEPOINT: whatever it did is gone if it fails, and nothing else is.
fn atomically<T>(conn: &Connection, work: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    conn.execute_batch("SAVEPOINT _p2p_define")?;
    let outcome = work();
    let end = if outcome.is_ok() { "RELEASE _p2p_define" } else { "ROLLBACK TO _p2p_define; RELEASE _p2p_define" };
    match (outcome, conn.execute_batch(end)) {
        (Ok(value), Ok(())) => Ok(value),
        (Ok(_), Err(e)) => {
            // The commit failed: the savepoint is still open.
            conn.execute_batch("ROLLBACK TO _p2p_define; RELEASE _p2p_define")?;
            Err(e.into())
        }
        (Err(e), _) => Err(e),
    }
}

#[cfg(test)]
mod tests;
