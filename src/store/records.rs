//! The tables that hold clock records: one beside each tracked table.
//!
//! A record is looked up and kept for each row that is sealed or merged. In a tree of its own, under the rowid where the
//! row has an integer key, that costs a third less than under (table, key) in one for all.

use rusqlite::Connection;

/// The name of the table that holds the records of table number `t`. Its columns are `key` and `record`.
pub(super) fn table(t: i64) -> String {
    format!("_p2p_row_{t}")
}

/// Makes it, where it is not there yet.
///
/// # Errors
/// SQLite's.
pub(super) fn create(conn: &Connection, t: i64, is_alias: bool) -> rusqlite::Result<()> {
    let name = table(t);
    conn.execute_batch(&match is_alias {
        true => format!("CREATE TABLE IF NOT EXISTS main.{name}(key INTEGER PRIMARY KEY, record BLOB NOT NULL)"),
        false => {
            format!("CREATE TABLE IF NOT EXISTS main.{name}(key BLOB PRIMARY KEY, record BLOB NOT NULL) WITHOUT ROWID")
        }
    })
}
