//! Tables that somebody drops. The rows of the others stay: that a table is gone somewhere is told and shown, and who wants it gone
//! drops it.
//!
//! One that is there again, and does not hold the rows that it had, is a table as if it had come from a peer: the log is merged into it once more, and rows that its user put
//! there meanwhile are new ones beside those. To take it for a table whose rows were all deleted would delete them everywhere.

use p2pdb_core::body::{Body, Cell, Kind, unpack};
use p2pdb_core::digest;
use p2pdb_core::id::{AuthorId, Seq, TableId};
use p2pdb_core::record::{AuthorNumbers, Record};
use p2pdb_core::value::Value;
use rusqlite::{Connection, OptionalExtension, params};

use super::alter::{Known, keep_announced};
use super::existing::has_rows;
use super::{State, StoreError};
use crate::capture::DELETED;
use crate::quote::Quoted;
use crate::schema::element::Element;
use crate::store::rows::{Shared, SqliteRows, key_of};
use crate::store::tables::Tables;
use crate::store::{Store, records};

/// Rows that are looked at to tell a table that was rebuilt from another one.
const SAMPLE: usize = 16;

/// What is kept about rows until they are sealed.
const UNSEALED: [&str; 3] = ["_p2p_before", "_p2p_decision", "_p2p_mark"];

/// Finds out that a table is gone from here since the last look, or is here again, and keeps it to be told. True if so.
pub(super) fn note(store: &Store, known: &Known, is_gone: bool) -> Result<bool, StoreError> {
    // One that is not announced yet is known to nobody, and of one that can't be exchanged nothing is told.
    if !matches!(known.state, State::Tracked | State::Captured) {
        return Ok(false);
    }
    let dropper = dropper(&store.conn, known.t)?;
    let own = store.identity.key.public().author();
    let is_told = match dropper {
        None => false,
        Some(by) => by.is_none_or(|number| store.authors.author(number) == Some(own)),
    };
    if is_told == is_gone {
        return Ok(false);
    }
    keep_announced(&store.conn, known)?;
    let sql = "INSERT OR REPLACE INTO _p2p_schema(t, element, says) VALUES(?1, ?2, ?3)";
    let says = is_gone.then_some(&[][..]);
    store.conn.prepare_cached(sql)?.execute(params![known.t, Element::Dropped.to_bytes(), says])?;
    Ok(true)
}

/// The local number of who said last that this table is gone, if that stands; none of it where that is to be told yet.
fn dropper(conn: &Connection, t: i64) -> rusqlite::Result<Option<Option<u32>>> {
    let sql = "SELECT author FROM _p2p_schema WHERE t = ?1 AND element = ?2 AND says IS NOT NULL";
    conn.prepare_cached(sql)?.query_row(params![t, Element::Dropped.to_bytes()], |row| row.get(0)).optional()
}

/// Who dropped this table, if anybody did: its author, where that is known.
pub(in crate::store) fn by(conn: &Connection, t: i64) -> rusqlite::Result<Option<Option<AuthorId>>> {
    if !super::alter::has_place(conn)? {
        return Ok(None);
    }
    let Some(number) = dropper(conn, t)? else { return Ok(None) };
    let sql = "SELECT id FROM _p2p_author WHERE n = ?1";
    let author = |row: &rusqlite::Row<'_>| Ok(row.get_ref(0)?.as_blob().ok().and_then(AuthorId::from_slice));
    Ok(Some(conn.prepare_cached(sql)?.query_row([number], author).optional()?.flatten()))
}

/// Is this table empty and without our triggers, though rows of it were sealed, and nobody deleted one? Then it was dropped and made
/// anew since the last look. A rebuild brings the rows along.
pub(super) fn is_made_anew(conn: &Connection, known: &Known) -> Result<bool, StoreError> {
    // Nearly every table has rows, and is not asked further: the others' markers and the schema are gone through.
    if known.state != State::Tracked || has_rows(conn, &known.name)? || !has_rows(conn, &records::table(known.t))? {
        return Ok(false);
    }
    let is_armed = "SELECT EXISTS(SELECT 1 FROM main.sqlite_schema WHERE type = 'trigger' AND name = ?1)";
    if conn.prepare_cached(is_armed)?.query_row([format!("_p2p_{}i", known.t)], |row| row.get(0))? {
        return Ok(false);
    }
    let is_deleted = "SELECT EXISTS(SELECT 1 FROM _p2p_mark WHERE t = ?1 AND m = ?2)";
    let is_deleted: bool = conn.prepare_cached(is_deleted)?.query_row([known.t, DELETED], |row| row.get(0))?;
    Ok(!is_deleted)
}

/// Does a table that is there again hold the rows that it had? Then it was rebuilt, and looked at midway.
pub(super) fn is_rebuilt(store: &mut Store, t: i64) -> Result<bool, StoreError> {
    store.tables = Tables::load(&store.conn)?;
    let Store { conn, tables, authors, hasher, digest, flags, .. } = store;
    let Some(table) = tables.get(t) else { return Ok(false) };
    let records = records::table(t);
    if table.merge.has_nameless {
        let sql = format!("SELECT (SELECT count(*) FROM main.{}) * 2 >= count(*) FROM {records}", Quoted(&table.name));
        return Ok(conn.query_row(&sql, [], |row| row.get(0))?);
    }
    let mut rows = SqliteRows::new(Shared { conn, tables, hasher, flags }, table, authors, digest)?;
    let mut statement = conn.prepare(&format!("SELECT key, record FROM {records} LIMIT {SAMPLE}"))?;
    let mut found = statement.query([])?;
    let (mut same, mut other) = (0, 0);
    while let Some(row) = found.next()? {
        let Some(key) = key_of(row.get_ref(0)?) else { continue };
        let record = Record::unpack(row.get_ref(1)?.as_blob()?, rows.authors)?;
        if record.is_hidden {
            continue;
        }
        let shown = rows.visible(&key)?.map(|values| rows.logged(values)).transpose()?.unwrap_or_default();
        let is_same =
            |(c, value): &(usize, &Value)| rows.hash_shown(&record, *c) == rows.shared.hasher.hash(&Cell::from(*value));
        let alike = shown.iter().enumerate().filter(is_same).count();
        let is_alike = !shown.is_empty() && alike * 2 >= shown.len();
        (same, other) = (same + usize::from(is_alike), other + usize::from(!is_alike));
    }
    Ok(same > 0 && same >= other)
}

/// Forgets the merged rows of a table that is there again: what the log says of it waits, as if the table had only now come.
pub(super) fn forget(store: &mut Store, t: i64) -> Result<(), StoreError> {
    store.tables = Tables::load(&store.conn)?;
    let Some(table) = store.tables.get(t) else { return Ok(()) };
    let id = table.merge.id;
    {
        let mut statement = store.conn.prepare(&format!("SELECT key, record FROM {}", records::table(t)))?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let Some(key) = key_of(row.get_ref(0)?) else { continue };
            let record = Record::unpack(row.get_ref(1)?.as_blob()?, &store.authors)?;
            let share = digest::row(&table.merge, &key, &record, &store.hasher);
            store.digest = store.digest.wrapping_sub(share);
        }
    }
    store.conn.execute(&format!("DELETE FROM {}", records::table(t)), [])?;
    for book in records::BOOKS.into_iter().chain(UNSEALED) {
        store.conn.execute(&format!("DELETE FROM {book} WHERE t = ?1"), [t])?;
    }
    withhold(store, &id)?;
    store.flags.reset();
    Ok(())
}

/// All that was merged of a table is to be merged again.
fn withhold(store: &Store, id: &TableId) -> Result<(), StoreError> {
    let mut entries = store.conn.prepare("SELECT author, seq, clock, body FROM _p2p_entry")?;
    let sql = "INSERT OR IGNORE INTO _p2p_withheld(table_id, clock, author, seq) VALUES(?1, ?2, ?3, ?4)";
    let mut insert = store.conn.prepare(sql)?;
    let mut rows = entries.query([])?;
    while let Some(row) = rows.next()? {
        let (number, seq): (u32, i64) = (row.get(0)?, row.get(1)?);
        let Some(author) = store.authors.author(number) else { continue };
        if store.authors.get(&author).is_none_or(|a| a.applied < Seq(seq as u64)) {
            continue;
        }
        let raw = unpack(row.get_ref(3)?.as_blob()?)?;
        let body = Body::read(&raw, author)?;
        let mut sections = body.sections();
        while let Some(section) = sections.next()? {
            let is_row = matches!(section.kind, Kind::Insert | Kind::Update | Kind::Delete | Kind::Settle);
            if is_row && section.table == *id {
                insert.execute(params![id.0, row.get::<_, i64>(2)?, number, seq])?;
                break;
            }
        }
    }
    Ok(())
}
