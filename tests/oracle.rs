//! Random histories on real SQLite replicas against the independent model of the merge rules (`oracle/oracle.py`).
//!
//! Two to four replicas run random transactions, seal them, and exchange entries in any order, in part, twice and late.
//! Whenever a replica has merged something its visible tables and its book of conflicts must be what the model makes of
//! the *set* of entries that it merged; a seal must leave the tables alone; after a full exchange all are equal, a
//! replica that hears everything for the first time included.
//!
//! `P2PDB_ORACLE_SEEDS=A..B` runs those seeds; the failing seed stands in the message and reproduces it.

#![allow(clippy::unwrap_used)]

mod oracle {
    pub(crate) mod export;
    pub(crate) mod history;
    pub(crate) mod replica;
    pub(crate) mod rng;
    pub(crate) mod schema;
    pub(crate) mod statement;
}

use oracle::history;
use std::io::Write;
use std::process::{Command, Stdio};

/// Seeds of one run of the model.
const BATCH: u64 = 100;

/// What continuous integration has time for.
const SEEDS: std::ops::Range<u64> = 0..150;

#[test]
fn random_histories_end_as_the_independent_model_says() {
    let seeds = match std::env::var("P2PDB_ORACLE_SEEDS") {
        Ok(text) => {
            let (from, to) = text.split_once("..").expect("P2PDB_ORACLE_SEEDS=A..B");
            from.parse().unwrap()..to.parse().unwrap()
        }
        Err(_) => SEEDS,
    };
    let mut from = seeds.start;
    while from < seeds.end {
        let to = (from + BATCH).min(seeds.end);
        let mut lines = String::new();
        for seed in from..to {
            history::run(seed, &mut lines);
        }
        judge(lines, from, to);
        from = to;
    }
}

/// Has the model judge what the replicas showed.
fn judge(lines: String, from: u64, to: u64) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/oracle/oracle.py");
    let mut model = Command::new("python3")
        .args([script, "--histories"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 runs the model");
    let mut input = model.stdin.take().unwrap();
    let writer = std::thread::spawn(move || input.write_all(lines.as_bytes()));
    let output = model.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "the model failed on seeds {from}..{to}:\n{said}");
    let differences: Vec<_> = said.lines().filter(|l| l.starts_with("seed")).collect();
    assert!(
        differences.is_empty(),
        "{} differences:\n{}",
        differences.len(),
        differences[..differences.len().min(20)].join("\n")
    );
}
