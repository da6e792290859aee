//! The reading side: what the surface shows, told by the private tables alone.
//!
//! Works on any connection that can read the file, a host's or a read-only one: nothing is cached between calls and
//! nothing is written. Call it within one read transaction where several answers are to fit one another.

use p2pdb_core::cellhash::CellHasher;
use p2pdb_core::clock::Clock;
use p2pdb_core::id::{AuthorId, GroupId};
use p2pdb_core::record::AuthorNumbers;
use rusqlite::{Connection, OptionalExtension};

use super::StoreError;
use super::authors::Authors;
use super::flags::Flags;
use super::rows::{Shared, SqliteRows};
use super::tables::{Tables, Tracked};

mod conflicts;
mod events;
mod growth;
mod log;
mod past;
mod shown;
mod status;
mod tables;
mod triggers;
mod verify;
mod why;

pub use conflicts::{ConflictLine, Fate};
pub use events::EventLine;
pub use growth::Growth;
pub use log::LogLine;
pub(super) use shown::{key_value, name_value};
pub use status::Status;
pub use tables::{KeyKind, Policy, TableLine};
pub use triggers::{TriggerLine, triggers_in_words};
pub use verify::Finding;
pub use why::{Account, Derived, Parent, Waits, Whereabouts, Why};

/// A reader of the private tables.
pub struct View<'c> {
    conn: &'c Connection,
    authors: Authors,
    tables: Tables,
    flags: Flags,
    group: Option<GroupId>,
    hasher: CellHasher,
    /// Nothing is summed up here; the rows want a place for it.
    digest: u128,
}

impl<'c> View<'c> {
    /// Reads what is needed for all answers. None if P2PDB has never been at work in this database.
    ///
    /// # Errors
    /// SQLite's, and damage of the private tables.
    pub fn open(conn: &'c Connection) -> Result<Option<Self>, StoreError> {
        let exists = "SELECT EXISTS(SELECT 1 FROM main.sqlite_schema WHERE name = '_p2p_meta')";
        if !conn.query_row(exists, [], |row| row.get::<_, bool>(0))? {
            return Ok(None);
        }
        let group = conn
            .query_row("SELECT value FROM _p2p_meta WHERE key = 'group'", [], |row| row.get(0).map(GroupId))
            .optional()?;
        let hasher = CellHasher::new(group.unwrap_or_default());
        let (authors, tables) = (Authors::load(conn)?, Tables::load(conn)?);
        Ok(Some(Self { conn, authors, tables, flags: Flags::default(), group, hasher, digest: 0 }))
    }

    /// The rows of one table, for reading.
    fn rows<T>(
        &mut self,
        t: i64,
        work: impl FnOnce(&mut SqliteRows<'_>, &Tracked) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        let Self { conn, tables, authors, flags, hasher, digest, .. } = self;
        let Some(table) = tables.get(t) else { return Ok(None) };
        let shared = Shared { conn, tables, hasher, flags };
        work(&mut SqliteRows::new(shared, table, authors, digest)?, table).map(Some)
    }

    /// The same by the table's name.
    pub(super) fn with_table<T>(
        &mut self,
        table: &str,
        work: impl FnOnce(&mut SqliteRows<'_>) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        let Some(t) = self.tables.by_name(table).map(|table| table.t) else { return Ok(None) };
        self.rows(t, |rows, _| work(rows))
    }

    fn author(&self, number: u32) -> AuthorId {
        self.authors.author(number).unwrap_or_default()
    }

    fn meta<T: rusqlite::types::FromSql>(&self, key: &str) -> rusqlite::Result<Option<T>> {
        let sql = "SELECT value FROM _p2p_meta WHERE key = ?1";
        self.conn.prepare_cached(sql)?.query_row([key], |row| row.get(0)).optional()
    }

    fn count(&self, sql: &str) -> Result<u64, StoreError> {
        Ok(self.conn.prepare_cached(sql)?.query_row([], |row| row.get::<_, i64>(0))? as u64)
    }
}

fn clock_of(v: i64) -> Clock {
    Clock(v as u64)
}
