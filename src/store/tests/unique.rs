//! Two replicas wrote one value into two rows of a unique index: both rows stay, and all show the same.

use super::*;
use crate::store::Fate;

const ITEM: &str = "CREATE TABLE item(id INTEGER PRIMARY KEY, code TEXT UNIQUE, n INTEGER UNIQUE, note)";

fn three(schema: &str, table: &str) -> [Replica; 3] {
    let mut a = Replica::new(1, schema, &[table]);
    a.seal(1000);
    let [mut b, mut c] = [Replica::new(2, "", &[]), Replica::new(3, "", &[])];
    b.take(&a);
    c.take(&a);
    [a, b, c]
}

#[test]
fn what_a_deleted_row_held_goes_to_the_next_that_claims_it() {
    let [mut a, mut b, mut c] = three(ITEM, "item");
    c.run("INSERT INTO item VALUES(1, 'z', 2, 'c')");
    c.seal(2000);
    b.run("INSERT INTO item VALUES(3, 'X', 2, 'b')");
    b.seal(2001);
    a.run("INSERT INTO item VALUES(4, 'X', 2, 'a')");
    a.seal(2002);
    b.run("DELETE FROM item WHERE id = 3");
    b.seal(2003);
    for order in [[1, 2], [2, 1]] {
        let mut late = Replica::new(9, "", &[]);
        late.take(&a);
        for who in order {
            late.take(if who == 1 { &b } else { &c });
        }
        assert_eq!(
            late.rows("SELECT id, code FROM item WHERE note = 'a'"),
            [[Sql::Integer(4), Sql::Text("X".into())]],
            "{order:?}"
        );
    }
    for _ in 0..2 {
        a.take(&c);
        a.take(&b);
        b.take(&a);
        b.take(&c);
        c.take(&a);
        c.take(&b);
    }
    a.equals(&b, &["item"]);
    a.equals(&c, &["item"]);
    assert_eq!(a.rows("SELECT code FROM item WHERE id = 4"), [[Sql::Text("X".into())]]);
    let taken = a.view(|view| view.conflicts()).unwrap();
    assert!(taken.iter().all(|line| line.fate == Fate::Taken && line.column == "n"), "{taken:?}");
}
