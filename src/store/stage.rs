//! Entries that come by hand: staged on the host's connection, merged by the node after the commit.

use p2pdb_core::chain::Refused;
use p2pdb_core::entry::Entry;
use p2pdb_core::id::GroupId;
use p2pdb_core::limit;
use rusqlite::{Connection, params};

use super::receive::is_gap;
use super::{Store, StoreError};

/// Stages an entry that `INSERT INTO p2p_log` brought, in the host's transaction.
///
/// # Errors
/// [`StoreError::Refused`] if it is no entry, or another group's; [`StoreError::Table`] if too many wait.
pub fn stage(conn: &Connection, group: GroupId, bytes: &[u8]) -> Result<(), StoreError> {
    let entry = Entry::from_bytes(bytes).map_err(|e| StoreError::Refused(e.into()))?;
    if entry.header.group != group {
        return Err(StoreError::Refused(Refused::OtherGroup));
    }
    let staged: i64 = conn.query_row("SELECT count(*) FROM _p2p_staged", [], |row| row.get(0))?;
    if staged >= limit::STAGED_ENTRIES_MAX {
        let max = limit::STAGED_ENTRIES_MAX;
        return Err(StoreError::Table(format!(
            "{max} entries wait for one that comes before them; COMMIT and call p2p_sync(), or import those first"
        )));
    }
    let sql = "INSERT OR IGNORE INTO _p2p_staged(hash, author, seq, entry) VALUES(?1, ?2, ?3, ?4)";
    conn.execute(sql, params![entry.id.0, entry.header.author.0, entry.header.seq.0 as i64, bytes])?;
    Ok(())
}

impl Store {
    /// Takes in what was staged and can be chained now, and merges all that can be. Returns how many entries were merged.
    ///
    /// # Errors
    /// SQLite's. A staged entry that breaks a rule is dropped, and the reason logged: who staged it has committed long ago.
    pub fn catch_up(&mut self, now_ms: u64) -> Result<usize, StoreError> {
        let mut applied = 0;
        loop {
            let batch = self.staged()?;
            if batch.is_empty() {
                break;
            }
            let mut progress = 0;
            for (hash, bytes) in batch {
                match self.receive(&[&bytes], None, now_ms) {
                    Ok(received) => applied += received.applied,
                    Err(StoreError::Refused(why)) if is_gap(&why) => continue,
                    Err(StoreError::Refused(why)) => tracing::warn!(%why, "an imported entry was dropped"),
                    Err(why) => return Err(why),
                }
                self.conn.prepare_cached("DELETE FROM _p2p_staged WHERE hash = ?1")?.execute([hash])?;
                progress += 1;
            }
            if progress == 0 {
                break;
            }
        }
        Ok(applied)
    }

    /// Staged entries whose turn it may be: the lowest of each author first.
    fn staged(&self) -> Result<Vec<([u8; 32], Vec<u8>)>, StoreError> {
        let sql = "SELECT hash, entry FROM _p2p_staged ORDER BY author, seq LIMIT 256";
        let mut statement = self.conn.prepare_cached(sql)?;
        let staged = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(staged.collect::<rusqlite::Result<_>>()?)
    }
}
