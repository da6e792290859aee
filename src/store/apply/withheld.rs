//! Operations that waited for their table: merged when it is here, in the order of their clocks.
//!
//! All operations on the table waited, so their order among themselves is all that counts; clocks grow along
//! causality, so that of the clocks is one.

use p2pdb_core::body::{Body, unpack};
use p2pdb_core::id::{AuthorId, Seq, TableId};
use p2pdb_core::merge::Context;
use p2pdb_core::record::AuthorNumbers;
use rusqlite::params;

use super::ops::Parts;
use crate::store::{Store, StoreError};

impl Store {
    /// Merges what waits for tables that are here now.
    pub(super) fn apply_known_tables(&mut self) -> Result<(), StoreError> {
        let sql = "SELECT DISTINCT table_id FROM _p2p_withheld";
        let waiting: Vec<TableId> = {
            let mut statement = self.conn.prepare_cached(sql)?;
            let ids = statement.query_map([], |row| row.get(0).map(TableId))?;
            ids.collect::<rusqlite::Result<_>>()?
        };
        for id in waiting {
            if self.tables.ready(&id).is_some() {
                self.apply_withheld(&id)?;
            }
        }
        Ok(())
    }

    /// Is a table here now for which operations waited?
    ///
    /// # Errors
    /// SQLite's.
    pub fn has_table_come(&self) -> Result<bool, StoreError> {
        // Mostly nothing waits, and the list of tables is not looked at.
        let sql = "SELECT EXISTS(SELECT 1 FROM _p2p_withheld) AND EXISTS(
            SELECT 1 FROM _p2p_table a WHERE a.state = 1
            AND EXISTS(SELECT 1 FROM _p2p_withheld w WHERE w.table_id = a.id))";
        Ok(self.conn.prepare_cached(sql)?.query_row([], |row| row.get(0))?)
    }

    fn apply_withheld(&mut self, id: &TableId) -> Result<(), StoreError> {
        let entries: Vec<(u32, Seq)> = {
            let sql = "SELECT author, seq FROM _p2p_withheld WHERE table_id = ?1 ORDER BY clock, author, seq";
            let mut statement = self.conn.prepare_cached(sql)?;
            let entries = statement.query_map([id.0], |row| Ok((row.get(0)?, Seq(row.get::<_, i64>(1)? as u64))))?;
            entries.collect::<rusqlite::Result<_>>()?
        };
        for (author, seq) in entries {
            let Some(author) = self.authors.author(author) else { continue };
            let mut parts = self.parts_before(&author, seq)?;
            let (header, body) = self.stored(&author, seq)?;
            let seen = self.seen_at(&author, seq)?;
            let raw = unpack(&body)?;
            let body = Body::read(&raw, author)?;
            let context = Context { clock: header.clock, author, seq, seen: &seen };
            self.flags.events.blame(Some(author));
            self.apply_body(&body, context, &mut parts, Some(id))?;
        }
        self.conn.prepare_cached("DELETE FROM _p2p_withheld WHERE table_id = ?1")?.execute([id.0])?;
        Ok(())
    }

    /// Parts of long values from earlier entries of the same atomic group.
    fn parts_before(&self, author: &AuthorId, seq: Seq) -> Result<Parts, StoreError> {
        let sql = "SELECT coalesce(max(seq), 0) + 1 FROM _p2p_entry WHERE author = ?1 AND seq < ?2 AND NOT continues";
        let params = params![self.authors.number_of(author), seq.0 as i64];
        let first: i64 = self.conn.prepare_cached(sql)?.query_row(params, |row| row.get(0))?;
        let mut parts = Parts::default();
        for seq in (first as u64..seq.0).map(Seq) {
            let (_, body) = self.stored(author, seq)?;
            let raw = unpack(&body)?;
            let body = Body::read(&raw, *author)?;
            let mut sections = body.sections();
            while let Some(section) = sections.next()? {
                if section.kind == p2pdb_core::body::Kind::Part {
                    parts.push(section.bytes);
                }
            }
        }
        Ok(parts)
    }
}
