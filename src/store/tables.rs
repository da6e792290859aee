//! Tracked tables as the store works with them: numbers, keys, references, statements.

use p2pdb_core::affinity::Affinity;
use p2pdb_core::body::ColumnId;
use p2pdb_core::id::TableId;
use p2pdb_core::merge;
use p2pdb_core::name::Collation;
use p2pdb_core::value::Value;
use rusqlite::Connection;
use std::collections::BTreeMap;

use super::define::alter::{self, ALTERED, UNTOLD};
use super::reference::Mode;
use super::rows::BindValue;
use super::unique::index::Unique;
use super::{StoreError, records};
use crate::quote::Quoted;
use crate::schema::{self, Definition};

/// One tracked table that is there.
#[derive(Clone, Debug)]
pub(crate) struct Tracked {
    /// Its local number.
    pub(crate) t: i64,
    /// Its name here.
    pub(crate) name: String,
    /// What the merge knows of it.
    pub(crate) merge: merge::Table,
    /// Its columns' ids, by number.
    pub(crate) columns: Vec<ColumnId>,
    /// Its columns' names here, by number.
    pub(crate) names: Vec<String>,
    /// Columns joined by common CHECKs.
    pub(crate) groups: Vec<Vec<usize>>,
    /// Columns that mean a row of another table: that table's number. Only where ids can move.
    pub(crate) refs: BTreeMap<usize, i64>,
    /// What a foreign key of one column says of rows whose parent is not visible, by its column.
    pub(crate) modes: BTreeMap<usize, Mode>,
    /// Columns of any table that mean rows of this one: (table, column).
    pub(crate) referring: Vec<(i64, usize)>,
    /// Its unique indexes, as rule P5 sees them.
    pub(crate) uniques: Vec<Unique>,
    /// Is it still to be announced?
    pub(crate) is_new: bool,
    /// Was it altered, and is that still to be told?
    pub(crate) is_altered: bool,
    /// Its definition's bytes.
    pub(crate) definition: Vec<u8>,
    /// The statements on its rows.
    pub(crate) sql: Sql,
}

/// Statements on the visible rows of a table; `?1…` are the key, or all columns in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sql {
    pub(crate) select: String,
    pub(crate) insert: String,
    pub(crate) delete: String,
    /// The record under a key.
    pub(crate) record: String,
    /// Keeps it.
    pub(crate) put: String,
    /// Keeps it where the key has none.
    pub(crate) put_new: String,
    pub(crate) amend: String,
    /// Drops it.
    pub(crate) forget: String,
    /// The highest key that has a record.
    pub(crate) last: String,
    /// Where the row of a key is, of rows without a key.
    pub(crate) place: String,
    /// The key and the record of the row that is there.
    pub(crate) standing: String,
    pub(crate) set_place: String,
    /// `WHERE …`, what finds a row from parameter `?1` on.
    pub(crate) by_key: String,
    pub(crate) table: String,
    /// What stands behind INSERT and UPDATE, so that a constraint refuses: where the schema says ON CONFLICT, it would decide
    /// otherwise. Elsewhere nothing, for it would also hold for the statements of triggers.
    pub(crate) or_abort: &'static str,
    /// The columns' names, quoted.
    pub(crate) names: Vec<String>,
    /// What finds a row, each an expression in SQL: the key's columns, and the rowid where rows may have no key.
    pub(crate) key: Vec<String>,
}

/// All of them, by local number and by id.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tables {
    all: BTreeMap<i64, Tracked>,
    by_id: BTreeMap<TableId, i64>,
    /// Tables that are not here any more, which is to be told.
    dropped: Vec<(i64, TableId)>,
    /// The schema cookie they were read at.
    pub(crate) cookie: i64,
}

impl Tables {
    pub(crate) fn load(conn: &Connection) -> Result<Self, StoreError> {
        let cookie = conn.query_row("PRAGMA schema_version", [], |row| row.get(0))?;
        let mut tables = Self { cookie, ..Self::default() };
        // A file that an older library made has no place for what is altered, until a node opened it.
        let [altered, untold] = if alter::has_place(conn)? { [ALTERED, UNTOLD] } else { ["0", "0"] };
        let sql = format!(
            "SELECT t, id, name, columns, names, definition, state, {untold}, {altered} FROM _p2p_table a
             WHERE state IN (0, 1)"
        );
        let mut statement = conn.prepare(&sql)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let t: i64 = row.get(0)?;
            let id = TableId(row.get(1)?);
            let columns = column_ids(row.get_ref(3)?.as_blob()?);
            let names: Vec<String> = schema::read_names(&row.get::<_, String>(4)?);
            let definition: Vec<u8> = row.get(5)?;
            let is_new = row.get::<_, i64>(6)? == 0;
            let name: String = row.get(2)?;
            let tracked = Tracked::build(conn, cookie, t, id, name, columns, names, definition, is_new)?;
            if tracked.is_none() && row.get(7)? {
                tables.dropped.push((t, id));
            }
            if let Some(tracked) = tracked {
                let mut tracked = Tracked { is_altered: row.get(7)?, ..tracked };
                if row.get(8)? {
                    tracked.merge.fills = alter::fills(conn, &tracked)?;
                }
                tables.by_id.insert(id, t);
                tables.all.insert(t, tracked);
            }
        }
        drop(rows);
        drop(statement);
        tables.resolve_refs(conn)?;
        Ok(tables)
    }

    pub(crate) fn get(&self, t: i64) -> Option<&Tracked> {
        self.all.get(&t)
    }

    pub(crate) fn by_id(&self, id: &TableId) -> Option<&Tracked> {
        self.by_id.get(id).and_then(|t| self.all.get(t))
    }

    /// A table that operations of peers can be put to: where its own rows are in the log.
    pub(crate) fn ready(&self, id: &TableId) -> Option<&Tracked> {
        self.by_id(id).filter(|t| !t.is_new)
    }

    pub(crate) fn by_name(&self, name: &str) -> Option<&Tracked> {
        self.all.values().find(|t| t.name.eq_ignore_ascii_case(name))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Tracked> {
        self.all.values()
    }

    /// Is there a table to announce, or a change of one to tell?
    pub(crate) fn has_news(&self) -> bool {
        !self.dropped.is_empty() || self.iter().any(|t| t.is_new || t.is_altered)
    }

    /// Tables with changes that are to be told.
    pub(crate) fn altered(&self) -> impl Iterator<Item = (i64, TableId)> {
        let altered = self.iter().filter(|t| t.is_altered).map(|t| (t.t, t.merge.id));
        altered.chain(self.dropped.iter().copied())
    }

    /// All tables are in the log now as they are.
    pub(crate) fn set_announced(&mut self) {
        self.dropped.clear();
        self.all.values_mut().for_each(|t| (t.is_new, t.is_altered) = (false, false));
    }

    /// Columns of any table that mean rows of table `t`.
    pub(crate) fn referring(&self, t: i64) -> impl Iterator<Item = (&Tracked, usize)> {
        let columns = self.get(t).map(|t| t.referring.as_slice()).unwrap_or_default();
        columns.iter().filter_map(|(child, column)| Some((self.get(*child)?, *column)))
    }

    /// Numbers of tables, each after those that it refers to, as far as there are no cycles.
    pub(crate) fn parents_first(&self) -> Vec<i64> {
        let mut order = Vec::new();
        let mut rest: Vec<_> = self.all.keys().copied().collect();
        while !rest.is_empty() {
            let is_free = |t: &i64| self.all[t].refs.values().all(|to| to == t || !rest.contains(to));
            let (mut free, mut bound): (Vec<_>, Vec<_>) = rest.iter().copied().partition(is_free);
            if free.is_empty() {
                free.push(bound.remove(0));
            }
            order.append(&mut free);
            rest = bound;
        }
        order
    }

    /// The widest key, in columns; the marker table has room for one at least.
    pub(crate) fn key_width(&self) -> usize {
        self.all.values().map(|t| t.key().len()).max().unwrap_or_default().max(1)
    }

    /// Hash over all definitions.
    pub(crate) fn schema_hash(&self) -> [u8; 16] {
        let mut h = blake3::Hasher::new_derive_key("p2pdb 1 schema");
        for (id, t) in &self.by_id {
            let definition = self.all.get(t).map(|t| t.definition.as_slice()).unwrap_or_default();
            h.update(&id.0).update(&(definition.len() as u64).to_le_bytes()).update(definition);
        }
        let mut hash = [0; 16];
        hash.copy_from_slice(&h.finalize().as_bytes()[..16]);
        hash
    }

    /// A foreign key is kept as a reference where the row it means can change its visible key: an alias
    /// table's id, or a key that is itself such a reference.
    fn resolve_refs(&mut self, conn: &Connection) -> Result<(), StoreError> {
        let mut found: BTreeMap<(i64, usize), i64> = BTreeMap::new();
        let keys: Vec<_> = self.all.values().map(|t| foreign_keys(conn, t, self)).collect::<Result<_, _>>()?;
        let keys: Vec<(i64, usize, i64)> = keys.into_iter().flatten().collect();
        loop {
            let before = found.len();
            for (child, column, parent) in &keys {
                let Some(to) = self.all.get(parent) else { continue };
                let moves = to.merge.id_column.is_some()
                    || matches!(to.merge.key.as_slice(), [(key, _)] if found.contains_key(&(*parent, *key)));
                if moves {
                    found.insert((*child, *column), *parent);
                }
            }
            if found.len() == before {
                break;
            }
        }
        for ((t, column), parent) in found {
            if let Some(child) = self.all.get_mut(&t) {
                child.refs.insert(column, parent);
                child.merge.refs = child.refs.keys().copied().collect();
                let is_weak = |c: &usize| child.modes.get(c).is_some_and(Mode::is_weak);
                child.merge.weak = child.merge.refs.iter().copied().filter(is_weak).collect();
            }
            if let Some(parent) = self.all.get_mut(&parent) {
                parent.referring.push((t, column));
            }
        }
        Ok(())
    }
}

/// Single-column foreign keys of a table to the primary key of another tracked one: (table, column, parent).
fn foreign_keys(conn: &Connection, child: &Tracked, tables: &Tables) -> Result<Vec<(i64, usize, i64)>, StoreError> {
    let sql = "SELECT \"table\", \"from\", \"to\" FROM pragma_foreign_key_list(?1) f
               WHERE (SELECT count(*) FROM pragma_foreign_key_list(?1) g WHERE g.id = f.id) = 1";
    let mut statement = conn.prepare(sql)?;
    let mut rows = statement.query([&child.name])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let (parent, from): (String, String) = (row.get(0)?, row.get(1)?);
        let to: Option<String> = row.get(2)?;
        let Some(parent) = tables.by_name(&parent) else { continue };
        let key = match (parent.merge.id_column, parent.merge.key.as_slice()) {
            (Some(id), _) => id,
            (None, [(key, _)]) => *key,
            _ => continue,
        };
        let is_key = to.is_none_or(|to| to.eq_ignore_ascii_case(&parent.names[key]));
        let column = child.names.iter().position(|n| n.eq_ignore_ascii_case(&from));
        if let (true, Some(column)) = (is_key, column) {
            found.push((child.t, column, parent.t));
        }
    }
    Ok(found)
}

/// The modes of a table's foreign keys of one column.
fn modes(definition: &Definition, names: &[String]) -> Result<BTreeMap<usize, Mode>, StoreError> {
    let mut modes = BTreeMap::new();
    for key in &definition.foreign_keys {
        let [column] = key.columns[..] else { continue };
        let name = definition.columns.get(column).map(|c| c.name.as_str()).unwrap_or_default();
        if let Some(number) = names.iter().position(|n| n.eq_ignore_ascii_case(name)) {
            modes.insert(number, Mode::of(definition, column, key.on_delete)?);
        }
    }
    Ok(modes)
}

/// The ids of a table's columns, as `_p2p_table.columns` keeps them.
pub(super) fn column_ids(bytes: &[u8]) -> Vec<ColumnId> {
    bytes.chunks_exact(4).map(|c| ColumnId([c[0], c[1], c[2], c[3]])).collect()
}

/// What the merge knows of a table with these columns, whether it is here or not. Which of them are references depends on the
/// other tables.
pub(super) fn merged(id: TableId, definition: &Definition, columns: &[ColumnId], names: &[String]) -> merge::Table {
    let place = |column: &str| names.iter().position(|n| n.eq_ignore_ascii_case(column));
    let key = definition.key_columns();
    let mut key: Vec<_> = key.into_iter().filter_map(|(c, collation)| Some((place(&c)?, collation))).collect();
    let has_nameless = definition.names_by_birth();
    let mut id_column = None;
    if definition.is_alias() {
        id_column = key.first().map(|k| k.0);
        key.clear();
    }
    let mut order: Vec<_> = columns.iter().copied().zip(0..).collect();
    order.sort_unstable();
    let affinities = definition.stored().map(|c| Affinity::of(&c.declared));
    merge::Table {
        id,
        id_column,
        key,
        has_nameless,
        columns: names.len(),
        refs: Vec::new(),
        weak: Vec::new(),
        order,
        affinities: affinities.collect(),
        fills: BTreeMap::new(),
    }
}

/// The columns of a table; none if it is not here. The schema may have moved since it was looked at.
fn columns_here(conn: &Connection, table: &str) -> rusqlite::Result<Vec<String>> {
    let sql = "SELECT name FROM pragma_table_xinfo(?1, 'main')
               WHERE EXISTS(SELECT 1 FROM main.sqlite_schema WHERE type = 'table' AND name = ?1 COLLATE NOCASE)";
    conn.prepare_cached(sql)?.query_map([table], |row| row.get(0))?.collect()
}

/// Does the table's text say ON CONFLICT?
fn has_conflict_clause(conn: &Connection, table: &str) -> rusqlite::Result<bool> {
    let sql = "SELECT sql FROM main.sqlite_schema WHERE type = 'table' AND name = ?1 COLLATE NOCASE";
    conn.prepare_cached(sql)?
        .query_row([table], |row| Ok(row.get_ref(0)?.as_str().map_or(true, schema::tokens::has_conflict_clause)))
}

impl Tracked {
    #[allow(clippy::too_many_arguments)]
    fn build(
        conn: &Connection,
        cookie: i64,
        t: i64,
        id: TableId,
        name: String,
        columns: Vec<ColumnId>,
        names: Vec<String>,
        definition: Vec<u8>,
        is_new: bool,
    ) -> Result<Option<Self>, StoreError> {
        let Some(def) = schema::read_definition(&definition)? else { return Ok(None) };
        let here = columns_here(conn, &name)?;
        let is_here = |name: &String| here.iter().any(|h| h.eq_ignore_ascii_case(name));
        if columns.len() != names.len() || here.is_empty() || !names.iter().all(is_here) {
            return Ok(None);
        }
        let place = |column: &str| names.iter().position(|n| n.eq_ignore_ascii_case(column));
        let merge = merged(id, &def, &columns, &names);
        let groups =
            def.check_groups_by_name().into_iter().map(|g| g.iter().filter_map(|c| place(c)).collect()).collect();
        let key: Vec<usize> = def.key_columns().iter().filter_map(|(c, _)| place(c)).collect();
        let rowid = schema::free_rowid_names(here.iter().map(String::as_str)).first().copied();
        if merge.has_nameless && rowid.is_none() {
            return Ok(None);
        }
        let or_abort = if has_conflict_clause(conn, &name)? { " OR ABORT" } else { "" };
        let sql = Sql::new(t, &name, &names, &key, rowid.filter(|_| merge.has_nameless), or_abort);
        let alone = format!("_p2p_alone_{t}_{cookie}");
        let uniques = super::unique::index::of(&def, &name, &names, &key, &sql.key, &alone);
        let (refs, referring) = (BTreeMap::new(), Vec::new());
        let modes = modes(&def, &names)?;
        Ok(Some(Self {
            t,
            name,
            merge,
            columns,
            names,
            groups,
            refs,
            modes,
            referring,
            uniques,
            is_new,
            is_altered: false,
            definition,
            sql,
        }))
    }

    /// The key columns, of either kind.
    pub(crate) fn key(&self) -> Vec<(usize, Collation)> {
        match self.merge.id_column {
            Some(id) => vec![(id, Collation::Binary)],
            None => self.merge.key.clone(),
        }
    }
}

impl Sql {
    fn new(t: i64, table: &str, names: &[String], key: &[usize], rowid: Option<&str>, or_abort: &'static str) -> Self {
        let (name, table, records) = (table.to_owned(), Quoted(table), records::table(t));
        let names: Vec<_> = names.iter().map(|n| Quoted(n).to_string()).collect();
        let all = names.join(", ");
        let marks = (1..=names.len()).map(|i| format!("?{i}")).collect::<Vec<_>>().join(", ");
        let by_key = key.iter().enumerate().map(|(i, c)| format!("{} = ?{}", names[*c], i + 1));
        let by_key = by_key.collect::<Vec<_>>().join(" AND ");
        let by_key = match rowid {
            Some(rowid) if key.is_empty() => format!("WHERE {rowid} = ?1"),
            // A row has one of the two: the other is NULL, and finds nothing.
            Some(rowid) => format!("WHERE ({by_key}) OR {rowid} = ?{}", key.len() + 1),
            None => format!("WHERE {by_key}"),
        };
        let put = match rowid {
            None => format!("INSERT OR REPLACE INTO {records}(key, record) VALUES(?1, ?2)"),
            Some(_) => format!(
                "INSERT INTO {records}(key, record, place) VALUES(?1, ?2, ?3) ON CONFLICT(key) DO UPDATE
                 SET record = excluded.record, place = CASE WHEN ?4 THEN excluded.place ELSE place END"
            ),
        };
        Self {
            select: format!("SELECT {all} FROM main.{table} {by_key}"),
            insert: format!("INSERT{or_abort} INTO main.{table}({all}) VALUES({marks})"),
            delete: format!("DELETE FROM main.{table} {by_key}"),
            record: format!("SELECT record FROM {records} WHERE key = ?1"),
            put,
            put_new: format!("INSERT OR IGNORE INTO {records}(key, record) VALUES(?1, ?2)"),
            amend: format!("UPDATE {records} SET record = {}(record) WHERE key = ?1", super::amend::FUNCTION),
            forget: format!("DELETE FROM {records} WHERE key = ?1"),
            last: format!("SELECT max(key) FROM {records}"),
            place: format!("SELECT place FROM {records} WHERE key = ?1"),
            standing: format!("SELECT key, record FROM {records} WHERE place = ?1"),
            set_place: format!("UPDATE {records} SET place = ?2 WHERE key = ?1"),
            by_key,
            table: name,
            or_abort,
            key: key.iter().map(|c| names[*c].clone()).chain(rowid.map(str::to_owned)).collect(),
            names,
        }
    }

    /// Parameters that find a row by what it shows. Where only a key is given, the rowid is none.
    pub(crate) fn finding<'v>(&self, key: &'v [Value]) -> impl Iterator<Item = BindValue<'v>> {
        const NULL: &Value = &Value::Null;
        key.iter().chain(std::iter::repeat_n(NULL, self.key.len().saturating_sub(key.len()))).map(BindValue)
    }
}
