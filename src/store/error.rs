//! What can go wrong in the store.

use p2pdb_core::codec::Malformed;

/// A failure below, a refusal above, or damage.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// SQLite failed: disk full, database busy, file damaged.
    #[error("{0}")]
    Sqlite(#[from] rusqlite::Error),
    /// Bytes of the private tables, or of an entry, are not what they should be.
    #[error("malformed data: {0}")]
    Malformed(#[from] Malformed),
    /// The file was written by a later version.
    #[error("the database has P2PDB format {0}, this library knows 1; load a newer version of P2PDB")]
    NewerFormat(i64),
    /// The database belongs to another group than the identity that it was opened with.
    #[error("the database belongs to another group; p2p_leave() it first, or give back the sidecar file it came with")]
    OtherGroup,
    /// The table can't be tracked, or isn't.
    #[error("{0}")]
    Table(String),
    /// An entry breaks a rule: its sender is at fault, trying again is useless.
    #[error("entry refused: {0}")]
    Refused(Refused),
}

impl From<rusqlite::types::FromSqlError> for StoreError {
    fn from(e: rusqlite::types::FromSqlError) -> Self {
        Self::Sqlite(rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Blob, Box::new(e)))
    }
}

/// Why an entry is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Its form is broken.
    #[error("{0}")]
    Malformed(#[from] Malformed),
    /// It is another group's.
    #[error("it belongs to another group")]
    OtherGroup,
    /// Its signature does not fit.
    #[error("its signature does not verify")]
    Signature,
    /// Its chain does not fit.
    #[error("its predecessor is not the one stored here")]
    Chain,
    /// Another entry has its place.
    #[error("author {0} wrote two entries with number {1}: its database file was copied or restored")]
    Fork(p2pdb_core::id::AuthorId, u64),
    /// Its clock is not later than that of its predecessor.
    #[error("its clock is not later than that of the entry before it")]
    Clock,
    /// Too many imported entries wait for ones before them.
    #[error("too many imported entries wait for earlier ones; import those first")]
    StageFull,
    /// Entries before it are missing.
    #[error("entries before it are missing")]
    Gap,
}
