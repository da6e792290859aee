//! `p2pdb demo`: two stock `sqlite3` shells, ordinary SQL, and a comparison of every cell at the end.
//!
//! Nothing in it is staged: the shells are the ones installed here, they load the shared library, and what is printed is
//! what they were given and what they answered. All files are in a folder of their own, removed at the end; all
//! traffic stays on loopback. With a database of the user's it works on a copy.

use serde_json::json;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::{Failure, Out};

mod compare;
mod copy;
mod edits;
mod own;
mod shell;
mod shop;
mod stage;
mod tools;

use compare::Comparison;
use stage::Stage;
use tools::Tools;

/// What to show.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A database of yours; it is copied, never touched.
    database: Option<PathBuf>,
    /// The shared library; the one beside this program if not given.
    #[arg(long)]
    extension: Option<PathBuf>,
    /// The SQLite shell.
    #[arg(long, default_value = "sqlite3")]
    sqlite3: PathBuf,
    /// Keep the files, and say where they are.
    #[arg(long)]
    keep: bool,
}

pub(super) fn run(args: &Args, out: &Out) -> Result<(), Failure> {
    let tools = Tools::find(args.extension.as_deref(), &args.sqlite3)?;
    let mut folder = tempfile::Builder::new().prefix("p2pdb-demo-").tempdir().map_err(|why| {
        Failure::new(format!("no folder for the demo can be made: {why}; TMPDIR names another place"))
    })?;
    folder.disable_cleanup(args.keep);
    if !args.keep {
        remove_when_interrupted(folder.path())?;
    }
    out.line(&format!("{}, {}", tools.about, tools.extension.display()))?;
    let mut stage = Stage::set(&tools, folder.path(), out)?;
    if let Some(database) = &args.database {
        copy::copy(database, stage.file("a"))?;
        own::play(&mut stage)?;
    } else {
        shop::play(&mut stage)?;
    }
    stage.says("Both are level: the same entries, the same digest of all rows.")?;
    stage.level(Instant::now())?;
    let comparison = compare::compare(stage.file("a"), stage.file("b"))?;
    let ms = stage.elapsed_ms();
    let steps = stage.close()?;
    if args.keep {
        out.line(&format!("the files are in {}", folder.path().display()))?;
    }
    tell(&comparison, &json!({ "steps": steps, "elapsed_ms": ms }), out)
}

/// An interrupted demo leaves nothing behind either. The shells end with their input.
fn remove_when_interrupted(folder: &Path) -> Result<(), Failure> {
    let failed = |why: std::io::Error| Failure::new(format!("signals can't be received: {why}"));
    let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(failed)?;
    let folder = folder.to_owned();
    let wait = move || {
        if let Some(signal) = signals.forever().next() {
            if let Err(why) = std::fs::remove_dir_all(&folder) {
                eprintln!("p2pdb: {} stays behind: {why}", folder.display());
            }
            std::process::exit(128 + signal);
        }
    };
    std::thread::Builder::new().name("p2pdb-signal".into()).spawn(wait).map(drop).map_err(failed)
}

/// The verdict.
fn tell(comparison: &Comparison, rest: &serde_json::Value, out: &Out) -> Result<(), Failure> {
    let mut value = json!({ "equal": comparison.is_equal(), "tables": comparison.tables_json() });
    if let (Some(object), Some(rest)) = (value.as_object_mut(), rest.as_object()) {
        object.extend(rest.clone());
    }
    let seconds = rest["elapsed_ms"].as_u64().unwrap_or_default() as f64 / 1000.0;
    out.answer(&value, &format!("{}\n{} ({seconds:.1} s)", comparison.table(), comparison.verdict()))?;
    if comparison.is_equal() { Ok(()) } else { Err(Failure::Told) }
}
