//! The rows of one table on SQLite: what the merge and the seal work on.
//!
//! Statements are prepared once a batch and reused row by row. Foreign keys are translated at this border (see
//! [`super::names`]): the log and the records hold names, the table holds ids.

use p2pdb_core::body::Cell;
use p2pdb_core::cellhash::{CellHash, CellHasher};
use p2pdb_core::id::Dot;
use p2pdb_core::merge::{Conflict, Context, Key, Merge, Refusal, Rows, Standing};
use p2pdb_core::name::Name;
use p2pdb_core::record::{AuthorNumbers, Record};
use p2pdb_core::value::Value;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{CachedStatement, Connection, ErrorCode, OptionalExtension, ToSql, ffi, params, params_from_iter};
use std::collections::BTreeMap;

use super::StoreError;
use super::authors::Authors;
use super::flags::Flags;
use super::places::{BORN, read_born, write_born};
use super::tables::{Tables, Tracked};
use super::triggers;
use crate::quote::Quoted;
use crate::schema::trigger::Event;

/// What all tables of a transaction have in common.
#[derive(Clone, Copy)]
pub(super) struct Shared<'c> {
    pub(super) conn: &'c Connection,
    pub(super) tables: &'c Tables,
    pub(super) hasher: &'c CellHasher,
    pub(super) flags: &'c Flags,
}

/// One table's rows within one transaction.
pub(super) struct SqliteRows<'c> {
    pub(super) shared: Shared<'c>,
    pub(super) table: &'c Tracked,
    pub(super) authors: &'c mut Authors,
    pub(super) digest: &'c mut u128,
    pub(super) statements: Statements<'c>,
    /// The last update's columns and statement: changes of one kind come in runs.
    update: Option<(Vec<usize>, CachedStatement<'c>)>,
    /// Prepared by the first that needs it: a connection that only reads does not have the function.
    amend: Option<CachedStatement<'c>>,
    packed: Vec<u8>,
}

pub(super) struct Statements<'c> {
    record: CachedStatement<'c>,
    put: CachedStatement<'c>,
    put_new: CachedStatement<'c>,
    forget: CachedStatement<'c>,
    pub(super) select: CachedStatement<'c>,
    /// Prepared by the first that needs them: they have the user's triggers compiled, which a connection that only reads may
    /// not be able to.
    insert: Option<CachedStatement<'c>>,
    delete: Option<CachedStatement<'c>>,
}

impl<'c> Statements<'c> {
    fn prepare(conn: &'c Connection, table: &Tracked) -> rusqlite::Result<Self> {
        Ok(Self {
            record: conn.prepare_cached(&table.sql.record)?,
            put: conn.prepare_cached(&table.sql.put)?,
            put_new: conn.prepare_cached(&table.sql.put_new)?,
            forget: conn.prepare_cached(&table.sql.forget)?,
            select: conn.prepare_cached(&table.sql.select)?,
            insert: None,
            delete: None,
        })
    }
}

fn prepared<'s, 'c>(
    statement: &'s mut Option<CachedStatement<'c>>,
    conn: &'c Connection,
    sql: &str,
) -> rusqlite::Result<&'s mut CachedStatement<'c>> {
    Ok(match statement {
        Some(statement) => statement,
        None => statement.insert(conn.prepare_cached(sql)?),
    })
}

/// Binds a value as it is, text of any bytes included.
pub(super) struct Bind<'a>(pub(super) &'a Cell<'a>);

impl ToSql for Bind<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self.0 {
            Cell::Null | Cell::Ref(_) | Cell::Long { .. } => ValueRef::Null,
            Cell::Integer(i) => ValueRef::Integer(*i),
            Cell::Real(r) => ValueRef::Real(*r),
            Cell::Text(t) => ValueRef::Text(t),
            Cell::Blob(b) => ValueRef::Blob(b),
        }))
    }
}

/// The same for a whole value.
pub(super) struct BindValue<'a>(pub(super) &'a Value);

impl ToSql for BindValue<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self.0 {
            Value::Null | Value::Ref(_) => ValueRef::Null,
            Value::Integer(i) => ValueRef::Integer(*i),
            Value::Real(r) => ValueRef::Real(*r),
            Value::Text(t) => ValueRef::Text(t),
            Value::Blob(b) => ValueRef::Blob(b),
        }))
    }
}

pub(super) fn value_of(v: ValueRef<'_>) -> Value {
    match v {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(i) => Value::Integer(i),
        ValueRef::Real(r) => Value::Real(r),
        ValueRef::Text(t) => Value::Text(t.to_vec()),
        ValueRef::Blob(b) => Value::Blob(b.to_vec()),
    }
}

/// The first `columns` values of a result row.
pub(super) fn values_of(row: &rusqlite::Row<'_>, columns: usize) -> rusqlite::Result<Vec<Value>> {
    (0..columns).map(|c| row.get_ref(c).map(value_of)).collect()
}

/// The first `columns` values of a result row, borrowed from it.
pub(super) fn cells_of<'r>(row: &'r rusqlite::Row<'_>, columns: usize) -> rusqlite::Result<Vec<Cell<'r>>> {
    let cell = |c| {
        Ok(match row.get_ref(c)? {
            ValueRef::Null => Cell::Null,
            ValueRef::Integer(i) => Cell::Integer(i),
            ValueRef::Real(r) => Cell::Real(r),
            ValueRef::Text(t) => Cell::Text(t),
            ValueRef::Blob(b) => Cell::Blob(b),
        })
    };
    (0..columns).map(cell).collect()
}

/// Did a unique index refuse it?
pub(super) fn is_unique(e: &rusqlite::Error) -> bool {
    e.sqlite_error().is_some_and(|e| e.extended_code == ffi::SQLITE_CONSTRAINT_UNIQUE)
}

/// A key as SQLite stores it.
pub(super) fn bind_key(key: &Key) -> ToSqlOutput<'_> {
    match key {
        Key::Id(id) => ToSqlOutput::Borrowed(ValueRef::Integer(*id)),
        Key::Name(bytes) => ToSqlOutput::Borrowed(ValueRef::Blob(bytes)),
        Key::Born(dot) => ToSqlOutput::from(write_born(dot)),
    }
}

/// The same, read back.
pub(super) fn key_of(v: ValueRef<'_>) -> Option<Key> {
    match v {
        ValueRef::Integer(id) => Some(Key::Id(id)),
        ValueRef::Blob(bytes) if bytes.first() == Some(&BORN) => read_born(bytes).map(Key::Born),
        ValueRef::Blob(bytes) => Some(Key::Name(bytes.into())),
        _ => None,
    }
}

impl<'c> SqliteRows<'c> {
    pub(super) fn new(
        shared: Shared<'c>,
        table: &'c Tracked,
        authors: &'c mut Authors,
        digest: &'c mut u128,
    ) -> Result<Self, StoreError> {
        shared.flags.of(shared.conn, table.t)?;
        let statements = Statements::prepare(shared.conn, table)?;
        Ok(Self { shared, table, authors, digest, statements, update: None, amend: None, packed: Vec::new() })
    }

    /// Works on the rows for no author: what follows from merged state alone.
    pub(super) fn merging<T>(
        &mut self,
        work: impl FnOnce(&mut Merge<'_, Self>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let seen = BTreeMap::new();
        let (clock, author, seq) = Default::default();
        let table = self.table;
        work(&mut Merge {
            table: &table.merge,
            rows: self,
            context: Context { clock, author, seq, seen: &seen },
            absent: &[],
        })
    }

    /// The row as the table has it, as plain SQLite values.
    pub(super) fn visible(&mut self, key: &Key) -> Result<Option<Vec<Value>>, StoreError> {
        match self.key_params(key)? {
            Some(values) => self.visible_by(&values),
            None => Ok(None),
        }
    }

    /// The hash of what a column shows by its record: of what a column shows that nobody has written, where nobody has.
    pub(super) fn hash_shown(&self, record: &Record, column: usize) -> CellHash {
        match record.hash(column) {
            CellHash::UNWRITTEN => self.shared.hasher.hash(&self.table.merge.fill(column)),
            hash => hash,
        }
    }

    /// The row that SQLite finds under these key values.
    pub(super) fn visible_by(&mut self, key: &[Value]) -> Result<Option<Vec<Value>>, StoreError> {
        let columns = self.table.merge.columns;
        let key = params_from_iter(self.table.sql.finding(key));
        Ok(self.statements.select.query_row(key, |row| values_of(row, columns)).optional()?)
    }

    /// Takes the row that SQLite finds under these key values out of the table.
    pub(super) fn delete(&mut self, key: &[Value]) -> Result<(), StoreError> {
        self.note_shown(key, None)?;
        let Self { shared, table, statements, .. } = self;
        let delete = prepared(&mut statements.delete, shared.conn, &table.sql.delete)?;
        triggers::run(shared.conn, table.t, Event::Delete, || {
            delete.execute(params_from_iter(table.sql.finding(key)))
        })?;
        Ok(())
    }

    /// The record of a row of any table, if it has one.
    pub(super) fn record_of(&mut self, t: i64, key: &Key) -> Result<Option<Record>, StoreError> {
        let Shared { conn, tables, flags, .. } = self.shared;
        let Some(table) = tables.get(t) else { return Ok(None) };
        // Most rows that are new have an id that is: above all that have a record nothing has to be looked up.
        if let Key::Id(id) = key
            && *id > flags.last_id(conn, table)?
        {
            return Ok(None);
        }
        let authors = &*self.authors;
        let read = |row: &rusqlite::Row<'_>| Ok(Record::unpack(row.get_ref(0)?.as_blob()?, authors));
        let found = match t == self.table.t {
            true => self.statements.record.query_row([bind_key(key)], read),
            false => conn.prepare_cached(&table.sql.record)?.query_row([bind_key(key)], read),
        };
        Ok(found.optional()?.transpose()?)
    }

    pub(super) fn flags(&self) -> super::flags::TableFlags {
        // Read in `new`: no query follows.
        self.shared.flags.of(self.shared.conn, self.table.t).unwrap_or_default()
    }

    fn raise(&self, raise: impl FnOnce(&mut super::flags::TableFlags)) {
        self.shared.flags.raise(self.table.t, raise);
    }

    /// Packs a record that is to be kept under a key.
    fn pack(&mut self, key: &Key, record: &Record) {
        if let Key::Id(id) = key {
            self.shared.flags.note_id(self.table.t, *id);
        }
        self.packed.clear();
        record.pack(self.authors, &mut self.packed);
    }

    fn insert(&mut self, cells: &[Cell<'_>]) -> rusqlite::Result<usize> {
        let Self { shared, table, statements, .. } = self;
        let insert = prepared(&mut statements.insert, shared.conn, &table.sql.insert)?;
        triggers::run(shared.conn, table.t, Event::Insert, || insert.execute(params_from_iter(cells.iter().map(Bind))))
    }

    /// What a statement on the visible row came to. A constraint that refuses it is no failure.
    fn attempt(outcome: rusqlite::Result<usize>) -> Result<Option<Refusal>, StoreError> {
        match outcome {
            Ok(_) => Ok(None),
            Err(rusqlite::Error::SqliteFailure(e, message))
                if matches!(e.code, ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch | ErrorCode::TooBig)
                    || (e.code == ErrorCode::Unknown && message.is_some()) =>
            {
                let why = message.unwrap_or_else(|| e.to_string());
                Ok(Some(if e.extended_code == ffi::SQLITE_CONSTRAINT_UNIQUE {
                    Refusal::unique(why)
                } else {
                    Refusal::constraint(why)
                }))
            }
            Err(e) => Err(e.into()),
        }
    }
}

impl Rows for SqliteRows<'_> {
    type Error = StoreError;

    fn record(&mut self, key: &Key) -> Result<Option<Record>, StoreError> {
        self.record_of(self.table.t, key)
    }

    fn put(&mut self, key: &Key, record: &Record) -> Result<(), StoreError> {
        self.pack(key, record);
        if self.table.merge.has_nameless {
            let (place, is_news) = self.noted_place(key, record.is_hidden);
            self.statements.put.execute(params![bind_key(key), self.packed, place, is_news])?;
        } else {
            self.statements.put.execute(params![bind_key(key), self.packed])?;
        }
        Ok(())
    }

    fn put_new(&mut self, key: &Key, record: &Record) -> Result<bool, StoreError> {
        self.pack(key, record);
        Ok(self.statements.put_new.execute(params![bind_key(key), self.packed])? > 0)
    }

    fn amend(&mut self, key: &Key, change: &mut dyn FnMut(Record) -> Option<Record>) -> Result<bool, StoreError> {
        let Self { shared, table, authors, amend, packed, .. } = self;
        let statement = prepared(amend, shared.conn, &table.sql.amend)?;
        let mut outcome = Ok(false);
        let mut repack = |bytes: &[u8]| {
            let record = match Record::unpack(bytes, &**authors) {
                Ok(record) => change(record)?,
                Err(damage) => {
                    outcome = Err(damage);
                    return None;
                }
            };
            outcome = Ok(true);
            packed.clear();
            record.pack(*authors, packed);
            Some(packed.clone())
        };
        super::amend::with(&mut repack, || statement.execute([bind_key(key)]))?;
        Ok(outcome?)
    }

    fn set_place(&mut self, key: &Key, place: i64) -> Result<(), StoreError> {
        self.note_place(key, Some(place));
        Ok(())
    }

    fn forget(&mut self, key: &Key) -> Result<(), StoreError> {
        self.noted_place(key, true);
        self.statements.forget.execute([bind_key(key)])?;
        Ok(())
    }

    fn values(&mut self, key: &Key) -> Result<Vec<Value>, StoreError> {
        match self.visible(key)? {
            Some(values) => self.logged(values),
            None => Ok(vec![Value::Null; self.table.merge.columns]),
        }
    }

    fn show(&mut self, key: &Key, cells: &[Cell<'_>]) -> Result<Option<Refusal>, StoreError> {
        let refused = if !cells.iter().any(|c| matches!(c, Cell::Ref(_))) {
            Self::attempt(self.insert(cells))?
        } else {
            match self.resolve(cells.iter().enumerate())? {
                Ok(cells) => Self::attempt(self.insert(&cells))?,
                Err(refusal) => Some(refusal),
            }
        };
        if refused.is_none() && !self.table.referring.is_empty() {
            self.shared.flags.woke.set(true);
        }
        if refused.is_none() {
            if matches!(key, Key::Born(_)) {
                self.note_place(key, Some(self.shared.conn.last_insert_rowid()));
            }
            self.reclaim(key)?;
        }
        Ok(refused)
    }

    fn change(&mut self, key: &Key, cells: &[(usize, Cell<'_>)]) -> Result<Option<Refusal>, StoreError> {
        let Some(key) = self.key_params(key)? else {
            return Ok(Some(Refusal::constraint("its key can't be found")));
        };
        let has_refs = cells.iter().any(|(_, cell)| matches!(cell, Cell::Ref(_)));
        let resolved = match has_refs.then(|| self.resolve(cells.iter().map(|c| (c.0, &c.1)))).transpose()? {
            Some(Err(refusal)) => return Ok(Some(refusal)),
            Some(Ok(new)) => new,
            None => Vec::new(),
        };
        let contends = self.flags().contends && !self.table.uniques.is_empty();
        let columns: Vec<usize> = if contends { cells.iter().map(|c| c.0).collect() } else { Vec::new() };
        if contends {
            self.note_shown(&key, Some(&columns))?;
        }
        let new = cells.iter().enumerate().map(|(at, (_, cell))| resolved.get(at).unwrap_or(cell));
        let is_same = |(columns, _): &(Vec<usize>, _)| columns.iter().eq(cells.iter().map(|c| &c.0));
        if !self.update.as_ref().is_some_and(is_same) {
            let columns: Vec<usize> = cells.iter().map(|c| c.0).collect();
            let statement = self.shared.conn.prepare_cached(&self.table.sql.update(&columns))?;
            self.update = Some((columns, statement));
        }
        let Some((_, statement)) = &mut self.update else { return Ok(None) };
        let by: Vec<_> = key.iter().map(Cell::from).collect();
        let refused = Self::attempt(triggers::run(self.shared.conn, self.table.t, Event::Update, || {
            statement.execute(params_from_iter(by.iter().chain(new.clone()).map(Bind)))
        }))?;
        if contends {
            self.note_shown(&key, Some(&columns))?;
        }
        Ok(refused)
    }

    fn hide(&mut self, key: &Key) -> Result<(), StoreError> {
        if let Some(found) = self.key_params(key)? {
            self.delete(&found)?;
            self.note_place(key, None);
        }
        Ok(())
    }

    fn note_standing(&mut self, name: &Name, before: Standing) {
        self.shared.flags.events.note(self.table.t, name, before);
    }

    fn renumber(&mut self, moves: &[(i64, i64)]) -> Result<(), StoreError> {
        super::renumber::renumber(self, moves)
    }

    fn stand_ins(&mut self, cells: &[Cell<'_>]) -> Result<Vec<(usize, Value)>, StoreError> {
        self.standing_in(cells)
    }

    fn missing(&mut self, cells: &[Cell<'_>]) -> Result<Option<Refusal>, StoreError> {
        let refs = cells.iter().enumerate().filter(|(_, c)| matches!(c, Cell::Ref(_)));
        Ok(self.resolve(refs)?.err().filter(|refusal| !refusal.is_weak))
    }

    fn before_gone(&mut self, key: &Key) -> Result<(), StoreError> {
        if self.table.referring.is_empty() { Ok(()) } else { super::orphan::park(self, key) }
    }

    fn set_literals(&mut self, key: &Key, literals: &[(usize, Value)]) -> Result<(), StoreError> {
        super::literal::set(self, key, literals)
    }

    fn set_dangling(&mut self, key: &Key, name: &Name, dangling: &[(usize, Name)]) -> Result<(), StoreError> {
        super::dangling::set(self, key, name, dangling)
    }

    fn came(&mut self, name: &Name) -> Result<(), StoreError> {
        super::dangling::came(self, name);
        Ok(())
    }

    fn repairs(&mut self, name: &Name) -> Result<Vec<(usize, Value)>, StoreError> {
        if !self.flags().contends || !super::unique::is_contender(self.shared.conn, self.table.t, name)? {
            return Ok(Vec::new());
        }
        self.contend(name)?;
        super::unique::repairs(self.shared.conn, self.table.t, name)
    }

    fn contend(&mut self, name: &Name) -> Result<(), StoreError> {
        self.shared.flags.contended.borrow_mut().insert((self.table.t, name.clone()));
        Ok(())
    }

    fn reclaim(&mut self, key: &Key) -> Result<(), StoreError> {
        match self.flags().contends.then(|| self.key_params(key)).transpose()?.flatten() {
            Some(key) => self.note_shown(&key, None),
            None => Ok(()),
        }
    }

    fn let_go(&mut self, name: &Name) -> Result<(), StoreError> {
        super::unique::let_go(self, name)
    }

    fn uncontend(&mut self, name: &Name) -> Result<(), StoreError> {
        if !self.flags().contends {
            return Ok(());
        }
        let t = self.table.t;
        let claims = super::unique::claims(self.shared.conn, t, name)?;
        self.shared.flags.moved.borrow_mut().extend(claims.into_iter().map(|(number, tuple)| (t, number, tuple)));
        super::unique::strike(self.shared.conn, t, name)
    }

    fn moved(&mut self, name: &Dot) -> Result<Option<i64>, StoreError> {
        self.moved_in(self.table.t, name)
    }

    fn set_moved(&mut self, name: &Dot, shown: Option<i64>) -> Result<(), StoreError> {
        let author = self.authors.number_of(&name.author);
        let (t, seq) = (self.table.t, name.seq.0 as i64);
        match shown {
            Some(shown) => {
                let sql = "INSERT OR REPLACE INTO _p2p_moved(t, author, seq, op, shown) VALUES(?1, ?2, ?3, ?4, ?5)";
                self.shared.conn.prepare_cached(sql)?.execute(params![t, author, seq, name.op, shown])?;
            }
            None => {
                let sql = "DELETE FROM _p2p_moved WHERE t = ?1 AND author = ?2 AND seq = ?3 AND op = ?4";
                self.shared.conn.prepare_cached(sql)?.execute(params![t, author, seq, name.op])?;
            }
        }
        Ok(())
    }

    fn claimants(&mut self, id: i64) -> Result<Vec<i64>, StoreError> {
        if !self.flags().claims {
            return Ok(Vec::new());
        }
        let sql = "SELECT shown FROM _p2p_claim WHERE t = ?1 AND claimed = ?2";
        let mut statement = self.shared.conn.prepare_cached(sql)?;
        let shown = statement.query_map(params![self.table.t, id], |row| row.get(0))?;
        Ok(shown.collect::<rusqlite::Result<_>>()?)
    }

    fn probers(&mut self, _id: i64) -> Result<Vec<i64>, StoreError> {
        if !self.flags().probers {
            return Ok(Vec::new());
        }
        let mut statement = self.shared.conn.prepare_cached("SELECT shown FROM _p2p_claim WHERE t = ?1 AND probes")?;
        let shown = statement.query_map([self.table.t], |row| row.get(0))?;
        Ok(shown.collect::<rusqlite::Result<_>>()?)
    }

    fn set_claim(&mut self, shown: i64, claimed: Option<i64>) -> Result<(), StoreError> {
        match claimed {
            Some(claimed) => {
                self.raise(|flags| flags.claims = true);
                let sql = "INSERT OR REPLACE INTO _p2p_claim(t, shown, claimed) VALUES(?1, ?2, ?3)";
                self.shared.conn.prepare_cached(sql)?.execute(params![self.table.t, shown, claimed])?;
            }
            None if self.flags().claims => {
                let sql = "DELETE FROM _p2p_claim WHERE t = ?1 AND shown = ?2";
                self.shared.conn.prepare_cached(sql)?.execute(params![self.table.t, shown])?;
            }
            None => {}
        }
        Ok(())
    }

    fn set_prober(&mut self, shown: i64) -> Result<(), StoreError> {
        self.raise(|flags| flags.probers = true);
        let sql = "UPDATE _p2p_claim SET probes = 1 WHERE t = ?1 AND shown = ?2";
        self.shared.conn.prepare_cached(sql)?.execute(params![self.table.t, shown])?;
        Ok(())
    }

    fn displaced(&mut self) -> Result<Vec<i64>, StoreError> {
        if !self.flags().claims {
            return Ok(Vec::new());
        }
        let sql = "SELECT shown FROM _p2p_claim WHERE t = ?1 ORDER BY shown";
        let mut statement = self.shared.conn.prepare_cached(sql)?;
        let shown = statement.query_map([self.table.t], |row| row.get(0))?;
        Ok(shown.collect::<rusqlite::Result<_>>()?)
    }

    fn set_stuck(&mut self, key: &Key, why: Option<&Refusal>) -> Result<(), StoreError> {
        match why {
            Some(Refusal { why, waits, contends, .. }) => {
                self.raise(|flags| (flags.stuck, flags.waits) = (true, flags.waits || *waits));
                // Of an index that the rule does not know it is tried again, as with any other constraint.
                let waits_for = if *contends && !self.table.uniques.is_empty() { 2 } else { i64::from(*waits) };
                self.shared.flags.woke.set(self.shared.flags.woke.get() || *waits);
                let sql = "INSERT OR REPLACE INTO _p2p_stuck(t, name, reason, waits) VALUES(?1, ?2, ?3, ?4)";
                self.shared.conn.prepare_cached(sql)?.execute(params![self.table.t, bind_key(key), why, waits_for])?;
            }
            None if self.flags().stuck => {
                let sql = "DELETE FROM _p2p_stuck WHERE t = ?1 AND name = ?2";
                self.shared.conn.prepare_cached(sql)?.execute(params![self.table.t, bind_key(key)])?;
            }
            None => {}
        }
        Ok(())
    }

    fn lose(&mut self, conflict: Conflict) -> Result<(), StoreError> {
        self.raise(|flags| flags.book = true);
        let (mut name, mut value) = (Vec::new(), Vec::new());
        conflict.name.write(&mut name);
        conflict.value.write(&mut value);
        let author = self.authors.number_of(&conflict.stamp.author);
        let sql = "INSERT OR IGNORE INTO _p2p_conflict(t, name, col, value, clock, author, seq, op)
                   VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
        let s = conflict.stamp;
        self.shared.conn.prepare_cached(sql)?.execute(params![
            self.table.t,
            name,
            conflict.column as i64,
            value,
            s.clock.0 as i64,
            author,
            s.seq.0 as i64,
            s.op,
        ])?;
        Ok(())
    }

    fn strike(&mut self, name: &Name, columns: Option<&[usize]>, context: &Context<'_>) -> Result<bool, StoreError> {
        let mut bytes = Vec::new();
        name.write(&mut bytes);
        let sql = "SELECT id, col, author, seq FROM _p2p_conflict WHERE t = ?1 AND name = ?2";
        let mut lines = self.shared.conn.prepare_cached(sql)?;
        let lines = lines.query_map(params![self.table.t, bytes], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)? as usize, row.get::<_, u32>(2)?, row.get::<_, i64>(3)?))
        })?;
        let lines: Vec<_> = lines.collect::<rusqlite::Result<_>>()?;
        let mut left = 0;
        for (id, column, author, seq) in lines {
            let is_meant = columns.is_none_or(|c| c.contains(&column));
            let author = self.authors.author(author).unwrap_or_default();
            let is_seen = author == context.author || context.seen.get(&author).is_some_and(|s| s.0 as i64 >= seq);
            if is_meant && is_seen {
                self.shared.conn.prepare_cached("DELETE FROM _p2p_conflict WHERE id = ?1")?.execute([id])?;
            } else {
                left += 1;
            }
        }
        Ok(left > 0)
    }

    fn has_book(&self) -> bool {
        self.flags().book
    }

    fn digest(&mut self, add: u128, sub: u128) {
        *self.digest = self.digest.wrapping_add(add).wrapping_sub(sub);
    }

    fn hasher(&self) -> &CellHasher {
        self.shared.hasher
    }
}

impl super::tables::Sql {
    /// `UPDATE … SET` these columns, after the key's parameters.
    pub(super) fn update(&self, columns: &[usize]) -> String {
        let set = columns.iter().enumerate().map(|(i, c)| format!("{} = ?{}", self.names[*c], self.key.len() + i + 1));
        let set = set.collect::<Vec<_>>().join(", ");
        format!("UPDATE{} main.{} SET {set} {}", self.or_abort, Quoted(&self.table), self.by_key)
    }
}
