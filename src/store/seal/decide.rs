//! What the user decided of conflicts ([`crate::store::resolve`]), as operations: updates that write what is shown already, and
//! deletes of rows that are hidden or gone. By them every replica hears that somebody who had seen what lost let it go (rule R19).

use p2pdb_core::body::Cell;
use p2pdb_core::codec::Reader;
use p2pdb_core::local::Pen;
use p2pdb_core::merge::{Key, Merge, Rows};
use p2pdb_core::name::Name;
use rusqlite::{Connection, params};

use super::batch::Sealing;
use crate::store::StoreError;
use crate::store::rows::SqliteRows;

/// One decision.
struct Decision {
    t: i64,
    name: Name,
    /// The column whose value stands; none where it is about the row.
    column: Option<usize>,
    /// The id under which a hidden row was put into the table.
    shown: Option<i64>,
}

/// Is there any?
pub(super) fn any(conn: &Connection) -> rusqlite::Result<bool> {
    conn.prepare_cached("SELECT EXISTS(SELECT 1 FROM _p2p_decision)")?.query_row([], |row| row.get(0))
}

fn all(conn: &Connection) -> Result<Vec<Decision>, StoreError> {
    let mut statement = conn.prepare_cached("SELECT t, name, col, shown FROM _p2p_decision")?;
    let mut rows = statement.query([])?;
    let mut decisions = Vec::new();
    while let Some(row) = rows.next()? {
        let name = Name::read(&mut Reader::new(row.get_ref(1)?.as_blob()?))?;
        let column = usize::try_from(row.get::<_, i64>(2)?).ok();
        decisions.push(Decision { t: row.get(0)?, name, column, shown: row.get(3)? });
    }
    Ok(decisions)
}

impl Sealing<'_, '_> {
    /// Takes hidden rows that their user put into the table for what they are, before the markers of that are read. True if there is
    /// any such row, of a former step of the group too.
    pub(super) fn revive(&mut self) -> Result<bool, StoreError> {
        let mut has_revived = false;
        for Decision { t, name, shown, .. } in all(self.shared.conn)? {
            let (Some(table), Some(id)) = (self.shared.tables.get(t), shown) else { continue };
            has_revived = true;
            self.merge(table, |merge, _| {
                let key = Key::Id(id);
                let is_there = merge.rows.visible(&key)?.is_some() && merge.rows.record(&key)?.is_none();
                match merge.located(&name)?.filter(|(_, record)| is_there && record.is_hidden) {
                    Some((key, record)) => merge.seal_revival(&key, id, record),
                    None => Ok(()),
                }
            })?;
        }
        Ok(has_revived)
    }

    /// Writes down what was decided. No marker is left: records are as their rows.
    pub(super) fn decide(&mut self) -> Result<(), StoreError> {
        let decisions = all(self.shared.conn)?;
        if decisions.is_empty() {
            return Ok(());
        }
        let order = std::mem::take(&mut self.order);
        self.settle_all(&order)?;
        for decision in decisions.iter().filter(|decision| decision.shown.is_none()) {
            let Some(table) = self.shared.tables.get(decision.t) else { continue };
            self.merge(table, |merge, pen| decide(merge, pen, decision))?;
        }
        self.keep_shown(&order)?;
        self.group.end_run();
        self.order = order;
        self.shared.conn.execute("DELETE FROM _p2p_decision", [])?;
        Ok(())
    }
}

/// What was a conflict when it was decided about may be none any more: then nothing is written.
fn decide(
    merge: &mut Merge<'_, SqliteRows<'_>>,
    pen: &mut Pen<'_, '_>,
    Decision { name, column, .. }: &Decision,
) -> Result<(), StoreError> {
    match (merge.located(name)?, column) {
        (Some((key, record)), Some(column))
            if !record.is_hidden
                && (is_booked(merge.rows, name, Some(*column))? || dangles(merge.rows, &key, *column)?) =>
        {
            let Some(values) = merge.rows.visible(&key)? else { return Ok(()) };
            let mut cells: Vec<_> = values.iter().map(Cell::from).collect();
            merge.rows.name_refs(&mut cells)?;
            merge.seal_kept(pen, &key, record, &[*column], &cells)
        }
        (Some((key, record)), None) if record.is_hidden => merge.seal_death(pen, &key, &record, false),
        (None, None) if is_booked(merge.rows, name, None)? => merge.seal_gone(pen, name),
        _ => Ok(()),
    }
}

/// Does the row show something else there than the row it refers to?
fn dangles(rows: &SqliteRows<'_>, key: &Key, column: usize) -> Result<bool, StoreError> {
    let all = crate::store::dangling::all(rows.shared.conn, rows.table.t)?;
    Ok(all.iter().any(|dangling| dangling.key == *key && dangling.column == column))
}

/// Has the book a line on the row, or on that column of it, or does the row show something else there than was written?
fn is_booked(rows: &SqliteRows<'_>, name: &Name, column: Option<usize>) -> Result<bool, StoreError> {
    let mut bytes = Vec::new();
    name.write(&mut bytes);
    let sql = "SELECT EXISTS(SELECT 1 FROM _p2p_conflict WHERE t = ?1 AND name = ?2 AND coalesce(col = ?3, 1))
        OR EXISTS(SELECT 1 FROM _p2p_repair WHERE t = ?1 AND name = ?2 AND coalesce(col = ?3, 1))";
    let params = params![rows.table.t, bytes, column.map(|column| column as i64)];
    Ok(rows.shared.conn.prepare_cached(sql)?.query_row(params, |row| row.get(0))?)
}
