//! Every error of the document, provoked: each on databases of its own, so that none stands in another's way.

use crate::session::Session;

/// A line is a database's letter and a statement; the last one must end in an error.
const SCRIPTS: &[&str] = &[
    // p2p_track
    "a SELECT p2p_track('sale')",
    "a SELECT * FROM p2p_track",
    "a CREATE VIEW v AS SELECT 1
     a SELECT p2p_track('v')",
    "a CREATE VIRTUAL TABLE doc USING fts5(text)
     a SELECT p2p_track('doc')",
    "a CREATE VIRTUAL TABLE doc USING fts5(text)
     a SELECT p2p_track('doc_content')",
    "a CREATE TEMP TABLE t(id INTEGER PRIMARY KEY)
     a SELECT p2p_track('t')",
    "a CREATE TABLE t(id INTEGER PRIMARY KEY AUTOINCREMENT)
     a SELECT p2p_track('sqlite_sequence')",
    "a SELECT p2p_track('*')
     a SELECT p2p_track('_p2p_mark')",
    "a CREATE TABLE t(id INTEGER PRIMARY KEY, x)
     a SELECT p2p_track('*')
     a SELECT p2p_config('network', 'off')
     a SELECT p2p_invite()
     a SELECT p2p_seal()
     m CREATE TABLE t(id INTEGER PRIMARY KEY, y)
     m SELECT p2p_join('p2pdb1…')
     a ATTACH './stick.db' AS s
     a CREATE TABLE s.mail AS SELECT entry FROM p2p_log
     m ATTACH './stick.db' AS s
     m INSERT INTO p2p_log(entry) SELECT entry FROM s.mail
     m SELECT p2p_sync()
     m SELECT p2p_track('t')",
    "a SELECT p2p_track('*', '{\"x\":1}')",
    "a CREATE TABLE t(id INTEGER PRIMARY KEY)
     a SELECT p2p_track('t', '{\"x\":1}')",
    "a CREATE TABLE t(id INTEGER PRIMARY KEY)
     a SELECT p2p_track('t', 'x')",
    "a CREATE TABLE t(id INTEGER PRIMARY KEY)
     a SELECT p2p_track('t', '{\"key\":\"uuid\"}')",
    "a CREATE TABLE t(id TEXT PRIMARY KEY)
     a SELECT p2p_track('t', '{\"key\":\"natural\"}')",
    "a CREATE TABLE t(id INTEGER PRIMARY KEY)
     a SELECT p2p_track('t')
     a SELECT p2p_track('t', '{\"key\":\"natural\"}')",
    "a SELECT p2p_track(1)",
    "a SELECT p2p_track('t', 1)",
    // p2p_untrack
    "a SELECT p2p_untrack('t')",
    "a SELECT p2p_untrack(NULL)",
    // p2p_invite
    "a SELECT p2p_invite()",
    "a SELECT p2p_invite('reader')",
    "a SELECT p2p_invite(1)",
    "a SELECT p2p_track('*')
     a BEGIN
     a SELECT p2p_invite()",
    // p2p_join
    "a SELECT p2p_join('hello')",
    "a SELECT p2p_join('p2pdb1abc')",
    "a SELECT p2p_join('p2pdb1a*c')",
    "a SELECT p2p_join(1)",
    "a SELECT p2p_track('*')
     a SELECT p2p_invite()
     b CREATE TABLE t(id INTEGER PRIMARY KEY)
     b INSERT INTO t VALUES(1)
     b SELECT p2p_track('*')
     b SELECT p2p_join('p2pdb1…')",
    "a SELECT p2p_track('*')
     a SELECT p2p_invite()
     b SELECT p2p_join('p2pdb1…', 'merge')",
    "a SELECT p2p_track('*')
     a SELECT p2p_invite()
     b SELECT p2p_join('p2pdb1…', '{\"existing\":\"overwrite\"}')",
    "a SELECT p2p_track('*')
     a SELECT p2p_invite()
     b BEGIN
     b SELECT p2p_join('p2pdb1…')",
    // p2p_leave
    "a BEGIN
     a SELECT p2p_leave()",
    // p2p_seal, p2p_sync, p2p_wait
    "a SELECT p2p_seal()",
    "a SELECT p2p_sync()",
    "a SELECT p2p_wait()",
    "a SELECT p2p_track('*')
     a BEGIN
     a SELECT p2p_seal()",
    "a SELECT p2p_track('*')
     a BEGIN
     a SELECT p2p_sync()",
    "a SELECT p2p_track('*')
     a BEGIN
     a SELECT p2p_wait()",
    "a SELECT p2p_sync(-1)",
    "a SELECT p2p_sync('1 s')",
    "a SELECT p2p_wait(-1)",
    "a SELECT p2p_wait(0.5)",
    "m SELECT p2p_track('*')
     m SELECT p2p_wait(0)",
    "a CREATE TABLE t(id INTEGER PRIMARY KEY)
     a SELECT p2p_track('*')
     a SELECT p2p_seal()
     x BEGIN
     x SELECT count(*) FROM t
     w INSERT INTO t VALUES(1)
     a SELECT p2p_sync(100)",
    // p2p_listen, p2p_connect
    "a SELECT p2p_track('*')
     a SELECT p2p_invite()
     a SELECT p2p_listen('here')",
    "a SELECT p2p_listen('127.0.0.1:0')",
    "m SELECT p2p_listen('127.0.0.1:0')",
    "a SELECT p2p_listen(4001)",
    "a SELECT p2p_track('*')
     a SELECT p2p_invite()
     a SELECT p2p_connect('127.0.0.1:1')",
    "a SELECT p2p_track('*')
     a SELECT p2p_invite()
     a SELECT listen FROM p2p_status
     a SELECT p2p_connect('/ip4/127.…')",
    "a SELECT p2p_track('*')
     a SELECT p2p_invite()
     a SELECT p2p_connect('there')",
    "a SELECT p2p_track('*')
     a SELECT p2p_invite()
     a SELECT p2p_config('network', 'off')
     a SELECT p2p_connect('127.0.0.1:1')",
    "a SELECT p2p_connect('127.0.0.1:1')",
    "a SELECT p2p_track('*')
     a SELECT p2p_invite()
     a BEGIN
     a SELECT p2p_listen('127.0.0.1:0')",
    "a SELECT p2p_track('*')
     a SELECT p2p_invite()
     a BEGIN
     a SELECT p2p_connect('127.0.0.1:1')",
    "m SELECT p2p_connect('127.0.0.1:1')",
    "a SELECT p2p_connect(NULL)",
    // p2p_config
    "a SELECT p2p_config('colour')",
    "a SELECT p2p_track('*')
     a SELECT p2p_config('network', 'maybe')",
    "a SELECT p2p_config(1)",
    "a SELECT p2p_track('*')
     a SELECT p2p_config('linger_ms', 250)",
    // p2p_resolve
    "a SELECT p2p_track('*')
     a SELECT p2p_resolve(1, 'kept')",
    "a SELECT p2p_resolve(1, 'won')",
    "a SELECT p2p_resolve('1', 'kept')",
    "a SELECT p2p_resolve(1, 0)",
    // p2p_why
    "a SELECT p2p_track('*')
     a SELECT p2p_why('sale', 1)",
    "a CREATE TABLE t(x INT, y INT, PRIMARY KEY(x, y))
     a SELECT p2p_track('*')
     a SELECT p2p_why('t', 1)",
    "a SELECT p2p_why('t')",
    "a SELECT p2p_why('t', 1)",
    "a SELECT p2p_why()",
    "a SELECT p2p_why(1, 1)",
    // p2p_verify, p2p_log
    "a SELECT p2p_verify()",
    "m SELECT p2p_track('*')
     m INSERT INTO p2p_log(entry) VALUES('text')",
    "m SELECT p2p_track('*')
     m INSERT INTO p2p_log(seq, entry) VALUES(1, x'00')",
    "a INSERT INTO p2p_log(entry) VALUES(x'00')",
    "m SELECT p2p_track('*')
     m INSERT INTO p2p_log(entry) VALUES(x'0102')",
    "a CREATE TABLE t(id INTEGER PRIMARY KEY)
     a SELECT p2p_track('*')
     a SELECT p2p_seal()
     a ATTACH './stick.db' AS s
     a CREATE TABLE s.mail AS SELECT entry FROM p2p_log
     m SELECT p2p_track('*')
     m ATTACH './stick.db' AS s
     m INSERT INTO p2p_log(entry) SELECT entry FROM s.mail",
    "a CREATE TABLE t(id INTEGER PRIMARY KEY)
     a SELECT p2p_track('*')
     a SELECT p2p_seal()
     a DELETE FROM p2p_log",
    "a CREATE TABLE t(id INTEGER PRIMARY KEY)
     a SELECT p2p_track('*')
     a SELECT p2p_seal()
     a UPDATE p2p_log SET seq = 2",
    // any
    "a CREATE TABLE t(id INTEGER PRIMARY KEY)
     a SELECT p2p_track('*')
     a SELECT p2p_seal()
     x BEGIN
     x SELECT count(*) FROM t
     w INSERT INTO t VALUES(1)
     a SELECT p2p_seal()",
    "a SELECT p2p_seal(1)",
    "a CREATE VIEW v AS SELECT p2p_seal()
     a SELECT * FROM v",
    "a CREATE VIEW v AS SELECT * FROM p2p_status
     a SELECT * FROM v",
    "a DELETE FROM p2p_status",
];

/// All errors that the scripts end in, without the word error before them.
pub(crate) fn all() -> Vec<String> {
    let mut errors: Vec<_> = SCRIPTS.iter().map(|script| last_error(&mut Session::begin(), script)).collect();
    errors.extend([keys_damaged(), keys_unreadable(), keys_lost(), value_taken(), parent_gone()]);
    errors
}

fn last_error(session: &mut Session, script: &str) -> String {
    let mut answer = Vec::new();
    for line in script.lines().map(str::trim).filter(|l| !l.is_empty()) {
        let (database, sql) = line.split_at(2);
        answer = session.say(database.chars().next().unwrap(), sql);
    }
    let text = answer.join("\n");
    let error = text.strip_prefix("error: ").unwrap_or_else(|| panic!("no error but {text:?} from\n{script}"));
    error.to_owned()
}

fn keys_damaged() -> String {
    let mut session = Session::begin();
    std::fs::write(session.folder().join("a.db-p2pdb"), b"nonsense").unwrap();
    last_error(&mut session, "a SELECT p2p_seal()")
}

/// The file can't be read whoever we are: it is none.
fn keys_unreadable() -> String {
    let mut session = Session::begin();
    std::fs::create_dir(session.folder().join("a.db-p2pdb")).unwrap();
    last_error(
        &mut session,
        "a CREATE TABLE t(id INTEGER PRIMARY KEY)
         a SELECT p2p_track('t')",
    )
}

fn keys_lost() -> String {
    let mut session = Session::begin();
    for sql in ["CREATE TABLE t(id INTEGER PRIMARY KEY)", "SELECT p2p_track('*')", "SELECT p2p_seal()"] {
        session.say('a', sql);
    }
    session.close('a');
    std::fs::remove_file(session.folder().join("a.db-p2pdb")).unwrap();
    last_error(&mut session, "a SELECT p2p_track('*')")
}

fn value_taken() -> String {
    let (schema, insert) = ("CREATE TABLE t(id TEXT PRIMARY KEY, code TEXT UNIQUE)", "INSERT INTO t VALUES");
    let mut session = Session::apart(schema, &format!("{insert}('a', 'X')"), &format!("{insert}('m', 'X')"));
    last_error(&mut session, "m SELECT p2p_resolve(id, 'lost') FROM p2p_conflicts")
}

fn parent_gone() -> String {
    let schema = "CREATE TABLE person(id INTEGER PRIMARY KEY); INSERT INTO person VALUES(1);
        CREATE TABLE visa(id INTEGER PRIMARY KEY, person INTEGER REFERENCES person(id))";
    let mut session = Session::apart(schema, "DELETE FROM person", "INSERT INTO visa VALUES(7, 1)");
    last_error(&mut session, "m SELECT p2p_resolve(id, 'lost') FROM p2p_conflicts LIMIT 1")
}
