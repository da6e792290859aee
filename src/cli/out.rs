//! Where answers go: text for people or one JSON value for programs, never both.

use serde_json::{Value, json};
use std::io::{self, IsTerminal as _, Write as _};

use super::Failure;

/// The way to the user.
#[derive(Debug)]
pub(super) struct Out {
    is_json: bool,
}

impl Out {
    pub(super) fn new(is_json: bool) -> Self {
        Self { is_json }
    }

    pub(super) fn is_json(&self) -> bool {
        self.is_json
    }

    /// May a bar be drawn, one that paints over itself?
    pub(super) fn is_animated(&self) -> bool {
        !self.is_json && io::stdout().is_terminal() && io::stderr().is_terminal()
    }

    /// The answer: `value` for programs, `text` for people.
    ///
    /// # Errors
    /// [`Failure::Out`].
    pub(super) fn answer(&self, value: &Value, text: &str) -> Result<(), Failure> {
        let mut stdout = io::stdout().lock();
        if self.is_json {
            writeln!(stdout, "{value}")?;
        } else {
            writeln!(stdout, "{}", printable(text.trim_end()))?;
        }
        Ok(stdout.flush()?)
    }

    /// A line for people only, part of the answer.
    ///
    /// # Errors
    /// [`Failure::Out`].
    pub(super) fn line(&self, text: &str) -> Result<(), Failure> {
        if self.is_json { Ok(()) } else { self.answer(&Value::Null, text) }
    }

    /// A remark for people beside the answer.
    pub(super) fn remark(&self, text: &str) {
        if !self.is_json {
            eprintln!("{}", printable(text));
        }
    }

    /// Tells why a command failed.
    pub(super) fn failure(&self, why: &Failure) {
        if why.is_told() {
            return;
        }
        if self.is_json && self.answer(&json!({ "error": why.to_string() }), "").is_ok() {
            return;
        }
        eprintln!("p2pdb: {}", printable(&why.to_string()));
    }
}

/// `1 row`, `2 rows`.
pub(super) fn count(n: u64, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}

/// Control characters are written out: names and values come from other people, and a terminal obeys them.
pub(super) fn printable(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() && c != '\n' { clean.extend(c.escape_default()) } else { clean.push(c) }
    }
    clean
}
