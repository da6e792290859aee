//! `docs/sql.md` is true: its examples run in order and answer what it says, it has a section on everything that the
//! surface registers, and every error that it quotes is produced.
#![allow(clippy::unwrap_used)]

mod answers;
mod parse;
mod provoke;
mod session;

use parse::{Document, Step};
use session::{Session, matches};
use std::collections::BTreeSet;

fn document() -> Document {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/sql.md");
    Document::parse(&std::fs::read_to_string(path).unwrap())
}

/// Functions and tables as SQLite lists them on a connection with the surface.
fn registered(pragma: &str) -> BTreeSet<String> {
    let conn = p2pdb::surface::open(":memory:".as_ref()).unwrap();
    let sql = format!("SELECT DISTINCT name FROM pragma_{pragma} WHERE name LIKE 'p2p\\_%' ESCAPE '\\'");
    conn.prepare(&sql).unwrap().query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

#[test]
fn the_examples_answer_what_the_document_says() {
    let document = document();
    let mut session = Session::begin();
    let wrong: Vec<String> = document.steps.iter().filter_map(|step| session.check(step).err()).collect();
    assert!(wrong.is_empty(), "{} of {} examples:\n\n{}", wrong.len(), document.steps.len(), wrong.join("\n"));
}

#[test]
fn every_function_and_table_has_a_section() {
    let document = document();
    let all: BTreeSet<_> = registered("function_list").union(&registered("module_list")).cloned().collect();
    assert!(all.len() > 15, "the surface lists {all:?}");
    let about: BTreeSet<_> = document.sections.keys().filter(|name| name.starts_with("p2p_")).cloned().collect();
    assert_eq!(all, about);
    for name in &all {
        assert!(document.steps.iter().any(|s| s.section == *name), "{name} has no example");
    }
}

#[test]
fn every_column_of_a_table_and_every_key_is_explained() {
    let document = document();
    let conn = p2pdb::surface::open(":memory:".as_ref()).unwrap();
    for table in registered("module_list") {
        let section = &document.sections[&table];
        let mut statement = conn.prepare("SELECT name FROM pragma_table_xinfo(?1)").unwrap();
        for column in statement.query_map([&table], |row| row.get::<_, String>(0)).unwrap().map(Result::unwrap) {
            assert!(section.contains(&format!("| `{column}` |")), "{table}: the column {column} is not explained");
        }
    }
    for key in &p2pdb::node::config::KEYS {
        assert!(document.sections["p2p_config"].contains(&format!("| `{}` |", key.name)), "the key {}", key.name);
    }
}

/// What the document lists as errors, each with its cause and remedy, against what the provocations get to see.
#[test]
fn every_error_that_is_quoted_is_produced() {
    let produced = provoke::all();
    let quoted = document().errors;
    assert!(quoted.len() > 30, "the tables of errors were not found");
    let unheard: Vec<_> = quoted.iter().filter(|q| !produced.iter().any(|p| matches(q, p))).collect();
    assert!(unheard.is_empty(), "never produced:\n{unheard:#?}\nproduced:\n{produced:#?}");
    let unsaid: Vec<_> = produced.iter().filter(|p| !quoted.iter().any(|q| matches(q, p))).collect();
    assert!(unsaid.is_empty(), "produced, and not in the document:\n{unsaid:#?}");
}

/// What it lists as answers, against what these statements answer.
#[test]
fn every_answer_that_is_quoted_is_given() {
    let given = answers::all();
    let quoted = document().answers;
    assert!(quoted.len() > 15, "the tables of answers were not found");
    let unheard: Vec<_> = quoted.iter().filter(|q| !given.iter().any(|g| matches(q, g))).collect();
    assert!(unheard.is_empty(), "never given:\n{unheard:#?}\ngiven:\n{given:#?}");
    let unsaid: Vec<_> = given.iter().filter(|g| !quoted.iter().any(|q| matches(q, g))).collect();
    assert!(unsaid.is_empty(), "given, and not in the document:\n{unsaid:#?}");
}

/// Those that no test can bring about come from the state of a process or a machine.
#[test]
fn messages_that_are_rare_are_quoted_as_they_are() {
    let section = document().sections["Errors that any function can give"].replace('\n', " ");
    let thread = p2pdb::node::NodeError::Thread(String::new()).to_string();
    for message in [p2pdb::node::NodeError::Forked.to_string(), thread.trim_end_matches(": ").to_owned()] {
        assert!(section.contains(&format!("`{message}`")), "{message}");
    }
}
