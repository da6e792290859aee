//! Triggers of the user's on merged rows: those that feed what is not tracked run, those that write tracked tables do not
//! run twice, and none has a merge fail or a row left out.

use super::*;

const NOTE: &str = "CREATE TABLE note(id INTEGER PRIMARY KEY, title TEXT, body TEXT);";

/// A full-text index over the rows of `note`, as SQLite's documentation has it.
const FTS: &str = "CREATE VIRTUAL TABLE note_fts USING fts5(title, body, content='note', content_rowid='id');
    CREATE TRIGGER note_ai AFTER INSERT ON note BEGIN
        INSERT INTO note_fts(rowid, title, body) VALUES(new.id, new.title, new.body); END;
    CREATE TRIGGER note_ad AFTER DELETE ON note BEGIN
        INSERT INTO note_fts(note_fts, rowid, title, body) VALUES('delete', old.id, old.title, old.body); END;
    CREATE TRIGGER note_au AFTER UPDATE ON note BEGIN
        INSERT INTO note_fts(note_fts, rowid, title, body) VALUES('delete', old.id, old.title, old.body);
        INSERT INTO note_fts(rowid, title, body) VALUES(new.id, new.title, new.body); END;";

/// Two replicas with the same schema, one of them in the group from the start.
fn pair(schema: &str, tables: &[&str]) -> (Replica, Replica) {
    let (mut a, mut b) = (Replica::new(1, schema, tables), Replica::new(2, schema, tables));
    a.seal(500);
    b.seal(501);
    sync(&mut a, &mut b);
    (a, b)
}

fn sealed(a: &mut Replica, b: &mut Replica, ms: u64) {
    a.seal(ms);
    b.seal(ms + 1);
    sync(a, b);
}

/// What `p2p_tables` says of the triggers of a table.
fn said(replica: &Replica, table: &str) -> String {
    let lines = replica.view(|view| view.tables()).unwrap();
    triggers_in_words(&lines.iter().find(|l| l.name == table).unwrap().triggers)
}

fn found(replica: &Replica, words: &str) -> Vec<Vec<Sql>> {
    let sql = format!(
        "SELECT n.id, n.title FROM note_fts f JOIN note n ON n.id = f.rowid WHERE note_fts MATCH '{words}' ORDER BY 1"
    );
    replica.rows(&sql)
}

/// The index is what its table says, here and there, and finds the same.
fn indexes_are_right(a: &Replica, b: &Replica, words: &[&str]) {
    for r in [a, b] {
        // With a rank that is not 0 the index is compared with the table as well.
        r.run("INSERT INTO note_fts(note_fts, rank) VALUES('integrity-check', 1)");
    }
    for word in words {
        assert_eq!(found(a, word), found(b, word), "{word}");
    }
}

#[test]
fn a_full_text_index_finds_on_every_replica_what_was_written_on_any() {
    let (mut a, mut b) = pair(&format!("{NOTE}{FTS}"), &["note"]);
    a.run("INSERT INTO note(title, body) VALUES('tea', 'green and black'), ('milk', 'from the cow')");
    sealed(&mut a, &mut b, 1000);
    assert_eq!(found(&b, "green").len(), 1);
    b.run("UPDATE note SET body = 'red' WHERE title = 'tea'; DELETE FROM note WHERE title = 'milk'");
    a.run("INSERT INTO note(title, body) VALUES('bread', 'rye')");
    sealed(&mut a, &mut b, 2000);
    a.equals(&b, &["note"]);
    indexes_are_right(&a, &b, &["green", "red", "cow", "rye"]);
    assert_eq!((found(&a, "green").len(), found(&a, "red").len(), found(&b, "rye").len()), (0, 1, 1));
    assert_eq!(said(&a, "note"), "run: note_ai, note_ad, note_au");
}

#[test]
fn the_index_follows_rows_that_are_renumbered() {
    let (mut a, mut b) = pair(&format!("{NOTE}{FTS}"), &["note"]);
    a.run("INSERT INTO note VALUES(1, 'of a', 'first')");
    b.run("INSERT INTO note VALUES(1, 'of b', 'second')");
    sealed(&mut a, &mut b, 1000);
    a.equals(&b, &["note"]);
    indexes_are_right(&a, &b, &["first", "second"]);
    assert_eq!(found(&a, "first"), [[Sql::Integer(1), Sql::Text("of a".into())]]);
    // The holder goes: the other comes back to its number.
    a.run("DELETE FROM note WHERE title = 'of a'");
    sealed(&mut a, &mut b, 2000);
    indexes_are_right(&a, &b, &["first", "second"]);
}

#[test]
fn the_index_follows_rows_that_are_hidden_and_shown_again() {
    let schema = format!(
        "CREATE TABLE book(id INTEGER PRIMARY KEY, n TEXT);
         CREATE TABLE note(id INTEGER PRIMARY KEY, title TEXT, body TEXT, bid INTEGER REFERENCES book(id)); {FTS}"
    );
    let (mut a, mut b) = pair(&schema, &["book", "note"]);
    a.run("INSERT INTO book VALUES(1, 'blue'); INSERT INTO note VALUES(1, 'one', 'alpha', 1)");
    sealed(&mut a, &mut b, 1000);
    // The book goes on one side, the other writes on in it: the new note can't be shown without its book.
    a.run("PRAGMA foreign_keys=ON; DELETE FROM note; DELETE FROM book");
    b.run("INSERT INTO note VALUES(2, 'two', 'beta', 1); UPDATE note SET body = 'gamma' WHERE id = 1");
    sealed(&mut a, &mut b, 2000);
    assert_eq!(a.rows("SELECT * FROM note"), b.rows("SELECT * FROM note"));
    indexes_are_right(&a, &b, &["alpha", "beta", "gamma"]);
    a.run("INSERT INTO book VALUES(1, 'again')");
    sealed(&mut a, &mut b, 3000);
    a.equals(&b, &["book", "note"]);
    indexes_are_right(&a, &b, &["alpha", "beta", "gamma"]);
}

#[test]
fn a_contentless_index_and_one_of_another_key_follow_as_well() {
    let schema = "CREATE TABLE note(k TEXT PRIMARY KEY NOT NULL, body TEXT);
        CREATE VIRTUAL TABLE f USING fts5(body, content='');
        CREATE TABLE place(rowid INTEGER PRIMARY KEY, k TEXT UNIQUE);
        CREATE TRIGGER i AFTER INSERT ON note BEGIN
            INSERT INTO place(k) VALUES(new.k);
            INSERT INTO f(rowid, body) VALUES((SELECT rowid FROM place WHERE k = new.k), new.body); END;
        CREATE TRIGGER d AFTER DELETE ON note BEGIN
            INSERT INTO f(f, rowid, body) SELECT 'delete', rowid, old.body FROM place WHERE k = old.k;
            DELETE FROM place WHERE k = old.k; END;
        CREATE TRIGGER u AFTER UPDATE OF body ON note BEGIN
            INSERT INTO f(f, rowid, body) SELECT 'delete', rowid, old.body FROM place WHERE k = old.k;
            INSERT INTO f(rowid, body) SELECT rowid, new.body FROM place WHERE k = new.k; END;";
    let (mut a, mut b) = pair(schema, &["note"]);
    a.run("INSERT INTO note VALUES('x', 'alpha'), ('y', 'beta')");
    sealed(&mut a, &mut b, 1000);
    b.run("UPDATE note SET body = 'gamma' WHERE k = 'x'; DELETE FROM note WHERE k = 'y'");
    sealed(&mut a, &mut b, 2000);
    for r in [&a, &b] {
        r.run("INSERT INTO f(f) VALUES('integrity-check')");
        let find =
            |w: &str| r.rows(&format!("SELECT k FROM f JOIN place p ON p.rowid = f.rowid WHERE f MATCH '{w}'")).len();
        assert_eq!((find("alpha"), find("beta"), find("gamma")), (0, 0, 1));
    }
}

const SUM: &str = "CREATE TABLE sale(id INTEGER PRIMARY KEY, qty INTEGER); CREATE TABLE sum(k TEXT PRIMARY KEY NOT NULL, n INTEGER, q INTEGER);
    INSERT INTO sum VALUES('all', 0, 0);
    CREATE TRIGGER sale_i AFTER INSERT ON sale BEGIN UPDATE sum SET n = n + 1, q = q + new.qty WHERE k = 'all'; END;
    CREATE TRIGGER sale_d AFTER DELETE ON sale BEGIN UPDATE sum SET n = n - 1, q = q - old.qty WHERE k = 'all'; END;
    CREATE TRIGGER sale_u AFTER UPDATE OF qty ON sale BEGIN UPDATE sum SET q = q + new.qty - old.qty WHERE k = 'all'; END;";

#[test]
fn totals_that_are_not_tracked_are_kept_everywhere() {
    let (mut a, mut b) = pair(SUM, &["sale"]);
    a.run("INSERT INTO sale VALUES(1, 2), (2, 3)");
    b.run("INSERT INTO sale VALUES(1, 10), (2, 20)");
    sealed(&mut a, &mut b, 1000);
    a.run("UPDATE sale SET qty = qty + 1");
    b.run("DELETE FROM sale WHERE qty = 10");
    sealed(&mut a, &mut b, 2000);
    a.equals(&b, &["sale", "sum"]);
    for r in [&a, &b] {
        assert_eq!(r.rows("SELECT n, q FROM sum"), r.rows("SELECT count(*), sum(qty) FROM sale"));
    }
    assert_eq!(said(&a, "sale"), "run: sale_i, sale_d, sale_u");
}

#[test]
fn totals_that_are_tracked_are_not_counted_twice() {
    let (mut a, mut b) = pair(SUM, &["sale", "sum"]);
    a.run("INSERT INTO sale VALUES(1, 2), (2, 3)");
    sealed(&mut a, &mut b, 1000);
    b.run("UPDATE sale SET qty = 5 WHERE id = 1; DELETE FROM sale WHERE id = 2");
    sealed(&mut a, &mut b, 2000);
    a.equals(&b, &["sale", "sum"]);
    assert_eq!(b.rows("SELECT n, q FROM sum"), [[Sql::Integer(1), Sql::Integer(5)]]);
    assert_eq!(said(&a, "sale"), "what they do arrives as rows: sale_i, sale_d, sale_u");
}

const AUDIT: &str =
    "CREATE TABLE sale(k TEXT PRIMARY KEY NOT NULL, qty); CREATE TABLE audit(id INTEGER PRIMARY KEY, what TEXT);
    CREATE TRIGGER log_i AFTER INSERT ON sale BEGIN INSERT INTO audit(what) VALUES('+' || new.k); END;
    CREATE TRIGGER log_u AFTER UPDATE ON sale BEGIN INSERT INTO audit(what) VALUES('=' || new.k); END;";

#[test]
fn a_log_has_each_change_once_whether_it_is_tracked_or_not() {
    for tables in [&["sale"][..], &["sale", "audit"]] {
        let (mut a, mut b) = pair(AUDIT, tables);
        a.run("INSERT INTO sale VALUES('x', 1)");
        b.run("INSERT INTO sale VALUES('y', 1)");
        sealed(&mut a, &mut b, 1000);
        a.run("UPDATE sale SET qty = 2 WHERE k = 'y'");
        sealed(&mut a, &mut b, 2000);
        for r in [&a, &b] {
            let all = r.rows("SELECT what FROM audit ORDER BY what").concat();
            assert_eq!(all, ["+x", "+y", "=y"].map(|w| Sql::Text(w.into())), "{tables:?}");
        }
    }
}

#[test]
fn a_trigger_that_does_both_is_held_back_and_said_so() {
    let schema = format!(
        "{NOTE}{FTS} CREATE TABLE total(k TEXT PRIMARY KEY NOT NULL, n); INSERT INTO total VALUES('all', 0);
         CREATE TABLE cache(id INTEGER PRIMARY KEY, n);
         CREATE TRIGGER both AFTER INSERT ON note BEGIN
             INSERT INTO cache(n) VALUES(new.title); UPDATE total SET n = n + 1; END;
         CREATE TABLE step(id INTEGER PRIMARY KEY);
         CREATE TRIGGER far AFTER INSERT ON note BEGIN INSERT INTO step VALUES(NULL); END;
         CREATE TRIGGER near AFTER INSERT ON step BEGIN UPDATE total SET n = n + 100; END;"
    );
    let (mut a, mut b) = pair(&schema, &["note", "total"]);
    a.run("INSERT INTO note(title, body) VALUES('tea', 'green')");
    sealed(&mut a, &mut b, 1000);
    a.equals(&b, &["note", "total"]);
    assert_eq!(b.one("SELECT n FROM total"), Sql::Integer(101));
    assert_eq!(
        b.rows("SELECT (SELECT count(*) FROM cache), (SELECT count(*) FROM step)"),
        [[Sql::Integer(0), Sql::Integer(0)]]
    );
    // The others are not.
    indexes_are_right(&a, &b, &["green"]);
    assert_eq!(
        said(&b, "note"),
        "run: note_ai, note_ad, note_au; held back: both: it writes \"total\", which is tracked, beside \"cache\", which is not: \
         make it two; held back: far: it fires \"near\", which writes \"total\", which is tracked, beside \"step\", which is not: \
         make it two"
    );
}

#[test]
fn what_a_trigger_fires_runs_with_it_through_tables_and_views() {
    let schema = "CREATE TABLE sale(k TEXT PRIMARY KEY NOT NULL, qty);
        CREATE TABLE one(k); CREATE TABLE two(k); CREATE VIEW both AS SELECT k FROM one;
        CREATE TRIGGER first AFTER INSERT ON sale WHEN new.qty > 0 OR new.k = 'z' BEGIN INSERT INTO both VALUES(new.k); END;
        CREATE TRIGGER stand INSTEAD OF INSERT ON both BEGIN INSERT INTO one VALUES(new.k); END;
        CREATE TRIGGER second AFTER INSERT ON one BEGIN INSERT INTO two VALUES(new.k || '!'); END;";
    let (mut a, mut b) = pair(schema, &["sale"]);
    a.run("INSERT INTO sale VALUES('x', 1), ('y', 0), ('z', -1)");
    sealed(&mut a, &mut b, 1000);
    for r in [&a, &b] {
        assert_eq!(r.rows("SELECT k FROM two").concat(), [Sql::Text("x!".into()), Sql::Text("z!".into())]);
    }
    assert_eq!(said(&b, "sale"), "run: first");
}

#[test]
fn a_trigger_that_only_checks_does_not_look_at_merged_rows() {
    let check = "CREATE TRIGGER no BEFORE INSERT ON sale WHEN new.qty < 0 BEGIN SELECT RAISE(ABORT, 'no'); END;";
    let mut a = Replica::new(1, "CREATE TABLE sale(k TEXT PRIMARY KEY NOT NULL, qty)", &["sale"]);
    let mut b = Replica::new(2, &format!("CREATE TABLE sale(k TEXT PRIMARY KEY NOT NULL, qty); {check}"), &["sale"]);
    a.run("INSERT INTO sale VALUES('x', -1)");
    sealed(&mut a, &mut b, 1000);
    a.equals(&b, &["sale"]);
    assert_eq!(said(&b, "sale"), "only look at what is written here: no");
}

/// Whatever a trigger says, the rows are those that were merged.
#[test]
fn a_trigger_that_raises_leaves_out_no_row_and_stops_no_merge() {
    let schema = |raise: &str| {
        format!(
            "CREATE TABLE sale(k TEXT PRIMARY KEY NOT NULL, qty); CREATE TABLE cache(k);
             CREATE TRIGGER pass AFTER INSERT ON sale BEGIN INSERT INTO cache VALUES(new.k); END;
             CREATE TRIGGER fail BEFORE INSERT ON sale BEGIN INSERT INTO cache VALUES('?' || new.k); SELECT {raise} WHERE new.qty < 0; END;"
        )
    };
    let plain = "CREATE TABLE sale(k TEXT PRIMARY KEY NOT NULL, qty)";
    for (raise, cached, wanted) in [
        ("RAISE(ABORT, 'no')", "?x ?z x y z", "run: pass, fail; left out for 1 changes that it made fail: fail: no"),
        ("RAISE(IGNORE)", "x y z", "run: pass; held back: fail: it may skip the row: it says RAISE(IGNORE)"),
        (
            "RAISE(FAIL, 'no')",
            "x y z",
            "run: pass; held back: fail: it may end a transaction: it says FAIL or ROLLBACK",
        ),
        (
            "RAISE(ROLLBACK, 'no')",
            "x y z",
            "run: pass; held back: fail: it may end a transaction: it says FAIL or ROLLBACK",
        ),
    ] {
        let mut a = Replica::new(1, plain, &["sale"]);
        let mut b = Replica::new(2, &schema(raise), &["sale"]);
        a.run("INSERT INTO sale VALUES('x', 1), ('y', -1), ('z', 1)");
        sealed(&mut a, &mut b, 1000);
        a.equals(&b, &["sale"]);
        assert_eq!(b.status().parked(), 0);
        assert_eq!(
            b.one("SELECT group_concat(k, ' ') FROM (SELECT k FROM cache ORDER BY k)"),
            Sql::Text(cached.into()),
            "{raise}"
        );
        assert_eq!(said(&b, "sale"), wanted);
    }
}

#[test]
fn a_trigger_that_fails_on_a_row_is_left_out_for_it_alone() {
    let schema = "CREATE TABLE sale(id INTEGER PRIMARY KEY, k, qty); CREATE TABLE cache(k UNIQUE, n); CREATE TABLE log(id INTEGER PRIMARY KEY, k);
        CREATE TRIGGER i AFTER INSERT ON sale BEGIN INSERT INTO cache VALUES(new.k, 1); END;
        CREATE TRIGGER d AFTER DELETE ON sale BEGIN DELETE FROM cache WHERE k = old.k; END;
        CREATE TRIGGER u AFTER UPDATE ON sale BEGIN UPDATE cache SET k = new.k WHERE k = old.k; END;
        CREATE TRIGGER l AFTER INSERT ON sale BEGIN INSERT INTO log(k) VALUES(new.k); END;";
    let mut a = Replica::new(1, "CREATE TABLE sale(id INTEGER PRIMARY KEY, k, qty)", &["sale"]);
    let mut b = Replica::new(2, schema, &["sale"]);
    b.run("INSERT INTO cache VALUES('x', 0), ('w', 0)");
    a.run("INSERT INTO sale VALUES(1, 'x', 1), (2, 'y', 1), (3, 'v', 1)");
    sealed(&mut a, &mut b, 1000);
    a.run("UPDATE sale SET k = 'w' WHERE k = 'y'; DELETE FROM sale WHERE k = 'v'");
    sealed(&mut a, &mut b, 2000);
    a.equals(&b, &["sale"]);
    assert_eq!(b.rows("SELECT k FROM cache ORDER BY k").concat(), ["w", "x", "y"].map(|w| Sql::Text(w.into())));
    assert_eq!(b.rows("SELECT k FROM log ORDER BY id").concat(), ["x", "y", "v"].map(|w| Sql::Text(w.into())));
    assert_eq!(
        said(&b, "sale"),
        "run: i, d, u, l; left out for 1 changes that it made fail: i: UNIQUE constraint failed: cache.k; \
         left out for 1 changes that it made fail: u: UNIQUE constraint failed: cache.k"
    );
    assert_eq!(b.status().parked(), 0);
}

/// A row's own constraint is told from a trigger's.
#[test]
fn a_row_that_can_not_be_shown_is_parked_beside_triggers_that_run() {
    let schema = "CREATE TABLE sale(k TEXT PRIMARY KEY NOT NULL, qty CHECK(qty > 0)); CREATE TABLE cache(k);
        CREATE TRIGGER i AFTER INSERT ON sale BEGIN INSERT INTO cache VALUES(new.k); END;
        CREATE TRIGGER j AFTER INSERT ON sale BEGIN INSERT INTO cache VALUES(new.k || new.k); END;";
    let mut a = Replica::new(1, "CREATE TABLE sale(k TEXT PRIMARY KEY NOT NULL, qty CHECK(qty > 0))", &["sale"]);
    let mut b = Replica::new(2, schema, &["sale"]);
    a.run("PRAGMA ignore_check_constraints=ON; INSERT INTO sale VALUES('x', -1), ('y', 1)");
    sealed(&mut a, &mut b, 1000);
    assert_eq!(b.status().parked(), 1);
    assert_eq!(b.rows("SELECT k FROM cache").concat(), ["yy", "y"].map(|w| Sql::Text(w.into())));
    assert_eq!(said(&b, "sale"), "run: i, j");
}

#[test]
fn a_trigger_is_noticed_when_it_comes_changes_and_goes() {
    let plain = "CREATE TABLE sale(k TEXT PRIMARY KEY NOT NULL, qty); CREATE TABLE cache(k)";
    let (mut a, mut b) = pair(plain, &["sale"]);
    let mut ms = 1000;
    let mut write = |a: &mut Replica, b: &mut Replica, k: &str| {
        a.run(&format!("INSERT INTO sale VALUES('{k}', 1)"));
        ms += 100;
        sealed(a, b, ms);
        b.rows("SELECT k FROM cache ORDER BY rowid").concat()
    };
    let text = |words: &[&str]| words.iter().map(|w| Sql::Text((*w).into())).collect::<Vec<_>>();
    assert_eq!(write(&mut a, &mut b, "1"), []);
    b.run("CREATE TRIGGER i AFTER INSERT ON sale BEGIN INSERT INTO cache VALUES(new.k); END");
    assert_eq!(write(&mut a, &mut b, "2"), text(&["2"]));
    b.run("DROP TRIGGER i; CREATE TRIGGER i AFTER INSERT ON sale BEGIN INSERT INTO cache VALUES('n' || new.k); END");
    assert_eq!(write(&mut a, &mut b, "3"), text(&["2", "n3"]));
    // What it feeds is gone, and comes back as another table.
    b.run("ALTER TABLE cache RENAME TO store");
    a.run("INSERT INTO sale VALUES('4', 1)");
    sealed(&mut a, &mut b, 2000);
    assert_eq!(b.rows("SELECT k FROM store").concat(), text(&["2", "n3", "n4"]));
    b.run("DROP TABLE store");
    a.run("INSERT INTO sale VALUES('5', 1)");
    sealed(&mut a, &mut b, 3000);
    assert_eq!(said(&b, "sale"), "held back: i: it writes \"store\", which is no table of this database");
    b.run("DROP TRIGGER i");
    a.run("INSERT INTO sale VALUES('6', 1)");
    sealed(&mut a, &mut b, 4000);
    assert_eq!(said(&b, "sale"), "");
    a.equals(&b, &["sale"]);
}

#[test]
fn a_table_that_becomes_tracked_is_fed_by_rows_from_then_on() {
    let (mut a, mut b) = pair(AUDIT, &["sale"]);
    a.run("INSERT INTO sale VALUES('x', 1)");
    sealed(&mut a, &mut b, 1000);
    assert_eq!(said(&b, "sale"), "run: log_i, log_u");
    b.run("DELETE FROM audit");
    for r in [&a, &b] {
        define::track(&r.user, "audit", "").unwrap();
    }
    a.run("INSERT INTO sale VALUES('y', 1)");
    sealed(&mut a, &mut b, 2000);
    a.equals(&b, &["sale", "audit"]);
    assert_eq!(b.one("SELECT count(*) FROM audit"), Sql::Integer(2));
    assert_eq!(said(&b, "sale"), "what they do arrives as rows: log_i, log_u");
}

/// Where every table is tracked one that is made now will be.
#[test]
fn a_table_that_is_going_to_be_tracked_is_fed_by_rows() {
    let sale = "CREATE TABLE sale(k TEXT PRIMARY KEY NOT NULL, qty)";
    let (mut a, mut b) = pair(sale, &["sale"]);
    define::track_all(&b.user).unwrap();
    b.store.seal(900, || true).unwrap();
    b.run("CREATE TABLE log(id INTEGER PRIMARY KEY, k); CREATE TRIGGER i AFTER INSERT ON sale BEGIN INSERT INTO log(k) VALUES(new.k); END");
    a.run("INSERT INTO sale VALUES('x', 1)");
    a.seal(1000);
    // Merged before the node has looked after the schema.
    b.take(&a);
    assert_eq!(b.one("SELECT count(*) FROM log"), Sql::Integer(0));
    // A full-text index never is.
    b.run("CREATE VIRTUAL TABLE f USING fts5(k); CREATE TRIGGER j AFTER INSERT ON sale BEGIN INSERT INTO f VALUES(new.k); END");
    a.run("INSERT INTO sale VALUES('y', 1)");
    sealed(&mut a, &mut b, 2000);
    assert_eq!(b.one("SELECT k FROM f WHERE f MATCH 'y'"), Sql::Text("y".into()));
    assert_eq!(said(&b, "sale"), "run: j; what they do arrives as rows: i");
}

#[test]
fn a_trigger_that_needs_what_only_its_host_has_is_held_back() {
    let schema =
        "CREATE TABLE sale(k TEXT PRIMARY KEY NOT NULL, qty); CREATE TABLE cache(k); CREATE TABLE \"p2p_x\"(k);
        CREATE TRIGGER f AFTER INSERT ON sale BEGIN INSERT INTO cache VALUES(of_the_host(new.k)); END;
        CREATE TRIGGER g AFTER INSERT ON sale BEGIN INSERT INTO cache VALUES(load_extension(new.k)); END;
        CREATE TRIGGER h AFTER INSERT ON sale BEGIN INSERT INTO p2p_x VALUES(new.k); END;
        CREATE TRIGGER i AFTER INSERT ON sale BEGIN INSERT INTO cache VALUES(new.k); END;";
    let mut a = Replica::new(1, "CREATE TABLE sale(k TEXT PRIMARY KEY NOT NULL, qty)", &["sale"]);
    let mut b = Replica::new(2, schema, &["sale"]);
    a.run("INSERT INTO sale VALUES('x', 1)");
    sealed(&mut a, &mut b, 1000);
    a.equals(&b, &["sale"]);
    assert_eq!(b.rows("SELECT k FROM cache").concat(), [Sql::Text("x".into())]);
    let said = said(&b, "sale");
    for wanted in [
        "run: i;",
        "held back: f: it can't run here: no such function: of_the_host",
        "held back: h: it names \"p2p_x\", which is P2PDB's",
        "held back: g: it calls load_extension(), which no trigger may",
    ] {
        assert!(said.contains(wanted), "{wanted} in {said}");
    }
}

/// A transaction of many rows of a named table goes by runs, and so do the updates behind it.
#[test]
fn rows_that_are_merged_in_bulk_are_indexed() {
    let schema = "CREATE TABLE note(code TEXT PRIMARY KEY NOT NULL, body TEXT, x);
        CREATE VIRTUAL TABLE f USING fts5(code, body);
        CREATE TRIGGER i AFTER INSERT ON note BEGIN INSERT INTO f(code, body) VALUES(new.code, new.body); END;
        CREATE TRIGGER u AFTER UPDATE OF body ON note BEGIN UPDATE f SET body = new.body WHERE rowid = (SELECT rowid FROM f WHERE f MATCH 'code:' || new.code); END;";
    let (mut a, mut b) = pair(schema, &["note"]);
    a.run(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)
         INSERT INTO note SELECT printf('k%x', i * 40503 % 65536), 'word' || i, 0 FROM n",
    );
    sealed(&mut a, &mut b, 1000);
    a.run("UPDATE note SET body = 'other ' || body, x = 1");
    sealed(&mut a, &mut b, 2000);
    a.equals(&b, &["note"]);
    for r in [&a, &b] {
        r.run("INSERT INTO f(f) VALUES('integrity-check')");
        assert_eq!(r.one("SELECT count(*) FROM f WHERE f MATCH 'other'"), Sql::Integer(3000));
        assert_eq!(r.one("SELECT count(*) FROM f WHERE f MATCH 'word77'"), Sql::Integer(1));
    }
}

#[test]
fn what_is_no_trigger_of_a_tracked_table_costs_and_says_nothing() {
    let schema = "CREATE TABLE sale(k TEXT PRIMARY KEY NOT NULL, qty); CREATE TABLE a(x); CREATE TABLE b(x);
        CREATE TRIGGER i AFTER INSERT ON a BEGIN INSERT INTO b VALUES(new.x); END;";
    let (mut a, mut b) = pair(schema, &["sale"]);
    a.run("INSERT INTO sale VALUES('x', 1)");
    sealed(&mut a, &mut b, 1000);
    assert_eq!(said(&b, "sale"), "");
    let temporary = "SELECT count(*) FROM sqlite_temp_schema";
    assert_eq!(b.store.conn.query_row(temporary, [], |row| row.get::<_, i64>(0)).unwrap(), 0);
}
