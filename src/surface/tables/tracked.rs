//! `p2p_tables`: each tracked table, how its rows are named and what can't be shown.

use rusqlite::Connection;
use rusqlite::types::Value;

use super::{Definition, Page, text};
use crate::store::{has_private_tables, report};
use crate::surface::attached::Attached;

pub(super) const DEFINITION: Definition = Definition {
    name: "p2p_tables",
    columns: &["name", "key", "columns", "rows", "pending", "parked", "state", "note"],
    page,
    insert: None,
};

fn page(_attached: &Attached, conn: &Connection, after: i64) -> Result<Page, String> {
    if !has_private_tables(conn).map_err(|e| e.to_string())? {
        return Ok(Page::whole(Vec::new(), after));
    }
    let rows = report::tables(conn).map_err(|e| e.to_string())?.into_iter().map(|t| {
        vec![
            text(t.name),
            text(t.key),
            text(t.columns),
            Value::Integer(t.rows),
            Value::Integer(t.pending),
            Value::Integer(t.parked),
            text(t.state),
            text(t.note),
        ]
    });
    Ok(Page::whole(rows.collect(), after))
}
