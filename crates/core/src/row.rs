//! The merged state of one row: its live incarnations and the writes that count (rules R7 to R10, R15, R17).
//!
//! The idea: a write counts while one of the incarnations that its author saw is alive, and of the
//! writes that count the one of the greatest stamp is the cell. A delete removes the incarnations that
//! *its* author saw, so it beats concurrent updates and never a birth that it had not seen. Nothing here
//! depends on the order in which operations came.
//!
//! What a removed incarnation alone held is forgotten at once: a row that is absent, and whose entries
//! are covered by the frontier, was deleted.

use crate::clock::Stamp;
use crate::id::Dot;
use crate::value::Value;

/// One write to one column, kept while it may still be the cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// When.
    pub stamp: Stamp,
    /// What.
    pub value: Value,
    /// The incarnations its author saw alive, those gone since left out.
    pub seen: Vec<Dot>,
}

/// "The write at `at` is shown as `value`" (rule R12): replaces the value of that write, never another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settle {
    /// The column.
    pub column: usize,
    /// The write that it is about.
    pub at: Stamp,
    /// Its own stamp: the claim of the value.
    pub stamp: Stamp,
    /// The value shown.
    pub value: Value,
}

/// A row's merged state with all its values.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct RowState {
    /// Live incarnations, ascending.
    pub incarnations: Vec<Stamp>,
    /// A column's writes, greatest stamp first; columns by their number in the table.
    pub writes: Vec<Vec<Write>>,
    /// At most one a write.
    pub settles: Vec<Settle>,
}

/// The cell of a column.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Winner<'a> {
    /// What it holds: the write's value, or that of the write's settle.
    pub value: &'a Value,
    /// The stamp of the write.
    pub stamp: Stamp,
    /// The stamp of the claim: the settle's if there is one, else the write's.
    pub claim: Stamp,
}

impl RowState {
    /// A row with no incarnation and no write yet, of a table with `columns` columns.
    pub fn new(columns: usize) -> Self {
        Self { incarnations: Vec::new(), writes: vec![Vec::new(); columns], settles: Vec::new() }
    }

    /// Is an incarnation alive?
    pub fn is_alive(&self) -> bool {
        !self.incarnations.is_empty()
    }

    /// The cell of a column; none where no write counts (the column is younger than the row).
    pub fn cell(&self, column: usize) -> Option<Winner<'_>> {
        let write = self.writes.get(column)?.first()?;
        let settle = self.settles.iter().find(|s| s.column == column && s.at == write.stamp);
        Some(match settle {
            Some(s) => Winner { value: &s.value, stamp: write.stamp, claim: s.stamp },
            None => Winner { value: &write.value, stamp: write.stamp, claim: write.stamp },
        })
    }

    /// A new incarnation with all the values that its author knew columns for, in place of those in `over` and of its
    /// author's own earlier ones, which it has seen whether it says so or not. So a row has at most one incarnation an
    /// author, and an entry that inserts one row again and again costs what its bytes cost.
    pub fn insert(&mut self, stamp: Stamp, over: &[Dot], values: impl IntoIterator<Item = (usize, Value)>) {
        self.incarnations.retain(|i| i.author != stamp.author);
        self.remove(over);
        self.incarnations.push(stamp);
        self.incarnations.sort_unstable();
        for (column, value) in values {
            self.grow(column + 1);
            self.writes[column].push(Write { stamp, value, seen: vec![stamp.dot()] });
        }
        self.trim();
    }

    /// New values for some columns. False if none of the incarnations its author saw is alive: the write has no effect.
    pub fn update(&mut self, stamp: Stamp, seen: &[Dot], values: impl IntoIterator<Item = (usize, Value)>) -> bool {
        let seen: Vec<Dot> = seen.iter().copied().filter(|d| self.has(d)).collect();
        if seen.is_empty() {
            return false;
        }
        for (column, value) in values {
            self.grow(column + 1);
            self.writes[column].push(Write { stamp, value, seen: seen.clone() });
        }
        self.trim();
        true
    }

    /// Removes the incarnations that a delete's author saw.
    pub fn delete(&mut self, seen: &[Dot]) {
        self.remove(seen);
        self.trim();
    }

    /// Takes a settle, if the write it is about is still here and no later settle is.
    pub fn settle(&mut self, settle: Settle) {
        let Some(writes) = self.writes.get(settle.column) else { return };
        if !writes.iter().any(|w| w.stamp == settle.at) {
            return;
        }
        match self.settles.iter_mut().find(|s| s.column == settle.column && s.at == settle.at) {
            Some(old) if old.stamp < settle.stamp => *old = settle,
            Some(_) => {}
            None => self.settles.push(settle),
        }
        self.settles.sort_unstable_by_key(|s| (s.column, s.at));
    }

    /// One incarnation, one write a column, nothing settled: a row that its visible values and stamps tell whole.
    pub fn is_simple(&self) -> bool {
        self.incarnations.len() == 1 && self.settles.is_empty() && self.writes.iter().all(|w| w.len() <= 1)
    }

    fn has(&self, dot: &Dot) -> bool {
        self.incarnations.iter().any(|i| i.dot() == *dot)
    }

    fn remove(&mut self, dots: &[Dot]) {
        self.incarnations.retain(|i| !dots.contains(&i.dot()));
    }

    fn grow(&mut self, columns: usize) {
        if self.writes.len() < columns {
            self.writes.resize(columns, Vec::new());
        }
    }

    /// Drops what can never count again (rule R17): writes of removed incarnations, writes that a later
    /// one covers for every incarnation they still have, settles of dropped writes.
    fn trim(&mut self) {
        let alive: Vec<Dot> = self.incarnations.iter().map(Stamp::dot).collect();
        for writes in &mut self.writes {
            for w in writes.iter_mut() {
                w.seen.retain(|d| alive.contains(d));
            }
            writes.retain(|w| !w.seen.is_empty());
            #[cfg(not(feature = "bug-tie-ignores-author"))]
            writes.sort_unstable_by_key(|w| std::cmp::Reverse(w.stamp));
            #[cfg(feature = "bug-tie-ignores-author")]
            writes.sort_by_key(|w| std::cmp::Reverse(w.stamp.clock));
            let mut kept: Vec<Write> = Vec::with_capacity(writes.len());
            for w in writes.drain(..) {
                if !kept.iter().any(|k| w.seen.iter().all(|d| k.seen.contains(d))) {
                    kept.push(w);
                }
            }
            *writes = kept;
        }
        let writes = &self.writes;
        self.settles.retain(|s| writes[s.column].iter().any(|w| w.stamp == s.at));
    }
}

#[cfg(test)]
mod tests;
