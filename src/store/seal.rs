//! Sealing: markers and rows in, signed entries out, in one transaction.
//!
//! A seal works off markers in batches while its time lasts. Where they outlast it the atomic group stays open: what
//! is sealed so far is stored, with records and without its markers, and the next call goes on. Peers merge the group
//! only once its last entry is there, and that one is written when no marker is left: then the group is what whole
//! transactions left, whatever was committed meanwhile.

use p2pdb_core::body::Cell;
use p2pdb_core::codec::Malformed;
use p2pdb_core::entry::First;
use p2pdb_core::id::Seq;
use p2pdb_core::local::{Pen, Touch, who_is_who};
use p2pdb_core::merge::{Context, Key, Merge, Rows};
use p2pdb_core::name::{Name, key_name};
use p2pdb_core::record::Record;
use p2pdb_core::value::Value;
use p2pdb_core::writer::{GroupWriter, Start};
use rusqlite::Connection;
use std::collections::{BTreeMap, BTreeSet};

use super::authors::Authors;
use super::rows::{SqliteRows, value_of};
use super::tables::{Tables, Tracked};
use super::{Store, StoreError};
use crate::capture::{DELETED, HINT, INSERTED, MOVED};
use p2pdb_core::cellhash::CellHasher;

/// Markers read at a time.
const BATCH: usize = 512;

/// What a seal did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sealed {
    /// Entries written.
    pub entries: usize,
    /// Are markers left? Then the group is open: call again.
    pub is_partial: bool,
}

struct Marker {
    kind: i64,
    key: Vec<Value>,
    old: Vec<Value>,
}

/// What a seal works with: the store, taken apart.
struct Sealing<'s, 'k> {
    conn: &'s Connection,
    tables: &'s Tables,
    authors: &'s mut Authors,
    hasher: &'s CellHasher,
    digest: &'s mut u128,
    group: GroupWriter<'k>,
    seen: BTreeMap<p2pdb_core::id::AuthorId, Seq>,
    /// Names of rows that lost their id in this transaction, by table and id.
    before: BTreeMap<(i64, i64), Name>,
}

impl Store {
    /// Seals what the user committed, for as long as `has_time` says so. `wall_ms` is the time it is stamped with.
    ///
    /// # Errors
    /// SQLite's; nothing is changed then.
    pub fn seal(&mut self, wall_ms: u64, mut has_time: impl FnMut() -> bool) -> Result<Sealed, StoreError> {
        self.write(|store| store.seal_in(wall_ms, &mut has_time))
    }

    /// The same inside a write transaction.
    pub(super) fn seal_in(&mut self, wall_ms: u64, has_time: &mut dyn FnMut() -> bool) -> Result<Sealed, StoreError> {
        self.refresh_tables()?;
        let is_open = self.is_group_open()?;
        let start = self.start(wall_ms)?;
        let key = self.identity.key.clone();
        let own = key.public().author();
        if self.authors.get(&own).is_none() {
            self.authors.add(own, key.public());
        }
        let seen = self.authors.applied();
        let Self { conn, tables, authors, hasher, digest, .. } = self;
        let group = GroupWriter::new(&key, start);
        let mut sealing = Sealing { conn, tables, authors, hasher, digest, group, seen, before: BTreeMap::new() };
        let is_announced = sealing.announce()?;
        let has_moves: bool = conn
            .prepare_cached("SELECT EXISTS(SELECT 1 FROM _p2p_mark WHERE m = 4)")?
            .query_row([], |row| row.get(0))?;
        let mut entries = 0;
        let mut is_partial = true;
        let mut is_first = true;
        let mut finished = Vec::new();
        while is_first || has_time() {
            is_first = false;
            // Where rows changed keys the markers of all of them are read together: an identity is followed to its end.
            if !sealing.batch(if has_moves { usize::MAX } else { BATCH })? {
                is_partial = false;
                break;
            }
            finished.extend(sealing.group.take());
        }
        let seen = sealing.seen;
        let must_close = is_open && !is_partial;
        finished.extend(sealing.group.finish(is_partial, must_close));
        entries += finished.len();
        for entry in &finished {
            let raw = p2pdb_core::body::unpack(&entry.body)?;
            let ops = p2pdb_core::body::Body::read(&raw, own)?.check()?;
            self.append(entry, ops)?;
            self.keep_seen(&entry.header, &seen)?;
        }
        if entries > 0
            && let Some(author) = self.authors.change(&own)
        {
            author.applied = author.held;
            author.seen = seen;
            author.seen.insert(own, author.held);
        }
        self.authors.take_back(&own);
        if is_announced {
            self.tables = Tables::load(&self.conn)?;
        }
        Ok(Sealed { entries, is_partial })
    }

    /// Reads the tables anew if the schema moved.
    pub(super) fn refresh_tables(&mut self) -> Result<(), StoreError> {
        let cookie: i64 = self.conn.query_row("PRAGMA schema_version", [], |row| row.get(0))?;
        if cookie != self.tables.cookie {
            super::define::check_armed(&self.conn)?;
            self.tables = Tables::load(&self.conn)?;
        }
        Ok(())
    }

    fn is_group_open(&self) -> Result<bool, StoreError> {
        let own = self.authors.number_of(&self.identity.key.public().author());
        let sql = "SELECT continues FROM _p2p_entry WHERE author = ?1 ORDER BY seq DESC LIMIT 1";
        let mut statement = self.conn.prepare_cached(sql)?;
        let mut rows = statement.query([own])?;
        Ok(match rows.next()? {
            Some(row) => row.get(0)?,
            None => false,
        })
    }

    /// Where the next own entry starts.
    fn start(&self, wall_ms: u64) -> Result<Start, StoreError> {
        let key = self.identity.key.public();
        let own = self.authors.get(&key.author());
        let known = own.map(|a| a.seen.clone()).unwrap_or_default();
        let mut deps: Vec<_> = self
            .authors
            .iter()
            .filter(|a| a.id != key.author() && a.applied > known.get(&a.id).copied().unwrap_or_default())
            .map(|a| (a.id, a.applied))
            .collect::<Vec<_>>()
            .into_iter()
            .map(|(id, seq)| self.id_of(&id, seq))
            .collect::<Result<_, _>>()?;
        deps.sort_unstable();
        deps.truncate(p2pdb_core::limit::DEPS_MAX);
        let mac = self.identity.secret.author_mac(self.identity.group, &key);
        Ok(Start {
            group: self.identity.group,
            parts: 0,
            prev: own.map(|a| a.head).unwrap_or_default(),
            last: own.map(|a| a.held).unwrap_or_default(),
            deps,
            clock: self.clock_floor().tick(wall_ms),
            schema: self.tables.schema_hash(),
            first: First { key, epoch: self.identity.epoch, mac },
        })
    }
}

impl Sealing<'_, '_> {
    /// Announces tables that are not in the log yet. Were there any?
    fn announce(&mut self) -> Result<bool, StoreError> {
        let mut is_announced = false;
        for table in self.tables.iter().filter(|t| t.is_new) {
            is_announced = true;
            self.group.define(table.merge.id, &table.columns, &table.definition);
            self.conn.execute("UPDATE _p2p_table SET state = 1 WHERE t = ?1", [table.t])?;
        }
        Ok(is_announced)
    }

    /// Works off the next markers; false if there are none.
    fn batch(&mut self, limit: usize) -> Result<bool, StoreError> {
        let Some((top, mut by_table)) = self.read_markers(limit)? else { return Ok(false) };
        for t in self.tables.parents_first() {
            let Some(table) = self.tables.get(t) else { continue };
            if let Some(markers) = by_table.remove(&t) {
                self.settle(table)?;
                match table.merge.id_column {
                    Some(_) => self.seal_alias(table, &markers)?,
                    None => self.seal_named(table, &markers)?,
                }
            }
        }
        self.conn.prepare_cached("DELETE FROM _p2p_mark WHERE n <= ?1")?.execute([top])?;
        Ok(true)
    }

    #[allow(clippy::type_complexity)]
    fn read_markers(&self, limit: usize) -> Result<Option<(i64, BTreeMap<i64, Vec<Marker>>)>, StoreError> {
        let width = self.tables.key_width();
        let keys = |p: &str| (1..=width).map(|i| format!("{p}{i}")).collect::<Vec<_>>().join(", ");
        let sql = format!("SELECT n, t, m, {}, {} FROM _p2p_mark ORDER BY n", keys("k"), keys("o"));
        let mut statement = self.conn.prepare_cached(&sql)?;
        let mut rows = statement.query([])?;
        let (mut top, mut count, mut by_table) = (None, 0, BTreeMap::<i64, Vec<Marker>>::new());
        while let Some(row) = rows.next()? {
            let (t, kind): (i64, i64) = (row.get(1)?, row.get(2)?);
            // A hint and the insert that it is about stay together.
            if count >= limit && kind != INSERTED {
                break;
            }
            top = Some(row.get(0)?);
            count += 1;
            let Some(table) = self.tables.get(t) else { continue };
            let columns = table.key().len();
            let read = |from: usize| {
                (from..from + columns).map(|c| row.get_ref(c).map(value_of)).collect::<rusqlite::Result<Vec<_>>>()
            };
            let old = if kind == MOVED { read(3 + width)? } else { Vec::new() };
            by_table.entry(t).or_default().push(Marker { kind, key: read(3)?, old });
        }
        Ok(top.map(|top| (top, by_table)))
    }

    fn settle(&mut self, table: &Tracked) -> Result<(), StoreError> {
        self.merge(table, |merge, pen| merge.seal_settles(pen))
    }

    /// Runs `work` on one table's rows.
    fn merge<T>(
        &mut self,
        table: &Tracked,
        work: impl FnOnce(&mut Merge<'_, SqliteRows<'_>>, &mut Pen<'_, '_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut rows = SqliteRows::new(self.conn, table, self.tables, self.authors, self.hasher, self.digest)?;
        let context = Context { clock: self.group.clock(), author: self.group.author(), seq: Seq(0), seen: &self.seen };
        let mut merge = Merge { table: &table.merge, rows: &mut rows, context };
        let mut pen = Pen { group: &mut self.group, columns: &table.columns, groups: &table.groups };
        work(&mut merge, &mut pen)
    }

    fn seal_alias(&mut self, table: &Tracked, markers: &[Marker]) -> Result<(), StoreError> {
        let touches: Vec<_> = markers.iter().filter_map(touch).collect();
        let here = who_is_who(&touches);
        let ids: BTreeSet<i64> = here.keys().copied().collect();
        self.parents_of(table, ids.iter().map(|id| vec![Value::Integer(*id)]))?;
        let mut before = BTreeMap::new();
        self.merge(table, |merge, pen| {
            let mut records: BTreeMap<i64, Record> = BTreeMap::new();
            let mut rows: BTreeMap<i64, Vec<Value>> = BTreeMap::new();
            for id in ids.iter().chain(here.values().flatten()) {
                if let Some(record) = merge.rows.record(&Key::Id(*id))?.filter(|r| !r.is_hidden) {
                    records.insert(*id, record);
                }
            }
            for id in &ids {
                if let Some(values) = merge.rows.visible(&Key::Id(*id))? {
                    rows.insert(*id, values);
                }
            }
            // Who stays: (old id, new id). Everyone else that had a record is gone, every other row is new.
            let stays: BTreeMap<i64, i64> = here
                .iter()
                .filter_map(|(id, who)| Some((*id, (*who)?)))
                .filter(|(id, who)| rows.contains_key(id) && records.contains_key(who))
                .collect();
            let staying: BTreeSet<i64> = stays.values().copied().collect();
            for (id, record) in records.iter().filter(|(id, _)| !staying.contains(id)) {
                before.insert((table.t, *id), merge.name_of(&Key::Id(*id), record));
                merge.seal_death(pen, &Key::Id(*id), record)?;
            }
            for (id, who) in stays.iter().filter(|(id, who)| id != who) {
                before.insert((table.t, *who), merge.name_of(&Key::Id(*who), &records[who]));
                merge.rows.forget(&Key::Id(*who))?;
                let _ = id;
            }
            for (id, values) in rows {
                let values = merge.rows.logged(values)?;
                let cells: Vec<_> = values.iter().map(Cell::from).collect();
                match stays.get(&id) {
                    Some(who) => merge.seal_change(pen, &Key::Id(*who), &Key::Id(id), records[who].clone(), &cells)?,
                    None => merge.seal_birth(pen, &Key::Id(id), &cells)?,
                }
            }
            Ok(())
        })?;
        self.before.extend(before);
        Ok(())
    }

    fn seal_named(&mut self, table: &Tracked, markers: &[Marker]) -> Result<(), StoreError> {
        self.parents_of(table, markers.iter().map(|m| m.key.clone()))?;
        // Names touched, and whether a delete was among it.
        let mut touched: BTreeMap<Box<[u8]>, bool> = BTreeMap::new();
        let before = std::mem::take(&mut self.before);
        self.merge(table, |merge, pen| {
            let mut rows: BTreeMap<Box<[u8]>, Vec<Value>> = BTreeMap::new();
            for marker in markers {
                let new = names_of(merge.rows, table, &marker.key, &before)?;
                let old = names_of(merge.rows, table, &marker.old, &before)?;
                let stays = old.iter().any(|name| new.contains(name));
                for name in &new {
                    *touched.entry(name.clone()).or_default() |= marker.kind == DELETED;
                }
                for name in &old {
                    *touched.entry(name.clone()).or_default() |= !stays;
                }
                for key in [&marker.key, &marker.old].into_iter().filter(|k| !k.is_empty()) {
                    if let Some(values) = merge.rows.visible_by(key)? {
                        let values = merge.rows.logged(values)?;
                        let name = name_of(table, &values)?;
                        touched.entry(name.clone()).or_default();
                        rows.insert(name, values);
                    }
                }
            }
            for (name, is_deleted) in &touched {
                let key = Key::Name(name.clone());
                let record = merge.rows.record(&key)?;
                let values = match rows.remove(name) {
                    Some(values) => Some(values),
                    None => match merge.rows.visible(&key)? {
                        Some(values) => Some(merge.rows.logged(values)?),
                        None => None,
                    },
                };
                let cells: Option<Vec<_>> = values.as_ref().map(|v| v.iter().map(Cell::from).collect());
                match (record, cells) {
                    (None, Some(cells)) => merge.seal_birth(pen, &key, &cells)?,
                    (Some(record), Some(cells)) if record.is_hidden || *is_deleted => {
                        merge.seal_rebirth(pen, &key, &record, &cells)?;
                    }
                    (Some(record), Some(cells)) => merge.seal_change(pen, &key, &key, record, &cells)?,
                    (Some(record), None) if !record.is_hidden => merge.seal_death(pen, &key, &record)?,
                    (Some(_) | None, None) => {}
                }
            }
            Ok(())
        })?;
        self.before = before;
        Ok(())
    }

    /// Gives birth to rows that the touched ones refer to and whose own markers come later, theirs first.
    fn parents_of(&mut self, table: &Tracked, keys: impl Iterator<Item = Vec<Value>>) -> Result<(), StoreError> {
        if table.refs.is_empty() {
            return Ok(());
        }
        let mut todo = self.merge(table, |merge, _| {
            let mut missing = Vec::new();
            for key in keys {
                if let Some(values) = merge.rows.visible_by(&key)? {
                    missing.extend(merge.rows.missing_parents(&values)?);
                }
            }
            Ok(missing)
        })?;
        // A parent's own parents go first; one that is met again on the way is a cycle and stays a value for now: its
        // own marker, still to come, makes it a reference.
        let mut met = BTreeSet::new();
        while let Some((t, value)) = todo.pop() {
            let Some(parent) = self.tables.get(t) else { continue };
            let key = vec![value.clone()];
            let is_new = met.insert((t, key_name([(&value, Default::default())])));
            let found = self.merge(parent, |merge, _| {
                let Some(values) = merge.rows.visible_by(&key)? else { return Ok(None) };
                if merge.rows.name_shown(t, &value, 0)?.is_some() {
                    return Ok(None);
                }
                let up = if is_new { merge.rows.missing_parents(&values)? } else { Vec::new() };
                Ok(Some((values, up)))
            })?;
            match found {
                Some((_, up)) if !up.is_empty() => {
                    todo.push((t, value));
                    todo.extend(up);
                }
                Some((values, _)) => self.birth(parent, values)?,
                None => {}
            }
        }
        Ok(())
    }

    fn birth(&mut self, table: &Tracked, values: Vec<Value>) -> Result<(), StoreError> {
        self.merge(table, |merge, pen| {
            let values = merge.rows.logged(values)?;
            let key = match table.merge.id_column {
                Some(column) => match values[column] {
                    Value::Integer(id) => Key::Id(id),
                    _ => return Ok(()),
                },
                None => Key::Name(name_of(table, &values)?),
            };
            let cells: Vec<_> = values.iter().map(Cell::from).collect();
            merge.seal_birth(pen, &key, &cells)
        })
    }
}

fn touch(marker: &Marker) -> Option<Touch> {
    let id = |key: &[Value]| if let [Value::Integer(id)] = key { Some(*id) } else { None };
    let new = id(&marker.key)?;
    Some(match marker.kind {
        INSERTED => Touch::Inserted(new),
        DELETED => Touch::Deleted(new),
        MOVED => Touch::Moved(id(&marker.old)?, new),
        HINT => Touch::Hint(new),
        _ => Touch::Updated(new),
    })
}

fn name_of(table: &Tracked, logged: &[Value]) -> Result<Box<[u8]>, StoreError> {
    match key_name(table.merge.key.iter().map(|(c, collation)| (&logged[*c], *collation))) {
        Name::Key(bytes) => Ok(bytes),
        Name::Born { .. } => Err(Malformed::Rule("a keyed row is named by its key").into()),
    }
}

/// The names that a key as displayed may mean: with references as they are now, and as they were before this transaction.
fn names_of(
    rows: &mut SqliteRows<'_>,
    table: &Tracked,
    key: &[Value],
    before: &BTreeMap<(i64, i64), Name>,
) -> Result<BTreeSet<Box<[u8]>>, StoreError> {
    let mut names = BTreeSet::new();
    if key.is_empty() {
        return Ok(names);
    }
    for was in [false, true] {
        let mut values = Vec::with_capacity(key.len());
        for (value, (column, collation)) in key.iter().zip(&table.merge.key) {
            let parent = table.refs.get(column).copied();
            let past = match (parent, value) {
                (Some(parent), Value::Integer(id)) if was => before.get(&(parent, *id)).cloned(),
                _ => None,
            };
            let name = match (past, parent) {
                (Some(past), _) => Some(past),
                (None, Some(parent)) => rows.name_shown(parent, value, 0)?,
                (None, None) => None,
            };
            values.push((name.map_or_else(|| value.clone(), |n| Value::Ref(Box::new(n))), *collation));
        }
        if let Name::Key(bytes) = key_name(values.iter().map(|(v, c)| (v, *c))) {
            names.insert(bytes);
        }
        if table.refs.is_empty() || before.is_empty() {
            break;
        }
    }
    Ok(names)
}
