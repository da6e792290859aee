//! Edits that any table can take: found from its declaration, without knowing what it means.
//!
//! Only columns that neither name a row nor refer to one nor are unique are touched. What the database's own rules refuse it
//! refuses; that is shown, and no harm.

use rusqlite::{Connection, OpenFlags};
use std::path::Path;

use super::Failure;
use crate::quote::Quoted;
use crate::store::define::State;
use crate::store::{KeyKind, TableLine, View};

/// Who edits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Editor {
    A,
    B,
    /// A shell without the library, on A's file.
    Plain,
}

/// One statement.
#[derive(Debug)]
pub(super) struct Edit {
    pub(super) editor: Editor,
    pub(super) sql: String,
}

/// Edits of up to `count` tables with rows.
pub(super) fn plan(file: &Path, count: usize) -> Result<Vec<Edit>, Failure> {
    let conn = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let Some(view) = View::open(&conn)? else { return Ok(Vec::new()) };
    let tables = view.tables()?;
    let mut edits = Vec::new();
    let mut edited = 0;
    for table in tables.iter().filter(|t| t.state == State::Tracked as i64 && t.rows > 0 && !t.key.is_empty()) {
        let plan = of_table(&conn, table)?;
        edited += usize::from(!plan.is_empty());
        edits.extend(plan);
        if edited == count {
            break;
        }
    }
    Ok(edits)
}

fn of_table(conn: &Connection, table: &TableLine) -> Result<Vec<Edit>, Failure> {
    let columns = free_columns(conn, &table.name)?;
    let Some(first) = columns.first() else { return Ok(Vec::new()) };
    let second = columns.get(1).unwrap_or(first);
    let t = Quoted(&table.name);
    let update = |editor: Editor, column: &Column, row: &str| Edit {
        editor,
        sql: format!("UPDATE {t} SET {} WHERE {row};", column.change(editor)),
    };
    let (top, bottom) = (row_of(table, ""), row_of(table, " DESC"));
    let mut edits = vec![
        update(Editor::A, first, &top),
        update(Editor::B, second, &top),
        update(Editor::B, first, &bottom),
        update(Editor::Plain, first, &bottom),
    ];
    if table.kind == KeyKind::Alias && !has_unique_index(conn, &table.name)? {
        let rest = given_columns(conn, table)?;
        if !rest.is_empty() {
            let sql = format!("INSERT INTO {t}({rest}) SELECT {rest} FROM {t} WHERE {top};");
            // The same free id on both sides: two rows in the end.
            edits.extend([Editor::A, Editor::B].map(|editor| Edit { editor, sql: sql.clone() }));
        }
    }
    Ok(edits)
}

/// The first row by its key, or with ` DESC` the last.
fn row_of(table: &TableLine, order: &str) -> String {
    let t = Quoted(&table.name);
    if let [key] = table.key.as_slice() {
        let (key, end) = (Quoted(key), if order.is_empty() { "min" } else { "max" });
        return format!("{key} = (SELECT {end}({key}) FROM {t})");
    }
    let key: Vec<_> = table.key.iter().map(|k| Quoted(k).to_string()).collect();
    let by: Vec<_> = key.iter().map(|k| format!("{k}{order}")).collect();
    let (key, by) = (key.join(", "), by.join(", "));
    format!("({key}) = (SELECT {key} FROM {t} ORDER BY {by} LIMIT 1)")
}

/// A column that can be changed without breaking a rule that we can see.
struct Column {
    name: String,
    is_text: bool,
}

impl Column {
    fn change(&self, editor: Editor) -> String {
        let c = Quoted(&self.name);
        match (self.is_text, editor) {
            (false, _) => format!("{c} = coalesce({c}, 0) + 1"),
            (true, Editor::A) => format!("{c} = coalesce({c}, '') || ' (A)'"),
            (true, Editor::B) => format!("{c} = coalesce({c}, '') || ' (B)'"),
            (true, Editor::Plain) => format!("{c} = coalesce({c}, '') || ' (plain)'"),
        }
    }
}

fn free_columns(conn: &Connection, table: &str) -> Result<Vec<Column>, Failure> {
    let sql = "SELECT name, upper(type) FROM pragma_table_xinfo(?1) x WHERE pk = 0 AND hidden = 0
        AND name NOT IN (SELECT \"from\" FROM pragma_foreign_key_list(?1) WHERE \"from\" IS NOT NULL)
        AND NOT EXISTS (SELECT 1 FROM pragma_index_list(?1) l, pragma_index_xinfo(l.name) i
                        WHERE l.\"unique\" AND (i.name = x.name OR i.cid = -2))";
    let mut statement = conn.prepare(sql)?;
    let all = statement.query_map([table], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))?;
    let mut free = Vec::new();
    for column in all {
        let (name, declared) = column?;
        let is_text = ["CHAR", "TEXT", "CLOB"].iter().any(|word| declared.contains(word));
        // A column of another type may hold dates or anything: adding one to them makes no sense to anybody.
        if is_text || declared.contains("INT") {
            free.push(Column { name, is_text });
        }
    }
    Ok(free)
}

/// All columns but the key and what is computed, as a list.
fn given_columns(conn: &Connection, table: &TableLine) -> Result<String, Failure> {
    let sql = "SELECT name FROM pragma_table_xinfo(?1) WHERE pk = 0 AND hidden = 0 ORDER BY cid";
    let mut statement = conn.prepare(sql)?;
    let names = statement.query_map([&table.name], |row| row.get::<_, String>(0))?;
    let names: Vec<_> = names.map(|n| n.map(|n| Quoted(&n).to_string())).collect::<Result<_, _>>()?;
    Ok(names.join(", "))
}

fn has_unique_index(conn: &Connection, table: &str) -> Result<bool, Failure> {
    let sql = "SELECT EXISTS(SELECT 1 FROM pragma_index_list(?1) WHERE \"unique\")";
    Ok(conn.query_row(sql, [table], |row| row.get(0))?)
}

/// Was P2PDB at work in this file before?
pub(super) fn is_tracked(file: &Path) -> Result<bool, Failure> {
    let conn = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    Ok(View::open(&conn)?.is_some())
}
