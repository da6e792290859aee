//! What is stored here and not merged: two stores compare their digests only where this is the same.

use p2pdb_core::clock::Clock;
use p2pdb_core::limit;
use p2pdb_core::record::AuthorNumbers;

use super::{Store, StoreError};

impl Store {
    /// A hash over the entries that are not merged and the operations that wait for their table; zero where there are
    /// none.
    ///
    /// # Errors
    /// SQLite's.
    pub fn withheld_root(&self) -> Result<[u8; 16], StoreError> {
        let mut items: Vec<Vec<u8>> = Vec::new();
        for a in self.authors.iter().filter(|a| a.applied < a.held) {
            items.push([&a.id.0[..], &a.applied.0.to_le_bytes(), &a.held.0.to_le_bytes()].concat());
        }
        let mut statement = self.conn.prepare_cached("SELECT table_id, author, seq FROM _p2p_withheld")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let author = self.authors.author(row.get(1)?).unwrap_or_default();
            items.push([row.get_ref(0)?.as_blob()?, &author.0, &row.get::<_, i64>(2)?.to_le_bytes()].concat());
        }
        if items.is_empty() {
            return Ok([0; 16]);
        }
        items.sort_unstable();
        let mut h = blake3::Hasher::new_derive_key("p2pdb 1 withheld");
        for item in items {
            h.update(&(item.len() as u64).to_le_bytes()).update(&item);
        }
        let mut root = [0; 16];
        root.copy_from_slice(&h.finalize().as_bytes()[..16]);
        Ok(root)
    }

    /// When, in milliseconds since 1970, the first of the entries whose clock is too far ahead may be merged; none if
    /// nothing waits for that. Those that are due already count as well.
    ///
    /// # Errors
    /// SQLite's.
    pub fn quarantined_until(&self) -> Result<Option<u64>, StoreError> {
        let mut first: Option<u64> = None;
        for last in self.authors.iter().filter_map(|a| a.next_end.map(|seq| (a.id, seq))) {
            let sql = "SELECT clock FROM _p2p_entry WHERE author = ?1 AND seq = ?2";
            let params = rusqlite::params![self.authors.number_of(&last.0), last.1.0 as i64];
            let clock: i64 = self.conn.prepare_cached(sql)?.query_row(params, |row| row.get(0))?;
            let until = Clock(clock as u64).ms().saturating_sub(limit::CLOCK_AHEAD_MS_MAX);
            first = Some(first.map_or(until, |f| f.min(until)));
        }
        Ok(first)
    }
}
