//! The story for a database of the user's: every table tracked, joined from an empty file, and edited on both sides.

use std::time::Instant;

use super::Failure;
use super::edits::{self, Edit, Editor};
use super::stage::{Stage, Who};

use Who::{A, B};

/// Tables that are edited.
const EDITED_TABLES: usize = 3;

/// Plays it.
pub(super) fn play(stage: &mut Stage<'_>) -> Result<(), Failure> {
    stage.says("A opens a copy of your database, B an empty file.")?;
    let is_tracked = edits::is_tracked(&stage.file("a"))?;
    stage.open()?;
    if is_tracked {
        // The keys of its group stay with the original: a copy is nobody's peer.
        stage.types(A, "SELECT p2p_leave();")?;
    }
    stage.says("A tracks every table and invites B. Schema and rows arrive there by themselves.")?;
    stage.types(A, "SELECT p2p_track('*');")?;
    let ticket = stage.types(A, "SELECT p2p_invite();")?.join("");
    let since = Instant::now();
    stage.types(B, &format!("SELECT p2p_join('{ticket}');"))?;
    stage.level(since)?;
    let edits = edits::plan(&stage.file("a"), EDITED_TABLES)?;
    if edits.is_empty() {
        return stage.says("No table has a row and a column that can be edited without knowing what it means.");
    }
    apart(stage, &edits)?;
    stage.says("A third shell, without the library, writes A's file.")?;
    for Edit { sql, .. } in edits.iter().filter(|e| e.editor == Editor::Plain) {
        stage.stranger(sql)?;
    }
    Ok(())
}

fn apart(stage: &mut Stage<'_>, edits: &[Edit]) -> Result<(), Failure> {
    stage.says("The line is down, and both edit: the same rows, rows of their own, new rows under the same id.")?;
    stage.network("off")?;
    for Edit { editor, sql } in edits {
        // What the database's own rules refuse is shown, and no harm.
        match editor {
            Editor::A => stage.tries(A, sql)?,
            Editor::B => stage.tries(B, sql)?,
            Editor::Plain => continue,
        };
    }
    stage.network("on")
}
