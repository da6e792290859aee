//! Every answer of the document that its examples do not show, provoked: each on databases of its own.

use std::io::{BufRead as _, BufReader, Lines};
use std::process::{Child, ChildStdout, Command, Stdio};

use crate::session::Session;

/// As the scripts of errors: the last statement answers.
const SCRIPTS: &[&str] = &[
    // p2p_track
    "a CREATE TABLE t(id INTEGER PRIMARY KEY)
     a CREATE TABLE scrap(rowid, _rowid_, oid)
     a CREATE VIRTUAL TABLE doc USING fts5(x)
     a SELECT p2p_track('*')",
    "a CREATE TABLE t(id INTEGER PRIMARY KEY)
     a CREATE TABLE scrap(rowid, _rowid_, oid)
     a SELECT p2p_track('*')
     a SELECT p2p_track('*')",
    "a SELECT p2p_track('*')",
    "a CREATE TABLE t(id INTEGER PRIMARY KEY)
     a BEGIN
     a SELECT p2p_track('t')",
    "a PRAGMA locking_mode=EXCLUSIVE
     a CREATE TABLE t(id INTEGER PRIMARY KEY)
     a SELECT p2p_track('t')",
    // p2p_untrack
    "a SELECT p2p_untrack('*')",
    "a CREATE TABLE t(id INTEGER PRIMARY KEY)
     a SELECT p2p_track('*')
     a SELECT p2p_untrack('*')",
    // p2p_join
    "a SELECT p2p_track('*')
     a SELECT p2p_invite()
     b SELECT p2p_join('p2pdb1…')",
    "a SELECT p2p_track('*')
     a SELECT p2p_invite()
     b SELECT p2p_join('p2pdb1…')
     b SELECT p2p_join('p2pdb1…')",
    "a CREATE TABLE t(id INTEGER PRIMARY KEY)
     a SELECT p2p_track('*')
     a SELECT p2p_invite()
     b CREATE TABLE t(id INTEGER PRIMARY KEY)
     b INSERT INTO t VALUES(1)
     b SELECT p2p_join('p2pdb1…')
     b SELECT p2p_sync(30000)
     b SELECT p2p_join('p2pdb1…', '{\"existing\":\"merge\"}')",
    "a SELECT p2p_track('*')
     a SELECT p2p_invite()
     b SELECT p2p_join('p2pdb1…')
     b SELECT p2p_join('p2pdb1…', '{\"existing\":\"merge\"}')",
    // p2p_sync
    "a SELECT p2p_track('*')
     a SELECT p2p_invite()
     b SELECT p2p_join('p2pdb1…')
     b SELECT p2p_sync(30000)",
    "a CREATE TABLE t(id INTEGER PRIMARY KEY)
     a SELECT p2p_track('*')
     a SELECT p2p_invite()
     b SELECT p2p_join('p2pdb1…')
     b SELECT p2p_sync(30000)
     a BEGIN
     a SELECT count(*) FROM t
     w INSERT INTO t VALUES(1)
     b SELECT p2p_sync(30000)",
    "a SELECT p2p_track('*')
     a SELECT p2p_invite()
     a SELECT p2p_sync()",
    "a SELECT p2p_track('*')
     a SELECT p2p_sync()",
    "a SELECT p2p_track('*')
     a SELECT p2p_invite()
     a SELECT p2p_config('network', 'off')
     a SELECT p2p_sync()",
    "m SELECT p2p_track('*')
     m SELECT p2p_sync()",
];

/// All lines that the scripts, and those that need more than a statement, end in.
pub(crate) fn all() -> Vec<String> {
    let scripts = SCRIPTS.iter().flat_map(|script| last(&mut Session::begin(), script));
    scripts.chain(without_keys()).chain(beside_another_process()).chain(conflicts_ended()).collect()
}

fn last(session: &mut Session, script: &str) -> Vec<String> {
    let lines = script.lines().map(str::trim).filter(|line| !line.is_empty());
    let mut answer = Vec::new();
    for (database, sql) in lines.map(|line| line.split_at(2)) {
        answer = session.say(database.chars().next().unwrap(), sql);
        let is_error = answer.iter().any(|line| line.starts_with("error: "));
        assert!(!is_error, "{answer:?} from {sql} of\n{script}");
    }
    answer
}

fn without_keys() -> Vec<String> {
    let mut session = Session::begin();
    last(
        &mut session,
        "a SELECT p2p_track('*')
         a SELECT p2p_invite()
         b SELECT p2p_join('p2pdb1…')
         b SELECT p2p_sync(30000)",
    );
    session.close('b');
    std::fs::remove_file(session.folder().join("b.db-p2pdb")).unwrap();
    last(&mut session, "b SELECT p2p_join('p2pdb1…')")
}

/// Serves a database until it is dropped.
struct Server {
    child: Child,
    /// Kept open: a program that can't say what it does may end.
    _told: Lines<BufReader<ChildStdout>>,
    listen: String,
}

impl Server {
    fn begin(session: &Session, database: &str) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_p2pdb"));
        command.current_dir(session.folder()).args(["serve", "--json", database]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let listen = lines.find_map(|line| {
            let event: serde_json::Value = serde_json::from_str(&line.unwrap()).unwrap();
            event["listen"].as_str().filter(|listen| !listen.is_empty()).map(str::to_owned)
        });
        Self { child, _told: lines, listen: listen.expect("the server ended before it listened") }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn beside_another_process() -> Vec<String> {
    let mut session = Session::begin();
    last(
        &mut session,
        "a SELECT p2p_track('*')
         a SELECT p2p_invite()",
    );
    session.close('a');
    let server = Server::begin(&session, "a.db");
    let mut answers = last(&mut session, "a SELECT p2p_sync()");
    answers.extend(last(&mut session, "a SELECT p2p_connect('127.0.0.1:1')"));
    last(
        &mut session,
        "a SELECT p2p_invite()
         b SELECT p2p_join('p2pdb1…')",
    );
    answers.extend(last(&mut session, &format!("b SELECT p2p_connect('{}')", server.listen)));
    answers
}

/// Whoever wrote first: each has what the other wrote as a conflict, or both have one of the two.
fn conflicts_ended() -> Vec<String> {
    let insert = "CREATE TABLE t(id TEXT PRIMARY KEY, code TEXT); INSERT INTO t VALUES('x', 'c')";
    let updated = || Session::apart(insert, "UPDATE t SET code = 'a'", "UPDATE t SET code = 'm'");
    let deleted = || Session::apart(insert, "DELETE FROM t", "UPDATE t SET code = 'm'");
    let schema = "CREATE TABLE person(id INTEGER PRIMARY KEY); INSERT INTO person VALUES(1), (2);
        CREATE TABLE passport(no TEXT PRIMARY KEY, person INTEGER NOT NULL UNIQUE REFERENCES person(id))";
    let passport = |no: &str| format!("INSERT INTO passport VALUES('{no}', 1)");
    let hidden = || Session::apart(schema, &passport("A"), &passport("M"));
    let end = |mut session: Session, before: &str, choice: &str| {
        let resolve = format!("m SELECT p2p_resolve(id, '{choice}') FROM p2p_conflicts LIMIT 1");
        last(&mut session, &format!("{before}\n{resolve}"))
    };
    let room = "m UPDATE passport SET person = 2";
    let ended = [
        end(updated(), "", "lost"),
        end(updated(), "", "kept"),
        end(deleted(), "", "lost"),
        end(deleted(), "", "kept"),
        end(hidden(), room, "lost"),
        end(hidden(), "", "kept"),
    ];
    ended.concat()
}
