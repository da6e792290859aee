//! Taking in entries from elsewhere: checked, stored and merged in one transaction.
//!
//! Whatever way they come, over the network or through `p2p_log`, they pass here. The checks are the core's
//! ([`p2pdb_core::chain`]) and need no lock.

use p2pdb_core::chain::{self, Chains, CheckError, Checked, CheckedBatch, Held, Refused};
use p2pdb_core::id::{AuthorId, EntryId, Life, Seq};
use rusqlite::{OptionalExtension, params};

use super::{Applied, Store, StoreError};

/// What became of a batch.
#[derive(Clone, Debug, Default)]
pub struct Received {
    /// Entries that are new here and durable.
    pub stored: usize,
    /// What was merged, of these and of what waited.
    pub applied: Applied,
    /// The last arrival number before.
    pub after: u64,
    /// The last arrival number now.
    pub last: u64,
}

impl Store {
    /// Takes in a batch from a peer, in the order it came. Where it shows that an author's branch here is to be given up, that is
    /// done, and the batch refused: the log is another now. `cursor` says how far of that peer's arrival order is here then.
    ///
    /// # Errors
    /// [`StoreError::Refused`] if an entry breaks a rule: nothing of the batch is kept then. A failure of
    /// SQLite leaves the store as it was; the batch may be offered again.
    pub fn receive(
        &mut self,
        batch: &[&[u8]],
        cursor: Option<(Life, u64)>,
        now_ms: u64,
        mut has_time: impl FnMut() -> bool,
    ) -> Result<Received, StoreError> {
        let CheckedBatch { fresh, heads } = match self.check(batch) {
            Ok(checked) => checked,
            Err(StoreError::Refused(Refused::Fork(author, seq))) if self.compared(&author).is_some() => {
                self.give_up(&author, seq, now_ms)?;
                return Err(StoreError::Refused(Refused::Fork(author, seq)));
            }
            Err(why) => return Err(why),
        };
        self.note_compared(&heads);
        self.write(|store| {
            // What is sealed inside the transaction comes before or behind; the batch itself is one run of numbers.
            let after = store.last_arrival()?;
            for Checked { entry, ops } in &fresh {
                store.append(entry, *ops)?;
            }
            let last = store.last_arrival()?;
            if let Some((life, n)) = cursor {
                store.remember(&life, n)?;
            }
            let applied = store.apply_in(now_ms, &mut has_time)?;
            Ok(Received { stored: fresh.len(), applied, after, last })
        })
    }

    pub(super) fn check(&self, batch: &[&[u8]]) -> Result<CheckedBatch, StoreError> {
        let checked = chain::check(self.identity.group, &self.identity.secret, batch, self);
        checked.map_err(|e| match e {
            CheckError::Refused(refused) => StoreError::Refused(refused),
            CheckError::Store(why) => why,
        })
    }

    /// Keeps how far of each life's arrival order is here; 0 forgets it.
    ///
    /// # Errors
    /// SQLite's.
    pub fn remember_all(&mut self, cursors: &[(Life, u64)]) -> Result<(), StoreError> {
        if cursors.is_empty() {
            return Ok(());
        }
        self.write(|store| cursors.iter().try_for_each(|(life, n)| store.remember(life, *n)))
    }

    fn remember(&self, life: &Life, n: u64) -> Result<(), StoreError> {
        if n == 0 {
            self.conn.prepare_cached("DELETE FROM _p2p_cursor WHERE life = ?1")?.execute([life.0])?;
        } else {
            let sql = "INSERT OR REPLACE INTO _p2p_cursor(life, n) VALUES(?1, ?2)";
            self.conn.prepare_cached(sql)?.execute(params![life.0, n as i64])?;
        }
        Ok(())
    }

    /// How far of a life's arrival order is here, if that is known.
    ///
    /// # Errors
    /// SQLite's.
    pub fn cursor(&self, life: &Life) -> Result<Option<u64>, StoreError> {
        let sql = "SELECT n FROM _p2p_cursor WHERE life = ?1";
        let n: Option<i64> = self.conn.prepare_cached(sql)?.query_row([life.0], |row| row.get(0)).optional()?;
        Ok(n.map(|n| n as u64))
    }
}

impl Chains for Store {
    type Error = StoreError;

    fn held(&self, author: &AuthorId) -> Result<Option<Held>, StoreError> {
        let held = self.authors.get(author).filter(|a| a.held.0 > 0);
        Ok(held.map(|a| Held { seq: a.held, id: a.head, clock: a.clock, key: a.key }))
    }

    fn id_at(&self, author: &AuthorId, seq: Seq) -> Result<Option<EntryId>, StoreError> {
        match self.id_of(author, seq) {
            Ok(id) => Ok(Some(id)),
            Err(StoreError::Sqlite(rusqlite::Error::QueryReturnedNoRows)) => Ok(None),
            Err(why) => Err(why),
        }
    }
}
