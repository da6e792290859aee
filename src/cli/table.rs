//! Draws rows for people: a table, or name and value line by line.

use super::out::printable;
use super::rows::{Rows, text_of};

/// Characters between two columns.
const GAP: usize = 2;

/// A table with a head. Numbers stand to the right.
pub(super) fn table(rows: &Rows) -> String {
    let head: Vec<String> = rows.columns.iter().map(|c| c.replace('_', " ")).collect();
    let cells: Vec<Vec<String>> =
        rows.rows.iter().map(|row| row.iter().map(|v| one_line(&text_of(v))).collect()).collect();
    let is_number = |at: usize| rows.rows.iter().all(|r| r[at].is_number() || r[at].is_null()) && !rows.rows.is_empty();
    let widths: Vec<usize> = (0..head.len())
        .map(|at| cells.iter().map(|r| width(&r[at])).chain([width(&head[at])]).max().unwrap_or_default())
        .collect();
    let mut drawn = String::new();
    for line in std::iter::once(&head).chain(&cells) {
        let mut text = String::new();
        for (at, cell) in line.iter().enumerate() {
            let pad = " ".repeat(widths[at] - width(cell));
            let gap = if at == 0 { "" } else { &" ".repeat(GAP) };
            text += &if is_number(at) { format!("{gap}{pad}{cell}") } else { format!("{gap}{cell}{pad}") };
        }
        drawn += text.trim_end();
        drawn.push('\n');
    }
    drawn
}

/// One row, a line for each value that is there.
pub(super) fn fields(rows: &Rows) -> String {
    let Some(row) = rows.rows.first() else { return String::new() };
    let widest = rows.columns.iter().map(|c| width(c)).max().unwrap_or_default();
    let there = rows.columns.iter().zip(row).filter(|(_, value)| !text_of(value).is_empty());
    let lines = there.map(|(column, value)| {
        let name = column.replace('_', " ");
        let pad = " ".repeat(widest - width(&name) + GAP);
        format!("{name}{pad}{}\n", one_line(&text_of(value)))
    });
    lines.collect()
}

fn one_line(text: &str) -> String {
    printable(&text.replace('\n', " "))
}

fn width(text: &str) -> usize {
    text.chars().count()
}
