//! A database in memory: no node, no network; entries move by hand.

use p2pdb::surface;
use rusqlite::Connection;

use crate::world::{error, one};

pub(crate) fn open() -> Connection {
    surface::open(":memory:".as_ref()).unwrap()
}

pub(crate) fn carry(from: &Connection, to: &Connection) {
    let mut statement = from.prepare("SELECT entry FROM p2p_log").unwrap();
    let entries: Vec<Vec<u8>> = statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    for entry in entries {
        to.execute("INSERT INTO p2p_log(entry) VALUES(?1)", [entry]).unwrap();
    }
}

#[test]
fn databases_in_memory_exchange_entries_by_hand() {
    let (a, b) = (open(), open());
    a.execute_batch("CREATE TABLE sale(id INTEGER PRIMARY KEY, item TEXT); INSERT INTO sale(item) VALUES('tea')")
        .unwrap();
    assert_eq!(one(&a, "SELECT p2p_track('*')"), "sale: tracked, 1 rows");
    assert_eq!(one(&a, "SELECT p2p_seal()"), "1");
    assert_eq!(one(&a, "SELECT p2p_seal()"), "0");
    let ticket = one(&a, "SELECT p2p_invite()");
    one(&b, &format!("SELECT p2p_join('{ticket}')"));
    carry(&a, &b);
    assert_eq!(one(&b, "SELECT p2p_sync()"), "sealed; 1 entries merged");
    assert_eq!(one(&b, "SELECT item FROM sale"), "tea");
    b.execute_batch("UPDATE sale SET item = 'milk'").unwrap();
    one(&b, "SELECT p2p_sync()");
    carry(&b, &a);
    one(&a, "SELECT p2p_sync()");
    assert_eq!(one(&a, "SELECT item FROM sale"), "milk");
    let digest = "SELECT digest FROM p2p_status";
    assert_eq!(one(&a, digest), one(&b, digest));
    assert_eq!(one(&a, "SELECT state FROM p2p_status"), "local");
}

/// There the merge runs on the host's own connection: the copies of its triggers must not stay on it, nor write what the host
/// has under the same name.
#[test]
fn a_full_text_index_in_memory_is_fed_by_the_host_and_by_merges_once_each() {
    let schema = "CREATE TABLE note(id INTEGER PRIMARY KEY, text); CREATE TABLE cache(text);
        CREATE VIRTUAL TABLE f USING fts5(text, content='note', content_rowid='id');
        CREATE TRIGGER i AFTER INSERT ON note BEGIN INSERT INTO f(rowid, text) VALUES(new.id, new.text); END;
        CREATE TRIGGER c AFTER INSERT ON note BEGIN INSERT INTO cache VALUES(new.text); END;";
    let (a, b) = (open(), open());
    for conn in [&a, &b] {
        conn.execute_batch(schema).unwrap();
        one(conn, "SELECT p2p_track('note')");
    }
    one(&a, "SELECT p2p_sync()");
    let ticket = one(&a, "SELECT p2p_invite()");
    one(&b, &format!("SELECT p2p_join('{ticket}')"));
    b.execute_batch("CREATE TEMP TABLE cache(text)").unwrap();
    for (from, to, text) in [(&a, &b, "tea"), (&b, &a, "milk")] {
        from.execute("INSERT INTO note(text) VALUES(?1)", [text]).unwrap();
        one(from, "SELECT p2p_sync()");
        carry(from, to);
        one(to, "SELECT p2p_sync()");
        for conn in [&a, &b] {
            assert_eq!(one(conn, "SELECT count(*) FROM sqlite_temp_schema WHERE type = 'trigger'"), "0");
        }
    }
    for conn in [&a, &b] {
        conn.execute_batch("INSERT INTO f(f, rank) VALUES('integrity-check', 1)").unwrap();
        let found = "SELECT group_concat(text) FROM (SELECT n.text FROM f JOIN note n ON n.id = f.rowid WHERE f MATCH 'tea OR milk' ORDER BY 1)";
        assert_eq!(one(conn, found), "milk,tea");
    }
    let cached = "SELECT (SELECT group_concat(text) FROM main.cache), (SELECT count(*) FROM temp.sqlite_schema WHERE name = 'cache')";
    assert_eq!(one(&a, cached), "tea,milk");
    assert_eq!(one(&b, cached), "milk");
    assert_eq!(one(&b, "SELECT count(*) FROM temp.cache"), "0");
    let held = "run: i; held back: c: it names \"cache\", which is a temporary table as well";
    assert_eq!(one(&b, "SELECT triggers FROM p2p_tables WHERE name = 'note'"), held);
    assert_eq!(one(&a, "SELECT triggers FROM p2p_tables WHERE name = 'note'"), "run: i, c");
}

#[test]
fn rows_that_were_here_are_merged_with_the_group_s_in_one_sync() {
    let (a, b) = (open(), open());
    for (conn, item) in [(&a, "tea"), (&b, "milk")] {
        conn.execute_batch("CREATE TABLE sale(id INTEGER PRIMARY KEY, item TEXT)").unwrap();
        let rows = "WITH c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 500) INSERT INTO sale(item) SELECT ?1 FROM c";
        conn.execute(rows, [item]).unwrap();
    }
    one(&a, "SELECT p2p_track('*')");
    one(&a, "SELECT p2p_sync()");
    let ticket = one(&a, "SELECT p2p_invite()");
    one(&b, &format!("SELECT p2p_join('{ticket}', '{{\"existing\":\"merge\"}}')"));
    carry(&a, &b);
    one(&b, "SELECT p2p_sync()");
    let counts = "SELECT group_concat(n) FROM (SELECT count(*) AS n FROM sale GROUP BY item)";
    assert_eq!(one(&b, counts), "500,500");
    carry(&b, &a);
    one(&a, "SELECT p2p_sync()");
    assert_eq!(one(&a, counts), "500,500");
    let digest = "SELECT digest FROM p2p_status";
    assert_eq!(one(&a, digest), one(&b, digest));
}

#[test]
fn the_host_s_settings_are_as_they_were_after_a_sync() {
    let a = open();
    a.execute_batch("CREATE TABLE sale(id INTEGER PRIMARY KEY, item TEXT); PRAGMA foreign_keys = ON").unwrap();
    a.execute_batch(
        "CREATE TABLE seen(n); CREATE TRIGGER see AFTER INSERT ON sale BEGIN INSERT INTO seen VALUES(1); END",
    )
    .unwrap();
    a.execute_batch("PRAGMA cache_size = 777").unwrap();
    one(&a, "SELECT p2p_track('sale')");
    one(&a, "SELECT p2p_sync()");
    a.execute_batch("INSERT INTO sale(item) VALUES('tea')").unwrap();
    assert_eq!(one(&a, "SELECT count(*) FROM seen"), "1");
    assert_eq!(one(&a, "PRAGMA foreign_keys"), "1");
    assert_eq!(one(&a, "PRAGMA cache_size"), "777");
    assert_eq!(one(&a, "SELECT pending FROM p2p_status"), "1");
}

#[test]
fn what_needs_a_network_says_that_there_is_none() {
    let a = open();
    one(&a, "SELECT p2p_track('*')");
    for call in ["p2p_listen('127.0.0.1:0')", "p2p_connect('127.0.0.1:1')"] {
        let why = error(&a, &format!("SELECT {call}"));
        assert!(why.ends_with("a database in memory has no network; move entries through p2p_log"), "{why}");
    }
    let why = error(&a, "SELECT p2p_wait(0)");
    assert!(why.ends_with("a database in memory has no network; move entries through p2p_log"), "{why}");
}

#[test]
fn another_group_s_entries_and_nonsense_are_refused() {
    let (a, b) = (open(), open());
    for conn in [&a, &b] {
        conn.execute_batch("CREATE TABLE sale(id INTEGER PRIMARY KEY); INSERT INTO sale VALUES(1)").unwrap();
        one(conn, "SELECT p2p_track('*')");
        one(conn, "SELECT p2p_sync()");
    }
    let entry: Vec<u8> = a.query_row("SELECT entry FROM p2p_log", [], |row| row.get(0)).unwrap();
    let insert = |bytes: &[u8]| b.execute("INSERT INTO p2p_log(entry) VALUES(?1)", [bytes]).unwrap_err().to_string();
    assert_eq!(insert(&entry), "p2p_log: entry refused: an entry belongs to another group");
    assert!(insert(b"").starts_with("p2p_log: entry refused: "));
    assert!(insert(&entry[..entry.len() / 2]).starts_with("p2p_log: entry refused: "));
    assert_eq!(one(&b, "SELECT count(*) FROM p2p_log"), "1");
}
