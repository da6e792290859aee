//! A database without a file has no node: sealing and merging are done on the host's own connection, when it asks.

use rusqlite::Connection;
use rusqlite::config::DbConfig;
use rusqlite::types::Value;
use std::time::{SystemTime, UNIX_EPOCH};

use super::actions::{Call, Outcome};
use crate::store::{Store, StoreError, remove_trigger_copies};

/// `p2p_seal()`
pub(super) fn seal(call: &Call<'_>) -> Outcome {
    with_store(call, |store, now_ms| {
        let mut entries = 0;
        loop {
            let sealed = store.seal(now_ms, || true)?;
            entries += sealed.entries as i64;
            if !sealed.is_partial {
                return Ok(Value::Integer(entries));
            }
        }
    })
}

/// `p2p_sync()`
pub(super) fn sync(call: &Call<'_>) -> Outcome {
    seal(call)?;
    with_store(call, |store, now_ms| {
        let mut applied = store.drain(now_ms, || true)?.map(|drained| drained.applied).unwrap_or_default();
        let mut entries = applied.entries;
        loop {
            if applied.needs_seal {
                while store.seal(now_ms, || true)?.is_partial {}
            }
            applied = store.apply(now_ms, || true)?;
            entries += applied.entries;
            if !applied.needs_seal {
                return Ok(Value::Text(format!("sealed; {entries} entries merged")));
            }
        }
    })
}

/// Lends the host's connection to a store, with the settings that one needs, and gives it back as it was.
fn with_store(call: &Call<'_>, work: impl FnOnce(&mut Store, u64) -> Result<Value, StoreError>) -> Outcome {
    let sidecar = call.keys()?;
    call.refuse_in_transaction()?;
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64;
    let settings = Settings::read(call.conn).map_err(|e| e.to_string())?;
    // SAFETY: the handle is the caller's connection, alive for the whole call; the second object over it does not close it.
    let conn = unsafe { Connection::from_handle(call.conn.handle()) }.map_err(|e| e.to_string())?;
    let outcome = Store::open(conn, sidecar.identity()).and_then(|mut store| work(&mut store, now_ms));
    settings.restore(call.conn).map_err(|e| e.to_string())?;
    outcome.map_err(|e| e.to_string())
}

/// What a store changes on its connection.
struct Settings {
    triggers: bool,
    foreign_keys: bool,
    recursive_triggers: bool,
    synchronous: i64,
    cache_size: i64,
}

impl Settings {
    fn read(conn: &Connection) -> rusqlite::Result<Self> {
        let pragma = |name: &str| conn.query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, i64>(0));
        Ok(Self {
            triggers: conn.db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER)?,
            foreign_keys: pragma("foreign_keys")? != 0,
            recursive_triggers: pragma("recursive_triggers")? != 0,
            synchronous: pragma("synchronous")?,
            cache_size: pragma("cache_size")?,
        })
    }

    fn restore(&self, conn: &Connection) -> rusqlite::Result<()> {
        remove_trigger_copies(conn)?;
        conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, self.triggers)?;
        let Self { foreign_keys, recursive_triggers, synchronous, cache_size, .. } = self;
        conn.execute_batch(&format!(
            "PRAGMA foreign_keys={foreign_keys}; PRAGMA recursive_triggers={recursive_triggers}; PRAGMA synchronous={synchronous}; PRAGMA cache_size={cache_size}"
        ))
    }
}
