//! The log as a table: the header's fields of each entry, and the entry whole.

use p2pdb_core::clock::Clock;
use p2pdb_core::codec::Reader;
use p2pdb_core::entry::Header;
use p2pdb_core::id::{AuthorId, EntryId, Seq};
use p2pdb_core::limit;

use super::View;
use crate::store::StoreError;

/// One entry.
#[derive(Clone, Debug)]
pub struct LogLine {
    /// Its arrival number here.
    pub n: u64,
    /// Its id.
    pub id: EntryId,
    /// Who wrote it.
    pub author: AuthorId,
    /// Its place in the author's chain.
    pub seq: Seq,
    /// When.
    pub clock: Clock,
    /// The author's entry before it; zero at the first.
    pub prev: EntryId,
    /// Heads of other authors that changed since.
    pub deps: Vec<EntryId>,
    /// Its operations.
    pub ops: u32,
    /// Bytes of the whole entry.
    pub bytes: u64,
    /// Does its atomic group go on?
    pub continues: bool,
    /// The whole entry; empty where the body was pruned.
    pub entry: Vec<u8>,
}

const SELECT: &str = "SELECT n, hash, ops, header, body FROM _p2p_entry WHERE n > ?1 ORDER BY n LIMIT ?2";

impl View<'_> {
    /// Up to `count` entries that arrived after number `n`, in order.
    ///
    /// # Errors
    /// SQLite's.
    pub fn log_after(&self, n: u64, count: usize) -> Result<Vec<LogLine>, StoreError> {
        let mut statement = self.conn.prepare_cached(SELECT)?;
        // A page stays small whatever is asked for: the caller comes back for more.
        let mut rows = statement.query([n as i64, count.min(limit::LOG_PAGE_MAX) as i64])?;
        let mut lines = Vec::new();
        while let Some(row) = rows.next()? {
            let mut entry = row.get_ref(3)?.as_blob()?.to_vec();
            let header = Header::read(&mut Reader::new(&entry))?;
            let bytes = entry.len() as u64 + u64::from(header.body_bytes);
            match row.get_ref(4)?.as_blob_or_null()? {
                Some(body) => entry.extend_from_slice(body),
                None => entry.clear(),
            }
            lines.push(LogLine {
                n: row.get::<_, i64>(0)? as u64,
                id: EntryId(row.get(1)?),
                author: header.author,
                seq: header.seq,
                clock: header.clock,
                prev: header.prev,
                deps: header.deps,
                ops: row.get(2)?,
                bytes,
                continues: header.continues,
                entry,
            });
        }
        Ok(lines)
    }
}
