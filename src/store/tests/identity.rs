//! Who is who: stories of rows that were taken for others, or lost from sight. Most were found by random histories.

use super::*;

const FAMILY: &str = "CREATE TABLE p(id INTEGER PRIMARY KEY, a, up INTEGER REFERENCES p(id));
    CREATE TABLE e(pid INTEGER PRIMARY KEY REFERENCES p(id) ON UPDATE CASCADE, z);
    CREATE TABLE g(id INTEGER PRIMARY KEY, eid INTEGER REFERENCES e(pid) ON UPDATE CASCADE, w);";
const TABLES: [&str; 3] = ["p", "e", "g"];

fn family() -> (Replica, Replica) {
    let mut a = Replica::new(1, FAMILY, &TABLES);
    let mut b = Replica::new(2, "", &[]);
    a.seal(1000);
    b.take(&a);
    (a, b)
}

fn meet(a: &mut Replica, b: &mut Replica) {
    sync(a, b);
    a.equals(b, &TABLES);
}

#[test]
fn a_table_is_announced_once() {
    // Its state moved to "in the log" without the schema cookie: the cached one stayed "to be announced", and every
    // entry announced it again.
    let (mut a, _) = family();
    a.run("INSERT INTO p VALUES(1, 'x', NULL)");
    a.seal(2000);
    a.run("INSERT INTO p VALUES(2, 'x', NULL)");
    a.seal(3000);
    let ops: Vec<_> = a.view(|view| view.log_after(0, 10)).unwrap().iter().map(|line| line.ops).collect();
    assert_eq!(ops, [3, 1, 1]);
}

#[test]
fn a_store_writes_nothing_into_tables_that_were_made_anew() {
    // One left the group and joined another while the node was at work: it sealed the new group's tables under the old
    // identity, and no peer took the entry. In the same group it would have forked its own author.
    let (mut a, _) = family();
    a.run("INSERT INTO p VALUES(1, 'x', NULL)");
    a.seal(2000);
    drop_private_tables(&a.user).unwrap();
    create_private_tables(&a.user).unwrap();
    a.run("INSERT INTO _p2p_meta(key, value) SELECT 'group', x'01010101010101010101010101010101'");
    for t in TABLES {
        define::track(&a.user, t, "").unwrap();
    }
    for _ in 0..2 {
        assert!(matches!(a.store.seal(3000, || true), Err(StoreError::MadeAnew)));
    }
    assert_eq!(a.one("SELECT count(*) FROM _p2p_entry"), Sql::Integer(0));
}

#[test]
fn a_table_made_anew_keeps_its_rows_who_they_are() {
    // Every row but the first was taken for one that a REPLACE evicted: deleted and born again, over what peers wrote.
    for key in ["id INTEGER PRIMARY KEY", "id TEXT PRIMARY KEY NOT NULL"] {
        let create = format!("CREATE TABLE t({key}, n)");
        let mut a = Replica::new(1, &create, &["t"]);
        let mut b = Replica::new(2, "", &[]);
        a.run("INSERT INTO t VALUES(1, 1), (2, 1), (3, 1), (4, 1)");
        a.seal(1000);
        b.take(&a);
        a.run(&format!(
            "BEGIN; CREATE TABLE new({key}, n); INSERT INTO new SELECT * FROM t WHERE id <> 4; DROP TABLE t;
             ALTER TABLE new RENAME TO t; COMMIT"
        ));
        a.seal(2000);
        b.run("UPDATE t SET n = 9; DELETE FROM t WHERE id = 3");
        b.seal(3000);
        sync(&mut a, &mut b);
        a.equals(&b, &["t"]);
        let rows = a.rows("SELECT CAST(id AS INTEGER), n FROM t ORDER BY id");
        assert_eq!(rows, [[Sql::Integer(1), Sql::Integer(9)], [Sql::Integer(2), Sql::Integer(9)]], "{key}");
    }
}

#[test]
fn rows_that_swap_ids_take_their_children_along() {
    // The peer sees one id move after the other; the last step is a chain (2 to 1, derived to 2). Re-pointed in one
    // UPDATE, the children, whose key is the foreign key, met each other's old keys: UNIQUE refused the whole batch.
    let (mut a, mut b) = family();
    a.run("INSERT INTO p VALUES(1, 'one', NULL), (2, 'two', NULL); INSERT INTO e VALUES(1, 'of one'), (2, 'of two')");
    a.seal(2000);
    meet(&mut a, &mut b);
    a.run("BEGIN; UPDATE p SET id = -7 WHERE id = 1; UPDATE p SET id = 1 WHERE id = 2; UPDATE p SET id = 2 WHERE id = -7; COMMIT");
    a.seal(3000);
    meet(&mut a, &mut b);
    assert_eq!(b.one("SELECT z FROM e JOIN p ON p.id = pid WHERE a = 'one'"), Sql::Text("of one".into()));
    assert_eq!(b.one("SELECT id FROM p WHERE a = 'one'"), Sql::Integer(2));
}

#[test]
fn a_row_that_refers_to_itself_is_renumbered_with_its_reference() {
    // While its record was on the way from one id to the other nothing told where the row it refers to stands, which
    // is itself.
    let (mut a, mut b) = family();
    a.run("INSERT INTO p VALUES(1, 'a', 1)");
    b.run("INSERT INTO p VALUES(1, 'b', 1)");
    a.seal(2000);
    b.seal(2001);
    meet(&mut a, &mut b);
    assert_eq!(b.one("SELECT count(*) FROM p WHERE id = up"), Sql::Integer(2));
}

#[test]
fn a_row_hidden_with_its_parent_leaves_the_table_and_comes_back() {
    // The key of e is made of a reference to p 2, which was hidden first: then the row of e could not be found to be
    // taken out, stayed, and stood in its own way when it was to be shown again.
    let (mut a, mut b) = family();
    a.run("INSERT INTO p VALUES(1, 'one', NULL), (2, 'two', 1); INSERT INTO e VALUES(2, 'of two')");
    a.seal(2000);
    meet(&mut a, &mut b);
    a.run("BEGIN; UPDATE p SET up = NULL WHERE id = 2; DELETE FROM p WHERE id = 1; COMMIT");
    a.seal(3000);
    meet(&mut a, &mut b);
    assert_eq!(b.status().stuck, 0);
    assert_eq!(b.rows("SELECT pid FROM e"), [[Sql::Integer(2)]]);
}

#[test]
fn a_row_that_evicts_the_one_it_refers_to_stays_who_it_is() {
    // It refers to itself then. Its record had been taken up on the way to its new id, so the row seemed to have none,
    // and was born a second time.
    let (mut a, mut b) = family();
    a.run("INSERT INTO p VALUES(6, 'six', NULL), (5, 'five', 6)");
    a.seal(2000);
    meet(&mut a, &mut b);
    a.run("PRAGMA foreign_keys=OFF; UPDATE OR REPLACE p SET id = 6 WHERE id = 5");
    b.run("UPDATE p SET a = 'cinque' WHERE id = 5");
    a.seal(3000);
    b.seal(3001);
    meet(&mut a, &mut b);
    assert_eq!(b.rows("SELECT id, a, up FROM p"), [[Sql::Integer(6), Sql::Text("cinque".into()), Sql::Integer(6)]]);
}

#[test]
fn a_child_of_a_deleted_parent_is_hidden_everywhere_and_in_the_book() {
    let (mut a, mut b) = family();
    a.run("INSERT INTO p VALUES(1, 'one', NULL); INSERT INTO e VALUES(1, 'z')");
    a.seal(2000);
    meet(&mut a, &mut b);
    a.run("DELETE FROM e");
    b.run("INSERT INTO g VALUES(9, 1, 'late')");
    a.seal(3000);
    b.seal(3001);
    meet(&mut a, &mut b);
    for r in [&a, &b] {
        assert_eq!(r.rows("SELECT * FROM g"), Vec::<Vec<Sql>>::new());
        assert_eq!(r.status().stuck, 1);
        let lines = r.view(|view| view.conflicts()).unwrap();
        assert!(lines.iter().any(|l| l.column == "w" && l.value == p2pdb_core::value::Value::Text("late".into())));
    }
    // The parent's key comes back to life: the hidden child would appear before a user who never saw it. It is deleted
    // by the seal, and what it held is still in the book (it was in none: a seal's own delete booked nothing).
    a.run("INSERT INTO e VALUES(1, 'again')");
    a.seal(4000);
    meet(&mut a, &mut b);
    for r in [&a, &b] {
        assert_eq!(r.rows("SELECT * FROM g"), Vec::<Vec<Sql>>::new());
        let lines = r.view(|view| view.conflicts()).unwrap();
        assert!(lines.iter().any(|l| l.column == "w" && l.fate == Fate::Deleted));
    }
}

#[test]
fn a_deleted_and_inserted_id_is_another_row_to_children_elsewhere() {
    let (mut a, mut b) = family();
    a.run("INSERT INTO p VALUES(1, 'old', NULL)");
    a.seal(2000);
    meet(&mut a, &mut b);
    a.run("DELETE FROM p; INSERT INTO p(a) VALUES('new')");
    b.run("INSERT INTO e VALUES(1, 'of old')");
    a.seal(3000);
    b.seal(3001);
    meet(&mut a, &mut b);
    assert_eq!(a.rows("SELECT id, a FROM p"), [[Sql::Integer(1), Sql::Text("new".into())]]);
    assert_eq!(a.rows("SELECT * FROM e"), Vec::<Vec<Sql>>::new());
    assert_eq!(a.status().stuck, 1);
}

#[test]
fn a_plain_value_becomes_a_reference_when_its_row_is_inserted() {
    let (mut a, mut b) = family();
    a.run("PRAGMA foreign_keys=OFF; INSERT INTO g VALUES(1, 7, 'waits')");
    a.seal(2000);
    meet(&mut a, &mut b);
    a.run("INSERT INTO p VALUES(7, 'seven', NULL); INSERT INTO e VALUES(7, 'z')");
    a.seal(3000);
    b.run("INSERT INTO p VALUES(7, 'earlier', NULL)");
    b.seal(2500);
    meet(&mut a, &mut b);
    // b's 7 came first and keeps the id: the other moved, and the row that means it followed.
    let a_of_g = "SELECT p.a FROM g JOIN e ON e.pid = g.eid JOIN p ON p.id = e.pid";
    assert_eq!(b.rows(a_of_g), [[Sql::Text("seven".into())]]);
    assert_ne!(b.one("SELECT eid FROM g"), Sql::Integer(7));
}

#[test]
fn what_an_author_learnt_later_does_not_count_as_seen() {
    // B's entry names A's first as what it had seen. When A's second was merged by then, it counted as seen too, and
    // the value that lost to B's never came into the book.
    let (mut a, mut b) = family();
    a.run("INSERT INTO p VALUES(1, 'first', NULL)");
    a.seal(2000);
    meet(&mut a, &mut b);
    a.run("UPDATE p SET a = 'by a'");
    a.seal(3000);
    b.run("UPDATE p SET a = 'by b'");
    b.seal(3001);
    meet(&mut a, &mut b);
    for r in [&a, &b] {
        let lines = r.view(|view| view.conflicts()).unwrap();
        assert_eq!(lines.len(), 1);
        assert_eq!((lines[0].key.as_str(), lines[0].column.as_str()), ("1", "a"));
        assert_eq!(lines[0].value, p2pdb_core::value::Value::Text("by a".into()));
    }
}
