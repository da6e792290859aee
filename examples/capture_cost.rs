//! What capture costs the thread that writes: CPU as a ratio to the same statements on a plain table, in one run.
//!
//! `cargo run --release --example capture_cost`. WAL, `synchronous=NORMAL`, prepared statements, rows of 8 columns and
//! about 100 bytes: the least favourable case for triggers. CPU is that of this thread, as Linux counts it. `mask` is the
//! way that was not taken: the update trigger compares every column and writes which ones changed.

use p2pdb::quote::Quoted;
use p2pdb::store::{create_private_tables, define};
use rusqlite::types::Value;
use rusqlite::{Connection, Statement, params};
use std::path::Path;

type Failure = Box<dyn std::error::Error>;

const ROWS: i64 = 100_000;
const COMMITS: i64 = 10_000;
const REPEATS: usize = 5;

#[derive(Clone, Copy, PartialEq)]
enum How {
    Plain,
    Captured,
    Mask,
}

/// Nanoseconds that this thread has been on a processor.
fn cpu_ns() -> Result<u64, Failure> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    Ok(text.split(' ').next().unwrap_or_default().parse()?)
}

fn open(path: &Path, table: &str, how: How) -> Result<Connection, Failure> {
    let conn = Connection::open(path)?;
    conn.execute_batch("PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA foreign_keys=OFF")?;
    conn.execute_batch(table)?;
    if how != How::Plain {
        create_private_tables(&conn)?;
        define::track(&conn, "t", "")?;
    }
    if how == How::Mask {
        let columns = ["a", "b", "c", "d", "e", "f", "g"].iter().enumerate();
        let mask = columns
            .map(|(i, c)| format!("((NEW.{0} COLLATE BINARY IS NOT OLD.{0}) << {i})", Quoted(c)))
            .collect::<Vec<_>>();
        conn.execute_batch(&format!(
            "DROP TRIGGER _p2p_1u; CREATE TRIGGER _p2p_1u AFTER UPDATE ON t BEGIN INSERT INTO _p2p_mark(t, m, k1, o1) VALUES(1, 3, NEW.k, {}); END",
            mask.join(" | ")
        ))?;
    }
    Ok(conn)
}

struct Key {
    name: &'static str,
    table: &'static str,
    is_text: bool,
}

impl Key {
    fn of(&self, i: i64) -> Value {
        if self.is_text { format!("{:016x}", i.wrapping_mul(0x9e37_79b9_7f4a_7c15u64 as i64)).into() } else { i.into() }
    }
}

const INSERT: &str = "INSERT INTO t(k, a, b, c, d, e, f, g) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";

fn insert(statement: &mut Statement<'_>, key: Value, i: i64) -> rusqlite::Result<usize> {
    statement.execute(params![
        key,
        i,
        "name of the thing",
        3.25,
        "some more text, forty bytes of it, here..",
        i,
        17,
        "open"
    ])
}

/// CPU of bulk insert, update of one column, update of all, delete; then of inserts each in a transaction.
fn measure(key: &Key, how: How) -> Result<[u64; 5], Failure> {
    let dir = tempfile::tempdir()?;
    let conn = open(&dir.path().join("x.db"), key.table, how)?;
    let mut spent = [0; 5];
    let statements = [
        INSERT,
        "UPDATE t SET b = 'other' WHERE k = ?1",
        "UPDATE t SET a = ?2, b = 'third', c = 1.5, d = 'less text', e = ?2, f = 2, g = 'closed' WHERE k = ?1",
        "DELETE FROM t WHERE k = ?1",
    ];
    for (at, sql) in statements.iter().enumerate() {
        let start = cpu_ns()?;
        conn.execute_batch("BEGIN")?;
        let mut statement = conn.prepare(sql)?;
        for i in 0..ROWS {
            match statement.parameter_count() {
                1 => statement.execute(params![key.of(i)])?,
                8 => insert(&mut statement, key.of(i), i)?,
                _ => statement.execute(params![key.of(i), i])?,
            };
        }
        conn.execute_batch("COMMIT")?;
        spent[at] = cpu_ns()? - start;
        // The seal's part: it is not the writer's.
        if how != How::Plain {
            conn.execute("DELETE FROM _p2p_mark", [])?;
        }
        conn.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")?;
    }
    let mut statement = conn.prepare(INSERT)?;
    let start = cpu_ns()?;
    for i in 0..COMMITS {
        insert(&mut statement, key.of(i), i)?;
    }
    spent[4] = cpu_ns()? - start;
    Ok(spent)
}

fn median(mut all: Vec<u64>) -> u64 {
    all.sort_unstable();
    all[all.len() / 2]
}

fn main() -> Result<(), Failure> {
    let keys = [
        Key {
            name: "INTEGER PRIMARY KEY",
            table: "CREATE TABLE t(k INTEGER PRIMARY KEY, a, b, c, d, e, f, g)",
            is_text: false,
        },
        Key {
            name: "TEXT PRIMARY KEY NOT NULL",
            table: "CREATE TABLE t(k TEXT PRIMARY KEY NOT NULL, a, b, c, d, e, f, g)",
            is_text: true,
        },
        Key {
            name: "TEXT PRIMARY KEY, WITHOUT ROWID",
            table: "CREATE TABLE t(k TEXT PRIMARY KEY, a, b, c, d, e, f, g) WITHOUT ROWID",
            is_text: true,
        },
        Key {
            name: "INTEGER PRIMARY KEY, one UNIQUE",
            table: "CREATE TABLE t(k INTEGER PRIMARY KEY, a UNIQUE, b, c, d, e, f, g)",
            is_text: false,
        },
    ];
    println!("{:<34}{:>8}{:>8}{:>8}{:>8}{:>8}", "CPU, ratio to plain", "insert", "upd 1", "upd 7", "delete", "commit");
    for key in &keys {
        let all = [How::Plain, How::Captured, How::Mask];
        let mut runs: Vec<Vec<[u64; 5]>> = vec![Vec::new(); all.len()];
        for _ in 0..REPEATS {
            for (how, runs) in all.iter().zip(&mut runs) {
                runs.push(measure(key, *how)?);
            }
        }
        let middle: Vec<[u64; 5]> =
            runs.iter().map(|r| std::array::from_fn(|i| median(r.iter().map(|x| x[i]).collect()))).collect();
        for (name, spent) in [("", &middle[1]), ("  with a mask", &middle[2])] {
            let ratios: String =
                spent.iter().zip(&middle[0]).map(|(a, b)| format!("{:>8.2}", *a as f64 / *b as f64)).collect();
            println!("{:<34}{ratios}", if name.is_empty() { key.name } else { name });
        }
        let plain: String = middle[0]
            .iter()
            .zip([ROWS, ROWS, ROWS, ROWS, COMMITS])
            .map(|(ns, n)| format!("{:>8.2}", *ns as f64 / n as f64 / 1000.0))
            .collect();
        println!("{:<34}{plain}", "  plain, microseconds a row");
    }
    Ok(())
}
