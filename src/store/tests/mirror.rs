//! Rows that were changed past the triggers are found, sealed as the user's changes, and reach the others.

use super::*;
use rusqlite::config::DbConfig;
use std::io::{Seek, SeekFrom, Write};

/// Goes through all tables in steps of `rows`, marks what is found and seals it. Gives how many rows were marked.
fn look_through(replica: &mut Replica, ms: u64) -> usize {
    let (mut pass, mut found) = (Pass::default(), 0);
    loop {
        let is_over = replica.store.look_through(&mut pass, || false).unwrap();
        found += replica.store.mark_found(&mut pass).unwrap();
        replica.seal(ms);
        if is_over {
            return found;
        }
    }
}

/// A replica, and one that has what it has.
fn pair(schema: &str, tables: &[&str], rows: &str) -> (Replica, Replica) {
    let (mut a, mut b) = (Replica::new(1, schema, tables), Replica::new(2, "", &[]));
    a.run(rows);
    a.seal(1000);
    b.take(&a);
    (a, b)
}

/// Writes while no trigger of the connection fires.
fn past_triggers(replica: &Replica, sql: &str) {
    replica.user.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false).unwrap();
    replica.run(sql);
    replica.user.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, true).unwrap();
    assert_eq!(replica.one("SELECT count(*) FROM _p2p_mark"), Sql::Integer(0));
}

const PICTURE: &str = "CREATE TABLE picture(id INTEGER PRIMARY KEY, name TEXT, bytes BLOB);";
const PICTURES: &str = "INSERT INTO picture VALUES(1, 'cat', zeroblob(100)), (2, 'dog', zeroblob(100))";

#[test]
fn what_is_written_into_an_open_blob_reaches_the_others_and_nothing_else_of_the_row_does() {
    let (mut a, mut b) = pair(PICTURE, &["picture"], PICTURES);
    let mut blob = a.user.blob_open("main", "picture", "bytes", 2, false).unwrap();
    blob.seek(SeekFrom::Start(10)).unwrap();
    blob.write_all(b"whiskers").unwrap();
    blob.close().unwrap();
    assert_eq!(a.one("SELECT count(*) FROM _p2p_mark"), Sql::Integer(0));
    // Another column of that row is edited meanwhile: both edits stand.
    b.run("UPDATE picture SET name = 'hound' WHERE id = 2");
    b.seal(1500);
    assert_eq!(look_through(&mut a, 2000), 1);
    sync(&mut a, &mut b);
    a.equals(&b, &["picture"]);
    let row = "SELECT name, substr(bytes, 11, 8) FROM picture WHERE id = 2";
    assert_eq!(b.rows(row).concat(), [Sql::Text("hound".into()), Sql::Blob(b"whiskers".to_vec())]);
    assert_eq!(look_through(&mut a, 3000), 0);
}

#[test]
fn rows_that_came_changed_and_went_past_the_triggers_are_found_whatever_their_key() {
    let schema = "CREATE TABLE n(k INTEGER PRIMARY KEY, x); CREATE TABLE t(k TEXT PRIMARY KEY, x);
        CREATE TABLE c(k COLLATE NOCASE, l, x, PRIMARY KEY(k, l)) WITHOUT ROWID; CREATE TABLE r(k REAL PRIMARY KEY, x);
        CREATE TABLE l(line, x);";
    let tables = ["n", "t", "c", "r", "l"];
    let fill = |table: &str, keys: fn(i64) -> String| {
        let rows: Vec<_> = (1..=200).map(|i| format!("({}, {i})", keys(i))).collect();
        format!("INSERT INTO {table} VALUES {};", rows.join(", "))
    };
    let rows = [
        fill("n", |i| (i * 3).to_string()),
        fill("t", |i| format!("'k{}'", i * 37 % 1009)),
        fill("c", |i| format!("'K{}', {}", i % 7, i)),
        fill("r", |i| format!("{}.5", -i)),
        fill("l", |i| format!("'line {}'", i % 3)),
        "INSERT INTO t VALUES(NULL, 0)".into(),
    ];
    let (mut a, mut b) = pair(schema, &tables, &rows.concat());
    assert_eq!(look_through(&mut a, 1500), 0);
    past_triggers(
        &a,
        "UPDATE n SET x = -1 WHERE k IN (3, 300); DELETE FROM n WHERE k = 6; INSERT INTO n VALUES(-9, 1), (1000, 1);
         UPDATE t SET x = -1 WHERE x IN (5, 180); DELETE FROM t WHERE x = 7; INSERT INTO t VALUES('a', 1), ('z', 1), (NULL, 2);
         UPDATE c SET x = -1 WHERE l IN (5, 180); DELETE FROM c WHERE l = 7; INSERT INTO c VALUES('A', 1, 1), ('z', 1, 1);
         UPDATE r SET x = -1 WHERE x IN (5, 180); DELETE FROM r WHERE x = 7; INSERT INTO r VALUES(0.25, 1), (-1000, 1);
         UPDATE l SET x = -1 WHERE x IN (5, 180); DELETE FROM l WHERE x = 7; INSERT INTO l VALUES('a', 1), ('a', 1)",
    );
    assert_eq!(look_through(&mut a, 2000), 5 * 5 + 1);
    sync(&mut a, &mut b);
    a.equals(&b, &tables);
    assert_eq!(b.one("SELECT count(*) FROM n WHERE x = -1 OR k IN (-9, 1000)"), Sql::Integer(4));
    assert_eq!(look_through(&mut a, 3000), 0);
    assert_eq!(look_through(&mut b, 3001), 0);
}

#[test]
fn a_row_that_was_put_in_the_place_of_another_is_found_though_there_are_as_many() {
    let (mut a, mut b) =
        pair("CREATE TABLE t(k TEXT PRIMARY KEY, x)", &["t"], "INSERT INTO t VALUES('a', 1), ('b', 1)");
    past_triggers(&a, "UPDATE t SET k = 'c' WHERE k = 'b'");
    assert_eq!(look_through(&mut a, 2000), 2);
    sync(&mut a, &mut b);
    a.equals(&b, &["t"]);
    assert_eq!(b.one("SELECT group_concat(k) FROM (SELECT k FROM t ORDER BY k)"), Sql::Text("a,c".into()));
}

#[test]
fn references_and_rows_that_show_other_values_than_were_written_are_no_finding() {
    let schema = "CREATE TABLE p(id INTEGER PRIMARY KEY, code TEXT UNIQUE);
        CREATE TABLE c(pid INTEGER PRIMARY KEY REFERENCES p(id), x); CREATE TABLE d(k TEXT PRIMARY KEY, pid REFERENCES p(id));";
    let tables = ["p", "c", "d"];
    let (mut a, mut b) = pair(
        schema,
        &tables,
        "PRAGMA foreign_keys=OFF; INSERT INTO p VALUES(1, 'one'); INSERT INTO d VALUES('free', 99)",
    );
    for (r, ms) in [(&mut a, 2000), (&mut b, 2001)] {
        r.run(&format!("INSERT INTO p VALUES(2, 'two'), (3, 'of {ms}'); INSERT INTO c VALUES(2, {ms}), (3, {ms}); INSERT INTO d VALUES('{ms}', 3)"));
        r.seal(ms);
    }
    sync(&mut a, &mut b);
    a.equals(&b, &tables);
    for r in [&mut a, &mut b] {
        assert_eq!(look_through(r, 3000), 0);
    }
    // A reference that was pointed elsewhere past the triggers is one.
    past_triggers(&b, "UPDATE d SET pid = 1 WHERE k = '2000'");
    assert_eq!(look_through(&mut b, 4000), 1);
    sync(&mut a, &mut b);
    a.equals(&b, &tables);
    assert_eq!(a.one("SELECT pid FROM d WHERE k = '2000'"), Sql::Integer(1));
}

/// What the user wrote in the ordinary way is the seal's: a pass waits for it.
#[test]
fn a_pass_waits_for_what_is_to_be_sealed() {
    let (mut a, _) = pair(PICTURE, &["picture"], PICTURES);
    a.run("UPDATE picture SET name = 'tiger' WHERE id = 1");
    let mut pass = Pass::default();
    assert!(!a.store.look_through(&mut pass, || true).unwrap());
    assert_eq!(a.store.mark_found(&mut pass).unwrap(), 0);
    a.seal(2000);
    assert!(a.store.look_through(&mut pass, || true).unwrap());
    assert_eq!(a.store.mark_found(&mut pass).unwrap(), 0);
}

#[test]
fn a_table_that_comes_or_goes_under_a_pass_does_it_no_harm() {
    let (mut a, mut b) = pair(&format!("{PICTURE} CREATE TABLE t(k TEXT PRIMARY KEY, x)"), &["picture", "t"], PICTURES);
    past_triggers(&a, "UPDATE picture SET name = 'x'; INSERT INTO t VALUES('a', 1)");
    let mut pass = Pass::default();
    assert!(!a.store.look_through(&mut pass, || false).unwrap());
    a.run("DROP TABLE picture; CREATE TABLE u(k TEXT PRIMARY KEY)");
    define::track(&a.user, "u", "").unwrap();
    a.seal(1500);
    while !a.store.look_through(&mut pass, || false).unwrap() {}
    a.store.mark_found(&mut pass).unwrap();
    a.seal(2000);
    b.take(&a);
    assert_eq!(b.one("SELECT x FROM t"), Sql::Integer(1));
}

/// A clause of the schema is for the user's statements. A merged row that met one used to displace another without a word, or
/// to be left out itself.
#[test]
fn conflict_clauses_of_the_schema_do_not_decide_about_merged_rows() {
    for clause in ["REPLACE", "IGNORE", "FAIL", "ROLLBACK"] {
        let schema = format!(
            "CREATE TABLE t(id INTEGER PRIMARY KEY ON CONFLICT {clause}, code TEXT UNIQUE ON CONFLICT {clause}, n NOT NULL ON CONFLICT {clause} DEFAULT 7);
             CREATE TABLE u(k TEXT PRIMARY KEY ON CONFLICT {clause}, code TEXT, UNIQUE(code) ON CONFLICT {clause});"
        );
        let tables = ["t", "u"];
        let (mut a, mut b) =
            pair(&schema, &tables, "INSERT INTO t VALUES(1, 'one', 1), (2, 'two', 1); INSERT INTO u VALUES('a', 'x')");
        a.run("INSERT INTO t VALUES(3, 'same', 1), (4, 'of a', 1); INSERT INTO u VALUES('p', 'same'); UPDATE t SET code = 'up' WHERE id = 1");
        b.run("INSERT INTO t VALUES(4, 'same', 2), (5, 'of b', 2); INSERT INTO u VALUES('q', 'same'); UPDATE t SET code = 'up' WHERE id = 2");
        a.seal(2000);
        b.seal(2001);
        sync(&mut a, &mut b);
        a.equals(&b, &tables);
        for r in [&mut a, &mut b] {
            assert_eq!(
                r.rows("SELECT (SELECT count(*) FROM t), (SELECT count(*) FROM u)").concat(),
                [Sql::Integer(6), Sql::Integer(3)],
                "{clause}"
            );
            assert_eq!(look_through(r, 3000), 0, "{clause}");
        }
    }
}

/// The schema cookie does not move by it, so nothing else would have the triggers looked for.
#[test]
fn triggers_that_were_struck_from_the_schema_are_missed_and_made_again() {
    let (mut a, mut b) = pair(PICTURE, &["picture"], PICTURES);
    a.run("PRAGMA writable_schema=ON; DELETE FROM sqlite_schema WHERE type = 'trigger'; PRAGMA writable_schema=OFF");
    a.user = open(&a._dir.path().join("x.db"));
    a.run("UPDATE picture SET name = 'tiger' WHERE id = 1; DELETE FROM picture WHERE id = 2");
    assert_eq!(a.one("SELECT count(*) FROM _p2p_mark"), Sql::Integer(0));
    assert_eq!(look_through(&mut a, 2000), 2);
    a.run("UPDATE picture SET name = 'lion' WHERE id = 1");
    assert_eq!(a.one("SELECT count(*) FROM _p2p_mark"), Sql::Integer(1));
    a.seal(3000);
    sync(&mut a, &mut b);
    a.equals(&b, &["picture"]);
    assert_eq!(b.one("SELECT group_concat(name) FROM picture"), Sql::Text("lion".into()));
}
