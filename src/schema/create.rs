//! SQL generated from a definition.

use super::{Action, Column, Definition, Expr, ForeignKey, Index, OnConflict, Part, Term};
use crate::quote::Quoted;

impl Definition {
    /// CREATE TABLE, then its indexes. Unlisted expressions stand in it as their local text: never run this on a
    /// definition of a peer whose [`Definition::unlisted`] is not empty.
    pub fn create_sql(&self) -> Vec<String> {
        let names = self.column_names();
        let mut parts: Vec<String> = (0..self.columns.len()).map(|c| self.column_sql(c, &names)).collect();
        if let Some(key) = self.key.as_ref().filter(|_| self.inline_key().is_none()) {
            parts.push(format!("PRIMARY KEY({}){}", terms(&key.terms, &names), conflict(key.on_conflict)));
        }
        let constraints = self.uniques.iter().filter(|u| u.name.is_none());
        parts.extend(constraints.map(|u| format!("UNIQUE({}){}", terms(&u.terms, &names), conflict(u.on_conflict))));
        parts.extend(self.checks.iter().map(|check| {
            let name = check.name.as_ref().map(|n| format!("CONSTRAINT {} ", Quoted(n))).unwrap_or_default();
            format!("{name}CHECK({})", check.expr.sql(&names))
        }));
        parts.extend(self.foreign_keys.iter().map(|f| foreign_key(f, &names)));
        let options = [(self.without_rowid, "WITHOUT ROWID"), (self.strict, "STRICT")];
        let options: Vec<_> = options.iter().filter(|o| o.0).map(|o| o.1).collect();
        let table = format!("CREATE TABLE main.{}({}) {}", Quoted(&self.name), parts.join(", "), options.join(", "));
        let uniques = self.uniques.iter().filter_map(|i| self.index_sql(i, "UNIQUE INDEX"));
        let indexes = self.indexes.iter().filter_map(|i| self.index_sql(i, "INDEX"));
        [table.trim_end().to_string()].into_iter().chain(uniques).chain(indexes).collect()
    }

    /// The key's column, where the key must stand beside it: the rowid's other name, and what would be it but for DESC.
    fn inline_key(&self) -> Option<usize> {
        let key = self.key.as_ref()?;
        match key.terms.as_slice() {
            [Term { part: Part::Column(c), .. }]
                if self.columns[*c].declared.eq_ignore_ascii_case("integer") && !self.without_rowid =>
            {
                Some(*c)
            }
            _ => None,
        }
    }

    fn column_sql(&self, at: usize, names: &[&str]) -> String {
        let Column { name, declared, collation, not_null, default, generated } = &self.columns[at];
        let mut sql = Quoted(name).to_string();
        if !declared.is_empty() {
            sql += &format!(" {declared}");
        }
        if let Some(key) = self.key.as_ref().filter(|_| self.inline_key() == Some(at)) {
            let order = if key.is_rowid { "" } else { " DESC" };
            let auto = if key.is_autoincrement { " AUTOINCREMENT" } else { "" };
            sql += &format!(" PRIMARY KEY{order}{}{auto}", conflict(key.on_conflict));
        }
        if let Some(on_conflict) = not_null {
            sql += &format!(" NOT NULL{}", conflict(*on_conflict));
        }
        if !collation.eq_ignore_ascii_case("binary") {
            sql += &format!(" COLLATE {}", Quoted(collation));
        }
        if let Some(default) = default {
            sql += &format!(" DEFAULT ({})", default.sql(names));
        }
        if let Some(generated) = generated {
            let kind = if generated.is_stored { "STORED" } else { "VIRTUAL" };
            sql += &format!(" GENERATED ALWAYS AS ({}) {kind}", generated.expr.sql(names));
        }
        sql
    }

    /// ALTER TABLE … ADD COLUMN for one of its columns.
    pub(crate) fn add_column_sql(&self, name: &str) -> Option<String> {
        let at = self.columns.iter().position(|c| c.name == name)?;
        Some(format!(
            "ALTER TABLE main.{} ADD COLUMN {}",
            Quoted(&self.name),
            self.column_sql(at, &self.column_names())
        ))
    }

    /// CREATE INDEX for those of its indexes that constrain nothing and are meant.
    pub(crate) fn index_sqls(&self, is_meant: impl Fn(&Index) -> bool) -> Vec<String> {
        self.indexes.iter().filter(|i| is_meant(i)).filter_map(|i| self.index_sql(i, "INDEX")).collect()
    }

    fn index_sql(&self, index: &Index, kind: &str) -> Option<String> {
        let names = self.column_names();
        let filter = index.filter.as_ref().map(|f| format!(" WHERE {}", f.sql(&names))).unwrap_or_default();
        let name = index.name.as_ref()?;
        Some(format!(
            "CREATE {kind} main.{} ON {}({}){filter}",
            Quoted(name),
            Quoted(&self.name),
            terms(&index.terms, &names)
        ))
    }
}

fn terms(all: &[Term], names: &[&str]) -> String {
    let terms = all.iter().map(|term| {
        let part = match &term.part {
            Part::Column(c) => Quoted(names[*c]).to_string(),
            Part::Expr(Expr::Listed(tree)) => format!("({})", tree.sql(names)),
            Part::Expr(expr @ Expr::Unlisted { .. }) => format!("({})", expr.sql(names)),
        };
        format!("{part} COLLATE {}{}", Quoted(&term.collation), if term.is_descending { " DESC" } else { "" })
    });
    terms.collect::<Vec<_>>().join(", ")
}

fn foreign_key(key: &ForeignKey, names: &[&str]) -> String {
    let columns = key.columns.iter().map(|c| Quoted(names[*c]).to_string()).collect::<Vec<_>>().join(", ");
    let mut parent = key.parent_columns.iter().map(|c| Quoted(c).to_string()).collect::<Vec<_>>().join(", ");
    if !parent.is_empty() {
        parent = format!("({parent})");
    }
    let action = |on: &str, action: Action| match action {
        Action::NoAction => String::new(),
        Action::Restrict => format!(" ON {on} RESTRICT"),
        Action::SetNull => format!(" ON {on} SET NULL"),
        Action::SetDefault => format!(" ON {on} SET DEFAULT"),
        Action::Cascade => format!(" ON {on} CASCADE"),
    };
    let deferred = if key.is_deferred { " DEFERRABLE INITIALLY DEFERRED" } else { "" };
    let (delete, update) = (action("DELETE", key.on_delete), action("UPDATE", key.on_update));
    format!("FOREIGN KEY({columns}) REFERENCES {}{parent}{delete}{update}{deferred}", Quoted(&key.parent))
}

fn conflict(on_conflict: OnConflict) -> &'static str {
    match on_conflict {
        OnConflict::Abort => "",
        OnConflict::Rollback => " ON CONFLICT ROLLBACK",
        OnConflict::Fail => " ON CONFLICT FAIL",
        OnConflict::Ignore => " ON CONFLICT IGNORE",
        OnConflict::Replace => " ON CONFLICT REPLACE",
    }
}
