//! One replica's process: its file, what waits for the disk, and what a crash leaves of both.

use crate::apply::{apply_ready, receive};
use crate::database::{Database, Identity, Trouble};
use crate::seal::seal;
use p2pdb_core::entry::Entry;
use p2pdb_core::session::Batch;
use std::collections::VecDeque;

/// A batch on its way to the disk, and the session that waits for it.
#[derive(Clone, Debug)]
pub struct Waiting {
    /// The connection.
    pub conn: usize,
    /// Which end of it.
    pub side: usize,
    /// The batch.
    pub batch: Batch,
}

/// One replica.
#[derive(Clone, Debug)]
pub struct Node {
    /// The file as this process sees it.
    pub db: Database,
    /// The file as the last durable commit left it, while later ones are not durable.
    pub durable: Option<Box<Database>>,
    /// Keys.
    pub identity: Identity,
    /// Does the process run?
    pub is_up: bool,
    /// Counts its starts; events of an earlier one are void.
    pub start: u64,
    /// In the order they came.
    pub disk: VecDeque<Waiting>,
    /// How far its clock is ahead.
    pub skew_ms: u64,
}

impl Node {
    /// A transaction of the user's is about to be committed: durable only with our next commit (WAL, `synchronous=NORMAL`).
    pub fn before_user(&mut self) {
        if self.durable.is_none() {
            self.durable = Some(Box::new(self.db.clone()));
        }
    }

    /// Seals what the user wrote. Returns whether that made an entry.
    pub fn seal(&mut self, now_ms: u64) -> Result<bool, Trouble> {
        let wall_ms = self.wall_ms(now_ms);
        let entries = seal(&mut self.db, &self.identity, wall_ms)?;
        self.durable = None;
        Ok(entries > 0)
    }

    /// Merges what has waited for the time to catch up.
    pub fn catch_up(&mut self, now_ms: u64) -> Result<bool, Trouble> {
        if self.db.log.authors.values().all(|a| a.applied == a.held) {
            return Ok(false);
        }
        let is_sealed = self.seal(now_ms)?;
        let wall_ms = self.wall_ms(now_ms);
        apply_ready(&mut self.db, &self.identity, wall_ms)?;
        Ok(is_sealed)
    }

    /// A batch reaches the disk. Returns the arrival numbers before and after it.
    pub fn commit(&mut self, batch: &Batch, now_ms: u64) -> Result<(u64, u64), Trouble> {
        let wall_ms = self.wall_ms(now_ms);
        let outcome = receive(&mut self.db, &self.identity, &batch.entries, batch.cursor, wall_ms);
        self.durable = None;
        outcome
    }

    /// The planted bug: the frontier is moved before the entries are there.
    pub fn promise(&mut self, batch: &Batch) {
        for bytes in &batch.entries {
            if let Ok(entry) = Entry::from_bytes(bytes) {
                let promise = (entry.header.author, (entry.header.seq, entry.id));
                for db in [Some(&mut self.db), self.durable.as_deref_mut()].into_iter().flatten() {
                    db.promised.insert(promise.0, promise.1);
                }
            }
        }
    }

    /// The machine stops. `is_lucky`: the disk had written everything all the same.
    pub fn crash(&mut self, is_lucky: bool) {
        self.is_up = false;
        self.start += 1;
        self.disk.clear();
        if let Some(durable) = self.durable.take().filter(|_| !is_lucky) {
            self.db = *durable;
        }
    }

    fn wall_ms(&self, now_ms: u64) -> u64 {
        // Coarse, so that two replicas often write in one millisecond: ties are where merges go wrong.
        const GRAIN_MS: u64 = 200;
        (now_ms + self.skew_ms) / GRAIN_MS * GRAIN_MS
    }
}
