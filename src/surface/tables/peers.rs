//! `p2p_peers`: who is connected, how far apart, and what is dialed in vain.

use rusqlite::Connection;
use rusqlite::types::Value;

use super::{Definition, Page, optional, text};
use crate::surface::attached::Attached;

pub(super) const DEFINITION: Definition = Definition {
    name: "p2p_peers",
    columns: &["peer_id", "address", "path", "state", "rtt_ms", "last_seen", "behind", "ahead", "digest_equal"],
    arguments: &[],
    number: None,
    page,
    insert: None,
};

fn page(attached: &Attached, _conn: &Connection, after: i64, _: &[Value]) -> Result<Page, String> {
    let peers = attached.view().map(|v| v.peers).unwrap_or_default();
    let rows = peers.into_iter().map(|p| {
        vec![
            if p.peer_id.is_empty() { Value::Null } else { text(p.peer_id) },
            text(p.address),
            if p.path.is_empty() { Value::Null } else { text(p.path) },
            text(p.state),
            optional(p.rtt_ms),
            optional(p.last_seen_ms.map(|ms| ms as i64)),
            optional(p.behind.map(|n| n as i64)),
            optional(p.ahead.map(|n| n as i64)),
            optional(p.is_digest_equal),
        ]
    });
    Ok(Page::whole(rows.collect(), after))
}
