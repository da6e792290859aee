//! What constraints cost: the same figures for a table that has two unique indexes and two foreign keys, beside plain SQLite with
//! the same.

use crate::Failure;
use crate::table::Line;
use crate::workload::CONSTRAINED;
use crate::{capture, merge, seal};

pub(crate) fn measure(rows: i64) -> Result<Vec<Line>, Failure> {
    let name = CONSTRAINED.name;
    let [insert, update, delete, alone] = capture::written(CONSTRAINED, rows)?;
    let [merged, changed] = merge::pairs(CONSTRAINED, rows)?;
    Ok(vec![
        Line::times(&format!("bulk insert ({name})"), 1.8, 1.5, insert, rows),
        Line::times(&format!("autocommit insert ({name})"), 1.6, 1.4, alone, rows),
        Line::times(&format!("one-column update ({name})"), 1.6, 1.3, update, rows),
        Line::times(&format!("delete ({name})"), 1.6, 1.4, delete, rows),
        seal::line(CONSTRAINED, rows)?,
        Line::times(&format!("merge inserts ({name})"), 3.0, 2.0, merged, rows),
        Line::times(&format!("merge updates ({name})"), 3.0, 2.2, changed, rows),
    ])
}
