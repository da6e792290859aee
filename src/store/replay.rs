//! The merged state made anew from the log, under rows that stay as they are.
//!
//! The log is merged into emptied tables, the private ones of that moment are put aside, and all of it is undone: so the user's
//! tables are not written. Then the private ones are put in place, and every row is marked for the seal to compare.

use p2pdb_core::merge::Key;
use p2pdb_core::value::Value;
use rusqlite::types::ToSqlOutput;
use rusqlite::{Connection, params_from_iter};

use super::rows::{BindValue, Shared, SqliteRows, key_of};
use super::tables::Tables;
use super::{Store, StoreError, define, places, records, triggers};
use crate::capture;
use crate::quote::Quoted;

impl Store {
    /// Merges the log again, all of it, inside a write transaction. No marker is left before, and no author has anything merged.
    pub(super) fn replay(&mut self, now_ms: u64) -> Result<(), StoreError> {
        let merged = records::BOOKS.into_iter().chain(["_p2p_withheld"]);
        let filled: Vec<String> =
            self.tables.iter().map(|t| records::table(t.t)).chain(merged.map(str::to_owned)).collect();
        // A database of its own, on disk where it is large, gone when it is closed.
        let aside = Connection::open("")?;
        self.conn.execute_batch("SAVEPOINT _p2p_replay")?;
        triggers::switch_off(&self.conn)?;
        for table in self.tables.iter().map(|t| Quoted(&t.name).to_string()).chain(filled.iter().cloned()) {
            self.conn.execute_batch(&format!("DELETE FROM main.{table}"))?;
        }
        for table in self.tables.iter().filter(|t| t.merge.has_nameless) {
            places::set_known(&self.conn, table.t)?;
        }
        (self.digest, self.flags) = Default::default();
        self.apply_in(now_ms, &mut || true)?;
        for table in &filled {
            make_place(&self.conn, &aside, table)?;
            copy(&self.conn, &aside, table)?;
        }
        self.conn.execute_batch("ROLLBACK TO _p2p_replay; RELEASE _p2p_replay")?;
        self.copied = None;
        for table in &filled {
            self.conn.execute_batch(&format!("DELETE FROM main.{table}"))?;
            copy(&aside, &self.conn, table)?;
        }
        self.flags.reset();
        self.tables = Tables::load(&self.conn)?;
        define::reconcile_all(&self.conn)?;
        self.mark_referring()
    }

    /// Rows that have a record under a key made of references, by the key that they would show: one that is gone from its table
    /// is found by no other.
    fn mark_referring(&mut self) -> Result<(), StoreError> {
        let Self { conn, tables, authors, hasher, digest, flags, .. } = self;
        let shared = Shared { conn, tables, hasher, flags };
        for table in tables.iter().filter(|t| t.merge.key.iter().any(|(column, _)| t.refs.contains_key(column))) {
            let width = table.merge.key.len();
            let columns: String = (1..=width).map(|k| format!(", k{k}")).collect();
            let marks = vec!["?"; width + 2].join(", ");
            let mut insert = conn.prepare(&format!("INSERT INTO _p2p_mark(t, m{columns}) VALUES({marks})"))?;
            let mut select = conn.prepare(&format!("SELECT key FROM {}", records::table(table.t)))?;
            let mut found = select.query([])?;
            let mut rows = SqliteRows::new(shared, table, authors, digest)?;
            while let Some(row) = found.next()? {
                let Some(key @ Key::Name(_)) = key_of(row.get_ref(0)?) else { continue };
                let Some(values) = rows.key_params(&key)? else { continue };
                let head = [Value::Integer(table.t), Value::Integer(capture::LOOK)];
                insert.execute(params_from_iter(head.iter().chain(values.iter().take(width)).map(BindValue)))?;
            }
        }
        Ok(())
    }
}

/// A table with as many columns, without types.
fn make_place(from: &Connection, to: &Connection, table: &str) -> rusqlite::Result<()> {
    let columns = from.prepare(&format!("SELECT * FROM main.{table}"))?.column_count();
    let columns: Vec<_> = (0..columns).map(|c| format!("c{c}")).collect();
    to.execute_batch(&format!("CREATE TABLE {table}({})", columns.join(", ")))
}

fn copy(from: &Connection, to: &Connection, table: &str) -> rusqlite::Result<()> {
    let mut select = from.prepare(&format!("SELECT * FROM main.{table}"))?;
    let columns = select.column_count();
    let marks = vec!["?"; columns].join(", ");
    let mut insert = to.prepare(&format!("INSERT INTO main.{table} VALUES({marks})"))?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let cells = (0..columns).map(|c| row.get_ref(c).map(ToSqlOutput::Borrowed));
        insert.execute(params_from_iter(cells.collect::<rusqlite::Result<Vec<_>>>()?))?;
    }
    Ok(())
}
