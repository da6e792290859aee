//! Columns that go and come back.

use super::*;

fn standing(replica: &Replica) -> (i64, String) {
    let sql = "SELECT state, note FROM _p2p_table";
    replica.user.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap()
}

#[test]
fn a_column_that_is_renamed_and_renamed_back_is_exchanged_again() {
    // The table stayed captured for ever, and its note named no way out.
    let mut a = Replica::new(1, SALE, &["sale"]);
    let mut b = Replica::new(2, "", &[]);
    a.run("INSERT INTO sale VALUES(1, 'tea', 2), (2, 'milk', 1)");
    a.seal(1000);
    b.take(&a);
    a.run("ALTER TABLE sale RENAME COLUMN qty TO amount");
    a.seal(2000);
    let (state, note) = standing(&a);
    assert_eq!(state, 4);
    assert!(note.contains("ALTER TABLE \"sale\" RENAME COLUMN … TO \"qty\""), "{note}");
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
    assert_eq!(standing(&a), (1, String::new()));
    sync(&mut a, &mut b);
    a.equals(&b, &["sale"]);
    let rows = [
        [Sql::Integer(1), Sql::Text("green tea".into()), Sql::Integer(9)],
        [Sql::Integer(3), Sql::Text("salt".into()), Sql::Integer(1)],
    ];
    assert_eq!(b.rows("SELECT * FROM sale ORDER BY id"), rows);
}

#[test]
fn a_column_that_comes_back_as_another_is_not_taken_for_it() {
    let mut a = Replica::new(1, SALE, &["sale"]);
    a.run("INSERT INTO sale VALUES(1, 'tea', 2)");
    a.seal(1000);
    for (change, state) in [
        ("ALTER TABLE sale DROP COLUMN qty", 4),
        ("ALTER TABLE sale ADD COLUMN qty TEXT", 4),
        ("ALTER TABLE sale DROP COLUMN qty", 4),
        ("ALTER TABLE sale ADD COLUMN qty INTEGER", 1),
        ("ALTER TABLE sale ADD COLUMN price", 1),
        ("ALTER TABLE sale RENAME TO sold; ALTER TABLE sold RENAME COLUMN qty TO n", 4),
        ("ALTER TABLE sold RENAME COLUMN n TO qty", 1),
    ] {
        a.run(change);
        a.seal(2000);
        assert_eq!(standing(&a).0, state, "{change}: {}", standing(&a).1);
    }
    assert!(standing(&a).1.contains("the column \"price\" was added"), "{}", standing(&a).1);
}
