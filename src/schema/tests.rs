use super::*;
use proptest::prelude::*;
use rusqlite::Connection;

fn read(schema: &str, table: &str) -> Definition {
    let conn = Connection::open_in_memory().unwrap();
    conn.execute_batch(schema).unwrap();
    Definition::read_local(&conn, table).unwrap()
}

/// Through bytes and a new database, and what stands there.
fn rebuilt(definition: &Definition) -> Definition {
    let bytes = definition.to_bytes();
    let read = Definition::read(&bytes).unwrap_or_else(|e| panic!("{e}: {definition:?}"));
    assert_eq!(read.to_bytes(), bytes);
    let conn = Connection::open_in_memory().unwrap();
    for sql in read.create_sql() {
        conn.execute_batch(&sql).unwrap_or_else(|e| panic!("{e}: {sql}"));
    }
    Definition::read_local(&conn, &definition.name).unwrap()
}

const SCHEMAS: &[&str] = &[
    "CREATE TABLE t(id INTEGER PRIMARY KEY, item TEXT, qty INTEGER)",
    "CREATE TABLE t(id INTEGER PRIMARY KEY AUTOINCREMENT, a VARCHAR(10) NOT NULL DEFAULT 'it''s', b DECIMAL(10, 2) DEFAULT -1.50)",
    "CREATE TABLE t(id INTEGER PRIMARY KEY DESC, a)",
    "CREATE TABLE t(id INTEGER, a, PRIMARY KEY(id DESC))",
    "CREATE TABLE t(a TEXT COLLATE NOCASE, b INT, PRIMARY KEY(b DESC, a COLLATE rtrim) ON CONFLICT REPLACE)",
    "CREATE TABLE t(a TEXT NOT NULL ON CONFLICT IGNORE UNIQUE ON CONFLICT FAIL, b PRIMARY KEY ON CONFLICT ROLLBACK) WITHOUT ROWID",
    "CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT, b BLOB, c REAL, d ANY, e INT) STRICT",
    "CREATE TABLE t(a, b, UNIQUE(a, b COLLATE nocase), UNIQUE(b) ON CONFLICT REPLACE)",
    "CREATE TABLE t(a, g AS (a || 'g'), s INT GENERATED ALWAYS AS (length(a) * 2) STORED UNIQUE, b)",
    "CREATE TABLE t(a DEFAULT CURRENT_TIMESTAMP, b DEFAULT (datetime('now', '+1 day')), c DEFAULT (lower(hex(randomblob(16)))), d DEFAULT TRUE, e DEFAULT x'00ff', f DEFAULT NULL, g DEFAULT +5, h DEFAULT word, i DEFAULT \"quoted\", j DEFAULT 0x1F)",
    "CREATE TABLE t(a CHECK(a > 0 AND (a < 10 OR a IN (11, 12, -13)) AND NOT a = 5), b CONSTRAINT \"odd name\" CHECK(b LIKE '%@%' ESCAPE '\\' AND b NOT LIKE 'x%' AND b NOT GLOB 'a*'), CHECK(a BETWEEN 1 AND length(b) + 1), CHECK(a IS NOT NULL), CHECK(b NOTNULL OR b ISNULL))",
    "CREATE TABLE t(a, b, CHECK(CASE a WHEN 1 THEN b ELSE -b END > 0), CHECK(CASE WHEN a THEN b > 1 END), CHECK(CAST(a AS VARCHAR(3)) = a COLLATE nocase), CHECK((a - (b - 1)) * -(-2) / 3 % 4 << 1 >> 2 & 3 | 4 <> ~a), CHECK(a -> '$.x' ->> 0 IS DISTINCT FROM b), CHECK(json_valid(a) OR a IS NULL))",
    "CREATE TABLE t(a REFERENCES p ON DELETE CASCADE ON UPDATE SET NULL, b INT REFERENCES p(x) ON DELETE SET DEFAULT MATCH FULL, c, d, FOREIGN KEY(c, d) REFERENCES q(\"y z\", w) ON DELETE RESTRICT DEFERRABLE INITIALLY DEFERRED)",
    "CREATE TABLE [we\"ird `t](\"se\"\"lect\" TEXT, `b``b`, [c c] INT, 'd''d', ünï, /* a comment */ e -- another\n, PRIMARY KEY('d''d', `b``b`))",
    "CREATE TABLE t(a, b); CREATE UNIQUE INDEX i1 ON t(lower(a) DESC, b COLLATE nocase) WHERE b > 1 AND a IS NOT NULL; CREATE INDEX i2 ON t(b); CREATE UNIQUE INDEX \"i\"\"3\" ON t(coalesce(a, 'z') || 'x')",
    "CREATE TABLE t(a DOUBLE PRECISION, b UNSIGNED BIG INT(20), c \"quoted type\", d /* x */ TEXT)",
    "CREATE TABLE t AS SELECT 1 AS a, 'x' AS b",
    "CREATE TABLE t(a, b, CHECK(a = \"not a column\"))",
    "CREATE TABLE t(a CHECK(a <> 'x' COLLATE NOCASE AND - a < 5 AND 'a' || - 5 = b), b)",
    "CREATE TABLE t(a, b, CONSTRAINT k PRIMARY KEY(a, b, a)) WITHOUT ROWID",
];

fn table_of(schema: &str) -> &'static str {
    if schema.starts_with("CREATE TABLE [we") { "we\"ird `t" } else { "t" }
}

#[test]
fn a_table_built_from_its_definition_has_the_same_definition() {
    for schema in SCHEMAS {
        let definition = read(schema, table_of(schema));
        assert_eq!(definition.unlisted(), Vec::<String>::new(), "{schema}");
        let again = rebuilt(&definition);
        assert_eq!(definition.difference(&again), None, "{schema}\n{}", definition.create_sql().join("\n"));
        assert_eq!(definition.create_sql(), again.create_sql(), "{schema}");
    }
}

/// What the PRAGMAs tell of both, order of indexes and their names aside.
#[test]
fn sqlite_reports_the_same_of_the_table_and_of_the_one_built_from_it() {
    let columns = "SELECT group_concat(name || '/' || type || '/' || \"notnull\" || '/' || pk || '/' || hidden, char(10)) FROM pragma_table_xinfo(?1)";
    let indexes = "SELECT group_concat(x, char(10)) FROM (SELECT l.\"unique\" || l.origin || l.partial ||
        (SELECT group_concat(i.cid || ':' || i.\"desc\" || i.coll) FROM pragma_index_xinfo(l.name) i WHERE i.key) AS x FROM pragma_index_list(?1) l ORDER BY x)";
    let keys = "SELECT group_concat(x, char(10)) FROM (SELECT seq || '|' || \"table\" || '|' || \"from\" || '|' || ifnull(\"to\", '') || on_update || on_delete AS x FROM pragma_foreign_key_list(?1) ORDER BY x)";
    for schema in SCHEMAS {
        let (a, b) = (Connection::open_in_memory().unwrap(), Connection::open_in_memory().unwrap());
        a.execute_batch(schema).unwrap();
        let definition = Definition::read_local(&a, table_of(schema)).unwrap();
        definition.create_sql().iter().for_each(|sql| b.execute_batch(sql).unwrap());
        for sql in [columns, indexes, keys] {
            let tell =
                |c: &Connection| c.query_row(sql, [&definition.name], |r| r.get::<_, Option<String>>(0)).unwrap();
            // Names of built-in collations come in one spelling.
            assert_eq!(
                tell(&a).map(|t| t.replace("nocase", "NOCASE").replace("rtrim", "RTRIM")),
                tell(&b),
                "{schema}\n{}",
                definition.create_sql().join("\n")
            );
        }
    }
}

#[test]
fn what_is_not_on_the_list_is_named_and_travels_without_its_text() {
    let cases = [
        ("CREATE TABLE t(a CHECK(a REGEXP 'x'))", "MATCH or REGEXP"),
        ("CREATE TABLE t(a DEFAULT (total_changes()))", "total_changes()"),
        ("CREATE TABLE t(a, CHECK((a, a) = (1, 2)))", "a row of values"),
        ("CREATE TABLE t(a); CREATE UNIQUE INDEX i ON t(soundex(a))", "soundex()"),
    ];
    for (schema, reason) in cases {
        let conn = Connection::open_in_memory().unwrap();
        let flags =
            rusqlite::functions::FunctionFlags::SQLITE_UTF8 | rusqlite::functions::FunctionFlags::SQLITE_DETERMINISTIC;
        for (name, n) in [("soundex", 1), ("regexp", 2)] {
            conn.create_scalar_function(name, n, flags, |_| Ok(1)).unwrap();
        }
        conn.execute_batch(schema).unwrap();
        let definition = Definition::read_local(&conn, "t").unwrap();
        let read = Definition::read(&definition.to_bytes()).unwrap();
        assert_eq!(definition.unlisted(), read.unlisted());
        assert!(read.unlisted().iter().any(|u| u.contains(reason)), "{schema}: {:?}", read.unlisted());
        assert!(!format!("{read:?}").contains("text: \"s"), "{read:?}");
    }
}

#[test]
fn chance_and_time_stand_in_defaults_only() {
    let random = vec![Step::Call("random".into(), 0)];
    assert!(Tree::new(random.clone(), 1, Place::Default).is_ok());
    assert!(Tree::new(random, 1, Place::Row).is_err());
    assert!(Tree::new(vec![Step::Now(0)], 1, Place::Row).is_err());
    assert!(Tree::new(vec![Step::Column(0)], 1, Place::Default).is_err());
}

#[test]
fn an_expression_at_its_bounds_is_taken_and_over_them_refused() {
    use p2pdb_core::limit::{EXPRESSION_DEPTH_MAX as DEPTH, EXPRESSION_STEPS_MAX as STEPS};
    let deep = |n: usize| std::iter::once(Step::Null).chain((1..n).map(|_| Step::Unary(3))).collect::<Vec<_>>();
    assert!(Tree::new(deep(DEPTH), 0, Place::Row).is_ok());
    assert!(Tree::new(deep(DEPTH + 1), 0, Place::Row).is_err());
    let wide = |n: usize| (0..n - 1).map(|_| Step::Null).chain([Step::In(false, n - 2)]).collect::<Vec<_>>();
    assert!(Tree::new(wide(STEPS), 0, Place::Row).is_ok());
    assert!(Tree::new(wide(STEPS + 1), 0, Place::Row).is_err());
}

#[test]
fn a_type_can_not_smuggle_in_a_constraint() {
    for good in ["", "TEXT", "VARCHAR(10)", "DECIMAL(10, -2)", "UNSIGNED BIG INT", "_x", "LONG VARCHAR ( 5 )"] {
        assert!(list::is_type(good), "{good}");
    }
    for bad in [
        "INT PRIMARY KEY",
        "INT)",
        "INT, x",
        "INT DEFAULT (1)",
        "(5)",
        "INT(",
        "INT(1,2,3)",
        "INT(x)",
        "a-b",
        "'x'",
        "TEXT--",
        "INT COLLATE x",
        "INT(1) y",
    ] {
        assert!(!list::is_type(bad), "{bad}");
    }
}

#[test]
fn only_a_sole_integer_key_that_is_the_rowid_and_no_reference_is_an_alias() {
    let cases = [
        ("CREATE TABLE t(id INTEGER PRIMARY KEY)", true),
        ("CREATE TABLE t(id integer, PRIMARY KEY(id DESC))", true),
        ("CREATE TABLE t(id INTEGER PRIMARY KEY DESC)", false),
        ("CREATE TABLE t(id INT PRIMARY KEY)", false),
        ("CREATE TABLE t(id INTEGER PRIMARY KEY) WITHOUT ROWID", false),
        ("CREATE TABLE t(id INTEGER PRIMARY KEY REFERENCES p)", false),
        ("CREATE TABLE t(id INTEGER, x, PRIMARY KEY(id, x))", false),
    ];
    for (schema, is_alias) in cases {
        assert_eq!(read(schema, "t").is_alias(), is_alias, "{schema}");
    }
}

#[test]
fn columns_joined_by_checks_form_groups_through_generated_ones() {
    let d = read("CREATE TABLE t(a, b, c, d, e, g AS (c + d), h CHECK(h > 0), CHECK(a < b), CHECK(b < g))", "t");
    assert_eq!(d.check_groups_by_name(), [["a", "b", "c", "d"]]);
}

#[test]
fn a_difference_is_named() {
    let base = "CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT, b UNIQUE)";
    let cases = [
        ("CREATE TABLE T(ID INTEGER PRIMARY KEY, a text, b UNIQUE); CREATE INDEX i ON t(a)", None),
        ("CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT, b); CREATE UNIQUE INDEX i ON t(b)", None),
        ("CREATE TABLE t(id INTEGER PRIMARY KEY, a INT, b UNIQUE)", Some("the type of column \"a\" differs")),
        ("CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT)", Some("it has 2 columns there and 3 here")),
        ("CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT, b)", Some("the unique indexes differ")),
        ("CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT, b UNIQUE, CHECK(a > 1))", Some("the CHECKs differ")),
        ("CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT REFERENCES p, b UNIQUE)", Some("the foreign keys differ")),
    ];
    for (theirs, difference) in cases {
        assert_eq!(read(base, "t").difference(&read(theirs, "t")).as_deref(), difference, "{theirs}");
    }
}

#[test]
fn the_bytes_of_a_definition_stay_as_they_are() {
    let schema = "CREATE TABLE sale(id INTEGER PRIMARY KEY AUTOINCREMENT, item TEXT NOT NULL COLLATE NOCASE DEFAULT 'tea', qty INT CHECK(qty > 0),
        shop REFERENCES shop(id) ON DELETE CASCADE, up AS (upper(item)), UNIQUE(item, qty));
        CREATE UNIQUE INDEX one ON sale(lower(item)) WHERE qty = 1; CREATE INDEX two ON sale(shop DESC)";
    let hex: String = read(schema, "sale").to_bytes().iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(hex, include_str!("tests/golden.hex").trim());
}

fn golden() -> Vec<u8> {
    let hex = include_str!("tests/golden.hex").trim();
    (0..hex.len() / 2).map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap()).collect()
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Definition::read(&bytes);
    }

    #[test]
    fn bytes_that_are_taken_build_a_table_or_an_error_and_nothing_else(at in 0usize..400, to in any::<u8>(), cut in 0usize..400) {
        let mut bytes = golden();
        let n = bytes.len();
        bytes[at % n] = to;
        if cut < n / 4 {
            bytes.truncate(n - cut);
        }
        if let Ok(definition) = Definition::read(&bytes) {
            prop_assert_eq!(definition.to_bytes(), bytes);
            let conn = Connection::open_in_memory().unwrap();
            for sql in definition.create_sql() {
                // One statement, whatever the names and texts hold: the rest of it would be an error of its own.
                if let Ok(mut statement) = conn.prepare(&sql) {
                    let _ = statement.execute([]);
                }
            }
            let others: i64 = conn
                .query_row("SELECT count(*) FROM sqlite_schema WHERE type <> 'index' AND name <> ?1 COLLATE NOCASE AND name <> 'sqlite_sequence'", [&definition.name], |r| r.get(0))
                .unwrap();
            prop_assert_eq!(others, 0);
        }
    }
}
