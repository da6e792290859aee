//! What the log says of a key that no row shows: who showed it last, and who deleted it. All of the log is read for it, entry by
//! entry, for a row that is gone leaves nothing else behind.

use p2pdb_core::body::{Body, Cell, Kind, RowOp, Section, unpack};
use p2pdb_core::claim;
use p2pdb_core::clock::Stamp;
use p2pdb_core::id::{Dot, Seq};
use p2pdb_core::name::{self, Name, key_name};
use p2pdb_core::value::Value;

use super::{View, clock_of};
use crate::store::StoreError;
use crate::store::tables::Tracked;

/// Ids from here on may be derived ones.
const DERIVED_MIN: i64 = 1 << 32;

/// Names of rows that had a key, and when.
#[derive(Debug, Default)]
pub(super) struct Past {
    /// The last that was written with it.
    pub(super) last: Option<(Stamp, Name)>,
    /// The last of them that was deleted.
    pub(super) deleted: Option<(Stamp, Name)>,
}

impl View<'_> {
    /// Looks for rows of table `t` that had one of these keys.
    pub(super) fn past(&self, t: i64, keys: &[Vec<Value>]) -> Result<Past, StoreError> {
        let mut past = Past::default();
        let Some(table) = self.tables.get(t) else { return Ok(past) };
        let keys: Vec<_> = keys.iter().map(|key| Wanted::new(table, key)).collect();
        let sql = "SELECT e.author, e.seq, e.clock, e.body FROM _p2p_entry e JOIN _p2p_author a ON a.n = e.author
            WHERE e.body IS NOT NULL AND e.seq <= a.applied ORDER BY e.n";
        let mut statement = self.conn.prepare_cached(sql)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let (author, seq) = (self.author(row.get(0)?), Seq(row.get::<_, i64>(1)? as u64));
            let at = Stamp { clock: clock_of(row.get(2)?), author, seq, op: 0 };
            let raw = unpack(row.get_ref(3)?.as_blob()?)?;
            let body = Body::read(&raw, author)?;
            let mut sections = body.sections();
            while let Some(section) = sections.next()? {
                if section.table == table.merge.id {
                    past.read(table, section, at, &keys)?;
                }
            }
        }
        Ok(past)
    }
}

impl Past {
    fn read(
        &mut self,
        table: &Tracked,
        mut section: Section<'_, '_>,
        entry: Stamp,
        keys: &[Wanted],
    ) -> Result<(), StoreError> {
        let places: Vec<_> = table.columns.iter().map(|c| section.columns.iter().position(|s| s == c)).collect();
        let mut row = RowOp::default();
        let mut at = entry;
        while section.next_row(&mut row)? {
            at.op = row.op;
            let cell = |column: usize| places.get(column).copied().flatten().and_then(|place| row.cells.get(place));
            let id = table.merge.id_column.and_then(cell).and_then(|cell| match cell {
                Cell::Integer(id) => Some(*id),
                _ => None,
            });
            let kept = match section.kind {
                // It says that a conflict about the row is settled, and removes nothing.
                Kind::Delete if row.seen.as_ref().is_some_and(Vec::is_empty) => continue,
                Kind::Delete => &mut self.deleted,
                Kind::Insert | Kind::Update => &mut self.last,
                Kind::Define | Kind::Alter | Kind::Settle | Kind::Part | Kind::Unseen => continue,
            };
            let name = match (row.name.take(), table.merge.id_column) {
                (Some(name), _) => name,
                (None, Some(_)) => Name::Born { dot: at.dot(), id: id.unwrap_or_default() },
                (None, None) => {
                    let key = table.merge.key.iter().map(|(c, collation)| Some((cell(*c)?.to_value()?, *collation)));
                    let Some(key) = key.collect::<Option<Vec<_>>>() else { continue };
                    key_name(key.iter().map(|(value, collation)| (value, *collation)))
                }
            };
            let is_wanted = keys.iter().any(|key| key.is(&name) || id.is_some_and(|id| key.is_id(id)));
            if is_wanted && kept.as_ref().is_none_or(|(before, _)| *before < at) {
                *kept = Some((at, name));
            }
        }
        Ok(())
    }
}

/// A key that is looked for.
struct Wanted {
    name: Name,
    /// Its values, folded as a name holds them.
    values: Vec<Value>,
}

impl Wanted {
    fn new(table: &Tracked, key: &[Value]) -> Self {
        if table.merge.id_column.is_some() {
            let none = Name::Key(Box::default());
            return Self { name: none, values: key.to_vec() };
        }
        let name = key_name(key.iter().zip(&table.merge.key).map(|(value, (_, collation))| (value, *collation)));
        let values = match &name {
            Name::Key(bytes) if !name::is_hashed(bytes) => name::key_values(bytes).unwrap_or_default(),
            _ => Vec::new(),
        };
        Self { name, values }
    }

    /// Is it what a row of this name had for a key?
    fn is(&self, name: &Name) -> bool {
        *name == self.name || means(name, &self.values)
    }

    fn is_id(&self, id: i64) -> bool {
        self.values == [Value::Integer(id)]
    }
}

/// Would a row of this name show these values, or have been written with them? References as they were written.
fn means(name: &Name, values: &[Value]) -> bool {
    // A name may hold names; how deep a peer decides. What a table of ours makes is not deeper than this.
    const DEPTH_MAX: usize = 16;
    let mut todo = vec![(name.clone(), values.to_vec(), 0)];
    while let Some((name, values, depth)) = todo.pop() {
        match name {
            Name::Born { dot, id } => {
                let [Value::Integer(wanted)] = values[..] else { return false };
                if wanted != id && !is_derived(&dot, wanted) {
                    return false;
                }
            }
            Name::Key(bytes) if depth < DEPTH_MAX && !name::is_hashed(&bytes) => {
                let held = name::key_values(&bytes).unwrap_or_default();
                if held.len() != values.len() || held.is_empty() {
                    return false;
                }
                for (held, wanted) in held.into_iter().zip(values) {
                    match held {
                        Value::Ref(inner) => todo.push((*inner, vec![wanted], depth + 1)),
                        held if held != wanted => return false,
                        _ => {}
                    }
                }
            }
            Name::Key(_) => return false,
        }
    }
    true
}

fn is_derived(name: &Dot, id: i64) -> bool {
    id >= DERIVED_MIN && (0..claim::DERIVED_TRIES).any(|i| claim::derived_id(name, i) == id)
}
