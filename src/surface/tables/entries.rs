//! `p2p_log`: the log, in order of arrival. Selecting exports entries, inserting imports them: the network is just one
//! transport.

use p2pdb_core::chain::Refused;
use p2pdb_core::limit;
use rusqlite::Connection;
use rusqlite::types::Value;

use super::{Definition, Page, Row, text};
use crate::store::{self, LogLine, StoreError, View};
use crate::surface::attached::Attached;

pub(super) const DEFINITION: Definition = Definition {
    name: "p2p_log",
    columns: &["hash", "author", "seq", "clock", "time", "prev", "deps", "ops", "bytes", "entry"],
    arguments: &[],
    number: None,
    page,
    insert: Some(insert),
};

/// Where the entry stands among the columns.
const ENTRY: usize = 9;

fn page(_attached: &Attached, conn: &Connection, after: i64, _: &[Value]) -> Result<Page, String> {
    let Some(view) = View::open(conn).map_err(|e| e.to_string())? else { return Ok(Page::whole(Vec::new(), after)) };
    let lines =
        view.log_after(u64::try_from(after).unwrap_or_default(), limit::LOG_PAGE_MAX).map_err(|e| e.to_string())?;
    let is_last = lines.is_empty();
    Ok(Page { rows: lines.into_iter().map(row).collect(), is_last })
}

fn row(line: LogLine) -> Row {
    let deps: Vec<_> = line.deps.iter().map(ToString::to_string).collect();
    let row = vec![
        text(line.id.to_string()),
        text(line.author.to_string()),
        Value::Integer(line.seq.0 as i64),
        text(line.clock.to_string()),
        Value::Integer(line.clock.ms() as i64),
        if line.seq.0 == 1 { Value::Null } else { text(line.prev.to_string()) },
        text(serde_json::json!(deps).to_string()),
        Value::Integer(line.ops.into()),
        Value::Integer(line.bytes as i64),
        if line.entry.is_empty() { Value::Null } else { Value::Blob(line.entry) },
    ];
    (line.n as i64, row)
}

/// `INSERT INTO p2p_log(entry) VALUES(?)`: stages the entry; it is merged once the transaction is committed.
fn insert(attached: &Attached, conn: &Connection, values: &[Value]) -> Result<i64, String> {
    let Some(Value::Blob(entry)) = values.get(ENTRY) else {
        return Err("the column entry must be a blob, as p2p_log gives it: INSERT INTO p2p_log(entry) VALUES(…)".into());
    };
    let others = values.iter().take(ENTRY).any(|v| *v != Value::Null);
    if others {
        return Err("only the column entry can be given; all others follow from it".into());
    }
    let Some(sidecar) = attached.sidecar().map_err(|e| e.to_string())? else {
        return Err("this database is in no group; call p2p_join(ticket) first".into());
    };
    store::stage(conn, sidecar.identity().group, entry).map(|_| 0).map_err(|why| match why {
        StoreError::Refused(Refused::Malformed(why)) => {
            format!("entry refused: it is no entry, or not all of one: {why}; export it again")
        }
        other => other.to_string(),
    })
}
