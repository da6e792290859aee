//! Merging a peer's entries against writing the same rows by hand.

use crate::Failure;
use crate::clock::{interleaved, spent};
use crate::seal::seal;
use crate::table::Line;
use crate::workload::{Database, NAMED, WIDE, Workload};
use p2pdb::store::{Offered, Store};
use p2pdb_core::limit;

/// Entries in batches as a session delivers them.
struct Batches(Vec<Vec<Vec<u8>>>);

impl Batches {
    fn after(store: &Store, mut n: u64) -> Result<Self, Failure> {
        let mut all = Vec::new();
        loop {
            let found = store.arrivals_after(n, limit::BATCH_BYTES)?;
            let Some(last) = found.last() else { return Ok(Self(all)) };
            n = last.n;
            all.push(found.into_iter().map(|e| e.bytes).collect());
        }
    }

    fn receive(&self, store: &mut Store) -> Result<(), Failure> {
        for batch in &self.0 {
            store.receive(&[Offered { entries: batch, cursor: None }], 1_700_000_000_000, || true)?;
        }
        Ok(())
    }
}

pub(crate) fn measure(rows: i64) -> Result<Vec<Line>, Failure> {
    let mut lines = Vec::new();
    for workload in [WIDE, NAMED] {
        let [insert, update] = pairs(workload, rows)?;
        lines.push(Line::times(&format!("merge inserts ({})", workload.name), 3.0, 2.0, insert, rows));
        lines.push(Line::times(&format!("merge updates ({})", workload.name), 3.0, 2.2, update, rows));
    }
    Ok(lines)
}

pub(crate) fn pairs(workload: Workload, rows: i64) -> Result<[(u64, u64); 2], Failure> {
    let source = Database::replica(Some(workload))?;
    let mut store = source.store(1)?;
    workload.fill(&source.conn, rows)?;
    seal(&mut store)?;
    let inserts = Batches::after(&store, 0)?;
    let last = store.last_arrival()?;
    workload.change(&source.conn, rows)?;
    seal(&mut store)?;
    let updates = Batches::after(&store, last)?;
    let plain = || {
        let database = Database::plain(Some(workload))?;
        let insert = spent(|| workload.fill(&database.conn, rows))?;
        Ok([insert, spent(|| workload.change(&database.conn, rows))?])
    };
    let ours = || {
        let database = Database::replica(None)?;
        let mut store = database.store(2)?;
        let insert = spent(|| inserts.receive(&mut store))?;
        let update = spent(|| updates.receive(&mut store))?;
        let sum = |conn: &rusqlite::Connection| -> rusqlite::Result<(i64, i64)> {
            let sql = "SELECT count(*), sum(length(b)) FROM t";
            conn.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?)))
        };
        if sum(&database.conn)? != sum(&source.conn)? {
            return Err("the peer's table is not the author's".into());
        }
        Ok([insert, update])
    };
    interleaved(plain, ours)
}
