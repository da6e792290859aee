//! The command line: the SQL functions and tables for those who have no SQL prompt at hand, and a daemon.
//!
//! Each command opens the database as any host does, asks in SQL and renders the answer, as a table or as JSON. What
//! the answer means is decided below; nothing here knows entries, clocks or peers.

use clap::{Parser, Subcommand};
use std::process::ExitCode;

mod database;
mod demo;
mod failure;
mod invite;
mod join;
mod log;
mod out;
mod peers;
mod progress;
mod rows;
mod serve;
mod status;
mod table;
mod track;
mod verify;

pub use failure::Failure;

use out::Out;

/// Any SQLite database as a peer: ordinary SQL that syncs, without a server.
#[derive(Debug, Parser)]
#[command(name = "p2pdb", version, max_term_width = 100)]
pub struct Cli {
    /// Answer with one JSON value (`serve`: one a line).
    #[arg(long, global = true)]
    json: bool,
    /// Tell on the standard error what the node does; twice or thrice for more.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Track tables: their changes are captured from now on, whoever writes them.
    Track(track::Args),
    /// Print a ticket; whoever has it can join the group, read and write.
    Invite(invite::Args),
    /// Join the group of a ticket and wait until its rows are here.
    Join(join::Args),
    /// Run the node for database files whose writers have not loaded P2PDB, until interrupted.
    Serve(serve::Args),
    /// Show how a database is doing, and its tables.
    Status(status::Args),
    /// Show who is connected, and which addresses are dialed in vain.
    Peers(peers::Args),
    /// Show the latest entries of the log.
    Log(log::Args),
    /// Check the log and the tables against each other.
    Verify(verify::Args),
    /// Show two stock sqlite3 shells exchanging rows.
    Demo(demo::Args),
}

/// Runs a command and gives the exit code: 0 done, 1 failed, 2 called wrongly.
pub fn run(cli: Cli) -> ExitCode {
    let out = Out::new(cli.json);
    let done = match &cli.command {
        Command::Track(args) => track::run(args, &out),
        Command::Invite(args) => invite::run(args, &out),
        Command::Join(args) => join::run(args, &out),
        Command::Serve(args) => serve::run(args, &out),
        Command::Status(args) => status::run(args, &out),
        Command::Peers(args) => peers::run(args, &out),
        Command::Log(args) => log::run(args, &out),
        Command::Verify(args) => verify::run(args, &out),
        Command::Demo(args) => demo::run(args, &out),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            out.failure(&why);
            why.exit_code()
        }
    }
}
