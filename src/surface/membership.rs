//! Tracking tables, and being a member of a group: the functions that change a database's standing.

use rusqlite::Connection;
use rusqlite::types::Value;
use std::collections::BTreeMap;

use super::actions::{self, ASK_MS, Call, Outcome};
use super::wal::{self, Switch};
use super::whole::whole;
use crate::node::config;
use crate::node::sidecar::Sidecar;
use crate::store::define::{self, Decision, State};
use crate::store::{self, StoreError};
use p2pdb_core::ticket::Ticket;

/// Milliseconds that an invitation waits for an address to listen on: as for any other answer of the node.
const LISTEN_MS: u64 = ASK_MS;
/// Why a database in memory listens to nobody.
pub(super) const NO_NETWORK: &str = "a database in memory has no network; move entries through p2p_log";

/// Why there is nobody to listen for or to dial.
const SHARES_WITH_NOBODY: &str = "this database shares with nobody yet; call p2p_invite() or p2p_join() first";

/// `p2p_track(table or '*' [, options])`
pub(super) fn track(call: &Call<'_>) -> Outcome {
    let (decisions, switch) = begin_tracking(call)?;
    let mut lines: Vec<_> = decisions.iter().map(|(name, decision)| tell(name, decision)).collect();
    if lines.is_empty() {
        lines.push("no table yet; tables created from now on are tracked".into());
    }
    match switch {
        Switch::Was => {}
        Switch::Now => lines.push("the file is now in WAL mode".into()),
        Switch::Not(why) => lines.push(why),
    }
    Ok(Value::Text(lines.join("\n")))
}

/// Begins to track what the call names. Gives what was decided of each table, and what became of the journal mode.
pub(super) fn begin_tracking(call: &Call<'_>) -> Result<(Vec<(String, Decision)>, Switch), String> {
    let table = call.text(0, "the table")?;
    let options = call.option(1, "the options")?.unwrap_or("{}");
    if call.attached.sidecar().map_err(|e| e.to_string())?.is_none() {
        refuse_lost(call)?;
    }
    let switch = match call.attached.file() {
        Some(file) => wal::switch(call.conn, file, call.attached.is_in_transaction()).map_err(|e| e.to_string())?,
        None => Switch::Was,
    };
    let decisions = whole(call.conn, || {
        store::create_private_tables(call.conn).map_err(|e| e.to_string())?;
        let decisions = begin(call.conn, table, options)?;
        // Last: where the keys can't be kept, nothing is tracked.
        found(call)?;
        Ok(decisions)
    })?;
    call.attached.start().map_err(|e| e.to_string())?;
    Ok((decisions, switch))
}

/// Begins to track one table or all.
fn begin(conn: &Connection, table: &str, options: &str) -> Result<Vec<(String, Decision)>, String> {
    if table != "*" {
        let tracking = define::track(conn, table, options).map_err(|e| strip(&e))?;
        return Ok(vec![(tracking.name.clone(), Decision::Tracked(tracking))]);
    }
    if !matches!(options.trim(), "" | "{}") {
        return Err("'*' takes no options; give them to p2p_track() of one table".into());
    }
    define::track_all(conn).map_err(|e| strip(&e))
}

/// Refuses where the log of a group is here and the keys are not: they are nowhere else, and no other keys fit the log.
pub(super) fn refuse_lost(call: &Call<'_>) -> Result<(), String> {
    if store::group(call.conn).map_err(|e| e.to_string())?.is_none() {
        return Ok(());
    }
    let back = call.attached.file().map(|file| format!("put the file {} back, or ", Sidecar::path(file).display()));
    let back = back.unwrap_or_default();
    Err(format!(
        "the keys of this database are missing; {back}p2p_join(ticket) makes it a new device of its group, with all that is in it"
    ))
}

/// Makes a group of its own for a database that is in none.
fn found(call: &Call<'_>) -> Result<(), String> {
    if call.attached.sidecar().map_err(|e| e.to_string())?.is_some() {
        return Ok(());
    }
    let mut sidecar = Sidecar::found().map_err(|e| e.to_string())?;
    sidecar.config = configured(call)?;
    call.attached.keep(sidecar).map_err(|e| e.to_string())
}

/// A line on one table.
fn tell(name: &str, decision: &Decision) -> String {
    match decision {
        Decision::Skipped(why) => format!("{name}: not tracked: {}", strip_call(why)),
        Decision::Tracked(t) => {
            let what = match (t.state == State::Captured, t.is_new) {
                (true, true) => "captured".to_owned(),
                (true, false) => "captured already".to_owned(),
                (false, true) => format!("tracked, {} rows", t.rows),
                (false, false) => "tracked already".to_owned(),
            };
            if t.note.is_empty() { format!("{name}: {what}") } else { format!("{name}: {what}; {}", t.note) }
        }
    }
}

/// The function's name stands before every error already.
fn strip(error: &StoreError) -> String {
    strip_call(&error.to_string()).to_owned()
}

fn strip_call(text: &str) -> &str {
    ["p2p_track: ", "p2p_untrack: "].iter().find_map(|call| text.strip_prefix(call)).unwrap_or(text)
}

/// `p2p_untrack(table or '*')`
pub(super) fn untrack(call: &Call<'_>) -> Outcome {
    let table = call.text(0, "the table")?;
    let tables = match table {
        "*" => define::tracked(call.conn).map_err(|e| strip(&e))?,
        one => vec![one.to_owned()],
    };
    whole(call.conn, || tables.iter().try_for_each(|t| define::untrack(call.conn, t).map_err(|e| strip(&e))))?;
    Ok(Value::Text(match tables.as_slice() {
        [] => "no table was tracked".to_owned(),
        tables => format!("no longer tracked: {}; rows and history stay", tables.join(", ")),
    }))
}

/// `p2p_invite([role])`
pub(super) fn invite(call: &Call<'_>) -> Outcome {
    if let Some(role) = call.option(0, "the role")?.filter(|r| *r != "writer") {
        return Err(format!("there is no role {role:?} yet; every member is a writer: call p2p_invite()"));
    }
    let Some(mut sidecar) = call.attached.sidecar().map_err(|e| e.to_string())? else {
        refuse_lost(call)?;
        return Err("there is nothing to share yet; call p2p_track() first".into());
    };
    call.refuse_in_transaction()?;
    if !sidecar.is_joined {
        sidecar.is_joined = true;
        call.attached.keep(sidecar.clone()).map_err(|e| e.to_string())?;
        call.attached.start().map_err(|e| e.to_string())?;
        call.attached.reload()?;
    }
    let is_on = call.attached.file().is_some() && config::of("network", &sidecar.config) == "on";
    let addresses = if is_on { call.attached.ask(|node| node.addresses(LISTEN_MS))? } else { Vec::new() };
    Ok(Value::Text(sidecar.ticket(addresses).to_string()))
}

/// `p2p_join(ticket [, options])`
pub(super) fn join(call: &Call<'_>) -> Outcome {
    let ticket = Ticket::parse(call.text(0, "the ticket")?).map_err(|e| e.to_string())?;
    let merges = reads_merge(call.option(1, "the options")?)?;
    call.refuse_in_transaction()?;
    let before = call.attached.sidecar().map_err(|e| e.to_string())?;
    if let Some(before) = &before
        && before.identity().group == ticket.group
    {
        return rejoin(call, before.clone(), &ticket, merges);
    }
    if before.is_none() && store::group(call.conn).map_err(|e| e.to_string())? == Some(ticket.group) {
        return revive(call, &ticket);
    }
    let config = configured(call)?;
    let tracked = prepare(call, before.is_some(), merges)?;
    if let Some(file) = call.attached.file() {
        wal::switch(call.conn, file, false).map_err(|e| e.to_string())?;
    }
    whole(call.conn, || {
        store::create_private_tables(call.conn).map_err(|e| e.to_string())?;
        define::set_existing(call.conn, merges).map_err(|e| e.to_string())?;
        for table in &tracked {
            define::track(call.conn, table, "{}").map_err(|e| e.to_string())?;
        }
        Ok(())
    })?;
    let mut sidecar = Sidecar::join(&ticket).map_err(|e| e.to_string())?;
    sidecar.config = config;
    call.attached.keep(sidecar).map_err(|e| e.to_string())?;
    call.attached.start().map_err(|e| e.to_string())?;
    call.attached.reload()?;
    Ok(Value::Text(format!("joined group {}; schema and rows arrive by themselves", ticket.group)))
}

/// What was configured before, with a group or without.
fn configured(call: &Call<'_>) -> Result<BTreeMap<String, String>, String> {
    Ok(call.attached.settings().map_err(|e| e.to_string())?.map(|s| s.config).unwrap_or_default())
}

/// The group's log and rows are here, the keys are not: a copy of a database, or one whose sidecar was lost. It is a new device
/// that has all that the old one had. Where the old one goes on elsewhere the store finds it out, and writes anew what differs.
fn revive(call: &Call<'_>, ticket: &Ticket) -> Outcome {
    let mut sidecar = Sidecar::join(ticket).map_err(|e| e.to_string())?;
    sidecar.config = configured(call)?;
    call.attached.keep(sidecar).map_err(|e| e.to_string())?;
    call.attached.start().map_err(|e| e.to_string())?;
    call.attached.reload()?;
    Ok(Value::Text(format!("joined group {} again, as a new device; what was here before stays", ticket.group)))
}

/// A ticket to the own group brings addresses, and a newer secret.
fn rejoin(call: &Call<'_>, mut sidecar: Sidecar, ticket: &Ticket, merges: bool) -> Outcome {
    let mut merged = String::new();
    if merges {
        let tables = whole(call.conn, || {
            define::set_existing(call.conn, true).map_err(|e| strip(&e))?;
            define::retry_parked(call.conn).map_err(|e| strip(&e))
        })?;
        merged = match tables.as_slice() {
            [] => "; no table waits to be merged, those that arrive are".to_owned(),
            tables => {
                let names: Vec<_> = tables.iter().map(|(_, name)| name.as_str()).collect();
                format!("; rows merged into the group's: {}", names.join(", "))
            }
        };
    }
    ticket.addresses.iter().for_each(|a| sidecar.remember(a));
    sidecar.is_joined = true;
    call.attached.keep(sidecar).map_err(|e| e.to_string())?;
    call.attached.start().map_err(|e| e.to_string())?;
    call.attached.reload()?;
    Ok(Value::Text(format!("already in group {}; its addresses are noted{merged}", ticket.group)))
}

/// Makes room for another group's log. Gives the tables that were tracked for the one before.
fn prepare(call: &Call<'_>, has_group: bool, merges: bool) -> Result<Vec<String>, String> {
    if !store::has_private_tables(call.conn).map_err(|e| e.to_string())? {
        return Ok(Vec::new());
    }
    let tracked = define::tracked(call.conn).map_err(|e| e.to_string())?;
    let has_rows = define::any_rows(call.conn, &tracked).map_err(|e| e.to_string())?;
    if has_rows && !merges {
        return Err(format!(
            "the tables {} are tracked here and hold rows; p2p_join(ticket, '{{\"existing\":\"merge\"}}') merges them into the group's, \
             p2p_leave() makes this an ordinary database again",
            tracked.join(", ")
        ));
    }
    if has_group {
        call.attached.forget(|| drop_private_tables(call.conn))?;
    } else {
        drop_private_tables(call.conn)?;
    }
    Ok(tracked)
}

fn reads_merge(options: Option<&str>) -> Result<bool, String> {
    let Some(options) = options else { return Ok(false) };
    let options: serde_json::Value =
        serde_json::from_str(options).map_err(|e| format!("the options are not JSON: {e}"))?;
    let allowed = "the options of p2p_join are {\"existing\":\"refuse\"} and {\"existing\":\"merge\"}";
    let map = options.as_object().ok_or(allowed)?;
    if map.keys().any(|k| k != "existing") {
        return Err(allowed.into());
    }
    match map.get("existing").map(|v| v.as_str()) {
        None | Some(Some("refuse")) => Ok(false),
        Some(Some("merge")) => Ok(true),
        Some(_) => Err(allowed.into()),
    }
}

/// `p2p_leave()`
pub(super) fn leave(call: &Call<'_>) -> Outcome {
    call.refuse_in_transaction()?;
    call.attached.forget(|| drop_private_tables(call.conn))?;
    Ok(Value::Text("left; the rows stay, nothing is captured or sent any more".into()))
}

/// `p2p_listen(address)`
pub(super) fn listen(call: &Call<'_>) -> Outcome {
    let address = call.text(0, "the address")?;
    let mut sidecar = joined(call)?;
    let fits = config::check_listen(address).and_then(|()| config::check(config::key("listen")?, address));
    fits.map_err(|e| actions::strip(&e))?;
    sidecar.config.insert("listen".into(), address.to_owned());
    call.attached.keep(sidecar).map_err(|e| e.to_string())?;
    call.attached.reload()?;
    let addresses = call.attached.ask(|node| node.addresses(LISTEN_MS))?;
    Ok(Value::Text(addresses.join("\n")))
}

/// `p2p_connect(address)`
pub(super) fn connect(call: &Call<'_>) -> Outcome {
    let address = call.text(0, "the address")?;
    let mut sidecar = joined(call)?;
    config::check_dial(address).map_err(|e| actions::strip(&e))?;
    sidecar.remember(address);
    call.attached.keep(sidecar).map_err(|e| e.to_string())?;
    call.attached.ask(|node| node.connect(address, ASK_MS)).map(Value::Text)
}

fn joined(call: &Call<'_>) -> Result<Sidecar, String> {
    if call.attached.file().is_none() {
        return Err(NO_NETWORK.into());
    }
    match call.attached.sidecar().map_err(|e| e.to_string())? {
        Some(sidecar) if sidecar.is_joined => call.refuse_in_transaction().map(|()| sidecar),
        Some(_) => Err(SHARES_WITH_NOBODY.into()),
        None => refuse_lost(call).and(Err(SHARES_WITH_NOBODY.into())),
    }
}

fn drop_private_tables(conn: &Connection) -> Result<(), String> {
    whole(conn, || store::drop_private_tables(conn).map_err(|e| e.to_string()))
}
