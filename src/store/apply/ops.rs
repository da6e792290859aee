//! The operations of one entry, put to the tables that they are about.

use p2pdb_core::body::{Body, Cell, ColumnId, Kind, RowOp, Section};
use p2pdb_core::codec::Malformed;
use p2pdb_core::id::TableId;
use p2pdb_core::limit;
use p2pdb_core::merge::{Context, Merge};
use p2pdb_core::value::Value;
use rusqlite::{Connection, params};
use std::collections::BTreeMap;

use crate::store::authors::Authors;
use crate::store::rows::{Shared, SqliteRows};
use crate::store::seen::without;
use crate::store::tables::Tracked;
use crate::store::{Store, StoreError};

/// Parts of long values, until the row that they are for.
#[derive(Default)]
pub(super) struct Parts {
    /// Number of the first part kept.
    first: u64,
    kept: Vec<Vec<u8>>,
    bytes: usize,
}

impl Parts {
    /// Is there any?
    pub(super) fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// What passes the bound of one row's values can't be for one row: it is dropped, and the row that asks for it
    /// goes without effect.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        if self.bytes + bytes.len() > limit::VALUE_BYTES_MAX {
            self.clear();
        }
        self.bytes += bytes.len();
        self.kept.push(bytes.to_vec());
    }

    /// The value that starts at part number `part`.
    fn value(&self, is_text: bool, part: u64, bytes: u64) -> Result<Value, Malformed> {
        let from = part.checked_sub(self.first).and_then(|at| usize::try_from(at).ok());
        let parts =
            from.and_then(|at| self.kept.get(at..)).ok_or(Malformed::Rule("a long value's parts are missing"))?;
        let mut value = Vec::new();
        for part in parts {
            if value.len() as u64 >= bytes {
                break;
            }
            value.extend_from_slice(part);
        }
        if value.len() as u64 != bytes {
            return Err(Malformed::Rule("a long value's parts do not have its length"));
        }
        Ok(if is_text { Value::Text(value) } else { Value::Blob(value) })
    }

    /// Parts stand right before the row that uses them: after it they are done with.
    fn clear(&mut self) {
        self.first += self.kept.len() as u64;
        self.kept.clear();
        self.bytes = 0;
    }
}

impl Store {
    /// Merges an entry's operations, or only those on one table. True if it announced a table, or altered one.
    pub(super) fn apply_body(
        &mut self,
        body: &Body<'_>,
        context: Context<'_>,
        parts: &mut Parts,
        only: Option<&TableId>,
    ) -> Result<bool, StoreError> {
        let mut has_defined = false;
        let mut less_seen = BTreeMap::new();
        let mut sections = body.sections();
        while let Some(section) = sections.next()? {
            match section.kind {
                Kind::Part => parts.push(section.bytes),
                Kind::Define if only.is_none() => {
                    crate::store::define::build(self, section.table, &section.columns, section.bytes)?;
                    has_defined = true;
                }
                Kind::Alter if only.is_none() => {
                    crate::store::define::alter::apply(
                        self,
                        section.table,
                        section.bytes,
                        context.stamp(section.first_op),
                    )?;
                    has_defined = true;
                }
                Kind::Define | Kind::Alter => {}
                Kind::Unseen => {
                    less_seen.insert(section.table, without(context.seen, &section.unseen));
                }
                Kind::Insert | Kind::Update | Kind::Delete | Kind::Settle => {
                    if only.is_none_or(|table| *table == section.table) {
                        let seen = less_seen.get(&section.table).unwrap_or(context.seen);
                        self.apply_section(section, Context { seen, ..context }, parts)?;
                    }
                }
            }
        }
        Ok(has_defined)
    }

    fn apply_section(
        &mut self,
        mut section: Section<'_, '_>,
        context: Context<'_>,
        parts: &mut Parts,
    ) -> Result<(), StoreError> {
        let Self { conn, tables, authors, hasher, digest, flags, .. } = self;
        let Some(table) = tables.ready(&section.table) else {
            return withhold(conn, &section.table, authors.number_of(&context.author), &context);
        };
        let places = places(&section, table);
        let shared = Shared { conn, tables, hasher, flags };
        let mut rows = SqliteRows::new(shared, table, authors, digest)?;
        let mut row = RowOp::default();
        while section.next_row(&mut row)? {
            apply_op(&mut rows, &section, &row, &places, context, parts)?;
        }
        follow_up(shared, rows.authors, rows.digest)
    }
}

/// Where in its table each column of a section stands, if it does. A column that is named twice counts once.
pub(super) fn places(section: &Section<'_, '_>, table: &Tracked) -> Vec<Option<usize>> {
    let place = |(at, id): (usize, &ColumnId)| {
        let is_first = !section.columns[..at].contains(id);
        table.columns.iter().position(|c| c == id).filter(|_| is_first)
    };
    section.columns.iter().enumerate().map(place).collect()
}

/// Merges one operation of a section, and what follows from it.
pub(super) fn apply_op(
    rows: &mut SqliteRows<'_>,
    section: &Section<'_, '_>,
    row: &RowOp<'_>,
    places: &[Option<usize>],
    context: Context<'_>,
    parts: &mut Parts,
) -> Result<(), StoreError> {
    let shared = rows.shared;
    let mut merge = Merge { table: &rows.table.merge, rows, context, absent: &[] };
    if row.cells.iter().any(|c| matches!(c, Cell::Long { .. })) {
        let whole = row.cells.iter().map(|c| join(c, parts)).collect::<Result<Vec<_>, _>>();
        // Every replica finds the same parts missing: the operation has no effect anywhere.
        if let Ok(whole) = whole {
            let cells: Vec<_> = whole.iter().map(Cell::from).collect();
            apply_row(&mut merge, section, row, places, &cells)?;
        }
        parts.clear();
    } else {
        apply_row(&mut merge, section, row, places, &row.cells)?;
    }
    take_back_freed(shared, rows.authors, rows.digest)
}

/// What operations set off in other rows, until nothing is left: ids that came free go to those that claim them, references show
/// rows that came, and unique indexes decide between rows that met. Not after each operation: a crowd that claims one value is decided about once.
pub(in crate::store) fn follow_up(
    shared: Shared<'_>,
    authors: &mut Authors,
    digest: &mut u128,
) -> Result<(), StoreError> {
    loop {
        take_back_freed(shared, authors, digest)?;
        crate::store::dangling::show_again(shared, authors, digest)?;
        crate::store::unique::decide(shared, authors, digest)?;
        if shared.flags.freed.borrow().is_empty() && !crate::store::dangling::show_again(shared, authors, digest)? {
            return Ok(());
        }
    }
}

/// Ids that came free while rows were parked go to those that claim them.
fn take_back_freed(shared: Shared<'_>, authors: &mut Authors, digest: &mut u128) -> Result<(), StoreError> {
    let freed = std::mem::take(&mut *shared.flags.freed.borrow_mut());
    for (t, id) in freed {
        let Some(table) = shared.tables.get(t) else { continue };
        SqliteRows::new(shared, table, authors, digest)?.merging(|merge| merge.take_back_all([id]))?;
    }
    Ok(())
}

fn join(cell: &Cell<'_>, parts: &Parts) -> Result<Value, Malformed> {
    match cell {
        Cell::Long { is_text, part, bytes } => parts.value(*is_text, *part, *bytes),
        cell => cell.to_value().ok_or(Malformed::Rule("a cell holds no value")),
    }
}

/// Operations on a table that can't be built here, or whose rows are not sealed yet, wait in the log and are merged later.
fn withhold(conn: &Connection, table: &TableId, author: i64, context: &Context<'_>) -> Result<(), StoreError> {
    let sql = "INSERT OR IGNORE INTO _p2p_withheld(table_id, clock, author, seq) VALUES(?1, ?2, ?3, ?4)";
    let params = params![table.0, context.clock.0 as i64, author, context.seq.0 as i64];
    conn.prepare_cached(sql)?.execute(params)?;
    Ok(())
}

fn apply_row(
    merge: &mut Merge<'_, SqliteRows<'_>>,
    section: &Section<'_, '_>,
    row: &RowOp<'_>,
    places: &[Option<usize>],
    cells: &[Cell<'_>],
) -> Result<(), StoreError> {
    let named = || row.name.as_ref().ok_or(Malformed::Rule("an operation names no row"));
    match section.kind {
        Kind::Insert => {
            let over = row.seen.as_deref().unwrap_or_default();
            let is_in_order =
                cells.len() == merge.table.columns && places.iter().enumerate().all(|(i, p)| *p == Some(i));
            if is_in_order {
                return merge.insert(row.op, row.name.as_ref(), over, cells);
            }
            let table = merge.table;
            let mut all: Vec<_> = (0..table.columns).map(|c| table.fill(c)).collect();
            for (cell, place) in cells.iter().zip(places) {
                if let Some(place) = place {
                    all[*place] = cell.clone();
                }
            }
            let absent: Vec<usize> = (0..table.columns).filter(|c| !places.contains(&Some(*c))).collect();
            let mut merge = Merge { table, rows: &mut *merge.rows, context: merge.context, absent: &absent };
            merge.insert(row.op, row.name.as_ref(), over, &all)
        }
        Kind::Update => {
            let written = cells.iter().zip(places).take(section.written);
            let written: Vec<_> = written.filter_map(|(cell, place)| Some(((*place)?, cell.clone()))).collect();
            merge.update(row.op, named()?, row.seen.as_deref(), &written)
        }
        Kind::Delete => merge.delete(row.op, named()?, row.seen.as_deref(), section.is_auto),
        Kind::Settle => {
            let (Some(Some(column)), Some(at), Some(cell)) = (places.first(), row.at, cells.first()) else {
                return Ok(());
            };
            merge.settle(row.op, named()?, *column, at, cell)
        }
        Kind::Define | Kind::Alter | Kind::Part | Kind::Unseen => Ok(()),
    }
}
