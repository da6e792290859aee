//! A folder, and the program run in it with a network that stays in it.

use serde_json::Value;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// How long anything may take on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Bench(tempfile::TempDir);

/// What a run said.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    #[expect(dead_code, reason = "shown by Debug where a test fails")]
    pub(crate) stderr: String,
}

impl Told {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_p2pdb"));
        command.current_dir(self.0.path()).args(args);
        command.env("P2PDB_LISTEN", "/ip4/127.0.0.1/tcp/0").env("P2PDB_MDNS", "off");
        command.env("P2PDB_RUNTIME_DIR", self.0.path().join("run"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub(crate) fn run_plain(&self, args: &[&str], stdin: &str) -> Told {
        let mut child = self.command(args).spawn().unwrap();
        // It may end without reading.
        let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
        let out = child.wait_with_output().unwrap();
        let [stdout, stderr] = [out.stdout, out.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
        Told { code: out.status.code().unwrap_or(-1), stdout, stderr }
    }

    pub(crate) fn run(&self, args: &[&str], stdin: &str) -> Told {
        self.run_plain(&[args, &["--json"]].concat(), stdin)
    }

    /// Its JSON, where it must succeed.
    pub(crate) fn ok(&self, args: &[&str]) -> Value {
        let told = self.run(args, "");
        assert_eq!(told.code, 0, "{args:?}: {told:?}");
        told.json()
    }

    /// Its error, where it must fail.
    pub(crate) fn fails(&self, args: &[&str], code: i32) -> String {
        let told = self.run(args, "");
        assert_eq!(told.code, code, "{args:?}: {told:?}");
        told.json()["error"].as_str().unwrap().to_owned()
    }

    pub(crate) fn serve(&self, files: &[&str]) -> Server {
        let mut child = self.command(&[&["serve", "--json"], files].concat()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (tell, events) = channel();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if tell.send(serde_json::from_str(&line).unwrap()).is_err() {
                    return;
                }
            }
        });
        Server { child, events, seen: Vec::new() }
    }
}

/// `p2pdb serve` at work.
pub(crate) struct Server {
    child: Child,
    events: Receiver<Value>,
    seen: Vec<Value>,
}

impl Server {
    /// Waits for an event, after those that were waited for before.
    pub(crate) fn until(&mut self, what: &str, is_it: impl Fn(&Value) -> bool) {
        let end = Instant::now() + PATIENCE;
        loop {
            match self.events.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(event) if is_it(&event) => return,
                Ok(event) => self.seen.push(event),
                Err(why) => panic!("{why}: {what}; seen: {:#?}", self.seen),
            }
        }
    }

    /// Signals it; gives the exit code.
    pub(crate) fn stop(&mut self, signal: &str) -> i32 {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([&format!("-{signal}"), &pid]).status().unwrap().success());
        self.until("it leaves", |e| e["event"] == "stopped");
        self.child.wait().unwrap().code().unwrap_or(-1)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A database with a sale.
pub(crate) fn sale(file: &Path) -> rusqlite::Connection {
    let conn = rusqlite::Connection::open(file).unwrap();
    conn.execute_batch(
        "CREATE TABLE sale(id INTEGER PRIMARY KEY, item TEXT, qty INTEGER);
         INSERT INTO sale(item, qty) VALUES('coffee', 1);",
    )
    .unwrap();
    conn
}
