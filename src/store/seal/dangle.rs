//! References that show something else than the row they mean stay as the user sees them (rule R12): a row that the user inserts, and
//! that one of them means, does not make it show that.

use p2pdb_core::body::Cell;
use p2pdb_core::merge::Rows;
use p2pdb_core::value::Value;

use super::batch::Sealing;
use crate::store::StoreError;
use crate::store::dangling::{self, Dangling};
use crate::store::reference::Mode;
use crate::store::rows::SqliteRows;
use crate::store::tables::Tracked;

impl Sealing<'_, '_> {
    /// Has what dangling references show stay, where they would show something else now.
    pub(super) fn keep_dangling(&mut self, order: &[i64]) -> Result<(), StoreError> {
        let has_woken = std::mem::take(&mut self.has_woken);
        for t in order {
            let Some(table) = self.shared.tables.get(*t) else { continue };
            // A default may mean a row that was inserted, moved or deleted.
            let may_change = has_woken || table.modes.values().any(Mode::has_default);
            if !may_change || table.merge.weak.is_empty() || !self.shared.flags.of(self.shared.conn, *t)?.dangling {
                continue;
            }
            for dangling in dangling::all(self.shared.conn, *t)? {
                self.merge(table, |merge, pen| match shown_otherwise(merge.rows, table, &dangling)? {
                    Some(shown) => merge.seal_shown(pen, &dangling.key, &[(dangling.column, &shown)]),
                    None => Ok(()),
                })?;
            }
        }
        Ok(())
    }
}

/// What a reference shows, where that is not what it would be shown as now.
fn shown_otherwise(
    rows: &mut SqliteRows<'_>,
    table: &Tracked,
    dangling: &Dangling,
) -> Result<Option<Value>, StoreError> {
    let (key, column) = (&dangling.key, dangling.column);
    let Some(state) = rows.record(key)?.filter(|r| !r.is_hidden).and_then(|r| r.state) else { return Ok(None) };
    let mut cells = vec![Cell::Null; table.merge.columns];
    cells[column] = table.merge.cell(&state, column);
    if !matches!(cells[column], Cell::Ref(_)) {
        return Ok(None);
    }
    let merged = cells[column].to_value().unwrap_or(Value::Null);
    let due = rows.standing_in(&cells)?.pop().map_or(merged, |(_, value)| value);
    let shown = rows.values(key)?.swap_remove(column);
    Ok((shown != due).then_some(shown))
}
