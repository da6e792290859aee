//! The store as the sync session reads it.

use p2pdb_core::id::{AuthorId, Digest, Life, Seq};
use p2pdb_core::log::{Head, Log, LogEntry};

use crate::store::{Store, StoreError};

impl Log for Store {
    type Error = StoreError;

    fn frontier(&self) -> Result<Vec<Head>, StoreError> {
        Store::frontier(self)
    }

    fn life(&self) -> Life {
        Store::life(self)
    }

    fn last_arrival(&self) -> Result<u64, StoreError> {
        Store::last_arrival(self)
    }

    fn arrivals_after(&self, n: u64, bytes_max: usize) -> Result<Vec<LogEntry>, StoreError> {
        Store::arrivals_after(self, n, bytes_max)
    }

    fn entries(&self, author: &AuthorId, from: Seq, bytes_max: usize) -> Result<Vec<LogEntry>, StoreError> {
        Store::entries(self, author, from, bytes_max)
    }

    fn cursor(&self, life: &Life) -> Result<Option<u64>, StoreError> {
        Store::cursor(self, life)
    }

    fn digest(&self) -> Result<Digest, StoreError> {
        Ok(Store::digest(self))
    }

    fn withheld_root(&self) -> Result<[u8; 16], StoreError> {
        Store::withheld_root(self)
    }

    fn schema_hash(&self) -> Result<[u8; 16], StoreError> {
        Ok(Store::schema_hash(self))
    }
}
