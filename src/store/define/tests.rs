use super::*;
use crate::schema::Index;
use crate::schema::{Expr, Place, Step, Tree};
use crate::store::{Identity, Store};
use p2pdb_core::id::GroupId;
use p2pdb_core::key::{AuthorKey, Secret};

fn store(schema: &str) -> Store {
    let identity =
        Identity { group: GroupId([1; 16]), secret: Secret([2; 32]), epoch: 0, key: AuthorKey::from_seed(&[3; 32]) };
    let conn = Connection::open_in_memory().unwrap();
    conn.execute_batch(schema).unwrap();
    Store::open(conn, identity).unwrap()
}

fn definition(sql: &str) -> Definition {
    let conn = Connection::open_in_memory().unwrap();
    conn.execute_batch(sql).unwrap();
    Definition::read_local(&conn, "t").unwrap()
}

fn announce(store: &mut Store, bytes: &[u8], columns: usize) -> (i64, String) {
    let ids: Vec<ColumnId> = (0..columns).map(|c| ColumnId([c as u8; 4])).collect();
    build(store, TableId([9; 8]), &ids, bytes).unwrap();
    let sql = "SELECT state, note FROM _p2p_table";
    store.conn.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap()
}

fn objects(store: &Store) -> i64 {
    let sql = "SELECT count(*) FROM sqlite_schema WHERE name NOT LIKE '%\\_p2p%' ESCAPE '\\' AND name NOT LIKE 'sqlite%' AND tbl_name NOT LIKE '\\_p2p%' ESCAPE '\\'";
    store.conn.query_row(sql, [], |row| row.get(0)).unwrap()
}

#[test]
fn an_announcement_that_can_not_be_built_is_parked_and_leaves_nothing_behind() {
    let plain = definition("CREATE TABLE t(k TEXT PRIMARY KEY NOT NULL, v INT)");
    let mut collated = plain.clone();
    collated.columns[1].collation = "mine".into();
    let mut typed = plain.clone();
    // The list takes it for a type, SQLite for a STRICT table's column does not.
    (typed.strict, typed.columns[1].declared) = (true, "MONEY".into());
    let mut indexed = plain.clone();
    let filter = Expr::Listed(Tree::new(vec![Step::Column(1)], 2, Place::Row).unwrap());
    let terms = vec![crate::schema::Term {
        part: crate::schema::Part::Column(1),
        collation: "none".into(),
        is_descending: false,
    }];
    indexed.uniques.push(Index {
        name: Some("i".into()),
        terms,
        filter: Some(filter),
        on_conflict: Default::default(),
    });
    let cases = [
        (collated.to_bytes(), 2, "it can't be built here: no such collation sequence: mine"),
        (typed.to_bytes(), 2, "it can't be built here: unknown datatype for t.v: \"MONEY\""),
        (indexed.to_bytes(), 2, "it can't be built here: no such collation sequence: none"),
        (plain.to_bytes(), 3, "its announcement has other columns than it lists"),
        (vec![1, 2, 3], 0, "its announcement can't be read: the bytes end inside name"),
        (
            vec![7],
            0,
            "its announcement can't be read: version of a definition has the unknown value 7; a newer version of P2PDB may have written it",
        ),
    ];
    for (bytes, columns, reason) in cases {
        let mut store = store("");
        assert_eq!(announce(&mut store, &bytes, columns), (3, reason.to_string()));
        assert_eq!(objects(&store), 0, "{reason}");
        store.refresh_tables().unwrap();
        assert!(retry_parked(&store.conn).unwrap().is_empty());
    }
}

#[test]
fn a_view_of_the_same_name_parks_a_table() {
    let mut store = store("CREATE VIEW t AS SELECT 1");
    let bytes = definition("CREATE TABLE t(k TEXT PRIMARY KEY NOT NULL)").to_bytes();
    assert_eq!(announce(&mut store, &bytes, 1), (3, "here \"t\" is a view; rename or drop it".to_string()));
}

#[test]
fn ids_of_tables_stay_as_they_are() {
    assert_eq!(table_id("Sale", 0, false), table_id("sALE", 0, false));
    assert_ne!(table_id("sale", 0, false), table_id("sale", 1, false));
    assert_eq!(table_id("sale", 0, false).to_string(), "4b2803fc432c3020");
}
