//! `p2pdb serve`: the node for files whose writers have not loaded P2PDB.
//!
//! One process, one driver thread, one swarm for all files. This thread only watches and tells: it looks at the node's
//! view, which is in memory, and at `data_version`; only when that moved it reads. Between two looks it waits for a signal and
//! holds no statement open.

use serde_json::json;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use super::{Failure, Out};

mod served;

use served::Served;

/// Between two looks.
const LOOK: Duration = Duration::from_millis(250);

/// What to serve.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Database files.
    #[arg(required = true)]
    databases: Vec<PathBuf>,
    /// Listen here from now on, as in /ip4/0.0.0.0/tcp/4001; kept beside each database.
    #[arg(long)]
    listen: Option<String>,
}

pub(super) fn run(args: &Args, out: &Out) -> Result<(), Failure> {
    let stop = stop_signal()?;
    let files = once_each(&args.databases);
    let mut all = Vec::new();
    for (path, name) in files.iter().zip(names(&files)) {
        all.push(Served::open(path, name, args.listen.as_deref())?);
    }
    loop {
        for served in &mut all {
            for event in served.happened() {
                let mut value = json!({ "file": served.name(), "event": event.word });
                if let (Some(object), Some(facts)) = (value.as_object_mut(), event.facts.as_object()) {
                    object.extend(facts.clone());
                }
                out.answer(&value, &format!("{}: {}", served.name(), event.text))?;
            }
        }
        match stop.recv_timeout(LOOK) {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(signal) => {
                let word = if signal == SIGINT { "interrupted" } else { "terminated" };
                out.answer(&json!({ "event": "stopping", "why": word }), &format!("{word}: leaving"))?;
                break;
            }
            Err(RecvTimeoutError::Disconnected) => return Err(Failure::new("signals can't be received any more")),
        }
    }
    // Each seals and hands over what is left, for as long as `linger_ms` says.
    drop(all);
    out.answer(&json!({ "event": "stopped" }), "left")
}

/// Yields the signal that asks to stop. A second one ends the process at once, in case leaving takes too long.
fn stop_signal() -> Result<Receiver<i32>, Failure> {
    let failed = |why: std::io::Error| Failure::new(format!("signals can't be received: {why}"));
    let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(failed)?;
    let (tell, told) = channel();
    let listen = move || {
        for (count, signal) in signals.forever().enumerate() {
            if count > 0 || tell.send(signal).is_err() {
                std::process::exit(128 + signal);
            }
        }
    };
    std::thread::Builder::new().name("p2pdb-signal".into()).spawn(listen).map_err(failed)?;
    Ok(told)
}

/// Each file once, however it is named.
fn once_each(paths: &[PathBuf]) -> Vec<PathBuf> {
    let mut seen = BTreeSet::new();
    // What is not there is told when it is opened.
    paths
        .iter()
        .filter(|path| seen.insert(path.canonicalize().unwrap_or_else(|_| path.to_path_buf())))
        .cloned()
        .collect()
}

/// What each file is called in what is told: its name, or the whole path where two have the same.
fn names(paths: &[PathBuf]) -> Vec<String> {
    let short = |path: &PathBuf| path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    let is_unique = |name: &String| paths.iter().filter(|p| short(p) == *name).count() == 1;
    paths
        .iter()
        .map(|path| {
            let name = short(path);
            if is_unique(&name) { name } else { path.display().to_string() }
        })
        .collect()
}
