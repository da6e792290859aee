//! Taking in entries from elsewhere: checked, stored and merged in one transaction.
//!
//! Whatever way they come, over the network or through `p2p_log`, they pass here. The checks are the core's
//! ([`p2pdb_core::chain`]).

use p2pdb_core::chain::{self, Chains, CheckError, Checked, CheckedBatch, Held, Refused};
use p2pdb_core::id::{AuthorId, EntryId, Life, Seq};
use rusqlite::{OptionalExtension, params};

use super::{Applied, Store, StoreError};

/// A batch of whole entries from a peer, in the order it came.
#[derive(Clone, Copy, Debug)]
pub struct Offered<'a, B> {
    /// The entries' bytes.
    pub entries: &'a [B],
    /// How far of that peer's arrival order is here once they are.
    pub cursor: Option<(Life, u64)>,
}

/// A batch that is durable here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Entries that are new here.
    pub stored: usize,
    /// The last arrival number before.
    pub after: u64,
    /// The last arrival number after.
    pub last: u64,
}

/// What became of batches that were offered together.
#[derive(Clone, Debug, Default)]
pub struct Received {
    /// Of each in turn; those behind the end were not come to, for time ran out.
    pub batches: Vec<Result<Taken, Refused>>,
    /// What was merged, of these and of what waited.
    pub applied: Applied,
}

impl Store {
    /// Takes in batches from peers, all in one transaction: one fsync serves them all. Of a batch in which an entry breaks a
    /// rule nothing is kept. Where one shows that an author's branch here is to be given up, that is done once the others are
    /// in: the log is another then. The first is taken in whatever `has_time` says.
    ///
    /// # Errors
    /// SQLite's: the store is as it was then, and the batches may be offered again.
    pub fn receive<B: AsRef<[u8]>>(
        &mut self,
        offered: &[Offered<'_, B>],
        now_ms: u64,
        mut has_time: impl FnMut() -> bool,
    ) -> Result<Received, StoreError> {
        let received = self.write(|store| {
            let mut batches = Vec::with_capacity(offered.len());
            for batch in offered {
                if !batches.is_empty() && !has_time() {
                    break;
                }
                batches.push(store.take_in(batch)?);
            }
            Ok(Received { batches, applied: store.apply_in(now_ms, &mut has_time)? })
        })?;
        for refused in &received.batches {
            if let Err(Refused::Fork(author, seq)) = refused
                && self.compared(author).is_some()
            {
                self.give_up(author, *seq, now_ms)?;
            }
        }
        Ok(received)
    }

    /// What is sealed in the same transaction comes before or behind; a batch is one run of arrival numbers.
    fn take_in<B: AsRef<[u8]>>(&mut self, batch: &Offered<'_, B>) -> Result<Result<Taken, Refused>, StoreError> {
        let CheckedBatch { fresh, heads } = match self.check(batch.entries) {
            Ok(checked) => checked,
            Err(StoreError::Refused(why)) => return Ok(Err(why)),
            Err(why) => return Err(why),
        };
        let after = self.last_arrival()?;
        for Checked { entry, ops } in &fresh {
            self.append(entry, *ops)?;
        }
        if let Some((life, n)) = batch.cursor {
            self.remember(&life, n)?;
        }
        self.note_compared(&heads);
        Ok(Ok(Taken { stored: fresh.len(), after, last: self.last_arrival()? }))
    }

    pub(super) fn check<B: AsRef<[u8]>>(&self, batch: &[B]) -> Result<CheckedBatch, StoreError> {
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
