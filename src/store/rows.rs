//! The rows of one table on SQLite: what the merge and the seal work on.
//!
//! Statements are prepared once a batch and reused row by row. Foreign keys are translated here, at the
//! border: the log and the records hold names, the table holds ids.

use p2pdb_core::body::Cell;
use p2pdb_core::cellhash::CellHasher;
use p2pdb_core::id::Dot;
use p2pdb_core::merge::{Conflict, Context, Key, Reason, Refusal, Rows};
use p2pdb_core::name::{self, Name};
use p2pdb_core::record::{AuthorNumbers, Record};
use p2pdb_core::value::Value;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{CachedStatement, Connection, ErrorCode, OptionalExtension, ToSql, params};

use super::StoreError;
use super::authors::Authors;
use super::tables::{Tables, Tracked};
use crate::quote::Quoted;

/// How deep references are followed through keys that are references themselves.
const REF_DEPTH_MAX: usize = 16;

/// One table's rows within one transaction.
pub(super) struct SqliteRows<'c> {
    pub(super) conn: &'c Connection,
    pub(super) table: &'c Tracked,
    pub(super) tables: &'c Tables,
    pub(super) authors: &'c mut Authors,
    pub(super) hasher: &'c CellHasher,
    pub(super) digest: &'c mut u128,
    /// Lines in the book on this table, counted once a batch.
    book: bool,
    /// Rows in the claim table for this table, counted once a batch.
    claims: bool,
    statements: Statements<'c>,
    packed: Vec<u8>,
}

struct Statements<'c> {
    record: CachedStatement<'c>,
    put: CachedStatement<'c>,
    forget: CachedStatement<'c>,
    select: CachedStatement<'c>,
    insert: CachedStatement<'c>,
    delete: CachedStatement<'c>,
}

impl<'c> Statements<'c> {
    fn prepare(conn: &'c Connection, table: &Tracked) -> rusqlite::Result<Self> {
        Ok(Self {
            record: conn.prepare_cached("SELECT record FROM _p2p_row WHERE t = ?1 AND name = ?2")?,
            put: conn.prepare_cached("INSERT OR REPLACE INTO _p2p_row(t, name, record) VALUES(?1, ?2, ?3)")?,
            forget: conn.prepare_cached("DELETE FROM _p2p_row WHERE t = ?1 AND name = ?2")?,
            select: conn.prepare_cached(&table.sql.select)?,
            insert: conn.prepare_cached(&table.sql.insert)?,
            delete: conn.prepare_cached(&table.sql.delete)?,
        })
    }
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

pub(super) fn value_of(v: ValueRef<'_>) -> Value {
    match v {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(i) => Value::Integer(i),
        ValueRef::Real(r) => Value::Real(r),
        ValueRef::Text(t) => Value::Text(t.to_vec()),
        ValueRef::Blob(b) => Value::Blob(b.to_vec()),
    }
}

/// A key as SQLite stores it in `_p2p_row`.
pub(super) fn bind_key(key: &Key) -> ToSqlOutput<'_> {
    ToSqlOutput::Borrowed(match key {
        Key::Id(id) => ValueRef::Integer(*id),
        Key::Name(bytes) => ValueRef::Blob(bytes),
    })
}

impl<'c> SqliteRows<'c> {
    pub(super) fn new(
        conn: &'c Connection,
        table: &'c Tracked,
        tables: &'c Tables,
        authors: &'c mut Authors,
        hasher: &'c CellHasher,
        digest: &'c mut u128,
    ) -> Result<Self, StoreError> {
        let has =
            |sql: &str| -> rusqlite::Result<bool> { conn.prepare_cached(sql)?.query_row([table.t], |row| row.get(0)) };
        let book = has("SELECT EXISTS(SELECT 1 FROM _p2p_conflict WHERE t = ?1)")?;
        let claims = has("SELECT EXISTS(SELECT 1 FROM _p2p_claim WHERE t = ?1)")?;
        let statements = Statements::prepare(conn, table)?;
        Ok(Self { conn, table, tables, authors, hasher, digest, book, claims, statements, packed: Vec::new() })
    }

    /// The row as the table has it, as plain SQLite values.
    pub(super) fn visible(&mut self, key: &Key) -> Result<Option<Vec<Value>>, StoreError> {
        match self.key_params(key)? {
            Some(values) => self.visible_by(&values),
            None => Ok(None),
        }
    }

    /// The row that SQLite finds under these key values.
    pub(super) fn visible_by(&mut self, key: &[Value]) -> Result<Option<Vec<Value>>, StoreError> {
        let columns = self.table.merge.columns;
        let key: Vec<_> = key.iter().map(Cell::from).collect();
        let row = self.statements.select.query_row(rusqlite::params_from_iter(key.iter().map(Bind)), |row| {
            (0..columns).map(|c| row.get_ref(c).map(value_of)).collect::<rusqlite::Result<Vec<_>>>()
        });
        Ok(row.optional()?)
    }

    /// References of a row that mean no row with a record: (table, key value).
    pub(super) fn missing_parents(&mut self, values: &[Value]) -> Result<Vec<(i64, Value)>, StoreError> {
        let table = self.table;
        let mut missing = Vec::new();
        for (column, parent) in &table.refs {
            if values[*column] != Value::Null && self.name_shown(*parent, &values[*column], 0)?.is_none() {
                missing.push((*parent, values[*column].clone()));
            }
        }
        Ok(missing)
    }

    /// The values that find the visible row; none if the row it is about can't be found by value.
    fn key_params(&mut self, key: &Key) -> Result<Option<Vec<Value>>, StoreError> {
        match key {
            Key::Id(id) => Ok(Some(vec![Value::Integer(*id)])),
            Key::Name(bytes) if name::is_hashed(bytes) => {
                let Some(state) = self.record(key)?.and_then(|r| r.state) else { return Ok(None) };
                let values = self.table.merge.key.iter().map(|(c, _)| state.cell(*c).map(|w| w.value.clone()));
                let Some(values) = values.collect::<Option<Vec<_>>>() else { return Ok(None) };
                self.key_shown_as(&values)
            }
            Key::Name(bytes) => {
                let values = name::key_values(bytes)?;
                self.key_shown_as(&values)
            }
        }
    }

    fn key_shown_as(&mut self, values: &[Value]) -> Result<Option<Vec<Value>>, StoreError> {
        let table = self.table;
        let columns = table.merge.key.iter().map(|(c, _)| table.refs.get(c).copied());
        values.iter().zip(columns).map(|(v, parent)| self.shown_as(v, parent, 0)).collect()
    }

    /// What a value of a column that means rows of `parent` looks like in the table: a reference as the key that the
    /// row it means shows now. None if that row is not there.
    fn shown_as(&mut self, value: &Value, parent: Option<i64>, depth: usize) -> Result<Option<Value>, StoreError> {
        match (value, parent) {
            (Value::Ref(name), Some(parent)) => self.name_shown_as(name, parent, depth),
            (Value::Ref(_), None) => Ok(None),
            _ => Ok(Some(value.clone())),
        }
    }

    fn name_shown_as(&mut self, name: &Name, parent: i64, depth: usize) -> Result<Option<Value>, StoreError> {
        if depth > REF_DEPTH_MAX {
            return Ok(None);
        }
        match name {
            Name::Key(bytes) => {
                let up = self.tables.get(parent).and_then(|p| p.refs.get(&p.merge.key.first()?.0)).copied();
                match name::key_values(bytes)?.first() {
                    Some(value) => self.shown_as(value, up, depth + 1),
                    None => Ok(None),
                }
            }
            Name::Born { dot, id } => Ok(self.shown_id(parent, dot, *id)?.map(Value::Integer)),
        }
    }

    /// The id under which the row of table `t` born at `dot` is visible.
    fn shown_id(&mut self, t: i64, dot: &Dot, birth: i64) -> Result<Option<i64>, StoreError> {
        if let Some(record) = self.record_of(t, &Key::Id(birth))?
            && record.born.dot() == *dot
        {
            return Ok((!record.is_hidden).then_some(birth));
        }
        let Some(shown) = self.moved_in(t, dot)? else { return Ok(None) };
        let record = self.record_of(t, &Key::Id(shown))?;
        Ok(record.filter(|r| !r.is_hidden && r.born.dot() == *dot).map(|_| shown))
    }

    fn moved_in(&self, t: i64, dot: &Dot) -> Result<Option<i64>, StoreError> {
        let sql = "SELECT shown FROM _p2p_moved WHERE t = ?1 AND author = ?2 AND seq = ?3 AND op = ?4";
        let params = params![t, self.authors.number_of(&dot.author), dot.seq.0 as i64, dot.op];
        Ok(self.conn.prepare_cached(sql)?.query_row(params, |row| row.get(0)).optional()?)
    }

    pub(super) fn record_of(&mut self, t: i64, key: &Key) -> Result<Option<Record>, StoreError> {
        let authors = &*self.authors;
        let found = self
            .statements
            .record
            .query_row(params![t, bind_key(key)], |row| Ok(Record::unpack(row.get_ref(0)?.as_blob()?, authors)));
        Ok(found.optional()?.transpose()?)
    }

    /// The name of the row of table `parent` that shows `value` as its key; none if there is no such row.
    pub(super) fn name_shown(&mut self, parent: i64, value: &Value, depth: usize) -> Result<Option<Name>, StoreError> {
        let tables = self.tables;
        let Some(table) = tables.get(parent) else { return Ok(None) };
        if table.merge.id_column.is_some() {
            let Value::Integer(id) = value else { return Ok(None) };
            let record = self.record_of(parent, &Key::Id(*id))?;
            return Ok(record.map(|r| Name::Born { dot: r.born.dot(), id: r.birth_id.unwrap_or(*id) }));
        }
        let [(column, collation)] = table.merge.key[..] else { return Ok(None) };
        let inner = match table.refs.get(&column) {
            Some(up) if depth < REF_DEPTH_MAX => {
                self.name_shown(*up, value, depth + 1)?.map(|n| Value::Ref(Box::new(n)))
            }
            _ => None,
        };
        let name = name::key_name([(inner.as_ref().unwrap_or(value), collation)]);
        let Name::Key(bytes) = &name else { return Ok(None) };
        let is_there = self.record_of(parent, &Key::Name(bytes.clone()))?.is_some();
        Ok(is_there.then_some(name))
    }

    /// The values of a row as the log has them: foreign keys as names where they mean a row that is there.
    pub(super) fn logged(&mut self, mut values: Vec<Value>) -> Result<Vec<Value>, StoreError> {
        let table = self.table;
        for (column, parent) in &table.refs {
            if values[*column] != Value::Null
                && let Some(name) = self.name_shown(*parent, &values[*column], 0)?
            {
                values[*column] = Value::Ref(Box::new(name));
            }
        }
        Ok(values)
    }

    /// Runs a statement on the visible row. A constraint that refuses it is no failure.
    fn attempt(outcome: rusqlite::Result<usize>) -> Result<Option<Refusal>, StoreError> {
        match outcome {
            Ok(_) => Ok(None),
            Err(rusqlite::Error::SqliteFailure(e, message))
                if matches!(e.code, ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch | ErrorCode::TooBig)
                    || (e.code == ErrorCode::Unknown && message.is_some()) =>
            {
                Ok(Some(Refusal(message.unwrap_or_else(|| e.to_string()))))
            }
            Err(e) => Err(e.into()),
        }
    }

    /// Cells ready to bind: references replaced by what they show, or the refusal if they show nothing.
    fn resolve<'a>(
        &mut self,
        cells: impl Iterator<Item = (usize, &'a Cell<'a>)>,
    ) -> Result<Result<Vec<Cell<'a>>, Refusal>, StoreError> {
        let mut resolved = Vec::new();
        for (column, cell) in cells {
            let parent = self.table.refs.get(&column).copied();
            resolved.push(match (cell, parent) {
                (Cell::Ref(name), Some(parent)) => match self.name_shown_as(name, parent, 0)? {
                    Some(Value::Integer(id)) => Cell::Integer(id),
                    Some(_) | None => return Ok(Err(Refusal("the row that it refers to is not there".into()))),
                },
                (Cell::Ref(_), None) => {
                    return Ok(Err(Refusal("it refers to a table that is not tracked here".into())));
                }
                (cell, _) => cell.clone(),
            });
        }
        Ok(Ok(resolved))
    }
}

impl Rows for SqliteRows<'_> {
    type Error = StoreError;

    fn record(&mut self, key: &Key) -> Result<Option<Record>, StoreError> {
        self.record_of(self.table.t, key)
    }

    fn put(&mut self, key: &Key, record: &Record) -> Result<(), StoreError> {
        let mut packed = std::mem::take(&mut self.packed);
        packed.clear();
        record.pack(self.authors, &mut packed);
        self.statements.put.execute(params![self.table.t, bind_key(key), packed])?;
        self.packed = packed;
        Ok(())
    }

    fn forget(&mut self, key: &Key) -> Result<(), StoreError> {
        self.statements.forget.execute(params![self.table.t, bind_key(key)])?;
        Ok(())
    }

    fn values(&mut self, key: &Key) -> Result<Vec<Value>, StoreError> {
        match self.visible(key)? {
            Some(values) => self.logged(values),
            None => Ok(vec![Value::Null; self.table.merge.columns]),
        }
    }

    fn show(&mut self, _key: &Key, cells: &[Cell<'_>]) -> Result<Option<Refusal>, StoreError> {
        if self.table.refs.is_empty() {
            return Self::attempt(self.statements.insert.execute(rusqlite::params_from_iter(cells.iter().map(Bind))));
        }
        match self.resolve(cells.iter().enumerate())? {
            Ok(cells) => {
                Self::attempt(self.statements.insert.execute(rusqlite::params_from_iter(cells.iter().map(Bind))))
            }
            Err(refusal) => Ok(Some(refusal)),
        }
    }

    fn change(&mut self, key: &Key, cells: &[(usize, Cell<'_>)]) -> Result<Option<Refusal>, StoreError> {
        let Some(key) = self.key_params(key)? else { return Ok(Some(Refusal("its key can't be found".into()))) };
        let new = match self.resolve(cells.iter().map(|c| (c.0, &c.1)))? {
            Ok(new) => new,
            Err(refusal) => return Ok(Some(refusal)),
        };
        let set = cells
            .iter()
            .enumerate()
            .map(|(i, (c, _))| format!("{} = ?{}", Quoted(&self.table.names[*c]), key.len() + i + 1));
        let set = set.collect::<Vec<_>>().join(", ");
        let sql = format!("UPDATE main.{} SET {set} {}", Quoted(&self.table.name), self.table.sql.by_key);
        let key: Vec<_> = key.iter().map(Cell::from).collect();
        let mut statement = self.conn.prepare_cached(&sql)?;
        Self::attempt(statement.execute(rusqlite::params_from_iter(key.iter().chain(&new).map(Bind))))
    }

    fn hide(&mut self, key: &Key) -> Result<(), StoreError> {
        let Some(key) = self.key_params(key)? else { return Ok(()) };
        let key: Vec<_> = key.iter().map(Cell::from).collect();
        self.statements.delete.execute(rusqlite::params_from_iter(key.iter().map(Bind)))?;
        Ok(())
    }

    fn renumber(&mut self, moves: &[(i64, i64)]) -> Result<(), StoreError> {
        super::renumber::renumber(self.conn, self.tables, self.table, moves)
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
                self.conn.prepare_cached(sql)?.execute(params![t, author, seq, name.op, shown])?;
            }
            None => {
                let sql = "DELETE FROM _p2p_moved WHERE t = ?1 AND author = ?2 AND seq = ?3 AND op = ?4";
                self.conn.prepare_cached(sql)?.execute(params![t, author, seq, name.op])?;
            }
        }
        Ok(())
    }

    fn claimants(&mut self, id: i64) -> Result<Vec<i64>, StoreError> {
        if !self.claims {
            return Ok(Vec::new());
        }
        let mut statement = self.conn.prepare_cached("SELECT shown FROM _p2p_claim WHERE t = ?1 AND claimed = ?2")?;
        let shown = statement.query_map(params![self.table.t, id], |row| row.get(0))?;
        Ok(shown.collect::<rusqlite::Result<_>>()?)
    }

    fn set_claim(&mut self, shown: i64, claimed: Option<i64>) -> Result<(), StoreError> {
        match claimed {
            Some(claimed) => {
                self.claims = true;
                let sql = "INSERT OR REPLACE INTO _p2p_claim(t, shown, claimed) VALUES(?1, ?2, ?3)";
                self.conn.prepare_cached(sql)?.execute(params![self.table.t, shown, claimed])?;
            }
            None if self.claims => {
                let sql = "DELETE FROM _p2p_claim WHERE t = ?1 AND shown = ?2";
                self.conn.prepare_cached(sql)?.execute(params![self.table.t, shown])?;
            }
            None => {}
        }
        Ok(())
    }

    fn displaced(&mut self) -> Result<Vec<i64>, StoreError> {
        if !self.claims {
            return Ok(Vec::new());
        }
        let mut statement = self.conn.prepare_cached("SELECT shown FROM _p2p_claim WHERE t = ?1 ORDER BY shown")?;
        let shown = statement.query_map([self.table.t], |row| row.get(0))?;
        Ok(shown.collect::<rusqlite::Result<_>>()?)
    }

    fn set_stuck(&mut self, key: &Key, why: Option<&Refusal>) -> Result<(), StoreError> {
        match why {
            Some(Refusal(reason)) => {
                let sql = "INSERT OR REPLACE INTO _p2p_stuck(t, name, reason) VALUES(?1, ?2, ?3)";
                self.conn.prepare_cached(sql)?.execute(params![self.table.t, bind_key(key), reason])?;
            }
            None => {
                let sql = "DELETE FROM _p2p_stuck WHERE t = ?1 AND name = ?2";
                self.conn.prepare_cached(sql)?.execute(params![self.table.t, bind_key(key)])?;
            }
        }
        Ok(())
    }

    fn lose(&mut self, conflict: Conflict) -> Result<(), StoreError> {
        self.book = true;
        let (mut name, mut value) = (Vec::new(), Vec::new());
        conflict.name.write(&mut name);
        conflict.value.write(&mut value);
        let reason = match conflict.reason {
            Reason::Overwritten => 1,
            Reason::Deleted => 2,
        };
        let (author, by) =
            (self.authors.number_of(&conflict.stamp.author), self.authors.number_of(&conflict.by.author));
        let sql = "INSERT INTO _p2p_conflict(t, name, col, value, reason, clock, author, seq, op, by_clock, by_author)
                   VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";
        let (s, by_clock) = (conflict.stamp, conflict.by.clock.0 as i64);
        self.conn.prepare_cached(sql)?.execute(params![
            self.table.t,
            name,
            conflict.column as i64,
            value,
            reason,
            s.clock.0 as i64,
            author,
            s.seq.0 as i64,
            s.op,
            by_clock,
            by
        ])?;
        Ok(())
    }

    fn strike(&mut self, name: &Name, columns: Option<&[usize]>, context: &Context<'_>) -> Result<bool, StoreError> {
        let mut bytes = Vec::new();
        name.write(&mut bytes);
        let sql = "SELECT id, col, author, seq FROM _p2p_conflict WHERE t = ?1 AND name = ?2";
        let mut lines = self.conn.prepare_cached(sql)?;
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
                self.conn.prepare_cached("DELETE FROM _p2p_conflict WHERE id = ?1")?.execute([id])?;
            } else {
                left += 1;
            }
        }
        Ok(left > 0)
    }

    fn has_book(&self) -> bool {
        self.book
    }

    fn digest(&mut self, add: u128, sub: u128) {
        *self.digest = self.digest.wrapping_add(add).wrapping_sub(sub);
    }

    fn hasher(&self) -> &CellHasher {
        self.hasher
    }
}
