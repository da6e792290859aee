//! Triggers of the user's, on rows that a merge writes.
//!
//! What a trigger did to tracked tables was captured where it ran, and arrives as rows: run again, it would count twice. What
//! it did to a table that is not tracked, an FTS index or a cache, does not arrive: it has to run here. The
//! store's connection has triggers switched off, capture's among them. TEMP triggers run all the same, so each trigger
//! that must run is copied as one ([`decide`] says which). Copies are made anew whenever the schema cookie has moved, inside
//! the transaction that then uses them.
//!
//! A copy never refuses a row: where a statement fails and goes through without the table's copies, the row stands as it was
//! merged, and the failure is noted beside the trigger.

use rusqlite::{Connection, ErrorCode, OptionalExtension, params};
use std::collections::BTreeMap;

use super::{Store, StoreError};
use crate::quote::Quoted;
use crate::schema::trigger::Event;

mod decide;

use decide::{Known, Verdict};

/// What becomes of a trigger on merged rows, as `_p2p_trigger.state` keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i64)]
pub enum TriggerState {
    /// It runs.
    Runs = 0,
    /// It writes tracked tables alone: what it did arrives as rows.
    Arrives = 1,
    /// It writes nothing: it looks at what is written here.
    Checks = 2,
    /// It should run, and can't.
    HeldBack = 3,
    /// The node has not looked at it yet. Never kept.
    New = 4,
}

impl TriggerState {
    pub(super) fn from_i64(state: i64) -> Self {
        match state {
            0 => Self::Runs,
            1 => Self::Arrives,
            2 => Self::Checks,
            _ => Self::HeldBack,
        }
    }
}

/// How the names of copies begin; the trigger's number follows.
const COPY: &str = "_p2p_run_";

/// Numbers of copies that do not run at the moment.
const OFF: &str = "CREATE TEMP TABLE IF NOT EXISTS _p2p_trigger_off(n INTEGER PRIMARY KEY)";

impl Store {
    /// Has the user's triggers run as they should under the schema as it is. Belongs inside a write transaction.
    pub(super) fn copy_triggers(&mut self) -> Result<(), StoreError> {
        let cookie: i64 = self.conn.query_row("PRAGMA schema_version", [], |row| row.get(0))?;
        if self.copied != Some(cookie) {
            copy(&self.conn)?;
            self.copied = Some(cookie);
        }
        Ok(())
    }
}

fn copy(conn: &Connection) -> Result<(), StoreError> {
    remove(conn)?;
    let known = decide::read(conn)?;
    if known.iter().any(|k| k.tracked.is_some()) {
        conn.execute_batch(OFF)?;
    }
    let verdicts = decide::decide(conn, &known)?;
    note(conn, &known, &verdicts)
}

/// Makes the copy of one trigger.
fn make(conn: &Connection, known: &Known) -> rusqlite::Result<()> {
    let Ok(trigger) = &known.trigger else { return Ok(()) };
    let n = known.n;
    let condition = format!("NOT EXISTS(SELECT 1 FROM temp._p2p_trigger_off WHERE n = {n})");
    conn.execute(&trigger.temporary(&format!("{COPY}{n}"), &condition), []).map(drop)
}

fn drop_copy(conn: &Connection, n: i64) -> rusqlite::Result<()> {
    conn.execute_batch(&format!("DROP TRIGGER IF EXISTS temp.{}", Quoted(&format!("{COPY}{n}"))))
}

/// Takes every copy off the connection.
///
/// # Errors
/// SQLite's.
pub fn remove(conn: &Connection) -> rusqlite::Result<()> {
    let sql = "SELECT name FROM sqlite_temp_schema WHERE type = 'trigger' AND name GLOB ?1 || '*'";
    let names: Vec<String> =
        conn.prepare_cached(sql)?.query_map([COPY], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    names.iter().try_for_each(|name| conn.execute_batch(&format!("DROP TRIGGER temp.{}", Quoted(name))))
}

/// Keeps what was decided about the triggers of tracked tables, for whoever asks; what failed so far stays with a trigger
/// that is as it was.
fn note(conn: &Connection, known: &[Known], verdicts: &BTreeMap<i64, Verdict>) -> Result<(), StoreError> {
    conn.execute("UPDATE _p2p_trigger SET n = NULL", [])?;
    let sql = "INSERT INTO _p2p_trigger(name, n, t, event, sql, state, why) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)
               ON CONFLICT(name) DO UPDATE SET n = excluded.n, t = excluded.t, event = excluded.event, state = excluded.state,
                   why = excluded.why, sql = excluded.sql,
                   failed = CASE WHEN sql = excluded.sql AND state = excluded.state THEN failed ELSE 0 END";
    let mut insert = conn.prepare_cached(sql)?;
    for k in known {
        let (Some(t), Some(verdict)) = (k.tracked, verdicts.get(&k.n)) else { continue };
        let event = k.trigger.as_ref().ok().map(|trigger| trigger.event as i64);
        insert.execute(params![k.name, k.n, t, event, k.sql, verdict.state as i64, verdict.why])?;
    }
    conn.execute("DELETE FROM _p2p_trigger WHERE n IS NULL", [])?;
    Ok(())
}

/// No copy runs until the savepoint that was opened last is rolled back.
pub(super) fn switch_off(conn: &Connection) -> rusqlite::Result<()> {
    conn.execute_batch(OFF)?;
    let sql = "INSERT OR IGNORE INTO temp._p2p_trigger_off(n)
               SELECT CAST(substr(name, length(?1) + 1) AS INTEGER) FROM sqlite_temp_schema
               WHERE type = 'trigger' AND name GLOB ?1 || '*'";
    conn.execute(sql, [COPY]).map(drop)
}

/// Runs a statement on rows of table number `t`, and with it the copies. If these make it fail it is run without.
pub(super) fn run(
    conn: &Connection,
    t: i64,
    event: Event,
    mut statement: impl FnMut() -> rusqlite::Result<usize>,
) -> rusqlite::Result<usize> {
    let failure = match statement() {
        Ok(changed) => return Ok(changed),
        Err(failure) => failure,
    };
    if conn.is_autocommit() || failure.sqlite_error_code() == Some(ErrorCode::OperationInterrupted) {
        return Err(failure);
    }
    let copies = running(conn, t, event)?;
    if copies.is_empty() {
        return Err(failure);
    }
    conn.execute_batch("SAVEPOINT _p2p_trigger")?;
    let (outcome, blamed) = run_without(conn, &copies, &mut statement)?;
    conn.execute_batch("RELEASE _p2p_trigger")?;
    for n in blamed.iter().filter(|_| outcome.is_ok()) {
        let sql = "UPDATE _p2p_trigger SET failed = failed + 1, failure = ?2 WHERE n = ?1";
        conn.prepare_cached(sql)?.execute(params![n, failure.to_string()])?;
    }
    outcome
}

/// Tries the statement without any copy, and if that helps without one after the other. Gives those that it went without.
fn run_without(
    conn: &Connection,
    copies: &[i64],
    statement: &mut impl FnMut() -> rusqlite::Result<usize>,
) -> rusqlite::Result<(rusqlite::Result<usize>, Vec<i64>)> {
    let mut outcome = without(conn, copies, statement)?;
    if copies.len() == 1 || outcome.is_err() {
        return Ok((outcome, copies.to_vec()));
    }
    for n in copies {
        conn.execute_batch("ROLLBACK TO _p2p_trigger")?;
        outcome = without(conn, &[*n], statement)?;
        if outcome.is_ok() {
            return Ok((outcome, vec![*n]));
        }
    }
    conn.execute_batch("ROLLBACK TO _p2p_trigger")?;
    outcome = without(conn, copies, statement)?;
    Ok((outcome, copies.to_vec()))
}

fn without(
    conn: &Connection,
    copies: &[i64],
    statement: &mut impl FnMut() -> rusqlite::Result<usize>,
) -> rusqlite::Result<rusqlite::Result<usize>> {
    let mut off = conn.prepare_cached("INSERT INTO temp._p2p_trigger_off(n) VALUES(?1)")?;
    copies.iter().try_for_each(|n| off.execute([n]).map(drop))?;
    let outcome = statement();
    conn.prepare_cached("DELETE FROM temp._p2p_trigger_off")?.execute([])?;
    Ok(outcome)
}

/// Numbers of the copies that fire at `event` in table number `t` and are not switched off.
fn running(conn: &Connection, t: i64, event: Event) -> rusqlite::Result<Vec<i64>> {
    let sql = "SELECT n FROM _p2p_trigger WHERE t = ?1 AND event = ?2 AND state = 0";
    let mut statement = conn.prepare_cached(sql)?;
    let copies: Vec<i64> =
        statement.query_map([t, event as i64], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    if copies.is_empty() {
        return Ok(copies);
    }
    let sql = "SELECT 1 FROM temp._p2p_trigger_off LIMIT 1";
    let is_off: Option<i64> = conn.prepare_cached(sql)?.query_row([], |row| row.get(0)).optional()?;
    Ok(if is_off.is_some() { Vec::new() } else { copies })
}
