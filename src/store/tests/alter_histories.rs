//! Random histories of tables that several databases alter and write at once: in the end all are the same table with the same rows,
//! nothing is in the log that any of them does not show or list, and no merge failed.

use super::*;
use std::fmt::Write as _;

/// A small generator: a seed replays a history.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        // SplitMix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }

    fn pick<'a, T: ?Sized>(&mut self, all: &[&'a T]) -> &'a T {
        all[self.below(all.len() as u64) as usize]
    }
}

const SCHEMAS: [&str; 4] = [
    "CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT, b INTEGER, c)",
    "CREATE TABLE t(k TEXT PRIMARY KEY NOT NULL, a TEXT, b INTEGER, c) WITHOUT ROWID",
    "CREATE TABLE t(k TEXT NOT NULL, n INTEGER NOT NULL, a, b REAL, PRIMARY KEY(k, n))",
    "CREATE TABLE t(id INTEGER PRIMARY KEY AUTOINCREMENT, a TEXT UNIQUE, b INTEGER DEFAULT 7, c NUMERIC)",
];

const TYPES: [&str; 6] = ["TEXT", "INTEGER", "REAL", "", "NUMERIC", "VARCHAR(9)"];
const DEFAULTS: [&str; 6] = ["", "DEFAULT 5", "DEFAULT 'x'", "NOT NULL DEFAULT 0", "DEFAULT '7'", "DEFAULT NULL"];

/// Columns that do not belong to the key.
fn columns(r: &Replica) -> Vec<String> {
    let found = r.rows("SELECT name FROM pragma_table_info('t') WHERE pk = 0");
    found.into_iter().filter_map(|row| if let Sql::Text(name) = &row[0] { Some(name.clone()) } else { None }).collect()
}

fn value(random: &mut Random) -> String {
    match random.below(7) {
        0 => "NULL".into(),
        1 => format!("{}", random.below(9)),
        2 => format!("{}.5", random.below(9)),
        3 => format!("'{}'", random.below(9)),
        4 => "x'00ff'".into(),
        _ => format!("'v{}'", random.below(99)),
    }
}

fn write(r: &Replica, random: &mut Random) -> String {
    let (columns, is_alias) = (
        columns(r),
        r.one("SELECT count(*) FROM pragma_table_info('t') WHERE pk > 0 AND name = 'id'") == Sql::Integer(1),
    );
    let has_n = r.one("SELECT count(*) FROM pragma_table_info('t') WHERE pk > 0 AND name = 'n'") == Sql::Integer(1);
    let key = |random: &mut Random| match (is_alias, has_n) {
        (true, _) => format!("id = {}", random.below(6) + 1),
        (_, true) => format!("k = 'k{}' AND n = {}", random.below(3), random.below(2)),
        _ => format!("k = 'k{}'", random.below(5)),
    };
    let column = columns.get(random.below(columns.len().max(1) as u64) as usize);
    match (random.below(6), column) {
        (0, _) => format!("DELETE FROM t WHERE {}", key(random)),
        (1 | 2, Some(column)) => {
            format!("UPDATE OR IGNORE t SET \"{column}\" = {} WHERE {}", value(random), key(random))
        }
        _ => {
            let key = key(random).replace(" AND ", ", ");
            let (mut names, mut values) = (Vec::new(), Vec::new());
            for part in key.split(", ") {
                let (name, value) = part.split_once(" = ").unwrap();
                names.push(name.to_owned());
                values.push(value.to_owned());
            }
            for column in &columns {
                if random.below(3) == 0 {
                    continue;
                }
                names.push(format!("\"{column}\""));
                values.push(value(random));
            }
            format!("INSERT OR IGNORE INTO t({}) VALUES({})", names.join(", "), values.join(", "))
        }
    }
}

fn alter(r: &Replica, random: &mut Random) -> String {
    let columns = columns(r);
    let column = columns.get(random.below(columns.len().max(1) as u64) as usize).cloned();
    let new = format!("c{}", random.below(5));
    match (random.below(8), column) {
        (0, Some(column)) => format!("ALTER TABLE t DROP COLUMN \"{column}\""),
        (1 | 2, Some(column)) => format!("ALTER TABLE t RENAME COLUMN \"{column}\" TO \"{new}\""),
        (3, Some(column)) => {
            let unique = random.pick(&["", "", "UNIQUE"]);
            format!("CREATE {unique} INDEX IF NOT EXISTS \"i_{column}\" ON t(\"{column}\")")
        }
        (4, Some(column)) => format!("DROP INDEX IF EXISTS \"i_{column}\""),
        (5, Some(column)) => retyped(r, random, &column),
        _ => format!("ALTER TABLE t ADD COLUMN \"{new}\" {} {}", random.pick(&TYPES), random.pick(&DEFAULTS)),
    }
}

/// The rebuild that gives a column another type.
fn retyped(r: &Replica, random: &mut Random, column: &str) -> String {
    let Sql::Text(sql) = r.one("SELECT sql FROM sqlite_schema WHERE type = 'table' AND name = 't'") else {
        return String::new();
    };
    let info = r.rows("SELECT name, type, \"notnull\", dflt_value, pk FROM pragma_table_info('t') ORDER BY cid");
    let mut parts = Vec::new();
    for row in &info {
        let [Sql::Text(name), Sql::Text(declared), not_null, default, pk] = &row[..] else { continue };
        let declared = if name == column { random.pick(&TYPES).to_owned() } else { declared.clone() };
        let mut part = format!("\"{name}\" {declared}");
        if *pk == Sql::Integer(1) && name == "id" {
            part += " PRIMARY KEY";
            if sql.contains("AUTOINCREMENT") {
                part += " AUTOINCREMENT";
            }
        }
        if *not_null == Sql::Integer(1) {
            part += " NOT NULL";
        }
        if let Sql::Text(default) = default {
            let _ = write!(part, " DEFAULT {default}");
        }
        parts.push(part);
    }
    let keys = r.rows("SELECT name FROM pragma_table_info('t') WHERE pk > 0 AND name <> 'id' ORDER BY pk");
    let keys: Vec<_> =
        keys.iter().filter_map(|k| if let Sql::Text(k) = &k[0] { Some(k.as_str()) } else { None }).collect();
    if !keys.is_empty() {
        parts.push(format!("PRIMARY KEY({})", keys.join(", ")));
    }
    let end = if sql.ends_with("WITHOUT ROWID") { " WITHOUT ROWID" } else { "" };
    format!(
        "BEGIN; CREATE TABLE new__t({}){end}; INSERT INTO new__t SELECT * FROM t; DROP TABLE t; ALTER TABLE new__t RENAME TO t; COMMIT",
        parts.join(", ")
    )
}

/// The table as one would compare it: its columns by name, each row with its columns in that order.
fn shown(r: &Replica) -> (Vec<Vec<Sql>>, Vec<Vec<Sql>>) {
    let columns = r.rows("SELECT name, type, \"notnull\", pk > 0 FROM pragma_table_info('t') ORDER BY name");
    let names: Vec<String> = columns
        .iter()
        .map(|c| if let Sql::Text(name) = &c[0] { format!("\"{name}\"") } else { String::new() })
        .collect();
    let rows = r.rows(&format!("SELECT {} FROM t ORDER BY {}", names.join(", "), names.join(", ")));
    (columns, rows)
}

fn history(seed: u64) {
    let trace = std::env::var("P2PDB_ALTER_TRACE").is_ok();
    let mut random = Random(seed);
    let schema = random.pick(&SCHEMAS);
    let mut all = vec![Replica::new(1, schema, &["t"])];
    all.extend((2..=2 + random.below(2) as u8).map(|n| Replica::new(n, "", &[])));
    all[0].seal(1000);
    let first = all[0].entries();
    all[1..].iter_mut().for_each(|r| r.take_entries(&first));
    let mut ms = 1000;
    for _ in 0..10 + random.below(40) {
        let at = random.below(all.len() as u64) as usize;
        ms += random.below(3);
        match random.below(10) {
            0..=4 => run(&all[at], &write(&all[at], &mut random), at, trace),
            5 | 6 => run(&all[at], &alter(&all[at], &mut random), at, trace),
            7 => all[at].seal(ms),
            _ => {
                let from = random.below(all.len() as u64) as usize;
                if from != at {
                    if trace {
                        eprintln!("{from} -> {at}");
                    }
                    let entries = all[from].entries();
                    all[at].seal(ms);
                    all[at].take_entries(&entries);
                }
            }
        }
        // Rows that are not sealed yet are no damage; a sum that is not what it sums up is.
        for (n, r) in all.iter().enumerate() {
            let findings = r.view(|view| view.verify()).unwrap();
            assert!(!findings.contains(&Finding::Digest), "seed {seed}, replica {n}");
        }
    }
    for round in 0..3 {
        for r in &mut all {
            ms += 1;
            r.seal(ms);
        }
        let logs: Vec<_> = all.iter().map(Replica::entries).collect();
        for r in &mut all {
            logs.iter().for_each(|log| r.take_entries(log));
        }
        if trace {
            eprintln!("met, round {round}: {:?}", logs.iter().map(Vec::len).collect::<Vec<_>>());
        }
    }
    for (n, r) in all.iter().enumerate() {
        assert_eq!(
            r.rows("SELECT state, note FROM _p2p_table"),
            [[Sql::Integer(1), Sql::Text(String::new())]],
            "seed {seed}, replica {n}"
        );
        assert_eq!(r.view(|view| view.verify()).unwrap(), [], "seed {seed}, replica {n}");
        assert_eq!(r.rows("PRAGMA integrity_check"), [[Sql::Text("ok".into())]], "seed {seed}");
        assert_eq!(shown(r), shown(&all[0]), "seed {seed}, replica {n}");
        assert_eq!(r.store.digest(), all[0].store.digest(), "seed {seed}, replica {n}");
        assert_eq!(r.entries().len(), all[0].entries().len(), "seed {seed}: nobody goes on talking");
    }
}

/// What SQLite refuses is refused, as to any user.
fn run(r: &Replica, sql: &str, at: usize, trace: bool) {
    let outcome = r.user.execute_batch(sql);
    if trace {
        eprintln!("{at}: {sql} {}", outcome.as_ref().err().map(ToString::to_string).unwrap_or_default());
    }
    if outcome.is_err() && !r.user.is_autocommit() {
        r.user.execute_batch("ROLLBACK").unwrap();
    }
}

#[test]
fn tables_altered_and_written_at_once_end_as_one() {
    let seeds = std::env::var("P2PDB_ALTER_SEEDS").unwrap_or("0..40".into());
    let (from, to) = seeds.split_once("..").unwrap();
    let mut failed = Vec::new();
    for seed in from.parse().unwrap()..to.parse().unwrap() {
        if std::panic::catch_unwind(|| history(seed)).is_err() {
            failed.push(seed);
        }
    }
    assert!(failed.is_empty(), "seeds {failed:?}; P2PDB_ALTER_SEEDS=n..m with P2PDB_ALTER_TRACE=1 shows one");
}
