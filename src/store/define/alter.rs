//! Tables that change after they were announced: what the user altered here is told, what others altered is taken.
//!
//! A table's definition is merged element by element (see [`crate::schema::element`]): of each the latest change counts,
//! a column that is gone stays gone, and of what a column shows in older rows the earliest word counts. Until a table is
//! altered for the first time its elements follow from its announcement and are kept nowhere.
//!
//! What of all that this database has, and brings about, is the business of [`realize`](super::realize).

use p2pdb_core::body::ColumnId;
use p2pdb_core::clock::Stamp;
use p2pdb_core::codec::{Malformed, Reader};
use p2pdb_core::id::TableId;
use p2pdb_core::record::AuthorNumbers;
use p2pdb_core::value::Value;
use p2pdb_core::writer::GroupWriter;
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::BTreeMap;

use super::armed::follow_rename;
use super::{Definition, ReadError, State, StoreError, columns, dropped, fill, read_listed, realize};
use crate::schema::element::{self, Changes, Element, Elements};
use crate::schema::{self, Column};
use crate::store::authors::Authors;
use crate::store::tables::{Tables, Tracked, column_ids};
use crate::store::{Store, records};

/// A table as it was when it was last looked at.
pub(super) struct Known {
    pub(super) t: i64,
    pub(super) name: String,
    pub(super) state: State,
    pub(super) definition: Vec<u8>,
    /// Ids of its stored columns in the order of their numbers.
    pub(super) columns: Vec<ColumnId>,
    /// Their names here.
    pub(super) names: Vec<String>,
}

pub(super) fn known(conn: &Connection, t: i64) -> Result<Option<Known>, StoreError> {
    let sql = "SELECT name, state, definition, columns, names FROM _p2p_table WHERE t = ?1";
    let known = conn.prepare_cached(sql)?.query_row([t], |row| {
        Ok(Known {
            t,
            name: row.get(0)?,
            state: State::from_i64(row.get(1)?),
            definition: row.get(2)?,
            columns: column_ids(row.get_ref(3)?.as_blob()?),
            names: schema::read_names(&row.get::<_, String>(4)?),
        })
    });
    Ok(known.optional()?)
}

/// Is there the private table that keeps what is altered?
pub(in crate::store) fn has_place(conn: &Connection) -> rusqlite::Result<bool> {
    let sql = "SELECT EXISTS(SELECT 1 FROM main.sqlite_schema WHERE type = 'table' AND name = '_p2p_schema')";
    conn.prepare_cached(sql)?.query_row([], |row| row.get(0))
}

/// What the table is to be, where it was altered; none where it is as it was announced.
pub(super) fn wanted(conn: &Connection, t: i64) -> Result<Option<Elements>, StoreError> {
    let mut statement = conn.prepare_cached("SELECT element, says FROM _p2p_schema WHERE t = ?1")?;
    let mut rows = statement.query([t])?;
    let (mut elements, mut is_altered) = (Elements::new(), false);
    while let Some(row) = rows.next()? {
        is_altered = true;
        let element = Element::read(&mut Reader::new(row.get_ref(0)?.as_blob()?))?;
        if let Some(says) = row.get::<_, Option<Vec<u8>>>(1)? {
            elements.insert(element, says);
        }
    }
    Ok(is_altered.then_some(elements))
}

/// What the columns of an altered table show in rows that are older than they are, as they store it.
pub(in crate::store) fn fills(conn: &Connection, table: &Tracked) -> Result<BTreeMap<usize, Value>, StoreError> {
    let (elements, definition) = (wanted(conn, table.t)?.unwrap_or_default(), Definition::read(&table.definition)?);
    let mut fills = BTreeMap::new();
    for (at, (column, id)) in definition.stored().zip(&table.columns).enumerate() {
        if let Some(says) = elements.get(&Element::Fill(*id)) {
            fills.insert(at, fill::as_shown(column, &element::read_fill(says))?);
        }
    }
    Ok(fills)
}

/// Before its first change a table's elements are those that it was announced with.
pub(super) fn keep_announced(conn: &Connection, known: &Known) -> Result<(), StoreError> {
    let is_kept = "SELECT EXISTS(SELECT 1 FROM _p2p_schema WHERE t = ?1)";
    if conn.prepare_cached(is_kept)?.query_row([known.t], |row| row.get(0))? {
        return Ok(());
    }
    let announced = Definition::read(&known.definition)?.elements(&known.columns);
    let sql = "INSERT INTO _p2p_schema(t, element, says, clock, author, seq, op) VALUES(?1, ?2, ?3, 0, 0, 0, 0)";
    let mut insert = conn.prepare_cached(sql)?;
    for (element, says) in announced {
        insert.execute(params![known.t, element.to_bytes(), says])?;
    }
    Ok(())
}

/// Finds what the user altered since the last look, and keeps it to be told. Returns the numbers of the tables.
pub(in crate::store) fn note_changes(store: &mut Store) -> Result<Vec<i64>, StoreError> {
    let all: Vec<i64> = {
        let mut statement = store.conn.prepare_cached("SELECT t FROM _p2p_table WHERE state IN (0, 1, 4)")?;
        statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?
    };
    let mut altered = Vec::new();
    for t in all {
        let Some(mut known) = known(&store.conn, t)? else { continue };
        known.name = follow_rename(&store.conn, t, &known.name)?;
        let definition = match read_listed(&store.conn, t, &known.name) {
            Ok(definition) => definition,
            Err(ReadError::Missing | ReadError::NotATable(_)) => {
                altered.extend(dropped::note(store, &known, true)?.then_some(t));
                continue;
            }
            Err(ReadError::Sqlite(e)) => return Err(e.into()),
        };
        let is_back = dropped::note(store, &known, false)? || dropped::is_made_anew(&store.conn, &known)?;
        let is_same = definition.to_bytes() == known.definition;
        let is_of_the_host = definition.host_collation().is_some();
        if !is_same && note_change(store, &known, definition)? {
            altered.push(t);
        }
        if is_back {
            if !dropped::is_rebuilt(store, t)? {
                dropped::forget(store, t)?;
            }
            altered.push(t);
        }
        if is_of_the_host {
            continue;
        }
        if (known.state == State::Captured || wanted(&store.conn, t)?.is_some()) && realize::realize(store, t)? {
            altered.push(t);
        }
    }
    Ok(altered)
}

/// A table that could be built only now becomes what it was altered to meanwhile.
pub(in crate::store) fn catch_up(store: &mut Store, t: i64) -> Result<(), StoreError> {
    if wanted(&store.conn, t)?.is_some() { realize::realize(store, t).map(drop) } else { Ok(()) }
}

/// One table, which is otherwise than it was. False if its changes can't be told.
fn note_change(store: &mut Store, known: &Known, now: Definition) -> Result<bool, StoreError> {
    let Ok(before) = Definition::read(&known.definition) else { return Ok(false) };
    if now.to_bytes().len() > p2pdb_core::limit::DEFINITION_BYTES_MAX {
        return Ok(false);
    }
    if known.state == State::Captured && !is_in_log(&store.conn, known.t)? {
        return track_after_all(store, known, &now);
    }
    if known.state != State::New {
        keep_announced(&store.conn, known)?;
    }
    let columns = follow_columns(store, known, &before, &now)?;
    let (old, new) = (before.elements(&known.columns), now.elements(&columns));
    if new.get(&Element::Key) != old.get(&Element::Key) {
        let note = "its PRIMARY KEY is another one than was announced: its changes are captured and not exchanged until it \
                    is as it was; or track it under another name";
        capture_only(&store.conn, known.t, note)?;
        return Ok(false);
    }
    if now.host_collation().is_some() {
        capture_only(&store.conn, known.t, &super::of_the_host(&now))?;
        return Ok(false);
    }
    let mut changes = element::changes(&old, &new);
    // Where columns went, changed places or are of another kind, one under its old name may be another: what rows show tells.
    let is_other = |(element, _): &(Element, _)| matches!(element, Element::Column(id) if known.columns.contains(id));
    let mut must_compare = !columns.starts_with(&known.columns) || changes.iter().any(is_other);
    for (column, id) in now.stored().zip(&columns).filter(|(_, id)| !known.columns.contains(id)) {
        let (fill, is_shown) = fill::of_new(&store.conn, &now, column)?;
        must_compare |= !is_shown;
        changes.push((Element::Fill(*id), Some(element::write_fill(&fill))));
    }
    if known.state != State::New {
        let says = wanted(&store.conn, known.t)?.unwrap_or_default();
        changes.retain(|(element, now)| says.get(element) != now.as_ref());
        let sql = "INSERT OR REPLACE INTO _p2p_schema(t, element, says) VALUES(?1, ?2, ?3)";
        let mut insert = store.conn.prepare_cached(sql)?;
        for (element, says) in &changes {
            insert.execute(params![known.t, element.to_bytes(), says])?;
        }
    }
    columns::settle(store, known, &now, &columns)?;
    // Where triggers are gone all rows are compared when they are armed again.
    if must_compare && super::armed::has_texts(&store.conn, known.t, &now)? {
        super::armed::reconcile(&store.conn, known.t, &now)?;
    }
    Ok(true)
}

/// Is anything known of it but that its changes are captured? Nothing is of one that could not be announced as it was when it was tracked.
fn is_in_log(conn: &Connection, t: i64) -> rusqlite::Result<bool> {
    let sql =
        format!("SELECT EXISTS(SELECT 1 FROM _p2p_schema WHERE t = ?1) OR EXISTS(SELECT 1 FROM {})", records::table(t));
    conn.prepare_cached(&sql)?.query_row([t], |row| row.get(0))
}

/// One that could not be announced, and perhaps can be as it is now. False if not.
fn track_after_all(store: &mut Store, known: &Known, now: &Definition) -> Result<bool, StoreError> {
    let (state, note) = super::standing(now, &now.to_bytes());
    let sql = "UPDATE _p2p_table SET state = ?2, note = ?3 WHERE t = ?1";
    store.conn.execute(sql, params![known.t, state as i64, note])?;
    columns::settle(store, known, now, &super::column_ids(&now.stored_names()))?;
    if state == State::New {
        super::armed::reconcile(&store.conn, known.t, now)?;
    }
    Ok(state == State::New)
}

/// The table is captured and not exchanged, and why.
pub(super) fn capture_only(conn: &Connection, t: i64, note: &str) -> Result<(), StoreError> {
    let sql = "UPDATE _p2p_table SET state = ?2, note = ?3 WHERE t = ?1";
    conn.execute(sql, params![t, State::Captured as i64, note])?;
    Ok(())
}

/// The ids of the stored columns that the table has now. One under its old name is the same; one in the place of another
/// of its type, that shows what that one showed, is that one renamed; the others are new.
fn follow_columns(
    store: &mut Store,
    known: &Known,
    before: &Definition,
    now: &Definition,
) -> Result<Vec<ColumnId>, StoreError> {
    let (old, new): (Vec<_>, Vec<_>) = (before.stored().collect(), now.stored().collect());
    let is_named = |all: &[&Column], name: &str| all.iter().any(|c| c.name.eq_ignore_ascii_case(name));
    let gone = old.iter().zip(&known.columns).filter(|(c, _)| !is_named(&new, &c.name));
    let mut gone: Vec<(&Column, ColumnId)> = gone.map(|(column, id)| (*column, *id)).collect();
    let mut ids: Vec<Option<ColumnId>> = new
        .iter()
        .map(|c| old.iter().zip(&known.columns).find(|(o, _)| o.name.eq_ignore_ascii_case(&c.name)).map(|(_, id)| *id))
        .collect();
    let fresh: Vec<usize> = (0..new.len()).filter(|c| ids[*c].is_none()).collect();
    // Columns that stay keep their order: one that was renamed stands behind the same ones as before.
    let ahead = |all: &[&Column], name: &str, others: &[&Column]| {
        let at = all.iter().position(|c| c.name == name).unwrap_or_default();
        all[..at].iter().filter(|c| is_named(others, &c.name)).count()
    };
    for at in fresh {
        for g in 0..gone.len() {
            let (column, id) = gone[g];
            let is_placed = ahead(&old, &column.name, &new) == ahead(&new, &new[at].name, &old);
            let is_alike = column.declared.eq_ignore_ascii_case(&new[at].declared);
            if is_placed && is_alike && columns::shows_the_same(store, known, now, id, &new[at].name)? {
                ids[at] = Some(id);
                gone.remove(g);
                break;
            }
        }
    }
    let awaited = awaited(&store.conn, known)?;
    let mut taken: Vec<ColumnId> = awaited.iter().map(|(id, _)| *id).chain(known.columns.iter().copied()).collect();
    let mut all = Vec::with_capacity(ids.len());
    for (id, column) in ids.into_iter().zip(&new) {
        // One that could not be made here, made by hand.
        let awaited =
            awaited.iter().find(|(_, name)| name.as_ref().is_some_and(|n| n.eq_ignore_ascii_case(&column.name)));
        let id = id.or(awaited.map(|(id, _)| *id)).unwrap_or_else(|| ColumnId::of(&column.name, &taken));
        taken.push(id);
        all.push(id);
    }
    Ok(all)
}

/// The ids of columns that are not here: with their names those that are to be, without those that are gone for good.
fn awaited(conn: &Connection, known: &Known) -> Result<Vec<(ColumnId, Option<String>)>, StoreError> {
    let mut statement = conn.prepare_cached("SELECT element FROM _p2p_schema WHERE t = ?1")?;
    let mut rows = statement.query([known.t])?;
    let (wanted, mut awaited) = (wanted(conn, known.t)?.unwrap_or_default(), Vec::new());
    while let Some(row) = rows.next()? {
        let Element::Column(id) = Element::read(&mut Reader::new(row.get_ref(0)?.as_blob()?))? else { continue };
        if known.columns.contains(&id) {
            continue;
        }
        let name = wanted.get(&Element::ColumnName(id)).filter(|_| wanted.contains_key(&Element::Column(id)));
        awaited.push((id, name.map(|name| String::from_utf8_lossy(name).into_owned())));
    }
    Ok(awaited)
}

/// Was this table altered since it was announced?
pub(in crate::store) const ALTERED: &str = "EXISTS(SELECT 1 FROM _p2p_schema s WHERE s.t = a.t)";

/// Is a change of this table to be told?
pub(in crate::store) const UNTOLD: &str = "EXISTS(SELECT 1 FROM _p2p_schema s WHERE s.t = a.t AND s.clock IS NULL)";

/// Writes what was altered and is not told yet.
pub(in crate::store) fn tell(
    conn: &Connection,
    authors: &mut Authors,
    group: &mut GroupWriter<'_>,
    t: i64,
    id: TableId,
) -> Result<(), StoreError> {
    let changes: Changes = {
        let mut statement =
            conn.prepare_cached("SELECT element, says FROM _p2p_schema WHERE t = ?1 AND clock IS NULL")?;
        let read = |row: &rusqlite::Row<'_>| Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, Option<Vec<u8>>>(1)?));
        let found = statement.query_map([t], read)?.collect::<rusqlite::Result<Vec<_>>>()?;
        let element = |(element, says): (Vec<u8>, _)| Ok((Element::read(&mut Reader::new(&element))?, says));
        found.into_iter().map(element).collect::<Result<_, Malformed>>()?
    };
    if changes.is_empty() {
        return Ok(());
    }
    let at = group.alter(id, &element::write_changes(&changes));
    let sql = "UPDATE _p2p_schema SET clock = ?2, author = ?3, seq = ?4, op = ?5 WHERE t = ?1 AND clock IS NULL";
    let number = authors.number(&at.author);
    conn.prepare_cached(sql)?.execute(params![t, at.clock.0 as i64, number, at.seq.0 as i64, at.op])?;
    Ok(())
}

/// Takes a change of a table from the log, and brings it about here.
pub(in crate::store) fn apply(store: &mut Store, id: TableId, bytes: &[u8], at: Stamp) -> Result<(), StoreError> {
    // What is no change changes nothing, on any replica.
    let Ok(changes) = element::read_changes(bytes) else { return Ok(()) };
    let sql = "SELECT t FROM _p2p_table WHERE id = ?1";
    let t: Option<i64> = store.conn.prepare_cached(sql)?.query_row([id.0], |row| row.get(0)).optional()?;
    let Some(known) = t.map(|t| known(&store.conn, t)).transpose()?.flatten() else { return Ok(()) };
    merge(store, &known, &changes, Some(at))
}

/// A table that is known was announced once more. What stands there otherwise than here is taken as it would be had both
/// altered one table: but older than any change.
pub(super) fn merge_announced(store: &mut Store, t: i64, columns: &[ColumnId], bytes: &[u8]) -> Result<(), StoreError> {
    let Some(known) = known(&store.conn, t)? else { return Ok(()) };
    let (Ok(ours), Ok(theirs)) = (Definition::read(&known.definition), Definition::read(bytes)) else { return Ok(()) };
    if known.definition == bytes || theirs.stored_names().len() != columns.len() {
        return Ok(());
    }
    let (here, there) = (ours.elements(&known.columns), theirs.elements(columns));
    if here.get(&Element::Key) != there.get(&Element::Key) {
        let note = "a peer announced it with another PRIMARY KEY: what that one wrote there is not shown here";
        store.conn.execute("UPDATE _p2p_table SET note = ?2 WHERE t = ?1", params![t, note])?;
        return Ok(());
    }
    let changes: Changes = there.into_iter().map(|(element, says)| (element, Some(says))).collect();
    merge(store, &known, &changes, None)
}

/// What stands of an element, and since when.
struct Stands {
    says: Option<Vec<u8>>,
    stamp: Option<Stamp>,
}

fn merge(store: &mut Store, known: &Known, changes: &Changes, at: Option<Stamp>) -> Result<(), StoreError> {
    if Definition::read(&known.definition).is_err() {
        return Ok(());
    }
    keep_announced(&store.conn, known)?;
    let (mut has_changed, mut refilled) = (false, Vec::new());
    for (element, says) in changes {
        let stands = stands(store, known.t, element)?;
        if !is_taken(element, stands.as_ref(), says, at) {
            continue;
        }
        let stamp =
            at.map(|at| (at.clock.0 as i64, i64::from(store.authors.number(&at.author)), at.seq.0 as i64, at.op));
        let (clock, author, seq, op) = stamp.unwrap_or_default();
        let sql = "INSERT OR REPLACE INTO _p2p_schema(t, element, says, clock, author, seq, op)
                   VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)";
        let params = params![known.t, element.to_bytes(), says, clock, author, seq, op];
        store.conn.prepare_cached(sql)?.execute(params)?;
        let is_other = stands.and_then(|s| s.says) != *says;
        match element {
            Element::Dropped if is_other && says.is_some() => store.flags.events.note_dropped(known.t),
            Element::Dropped => {}
            _ => has_changed |= is_other,
        }
        refilled.extend(match element {
            // A column's type, and whether it can be NULL, have a say in what it shows.
            Element::Fill(id) | Element::Column(id) if is_other && known.columns.contains(id) => Some(*id),
            _ => None,
        });
    }
    if has_changed && matches!(known.state, State::New | State::Tracked | State::Captured) {
        realize::realize(store, known.t)?;
        store.tables = Tables::load(&store.conn)?;
        refilled.into_iter().try_for_each(|id| columns::refill(store, known.t, id))?;
    }
    Ok(())
}

fn stands(store: &Store, t: i64, element: &Element) -> Result<Option<Stands>, StoreError> {
    let sql = "SELECT says, clock, author, seq, op FROM _p2p_schema WHERE t = ?1 AND element = ?2";
    let read = |row: &rusqlite::Row<'_>| {
        let number: Option<u32> = row.get(2)?;
        let author = number.and_then(|n| store.authors.author(n)).unwrap_or_default();
        let (clock, seq): (Option<i64>, Option<i64>) = (row.get(1)?, row.get(3)?);
        let stamp = clock.filter(|clock| *clock != 0).map(|clock| Stamp {
            clock: p2pdb_core::clock::Clock(clock as u64),
            author,
            seq: p2pdb_core::id::Seq(seq.unwrap_or_default() as u64),
            op: row.get::<_, Option<u32>>(4).ok().flatten().unwrap_or_default(),
        });
        Ok(Stands { says: row.get(0)?, stamp })
    };
    Ok(store.conn.prepare_cached(sql)?.query_row(params![t, element.to_bytes()], read).optional()?)
}

/// Does a change of an element count more than what stands of it? No stamp is that of an announcement, before all others.
fn is_taken(element: &Element, stands: Option<&Stands>, says: &Option<Vec<u8>>, at: Option<Stamp>) -> bool {
    let Some(stands) = stands else { return true };
    match element {
        // What is gone took its values with it.
        Element::Column(_) if stands.says.is_none() => false,
        Element::Column(_) if says.is_none() => true,
        Element::Fill(_) => (at, says) < (stands.stamp, &stands.says),
        _ => (at, says) > (stands.stamp, &stands.says),
    }
}
