//! Columns that go and come back.

use super::*;

const COLUMNS: &str = "SELECT group_concat(name) FROM (SELECT name FROM pragma_table_info('sale') ORDER BY name)";

#[test]
fn a_column_that_is_renamed_and_renamed_back_is_the_same() {
    let mut a = Replica::new(1, SALE, &["sale"]);
    let mut b = Replica::new(2, "", &[]);
    a.run("INSERT INTO sale VALUES(1, 'tea', 2), (2, 'milk', 1)");
    a.seal(1000);
    b.take(&a);
    a.run("ALTER TABLE sale RENAME COLUMN qty TO amount");
    a.seal(2000);
    // Meanwhile both write.
    a.run(
        "UPDATE sale SET amount = 9 WHERE id = 1; DELETE FROM sale WHERE id = 2; INSERT INTO sale VALUES(3, 'salt', 1)",
    );
    a.seal(3000);
    b.run("UPDATE sale SET item = 'green tea' WHERE id = 1");
    b.seal(3001);
    a.take(&b);
    a.run("ALTER TABLE sale RENAME COLUMN amount TO qty");
    a.seal(4000);
    sync(&mut a, &mut b);
    a.equals(&b, &["sale"]);
    let rows = [
        [Sql::Integer(1), Sql::Text("green tea".into()), Sql::Integer(9)],
        [Sql::Integer(3), Sql::Text("salt".into()), Sql::Integer(1)],
    ];
    assert_eq!(b.rows("SELECT * FROM sale ORDER BY id"), rows);
}

#[test]
fn a_column_that_comes_back_is_another_and_each_change_is_followed() {
    let mut a = Replica::new(1, SALE, &["sale"]);
    let mut b = Replica::new(2, "", &[]);
    a.run("INSERT INTO sale VALUES(1, 'tea', 2)");
    a.seal(1000);
    b.take(&a);
    for (at, (change, columns)) in [
        ("ALTER TABLE sale DROP COLUMN qty", "id,item"),
        ("ALTER TABLE sale ADD COLUMN qty TEXT", "id,item,qty"),
        ("UPDATE sale SET qty = 'two'", "id,item,qty"),
        ("ALTER TABLE sale DROP COLUMN qty", "id,item"),
        ("ALTER TABLE sale ADD COLUMN qty INTEGER", "id,item,qty"),
        ("ALTER TABLE sale ADD COLUMN price", "id,item,price,qty"),
        (
            "ALTER TABLE sale RENAME TO sold; ALTER TABLE sold RENAME COLUMN qty TO n; ALTER TABLE sold RENAME TO sale",
            "id,item,n,price",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        a.run(change);
        a.seal(2000 + at as u64);
        sync(&mut a, &mut b);
        a.equals(&b, &["sale"]);
        assert_eq!(b.one(COLUMNS), Sql::Text(columns.into()), "{change}");
    }
    assert_eq!(b.rows("SELECT n, price FROM sale"), [[Sql::Null, Sql::Null]]);
}
