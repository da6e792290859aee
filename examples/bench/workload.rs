//! Two tables and their rows: the least favourable for us (small rows, prepared statements).

use crate::Failure;
use p2pdb::store::{Identity, Store, create_private_tables, define};
use p2pdb_core::id::GroupId;
use p2pdb_core::key::{AuthorKey, Secret};
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};
use std::path::PathBuf;

/// A table to be filled.
#[derive(Clone, Copy)]
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    create: &'static str,
    pub(crate) insert: &'static str,
    pub(crate) update: &'static str,
    pub(crate) delete: &'static str,
    row: fn(i64) -> Vec<Value>,
}

/// Eight columns, about a hundred bytes, an integer key.
pub(crate) const WIDE: Workload = Workload {
    name: "8 columns, 100 bytes, integer key",
    create: "CREATE TABLE t(k INTEGER PRIMARY KEY, a INTEGER, b TEXT, c REAL, d TEXT, e INTEGER, f INTEGER, g TEXT)",
    insert: "INSERT INTO t(k, a, b, c, d, e, f, g) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    update: "UPDATE t SET b = ?2 WHERE k = ?1",
    delete: "DELETE FROM t WHERE k = ?1",
    row: wide,
};

/// Four columns, a random key of sixteen bytes.
pub(crate) const NAMED: Workload = Workload {
    name: "4 columns, 16-byte key",
    create: "CREATE TABLE t(k BLOB PRIMARY KEY NOT NULL, a INTEGER, b TEXT, c REAL)",
    insert: "INSERT INTO t(k, a, b, c) VALUES(?1, ?2, ?3, ?4)",
    update: "UPDATE t SET b = ?2 WHERE k = ?1",
    delete: "DELETE FROM t WHERE k = ?1",
    row: named,
};

/// The same as the first, with two unique indexes and two foreign keys.
pub(crate) const CONSTRAINED: Workload = Workload {
    name: "2 UNIQUE, 2 foreign keys, integer key",
    create: "PRAGMA foreign_keys=ON; CREATE TABLE p(id INTEGER PRIMARY KEY, name TEXT);
        WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100)
        INSERT INTO p SELECT i, 'parent ' || i FROM n;
        CREATE TABLE t(k INTEGER PRIMARY KEY, a INTEGER UNIQUE, b TEXT, c TEXT UNIQUE, d TEXT,
        e INTEGER REFERENCES p(id), f INTEGER REFERENCES p(id), g TEXT)",
    insert: WIDE.insert,
    update: WIDE.update,
    delete: WIDE.delete,
    row: constrained,
};

const WORDS: [&str; 16] = [
    "amber", "bread", "cedar", "delta", "ember", "flour", "grain", "honey", "ivory", "jelly", "karma", "lemon",
    "maple", "north", "olive", "pearl",
];

/// SplitMix64: rows that look random and are the same in each run.
fn mixed(i: i64) -> u64 {
    let mut z = (i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn words(mut from: u64, count: usize) -> String {
    let mut out = Vec::with_capacity(count);
    for _ in 0..count {
        out.push(WORDS[(from & 15) as usize]);
        from >>= 4;
    }
    out.join(" ")
}

fn wide(i: i64) -> Vec<Value> {
    let r = mixed(i);
    vec![
        i.into(),
        ((r >> 8) as i64 & 0xff_ffff).into(),
        words(r, 3).into(),
        ((r % 10_000) as f64 / 100.0).into(),
        words(r >> 12, 7).into(),
        (1_700_000_000 + i).into(),
        ((r >> 50) as i64 & 0xff).into(),
        ["open", "closed", "waiting"][(r % 3) as usize].to_owned().into(),
    ]
}

fn constrained(i: i64) -> Vec<Value> {
    let r = mixed(i);
    let mut row = wide(i);
    row[1] = (i * 7).into();
    row[3] = format!("code {i}").into();
    (row[5], row[6]) = ((1 + (r % 100) as i64).into(), (1 + (r >> 32) as i64 % 100).into());
    row
}

fn named(i: i64) -> Vec<Value> {
    let r = mixed(i);
    let mut key = r.to_be_bytes().to_vec();
    key.extend_from_slice(&mixed(!i).to_be_bytes());
    vec![key.into(), ((r >> 8) as i64 & 0xffff).into(), words(r, 6).into(), ((r % 10_000) as f64 / 100.0).into()]
}

/// Bytes of a value as SQLite stores it.
fn value_bytes(v: &Value) -> u64 {
    match v {
        Value::Null => 0,
        Value::Integer(i) => match i.unsigned_abs() {
            0 | 1 => 0,
            2..=0x7f => 1,
            0x80..=0x7fff => 2,
            0x8000..=0x7f_ffff => 3,
            0x80_0000..=0x7fff_ffff => 4,
            0x8000_0000..=0x7fff_ffff_ffff => 6,
            _ => 8,
        },
        Value::Real(_) => 8,
        Value::Text(t) => t.len() as u64,
        Value::Blob(b) => b.len() as u64,
    }
}

impl Workload {
    /// The values of row `i`.
    pub(crate) fn row(&self, i: i64) -> Vec<Value> {
        (self.row)(i)
    }

    /// What the values of `rows` rows take, without anything around them.
    pub(crate) fn value_bytes(&self, rows: i64) -> u64 {
        (0..rows).map(|i| self.row(i).iter().map(value_bytes).sum::<u64>()).sum()
    }

    /// Inserts rows in one transaction.
    pub(crate) fn fill(&self, conn: &Connection, rows: i64) -> Result<(), Failure> {
        in_one(conn, self.insert, (0..rows).map(|i| self.row(i)))
    }

    /// Writes one column of each row, in one transaction.
    pub(crate) fn change(&self, conn: &Connection, rows: i64) -> Result<(), Failure> {
        let params = |i| vec![self.row(i).swap_remove(0), Value::Text(words(mixed(i + 1), 3))];
        in_one(conn, self.update, (0..rows).map(params))
    }

    /// Deletes each row, in one transaction.
    pub(crate) fn clear(&self, conn: &Connection, rows: i64) -> Result<(), Failure> {
        in_one(conn, self.delete, (0..rows).map(|i| vec![self.row(i).swap_remove(0)]))
    }
}

/// Runs one statement with many parameters, in one transaction.
fn in_one(conn: &Connection, sql: &str, all: impl Iterator<Item = Vec<Value>>) -> Result<(), Failure> {
    conn.execute_batch("BEGIN")?;
    let mut statement = conn.prepare(sql)?;
    for params in all {
        statement.execute(params_from_iter(params))?;
    }
    drop(statement);
    conn.execute_batch("COMMIT")?;
    Ok(())
}

/// One database with the table, and the store beside it where it is a replica.
pub(crate) struct Database {
    pub(crate) conn: Connection,
    pub(crate) path: PathBuf,
    _dir: tempfile::TempDir,
}

impl Database {
    /// A file with the table, if one is given.
    pub(crate) fn plain(workload: Option<Workload>) -> Result<Self, Failure> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("x.db");
        let conn = Connection::open(&path)?;
        conn.execute_batch("PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL")?;
        if let Some(workload) = workload {
            conn.execute_batch(workload.create)?;
        }
        Ok(Self { conn, path, _dir: dir })
    }

    /// The same, tracked where it has a table.
    pub(crate) fn replica(workload: Option<Workload>) -> Result<Self, Failure> {
        let database = Self::plain(workload)?;
        create_private_tables(&database.conn)?;
        if workload.is_some() {
            define::track_all(&database.conn)?;
        }
        Ok(database)
    }

    /// The store of this replica.
    pub(crate) fn store(&self, author: u8) -> Result<Store, Failure> {
        let key = AuthorKey::from_seed(&[author; 32]);
        let identity = Identity { group: GroupId([1; 16]), secret: Secret([2; 32]), epoch: 0, key };
        Ok(Store::open(Connection::open(&self.path)?, identity)?)
    }

    /// Bytes of the file once everything is in it.
    pub(crate) fn bytes(&self) -> Result<u64, Failure> {
        self.conn.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")?;
        Ok(std::fs::metadata(&self.path)?.len())
    }
}
