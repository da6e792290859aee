//! The seal of one replica: markers and rows in, one signed entry out, as the store does it on SQLite.

use crate::database::{Database, Identity, KeyMark, Markers};
use crate::rows::MemoryRows;
use crate::schema;
use p2pdb_core::body::{Body, Cell, unpack};
use p2pdb_core::causal::Seen;
use p2pdb_core::codec::Malformed;
use p2pdb_core::entry::First;
use p2pdb_core::id::{AuthorId, Seq};
use p2pdb_core::limit;
use p2pdb_core::local::{Pen, Touch, who_is_who};
use p2pdb_core::merge::{Context, Key, Merge, Rows};
use p2pdb_core::record::Record;
use p2pdb_core::value::Value;
use p2pdb_core::writer::{GroupWriter, Start, Written};
use std::collections::{BTreeMap, BTreeSet};

/// Seals what the user wrote. Returns how many entries that made.
pub fn seal(db: &mut Database, identity: &Identity, wall_ms: u64) -> Result<usize, Malformed> {
    let markers = std::mem::take(&mut db.markers);
    if markers.is_empty() {
        return Ok(0);
    }
    let own = identity.key.public().author();
    let seen = db.log.applied_all();
    let start = start(db, identity, wall_ms);
    let mut group = GroupWriter::new(&identity.key, start);
    let mut sealing = Sealing { db, identity, seen: &seen, group: &mut group, own };
    sealing.run(&markers)?;
    let entries = group.finish(false, false);
    let count = entries.len();
    for Written { entry, .. } in entries {
        // As the store does: an entry that we could not read back must not leave.
        Body::read(&unpack(&entry.body)?, own)?.check()?;
        db.log.append(entry);
    }
    if let Some(author) = db.log.authors.get_mut(&own).filter(|_| count > 0) {
        (author.applied, author.seen) = (author.held, seen);
        author.seen.insert(own, author.held);
    }
    let written = std::mem::take(&mut db.ledger.open);
    db.ledger.due.extend(written.into_values());
    Ok(count)
}

fn start(db: &mut Database, identity: &Identity, wall_ms: u64) -> Start {
    let key = identity.key.public();
    let (id, own) = (key.author(), db.log.author(key.author(), key).clone());
    let has_news = |author: &p2pdb_core::id::AuthorId, applied: Seq| {
        *author != id && applied > own.seen.get(author).copied().unwrap_or_default()
    };
    let changed = db.log.authors.iter().filter(|(a, known)| has_news(a, known.applied));
    let mut deps: Vec<_> = changed.filter_map(|(a, known)| db.log.get(a, known.applied).map(|e| e.id)).collect();
    deps.sort_unstable();
    deps.truncate(limit::DEPS_MAX);
    let floor = db.log.authors.values().filter(|a| a.applied == a.held).map(|a| a.clock).max().unwrap_or_default();
    let mac = identity.secret.author_mac(identity.group, &key);
    Start {
        group: identity.group,
        parts: 0,
        prev: own.head,
        last: own.held,
        deps,
        clock: floor.tick(wall_ms),
        schema: [1; 16],
        first: First { key, epoch: 0, mac },
    }
}

struct Sealing<'s, 'g, 'k> {
    db: &'s mut Database,
    identity: &'s Identity,
    seen: &'s Seen,
    group: &'g mut GroupWriter<'k>,
    own: AuthorId,
}

/// What the markers of an alias table come to.
#[derive(Default)]
struct Aliases {
    here: BTreeMap<i64, Option<i64>>,
    records: BTreeMap<i64, Record>,
    /// New id to old.
    stays: BTreeMap<i64, i64>,
}

impl Sealing<'_, '_, '_> {
    /// Settles; deaths, children first; then births and changes, parents first: so a name can always be told.
    fn run(&mut self, markers: &Markers) -> Result<(), Malformed> {
        for t in 0..schema::TABLES {
            self.merge(t, |merge, pen| merge.seal_settles(pen))?;
        }
        let touched = |t: &usize| markers.touches.get(t).cloned().unwrap_or_default();
        let aliases: Vec<_> = (0..schema::TABLES).map(|t| self.aliases(t, touched(&t))).collect();
        for t in (0..schema::TABLES).rev() {
            self.merge(t, |merge, pen| deaths(merge, pen, &aliases[t]))?;
        }
        for (t, aliases) in aliases.iter().enumerate() {
            let keys = if schema::is_alias(t) { &[][..] } else { &markers.keys };
            self.merge(t, |merge, pen| {
                changes(merge, pen, aliases)?;
                seal_named(merge, pen, keys)
            })?;
        }
        Ok(())
    }

    fn merge(
        &mut self,
        t: usize,
        work: impl FnOnce(&mut Merge<'_, MemoryRows<'_>>, &mut Pen<'_, '_>) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        let (table, columns) = (schema::table(t), schema::columns(t));
        let context = Context { clock: self.group.clock(), author: self.own, seq: Seq(0), seen: self.seen };
        let mut rows = self.db.rows(t, self.identity);
        let mut merge = Merge { table: &table, rows: &mut rows, context, absent: &[] };
        work(&mut merge, &mut Pen::new(self.group, table.id, &columns, &[]))
    }

    fn aliases(&self, t: usize, touches: Vec<Touch<i64>>) -> Aliases {
        let grid = &self.db.grids[t];
        let mut out = Aliases { here: who_is_who(touches), ..Aliases::default() };
        for id in out.here.keys().chain(out.here.values().flatten()) {
            if let Some(record) = grid.records.get(&Key::Id(*id)).filter(|r| !r.is_hidden) {
                out.records.insert(*id, record.clone());
            }
        }
        let is_there = |id: &i64| grid.shown.contains_key(&Key::Id(*id));
        let stays = out.here.iter().filter_map(|(id, who)| Some((*id, (*who)?)));
        out.stays = stays.filter(|(id, who)| is_there(id) && out.records.contains_key(who)).collect();
        out
    }
}

fn deaths(merge: &mut Merge<'_, MemoryRows<'_>>, pen: &mut Pen<'_, '_>, aliases: &Aliases) -> Result<(), Malformed> {
    let staying: BTreeSet<i64> = aliases.stays.values().copied().collect();
    for (id, record) in aliases.records.iter().filter(|(id, _)| !staying.contains(id)) {
        merge.seal_death(pen, &Key::Id(*id), record, false)?;
    }
    Ok(())
}

fn changes(merge: &mut Merge<'_, MemoryRows<'_>>, pen: &mut Pen<'_, '_>, aliases: &Aliases) -> Result<(), Malformed> {
    let moved = || aliases.stays.iter().filter(|(new, old)| new != old);
    for (_, old) in moved() {
        merge.rows.forget(&Key::Id(*old))?;
    }
    for (new, old) in moved() {
        let mut record = aliases.records[old].clone();
        record.birth_id = Some(record.birth_id.unwrap_or(*old));
        merge.rows.put(&Key::Id(*new), &record)?;
    }
    for id in aliases.here.keys() {
        let Some(logged) = note_logged(merge.rows, &Key::Id(*id)) else { continue };
        let cells: Vec<_> = logged.iter().map(Cell::from).collect();
        match aliases.stays.get(id) {
            Some(old) => {
                merge.seal_change(pen, &Key::Id(*old), &Key::Id(*id), aliases.records[old].clone(), &cells)?;
            }
            None => merge.seal_birth(pen, &Key::Id(*id), &cells)?,
        }
    }
    Ok(())
}

fn seal_named(
    merge: &mut Merge<'_, MemoryRows<'_>>,
    pen: &mut Pen<'_, '_>,
    marks: &[KeyMark],
) -> Result<(), Malformed> {
    let mut touched: BTreeMap<&Key, bool> = BTreeMap::new();
    for mark in marks {
        *touched.entry(&mark.key).or_default() |= mark.is_delete;
    }
    for (key, is_deleted) in touched {
        let record = merge.rows.record(key)?;
        let logged = note_logged(merge.rows, key);
        let cells: Option<Vec<_>> = logged.as_ref().map(|values| values.iter().map(Cell::from).collect());
        match (record, cells) {
            (None, Some(cells)) => merge.seal_birth(pen, key, &cells)?,
            (Some(record), Some(cells)) if record.is_hidden || is_deleted => {
                merge.seal_rebirth(pen, key, &record, &cells)?;
            }
            (Some(record), Some(cells)) => merge.seal_change(pen, key, key, record, &cells)?,
            (Some(record), None) if !record.is_hidden => merge.seal_death(pen, key, &record, false)?,
            (Some(_) | None, None) => {}
        }
    }
    Ok(())
}

/// The row as it goes into the log now, if it is there.
fn note_logged(rows: &mut MemoryRows<'_>, key: &Key) -> Option<Vec<Value>> {
    let display = rows.grid().shown.get(key)?.display.clone();
    let logged = rows.to_logged(&display);
    if let Some(shown) = rows.grid().shown.get_mut(key) {
        shown.logged.clone_from(&logged);
    }
    Some(logged)
}
