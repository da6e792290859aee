//! The user's triggers on tracked tables: which run on merged rows, which do not, and why.

use std::collections::BTreeMap;

use super::View;
use crate::store::{StoreError, TriggerState};

/// A trigger of the user's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TriggerLine {
    /// Its name.
    pub name: String,
    /// What becomes of it on merged rows.
    pub state: TriggerState,
    /// Why it is held back; empty where it is not.
    pub why: String,
    /// Statements on merged rows that it made fail, and that were run without it.
    pub failed: u64,
    /// How it failed last.
    pub failure: String,
}

impl View<'_> {
    /// The triggers on each tracked table, by the table's number: as of the node's last look at the schema.
    ///
    /// # Errors
    /// SQLite's.
    pub fn triggers(&self) -> Result<BTreeMap<i64, Vec<TriggerLine>>, StoreError> {
        let mut by_table = BTreeMap::<i64, Vec<TriggerLine>>::new();
        // A file that an older version wrote has no such table before the node opens it.
        let there = "SELECT EXISTS(SELECT 1 FROM main.sqlite_schema WHERE type = 'table' AND name = '_p2p_trigger')";
        if !self.conn.prepare_cached(there)?.query_row([], |row| row.get(0))? {
            return Ok(by_table);
        }
        let sql = "SELECT t, name, state, why, failed, failure FROM _p2p_trigger ORDER BY t, n";
        let mut statement = self.conn.prepare_cached(sql)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            by_table.entry(row.get(0)?).or_default().push(TriggerLine {
                name: row.get(1)?,
                state: TriggerState::from_i64(row.get(2)?),
                why: row.get(3)?,
                failed: row.get::<_, i64>(4)? as u64,
                failure: row.get(5)?,
            });
        }
        Ok(by_table)
    }
}

impl View<'_> {
    /// The same with those that were created since.
    pub(super) fn with_new(&self, mut lines: Vec<TriggerLine>, table: &str) -> Result<Vec<TriggerLine>, StoreError> {
        let sql = "SELECT name FROM main.sqlite_schema WHERE type = 'trigger' AND tbl_name = ?1 COLLATE NOCASE
                   AND name NOT GLOB '_p2p_*' ORDER BY name";
        let mut statement = self.conn.prepare_cached(sql)?;
        let mut rows = statement.query([table])?;
        while let Some(row) = rows.next()? {
            let name: String = row.get(0)?;
            if !lines.iter().any(|line| line.name == name) {
                let (state, why, failure) = (TriggerState::New, String::new(), String::new());
                lines.push(TriggerLine { name, state, why, failed: 0, failure });
            }
        }
        Ok(lines)
    }
}

/// The triggers of one table, in a line for people.
pub fn triggers_in_words(triggers: &[TriggerLine]) -> String {
    let of = |state: TriggerState| triggers.iter().filter(move |t| t.state == state);
    let names = |word: &str, state| {
        let names: Vec<&str> = of(state).map(|t| t.name.as_str()).collect();
        (!names.is_empty()).then(|| format!("{word}: {}", names.join(", ")))
    };
    let each = |what: fn(&TriggerLine) -> String, state| of(state).map(what).collect::<Vec<_>>();
    let mut parts: Vec<String> = names("run", TriggerState::Runs).into_iter().collect();
    parts.extend(each(|t| format!("held back: {}: {}", t.name, t.why), TriggerState::HeldBack));
    let failed = of(TriggerState::Runs).filter(|t| t.failed > 0);
    parts.extend(
        failed.map(|t| format!("left out for {} changes that it made fail: {}: {}", t.failed, t.name, t.failure)),
    );
    parts.extend(names("what they do arrives as rows", TriggerState::Arrives));
    parts.extend(names("only look at what is written here", TriggerState::Checks));
    parts.extend(names("not looked at yet", TriggerState::New));
    parts.join("; ")
}
