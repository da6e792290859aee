//! `p2pdb track`

use serde_json::json;
use std::path::PathBuf;

use super::rows::call;
use super::{Failure, Out, database};

/// What to track.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The database file.
    database: PathBuf,
    /// Tables; none given: all that are there, and all that will be.
    tables: Vec<String>,
}

pub(super) fn run(args: &Args, out: &Out) -> Result<(), Failure> {
    let conn = database::open(&args.database)?;
    let all = ["*".to_owned()];
    let tables = if args.tables.is_empty() { &all[..] } else { &args.tables[..] };
    let mut told = Vec::new();
    for table in tables {
        let text = call(&conn, "SELECT p2p_track(?1)", [table])?;
        told.extend(text.lines().map(str::to_owned));
    }
    let tables = super::status::tables(&conn)?;
    out.answer(&json!({ "told": told, "tables": tables.objects() }), &told.join("\n"))
}
