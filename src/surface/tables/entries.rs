//! `p2p_log`: the log, in order of arrival. Selecting exports entries, inserting imports them: the network is just one
//! transport.

use rusqlite::Connection;
use rusqlite::types::Value;

use super::{Definition, Page, text};
use crate::store::{self, has_private_tables, report};
use crate::surface::attached::Attached;

pub(super) const DEFINITION: Definition = Definition {
    name: "p2p_log",
    columns: &["hash", "author", "seq", "clock", "time", "prev", "deps", "ops", "bytes", "entry"],
    page,
    insert: Some(insert),
};

/// Bytes of entries in one page.
const PAGE_BYTES: usize = 1024 * 1024;
/// Where the entry stands among the columns.
const ENTRY: usize = 9;

fn page(_attached: &Attached, conn: &Connection, after: i64) -> Result<Page, String> {
    if !has_private_tables(conn).map_err(|e| e.to_string())? {
        return Ok(Page::whole(Vec::new(), after));
    }
    let entries = report::log_after(conn, after, PAGE_BYTES).map_err(|e| e.to_string())?;
    let is_last = entries.is_empty();
    let rows = entries.into_iter().map(|e| {
        let h = &e.header;
        let deps: Vec<_> = h.deps.iter().map(|d| format!("{d}")).collect();
        let row = vec![
            text(hex(&e.hash)),
            text(h.author.to_string()),
            Value::Integer(h.seq.0 as i64),
            text(h.clock.to_string()),
            Value::Integer(h.clock.ms() as i64),
            if h.seq.0 == 1 { Value::Null } else { text(h.prev.to_string()) },
            text(serde_json::json!(deps).to_string()),
            Value::Integer(e.ops),
            Value::Integer(e.entry.len() as i64),
            Value::Blob(e.entry),
        ];
        (e.n, row)
    });
    Ok(Page { rows: rows.collect(), is_last })
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
    store::stage(conn, sidecar.identity().group, entry).map(|()| 0).map_err(|e| e.to_string())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
