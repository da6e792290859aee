//! The store: one SQLite connection and its transactions.
//!
//! Everything that P2PDB knows of a database stands in private tables (`sql/private.sql`) of that
//! database's own file, written in the same transactions as the rows they are about: a crash leaves
//! both or neither. What is cached here is reloaded whenever a transaction fails.
//!
//! The store does not know the network, nor when it is its turn: the node's gate decides that.

use p2pdb_core::cellhash::CellHasher;
use p2pdb_core::clock::Clock;
use p2pdb_core::id::{Digest, GroupId, Life};
use p2pdb_core::key::{AuthorKey, Secret};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OptionalExtension};

mod amend;
mod apply;
mod authors;
mod dangling;
pub mod define;
mod error;
mod events;
mod flags;
mod fork;
mod import;
mod literal;
mod log;
mod mirror;
mod names;
mod orphan;
mod places;
mod private;
mod receive;
mod records;
mod reference;
mod renumber;
mod replay;
mod resolve;
mod rows;
mod seal;
mod seen;
mod tables;
mod tend;
mod triggers;
mod unique;
mod view;
mod waiting;
mod withheld;

pub use apply::Applied;
pub use error::StoreError;
pub use import::{Drained, stage};
pub use mirror::Pass;
pub use private::{drop_private_tables, group, has_private_tables};
pub use receive::{Offered, Received, Taken};
pub use resolve::{Choice, resolve};
pub use seal::Sealed;
pub use triggers::{TriggerState, remove as remove_trigger_copies};
pub use view::{
    Account, ConflictLine, Derived, EventLine, Fate, Finding, Growth, KeyKind, LogLine, Parent, Policy, Status,
    TableLine, TriggerLine, View, Waits, Whereabouts, Why, triggers_in_words,
};

use authors::Authors;
use tables::Tables;

/// Who writes here, and for whom.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The group of peers.
    pub group: GroupId,
    /// Its secret.
    pub secret: Secret,
    /// The secret's epoch.
    pub epoch: u32,
    /// The author key of this copy of the database.
    pub key: AuthorKey,
}

/// One database.
pub struct Store {
    conn: Connection,
    identity: Identity,
    hasher: CellHasher,
    authors: Authors,
    tables: Tables,
    digest: u128,
    /// The latest clock merged: the floor of the next local one.
    floor: Clock,
    life: Life,
    flags: flags::Flags,
    /// The schema cookie at which the triggers were last found in place.
    tended: Option<i64>,
    /// The schema cookie at which the user's triggers were copied.
    copied: Option<i64>,
    /// Who wrote here before.
    former: fork::Former,
    /// What is known of an atomic group that stays open between two transactions.
    open_group: seal::OpenGroup,
}

/// KiB of page cache: an atomic group is merged in one transaction, in the order of its rows' names and not of the
/// table's pages. With SQLite's own 2,000 a hundred thousand such updates spilled and read back each page many times
/// over, seven times the work. The node gives it back when idle, see [`Store::rest`].
const CACHE_KIB: i64 = 16_000;

/// Statements kept prepared: our own, about forty, and ten for each of some thirty tables in use. With rusqlite's own
/// sixteen, two tables were enough to prepare statements anew all the time.
const STATEMENTS_MAX: usize = 384;

const PRIVATE: &str = include_str!("../sql/private.sql");

/// Makes the private tables where they are not there yet. Safe to call on any connection, inside a transaction or not.
///
/// # Errors
/// SQLite's.
pub fn create_private_tables(conn: &Connection) -> rusqlite::Result<()> {
    conn.execute_batch(PRIVATE)?;
    conn.execute("INSERT OR IGNORE INTO _p2p_meta(key, value) VALUES('format', 1), ('life', randomblob(16))", [])?;
    Ok(())
}

impl Store {
    /// Takes over a connection that nothing else uses: triggers and foreign keys are switched off on it, and its commits are durable.
    ///
    /// # Errors
    /// [`StoreError`] if the file can't be read, or was written by a newer format.
    pub fn open(conn: Connection, identity: Identity) -> Result<Self, StoreError> {
        conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)?;
        conn.execute_batch("PRAGMA foreign_keys=OFF; PRAGMA recursive_triggers=OFF; PRAGMA synchronous=FULL")?;
        conn.pragma_update(None, "cache_size", -CACHE_KIB)?;
        conn.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
        amend::register(&conn)?;
        create_private_tables(&conn)?;
        conn.execute("INSERT OR IGNORE INTO _p2p_meta(key, value) VALUES('group', ?1)", [identity.group.0])?;
        let hasher = CellHasher::new(identity.group);
        let (authors, tables, flags, life, tended, copied, former, open_group) = Default::default();
        let mut store = Self {
            conn,
            identity,
            hasher,
            authors,
            tables,
            digest: 0,
            floor: Clock(0),
            life,
            flags,
            tended,
            copied,
            former,
            open_group,
        };
        store.life = Life(store.meta::<[u8; 16]>("life")?.unwrap_or_default());
        store.reload()?;
        store.note_author()?;
        Ok(store)
    }

    /// Reads every cache anew.
    fn reload(&mut self) -> Result<(), StoreError> {
        let format: i64 = self.meta("format")?.unwrap_or(1);
        if format != 1 {
            return Err(StoreError::NewerFormat(format));
        }
        if self.meta::<[u8; 16]>("group")? != Some(self.identity.group.0) {
            return Err(StoreError::OtherGroup);
        }
        self.ensure_same()?;
        self.copied = None;
        self.digest = u128::from_le_bytes(self.meta::<[u8; 16]>("digest")?.unwrap_or_default());
        self.floor = Clock(self.meta::<i64>("clock")?.unwrap_or_default() as u64);
        self.authors = Authors::load(&self.conn)?;
        self.tables = Tables::load(&self.conn)?;
        Ok(())
    }

    fn meta<T: rusqlite::types::FromSql>(&self, key: &str) -> rusqlite::Result<Option<T>> {
        let mut statement = self.conn.prepare_cached("SELECT value FROM _p2p_meta WHERE key = ?1")?;
        statement.query_row([key], |row| row.get(0)).optional()
    }

    fn set_meta(&self, key: &str, value: impl rusqlite::ToSql) -> rusqlite::Result<()> {
        let mut statement = self.conn.prepare_cached("INSERT OR REPLACE INTO _p2p_meta(key, value) VALUES(?1, ?2)")?;
        statement.execute(rusqlite::params![key, value]).map(drop)
    }

    /// Runs `work` in one write transaction. If it fails, nothing of it remains, in the file or in the caches.
    fn write<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T, StoreError>) -> Result<T, StoreError> {
        self.conn.execute_batch("BEGIN IMMEDIATE")?;
        self.flags.reset();
        let before = (self.digest, self.floor);
        let outcome =
            self.ensure_same().and_then(|()| self.copy_triggers()).and_then(|()| work(self)).and_then(|value| {
                if self.digest != before.0 {
                    self.set_meta("digest", self.digest.to_le_bytes())?;
                }
                if self.floor != before.1 {
                    self.set_meta("clock", self.floor.0 as i64)?;
                }
                self.authors.save(&self.conn)?;
                self.conn.execute_batch("COMMIT")?;
                Ok(value)
            });
        if outcome.is_err() {
            if !self.conn.is_autocommit() {
                self.conn.execute_batch("ROLLBACK")?;
            }
            self.reload()?;
        }
        outcome
    }

    /// Are the private tables still those that were opened? Somebody may have left the group and joined another meanwhile, or
    /// the same again: an entry of the identity held here would be a stranger's there, or a fork of its own past.
    fn ensure_same(&self) -> Result<(), StoreError> {
        if self.meta::<[u8; 16]>("life")? == Some(self.life.0) { Ok(()) } else { Err(StoreError::MadeAnew) }
    }

    /// Gives back the memory that is only there for speed.
    ///
    /// # Errors
    /// SQLite's.
    pub fn rest(&self) -> rusqlite::Result<()> {
        self.conn.execute_batch("PRAGMA shrink_memory")
    }

    /// The connection, for reading.
    pub fn connection(&self) -> &Connection {
        &self.conn
    }

    /// Who writes here.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The state digest (rule R20).
    pub fn digest(&self) -> Digest {
        Digest(self.digest.to_le_bytes())
    }

    /// Hash over the definitions of tracked tables.
    pub fn schema_hash(&self) -> [u8; 16] {
        self.tables.schema_hash()
    }

    /// The life of this store's arrival order.
    pub fn life(&self) -> Life {
        self.life
    }
}

/// For the tests of this package alone.
#[doc(hidden)]
pub mod testing {
    use super::{Connection, StoreError, define};

    /// Begins to track a table, on the user's connection.
    pub fn track(conn: &Connection, table: &str) -> Result<(), StoreError> {
        define::track(conn, table, "").map(drop)
    }
}

#[cfg(test)]
mod tests;
