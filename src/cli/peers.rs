//! `p2pdb peers`

use serde_json::Value;
use std::path::PathBuf;

use super::rows::{Rows, call};
use super::{Failure, Out, database, table};

/// Whose peers.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The database file.
    database: PathBuf,
    /// Milliseconds that the node may take to reach its peers.
    #[arg(long, default_value_t = 1_000)]
    wait_ms: u64,
}

const SHOWN: &str = "SELECT substr(peer_id, 1, 12) AS peer, path, state, rtt_ms, behind, ahead,
    CASE digest_equal WHEN 1 THEN 'yes' WHEN 0 THEN 'no' END AS equal,
    strftime('%Y-%m-%d %H:%M:%S', last_seen / 1000, 'unixepoch') AS last_seen_UTC, address FROM p2p_peers";

pub(super) fn run(args: &Args, out: &Out) -> Result<(), Failure> {
    let conn = database::open(&args.database)?;
    database::reach(&conn, args.wait_ms)?;
    if out.is_json() {
        let peers = Rows::query(&conn, "SELECT * FROM p2p_peers", [])?;
        return out.answer(&Value::Array(peers.objects()), "");
    }
    let peers = Rows::query(&conn, SHOWN, [])?;
    if !peers.rows.is_empty() {
        return out.line(&table::table(&peers));
    }
    // What is not there has a reason: another process runs the node, the network is off, nobody was invited.
    out.line(&format!("no peer: {}", call(&conn, "SELECT detail FROM p2p_status", [])?))
}
