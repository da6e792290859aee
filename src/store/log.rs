//! The log: entries as stored, in order of arrival and by (author, seq).

use p2pdb_core::clock::Clock;
use p2pdb_core::entry::Entry;
use p2pdb_core::id::{AuthorId, EntryId, Seq};
use p2pdb_core::log::{Head, LogEntry};
use rusqlite::{Connection, OptionalExtension, Row, Rows, params};

use super::authors::Authors;
use super::{Store, StoreError};
use p2pdb_core::record::AuthorNumbers;

const SELECT: &str = "SELECT n, author, seq, clock, hash, header, body FROM _p2p_entry";

fn read(row: &Row<'_>, authors: &Authors) -> rusqlite::Result<LogEntry> {
    let mut bytes: Vec<u8> = row.get(5)?;
    bytes.extend_from_slice(row.get_ref(6)?.as_blob_or_null()?.unwrap_or_default());
    Ok(LogEntry {
        n: row.get::<_, i64>(0)? as u64,
        author: authors.author(row.get(1)?).unwrap_or_default(),
        seq: Seq(row.get::<_, i64>(2)? as u64),
        clock: Clock(row.get::<_, i64>(3)? as u64),
        id: EntryId(row.get(4)?),
        bytes,
    })
}

impl Store {
    /// The end of each author's chain, in the order of author ids.
    ///
    /// # Errors
    /// SQLite's.
    pub fn frontier(&self) -> Result<Vec<Head>, StoreError> {
        let heads = self.authors.iter().filter(|a| a.held.0 > 0 && self.compared(&a.id).is_none());
        let heads = heads.map(|a| Head { author: a.id, seq: a.held, id: a.head, clock: a.clock });
        let mut heads: Vec<_> = heads.chain(self.doubted_heads()?).collect();
        heads.sort_unstable_by_key(|h| h.author);
        Ok(heads)
    }

    /// The ends of what may be shown of chains that a peer has otherwise.
    fn doubted_heads(&self) -> Result<Vec<Head>, StoreError> {
        let shown = self.authors.iter().filter_map(|a| Some((a.id, self.compared(&a.id)?)));
        let entries = shown.map(|(author, seq)| self.entry(&author, seq));
        let heads = entries.filter_map(Result::transpose);
        heads.map(|e| e.map(|LogEntry { author, seq, id, clock, .. }| Head { author, seq, id, clock })).collect()
    }

    /// One entry by author and number.
    ///
    /// # Errors
    /// SQLite's.
    pub fn entry(&self, author: &AuthorId, seq: Seq) -> Result<Option<LogEntry>, StoreError> {
        let sql = format!("{SELECT} WHERE author = ?1 AND seq = ?2");
        let params = params![self.authors.number_of(author), seq.0 as i64];
        Ok(self.conn.prepare_cached(&sql)?.query_row(params, |row| read(row, &self.authors)).optional()?)
    }

    /// The id of an entry.
    pub(super) fn id_of(&self, author: &AuthorId, seq: Seq) -> Result<EntryId, StoreError> {
        if let Some(a) = self.authors.get(author).filter(|a| a.held == seq) {
            return Ok(a.head);
        }
        let sql = "SELECT hash FROM _p2p_entry WHERE author = ?1 AND seq = ?2";
        let params = params![self.authors.number_of(author), seq.0 as i64];
        Ok(self.conn.prepare_cached(sql)?.query_row(params, |row| row.get(0)).map(EntryId)?)
    }

    /// Entries that arrived after number `n`, in order, until about `bytes_max` bytes; at least one if there is one.
    ///
    /// # Errors
    /// SQLite's.
    pub fn arrivals_after(&self, n: u64, bytes_max: usize) -> Result<Vec<LogEntry>, StoreError> {
        let sql = format!("{SELECT} WHERE n > ?1 ORDER BY n");
        let mut statement = self.conn.prepare_cached(&sql)?;
        let rows = statement.query([n as i64])?;
        self.take_until(rows, bytes_max)
    }

    /// One author's entries from number `from` on, in order, until about `bytes_max` bytes; at least one if there is one.
    ///
    /// # Errors
    /// SQLite's.
    pub fn entries(&self, author: &AuthorId, from: Seq, bytes_max: usize) -> Result<Vec<LogEntry>, StoreError> {
        let sql = format!("{SELECT} WHERE author = ?1 AND seq >= ?2 ORDER BY seq");
        let mut statement = self.conn.prepare_cached(&sql)?;
        let rows = statement.query(params![self.authors.number_of(author), from.0 as i64])?;
        self.take_until(rows, bytes_max)
    }

    fn take_until(&self, mut rows: Rows<'_>, bytes_max: usize) -> Result<Vec<LogEntry>, StoreError> {
        let (mut found, mut bytes) = (Vec::new(), 0);
        while let Some(row) = rows.next()? {
            let entry = read(row, &self.authors)?;
            if self.compared(&entry.author).is_some_and(|seq| entry.seq > seq) {
                continue;
            }
            bytes += entry.bytes.len();
            if bytes > bytes_max && !found.is_empty() {
                break;
            }
            found.push(entry);
        }
        Ok(found)
    }

    /// The last arrival number.
    ///
    /// # Errors
    /// SQLite's.
    pub fn last_arrival(&self) -> Result<u64, StoreError> {
        let n: Option<i64> =
            self.conn.prepare_cached("SELECT max(n) FROM _p2p_entry")?.query_row([], |row| row.get(0))?;
        Ok(n.unwrap_or_default() as u64)
    }

    /// Appends an entry of another author and moves its head. The chain has been checked.
    pub(super) fn append(&mut self, entry: &Entry, ops: u32) -> Result<(), StoreError> {
        let h = &entry.header;
        if let (None, Some(first)) = (self.authors.get(&h.author), &h.first) {
            self.authors.add(h.author, first.key);
        }
        insert(&self.conn, self.authors.number_of(&h.author), entry, ops, None)?;
        if let Some(author) = self.authors.change(&h.author) {
            (author.held, author.head, author.clock) = (h.seq, entry.id, h.clock);
            if !h.continues && author.next_end.is_none() {
                author.next_end = Some(h.seq);
            }
        }
        Ok(())
    }
}

/// Adds an entry to the log.
pub(super) fn insert(
    conn: &Connection,
    author: i64,
    entry: &Entry,
    ops: u32,
    seen: Option<Vec<u8>>,
) -> Result<(), StoreError> {
    let h = &entry.header;
    let mut header = Vec::with_capacity(320);
    h.write(&mut header);
    header.extend_from_slice(&entry.signature);
    let sql = "INSERT INTO _p2p_entry(author, seq, hash, clock, ops, continues, header, body, seen)
               VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
    let (seq, clock) = (h.seq.0 as i64, h.clock.0 as i64);
    conn.prepare_cached(sql)?.execute(params![
        author,
        seq,
        entry.id.0,
        clock,
        ops,
        h.continues,
        header,
        entry.body,
        seen
    ])?;
    Ok(())
}
