//! `p2pdb log`

use rusqlite::Connection;
use serde_json::Value;
use std::path::PathBuf;

use super::rows::Rows;
use super::{Failure, Out, database, table};
use crate::store::View;

/// Which part of the log.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The database file.
    database: PathBuf,
    /// How many of the latest entries, by order of arrival.
    #[arg(short, long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    number: u32,
    /// Show those that arrived after this number, the earliest first.
    #[arg(long)]
    after: Option<u32>,
}

const VALUES: &str = "SELECT rowid AS n, hash, author, seq, clock, time, prev, deps, ops, bytes
    FROM p2p_log WHERE rowid > ?1 LIMIT ?2";
const SHOWN: &str = "SELECT rowid AS n, strftime('%Y-%m-%d %H:%M:%f', time / 1000.0, 'unixepoch') AS time_UTC,
    substr(author, 1, 12) AS author, seq, ops, bytes, substr(hash, 1, 16) AS hash
    FROM p2p_log WHERE rowid > ?1 LIMIT ?2";

pub(super) fn run(args: &Args, out: &Out) -> Result<(), Failure> {
    let conn = database::open(&args.database)?;
    database::settled_state(&conn)?;
    let after = match args.after {
        Some(after) => i64::from(after),
        None => last_arrival(&conn)? - i64::from(args.number),
    };
    let sql = if out.is_json() { VALUES } else { SHOWN };
    let log = Rows::query(&conn, sql, [after, i64::from(args.number)])?;
    let text = if log.rows.is_empty() { "no entry".to_owned() } else { table::table(&log) };
    out.answer(&Value::Array(log.objects()), &text)
}

/// The number of the entry that arrived last; reading the log for it would read all of it.
fn last_arrival(conn: &Connection) -> Result<i64, Failure> {
    let Some(view) = View::open(conn)? else { return Ok(0) };
    Ok(view.last_arrival()? as i64)
}
