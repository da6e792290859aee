//! The figures of the design that one process can measure: capture, seal, merge, size and wire, as ratios to plain SQLite.
//!
//! `bin/bench` runs it, and what needs two processes after it. Each figure is taken interleaved: plain SQLite, then ours,
//! five times over, and the medians are compared. What is counted is the processor time of the thread that works.
//!
//! It runs no node and no network: the store is called as the node calls it, in passes of the node's own lengths.

mod capture;
mod clock;
mod constraints;
mod merge;
mod seal;
mod space;
mod table;
mod workload;

use table::Line;

type Failure = Box<dyn std::error::Error>;

/// How often each figure is taken.
const REPEATS: usize = 5;

type Measure = fn(i64) -> Result<Vec<Line>, Failure>;

const ALL: [(&str, Measure); 5] = [
    ("capture", capture::measure),
    ("seal", seal::measure),
    ("merge", merge::measure),
    ("constraints", constraints::measure),
    ("space", space::measure),
];

fn main() -> Result<(), Failure> {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let rows = std::env::var("BENCH_ROWS").ok().and_then(|n| n.parse().ok()).unwrap_or(100_000);
    for (name, measure) in ALL {
        if wanted.is_empty() || wanted.iter().any(|w| w == name) {
            measure(rows)?.iter().for_each(Line::print);
        }
    }
    Ok(())
}
