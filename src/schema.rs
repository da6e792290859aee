//! The structured definition of a table: what the log says of it, and what a peer builds it from.
//!
//! The one idea: between two replicas there is no SQL text. A definition is read from the local schema into fields
//! ([`Definition::read_local`]), travels as canonical bytes, is checked against bounds and a white list when it is
//! read again, and SQL is generated anew from the fields ([`Definition::create_sql`]), every name through
//! [`Quoted`](crate::quote::Quoted). What the fields can't say is named in [`Definition::unlisted`]: such a table
//! is tracked where it is, and a peer parks it with that reason.
//!
//! This module does not know what becomes of a definition: capture arms triggers by it, the store builds tables.

use p2pdb_core::codec::Malformed;
use p2pdb_core::name::Collation;
use std::collections::BTreeSet;

pub mod bytes;
mod compare;
mod create;
pub mod element;
pub mod expr;
pub mod list;
mod local;
mod parse;
pub mod tokens;
pub mod trigger;

pub use expr::{Expr, Place, Step, Tree};
pub use local::ReadError;
pub(crate) use local::is_virtual;

/// A table: its columns and all its constraints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Definition {
    /// Its name.
    pub name: String,
    /// Its columns in order, generated ones included.
    pub columns: Vec<Column>,
    /// Its primary key.
    pub key: Option<PrimaryKey>,
    /// WITHOUT ROWID.
    pub without_rowid: bool,
    /// STRICT.
    pub strict: bool,
    /// UNIQUE constraints and unique indexes, the primary key's not.
    pub uniques: Vec<Index>,
    /// Indexes that constrain nothing.
    pub indexes: Vec<Index>,
    /// Its foreign keys.
    pub foreign_keys: Vec<ForeignKey>,
    /// Its CHECKs.
    pub checks: Vec<Check>,
    /// What else of it can't travel, each a sentence.
    pub notes: Vec<String>,
}

/// A column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its declared type as SQLite reports it; empty where there is none.
    pub declared: String,
    /// Its collation, `BINARY` where nothing is declared.
    pub collation: String,
    /// NOT NULL, and what then.
    pub not_null: Option<OnConflict>,
    /// Its DEFAULT.
    pub default: Option<Expr>,
    /// What it is generated from.
    pub generated: Option<Generated>,
}

/// GENERATED ALWAYS AS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generated {
    /// The expression.
    pub expr: Expr,
    /// STORED, not VIRTUAL?
    pub is_stored: bool,
}

/// PRIMARY KEY.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrimaryKey {
    /// Its columns in the key's order.
    pub terms: Vec<Term>,
    /// Is it the rowid under another name? Only a sole column of type INTEGER is, and not if it says DESC.
    pub is_rowid: bool,
    /// AUTOINCREMENT.
    pub is_autoincrement: bool,
    /// Does the rowid name its row as another key would? Then two replicas that insert one id mean one row. SQL does not say it: the
    /// option of `p2p_track` does.
    pub is_natural: bool,
    /// ON CONFLICT.
    pub on_conflict: OnConflict,
}

/// One part of a key or an index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Term {
    /// What it is.
    pub part: Part,
    /// The collation that it compares by.
    pub collation: String,
    /// DESC.
    pub is_descending: bool,
}

/// A column by number, or an expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// A column.
    Column(usize),
    /// An expression, in unique and other indexes only.
    Expr(Expr),
}

/// A UNIQUE constraint, or an index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Index {
    /// The name of an index; none for a UNIQUE constraint.
    pub name: Option<String>,
    /// Its terms.
    pub terms: Vec<Term>,
    /// The rows that it is about, for a partial index.
    pub filter: Option<Expr>,
    /// ON CONFLICT of a constraint.
    pub on_conflict: OnConflict,
}

/// FOREIGN KEY.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignKey {
    /// Its columns by number.
    pub columns: Vec<usize>,
    /// The table it refers to.
    pub parent: String,
    /// The columns there; empty for the primary key.
    pub parent_columns: Vec<String>,
    /// ON DELETE.
    pub on_delete: Action,
    /// ON UPDATE.
    pub on_update: Action,
    /// DEFERRABLE INITIALLY DEFERRED.
    pub is_deferred: bool,
}

/// CHECK.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// The constraint's name, which stands in error messages.
    pub name: Option<String>,
    /// What must not be false.
    pub expr: Expr,
}

/// ON CONFLICT: what a violated constraint does where the statement does not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum OnConflict {
    /// ABORT, the default.
    #[default]
    Abort,
    /// ROLLBACK.
    Rollback,
    /// FAIL.
    Fail,
    /// IGNORE.
    Ignore,
    /// REPLACE.
    Replace,
}

/// What a foreign key does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Action {
    /// NO ACTION, the default.
    #[default]
    NoAction,
    /// RESTRICT.
    Restrict,
    /// SET NULL.
    SetNull,
    /// SET DEFAULT.
    SetDefault,
    /// CASCADE.
    Cascade,
}

/// The names of a table's tracked columns, from the JSON of the private tables.
pub(crate) fn read_names(json: &str) -> Vec<String> {
    serde_json::from_str(json).unwrap_or_default()
}

/// A stored definition; none if it is of a version that this library does not know.
pub(crate) fn read_definition(bytes: &[u8]) -> Result<Option<Definition>, Malformed> {
    match Definition::read(bytes) {
        Ok(definition) => Ok(Some(definition)),
        Err(Malformed::Unknown { .. }) => Ok(None),
        Err(e) => Err(e),
    }
}

/// The names of the rowid that none of these columns has taken.
pub(crate) fn free_rowid_names<'n>(columns: impl Iterator<Item = &'n str> + Clone) -> Vec<&'static str> {
    let is_free = |name: &&str| !columns.clone().any(|c| c.eq_ignore_ascii_case(name));
    ["_rowid_", "rowid", "oid"].into_iter().filter(is_free).collect()
}

impl Definition {
    /// The columns' names in order.
    pub fn column_names(&self) -> Vec<&str> {
        self.columns.iter().map(|c| c.name.as_str()).collect()
    }

    /// The columns that hold values of their own: all but the generated ones.
    pub fn stored(&self) -> impl Iterator<Item = &Column> {
        self.columns.iter().filter(|c| c.generated.is_none())
    }

    /// Their names.
    pub fn stored_names(&self) -> Vec<String> {
        self.stored().map(|c| c.name.clone()).collect()
    }

    /// The key's columns and how they compare, in the key's order; empty without a declared key.
    pub fn key_columns(&self) -> Vec<(String, Collation)> {
        let Some(key) = &self.key else { return Vec::new() };
        let terms = key.terms.iter().filter_map(|t| match &t.part {
            Part::Column(c) => Some((self.columns.get(*c)?.name.clone(), Collation::from_sql(&t.collation))),
            Part::Expr(_) => None,
        });
        terms.collect()
    }

    /// A collation that only the host has, by which a key or an index compares: who does not have it can't write a row.
    pub fn host_collation(&self) -> Option<&str> {
        let key = self.key.iter().flat_map(|key| &key.terms);
        let indexed = self.uniques.iter().chain(&self.indexes).flat_map(|index| &index.terms);
        let is_built_in = |name: &str| ["BINARY", "NOCASE", "RTRIM"].iter().any(|own| name.eq_ignore_ascii_case(own));
        key.chain(indexed).map(|term| term.collation.as_str()).find(|name| !is_built_in(name))
    }

    /// Is the key an integer that may be renumbered: the rowid under another name, and not itself a foreign key?
    pub fn is_alias(&self) -> bool {
        let Some(key) = self.key.as_ref().filter(|k| k.is_rowid && !k.is_natural) else { return false };
        let Some(Term { part: Part::Column(id), .. }) = key.terms.first() else { return false };
        !self.foreign_keys.iter().any(|f| f.columns.contains(id))
    }

    /// The same with the kind of integer key that `other` has, where both have one.
    pub(crate) fn keyed_like(mut self, other: &Self) -> Self {
        let theirs = other.key.as_ref().filter(|k| k.is_rowid);
        if let (Some(key), Some(theirs)) = (self.key.as_mut().filter(|k| k.is_rowid), theirs) {
            key.is_natural = theirs.is_natural;
        }
        self
    }

    /// Can a row be without a name: no declared key, or NULL in one of its columns?
    pub fn has_nameless_rows(&self) -> bool {
        match &self.key {
            None => true,
            Some(key) if key.is_rowid || self.without_rowid => false,
            Some(key) => !key.terms.iter().all(|t| match &t.part {
                Part::Column(c) => self.columns.get(*c).is_some_and(|c| c.not_null.is_some()),
                Part::Expr(_) => false,
            }),
        }
    }

    /// The names of the rowid that no column has taken; of a table that has one.
    pub fn rowid_names(&self) -> Vec<&'static str> {
        if self.without_rowid { Vec::new() } else { free_rowid_names(self.columns.iter().map(|c| c.name.as_str())) }
    }

    /// Are rows that have no key exchanged, named by their birth? Only the rowid tells where such a row is.
    pub fn names_by_birth(&self) -> bool {
        self.has_nameless_rows() && !self.rowid_names().is_empty()
    }

    /// Columns that common CHECKs join, transitively, through generated columns too. Groups of one are left out: a
    /// column that stands alone is always shown as it was written.
    pub fn check_groups_by_name(&self) -> Vec<Vec<String>> {
        let mut groups: Vec<BTreeSet<usize>> = Vec::new();
        for check in &self.checks {
            let mut joined = self.real_columns(check.expr.columns());
            groups.retain(|group| {
                let is_apart = group.is_disjoint(&joined);
                if !is_apart {
                    joined.extend(group);
                }
                is_apart
            });
            groups.push(joined);
        }
        let names = |g: &BTreeSet<usize>| g.iter().map(|c| self.columns[*c].name.clone()).collect();
        groups.iter().filter(|g| g.len() > 1).map(names).collect()
    }

    /// Columns with those generated replaced by what they come from; of an expression that can't be read, all.
    pub(crate) fn real_columns(&self, named: Option<BTreeSet<usize>>) -> BTreeSet<usize> {
        let mut todo: Vec<usize> = named.map_or_else(|| (0..self.columns.len()).collect(), |n| n.into_iter().collect());
        let (mut met, mut real) = (BTreeSet::new(), BTreeSet::new());
        while let Some(c) = todo.pop() {
            let Some(column) = self.columns.get(c).filter(|_| met.insert(c)) else { continue };
            match &column.generated {
                Some(generated) => todo.extend(generated.expr.columns().unwrap_or_default()),
                None => {
                    real.insert(c);
                }
            }
        }
        real
    }

    /// Why a peer can't build this table, if it can't: each reason a sentence.
    pub fn unlisted(&self) -> Vec<String> {
        let mut reasons = self.notes.clone();
        let mut add = |what: String, expr: Option<&Expr>| {
            if let Some(reason) = expr.and_then(Expr::unlisted) {
                reasons.push(format!("{what}: {reason}"));
            }
        };
        for column in &self.columns {
            add(format!("the DEFAULT of column \"{}\"", column.name), column.default.as_ref());
            add(format!("the generated column \"{}\"", column.name), column.generated.as_ref().map(|g| &g.expr));
        }
        for check in &self.checks {
            add("a CHECK".into(), Some(&check.expr));
        }
        for index in &self.uniques {
            let name = format!("the unique index \"{}\"", index.name.as_deref().unwrap_or_default());
            for term in &index.terms {
                add(name.clone(), if let Part::Expr(e) = &term.part { Some(e) } else { None });
            }
            add(name, index.filter.as_ref());
        }
        reasons
    }
}

#[cfg(test)]
mod tests;
