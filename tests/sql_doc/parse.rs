//! Reads the document: sections, examples, quoted errors.
//!
//! An example stands in a block fenced as `sql`. A line `a> …` is an input to the database a, `...> …` goes on with it, all
//! others are what it answers. A block fenced as `sql eventually` may have to be asked again: what it shows is on its
//! way. A row of a table under the head `| error |` quotes an error in its first cell, one under `| answer |` a line of an answer.

use std::collections::BTreeMap;

/// One input, and what it must answer.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) line: usize,
    /// The name in the section's heading.
    pub(crate) section: String,
    /// The database's letter.
    pub(crate) database: char,
    pub(crate) sql: String,
    pub(crate) expected: Vec<String>,
    pub(crate) is_eventual: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Document {
    pub(crate) steps: Vec<Step>,
    /// The text of each section, under the first name in its heading.
    pub(crate) sections: BTreeMap<String, String>,
    pub(crate) errors: Vec<String>,
    pub(crate) answers: Vec<String>,
}

#[derive(Clone, Copy, PartialEq)]
enum Place {
    Text,
    Errors,
    Answers,
    Example { is_eventual: bool },
    OtherFence,
}

impl Document {
    pub(crate) fn parse(text: &str) -> Self {
        let mut document = Self::default();
        let (mut section, mut place) = (String::new(), Place::Text);
        for (at, line) in text.lines().enumerate() {
            let fence = line.strip_prefix("```");
            place = match (place, fence) {
                (Place::Text | Place::Errors | Place::Answers, Some("sql")) => Place::Example { is_eventual: false },
                (Place::Text | Place::Errors | Place::Answers, Some("sql eventually")) => {
                    Place::Example { is_eventual: true }
                }
                (Place::Text | Place::Errors | Place::Answers, Some(_)) => Place::OtherFence,
                (Place::Example { .. } | Place::OtherFence, Some(_)) => Place::Text,
                (Place::Example { is_eventual }, None) => {
                    document.example(at + 1, line, &section, is_eventual);
                    place
                }
                (Place::OtherFence, None) => place,
                (Place::Text, None) if line.starts_with("| error |") => Place::Errors,
                (Place::Text, None) if line.starts_with("| answer |") => Place::Answers,
                (Place::Errors | Place::Answers, None) if !line.starts_with('|') => Place::Text,
                (Place::Text | Place::Errors | Place::Answers, None) => place,
            };
            if let (Place::Text, Some(heading)) = (place, line.strip_prefix("##")) {
                section = name_of(heading);
            }
            match place {
                Place::Errors => document.errors.extend(quoted(line)),
                Place::Answers => document.answers.extend(quoted(line)),
                Place::Text | Place::Example { .. } | Place::OtherFence => {}
            }
            let text = document.sections.entry(section.clone()).or_default();
            text.push_str(line);
            text.push('\n');
        }
        document
    }

    fn example(&mut self, at: usize, line: &str, section: &str, is_eventual: bool) {
        if let Some((database, sql)) = input(line) {
            let (section, sql) = (section.to_owned(), sql.to_owned());
            self.steps.push(Step { line: at, section, database, sql, expected: Vec::new(), is_eventual });
            return;
        }
        let last = self.steps.last_mut().unwrap_or_else(|| panic!("line {at}: an answer before any input"));
        match line.strip_prefix("...> ") {
            Some(more) => last.sql.extend(["\n", more]),
            None => last.expected.push(line.to_owned()),
        }
    }
}

fn input(line: &str) -> Option<(char, &str)> {
    let (prompt, sql) = line.split_once("> ")?;
    let mut letters = prompt.chars();
    let database = letters.next().filter(char::is_ascii_lowercase)?;
    letters.next().is_none().then_some((database, sql))
}

/// `## p2p_seal()` and ``### `p2p_seal()` `` are about `p2p_seal`.
fn name_of(heading: &str) -> String {
    let heading = heading.trim_start_matches('#').trim().trim_matches('`');
    let end = heading.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(heading.len());
    let name = &heading[..end];
    if name.starts_with("p2p_") { name.to_owned() } else { heading.to_owned() }
}

/// What the first cell of a table's row quotes.
fn quoted(line: &str) -> Option<String> {
    let cell = line.strip_prefix("| `")?;
    Some(cell.split_once("` |")?.0.to_owned())
}
