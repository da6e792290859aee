//! The copy: what one knows who reads only the rows that markers name.

use p2pdb::capture;
use p2pdb::schema::Definition;
use p2pdb_core::name::{Collation, Name, key_name};
use p2pdb_core::value::Value;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, params_from_iter};
use std::collections::BTreeMap;

use crate::schema::q;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Id {
    Name(Box<[u8]>),
    Rowid(i64),
}

struct Copy {
    t: i64,
    name: String,
    columns: Vec<String>,
    key: Vec<(usize, Collation)>,
    rowid: Option<&'static str>,
    rows: BTreeMap<Id, Vec<Value>>,
}

pub(crate) struct Mirror {
    sealer: Connection,
    copies: Vec<Copy>,
}

fn value(v: ValueRef<'_>) -> Value {
    match v {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(i) => Value::Integer(i),
        ValueRef::Real(r) => Value::Real(r),
        ValueRef::Text(t) => Value::Text(t.to_vec()),
        ValueRef::Blob(b) => Value::Blob(b.to_vec()),
    }
}

fn sql(v: &Value) -> rusqlite::types::Value {
    match v {
        Value::Null | Value::Ref(_) => rusqlite::types::Value::Null,
        Value::Integer(i) => rusqlite::types::Value::Integer(*i),
        Value::Real(r) => rusqlite::types::Value::Real(*r),
        Value::Text(t) => rusqlite::types::Value::Text(String::from_utf8(t.clone()).unwrap()),
        Value::Blob(b) => rusqlite::types::Value::Blob(b.clone()),
    }
}

fn read(conn: &Connection, text: &str, args: &[Value]) -> Vec<Vec<Value>> {
    let mut statement = conn.prepare_cached(text).unwrap();
    let n = statement.column_count();
    let mut rows = statement.query(params_from_iter(args.iter().map(sql))).unwrap();
    let mut all = Vec::new();
    while let Some(row) = rows.next().unwrap() {
        all.push((0..n).map(|c| value(row.get_ref(c).unwrap())).collect());
    }
    all
}

impl Copy {
    fn list(&self) -> String {
        self.columns.iter().map(|c| q(c)).collect::<Vec<_>>().join(", ")
    }

    fn id_of(&self, key: &[Value]) -> Option<Id> {
        if key.is_empty() || key.contains(&Value::Null) {
            return None;
        }
        match key_name(key.iter().zip(&self.key).map(|(v, k)| (v, k.1))) {
            Name::Key(bytes) => Some(Id::Name(bytes)),
            Name::Born { .. } => None,
        }
    }

    fn look(&mut self, conn: &Connection, key: &[Value]) {
        let Some(id) = self.id_of(key) else { return };
        let by: Vec<String> = self.key.iter().map(|k| format!("{} = ?", q(&self.columns[k.0]))).collect();
        let found =
            read(conn, &format!("SELECT {} FROM {} WHERE {}", self.list(), q(&self.name), by.join(" AND ")), key);
        match found.into_iter().next() {
            Some(row) => self.rows.insert(id, row),
            None => self.rows.remove(&id),
        };
    }

    fn look_at_rowid(&mut self, conn: &Connection, rowid: &Value) {
        let (Value::Integer(r), Some(name)) = (rowid, self.rowid) else { return };
        let found = read(
            conn,
            &format!("SELECT {} FROM {} WHERE {name} = ?", self.list(), q(&self.name)),
            std::slice::from_ref(rowid),
        );
        // A row that its key names is not known by its rowid.
        let nameless = found.into_iter().next().filter(|row| {
            let key: Vec<Value> = self.key.iter().map(|k| row[k.0].clone()).collect();
            self.id_of(&key).is_none()
        });
        match nameless {
            Some(row) => self.rows.insert(Id::Rowid(*r), row),
            None => self.rows.remove(&Id::Rowid(*r)),
        };
    }
}

impl Mirror {
    pub(crate) fn new(conn: &Connection, sealer: Connection) -> Self {
        let tracked = read(conn, "SELECT t, name FROM _p2p_table", &[]);
        let copies = tracked.into_iter().map(|row| {
            let [Value::Integer(t), Value::Text(name)] = &row[..] else { panic!("{row:?}") };
            let name = String::from_utf8(name.clone()).unwrap();
            let definition = Definition::read_local(conn, &name).unwrap();
            let columns = definition.stored_names();
            let place = |c: &str| columns.iter().position(|n| n == c).unwrap();
            let key = definition.key_columns().into_iter().map(|(c, collation)| (place(&c), collation)).collect();
            let is_free = |r: &&str| {
                !definition.without_rowid && !definition.columns.iter().any(|c| c.name.eq_ignore_ascii_case(r))
            };
            let rowid = ["_rowid_", "rowid", "oid"].into_iter().find(is_free);
            Copy { t: *t, name, columns, key, rowid, rows: BTreeMap::new() }
        });
        Self { sealer, copies: copies.collect() }
    }

    pub(crate) fn numbers(&self) -> Vec<(i64, String)> {
        self.copies.iter().map(|c| (c.t, c.name.clone())).collect()
    }

    /// Reads markers and the rows that they name, in one snapshot. Returns the number of the last.
    pub(crate) fn look(&mut self) -> Option<i64> {
        self.sealer.execute_batch("BEGIN").unwrap();
        let there = read(&self.sealer, "SELECT name FROM pragma_table_info('_p2p_mark')", &[]);
        let column = |c: &str| if there.contains(&vec![Value::Text(c.into())]) { c.to_string() } else { "NULL".into() };
        let columns = ["n", "t", "m", "r", "k1", "k2", "o1", "o2"].map(column).join(", ");
        let markers = read(&self.sealer, &format!("SELECT {columns} FROM _p2p_mark ORDER BY n"), &[]);
        let mut top = None;
        for marker in &markers {
            let [Value::Integer(n), Value::Integer(t), Value::Integer(kind), rowid, rest @ ..] = &marker[..] else {
                panic!("{marker:?}")
            };
            top = Some(*n);
            let copy = self.copies.iter_mut().find(|c| c.t == *t).unwrap();
            let width = copy.key.len();
            copy.look(&self.sealer, &rest[..width]);
            copy.look_at_rowid(&self.sealer, rowid);
            if *kind == capture::MOVED {
                copy.look(&self.sealer, &rest[2..2 + width]);
                if width == 0 {
                    copy.look_at_rowid(&self.sealer, &rest[2]);
                }
            }
        }
        self.sealer.execute_batch("COMMIT").unwrap();
        top
    }

    pub(crate) fn remove(&mut self, top: Option<i64>) {
        if let Some(top) = top {
            self.sealer.execute("DELETE FROM _p2p_mark WHERE n <= ?1", [top]).unwrap();
        }
    }

    /// Does each copy equal its table, type and bytes?
    pub(crate) fn compare(&self, conn: &Connection) -> Result<(), String> {
        for copy in &self.copies {
            let mut there: Vec<String> = read(conn, &format!("SELECT {} FROM {}", copy.list(), q(&copy.name)), &[])
                .iter()
                .map(|r| format!("{r:?}"))
                .collect();
            let mut here: Vec<String> = copy.rows.values().map(|r| format!("{r:?}")).collect();
            there.sort_unstable();
            here.sort_unstable();
            if there != here {
                let only =
                    |a: &[String], b: &[String]| a.iter().filter(|x| !b.contains(x)).cloned().collect::<Vec<_>>();
                return Err(format!(
                    "{}: only in the table {:?}, only in the copy {:?}",
                    copy.name,
                    only(&there, &here),
                    only(&here, &there)
                ));
            }
        }
        Ok(())
    }
}
