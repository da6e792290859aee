use super::*;
use rusqlite::types::{Value as Sql, ValueRef};
use std::path::Path;

mod alter;
mod alter_histories;
mod arrival;
mod columns;
mod dropped;
mod events;
mod fork;
mod hostile;
mod identity;
mod mirror;
mod nameless;
mod natural;
mod references;
mod resolve;
mod runs;
mod steps;
mod triggers;
mod unique;
mod verify;

struct Replica {
    user: Connection,
    store: Store,
    _dir: tempfile::TempDir,
}

/// A time at which no clock of a test is ahead.
const LATE: u64 = 1 << 41;

fn identity(seed: u8) -> Identity {
    let key = AuthorKey::from_seed(&[seed; 32]);
    Identity { group: GroupId([1; 16]), secret: Secret([2; 32]), epoch: 0, key }
}

impl Replica {
    fn new(seed: u8, schema: &str, tables: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.db");
        let user = open(&path);
        user.execute_batch("PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL").unwrap();
        user.execute_batch(schema).unwrap();
        create_private_tables(&user).unwrap();
        user.execute_batch(
            "CREATE TABLE IF NOT EXISTS _p2p_mark(n INTEGER PRIMARY KEY, t, m, r, k1, k2, k3, k4, o1, o2, o3, o4)",
        )
        .unwrap();
        for t in tables {
            define::track(&user, t, "").unwrap();
        }
        let store = Store::open(open(&path), identity(seed)).unwrap();
        Self { user, store, _dir: dir }
    }

    fn run(&self, sql: &str) {
        self.user.execute_batch(sql).unwrap();
    }

    fn seal(&mut self, ms: u64) {
        while self.store.seal(ms, || false).unwrap().is_partial {}
    }

    fn entries(&self) -> Vec<Vec<u8>> {
        self.store.arrivals_after(0, usize::MAX).unwrap().into_iter().map(|e| e.bytes).collect()
    }

    fn take(&mut self, other: &Replica) {
        self.take_entries(&other.entries());
    }

    fn take_entries(&mut self, entries: &[Vec<u8>]) {
        self.receive(entries, LATE).batches[0].as_ref().unwrap();
    }

    /// As one batch.
    fn receive<B: AsRef<[u8]>>(&mut self, entries: &[B], now_ms: u64) -> Received {
        self.store.receive(&[Offered { entries, cursor: None }], now_ms, || true).unwrap()
    }

    fn view<T>(&self, work: impl FnOnce(&mut View<'_>) -> T) -> T {
        work(&mut View::open(&self.user).unwrap().unwrap())
    }

    fn status(&self) -> Status {
        self.view(|view| view.status(LATE)).unwrap()
    }

    fn one(&self, sql: &str) -> Sql {
        self.rows(sql).remove(0).remove(0)
    }

    /// Nothing is wrong, and every table shows the same here and there.
    fn equals(&self, other: &Replica, tables: &[&str]) {
        for r in [self, other] {
            assert_eq!(r.view(|view| view.verify()).unwrap(), []);
        }
        for t in tables {
            let sql = format!("SELECT * FROM {t} ORDER BY 1, 2");
            assert_eq!(self.rows(&sql), other.rows(&sql), "table {t}");
        }
        assert_eq!(self.store.digest(), other.store.digest());
    }

    fn rows(&self, sql: &str) -> Vec<Vec<Sql>> {
        let mut s = self.user.prepare(sql).unwrap();
        let n = s.column_count();
        // Text need not be UTF-8: what is not stands as its bytes.
        let cell = |v: ValueRef<'_>| match v {
            ValueRef::Text(t) => String::from_utf8(t.to_vec()).map_or_else(|e| Sql::Blob(e.into_bytes()), Sql::Text),
            v => v.try_into().unwrap(),
        };
        s.query_map([], |r| (0..n).map(|c| r.get_ref(c).map(cell)).collect())
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap()
    }
}

fn open(path: &Path) -> Connection {
    Connection::open(path).unwrap()
}

fn sync(a: &mut Replica, b: &mut Replica) {
    for _ in 0..2 {
        a.take(b);
        b.take(a);
    }
    assert_eq!(a.store.digest(), b.store.digest());
}

const SALE: &str = "CREATE TABLE sale(id INTEGER PRIMARY KEY, item TEXT, qty INTEGER);";

#[test]
fn two_replicas_that_insert_the_same_id_keep_both_rows() {
    let mut a = Replica::new(1, SALE, &["sale"]);
    let mut b = Replica::new(2, "", &[]);
    a.run("INSERT INTO sale VALUES(1, 'tea', 2)");
    a.seal(1000);
    b.take(&a);
    assert_eq!(b.rows("SELECT * FROM sale"), a.rows("SELECT * FROM sale"));
    a.run("INSERT INTO sale VALUES(2, 'milk', 1)");
    b.run("INSERT INTO sale VALUES(2, 'bread', 5)");
    a.seal(2000);
    b.seal(2001);
    sync(&mut a, &mut b);
    let rows = a.rows("SELECT id, item FROM sale ORDER BY id");
    assert_eq!(rows, b.rows("SELECT id, item FROM sale ORDER BY id"));
    assert_eq!(rows.len(), 3);
    assert_eq!(rows[1], [Sql::Integer(2), Sql::Text("milk".into())]);
    // An edit of the renumbered row, a delete of the winner: the loser keeps the id that it shows.
    b.run("UPDATE sale SET qty = 6 WHERE item = 'bread'; DELETE FROM sale WHERE id = 2");
    b.seal(3000);
    sync(&mut a, &mut b);
    let rows = a.rows("SELECT * FROM sale ORDER BY id");
    assert_eq!(rows, b.rows("SELECT * FROM sale ORDER BY id"));
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[1][2], Sql::Integer(6));
}

#[test]
fn concurrent_edits_of_different_columns_both_stand_and_of_one_the_later() {
    let mut a = Replica::new(1, "CREATE TABLE p(k TEXT PRIMARY KEY NOT NULL, x, y)", &["p"]);
    let mut b = Replica::new(2, "", &[]);
    a.run("INSERT INTO p VALUES('a', 1, 1), ('b', 1, 1)");
    a.seal(1000);
    b.take(&a);
    a.run("UPDATE p SET x = 2 WHERE k = 'a'; UPDATE p SET x = 7 WHERE k = 'b'");
    b.run("UPDATE p SET y = 3 WHERE k = 'a'; UPDATE p SET x = 8 WHERE k = 'b'");
    a.seal(2000);
    b.seal(2001);
    sync(&mut a, &mut b);
    for r in [&a, &b] {
        assert_eq!(
            r.rows("SELECT x, y FROM p ORDER BY k"),
            [[Sql::Integer(2), Sql::Integer(3)], [Sql::Integer(8), Sql::Integer(1)]]
        );
        assert_eq!(r.rows("SELECT count(*) FROM _p2p_conflict"), [[Sql::Integer(1)]]);
    }
}

#[test]
fn children_follow_a_renumbered_parent() {
    let schema = "CREATE TABLE parent(id INTEGER PRIMARY KEY, n TEXT);
        CREATE TABLE child(id INTEGER PRIMARY KEY, pid INTEGER REFERENCES parent(id), n TEXT);
        CREATE TABLE line(pid INTEGER REFERENCES parent(id), no INTEGER, n TEXT, PRIMARY KEY(pid, no)) WITHOUT ROWID;";
    let mut a = Replica::new(1, schema, &["parent", "child", "line"]);
    let mut b = Replica::new(2, "", &[]);
    a.seal(500);
    b.take(&a);
    for (r, n, ms) in [(&mut a, "a", 1000), (&mut b, "b", 1001)] {
        // The child before its parent: legal within a transaction, and the seal must still find the name.
        r.run(&format!("BEGIN; PRAGMA defer_foreign_keys=ON; INSERT INTO child VALUES(1, 1, 'child of {n}'); INSERT INTO parent VALUES(1, '{n}'); INSERT INTO line VALUES(1, 1, 'line of {n}'); COMMIT"));
        r.seal(ms);
    }
    b.run("INSERT INTO child VALUES(2, 1, 'child of b')");
    b.seal(1100);
    sync(&mut a, &mut b);
    for r in [&a, &b] {
        let strangers = "SELECT count(*) FROM child c JOIN parent p ON p.id = c.pid WHERE c.n = 'child of ' || p.n";
        assert_eq!(r.rows(strangers), [[Sql::Integer(3)]]);
        let strangers = "SELECT count(*) FROM line c JOIN parent p ON p.id = c.pid WHERE c.n = 'line of ' || p.n";
        assert_eq!(r.rows(strangers), [[Sql::Integer(2)]]);
    }
}

#[test]
fn a_transaction_of_many_rows_and_a_long_value_arrive_whole() {
    let mut a = Replica::new(1, "CREATE TABLE b(k BLOB PRIMARY KEY NOT NULL, v)", &["b"]);
    let mut b = Replica::new(2, "", &[]);
    a.run("INSERT INTO b SELECT randomblob(16), hex(randomblob(30)) FROM (WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 20000) SELECT i FROM c)");
    a.run("INSERT INTO b VALUES(x'00', randomblob(3000000)), (x'01', CAST(x'ff00fe' AS TEXT)), (x'02', -0.0), (x'03', 9e999), (x'04', '')");
    a.seal(1000);
    b.take(&a);
    let all = "SELECT quote(k), typeof(v), quote(v) FROM b ORDER BY k";
    assert_eq!(a.rows(all), b.rows(all));
    assert_eq!(a.store.digest(), b.store.digest());
}

/// A seal that found nothing to write used to keep its author's number in memory only: the entries received after it were
/// stored under numbers with a gap before them, and the file could not be opened again.
/// A column of NULLs takes next to no bytes: what a reader takes at most is counted in cells, and the seal must keep to it.
#[test]
fn many_rows_of_a_wide_table_of_nulls_arrive() {
    let columns: Vec<_> = (1..300).map(|c| format!("c{c}")).collect();
    let schema = format!("CREATE TABLE form(id INTEGER PRIMARY KEY, {})", columns.join(","));
    let mut a = Replica::new(1, &schema, &["form"]);
    let mut b = Replica::new(2, "", &[]);
    a.run(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000)
         INSERT INTO form(id) SELECT i FROM n",
    );
    a.seal(1000);
    b.take(&a);
    a.equals(&b, &["form"]);
    assert_eq!(b.one("SELECT count(*) FROM form"), Sql::Integer(1000));
}

#[test]
fn a_replica_that_only_received_can_be_opened_again() {
    let mut a = Replica::new(1, SALE, &["sale"]);
    let mut b = Replica::new(2, "", &[]);
    a.run("INSERT INTO sale VALUES(1, 'tea', 2)");
    a.seal(1000);
    b.seal(1000);
    b.take(&a);
    b.store = Store::open(open(&b._dir.path().join("x.db")), identity(2)).unwrap();
    b.run("UPDATE sale SET qty = 3");
    b.seal(2000);
    sync(&mut a, &mut b);
    assert_eq!(a.rows("SELECT qty FROM sale"), [[Sql::Integer(3)]]);
}
