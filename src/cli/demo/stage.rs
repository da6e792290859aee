//! The stage: shells A and B, what is typed into them, what they show, and how long it took.

use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::shell::{Shell, is_error};
use super::{Failure, Out, Tools};
use crate::cli::progress::Progress;

/// How long something may take to arrive without any sign of progress.
const ARRIVAL: Duration = Duration::from_secs(30);
/// Between two looks at a table that a row should appear in: far below what is measured, and no load.
const LOOK: Duration = Duration::from_micros(500);
/// Lines shown of an answer.
const SHOWN_LINES: usize = 12;
/// Characters shown of a line.
const SHOWN_CHARS: usize = 160;

/// Which shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    A,
    B,
}

/// Two shells, each with a file of its own.
pub(super) struct Stage<'a> {
    tools: &'a Tools,
    out: &'a Out,
    folder: PathBuf,
    env: [(&'static str, String); 3],
    shells: Vec<Shell>,
    steps: Vec<Value>,
    started: Instant,
}

impl<'a> Stage<'a> {
    pub(super) fn set(tools: &'a Tools, folder: &Path, out: &'a Out) -> Result<Self, Failure> {
        // Both shells are on this machine: nothing needs to leave it, whatever is configured outside.
        let env = [
            ("P2PDB_LISTEN", "/ip4/127.0.0.1/tcp/0".to_owned()),
            ("P2PDB_MDNS", "off".to_owned()),
            ("P2PDB_RUNTIME_DIR", folder.join("run").to_string_lossy().into_owned()),
        ];
        let (shells, steps) = Default::default();
        Ok(Self { tools, out, folder: folder.to_owned(), env, shells, steps, started: Instant::now() })
    }

    /// The database file of a shell.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.db"))
    }

    /// Milliseconds since the stage was set.
    pub(super) fn elapsed_ms(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }

    /// Starts both shells and loads the library.
    pub(super) fn open(&mut self) -> Result<(), Failure> {
        for (name, file) in [("A", "a"), ("B", "b")] {
            let shell = Shell::start(name, &self.tools.shell, &self.file(file), &self.env)?;
            self.shells.push(shell);
        }
        for who in [Who::A, Who::B] {
            let load = format!(".load {}", super::tools::quoted(&self.tools.extension)?);
            self.types(who, &load)?;
        }
        Ok(())
    }

    /// A heading.
    pub(super) fn says(&mut self, text: &str) -> Result<(), Failure> {
        self.out.line(&format!("\n{text}"))
    }

    /// Types and shows; an error in the shell ends the demo.
    pub(super) fn types(&mut self, who: Who, sql: &str) -> Result<Vec<String>, Failure> {
        let answer = self.tries(who, sql)?;
        match answer.iter().find(|line| is_error(line)) {
            Some(why) => Err(Failure::new(format!("shell {} refused `{sql}`: {why}", self.name(who)))),
            None => Ok(answer),
        }
    }

    /// Types and shows, whatever comes.
    pub(super) fn tries(&mut self, who: Who, sql: &str) -> Result<Vec<String>, Failure> {
        let began = Instant::now();
        let answer = self.asks(who, sql)?;
        self.show(self.name(who), sql, &answer, began.elapsed())?;
        Ok(answer)
    }

    /// Types without showing.
    pub(super) fn asks(&mut self, who: Who, sql: &str) -> Result<Vec<String>, Failure> {
        self.shell(who)?.type_in(sql)
    }

    /// Looks until the answer is as wanted, then shows it with the time since `since`.
    pub(super) fn sees(
        &mut self,
        who: Who,
        sql: &str,
        since: Instant,
        is_wanted: impl Fn(&[String]) -> bool,
    ) -> Result<(), Failure> {
        let mut moved = Instant::now();
        let mut last = Vec::new();
        loop {
            let answer = self.asks(who, sql)?;
            if is_wanted(&answer) {
                return self.show(self.name(who), sql, &answer, since.elapsed());
            }
            if answer != last {
                (last, moved) = (answer, Instant::now());
            }
            if moved.elapsed() > ARRIVAL {
                let name = self.name(who);
                self.show(name, sql, &last, since.elapsed())?;
                let status = self.asks(who, "SELECT state || ': ' || detail FROM p2p_status;")?.join(" ");
                let seconds = ARRIVAL.as_secs();
                return Err(Failure::new(format!(
                    "shell {name} waited {seconds} s in vain for `{sql}` to change; {status}"
                )));
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Takes both off the network, or puts them back.
    pub(super) fn network(&mut self, word: &str) -> Result<(), Failure> {
        for who in [Who::A, Who::B] {
            self.types(who, &format!("SELECT p2p_config('network', '{word}');"))?;
        }
        Ok(())
    }

    /// A writer that has never heard of P2PDB: the same shell, without the library, on A's file.
    pub(super) fn stranger(&mut self, sql: &str) -> Result<Vec<String>, Failure> {
        let began = Instant::now();
        let mut shell = Shell::start("plain", &self.tools.shell, &self.file("a"), &[])?;
        shell.type_in(".timeout 5000")?;
        let answer = shell.type_in(sql)?;
        shell.close()?;
        self.show("plain", sql, &answer, began.elapsed())?;
        Ok(answer)
    }

    /// Waits until both have the same entries and the same state, as long as anything moves.
    pub(super) fn level(&mut self, since: Instant) -> Result<(), Failure> {
        let sql = "SELECT entries, digest FROM p2p_status;";
        let (mut last, mut moved) = (Vec::new(), Instant::now());
        let mut progress = Progress::new(self.out, "B");
        loop {
            for who in [Who::A, Who::B] {
                // What it has to say shows below, in the end.
                self.asks(who, "SELECT p2p_sync(1000);")?;
            }
            let both = [self.asks(Who::A, sql)?, self.asks(Who::B, sql)?];
            let [ours, theirs] = [0, 1].map(|at| entries(&both[at]));
            progress.show(theirs, ours, "is getting A's entries");
            if both[0] == both[1] || moved.elapsed() > ARRIVAL {
                progress.end();
                self.show("A", sql, &both[0], since.elapsed())?;
                // Where they differ the comparison says where.
                return self.show("B", sql, &both[1], since.elapsed());
            }
            if last != both {
                (last, moved) = (both.to_vec(), Instant::now());
            }
        }
    }

    /// Ends both shells. Gives all steps.
    pub(super) fn close(&mut self) -> Result<Vec<Value>, Failure> {
        for shell in &mut self.shells {
            shell.close()?;
        }
        Ok(std::mem::take(&mut self.steps))
    }

    fn shell(&mut self, who: Who) -> Result<&mut Shell, Failure> {
        let at = match who {
            Who::A => 0,
            Who::B => 1,
        };
        self.shells.get_mut(at).ok_or_else(|| Failure::new("the shells are not open"))
    }

    fn name(&self, who: Who) -> &'static str {
        match who {
            Who::A => "A",
            Who::B => "B",
        }
    }

    fn show(&mut self, name: &str, sql: &str, answer: &[String], took: Duration) -> Result<(), Failure> {
        let ms = took.as_secs_f64() * 1000.0;
        self.steps.push(json!({ "shell": name, "typed": sql, "shown": answer, "ms": (ms * 10.0).round() / 10.0 }));
        self.out.line(&format!("{name:>5}> {:<70} {ms:>9.1} ms", short(sql)))?;
        for line in answer.iter().take(SHOWN_LINES) {
            self.out.line(&format!("       {}", short(line)))?;
        }
        if answer.len() > SHOWN_LINES {
            self.out.line(&format!("       … and {} lines more", answer.len() - SHOWN_LINES))?;
        }
        Ok(())
    }
}

/// The number at the beginning of the first line.
fn entries(answer: &[String]) -> u64 {
    answer.first().and_then(|line| line.split('|').next()).and_then(|n| n.parse().ok()).unwrap_or_default()
}

/// A long line, a ticket for one, is shown by its beginning.
fn short(line: &str) -> String {
    let ticket = line.find("p2pdb1").map(|at| at + 20);
    let word_end = ticket.map(|at| line[at.min(line.len())..].find(['\'', ' ']).map_or(line.len(), |n| at + n));
    if let (Some(from), Some(to)) = (ticket, word_end)
        && from < to
    {
        return format!("{}…{}", &line[..from], &line[to..]);
    }
    match line.char_indices().nth(SHOWN_CHARS) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line.to_owned(),
    }
}
