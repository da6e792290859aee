//! `p2pdb demo` in stock shells, with its own story and with a database that somebody brings.
//!
//! Needs the shared library and the `sqlite3` shell: missing, the tests fail and say what to do.
#![allow(clippy::unwrap_used, reason = "a test stops where its stage can not be set")]

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The shared library: the one named, or the newest that was built.
fn extension() -> PathBuf {
    if let Some(named) = std::env::var_os("P2PDB_EXTENSION") {
        return named.into();
    }
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let target = target.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target"));
    let built = ["release", "debug"].map(|profile| target.join(profile).join("libp2pdb.so"));
    let there = built.iter().filter(|path| path.is_file());
    there.max_by_key(|path| path.metadata().and_then(|m| m.modified()).ok()).cloned().unwrap_or_else(|| {
        panic!("the extension is not built; run: cargo build --package p2pdb-ext (P2PDB_EXTENSION names another one)")
    })
}

fn demo(args: &[&str]) -> (Option<i32>, Value, String) {
    let out = Command::new(env!("CARGO_BIN_EXE_p2pdb"))
        .args(["demo", "--json", "--extension"])
        .arg(extension())
        .args(args)
        .output()
        .expect("the command line is built");
    let [stdout, stderr] = [out.stdout, out.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let value = serde_json::from_str(&stdout).unwrap_or_else(|e| panic!("{e}: {stdout}{stderr}"));
    (out.status.code(), value, stderr)
}

#[test]
fn two_stock_shells_and_a_stranger_end_up_with_the_same_rows() {
    let (code, told, stderr) = demo(&[]);
    assert_eq!((code, &told["equal"]), (Some(0), &Value::Bool(true)), "{told:#} {stderr}");
    let table = &told["tables"][0];
    assert_eq!((&table["name"], &table["rows"], &table["cells"]), (&"sale".into(), &5.into(), &20.into()), "{told:#}");
    let typed: Vec<_> = told["steps"].as_array().unwrap().iter().map(|s| s["shell"].as_str().unwrap()).collect();
    assert!(["A", "B", "plain"].iter().all(|who| typed.contains(who)), "{told:#}");
}

#[test]
fn a_database_of_the_users_is_copied_exchanged_and_compared() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("own.db");
    let conn = rusqlite::Connection::open(&file).unwrap();
    conn.execute_batch(
        "CREATE TABLE artist(id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, plays INT);
         CREATE TABLE album(id INTEGER PRIMARY KEY, title VARCHAR(160) COLLATE NOCASE, artist_id INTEGER REFERENCES artist(id));
         CREATE TABLE \"odd \"\" name\"(a TEXT, b BLOB, c REAL, note TEXT, PRIMARY KEY(a, b)) WITHOUT ROWID;
         CREATE TABLE log(line TEXT);
         INSERT INTO artist(name, plays) VALUES('AC/DC', 5), ('Accept', NULL);
         INSERT INTO album(title, artist_id) VALUES('Let There Be Rock', 1), ('Balls to the Wall', 2);
         INSERT INTO \"odd \"\" name\" VALUES('x', x'00ff', 1.5, 'n'), ('y', x'', -0.0, NULL);
         INSERT INTO log VALUES('no key'), ('no key');
         CREATE TABLE taken(rowid, _rowid_, oid);
         INSERT INTO taken VALUES('nothing', 'tells', 'it');",
    )
    .unwrap();
    drop(conn);
    let before = std::fs::read(&file).unwrap();
    let (code, told, stderr) = demo(&[file.to_str().unwrap()]);
    assert_eq!((code, &told["equal"]), (Some(0), &Value::Bool(true)), "{told:#} {stderr}");
    let find = |name: &str| {
        let tables = told["tables"].as_array().unwrap();
        tables.iter().find(|t| t["name"] == name).cloned().unwrap_or_else(|| panic!("{name}: {told:#}"))
    };
    // Both inserted a row under the same new id.
    assert_eq!(find("artist")["rows"], 4, "{told:#}");
    assert_eq!(find("odd \" name")["rows"], 2, "{told:#}");
    assert_eq!((&find("log")["rows"], &find("log")["not_exchanged"]), (&2.into(), &Value::Null), "{told:#}");
    assert!(find("taken")["not_exchanged"].is_string(), "{told:#}");
    assert_eq!(std::fs::read(&file).unwrap(), before, "the original was touched");
    let beside: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|f| f.unwrap().file_name()).collect();
    assert_eq!(beside, ["own.db"], "something was left beside the original");
}

#[test]
fn what_is_missing_on_this_machine_is_said() {
    let run = |args: &[&str]| {
        let out = Command::new(env!("CARGO_BIN_EXE_p2pdb")).arg("demo").args(args).output().unwrap();
        assert_eq!(out.status.code(), Some(1), "{args:?}");
        String::from_utf8_lossy(&out.stderr).into_owned()
    };
    let why = run(&["--extension", "/nowhere/libp2pdb.so"]);
    assert!(why.contains("/nowhere/libp2pdb.so") && why.contains("--extension"), "{why}");
    let so = extension();
    let so = so.to_str().unwrap();
    let why = run(&["--extension", so, "--sqlite3", "/nowhere/sqlite3"]);
    assert!(why.contains("/nowhere/sqlite3") && why.contains("apt-get install sqlite3"), "{why}");
    // Something that is a program and no shell.
    let why = run(&["--extension", so, "--sqlite3", "true"]);
    assert!(why.contains("true"), "{why}");
    let why = run(&["--extension", so, "none.db"]);
    assert!(why.contains("none.db: there is no such file"), "{why}");
}
