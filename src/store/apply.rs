//! Merging stored entries into the tables.
//!
//! An entry is merged once everything it had seen is: its author's entry before it, and its deps. A whole
//! atomic group is merged in one transaction or not at all. Entries from a clock too far ahead wait until time
//! catches up; what waits is in the log all the same and is passed on to others.
//!
//! Nothing is merged over a change of the user that is not sealed: few are sealed in the same transaction, for many
//! the caller is told to seal first.

use p2pdb_core::body::{Body, unpack};
use p2pdb_core::clock::Clock;
use p2pdb_core::codec::{Malformed, Reader};
use p2pdb_core::entry::Header;
use p2pdb_core::id::{AuthorId, EntryId, Seq};
use p2pdb_core::limit;
use p2pdb_core::record::AuthorNumbers;
use rusqlite::{OptionalExtension, params};
use std::collections::BTreeSet;

use super::rows::{Shared, SqliteRows, key_of};
use super::seal::MARKERS_INLINE_MAX;
use super::{Store, StoreError};

mod ops;
mod runs;
mod withheld;

use ops::Parts;
pub(super) use ops::follow_up;
use runs::{Runs, Unpacked};

/// What an apply did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Entries merged.
    pub entries: usize,
    /// Time ran out: there is more that could be merged now.
    pub is_partial: bool,
    /// Changes of the user wait to be sealed, too many to do it on the way: what is about the same rows is not merged before
    /// [`Store::seal`] is done with them.
    pub needs_seal: bool,
}

impl Store {
    /// Merges what is stored and ready, whole groups at a time while `has_time` says so.
    ///
    /// # Errors
    /// SQLite's; nothing is changed then.
    pub fn apply(&mut self, now_ms: u64, mut has_time: impl FnMut() -> bool) -> Result<Applied, StoreError> {
        self.write(|store| store.apply_in(now_ms, &mut has_time))
    }

    /// The same inside a write transaction.
    pub(super) fn apply_in(&mut self, now_ms: u64, has_time: &mut dyn FnMut() -> bool) -> Result<Applied, StoreError> {
        let pending = super::seal::pending(&self.conn)?;
        if pending > MARKERS_INLINE_MAX {
            return Ok(Applied { needs_seal: true, ..Applied::default() });
        }
        if self.has_to_seal()? {
            self.seal_in(now_ms, &mut || true)?;
        }
        self.apply_known_tables()?;
        let (mut applied, mut blamed) = (Applied::default(), BTreeSet::new());
        while !applied.is_partial {
            let waiting: Vec<_> = self.authors.iter().filter(|a| a.next_end.is_some()).map(|a| a.id).collect();
            let before = applied.entries;
            for author in waiting {
                let merged = applied.entries;
                self.flags.events.blame(Some(author));
                self.apply_author(&author, now_ms, has_time, &mut applied)?;
                blamed.extend((applied.entries > merged).then_some(author));
                if applied.is_partial {
                    break;
                }
            }
            if applied.entries == before {
                break;
            }
        }
        // What comes of all of them together is one's doing only where there is one.
        self.flags.events.blame(blamed.pop_first().filter(|_| blamed.is_empty()));
        self.retry_stuck(applied.entries > 0)?;
        self.write_events(now_ms)?;
        // A table of the user's was taken for one that a peer announced: its rows come first.
        applied.needs_seal = self.tables.iter().any(|t| t.is_new);
        Ok(applied)
    }

    fn apply_author(
        &mut self,
        author: &AuthorId,
        now_ms: u64,
        has_time: &mut dyn FnMut() -> bool,
        applied: &mut Applied,
    ) -> Result<(), StoreError> {
        while let Some(last) = self.next_group(author, now_ms)? {
            if applied.entries > 0 && !has_time() {
                applied.is_partial = true;
                return Ok(());
            }
            applied.entries += self.apply_group(author, last)?;
            if self.flags.events.is_full() {
                self.write_events(now_ms)?;
            }
        }
        Ok(())
    }

    /// The end of the author's next atomic group, if it can be merged now.
    fn next_group(&self, author: &AuthorId, now_ms: u64) -> Result<Option<Seq>, StoreError> {
        let Some(a) = self.authors.get(author) else { return Ok(None) };
        let Some(last) = a.next_end else { return Ok(None) };
        // Clocks grow along a chain: the last one of the group is its latest.
        let sql = "SELECT clock FROM _p2p_entry WHERE author = ?1 AND seq = ?2";
        let params = params![self.authors.number_of(author), last.0 as i64];
        let clock: i64 = self.conn.prepare_cached(sql)?.query_row(params, |row| row.get(0))?;
        if is_ahead(Clock(clock as u64), now_ms) {
            return Ok(None);
        }
        for seq in (a.applied.0 + 1..=last.0).map(Seq) {
            if !self.are_applied(&self.header(author, seq)?.deps)? {
                return Ok(None);
            }
        }
        Ok(Some(last))
    }

    fn header(&self, author: &AuthorId, seq: Seq) -> Result<Header, StoreError> {
        let sql = "SELECT header FROM _p2p_entry WHERE author = ?1 AND seq = ?2";
        let params = params![self.authors.number_of(author), seq.0 as i64];
        let mut statement = self.conn.prepare_cached(sql)?;
        let mut rows = statement.query(params)?;
        let row = rows.next()?.ok_or(MISSING)?;
        Ok(Header::read(&mut Reader::new(row.get_ref(0)?.as_blob()?))?)
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

    fn apply_group(&mut self, author: &AuthorId, last: Seq) -> Result<usize, StoreError> {
        let (mut parts, mut runs) = (Parts::default(), Runs::default());
        let first = self.authors.get(author).map_or(Seq(1), |a| a.applied.next());
        for seq in (first.0..=last.0).map(Seq) {
            let (header, body) = self.stored(author, seq)?;
            let seen = self.see(&header)?;
            self.keep_seen(&header, &seen)?;
            self.floor = self.floor.max(header.clock);
            if let Some(a) = self.authors.change(author) {
                (a.applied, a.seen) = (seq, seen.clone());
            }
            let entry = Unpacked { clock: header.clock, seq, seen, raw: unpack(&body)? };
            let body = Body::read(&entry.raw, *author)?;
            let may_be_run = first < last && parts.is_empty();
            let table = if may_be_run { runs::table_of_runs(&body, &self.tables)? } else { None };
            if !table.is_some_and(|table| runs.has_room(table, &entry)) {
                self.apply_runs(*author, &mut runs)?;
            }
            match table {
                Some(table) => runs.push(table, entry),
                None if self.apply_body(&body, entry.context(*author), &mut parts, None)? => {
                    self.apply_known_tables()?;
                }
                None => {}
            }
        }
        self.apply_runs(*author, &mut runs)?;
        self.find_next_end(author)?;
        Ok((last.0 + 1 - first.0) as usize)
    }

    /// An entry's header and body.
    fn stored(&self, author: &AuthorId, seq: Seq) -> Result<(Header, Vec<u8>), StoreError> {
        let sql = "SELECT header, body FROM _p2p_entry WHERE author = ?1 AND seq = ?2";
        let params = params![self.authors.number_of(author), seq.0 as i64];
        let mut statement = self.conn.prepare_cached(sql)?;
        let mut rows = statement.query(params)?;
        let row = rows.next()?.ok_or(MISSING)?;
        let header = Header::read(&mut Reader::new(row.get_ref(0)?.as_blob()?))?;
        Ok((header, row.get(1)?))
    }

    fn find_next_end(&mut self, author: &AuthorId) -> Result<(), StoreError> {
        let Some(a) = self.authors.get(author) else { return Ok(()) };
        let mut next = None;
        if a.applied < a.held {
            let sql =
                "SELECT seq FROM _p2p_entry WHERE author = ?1 AND seq > ?2 AND NOT continues ORDER BY seq LIMIT 1";
            let params = params![self.authors.number_of(author), a.applied.0 as i64];
            next = self.conn.prepare_cached(sql)?.query_row(params, |row| row.get::<_, i64>(0)).optional()?;
        }
        if let Some(a) = self.authors.change(author) {
            a.next_end = next.map(|seq| Seq(seq as u64));
        }
        Ok(())
    }

    /// Rows that could not be shown may be now: those that waited for a row, if one came to be that may be it; those
    /// that a constraint refused, after any change.
    pub(super) fn retry_stuck(&mut self, is_changed: bool) -> Result<(), StoreError> {
        // Rows that came back may be what others wait for: rounds, until none does.
        while self.flags.woke.replace(false) {
            let Self { conn, tables, authors, hasher, digest, flags, .. } = self;
            let shared = Shared { conn, tables, hasher, flags };
            let showable = super::waiting::showable(shared, authors, digest)?;
            if showable.is_empty() {
                break;
            }
            super::waiting::show(shared, authors, digest, showable)?;
        }
        if is_changed {
            self.retry("SELECT t, name FROM _p2p_stuck WHERE NOT waits LIMIT 1000", [])?;
        }
        Ok(())
    }

    /// Shows what of a table could not be shown before: it is another one now.
    pub(super) fn retry_table(&mut self, t: i64) -> Result<(), StoreError> {
        self.retry("SELECT t, name FROM _p2p_stuck WHERE t = ?1 AND NOT waits", [t])
    }

    fn retry(&mut self, sql: &str, params: impl rusqlite::Params) -> Result<(), StoreError> {
        let stuck: Vec<_> = {
            let mut statement = self.conn.prepare_cached(sql)?;
            let stuck = statement.query_map(params, |row| Ok((row.get::<_, i64>(0)?, key_of(row.get_ref(1)?))))?;
            stuck.collect::<rusqlite::Result<_>>()?
        };
        let Self { conn, tables, authors, hasher, digest, flags, .. } = self;
        let shared = Shared { conn, tables, hasher, flags };
        for (t, key) in stuck {
            let (Some(table), Some(key)) = (tables.get(t), key) else { continue };
            let mut rows = SqliteRows::new(shared, table, authors, digest)?;
            rows.merging(|merge| merge.retry(&key))?;
            follow_up(shared, rows.authors, rows.digest)?;
        }
        Ok(())
    }
}

const MISSING: Malformed = Malformed::Rule("an entry of the log is missing");

/// Is that clock too far ahead to be believed?
pub(super) fn is_ahead(clock: Clock, now_ms: u64) -> bool {
    clock.ms() > now_ms.saturating_add(limit::CLOCK_AHEAD_MS_MAX)
}
