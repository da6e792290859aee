//! What merges did that somebody may have to follow elsewhere, as it is to be read.

use p2pdb_core::limit;
use rusqlite::types::Value as SqlValue;

use super::View;
use crate::store::StoreError;

/// One event.
#[derive(Clone, Debug)]
pub struct EventLine {
    /// Its number: each is higher than any before it.
    pub n: i64,
    /// The number of the first of those that came about together.
    pub merge: i64,
    /// When that was, in milliseconds since 1970.
    pub time_ms: i64,
    /// What: a row was renumbered, hidden, shown; a table was built or parked.
    pub event: String,
    /// The table, by the name that it has now.
    pub table: String,
    /// The row's key before.
    pub old: SqlValue,
    /// The row's key since.
    pub new: SqlValue,
    /// The `peer_id` of the author whose change did it, where it was one.
    pub by: Option<String>,
    /// Why, where there is something to be said.
    pub note: String,
}

const SELECT: &str = "SELECT e.n, e.merge, e.time, e.event, coalesce(a.name, ''), e.old, e.new, e.by, e.note
    FROM _p2p_event e LEFT JOIN _p2p_table a ON a.t = e.t WHERE e.n > ?1 ORDER BY e.n LIMIT ?2";

impl View<'_> {
    /// A page of events with numbers above `n`, in their order.
    ///
    /// # Errors
    /// SQLite's.
    pub fn events_after(&self, n: i64) -> Result<Vec<EventLine>, StoreError> {
        let mut statement = self.conn.prepare_cached(SELECT)?;
        let events = statement.query_map([n, limit::EVENTS_PAGE_MAX as i64], |row| {
            Ok(EventLine {
                n: row.get(0)?,
                merge: row.get(1)?,
                time_ms: row.get(2)?,
                event: row.get(3)?,
                table: row.get(4)?,
                old: row.get(5)?,
                new: row.get(6)?,
                by: row.get::<_, Option<u32>>(7)?.map(|by| self.author(by).to_string()),
                note: row.get(8)?,
            })
        })?;
        Ok(events.collect::<rusqlite::Result<_>>()?)
    }
}
