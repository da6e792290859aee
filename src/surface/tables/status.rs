//! `p2p_status`: one row that says how this database is doing.

use rusqlite::Connection;
use rusqlite::types::Value;
use std::time::{SystemTime, UNIX_EPOCH};

use super::{Definition, Page, optional, text};
use crate::node::State;
use crate::store::View;
use crate::surface::attached::Attached;

pub(super) const DEFINITION: Definition = Definition {
    name: "p2p_status",
    columns: &[
        "group_id",
        "peer_id",
        "state",
        "detail",
        "listen",
        "peers",
        "entries",
        "pending",
        "parked",
        "quarantined",
        "last_error",
        "next_retry",
        "digest",
    ],
    arguments: &[],
    number: None,
    page,
    insert: None,
};

fn page(attached: &Attached, conn: &Connection, after: i64, _: &[Value]) -> Result<Page, String> {
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64;
    let counts = View::open(conn).and_then(|v| v.map(|v| v.status(now_ms)).transpose()).map_err(|e| e.to_string())?;
    let is_tracked = counts.is_some();
    let counts = counts.unwrap_or_default();
    let (identity, problem) = match attached.sidecar() {
        Ok(sidecar) => (sidecar.map(|s| s.identity()), None),
        Err(why) => (None, Some(why.to_string())),
    };
    let view = attached.view().unwrap_or_default();
    let (state, detail) = match (&identity, is_tracked) {
        (Some(_), _) if attached.file().is_none() => {
            (State::Local, "a database in memory: p2p_sync() seals and merges, entries move through p2p_log".to_owned())
        }
        (Some(_), _) => (view.state, view.detail.clone()),
        (None, true) => (State::Unjoined, problem.clone().unwrap_or_else(|| UNJOINED.to_owned())),
        (None, false) => (State::Unjoined, problem.clone().unwrap_or_else(|| NEW.to_owned())),
    };
    let detail =
        format!("{detail}{}", if identity.is_some() { hindrance(attached, conn, state)? } else { String::new() });
    let connected = view.peers.iter().filter(|p| !p.path.is_empty() && !p.peer_id.is_empty()).count();
    let row = vec![
        optional(identity.as_ref().map(|i| i.group.to_string())),
        optional(identity.as_ref().map(|i| i.key.public().author().to_string())),
        text(state.word()),
        text(detail),
        text(view.listen.join(" ")),
        Value::Integer(connected as i64),
        Value::Integer(counts.entries as i64),
        Value::Integer(counts.pending as i64),
        Value::Integer(counts.parked() as i64),
        Value::Integer(counts.quarantined as i64),
        optional(view.last_error.or(problem)),
        optional(view.next_retry_ms.map(|ms| ms as i64)),
        optional(is_tracked.then(|| counts.digest.to_string())),
    ];
    Ok(Page::whole(vec![row], after))
}

/// What this connection does to the file that stands in the node's way.
fn hindrance(attached: &Attached, conn: &Connection, state: State) -> Result<String, String> {
    if attached.file().is_none() {
        return Ok(String::new());
    }
    let pragma = |name: &str| conn.query_row(&format!("PRAGMA main.{name}"), [], |row| row.get::<_, String>(0));
    let locking = pragma("locking_mode").map_err(|e| e.to_string())?;
    let is_hindered = matches!(state, State::Starting | State::Waiting | State::Failing);
    if is_hindered && locking == "exclusive" {
        return Ok(
            "; this connection keeps the file locked: PRAGMA locking_mode=NORMAL, and a read after it, let go".into()
        );
    }
    let journal = pragma("journal_mode").map_err(|e| e.to_string())?;
    Ok(match journal.as_str() {
        "wal" => String::new(),
        other => format!(
            "; the journal mode is {other}: run PRAGMA journal_mode=WAL outside a transaction, or commits may fail"
        ),
    })
}

const UNJOINED: &str = "the keys beside the database are missing: changes are captured and not sealed; put the file <database>-p2pdb back, \
     or p2p_join(ticket) makes this database a new device of its group, with all that is in it";
const NEW: &str = "no table is tracked; p2p_track('*') begins a group, p2p_join(ticket) joins one";
