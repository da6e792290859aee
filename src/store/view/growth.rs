//! What arrived since a moment, by author: counts only, so that no entry is read.

use p2pdb_core::id::AuthorId;

use super::View;
use crate::store::StoreError;

/// Entries of one author.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Growth {
    /// Whose.
    pub author: AuthorId,
    /// How many entries.
    pub entries: u64,
    /// Their operations.
    pub ops: u64,
    /// The arrival number of the latest.
    pub last_arrival: u64,
}

const SELECT: &str = "SELECT a.id, count(*), sum(e.ops), max(e.n)
    FROM _p2p_entry e JOIN _p2p_author a ON a.n = e.author WHERE e.n > ?1 GROUP BY e.author ORDER BY min(e.n)";

impl View<'_> {
    /// The last arrival number; 0 where nothing arrived.
    ///
    /// # Errors
    /// SQLite's.
    pub fn last_arrival(&self) -> Result<u64, StoreError> {
        self.count("SELECT coalesce(max(n), 0) FROM _p2p_entry")
    }

    /// Entries that arrived after number `n`, counted by author, in the order of their first.
    ///
    /// # Errors
    /// SQLite's.
    pub fn grown_after(&self, n: u64) -> Result<Vec<Growth>, StoreError> {
        let mut statement = self.conn.prepare_cached(SELECT)?;
        let grown = statement.query_map([n as i64], |row| {
            Ok(Growth {
                author: AuthorId(row.get(0)?),
                entries: row.get::<_, i64>(1)? as u64,
                ops: row.get::<_, i64>(2)? as u64,
                last_arrival: row.get::<_, i64>(3)? as u64,
            })
        })?;
        Ok(grown.collect::<rusqlite::Result<_>>()?)
    }
}
