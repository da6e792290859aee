//! `p2p_conflicts`: what lost a merge, and rows that are kept and can't be shown.

use rusqlite::Connection;
use rusqlite::types::Value;

use super::{Definition, Page, optional, text};
use crate::store::{ConflictLine, Fate, View};
use crate::surface::attached::Attached;

pub(super) const DEFINITION: Definition = Definition {
    name: "p2p_conflicts",
    columns: &["id", "\"table\"", "key", "\"column\"", "value", "reason", "time", "author", "by"],
    arguments: &[],
    number: None,
    page,
    insert: None,
};

fn page(_attached: &Attached, conn: &Connection, after: i64, _: &[Value]) -> Result<Page, String> {
    let Some(mut view) = View::open(conn).map_err(|e| e.to_string())? else {
        return Ok(Page::whole(Vec::new(), after));
    };
    let lines = view.conflicts().map_err(|e| e.to_string())?;
    Ok(Page::whole(lines.into_iter().map(row).collect(), after))
}

fn row(line: ConflictLine) -> Vec<Value> {
    let reason = reason(&line.fate);
    let by = line.by.map(|by| by.author.to_string());
    vec![
        Value::Integer(line.id),
        text(line.table),
        text(line.key),
        text(line.column),
        line.shown,
        text(reason),
        Value::Integer(line.stamp.clock.ms() as i64),
        text(line.stamp.author.to_string()),
        optional(by),
    ]
}

/// What became of a value, in words.
pub(in crate::surface) fn reason(fate: &Fate) -> String {
    match fate {
        Fate::Overwritten => "a concurrent write to the same column is later".to_owned(),
        Fate::Deleted => "the row was deleted by one who had not seen the write".to_owned(),
        Fate::Taken => "an earlier row holds this value, which is UNIQUE; the row shows another".to_owned(),
        Fate::Dangling => {
            "the row that it refers to is not there; NULL, or the default, stands in its place".to_owned()
        }
        Fate::Hidden(why) => format!("the row is kept and not shown: {why}"),
    }
}
