//! The command line, run as a user runs it: a program, its exit code, its JSON.
#![allow(clippy::unwrap_used, reason = "a test stops where its stage can not be set")]

#[path = "cli/harness.rs"]
mod harness;

use harness::{Bench, sale};
use std::time::Duration;

#[test]
fn track_tells_of_each_table() {
    let bench = Bench::new();
    sale(&bench.file("a.db"));
    let told = bench.ok(&["track", "a.db"]);
    let table = &told["tables"][0];
    assert_eq!((table["name"].as_str(), table["rows"].as_i64()), (Some("sale"), Some(1)), "{told}");
    assert_eq!(bench.ok(&["verify", "a.db"])["ok"], true);
}

#[test]
fn track_takes_single_tables() {
    let bench = Bench::new();
    sale(&bench.file("a.db")).execute_batch("CREATE TABLE note(id INTEGER PRIMARY KEY, text TEXT)").unwrap();
    let told = bench.ok(&["track", "a.db", "note"]);
    assert_eq!(told["tables"].as_array().map(Vec::len), Some(1), "{told}");
    assert_eq!(told["tables"][0]["name"], "note");
    let why = bench.fails(&["track", "a.db", "none"], 1);
    assert!(why.contains("\"none\" does not exist") && why.contains("create it"), "{why}");
}

#[test]
fn a_file_that_is_not_there_or_no_database_is_named_with_a_remedy() {
    let bench = Bench::new();
    for command in ["track", "invite", "serve", "status", "peers", "log", "verify"] {
        let why = bench.fails(&[command, "none.db"], 1);
        assert!(why.contains("none.db: there is no such file; name a database"), "{command}: {why}");
        assert!(!bench.file("none.db").exists(), "{command} left a file behind");
    }
    std::fs::write(bench.file("text.db"), "this is text and not a database, and longer than a header").unwrap();
    let why = bench.fails(&["status", "text.db"], 1);
    assert!(why.contains("text.db: file is not a database; name an SQLite file"), "{why}");
}

#[test]
fn called_wrongly_it_exits_with_2() {
    let bench = Bench::new();
    assert_eq!(bench.run(&["nonsense"], "").code, 2);
    assert_eq!(bench.run(&["track"], "").code, 2);
    let told = bench.run(&["join", "b.db", "-"], "  \n");
    assert_eq!(told.code, 2, "{told:?}");
    assert!(told.stdout.contains("pipe it in"), "{told:?}");
}

#[test]
fn what_is_missing_is_said_with_what_to_do() {
    let bench = Bench::new();
    sale(&bench.file("a.db"));
    let status = bench.ok(&["status", "a.db"]);
    assert_eq!(status["state"], "unjoined", "{status}");
    assert!(status["detail"].as_str().unwrap().contains("p2p_track"), "{status}");
    let why = bench.fails(&["serve", "a.db"], 1);
    assert!(why.contains("p2pdb track"), "{why}");
    let why = bench.fails(&["invite", "a.db"], 1);
    assert!(why.contains("p2p_track"), "{why}");
    let why = bench.fails(&["join", "b.db", "nonsense"], 1);
    assert!(why.contains("p2p_join: "), "{why}");
}

#[test]
fn answers_for_people_are_tables_and_control_characters_do_nothing() {
    let bench = Bench::new();
    sale(&bench.file("a.db")).execute_batch("CREATE TABLE \"e\u{1b}[31mvil\"(id INTEGER PRIMARY KEY)").unwrap();
    bench.ok(&["track", "a.db"]);
    let told = bench.run_plain(&["status", "a.db"], "");
    assert_eq!(told.code, 0, "{told:?}");
    assert!(told.stdout.contains("group id") && told.stdout.contains("sale"), "{}", told.stdout);
    assert!(!told.stdout.contains('\u{1b}') && told.stdout.contains("\\u{1b}"), "{}", told.stdout);
    let log = bench.run_plain(&["log", "a.db"], "");
    assert!(log.stdout.starts_with(" n  time UTC") || log.stdout.starts_with("n  time UTC"), "{}", log.stdout);
}

#[test]
fn who_joins_has_the_rows() {
    let bench = Bench::new();
    sale(&bench.file("a.db"));
    bench.ok(&["track", "a.db"]);
    let mut server = bench.serve(&["a.db"]);
    let ticket = bench.ok(&["invite", "a.db"])["ticket"].as_str().unwrap().to_owned();
    server.until("it listens", |e| e["event"] == "listening" && e["listen"] != "");
    let joined = bench.run(&["join", "b.db", "-"], &ticket);
    assert_eq!(joined.code, 0, "{joined:?}");
    let joined = joined.json();
    assert!(joined["sync"].as_str().unwrap().starts_with("level with 1 peer"), "{joined}");
    assert_eq!(joined["tables"][0]["rows"], 1, "{joined}");
    let peers = bench.ok(&["peers", "b.db"]);
    assert_eq!(peers[0]["state"], "level", "{peers}");
    let (ours, theirs) = (bench.ok(&["log", "a.db"]), bench.ok(&["log", "b.db"]));
    let hashes =
        |log: &serde_json::Value| log.as_array().unwrap().iter().map(|e| e["hash"].clone()).collect::<Vec<_>>();
    assert!(!hashes(&ours).is_empty());
    assert_eq!(hashes(&ours), hashes(&theirs));
    assert_eq!(bench.ok(&["log", "b.db", "--number", "1"]).as_array().map(Vec::len), Some(1));
    for file in ["a.db", "b.db"] {
        assert_eq!(bench.ok(&["verify", file])["ok"], true);
    }
    assert_eq!(bench.ok(&["status", "a.db"])["state"], "follower");
    assert_eq!(server.stop("TERM"), 0);
}

#[test]
fn one_process_serves_several_files_and_carries_what_strangers_write() {
    let bench = Bench::new();
    sale(&bench.file("a.db"));
    bench.ok(&["track", "a.db"]);
    let ticket = bench.ok(&["invite", "a.db"])["ticket"].as_str().unwrap().to_owned();
    assert_eq!(bench.run(&["join", "b.db", "-", "--no-wait"], &ticket).code, 0);
    // A file that is named twice is served once.
    let mut server = bench.serve(&["a.db", "b.db", "./a.db"]);
    server.until("b has what a had", |e| e["file"] == "b.db" && e["event"] == "state" && e["state"] == "level");
    // Plain SQLite: no functions, no tables of ours.
    let writer = rusqlite::Connection::open(bench.file("a.db")).unwrap();
    writer.busy_timeout(Duration::from_secs(10)).unwrap();
    writer.execute("INSERT INTO sale(item, qty) VALUES('tea', 2)", []).unwrap();
    server.until("a's change is sealed", |e| e["file"] == "a.db" && e["event"] == "sealed");
    server.until("and merged by b", |e| e["file"] == "b.db" && e["event"] == "merged" && e["changes"] == 1);
    let reader = rusqlite::Connection::open(bench.file("b.db")).unwrap();
    let items: Vec<String> = reader
        .prepare("SELECT item FROM sale ORDER BY id")
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    assert_eq!(items, ["coffee", "tea"]);
    assert_eq!(server.stop("INT"), 0);
}

#[test]
fn a_file_that_leaves_its_group_does_not_end_the_service_of_others() {
    let bench = Bench::new();
    for file in ["a.db", "b.db"] {
        sale(&bench.file(file));
        bench.ok(&["track", file]);
    }
    let mut server = bench.serve(&["a.db", "b.db"]);
    server.until("b is looked at", |e| e["file"] == "b.db" && e["event"] == "state");
    let leaving = p2pdb::surface::open(&bench.file("a.db")).unwrap();
    leaving.busy_timeout(Duration::from_secs(10)).unwrap();
    leaving.query_row("SELECT p2p_leave()", [], |_| Ok(())).unwrap();
    server.until("a is in no group", |e| e["file"] == "a.db" && e["state"] == "unjoined");
    let writer = rusqlite::Connection::open(bench.file("b.db")).unwrap();
    writer.busy_timeout(Duration::from_secs(10)).unwrap();
    writer.execute("INSERT INTO sale(item, qty) VALUES('tea', 2)", []).unwrap();
    server.until("b's change is sealed", |e| e["file"] == "b.db" && e["event"] == "sealed" && e["changes"] == 1);
    assert_eq!(server.stop("TERM"), 0);
}

#[test]
fn a_join_in_vain_says_what_to_do_and_stays_joined() {
    let bench = Bench::new();
    sale(&bench.file("a.db"));
    bench.ok(&["track", "a.db"]);
    let ticket = bench.ok(&["invite", "a.db"])["ticket"].as_str().unwrap().to_owned();
    let told = bench.run(&["join", "b.db", &ticket, "--timeout", "1"], "");
    assert_eq!(told.code, 1, "{told:?}");
    let why = told.json()["error"].as_str().unwrap().to_owned();
    assert!(why.starts_with("joined, but nothing new came for 1 s") && why.contains("p2pdb serve b.db"), "{why}");
    let ours = bench.ok(&["status", "a.db", "--wait-ms", "0"]);
    let theirs = bench.ok(&["status", "b.db", "--wait-ms", "0"]);
    assert_eq!(ours["group_id"], theirs["group_id"]);
}
