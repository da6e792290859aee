//! A tracked table answers its writers as an untracked one does.
//!
//! Updates are of one row each: SQL leaves open in which order rows are updated, SQLite chooses another one where a table has
//! triggers, and what OR FAIL, IGNORE and REPLACE leave behind depends on it.

use rusqlite::Connection;
use rusqlite::types::Value;

use crate::random::Random;
use crate::{Options, define, schema, statement};
use p2pdb::store::create_private_tables;

/// What a host can see of a statement: rows, or code and text of the error; then what SQLite counts.
fn answer(conn: &Connection, sql: &str, args: &[Value]) -> (Result<Vec<Vec<Value>>, String>, i64, u64, bool) {
    let rows = (|| {
        let mut statement = conn.prepare(sql)?;
        let n = statement.column_count();
        let mut rows = statement.query(rusqlite::params_from_iter(args))?;
        let mut all = Vec::new();
        while let Some(row) = rows.next()? {
            all.push((0..n).map(|c| row.get(c)).collect::<rusqlite::Result<Vec<Value>>>()?);
        }
        Ok::<_, rusqlite::Error>(all)
    })();
    (rows.map_err(|e| format!("{e:?}")), conn.last_insert_rowid(), conn.changes(), conn.is_autocommit())
}

#[test]
fn rows_codes_and_counts_are_those_of_an_untracked_table_over_2000_statements() {
    let mut count = 0;
    let mut seed = 0;
    while count < 2_000 {
        seed += 1;
        let mut r = Random::new(seed);
        let options = Options { foreign_keys: r.half(), triggers: false, raise_ignore: false };
        let (tables, triggers) = schema::legal(&mut r, options);
        let pair = [Connection::open_in_memory().unwrap(), Connection::open_in_memory().unwrap()];
        for conn in &pair {
            let all = tables.iter().flat_map(|t| &t.ddl).chain(&triggers);
            all.for_each(|sql| conn.execute_batch(sql).unwrap());
        }
        create_private_tables(&pair[0]).unwrap();
        define::track_all(&pair[0]).unwrap();
        // Tracking inserts rows of its own; from here on both count alike.
        pair.iter().for_each(|c| c.execute_batch("CREATE TEMP TABLE zero(x); INSERT INTO zero VALUES(1)").unwrap());
        for _ in 0..50 {
            count += 1;
            let (sql, args) = match r.percent() {
                0..6 => ("BEGIN".into(), Vec::new()),
                6..10 => ("COMMIT".into(), Vec::new()),
                10..13 => ("ROLLBACK".into(), Vec::new()),
                13..45 => {
                    let table = r.of(&tables);
                    statement::update_one(&mut r, table)
                }
                _ => loop {
                    let any = statement::any(&mut r, &tables);
                    if !any.0.starts_with("UPDATE") && !any.0.contains("DO UPDATE") {
                        break any;
                    }
                },
            };
            let [mut tracked, plain] = [&pair[0], &pair[1]].map(|c| answer(c, &sql, &args));
            let failed = |text: &str| plain.0.as_ref().is_err_and(|e| e.contains(text));
            // A user's triggers that recurse end at the same depth, but the last step differs: see the known hole.
            if failed("too many levels") {
                break;
            }
            // STRICT: with a BEFORE trigger on the table types are checked before other constraints, so a row that breaks two
            // is refused for its type, whatever the statement's OR says of the other one.
            if tracked != plain && tracked.0.as_ref().is_err_and(|e| e.contains("cannot store")) {
                break;
            }
            // The other difference that any trigger makes: with a trigger on the table SQLite asks its foreign keys when
            // the row is in, and not before, so last_insert_rowid() of an INSERT that they refuse is that row's.
            if failed("FOREIGN KEY") {
                tracked.1 = plain.1;
                pair.iter().for_each(|c| c.execute_batch("INSERT INTO zero VALUES(1)").unwrap());
            }
            // A NaN never comes out of SQLite: rows can be compared as they are.
            assert_eq!(tracked, plain, "seed {seed}: {sql} {args:?}");
        }
    }
}
