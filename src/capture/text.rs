//! The texts of the triggers.

use super::{DELETED, INSERTED, MOVED, Trigger, UPDATED, probe};
use crate::quote::Quoted;
use crate::schema::Definition;

/// How markers name the rows of a table.
pub(super) struct Naming<'d> {
    pub(super) t: i64,
    pub(super) table: Quoted<'d>,
    /// The key's columns.
    pub(super) key: Vec<String>,
    /// May the key hold NULL? Such a row is named by its rowid.
    pub(super) is_nullable: bool,
    /// The names of the rowid that no column has taken.
    pub(super) rowids: Vec<&'static str>,
    /// The first of them.
    pub(super) rowid: Option<&'static str>,
    /// Is the key the rowid?
    pub(super) is_rowid: bool,
}

impl<'d> Naming<'d> {
    pub(super) fn new(t: i64, definition: &'d Definition) -> Self {
        let key: Vec<String> = definition.key_columns().into_iter().map(|k| k.0).collect();
        let rowids = definition.rowid_names();
        let rowid = rowids.first().copied();
        let is_nullable = !key.is_empty() && definition.has_nameless_rows();
        let is_rowid = definition.key.as_ref().is_some_and(|k| k.is_rowid);
        Self { t, table: Quoted(&definition.name), key, is_nullable, rowids, rowid, is_rowid }
    }

    /// Columns of the marker, and the values of the row `of` (NEW, OLD or an alias) for them.
    pub(super) fn row(&self, of: &str) -> (Vec<String>, Vec<String>) {
        let mut columns: Vec<String> = (1..=self.key.len()).map(|i| format!("k{i}")).collect();
        let mut values: Vec<String> = self.key.iter().map(|k| format!("{of}.{}", Quoted(k))).collect();
        if let Some(rowid) = self.nameless_rowid(of) {
            columns.push("r".into());
            values.push(rowid);
        }
        (columns, values)
    }

    /// The rowid, where the row `of` has no other name.
    fn nameless_rowid(&self, of: &str) -> Option<String> {
        let rowid = self.rowid?;
        if self.key.is_empty() {
            Some(format!("{of}.{rowid}"))
        } else if self.is_nullable {
            Some(format!("CASE WHEN {} THEN {of}.{rowid} END", self.is_null(of)))
        } else {
            None
        }
    }

    fn is_null(&self, of: &str) -> String {
        self.key.iter().map(|k| format!("{of}.{} IS NULL", Quoted(k))).collect::<Vec<_>>().join(" OR ")
    }

    /// `INSERT INTO _p2p_mark(…) VALUES(…);`
    fn mark(&self, kind: i64, of: &str) -> String {
        let (columns, values) = self.row(of);
        insert(self.t, kind, &columns, &format!("VALUES({{}}{})", list(&values)))
    }

    /// Is the key of NEW another one than that of OLD, byte for byte?
    fn is_moved(&self) -> Option<String> {
        if self.key.is_empty() {
            return self.rowid.map(|r| format!("NEW.{r} IS NOT OLD.{r}"));
        }
        let differs = |k: &String| format!("NEW.{0} COLLATE BINARY IS NOT OLD.{0}", Quoted(k));
        Some(self.key.iter().map(differs).collect::<Vec<_>>().join(" OR "))
    }

    /// The marker of an update: after a key change, new and old key in one. Two triggers with a WHEN each cost more than the
    /// CASE, as SQLite starts a program to ask the WHEN.
    fn mark_updated(&self) -> String {
        let Some(moved) = self.is_moved() else { return self.mark(UPDATED, "NEW") };
        let (mut columns, mut values) = self.row("NEW");
        let old: Vec<String> = match (self.key.as_slice(), self.rowid) {
            ([], rowid) => rowid.iter().map(|r| format!("CASE WHEN {moved} THEN OLD.{r} END")).collect(),
            ([one], _) => vec![format!("CASE WHEN {moved} THEN OLD.{} END", Quoted(one))],
            // What the comparisons would cost, again for each column, is more than what is written for nothing.
            (all, _) => all.iter().map(|k| format!("OLD.{}", Quoted(k))).collect(),
        };
        columns.extend((1..=old.len()).map(|i| format!("o{i}")));
        values.extend(old);
        let kind = format!("CASE WHEN {moved} THEN {MOVED} ELSE {UPDATED} END");
        format!("INSERT INTO _p2p_mark(t, m{}) VALUES({}, {kind}{});", list(&columns), self.t, list(&values))
    }

    /// A row without a name got one, or another rowid: what it was is gone.
    fn mark_named(&self) -> Option<String> {
        let rowid = self.rowid.filter(|_| self.is_nullable)?;
        let (old, new) = (self.is_null("OLD"), self.is_null("NEW"));
        let source =
            format!("SELECT {{}}, OLD.{rowid} WHERE ({old}) AND (NEW.{rowid} IS NOT OLD.{rowid} OR NOT ({new}))");
        Some(insert(self.t, DELETED, &["r".into()], &source))
    }

    fn trigger(&self, letters: &str, body: String) -> Trigger {
        Trigger { name: format!("_p2p_{}{letters}", self.t), body: format!(" {body}") }
    }
}

/// `, a, b`
pub(super) fn list(parts: &[String]) -> String {
    parts.iter().map(|p| format!(", {p}")).collect()
}

/// `INSERT INTO _p2p_mark(t, m…) source;` with table number and kind in the place of `{}` in the source.
pub(super) fn insert(t: i64, kind: i64, columns: &[String], source: &str) -> String {
    format!("INSERT INTO _p2p_mark(t, m{}) {};", list(columns), source.replacen("{}", &format!("{t}, {kind}"), 1))
}

/// The triggers of table number `t`, in the order in which they are created.
pub fn texts(t: i64, definition: &Definition) -> Vec<Trigger> {
    let naming = Naming::new(t, definition);
    let table = naming.table;
    let mut all = probe::triggers(&naming, definition)
        .into_iter()
        .map(|(letters, body)| naming.trigger(letters, body))
        .collect::<Vec<_>>();
    all.push(naming.trigger("i", format!("AFTER INSERT ON {table} BEGIN {} END", naming.mark(INSERTED, "NEW"))));
    all.push(naming.trigger("d", format!("AFTER DELETE ON {table} BEGIN {} END", naming.mark(DELETED, "OLD"))));
    let updated = [naming.mark_updated()].into_iter().chain(naming.mark_named()).collect::<Vec<_>>().join(" ");
    all.push(naming.trigger("u", format!("AFTER UPDATE ON {table} BEGIN {updated} END")));
    all
}

/// Marks every row of the table.
pub(super) fn mark_all(t: i64, definition: &Definition) -> String {
    let naming = Naming::new(t, definition);
    let (columns, values) = naming.row("x");
    insert(t, INSERTED, &columns, &format!("SELECT {{}}{} FROM main.{} AS x", list(&values), naming.table))
}
