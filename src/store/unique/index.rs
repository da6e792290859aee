//! The unique indexes of a table, as the rule sees them.

use p2pdb_core::name::Collation;
use p2pdb_core::unique::Index;
use p2pdb_core::value::Value;
use rusqlite::{OptionalExtension, params_from_iter};
use std::collections::BTreeSet;

use crate::quote::Quoted;
use crate::schema::{self, Definition, Expr, Part};
use crate::store::StoreError;
use crate::store::rows::{BindValue, SqliteRows, values_of};

/// A unique index.
#[derive(Clone, Debug)]
pub(crate) struct Unique {
    /// As the rule sees it.
    pub(crate) index: Index,
    terms: Terms,
    collations: Vec<Collation>,
    /// `SELECT` the key of the row that shows a tuple; what the terms are there are the parameters.
    holder: String,
}

/// What an index compares.
#[derive(Clone, Debug)]
enum Terms {
    /// Columns, in every row.
    Columns(Vec<usize>),
    /// What SQLite makes of a row that stands alone in a table without constraints: expressions and generated columns are computed
    /// there, and the condition is asked.
    Computed { create: String, insert: String, select: String },
}

impl Unique {
    /// Is it about that column?
    pub(crate) fn has(&self, column: usize) -> bool {
        self.index.columns.contains(&column)
    }

    /// What its terms are in a row with these visible values; nothing where its condition leaves the row out.
    pub(super) fn terms(&self, rows: &SqliteRows<'_>, values: &[Value]) -> Result<Option<Vec<Value>>, StoreError> {
        match &self.terms {
            Terms::Columns(columns) => Ok(Some(columns.iter().map(|c| values[*c].clone()).collect())),
            Terms::Computed { create, insert, select } => {
                let conn = rows.shared.conn;
                let computed = || {
                    conn.execute_batch(create)?;
                    conn.prepare_cached(insert)?.execute(params_from_iter(values.iter().map(BindValue)))?;
                    let mut statement = conn.prepare_cached(select)?;
                    statement.query_row([], |row| values_of(row, self.collations.len())).optional()
                };
                // A function or collation that only the host has: then the index can't be told here, and its refusals stand.
                Ok(computed().unwrap_or_default())
            }
        }
    }

    /// The canonical bytes of such terms.
    pub(super) fn tuple(&self, terms: &[Value]) -> Option<p2pdb_core::unique::Tuple> {
        p2pdb_core::unique::tuple(terms.iter().zip(self.collations.iter().copied()))
    }

    /// The visible key of the row that shows such terms.
    pub(super) fn holder(&self, rows: &SqliteRows<'_>, terms: &[Value]) -> Result<Option<Vec<Value>>, StoreError> {
        let key = rows.table.sql.key.len();
        let mut statement = rows.shared.conn.prepare_cached(&self.holder)?;
        let terms = params_from_iter(terms.iter().map(BindValue));
        Ok(statement.query_row(terms, |row| values_of(row, key)).optional()?)
    }
}

/// The table that a definition is about, as it is here.
struct Here<'d> {
    definition: &'d Definition,
    /// Its name, and a name for one of its rows alone.
    table: String,
    alone: String,
    /// The names of the definition's columns, generated ones included.
    names: Vec<&'d str>,
    /// Their numbers; none for generated ones.
    numbers: Vec<Option<usize>>,
    /// The key's columns by number.
    key: &'d [usize],
    /// What finds a row.
    finding: &'d [String],
}

/// All unique indexes of a definition, in canonical order: every replica has the same. `names` are the columns as they are called here,
/// by number; `finding` is what finds a row; `alone` is a name for a table of one row.
pub(in crate::store) fn of(
    definition: &Definition,
    table: &str,
    names: &[String],
    key: &[usize],
    finding: &[String],
    alone: &str,
) -> Vec<Unique> {
    let (mut left, mut number) = (names.iter(), 0..);
    let mut here = Here {
        definition,
        table: Quoted(table).to_string(),
        alone: Quoted(alone).to_string(),
        names: Vec::new(),
        numbers: Vec::new(),
        key,
        finding,
    };
    for column in &definition.columns {
        let is_stored = column.generated.is_none();
        let name = is_stored.then(|| left.next()).flatten();
        here.names.push(name.map_or(column.name.as_str(), String::as_str));
        here.numbers.push(if is_stored { number.next() } else { None });
    }
    let mut all: Vec<Unique> = definition.uniques.iter().filter_map(|index| here.read(index)).collect();
    all.sort_by(|a, b| a.index.columns.cmp(&b.index.columns));
    all
}

impl Here<'_> {
    fn read(&self, index: &schema::Index) -> Option<Unique> {
        let named = |part: &Part| match part {
            Part::Column(c) => Some(BTreeSet::from([*c])),
            Part::Expr(expr) => expr.columns(),
        };
        let mut columns: Vec<usize> = Vec::new();
        for term in &index.terms {
            columns.extend(self.definition.real_columns(named(&term.part)));
        }
        let shown = columns.clone();
        if let Some(filter) = &index.filter {
            columns.extend(self.definition.real_columns(filter.columns()));
        }
        let free = || shown.iter().filter(|c| !self.is_fixed(**c));
        let is_textual = |c: &&usize| is_textual(&self.definition.columns[**c].declared);
        let repair = free().rfind(is_textual).or_else(|| free().next_back());
        let is_key = |c: usize| self.numbers[c].is_some_and(|number| self.key.contains(&number));
        let nullable = shown.iter().rfind(|c| self.definition.columns[**c].not_null.is_none() && !is_key(**c));
        let number = |c: &usize| self.numbers.get(*c).copied().flatten();
        let (repair, nullable) = (repair.and_then(number), nullable.and_then(number));
        Some(Unique {
            index: Index { columns: columns.iter().map(number).collect::<Option<_>>()?, repair, nullable },
            terms: self.terms(index),
            collations: index.terms.iter().map(|t| Collation::from_sql(&t.collation)).collect(),
            holder: self.holder(index),
        })
    }

    /// A key, or a reference: it says which row this is, or which it means.
    fn is_fixed(&self, column: usize) -> bool {
        self.definition.foreign_keys.iter().any(|f| f.columns.contains(&column))
            || self.numbers[column].is_some_and(|number| self.key.contains(&number))
    }

    fn terms(&self, index: &schema::Index) -> Terms {
        let plain: Option<Vec<usize>> = index
            .terms
            .iter()
            .map(|t| if let Part::Column(c) = t.part { self.numbers.get(c).copied().flatten() } else { None })
            .collect();
        match (plain, &index.filter) {
            (Some(columns), None) => Terms::Columns(columns),
            _ => self.computed(index),
        }
    }

    fn computed(&self, index: &schema::Index) -> Terms {
        let (mut columns, mut stored) = (Vec::new(), Vec::new());
        for (column, name) in self.definition.columns.iter().zip(&self.names) {
            let name = Quoted(name).to_string();
            // Without STRICT, ANY would turn text into numbers.
            let declared = if column.declared.eq_ignore_ascii_case("any") { "" } else { &column.declared };
            let collation = Quoted(&column.collation).to_string();
            columns.push(match &column.generated {
                Some(generated) => {
                    format!("{name} {declared} COLLATE {collation} AS ({})", generated.expr.sql(&self.names))
                }
                None => format!("{name} {declared} COLLATE {collation}"),
            });
            if column.generated.is_none() {
                stored.push(name);
            }
        }
        let marks = (1..=stored.len()).map(|i| format!("?{i}")).collect::<Vec<_>>().join(", ");
        let alone = &self.alone;
        let terms = index.terms.iter().map(|t| self.term(t)).collect::<Vec<_>>().join(", ");
        Terms::Computed {
            create: format!(
                "CREATE TEMP TABLE IF NOT EXISTS {alone}({}); DELETE FROM temp.{alone}",
                columns.join(", ")
            ),
            insert: format!("INSERT INTO temp.{alone}({}) VALUES({marks})", stored.join(", ")),
            select: format!("SELECT {terms} FROM temp.{alone}{}", self.filter(index, "WHERE")),
        }
    }

    fn term(&self, term: &schema::Term) -> String {
        match &term.part {
            Part::Column(c) => Quoted(self.names[*c]).to_string(),
            Part::Expr(expr) => format!("({})", expr.sql(&self.names)),
        }
    }

    fn filter(&self, index: &schema::Index, word: &str) -> String {
        let condition = |filter: &Expr| format!(" {word} ({})", filter.sql(&self.names));
        index.filter.as_ref().map(condition).unwrap_or_default()
    }

    fn holder(&self, index: &schema::Index) -> String {
        let terms = index.terms.iter().enumerate();
        let terms = terms.map(|(at, t)| format!("{} = ?{} COLLATE {}", self.term(t), at + 1, Quoted(&t.collation)));
        let terms = terms.collect::<Vec<_>>().join(" AND ");
        format!(
            "SELECT {} FROM main.{} WHERE {terms}{}",
            self.finding.join(", "),
            self.table,
            self.filter(index, "AND")
        )
    }
}

/// Does a column of this declared type take text as it is? By SQLite's rules of affinity: TEXT, and BLOB or none.
fn is_textual(declared: &str) -> bool {
    let upper = declared.to_ascii_uppercase();
    let says = |words: &[&str]| words.iter().any(|w| upper.contains(w));
    !says(&["INT"]) && (says(&["CHAR", "CLOB", "TEXT", "BLOB"]) || upper.is_empty() || upper == "ANY")
}
