//! The databases of the document: one connection each for its whole length, all in one process.

use p2pdb::surface;
use rusqlite::Connection;
use rusqlite::types::ValueRef;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::Step;

/// What is on its way is here by then, on a machine with other work too.
const DEADLINE: Duration = Duration::from_secs(30);

/// Stands for anything within a line.
const ANYTHING: char = '…';

pub(crate) struct Session {
    folder: tempfile::TempDir,
    databases: BTreeMap<char, Connection>,
    /// All that was answered: what an input quotes with `…` is looked up here.
    answers: Vec<String>,
}

impl Session {
    pub(crate) fn begin() -> Self {
        // Cargo sets it: a test must not listen on anything but loopback.
        assert!(std::env::var("P2PDB_LISTEN").is_ok_and(|a| a.starts_with("/ip4/127.")), "run it by cargo");
        Self { folder: tempfile::tempdir().unwrap(), databases: BTreeMap::new(), answers: Vec::new() }
    }

    pub(crate) fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// Runs a step. An error tells what it answered instead.
    pub(crate) fn check(&mut self, step: &Step) -> Result<(), String> {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let answer = self.say(step.database, &step.sql);
            let fits = answer.len() == step.expected.len()
                && step.expected.iter().zip(&answer).all(|(pattern, line)| matches(pattern, line));
            if fits || !step.is_eventual || Instant::now() > deadline {
                let Step { line, database, sql, .. } = step;
                let wrong = format!("line {line}: {database}> {sql}\n{}\n", answer.join("\n"));
                return if fits { Ok(()) } else { Err(wrong) };
            }
            std::thread::park_timeout(Duration::from_millis(5));
        }
    }

    /// The answer, a line each: columns with `|` between them as the shell prints them, or the error.
    pub(crate) fn say(&mut self, database: char, sql: &str) -> Vec<String> {
        let sql = self.fill(sql);
        let conn = self.databases.entry(database).or_insert_with(|| open(self.folder.path(), database));
        // One folder for the document's own ATTACH, whatever the working directory is.
        let sql = sql.replace("'./", &format!("'{}/", self.folder.path().display()));
        let answer = rows(conn, &sql).unwrap_or_else(|why| vec![format!("error: {}", message(why))]);
        let lines: Vec<_> = answer.iter().flat_map(|row| row.split('\n')).map(str::to_owned).collect();
        self.answers.extend(lines.iter().cloned());
        lines
    }

    /// The databases a and m of one group: each wrote something, not knowing of the other's, and m has heard of both.
    pub(crate) fn apart(schema: &str, a_writes: &str, m_writes: &str) -> Self {
        let mut session = Self::begin();
        let carry = |session: &mut Self, stick: &str| {
            session.say('a', "SELECT p2p_seal()");
            session.say('a', &format!("ATTACH './{stick}.db' AS {stick}"));
            session.say('a', &format!("CREATE TABLE {stick}.mail AS SELECT entry FROM p2p_log"));
            session.say('a', &format!("DETACH {stick}"));
            session.say('m', &format!("ATTACH './{stick}.db' AS {stick}"));
            session.say('m', &format!("INSERT INTO p2p_log(entry) SELECT entry FROM {stick}.mail"));
            session.say('m', "SELECT p2p_sync()");
        };
        schema.split(';').for_each(|sql| drop(session.say('a', sql)));
        for sql in ["SELECT p2p_config('network', 'off')", "SELECT p2p_track('*')", "SELECT p2p_invite()"] {
            session.say('a', sql);
        }
        session.say('m', "SELECT p2p_join('p2pdb1…')");
        carry(&mut session, "first");
        session.say('a', a_writes);
        session.say('m', m_writes);
        session.say('m', "SELECT p2p_sync()");
        carry(&mut session, "second");
        session
    }

    /// Closes a database; the next input opens it again.
    pub(crate) fn close(&mut self, database: char) {
        self.databases.remove(&database);
    }

    /// `'p2pdb1…'` in an input stands for the last answer of which it is a pattern.
    fn fill(&self, sql: &str) -> String {
        let fill = |(at, part): (usize, &str)| {
            let is_literal = at % 2 == 1;
            let found = self.answers.iter().rev().find(|a| is_literal && part.contains(ANYTHING) && matches(part, a));
            found.cloned().unwrap_or_else(|| part.to_owned())
        };
        sql.split('\'').enumerate().map(fill).collect::<Vec<_>>().join("'")
    }
}

/// a, b, c are files with the extension, x another connection on the file of a; m is in memory; w is a program that never
/// heard of it, on the file of a.
fn open(folder: &std::path::Path, database: char) -> Connection {
    match database {
        'm' => surface::open(":memory:".as_ref()).unwrap(),
        'w' => Connection::open(folder.join("a.db")).unwrap(),
        'x' => surface::open(&folder.join("a.db")).unwrap(),
        other => surface::open(&folder.join(format!("{other}.db"))).unwrap(),
    }
}

fn rows(conn: &Connection, sql: &str) -> rusqlite::Result<Vec<String>> {
    let mut statement = conn.prepare(sql)?;
    let columns = statement.column_count();
    let mut rows = statement.query([])?;
    let mut lines = Vec::new();
    while let Some(row) = rows.next()? {
        let cells: Vec<_> = (0..columns).map(|at| row.get_ref(at).map(cell)).collect::<rusqlite::Result<_>>()?;
        lines.push(cells.join("|"));
    }
    Ok(lines)
}

fn cell(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Null => String::new(),
        ValueRef::Integer(i) => i.to_string(),
        ValueRef::Real(r) => format!("{r:?}"),
        ValueRef::Text(t) => String::from_utf8_lossy(t).into_owned(),
        ValueRef::Blob(b) => format!("({} bytes)", b.len()),
    }
}

/// What SQLite's error message says, as a shell shows it.
pub(crate) fn message(why: rusqlite::Error) -> String {
    match why {
        rusqlite::Error::SqliteFailure(_, Some(message)) => message,
        rusqlite::Error::SqlInputError { msg, .. } => msg,
        other => other.to_string(),
    }
}

/// Does a line fit a pattern, in which `…` stands for anything?
pub(crate) fn matches(pattern: &str, line: &str) -> bool {
    let mut parts = pattern.split(ANYTHING);
    let Some(mut rest) = line.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let parts: Vec<_> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

#[test]
fn a_pattern_fits_what_it_says() {
    for (pattern, line, fits) in [
        ("ok", "ok", true),
        ("ok", "okay", false),
        ("p2pdb1…", "p2pdb1abc", true),
        ("p2pdb1…", "x p2pdb1abc", false),
        ("a…c…e", "abcde", true),
        ("a…c", "acd", false),
        ("…", "", true),
    ] {
        assert_eq!(matches(pattern, line), fits, "{pattern} {line}");
    }
}
