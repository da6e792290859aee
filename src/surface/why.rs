//! `p2p_why(table, key…)`: where a row stands, in words.
//!
//! Text with a fact a line, and no table: it is for people, who ask of one row and read all of the answer, and in a shell that
//! prints columns with `|` between them it stands as it is meant. Keys of any number of columns are so many arguments.

use p2pdb_core::clock::Stamp;
use p2pdb_core::value::Value as CoreValue;
use rusqlite::Connection;
use rusqlite::types::Value;

use super::actions::{Call, Outcome};
use super::tables::conflicts;
use crate::store::define::State;
use crate::store::{Account, Derived, Fate, Parent, View, Waits, Whereabouts, Why};

/// `p2p_why(table, key…)`
pub(super) fn why(call: &Call<'_>) -> Outcome {
    let table = call.text(0, "the table")?;
    let key = call.rest(1);
    if key.is_empty() {
        return Err("the key of the row is missing: p2p_why('sale', 3), with a value for each column of the key".into());
    }
    let nothing = "nothing is tracked here; call p2p_track() or p2p_join() first";
    let mut view = View::open(call.conn).map_err(|e| e.to_string())?.ok_or(nothing)?;
    let key: Vec<_> = key.iter().map(to_core).collect();
    let lines = match view.why(table, &key).map_err(|e| e.to_string())? {
        Why::Row(account) => row(call.conn, &account).map_err(|e| e.to_string())?,
        Why::Table { table, state, note, withheld } => table_lines(&table, state, &note, withheld),
    };
    Ok(Value::Text(lines.join("\n")))
}

fn to_core(value: &Value) -> CoreValue {
    match value {
        Value::Null => CoreValue::Null,
        Value::Integer(i) => CoreValue::Integer(*i),
        Value::Real(r) => CoreValue::Real(*r),
        Value::Text(text) => CoreValue::Text(text.clone().into_bytes()),
        Value::Blob(bytes) => CoreValue::Blob(bytes.clone()),
    }
}

fn table_lines(table: &str, state: State, note: &str, withheld: u64) -> Vec<String> {
    let what = match state {
        State::Parked => "was announced by a peer and can't be built here",
        _ => "is captured and not exchanged",
    };
    let mut lines = vec![format!("table \"{table}\" {what}: {note}")];
    if withheld > 0 {
        lines.push(format!("waiting: {withheld} {} with changes of it", plural(withheld, "entry", "entries")));
    }
    if state == State::Parked {
        lines.push(
            "next: make the table here what was announced, or make room for it; it is tried again by itself".into(),
        );
    }
    lines
}

fn row(conn: &Connection, account: &Account) -> rusqlite::Result<Vec<String>> {
    let Account { table, key, .. } = account;
    let by = |stamp: &Stamp| written(conn, account, stamp);
    let mut lines = vec![match &account.whereabouts {
        Whereabouts::Shown => format!("{table} {key} is in the table"),
        Whereabouts::Hidden { reason, .. } => format!("{table} {key} is kept and not in the table: {reason}"),
        Whereabouts::Elsewhere(shown) => {
            format!("{table} {key} shows the key {shown} now: SELECT p2p_why({}, {shown})", quoted(table))
        }
        Whereabouts::Deleted(stamp) => format!("{table} {key} was deleted, {}", by(stamp)?),
        Whereabouts::JustDeleted => format!("{table} {key} was deleted here a moment ago"),
        Whereabouts::Unknown => format!("{table} {key} is not in the table, and the log does not know of it"),
    }];
    for (stamp, columns) in &account.writes {
        lines.push(format!("{}: written {}", columns.join(", "), by(stamp)?));
    }
    for Derived { column, written, holder } in &account.derived {
        lines.push(match holder {
            Some(holder) => {
                format!("{column}: shown in place of {written}, which {table} {holder} has by an earlier write")
            }
            None => format!("{column}: shown in place of {written}, which another row had by an earlier write"),
        });
    }
    for other in &account.namesakes {
        lines.push(format!("key: {table} {other} was written with it too"));
    }
    for line in &account.conflicts {
        let what = if matches!(line.fate, Fate::Hidden(_)) { "kept" } else { "lost" };
        let (column, value) = (&line.column, literal(conn, &line.shown)?);
        let why = match &line.fate {
            Fate::Hidden(_) => String::new(),
            fate => format!(": {} (conflict {})", conflicts::reason(fate), line.id),
        };
        lines.push(format!("{what}: {column} = {value}, written {}{why}", by(&line.stamp)?));
    }
    if account.is_pending {
        lines.push("pending: a change made here is not sealed yet; p2p_seal() waits for it".into());
    }
    lines.extend(waits(table, &account.whereabouts));
    lines.extend(next(account).map(|next| format!("next: {next}")));
    Ok(lines)
}

fn waits(table: &str, whereabouts: &Whereabouts) -> Vec<String> {
    let Whereabouts::Hidden { waits, .. } = whereabouts else { return Vec::new() };
    match waits {
        Waits::Parents(parents) => parents.iter().map(missing).collect(),
        Waits::Holder(Some(holder)) => vec![format!("waits: {table} {holder} has what it claims, by an earlier write")],
        Waits::Holder(None) | Waits::Constraint => Vec::new(),
    }
}

fn missing(Parent { column, table, key }: &Parent) -> String {
    format!("waits: {column} refers to {table} {key}, which is not there: SELECT p2p_why({}, {key})", quoted(table))
}

/// What its user can do, where there is something to be done.
fn next(account: &Account) -> Option<String> {
    let first = account.conflicts.first()?;
    let (lost, kept) =
        (format!("SELECT p2p_resolve({}, 'lost')", first.id), format!("SELECT p2p_resolve({}, 'kept')", first.id));
    Some(match &account.whereabouts {
        Whereabouts::Hidden { waits: Waits::Parents(_), .. } => {
            format!("it comes back with the row that it refers to; or let it go: {kept}")
        }
        Whereabouts::Hidden { waits: Waits::Holder(_), .. } => {
            format!("give the row that has what it claims another value, then show it: {lost}; or let it go: {kept}")
        }
        Whereabouts::Hidden { waits: Waits::Constraint, .. } => {
            format!("change what is in its way, it is tried again after each merge; or let it go: {kept}")
        }
        Whereabouts::Shown if first.fate == Fate::Taken => {
            format!("give it a value of its own, by an UPDATE; or have it keep what it shows: {kept}")
        }
        Whereabouts::Shown => format!("put back what lost: {lost}; or have what is shown stand: {kept}"),
        Whereabouts::Deleted(_) => format!("insert the row again: {lost}; or leave it deleted: {kept}"),
        Whereabouts::Elsewhere(_) | Whereabouts::JustDeleted | Whereabouts::Unknown => return None,
    })
}

/// When and by whom.
fn written(conn: &Connection, account: &Account, stamp: &Stamp) -> rusqlite::Result<String> {
    let sql = "SELECT strftime('%Y-%m-%d %H:%M:%S', ?1, 'unixepoch')";
    let seconds = (stamp.clock.ms() / 1000) as i64;
    let when: Option<String> = conn.prepare_cached(sql)?.query_row([seconds], |row| row.get(0))?;
    let here = if account.own == Some(stamp.author) { ", this database" } else { "" };
    Ok(format!("{} UTC by {}{here}", when.unwrap_or_default(), stamp.author))
}

/// A value as it is written in SQL.
fn literal(conn: &Connection, value: &Value) -> rusqlite::Result<String> {
    conn.prepare_cached("SELECT quote(?1)")?.query_row([value], |row| row.get(0))
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn plural<'a>(n: u64, one: &'a str, more: &'a str) -> &'a str {
    if n == 1 { one } else { more }
}
