//! `p2p_events`: what merges did that somebody who keeps keys elsewhere has to follow.

use rusqlite::Connection;
use rusqlite::types::Value;

use super::{Definition, Page, Row, optional, text};
use crate::store::{EventLine, View};
use crate::surface::attached::Attached;

pub(super) const DEFINITION: Definition = Definition {
    name: "p2p_events",
    columns: &["n", "merge", "time", "event", "\"table\"", "old", "new", "by", "note"],
    arguments: &[],
    number: Some(0),
    page,
    insert: None,
};

fn page(_attached: &Attached, conn: &Connection, after: i64, _: &[Value]) -> Result<Page, String> {
    let Some(view) = View::open(conn).map_err(|e| e.to_string())? else { return Ok(Page::whole(Vec::new(), after)) };
    let lines = view.events_after(after).map_err(|e| e.to_string())?;
    let is_last = lines.is_empty();
    Ok(Page { rows: lines.into_iter().map(row).collect(), is_last })
}

fn row(line: EventLine) -> Row {
    let row = vec![
        Value::Integer(line.n),
        Value::Integer(line.merge),
        Value::Integer(line.time_ms),
        text(line.event),
        text(line.table),
        line.old,
        line.new,
        optional(line.by),
        optional(Some(line.note).filter(|note| !note.is_empty())),
    ];
    (line.n, row)
}
