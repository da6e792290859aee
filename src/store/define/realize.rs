//! Bringing a table of this database to what it is to be.
//!
//! What SQLite alters in place is altered in place; anything else is made anew: a table as it is to be, the rows copied, the old
//! one dropped. Rows that the new table refuses are hidden with the reason and listed, as those that a merge can't show. Where
//! SQLite does not follow at all the table stays as it is, its changes are captured, and what peers write waits in
//! the log: it is tried again whenever the schema moves.

use p2pdb_core::affinity::Affinity;
use p2pdb_core::body::{Cell, ColumnId};
use p2pdb_core::cellhash::CellHash;
use p2pdb_core::digest;
use p2pdb_core::id::TableId;
use p2pdb_core::merge::{Key, Refusal, Rows};
use p2pdb_core::record::Record;
use p2pdb_core::value::Value;
use rusqlite::{Connection, OptionalExtension, params, params_from_iter};

use super::alter::{Known, capture_only, known, wanted};
use super::{Definition, ReadError, State, StoreError, note_of, read_listed};
use crate::capture;
use crate::quote::Quoted;
use crate::schema::element::{self, Changes, Element, Elements, Sort};
use crate::schema::{Column, Expr};
use crate::store::rows::{BindValue, Shared, SqliteRows, key_of, values_of};
use crate::store::tables::{Tables, merged};
use crate::store::{Store, records};

/// Rows that are looked at to tell a column that was renamed from one that took another's place.
const SAMPLE: usize = 16;

/// The name of a table in the making.
const NEW: &str = "_p2p_new";

/// Why the table can't be as it is to be.
enum Refused {
    Because(String),
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
        let before = (store.digest, store.tables.clone());
        store.conn.execute_batch("SAVEPOINT _p2p_realize")?;
        let outcome = attempt(store, &known, without.then_some(why.as_str()));
        if outcome.is_err() {
            store.conn.execute_batch("ROLLBACK TO _p2p_realize")?;
            (store.digest, store.tables) = before;
            store.flags.reset();
        }
        store.conn.execute_batch("RELEASE _p2p_realize")?;
        match outcome {
            Ok(has_changed) => {
                store.tables = Tables::load(&store.conn)?;
                return Ok(has_changed);
            }
            Err(Refused::Store(e)) => return Err(e),
            Err(Refused::Because(reason)) if why.is_empty() => why = reason,
            Err(Refused::Because(_)) => {}
        }
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
    let (whole, _) = Definition::assemble(&wanted, &here, &known.columns, &is_taken).map_err(Refused::Because)?;
    let wanted_name = whole.name.clone();
    if without.is_some() {
        wanted.retain(|element, _| !matches!(element, Element::Constraint(..)) || now.contains_key(element));
    }
    let assembled = Definition::assemble(&wanted, &here, &known.columns, &is_taken);
    let (target, columns) = assembled.map_err(Refused::Because)?;
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
    let here = read_listed(&store.conn, known.t, &name).map_err(|e| Refused::Because(e.to_string()))?;
    show_fills(store, known, &wanted, &here, &columns)?;
    let mut notes = Vec::new();
    if let Some(why) = without {
        notes.push(format!("here it does without what a peer added: {why}"));
    }
    if !wanted_name.eq_ignore_ascii_case(&name) {
        notes.push(format!("it is named \"{wanted_name}\" elsewhere, which is another table here"));
    }
    notes.extend(Some(note_of(&here)).filter(|note| !note.is_empty()));
    let sql = "UPDATE _p2p_table SET state = CASE state WHEN 4 THEN 1 ELSE state END, note = ?2 WHERE t = ?1";
    store.conn.execute(sql, params![known.t, notes.join(". ")])?;
    settle(store, known, &here, &columns)?;
    if !changes.is_empty() {
        capture::arm(&store.conn, known.t, &here)?;
    }
    if known.state == State::Captured {
        // Nothing was sealed of it meanwhile.
        super::armed::reconcile(&store.conn, known.t, &here)?;
    }
    Ok(!changes.is_empty() || known.state == State::Captured)
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
    super::armed::reconcile(&store.conn, known.t, here)?;
    Ok(true)
}

/// The books follow what the table is now: its columns' numbers and names, its records, its triggers.
pub(super) fn settle(
    store: &mut Store,
    known: &Known,
    now: &Definition,
    columns: &[ColumnId],
) -> Result<(), StoreError> {
    let (conn, t) = (&store.conn, known.t);
    let id: TableId = conn.query_row("SELECT id FROM _p2p_table WHERE t = ?1", [t], |row| row.get(0).map(TableId))?;
    let names = serde_json::Value::from(now.stored_names()).to_string();
    let ids: Vec<u8> = columns.iter().flat_map(|c| c.0).collect();
    let sql = "UPDATE _p2p_table SET name = ?2, names = ?3, columns = ?4, definition = ?5 WHERE t = ?1";
    conn.execute(sql, params![t, now.name, names, ids, now.to_bytes()])?;
    if let Ok(before) = Definition::read(&known.definition) {
        let old = merged(id, &before, &known.columns, &known.names);
        if known.columns.iter().enumerate().any(|(at, id)| columns.get(at) != Some(id)) {
            let new = merged(id, now, columns, &now.stored_names());
            renumber_columns(store, t, &known.columns, columns, &old, &new)?;
        }
    }
    store.tables = Tables::load(&store.conn)?;
    retype(store, known, now, columns)?;
    decide_anew(store, t)?;
    store.retry_table(t)
}

/// Columns of another type show what is in them otherwise.
fn retype(store: &mut Store, known: &Known, now: &Definition, columns: &[ColumnId]) -> Result<(), StoreError> {
    let Ok(before) = Definition::read(&known.definition) else { return Ok(()) };
    let stored = |d: &Definition| d.columns.iter().filter(|c| c.generated.is_none()).cloned().collect::<Vec<_>>();
    let (old, new) = (stored(&before), stored(now));
    let affinity = |all: &[Column], at: usize| all.get(at).map(|c| Affinity::of(&c.declared));
    let is_other = |at: &usize| {
        let was = known.columns.iter().position(|id| Some(id) == columns.get(*at));
        was.is_some_and(|was| affinity(&old, was) != affinity(&new, *at))
    };
    let retyped: Vec<usize> = (0..columns.len()).filter(is_other).collect();
    let Store { conn, tables, authors, hasher, digest, flags, .. } = store;
    let Some(table) = tables.get(known.t).filter(|_| !retyped.is_empty()) else { return Ok(()) };
    let keys = keys(conn, known.t)?;
    let mut rows = SqliteRows::new(Shared { conn, tables, hasher, flags }, table, authors, digest)?;
    rows.merging(|merge| keys.iter().try_for_each(|key| merge.retype(key, &retyped)))
}

/// Where the table's records are kept.
fn keys(conn: &Connection, t: i64) -> Result<Vec<Key>, StoreError> {
    let mut statement = conn.prepare(&format!("SELECT key FROM {}", records::table(t)))?;
    let keys = statement.query_map([], |row| Ok(key_of(row.get_ref(0)?)))?.collect::<rusqlite::Result<Vec<_>>>()?;
    Ok(keys.into_iter().flatten().collect())
}

/// Columns have other numbers, or are gone: so they do in everything that is kept about them.
fn renumber_columns(
    store: &mut Store,
    t: i64,
    from: &[ColumnId],
    to: &[ColumnId],
    old: &p2pdb_core::merge::Table,
    new: &p2pdb_core::merge::Table,
) -> Result<(), StoreError> {
    let place = |c: usize| to.iter().position(|id| Some(id) == from.get(c));
    let table = records::table(t);
    let Store { conn, authors, hasher, digest, .. } = store;
    let mut select = conn.prepare(&format!("SELECT key, record FROM {table}"))?;
    let mut update = conn.prepare(&format!("UPDATE {table} SET record = ?2 WHERE key = ?1"))?;
    let mut rows = select.query([])?;
    let mut changed: Vec<(rusqlite::types::Value, Vec<u8>)> = Vec::new();
    while let Some(row) = rows.next()? {
        let Some(key) = key_of(row.get_ref(0)?) else { continue };
        let record = Record::unpack(row.get_ref(1)?.as_blob()?, authors)?;
        *digest = digest.wrapping_sub(digest::row(old, &key, &record, hasher));
        let record = record.renumbered(&place, to.len());
        *digest = digest.wrapping_add(digest::row(new, &key, &record, hasher));
        let mut packed = Vec::new();
        record.pack(authors, &mut packed);
        changed.push((row.get(0)?, packed));
    }
    for (key, packed) in changed {
        update.execute(params![key, packed])?;
    }
    for book in ["_p2p_conflict", "_p2p_repair", "_p2p_literal"] {
        // First to numbers that none has, then to those that they get.
        for c in 0..from.len() {
            let sql = match place(c) {
                Some(to) => format!("UPDATE {book} SET col = -{} WHERE t = ?1 AND col = {c}", to + 1),
                None => format!("DELETE FROM {book} WHERE t = ?1 AND col = {c}"),
            };
            conn.execute(&sql, [t])?;
        }
        conn.execute(&format!("UPDATE {book} SET col = -col - 1 WHERE t = ?1 AND col < 0"), [t])?;
    }
    Ok(())
}

/// Unique indexes, or the numbers of their columns, may be others now: what rows claim and show is decided anew.
fn decide_anew(store: &mut Store, t: i64) -> Result<(), StoreError> {
    let Store { conn, tables, authors, hasher, digest, flags, .. } = store;
    let Some(table) = tables.get(t) else { return Ok(()) };
    let names = crate::store::unique::all(conn, t)?;
    if names.is_empty() {
        return Ok(());
    }
    for book in ["_p2p_contend", "_p2p_repair"] {
        conn.execute(&format!("DELETE FROM {book} WHERE t = ?1"), [t])?;
    }
    conn.execute("UPDATE _p2p_stuck SET waits = 0 WHERE t = ?1 AND waits = 2", [t])?;
    let shared = Shared { conn, tables, hasher, flags };
    let mut rows = SqliteRows::new(shared, table, authors, digest)?;
    for name in names {
        let Some((key, _)) = rows.merging(|merge| merge.located(&name))? else { continue };
        rows.merging(|merge| merge.retry(&key))?;
    }
    crate::store::apply::follow_up(shared, rows.authors, rows.digest)
}

/// What a column that is new shows in rows that are there: the value and whether SQLite shows it by itself.
pub(super) fn fill(conn: &Connection, table: &Definition, column: &Column) -> Result<(Value, bool), StoreError> {
    let at = table.columns.iter().position(|c| c.name == column.name).unwrap_or_default();
    // What a reference means each database says for itself.
    let is_reference = table.foreign_keys.iter().any(|f| f.columns.contains(&at));
    let default = stored_default(conn, column)?;
    Ok(match default {
        Some(default) if !is_reference && default != Value::Null => (default, true),
        default if column.not_null.is_none() || is_reference => (Value::Null, default == Some(Value::Null)),
        // Rows that are older can't show NULL.
        _ if column.declared.to_ascii_uppercase().contains("BLOB") => (Value::Blob(Vec::new()), false),
        _ if is_text(&column.declared) => (Value::Text(Vec::new()), false),
        _ => (Value::Integer(0), false),
    })
}

fn is_text(declared: &str) -> bool {
    let declared = declared.to_ascii_uppercase();
    ["CHAR", "CLOB", "TEXT"].iter().any(|t| declared.contains(t)) && !declared.contains("INT")
}

/// A constant DEFAULT as a column of this type stores it; NULL where there is none, nothing where it is no constant.
fn stored_default(conn: &Connection, column: &Column) -> Result<Option<Value>, StoreError> {
    let Some(default) = &column.default else { return Ok(Some(Value::Null)) };
    if !default.is_constant() {
        return Ok(None);
    }
    let default = conn.query_row(&format!("SELECT {}", default.sql(&[])), [], |row| values_of(row, 1))?;
    default.first().map(|default| as_stored(column, default)).transpose()
}

/// A value as a column of this type stores it: told by a database in memory, for here statements may be under way.
pub(super) fn as_stored(column: &Column, value: &Value) -> Result<Value, StoreError> {
    if !Affinity::of(&column.declared).may_change(&Cell::from(value)) {
        return Ok(value.clone());
    }
    let conn = Connection::open_in_memory()?;
    conn.execute_batch(&format!("CREATE TABLE stored(c {})", column.declared))?;
    conn.execute("INSERT INTO stored VALUES(?1)", [BindValue(value)])?;
    let mut stored = conn.query_row("SELECT c FROM stored", [], |row| values_of(row, 1))?;
    Ok(stored.pop().unwrap_or(Value::Null))
}

/// Does the column `name` show, in some rows, what the column `id` was sealed with?
pub(super) fn shows_the_same(
    store: &mut Store,
    known: &Known,
    now: &Definition,
    id: ColumnId,
    name: &str,
) -> Result<bool, StoreError> {
    let Some(column) = known.columns.iter().position(|c| *c == id) else { return Ok(false) };
    let key = now.key_columns();
    let key: Vec<String> = key.iter().map(|(c, _)| Quoted(c).to_string()).collect();
    if key.is_empty() {
        return Ok(true);
    }
    // A key that was renamed leaves nothing to find the rows by; it is where it was.
    let old_key = Definition::read(&known.definition)?.key_columns();
    if old_key.iter().any(|(c, _)| c.eq_ignore_ascii_case(&known.names[column])) {
        return Ok(key.len() == old_key.len());
    }
    if now.foreign_keys.iter().any(|f| f.columns.iter().any(|c| now.columns[*c].name == name)) {
        return Ok(true);
    }
    let sql = format!("SELECT key, record FROM {} LIMIT {SAMPLE}", records::table(known.t));
    let by_key: Vec<String> = (1..=key.len()).map(|n| format!("{} = ?{n}", key[n - 1])).collect();
    let find = format!("SELECT {} FROM main.{} WHERE {}", Quoted(name), Quoted(&now.name), by_key.join(" AND "));
    let (mut statement, mut find) = (store.conn.prepare(&sql)?, store.conn.prepare(&find)?);
    let mut rows = statement.query([])?;
    let (mut same, mut other) = (0, 0);
    while let Some(row) = rows.next()? {
        let record = Record::unpack(row.get_ref(1)?.as_blob()?, &store.authors)?;
        let values = match key_of(row.get_ref(0)?) {
            _ if record.is_hidden => continue,
            Some(Key::Id(id)) => vec![Value::Integer(id)],
            Some(Key::Name(bytes)) if !p2pdb_core::name::is_hashed(&bytes) => p2pdb_core::name::key_values(&bytes)?,
            _ => continue,
        };
        if values.len() != key.len() {
            continue;
        }
        let shown =
            find.query_row(params_from_iter(values.iter().map(BindValue)), |row| values_of(row, 1)).optional()?;
        let Some(shown) = shown.and_then(|v| v.into_iter().next()) else { continue };
        let is_same = record.hash(column) == store.hasher.hash(&Cell::from(&shown));
        (same, other) = (same + usize::from(is_same), other + usize::from(!is_same));
    }
    Ok(same >= other)
}

/// Has a table, an index or anything else in the file that name?
fn is_named(conn: &Connection, name: &str) -> rusqlite::Result<bool> {
    let sql = "SELECT EXISTS(SELECT 1 FROM main.sqlite_schema WHERE name = ?1 COLLATE NOCASE)";
    conn.prepare_cached(sql)?.query_row([name], |row| row.get(0))
}

/// The target under a name that is free here: another table that has the name keeps it, and so does this one its own.
fn rename(conn: &Connection, t: i64, here: &Definition, target: Definition) -> Result<Definition, Refused> {
    if here.name.eq_ignore_ascii_case(&target.name) {
        return Ok(Definition { name: here.name.clone(), ..target });
    }
    if is_named(conn, &target.name)? {
        return Ok(Definition { name: here.name.clone(), ..target });
    }
    let sql = format!("ALTER TABLE main.{} RENAME TO {}", Quoted(&here.name), Quoted(&target.name));
    conn.execute_batch(&sql)?;
    conn.execute("UPDATE _p2p_table SET name = ?2 WHERE t = ?1", params![t, target.name])?;
    Ok(target)
}

/// Can SQLite bring all of it about in place?
fn can_alter(changes: &Changes, known: &Known, target: &Definition, columns: &[ColumnId]) -> bool {
    let column = |id: &ColumnId| {
        let stored = target.columns.iter().filter(|c| c.generated.is_none());
        stored.zip(columns).find(|(_, i)| *i == id).map(|(c, _)| c)
    };
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

/// Makes the table anew, as ORMs do it: rows that it refuses are hidden before.
fn rebuild(store: &mut Store, known: &Known, target: &Definition, columns: &[ColumnId]) -> Result<(), Refused> {
    let name = Quoted(&target.name).to_string();
    let triggers: Vec<String> = {
        let sql = "SELECT sql FROM main.sqlite_schema WHERE type = 'trigger' AND tbl_name = ?1 COLLATE NOCASE
                   AND name NOT GLOB '_p2p_*' ORDER BY rowid";
        let mut statement = store.conn.prepare(sql)?;
        statement.query_map([&target.name], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?
    };
    capture::disarm(&store.conn, known.t)?;
    let here = read_listed(&store.conn, known.t, &target.name).map_err(|e| Refused::Because(e.to_string()))?;
    for index in here.uniques.iter().chain(&here.indexes).filter_map(|i| i.name.as_ref()) {
        store.conn.execute_batch(&format!("DROP INDEX main.{}", Quoted(index)))?;
    }
    let making = Definition { name: NEW.into(), ..target.clone() };
    for sql in making.create_sql() {
        store.conn.execute_batch(&sql)?;
    }
    let pairs = copied(store, known, &here, target, columns)?;
    let (into, from): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
    let copy =
        format!("INSERT OR IGNORE INTO main.{NEW}({}) SELECT {} FROM main.{name}", into.join(", "), from.join(", "));
    store.conn.execute_batch(&copy)?;
    keep_shown_otherwise(store, known, &name, target, columns)?;
    hide_refused(store, known, &name, target)?;
    let sequence = sequence(&store.conn, &target.name)?;
    store.conn.execute_batch(&format!("DROP TABLE main.{name}"))?;
    // What refers to the table by name goes on to do so.
    let is_legacy: bool = store.conn.query_row("PRAGMA legacy_alter_table", [], |row| row.get(0))?;
    store.conn.execute_batch("PRAGMA legacy_alter_table=ON")?;
    let renamed = store.conn.execute_batch(&format!("ALTER TABLE main.{NEW} RENAME TO {name}"));
    store.conn.execute_batch(if is_legacy { "" } else { "PRAGMA legacy_alter_table=OFF" })?;
    renamed?;
    for sql in triggers {
        store.conn.execute_batch(&sql)?;
    }
    if let Some(sequence) = sequence {
        let sql = "UPDATE sqlite_sequence SET seq = max(seq, ?2) WHERE name = ?1";
        if store.conn.execute(sql, params![target.name, sequence])? == 0 {
            let sql = "INSERT INTO sqlite_sequence(name, seq) VALUES(?1, ?2)";
            store.conn.execute(sql, params![target.name, sequence])?;
        }
    }
    Ok(())
}

/// Pairs of what is filled and what with: columns by their names, those that are new by what they show in older rows.
fn copied(
    store: &Store,
    known: &Known,
    here: &Definition,
    target: &Definition,
    columns: &[ColumnId],
) -> Result<Vec<(String, String)>, StoreError> {
    let fills = super::alter::fills(&store.conn, known.t, target, columns)?;
    let (old, new) = (here.stored_names(), target.stored_names());
    let mut pairs = Vec::new();
    // Where the rowid is nobody's column it stays as it is: an index beside the table may go by it.
    let takes = |d: &Definition| d.columns.iter().any(|c| c.name.eq_ignore_ascii_case("_rowid_"));
    let is_rowid = target.key.as_ref().is_some_and(|k| k.is_rowid);
    if !target.without_rowid && !here.without_rowid && !is_rowid && !takes(here) && !takes(target) {
        pairs.push(("_rowid_".to_owned(), "_rowid_".to_owned()));
    }
    for (id, name) in columns.iter().zip(&new) {
        let from = match known.columns.iter().position(|c| c == id).and_then(|at| old.get(at)) {
            Some(old) => Quoted(old).to_string(),
            None => literal(fills.get(id).unwrap_or(&Value::Null)),
        };
        pairs.push((Quoted(name).to_string(), from));
    }
    Ok(pairs)
}

/// A value as SQL says it.
fn literal(value: &Value) -> String {
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    match value {
        Value::Null | Value::Ref(_) => "NULL".into(),
        Value::Integer(i) => i.to_string(),
        Value::Real(r) => format!("{r:?}"),
        Value::Text(t) => format!("CAST(x'{}' AS TEXT)", hex(t)),
        Value::Blob(b) => format!("x'{}'", hex(b)),
    }
}

/// Rows of the old table that the new one refused leave it, whole, and are tried again when the new one is in place.
fn hide_refused(store: &mut Store, known: &Known, old: &str, target: &Definition) -> Result<(), Refused> {
    let key: Vec<String> = target.key_columns().iter().map(|(c, _)| Quoted(c).to_string()).collect();
    let joined: Vec<String> = key.iter().map(|c| format!("n.{c} IS o.{c}")).collect();
    let listed: Vec<String> = key.iter().map(|c| format!("o.{c}")).collect();
    let sql = format!(
        "SELECT {} FROM main.{old} o WHERE NOT EXISTS(SELECT 1 FROM main.{NEW} n WHERE {})",
        listed.join(", "),
        joined.join(" AND ")
    );
    let refused: Vec<Vec<Value>> = {
        let mut statement = store.conn.prepare(&sql)?;
        let rows = statement.query_map([], |row| values_of(row, key.len()))?;
        rows.collect::<rusqlite::Result<_>>()?
    };
    if refused.is_empty() {
        return Ok(());
    }
    // Within the old table still: its columns have the numbers that its records go by.
    store.tables = Tables::load(&store.conn)?;
    let Store { conn, tables, authors, hasher, digest, flags, .. } = store;
    let Some(table) = tables.get(known.t) else {
        return Err(Refused::Because(format!("{} of its rows do not fit", refused.len())));
    };
    let shared = Shared { conn, tables, hasher, flags };
    let mut rows = SqliteRows::new(shared, table, authors, digest)?;
    let why = Refusal::constraint("it does not fit the table as it was altered");
    for values in refused {
        let Some(key) = rows.key_shown(&values)? else { continue };
        let Some(state) = rows.merging(|merge| merge.state_of(&key))? else { continue };
        let freed = rows.merging(|merge| merge.take_out(&key, state, &why))?;
        flags.freed.borrow_mut().extend(freed.map(|id| (known.t, id)));
        flags.woke.set(true);
    }
    Ok(())
}

/// Rows that show something else in the new table, for its columns have other types: their records keep what was merged.
fn keep_shown_otherwise(
    store: &mut Store,
    known: &Known,
    old: &str,
    target: &Definition,
    columns: &[ColumnId],
) -> Result<(), Refused> {
    store.tables = Tables::load(&store.conn)?;
    let Store { conn, tables, authors, hasher, digest, flags, .. } = store;
    let Some(table) = tables.get(known.t) else { return Ok(()) };
    let names = target.stored_names();
    let new_name = |id: &ColumnId| columns.iter().position(|c| c == id).and_then(|at| names.get(at));
    let (mut pairs, mut joined) = (Vec::new(), Vec::new());
    for (at, id) in known.columns.iter().enumerate() {
        let (Some(old), Some(new)) = (table.names.get(at), new_name(id)) else { continue };
        let (old, new) = (Quoted(old), Quoted(new));
        pairs.push(format!("n.{new} IS NOT o.{old} OR typeof(n.{new}) <> typeof(o.{old})"));
        if table.key().iter().any(|(c, _)| *c == at) {
            joined.push(format!("n.{new} IS o.{old}"));
        }
    }
    let listed: Vec<String> = table.key().iter().map(|(c, _)| format!("o.{}", Quoted(&table.names[*c]))).collect();
    let (listed, joined, pairs) = (listed.join(", "), joined.join(" AND "), pairs.join(" OR "));
    let sql = format!("SELECT {listed} FROM main.{old} o JOIN main.{NEW} n ON {joined} WHERE {pairs}");
    let shown: Vec<Vec<Value>> = {
        let mut statement = conn.prepare(&sql)?;
        let rows = statement.query_map([], |row| values_of(row, table.key().len()))?;
        rows.collect::<rusqlite::Result<_>>()?
    };
    let mut rows = SqliteRows::new(Shared { conn, tables, hasher, flags }, table, authors, digest)?;
    for values in shown {
        if let Some(key) = rows.key_shown(&values)? {
            rows.merging(|merge| merge.keep_state(&key))?;
        }
    }
    Ok(())
}

fn sequence(conn: &Connection, table: &str) -> rusqlite::Result<Option<i64>> {
    let is_there = "SELECT EXISTS(SELECT 1 FROM main.sqlite_schema WHERE name = 'sqlite_sequence')";
    if !conn.query_row(is_there, [], |row| row.get(0))? {
        return Ok(None);
    }
    conn.query_row("SELECT seq FROM sqlite_sequence WHERE name = ?1", [table], |row| row.get(0)).optional()
}

/// Older rows show what is said of a new column, whatever SQLite put there.
fn show_fills(
    store: &mut Store,
    known: &Known,
    wanted: &Elements,
    here: &Definition,
    columns: &[ColumnId],
) -> Result<(), Refused> {
    let names = here.stored_names();
    for (id, name) in columns.iter().zip(&names).filter(|(id, _)| !known.columns.contains(id)) {
        let fill = wanted.get(&Element::Fill(*id)).map_or(Value::Null, |says| element::read_fill(says));
        let (table, column) = (Quoted(&here.name), Quoted(name));
        let sql = format!("UPDATE OR IGNORE main.{table} SET {column} = ?1 WHERE {column} IS NOT ?1");
        store.conn.execute(&sql, [BindValue(&fill)])?;
    }
    Ok(())
}

/// Rows in which nobody has written a column show something else there than before.
pub(super) fn refill(store: &mut Store, t: i64, id: ColumnId) -> Result<(), StoreError> {
    let Store { conn, tables, authors, hasher, digest, flags, .. } = store;
    let Some(table) = tables.get(t) else { return Ok(()) };
    let Some(column) = table.columns.iter().position(|c| *c == id) else { return Ok(()) };
    let mut unwritten = Vec::new();
    {
        let mut statement = conn.prepare(&format!("SELECT key, record FROM {}", records::table(t)))?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let record = Record::unpack(row.get_ref(1)?.as_blob()?, authors)?;
            if !record.is_hidden && record.hash(column) == CellHash::UNWRITTEN {
                unwritten.extend(key_of(row.get_ref(0)?));
            }
        }
    }
    let shared = Shared { conn, tables, hasher, flags };
    let mut rows = SqliteRows::new(shared, table, authors, digest)?;
    let fill = table.merge.fill(column);
    for key in unwritten {
        if let Some(refusal) = rows.change(&key, &[(column, fill.clone())])? {
            rows.set_stuck(&key, Some(&refusal))?;
        }
    }
    crate::store::apply::follow_up(shared, rows.authors, rows.digest)
}
