//! Entries that come one by one and in any order, as `INSERT INTO p2p_log` brings them.
//!
//! Each is staged first, which any connection can do inside the user's own transaction; the store then takes from the
//! stage what continues a chain. What has a gap before it stays, within a bound, until the gap closes.

use p2pdb_core::chain::{Checked, Refused};
use p2pdb_core::entry::Entry;
use p2pdb_core::id::{AuthorId, EntryId, GroupId};
use p2pdb_core::limit;
use rusqlite::{Connection, OptionalExtension, params};

use super::{Applied, Store, StoreError};

/// An entry on the stage: the hash that it is kept under, and its bytes.
type StagedEntry = ([u8; 32], Vec<u8>);

/// What became of the stage.
#[derive(Clone, Debug, Default)]
pub struct Drained {
    /// Entries that went into the log.
    pub stored: usize,
    /// Entries that broke a rule, and were dropped.
    pub refused: Vec<(EntryId, Refused)>,
    /// Time ran out with entries left that continue a chain.
    pub is_partial: bool,
    /// What was merged.
    pub applied: Applied,
}

/// Puts an entry on the stage. One that is in the log already, or staged, changes nothing.
///
/// # Errors
/// [`StoreError::Refused`] if it is no entry or belongs to another group, [`StoreError::StageFull`].
pub fn stage(conn: &Connection, group: GroupId, bytes: &[u8]) -> Result<EntryId, StoreError> {
    let entry = Entry::from_bytes(bytes).map_err(|e| StoreError::Refused(e.into()))?;
    if entry.header.group != group {
        return Err(StoreError::Refused(Refused::OtherGroup));
    }
    if is_logged(conn, &entry.id)? {
        return Ok(entry.id);
    }
    let total = "SELECT value FROM _p2p_meta WHERE key = 'staged_bytes'";
    let total: Option<i64> = conn.prepare_cached(total)?.query_row([], |row| row.get(0)).optional()?;
    let total = total.unwrap_or_default() as u64 + bytes.len() as u64;
    if total > limit::STAGED_BYTES_MAX {
        return Err(StoreError::StageFull);
    }
    // By all its bytes, not by its id: a forged twin with another signature has the same id, and must not keep this one out.
    let hash = *blake3::hash(bytes).as_bytes();
    let sql = "INSERT OR IGNORE INTO _p2p_staged(hash, author, seq, entry) VALUES(?1, ?2, ?3, ?4)";
    let h = &entry.header;
    if conn.prepare_cached(sql)?.execute(params![hash, h.author.0, h.seq.0 as i64, bytes])? > 0 {
        let sql = "INSERT OR REPLACE INTO _p2p_meta(key, value) VALUES('staged_bytes', ?1)";
        conn.prepare_cached(sql)?.execute([total as i64])?;
    }
    Ok(entry.id)
}

fn is_logged(conn: &Connection, id: &EntryId) -> rusqlite::Result<bool> {
    let known = "SELECT EXISTS(SELECT 1 FROM _p2p_entry WHERE hash = ?1)";
    conn.prepare_cached(known)?.query_row([id.0], |row| row.get(0))
}

impl Store {
    /// Takes in one entry, whatever came before it: stages it, and merges what is complete.
    ///
    /// # Errors
    /// [`StoreError::Refused`] if it breaks a rule, or the stage is full.
    pub fn import(&mut self, bytes: &[u8], now_ms: u64) -> Result<Drained, StoreError> {
        let group = self.identity.group;
        let (id, drained) = self.write(|store| {
            let id = stage(&store.conn, group, bytes)?;
            Ok((id, store.drain_in(now_ms, &mut || true)?))
        })?;
        match drained.refused.iter().find(|(refused, _)| *refused == id) {
            // A forged twin may have been refused where this one was taken.
            Some((_, why)) if !is_logged(&self.conn, &id)? => Err(StoreError::Refused(why.clone())),
            _ => Ok(drained),
        }
    }

    /// Takes from the stage what continues a chain, and merges it and all else that waits. None, and nothing is merged, where nothing
    /// is staged.
    ///
    /// # Errors
    /// SQLite's.
    pub fn drain(&mut self, now_ms: u64, mut has_time: impl FnMut() -> bool) -> Result<Option<Drained>, StoreError> {
        let sql = "SELECT EXISTS(SELECT 1 FROM _p2p_staged)";
        if !self.conn.prepare_cached(sql)?.query_row([], |row| row.get(0))? {
            return Ok(None);
        }
        self.write(|store| store.drain_in(now_ms, &mut has_time)).map(Some)
    }

    fn drain_in(&mut self, now_ms: u64, has_time: &mut dyn FnMut() -> bool) -> Result<Drained, StoreError> {
        let mut drained = Drained::default();
        let authors: Vec<AuthorId> = {
            let mut statement = self.conn.prepare_cached("SELECT DISTINCT author FROM _p2p_staged")?;
            let ids = statement.query_map([], |row| row.get(0).map(AuthorId))?;
            ids.collect::<rusqlite::Result<_>>()?
        };
        for author in authors {
            while let Some((hash, bytes)) = self.next_staged(&author)? {
                if drained.stored > 0 && !has_time() {
                    drained.is_partial = true;
                    break;
                }
                self.conn.prepare_cached("DELETE FROM _p2p_staged WHERE hash = ?1")?.execute([hash])?;
                match self.check(&[&bytes]) {
                    Ok(batch) => {
                        for Checked { entry, ops } in &batch.fresh {
                            self.append(entry, *ops)?;
                            drained.stored += 1;
                        }
                    }
                    Err(StoreError::Refused(why)) => {
                        let id = Entry::from_bytes(&bytes).map(|e| e.id).unwrap_or_default();
                        drained.refused.push((id, why));
                    }
                    Err(why) => return Err(why),
                }
            }
        }
        let total = "SELECT coalesce(sum(length(entry)), 0) FROM _p2p_staged";
        let total: i64 = self.conn.prepare_cached(total)?.query_row([], |row| row.get(0))?;
        self.set_meta("staged_bytes", total)?;
        drained.applied = self.apply_in(now_ms, has_time)?;
        Ok(drained)
    }

    /// The bytes of a staged entry, and their hash. It comes right after what is held of its author, or that is not needed any more.
    fn next_staged(&self, author: &AuthorId) -> Result<Option<StagedEntry>, StoreError> {
        let next = self.authors.get(author).map_or(1, |a| a.held.0 + 1);
        let sql = "SELECT hash, entry FROM _p2p_staged WHERE author = ?1 AND seq <= ?2 ORDER BY seq LIMIT 1";
        let params = params![author.0, next as i64];
        let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
        Ok(self.conn.prepare_cached(sql)?.query_row(params, read).optional()?)
    }
}
