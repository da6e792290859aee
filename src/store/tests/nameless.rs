//! Rows that have no name but their birth: tables without a key, and rows with NULL in it.

use super::*;

const LOG: &str = "CREATE TABLE log(text, n)";
const ALL: &str = "SELECT text, n FROM log ORDER BY text, n";

fn text(t: &str) -> Sql {
    Sql::Text(t.into())
}

fn row(t: &str, n: i64) -> Vec<Sql> {
    vec![text(t), Sql::Integer(n)]
}

fn lost(r: &Replica) -> Vec<(String, String, Sql)> {
    let lines = r.view(|view| view.conflicts()).unwrap();
    lines.into_iter().map(|line| (line.key, line.column, line.shown)).collect()
}

/// Two replicas of one table with these rows.
fn pair(rows: &str) -> (Replica, Replica) {
    let (mut a, mut b) = (Replica::new(1, LOG, &["log"]), Replica::new(2, "", &[]));
    if !rows.is_empty() {
        a.run(&format!("INSERT INTO log VALUES{rows}"));
    }
    a.seal(1000);
    b.take(&a);
    (a, b)
}

#[test]
fn equal_rows_are_rows_of_their_own() {
    let (mut a, mut b) = pair("");
    a.run("INSERT INTO log VALUES('on', 1)");
    b.run("INSERT INTO log VALUES('on', 1)");
    a.seal(2000);
    b.seal(2000);
    sync(&mut a, &mut b);
    a.equals(&b, &["log"]);
    assert_eq!(a.rows(ALL), [row("on", 1), row("on", 1)]);
    // To delete one, or change one, is to delete or change one.
    b.run("DELETE FROM log WHERE rowid = (SELECT min(rowid) FROM log)");
    b.run(
        "INSERT INTO log VALUES('off', 2), ('off', 2); UPDATE log SET n = 3 WHERE rowid = (SELECT max(rowid) FROM log)",
    );
    b.seal(3000);
    sync(&mut a, &mut b);
    a.equals(&b, &["log"]);
    assert_eq!(a.rows(ALL), [row("off", 2), row("off", 3), row("on", 1)]);
    let mut late = Replica::new(3, "", &[]);
    late.take(&b);
    late.equals(&a, &["log"]);
}

#[test]
fn columns_of_one_row_merge_one_by_one_and_what_loses_is_listed() {
    let (mut a, mut b) = pair("('tea', 1)");
    a.run("UPDATE log SET text = 'green tea'; UPDATE log SET n = 2");
    b.run("UPDATE log SET n = 3");
    a.seal(2000);
    b.seal(3000);
    sync(&mut a, &mut b);
    a.equals(&b, &["log"]);
    assert_eq!(a.rows(ALL), [row("green tea", 3)]);
    for r in [&a, &b] {
        assert_eq!(lost(r), [("rowid 1".to_owned(), "n".to_owned(), Sql::Integer(2))]);
    }
    // A delete beats a change that its author had not seen, and that is listed.
    a.run("DELETE FROM log");
    b.run("UPDATE log SET n = 4");
    a.seal(4000);
    b.seal(5000);
    sync(&mut a, &mut b);
    a.equals(&b, &["log"]);
    assert_eq!(lost(&a).last().unwrap(), &("a row that is not there".to_owned(), "n".to_owned(), Sql::Integer(4)));
}

#[test]
fn a_rowid_that_is_handed_out_again_is_another_row() {
    let (mut a, mut b) = pair("('a', 1), ('b', 2)");
    a.run("DELETE FROM log WHERE text = 'b'; INSERT INTO log VALUES('c', 3)");
    assert_eq!(a.one("SELECT rowid FROM log WHERE text = 'c'"), Sql::Integer(2));
    b.run("UPDATE log SET n = 9 WHERE text = 'b'");
    a.seal(2000);
    b.seal(3000);
    sync(&mut a, &mut b);
    a.equals(&b, &["log"]);
    assert_eq!(a.rows(ALL), [row("a", 1), row("c", 3)], "the change was b's, not c's");
    // Rowids that the user gives: a row goes on as itself, and two change places.
    a.run("UPDATE log SET rowid = -1 WHERE text = 'a'; UPDATE log SET rowid = 1 WHERE text = 'c'; UPDATE log SET rowid = 2 WHERE rowid = -1");
    b.run("UPDATE log SET n = n + 10");
    a.seal(4000);
    b.seal(5000);
    sync(&mut a, &mut b);
    a.equals(&b, &["log"]);
    assert_eq!(a.rows(ALL), [row("a", 11), row("c", 13)]);
}

#[test]
fn a_vacuum_loses_nothing_whenever_it_comes() {
    let rows: Vec<String> = (1..=9).map(|n| format!("('r{n}', {n})")).collect();
    let (mut a, mut b) = pair(&rows.join(", "));
    a.run("DELETE FROM log WHERE n IN (2, 5)");
    a.seal(2000);
    b.take(&a);
    // Captured, and not sealed before the rowids change; then more of it.
    a.run("DELETE FROM log WHERE n = 3; UPDATE log SET text = 'x' WHERE n = 7; INSERT INTO log VALUES('new', 10)");
    a.run("VACUUM");
    assert_eq!(a.one("SELECT rowid FROM log WHERE n = 4"), Sql::Integer(2));
    a.run("DELETE FROM log WHERE n = 8; UPDATE log SET text = 'y' WHERE n = 9; INSERT INTO log VALUES('newer', 11)");
    b.run("UPDATE log SET text = 'b' WHERE n = 6; INSERT INTO log VALUES('b', 12)");
    a.seal(3000);
    b.seal(3000);
    sync(&mut a, &mut b);
    a.equals(&b, &["log"]);
    let wanted = [
        row("b", 6),
        row("b", 12),
        row("new", 10),
        row("newer", 11),
        row("r1", 1),
        row("r4", 4),
        row("x", 7),
        row("y", 9),
    ];
    assert_eq!(a.rows(ALL), wanted);
    // With nothing to seal: what a peer changes is changed in its own row.
    a.run("DELETE FROM log WHERE n = 1");
    a.seal(4000);
    a.run("VACUUM");
    b.take(&a);
    b.run("UPDATE log SET text = 'from b' WHERE n = 11; DELETE FROM log WHERE n = 4; VACUUM");
    b.seal(5000);
    let entries = a.entries().len();
    a.take(&b);
    a.equals(&b, &["log"]);
    assert_eq!(a.one("SELECT text FROM log WHERE n = 11"), text("from b"));
    let own = identity(1).key.public().author();
    let written =
        a.store.arrivals_after(0, usize::MAX).unwrap().iter().skip(entries).filter(|e| e.author == own).count();
    assert_eq!(written, 0, "a VACUUM is no change");
}

#[test]
fn after_a_column_was_added_a_vacuum_is_no_change_either() {
    let (mut a, mut b) = pair("('a', 1), ('b', 2), ('b', 2)");
    a.run("ALTER TABLE log ADD COLUMN more DEFAULT 'none'");
    a.seal(2000);
    b.take(&a);
    let entries = a.entries().len();
    for r in [&mut a, &mut b] {
        r.run("DELETE FROM log WHERE text = 'a'; VACUUM");
        r.seal(3000);
    }
    sync(&mut a, &mut b);
    a.equals(&b, &["log"]);
    assert_eq!(a.rows(ALL), [row("b", 2), row("b", 2)]);
    b.run("UPDATE log SET more = 'some' WHERE rowid = 1");
    b.seal(4000);
    sync(&mut a, &mut b);
    a.equals(&b, &["log"]);
    let ops: Vec<_> = a.view(|view| view.log_after(0, 100)).unwrap().iter().map(|line| line.ops).collect();
    assert_eq!(ops[entries..], [1, 1, 1], "each deleted a row, and one changed another");
}

#[test]
fn a_table_made_anew_keeps_its_rows() {
    let (mut a, mut b) = pair("('a', 1), ('b', 2), ('b', 2), ('c', 3)");
    a.run("DELETE FROM log WHERE text = 'a'");
    a.run(
        "BEGIN; CREATE TABLE log_new(text, n); INSERT INTO log_new SELECT * FROM log; DROP TABLE log;
         ALTER TABLE log_new RENAME TO log; COMMIT",
    );
    a.run("UPDATE log SET n = 4 WHERE text = 'c'; INSERT INTO log VALUES('d', 5)");
    b.run("UPDATE log SET text = 'bb' WHERE rowid = 2");
    a.seal(2000);
    b.seal(2000);
    sync(&mut a, &mut b);
    a.equals(&b, &["log"]);
    assert_eq!(a.rows(ALL), [row("b", 2), row("bb", 2), row("c", 4), row("d", 5)]);
}

#[test]
fn a_key_that_becomes_whole_or_null_is_another_row() {
    let schema = "CREATE TABLE k(k TEXT PRIMARY KEY, x, y)";
    let (mut a, mut b) = (Replica::new(1, schema, &["k"]), Replica::new(2, "", &[]));
    a.run("INSERT INTO k VALUES(NULL, 1, 1), (NULL, 1, 1), ('a', 2, 2), ('b', 3, 3)");
    a.seal(1000);
    b.take(&a);
    a.run("UPDATE k SET k = 'n' WHERE rowid = 1; UPDATE k SET k = NULL WHERE k = 'a'");
    b.run("UPDATE k SET y = 9 WHERE rowid = 1; UPDATE k SET y = 8 WHERE k = 'a'; UPDATE k SET y = 7 WHERE rowid = 2");
    b.run("INSERT INTO k VALUES('n', 5, 5)");
    a.seal(2000);
    b.seal(3000);
    sync(&mut a, &mut b);
    a.equals(&b, &["k"]);
    let int = Sql::Integer;
    let wanted = [
        vec![Sql::Null, int(1), int(7)],
        vec![Sql::Null, int(2), int(2)],
        vec![text("b"), int(3), int(3)],
        vec![text("n"), int(5), int(5)],
    ];
    assert_eq!(a.rows("SELECT * FROM k ORDER BY k, x"), wanted);
    // Nothing of what b wrote to the rows that went, or a to the one that b made too, is gone without a word.
    let mut values: Vec<_> = lost(&a).into_iter().map(|(_, column, value)| (column, value)).collect();
    values.sort_by_key(|v| format!("{v:?}"));
    let line = |column: &str, n| (column.to_owned(), int(n));
    assert_eq!(values, [line("x", 1), line("y", 1), line("y", 8), line("y", 9)]);
}

#[test]
fn unique_checks_and_foreign_keys_hold_in_tables_without_a_key() {
    let schema = "CREATE TABLE place(id INTEGER PRIMARY KEY, name);
        CREATE TABLE tag(code TEXT UNIQUE, place INTEGER REFERENCES place(id) ON DELETE CASCADE, n CHECK(n > 0));
        CREATE TABLE use(id INTEGER PRIMARY KEY, code TEXT REFERENCES tag(code))";
    let tables = ["place", "tag", "use"];
    let (mut a, mut b) = (Replica::new(1, schema, &tables), Replica::new(2, "", &[]));
    a.seal(1000);
    b.take(&a);
    for (r, name) in [(&a, "from a"), (&b, "from b")] {
        r.run("PRAGMA foreign_keys = ON");
        r.run(&format!("INSERT INTO place VALUES(1, '{name}'); INSERT INTO tag VALUES('x', 1, 1), ('{name}', 1, 2)"));
        r.run(&format!("INSERT INTO use(code) VALUES('{name}')"));
    }
    a.seal(2000);
    b.seal(3000);
    sync(&mut a, &mut b);
    a.equals(&b, &tables);
    assert_eq!(a.one("SELECT count(*) FROM tag WHERE code GLOB 'x~*'"), Sql::Integer(1));
    let joined = "SELECT name, n FROM tag JOIN place ON place.id = tag.place WHERE n = 2 ORDER BY 1";
    assert_eq!(a.rows(joined), [row("from a", 2), row("from b", 2)], "each with the place that it was written with");
    assert_eq!(a.rows("PRAGMA foreign_key_check"), [[]; 0] as [[Sql; 0]; 0]);
    // The place goes, and its tags with it, on both.
    a.run("DELETE FROM use; DELETE FROM place WHERE name = 'from b'");
    a.seal(4000);
    b.take(&a);
    a.equals(&b, &tables);
    assert_eq!(b.one("SELECT count(*) FROM tag"), Sql::Integer(2));
}

#[test]
fn a_table_whose_rows_nothing_tells_says_so() {
    let schema = "CREATE TABLE t(rowid, _rowid_, oid); CREATE TABLE k(k TEXT PRIMARY KEY, rowid, _rowid_, oid);
        CREATE TABLE r(rowid, x)";
    let (mut a, mut b) = (Replica::new(1, schema, &["t", "k", "r"]), Replica::new(2, "", &[]));
    a.run("INSERT INTO t VALUES(1, 2, 3); INSERT INTO k VALUES('a', 1, 1, 1), (NULL, 2, 2, 2); INSERT INTO r VALUES(7, 7), (7, 7)");
    a.seal(1000);
    b.take(&a);
    let notes = a.view(|view| view.tables()).unwrap().into_iter().map(|t| (t.state, t.note)).collect::<Vec<_>>();
    assert_eq!((notes[0].0, notes[1].0), (4, 1));
    assert!(notes[0].1.contains("nothing tells its rows"), "{}", notes[0].1);
    assert!(notes[1].1.starts_with("rows with NULL in the key are captured and not exchanged"), "{}", notes[1].1);
    assert_eq!(b.rows("SELECT k FROM k"), [[text("a")]]);
    assert_eq!(b.rows("SELECT x FROM r"), [[Sql::Integer(7)], [Sql::Integer(7)]], "another name is left for the rowid");
    assert_eq!(a.store.digest(), b.store.digest());
    for r in [&a, &b] {
        assert_eq!(r.view(|view| view.verify()).unwrap(), []);
    }
}

/// Each row of the file written into a new one, as `.dump` does it: rows without an integer key have other rowids there.
fn dumped(of: &Replica, seed: u8) -> Replica {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.db");
    let user = open(&path);
    user.execute_batch("PRAGMA journal_mode=WAL").unwrap();
    user.execute("ATTACH ?1 AS old", [of.user.path().unwrap()]).unwrap();
    let schema = "SELECT type, name, sql FROM old.sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite%'
        ORDER BY type = 'trigger', rowid";
    let schema: Vec<(String, String, String)> = {
        let mut statement = user.prepare(schema).unwrap();
        let all = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
        all.collect::<Result<_, _>>().unwrap()
    };
    for (kind, name, sql) in &schema {
        user.execute_batch(sql).unwrap();
        if kind == "table" {
            let rows = format!("INSERT INTO main.\"{name}\" SELECT * FROM old.\"{name}\" WHERE 1");
            user.execute_batch(&rows).unwrap();
        }
    }
    user.execute_batch("DETACH old").unwrap();
    Replica { user, store: Store::open(open(&path), identity(seed)).unwrap(), _dir: dir }
}

#[test]
fn a_copy_made_by_dump_knows_its_rows() {
    let (mut a, b) = pair("('a', 1), ('b', 2), ('c', 3), ('d', 4)");
    a.run("DELETE FROM log WHERE text = 'a'");
    a.seal(2000);
    let mut c = dumped(&a, 3);
    assert_eq!(c.one("SELECT rowid FROM log WHERE text = 'b'"), Sql::Integer(1));
    let mut b = b;
    b.take(&a);
    b.run("UPDATE log SET text = 'bb' WHERE n = 2; DELETE FROM log WHERE n = 4");
    b.seal(3000);
    c.take(&b);
    assert_eq!(c.rows(ALL), [row("bb", 2), row("c", 3)]);
    c.run("UPDATE log SET n = 5 WHERE text = 'bb'");
    c.seal(4000);
    b.take(&c);
    b.equals(&c, &["log"]);
    assert_eq!(b.rows(ALL), [row("bb", 5), row("c", 3)]);
}

/// The raw bodies of a replica's own entries.
fn bodies(r: &Replica) -> Vec<Vec<u8>> {
    let entries = r.entries();
    let entries = entries.iter().map(|bytes| p2pdb_core::entry::Entry::from_bytes(bytes).unwrap());
    entries.map(|entry| p2pdb_core::body::unpack(&entry.body).unwrap()).collect()
}

#[test]
fn the_format_document_shows_what_is_written_of_them() {
    let document = include_str!("../../../docs/format.md");
    let section = document.split("### 12.4").nth(1).unwrap();
    let block = section.split("```hex\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    // Comments begin at one place, and an empty line parts the entries.
    let bytes = |part: &str| {
        let lines = part.lines().map(|line| line.get(..66).unwrap_or(line));
        let digits: String = lines.flat_map(str::chars).filter(|c| *c != ' ').collect();
        (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect::<Vec<u8>>()
    };
    let told: Vec<Vec<u8>> = block.split("\n\n").map(bytes).collect();
    let mut a = Replica::new(1, "CREATE TABLE log(text TEXT, n)", &["log"]);
    a.run("INSERT INTO log VALUES('on', 1), ('on', 1)");
    a.seal(1000);
    a.run("UPDATE log SET n = 2 WHERE rowid = 1; DELETE FROM log WHERE rowid = 2");
    a.seal(2000);
    assert_eq!(bodies(&a), told);
}
