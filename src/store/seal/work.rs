//! What is to be sealed of one table in a batch, by the keys that the table shows.

use p2pdb_core::codec::Malformed;
use p2pdb_core::local::{Touch, who_is_who};
use p2pdb_core::name::{Collation, Name, is_hashed, key_name, key_values};
use p2pdb_core::record::Record;
use p2pdb_core::value::Value;
use rusqlite::ToSql;
use rusqlite::types::{ToSqlOutput, ValueRef};
use std::collections::{BTreeMap, BTreeSet};

use crate::store::tables::Tracked;

/// The canonical bytes of a key.
pub(in crate::store) type Bytes = Box<[u8]>;

/// A visible key, folded as SQLite compares it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Shown {
    /// Of an alias table, the id; of a row without a key, the rowid.
    Id(i64),
    /// Of any other row.
    Key(Bytes),
}

impl ToSql for Shown {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Id(id) => ValueRef::Integer(*id),
            Self::Key(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

impl Shown {
    /// The key that a table shows as `values`: what finds a row there, the rowid last where rows may have no key.
    pub(super) fn of(values: &[Value], table: &Tracked) -> Self {
        let key = &values[..values.len().min(table.merge.key.len())];
        match (table.merge.id_column, values) {
            (Some(_), [Value::Integer(id)]) => Self::Id(*id),
            (None, [.., Value::Integer(rowid)])
                if table.merge.has_nameless && (key.is_empty() || key.contains(&Value::Null)) =>
            {
                Self::Id(*rowid)
            }
            _ => Self::Key(fold(key, &table.merge.key)),
        }
    }

    pub(super) fn id(&self) -> Option<i64> {
        if let Self::Id(id) = self { Some(*id) } else { None }
    }
}

/// Has a key to be kept beside its canonical bytes? Not where they tell what finds the row: they do unless they are a hash,
/// fold text, or stand in a table whose keys may have meant another row's name before.
pub(super) fn must_keep(key: &Shown, table: &Tracked) -> bool {
    let Shown::Key(bytes) = key else { return false };
    let is_told =
        |(column, collation): &(usize, Collation)| *collation == Collation::Binary && !table.refs.contains_key(column);
    is_hashed(bytes) || !table.merge.key.iter().all(is_told)
}

/// A key's canonical bytes.
pub(in crate::store) fn fold(values: &[Value], key: &[(usize, Collation)]) -> Bytes {
    match key_name(values.iter().zip(key).map(|(v, (_, collation))| (v, *collation))) {
        Name::Key(bytes) => bytes,
        Name::Born { .. } => Bytes::default(),
    }
}

/// What is to be sealed of one table.
#[derive(Default)]
pub(super) struct Work {
    /// Per key the one under which the row stood before; none for a new row.
    pub(super) here: BTreeMap<Shown, Option<Shown>>,
    /// Keys whose rows may be gone without another mark: a REPLACE evicted them, or the table was made anew.
    hinted: BTreeSet<Shown>,
    /// The keys' values, where they are to be kept (see [`must_keep`]).
    keys: BTreeMap<Shown, Vec<Value>>,
    /// The names that a key may have meant, where that does not follow from the key.
    pub(super) was: BTreeMap<Shown, BTreeSet<Bytes>>,
    /// Of an alias table and of rows without a key: who had a record.
    pub(super) records: BTreeMap<i64, Record>,
    /// Who stays: new id to old.
    pub(super) stays: BTreeMap<i64, i64>,
    /// Only rows are left that had to wait for the birth of those they refer to.
    pub(super) is_second: bool,
}

impl Work {
    pub(super) fn new(touches: Vec<Touch<Shown>>, keys: BTreeMap<Shown, Vec<Value>>) -> Self {
        let hint = |touch: &Touch<Shown>| match touch {
            Touch::Hint(key) | Touch::Look(key) => Some(key.clone()),
            _ => None,
        };
        let hinted = touches.iter().filter_map(hint).collect();
        Self { here: who_is_who(touches), hinted, keys, ..Self::default() }
    }

    /// A row that no marker names, to be compared with its record.
    pub(super) fn add(&mut self, table: &Tracked, mut values: Vec<Value>) {
        let key = Shown::of(&values, table);
        values.truncate(table.key().len());
        self.here.entry(key.clone()).or_insert_with(|| Some(key.clone()));
        if must_keep(&key, table) {
            self.keys.entry(key).or_insert(values);
        }
    }

    /// The keys whose values are kept, with these.
    pub(super) fn kept_keys(&self) -> impl Iterator<Item = (&Shown, &Vec<Value>)> {
        self.keys.iter()
    }

    /// The values that find the row under a key.
    ///
    /// # Errors
    /// [`Malformed`] if its bytes are no key.
    pub(super) fn values(&self, key: &Shown) -> Result<Vec<Value>, Malformed> {
        match (key, self.keys.get(key)) {
            (Shown::Id(id), _) => Ok(vec![Value::Integer(*id)]),
            (Shown::Key(_), Some(values)) => Ok(values.clone()),
            (Shown::Key(bytes), None) => key_values(bytes),
        }
    }

    /// Is the row that stands under this key surely there, and the one that stood there before? One that moved may have
    /// gone with the row that it evicted: ON DELETE CASCADE leaves no later mark.
    pub(super) fn is_certain(&self, key: &Shown) -> bool {
        !self.hinted.contains(key) && self.here.get(key).is_some_and(|origin| origin.as_ref() == Some(key))
    }

    /// The names that `key` may have meant.
    pub(super) fn names(&self, key: &Shown) -> BTreeSet<Bytes> {
        match (self.was.get(key), key) {
            (Some(names), _) => names.clone(),
            (None, Shown::Key(bytes)) => BTreeSet::from([bytes.clone()]),
            (None, Shown::Id(_)) => BTreeSet::new(),
        }
    }

    /// The first, for a table that others refer to the only, value of a key.
    pub(super) fn value(&self, key: &Shown) -> Option<Value> {
        self.values(key).ok()?.into_iter().next()
    }

    /// The names of rows whose key another row has now, or none.
    pub(super) fn names_gone(&self, key: &Shown) -> BTreeSet<Name> {
        match key {
            Shown::Id(id) => {
                let name = |r: &Record| Name::Born { dot: r.born.dot(), id: r.birth_id.unwrap_or(*id) };
                self.records.get(id).map(name).into_iter().collect()
            }
            Shown::Key(_) => self.names(key).into_iter().map(Name::Key).collect(),
        }
    }

    /// Keys that another row has now, or none.
    pub(super) fn gone(&self, table: &Tracked) -> Vec<Shown> {
        if table.merge.id_column.is_some() {
            let moved = self.records.keys().filter(|id| self.stays.get(id) != Some(id));
            return moved.map(|id| Shown::Id(*id)).collect();
        }
        // Whether a row that is named by what it refers to is another one shows only once its parents are sealed. A row without
        // a key is referred to by none.
        self.here.keys().filter(|key| key.id().is_none()).cloned().collect()
    }
}
