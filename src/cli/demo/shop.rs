//! The demo's own story: two tills of a shop.

use std::time::Instant;

use super::Failure;
use super::stage::{Stage, Who};

use Who::{A, B};

const ALL: &str = "SELECT * FROM sale;";

/// Plays it.
pub(super) fn play(stage: &mut Stage<'_>) -> Result<(), Failure> {
    stage.says("Two stock shells, each with a file of its own.")?;
    stage.open()?;
    meet(stage)?;
    live(stage)?;
    same_id(stage)?;
    same_row(stage)?;
    stranger(stage)
}

fn meet(stage: &mut Stage<'_>) -> Result<(), Failure> {
    stage.says("A makes a table, tracks it and invites B. Schema and rows arrive there by themselves.")?;
    stage.types(A, "CREATE TABLE sale(id INTEGER PRIMARY KEY, item TEXT, qty INTEGER, note TEXT);")?;
    stage.types(A, "INSERT INTO sale(item, qty) VALUES('coffee', 1);")?;
    stage.types(A, "SELECT p2p_track('*');")?;
    let ticket = stage.types(A, "SELECT p2p_invite();")?.join("");
    let since = Instant::now();
    stage.types(B, &format!("SELECT p2p_join('{ticket}');"))?;
    stage.sees(B, ALL, since, |rows| rows == ["1|coffee|1|"])
}

fn live(stage: &mut Stage<'_>) -> Result<(), Failure> {
    stage.says("B sells tea; A has it at once.")?;
    let since = Instant::now();
    stage.types(B, "INSERT INTO sale(item, qty) VALUES('tea', 2);")?;
    stage.sees(A, ALL, since, |rows| rows.len() == 2)
}

fn same_id(stage: &mut Stage<'_>) -> Result<(), Failure> {
    stage.says("The line is down, and both sell something under the same id. Two sales were made: two are kept.")?;
    stage.network("off")?;
    stage.types(A, "INSERT INTO sale(id, item, qty) VALUES(3, 'milk', 1);")?;
    stage.types(B, "INSERT INTO sale(id, item, qty) VALUES(3, 'cake', 4);")?;
    let since = Instant::now();
    stage.network("on")?;
    let both = |rows: &[String]| {
        let has = |item: &str| rows.iter().any(|row| row.contains(item));
        rows.len() == 4 && has("|milk|1|") && has("|cake|4|")
    };
    stage.sees(A, ALL, since, both)?;
    stage.sees(B, ALL, since, both)
}

fn same_row(stage: &mut Stage<'_>) -> Result<(), Failure> {
    stage.says("The line is down again. Each edits another column of the same row: both edits hold.")?;
    stage.network("off")?;
    stage.types(A, "UPDATE sale SET qty = 5 WHERE id = 1;")?;
    stage.types(B, "UPDATE sale SET note = 'to go' WHERE id = 1;")?;
    let since = Instant::now();
    stage.network("on")?;
    let merged = |rows: &[String]| rows == ["1|coffee|5|to go"];
    stage.sees(A, "SELECT * FROM sale WHERE id = 1;", since, merged)?;
    stage.sees(B, "SELECT * FROM sale WHERE id = 1;", since, merged)
}

fn stranger(stage: &mut Stage<'_>) -> Result<(), Failure> {
    stage.says("A third shell, without the library, writes A's file. B has that row too.")?;
    let since = Instant::now();
    stage.stranger("INSERT INTO sale(item, qty) VALUES('biscuit', 7);")?;
    stage.sees(B, ALL, since, |rows| rows.len() == 5 && rows.iter().any(|row| row.contains("|biscuit|7|")))
}
