//! One stock `sqlite3` shell, driven over pipes as a person would type.
//!
//! After each input a line with a mark is asked for: all that comes before it is the answer. Answers and errors come
//! through one pipe, in the order in which the shell wrote them.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use super::Failure;

/// How long the shell may take to answer.
const ANSWER: Duration = Duration::from_secs(60);
/// How long it may take to end.
const END: Duration = Duration::from_secs(5);
/// Lines read ahead of who asks.
const LINES_AHEAD: usize = 1_024;

/// A running shell.
pub(super) struct Shell {
    pub(super) name: &'static str,
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    asked: u64,
}

impl Shell {
    /// Starts one on a database file. `env` keeps its network on this machine.
    pub(super) fn start(
        name: &'static str,
        shell: &Path,
        file: &Path,
        env: &[(&str, String)],
    ) -> Result<Self, Failure> {
        let failed = |why: std::io::Error| Failure::new(format!("the shell {} can't be run: {why}", shell.display()));
        let (reader, writer) = std::io::pipe().map_err(failed)?;
        let none = if cfg!(windows) { "NUL" } else { "/dev/null" };
        let mut command = Command::new(shell);
        // Whatever the user's own settings file says, answers look alike.
        command.args(["-batch", "-list", "-noheader", "-init", none]).arg(file);
        command.envs(env.iter().map(|(key, value)| (key, value)));
        command.stdin(Stdio::piped()).stdout(writer.try_clone().map_err(failed)?).stderr(writer);
        let mut child = command.spawn().map_err(failed)?;
        // The command holds the pipe's writing end: while it lives the pipe never ends.
        drop(command);
        let (tell, lines) = sync_channel(LINES_AHEAD);
        let read = move || {
            let mut reader = BufReader::new(reader);
            let mut line = Vec::new();
            while reader.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
                let text = String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']).to_owned();
                if tell.send(text).is_err() {
                    return;
                }
                line.clear();
            }
        };
        std::thread::Builder::new().name(format!("shell {name}")).spawn(read).map_err(failed)?;
        let stdin = child.stdin.take();
        Ok(Self { name, child, stdin, lines, asked: 0 })
    }

    /// Types a line and gives the lines of the answer.
    pub(super) fn type_in(&mut self, input: &str) -> Result<Vec<String>, Failure> {
        self.asked += 1;
        let mark = format!("--- answer {} ends here ---", self.asked);
        let written = match &mut self.stdin {
            Some(stdin) => writeln!(stdin, "{input}\n.print '{mark}'").and_then(|()| stdin.flush()),
            None => Ok(()),
        };
        written.map_err(|why| self.ended(input, &why.to_string()))?;
        let end = Instant::now() + ANSWER;
        let mut answer = Vec::new();
        loop {
            match self.lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) if line == mark => return Ok(answer),
                Ok(line) => answer.push(line),
                Err(RecvTimeoutError::Timeout) => {
                    let seconds = ANSWER.as_secs();
                    return Err(Failure::new(format!(
                        "shell {} did not answer within {seconds} s: {input}",
                        self.name
                    )));
                }
                Err(RecvTimeoutError::Disconnected) => return Err(self.ended(input, &answer.join("\n"))),
            }
        }
    }

    fn ended(&self, input: &str, said: &str) -> Failure {
        Failure::new(format!("shell {} ended at: {input}\n{said}", self.name))
    }

    /// Ends it as a person does: no more input.
    pub(super) fn close(&mut self) -> Result<(), Failure> {
        self.stdin = None;
        let end = Instant::now() + END;
        loop {
            match self.child.try_wait() {
                // The shell tells by 1 that a statement failed somewhere on the way, and an answer that was not there
                // yet is one. What matters here is that it ended by itself.
                Ok(Some(status)) if matches!(status.code(), Some(0 | 1)) => return Ok(()),
                Ok(Some(status)) => {
                    return Err(Failure::new(format!("shell {} ended with {status}", self.name)));
                }
                Ok(None) if Instant::now() < end => std::thread::sleep(Duration::from_millis(1)),
                Ok(None) => return Err(Failure::new(format!("shell {} does not end", self.name))),
                Err(why) => return Err(Failure::new(format!("shell {}: {why}", self.name))),
            }
        }
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        self.stdin = None;
        if let Ok(None) = self.child.try_wait()
            && let Err(why) = self.child.kill().and_then(|()| self.child.wait().map(drop))
        {
            tracing::debug!(%why, shell = self.name, "not ended");
        }
    }
}

/// Is this line the shell's way to say that a statement failed?
pub(super) fn is_error(line: &str) -> bool {
    ["Error:", "Error ", "Parse error", "Runtime error"].iter().any(|start| line.starts_with(start))
}
