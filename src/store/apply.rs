//! Merging stored entries into the tables.
//!
//! An entry is merged once everything it had seen is: its author's entry before it, and its deps. A whole
//! atomic group is merged in one transaction or not at all. Entries from a clock too far ahead wait until time
//! catches up; what waits is in the log all the same and is passed on to others.

use p2pdb_core::body::{Body, Cell, Kind, RowOp, Section, unpack};
use p2pdb_core::codec::Malformed;
use p2pdb_core::entry::{Entry, Header};
use p2pdb_core::id::{AuthorId, EntryId, Seq, TableId};
use p2pdb_core::limit;
use p2pdb_core::merge::{Context, Merge};
use p2pdb_core::record::AuthorNumbers;
use p2pdb_core::value::Value;
use rusqlite::{OptionalExtension, params};
use std::collections::BTreeMap;

use super::rows::SqliteRows;
use super::{Store, StoreError};

/// Parts of long values, until the row that they are for.
#[derive(Default)]
struct Parts {
    /// Number of the first part kept.
    first: u64,
    kept: Vec<Vec<u8>>,
}

impl Parts {
    fn push(&mut self, bytes: &[u8]) {
        self.kept.push(bytes.to_vec());
    }

    /// The value that starts at part number `part`.
    fn value(&self, is_text: bool, part: u64, bytes: u64) -> Result<Value, Malformed> {
        let from = part.checked_sub(self.first).and_then(|at| usize::try_from(at).ok());
        let parts =
            from.and_then(|at| self.kept.get(at..)).ok_or(Malformed::Rule("a long value's parts are missing"))?;
        let mut value = Vec::new();
        for part in parts {
            if value.len() as u64 >= bytes {
                break;
            }
            value.extend_from_slice(part);
        }
        if value.len() as u64 != bytes {
            return Err(Malformed::Rule("a long value's parts do not have its length"));
        }
        Ok(if is_text { Value::Text(value) } else { Value::Blob(value) })
    }

    /// Parts stand right before the row that uses them: after it they are done with.
    fn clear(&mut self) {
        self.first += self.kept.len() as u64;
        self.kept.clear();
    }
}

impl Store {
    /// Are there changes of the user that are not sealed yet?
    pub(super) fn has_markers(&self) -> Result<bool, StoreError> {
        let sql = "SELECT EXISTS(SELECT 1 FROM _p2p_mark)";
        let found = self.conn.prepare_cached(sql).and_then(|mut s| s.query_row([], |row| row.get(0)));
        Ok(found.unwrap_or(false))
    }

    /// Merges all stored entries that can be. Returns how many. Inside a write transaction, with no markers pending.
    pub(super) fn apply_ready(&mut self, now_ms: u64) -> Result<usize, StoreError> {
        let mut applied = 0;
        loop {
            let waiting: Vec<_> = self.authors.iter().filter(|a| a.applied < a.held).map(|a| a.id).collect();
            let mut progress = 0;
            for author in waiting {
                while let Some(group) = self.next_group(&author, now_ms)? {
                    progress += group.len();
                    self.apply_group(&author, &group)?;
                }
            }
            if progress == 0 {
                break;
            }
            applied += progress;
        }
        if applied > 0 {
            self.retry_stuck()?;
        }
        Ok(applied)
    }

    /// The numbers of the author's next atomic group, if it can be merged now.
    fn next_group(&self, author: &AuthorId, now_ms: u64) -> Result<Option<Vec<Seq>>, StoreError> {
        let Some(a) = self.authors.get(author) else { return Ok(None) };
        if a.applied == a.held {
            return Ok(None);
        }
        let sql = "SELECT seq FROM _p2p_entry WHERE author = ?1 AND seq > ?2 AND NOT continues ORDER BY seq LIMIT 1";
        let params = params![self.authors.number_of(author), a.applied.0 as i64];
        let last: Option<i64> = self.conn.prepare_cached(sql)?.query_row(params, |row| row.get(0)).optional()?;
        let Some(last) = last else { return Ok(None) };
        let group: Vec<_> = (a.applied.0 + 1..=last as u64).map(Seq).collect();
        for seq in &group {
            let header = self.header(author, *seq)?;
            if header.clock.ms() > now_ms.saturating_add(limit::CLOCK_AHEAD_MS_MAX)
                || !self.are_applied(&header.deps)?
            {
                return Ok(None);
            }
        }
        Ok(Some(group))
    }

    fn header(&self, author: &AuthorId, seq: Seq) -> Result<Header, StoreError> {
        let sql = "SELECT header FROM _p2p_entry WHERE author = ?1 AND seq = ?2";
        let params = params![self.authors.number_of(author), seq.0 as i64];
        let bytes: Vec<u8> = self.conn.prepare_cached(sql)?.query_row(params, |row| row.get(0))?;
        Ok(Header::read(&mut p2pdb_core::codec::Reader::new(&bytes))?)
    }

    fn are_applied(&self, deps: &[EntryId]) -> Result<bool, StoreError> {
        for dep in deps {
            match self.place(dep)? {
                Some((author, seq)) if self.authors.get(&author).is_some_and(|a| a.applied >= seq) => {}
                _ => return Ok(false),
            }
        }
        Ok(true)
    }

    pub(super) fn place(&self, id: &EntryId) -> Result<Option<(AuthorId, Seq)>, StoreError> {
        let sql = "SELECT author, seq FROM _p2p_entry WHERE hash = ?1";
        let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, Seq(row.get::<_, i64>(1)? as u64)));
        let found: Option<(u32, Seq)> = self.conn.prepare_cached(sql)?.query_row([id.0], read).optional()?;
        Ok(found.and_then(|(author, seq)| Some((self.authors.author(author)?, seq))))
    }

    fn apply_group(&mut self, author: &AuthorId, group: &[Seq]) -> Result<(), StoreError> {
        let mut parts = Parts::default();
        for seq in group {
            let stored = self.entry(author, *seq)?.ok_or(Malformed::Rule("an entry of the log is missing"))?;
            let entry = Entry::from_bytes(&stored.bytes)?;
            let seen = self.see(&entry.header)?;
            self.keep_seen(&entry.header, &seen)?;
            self.apply_entry(&entry, &seen, &mut parts)?;
            if let Some(a) = self.authors.change(author) {
                (a.applied, a.seen) = (*seq, seen);
            }
        }
        Ok(())
    }

    fn apply_entry(
        &mut self,
        entry: &Entry,
        seen: &BTreeMap<AuthorId, Seq>,
        parts: &mut Parts,
    ) -> Result<(), StoreError> {
        let raw = unpack(&entry.body)?;
        let body = Body::read(&raw, entry.header.author)?;
        let context = Context { clock: entry.header.clock, author: entry.header.author, seq: entry.header.seq, seen };
        let mut sections = body.sections();
        while let Some(section) = sections.next()? {
            match section.kind {
                Kind::Part => parts.push(section.bytes),
                Kind::Define => self.apply_definition(&section)?,
                Kind::Insert | Kind::Update | Kind::Delete | Kind::Settle => {
                    self.apply_section(section, context, parts)?
                }
            }
        }
        Ok(())
    }

    fn apply_section(
        &mut self,
        mut section: Section<'_, '_>,
        context: Context<'_>,
        parts: &mut Parts,
    ) -> Result<(), StoreError> {
        let Self { conn, tables, authors, hasher, digest, .. } = self;
        let Some(table) = tables.by_id(&section.table) else {
            return withhold(conn, &section.table, &context);
        };
        let places: Vec<Option<usize>> =
            section.columns.iter().map(|id| table.columns.iter().position(|c| c == id)).collect();
        let mut rows = SqliteRows::new(conn, table, tables, authors, hasher, digest)?;
        let mut merge = Merge { table: &table.merge, rows: &mut rows, context };
        let mut row = RowOp::default();
        let mut whole = Vec::new();
        while section.next_row(&mut row)? {
            let has_long = row.cells.iter().any(|c| matches!(c, Cell::Long { .. }));
            if has_long {
                whole = row.cells.iter().map(|c| join(c, parts)).collect::<Result<Vec<_>, _>>()?;
            }
            let cells: Vec<Cell<'_>> =
                if has_long { whole.iter().map(Cell::from).collect() } else { std::mem::take(&mut row.cells) };
            apply_row(&mut merge, &section, &row, &places, cells)?;
            if has_long {
                parts.clear();
            }
        }
        Ok(())
    }

    fn apply_definition(&mut self, section: &Section<'_, '_>) -> Result<(), StoreError> {
        super::define::build(self, section.table, &section.columns, section.bytes)
    }

    /// Rows that could not be shown may be now.
    pub(super) fn retry_stuck(&mut self) -> Result<(), StoreError> {
        let stuck: Vec<(i64, rusqlite::types::Value)> = {
            let mut statement = self.conn.prepare_cached("SELECT t, name FROM _p2p_stuck LIMIT 1000")?;
            statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<rusqlite::Result<_>>()?
        };
        let Self { conn, tables, authors, hasher, digest, .. } = self;
        let seen = BTreeMap::new();
        for (t, name) in stuck {
            let Some(table) = tables.get(t) else { continue };
            let key = match name {
                rusqlite::types::Value::Integer(id) => p2pdb_core::merge::Key::Id(id),
                rusqlite::types::Value::Blob(bytes) => p2pdb_core::merge::Key::Name(bytes.into()),
                _ => continue,
            };
            let mut rows = SqliteRows::new(conn, table, tables, authors, hasher, digest)?;
            let context = Context { clock: Default::default(), author: Default::default(), seq: Seq(0), seen: &seen };
            Merge { table: &table.merge, rows: &mut rows, context }.retry(&key)?;
        }
        Ok(())
    }
}

fn join(cell: &Cell<'_>, parts: &Parts) -> Result<Value, Malformed> {
    match cell {
        Cell::Long { is_text, part, bytes } => parts.value(*is_text, *part, *bytes),
        cell => cell.to_value().ok_or(Malformed::Rule("a cell holds no value")),
    }
}

/// Operations on a table that can't be built here wait in the log, and are merged when it is.
fn withhold(conn: &rusqlite::Connection, table: &TableId, context: &Context<'_>) -> Result<(), StoreError> {
    let sql = "INSERT OR IGNORE INTO _p2p_withheld(table_id, clock, author, seq)
               SELECT ?1, ?2, n, ?4 FROM _p2p_author WHERE id = ?3";
    let params = params![table.0, context.clock.0 as i64, context.author.0, context.seq.0 as i64];
    conn.prepare_cached(sql)?.execute(params)?;
    Ok(())
}

fn apply_row(
    merge: &mut Merge<'_, SqliteRows<'_>>,
    section: &Section<'_, '_>,
    row: &RowOp<'_>,
    places: &[Option<usize>],
    cells: Vec<Cell<'_>>,
) -> Result<(), StoreError> {
    let named = || row.name.as_ref().ok_or(Malformed::Rule("an operation names no row"));
    match section.kind {
        Kind::Insert => {
            let mut all = vec![Cell::Null; merge.table.columns];
            for (cell, place) in cells.into_iter().zip(places) {
                if let Some(place) = place {
                    all[*place] = cell;
                }
            }
            merge.insert(row.op, row.name.as_ref(), row.seen.as_deref().unwrap_or_default(), &all)
        }
        Kind::Update => {
            let written = cells.into_iter().zip(places).take(section.written);
            let written: Vec<_> = written.filter_map(|(cell, place)| Some(((*place)?, cell))).collect();
            merge.update(row.op, named()?, row.seen.as_deref(), &written)
        }
        Kind::Delete => merge.delete(row.op, named()?, row.seen.as_deref(), section.is_auto),
        Kind::Settle => {
            let (Some(Some(column)), Some(at), Some(cell)) = (places.first(), row.at, cells.first()) else {
                return Ok(());
            };
            merge.settle(row.op, named()?, *column, at, cell)
        }
        Kind::Define | Kind::Part => Ok(()),
    }
}
