//! One line on the whole store: how much is here, and what waits.

use p2pdb_core::clock::Clock;
use p2pdb_core::id::{Digest, GroupId, Life};

use super::View;
use crate::store::{StoreError, apply, seal};

/// What the private tables tell of the state of affairs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// The group; none before the database joined one.
    pub group: Option<GroupId>,
    /// Entries in the log.
    pub entries: u64,
    /// Their authors.
    pub authors: u64,
    /// About how many changes of the user are not sealed yet.
    pub pending: u64,
    /// Rows that are not shown as merged.
    pub stuck: u64,
    /// Entries with operations on tables that are not here.
    pub withheld: u64,
    /// Entries that wait because their clock is too far ahead.
    pub quarantined: u64,
    /// Entries that wait for others, or for the rest of their group.
    pub waiting: u64,
    /// Imported entries that wait for ones before them.
    pub staged: u64,
    /// Lines in the book of conflicts, those included whose value shows again.
    pub conflicts: u64,
    /// The state digest.
    pub digest: Digest,
    /// The latest clock merged.
    pub clock: Clock,
    /// The life of the arrival order.
    pub life: Life,
    /// The last arrival number.
    pub last_arrival: u64,
}

impl Status {
    /// All that is here and not shown as it should be: rows and operations.
    pub fn parked(&self) -> u64 {
        self.stuck + self.withheld
    }
}

impl View<'_> {
    /// Counts, as of `now_ms`.
    ///
    /// # Errors
    /// SQLite's.
    pub fn status(&self, now_ms: u64) -> Result<Status, StoreError> {
        let (waiting, quarantined) = self.unmerged(now_ms)?;
        Ok(Status {
            group: self.group,
            entries: self.count("SELECT count(*) FROM _p2p_entry")?,
            authors: self.authors.iter().count() as u64,
            pending: seal::pending(self.conn)? as u64 + self.count("SELECT count(*) FROM _p2p_decision")?,
            stuck: self.count("SELECT count(*) FROM _p2p_stuck")?,
            withheld: self.count("SELECT count(*) FROM _p2p_withheld")?,
            quarantined,
            waiting,
            staged: self.count("SELECT count(*) FROM _p2p_staged")?,
            conflicts: self.count("SELECT count(*) FROM _p2p_conflict")?,
            digest: Digest(self.meta::<[u8; 16]>("digest")?.unwrap_or_default()),
            clock: Clock(self.meta::<i64>("clock")?.unwrap_or_default() as u64),
            life: Life(self.meta::<[u8; 16]>("life")?.unwrap_or_default()),
            last_arrival: self.count("SELECT coalesce(max(n), 0) FROM _p2p_entry")?,
        })
    }

    /// Entries stored and not merged: those that wait for others, and those whose clock is too far ahead.
    fn unmerged(&self, now_ms: u64) -> Result<(u64, u64), StoreError> {
        let (mut waiting, mut quarantined) = (0, 0);
        for (at, a) in self.authors.iter().enumerate().filter(|(_, a)| a.applied < a.held) {
            let sql = "SELECT clock FROM _p2p_entry WHERE author = ?1 AND seq > ?2";
            let mut statement = self.conn.prepare_cached(sql)?;
            let mut rows = statement.query([at as i64 + 1, a.applied.0 as i64])?;
            while let Some(row) = rows.next()? {
                let is_ahead = apply::is_ahead(super::clock_of(row.get(0)?), now_ms);
                *(if is_ahead { &mut quarantined } else { &mut waiting }) += 1;
            }
        }
        Ok((waiting, quarantined))
    }
}
