//! What merges did that somebody should know who keeps keys of rows elsewhere: rows renumbered, hidden and shown again; tables
//! that peers announced.
//!
//! A merge moves a row more than once on its way: taken out, put back, moved aside. Only how it stood before the transaction
//! and how it stands after it is told. So the merge notes rows before it touches them ([`Events::note`]), and what became of
//! them is looked up at the end, in the same transaction.

use p2pdb_core::id::AuthorId;
use p2pdb_core::limit;
use p2pdb_core::merge::{Key, Standing};
use p2pdb_core::name::Name;
use rusqlite::types::Value as SqlValue;
use rusqlite::{Connection, params};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use super::rows::{Shared, SqliteRows};
use super::view::{key_value, name_value};
use super::{Store, StoreError};

/// What was noted in a transaction.
#[derive(Debug, Default)]
pub(super) struct Events {
    rows: RefCell<BTreeMap<(i64, Name), Noted>>,
    /// Tables that were announced, and by whom.
    tables: RefCell<Vec<(i64, Option<AuthorId>)>>,
    /// Tables that somebody dropped.
    dropped: RefCell<Vec<(i64, Option<AuthorId>)>>,
    /// Whose entry is being merged.
    cause: Cell<Option<AuthorId>>,
}

/// A row that may have moved.
#[derive(Debug)]
struct Noted {
    /// How it stood before.
    before: Standing,
    /// Who moved it last.
    by: Option<AuthorId>,
}

impl Events {
    /// From now on it is this author's doing; nobody's, where several may have done it.
    pub(super) fn blame(&self, author: Option<AuthorId>) {
        self.cause.set(author);
    }

    /// A row may be about to move. How it stood before the first time counts.
    pub(super) fn note(&self, t: i64, name: &Name, before: Standing) {
        let mut rows = self.rows.borrow_mut();
        rows.entry((t, name.clone())).or_insert(Noted { before, by: None }).by = self.cause.get();
    }

    /// A peer announced a table.
    pub(super) fn note_table(&self, t: i64) {
        self.tables.borrow_mut().push((t, self.cause.get()));
    }

    /// A peer dropped a table.
    pub(super) fn note_dropped(&self, t: i64) {
        self.dropped.borrow_mut().push((t, self.cause.get()));
    }

    /// Are so many rows noted that they should be written before more are?
    pub(super) fn is_full(&self) -> bool {
        self.rows.borrow().len() >= limit::EVENTS_MAX
    }
}

/// One event, to be written.
struct Event {
    event: &'static str,
    old: SqlValue,
    new: SqlValue,
    note: String,
}

impl Store {
    /// Writes what became of all that was noted, and forgets it.
    pub(super) fn write_events(&mut self, now_ms: u64) -> Result<(), StoreError> {
        let Events { rows, tables, dropped, .. } = &self.flags.events;
        let (rows, tables, dropped) = (rows.take(), tables.take(), dropped.take());
        if rows.is_empty() && tables.is_empty() && dropped.is_empty() {
            return Ok(());
        }
        let mut page = Page { time: now_ms as i64, first: None };
        for (t, by) in tables {
            let by = self.number(by);
            if let Some(event) = table_event(&self.conn, t)? {
                page.add(&self.conn, t, by, event)?;
            }
        }
        for (t, by) in dropped {
            let note = "it stays here with its rows until it is dropped here too".to_owned();
            let by = self.number(by);
            page.add(&self.conn, t, by, Event { event: "dropped", old: SqlValue::Null, new: SqlValue::Null, note })?;
        }
        for ((t, name), Noted { before, by }) in rows {
            let by = self.number(by);
            let Self { conn, tables, authors, hasher, digest, flags, .. } = self;
            let Some(table) = tables.get(t) else { continue };
            let mut rows = SqliteRows::new(Shared { conn, tables, hasher, flags }, table, authors, digest)?;
            if let Some(event) = row_event(&mut rows, &name, before)? {
                page.add(conn, t, by, event)?;
            }
        }
        if page.first.is_some() {
            trim(&self.conn)?;
        }
        Ok(())
    }

    fn number(&self, author: Option<AuthorId>) -> Option<i64> {
        author.map(|author| self.authors.number_of(&author)).filter(|n| *n > 0)
    }
}

/// What became of a row; none where it stands as before, or is gone: a row that goes is one that somebody deleted.
fn row_event(rows: &mut SqliteRows<'_>, name: &Name, before: Standing) -> Result<Option<Event>, StoreError> {
    let Some((key, record)) = rows.merging(|merge| merge.located(name))? else { return Ok(None) };
    let note = String::new();
    Ok(match (before, record.is_hidden) {
        (Standing::Shown(Key::Id(old)), false) if Key::Id(old) != key => {
            let new = key_value(rows, &key)?;
            Some(Event { event: "renumbered", old: SqlValue::Integer(old), new, note })
        }
        (Standing::Hidden, false) => {
            Some(Event { event: "shown", old: SqlValue::Null, new: key_value(rows, &key)?, note })
        }
        (Standing::Shown(old), true) => {
            let old = key_value(rows, &old)?;
            Some(Event { event: "hidden", old, new: SqlValue::Null, note: rows.why_hidden(&key)? })
        }
        (Standing::Nowhere, true) => {
            let old = name_value(rows, name)?;
            Some(Event { event: "hidden", old, new: SqlValue::Null, note: rows.why_hidden(&key)? })
        }
        (Standing::Shown(_) | Standing::Nowhere, false) | (Standing::Hidden, true) => None,
    })
}

impl SqliteRows<'_> {
    /// Why the row of this key is not in the table as merged; empty where it is.
    pub(super) fn why_hidden(&self, key: &Key) -> Result<String, StoreError> {
        let sql = "SELECT coalesce((SELECT reason FROM _p2p_stuck WHERE t = ?1 AND name = ?2), '')";
        let params = params![self.table.t, super::rows::bind_key(key)];
        Ok(self.shared.conn.prepare_cached(sql)?.query_row(params, |row| row.get(0))?)
    }
}

/// What became of a table that was announced.
fn table_event(conn: &Connection, t: i64) -> Result<Option<Event>, StoreError> {
    let sql = "SELECT state, note FROM _p2p_table WHERE t = ?1";
    let (state, note): (i64, String) =
        conn.prepare_cached(sql)?.query_row([t], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let event = match super::define::State::from_i64(state) {
        super::define::State::New | super::define::State::Tracked => "built",
        super::define::State::Parked => "parked",
        super::define::State::Untracked | super::define::State::Captured => return Ok(None),
    };
    Ok(Some(Event { event, old: SqlValue::Null, new: SqlValue::Null, note }))
}

/// A table that was parked is there now, by what its user did here.
pub(super) fn built(conn: &Connection, t: i64) -> Result<(), StoreError> {
    let now = "SELECT CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)";
    let time = conn.prepare_cached(now)?.query_row([], |row| row.get(0))?;
    if let Some(event) = table_event(conn, t)? {
        Page { time, first: None }.add(conn, t, None, event)?;
    }
    trim(conn)
}

/// Events that came about together.
struct Page {
    /// Milliseconds since 1970.
    time: i64,
    /// The number of the first.
    first: Option<i64>,
}

impl Page {
    fn add(&mut self, conn: &Connection, t: i64, by: Option<i64>, event: Event) -> Result<(), StoreError> {
        let sql =
            "INSERT INTO _p2p_event(merge, time, event, t, old, new, by, note) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
        let Event { event, old, new, note } = event;
        let first = self.first.unwrap_or_default();
        conn.prepare_cached(sql)?.execute(params![first, self.time, event, t, old, new, by, note])?;
        if self.first.is_none() {
            let n = conn.last_insert_rowid();
            conn.prepare_cached("UPDATE _p2p_event SET merge = n WHERE n = ?1")?.execute([n])?;
            self.first = Some(n);
        }
        Ok(())
    }
}

/// The oldest go.
fn trim(conn: &Connection) -> Result<(), StoreError> {
    let sql = "DELETE FROM _p2p_event WHERE n <= (SELECT max(n) FROM _p2p_event) - ?1";
    conn.prepare_cached(sql)?.execute([limit::EVENTS_MAX as i64])?;
    Ok(())
}
