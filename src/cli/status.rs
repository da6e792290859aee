//! `p2pdb status`

use rusqlite::Connection;
use serde_json::Value;
use std::path::PathBuf;

use super::rows::Rows;
use super::{Failure, Out, database, table};

/// Whose status.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The database file.
    database: PathBuf,
    /// Milliseconds that the node may take to reach its peers.
    #[arg(long, default_value_t = 1_000)]
    wait_ms: u64,
}

pub(super) fn run(args: &Args, out: &Out) -> Result<(), Failure> {
    let conn = database::open(&args.database)?;
    database::reach(&conn, args.wait_ms)?;
    let status = Rows::query(&conn, "SELECT * FROM p2p_status", [])?;
    let tables = tables(&conn)?;
    let mut object = status.objects().pop().unwrap_or_default();
    object["tables"] = Value::Array(tables.objects());
    let mut text = table::fields(&status);
    if !tables.rows.is_empty() {
        text += &format!("\n{}", table::table(&tables));
    }
    out.answer(&object, &text)
}

/// The tracked tables.
pub(super) fn tables(conn: &Connection) -> Result<Rows, Failure> {
    Ok(Rows::query(conn, "SELECT name, key, columns, rows, pending, parked, state, note FROM p2p_tables", [])?)
}
