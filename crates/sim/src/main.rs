//! `p2pdb-sim`: runs seeds, says which fail.
#![forbid(unsafe_code)]

use p2pdb_sim::{Failure, Report, run};
use std::ops::Range;
use std::process::ExitCode;

const USAGE: &str = "usage: p2pdb-sim [--expect-failure] (--seed N | --seeds A..B)

  --seed N          runs one seed and prints what happened
  --seeds A..B      runs the seeds from A to below B, each hundredth twice
  --expect-failure  succeeds at the first seed that fails, for builds with a planted bug";

/// How often a seed is run twice, to see that it agrees with itself.
const TWICE_EVERY: u64 = 100;

struct Command {
    seeds: Range<u64>,
    is_failure_expected: bool,
}

fn main() -> ExitCode {
    match parse(std::env::args().skip(1)) {
        Some(command) => run_all(&command),
        None => {
            eprintln!("{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn parse(mut args: impl Iterator<Item = String>) -> Option<Command> {
    let (mut seeds, mut is_failure_expected) = (None, false);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--seed" => {
                let seed: u64 = args.next()?.parse().ok()?;
                seeds = Some(seed..seed.checked_add(1)?);
            }
            "--seeds" => {
                let range = args.next()?;
                let (from, to) = range.split_once("..")?;
                seeds = Some(from.parse().ok()?..to.parse().ok()?);
            }
            "--expect-failure" => is_failure_expected = true,
            _ => return None,
        }
    }
    Some(Command { seeds: seeds?, is_failure_expected })
}

fn run_all(command: &Command) -> ExitCode {
    let mut sum = Sum::default();
    let is_one = command.seeds.clone().count() == 1;
    for seed in command.seeds.clone() {
        match run_one(seed) {
            Ok(report) => {
                if is_one {
                    println!("seed {seed}: {report:?}");
                }
                sum.add(&report);
            }
            Err(failure) if command.is_failure_expected => {
                println!("found as expected: {failure}");
                return ExitCode::SUCCESS;
            }
            Err(failure) => {
                eprintln!("{failure}");
                return ExitCode::FAILURE;
            }
        }
    }
    println!("{} seeds passed: {sum:?}", sum.seeds);
    if command.is_failure_expected {
        eprintln!("no seed of {:?} failed, though one had to", command.seeds);
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn run_one(seed: u64) -> Result<Report, Failure> {
    let report = run(seed)?;
    if seed.is_multiple_of(TWICE_EVERY) && run(seed)? != report {
        let what = "two runs of it differ: something in it is not a function of the seed".into();
        return Err(Failure { seed, at_ms: 0, what });
    }
    Ok(report)
}

/// What all seeds did together: a storm that does nothing proves nothing.
#[derive(Debug, Default)]
struct Sum {
    seeds: u64,
    entries: u64,
    frames: u64,
    sent: u64,
    connections: u64,
    crashes: u64,
    undone: u64,
    renumbered: u64,
    conflicts: u64,
    level_ms_max: u64,
}

impl Sum {
    fn add(&mut self, report: &Report) {
        self.seeds += 1;
        self.entries += report.entries;
        self.frames += report.frames;
        self.sent += report.sent;
        self.connections += report.connections;
        self.crashes += report.crashes;
        self.undone += report.undone;
        self.renumbered += report.renumbered;
        self.conflicts += report.conflicts;
        self.level_ms_max = self.level_ms_max.max(report.level_ms);
    }
}
