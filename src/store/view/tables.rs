//! The tracked tables, one line each.

use super::View;
use crate::quote::Quoted;
use crate::store::StoreError;
use crate::store::define::State;
use crate::store::tables::Tracked;

/// What names the rows of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// An integer that is only a claim: rows are named by their birth.
    Alias,
    /// The key.
    Named,
    /// The table is not here, or has no key: rows are named by their birth.
    None,
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
    /// Rows in the table.
    pub rows: u64,
    /// Changes of the user that are not sealed yet.
    pub pending: u64,
    /// Rows that are not shown as merged, and entries that wait for the table.
    pub parked: u64,
    /// 0 to be announced, 1 in the log, 2 untracked, 3 can't be built here.
    pub state: i64,
    /// What the user should know of it.
    pub note: String,
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
        while let Some(row) = rows.next()? {
            let t: i64 = row.get(0)?;
            let tracked = self.tables.get(t);
            let names: Vec<String> = serde_json::from_str(&row.get::<_, String>(2)?).unwrap_or_default();
            let key = tracked.map(Tracked::key).unwrap_or_default();
            let (name, state): (String, i64) = (row.get(1)?, row.get(3)?);
            let has_rows = tracked.is_some() || state == State::Captured as i64;
            lines.push(TableLine {
                t,
                kind: match tracked {
                    Some(table) if table.merge.id_column.is_some() => KeyKind::Alias,
                    Some(table) if !table.merge.key.is_empty() => KeyKind::Named,
                    _ => KeyKind::None,
                },
                key: key.iter().filter_map(|(c, _)| names.get(*c).cloned()).collect(),
                columns: names,
                rows: if has_rows { self.rows_of(&name)? } else { 0 },
                pending: self.pending_of(t)?,
                parked: row.get::<_, i64>(5)? as u64,
                name,
                state,
                note: row.get(4)?,
            });
        }
        Ok(lines)
    }

    /// 0 where the table is gone.
    fn rows_of(&self, table: &str) -> Result<u64, StoreError> {
        let sql = "SELECT EXISTS(SELECT 1 FROM main.sqlite_schema WHERE type = 'table' AND name = ?1 COLLATE NOCASE)";
        if !self.conn.prepare_cached(sql)?.query_row([table], |row| row.get(0))? {
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
