//! Conflicts that their user ends: what lost is put back, or what is shown stands, and all replicas hear of it.

use super::*;
use crate::store::{Choice, Fate, resolve};

impl Replica {
    fn conflicts(&self) -> Vec<ConflictLine> {
        self.view(|view| view.conflicts()).unwrap()
    }

    /// Ends the conflict on a column, or on any where none is named.
    fn resolve(&self, column: &str, choice: Choice) -> Result<String, String> {
        let all = self.conflicts();
        let line = all.iter().find(|line| column.is_empty() || line.column == column).expect("a conflict");
        self.resolve_id(line.id, choice)
    }

    fn resolve_id(&self, id: i64, choice: Choice) -> Result<String, String> {
        self.run("SAVEPOINT s");
        let done = resolve(&self.user, id, choice).map_err(|why| why.to_string());
        self.run(if done.is_ok() { "RELEASE s" } else { "ROLLBACK TO s; RELEASE s" });
        done
    }

    fn ids(&self) -> Vec<i64> {
        let mut ids: Vec<_> = self.conflicts().iter().map(|line| line.id).collect();
        ids.sort_unstable();
        ids
    }
}

/// Each writes alone, then both know.
fn apart(schema: &str, tables: &[&str], before: &str, a_writes: &str, b_writes: &str) -> (Replica, Replica) {
    let mut a = Replica::new(1, schema, tables);
    let mut b = Replica::new(2, "", &[]);
    a.run(before);
    a.seal(500);
    b.take(&a);
    a.run(a_writes);
    a.seal(1000);
    b.run(b_writes);
    b.seal(1001);
    sync(&mut a, &mut b);
    (a, b)
}

/// The first has written: both know, show the same, and agree on what is left of conflicts.
fn told(a: &mut Replica, b: &mut Replica, tables: &[&str], conflicts: usize) {
    a.seal(2000);
    sync(a, b);
    a.equals(b, tables);
    assert_eq!(a.ids(), b.ids());
    assert_eq!(a.conflicts().len(), conflicts, "{:#?}", a.conflicts());
}

fn text(text: &str) -> Sql {
    Sql::Text(text.to_owned())
}

const ITEM: &str =
    "CREATE TABLE item(no TEXT PRIMARY KEY NOT NULL, code TEXT UNIQUE, qty INTEGER, CHECK(qty > 0 OR code <> ''))";

fn one_column() -> (Replica, Replica) {
    let before = "INSERT INTO item VALUES('x', 'c', 1)";
    apart(ITEM, &["item"], before, "UPDATE item SET qty = 4", "UPDATE item SET qty = 5")
}

#[test]
fn a_conflict_has_one_id_wherever_it_is_told() {
    let (a, b) = one_column();
    assert_eq!(a.ids().len(), 1);
    assert_eq!(a.ids(), b.ids());
    assert!((0..1 << 52).contains(&a.ids()[0]));
}

#[test]
fn what_lost_is_written_again_as_the_user_would() {
    let (mut a, mut b) = one_column();
    assert_eq!(a.resolve("qty", Choice::Lost).unwrap(), "item x: qty = 4 is written");
    assert_eq!(a.one("SELECT qty FROM item"), Sql::Integer(4));
    told(&mut a, &mut b, &["item"], 0);
}

#[test]
fn what_is_shown_stands_everywhere_once_one_says_so() {
    let (mut a, mut b) = one_column();
    let entries = a.entries().len();
    assert_eq!(a.resolve("", Choice::Kept).unwrap(), "item x: qty stays as it is shown");
    assert_eq!(a.status().pending, 1);
    a.seal(2000);
    assert_eq!(a.status().pending, 0);
    assert_eq!(a.entries().len(), entries + 1);
    told(&mut a, &mut b, &["item"], 0);
    assert_eq!(b.one("SELECT qty FROM item"), Sql::Integer(5));
    // It was said once.
    assert_eq!(a.entries().len(), entries + 1);
}

#[test]
fn a_value_that_is_kept_still_gives_way_to_one_that_its_user_had_not_seen() {
    let (mut a, mut b) = one_column();
    a.resolve("", Choice::Kept).unwrap();
    b.run("UPDATE item SET qty = 6");
    a.seal(2000);
    b.seal(2001);
    sync(&mut a, &mut b);
    a.equals(&b, &["item"]);
    assert_eq!(a.one("SELECT qty FROM item"), Sql::Integer(6));
    let lost: Vec<_> = a.conflicts().into_iter().map(|line| line.shown).collect();
    assert_eq!(lost, [Sql::Integer(5)]);
}

#[test]
fn what_ended_meanwhile_is_none_any_more() {
    let (mut a, mut b) = one_column();
    let id = a.ids()[0];
    a.resolve("", Choice::Kept).unwrap();
    // In the same breath its user writes something else: that is what is sealed.
    a.run("UPDATE item SET qty = 7");
    a.seal(2000);
    let entries = a.entries().len();
    told(&mut a, &mut b, &["item"], 0);
    assert_eq!((a.entries().len(), b.one("SELECT qty FROM item")), (entries, Sql::Integer(7)));
    let none = format!("there is no conflict {id}; SELECT id FROM p2p_conflicts lists those that there are");
    assert_eq!(a.resolve_id(id, Choice::Kept).unwrap_err(), none);
}

#[test]
fn a_decision_that_is_rolled_back_is_none() {
    let (mut a, _b) = one_column();
    a.run("BEGIN");
    a.resolve("", Choice::Kept).unwrap();
    a.run("ROLLBACK");
    let entries = a.entries().len();
    a.seal(2000);
    assert_eq!((a.entries().len(), a.ids().len()), (entries, 1));
}

fn taken() -> (Replica, Replica) {
    apart(ITEM, &["item"], "", "INSERT INTO item VALUES('a', 'X', 1)", "INSERT INTO item VALUES('b', 'X', 2)")
}

#[test]
fn a_derived_value_that_is_kept_is_the_row_s_own() {
    let (mut a, mut b) = taken();
    let derived = a.one("SELECT code FROM item WHERE no = 'b'");
    a.resolve("code", Choice::Kept).unwrap();
    told(&mut a, &mut b, &["item"], 0);
    assert_eq!(a.one("SELECT count(*) FROM _p2p_contend"), Sql::Integer(0));
    // The value comes free, and nobody claims it any more.
    b.run("DELETE FROM item WHERE no = 'a'");
    b.seal(3000);
    sync(&mut a, &mut b);
    assert_eq!(a.one("SELECT code FROM item WHERE no = 'b'"), derived);
    a.equals(&b, &["item"]);
}

#[test]
fn a_value_that_another_row_has_is_refused_until_that_lets_it_go() {
    let (mut a, mut b) = taken();
    let why = a.resolve("code", Choice::Lost).unwrap_err();
    assert!(why.starts_with("the table refuses code = 'X': UNIQUE constraint failed: item.code; change what"), "{why}");
    a.run("UPDATE item SET code = 'Y' WHERE no = 'a'");
    assert_eq!(a.resolve("code", Choice::Lost).unwrap(), "item b: code = 'X' is written");
    told(&mut a, &mut b, &["item"], 0);
    assert_eq!(a.one("SELECT code FROM item WHERE no = 'b'"), text("X"));
}

/// The delete had not seen the update.
fn deleted(schema: &str) -> (Replica, Replica) {
    let before = "INSERT INTO item(no, code, qty) VALUES(1, 'c', 1)";
    apart(schema, &["item"], before, "DELETE FROM item", "UPDATE item SET qty = 5, code = 'd'")
}

const NAMED: &str = "CREATE TABLE item(no INTEGER NOT NULL, code TEXT, qty INTEGER, PRIMARY KEY(no)) WITHOUT ROWID";
const ALIAS: &str = "CREATE TABLE item(no INTEGER PRIMARY KEY, code TEXT NOT NULL, qty INTEGER)";

#[test]
fn a_row_that_stays_deleted_ends_all_conflicts_on_it() {
    for schema in [NAMED, ALIAS] {
        let (mut a, mut b) = deleted(schema);
        assert_eq!(b.ids().len(), 2);
        assert_eq!(b.resolve("qty", Choice::Kept).unwrap(), "item 1 stays deleted");
        told(&mut b, &mut a, &["item"], 0);
        assert_eq!(a.one("SELECT count(*) FROM item"), Sql::Integer(0));
    }
}

#[test]
fn a_row_that_was_deleted_is_inserted_again_with_what_lost() {
    for schema in [NAMED, ALIAS] {
        let (mut a, mut b) = deleted(schema);
        assert_eq!(a.resolve("qty", Choice::Lost).unwrap(), "item 1 is inserted again");
        let row = [[Sql::Integer(1), text("d"), Sql::Integer(5)]];
        assert_eq!(a.rows("SELECT no, code, qty FROM item"), row);
        told(&mut a, &mut b, &["item"], 0);
        assert_eq!(b.rows("SELECT no, code, qty FROM item"), row);
    }
}

#[test]
fn a_row_of_which_too_little_is_known_is_not_inserted() {
    let before = "INSERT INTO item(no, code, qty) VALUES(1, 'c', 1)";
    let (a, _b) = apart(ALIAS, &["item"], before, "DELETE FROM item", "UPDATE item SET qty = 5");
    let why = a.resolve("qty", Choice::Lost).unwrap_err();
    assert!(why.starts_with("the table refuses the row: NOT NULL constraint failed: item.code; "), "{why}");
    assert_eq!(a.one("SELECT count(*) FROM _p2p_decision"), Sql::Integer(0));
}

fn hidden(passport: &str) -> (Replica, Replica) {
    let key = passport.split(' ').next().unwrap();
    let schema = format!(
        "CREATE TABLE person(id INTEGER PRIMARY KEY, name TEXT);
         CREATE TABLE passport({passport}, person INTEGER NOT NULL UNIQUE REFERENCES person(id), note TEXT);
         CREATE TABLE visa(id INTEGER PRIMARY KEY, passport REFERENCES passport({key}));"
    );
    let (a, b) = apart(
        &schema,
        &["person", "passport", "visa"],
        "INSERT INTO person VALUES(1, 'Ann'), (2, 'Bob')",
        "INSERT INTO passport(person, note) VALUES(1, 'a')",
        &format!("INSERT INTO passport(person, note) VALUES(1, 'b'); INSERT INTO visa SELECT 7, {key} FROM passport"),
    );
    assert_eq!(a.one("SELECT note FROM passport"), text("a"));
    (a, b)
}

const PASSPORT: [&str; 2] =
    ["id INTEGER PRIMARY KEY", "no TEXT PRIMARY KEY NOT NULL DEFAULT (lower(hex(randomblob(4))))"];

#[test]
fn a_hidden_row_that_is_let_go_is_gone_for_all() {
    for passport in PASSPORT {
        let (mut a, mut b) = hidden(passport);
        let of_passport = |r: &Replica| r.conflicts().into_iter().filter(|l| l.table == "passport").count();
        assert!(of_passport(&a) > 0 && matches!(a.conflicts()[0].fate, Fate::Hidden(_)));
        let id = a.conflicts().iter().find(|l| l.table == "passport").unwrap().id;
        assert!(a.resolve_id(id, Choice::Kept).unwrap().ends_with(" is let go"));
        a.seal(2000);
        sync(&mut a, &mut b);
        a.equals(&b, &["person", "passport", "visa"]);
        assert_eq!([of_passport(&a), of_passport(&b)], [0, 0], "{passport}: {:#?}", a.conflicts());
    }
}

#[test]
fn a_hidden_row_is_shown_again_once_the_other_made_room() {
    for passport in PASSPORT {
        let (mut a, mut b) = hidden(passport);
        let id = a.conflicts().iter().find(|l| l.table == "passport").unwrap().id;
        let why = a.resolve_id(id, Choice::Lost).unwrap_err();
        assert!(why.contains("UNIQUE constraint failed: passport.person"), "{why}");
        a.run("UPDATE passport SET person = 2 WHERE note = 'a'");
        assert!(a.resolve_id(id, Choice::Lost).unwrap().ends_with(" is in the table again"));
        a.seal(2000);
        sync(&mut a, &mut b);
        a.equals(&b, &["person", "passport", "visa"]);
        let rows = [[text("a"), Sql::Integer(2)], [text("b"), Sql::Integer(1)]];
        assert_eq!(b.rows("SELECT note, person FROM passport ORDER BY note"), rows, "{passport}");
        assert!(a.conflicts().iter().all(|l| l.table == "visa"), "{passport}: {:#?}", a.conflicts());
    }
}

/// Other than a row inserted by hand it is the one that the others mean.
#[test]
fn rows_that_wait_for_a_hidden_row_come_back_with_it() {
    let (mut a, mut b) = hidden(PASSPORT[0]);
    assert_eq!(a.one("SELECT count(*) FROM visa"), Sql::Integer(0));
    a.run("UPDATE passport SET person = 2 WHERE note = 'a'");
    let id = a.conflicts().iter().find(|l| l.table == "passport").unwrap().id;
    a.resolve_id(id, Choice::Lost).unwrap();
    told(&mut a, &mut b, &["person", "passport", "visa"], 0);
    let joined = "SELECT v.id, p.note FROM visa v JOIN passport p ON p.id = v.passport";
    assert_eq!(b.rows(joined), [[Sql::Integer(7), text("b")]]);
    assert_eq!(a.rows(joined), b.rows(joined));
}

/// R12: what a local statement frees does not jump to a row that its user does not see. It stands in the book, under the same id.
#[test]
fn a_hidden_row_that_a_seal_let_go_is_still_to_be_had() {
    for passport in PASSPORT {
        let (mut a, mut b) = hidden(passport);
        let id = a.conflicts().iter().find(|l| l.table == "passport" && l.column == "note").unwrap().id;
        a.run("DELETE FROM passport WHERE note = 'a'");
        a.seal(2000);
        assert_eq!(a.one("SELECT count(*) FROM passport"), Sql::Integer(0));
        assert!(a.resolve_id(id, Choice::Lost).unwrap().ends_with(" is inserted again"));
        a.seal(2001);
        sync(&mut a, &mut b);
        a.equals(&b, &["person", "passport", "visa"]);
        assert_eq!(b.rows("SELECT note, person FROM passport"), [[text("b"), Sql::Integer(1)]], "{passport}");
        assert!(a.conflicts().iter().all(|l| l.table == "visa"), "{passport}: {:#?}", a.conflicts());
    }
}

#[test]
fn a_row_whose_parent_is_gone_says_what_is_to_be_brought_back_first() {
    let schema = "CREATE TABLE person(id INTEGER PRIMARY KEY, name TEXT);
        CREATE TABLE visa(id INTEGER PRIMARY KEY, person INTEGER REFERENCES person(id));";
    let before = "INSERT INTO person VALUES(1, 'Ann')";
    let (mut a, mut b) =
        apart(schema, &["person", "visa"], before, "DELETE FROM person", "INSERT INTO visa VALUES(7, 1)");
    let why = a.resolve("person", Choice::Lost).unwrap_err();
    assert_eq!(why, "it refers in person to a row that is not there; bring that one back first");
    b.resolve("id", Choice::Kept).unwrap();
    told(&mut b, &mut a, &["person", "visa"], 0);
}

/// It has no name to come back under: it is another row, and the conflict about the one that is gone has ended.
#[test]
fn a_row_without_a_key_comes_back_as_another_one() {
    let schema = "CREATE TABLE log(line, n UNIQUE)";
    let before = "INSERT INTO log VALUES('first', 1), ('first', 2)";
    let (mut a, mut b) = apart(
        schema,
        &["log"],
        before,
        "DELETE FROM log WHERE n = 2",
        "UPDATE log SET line = 'edited', n = 3 WHERE n = 2",
    );
    assert_eq!(a.one("SELECT count(*) FROM log"), Sql::Integer(1));
    a.resolve("", Choice::Lost).unwrap();
    assert_eq!(a.rows("SELECT line, n FROM log ORDER BY n")[1], [text("edited"), Sql::Integer(3)]);
    told(&mut a, &mut b, &["log"], 0);
    assert_eq!(b.one("SELECT count(*) FROM log"), Sql::Integer(2));
}

#[test]
fn a_decision_outlives_that_its_table_is_altered_before_it_is_sealed() {
    let before = "INSERT INTO item VALUES('x', 'c', 1)";
    let (mut a, mut b) = apart(ITEM, &["item"], before, "UPDATE item SET qty = 4", "UPDATE item SET qty = 5");
    assert_eq!(a.conflicts().len(), 1);
    a.resolve("qty", Choice::Kept).unwrap();
    a.run("ALTER TABLE item RENAME COLUMN qty TO amount");
    a.run("ALTER TABLE item ADD COLUMN note");
    told(&mut a, &mut b, &["item"], 0);
    assert_eq!(b.one("SELECT amount FROM item"), Sql::Integer(5));
}
