//! Bringing a table of this database to what it is to be.
//!
//! What SQLite alters in place is altered in place; anything else is made anew: a table as it is to be, the rows copied, the old
//! one dropped. Rows that the new table refuses are hidden with the reason and listed, as those that a merge can't show. Where
//! SQLite does not follow at all the table stays as it is, its changes are captured, and what peers write waits in
//! the log: it is tried again whenever the schema moves.

use p2pdb_core::body::ColumnId;
use p2pdb_core::value::Value;
use rusqlite::{Connection, params};

use super::alter::{Known, capture_only, known, wanted};
use super::columns::settle;
use super::rebuild::rebuild;
use super::{Definition, ReadError, State, StoreError, armed, fill, note_of, read_listed};
use crate::capture;
use crate::quote::Quoted;
use crate::schema::element::{self, Changes, Element, Elements, Sort};
use crate::schema::{Column, Expr};
use crate::store::Store;
use crate::store::rows::BindValue;
use crate::store::tables::Tables;

/// Why the table can't be as it is to be.
pub(super) enum Refused {
    /// In words.
    Because(String),
    /// Not by what it is, but by a failure.
    Store(StoreError),
}

impl From<StoreError> for Refused {
    fn from(e: StoreError) -> Self {
        Self::Store(e)
    }
}

impl From<rusqlite::Error> for Refused {
    fn from(e: rusqlite::Error) -> Self {
        match e.sqlite_error_code() {
            Some(rusqlite::ErrorCode::Unknown | rusqlite::ErrorCode::ConstraintViolation) => {
                Self::Because(e.to_string())
            }
            _ => Self::Store(e.into()),
        }
    }
}

/// Brings table number `t` to what it is to be, or notes why it is not. True if anything was done.
///
/// A constraint or an index that can't be had here does not keep the rows from being exchanged: the table does without.
pub(super) fn realize(store: &mut Store, t: i64) -> Result<bool, StoreError> {
    let Some(known) = known(&store.conn, t)? else { return Ok(false) };
    let mut why = String::new();
    for without in [false, true] {
        let digest = store.digest;
        store.conn.execute_batch("SAVEPOINT _p2p_realize")?;
        let outcome = attempt(store, &known, without.then_some(why.as_str()));
        if outcome.is_err() {
            store.conn.execute_batch("ROLLBACK TO _p2p_realize")?;
            store.digest = digest;
            store.flags.reset();
        }
        store.conn.execute_batch("RELEASE _p2p_realize")?;
        match outcome {
            Ok(false) => return Ok(false),
            Ok(true) => {
                store.tables = Tables::load(&store.conn)?;
                return Ok(true);
            }
            Err(Refused::Store(e)) => return Err(e),
            Err(Refused::Because(reason)) if why.is_empty() => why = reason,
            Err(Refused::Because(_)) => {}
        }
        store.tables = Tables::load(&store.conn)?;
    }
    let note = format!(
        "it was altered by a peer and can't be altered so here: {why}. Until it is, its changes are captured and not exchanged"
    );
    capture_only(&store.conn, t, &note)?;
    store.tables = Tables::load(&store.conn)?;
    Ok(false)
}

/// `without` says why the table must do without constraints and indexes that it does not have yet.
fn attempt(store: &mut Store, known: &Known, without: Option<&str>) -> Result<bool, Refused> {
    let here = match read_listed(&store.conn, known.t, &known.name) {
        Ok(here) => here,
        Err(ReadError::Missing | ReadError::NotATable(_)) => {
            return Err(Refused::Because(format!("the table \"{}\" is not here", known.name)));
        }
        Err(ReadError::Sqlite(e)) => return Err(e.into()),
    };
    let Some(mut wanted) = wanted(&store.conn, known.t)? else { return announced_again(store, known, &here) };
    let now = here.elements(&known.columns);
    if now.get(&Element::Key) != wanted.get(&Element::Key) {
        return Err(Refused::Because("its PRIMARY KEY differs".into()));
    }
    let is_taken = |name: &str| is_named(&store.conn, name).unwrap_or(true);
    if without.is_some() {
        wanted.retain(|element, _| !matches!(element, Element::Constraint(..)) || now.contains_key(element));
    }
    let assembled = Definition::assemble(&wanted, &here, &known.columns, &is_taken);
    let (target, columns) = assembled.map_err(Refused::Because)?;
    let wanted_name = target.name.clone();
    let changes = element::changes(&now, &target.elements(&columns));
    let mut name = here.name.clone();
    if !changes.is_empty() {
        let unlisted: Vec<_> = target.unlisted().into_iter().filter(|why| !here.unlisted().contains(why)).collect();
        if !unlisted.is_empty() {
            let why = unlisted.join("; ");
            return Err(Refused::Because(format!("{why}; alter the table here by hand as it is there")));
        }
        let target = rename(&store.conn, known.t, &here, target)?;
        name.clone_from(&target.name);
        if can_alter(&changes, known, &target, &columns) {
            alter(&store.conn, &here, &known.columns, &target, &columns, &changes)?;
        } else {
            rebuild(store, known, &target, &columns)?;
        }
    }
    let mut notes = Vec::new();
    if let Some(why) = without {
        notes.push(format!("here it does without what a peer added: {why}"));
    }
    if !wanted_name.eq_ignore_ascii_case(&name) {
        notes.push(format!("it is named \"{wanted_name}\" elsewhere, which is another table here"));
    }
    let here = read_listed(&store.conn, known.t, &name).map_err(|e| Refused::Because(e.to_string()))?;
    notes.extend(Some(note_of(&here)).filter(|note| !note.is_empty()));
    let sql = "UPDATE _p2p_table SET state = CASE state WHEN 4 THEN 1 ELSE state END, note = ?2
               WHERE t = ?1 AND (state = 4 OR note <> ?2)";
    store.conn.execute(sql, params![known.t, notes.join(". ")])?;
    if changes.is_empty() && known.state != State::Captured {
        return Ok(false);
    }
    show_fills(store, known, &wanted, &here, &columns)?;
    settle(store, known, &here, &columns)?;
    if !changes.is_empty() {
        capture::arm(&store.conn, known.t, &here)?;
    }
    if known.state == State::Captured {
        // Nothing was sealed of it meanwhile.
        armed::reconcile(&store.conn, known.t, &here)?;
    }
    Ok(true)
}

/// A table that nobody altered, and that is not exchanged since it was not as announced: is it now?
fn announced_again(store: &mut Store, known: &Known, here: &Definition) -> Result<bool, Refused> {
    let Ok(announced) = Definition::read(&known.definition) else { return Ok(false) };
    let renamed = Definition { name: announced.name.clone(), ..here.clone() };
    if known.state != State::Captured || here.key.is_none() || renamed.difference(&announced).is_some() {
        return Ok(false);
    }
    let sql = "UPDATE _p2p_table SET state = 1, note = ?2 WHERE t = ?1";
    store.conn.execute(sql, params![known.t, note_of(here)])?;
    armed::reconcile(&store.conn, known.t, here)?;
    Ok(true)
}

/// Has a table, an index or anything else in the file that name?
fn is_named(conn: &Connection, name: &str) -> rusqlite::Result<bool> {
    let sql = "SELECT EXISTS(SELECT 1 FROM main.sqlite_schema WHERE name = ?1 COLLATE NOCASE)";
    conn.prepare_cached(sql)?.query_row([name], |row| row.get(0))
}

/// The target under a name that is free here: another table that has the name keeps it, and so does this one its own.
fn rename(conn: &Connection, t: i64, here: &Definition, target: Definition) -> Result<Definition, Refused> {
    if here.name.eq_ignore_ascii_case(&target.name) || is_named(conn, &target.name)? {
        return Ok(Definition { name: here.name.clone(), ..target });
    }
    let sql = format!("ALTER TABLE main.{} RENAME TO {}", Quoted(&here.name), Quoted(&target.name));
    conn.execute_batch(&sql)?;
    conn.execute("UPDATE _p2p_table SET name = ?2 WHERE t = ?1", params![t, target.name])?;
    Ok(target)
}

/// Can SQLite bring all of it about in place?
fn can_alter(changes: &Changes, known: &Known, target: &Definition, columns: &[ColumnId]) -> bool {
    let column = |id: &ColumnId| target.stored().zip(columns).find(|(_, i)| *i == id).map(|(c, _)| c);
    let is_new = |id: &ColumnId| !known.columns.contains(id);
    changes.iter().all(|(element, says)| match (element, says) {
        (Element::Name | Element::ColumnName(_) | Element::Constraint(Sort::Index, _), _) => true,
        (Element::Column(_), None) => true,
        (Element::Column(id), Some(_)) => {
            let can_be_null = |c: &Column| c.not_null.is_none() || c.default.is_some();
            is_new(id) && column(id).is_some_and(|c| can_be_null(c) && c.default.as_ref().is_none_or(Expr::is_constant))
        }
        _ => false,
    })
}

/// Has SQLite alter the table in place.
fn alter(
    conn: &Connection,
    here: &Definition,
    here_columns: &[ColumnId],
    target: &Definition,
    columns: &[ColumnId],
    changes: &Changes,
) -> Result<(), Refused> {
    let table = Quoted(&target.name);
    let (old, new) = (here.stored_names(), target.stored_names());
    let here_name = |id: &ColumnId| here_columns.iter().position(|i| i == id).and_then(|at| old.get(at));
    for index in &here.indexes {
        let is_kept = target.indexes.iter().any(|i| i.name == index.name);
        if let Some(name) = index.name.as_ref().filter(|_| !is_kept) {
            conn.execute_batch(&format!("DROP INDEX main.{}", Quoted(name)))?;
        }
    }
    for (element, says) in changes {
        if let (Element::Column(id), None) = (element, says)
            && let Some(name) = here_name(id)
        {
            conn.execute_batch(&format!("ALTER TABLE main.{table} DROP COLUMN {}", Quoted(name)))?;
        }
    }
    // Names may go round in a circle: each goes by one that none has.
    let renamed: Vec<(usize, &String)> = columns
        .iter()
        .zip(&new)
        .enumerate()
        .filter(|(_, (id, name))| here_name(id).is_some_and(|old| old != *name))
        .map(|(at, (_, name))| (at, name))
        .collect();
    for (at, _) in &renamed {
        let old = here_name(&columns[*at]).map_or("", String::as_str);
        conn.execute_batch(&format!("ALTER TABLE main.{table} RENAME COLUMN {} TO _p2p_renamed_{at}", Quoted(old)))?;
    }
    for (at, name) in &renamed {
        conn.execute_batch(&format!("ALTER TABLE main.{table} RENAME COLUMN _p2p_renamed_{at} TO {}", Quoted(name)))?;
    }
    for id in columns.iter().filter(|id| !here_columns.contains(id)) {
        let at = columns.iter().position(|c| c == id).and_then(|at| new.get(at));
        if let Some(sql) = at.and_then(|name| target.add_column_sql(name)) {
            conn.execute_batch(&sql)?;
        }
    }
    for sql in target.index_sqls(|index| !here.indexes.iter().any(|i| i.name == index.name)) {
        conn.execute_batch(&sql)?;
    }
    Ok(())
}

/// Older rows show what is said of a new column, whatever SQLite put there.
fn show_fills(
    store: &mut Store,
    known: &Known,
    wanted: &Elements,
    here: &Definition,
    columns: &[ColumnId],
) -> Result<(), Refused> {
    for (column, id) in here.stored().zip(columns).filter(|(_, id)| !known.columns.contains(id)) {
        let fill = wanted.get(&Element::Fill(*id)).map_or(Value::Null, |says| element::read_fill(says));
        let (fill, table, column) = (fill::as_shown(column, &fill)?, Quoted(&here.name), Quoted(&column.name));
        let sql = format!("UPDATE OR IGNORE main.{table} SET {column} = ?1 WHERE {column} IS NOT ?1");
        store.conn.execute(&sql, [BindValue(&fill)])?;
    }
    Ok(())
}
