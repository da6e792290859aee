//! Sealing against inserting the same rows, while their writer rests: the passes are those that the node takes then.

use crate::Failure;
use crate::clock::{cpu_ns, interleaved, spent};
use crate::table::Line;
use crate::workload::{Database, NAMED, WIDE, Workload};
use p2pdb::node::pace::Pace;
use p2pdb::store::Store;

/// Seals everything, pass by pass as the node does where nobody else uses the file after the commit that is sealed. Their
/// lengths are taken in processor time: what else the machine does must not make them shorter.
pub(crate) fn seal(store: &mut Store) -> Result<(), Failure> {
    let mut pace = Pace::default();
    let mut is_alone = false;
    loop {
        let (begun, length) = (cpu_ns(), pace.seal(is_alone));
        let has_time = || u128::from(cpu_ns() - begun) < length.as_nanos();
        if !store.seal(1_700_000_000_000, has_time)?.is_partial {
            return Ok(());
        }
        is_alone = true;
    }
}

pub(crate) fn measure(rows: i64) -> Result<Vec<Line>, Failure> {
    [WIDE, NAMED].into_iter().map(|workload| line(workload, rows)).collect()
}

pub(crate) fn line(workload: Workload, rows: i64) -> Result<Line, Failure> {
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
