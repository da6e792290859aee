//! The tracked tables, one line each.

use super::{TriggerLine, View};
use crate::quote::Quoted;
use crate::schema::Definition;
use crate::store::StoreError;
use crate::store::define::{State, dropped};
use crate::store::tables::Tracked;
use crate::store::unique::index::Unique;

/// What names the rows of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// An integer that is only a claim: rows are named by their birth.
    Alias,
    /// The key.
    Named,
    /// An integer that names its row because its table was tracked so.
    Natural,
    /// The table is not here, or has no key: rows are named by their birth.
    None,
}

/// What becomes of a row that claims in a unique index what an earlier one has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Policy {
    /// It shows another value in this column.
    Another(String),
    /// It shows NULL in this column.
    Null(String),
    /// It is hidden.
    Hidden,
}

/// One tracked table.
#[derive(Clone, Debug)]
pub struct TableLine {
    /// Its local number.
    pub t: i64,
    /// Its name.
    pub name: String,
    /// What names its rows.
    pub kind: KeyKind,
    /// Its key columns.
    pub key: Vec<String>,
    /// Its columns.
    pub columns: Vec<String>,
    /// Its unique indexes: the columns of each, and what becomes of a row that comes too late.
    pub uniques: Vec<(Vec<String>, Policy)>,
    /// References that follow the rows that they mean when these are renumbered: column, and table.
    pub follows: Vec<(String, String)>,
    /// Rows in the table.
    pub rows: u64,
    /// Changes of the user that are not sealed yet.
    pub pending: u64,
    /// Rows that are not shown as merged, and entries that wait for the table.
    pub parked: u64,
    /// 0 to be announced, 1 in the log, 2 untracked, 3 can't be built here.
    pub state: i64,
    /// Is a table of that name here?
    pub is_here: bool,
    /// What the user should know of it.
    pub note: String,
    /// The user's triggers on it.
    pub triggers: Vec<TriggerLine>,
}

impl View<'_> {
    /// All tables that are or were tracked, by number.
    ///
    /// # Errors
    /// SQLite's.
    pub fn tables(&self) -> Result<Vec<TableLine>, StoreError> {
        let sql = "SELECT t, name, names, state, note,
            (SELECT count(*) FROM _p2p_stuck s WHERE s.t = a.t)
            + (SELECT count(*) FROM _p2p_withheld w WHERE w.table_id = a.id) FROM _p2p_table a ORDER BY t";
        let mut statement = self.conn.prepare_cached(sql)?;
        let mut rows = statement.query([])?;
        let mut lines = Vec::new();
        let mut triggers = self.triggers()?;
        while let Some(row) = rows.next()? {
            let t: i64 = row.get(0)?;
            let tracked = self.tables.get(t);
            let names: Vec<String> = serde_json::from_str(&row.get::<_, String>(2)?).unwrap_or_default();
            let key = tracked.map(Tracked::key).unwrap_or_default();
            let (name, state): (String, i64) = (row.get(1)?, row.get(3)?);
            let table = name.clone();
            let has_rows = tracked.is_some() || state == State::Captured as i64;
            let is_here = tracked.is_some() || self.is_here(&name)?;
            lines.push(TableLine {
                t,
                kind: tracked.map_or(KeyKind::None, kind),
                uniques: tracked.map(uniques).unwrap_or_default(),
                follows: tracked.map(|table| self.follows(table)).unwrap_or_default(),
                key: key.iter().filter_map(|(c, _)| names.get(*c).cloned()).collect(),
                columns: names,
                rows: if has_rows { self.rows_of(&name)? } else { 0 },
                pending: self.pending_of(t)?,
                parked: row.get::<_, i64>(5)? as u64,
                name,
                state,
                is_here,
                note: self.with_dropper(t, is_here, row.get(4)?)?,
                triggers: self.with_new(triggers.remove(&t).unwrap_or_default(), &table)?,
            });
        }
        Ok(lines)
    }

    fn follows(&self, table: &Tracked) -> Vec<(String, String)> {
        let parent = |t: &i64| self.tables.get(*t).map(|parent| parent.name.clone());
        table.refs.iter().filter_map(|(column, t)| Some((table.names[*column].clone(), parent(t)?))).collect()
    }

    fn is_here(&self, table: &str) -> Result<bool, StoreError> {
        let sql = "SELECT EXISTS(SELECT 1 FROM main.sqlite_schema WHERE type = 'table' AND name = ?1 COLLATE NOCASE)";
        Ok(self.conn.prepare_cached(sql)?.query_row([table], |row| row.get(0))?)
    }

    /// A table's note, and before it that somebody dropped the table.
    fn with_dropper(&self, t: i64, is_here: bool, note: String) -> Result<String, StoreError> {
        let dropped = match (dropped::by(self.conn, t)?, is_here) {
            (None, _) => return Ok(note),
            (Some(_), false) => {
                "it was dropped here, and its peers keep it: CREATE it again and its rows come back".to_owned()
            }
            (Some(by), true) => {
                let by = by.map(|by| by.to_string()).unwrap_or_default();
                format!("dropped by {by}: it stays here with its rows until it is dropped here too")
            }
        };
        Ok(if note.is_empty() { dropped } else { format!("{dropped}; {note}") })
    }

    /// 0 where the table is gone.
    fn rows_of(&self, table: &str) -> Result<u64, StoreError> {
        if !self.is_here(table)? {
            return Ok(0);
        }
        self.count(&format!("SELECT count(*) FROM main.{}", Quoted(table)))
    }

    fn pending_of(&self, t: i64) -> Result<u64, StoreError> {
        if crate::store::seal::pending(self.conn)? == 0 {
            return Ok(0);
        }
        let sql = "SELECT count(*) FROM _p2p_mark WHERE t = ?1";
        Ok(self.conn.prepare_cached(sql)?.query_row([t], |row| row.get::<_, i64>(0))? as u64)
    }
}

fn kind(table: &Tracked) -> KeyKind {
    let is_natural = || Definition::read(&table.definition).is_ok_and(|d| d.key.is_some_and(|key| key.is_natural));
    match table.merge.id_column {
        Some(_) => KeyKind::Alias,
        None if table.merge.key.is_empty() => KeyKind::None,
        None if is_natural() => KeyKind::Natural,
        None => KeyKind::Named,
    }
}

fn uniques(table: &Tracked) -> Vec<(Vec<String>, Policy)> {
    let name = |column: &usize| table.names.get(*column).cloned().unwrap_or_default();
    let one = |unique: &Unique| {
        let policy = match (unique.index.repair, unique.index.nullable) {
            (Some(column), _) => Policy::Another(name(&column)),
            (None, Some(column)) => Policy::Null(name(&column)),
            (None, None) => Policy::Hidden,
        };
        (unique.index.columns.iter().map(name).collect(), policy)
    };
    table.uniques.iter().map(one).collect()
}
