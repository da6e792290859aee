//! The virtual tables: eponymous, so that they are there without a CREATE, in every connection that loaded us.
//!
//! All share one module. A table is a list of columns and a function that gives a page of rows after a rowid; a cursor
//! holds one page, so that a log of any length is read in bounded memory. No statement of ours outlives a call.

use rusqlite::types::{Value, ValueRef};
use rusqlite::vtab::{
    Context, CreateVTab, Filters, IndexConstraint, IndexConstraintOp, IndexInfo, Inserts, Module, UpdateVTab, Updates,
    VTab, VTabConfig, VTabConnection, VTabCursor, VTabKind, sqlite3_vtab, sqlite3_vtab_cursor,
};
use rusqlite::{Connection, Error};
use std::borrow::Cow;
use std::ffi::{CStr, CString, c_int};
use std::sync::Arc;

use super::attached::Attached;
use super::guard::guard;
use super::hosts::Db;

pub(super) mod conflicts;
mod entries;
mod events;
mod peers;
mod status;
mod tracked;

/// One row: its rowid and its values.
pub(super) type Row = (i64, Vec<Value>);

/// Rows after a rowid, in the order of rowids. `is_last` where none come after them.
#[derive(Debug, Default)]
pub(super) struct Page {
    rows: Vec<Row>,
    is_last: bool,
}

impl Page {
    /// The only page of a table that is made whole.
    fn whole(rows: Vec<Vec<Value>>, after: i64) -> Self {
        let numbered = rows.into_iter().enumerate().map(|(at, row)| (at as i64 + 1, row));
        Self { rows: numbered.filter(|(rowid, _)| *rowid > after).collect(), is_last: true }
    }
}

/// Takes in the values of a new row, and gives its rowid.
type Insert = fn(&Attached, &Connection, &[Value]) -> Result<i64, String>;

/// What a virtual table is.
pub(super) struct Definition {
    name: &'static str,
    columns: &'static [&'static str],
    /// Those after them that are no columns but arguments, as of a function: `FROM name(…)`.
    arguments: &'static [&'static str],
    /// The column that holds the rowid too, so that a bound on it is one to start from.
    number: Option<c_int>,
    /// Rows after a rowid, under these arguments: as many as were given.
    page: fn(&Attached, &Connection, i64, &[Value]) -> Result<Page, String>,
    /// Takes in a row, if the table takes any.
    insert: Option<Insert>,
}

const DEFINITIONS: [&Definition; 8] = [
    &LIFELINE,
    &status::DEFINITION,
    &peers::DEFINITION,
    &tracked::DEFINITION,
    &tracked::TRACK,
    &entries::DEFINITION,
    &conflicts::DEFINITION,
    &events::DEFINITION,
];

/// Connected when the connection is attached, for SQLite to disconnect it when that closes. A table of the user's may have
/// any other name of ours, and is then the one that the name means.
const LIFELINE: Definition = Definition {
    name: "_p2p_connection",
    columns: &["id"],
    arguments: &[],
    number: None,
    page: |_, _, _, _| Ok(Page::whole(Vec::new(), 0)),
    insert: None,
};

pub(super) fn register(conn: &Connection, attached: &Arc<Attached>) -> rusqlite::Result<()> {
    const READS: &Module<'static, Table> = &Module::read_only_module();
    const WRITES: &Module<'static, Table> = &Module::update_module();
    for definition in DEFINITIONS {
        let module = if definition.insert.is_some() { WRITES } else { READS };
        conn.create_module(definition.name, module, Some(Aux { definition, attached: Arc::clone(attached) }))?;
    }
    connect(conn)
}

/// Connects the table with the lifeline: from now on it knows when the connection closes.
pub(super) fn connect(conn: &Connection) -> rusqlite::Result<()> {
    conn.prepare("SELECT id FROM _p2p_connection").map(drop)
}

/// What the module hands to each table.
pub(super) struct Aux {
    definition: &'static Definition,
    attached: Arc<Attached>,
}

/// A connected table.
#[repr(C)]
pub(super) struct Table {
    base: sqlite3_vtab,
    definition: &'static Definition,
    attached: Arc<Attached>,
    db: Db,
    _lifeline: Lifeline,
}

/// Ends the connection's attachment when SQLite disconnects a table: it does so with all of them, and only, in a close.
struct Lifeline(Arc<Attached>);

impl Drop for Lifeline {
    fn drop(&mut self) {
        let ended = guard(|| {
            self.0.end();
            Ok(())
        });
        if let Err(why) = ended {
            tracing::error!(%why, "the connection was not detached cleanly");
        }
    }
}

// SAFETY: `#[repr(C)]` with `sqlite3_vtab` first.
unsafe impl VTab<'_> for Table {
    type Aux = Aux;
    type Cursor = Cursor;

    fn connect(
        db: &mut VTabConnection,
        aux: Option<&Aux>,
        _module: &[u8],
        _database: &[u8],
        _table: &[u8],
        _args: &[&[u8]],
    ) -> rusqlite::Result<(Cow<'static, CStr>, Self)> {
        guard(|| {
            db.config(VTabConfig::DirectOnly)?;
            let aux = aux.ok_or_else(|| Error::ModuleError("p2pdb: the module has no table".into()))?;
            let columns = aux.definition.columns.iter().map(|c| (*c).to_owned());
            let arguments = aux.definition.arguments.iter().map(|c| format!("{c} HIDDEN"));
            let sql = format!("CREATE TABLE x({})", columns.chain(arguments).collect::<Vec<_>>().join(", "));
            let sql = CString::new(sql).map_err(|e| Error::ModuleError(e.to_string()))?;
            // SAFETY: the handle is used while the table is connected, that is while its connection is alive.
            let db = Db(unsafe { db.handle() });
            if aux.attached.is_over() {
                // A close was refused, for a statement was left, and the host goes on.
                // SAFETY: the handle is the connection's that is connecting the table.
                aux.attached.begin(&unsafe { Connection::from_handle(db.0)? });
            }
            let (base, definition, attached) = (sqlite3_vtab::default(), aux.definition, Arc::clone(&aux.attached));
            let _lifeline = Lifeline(Arc::clone(&attached));
            Ok((Cow::Owned(sql), Self { base, definition, attached, db, _lifeline }))
        })
    }

    fn best_index(&self, info: &mut IndexInfo) -> rusqlite::Result<bool> {
        guard(|| {
            let after = |op: &IndexConstraintOp| {
                matches!(
                    op,
                    IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_GT
                        | IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_GE
                        | IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_EQ
                )
            };
            let is_rowid = |column| column == -1 || Some(column) == self.definition.number;
            let at = info.constraints().position(|c| c.is_usable() && is_rowid(c.column()) && after(&c.operator()));
            info.set_estimated_cost(1_000_000.0);
            let mut plan = Plan::default();
            for argument in 0..self.definition.arguments.len() {
                let column = (self.definition.columns.len() + argument) as c_int;
                let is_it = |c: &IndexConstraint<'_>| {
                    c.column() == column && c.operator() == IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_EQ
                };
                let Some(at) = info.constraints().position(|c| is_it(&c) && c.is_usable()) else {
                    if info.constraints().any(|c| is_it(&c)) {
                        // It is known in another order of the tables.
                        return Ok(false);
                    }
                    break;
                };
                plan.arguments += 1;
                info.constraint_usage(at).set_argv_index(plan.arguments);
                info.constraint_usage(at).set_omit(true);
            }
            if let Some(at) = at {
                // A bound to start from; SQLite still checks each row.
                plan.has_bound = true;
                info.constraint_usage(at).set_argv_index(plan.arguments + 1);
                info.set_estimated_cost(1_000.0);
            }
            info.set_idx_num(plan.number());
            Ok(true)
        })
    }

    fn open(&mut self) -> rusqlite::Result<Cursor> {
        let (base, definition, attached, db) =
            (sqlite3_vtab_cursor::default(), self.definition, Arc::clone(&self.attached), self.db);
        Ok(Cursor { base, definition, attached, db, arguments: Vec::new(), page: Page::default(), at: 0 })
    }
}

impl CreateVTab<'_> for Table {
    const KIND: VTabKind = VTabKind::Eponymous;
}

impl UpdateVTab<'_> for Table {
    fn delete(&mut self, _arg: ValueRef<'_>) -> rusqlite::Result<()> {
        Err(self.error("rows can't be deleted here".into()))
    }

    fn insert(&mut self, args: &Inserts<'_>) -> rusqlite::Result<i64> {
        guard(|| {
            let values: Vec<Value> = (2..args.len()).map(|at| args.get(at)).collect::<rusqlite::Result<_>>()?;
            let Some(insert) = self.definition.insert else { return Err(self.error("it is read-only".into())) };
            // SAFETY: the call comes from this very connection.
            let conn = unsafe { Connection::from_handle(self.db.0)? };
            insert(&self.attached, &conn, &values).map_err(|why| self.error(why))
        })
    }

    fn update(&mut self, _args: &Updates<'_>) -> rusqlite::Result<()> {
        Err(self.error("rows can't be changed here".into()))
    }
}

impl Table {
    fn error(&self, why: String) -> Error {
        Error::ModuleError(format!("{}: {why}", self.definition.name))
    }
}

/// What a scan is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Plan {
    /// How many arguments, ahead of all else.
    arguments: c_int,
    /// A rowid from which to start, after them.
    has_bound: bool,
}

impl Plan {
    /// As the number that SQLite keeps of it.
    fn number(self) -> c_int {
        self.arguments * 2 + c_int::from(self.has_bound)
    }

    fn of(number: c_int) -> Self {
        Self { arguments: number / 2, has_bound: number % 2 == 1 }
    }
}

/// A scan.
#[repr(C)]
pub(super) struct Cursor {
    base: sqlite3_vtab_cursor,
    definition: &'static Definition,
    attached: Arc<Attached>,
    db: Db,
    arguments: Vec<Value>,
    page: Page,
    at: usize,
}

impl Cursor {
    fn load(&mut self, after: i64) -> rusqlite::Result<()> {
        // SAFETY: the call comes from this very connection.
        let conn = unsafe { Connection::from_handle(self.db.0)? };
        let page = (self.definition.page)(&self.attached, &conn, after, &self.arguments);
        self.page = page.map_err(|why| Error::ModuleError(format!("{}: {why}", self.definition.name)))?;
        self.at = 0;
        Ok(())
    }

    fn row(&self) -> Option<&Row> {
        self.page.rows.get(self.at)
    }
}

// SAFETY: `#[repr(C)]` with `sqlite3_vtab_cursor` first.
unsafe impl VTabCursor for Cursor {
    fn filter(&mut self, idx_num: c_int, _idx_str: Option<&str>, args: &Filters<'_>) -> rusqlite::Result<()> {
        guard(|| {
            let plan = Plan::of(idx_num);
            let arguments = plan.arguments as usize;
            self.arguments = (0..arguments).map(|at| args.get(at)).collect::<rusqlite::Result<_>>()?;
            let after = match plan.has_bound.then(|| args.get::<Value>(arguments)).transpose()? {
                Some(Value::Integer(from)) => from.saturating_sub(1),
                _ => i64::MIN,
            };
            self.load(after)
        })
    }

    fn next(&mut self) -> rusqlite::Result<()> {
        guard(|| {
            let last = self.row().map(|r| r.0);
            self.at += 1;
            match last {
                Some(last) if self.row().is_none() && !self.page.is_last => self.load(last),
                _ => Ok(()),
            }
        })
    }

    fn eof(&self) -> bool {
        self.row().is_none()
    }

    fn column(&self, ctx: &mut Context, i: c_int) -> rusqlite::Result<()> {
        let argument = || self.arguments.get((i as usize).checked_sub(self.definition.columns.len())?);
        guard(|| match self.row().and_then(|r| r.1.get(i as usize).or_else(argument)) {
            Some(value) => ctx.set_result(value),
            None => ctx.set_result(&rusqlite::types::Null),
        })
    }

    fn rowid(&self) -> rusqlite::Result<i64> {
        Ok(self.row().map(|r| r.0).unwrap_or_default())
    }
}

fn text(value: impl Into<String>) -> Value {
    Value::Text(value.into())
}

fn optional(value: Option<impl Into<Value>>) -> Value {
    value.map_or(Value::Null, Into::into)
}
