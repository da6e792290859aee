//! One replica: a database file with a user's connection and a store.

use p2pdb::store::{Identity, Store, View, create_private_tables, testing};
use p2pdb_core::id::{AuthorId, GroupId};
use p2pdb_core::key::{AuthorKey, Secret};
use rusqlite::Connection;
use rusqlite::types::ValueRef;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;

use super::schema::Table;

pub(crate) struct Replica {
    pub name: &'static str,
    pub(crate) user: Connection,
    pub store: Store,
    /// How far this replica's wall clock is ahead.
    pub skew_ms: u64,
}

impl Replica {
    /// Makes one in `dir`; only the first creates and tracks the tables, the others hear of them.
    pub(crate) fn new(
        dir: &Path,
        name: &'static str,
        seed: u64,
        tables: Option<&[Table]>,
        has_foreign_keys: bool,
    ) -> Self {
        let path = dir.join(name);
        let user = Connection::open(&path).unwrap();
        user.execute_batch("PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF").unwrap();
        user.pragma_update(None, "foreign_keys", has_foreign_keys).unwrap();
        create_private_tables(&user).unwrap();
        user.execute_batch(
            "CREATE TABLE IF NOT EXISTS _p2p_mark(n INTEGER PRIMARY KEY, t, m, r, k1, k2, k3, k4, o1, o2, o3, o4)",
        )
        .unwrap();
        for table in tables.into_iter().flatten() {
            user.execute_batch(&table.sql).unwrap();
            testing::track(&user, table.name).unwrap();
        }
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        key[8] = name.as_bytes()[0];
        let key = AuthorKey::from_seed(&key);
        let identity = Identity { group: GroupId([7; 16]), secret: Secret([8; 32]), epoch: 0, key };
        let store = Store::open(Connection::open(&path).unwrap(), identity).unwrap();
        store.connection().execute_batch("PRAGMA synchronous=OFF").unwrap();
        Self { name, user, store, skew_ms: 0 }
    }

    /// Each table's rows as the model writes values.
    pub(crate) fn dump(&self, tables: &[Table]) -> BTreeMap<String, Vec<Value>> {
        let mut all = BTreeMap::new();
        for table in tables {
            let sql = format!("SELECT {} FROM {}", table.columns.join(", "), table.name);
            let Ok(mut statement) = self.user.prepare(&sql) else { continue };
            let n = table.columns.len();
            let rows = statement.query_map([], |row| {
                (0..n).map(|c| row.get_ref(c).map(plain)).collect::<rusqlite::Result<Vec<_>>>().map(Value::from)
            });
            let mut rows: Vec<Value> = rows.unwrap().collect::<Result<_, _>>().unwrap();
            // Rows without a key come in any order.
            rows.sort_by_cached_key(Value::to_string);
            all.insert(table.name.to_owned(), rows);
        }
        all
    }

    /// How far each author's chain is merged here.
    pub(crate) fn merged(&self) -> BTreeMap<AuthorId, u64> {
        let mut statement = self.user.prepare("SELECT id, applied FROM _p2p_author").unwrap();
        let authors = statement.query_map([], |row| Ok((AuthorId(row.get(0)?), row.get::<_, i64>(1)? as u64))).unwrap();
        authors.collect::<Result<BTreeMap<_, _>, _>>().unwrap().into_iter().filter(|(_, seq)| *seq > 0).collect()
    }

    pub(crate) fn is_sealed(&self) -> bool {
        self.store.pending().unwrap() == 0
    }

    pub(crate) fn view<T>(&self, work: impl FnOnce(&mut View<'_>) -> T) -> T {
        work(&mut View::open(&self.user).unwrap().unwrap())
    }
}

/// A value for the model: integers and NULL as they are, the rest as text that tells type and bits.
pub(crate) fn plain(v: ValueRef<'_>) -> Value {
    match v {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(i) => json!(i),
        ValueRef::Real(r) => json!(format!("r{:016x}", r.to_bits())),
        ValueRef::Text(t) => json!(format!("t{}", String::from_utf8_lossy(t))),
        ValueRef::Blob(b) => json!(format!("b{}", hex(b))),
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
