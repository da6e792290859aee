//! Receiving at one replica: seal, check, store and merge in one transaction, as the store does it on SQLite.

use crate::database::{Database, Identity, Trouble};
use crate::schema;
use crate::seal::seal;
use p2pdb_core::body::{Body, Cell, Kind, RowOp, Section, unpack};
use p2pdb_core::causal;
use p2pdb_core::chain::{self, CheckError};
use p2pdb_core::codec::Malformed;
use p2pdb_core::entry::Entry;
use p2pdb_core::id::{AuthorId, Life, Seq};
use p2pdb_core::merge::{Context, Key, Merge};
use std::collections::BTreeMap;

/// Takes in a batch. On trouble nothing of it is kept. Returns the arrival numbers before and after its own entries.
pub fn receive(
    db: &mut Database,
    identity: &Identity,
    batch: &[Vec<u8>],
    cursor: Option<(Life, u64)>,
    now_ms: u64,
) -> Result<(u64, u64), Trouble> {
    if !cfg!(feature = "bug-apply-without-seal") {
        seal(db, identity, now_ms)?;
    }
    let checked = chain::check(identity.group, &identity.secret, batch, &db.log);
    let checked = checked.map_err(|e| match e {
        CheckError::Refused(refused) => Trouble::Refused(refused),
        CheckError::Store(never) => match never {},
    })?;
    let after = db.log.last_arrival();
    for entry in checked.fresh {
        db.log.append(entry.entry);
    }
    if let Some((life, n)) = cursor {
        db.log.cursors.insert(life, n);
    }
    let last = db.log.last_arrival();
    apply_ready(db, identity, now_ms)?;
    Ok((after, last))
}

/// Merges all stored entries that can be. Returns how many.
pub fn apply_ready(db: &mut Database, identity: &Identity, now_ms: u64) -> Result<usize, Malformed> {
    let mut applied = 0;
    loop {
        let mut progress = 0;
        let authors: Vec<AuthorId> = db.log.authors.keys().copied().collect();
        for author in authors {
            while let Some((first, last)) = ready(db, &author, now_ms) {
                for seq in (first.0..=last.0).map(Seq) {
                    apply_entry(db, identity, &author, seq)?;
                    progress += 1;
                }
            }
        }
        if progress == 0 {
            break;
        }
        applied += progress;
    }
    if applied > 0 {
        retry_stuck(db, identity)?;
    }
    Ok(applied)
}

fn ready(db: &Database, author: &AuthorId, now_ms: u64) -> Option<(Seq, Seq)> {
    match causal::next_group(&db.log, author, now_ms) {
        Ok(group) => group,
        Err(never) => match never {},
    }
}

fn apply_entry(db: &mut Database, identity: &Identity, author: &AuthorId, seq: Seq) -> Result<(), Malformed> {
    let entry = db.log.get(author, seq).cloned().ok_or(Malformed::Rule("an entry of the log is missing"))?;
    let before = db.log.authors.get(author).map(|a| a.seen.clone()).unwrap_or_default();
    let seen = match causal::see(&db.log, &entry.header, before) {
        Ok(seen) => seen,
        Err(never) => match never {},
    };
    apply_ops(db, identity, &entry, &seen)?;
    if let Some(a) = db.log.authors.get_mut(author) {
        (a.applied, a.seen) = (seq, seen);
    }
    Ok(())
}

fn apply_ops(db: &mut Database, identity: &Identity, entry: &Entry, seen: &causal::Seen) -> Result<(), Malformed> {
    let h = &entry.header;
    let raw = unpack(&entry.body)?;
    let body = Body::read(&raw, h.author)?;
    let mut sections = body.sections();
    while let Some(mut section) = sections.next()? {
        let Some(t) = schema::by_id(&section.table) else { continue };
        let (table, columns) = (schema::table(t), schema::columns(t));
        let places: Vec<_> = section.columns.iter().map(|id| columns.iter().position(|c| c == id)).collect();
        let context = Context { clock: h.clock, author: h.author, seq: h.seq, seen };
        let mut rows = db.rows(t, identity);
        let mut merge = Merge { table: &table, rows: &mut rows, context, absent: &[] };
        let mut row = RowOp::default();
        while section.next_row(&mut row)? {
            apply_row(&mut merge, &section, &row, &places)?;
            merge.rows.take_back_freed()?;
        }
    }
    Ok(())
}

fn apply_row(
    merge: &mut Merge<'_, crate::rows::MemoryRows<'_>>,
    section: &Section<'_, '_>,
    row: &RowOp<'_>,
    places: &[Option<usize>],
) -> Result<(), Malformed> {
    // Nobody here writes a long value, and no part is kept: one that a peer names is missing, so the operation has no effect.
    if row.cells.iter().any(|cell| matches!(cell, Cell::Long { .. })) {
        return Ok(());
    }
    let named = || row.name.as_ref().ok_or(Malformed::Rule("an operation names no row"));
    let cells = row.cells.iter().cloned().zip(places).take(section.written);
    let written: Vec<(usize, Cell<'_>)> = cells.filter_map(|(cell, place)| Some(((*place)?, cell))).collect();
    match section.kind {
        Kind::Insert => {
            let mut all = vec![Cell::Null; merge.table.columns];
            for (place, cell) in written {
                all[place] = cell;
            }
            merge.insert(row.op, row.name.as_ref(), row.seen.as_deref().unwrap_or_default(), &all)
        }
        Kind::Update => merge.update(row.op, named()?, row.seen.as_deref(), &written),
        Kind::Delete => merge.delete(row.op, named()?, row.seen.as_deref(), section.is_auto),
        Kind::Settle => match (written.first(), row.at) {
            (Some((column, cell)), Some(at)) => merge.settle(row.op, named()?, *column, at, cell),
            _ => Ok(()),
        },
        Kind::Define | Kind::Part | Kind::Unseen | Kind::Alter => Ok(()),
    }
}

fn retry_stuck(db: &mut Database, identity: &Identity) -> Result<(), Malformed> {
    let seen = BTreeMap::new();
    for t in 0..schema::TABLES {
        let table = schema::table(t);
        let stuck: Vec<Key> = db.grids[t].stuck.keys().cloned().collect();
        for key in stuck {
            let context = Context { clock: Default::default(), author: Default::default(), seq: Seq(0), seen: &seen };
            let mut rows = db.rows(t, identity);
            Merge { table: &table, rows: &mut rows, context, absent: &[] }.retry(&key)?;
            rows.take_back_freed()?;
        }
    }
    Ok(())
}
