//! The state digest (rule R20): an order-independent sum over live rows.
//!
//! Two replicas that merged the same entries have the same digest, hidden rows included; a renumbered
//! parent does not touch its children, and a forgotten row does not show. A row counts by its name, its
//! live incarnations, and per written column its id, the hash of the cell, the stamp of its write and of its
//! claim. A column that nobody has written in the row adds nothing: so adding one to a table changes no digest.

use crate::body::Cell;
use crate::cellhash::{CellHash, CellHasher};
use crate::clock::Stamp;
use crate::codec::Write;
use crate::merge::{Key, Table};
use crate::record::Record;
use crate::value::Value;
use std::cell::RefCell;

thread_local! {
    /// What the last share was made of: the room is used again.
    static SHARE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// One row's share.
pub fn row(table: &Table, key: &Key, record: &Record, hasher: &CellHasher) -> u128 {
    SHARE.with_borrow_mut(|out| {
        out.clear();
        write_row(table, key, record, hasher, out);
        hasher.wide(out)
    })
}

fn write_row(table: &Table, key: &Key, record: &Record, hasher: &CellHasher, out: &mut Vec<u8>) {
    out.raw(&table.id.0);
    match key {
        Key::Id(_) | Key::Born(_) => record.born.dot().write(out),
        Key::Name(name) => out.bytes(name),
    }
    let born = match &record.state {
        Some(state) => {
            out.uvarint(state.incarnations.len() as u64);
            state.incarnations.iter().for_each(|i| i.dot().write(out));
            state.incarnations.first().copied().unwrap_or_default()
        }
        None => {
            out.uvarint(1);
            record.born.dot().write(out);
            record.born
        }
    };
    for (id, column) in &table.order {
        if let Some((hash, stamp, claim)) = cell(table, key, record, *column, hasher) {
            out.raw(&id.0);
            write_cell(hash, stamp, claim, born, out);
        }
    }
}

fn cell(
    table: &Table,
    key: &Key,
    record: &Record,
    column: usize,
    hasher: &CellHasher,
) -> Option<(CellHash, Stamp, Stamp)> {
    if let Some(state) = &record.state {
        let w = state.cell(column)?;
        return Some((hasher.hash(&Cell::from(w.value)), w.stamp, w.claim));
    }
    let stamp = record.stamp(column);
    let hash = match (key, table.id_column) {
        (Key::Id(id), Some(at)) if at == column => hasher.hash(&Cell::from(&Value::Integer(*id))),
        _ => record.hash(column),
    };
    (hash != CellHash::UNWRITTEN).then_some((hash, stamp, stamp))
}

fn write_cell(hash: CellHash, stamp: Stamp, claim: Stamp, born: Stamp, out: &mut Vec<u8>) {
    let is_born = stamp == born && claim == born;
    out.u8(if is_born { 1 } else { 2 });
    out.raw(&hash.0.to_le_bytes()[..crate::cellhash::CELL_HASH_BYTES]);
    if !is_born {
        for s in [stamp, claim] {
            out.u64(s.clock.0);
            s.dot().write(out);
        }
    }
}
