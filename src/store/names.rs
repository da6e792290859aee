//! Between what the log says and what the table shows: references as names, and as the keys those rows show.

use p2pdb_core::body::Cell;
use p2pdb_core::id::Dot;
use p2pdb_core::merge::{Key, Refusal};
use p2pdb_core::name::{self, Name};
use p2pdb_core::value::Value;
use rusqlite::{OptionalExtension, params};

use super::StoreError;
use super::rows::SqliteRows;

/// How deep references are followed through keys that are references themselves.
const REF_DEPTH_MAX: usize = 16;

/// The values as the log has them, and what they refer to that has no record.
type LoggedOrMissing = (Vec<Value>, Vec<(i64, Value)>);

impl SqliteRows<'_> {
    /// What finds the visible row: the values of its key, and its rowid where it has none. None if it is not there, or can't
    /// be found by value.
    pub(super) fn key_params(&mut self, key: &Key) -> Result<Option<Vec<Value>>, StoreError> {
        match key {
            Key::Id(id) => Ok(Some(vec![Value::Integer(*id)])),
            Key::Born(born) => Ok(self.place_of(born)?.map(|place| self.at(place))),
            Key::Name(bytes) if name::is_hashed(bytes) => {
                let Some(state) = self.record_of(self.table.t, key)?.and_then(|r| r.state) else { return Ok(None) };
                let values = self.table.merge.key.iter().map(|(c, _)| self.table.merge.cell(&state, *c).to_value());
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
        let shown = values.iter().zip(columns).map(|(v, parent)| self.shown_as(v, parent, 0));
        let mut shown: Option<Vec<Value>> = shown.collect::<Result<_, _>>()?;
        if let Some(shown) = shown.as_mut().filter(|_| table.merge.has_nameless) {
            // By its key, not by its rowid.
            shown.push(Value::Null);
        }
        Ok(shown)
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

    /// The key that the row of table `parent` shows which has this name; none if that row is not there.
    pub(super) fn name_shown_as(
        &mut self,
        name: &Name,
        parent: i64,
        depth: usize,
    ) -> Result<Option<Value>, StoreError> {
        let Some(table) = self.shared.tables.get(parent) else { return Ok(None) };
        match (name, table.merge.id_column) {
            (Name::Born { dot, id }, Some(_)) => Ok(self.shown_id(parent, dot, *id)?.map(Value::Integer)),
            (Name::Key(bytes), None) if depth < REF_DEPTH_MAX => {
                let record = self.record_of(parent, &Key::Name(bytes.clone()))?;
                let [(column, _)] = table.merge.key[..] else { return Ok(None) };
                if record.is_none_or(|r| r.is_hidden) {
                    return Ok(None);
                }
                // A peer may have written bytes that are no key: then there is no such row.
                let Some(value) = name::key_values(bytes).ok().and_then(|v| v.into_iter().next()) else {
                    return Ok(None);
                };
                self.shown_as(&value, table.refs.get(&column).copied(), depth + 1)
            }
            _ => Ok(None),
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

    pub(super) fn moved_in(&self, t: i64, dot: &Dot) -> Result<Option<i64>, StoreError> {
        let sql = "SELECT shown FROM _p2p_moved WHERE t = ?1 AND author = ?2 AND seq = ?3 AND op = ?4";
        let params = params![t, self.authors.number_of(&dot.author), dot.seq.0 as i64, dot.op];
        Ok(self.shared.conn.prepare_cached(sql)?.query_row(params, |row| row.get(0)).optional()?)
    }

    /// The name of the row of table `parent` that shows `value` as its key; none if there is no such row.
    pub(super) fn name_shown(&mut self, parent: i64, value: &Value, depth: usize) -> Result<Option<Name>, StoreError> {
        let Some(table) = self.shared.tables.get(parent) else { return Ok(None) };
        if table.merge.id_column.is_some() {
            let Value::Integer(id) = value else { return Ok(None) };
            let record = self.record_of(parent, &Key::Id(*id))?.filter(|r| !r.is_hidden);
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
        let is_there = self.record_of(parent, &Key::Name(bytes.clone()))?.is_some_and(|r| !r.is_hidden);
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

    /// Cells as the table shows them: puts names in place of foreign keys. Given back are those that mean no row with a
    /// record: (table, key value).
    pub(super) fn name_refs(&mut self, cells: &mut [Cell<'_>]) -> Result<Vec<(i64, Value)>, StoreError> {
        let table = self.table;
        let mut missing = Vec::new();
        for (column, parent) in &table.refs {
            let Some(value) = cells[*column].to_value().filter(|v| *v != Value::Null) else { continue };
            match self.name_shown(*parent, &value, 0)? {
                Some(name) => cells[*column] = Cell::Ref(name),
                None => missing.push((*parent, value)),
            }
        }
        Ok(missing)
    }

    /// The same for whole values.
    pub(super) fn logged_or_missing(&mut self, values: &[Value]) -> Result<LoggedOrMissing, StoreError> {
        let mut cells: Vec<_> = values.iter().map(Cell::from).collect();
        let missing = self.name_refs(&mut cells)?;
        Ok((cells.iter().filter_map(Cell::to_value).collect(), missing))
    }

    /// Cells ready to bind: references replaced by what they show, or the refusal if one shows nothing: a weak one if none but
    /// weak ones do.
    pub(super) fn resolve<'a>(
        &mut self,
        cells: impl Iterator<Item = (usize, &'a Cell<'a>)>,
    ) -> Result<Result<Vec<Cell<'a>>, Refusal>, StoreError> {
        let mut resolved = Vec::new();
        let mut is_weak = false;
        for (column, cell) in cells {
            let parent = self.table.refs.get(&column).copied();
            resolved.push(match (cell, parent) {
                (Cell::Ref(name), Some(parent)) => match self.name_shown_as(name, parent, 0)? {
                    Some(Value::Integer(id)) => Cell::Integer(id),
                    // Rows that come back together: what they refer to among themselves follows.
                    None if self.shared.flags.is_lenient.get() => Cell::Null,
                    _ if self.table.merge.weak.contains(&column) => {
                        is_weak = true;
                        Cell::Null
                    }
                    _ => return Ok(Err(Refusal::no_parent())),
                },
                (Cell::Ref(_), None) => {
                    return Ok(Err(Refusal::missing("it refers to a table that is not tracked here")));
                }
                (cell, _) => cell.clone(),
            });
        }
        Ok(if is_weak { Err(Refusal::weak()) } else { Ok(resolved) })
    }
}
