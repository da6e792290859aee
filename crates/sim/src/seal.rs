//! The seal of one replica: markers and rows in, one signed entry out, as the store does it on SQLite.

use crate::database::{Database, Identity, KeyMark};
use crate::rows::MemoryRows;
use crate::schema;
use p2pdb_core::body::{Body, Cell, unpack};
use p2pdb_core::codec::Malformed;
use p2pdb_core::entry::First;
use p2pdb_core::id::Seq;
use p2pdb_core::limit;
use p2pdb_core::local::{Pen, Touch, who_is_who};
use p2pdb_core::merge::{Context, Key, Merge, Rows};
use p2pdb_core::value::Value;
use p2pdb_core::writer::{GroupWriter, Start};
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
    for t in 0..schema::TABLES {
        let touches = markers.touches.get(&t).map(Vec::as_slice).unwrap_or_default();
        let keys = if schema::is_alias(t) { &[][..] } else { &markers.keys };
        if touches.is_empty() && keys.is_empty() {
            continue;
        }
        let (table, columns) = (schema::table(t), schema::columns(t));
        let context = Context { clock: group.clock(), author: own, seq: Seq(0), seen: &seen };
        let mut rows = db.rows(t, identity);
        let mut merge = Merge { table: &table, rows: &mut rows, context };
        let mut pen = Pen { group: &mut group, columns: &columns, groups: &[] };
        merge.seal_settles(&mut pen)?;
        seal_alias(&mut merge, &mut pen, touches)?;
        seal_named(&mut merge, &mut pen, keys)?;
    }
    let entries = group.finish(false, false);
    let count = entries.len();
    for entry in entries {
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

type Sealing<'m, 'r> = Merge<'m, MemoryRows<'r>>;

fn seal_alias(merge: &mut Sealing<'_, '_>, pen: &mut Pen<'_, '_>, touches: &[Touch]) -> Result<(), Malformed> {
    let here = who_is_who(touches);
    let grid = merge.rows.grid();
    let mut records = BTreeMap::new();
    for id in here.keys().chain(here.values().flatten()) {
        if let Some(record) = grid.records.get(&Key::Id(*id)).filter(|r| !r.is_hidden) {
            records.insert(*id, record.clone());
        }
    }
    let there = |id: &i64| grid.shown.contains_key(&Key::Id(*id));
    let stays = here.iter().filter_map(|(id, who)| Some((*id, (*who)?)));
    let stays: BTreeMap<i64, i64> = stays.filter(|(id, who)| there(id) && records.contains_key(who)).collect();
    let staying: BTreeSet<i64> = stays.values().copied().collect();
    for (id, record) in records.iter().filter(|(id, _)| !staying.contains(id)) {
        merge.seal_death(pen, &Key::Id(*id), record)?;
    }
    for (_, who) in stays.iter().filter(|(id, who)| id != who) {
        merge.rows.forget(&Key::Id(*who))?;
    }
    for id in here.keys() {
        let Some(logged) = note_logged(merge.rows, &Key::Id(*id)) else { continue };
        let cells: Vec<_> = logged.iter().map(Cell::from).collect();
        match stays.get(id) {
            Some(who) => merge.seal_change(pen, &Key::Id(*who), &Key::Id(*id), records[who].clone(), &cells)?,
            None => merge.seal_birth(pen, &Key::Id(*id), &cells)?,
        }
    }
    Ok(())
}

fn seal_named(merge: &mut Sealing<'_, '_>, pen: &mut Pen<'_, '_>, marks: &[KeyMark]) -> Result<(), Malformed> {
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
            (Some(record), None) if !record.is_hidden => merge.seal_death(pen, key, &record)?,
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
