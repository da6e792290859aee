//! Probes: BEFORE triggers that mark the rows which a REPLACE may displace.
//!
//! Each unique index is asked for the row that holds what the new row wants. The terms and the condition of an index
//! stand in the probe as they stand in the index, so that the planner finds it.

use std::collections::BTreeSet;

use super::HINT;
use super::text::{Naming, insert, list};
use crate::quote::Quoted;
use crate::schema::{Definition, Expr, Index, Part, Term};

/// Letters and bodies of the triggers.
pub(super) fn triggers(naming: &Naming<'_>, definition: &Definition) -> Vec<(&'static str, String)> {
    let indexes = probed(definition);
    let mut all = Vec::new();
    let mut push = |letters, head: String, probes: Vec<String>| {
        if !probes.is_empty() {
            all.push((letters, format!("{head} BEGIN {} END", probes.join(" "))));
        }
    };
    let table = naming.table;
    let probes = |exclude: &str| -> Vec<String> {
        let by_index = indexes.iter().map(|i| probe(naming, &condition(i, definition), exclude));
        let by_default = defaulted(&indexes, definition)
            .into_iter()
            .map(|c| probe(naming, &format!("NEW.{} IS NULL", Quoted(c)), exclude));
        by_index.chain(by_default).collect()
    };
    let mut on_insert = probes(&not_itself_inserted(naming));
    // A rowid can be taken as well. Where the INSERT names none it reads -1 here, and the probe is spared: what a REPLACE
    // into the rowid -1 displaces is the one thing not seen.
    if let (Some(rowid), false) = (naming.rowid, naming.is_rowid || naming.key.is_empty()) {
        let named = format!("NEW.{rowid} IS NOT -1");
        if on_insert.is_empty() {
            let head = format!("BEFORE INSERT ON {table} WHEN {named}");
            push("bi", head, vec![probe(naming, &format!("x.{rowid} = NEW.{rowid}"), "")]);
        } else {
            on_insert.push(probe(naming, &format!("{named} AND x.{rowid} = NEW.{rowid}"), ""));
        }
        let head = format!("BEFORE UPDATE OF {} ON {table}", naming.rowids.join(", "));
        push(
            "bv",
            head,
            vec![probe(naming, &format!("x.{rowid} = NEW.{rowid} AND NEW.{rowid} IS NOT OLD.{rowid}"), "")],
        );
    }
    push("bi", format!("BEFORE INSERT ON {table}"), on_insert);
    let of = touching(&indexes, definition, naming);
    push("bu", format!("BEFORE UPDATE {of}ON {table}"), probes(&not_itself_updated(naming)));
    all
}

/// The unique indexes that need a probe, and the key where its equality is not ours: what is displaced under a key
/// that we fold as SQLite does is the row of the marker itself.
fn probed(definition: &Definition) -> Vec<Index> {
    let mut all = definition.uniques.clone();
    let is_folded = |t: &Term| ["BINARY", "NOCASE", "RTRIM"].contains(&t.collation.as_str());
    if let Some(key) = definition.key.as_ref().filter(|k| !k.is_rowid && !k.terms.iter().all(is_folded)) {
        all.push(Index { name: None, terms: key.terms.clone(), filter: None, on_conflict: key.on_conflict });
    }
    all
}

fn probe(naming: &Naming<'_>, condition: &str, exclude: &str) -> String {
    let (columns, values) = naming.row("x");
    insert(
        naming.t,
        HINT,
        &columns,
        &format!("SELECT {{}}{} FROM {} AS x WHERE {condition}{exclude}", list(&values), naming.table),
    )
}

/// A row does not displace itself.
fn not_itself_updated(naming: &Naming<'_>) -> String {
    match naming.rowid {
        Some(rowid) => format!(" AND x.{rowid} IS NOT OLD.{rowid}"),
        None if naming.is_rowid => format!(" AND x.{0} IS NOT OLD.{0}", Quoted(&naming.key[0])),
        None => String::new(),
    }
}

/// A REPLACE on a row's own id keeps the row; the marker of the insert says so. An id that is not given reads -1.
fn not_itself_inserted(naming: &Naming<'_>) -> String {
    match naming.key.first().filter(|_| naming.is_rowid) {
        Some(id) => format!(" AND (x.{0} IS NOT NEW.{0} OR NEW.{0} IS -1)", Quoted(id)),
        None => String::new(),
    }
}

/// The rows that hold what NEW wants in this index.
fn condition(index: &Index, definition: &Definition) -> String {
    let names = definition.column_names();
    let mut all: Vec<String> = index.terms.iter().map(|term| equals(term, definition, &names)).collect();
    if let Some(filter) = &index.filter {
        all.push(format!("({})", filter.sql(&names)));
    }
    all.join(" AND ")
}

fn equals(term: &Term, definition: &Definition, names: &[&str]) -> String {
    let collation = Quoted(&term.collation);
    match &term.part {
        Part::Column(c) => {
            let name = Quoted(names[*c]);
            let is_own = definition.columns[*c].collation == term.collation;
            let by = if is_own { String::new() } else { format!(" COLLATE {collation}") };
            format!("x.{name} = NEW.{name}{by}")
        }
        Part::Expr(expr) => {
            let used = expr.columns().unwrap_or_else(|| (0..names.len()).collect());
            let new: Vec<String> = used.iter().map(|c| format!("NEW.{0} AS {0}", Quoted(names[*c]))).collect();
            let new = if new.is_empty() { "NULL".into() } else { new.join(", ") };
            let sql = expr.sql(names);
            format!("({sql}) = (SELECT {sql} FROM (SELECT {new})) COLLATE {collation}")
        }
    }
}

/// Columns that a REPLACE fills with their DEFAULT after the BEFORE triggers ran: where NEW says NULL there, what it wants
/// of these indexes is not known yet, and any row may be displaced.
fn defaulted<'d>(indexes: &[Index], definition: &'d Definition) -> Vec<&'d str> {
    let used =
        indexes.iter().flat_map(|i| columns(i, definition).unwrap_or_else(|| (0..definition.columns.len()).collect()));
    let used: BTreeSet<usize> = used.collect();
    let defaulted =
        used.iter().map(|c| &definition.columns[*c]).filter(|c| c.not_null.is_some() && c.default.is_some());
    defaulted.map(|c| c.name.as_str()).collect()
}

/// Stored columns that an index is about; none if that can't be told.
fn columns(index: &Index, definition: &Definition) -> Option<BTreeSet<usize>> {
    let mut named = BTreeSet::new();
    for term in &index.terms {
        match &term.part {
            Part::Column(c) => {
                named.insert(*c);
            }
            Part::Expr(expr) => named.extend(expr.columns()?),
        }
    }
    named.extend(index.filter.as_ref().map_or(Some(BTreeSet::new()), Expr::columns)?);
    let (mut todo, mut met, mut stored) = (Vec::from_iter(named), BTreeSet::new(), BTreeSet::new());
    while let Some(c) = todo.pop() {
        match &definition.columns[c].generated {
            Some(generated) if met.insert(c) => todo.extend(generated.expr.columns()?),
            Some(_) => {}
            None => {
                stored.insert(c);
            }
        }
    }
    Some(stored)
}

/// `OF …` the columns by which an update can come to displace a row, so that other updates pay nothing. SQLite goes by the
/// names that SET says: where one of them is the rowid, all of its names stand here.
fn touching(indexes: &[Index], definition: &Definition, naming: &Naming<'_>) -> String {
    let all: Option<Vec<BTreeSet<usize>>> = indexes.iter().map(|i| columns(i, definition)).collect();
    let Some(all) = all else { return String::new() };
    let all: BTreeSet<usize> = all.into_iter().flatten().collect();
    let mut names: Vec<String> = all.iter().map(|c| Quoted(&definition.columns[*c].name).to_string()).collect();
    if naming.is_rowid && all.iter().any(|c| naming.key.contains(&definition.columns[*c].name)) {
        names.extend(naming.rowids.iter().map(|r| (*r).to_string()));
    }
    if names.is_empty() { String::new() } else { format!("OF {} ", names.join(", ")) }
}
