//! Databases in a folder of their own, and patience.

use p2pdb::surface;
use rusqlite::Connection;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// What is on its way is here by then, on a machine with other work too.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

pub(crate) struct World(tempfile::TempDir);

impl World {
    pub(crate) fn new() -> Self {
        // Cargo sets it: a test must not listen on anything but loopback.
        assert!(std::env::var("P2PDB_LISTEN").is_ok_and(|a| a.starts_with("/ip4/127.")), "run it by cargo");
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(format!("{name}.db"))
    }

    /// A connection that loaded us.
    pub(crate) fn open(&self, name: &str) -> Connection {
        surface::open(&self.path(name)).unwrap()
    }

    /// One that never heard of us.
    pub(crate) fn plain(&self, name: &str) -> Connection {
        Connection::open(self.path(name)).unwrap()
    }

    /// A database with that schema, its tables tracked and sealed.
    pub(crate) fn tracked(&self, name: &str, schema: &str) -> Connection {
        let conn = self.open(name);
        conn.execute_batch(schema).unwrap();
        one(&conn, "SELECT p2p_track('*')");
        one(&conn, "SELECT p2p_seal()");
        conn
    }

    /// One more member of a group.
    pub(crate) fn joined(&self, name: &str, member: &Connection) -> Connection {
        let conn = self.open(name);
        join(&conn, member);
        conn
    }
}

pub(crate) fn join(conn: &Connection, member: &Connection) {
    let ticket = one(member, "SELECT p2p_invite()");
    one(conn, &format!("SELECT p2p_join('{ticket}')"));
}

/// The only value of a query, as text.
pub(crate) fn one(conn: &Connection, sql: &str) -> String {
    tried(conn, sql).unwrap_or_else(|why| panic!("{sql}: {why}"))
}

/// The same where there may be no such row or table yet.
pub(crate) fn tried(conn: &Connection, sql: &str) -> Result<String, String> {
    let value = conn.query_row(sql, [], |row| row.get::<_, rusqlite::types::Value>(0));
    value.map_err(message).map(|value| match value {
        rusqlite::types::Value::Null => String::new(),
        rusqlite::types::Value::Integer(i) => i.to_string(),
        rusqlite::types::Value::Real(r) => r.to_string(),
        rusqlite::types::Value::Text(t) => t,
        rusqlite::types::Value::Blob(b) => format!("{b:02x?}"),
    })
}

/// The error that a query ends in.
pub(crate) fn error(conn: &Connection, sql: &str) -> String {
    match tried(conn, sql) {
        Ok(answer) => panic!("{sql} answered {answer:?}"),
        Err(why) => why,
    }
}

fn message(why: rusqlite::Error) -> String {
    match why {
        rusqlite::Error::SqliteFailure(_, Some(message)) => message,
        rusqlite::Error::SqlInputError { msg, .. } => msg,
        other => other.to_string(),
    }
}

/// Asks again until the answer is this, or time is up.
pub(crate) fn until(conn: &Connection, sql: &str, wanted: &str) {
    let mut last = String::new();
    patiently(
        || {
            last = tried(conn, sql).unwrap_or_else(|why| why);
            last == wanted
        },
        || {
            let status = tried(conn, "SELECT state || ': ' || detail FROM p2p_status");
            format!("{sql} does not become {wanted:?}; status {status:?}")
        },
    );
}

/// Asks again until it is so.
pub(crate) fn patiently(mut is_so: impl FnMut() -> bool, what: impl Fn() -> String) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < DEADLINE, "{}", what());
        std::thread::park_timeout(Duration::from_millis(5));
    }
}
