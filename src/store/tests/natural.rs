//! An integer key that names its row: `{"key":"natural"}`.

use super::*;

const VAT: &str = "CREATE TABLE vat(id INTEGER PRIMARY KEY, percent, name)";
const NATURAL: &str = r#"{"key":"natural"}"#;

fn natural(seed: u8, schema: &str, tables: &[&str]) -> Replica {
    let replica = Replica::new(seed, schema, &[]);
    for table in tables {
        define::track(&replica.user, table, NATURAL).unwrap();
    }
    replica
}

#[test]
fn rows_with_one_number_are_one_row() {
    let (mut a, mut b) = (natural(1, VAT, &["vat"]), Replica::new(2, "", &[]));
    a.run("INSERT INTO vat VALUES(7, 7, 'low')");
    a.seal(1000);
    b.take(&a);
    // Both insert 19, and each changes another column of 7.
    a.run("INSERT INTO vat VALUES(19, 19, 'from a'); UPDATE vat SET percent = 7.5 WHERE id = 7");
    b.run("INSERT INTO vat VALUES(19, 19.5, 'from b'); UPDATE vat SET name = 'reduced' WHERE id = 7");
    a.seal(2000);
    b.seal(3000);
    sync(&mut a, &mut b);
    a.equals(&b, &["vat"]);
    let text = |t: &str| Sql::Text(t.into());
    let rows = [
        vec![Sql::Integer(7), Sql::Real(7.5), text("reduced")],
        vec![Sql::Integer(19), Sql::Real(19.5), text("from b")],
    ];
    assert_eq!(a.rows("SELECT * FROM vat ORDER BY id"), rows);
    // A moved key is another row; a deleted one comes back as itself.
    b.run("UPDATE vat SET id = 20 WHERE id = 19; DELETE FROM vat WHERE id = 7; INSERT INTO vat VALUES(7, 8, 'again')");
    b.seal(4000);
    sync(&mut a, &mut b);
    a.equals(&b, &["vat"]);
    assert_eq!(a.rows("SELECT id FROM vat ORDER BY id"), [[Sql::Integer(7)], [Sql::Integer(20)]]);
}

#[test]
fn what_refers_to_it_holds_the_number_as_it_is() {
    let schema = "CREATE TABLE vat(id INTEGER PRIMARY KEY, percent);
        CREATE TABLE sale(id INTEGER PRIMARY KEY, vat INTEGER REFERENCES vat(id))";
    let mut a = natural(1, schema, &["vat"]);
    define::track(&a.user, "sale", "").unwrap();
    let mut b = Replica::new(2, "", &[]);
    a.seal(1000);
    b.take(&a);
    a.run("INSERT INTO vat VALUES(19, 19); INSERT INTO sale VALUES(1, 19)");
    b.run("INSERT INTO vat VALUES(19, 20); INSERT INTO sale VALUES(1, 19)");
    a.seal(2000);
    b.seal(2001);
    sync(&mut a, &mut b);
    a.equals(&b, &["vat", "sale"]);
    assert_eq!(
        a.rows("SELECT count(*), min(vat), max(vat) FROM sale"),
        [[Sql::Integer(2), Sql::Integer(19), Sql::Integer(19)]]
    );
}

#[test]
fn the_kind_of_key_stays_what_it_was_told_first() {
    let mut a = natural(1, VAT, &["vat"]);
    a.seal(1000);
    // Rebuilt as an ORM does, and armed anew: the schema does not say what the option said.
    a.run("CREATE TABLE new(id INTEGER PRIMARY KEY, percent, name); DROP TABLE vat; ALTER TABLE new RENAME TO vat");
    a.run("INSERT INTO vat VALUES(1, 1, 'a')");
    a.store.tend().unwrap();
    a.run("INSERT INTO vat VALUES(2, 2, 'b')");
    a.seal(2000);
    let again = define::track(&a.user, "vat", "").unwrap();
    assert!(!again.is_new);
    let other = define::track(&a.user, "vat", r#"{"key":"claim"}"#).unwrap_err().to_string();
    assert!(other.contains("is tracked with the other kind of key"), "{other}");
    let mut b = Replica::new(2, "", &[]);
    b.take(&a);
    a.equals(&b, &["vat"]);
    let none = define::track(&a.user, "plain", NATURAL).unwrap_err().to_string();
    assert!(none.contains("does not exist"), "{none}");
    a.run("CREATE TABLE plain(k TEXT PRIMARY KEY)");
    let text = define::track(&a.user, "plain", NATURAL).unwrap_err().to_string();
    assert!(text.contains("has no INTEGER PRIMARY KEY"), "{text}");
}

#[test]
fn a_table_that_a_peer_tracked_the_other_way_is_parked_and_says_why() {
    let (mut a, mut b) = (natural(1, VAT, &["vat"]), Replica::new(2, VAT, &["vat"]));
    a.run("INSERT INTO vat VALUES(1, 1, 'a')");
    b.run("INSERT INTO vat VALUES(1, 2, 'b')");
    a.seal(1000);
    b.seal(1000);
    a.take(&b);
    b.take(&a);
    for replica in [&a, &b] {
        let lines = replica.view(|view| view.tables()).unwrap();
        assert!(lines.iter().any(|l| l.state == 3 && l.note.contains("the other kind of integer key")), "{lines:?}");
        assert_eq!(replica.one("SELECT count(*) FROM vat"), Sql::Integer(1));
    }
}
