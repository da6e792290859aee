//! Sealing against inserting the same rows.

use crate::Failure;
use crate::clock::{interleaved, spent};
use crate::table::Line;
use crate::workload::{Database, NAMED, WIDE, Workload};
use p2pdb::store::Store;
use std::time::{Duration, Instant};

/// How long one pass of the node lasts.
const PASS: Duration = Duration::from_millis(5);

/// Seals everything, pass by pass as the node does.
pub(crate) fn seal(store: &mut Store) -> Result<(), Failure> {
    loop {
        let end = Instant::now() + PASS;
        if !store.seal(1_700_000_000_000, || Instant::now() < end)?.is_partial {
            return Ok(());
        }
    }
}

pub(crate) fn measure(rows: i64) -> Result<Vec<Line>, Failure> {
    [WIDE, NAMED].into_iter().map(|workload| line(workload, rows)).collect()
}

fn line(workload: Workload, rows: i64) -> Result<Line, Failure> {
    let plain = || {
        let database = Database::plain(Some(workload))?;
        Ok([spent(|| workload.fill(&database.conn, rows))?])
    };
    let ours = || {
        let database = Database::replica(Some(workload))?;
        workload.fill(&database.conn, rows)?;
        let mut store = database.store(1)?;
        let sealed = spent(|| seal(&mut store))?;
        // Export: entries as the session reads them.
        let read = spent(|| {
            let mut n = 0;
            while let Some(last) = store.arrivals_after(n, 64 * 1024)?.last() {
                n = last.n;
            }
            Ok(())
        })?;
        Ok([sealed + read])
    };
    let [pair] = interleaved(plain, ours)?;
    Ok(Line::times(&format!("seal and export ({})", workload.name), 3.0, 2.0, pair, rows))
}
