//! `p2pdb invite`

use serde_json::json;
use std::path::PathBuf;

use super::rows::call;
use super::{Failure, Out, database};

/// Whom to invite to what.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The database file.
    database: PathBuf,
}

pub(super) fn run(args: &Args, out: &Out) -> Result<(), Failure> {
    let conn = database::open(&args.database)?;
    let ticket = call(&conn, "SELECT p2p_invite()", [])?;
    out.answer(&json!({ "ticket": ticket }), &ticket)?;
    // Only now: an address in it is this process's, which is about to end.
    let name = args.database.display();
    out.remark(&format!(
        "Keep it like a password. Who joins finds this database while a program has it open, as `p2pdb serve {name}` does."
    ));
    Ok(())
}
