//! `p2p_conflicts`: what lost a merge, and rows that are kept and can't be shown.

use p2pdb_core::value::Value as Cell;
use rusqlite::Connection;
use rusqlite::types::Value;

use super::{Definition, Page, optional, text};
use crate::store::has_private_tables;
use crate::store::report::{self, ConflictReport};
use crate::surface::attached::Attached;

pub(super) const DEFINITION: Definition = Definition {
    name: "p2p_conflicts",
    columns: &["\"table\"", "row", "\"column\"", "value", "reason", "time", "author", "by"],
    page,
    insert: None,
};

/// Rows of the book in one page.
const PAGE_ROWS: usize = 512;

fn page(_attached: &Attached, conn: &Connection, after: i64) -> Result<Page, String> {
    if !has_private_tables(conn).map_err(|e| e.to_string())? {
        return Ok(Page::whole(Vec::new(), after));
    }
    // Rows that are not shown have no number of their own: they come first, under negative ones.
    if after < 0 {
        let stuck = report::stuck(conn).map_err(|e| e.to_string())?;
        let first = -(stuck.len() as i64);
        let rows = stuck.into_iter().enumerate().map(|(at, s)| (first + at as i64, row(s)));
        let mut rows: Vec<_> = rows.filter(|(rowid, _)| *rowid > after).collect();
        let (more, is_last) = booked(conn, 0)?;
        rows.extend(more);
        return Ok(Page { rows, is_last });
    }
    let (rows, is_last) = booked(conn, after)?;
    Ok(Page { rows, is_last })
}

fn booked(conn: &Connection, after: i64) -> Result<(Vec<super::Row>, bool), String> {
    let found = report::conflicts(conn, after, PAGE_ROWS).map_err(|e| e.to_string())?;
    let is_last = found.len() < PAGE_ROWS;
    Ok((found.into_iter().map(|(id, c)| (id, row(c))).collect(), is_last))
}

fn row(c: ConflictReport) -> Vec<Value> {
    vec![
        text(c.table),
        text(c.row),
        optional(c.column),
        c.value.map_or(Value::Null, shown),
        text(c.reason),
        optional(c.time_ms),
        optional(c.author.map(|a| a.to_string())),
        optional(c.by.map(|a| a.to_string())),
    ]
}

/// A value as SQLite has it; a reference as the name of the row it means.
fn shown(cell: Cell) -> Value {
    match cell {
        Cell::Null => Value::Null,
        Cell::Integer(i) => Value::Integer(i),
        Cell::Real(r) => Value::Real(r),
        Cell::Text(t) => match String::from_utf8(t) {
            Ok(t) => Value::Text(t),
            Err(e) => Value::Blob(e.into_bytes()),
        },
        Cell::Blob(b) => Value::Blob(b),
        Cell::Ref(name) => Value::Text(report::name_text(&name)),
    }
}
