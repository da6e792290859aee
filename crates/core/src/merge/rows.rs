//! What the merge works on: the rows of one table, and what can be said of them.

use super::Context;
use crate::body::Cell;
use crate::cellhash::CellHasher;
use crate::clock::Stamp;
use crate::codec::Malformed;
use crate::id::Dot;
use crate::name::Name;
use crate::record::Record;
use crate::value::Value;

/// Where a row's record is kept: under the id that it shows, or under its name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// The birth of a row that has no key: nothing of it that shows could name it.
    Born(Dot),
    /// An alias table's visible id. A hidden row has a negative one of its own.
    Id(i64),
    /// The canonical key.
    Name(Box<[u8]>),
}

/// How a row stands for whoever reads its table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is there, under this key.
    Shown(Key),
    /// It is kept and not there.
    Hidden,
    /// There is no such row.
    Nowhere,
}

const NO_PARENT: &str = "the row that it refers to is not there";

/// Why a row, or a change to it, can't stand in the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// In words, SQLite's where it refused.
    pub why: String,
    /// A row that it refers to is not visible: it is hidden until that one is.
    pub waits: bool,
    /// Another row holds what it claims in a unique index: [`crate::unique`] decides between them.
    pub contends: bool,
    /// Nothing is in the way but weak references ([`super::Table::weak`]): the row can stand with what stands in for them.
    pub is_weak: bool,
}

impl Refusal {
    /// A constraint of the table is in the way.
    pub fn constraint(why: impl Into<String>) -> Self {
        Self { why: why.into(), waits: false, contends: false, is_weak: false }
    }

    /// A unique index is in the way, and with it another row.
    pub fn unique(why: impl Into<String>) -> Self {
        Self { contends: true, ..Self::constraint(why) }
    }

    /// A row that it refers to is not visible.
    pub fn missing(why: impl Into<String>) -> Self {
        Self { waits: true, ..Self::constraint(why) }
    }

    /// That row was deleted, is hidden, or has not come: which of them depends on what came first, and is not told.
    pub fn no_parent() -> Self {
        Self::missing(NO_PARENT)
    }

    /// The same of a reference that may show something else.
    pub fn weak() -> Self {
        Self { is_weak: true, ..Self::constraint(NO_PARENT) }
    }
}

/// A value that is not visible and that nobody who had seen it replaced (rule R19).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The row.
    pub name: Name,
    /// The column.
    pub column: usize,
    /// What was written.
    pub value: Value,
    /// By whom and when.
    pub stamp: Stamp,
}

/// The rows of one table: records, and the visible rows they are about.
pub trait Rows {
    /// What can fail below.
    type Error: From<Malformed>;

    /// The record under a key.
    fn record(&mut self, key: &Key) -> Result<Option<Record>, Self::Error>;
    /// Keeps a record under a key.
    fn put(&mut self, key: &Key, record: &Record) -> Result<(), Self::Error>;
    /// Keeps a record under a key that has none. False if it has one: that stays.
    fn put_new(&mut self, key: &Key, record: &Record) -> Result<bool, Self::Error>;
    /// Has `change` make another record of the one under a key, and keeps that. False if there is none, or `change` makes
    /// none of it: then nothing is changed.
    ///
    /// # Errors
    /// As the others.
    fn amend(&mut self, key: &Key, change: &mut dyn FnMut(Record) -> Option<Record>) -> Result<bool, Self::Error> {
        let Some(record) = self.record(key)?.and_then(change) else { return Ok(false) };
        self.put(key, &record)?;
        Ok(true)
    }
    /// A row that has no key is there, at a place that is this replica's own: it is noted with the record, which is put next.
    fn set_place(&mut self, key: &Key, place: i64) -> Result<(), Self::Error> {
        let _ = (key, place);
        Ok(())
    }
    /// Drops the record under a key.
    fn forget(&mut self, key: &Key) -> Result<(), Self::Error>;

    /// All values of a visible row, foreign keys as names.
    fn values(&mut self, key: &Key) -> Result<Vec<Value>, Self::Error>;
    /// Puts a row into the table. A refusal leaves the table as it was.
    fn show(&mut self, key: &Key, cells: &[Cell<'_>]) -> Result<Option<Refusal>, Self::Error>;
    /// Changes columns of a visible row. A refusal leaves the row as it was.
    fn change(&mut self, key: &Key, cells: &[(usize, Cell<'_>)]) -> Result<Option<Refusal>, Self::Error>;
    /// Takes a visible row out of the table.
    fn hide(&mut self, key: &Key) -> Result<(), Self::Error>;
    /// A row is about to be shown, hidden or renumbered: how it stood until then. Told more often than it comes to pass: what
    /// a row stands like in the end is known then only.
    fn note_standing(&mut self, name: &Name, before: Standing) {
        let _ = (name, before);
    }
    /// Gives visible rows other ids, all at once, and re-points the foreign keys that mean them.
    fn renumber(&mut self, moves: &[(i64, i64)]) -> Result<(), Self::Error>;

    /// What references among the cells show in place of rows that are not visible, by column: NULL, or another reference
    /// (rule P2). Of other references than weak ones there is none but for the moment, while rows come back together.
    fn stand_ins(&mut self, cells: &[Cell<'_>]) -> Result<Vec<(usize, Value)>, Self::Error> {
        let _ = cells;
        Ok(Vec::new())
    }
    /// Does one of the cells refer to a row that is not visible, and can't show anything else?
    fn missing(&mut self, cells: &[Cell<'_>]) -> Result<Option<Refusal>, Self::Error> {
        let _ = cells;
        Ok(None)
    }
    /// A visible row is about to leave the table, its record still in place: rows that refer to it are to be parked
    /// first ([`Merge::park`](super::Merge::park)), while what they mean can still be told.
    fn before_gone(&mut self, key: &Key) -> Result<(), Self::Error> {
        let _ = key;
        Ok(())
    }
    /// The plain values that the visible row holds in columns for references: a local insert of the row that such a
    /// value means turns it into a reference (rule R4).
    fn set_literals(&mut self, key: &Key, literals: &[(usize, Value)]) -> Result<(), Self::Error> {
        let _ = (key, literals);
        Ok(())
    }
    /// The references of the visible row `name` under `key` that show something else than the rows they mean, by column: when
    /// these become visible it is to be shown anew.
    fn set_dangling(&mut self, key: &Key, name: &Name, dangling: &[(usize, Name)]) -> Result<(), Self::Error> {
        let _ = (key, name, dangling);
        Ok(())
    }
    /// A row became visible.
    fn came(&mut self, name: &Name) -> Result<(), Self::Error> {
        let _ = name;
        Ok(())
    }

    /// The values that a row shows in place of those merged, by column (rule P5). Whoever asks is about to show the row.
    fn repairs(&mut self, name: &Name) -> Result<Vec<(usize, Value)>, Self::Error> {
        let _ = name;
        Ok(Vec::new())
    }
    /// A unique index refused the row: which of those that claim one value shows it is to be decided anew.
    fn contend(&mut self, name: &Name) -> Result<(), Self::Error> {
        let _ = name;
        Ok(())
    }
    /// A visible row may claim what it holds by another write than before: those that claim the same are to be decided anew.
    fn reclaim(&mut self, key: &Key) -> Result<(), Self::Error> {
        let _ = key;
        Ok(())
    }
    /// The user changed or deleted a row: those that claim what it held are to be decided anew.
    fn let_go(&mut self, name: &Name) -> Result<(), Self::Error> {
        let _ = name;
        Ok(())
    }
    /// A row is gone for good.
    fn uncontend(&mut self, name: &Name) -> Result<(), Self::Error> {
        let _ = name;
        Ok(())
    }

    /// Where a row is that does not show its birth id.
    fn moved(&mut self, name: &Dot) -> Result<Option<i64>, Self::Error>;
    /// Notes it, or that it is back.
    fn set_moved(&mut self, name: &Dot, shown: Option<i64>) -> Result<(), Self::Error>;
    /// The ids shown by rows that claim `id` and show another.
    fn claimants(&mut self, id: i64) -> Result<Vec<i64>, Self::Error>;
    /// The ids shown by rows that would derive `id` before the one they show.
    fn probers(&mut self, id: i64) -> Result<Vec<i64>, Self::Error> {
        let _ = id;
        Ok(Vec::new())
    }
    /// Notes that the row showing `shown` claims another id, or no longer does.
    fn set_claim(&mut self, shown: i64, claimed: Option<i64>) -> Result<(), Self::Error>;
    /// Notes that the row showing `shown`, which claims another id, would rather derive one that is taken.
    fn set_prober(&mut self, shown: i64) -> Result<(), Self::Error> {
        let _ = shown;
        Ok(())
    }
    /// The ids shown by all rows that claim another.
    fn displaced(&mut self) -> Result<Vec<i64>, Self::Error>;
    /// Notes why a row is not shown as merged, or that it is.
    fn set_stuck(&mut self, key: &Key, why: Option<&Refusal>) -> Result<(), Self::Error>;

    /// Enters a loss into the book; one that stands there already changes nothing.
    fn lose(&mut self, conflict: Conflict) -> Result<(), Self::Error>;
    /// Strikes from the book what `context` had seen of the row's columns (all of them if none are
    /// given). Returns whether lines on the row are left.
    fn strike(&mut self, name: &Name, columns: Option<&[usize]>, context: &Context<'_>) -> Result<bool, Self::Error>;
    /// Has the book any line on this table?
    fn has_book(&self) -> bool;

    /// Adds to the digest and takes from it, modulo 2^128.
    fn digest(&mut self, add: u128, sub: u128);
    /// The group's cell hash.
    fn hasher(&self) -> &CellHasher;
}
