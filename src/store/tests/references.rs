//! A row that refers to one which somebody else deleted at the same time: what the foreign key's action says of that.

use super::*;
use crate::store::Fate;

const TABLES: [&str; 2] = ["shop", "sale"];

/// Shops by number, and sales with the given column for them.
fn schema(shop: &str) -> String {
    format!(
        "CREATE TABLE shop(id INTEGER PRIMARY KEY, name TEXT);
         CREATE TABLE sale(id INTEGER PRIMARY KEY, item TEXT, shop INTEGER {shop})"
    )
}

/// Two replicas with shops 1 and 2; then each writes alone, at 2000 and 2001.
fn apart(schema: &str, tables: &[&str], a_writes: &str, b_writes: &str) -> (Replica, Replica) {
    let mut a = Replica::new(1, schema, tables);
    let mut b = Replica::new(2, "", &[]);
    a.run("INSERT INTO shop VALUES(1, 'north'), (2, 'south')");
    a.seal(1000);
    b.take(&a);
    for r in [&a, &b] {
        r.run("PRAGMA foreign_keys=ON");
    }
    a.run(a_writes);
    a.seal(2000);
    b.run(b_writes);
    b.seal(2001);
    (a, b)
}

/// Both hear each other, and a third one both in either order: all show the same, and every foreign key holds.
fn meet(a: &mut Replica, b: &mut Replica, tables: &[&str]) {
    let (of_a, of_b) = (a.entries(), b.entries());
    sync(a, b);
    a.equals(b, tables);
    for [first, second] in [[&of_a, &of_b], [&of_b, &of_a]] {
        let mut c = Replica::new(3, "", &[]);
        c.take_entries(first);
        c.take_entries(second);
        c.take(a);
        c.equals(a, tables);
        assert_eq!(c.rows("PRAGMA foreign_key_check"), [[]; 0]);
    }
    for r in [a, b] {
        assert_eq!(r.rows("PRAGMA foreign_key_check"), [[]; 0]);
    }
}

fn text(s: &str) -> Sql {
    Sql::Text(s.into())
}

#[test]
fn a_row_whose_shop_was_deleted_shows_null_where_the_schema_says_so() {
    let schema = schema("REFERENCES shop(id) ON DELETE SET NULL");
    let (mut a, mut b) = apart(
        &schema,
        &TABLES,
        "DELETE FROM shop WHERE id = 1",
        "INSERT INTO sale VALUES(1, 'tea', 1), (2, 'milk', 2)",
    );
    meet(&mut a, &mut b, &TABLES);
    let all = [vec![Sql::Integer(1), text("tea"), Sql::Null], vec![Sql::Integer(2), text("milk"), Sql::Integer(2)]];
    assert_eq!(a.rows("SELECT * FROM sale ORDER BY id"), all);
    let lines = b.view(|view| view.conflicts()).unwrap();
    let [line] = &lines[..] else { panic!("{lines:?}") };
    assert_eq!((&line.fate, line.column.as_str(), line.key.as_str()), (&Fate::Dangling, "shop", "1"));
    // Neither is what was meant put back while it is not there, nor another: what is shown stands.
    let lost = crate::store::resolve(&b.user, line.id, crate::store::Choice::Lost).unwrap_err();
    assert!(lost.to_string().contains("it refers in shop to a row that is not there"), "{lost}");
    crate::store::resolve(&b.user, line.id, crate::store::Choice::Kept).unwrap();
    b.seal(3000);
    a.take(&b);
    a.equals(&b, &TABLES);
    assert!(a.view(|view| view.conflicts()).unwrap().is_empty());
}

#[test]
fn a_row_that_showed_its_shop_before_that_was_deleted_shows_null() {
    let schema = schema("REFERENCES shop(id) ON DELETE SET NULL ON UPDATE CASCADE");
    let (mut a, mut b) =
        apart(&schema, &TABLES, "", "INSERT INTO sale VALUES(1, 'tea', 1); UPDATE shop SET id = 7 WHERE id = 1");
    let mut c = Replica::new(4, "", &[]);
    c.take(&b);
    assert_eq!(c.rows("SELECT shop FROM sale"), [[Sql::Integer(7)]]);
    a.run("DELETE FROM shop WHERE id = 1");
    a.seal(2002);
    c.take(&a);
    assert_eq!(c.rows("SELECT shop FROM sale"), [[Sql::Null]]);
    meet(&mut a, &mut b, &TABLES);
    c.take(&a);
    c.equals(&a, &TABLES);
}

#[test]
fn a_row_that_shows_null_is_written_and_sealed_like_any_other() {
    let schema = schema("REFERENCES shop(id) ON DELETE SET NULL");
    let (mut a, mut b) = apart(
        &schema,
        &TABLES,
        "DELETE FROM shop WHERE id = 1",
        "INSERT INTO sale VALUES(1, 'tea', 1), (2, 'milk', 1)",
    );
    meet(&mut a, &mut b, &TABLES);
    a.run("UPDATE sale SET item = 'green tea' WHERE id = 1; UPDATE sale SET id = 9 WHERE id = 1; DELETE FROM sale WHERE id = 2");
    a.seal(3000);
    b.take(&a);
    a.equals(&b, &TABLES);
    assert_eq!(b.rows("SELECT * FROM sale"), [[Sql::Integer(9), text("green tea"), Sql::Null]]);
    assert_eq!(a.view(|view| view.conflicts()).unwrap().len(), 1);
}

/// A table whose key says which row it is: one that is inserted again is the same.
const EXTENDED: &str = "CREATE TABLE shop(id INTEGER PRIMARY KEY, name TEXT);
    CREATE TABLE till(shop INTEGER PRIMARY KEY REFERENCES shop(id) ON DELETE CASCADE, place TEXT);
    CREATE TABLE sale(id INTEGER PRIMARY KEY, item TEXT, till INTEGER REFERENCES till(shop) ON DELETE SET NULL);";

#[test]
fn a_reference_shows_again_when_the_row_that_it_means_comes_back() {
    let tables = ["shop", "till", "sale"];
    let (mut a, mut b) = apart(EXTENDED, &tables, "INSERT INTO till VALUES(1, 'door')", "");
    b.take(&a);
    b.run("INSERT INTO sale VALUES(1, 'tea', 1)");
    b.seal(2500);
    a.run("DELETE FROM till");
    a.seal(2501);
    let mut c = Replica::new(3, "", &[]);
    c.take(&a);
    c.take(&b);
    assert_eq!(c.rows("SELECT till FROM sale"), [[Sql::Null]]);
    // By one who has not heard of the sale, and so of no NULL.
    a.run("INSERT INTO till VALUES(1, 'window')");
    a.seal(2600);
    c.take(&a);
    assert_eq!(c.rows("SELECT till FROM sale"), [[Sql::Integer(1)]]);
    meet(&mut a, &mut b, &tables);
    c.equals(&a, &tables);
    assert!(c.view(|view| view.conflicts()).unwrap().iter().all(|line| line.fate != Fate::Dangling));
}

#[test]
fn what_shows_null_stays_so_where_its_user_inserts_the_row_again() {
    let tables = ["shop", "till", "sale"];
    let (mut a, mut b) = apart(EXTENDED, &tables, "INSERT INTO till VALUES(1, 'door')", "");
    b.take(&a);
    b.run("INSERT INTO sale VALUES(1, 'tea', 1)");
    b.seal(2500);
    a.run("DELETE FROM till");
    a.seal(2501);
    a.take(&b);
    assert_eq!(a.rows("SELECT till FROM sale"), [[Sql::Null]]);
    a.run("INSERT INTO till VALUES(1, 'window')");
    a.seal(2600);
    assert_eq!(a.rows("SELECT till FROM sale"), [[Sql::Null]], "a seal changes nothing that is shown");
    meet(&mut a, &mut b, &tables);
    assert_eq!(b.rows("SELECT till FROM sale"), [[Sql::Null]]);
}

#[test]
fn a_default_stands_in_where_it_is_a_row_and_null_where_it_is_none() {
    let schema = schema("DEFAULT 2 REFERENCES shop(id) ON DELETE SET DEFAULT ON UPDATE CASCADE");
    let (mut a, mut b) =
        apart(&schema, &TABLES, "DELETE FROM shop WHERE id = 1", "INSERT INTO sale VALUES(1, 'tea', 1)");
    meet(&mut a, &mut b, &TABLES);
    assert_eq!(a.rows("SELECT shop FROM sale"), [[Sql::Integer(2)]]);
    assert_eq!(a.view(|view| view.conflicts()).unwrap()[0].fate, Fate::Dangling);
    // The default goes, by one who does not know that anything shows it.
    let mut c = Replica::new(3, "", &[]);
    c.take_entries(&a.entries()[..1]);
    c.run("DELETE FROM shop WHERE id = 2");
    c.seal(3000);
    a.take(&c);
    assert_eq!(a.rows("SELECT shop FROM sale"), [[Sql::Null]]);
    b.take(&c);
    a.equals(&b, &TABLES);
    // Another row is shown under that number.
    c.run("INSERT INTO shop VALUES(2, 'west')");
    c.seal(3001);
    a.take(&c);
    assert_eq!(a.rows("SELECT shop FROM sale"), [[Sql::Integer(2)]]);
    meet(&mut a, &mut b, &TABLES);
    b.take(&c);
    a.equals(&b, &TABLES);
    // Its user gives it another number, and sees the sale follow.
    a.run("UPDATE shop SET id = 5 WHERE id = 2");
    assert_eq!(a.rows("SELECT shop FROM sale"), [[Sql::Integer(5)]]);
    a.seal(4000);
    assert_eq!(a.rows("SELECT shop FROM sale"), [[Sql::Integer(5)]]);
    meet(&mut a, &mut b, &TABLES);
    assert_eq!(b.rows("SELECT shop FROM sale"), [[Sql::Integer(5)]]);
}

#[test]
fn a_tree_that_loses_its_middle_keeps_what_hung_on_it() {
    let schema =
        "CREATE TABLE shop(id INTEGER PRIMARY KEY, name TEXT, part_of INTEGER REFERENCES shop(id) ON DELETE SET NULL)";
    let mut a = Replica::new(1, schema, &["shop"]);
    let mut b = Replica::new(2, "", &[]);
    a.run("INSERT INTO shop VALUES(1, 'all', NULL), (2, 'north', 1)");
    a.seal(1000);
    b.take(&a);
    a.run("PRAGMA foreign_keys=ON; DELETE FROM shop WHERE id = 2");
    a.seal(2000);
    b.run("INSERT INTO shop VALUES(3, 'north west', 2), (4, 'its own', 4)");
    b.seal(2001);
    meet(&mut a, &mut b, &["shop"]);
    let shown = a.rows("SELECT id, part_of FROM shop ORDER BY id");
    assert_eq!(shown[1..], [[Sql::Integer(3), Sql::Null], [Sql::Integer(4), Sql::Integer(4)]]);
}

#[test]
fn one_of_two_shops_that_may_have_a_single_sale_goes() {
    // UNIQUE: the later sale shows NULL. Then the shop goes, and both do.
    let schema = schema("UNIQUE REFERENCES shop(id) ON DELETE SET NULL");
    let (mut a, mut b) =
        apart(&schema, &TABLES, "INSERT INTO sale VALUES(1, 'tea', 1)", "INSERT INTO sale VALUES(2, 'milk', 1)");
    let mut c = Replica::new(3, "", &[]);
    c.take_entries(&a.entries()[..1]);
    c.run("PRAGMA foreign_keys=ON; DELETE FROM shop WHERE id = 1");
    c.seal(2002);
    meet(&mut a, &mut b, &TABLES);
    assert_eq!(a.rows("SELECT shop FROM sale ORDER BY id"), [[Sql::Integer(1)], [Sql::Null]]);
    a.take(&c);
    b.take(&c);
    c.take(&a);
    a.equals(&b, &TABLES);
    a.equals(&c, &TABLES);
    assert_eq!(a.rows("SELECT shop FROM sale ORDER BY id"), [[Sql::Null], [Sql::Null]]);
    let lines = a.view(|view| view.conflicts()).unwrap();
    assert_eq!(lines.iter().filter(|l| l.fate == Fate::Dangling).count(), 2, "{lines:?}");
}
