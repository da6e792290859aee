//! `p2p_tables`: each tracked table, how its rows are named and what can't be shown.

use rusqlite::Connection;
use rusqlite::types::Value;

use super::{Definition, Page, text};
use crate::store::define::State;
use crate::store::{KeyKind, TableLine, View};
use crate::surface::attached::Attached;

pub(super) const DEFINITION: Definition = Definition {
    name: "p2p_tables",
    columns: &["name", "key", "columns", "rows", "pending", "parked", "state", "note"],
    number: None,
    page,
    insert: None,
};

fn page(_attached: &Attached, conn: &Connection, after: i64) -> Result<Page, String> {
    let Some(view) = View::open(conn).map_err(|e| e.to_string())? else { return Ok(Page::whole(Vec::new(), after)) };
    let lines = view.tables().map_err(|e| e.to_string())?;
    let rows = lines.into_iter().filter(|t| t.state != State::Untracked as i64).map(row);
    Ok(Page::whole(rows.collect(), after))
}

fn row(t: TableLine) -> Vec<Value> {
    let key = t.key.join(", ");
    let key = match t.kind {
        KeyKind::Alias => format!("{key} (claimed)"),
        KeyKind::Named => key,
        KeyKind::None => "none".to_owned(),
    };
    let state = match t.state {
        s if s == State::Captured as i64 => "captured",
        s if s == State::Parked as i64 => "parked",
        _ => "tracked",
    };
    vec![
        text(t.name),
        text(key),
        text(t.columns.join(", ")),
        Value::Integer(t.rows as i64),
        Value::Integer(t.pending as i64),
        Value::Integer(t.parked as i64),
        text(state),
        text(t.note),
    ]
}
