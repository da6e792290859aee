use super::*;
use rusqlite::{Connection, OpenFlags};

/// A listed connection to a new file, with a mutex of its own or without.
struct Listed {
    conn: Connection,
    db: Db,
    gate: HostGate,
    _dir: tempfile::TempDir,
}

impl Listed {
    fn new(threads: OpenFlags) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().canonicalize().unwrap().join("x.db");
        let conn =
            Connection::open_with_flags(&path, OpenFlags::default() & !OpenFlags::SQLITE_OPEN_NO_MUTEX | threads);
        let conn = conn.unwrap();
        conn.execute_batch("PRAGMA journal_mode=WAL; CREATE TABLE t(a)").unwrap();
        // SAFETY: it is taken off the list before `conn` closes.
        let db = Db(unsafe { conn.handle() });
        enter(db, Some(&path), &Weak::new());
        Self { conn, db, gate: HostGate::new(path), _dir: dir }
    }

    fn met(&self) -> Hosts {
        let mut met = None;
        self.gate.enter(&mut |hosts| met = Some(hosts)).unwrap();
        met.unwrap()
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        leave(self.db);
    }
}

#[test]
fn the_gate_tells_whether_a_host_ran_anything_since_it_was_entered() {
    for threads in [OpenFlags::SQLITE_OPEN_FULL_MUTEX, OpenFlags::SQLITE_OPEN_NO_MUTEX] {
        let host = Listed::new(threads);
        host.met();
        assert_eq!(host.met(), Hosts::Idle, "{threads:?}");
        for sql in ["SELECT * FROM t", "INSERT INTO t VALUES(1)", "UPDATE t SET a = 2", "DELETE FROM t"] {
            host.conn.execute_batch(sql).unwrap();
            assert_eq!((host.met(), host.met()), (Hosts::Active, Hosts::Idle), "{threads:?}: {sql}");
        }
    }
}

#[test]
fn a_host_that_comes_is_a_host_at_work() {
    let host = Listed::new(OpenFlags::SQLITE_OPEN_FULL_MUTEX);
    host.met();
    let other = Connection::open(&host.gate.file).unwrap();
    other.execute_batch("SELECT * FROM t").unwrap();
    // SAFETY: it is taken off the list before `other` closes.
    let db = Db(unsafe { other.handle() });
    enter(db, Some(&host.gate.file), &Weak::new());
    other.execute_batch("SELECT * FROM t").unwrap();
    assert_eq!((host.met(), host.met()), (Hosts::Active, Hosts::Idle));
    leave(db);
}
