use super::*;
use proptest::prelude::*;
use rusqlite::Connection;

const TABLES: [&str; 4] = [
    "CREATE TABLE t(id INTEGER PRIMARY KEY AUTOINCREMENT, a TEXT COLLATE NOCASE NOT NULL DEFAULT 'x', b INTEGER UNIQUE,
        c AS (b * 2), d REAL CHECK(d > 0), CONSTRAINT pair CHECK(a <> b), UNIQUE(a, b))",
    "CREATE TABLE t(k BLOB, n INTEGER, v ANY, PRIMARY KEY(n, k DESC)) WITHOUT ROWID, STRICT",
    "CREATE TABLE t(k TEXT PRIMARY KEY NOT NULL, p INTEGER REFERENCES p(id) ON DELETE CASCADE, FOREIGN KEY(p, k) REFERENCES q(x, y));
     CREATE UNIQUE INDEX low ON t(lower(k)) WHERE p > 1; CREATE INDEX by_p ON t(p DESC, k COLLATE NOCASE)",
    "CREATE TABLE t(a, b DEFAULT (likely(1)), CHECK(likely(a)))",
];

fn definition(sql: &str) -> Definition {
    let conn = Connection::open_in_memory().unwrap();
    conn.execute_batch(sql).unwrap();
    Definition::read_local(&conn, "t").unwrap()
}

fn ids(definition: &Definition) -> Vec<ColumnId> {
    let mut ids = Vec::new();
    definition.stored().for_each(|c| ids.push(ColumnId::of(&c.name, &ids)));
    ids
}

fn nobody(_: &str) -> bool {
    false
}

#[test]
fn a_definition_put_together_from_its_elements_is_the_same_table() {
    for sql in TABLES {
        let whole = definition(sql);
        let elements = whole.elements(&ids(&whole));
        let (again, columns) = Definition::assemble(&elements, &whole, &ids(&whole), &nobody).unwrap();
        assert_eq!(columns, ids(&whole), "{sql}");
        assert_eq!(again.elements(&columns), elements, "{sql}");
        if whole.unlisted().is_empty() {
            // From nothing as well: then columns stand in the order of their ids, and the generated ones last.
            let nothing = Definition { columns: Vec::new(), ..Definition::nothing() };
            let (again, columns) = Definition::assemble(&elements, &nothing, &[], &nobody).unwrap();
            assert_eq!(again.elements(&columns), elements, "{sql}");
            let conn = Connection::open_in_memory().unwrap();
            again.create_sql().iter().for_each(|sql| conn.execute_batch(sql).unwrap());
        }
    }
}

#[test]
fn elements_do_not_depend_on_the_order_of_columns() {
    let one = definition(
        "CREATE TABLE t(id INTEGER PRIMARY KEY, a, b, c, CHECK(a < c), UNIQUE(c, b)); CREATE INDEX i ON t(b + a)",
    );
    let two = definition(
        "CREATE TABLE t(c, b, id INTEGER PRIMARY KEY, a, UNIQUE(c, b), CHECK(a < c)); CREATE INDEX j ON t(b + a)",
    );
    assert_eq!(changes(&one.elements(&ids(&one)), &two.elements(&ids(&two))), []);
}

#[test]
fn a_change_is_what_differs_and_what_is_gone() {
    let one = definition("CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT, b, UNIQUE(a))");
    let two = definition("CREATE TABLE t(id INTEGER PRIMARY KEY, a INTEGER, c)");
    let id = |name| ColumnId::of(name, &[]);
    let changed = changes(&one.elements(&ids(&one)), &two.elements(&ids(&two)));
    let told: Vec<_> = changed.iter().map(|(element, says)| (element.clone(), says.is_some())).collect();
    let has = |element: Element, stays| assert!(told.contains(&(element.clone(), stays)), "{element:?} in {told:?}");
    has(Element::Column(id("a")), true);
    has(Element::Column(id("b")), false);
    has(Element::Column(id("c")), true);
    has(Element::ColumnName(id("c")), true);
    assert!(told.iter().any(|(e, stays)| matches!(e, Element::Constraint(Sort::Unique, _)) && !stays));
    assert_eq!(told.len(), 5, "{told:?}");
    assert_eq!(read_changes(&write_changes(&changed)).unwrap(), changed);
}

#[test]
fn a_constraint_about_a_column_that_is_gone_goes_with_it() {
    let whole =
        definition("CREATE TABLE t(id INTEGER PRIMARY KEY, a, b, CHECK(a < b), UNIQUE(b)); CREATE INDEX i ON t(a)");
    let mut elements = whole.elements(&ids(&whole));
    elements.remove(&Element::Column(ColumnId::of("b", &[])));
    let (left, _) = Definition::assemble(&elements, &whole, &ids(&whole), &nobody).unwrap();
    assert_eq!((left.checks.len(), left.uniques.len(), left.indexes.len()), (0, 0, 1));
}

#[test]
fn an_index_whose_name_is_taken_gets_a_number() {
    let whole = definition("CREATE TABLE t(id INTEGER PRIMARY KEY, a); CREATE INDEX i ON t(a)");
    let elements = whole.elements(&ids(&whole));
    let bare = definition("CREATE TABLE t(id INTEGER PRIMARY KEY, a)");
    let (named, _) = Definition::assemble(&elements, &bare, &ids(&bare), &|name| name == "i").unwrap();
    assert_eq!(named.indexes[0].name.as_deref(), Some("i_2"));
}

proptest! {
    #[test]
    fn hostile_changes_and_elements_are_refused_or_read_and_crash_nothing(
        which in 0..TABLES.len(), cut in any::<usize>(), at in any::<usize>(), bit in 0..8u32, noise in prop::collection::vec(any::<u8>(), 0..64)
    ) {
        let whole = definition(TABLES[which]);
        let elements = whole.elements(&ids(&whole));
        let mut bytes = write_changes(&changes(&Elements::new(), &elements));
        let place = at % bytes.len();
        bytes[place] ^= 1 << bit;
        bytes.truncate(bytes.len() - cut % 3);
        for bytes in [&bytes, &noise] {
            let Ok(read) = read_changes(bytes) else { continue };
            let mut mutated = elements.clone();
            mutated.extend(read.into_iter().filter_map(|(element, says)| Some((element, says?))));
            if let Ok((again, columns)) = Definition::assemble(&mutated, &whole, &ids(&whole), &nobody) {
                prop_assert!(Definition::read(&again.to_bytes()).is_ok());
                prop_assert_eq!(columns.len(), again.stored().count());
            }
        }
    }
}
