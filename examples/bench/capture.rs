//! What capture costs the thread that writes.

use crate::Failure;
use crate::clock::{cpu_ns, interleaved, spent};
use crate::table::Line;
use crate::workload::{Database, WIDE, Workload};
use rusqlite::{Connection, params_from_iter};

pub(crate) fn measure(rows: i64) -> Result<Vec<Line>, Failure> {
    let [insert, update, delete, alone] = written(WIDE, rows)?;
    Ok(vec![
        Line::times("bulk insert, the writer's CPU", 1.8, 1.5, insert, rows),
        Line::times("autocommit insert", 1.6, 1.4, alone, rows),
        Line::times("one-column update", 1.6, 1.3, update, rows),
        Line::times("delete", 1.6, 1.4, delete, rows),
    ])
}

/// Plain and ours: inserts, updates and deletes in one transaction each, and inserts in one each.
pub(crate) fn written(workload: Workload, rows: i64) -> Result<[(u64, u64); 4], Failure> {
    let one = |database: Database, is_tracked: bool| -> Result<[u64; 4], Failure> {
        let conn = &database.conn;
        // What the seal does is not the writer's to pay.
        let rest = || -> Result<(), Failure> {
            if is_tracked {
                conn.execute("DELETE FROM _p2p_mark", [])?;
            }
            Ok(conn.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")?)
        };
        let insert = spent(|| workload.fill(conn, rows))?;
        rest()?;
        let update = spent(|| workload.change(conn, rows))?;
        rest()?;
        let delete = spent(|| workload.clear(conn, rows))?;
        rest()?;
        Ok([insert, update, delete, each_alone(workload, conn, rows)?])
    };
    interleaved(|| one(Database::plain(Some(workload))?, false), || one(Database::replica(Some(workload))?, true))
}

/// Inserts, each in a transaction of its own.
fn each_alone(workload: Workload, conn: &Connection, rows: i64) -> Result<u64, Failure> {
    let mut statement = conn.prepare(workload.insert)?;
    let start = cpu_ns();
    for i in 0..rows {
        statement.execute(params_from_iter(workload.row(i)))?;
    }
    Ok(cpu_ns() - start)
}
