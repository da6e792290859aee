//! Which triggers run on merged rows.
//!
//! A trigger and those that its statements fire run as a whole or not at all. So for each trigger on a tracked table
//! everything is gathered that it sets off; it runs if none of that writes a tracked table. Whether a copy works on this connection
//! SQLite says: it is made, and a statement that fires it is prepared.

use rusqlite::Connection;
use std::collections::{BTreeMap, BTreeSet};

use super::TriggerState;
use crate::quote::Quoted;
use crate::schema::tokens::has_breaking_conflict_clause;
use crate::schema::trigger::{Event, Trigger};
use crate::store::{StoreError, define};

/// A trigger of the database, not ours.
pub(super) struct Known {
    /// Its row in `sqlite_schema`.
    pub(super) n: i64,
    pub(super) name: String,
    table: String,
    pub(super) sql: String,
    /// The number of the tracked table that it is on.
    pub(super) tracked: Option<i64>,
    pub(super) trigger: Result<Trigger, String>,
}

/// What was decided about a trigger, and why.
pub(super) struct Verdict {
    pub(super) state: TriggerState,
    pub(super) why: String,
}

/// The names by which a trigger's words are judged, in lower case.
struct Names {
    /// Tables whose rows are captured, or are going to be.
    captured: BTreeSet<String>,
    /// Tables of the main database, with their texts.
    tables: BTreeMap<String, String>,
    views: BTreeSet<String>,
    /// Tables and views of this connection alone.
    temporary: BTreeSet<String>,
}

/// Every trigger but ours, the newest first: in that order SQLite lets them fire, and copies in the order in which they are made.
pub(super) fn read(conn: &Connection) -> Result<Vec<Known>, StoreError> {
    let sql = "SELECT s.rowid, s.name, s.tbl_name, s.sql,
                   (SELECT t FROM _p2p_table p WHERE p.name = s.tbl_name COLLATE NOCASE AND p.state IN (0, 1, 4))
               FROM main.sqlite_schema s WHERE s.type = 'trigger' AND substr(s.name, 1, 5) <> '_p2p_' ORDER BY s.rowid DESC";
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query([])?;
    let mut all = Vec::new();
    while let Some(row) = rows.next()? {
        let (name, table): (String, String) = (row.get(1)?, row.get(2)?);
        let sql = String::from_utf8_lossy(row.get_ref(3)?.as_bytes().unwrap_or_default()).into_owned();
        let trigger = Trigger::read(&name, &table, &sql);
        all.push(Known { n: row.get(0)?, name, table, sql, tracked: row.get(4)?, trigger });
    }
    Ok(all)
}

/// Decides, and makes the copies that are to run.
pub(super) fn decide(conn: &Connection, known: &[Known]) -> Result<BTreeMap<i64, Verdict>, StoreError> {
    let mut verdicts = BTreeMap::new();
    if known.iter().all(|k| k.tracked.is_none()) {
        return Ok(verdicts);
    }
    let names = Names::read(conn)?;
    let fired: BTreeMap<i64, Vec<&Known>> =
        known.iter().filter(|k| k.tracked.is_some()).map(|k| (k.n, fires(k, known))).collect();
    for k in known.iter().filter(|k| k.tracked.is_some()) {
        verdicts.insert(k.n, judge(conn, k, &fired[&k.n], &names)?);
    }
    let wanted: BTreeSet<i64> = running(&verdicts, &fired).collect();
    let broken = make(conn, known, &wanted)?;
    for k in known {
        let Some(verdict) = verdicts.get_mut(&k.n).filter(|v| v.state == TriggerState::Runs) else { continue };
        let whole = fired[&k.n].iter().map(|f| (f.n, f.name.as_str()));
        for (n, name) in std::iter::once((k.n, k.name.as_str())).chain(whole) {
            let Some(why) = broken.get(&n) else { continue };
            let by = if n == k.n { String::new() } else { format!("fires \"{name}\", which ") };
            *verdict = held(format!("it {by}can't run here: {why}"));
        }
    }
    let running: BTreeSet<i64> = running(&verdicts, &fired).collect();
    wanted.difference(&running).try_for_each(|n| super::drop_copy(conn, *n))?;
    Ok(verdicts)
}

/// Triggers that run, and those that they fire.
fn running<'a>(
    verdicts: &'a BTreeMap<i64, Verdict>,
    fired: &'a BTreeMap<i64, Vec<&Known>>,
) -> impl Iterator<Item = i64> + 'a {
    let runs = verdicts.iter().filter(|(_, v)| v.state == TriggerState::Runs);
    runs.flat_map(|(n, _)| std::iter::once(*n).chain(fired[n].iter().map(|k| k.n)))
}

/// Every other trigger that a trigger sets off.
fn fires<'k>(first: &'k Known, known: &'k [Known]) -> Vec<&'k Known> {
    let (mut met, mut todo) = (BTreeMap::from([(first.n, first)]), vec![first]);
    while let Some(k) = todo.pop() {
        let Ok(trigger) = &k.trigger else { continue };
        for (table, event) in &trigger.writes {
            // One that can't be read may fire at anything that befalls its table.
            let is_fired = |k: &&Known| {
                k.table.eq_ignore_ascii_case(table) && k.trigger.as_ref().map_or(true, |t| t.event == *event)
            };
            for k in known.iter().filter(is_fired) {
                if met.insert(k.n, k).is_none() {
                    todo.push(k);
                }
            }
        }
    }
    met.remove(&first.n);
    met.into_values().collect()
}

fn held(why: String) -> Verdict {
    Verdict { state: TriggerState::HeldBack, why }
}

/// What is to become of a trigger that fires these others.
fn judge(conn: &Connection, k: &Known, fires: &[&Known], names: &Names) -> Result<Verdict, StoreError> {
    let (mut captured, mut other) = (None, None);
    for k in std::iter::once(&k).chain(fires) {
        let trigger = match &k.trigger {
            Ok(trigger) => trigger,
            Err(why) => return Ok(held(format!("\"{}\": {why}", k.name))),
        };
        for (table, _) in &trigger.writes {
            if names.captured.contains(&table.to_lowercase()) {
                captured.get_or_insert((k.n, &k.name, table));
            } else if !names.views.contains(&table.to_lowercase()) {
                other.get_or_insert(table);
            }
        }
    }
    Ok(match (captured, other) {
        (None, None) => Verdict { state: TriggerState::Checks, why: String::new() },
        (Some(_), None) => Verdict { state: TriggerState::Arrives, why: String::new() },
        (Some((n, name, table)), Some(other)) => {
            let by = if n == k.n { String::new() } else { format!("fires \"{name}\", which ") };
            held(format!("it {by}writes \"{table}\", which is tracked, beside \"{other}\", which is not: make it two"))
        }
        (None, Some(_)) => {
            for part in std::iter::once(&k).chain(fires) {
                let Ok(trigger) = &part.trigger else { continue };
                if let Some(what) = hazard(conn, trigger, part.n == k.n, names)? {
                    let by = if part.n == k.n { String::new() } else { format!("fires \"{}\", which ", part.name) };
                    return Ok(held(format!("it {by}{what}")));
                }
            }
            Verdict { state: TriggerState::Runs, why: String::new() }
        }
    })
}

/// What of a trigger could harm a merge; `is_first`: it fires at merged rows themselves.
fn hazard(conn: &Connection, trigger: &Trigger, is_first: bool, names: &Names) -> Result<Option<String>, StoreError> {
    if trigger.may_ignore && is_first {
        return Ok(Some("may skip the row: it says RAISE(IGNORE)".into()));
    }
    if trigger.may_break {
        return Ok(Some("may end a transaction: it says FAIL or ROLLBACK".into()));
    }
    for (table, _) in &trigger.writes {
        let name = table.to_lowercase();
        match names.tables.get(&name) {
            None if names.views.contains(&name) => {}
            None => return Ok(Some(format!("writes \"{table}\", which is no table of this database"))),
            Some(text) if has_breaking_conflict_clause(text) => {
                return Ok(Some(format!(
                    "may end a transaction: a constraint of \"{table}\" says ON CONFLICT FAIL or ROLLBACK"
                )));
            }
            Some(_) => {}
        }
    }
    if let Some(word) = trigger.words.iter().find(|w| w.starts_with("p2p_") || w.starts_with("_p2p_")) {
        return Ok(Some(format!("names \"{word}\", which is P2PDB's")));
    }
    if let Some(word) = trigger.words.iter().find(|w| names.temporary.contains(*w)) {
        return Ok(Some(format!("names \"{word}\", which is a temporary table as well")));
    }
    // An ordinary trigger can't call a function with SQLITE_DIRECTONLY, a TEMP trigger could. A build of SQLite may have no such
    // list: then none is believed to be harmless.
    let sql = "SELECT EXISTS(SELECT 1 FROM pragma_function_list WHERE name = ?1 COLLATE NOCASE AND flags & 0x80000)";
    let mut is_direct = conn.prepare_cached(sql).ok();
    let mut may_call = |name: &String| match &mut is_direct {
        Some(statement) => statement.query_row([name], |row| row.get::<_, bool>(0)).map(|direct| !direct),
        None => Ok(false),
    };
    for call in &trigger.calls {
        if !may_call(call)? {
            return Ok(Some(format!("calls {call}(), which no trigger may")));
        }
    }
    Ok(None)
}

impl Names {
    fn read(conn: &Connection) -> Result<Self, StoreError> {
        let list = |sql: &str| -> rusqlite::Result<BTreeSet<String>> {
            conn.prepare_cached(sql)?.query_map([], |row| Ok(row.get::<_, String>(0)?.to_lowercase()))?.collect()
        };
        let mut captured = list("SELECT name FROM _p2p_table WHERE state IN (0, 1, 4)")?;
        captured.extend(define::to_be_tracked(conn)?.into_iter().map(|name| name.to_lowercase()));
        let sql = "SELECT name, sql FROM main.sqlite_schema WHERE type = 'table'";
        let mut tables = conn.prepare_cached(sql)?;
        let tables = tables.query_map([], |row| {
            let text = row.get_ref(1)?.as_bytes().unwrap_or_default();
            Ok((row.get::<_, String>(0)?.to_lowercase(), String::from_utf8_lossy(text).into_owned()))
        })?;
        Ok(Self {
            captured,
            tables: tables.collect::<rusqlite::Result<_>>()?,
            views: list("SELECT name FROM main.sqlite_schema WHERE type = 'view'")?,
            temporary: list(
                "SELECT name FROM sqlite_temp_schema WHERE type IN ('table', 'view') AND substr(name, 1, 5) <> '_p2p_'",
            )?,
        })
    }
}

/// Makes the copies. Gives those that do not work here, and why; none of these is left.
fn make(conn: &Connection, known: &[Known], wanted: &BTreeSet<i64>) -> Result<BTreeMap<i64, String>, StoreError> {
    let mut broken = BTreeMap::new();
    let is_instead = |k: &&Known| k.trigger.as_ref().is_ok_and(|t| t.is_instead);
    let wanted = || known.iter().filter(|k| wanted.contains(&k.n));
    // Without those a view can't be written, and may be by any.
    for k in wanted().filter(is_instead) {
        if let Err(e) = super::make(conn, k) {
            broken.insert(k.n, e.to_string());
        }
    }
    for k in wanted() {
        let made = if is_instead(&k) { Ok(()) } else { super::make(conn, k) };
        let works = made.and_then(|()| try_out(conn, k));
        if let Err(e) = works {
            broken.entry(k.n).or_insert_with(|| e.to_string());
            super::drop_copy(conn, k.n)?;
        }
    }
    Ok(broken)
}

/// Has SQLite compile a statement that fires the trigger.
fn try_out(conn: &Connection, k: &Known) -> rusqlite::Result<()> {
    let Ok(trigger) = &k.trigger else { return Ok(()) };
    let table = Quoted(&trigger.table);
    let sql = match trigger.event {
        Event::Insert => format!("INSERT INTO main.{table} DEFAULT VALUES"),
        Event::Delete => format!("DELETE FROM main.{table}"),
        Event::Update => {
            let sql = "SELECT name FROM pragma_table_xinfo(?1, 'main') WHERE hidden = 0";
            let mut columns = conn.prepare_cached(sql)?;
            let columns = columns.query_map([&trigger.table], |row| row.get::<_, String>(0))?;
            let columns: Vec<String> = columns.collect::<rusqlite::Result<_>>()?;
            let set: Vec<_> = columns.iter().map(|c| format!("{0} = {0}", Quoted(c))).collect();
            format!("UPDATE main.{table} SET {}", set.join(", "))
        }
    };
    conn.prepare(&sql).map(drop)
}
