//! Where rows without a key are is not known any more: a VACUUM gave them other rowids, or their table was made anew.
//!
//! What they hold tells them: of rows that hold the same the first is taken for the first that did when it was sealed, and so on, in
//! the order of rowids, which a VACUUM keeps. Equal rows are one as good as the other. What is left was changed, deleted or
//! inserted meanwhile: a change is a delete and an insert then, for markers by rowid tell nothing any more.

use p2pdb_core::merge::Key;
use p2pdb_core::record::Record;
use rusqlite::{Connection, params};
use std::collections::{BTreeMap, VecDeque};

use super::batch::Sealing;
use super::nameless::{is_nameless, rowid};
use crate::capture::{DELETED, INSERTED, LOOK, MOVED};
use crate::quote::Quoted;
use crate::store::rows::{SqliteRows, cells_of, key_of};
use crate::store::tables::Tracked;
use crate::store::{StoreError, places, records};

/// A row as it was sealed: where it was then, and where its record is.
type Known = (i64, Key);

impl Sealing<'_, '_> {
    /// Finds the rows of these tables again, and marks those that are gone, and those that are new.
    pub(super) fn find_places(&mut self, tables: &[i64]) -> Result<(), StoreError> {
        for table in tables.iter().filter_map(|t| self.shared.tables.get(*t)) {
            let conn = self.shared.conn;
            drop_markers(conn, table)?;
            self.merge(table, |merge, _| match_rows(merge.rows, table))?;
            places::set_known(conn, table.t)?;
        }
        Ok(())
    }
}

/// Takes markers by rowid away: they say where a row was.
fn drop_markers(conn: &Connection, table: &Tracked) -> Result<(), StoreError> {
    let width = table.merge.key.len();
    if width > 0 {
        // A row that lost its key: the key tells which that was.
        let is_whole = (1..=width).map(|i| format!("o{i} IS NOT NULL")).collect::<Vec<_>>().join(" AND ");
        let keys = (1..=width).map(|i| format!("k{i} = o{i}")).collect::<Vec<_>>().join(", ");
        let sql = format!(
            "UPDATE _p2p_mark SET m = ?2, r = NULL, {keys} WHERE t = ?1 AND m = ?3 AND r IS NOT NULL AND {is_whole}"
        );
        conn.prepare_cached(&sql)?.execute(params![table.t, DELETED, MOVED])?;
    }
    conn.prepare_cached("DELETE FROM _p2p_mark WHERE t = ?1 AND r IS NOT NULL")?.execute([table.t])?;
    Ok(())
}

/// Brings rows and records together, and marks rows and records that are left over.
fn match_rows(rows: &mut SqliteRows<'_>, table: &Tracked) -> Result<(), StoreError> {
    let (conn, t) = (rows.shared.conn, table.t);
    let mut known = known(rows, table)?;
    let (mut moved, mut new) = (Vec::new(), Vec::new());
    {
        let (name, rowid) = (Quoted(&table.name), rowid(table));
        let sql = format!("SELECT {}, {rowid} FROM main.{name} ORDER BY {rowid}", table.sql.names.join(", "));
        let mut statement = conn.prepare_cached(&sql)?;
        let mut found = statement.query([])?;
        while let Some(row) = found.next()? {
            let mut cells = cells_of(row, table.merge.columns)?;
            if !is_nameless(table, &cells) {
                continue;
            }
            let place: i64 = row.get(table.merge.columns)?;
            // What a reference shows may be known by another name, but only while nothing of it is sealed: then the row counts as new.
            rows.name_refs(&mut cells)?;
            let hashes: Vec<u64> = cells.iter().map(|cell| rows.shared.hasher.hash(cell).0).collect();
            match known.get_mut(&hashes).and_then(VecDeque::pop_front) {
                Some((before, key)) if before != place => moved.push((key, place)),
                Some(_) => {}
                None => new.push(place),
            }
        }
    }
    for (key, place) in moved {
        rows.move_place(&key, place)?;
    }
    let mut mark = conn.prepare_cached("INSERT INTO _p2p_mark(t, m, r) VALUES(?1, ?2, ?3)")?;
    for place in new {
        mark.execute(params![t, INSERTED, place])?;
    }
    // Those that are gone are looked for where no row is.
    let mut nowhere = i64::MIN;
    for (_, key) in known.into_values().flatten() {
        while rows.visible_by(&rows.at(nowhere))?.is_some() {
            nowhere += 1;
        }
        rows.move_place(&key, nowhere)?;
        mark.execute(params![t, LOOK, nowhere])?;
        nowhere += 1;
    }
    Ok(())
}

/// The rows as they were sealed, by what they held, in the order of the rowids that they had.
fn known(rows: &SqliteRows<'_>, table: &Tracked) -> Result<BTreeMap<Vec<u64>, VecDeque<Known>>, StoreError> {
    let sql =
        format!("SELECT place, key, record FROM {} WHERE place IS NOT NULL ORDER BY place", records::table(table.t));
    let mut known: BTreeMap<Vec<u64>, VecDeque<Known>> = BTreeMap::new();
    let mut statement = rows.shared.conn.prepare_cached(&sql)?;
    let mut found = statement.query([])?;
    while let Some(row) = found.next()? {
        let Some(key) = key_of(row.get_ref(1)?) else { continue };
        let record = Record::unpack(row.get_ref(2)?.as_blob()?, &*rows.authors)?;
        let hashes = (0..table.merge.columns).map(|c| rows.hash_shown(&record, c).0).collect();
        known.entry(hashes).or_default().push_back((row.get(0)?, key));
    }
    Ok(known)
}
