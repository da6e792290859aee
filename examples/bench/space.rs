//! Bytes: of the file, and on the wire.

use crate::Failure;
use crate::seal::seal;
use crate::table::Line;
use crate::workload::{Database, NAMED, WIDE, Workload};
use p2pdb_core::limit;
use p2pdb_core::message::{Entries, Message};

pub(crate) fn measure(rows: i64) -> Result<Vec<Line>, Failure> {
    Ok(vec![size(NAMED, rows, 2.2, 1.8)?, wire(NAMED, rows)?, wire(WIDE, rows)?])
}

fn size(workload: Workload, rows: i64, must: f64, aim: f64) -> Result<Line, Failure> {
    let plain = Database::plain(Some(workload))?;
    workload.fill(&plain.conn, rows)?;
    let ours = Database::replica(Some(workload))?;
    let mut store = ours.store(1)?;
    workload.fill(&ours.conn, rows)?;
    seal(&mut store)?;
    let (plain, ours) = (plain.bytes()?, ours.bytes()?);
    let note = format!("{:.1} MB against {:.1}", ours as f64 / 1e6, plain as f64 / 1e6);
    Ok(Line::new("database size, full log", must, aim, ours as f64 / plain as f64, note))
}

fn wire(workload: Workload, rows: i64) -> Result<Line, Failure> {
    let database = Database::replica(Some(workload))?;
    let mut store = database.store(1)?;
    workload.fill(&database.conn, rows)?;
    seal(&mut store)?;
    let (mut n, mut bytes) = (0, 0);
    loop {
        let found = store.arrivals_after(n, limit::BATCH_BYTES)?;
        let Some(last) = found.last() else { break };
        n = last.n;
        let entries = found.iter().map(|e| e.bytes.as_slice()).collect();
        let frame = Message::Entries(Entries { cursor: n, has_more: true, entries }).write();
        // The frame's length before it; what Noise and Yamux add stays below one part in a hundred.
        bytes += frame.len() + 4;
    }
    let raw = workload.value_bytes(rows);
    let note = format!("{:.1} bytes a row against {:.1}", bytes as f64 / rows as f64, raw as f64 / rows as f64);
    let figure = format!("wire bytes over raw value bytes ({})", workload.name);
    Ok(Line::new(figure, 1.0, 0.5, bytes as f64 / raw as f64, note))
}
