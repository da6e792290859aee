//! The rows of all tables in memory, as SQLite would keep them: what is shown, and the private tables beside it.
//!
//! A shown row holds its values twice: as the user sees them, foreign keys as ids, and as the log has them, foreign
//! keys as names. Only the first half changes under the user's hands, until the seal brings both together.

use crate::schema;
use p2pdb_core::body::Cell;
use p2pdb_core::cellhash::CellHasher;
use p2pdb_core::codec::Malformed;
use p2pdb_core::id::Dot;
use p2pdb_core::merge::{Conflict, Context, Key, Merge, Refusal, Rows};
use p2pdb_core::name::Name;
use p2pdb_core::record::Record;
use p2pdb_core::value::Value;
use std::collections::{BTreeMap, BTreeSet};

/// A row in the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// As the user sees it.
    pub display: Vec<Value>,
    /// As it was last sealed or merged.
    pub logged: Vec<Value>,
}

/// One table with its private tables.
#[derive(Clone, Debug, Default)]
pub struct Grid {
    /// What a `SELECT` finds.
    pub shown: BTreeMap<Key, Shown>,
    /// Clock records.
    pub records: BTreeMap<Key, Record>,
    /// Rows that could not be shown as merged.
    pub stuck: BTreeMap<Key, Refusal>,
    /// The book of conflicts.
    pub book: Vec<Conflict>,
    moved: BTreeMap<Dot, i64>,
    claims: BTreeMap<i64, i64>,
    probers: BTreeSet<i64>,
}

/// One table in the course of a merge or a seal.
pub struct MemoryRows<'a> {
    /// All tables.
    pub grids: &'a mut [Grid],
    /// Which one this is about.
    pub t: usize,
    /// The state digest.
    pub digest: &'a mut u128,
    /// The group's.
    pub hasher: &'a CellHasher,
    /// Ids of lines that came free while these were hidden.
    pub freed: Vec<i64>,
}

/// The id that the row of that name shows in an alias table.
pub fn shown_id(grid: &Grid, name: &Name) -> Option<i64> {
    let Name::Born { dot, id } = name else { return None };
    let is_it = |id: &i64| grid.records.get(&Key::Id(*id)).is_some_and(|r| r.born.dot() == *dot && !r.is_hidden);
    Some(*id).filter(is_it).or_else(|| grid.moved.get(dot).copied().filter(is_it))
}

/// The name of the row that shows an id in an alias table.
pub fn name_shown(grid: &Grid, id: i64) -> Option<Name> {
    let record = grid.records.get(&Key::Id(id))?;
    Some(Name::Born { dot: record.born.dot(), id: record.birth_id.unwrap_or(id) })
}

impl MemoryRows<'_> {
    /// This table.
    pub fn grid(&mut self) -> &mut Grid {
        &mut self.grids[self.t]
    }

    /// A row's values as the log has them.
    pub fn to_logged(&self, display: &[Value]) -> Vec<Value> {
        let mut values = display.to_vec();
        if let Some(column) = schema::reference(self.t)
            && let Value::Integer(id) = values[column]
            && let Some(name) = name_shown(&self.grids[schema::ITEM], id)
        {
            values[column] = Value::Ref(Box::new(name));
        }
        values
    }

    /// Gives ids that came free to those who claim them.
    pub fn take_back_freed(&mut self) -> Result<(), Malformed> {
        let freed = std::mem::take(&mut self.freed);
        self.lines(|merge| merge.take_back_all(freed))
    }

    fn lines<T>(
        &mut self,
        work: impl FnOnce(&mut Merge<'_, MemoryRows<'_>>) -> Result<T, Malformed>,
    ) -> Result<T, Malformed> {
        let (table, seen) = (schema::table(schema::LINE), BTreeMap::new());
        let (clock, author, seq) = Default::default();
        let Self { grids, digest, hasher, .. } = self;
        let mut rows = MemoryRows { grids, t: schema::LINE, digest, hasher, freed: Vec::new() };
        work(&mut Merge {
            table: &table,
            rows: &mut rows,
            context: Context { clock, author, seq, seen: &seen },
            absent: &[],
        })
    }

    fn to_display(&self, cell: &Cell<'_>) -> Result<Value, Refusal> {
        match cell {
            Cell::Ref(name) => match shown_id(&self.grids[schema::ITEM], name) {
                Some(id) => Ok(Value::Integer(id)),
                None => Err(Refusal::no_parent()),
            },
            cell => cell.to_value().ok_or_else(|| Refusal::constraint("a part of a value")),
        }
    }
}

fn owned(cell: &Cell<'_>) -> Result<Value, Malformed> {
    cell.to_value().ok_or(Malformed::Rule("a part of a value"))
}

impl Rows for MemoryRows<'_> {
    type Error = Malformed;

    fn record(&mut self, key: &Key) -> Result<Option<Record>, Malformed> {
        Ok(self.grid().records.get(key).cloned())
    }

    fn put(&mut self, key: &Key, record: &Record) -> Result<(), Malformed> {
        self.grid().records.insert(key.clone(), record.clone());
        Ok(())
    }

    fn put_new(&mut self, key: &Key, record: &Record) -> Result<bool, Malformed> {
        let is_new = !self.grid().records.contains_key(key);
        if is_new {
            self.put(key, record)?;
        }
        Ok(is_new)
    }

    fn forget(&mut self, key: &Key) -> Result<(), Malformed> {
        self.grid().records.remove(key);
        Ok(())
    }

    fn values(&mut self, key: &Key) -> Result<Vec<Value>, Malformed> {
        let shown = self.grid().shown.get(key).ok_or(Malformed::Rule("values of a row that is not shown"))?;
        Ok(shown.logged.clone())
    }

    fn show(&mut self, key: &Key, cells: &[Cell<'_>]) -> Result<Option<Refusal>, Malformed> {
        let display = match cells.iter().map(|c| self.to_display(c)).collect::<Result<Vec<_>, _>>() {
            Ok(display) => display,
            Err(refusal) => return Ok(Some(refusal)),
        };
        let logged = cells.iter().map(owned).collect::<Result<_, _>>()?;
        if self.grid().shown.contains_key(key) {
            return Ok(Some(Refusal::constraint("UNIQUE constraint failed")));
        }
        self.grid().shown.insert(key.clone(), Shown { display, logged });
        Ok(None)
    }

    fn change(&mut self, key: &Key, cells: &[(usize, Cell<'_>)]) -> Result<Option<Refusal>, Malformed> {
        let mut new = Vec::with_capacity(cells.len());
        for (column, cell) in cells {
            match self.to_display(cell) {
                Ok(display) => new.push((*column, display, owned(cell)?)),
                Err(refusal) => return Ok(Some(refusal)),
            }
        }
        // As an UPDATE: no row, no change, no error.
        if let Some(row) = self.grid().shown.get_mut(key) {
            for (column, display, logged) in new {
                (row.display[column], row.logged[column]) = (display, logged);
            }
        }
        Ok(None)
    }

    fn hide(&mut self, key: &Key) -> Result<(), Malformed> {
        self.grid().shown.remove(key);
        Ok(())
    }

    fn renumber(&mut self, moves: &[(i64, i64)]) -> Result<(), Malformed> {
        let out: Vec<_> = moves.iter().map(|(old, new)| (self.grid().shown.remove(&Key::Id(*old)), *new)).collect();
        for (row, new) in out {
            let mut row = row.ok_or(Malformed::Rule("a row that is not shown is renumbered"))?;
            (row.display[0], row.logged[0]) = (Value::Integer(new), Value::Integer(new));
            if self.grid().shown.insert(Key::Id(new), row).is_some() {
                return Err(Malformed::Rule("a row is renumbered onto another"));
            }
        }
        if self.t == schema::ITEM {
            let moves: BTreeMap<_, _> = moves.iter().copied().collect();
            for line in self.grids[schema::LINE].shown.values_mut() {
                if let Value::Integer(item) = &mut line.display[1] {
                    *item = moves.get(item).copied().unwrap_or(*item);
                }
            }
        }
        Ok(())
    }

    fn missing(&mut self, cells: &[Cell<'_>]) -> Result<Option<Refusal>, Malformed> {
        Ok(cells.iter().find_map(|c| self.to_display(c).err()))
    }

    /// Lines are hidden with their item.
    fn before_gone(&mut self, key: &Key) -> Result<(), Malformed> {
        let Key::Id(id) = key else { return Ok(()) };
        let Some(name) = name_shown(&self.grids[self.t], *id).filter(|_| self.t == schema::ITEM) else { return Ok(()) };
        let means = Value::Ref(Box::new(name));
        let lines = self.grids[schema::LINE].shown.iter().filter(|(_, row)| row.logged.get(1) == Some(&means));
        let lines: Vec<_> = lines.map(|(key, _)| key.clone()).collect();
        let why = Refusal::no_parent();
        for key in lines {
            let freed = self.lines(|merge| match merge.state_of(&key)? {
                Some(state) => merge.park(&key, state, &why),
                None => Ok(None),
            })?;
            self.freed.extend(freed);
        }
        Ok(())
    }

    fn probers(&mut self, id: i64) -> Result<Vec<i64>, Malformed> {
        let _ = id;
        Ok(self.grid().probers.iter().copied().collect())
    }

    fn set_prober(&mut self, shown: i64) -> Result<(), Malformed> {
        self.grid().probers.insert(shown);
        Ok(())
    }

    fn moved(&mut self, name: &Dot) -> Result<Option<i64>, Malformed> {
        Ok(self.grid().moved.get(name).copied())
    }

    fn set_moved(&mut self, name: &Dot, shown: Option<i64>) -> Result<(), Malformed> {
        match shown {
            Some(id) => self.grid().moved.insert(*name, id),
            None => self.grid().moved.remove(name),
        };
        Ok(())
    }

    fn claimants(&mut self, id: i64) -> Result<Vec<i64>, Malformed> {
        Ok(self.grid().claims.iter().filter(|(_, claimed)| **claimed == id).map(|(shown, _)| *shown).collect())
    }

    fn set_claim(&mut self, shown: i64, claimed: Option<i64>) -> Result<(), Malformed> {
        self.grid().probers.remove(&shown);
        match claimed {
            Some(id) => self.grid().claims.insert(shown, id),
            None => self.grid().claims.remove(&shown),
        };
        Ok(())
    }

    fn displaced(&mut self) -> Result<Vec<i64>, Malformed> {
        Ok(self.grid().claims.keys().copied().collect())
    }

    fn set_stuck(&mut self, key: &Key, why: Option<&Refusal>) -> Result<(), Malformed> {
        match why {
            Some(why) => self.grid().stuck.insert(key.clone(), why.clone()),
            None => self.grid().stuck.remove(key),
        };
        Ok(())
    }

    fn lose(&mut self, conflict: Conflict) -> Result<(), Malformed> {
        let is_it = |c: &Conflict| (&c.name, c.column, c.stamp) == (&conflict.name, conflict.column, conflict.stamp);
        if !self.grid().book.iter().any(is_it) {
            self.grid().book.push(conflict);
        }
        Ok(())
    }

    fn strike(&mut self, name: &Name, columns: Option<&[usize]>, context: &Context<'_>) -> Result<bool, Malformed> {
        let is_struck = |line: &Conflict| {
            line.name == *name && columns.is_none_or(|c| c.contains(&line.column)) && context.saw(&line.stamp)
        };
        let book = &mut self.grid().book;
        book.retain(|line| !is_struck(line));
        Ok(book.iter().any(|line| line.name == *name))
    }

    fn has_book(&self) -> bool {
        !self.grids[self.t].book.is_empty()
    }

    fn digest(&mut self, add: u128, sub: u128) {
        *self.digest = self.digest.wrapping_add(add).wrapping_sub(sub);
    }

    fn hasher(&self) -> &CellHasher {
        self.hasher
    }
}
