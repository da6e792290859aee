//! What a transaction knows of a table's side tables without looking each time: most are empty most of the time.
//!
//! Read once a transaction and table, raised where a row is added. Only the store writes these tables, under the
//! write lock, so that a flag can't be out of date; one that stays up though the last row went costs a look.

use p2pdb_core::id::Dot;
use p2pdb_core::name::Name;
use p2pdb_core::unique::Tuple;
use rusqlite::Connection;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};

use super::events::Events;
use super::tables::Tracked;

/// Has the table rows in…
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct TableFlags {
    /// the book of conflicts,
    pub(super) book: bool,
    /// the list of rows that claim another id,
    pub(super) claims: bool,
    /// that list, as probing,
    pub(super) probers: bool,
    /// the list of rows that wait for one that they refer to,
    pub(super) waits: bool,
    /// the list of rows that are not shown as merged,
    pub(super) stuck: bool,
    /// the list of rows that claim what they do not show,
    pub(super) contends: bool,
    /// the list of plain values in columns for references,
    pub(super) literals: bool,
    /// the same, as the table that they refer to,
    pub(super) meant: bool,
    /// the list of references that show something else than a row they mean,
    pub(super) dangling: bool,
    /// the same, as the table that they refer to?
    pub(super) dangled: bool,
}

/// The flags of one transaction.
#[derive(Debug, Default)]
pub(super) struct Flags {
    tables: RefCell<BTreeMap<i64, TableFlags>>,
    /// By table: no record has a higher id.
    last_ids: RefCell<BTreeMap<i64, i64>>,
    /// Rows became visible that others may have waited for, or one that waits has changed.
    pub(super) woke: Cell<bool>,
    /// References to rows that are not there are shown as NULL for the moment.
    pub(super) is_lenient: Cell<bool>,
    /// Where rows without a key are whose records were not put since, or that they are not in their table: (table, birth).
    pub(super) places: RefCell<BTreeMap<(i64, Dot), Option<i64>>>,
    /// A row that references are taken from is about to go, and is still there.
    pub(super) is_leaving: Cell<bool>,
    /// Ids that came free while rows were parked: (table, id).
    pub(super) freed: RefCell<Vec<(i64, i64)>>,
    /// Rows between which unique indexes are to decide: (table, name).
    pub(super) contended: RefCell<BTreeSet<(i64, Name)>>,
    /// Rows that came, of tables whose rows others refer to and do not show: (table, name).
    pub(super) came: RefCell<BTreeSet<(i64, Name)>>,
    /// Rows that are to show anew what they refer to: (table, name).
    pub(super) again: RefCell<BTreeSet<(i64, Name)>>,
    /// What rows in such indexes show or claim since a moment ago, or no more: (table, index, tuple).
    pub(super) moved: RefCell<BTreeSet<(i64, usize, Tuple)>>,
    /// Rows that may have moved, and tables that came.
    pub(super) events: Events,
}

const READ: &str = "SELECT
    EXISTS(SELECT 1 FROM _p2p_conflict WHERE t = ?1),
    EXISTS(SELECT 1 FROM _p2p_claim WHERE t = ?1),
    EXISTS(SELECT 1 FROM _p2p_claim WHERE t = ?1 AND probes),
    EXISTS(SELECT 1 FROM _p2p_stuck WHERE t = ?1 AND waits = 1),
    EXISTS(SELECT 1 FROM _p2p_stuck WHERE t = ?1),
    EXISTS(SELECT 1 FROM _p2p_literal WHERE t = ?1),
    EXISTS(SELECT 1 FROM _p2p_literal WHERE parent = ?1),
    EXISTS(SELECT 1 FROM _p2p_contend WHERE t = ?1),
    EXISTS(SELECT 1 FROM _p2p_dangling WHERE t = ?1),
    EXISTS(SELECT 1 FROM _p2p_dangling WHERE parent = ?1)";

impl Flags {
    /// Forgets all: another transaction begins.
    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }

    pub(super) fn of(&self, conn: &Connection, t: i64) -> rusqlite::Result<TableFlags> {
        if let Some(flags) = self.tables.borrow().get(&t) {
            return Ok(*flags);
        }
        let flags = conn.prepare_cached(READ)?.query_row([t], |row| {
            Ok(TableFlags {
                book: row.get(0)?,
                claims: row.get(1)?,
                probers: row.get(2)?,
                waits: row.get(3)?,
                stuck: row.get(4)?,
                literals: row.get(5)?,
                meant: row.get(6)?,
                contends: row.get(7)?,
                dangling: row.get(8)?,
                dangled: row.get(9)?,
            })
        })?;
        self.tables.borrow_mut().insert(t, flags);
        Ok(flags)
    }

    /// No record of the table, which names its rows by integers, has a higher id.
    pub(super) fn last_id(&self, conn: &Connection, table: &Tracked) -> rusqlite::Result<i64> {
        if let Some(id) = self.last_ids.borrow().get(&table.t) {
            return Ok(*id);
        }
        let last: Option<i64> = conn.prepare_cached(&table.sql.last)?.query_row([], |row| row.get(0))?;
        let last = last.unwrap_or(i64::MIN);
        self.last_ids.borrow_mut().insert(table.t, last);
        Ok(last)
    }

    /// A record is kept under this id.
    pub(super) fn note_id(&self, t: i64, id: i64) {
        if let Some(last) = self.last_ids.borrow_mut().get_mut(&t) {
            *last = id.max(*last);
        }
    }

    pub(super) fn raise(&self, t: i64, raise: impl FnOnce(&mut TableFlags)) {
        raise(self.tables.borrow_mut().entry(t).or_default());
    }
}
