//! What the check of everything says, and what it must not say.

use super::*;

fn findings(replica: &Replica) -> Vec<String> {
    replica.view(|view| view.verify()).unwrap().iter().map(ToString::to_string).collect()
}

#[test]
fn a_row_without_a_key_is_told_by_its_rowid() {
    let mut a = Replica::new(
        1,
        "CREATE TABLE t(k TEXT PRIMARY KEY, x); CREATE TABLE p(k, l, PRIMARY KEY(k, l)); CREATE TABLE n(x)",
        &["t", "p", "n"],
    );
    a.run(
        "INSERT INTO t VALUES(NULL, 1), ('a', 1); INSERT INTO p VALUES(1, NULL), (NULL, NULL), (1, 1);
         INSERT INTO n VALUES(1), (1), (2)",
    );
    a.seal(1000);
    assert_eq!(findings(&a), [""; 0]);
    // Past the triggers: one changed, one gone, one new, one kept twice.
    a.store
        .connection()
        .execute_batch("UPDATE t SET x = 2 WHERE k IS NULL; DELETE FROM p WHERE k = 1 AND l IS NULL")
        .unwrap();
    a.store.connection().execute_batch("INSERT INTO n(rowid, x) VALUES(9, 1)").unwrap();
    a.store.connection().execute_batch("UPDATE _p2p_row_3 SET place = 1 WHERE place = 2").unwrap();
    let found = [
        "table \"t\", row rowid 1: column \"x\" holds another value than was merged",
        "table \"p\", row rowid 1: its row is missing",
        "table \"n\", row rowid 2: it was written past the triggers and is not in the log",
        "table \"n\", row rowid 9: it was written past the triggers and is not in the log",
        "table \"n\", row rowid 1: two rows of the log are kept as this one",
    ];
    assert_eq!(findings(&a), found);
}

#[test]
fn tables_that_are_not_exchanged_any_more_still_count_in_the_digest() {
    // The digest was compared with the records of tracked tables alone: an untracked or altered table made it a finding.
    for change in [
        "ALTER TABLE sale RENAME COLUMN qty TO amount",
        "ALTER TABLE sale DROP COLUMN qty",
        "DROP TABLE sale",
        "ALTER TABLE sale RENAME TO sold",
    ] {
        let mut a = Replica::new(1, SALE, &["sale"]);
        a.run("INSERT INTO sale VALUES(1, 'tea', 2)");
        a.seal(1000);
        a.run(change);
        assert_eq!(findings(&a), [""; 0], "{change}, before the node looks");
        a.seal(2000);
        assert_eq!(findings(&a), [""; 0], "{change}");
    }
    let mut a = Replica::new(1, SALE, &["sale"]);
    a.run("INSERT INTO sale VALUES(1, 'tea', 2)");
    a.seal(1000);
    define::untrack(&a.user, "sale").unwrap();
    a.run("DELETE FROM sale");
    assert_eq!(findings(&a), [""; 0], "untracked");
}

#[test]
fn a_finding_names_the_row_as_it_is_written_in_sql() {
    let schema = "CREATE TABLE n(k INTEGER PRIMARY KEY, x); CREATE TABLE t(k TEXT PRIMARY KEY, x);
        CREATE TABLE b(k BLOB PRIMARY KEY, x); CREATE TABLE r(k REAL PRIMARY KEY, x); CREATE TABLE c(k, l, x, PRIMARY KEY(k, l))";
    let mut a = Replica::new(1, schema, &["n", "t", "b", "r", "c"]);
    a.run(
        "INSERT INTO n VALUES(7, 1); INSERT INTO t VALUES('it''s', 1); INSERT INTO b VALUES(x'00ff', 1);
         INSERT INTO r VALUES(-1.5, 1); INSERT INTO c VALUES(1, 'b', 1)",
    );
    a.seal(1000);
    // Past the triggers.
    a.store.conn.execute_batch("UPDATE n SET x = 2; DELETE FROM t; UPDATE b SET x = 2; UPDATE r SET x = 2; INSERT INTO c VALUES(2, 'b', 1)").unwrap();
    let wanted = [
        "table \"n\", row 7: column \"x\" holds another value than was merged",
        "table \"t\", row 'it''s': its row is missing",
        "table \"b\", row x'00FF': column \"x\" holds another value than was merged",
        "table \"r\", row -1.5: column \"x\" holds another value than was merged",
        "table \"c\", row (2, 'b'): it was written past the triggers and is not in the log",
    ];
    assert_eq!(findings(&a), wanted);
}

#[test]
fn a_conflict_shows_a_reference_as_the_key_of_the_row_that_it_means() {
    let schema =
        "CREATE TABLE p(id INTEGER PRIMARY KEY, a); CREATE TABLE c(k TEXT PRIMARY KEY NOT NULL, pid REFERENCES p(id))";
    let mut a = Replica::new(1, schema, &["p", "c"]);
    let mut b = Replica::new(2, "", &[]);
    a.run("INSERT INTO p VALUES(1, 'one'), (2, 'two'), (3, 'three'); INSERT INTO c VALUES('x', 1)");
    a.seal(1000);
    b.take(&a);
    a.run("UPDATE c SET pid = 2");
    b.run("UPDATE c SET pid = 3");
    a.seal(2000);
    b.seal(2001);
    sync(&mut a, &mut b);
    let lost = |r: &Replica| {
        r.view(|view| view.conflicts()).unwrap().into_iter().map(|l| (l.key, l.shown)).collect::<Vec<_>>()
    };
    assert_eq!(lost(&a), [("x".to_owned(), Sql::Integer(2))]);
    // The row that it means takes another id, and goes.
    a.run("UPDATE p SET id = 20 WHERE id = 2");
    a.seal(3000);
    sync(&mut a, &mut b);
    assert_eq!(lost(&b), [("x".to_owned(), Sql::Integer(20))]);
    a.run("DELETE FROM p WHERE id = 20");
    a.seal(4000);
    sync(&mut a, &mut b);
    assert_eq!(lost(&b), [("x".to_owned(), Sql::Text("row 2, which is not there".into()))]);
}
