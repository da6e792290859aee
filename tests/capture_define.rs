//! Tables begin to take part, stop, and arrive from peers.
#![allow(clippy::unwrap_used)]

use p2pdb::store::define::{self, Decision, State};
use p2pdb::store::{Identity, Offered, Store, StoreError, create_private_tables};
use p2pdb_core::id::GroupId;
use p2pdb_core::key::{AuthorKey, Secret};
use rusqlite::Connection;

fn host(schema: &str) -> Connection {
    let conn = Connection::open_in_memory().unwrap();
    conn.execute_batch(schema).unwrap();
    create_private_tables(&conn).unwrap();
    conn
}

fn refusal(conn: &Connection, table: &str) -> String {
    match define::track(conn, table, "") {
        Err(StoreError::Table(why)) => why,
        other => panic!("{other:?}"),
    }
}

fn one<T: rusqlite::types::FromSql>(conn: &Connection, sql: &str) -> T {
    conn.query_row(sql, [], |r| r.get(0)).unwrap()
}

#[test]
fn what_can_not_be_tracked_is_refused_with_the_reason() {
    let conn = host(
        "CREATE TABLE real_one(id INTEGER PRIMARY KEY); CREATE VIEW v AS SELECT 1 AS x; CREATE VIRTUAL TABLE f USING fts5(x);
         CREATE TEMP TABLE tt(x)",
    );
    let cases = [
        ("task", "p2p_track: table \"task\" does not exist; create it first"),
        ("v", "p2p_track: \"v\" is a view; track the tables whose rows it shows"),
        ("f", "p2p_track: \"f\" is a virtual table; track the tables whose rows it shows"),
        ("f_data", "p2p_track: table \"f_data\" is a part of the virtual table \"f\" and can't be tracked"),
        ("tt", "p2p_track: table \"tt\" is temporary and ends with this connection; track one of the database file"),
        ("sqlite_schema", "p2p_track: table \"sqlite_schema\" is SQLite's own and can't be tracked"),
        ("_P2P_mark", "p2p_track: table \"_P2P_mark\" is P2PDB's own and can't be tracked"),
    ];
    for (table, why) in cases {
        assert_eq!(refusal(&conn, table), why);
    }
    let options = define::track(&conn, "real_one", "{\"colour\": 1}").unwrap_err().to_string();
    assert_eq!(options, "p2p_track: unknown option \"colour\"; there is \"key\"");
    assert!(
        define::track(&conn, "real_one", "[")
            .unwrap_err()
            .to_string()
            .starts_with("p2p_track: options must be a JSON object")
    );
    assert_eq!(one::<i64>(&conn, "SELECT count(*) FROM _p2p_table"), 0);
}

#[test]
fn tracking_marks_the_rows_that_are_there_once() {
    let conn = host("CREATE TABLE Item(id INTEGER PRIMARY KEY, name); INSERT INTO item(name) VALUES('a'), ('b')");
    let first = define::track(&conn, "ITEM", "{}").unwrap();
    assert_eq!(
        (first.name.as_str(), first.state, first.is_new, first.rows, first.note.as_str()),
        ("Item", State::New, true, 2, "")
    );
    let again = define::track(&conn, "item", "").unwrap();
    assert_eq!((again.t, again.is_new, again.rows), (first.t, false, 0));
    assert_eq!(one::<i64>(&conn, "SELECT count(*) FROM _p2p_mark"), 2);
}

#[test]
fn tracking_takes_part_in_the_transaction_of_the_host() {
    let conn = host("CREATE TABLE item(id INTEGER PRIMARY KEY)");
    conn.execute_batch("BEGIN; INSERT INTO item VALUES(1)").unwrap();
    define::track(&conn, "item", "").unwrap();
    define::track(&conn, "none", "").unwrap_err();
    assert!(!conn.is_autocommit());
    conn.execute_batch("ROLLBACK").unwrap();
    let triggers = "SELECT count(*) FROM sqlite_schema WHERE type = 'trigger'";
    assert_eq!((one::<i64>(&conn, triggers), one::<i64>(&conn, "SELECT count(*) FROM _p2p_table")), (0, 0));
}

#[test]
fn a_table_without_a_key_is_tracked_and_says_so() {
    let conn = host("CREATE TABLE log(x); CREATE TABLE k(k TEXT PRIMARY KEY, v); INSERT INTO log VALUES(1)");
    let log = define::track(&conn, "log", "").unwrap();
    assert_eq!(
        (log.state, log.note.as_str()),
        (State::New, "it has no PRIMARY KEY: each row is one of its own, also where two are equal")
    );
    let k = define::track(&conn, "k", "").unwrap();
    assert_eq!(
        (k.state, k.note.as_str()),
        (State::New, "the key may be NULL: each row with a NULL in it is one of its own")
    );
    conn.execute_batch("INSERT INTO log VALUES(2)").unwrap();
    assert_eq!(one::<i64>(&conn, "SELECT r FROM _p2p_mark WHERE t = 1 ORDER BY n DESC LIMIT 1"), 2);
}

#[test]
fn all_tables_are_tracked_now_and_later_but_for_those_untracked_by_hand() {
    let conn = host(
        "CREATE TABLE a(id INTEGER PRIMARY KEY); CREATE TABLE b(id INTEGER PRIMARY KEY); CREATE VIRTUAL TABLE f USING fts5(x)",
    );
    assert!(define::track_new(&conn).unwrap().is_empty(), "nobody asked for it yet");
    let all = define::track_all(&conn).unwrap();
    let tracked: Vec<&str> = all.iter().filter(|d| matches!(d.1, Decision::Tracked(_))).map(|d| d.0.as_str()).collect();
    assert_eq!(tracked, ["a", "b"]);
    let skipped: Vec<&str> = all.iter().filter(|d| matches!(d.1, Decision::Skipped(_))).map(|d| d.0.as_str()).collect();
    assert_eq!(skipped, ["f"], "where it keeps its data is its own business");
    define::untrack(&conn, "B").unwrap();
    assert_eq!(define::untrack(&conn, "b").unwrap_err().to_string(), "p2p_untrack: table \"b\" is not tracked");
    conn.execute_batch("CREATE TABLE c(k TEXT PRIMARY KEY NOT NULL); INSERT INTO b VALUES(1)").unwrap();
    let fresh = define::track_new(&conn).unwrap();
    assert_eq!(fresh.iter().map(|d| d.0.as_str()).collect::<Vec<_>>(), ["c"]);
    assert!(define::track_new(&conn).unwrap().is_empty());
    assert_eq!(one::<i64>(&conn, "SELECT count(*) FROM _p2p_mark"), 0);
}

#[test]
fn a_table_tracked_again_is_the_same_table_if_it_is_unchanged() {
    let conn = host("CREATE TABLE a(id INTEGER PRIMARY KEY, x)");
    let first = define::track(&conn, "a", "").unwrap();
    define::untrack(&conn, "a").unwrap();
    conn.execute_batch("INSERT INTO a VALUES(1, 1)").unwrap();
    let again = define::track(&conn, "a", "").unwrap();
    assert_eq!((again.t, again.is_new, again.rows), (first.t, true, 1));
    define::untrack(&conn, "a").unwrap();
    conn.execute_batch("DROP TABLE a; CREATE TABLE a(id INTEGER PRIMARY KEY, y)").unwrap();
    assert_ne!(define::track(&conn, "a", "").unwrap().t, first.t);
}

struct Replica {
    user: Connection,
    store: Store,
    _dir: tempfile::TempDir,
}

impl Replica {
    fn new(seed: u8, schema: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.db");
        let user = Connection::open(&path).unwrap();
        user.execute_batch("PRAGMA journal_mode=WAL; PRAGMA foreign_keys=OFF").unwrap();
        user.execute_batch(schema).unwrap();
        let identity = Identity {
            group: GroupId([1; 16]),
            secret: Secret([2; 32]),
            epoch: 0,
            key: AuthorKey::from_seed(&[seed; 32]),
        };
        let store = Store::open(Connection::open(&path).unwrap(), identity).unwrap();
        Self { user, store, _dir: dir }
    }

    fn seal(&mut self, ms: u64) {
        while self.store.seal(ms, || true).unwrap().is_partial {}
    }

    fn take(&mut self, other: &Self) {
        let entries = other.store.arrivals_after(0, usize::MAX).unwrap();
        let entries: Vec<&[u8]> = entries.iter().map(|e| e.bytes.as_slice()).collect();
        self.store.receive(&[Offered { entries: &entries, cursor: None }], 1 << 41, || true).unwrap();
    }

    fn listed(&self) -> Vec<(String, i64, String)> {
        let sql = "SELECT name, state, note FROM _p2p_table ORDER BY t";
        self.user
            .prepare(sql)
            .unwrap()
            .query_map([], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?)))
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap()
    }

    fn dump(&self, sql: &str) -> Vec<String> {
        self.user.prepare(sql).unwrap().query_map([], |r| r.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
    }
}

#[test]
fn a_peer_builds_what_was_announced_and_captures_it() {
    let schema = "CREATE TABLE sale(id INTEGER PRIMARY KEY, item TEXT COLLATE NOCASE NOT NULL, qty INT DEFAULT (1 + 1) CHECK(qty > 0),
            total AS (qty * 2), UNIQUE(item, qty)); CREATE UNIQUE INDEX one ON sale(lower(item)) WHERE qty = 1; CREATE INDEX two ON sale(qty DESC);
        INSERT INTO sale VALUES(1, 'tea', 3)";
    let (mut a, mut b) = (Replica::new(1, schema), Replica::new(2, "CREATE TABLE x(y); CREATE INDEX two ON x(y)"));
    define::track_all(&a.user).unwrap();
    a.seal(1000);
    b.take(&a);
    assert_eq!(b.listed(), [("sale".to_string(), 1, String::new())]);
    let columns = "SELECT name || type || \"notnull\" || hidden FROM pragma_table_xinfo('sale')";
    assert_eq!(a.dump(columns), b.dump(columns));
    let rows = "SELECT id || item || qty || total FROM sale";
    assert_eq!(b.dump(rows), ["1tea36"]);
    assert!(
        b.dump("SELECT name FROM sqlite_schema WHERE type = 'index' AND tbl_name = 'sale'")
            .contains(&"two_2".to_string())
    );
    b.user
        .execute_batch("INSERT INTO sale(item) VALUES('milk'); INSERT INTO sale(item, qty) VALUES('x', 0)")
        .unwrap_err();
    b.seal(2000);
    a.take(&b);
    assert_eq!(a.dump(rows), ["1tea36", "2milk24"]);
}

#[test]
fn a_table_that_differs_is_parked_with_the_difference_and_built_when_it_is_gone() {
    let (mut a, mut b) = (
        Replica::new(1, "CREATE TABLE t(k TEXT PRIMARY KEY NOT NULL, v INT); INSERT INTO t VALUES('a', 1)"),
        Replica::new(2, "CREATE TABLE t(k TEXT PRIMARY KEY NOT NULL, v TEXT); INSERT INTO t VALUES('mine', 'x')"),
    );
    define::track_all(&a.user).unwrap();
    a.seal(1000);
    b.take(&a);
    let note =
        "another table of this name is here: the type of column \"v\" differs; rename or drop it, or make them equal";
    assert_eq!(b.listed(), [("t".to_string(), 3, note.to_string())]);
    assert_eq!(b.dump("SELECT k FROM t"), ["mine"]);
    let why = define::track(&b.user, "t", "").unwrap_err().to_string();
    assert!(why.contains("is announced by a peer and differs from the one here"), "{why}");
    b.user.execute_batch("ALTER TABLE t RENAME TO t_old").unwrap();
    assert_eq!(define::retry_parked(&b.user).unwrap(), [(1, "t".to_owned())]);
    assert_eq!(b.listed(), [("t".to_string(), 1, String::new())]);
}

#[test]
fn an_equal_table_of_the_same_name_is_the_same_table() {
    let schema = "CREATE TABLE t(k TEXT PRIMARY KEY NOT NULL, v INT)";
    let (mut a, mut b) = (Replica::new(1, schema), Replica::new(2, schema));
    a.user.execute_batch("INSERT INTO t VALUES('a', 1)").unwrap();
    b.user.execute_batch("INSERT INTO t VALUES('b', 2)").unwrap();
    define::track_all(&a.user).unwrap();
    a.seal(1000);
    b.take(&a);
    let listed = b.listed();
    assert!(listed[0].1 == 3 && listed[0].2.contains("holds rows here"), "not before its user said so: {listed:?}");
    define::set_existing(&b.user, true).unwrap();
    assert_eq!(define::retry_parked(&b.user).unwrap(), [(1, "t".to_owned())]);
    b.seal(2000);
    b.take(&a);
    a.take(&b);
    assert_eq!(a.dump("SELECT k FROM t ORDER BY k"), ["a", "b"]);
    assert_eq!(a.dump("SELECT k FROM t ORDER BY k"), b.dump("SELECT k FROM t ORDER BY k"));
    assert_eq!(a.store.digest(), b.store.digest());
}

#[test]
fn what_is_not_on_the_white_list_is_tracked_at_home_and_parked_elsewhere() {
    let schema = "CREATE TABLE t(k TEXT PRIMARY KEY NOT NULL, v DEFAULT (total_changes())); CREATE TABLE u(id INTEGER PRIMARY KEY);
        INSERT INTO t VALUES('a', 1); INSERT INTO u VALUES(1)";
    let (mut a, mut b) = (Replica::new(1, schema), Replica::new(2, ""));
    let all = define::track_all(&a.user).unwrap();
    assert!(
        matches!(&all[0].1, Decision::Tracked(t) if t.note.starts_with("peers can't build it: the DEFAULT of column \"v\": the function total_changes()"))
    );
    a.seal(1000);
    b.take(&a);
    let listed = b.listed();
    assert_eq!((listed[0].1, listed[1].1), (3, 1), "{listed:?}");
    assert!(listed[0].2.contains("total_changes()"), "{listed:?}");
    assert_eq!(b.dump("SELECT quote(id) FROM u"), ["1"], "what waits holds up nothing else");
}

#[test]
fn a_table_whose_column_went_goes_on_without_it() {
    let mut a =
        Replica::new(1, "CREATE TABLE t(k TEXT PRIMARY KEY NOT NULL, v, w); CREATE TABLE u(id INTEGER PRIMARY KEY)");
    define::track_all(&a.user).unwrap();
    a.user.execute_batch("INSERT INTO t VALUES('a', 1, 1)").unwrap();
    a.seal(1000);
    a.user.execute_batch("ALTER TABLE t DROP COLUMN v; INSERT INTO t VALUES('b', 2); INSERT INTO u VALUES(1)").unwrap();
    a.seal(2000);
    assert_eq!(a.listed()[0].1, 1);
    let mut b = Replica::new(2, "");
    b.take(&a);
    assert_eq!(b.dump("SELECT quote(k) || quote(w) FROM t ORDER BY k"), ["'a'1", "'b'2"]);
    assert_eq!(b.dump("SELECT quote(id) FROM u"), ["1"]);
}
