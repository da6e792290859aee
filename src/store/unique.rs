//! Rows that claim one value of a unique index: which of them shows it (rule P5), worked out only where SQLite refused a row, or
//! one that holds a claimed value lets it go.
//!
//! A row that raises no constraint error and stands in no book shows its cells: then nothing here runs. A row that does not is
//! a *contender*: the books hold what it claims and what it shows in its place ([`books`]). A refused row pulls in the rows that
//! hold what it claims, and all contenders for what these claim or show, until nothing new comes up ([`component`]); the
//! rule is the core's ([`p2pdb_core::unique`]). What then differs from the table is taken out and put back.

use p2pdb_core::body::Cell;
use p2pdb_core::merge::{Key, Refusal, Rows};
use p2pdb_core::name::Name;
use p2pdb_core::value::Value;
use rusqlite::params;
use std::collections::{BTreeMap, BTreeSet};

use super::StoreError;
use super::authors::Authors;
use super::rows::{Shared, SqliteRows, bind_key, values_of};
use super::tables::Tracked;
use crate::quote::Quoted;

mod books;
mod component;
pub(super) mod index;

pub(super) use books::{all, claims, contenders, is_contender, keep, repairs, strike};
pub(super) use component::{Component, Member, Refused, claims_of};
use index::Unique;

/// How often the places of one component are worked out anew because SQLite refused a derived value: each time there is one less.
const ROUNDS_MAX: usize = 256;

/// The rows of tables that are to be looked at, by table; nothing is noted after it.
pub(super) fn drain(shared: Shared<'_>) -> Result<BTreeMap<i64, BTreeSet<Name>>, StoreError> {
    let mut by_table: BTreeMap<i64, BTreeSet<Name>> = BTreeMap::new();
    for (t, name) in std::mem::take(&mut *shared.flags.contended.borrow_mut()) {
        by_table.entry(t).or_default().insert(name);
    }
    for (t, number, tuple) in std::mem::take(&mut *shared.flags.moved.borrow_mut()) {
        let names = contenders(shared.conn, t, number, &tuple)?;
        if !names.is_empty() {
            by_table.entry(t).or_default().extend(names);
        }
    }
    Ok(by_table)
}

/// Decides anew between rows that met, and all that hang on them, until nothing is left.
pub(super) fn decide(shared: Shared<'_>, authors: &mut Authors, digest: &mut u128) -> Result<(), StoreError> {
    loop {
        let by_table = drain(shared)?;
        if by_table.is_empty() {
            return Ok(());
        }
        decide_between(shared, authors, digest, by_table)?;
    }
}

fn decide_between(
    shared: Shared<'_>,
    authors: &mut Authors,
    digest: &mut u128,
    by_table: BTreeMap<i64, BTreeSet<Name>>,
) -> Result<(), StoreError> {
    for (t, names) in by_table {
        let Some(table) = shared.tables.get(t).filter(|t| !t.uniques.is_empty()) else { continue };
        let mut met = BTreeSet::new();
        let mut rows = SqliteRows::new(shared, table, authors, digest)?;
        let mut left = BTreeSet::new();
        for name in names {
            let is_done = match Component::beside(&mut rows, &name)? {
                Some(component) => {
                    met.insert(name.clone());
                    keep(&mut rows, &component)?;
                    show(&mut rows, component)?.is_empty()
                }
                None => false,
            };
            if !is_done {
                left.insert(name);
            }
        }
        let mut refused = Refused::new();
        for _ in 0..ROUNDS_MAX {
            if left.is_empty() {
                break;
            }
            let component = Component::around(&mut rows, left.iter().cloned(), &refused)?;
            met.extend(component.members.keys().cloned());
            keep(&mut rows, &component)?;
            let news = show(&mut rows, component)?;
            if news.is_empty() {
                break;
            }
            refused.extend(news);
        }
        // What it did to its own rows asks for nothing more.
        let mut news = drain(shared)?;
        if let Some(names) = news.get_mut(&t) {
            names.retain(|name| !met.contains(name));
        }
        let news = news.into_iter().flat_map(|(t, names)| names.into_iter().map(move |name| (t, name)));
        shared.flags.contended.borrow_mut().extend(news);
    }
    Ok(())
}

/// Brings the table to what was decided. Gives the derived values that SQLite refused.
fn show(rows: &mut SqliteRows<'_>, component: Component) -> Result<Refused, StoreError> {
    let (mut refused, mut freed) = (Refused::new(), Vec::new());
    let mut back = Vec::new();
    for (name, member) in component.members {
        let Some(place) = component.places.get(&name) else { continue };
        if let Some(number) = place.hidden_by {
            let why = Refusal::unique(reason(rows.table, number));
            match &member.shown {
                Some(_) => freed.extend(rows.merging(|merge| merge.take_out(&member.key, member.state, &why))?),
                None => rows.set_stuck(&member.key, Some(&why))?,
            }
            continue;
        }
        if !member.differs(place) {
            if member.shown.is_some() {
                // Nothing is in its way: it was tried with what it was written with, and shows another value already.
                rows.set_stuck(&member.key, None)?;
            }
            continue;
        }
        if member.shown.is_some() {
            rows.hide(&member.key)?;
        }
        back.push((name, member.key, member.state));
    }
    // Rows that are there already first: one that was hidden is placed among them.
    back.sort_by_key(|(_, key, _)| matches!(key, Key::Id(id) if *id < 0));
    for (name, key, state) in back {
        rows.merging(|merge| merge.put_back(&key, state))?;
        let located = rows.merging(|merge| merge.located(&name))?;
        if let Some((key, _)) = located.filter(|(_, record)| record.is_hidden)
            && let Some(place) = component.places.get(&name)
        {
            // By something that the rule does not know: it is tried again.
            let sql = "UPDATE _p2p_stuck SET waits = 0 WHERE t = ?1 AND name = ?2 AND waits = 2";
            rows.shared.conn.prepare_cached(sql)?.execute(params![rows.table.t, bind_key(&key)])?;
            refused.extend(place.repairs.iter().map(|(c, value)| (name.clone(), *c, component::bytes_of(value))));
        }
    }
    if rows.table.merge.id_column.is_some() {
        let t = rows.table.t;
        rows.shared.flags.freed.borrow_mut().extend(freed.into_iter().map(|id| (t, id)));
    }
    Ok(refused)
}

/// Rows of the table moved to other ids: what refers to them shows another value now, and claims it.
pub(super) fn follow_moves(rows: &SqliteRows<'_>) -> Result<(), StoreError> {
    let shared = rows.shared;
    for (child, column) in shared.tables.referring(rows.table.t) {
        let is_claimed = child.uniques.iter().any(|unique| unique.has(column));
        if is_claimed && shared.flags.of(shared.conn, child.t)?.contends {
            let names = books::all(shared.conn, child.t)?;
            shared.flags.contended.borrow_mut().extend(names.into_iter().map(|name| (child.t, name)));
        }
    }
    Ok(())
}

/// References to rows that move are about to show other ids. A plain value that is such an id already stands in their way, in a unique
/// index: its row is taken out, and decided about when all is in place.
pub(super) fn make_room(rows: &mut SqliteRows<'_>, child: &Tracked, column: usize) -> Result<(), StoreError> {
    if !child.uniques.iter().any(|unique| unique.has(column)) {
        return Ok(());
    }
    let (columns, width) = (child.sql.key.join(", "), child.sql.key.len());
    let (table, name) = (Quoted(&child.name), Quoted(&child.names[column]));
    let sql = format!(
        "SELECT {columns} FROM main.{table} WHERE {name} IN (SELECT new FROM temp._p2p_move)
         AND {name} NOT IN (SELECT old FROM temp._p2p_move)"
    );
    let shared = rows.shared;
    let mut statement = shared.conn.prepare_cached(&sql)?;
    let found = statement.query_map([], |row| values_of(row, width))?.collect::<rusqlite::Result<Vec<_>>>()?;
    for visible in found {
        let mut below = SqliteRows::new(shared, child, rows.authors, rows.digest)?;
        if let Some(key) = below.key_shown(&visible)? {
            take_out(&mut below, column, &key)?;
        }
    }
    Ok(())
}

/// Takes a row out that is in the way of another in a unique index with that column. Which of them shows what is decided when all
/// is in place.
pub(super) fn take_out(rows: &mut SqliteRows<'_>, column: usize, key: &Key) -> Result<(), StoreError> {
    let Some(state) = rows.merging(|merge| merge.state_of(key))? else { return Ok(()) };
    let number = rows.table.uniques.iter().position(|unique| unique.has(column));
    let why = Refusal::unique(reason(rows.table, number.unwrap_or_default()));
    let freed = rows.merging(|merge| merge.take_out(key, state, &why))?;
    let t = rows.table.t;
    rows.shared.flags.freed.borrow_mut().extend(freed.map(|id| (t, id)));
    Ok(())
}

/// The row of table `parent` with this key is about to go: of the contenders that refer to it in a column those which are hidden
/// wait for it from now on, and given back are the visible keys of the others, which may show NULL there.
pub(super) fn orphans(
    rows: &mut SqliteRows<'_>,
    child: &Tracked,
    column: usize,
    parent: i64,
    value: &Value,
) -> Result<Vec<Vec<Value>>, StoreError> {
    let shared = rows.shared;
    if child.uniques.is_empty() || !shared.flags.of(shared.conn, child.t)?.contends {
        return Ok(Vec::new());
    }
    let Some(meant) = rows.name_shown(parent, value, 0)? else { return Ok(Vec::new()) };
    let mut below = SqliteRows::new(shared, child, rows.authors, rows.digest)?;
    let mut found = Vec::new();
    for (name, key, is_hidden) in referring(&mut below, column, &meant)? {
        if is_hidden && child.merge.weak.contains(&column) {
            below.contend(&name)?;
        } else if is_hidden {
            below.uncontend(&name)?;
            below.set_stuck(&key, Some(&Refusal::no_parent()))?;
        } else {
            found.extend(below.key_params(&key)?);
        }
    }
    Ok(found)
}

/// The contenders that refer to a row in a column: their names and keys, and whether they are hidden.
fn referring(rows: &mut SqliteRows<'_>, column: usize, meant: &Name) -> Result<Vec<(Name, Key, bool)>, StoreError> {
    let mut found = Vec::new();
    for name in books::all(rows.shared.conn, rows.table.t)? {
        let Some((key, record)) = rows.merging(|merge| merge.located(&name))? else { continue };
        let cell = record.state.as_ref().and_then(|state| state.cell(column)).map(|w| w.value);
        if matches!(cell, Some(Value::Ref(name)) if **name == *meant) {
            found.push((name, key, record.is_hidden));
        }
    }
    Ok(found)
}

/// The user changed or deleted a row: contenders that claim what it showed, and those that refer to it, are to be looked at.
pub(super) fn let_go(rows: &mut SqliteRows<'_>, name: &Name) -> Result<(), StoreError> {
    let (shared, t) = (rows.shared, rows.table.t);
    let mut names: Vec<(i64, Name)> = Vec::new();
    if rows.flags().contends {
        names.extend(books::waiting_for(shared.conn, t, name)?.into_iter().map(|name| (t, name)));
        names.extend(is_contender(shared.conn, t, name)?.then(|| (t, name.clone())));
    }
    for (child, column) in shared.tables.referring(t) {
        if shared.flags.of(shared.conn, child.t)?.contends {
            let mut below = SqliteRows::new(shared, child, rows.authors, rows.digest)?;
            names.extend(referring(&mut below, column, name)?.into_iter().map(|(name, ..)| (child.t, name)));
        }
    }
    shared.flags.contended.borrow_mut().extend(names);
    Ok(())
}

/// The columns in which a visible row refers to one that is not there, and shows NULL: its key, and each of them.
pub(super) fn lost_references(rows: &mut SqliteRows<'_>, name: &Name) -> Result<Vec<(Key, usize)>, StoreError> {
    let located = rows.merging(|merge| merge.located(name))?;
    let Some((key, record)) = located.filter(|(_, record)| !record.is_hidden) else { return Ok(Vec::new()) };
    let Some(state) = record.state else { return Ok(Vec::new()) };
    let mut lost = Vec::new();
    for (column, _) in books::repairs(rows.shared.conn, rows.table.t, name)? {
        let Some(cell) = state.cell(column).map(|w| Cell::from(w.value)) else { continue };
        if matches!(cell, Cell::Ref(_)) && rows.resolve([(column, &cell)].into_iter())?.is_err() {
            lost.push((key.clone(), column));
        }
    }
    Ok(lost)
}

/// Why a row is not shown.
fn reason(table: &Tracked, number: usize) -> String {
    let columns = table.uniques.get(number).map(|unique| unique.index.columns.iter().map(|c| table.names[*c].as_str()));
    let columns = columns.into_iter().flatten().collect::<Vec<_>>().join(", ");
    format!("an earlier row holds the same in UNIQUE({columns}), and nothing else can stand in its place")
}

impl SqliteRows<'_> {
    /// A visible row is about to change what it shows, or has just done so: those that claim it are to be looked at.
    pub(super) fn note_shown(&mut self, key: &[Value], columns: Option<&[usize]>) -> Result<(), StoreError> {
        if self.table.uniques.is_empty() || !self.flags().contends {
            return Ok(());
        }
        let table = self.table;
        let is_meant = |unique: &Unique| columns.is_none_or(|columns| columns.iter().any(|c| unique.has(*c)));
        if !table.uniques.iter().any(is_meant) {
            return Ok(());
        }
        let Some(values) = self.visible_by(key)? else { return Ok(()) };
        for (number, _) in table.uniques.iter().enumerate().filter(|(_, unique)| is_meant(unique)) {
            if let Some(tuple) = component::tuple(self, number, &values)? {
                self.shared.flags.moved.borrow_mut().insert((table.t, number, tuple));
            }
        }
        Ok(())
    }
}
