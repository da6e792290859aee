//! Compares two database files cell by cell: storage class and bytes, which is what `typeof` and `quote` show.
//!
//! It reads the tables as any program would, and takes nothing on trust that P2PDB says: only which tables are not exchanged,
//! and why, is asked of it.

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags, Statement};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;

use super::Failure;
use crate::cli::rows::Rows;
use crate::cli::table;
use crate::quote::Quoted;
use crate::store::View;
use crate::store::define::State;

/// Differences told of one table.
const TOLD_MAX: usize = 5;
/// Characters told of a value.
const VALUE_CHARS: usize = 60;

/// One table.
struct Compared {
    name: String,
    rows: u64,
    cells: u64,
    /// The first few.
    differences: Vec<String>,
    /// Why it is not compared.
    left_out: Option<String>,
}

/// All tables.
pub(super) struct Comparison(Vec<Compared>);

impl Comparison {
    pub(super) fn is_equal(&self) -> bool {
        self.0.iter().all(|t| t.differences.is_empty())
    }

    /// In a sentence.
    pub(super) fn verdict(&self) -> String {
        let compared: Vec<_> = self.0.iter().filter(|t| t.left_out.is_none()).collect();
        let (rows, cells) = compared.iter().fold((0, 0), |(r, c), t| (r + t.rows, c + t.cells));
        let different = compared.iter().filter(|t| !t.differences.is_empty()).count();
        let left_out = self.0.len() - compared.len();
        let mut said = match different {
            0 => format!("EQUAL: {} tables, {rows} rows, {cells} cells are the same on both sides", compared.len()),
            n => format!("DIFFERENT: {n} of {} tables are not the same on both sides", compared.len()),
        };
        if left_out > 0 {
            said += &format!("; {left_out} tables are not exchanged, for the reason given");
        }
        said
    }

    pub(super) fn table(&self) -> String {
        let text = |t: &Compared| match (&t.left_out, t.differences.as_slice()) {
            (Some(why), _) => format!("not exchanged: {why}"),
            (None, []) => "equal".to_owned(),
            (None, differences) => differences.join("; "),
        };
        let rows = self.0.iter().map(|t| vec![json!(t.name), json!(t.rows), json!(t.cells), json!(text(t))]).collect();
        table::table(&Rows { columns: ["table", "rows", "cells", "A and B"].map(str::to_owned).to_vec(), rows })
    }

    pub(super) fn tables_json(&self) -> Value {
        let one = |t: &Compared| {
            json!({ "name": t.name, "rows": t.rows, "cells": t.cells, "differences": t.differences,
                "not_exchanged": t.left_out })
        };
        self.0.iter().map(one).collect()
    }
}

/// Compares every table of the user's.
pub(super) fn compare(a: PathBuf, b: PathBuf) -> Result<Comparison, Failure> {
    let [a, b] = [Side::open(a)?, Side::open(b)?];
    let mut names: Vec<_> = a.tables.keys().chain(b.tables.keys()).collect();
    names.sort();
    names.dedup();
    let compared = names.into_iter().map(|name| one(&a, &b, name)).collect::<Result<_, _>>()?;
    Ok(Comparison(compared))
}

fn one(a: &Side, b: &Side, name: &str) -> Result<Compared, Failure> {
    let mut compared =
        Compared { name: name.to_owned(), rows: 0, cells: 0, differences: Vec::new(), left_out: a.left_out(name) };
    if compared.left_out.is_some() {
        return Ok(compared);
    }
    match (a.tables.get(name), b.tables.get(name)) {
        (Some(ours), Some(theirs)) if ours.columns == theirs.columns => {
            cells(&mut a.conn.prepare(&ours.select(name))?, &mut b.conn.prepare(&ours.select(name))?, &mut compared)?;
        }
        (Some(ours), Some(theirs)) => compared.differences.push(format!(
            "the columns differ: A has {}, B has {}",
            ours.columns.join(", "),
            theirs.columns.join(", ")
        )),
        (Some(_), None) => {
            let why = b.left_out.get(name).map(|why| format!(": {why}")).unwrap_or_default();
            compared.differences.push(format!("A has it and B has not{why}"));
        }
        (None, _) => compared.differences.push("B has it and A has not".to_owned()),
    }
    Ok(compared)
}

/// Walks both tables by their keys, row beside row.
fn cells(a: &mut Statement<'_>, b: &mut Statement<'_>, compared: &mut Compared) -> Result<(), Failure> {
    let columns: Vec<String> = a.column_names().into_iter().map(str::to_owned).collect();
    let (mut ours, mut theirs) = (a.query([])?, b.query([])?);
    loop {
        let at = compared.rows + 1;
        match (ours.next()?, theirs.next()?) {
            (None, None) => return Ok(()),
            (Some(ours), Some(theirs)) => {
                for (column, name) in columns.iter().enumerate() {
                    let (x, y) = (ours.get_ref(column)?, theirs.get_ref(column)?);
                    compared.cells += 1;
                    if !is_same(x, y) {
                        let (x, y) = (shown(x), shown(y));
                        compared.differences.push(format!("row {at}, {name}: A has {x}, B has {y}"));
                    }
                }
            }
            (ours, _) => {
                let (more, fewer) = if ours.is_some() { ("A", "B") } else { ("B", "A") };
                compared.differences.push(format!("{more} has more rows than {fewer}, which ends after {}", at - 1));
            }
        }
        if compared.differences.len() >= TOLD_MAX {
            return Ok(());
        }
        compared.rows = at;
    }
}

/// The two zeros are one number to SQLite, which keeps no sign of it in a column of reals.
fn is_same(a: ValueRef<'_>, b: ValueRef<'_>) -> bool {
    match (a, b) {
        (ValueRef::Real(a), ValueRef::Real(b)) => a.to_bits() == b.to_bits() || a == 0.0 && b == 0.0,
        (a, b) => a == b,
    }
}

fn shown(value: ValueRef<'_>) -> String {
    let text = match value {
        ValueRef::Null => "NULL".to_owned(),
        ValueRef::Integer(i) => format!("integer {i}"),
        ValueRef::Real(r) => format!("real {r:?}"),
        ValueRef::Text(t) => format!("text '{}'", String::from_utf8_lossy(t)),
        ValueRef::Blob(b) => format!("blob of {} bytes", b.len()),
    };
    text.chars().take(VALUE_CHARS).collect()
}

/// One file.
struct Side {
    conn: Connection,
    tables: BTreeMap<String, Shape>,
    /// Tables that are not exchanged, and why.
    left_out: BTreeMap<String, String>,
    tracked: Vec<String>,
}

struct Shape {
    columns: Vec<String>,
    key: Vec<String>,
}

impl Shape {
    /// By the key, then by all columns: rows that no key tells apart stand in the same order on both sides.
    fn select(&self, table: &str) -> String {
        let columns: Vec<_> = self.columns.iter().map(|c| Quoted(c).to_string()).collect();
        let order: Vec<_> = self.key.iter().chain(&self.columns).map(|c| Quoted(c).to_string()).collect();
        format!("SELECT {} FROM {} ORDER BY {}", columns.join(", "), Quoted(table), order.join(", "))
    }
}

impl Side {
    fn open(file: PathBuf) -> Result<Self, Failure> {
        let conn = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        let mut tables = BTreeMap::new();
        let mut left_out = BTreeMap::new();
        let listed: Vec<(String, String)> = {
            let sql = "SELECT name, type FROM pragma_table_list WHERE schema = 'main' AND type IN ('table', 'virtual')
                AND substr(name, 1, 7) <> 'sqlite_' AND substr(name, 1, 5) <> '_p2p_'";
            let mut statement = conn.prepare(sql)?;
            statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<rusqlite::Result<_>>()?
        };
        for (name, kind) in listed {
            if kind == "virtual" {
                left_out.insert(name.clone(), "a virtual table keeps its rows in a way of its own".to_owned());
            }
            let shape = shape(&conn, &name)?;
            tables.insert(name, shape);
        }
        let mut tracked = Vec::new();
        if let Some(view) = View::open(&conn)? {
            for table in view.tables()? {
                if table.state == State::Tracked as i64 {
                    tracked.push(table.name);
                } else {
                    left_out.insert(table.name, table.note);
                }
            }
        }
        Ok(Self { conn, tables, left_out, tracked })
    }

    fn left_out(&self, name: &str) -> Option<String> {
        let is_here = self.tables.contains_key(name);
        let untracked = || (is_here && !self.tracked.iter().any(|t| t == name)).then(|| "not tracked".to_owned());
        self.left_out.get(name).cloned().or_else(untracked)
    }
}

fn shape(conn: &Connection, table: &str) -> Result<Shape, Failure> {
    let sql = "SELECT name, pk FROM pragma_table_xinfo(?1) WHERE hidden <> 1 ORDER BY cid";
    let mut statement = conn.prepare(sql)?;
    let columns: Vec<(String, i64)> =
        statement.query_map([table], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<rusqlite::Result<_>>()?;
    let mut key: Vec<_> = columns.iter().filter(|c| c.1 > 0).cloned().collect();
    key.sort_by_key(|c| c.1);
    let names = |all: Vec<(String, i64)>| all.into_iter().map(|c| c.0).collect();
    Ok(Shape { columns: names(columns), key: names(key) })
}
