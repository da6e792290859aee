//! One batch of a seal: deaths first, children before parents; then births and changes, parents before children.
//!
//! In that order a name can always be told: what a foreign key meant, from the records as they were; what it means
//! now, from those of the parents that are sealed already. Where a key belongs to another row than before, rows that
//! still hold it as a foreign key are sealed with it, marked or not (rule R3).

use p2pdb_core::codec::Reader;
use p2pdb_core::id::{AuthorId, Seq, TableId};
use p2pdb_core::local::Pen;
use p2pdb_core::merge::{Context, Merge};
use p2pdb_core::name::Name;
use p2pdb_core::value::Value;
use p2pdb_core::writer::{GroupWriter, Written};
use rusqlite::params;
use rusqlite::types::ValueRef;
use std::collections::{BTreeMap, BTreeSet};

use super::marker;
use super::work::{Shown, Work};
use crate::capture;
use crate::store::StoreError;
use crate::store::authors::Authors;
use crate::store::define::alter;
use crate::store::rows::{Shared, SqliteRows};
use crate::store::seen::{Seen, without};
use crate::store::tables::Tracked;

/// What a seal works with: the store, taken apart.
pub(super) struct Sealing<'s, 'k> {
    pub(super) shared: Shared<'s>,
    pub(super) authors: &'s mut Authors,
    pub(super) digest: &'s mut u128,
    pub(super) group: GroupWriter<'k>,
    pub(super) seen: Seen,
    /// The same for tables of which less was seen.
    less_seen: BTreeMap<TableId, Seen>,
    /// Names of rows that lost their key while this group was open, by table and key.
    pub(super) before: BTreeMap<(i64, Shown), BTreeSet<Name>>,
    /// Rows whose plain values mean a row that was born just now.
    pub(super) again: BTreeMap<i64, Work>,
    /// Rows of alias tables that were born before their own markers came up, by table and id.
    pub(super) early: BTreeSet<(i64, i64)>,
    /// A row came to be that hidden rows may refer to.
    pub(super) has_woken: bool,
    pub(super) order: Vec<i64>,
}

impl<'s, 'k> Sealing<'s, 'k> {
    pub(super) fn new(
        shared: Shared<'s>,
        authors: &'s mut Authors,
        digest: &'s mut u128,
        mut group: GroupWriter<'k>,
        seen: Seen,
        unseen: BTreeMap<TableId, Vec<(AuthorId, Seq)>>,
    ) -> Self {
        let mut less_seen = BTreeMap::new();
        for (table, unseen) in unseen {
            less_seen.insert(table, without(&seen, &unseen));
            group.not_seen(table, unseen);
        }
        let order = shared.tables.parents_first();
        let (before, again, early) = Default::default();
        Self { shared, authors, digest, group, seen, less_seen, before, again, early, has_woken: false, order }
    }

    /// Announces tables that are not in the log yet, tells what was altered of others, and takes up an open group where it was left.
    pub(super) fn announce(&mut self) -> Result<(), StoreError> {
        for table in self.shared.tables.iter().filter(|t| t.is_new) {
            self.group.define(table.merge.id, &table.columns, &table.definition);
            self.shared.conn.execute("UPDATE _p2p_table SET state = 1 WHERE t = ?1", [table.t])?;
        }
        for (t, id) in self.shared.tables.altered() {
            alter::tell(self.shared.conn, self.authors, &mut self.group, t, id)?;
        }
        let mut statement = self.shared.conn.prepare_cached("SELECT t, key, name FROM _p2p_before")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let key = match row.get_ref(1)? {
                ValueRef::Integer(id) => Shown::Id(id),
                bytes => Shown::Key(bytes.as_blob()?.into()),
            };
            let name = Name::read(&mut Reader::new(row.get_ref(2)?.as_blob()?))?;
            self.before.entry((row.get(0)?, key)).or_default().insert(name);
        }
        Ok(())
    }

    /// Does a marker say that the id of a row moved? `unmoved` is how far none does, under which schema cookie: what
    /// takes markers away besides the seal moves that.
    pub(super) fn has_moves(&self, unmoved: &mut Option<(i64, i64)>) -> Result<bool, StoreError> {
        let cookie = self.shared.tables.cookie;
        let known = unmoved.filter(|(under, _)| *under == cookie).map_or(0, |(_, to)| to);
        // By an id that is a claim, or by the rowid where rows have no key.
        let ids = self.shared.tables.iter().filter(|t| t.merge.key.is_empty()).map(|t| t.t.to_string());
        let ids = ids.collect::<Vec<_>>().join(", ");
        let sql = format!(
            "SELECT EXISTS(SELECT 1 FROM _p2p_mark WHERE n > ?1 AND m = {} AND t IN ({ids})),
                (SELECT coalesce(max(n), 0) FROM _p2p_mark)",
            capture::MOVED
        );
        let (has_moves, last): (bool, i64) =
            self.shared.conn.prepare_cached(&sql)?.query_row([known], |row| Ok((row.get(0)?, row.get(1)?)))?;
        *unmoved = (!has_moves).then_some((cookie, last));
        Ok(has_moves)
    }

    /// Works off the next markers.
    pub(super) fn batch(&mut self, limit: usize) -> Result<(), StoreError> {
        let Some(markers) = marker::read(self.shared.conn, self.shared.tables, limit)? else { return Ok(()) };
        let mut work = markers.work;
        let order = std::mem::take(&mut self.order);
        self.settle_all(&order)?;
        order.iter().try_for_each(|t| self.prepare(*t, &mut work))?;
        for t in order.iter().rev() {
            if let (Some(table), Some(work)) = (self.shared.tables.get(*t), work.get(t)) {
                self.deaths(table, work)?;
            }
        }
        while !work.is_empty() {
            for t in &order {
                if let (Some(table), Some(work)) = (self.shared.tables.get(*t), work.remove(t)) {
                    self.changes(table, work)?;
                }
            }
            work = std::mem::take(&mut self.again);
            order.iter().try_for_each(|t| self.prepare(*t, &mut work))?;
        }
        self.hold_back(&order)?;
        self.keep_dangling(&order)?;
        self.keep_shown(&order)?;
        self.group.end_run();
        self.order = order;
        super::drop_markers(self.shared.conn, markers.top)
    }

    /// Ends the group or leaves it open; gives what the author had seen, and the entries not yet taken.
    pub(super) fn finish(self, is_partial: bool, must_close: bool) -> Result<(Seen, Vec<Written>), StoreError> {
        self.shared.conn.execute("DELETE FROM _p2p_before", [])?;
        if is_partial {
            let sql = "INSERT INTO _p2p_before(t, key, name) VALUES(?1, ?2, ?3)";
            let mut insert = self.shared.conn.prepare_cached(sql)?;
            for ((t, key), names) in &self.before {
                for name in names {
                    let mut bytes = Vec::new();
                    name.write(&mut bytes);
                    insert.execute(params![t, key, bytes])?;
                }
            }
        }
        Ok((self.seen, self.group.finish(is_partial, must_close)))
    }

    /// Derived ids on display stay (rule R13).
    pub(super) fn settle_all(&mut self, order: &[i64]) -> Result<(), StoreError> {
        for t in order {
            let Some(table) = self.shared.tables.get(*t).filter(|t| t.merge.id_column.is_some()) else { continue };
            if self.shared.flags.of(self.shared.conn, *t)?.claims {
                self.merge(table, |merge, pen| merge.seal_settles(pen))?;
            }
        }
        Ok(())
    }

    /// Runs `work` on one table's rows.
    pub(super) fn merge<T>(
        &mut self,
        table: &Tracked,
        work: impl FnOnce(&mut Merge<'_, SqliteRows<'_>>, &mut Pen<'_, '_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut rows = SqliteRows::new(self.shared, table, self.authors, self.digest)?;
        let seen = self.less_seen.get(&table.merge.id).unwrap_or(&self.seen);
        let context = Context { clock: self.group.clock(), author: self.group.author(), seq: Seq(0), seen };
        let mut merge = Merge { table: &table.merge, rows: &mut rows, context, absent: &[] };
        let mut pen = Pen::new(&mut self.group, table.merge.id, &table.columns, &table.groups);
        work(&mut merge, &mut pen)
    }

    /// Rows that are gone, while it can still be told what they were.
    fn deaths(&mut self, table: &Tracked, work: &Work) -> Result<(), StoreError> {
        self.deaths_by_id(table, work)?;
        if table.merge.key.is_empty() { Ok(()) } else { self.deaths_named(table, work) }
    }

    /// Births and changes of one table.
    fn changes(&mut self, table: &Tracked, mut work: Work) -> Result<(), StoreError> {
        // A row may refer to one that has no record yet, its own marker still to come: that one is born first.
        for _ in 0..2 {
            let missing: Vec<(i64, Value)> = match table.merge.id_column {
                Some(_) => self.change_alias(table, &mut work)?,
                None if table.merge.has_nameless => {
                    let mut missing = self.change_nameless(table, &mut work)?;
                    missing.extend(self.change_named(table, &mut work)?);
                    missing
                }
                None => self.change_named(table, &mut work)?,
            };
            if missing.is_empty() {
                break;
            }
            self.bear_parents(missing)?;
            work.is_second = true;
        }
        Ok(())
    }
}
