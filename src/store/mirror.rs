//! Do the tables show what their records say? Rows are found that were changed past the triggers, and marked for the seal.
//!
//! `sqlite3_blob_write` fires no trigger, a connection may have triggers switched off, a tool may write the file by
//! `writable_schema`: none of that leaves a marker. The record of a row has a hash of each column, so a pass over all tables
//! tells such rows. It reads in steps, without the write lock; what it finds is marked as the triggers would have done. A
//! row that was sealed in between costs the seal a look.
//!
//! When a row was changed so can't be told: it counts as changed when it is sealed.

use p2pdb_core::merge::{Key, Rows};
use p2pdb_core::record::Record;
use p2pdb_core::value::Value;
use rusqlite::types::ToSqlOutput;
use rusqlite::{Statement, ToSql, params_from_iter};

use super::rows::{BindValue, Shared, SqliteRows, bind_key, cells_of, key_of, values_of};
use super::tables::Tracked;
use super::{Store, StoreError, places, records, seal};
use crate::capture;
use crate::quote::Quoted;

/// Rows between two looks at the time.
const ROWS: usize = 64;

/// A pass over all tables, and how far it has come.
#[derive(Debug, Default)]
pub struct Pass {
    /// The number of the table that it is at; those before are done.
    t: i64,
    place: Place,
    /// Rows of that table that have a record.
    shown: u64,
    found: Vec<Found>,
}

/// Where in its table a pass goes on.
#[derive(Debug, Default)]
enum Place {
    /// With the first record.
    #[default]
    Begin,
    /// Behind this record.
    Record(Key),
    /// With the first row: there are more rows than records.
    Rows,
    /// Behind the row with this key.
    Row(Vec<Value>),
    /// With the next table.
    End,
}

/// A row to be marked.
#[derive(Debug)]
struct Found {
    t: i64,
    /// What finds it: the key as the table shows it, and the rowid of a row without a key.
    key: Vec<Value>,
    kind: i64,
}

/// How a row differs from its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Difference {
    /// It is not there.
    Gone,
    /// This column has another value.
    Column(usize),
}

impl Pass {
    /// Is there something to be marked?
    pub fn has_found(&self) -> bool {
        !self.found.is_empty()
    }
}

impl Store {
    /// Goes on with a pass while `has_time` says so. True if it is over. Writes nothing; where the user's changes wait to be
    /// sealed it does not go on either.
    ///
    /// # Errors
    /// SQLite's.
    pub fn look_through(&mut self, pass: &mut Pass, mut has_time: impl FnMut() -> bool) -> Result<bool, StoreError> {
        self.refresh_tables()?;
        self.conn.execute_batch("BEGIN")?;
        let outcome = if seal::pending(&self.conn)? > 0 { Ok(false) } else { self.look_on(pass, &mut has_time) };
        self.conn.execute_batch("ROLLBACK")?;
        outcome
    }

    fn look_on(&mut self, pass: &mut Pass, has_time: &mut dyn FnMut() -> bool) -> Result<bool, StoreError> {
        self.flags.reset();
        let Self { conn, tables, authors, hasher, digest, flags, .. } = self;
        let shared = Shared { conn, tables, hasher, flags };
        loop {
            // A table that is to be announced has every row marked.
            let table = tables.iter().filter(|t| !t.is_new).find(|t| t.t >= pass.t);
            let Some(table) = table else { return Ok(true) };
            // A table whose rows are not to be found is compared by the seal, which finds them again.
            if table.merge.has_nameless && !places::are_known(conn, table.t)? {
                (pass.t, pass.place, pass.shown) = (table.t + 1, Place::Begin, 0);
                continue;
            }
            if table.t != pass.t {
                (pass.t, pass.place, pass.shown) = (table.t, Place::Begin, 0);
            }
            let mut rows = SqliteRows::new(shared, table, authors, digest)?;
            while !matches!(pass.place, Place::End) {
                match pass.place {
                    Place::Begin | Place::Record(_) => look_at_records(&mut rows, pass, has_time)?,
                    Place::Rows | Place::Row(_) => look_at_rows(&mut rows, pass, has_time)?,
                    Place::End => {}
                }
                if !has_time() {
                    return Ok(false);
                }
            }
            (pass.t, pass.place, pass.shown) = (table.t + 1, Place::Begin, 0);
        }
    }

    /// Marks what a pass found, for the seal. Gives how many rows these are.
    ///
    /// # Errors
    /// SQLite's; nothing is marked then, and may be again.
    pub fn mark_found(&mut self, pass: &mut Pass) -> Result<usize, StoreError> {
        if pass.found.is_empty() {
            return Ok(0);
        }
        self.write(|store| {
            for Found { t, key, kind } in &pass.found {
                let Some(table) = store.tables.get(*t) else { continue };
                let named = table.key().len();
                let columns = (1..=key.len()).map(|k| if k > named { ", r".to_owned() } else { format!(", k{k}") });
                let columns: String = columns.collect();
                let marks = vec!["?"; key.len() + 2].join(", ");
                let sql = format!("INSERT INTO _p2p_mark(t, m{columns}) VALUES({marks})");
                let head = [Value::Integer(*t), Value::Integer(*kind)];
                store.conn.prepare_cached(&sql)?.execute(params_from_iter(head.iter().chain(key).map(BindValue)))?;
            }
            Ok(())
        })?;
        // The triggers may be gone under the same schema cookie, by `writable_schema`: the next look at them is at what the
        // file says.
        self.conn.execute_batch("PRAGMA writable_schema=RESET")?;
        self.tended = None;
        Ok(std::mem::take(&mut pass.found).len())
    }
}

/// Each record against its row.
fn look_at_records(
    rows: &mut SqliteRows<'_>,
    pass: &mut Pass,
    has_time: &mut dyn FnMut() -> bool,
) -> Result<(), StoreError> {
    let (conn, table) = (rows.shared.conn, rows.table);
    let after = if let Place::Record(key) = &pass.place { Some(key.clone()) } else { None };
    let from = if after.is_some() { "WHERE key > ?1 " } else { "" };
    let sql = format!("SELECT key, record FROM {} {from}ORDER BY key", records::table(table.t));
    let mut statement = conn.prepare_cached(&sql)?;
    let mut select = conn.prepare_cached(&table.sql.select)?;
    let mut records = statement.query(params_from_iter(after.iter().map(KeyOf)))?;
    let mut looked = 0;
    while let Some(row) = records.next()? {
        let Some(key) = key_of(row.get_ref(0)?) else { continue };
        let record = Record::unpack(row.get_ref(1)?.as_blob()?, rows.authors)?;
        match difference(rows, &mut select, &key, &record)? {
            None => pass.shown += u64::from(!record.is_hidden),
            Some(difference) => {
                pass.shown += u64::from(difference != Difference::Gone);
                // Where it can't be told which key a row showed that is gone, nothing can be marked.
                if let Some(key) = rows.key_params(&key)? {
                    pass.found.push(Found { t: table.t, key, kind: capture::LOOK });
                }
            }
        }
        looked += 1;
        if looked % ROWS == 0 && !has_time() {
            pass.place = Place::Record(key);
            return Ok(());
        }
    }
    let sql = format!("SELECT count(*) FROM main.{}{}", Quoted(&table.name), named(table));
    let there: i64 = conn.prepare_cached(&sql)?.query_row([], |row| row.get(0))?;
    pass.place = if there as u64 == pass.shown { Place::End } else { Place::Rows };
    Ok(())
}

/// Each row: has it a record?
fn look_at_rows(
    rows: &mut SqliteRows<'_>,
    pass: &mut Pass,
    has_time: &mut dyn FnMut() -> bool,
) -> Result<(), StoreError> {
    let (conn, table) = (rows.shared.conn, rows.table);
    // Rows that may have no key stand in the order of their rowids.
    let columns = table.sql.key.join(", ");
    let order = table.sql.key.last().filter(|_| table.merge.has_nameless).unwrap_or(&columns);
    let after = match &pass.place {
        Place::Row(values) if table.merge.has_nameless => values.last().cloned().into_iter().collect(),
        Place::Row(values) => values.clone(),
        _ => Vec::new(),
    };
    let marks = vec!["?"; after.len()].join(", ");
    let from = match after.len() {
        0 => named(table),
        1 => format!(" WHERE {order} > {marks}"),
        _ => format!(" WHERE ({order}) > ({marks})"),
    };
    let sql = format!("SELECT {columns} FROM main.{}{from} ORDER BY {order}", Quoted(&table.name));
    let mut statement = conn.prepare_cached(&sql)?;
    let mut visible = statement.query(params_from_iter(after.iter().map(BindValue)))?;
    let mut looked = 0;
    while let Some(row) = visible.next()? {
        let values = values_of(row, table.sql.key.len())?;
        // The seal leaves a row alone that has no name and can have none.
        let is_left = !table.merge.has_nameless && values.contains(&Value::Null);
        if !is_left && !has_record(rows, &values)? {
            pass.found.push(Found { t: table.t, key: values.clone(), kind: capture::INSERTED });
        }
        looked += 1;
        if looked % ROWS == 0 && !has_time() {
            pass.place = Place::Row(values);
            return Ok(());
        }
    }
    pass.place = Place::End;
    Ok(())
}

/// `WHERE …`: the rows that are exchanged.
fn named(table: &Tracked) -> String {
    if table.merge.has_nameless {
        return String::new();
    }
    let named = table.key().iter().map(|(c, _)| format!("{} IS NOT NULL", table.sql.names[*c])).collect::<Vec<_>>();
    format!(" WHERE {}", named.join(" AND "))
}

/// Has the row that shows this key a record? Behind the key stands its rowid where it may have no key.
pub(super) fn has_record(rows: &mut SqliteRows<'_>, shown: &[Value]) -> Result<bool, StoreError> {
    let table = rows.table;
    let key = match rows.key_shown(shown)? {
        Some(Key::Born(_)) => return Ok(true),
        Some(key) => key,
        // A key that is no key of this table; of a table with rows without a key, a place at which none is known.
        None => return Ok(!table.merge.has_nameless),
    };
    if rows.record(&key)?.is_some() {
        return Ok(true);
    }
    if table.merge.id_column.is_some() {
        return Ok(false);
    }
    // A plain value in the key may look like a reference to a row that came later.
    let plain = Key::Name(seal::fold(&shown[..table.key().len()], &table.merge.key));
    Ok(rows.record(&plain)?.is_some())
}

/// How the row of a record differs from it; `select` is the table's own statement. A hidden row is none.
pub(super) fn difference(
    rows: &mut SqliteRows<'_>,
    select: &mut Statement<'_>,
    key: &Key,
    record: &Record,
) -> Result<Option<Difference>, StoreError> {
    if record.is_hidden {
        return Ok(None);
    }
    let table = rows.table;
    let Some(shown) = rows.key_params(key)? else { return Ok(Some(Difference::Gone)) };
    let mut found = select.query(params_from_iter(table.sql.finding(&shown)))?;
    let Some(row) = found.next()? else { return Ok(Some(Difference::Gone)) };
    let mut cells = cells_of(row, table.merge.columns)?;
    rows.name_refs(&mut cells)?;
    for (column, cell) in cells.iter().enumerate() {
        let is_id = table.merge.id_column == Some(column);
        let state = record.state.as_ref().and_then(|s| s.cell(column));
        let is_literal = state.is_some_and(|w| table.refs.contains_key(&column) && !matches!(w.value, Value::Ref(_)));
        let merged = rows.hash_shown(record, column);
        if !is_id && !is_literal && merged != rows.hasher().hash(cell) {
            return Ok(Some(Difference::Column(column)));
        }
    }
    Ok(None)
}

/// A key as SQLite stores it.
struct KeyOf<'k>(&'k Key);

impl ToSql for KeyOf<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(bind_key(self.0))
    }
}
