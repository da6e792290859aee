//! The tables that hold clock records: one beside each tracked table.
//!
//! A record is looked up and kept for each row that is sealed or merged. In a tree of its own, under the rowid where the
//! row has an integer key, that costs a third less than under (table, key) in one for all. Where rows have no key, it also
//! holds their places ([`super::places`]).

use rusqlite::Connection;

use crate::schema::Definition;

/// The private tables that a merge fills with what it knows of rows besides their records. All have a column `t`.
pub(super) const BOOKS: [&str; 8] = [
    "_p2p_moved",
    "_p2p_claim",
    "_p2p_stuck",
    "_p2p_contend",
    "_p2p_repair",
    "_p2p_literal",
    "_p2p_dangling",
    "_p2p_conflict",
];

/// The name of the table that holds the records of table number `t`. Its columns are `key` and `record`, and `place` where
/// rows have no key.
pub(super) fn table(t: i64) -> String {
    format!("_p2p_row_{t}")
}

/// Makes it, where it is not there yet.
///
/// # Errors
/// SQLite's.
pub(super) fn create(conn: &Connection, t: i64, definition: &Definition) -> rusqlite::Result<()> {
    let name = table(t);
    let (key, rest) = if definition.is_alias() { ("INTEGER", "") } else { ("BLOB", " WITHOUT ROWID") };
    let sql = format!("CREATE TABLE IF NOT EXISTS main.{name}(key {key} PRIMARY KEY, record BLOB NOT NULL){rest}");
    conn.execute_batch(&sql)?;
    if !definition.names_by_birth() {
        return Ok(());
    }
    let sql = "SELECT EXISTS(SELECT 1 FROM pragma_table_info(?1, 'main') WHERE name = 'place')";
    if !conn.prepare_cached(sql)?.query_row([&name], |row| row.get(0))? {
        conn.execute_batch(&format!("ALTER TABLE main.{name} ADD COLUMN place INTEGER"))?;
    }
    conn.execute_batch(&format!(
        "CREATE INDEX IF NOT EXISTS main.{name}_place ON {name}(place) WHERE place IS NOT NULL"
    ))
}
