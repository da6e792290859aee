//! Tending the schema: what the user changed in it since the last look.

use super::tables::Tables;
use super::{Store, StoreError, define};

impl Store {
    /// If the schema moved: notes what was altered, arms what lost its triggers, tracks tables that are new where all are tracked, and builds announced
    /// ones that something stood in the way of. Returns whether anything was changed.
    ///
    /// # Errors
    /// [`StoreError`]; nothing is changed then.
    pub fn tend(&mut self) -> Result<bool, StoreError> {
        let cookie: i64 = self.conn.query_row("PRAGMA schema_version", [], |row| row.get(0))?;
        if self.tended == Some(cookie) {
            return Ok(false);
        }
        let changed = self.write(|store| {
            let altered = define::alter::note_changes(store)?;
            let armed = define::check_armed(&store.conn)?;
            let fresh = define::track_new(&store.conn)?;
            let built = define::retry_parked(&store.conn)?;
            built.iter().try_for_each(|(t, _)| define::alter::catch_up(store, *t))?;
            // What is tracked may be other tables now under the same cookie.
            store.tables = Tables::load(&store.conn)?;
            store.copy_triggers()?;
            Ok(!altered.is_empty() || !armed.is_empty() || !fresh.is_empty() || !built.is_empty())
        })?;
        self.tended = Some(self.conn.query_row("PRAGMA schema_version", [], |row| row.get(0))?);
        Ok(changed)
    }
}
