//! Where the rows without a key are: their *places*, rowids that mean something on this replica alone.
//!
//! Such a row is named by its birth, and nothing that it shows tells which birth that was. So its record also holds the
//! rowid that it has here. SQLite keeps a rowid while a row is there, and hands it out again only when it is not; but VACUUM and .dump
//! give rows other ones, and so does a table that is made anew. Both are noticed: the first because the list of tables whose
//! places are known is itself such a table, with rowids that it keeps only until then; the second because our triggers are
//! gone. The next seal finds the places again, by what the rows hold (`seal/places.rs`).

use p2pdb_core::id::{AuthorId, Dot, Seq};
use p2pdb_core::merge::Key;
use p2pdb_core::record::Record;
use p2pdb_core::value::Value;
use rusqlite::{Connection, OptionalExtension, params};

use super::rows::{SqliteRows, bind_key, key_of};
use super::{Store, StoreError};

/// The first byte of a birth where keys are kept: none of a key begins so.
pub(super) const BORN: u8 = 7;

/// Rowids from here on are given out by nobody who counts rows.
const FAR: i64 = 1 << 32;

/// The bytes under which the record of a row is kept that was born there: of one author in the order of births, so that they lie
/// close together.
pub(super) fn write_born(dot: &Dot) -> Vec<u8> {
    [&[BORN], &dot.author.0[..], &dot.seq.0.to_be_bytes(), &dot.op.to_be_bytes()].concat()
}

/// The same, read back.
pub(super) fn read_born(bytes: &[u8]) -> Option<Dot> {
    let (author, rest) = bytes.strip_prefix(&[BORN])?.split_at_checked(AuthorId::BYTES)?;
    let (seq, op) = rest.split_at_checked(8)?;
    Some(Dot {
        author: AuthorId::from_slice(author)?,
        seq: Seq(u64::from_be_bytes(seq.try_into().ok()?)),
        op: u32::from_be_bytes(op.try_into().ok()?),
    })
}

/// Are the places of table number `t` known?
pub(super) fn are_known(conn: &Connection, t: i64) -> rusqlite::Result<bool> {
    let sql = "SELECT EXISTS(SELECT 1 FROM _p2p_still WHERE rowid = ?1 AND t = ?2)";
    conn.prepare_cached(sql)?.query_row([FAR + t, t], |row| row.get(0))
}

/// They are from now on.
pub(super) fn set_known(conn: &Connection, t: i64) -> rusqlite::Result<()> {
    set_unknown(conn, t)?;
    conn.prepare_cached("INSERT INTO _p2p_still(rowid, t) VALUES(?1, ?2)")?.execute([FAR + t, t]).map(drop)
}

/// They are no more.
pub(super) fn set_unknown(conn: &Connection, t: i64) -> rusqlite::Result<()> {
    conn.prepare_cached("DELETE FROM _p2p_still WHERE t = ?1")?.execute([t]).map(drop)
}

impl Store {
    /// Tables with rows whose places are not known. Where the schema moved since the triggers were found in place, one without
    /// them counts as made anew.
    pub(super) fn lost_places(&self) -> Result<Vec<i64>, StoreError> {
        let mut lost = Vec::new();
        for table in self.tables.iter().filter(|t| t.merge.has_nameless) {
            let has_trigger = || {
                let sql = "SELECT EXISTS(SELECT 1 FROM main.sqlite_schema
                           WHERE type = 'trigger' AND name = ?1 AND tbl_name = ?2 COLLATE NOCASE)";
                let params = params![format!("_p2p_{}i", table.t), table.name];
                self.conn.prepare_cached(sql)?.query_row(params, |row| row.get::<_, bool>(0))
            };
            let is_tended = self.tended == Some(self.tables.cookie);
            if !are_known(&self.conn, table.t)? || !(is_tended || has_trigger()?) {
                lost.push(table.t);
            }
        }
        Ok(lost)
    }
}

impl SqliteRows<'_> {
    /// The rowid of the row that was born there, if it is in the table.
    pub(super) fn place_of(&mut self, born: &Dot) -> Result<Option<i64>, StoreError> {
        if let Some(place) = self.shared.flags.places.borrow().get(&(self.table.t, *born)) {
            return Ok(*place);
        }
        let mut statement = self.shared.conn.prepare_cached(&self.table.sql.place)?;
        Ok(statement.query_row([write_born(born)], |row| row.get(0)).optional()?.flatten())
    }

    /// The row without a key that has this rowid, if it has a record.
    pub(super) fn standing_at(&mut self, place: i64) -> Result<Option<(Key, Record)>, StoreError> {
        let mut statement = self.shared.conn.prepare_cached(&self.table.sql.standing)?;
        let mut found = statement.query([place])?;
        while let Some(row) = found.next()? {
            let Some(Key::Born(born)) = key_of(row.get_ref(0)?) else { continue };
            let noted = self.shared.flags.places.borrow().get(&(self.table.t, born)).copied();
            if noted.is_none_or(|noted| noted == Some(place)) {
                return Ok(Some((Key::Born(born), Record::unpack(row.get_ref(1)?.as_blob()?, self.authors)?)));
            }
        }
        Ok(None)
    }

    /// The row that was born there has another rowid now.
    pub(super) fn move_place(&mut self, key: &Key, place: i64) -> Result<(), StoreError> {
        self.shared.conn.prepare_cached(&self.table.sql.set_place)?.execute(params![bind_key(key), place])?;
        Ok(())
    }

    /// Notes where a row is, or that it is not in the table any more, until its record is put.
    pub(super) fn note_place(&self, key: &Key, place: Option<i64>) {
        if let Key::Born(born) = key {
            self.shared.flags.places.borrow_mut().insert((self.table.t, *born), place);
        }
    }

    /// What is to be kept as the place of a row whose record is put: its rowid, and whether that is news.
    pub(super) fn noted_place(&self, key: &Key, is_hidden: bool) -> (Option<i64>, bool) {
        let Key::Born(born) = key else { return (None, false) };
        let noted = self.shared.flags.places.borrow_mut().remove(&(self.table.t, *born));
        if is_hidden { (None, true) } else { (noted.flatten(), noted.is_some()) }
    }

    /// The values that find a row by its rowid.
    pub(super) fn at(&self, place: i64) -> Vec<Value> {
        let mut values = vec![Value::Null; self.table.merge.key.len()];
        values.push(Value::Integer(place));
        values
    }
}
