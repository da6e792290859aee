//! UNIQUE values as claims (rule P5): two replicas that wrote one value into two rows both keep their row.
//!
//! Every visible row claims, in each unique index, what its columns hold together. The earliest claim keeps it; a later one stays
//! visible and shows a value derived from its *name* in one column of the index, so that every replica derives the same,
//! whatever it heard first. Where no column can take one, it shows NULL in one that may be; where none may, the row
//! is not shown.

use crate::body::ColumnId;
use crate::clock::Stamp;
use crate::codec::Write;
use crate::id::TableId;
use crate::name::{Collation, Name, key_name};
use crate::value::Value;
use std::collections::{BTreeMap, BTreeSet};

/// How many derived values are tried.
pub const DERIVED_TRIES: u8 = 16;

/// Hexadecimal digits of the first derived text; each further one has one more.
const DIGITS: usize = 4;

/// A tuple's canonical bytes.
pub type Tuple = Box<[u8]>;

/// A unique index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Index {
    /// The columns that it is about, by number: those of its terms and of its condition.
    pub columns: Vec<usize>,
    /// The column in which a later claim shows a derived value: the last one for text, else the last one for numbers, none that
    /// is a key or a reference.
    pub repair: Option<usize>,
    /// The last column that may be NULL.
    pub nullable: Option<usize>,
}

/// The canonical bytes of what the terms of an index are in a row; nothing where one of them is NULL.
pub fn tuple<'a>(terms: impl IntoIterator<Item = (&'a Value, Collation)>) -> Option<Tuple> {
    let terms: Option<Vec<_>> = terms.into_iter().map(|t| (*t.0 != Value::Null).then_some(t)).collect();
    match key_name(terms?) {
        Name::Key(bytes) => Some(bytes),
        Name::Born { .. } => None,
    }
}

/// What the rule asks of a table.
pub trait Table {
    /// What can fail below.
    type Error;
    /// What a row with these values claims in an index, see [`tuple()`]; nothing where its condition leaves the row out.
    fn tuple(&mut self, index: usize, values: &[Value]) -> Result<Option<Tuple>, Self::Error>;
    /// Does a row that is not among those decided about show a tuple that one of them would derive?
    fn is_taken(&mut self, index: usize, tuple: &Tuple, values: &[Value]) -> Result<bool, Self::Error>;
    /// Can a row not show that value in a column for another reason: a CHECK?
    fn is_refused(&self, name: &Name, column: usize, value: &Value) -> bool;
}

/// A row that takes part.
#[derive(Clone, Debug)]
pub struct Row {
    /// Its name.
    pub name: Name,
    /// Its values as merged, a reference as the key that it shows.
    pub values: Vec<Value>,
    /// When each of them was claimed: the stamp of the write, or of its settle.
    pub claims: Vec<Stamp>,
}

impl Row {
    /// When it claimed what it claims in an index.
    pub fn claim(&self, index: &Index) -> Option<Stamp> {
        index.columns.iter().filter_map(|c| self.claims.get(*c)).max().copied()
    }
}

/// What becomes of a row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Columns that show another value than was merged.
    pub repairs: BTreeMap<usize, Value>,
    /// The number of the index that leaves it no place.
    pub hidden_by: Option<usize>,
    /// Tuples that it would rather show, by index: derived ones that were taken.
    pub missed: Vec<(usize, Tuple)>,
}

/// The columns of a table, by which derived values differ.
#[derive(Clone, Copy, Debug)]
pub struct Columns<'a> {
    /// The table.
    pub table: TableId,
    /// Its columns.
    pub ids: &'a [ColumnId],
}

/// Who shows what: rule P5 over all `rows` that could touch one another. The answer stands in their order.
///
/// # Errors
/// The table's.
pub fn assign<T: Table>(
    columns: Columns<'_>,
    indexes: &[Index],
    rows: &[Row],
    table: &mut T,
) -> Result<Vec<Place>, T::Error> {
    let mut merged = Vec::with_capacity(rows.len());
    for row in rows {
        merged.push(Shown::of(table, indexes, row.values.clone())?);
    }
    let mut hidden: BTreeMap<usize, usize> = BTreeMap::new();
    'again: loop {
        let mut all = merged.clone();
        let mut places = vec![Place::default(); rows.len()];
        let mut taken = Taken::default();
        all.iter().enumerate().filter(|(at, _)| !hidden.contains_key(at)).for_each(|(_, shown)| taken.add(shown));
        for (number, index) in indexes.iter().enumerate() {
            for loser in losers(number, index, rows, &all, &hidden) {
                let before = all[loser].clone();
                taken.remove(&before);
                let tried = candidates(columns, index, &rows[loser].name, &before.values);
                let mut placed = None;
                for (column, value) in tried.chain(index.nullable.map(|c| (c, Value::Null))) {
                    let mut values = before.values.clone();
                    values[column] = value.clone();
                    let shown = Shown::of(table, indexes, values)?;
                    let is_refused = table.is_refused(&rows[loser].name, column, &value);
                    let met = taken.met(table, indexes, column, &shown)?;
                    if met.is_empty() && !is_refused {
                        placed = Some((column, value, shown));
                        break;
                    }
                    places[loser].missed.extend(met);
                }
                match placed {
                    Some((column, value, shown)) => {
                        taken.add(&shown);
                        all[loser] = shown;
                        places[loser].repairs.insert(column, value);
                    }
                    None => {
                        hidden.insert(loser, number);
                        // What it claimed in indexes before this one it claims no more.
                        if merged[loser].tuples[..number].iter().any(Option::is_some) {
                            continue 'again;
                        }
                    }
                }
            }
        }
        for (at, number) in hidden {
            places[at].hidden_by = Some(number);
        }
        return Ok(places);
    }
}

/// What a row would show, and claim.
#[derive(Clone)]
struct Shown {
    values: Vec<Value>,
    /// By index.
    tuples: Vec<Option<Tuple>>,
}

impl Shown {
    fn of<T: Table>(table: &mut T, indexes: &[Index], values: Vec<Value>) -> Result<Self, T::Error> {
        let tuples = (0..indexes.len()).map(|index| table.tuple(index, &values)).collect::<Result<_, _>>()?;
        Ok(Self { values, tuples })
    }

    fn claims(&self) -> impl Iterator<Item = (usize, Tuple)> + '_ {
        self.tuples.iter().enumerate().filter_map(|(number, tuple)| Some((number, tuple.clone()?)))
    }
}

/// How many of the rows show which tuple, by index.
#[derive(Default)]
struct Taken(BTreeMap<(usize, Tuple), usize>);

impl Taken {
    fn add(&mut self, shown: &Shown) {
        shown.claims().for_each(|claim| *self.0.entry(claim).or_default() += 1);
    }

    fn remove(&mut self, shown: &Shown) {
        for claim in shown.claims() {
            if let Some(count) = self.0.get_mut(&claim) {
                *count -= 1;
            }
        }
    }

    /// The tuples of a row, in indexes about a column, that another row shows.
    fn met<T: Table>(
        &self,
        table: &mut T,
        indexes: &[Index],
        column: usize,
        shown: &Shown,
    ) -> Result<Vec<(usize, Tuple)>, T::Error> {
        let mut met = Vec::new();
        for (number, tuple) in shown.claims().filter(|(number, _)| indexes[*number].columns.contains(&column)) {
            let claim = (number, tuple);
            let is_taken = self.0.get(&claim).is_some_and(|count| *count > 0);
            if is_taken || table.is_taken(claim.0, &claim.1, &shown.values)? {
                met.push(claim);
            }
        }
        Ok(met)
    }
}

/// Rows that claim what an earlier one claims, in the order of their claims.
fn losers(number: usize, index: &Index, rows: &[Row], all: &[Shown], hidden: &BTreeMap<usize, usize>) -> Vec<usize> {
    let visible = (0..rows.len()).filter(|at| !hidden.contains_key(at));
    let claims =
        visible.filter_map(|at| Some((rows[at].claim(index), &rows[at].name, at, all[at].tuples[number].as_ref()?)));
    let mut claims: Vec<_> = claims.collect();
    claims.sort_unstable();
    let mut taken = BTreeSet::new();
    claims.into_iter().filter_map(|(_, _, at, tuple)| (!taken.insert(tuple)).then_some(at)).collect()
}

/// The values that may stand in the repair column, in the order in which they are tried.
fn candidates<'a>(
    columns: Columns<'a>,
    index: &Index,
    name: &'a Name,
    values: &'a [Value],
) -> impl Iterator<Item = (usize, Value)> + use<'a> {
    let repair = index.repair.and_then(|c| Some((c, *columns.ids.get(c)?)));
    let tried = repair.into_iter().flat_map(|repair| (0..DERIVED_TRIES).map(move |i| (repair, i)));
    let derive =
        move |((column, id), i)| (column, derived_value(&values[column], &derived(columns.table, id, name, i), i));
    tried.map(derive).filter(|(_, value)| *value != Value::Null)
}

/// The hash from which the `i`-th value is derived that a row shows in a column.
pub fn derived(table: TableId, column: ColumnId, name: &Name, i: u8) -> [u8; 16] {
    let mut bytes = Vec::with_capacity(64);
    bytes.raw(&table.0);
    bytes.raw(&column.0);
    name.write(&mut bytes);
    bytes.u8(i);
    let hash = blake3::Hasher::new_derive_key("p2pdb 1 derived value").update(&bytes).finalize();
    let mut short = [0; 16];
    short.copy_from_slice(&hash.as_bytes()[..16]);
    short
}

/// What a row shows in place of `value`: text and blobs with something behind them, of a number another one, positive and between
/// 2^32 and 2^52.
pub fn derived_value(value: &Value, hash: &[u8; 16], i: u8) -> Value {
    let digits: String = hash.iter().map(|b| format!("{b:02x}")).collect();
    let suffix = &digits[..(DIGITS + usize::from(i)).min(digits.len())];
    let behind = |bytes: &[u8]| [bytes, b"~", suffix.as_bytes()].concat();
    let [a, b, c, d, e, f, g, h, ..] = *hash;
    let span = (1u64 << 52) - (1 << 32);
    let number = (1u64 << 32) + u64::from_le_bytes([a, b, c, d, e, f, g, h]) % span;
    match value {
        Value::Text(t) => Value::Text(behind(t)),
        Value::Blob(b) => Value::Blob(behind(b)),
        Value::Integer(_) => Value::Integer(number as i64),
        Value::Real(_) => Value::Real(number as f64),
        Value::Null | Value::Ref(_) => Value::Null,
    }
}

#[cfg(test)]
mod tests;
