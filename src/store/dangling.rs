//! Visible rows with references to rows that are not visible: what these show meanwhile, and who is shown anew when they come back
//! (rule P2).
//!
//! The record keeps the row that is meant; the table shows NULL, or the row of a default. The book beside it says who is meant, so
//! that a row which comes finds those that refer to it and nobody else is looked at.

use p2pdb_core::body::Cell;
use p2pdb_core::merge::{Key, Rows};
use p2pdb_core::name::Name;
use p2pdb_core::row::RowState;
use p2pdb_core::value::Value;
use rusqlite::{Connection, Params, params};
use std::collections::BTreeSet;

use super::StoreError;
use super::authors::Authors;
use super::reference::Mode;
use super::rows::{Shared, SqliteRows, bind_key, key_of};

/// A reference of a visible row that shows something else.
pub(super) struct Dangling {
    pub(super) t: i64,
    pub(super) key: Key,
    pub(super) column: usize,
}

/// Keeps the list of those of one visible row.
pub(super) fn set(
    rows: &mut SqliteRows<'_>,
    key: &Key,
    name: &Name,
    dangling: &[(usize, Name)],
) -> Result<(), StoreError> {
    let Shared { conn, flags, .. } = rows.shared;
    let t = rows.table.t;
    if rows.flags().dangling {
        let sql = "DELETE FROM _p2p_dangling WHERE t = ?1 AND name = ?2";
        conn.prepare_cached(sql)?.execute(params![t, bind_key(key)])?;
    }
    if dangling.is_empty() {
        return Ok(());
    }
    for (column, meant) in dangling {
        let Some(parent) = rows.table.refs.get(column) else { continue };
        // Another row may hold the reference in a unique index: then that is why it is not shown.
        if !flags.is_leaving.get() && rows.name_shown_as(meant, *parent, 0)?.is_some() {
            continue;
        }
        let sql = "INSERT OR REPLACE INTO _p2p_dangling(t, name, col, parent, meant) VALUES(?1, ?2, ?3, ?4, ?5)";
        conn.prepare_cached(sql)?.execute(params![t, bind_key(key), *column as i64, parent, bytes(meant)])?;
        flags.of(conn, *parent)?;
        flags.raise(*parent, |flags| flags.dangled = true);
        flags.raise(t, |flags| flags.dangling = true);
        if meant == name {
            // It does not find itself before it is there.
            flags.again.borrow_mut().insert((t, name.clone()));
        }
    }
    Ok(())
}

/// A row became visible: those that refer to it and show something else are to be shown anew.
pub(super) fn came(rows: &SqliteRows<'_>, name: &Name) {
    if !rows.table.referring.is_empty() && rows.flags().dangled {
        rows.shared.flags.came.borrow_mut().insert((rows.table.t, name.clone()));
    }
}

/// Rows of the table show other keys than before: a default may mean another row.
pub(super) fn moved(rows: &mut SqliteRows<'_>) -> Result<(), StoreError> {
    if !rows.flags().dangled {
        return Ok(());
    }
    let defaults = with_default(rows.shared, rows.table.t)?;
    note(rows, defaults)
}

/// Those references are to be shown anew.
pub(super) fn note(rows: &mut SqliteRows<'_>, dangling: Vec<Dangling>) -> Result<(), StoreError> {
    let shared = rows.shared;
    for Dangling { t, key, .. } in dangling {
        let Some(table) = shared.tables.get(t) else { continue };
        let mut below = SqliteRows::new(shared, table, rows.authors, rows.digest)?;
        if let Some(record) = below.record(&key)? {
            let name = below.merging(|merge| Ok(merge.name_of(&key, &record)))?;
            shared.flags.again.borrow_mut().insert((t, name));
        }
    }
    Ok(())
}

/// Shows anew what refers to rows that came, or to a default that may mean another row. True if there was any.
pub(super) fn show_again(shared: Shared<'_>, authors: &mut Authors, digest: &mut u128) -> Result<bool, StoreError> {
    let mut any = false;
    loop {
        let came = std::mem::take(&mut *shared.flags.came.borrow_mut());
        let mut parents = BTreeSet::new();
        for (t, name) in came {
            let Some(table) = shared.tables.get(t) else { continue };
            let mut found = meaning(shared.conn, t, &name)?;
            if parents.insert(t) {
                found.extend(with_default(shared, t)?);
            }
            note(&mut SqliteRows::new(shared, table, authors, digest)?, found)?;
        }
        let again = std::mem::take(&mut *shared.flags.again.borrow_mut());
        if again.is_empty() {
            return Ok(any);
        }
        any = true;
        for (t, name) in again {
            let Some(table) = shared.tables.get(t) else { continue };
            let mut rows = SqliteRows::new(shared, table, authors, digest)?;
            if let Some((key, _)) = rows.merging(|merge| merge.located(&name))?.filter(|(_, r)| !r.is_hidden) {
                rows.merging(|merge| merge.retry(&key))?;
            }
        }
    }
}

/// Takes the reference from rows of a table that show one which is about to go: row, columns, and what the row holds as merged.
pub(super) fn let_go(
    rows: &mut SqliteRows<'_>,
    key: &Key,
    columns: &[usize],
    state: RowState,
) -> Result<(), StoreError> {
    let (shared, table) = (rows.shared, rows.table);
    let Some(record) = rows.record(key)? else { return Ok(()) };
    let name = rows.merging(|merge| Ok(merge.name_of(key, &record)))?;
    let freed = if super::unique::is_contender(shared.conn, table.t, &name)? {
        // What it shows hangs on others, and is decided when the row is gone.
        let why = p2pdb_core::merge::Refusal::unique("it is being decided anew");
        rows.merging(|merge| merge.take_out(key, state, &why))?
    } else {
        shared.flags.is_leaving.set(true);
        let freed = rows.merging(|merge| merge.let_dangle(key, columns, state));
        shared.flags.is_leaving.set(false);
        freed?
    };
    shared.flags.freed.borrow_mut().extend(freed.map(|id| (table.t, id)));
    if columns.iter().any(|c| table.modes.get(c).is_some_and(Mode::has_default)) {
        shared.flags.again.borrow_mut().insert((table.t, name));
    }
    Ok(())
}

/// Those that mean a row of table `parent`.
fn meaning(conn: &Connection, parent: i64, name: &Name) -> Result<Vec<Dangling>, StoreError> {
    let sql = "SELECT t, name, col FROM _p2p_dangling WHERE parent = ?1 AND meant = ?2";
    read(conn, sql, params![parent, bytes(name)])
}

/// Those that mean some row of table `parent` and have a default in their place.
fn with_default(shared: Shared<'_>, parent: i64) -> Result<Vec<Dangling>, StoreError> {
    let has_default =
        |(child, column): (&super::tables::Tracked, usize)| child.modes.get(&column).is_some_and(Mode::has_default);
    if !shared.tables.referring(parent).any(has_default) {
        return Ok(Vec::new());
    }
    let mut found = read(shared.conn, "SELECT t, name, col FROM _p2p_dangling WHERE parent = ?1", [parent])?;
    found.retain(|d| shared.tables.get(d.t).is_some_and(|child| has_default((child, d.column))));
    Ok(found)
}

/// All of a table's.
pub(super) fn all(conn: &Connection, t: i64) -> Result<Vec<Dangling>, StoreError> {
    read(conn, "SELECT t, name, col FROM _p2p_dangling WHERE t = ?1 ORDER BY t, name, col", [t])
}

fn read(conn: &Connection, sql: &str, params: impl Params) -> Result<Vec<Dangling>, StoreError> {
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query(params)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let Some(key) = key_of(row.get_ref(1)?) else { continue };
        found.push(Dangling { t: row.get(0)?, key, column: row.get::<_, i64>(2)? as usize });
    }
    Ok(found)
}

fn bytes(name: &Name) -> Vec<u8> {
    let mut bytes = Vec::new();
    name.write(&mut bytes);
    bytes
}

impl SqliteRows<'_> {
    /// What references among the cells show in place of rows that are not visible.
    pub(super) fn standing_in(&mut self, cells: &[Cell<'_>]) -> Result<Vec<(usize, Value)>, StoreError> {
        let (table, is_lenient) = (self.table, self.shared.flags.is_lenient.get());
        let mut found = Vec::new();
        if table.merge.weak.is_empty() && !is_lenient {
            return Ok(found);
        }
        for (column, parent) in &table.refs {
            let mode = table.modes.get(column);
            let is_meant = is_lenient || mode.is_some_and(Mode::is_weak);
            let Some(Cell::Ref(name)) = cells.get(*column).filter(|_| is_meant) else { continue };
            if self.name_shown_as(name, *parent, 0)?.is_some() {
                continue;
            }
            let default = match mode {
                Some(Mode::Weak(default)) if *default != Value::Null => self.name_shown(*parent, default, 0)?,
                _ => None,
            };
            found.push((*column, default.map_or(Value::Null, |name| Value::Ref(Box::new(name)))));
        }
        Ok(found)
    }
}
