//! What can go wrong in the store.

use p2pdb_core::chain::Refused;
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
    /// The private tables are not those that this store opened: the database left its group, or joined one, meanwhile.
    #[error("the database left its group or joined another while it was open; what opened it before must close it")]
    MadeAnew,
    /// The table can't be tracked, or isn't.
    #[error("{0}")]
    Table(String),
    /// An entry breaks a rule: its sender is at fault, trying again is useless.
    #[error("entry refused: {0}")]
    Refused(Refused),
    /// Imported entries that wait for ones before them fill their bound.
    #[error("too many imported entries wait for earlier ones; import those first")]
    StageFull,
}

impl From<rusqlite::types::FromSqlError> for StoreError {
    fn from(e: rusqlite::types::FromSqlError) -> Self {
        Self::Sqlite(rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Blob, Box::new(e)))
    }
}
