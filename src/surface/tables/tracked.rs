//! `p2p_tables`: each tracked table, how its rows are named, what is decided of it and what can't be shown. `p2p_track(…)` as a table
//! tracks first, and then says the same of what it tracked.

use rusqlite::Connection;
use rusqlite::types::Value;

use super::{Definition, Page, text};
use crate::store::define::{self, State};
use crate::store::{KeyKind, Policy, TableLine, View, triggers_in_words};
use crate::surface::actions::Call;
use crate::surface::attached::Attached;
use crate::surface::membership;

pub(super) const DEFINITION: Definition = Definition {
    name: "p2p_tables",
    columns: &[
        "name", "key", "columns", "uniques", "follows", "triggers", "rows", "pending", "parked", "state", "note",
    ],
    arguments: &[],
    number: None,
    page,
    insert: None,
};

pub(super) const TRACK: Definition = Definition {
    name: "p2p_track",
    columns: &["name", "state", "key", "uniques", "follows", "triggers", "note"],
    arguments: &["\"table\"", "options"],
    number: None,
    page: track,
    insert: None,
};

fn page(_attached: &Attached, conn: &Connection, after: i64, _: &[Value]) -> Result<Page, String> {
    let rows = lines(conn)?.iter().map(row).collect();
    Ok(Page::whole(rows, after))
}

fn lines(conn: &Connection) -> Result<Vec<TableLine>, String> {
    let Some(view) = View::open(conn).map_err(|e| e.to_string())? else { return Ok(Vec::new()) };
    let mut lines = view.tables().map_err(|e| e.to_string())?;
    lines.retain(|t| t.state != State::Untracked as i64);
    Ok(lines)
}

/// `FROM p2p_track(table or '*' [, options])`
fn track(attached: &Attached, conn: &Connection, after: i64, arguments: &[Value]) -> Result<Page, String> {
    if arguments.is_empty() {
        return Err("give it a table or '*': SELECT * FROM p2p_track('*')".into());
    }
    let call = Call::new(attached, conn, arguments);
    let (decisions, _) = call.keeping_last_rowid(membership::begin_tracking)?;
    let mut lines = lines(conn)?;
    let is_all = call.text(0, "the table")? == "*";
    if !is_all {
        lines.retain(|line| decisions.iter().any(|(name, _)| *name == line.name));
    }
    let mut rows: Vec<_> = lines.iter().map(told).collect();
    if is_all {
        let left = define::left_alone(conn).map_err(|e| e.to_string())?;
        rows.extend(left.into_iter().map(|(name, why)| left_alone(name, why)));
    }
    Ok(Page::whole(rows, after))
}

fn row(t: &TableLine) -> Vec<Value> {
    vec![
        text(&t.name),
        text(key(t)),
        text(t.columns.join(", ")),
        text(uniques(t)),
        text(follows(t)),
        text(triggers_in_words(&t.triggers)),
        Value::Integer(t.rows as i64),
        Value::Integer(t.pending as i64),
        Value::Integer(t.parked as i64),
        text(state(t)),
        text(&t.note),
    ]
}

fn told(t: &TableLine) -> Vec<Value> {
    let [name, state, key, uniques, follows] = [t.name.clone(), state(t).into(), key(t), uniques(t), follows(t)];
    [name, state, key, uniques, follows, triggers_in_words(&t.triggers), t.note.clone()].into_iter().map(text).collect()
}

fn left_alone(name: String, why: String) -> Vec<Value> {
    let none = String::new;
    [name, "left alone".into(), none(), none(), none(), none(), why].into_iter().map(text).collect()
}

fn state(t: &TableLine) -> &'static str {
    match t.state {
        s if s == State::Captured as i64 => "captured",
        s if s == State::Parked as i64 => "parked",
        _ if !t.is_here => "dropped",
        _ => "tracked",
    }
}

fn key(t: &TableLine) -> String {
    let key = t.key.join(", ");
    match t.kind {
        KeyKind::Alias => format!("{key} (claimed)"),
        KeyKind::Natural => format!("{key} (natural)"),
        KeyKind::Named => key,
        KeyKind::None => "none".to_owned(),
    }
}

/// `a, b: another b` and the like, of each unique index.
fn uniques(t: &TableLine) -> String {
    let one = |(columns, policy): &(Vec<String>, Policy)| {
        let policy = match policy {
            Policy::Another(column) => format!("another {column}"),
            Policy::Null(column) => format!("NULL in {column}"),
            Policy::Hidden => "hidden".to_owned(),
        };
        format!("{}: {policy}", columns.join(", "))
    };
    t.uniques.iter().map(one).collect::<Vec<_>>().join("; ")
}

/// `column: table` of each reference that follows.
fn follows(t: &TableLine) -> String {
    t.follows.iter().map(|(column, parent)| format!("{column}: {parent}")).collect::<Vec<_>>().join("; ")
}
