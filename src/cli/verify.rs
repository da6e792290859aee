//! `p2pdb verify`

use serde_json::json;
use std::path::PathBuf;

use super::rows::call;
use super::{Failure, Out, database};

/// What to check.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The database file.
    database: PathBuf,
}

pub(super) fn run(args: &Args, out: &Out) -> Result<(), Failure> {
    let conn = database::open(&args.database)?;
    database::settled_state(&conn)?;
    let told = call(&conn, "SELECT p2p_verify()", [])?;
    let is_ok = told == "ok";
    let findings: Vec<&str> = if is_ok { Vec::new() } else { told.lines().collect() };
    out.answer(&json!({ "ok": is_ok, "findings": findings }), &told)?;
    if is_ok { Ok(()) } else { Err(Failure::Told) }
}
