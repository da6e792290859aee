//! Where one row stands, and why: what [`View::why`] finds out of the records, the books and, of rows that are gone, the log.

use p2pdb_core::clock::Stamp;
use p2pdb_core::id::AuthorId;
use p2pdb_core::name::Name;
use p2pdb_core::value::Value;
use rusqlite::OptionalExtension;

use super::shown::literal;
use super::{ConflictLine, View};
use crate::store::StoreError;
use crate::store::define::State;

mod find;

use find::{alike, find, is_pending, shown_key};

/// What is known of a row.
#[derive(Clone, Debug)]
pub struct Account {
    /// The table's name in its own spelling.
    pub table: String,
    /// The key that was asked for, as it is written in SQL.
    pub key: String,
    /// Where it is.
    pub whereabouts: Whereabouts,
    /// Who wrote which columns last, in the order of the columns.
    pub writes: Vec<(Stamp, Vec<String>)>,
    /// Columns that show something else than was written.
    pub derived: Vec<Derived>,
    /// Keys of other rows that were written with this integer key.
    pub namesakes: Vec<String>,
    /// What lost, and what a hidden row holds.
    pub conflicts: Vec<ConflictLine>,
    /// Are there changes of the row, made here, that are not sealed yet?
    pub is_pending: bool,
    /// Who writes here.
    pub own: Option<AuthorId>,
}

/// Where a row is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whereabouts {
    /// In the table.
    Shown,
    /// Kept, and not in the table.
    Hidden {
        /// Why, in words.
        reason: String,
        /// What it waits for.
        waits: Waits,
    },
    /// In the table under another key: it was written with this one.
    Elsewhere(String),
    /// Deleted.
    Deleted(Stamp),
    /// Deleted here, and not sealed yet.
    JustDeleted,
    /// The log does not know of one.
    Unknown,
}

/// What a hidden row waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Waits {
    /// Rows that it refers to.
    Parents(Vec<Parent>),
    /// A row that has what it claims in a unique index: its key, where it can be told.
    Holder(Option<String>),
    /// A constraint of this database.
    Constraint,
}

/// A row that another refers to, and that is not in its table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parent {
    /// The column that refers to it.
    pub column: String,
    /// Its table.
    pub table: String,
    /// The key that it was written with, as it is written in SQL.
    pub key: String,
}

/// A column that shows something else than was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Derived {
    /// The column.
    pub column: String,
    /// What was written, as it is written in SQL.
    pub written: String,
    /// Which row shows it, where one does.
    pub holder: Option<String>,
}

/// What is said of a key.
#[derive(Clone, Debug)]
pub enum Why {
    /// Of a row.
    Row(Box<Account>),
    /// The table's rows are not exchanged: how it takes part, its note, and the entries that wait for it.
    Table {
        /// Its name.
        table: String,
        /// How it takes part.
        state: State,
        /// What is said of it.
        note: String,
        /// Entries with changes of it.
        withheld: u64,
    },
}

impl View<'_> {
    /// Where the row of this key stands.
    ///
    /// # Errors
    /// [`StoreError::Table`] if there is no such table, it is not tracked, or its key is of another width; SQLite's.
    pub fn why(&mut self, table: &str, key: &[Value]) -> Result<Why, StoreError> {
        let Some(t) = self.tables.by_name(table).map(|t| t.t) else { return self.why_not(table) };
        let own = self.meta::<[u8; AuthorId::BYTES]>("author")?.map(AuthorId);
        let found = self.rows(t, |rows, table| {
            let width = table.key().len();
            if width == 0 {
                return Err(StoreError::Table(format!(
                    "rows of table \"{}\" have no key to be asked by; p2p_conflicts lists what they lost",
                    table.name
                )));
            }
            if width != key.len() {
                let columns: Vec<_> = table.key().iter().map(|(c, _)| table.names[*c].as_str()).collect();
                return Err(StoreError::Table(format!(
                    "the key of table \"{}\" is {}: {} of it {} given",
                    table.name,
                    columns.join(", "),
                    key.len(),
                    if key.len() == 1 { "is" } else { "are" },
                )));
            }
            let mut account = Account {
                table: table.name.clone(),
                key: literal(key),
                whereabouts: Whereabouts::Unknown,
                writes: Vec::new(),
                derived: Vec::new(),
                namesakes: Vec::new(),
                conflicts: Vec::new(),
                is_pending: is_pending(rows, table, key)?,
                own,
            };
            let name = find(rows, table, key, &mut account)?;
            Ok((account, name))
        })?;
        let Some((mut account, name)) = found else { return self.why_not(table) };
        let name = match (name, &account.whereabouts) {
            (None, Whereabouts::Unknown) => self.seek(t, key, &mut account)?,
            (name, _) => name,
        };
        if let Some(name) = name {
            account.conflicts = self.conflicts_of(t, &name)?;
        }
        Ok(Why::Row(Box::new(account)))
    }

    /// Of a table whose rows are not exchanged.
    fn why_not(&self, table: &str) -> Result<Why, StoreError> {
        let sql = "SELECT name, state, note, (SELECT count(*) FROM _p2p_withheld w WHERE w.table_id = a.id)
            FROM _p2p_table a WHERE name = ?1 COLLATE NOCASE ORDER BY t DESC LIMIT 1";
        let listed = self.conn.prepare_cached(sql)?.query_row([table], |row| {
            Ok((row.get::<_, String>(0)?, State::from_i64(row.get(1)?), row.get(2)?, row.get::<_, i64>(3)?))
        });
        match listed.optional()? {
            Some((table, state @ (State::Captured | State::Parked), note, withheld)) => {
                Ok(Why::Table { table, state, note, withheld: withheld as u64 })
            }
            _ => Err(not_tracked(table)),
        }
    }

    /// What the log says of a row that is not here. Gives its name, if it ever had one.
    fn seek(&mut self, t: i64, key: &[Value], account: &mut Account) -> Result<Option<Name>, StoreError> {
        let past = self.past(t, &alike(key))?;
        if let Some((_, name)) = &past.last
            && let Some(shown) = self.rows(t, |rows, _| shown_key(rows, name))?.flatten()
        {
            account.whereabouts = Whereabouts::Elsewhere(shown);
            return Ok(Some(name.clone()));
        }
        Ok(past.deleted.map(|(stamp, name)| {
            account.whereabouts = Whereabouts::Deleted(stamp);
            name
        }))
    }
}

fn not_tracked(table: &str) -> StoreError {
    let quoted = table.replace('\'', "''");
    StoreError::Table(format!(
        "table \"{table}\" is not tracked, so nothing is known of its rows; SELECT p2p_track('{quoted}') begins"
    ))
}
