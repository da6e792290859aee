//! A definition taken apart into elements, each of which changes on its own.
//!
//! Two databases may alter one table at the same time. What each of them changed is some of its elements: its name, the
//! name of a column, a column's type, an index. So a change travels as the elements that are otherwise now, and what
//! a table is to be is, for each element, the latest change of it. An element names columns by their ids, never by number:
//! their order is each database's own.

use p2pdb_core::body::ColumnId;
use p2pdb_core::codec::{Malformed, Reader, Write};
use p2pdb_core::limit;
use p2pdb_core::value::Value;
use std::collections::{BTreeMap, BTreeSet};

use super::bytes;
use super::{Check, Column, Definition, ForeignKey, Generated, Index, Part, PrimaryKey, Term};

/// What an element says, by what it is about.
pub type Elements = BTreeMap<Element, Vec<u8>>;

/// What of a table an element is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Element {
    /// Its name.
    Name,
    /// WITHOUT ROWID, STRICT.
    Options,
    /// Its primary key, AUTOINCREMENT aside: that is each database's own.
    Key,
    /// The name of a column.
    ColumnName(ColumnId),
    /// A column that holds values: its type and what is said at it. One that is gone stays gone.
    Column(ColumnId),
    /// What a column shows in rows that are older than it. The earliest word on it counts.
    Fill(ColumnId),
    /// A generated column, by its folded name.
    Generated(String),
    /// A constraint or an index, by what it says: its name aside.
    Constraint(Sort, [u8; 16]),
    /// Whoever says so does not have the table any more; where it is gone, has it again. The others keep theirs.
    Dropped,
}

/// What a constraint is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Sort {
    /// UNIQUE, or a unique index.
    Unique = 0,
    /// An index that constrains nothing.
    Index = 1,
    /// CHECK.
    Check = 2,
    /// FOREIGN KEY.
    ForeignKey = 3,
}

impl Element {
    /// Appends it.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Name => out.u8(1),
            Self::Options => out.u8(2),
            Self::Key => out.u8(3),
            Self::ColumnName(id) => out.raw(&[&[4], &id.0[..]].concat()),
            Self::Column(id) => out.raw(&[&[5], &id.0[..]].concat()),
            Self::Fill(id) => out.raw(&[&[6], &id.0[..]].concat()),
            Self::Generated(name) => {
                out.u8(7);
                out.bytes(name.as_bytes());
            }
            Self::Constraint(sort, hash) => out.raw(&[&[8, *sort as u8], &hash[..]].concat()),
            Self::Dropped => out.u8(9),
        }
    }

    /// It as bytes of its own.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(&mut out);
        out
    }

    /// # Errors
    /// [`Malformed`] if the bytes are none.
    pub fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(match r.u8("element")? {
            1 => Self::Name,
            2 => Self::Options,
            3 => Self::Key,
            4 => Self::ColumnName(ColumnId::read(r)?),
            5 => Self::Column(ColumnId::read(r)?),
            6 => Self::Fill(ColumnId::read(r)?),
            7 => Self::Generated(bytes::name(r)?.to_ascii_lowercase()),
            8 => {
                let sort = match r.u8("constraint")? {
                    0 => Sort::Unique,
                    1 => Sort::Index,
                    2 => Sort::Check,
                    3 => Sort::ForeignKey,
                    got => return Err(Malformed::Unknown { what: "constraint", got: got.into() }),
                };
                let mut hash = [0; 16];
                hash.copy_from_slice(r.raw(16, "hash of a constraint")?);
                Self::Constraint(sort, hash)
            }
            9 => Self::Dropped,
            got => return Err(Malformed::Unknown { what: "element of a table", got: got.into() }),
        })
    }
}

/// A change of a table: elements and what they say now; none where they are gone.
pub type Changes = Vec<(Element, Option<Vec<u8>>)>;

/// Changes as they stand in the log.
pub fn write_changes(changes: &Changes) -> Vec<u8> {
    let mut out = Vec::new();
    out.uvarint(changes.len() as u64);
    for (element, says) in changes {
        element.write(&mut out);
        out.u8(u8::from(says.is_some()));
        if let Some(says) = says {
            out.bytes(says);
        }
    }
    out
}

/// Changes that fill `bytes`.
///
/// # Errors
/// [`Malformed`] if the bytes are none. What an element says is read where it is used.
pub fn read_changes(bytes: &[u8]) -> Result<Changes, Malformed> {
    if bytes.len() > limit::DEFINITION_BYTES_MAX {
        let (got, max) = (bytes.len() as u64, limit::DEFINITION_BYTES_MAX as u64);
        return Err(Malformed::OverLimit { what: "bytes of a change of a table", got, max });
    }
    let r = &mut Reader::new(bytes);
    let changes = bytes::items(r, "changed elements", |r| {
        let element = Element::read(r)?;
        let says = bytes::optional(r, |r| Ok(r.bytes("element", limit::DEFINITION_BYTES_MAX)?.to_vec()))?;
        Ok((element, says))
    })?;
    r.end()?;
    Ok(changes)
}

/// The elements that are otherwise in `now`.
pub fn changes(before: &Elements, now: &Elements) -> Changes {
    let changed = now.iter().filter(|(element, says)| !is_same(before.get(element), Some(says), element));
    let gone = before.keys().filter(|element| !now.contains_key(element));
    // The name and the fill of a column go with it.
    let gone = gone.filter(|element| !matches!(element, Element::ColumnName(_) | Element::Fill(_)));
    changed
        .map(|(element, says)| (element.clone(), Some(says.clone())))
        .chain(gone.map(|e| (e.clone(), None)))
        .collect()
}

/// A constraint is told by what it says; under which name is each database's own.
fn is_same(before: Option<&Vec<u8>>, now: Option<&Vec<u8>>, element: &Element) -> bool {
    before == now || matches!(element, Element::Constraint(..)) && before.is_some() && now.is_some()
}

/// A piece of a definition that names columns by number.
trait Numbered {
    fn map(&mut self, to: &dyn Fn(usize) -> usize);
    fn numbers(&self) -> BTreeSet<usize> {
        BTreeSet::new()
    }
}

/// Calls `f` on every column number in the piece.
macro_rules! numbered {
    ($type:ty, |$piece:ident, $f:ident| $walk:block) => {
        impl Numbered for $type {
            fn map(&mut self, to: &dyn Fn(usize) -> usize) {
                let $piece = self;
                let $f = &mut |c: &mut usize| *c = to(*c);
                $walk
            }
            fn numbers(&self) -> BTreeSet<usize> {
                let mut met = BTreeSet::new();
                let $piece = &mut self.clone();
                let $f = &mut |c: &mut usize| {
                    met.insert(*c);
                };
                $walk
                met
            }
        }
    };
}

fn in_terms(terms: &mut [Term], f: &mut dyn FnMut(&mut usize)) {
    for term in terms {
        match &mut term.part {
            Part::Column(c) => f(c),
            Part::Expr(expr) => expr.each_column(f),
        }
    }
}

numbered!(Index, |index, f| {
    in_terms(&mut index.terms, f);
    index.filter.iter_mut().for_each(|filter| filter.each_column(f));
});
numbered!(Check, |check, f| { check.expr.each_column(f) });
numbered!(ForeignKey, |key, f| { key.columns.iter_mut().for_each(f) });
numbered!(PrimaryKey, |key, f| { in_terms(&mut key.terms, f) });
numbered!(Generated, |generated, f| { generated.expr.each_column(f) });

/// The ids of the columns that a piece names, ascending, then the piece with their places among these for numbers.
fn write_piece<T: Numbered + Clone>(piece: &T, ids: &[ColumnId], write: impl Fn(&T, &mut Vec<u8>)) -> Vec<u8> {
    let named: BTreeSet<ColumnId> = piece.numbers().into_iter().map(|c| ids[c]).collect();
    let named: Vec<ColumnId> = named.into_iter().collect();
    let mut piece = piece.clone();
    piece.map(&|c| named.binary_search(&ids[c]).unwrap_or_default());
    let mut out = Vec::new();
    out.uvarint(named.len() as u64);
    named.iter().for_each(|id| out.raw(&id.0));
    write(&piece, &mut out);
    out
}

/// The piece with the numbers that its columns have here; none if one of them is not here.
fn read_piece<T: Numbered>(
    says: &[u8],
    ids: &[ColumnId],
    read: impl Fn(&mut Reader<'_>, usize) -> Result<T, Malformed>,
) -> Result<Option<T>, Malformed> {
    let r = &mut Reader::new(says);
    let named = bytes::items(r, "columns", ColumnId::read)?;
    let mut piece = read(r, named.len())?;
    r.end()?;
    let numbers: Option<Vec<usize>> = named.iter().map(|id| ids.iter().position(|i| i == id)).collect();
    Ok(numbers.map(|numbers| {
        piece.map(&|c| numbers.get(c).copied().unwrap_or_default());
        piece
    }))
}

/// The ids of all columns of a definition by their numbers, given those of its stored ones in order.
pub fn all_ids(definition: &Definition, stored: &[ColumnId]) -> Vec<ColumnId> {
    let mut next = stored.iter().copied();
    let mut taken = stored.to_vec();
    let id = |column: &Column| match column.generated {
        None => next.next().unwrap_or_default(),
        Some(_) => {
            let id = ColumnId::of(&column.name, &taken);
            taken.push(id);
            id
        }
    };
    definition.columns.iter().map(id).collect()
}

impl Definition {
    /// The definition taken apart; `stored` are the ids of its stored columns in order.
    pub fn elements(&self, stored: &[ColumnId]) -> Elements {
        let ids = all_ids(self, stored);
        let mut all = Elements::new();
        all.insert(Element::Name, self.name.clone().into_bytes());
        all.insert(Element::Options, vec![u8::from(self.without_rowid) | u8::from(self.strict) << 1]);
        if let Some(key) = &self.key {
            // AUTOINCREMENT says how this database picks a number, not what a row is.
            let key = PrimaryKey { is_autoincrement: false, ..key.clone() };
            all.insert(Element::Key, write_piece(&key, &ids, bytes::write_key));
        }
        for (column, id) in self.columns.iter().zip(&ids) {
            match &column.generated {
                None => {
                    all.insert(Element::ColumnName(*id), column.name.clone().into_bytes());
                    all.insert(Element::Column(*id), write_column(column));
                }
                Some(generated) => {
                    let rest = Column { generated: None, ..column.clone() };
                    let says = write_piece(generated, &ids, |generated, out| {
                        out.bytes(column.name.as_bytes());
                        out.bytes(&write_column(&rest));
                        bytes::write_generated(generated, out);
                    });
                    all.insert(Element::Generated(column.name.to_ascii_lowercase()), says);
                }
            }
        }
        all.extend(self.constraints(&ids).map(|(element, says, _)| (element, says)));
        all
    }

    fn has_index(&self, name: &str) -> bool {
        let names = self.uniques.iter().chain(&self.indexes).filter_map(|i| i.name.as_ref());
        names.into_iter().any(|n| n.eq_ignore_ascii_case(name))
    }

    fn constraints<'a>(&'a self, ids: &'a [ColumnId]) -> impl Iterator<Item = (Element, Vec<u8>, Constraint)> + 'a {
        let uniques = self.uniques.iter().map(|index| (Sort::Unique, Constraint::Index(index.clone())));
        let indexes = self.indexes.iter().map(|index| (Sort::Index, Constraint::Index(index.clone())));
        let checks = self.checks.iter().map(|check| (Sort::Check, Constraint::Check(check.clone())));
        let keys = self.foreign_keys.iter().map(|key| (Sort::ForeignKey, Constraint::ForeignKey(key.clone())));
        uniques.chain(indexes).chain(checks).chain(keys).map(move |(sort, piece)| {
            let hash =
                blake3::Hasher::new_derive_key("p2pdb 1 constraint").update(&piece.nameless().write(ids)).finalize();
            let mut short = [0; 16];
            short.copy_from_slice(&hash.as_bytes()[..16]);
            (Element::Constraint(sort, short), piece.write(ids), piece)
        })
    }

    /// The table that these elements make, its columns in the order that they have in `here`, those that are not there behind
    /// them, and their ids. What is in `here` as well is taken from there: it knows the text of what can't travel. An index that is
    /// not there gets a name that is not `is_taken`.
    ///
    /// # Errors
    /// What is wrong with the elements, as a sentence.
    pub fn assemble(
        elements: &Elements,
        here: &Self,
        stored: &[ColumnId],
        is_taken: &dyn Fn(&str) -> bool,
    ) -> Result<(Self, Vec<ColumnId>), String> {
        let here_ids = all_ids(here, stored);
        let text = |element| elements.get(&element).map(|says| String::from_utf8_lossy(says).into_owned());
        let mut order: Vec<ColumnId> = stored.to_vec();
        let fresh = elements.keys().filter_map(|e| if let Element::Column(id) = e { Some(*id) } else { None });
        order.extend(fresh.filter(|id| !stored.contains(id)));
        order.retain(|id| elements.contains_key(&Element::Column(*id)));
        let names = names(elements, &order)?;
        let mut columns = Vec::new();
        for id in &order {
            let says = elements.get(&Element::Column(*id)).map(Vec::as_slice).unwrap_or_default();
            let name = names.get(id).cloned().unwrap_or_default();
            let own = here.columns.iter().zip(&here_ids).find(|(_, i)| *i == id).map(|(column, _)| column);
            let column = match own.filter(|column| write_column(column) == says) {
                Some(own) => Column { name, ..own.clone() },
                None => read_column(name, says).map_err(|e| format!("a column can't be read: {e}"))?,
            };
            columns.push(column);
        }
        let mut all = Self { name: text(Element::Name).unwrap_or_default(), columns, ..Self::nothing() };
        let generated = elements.iter().filter_map(|(e, says)| matches!(e, Element::Generated(_)).then_some(says));
        let generated: Vec<_> = generated.collect();
        // Generated columns may come from each other: all are named before one is read.
        let mut ids = order.clone();
        for says in &generated {
            let r = &mut Reader::new(says);
            let name =
                bytes::items(r, "columns", ColumnId::read).and_then(|_| bytes::name(r)).map_err(|e| e.to_string())?;
            ids.push(ColumnId::of(&name, &ids));
        }
        for says in &generated {
            let read = read_piece(says, &ids, |r, columns| {
                let (name, column) = (bytes::name(r)?, r.bytes("column", limit::DEFINITION_BYTES_MAX)?.to_vec());
                let generated = bytes::read_generated(r, columns)?;
                Ok(Named { column: Column { generated: None, ..read_column(name, &column)? }, generated })
            });
            let Named { mut column, generated } =
                read.map_err(|e| e.to_string())?.ok_or("a generated column comes from a column that is not there")?;
            let own = here.columns.iter().find(|c| c.generated.is_some() && c.name.eq_ignore_ascii_case(&column.name));
            let is_own = |own: &&Column| {
                own.generated.as_ref().is_some_and(|g| {
                    write_piece(g, &here_ids, bytes::write_generated)
                        == write_piece(&generated, &ids, bytes::write_generated)
                })
            };
            column.generated = Some(generated.clone());
            all.columns.push(own.filter(is_own).cloned().unwrap_or(column));
        }
        let flags = elements.get(&Element::Options).and_then(|o| o.first()).copied().unwrap_or_default();
        (all.without_rowid, all.strict) = (flags & 1 != 0, flags & 2 != 0);
        if let Some(says) = elements.get(&Element::Key) {
            let key =
                read_piece(says, &ids, bytes::read_key).map_err(|e| format!("the primary key can't be read: {e}"))?;
            let key = key.ok_or("a column of the primary key is gone")?;
            let is_autoincrement = key.is_rowid && here.key.as_ref().is_some_and(|own| own.is_autoincrement);
            all.key = Some(PrimaryKey { is_autoincrement, ..key });
        }
        let own: BTreeMap<Element, Constraint> = here.constraints(&here_ids).map(|(e, _, piece)| (e, piece)).collect();
        for (element, says) in elements {
            let Element::Constraint(sort, _) = element else { continue };
            let piece = match own.get(element) {
                Some(own) => Constraint::renumbered(own, &here_ids, &ids),
                None => {
                    let read = Constraint::read(*sort, says, &ids);
                    let piece = read.map_err(|e| format!("a constraint can't be read: {e}"))?;
                    piece.map(|piece| piece.named_freely(&|name| is_taken(name) || all.has_index(name)))
                }
            };
            // One about a column that another database dropped meanwhile goes with it.
            match piece {
                Some(Constraint::Index(index)) if *sort == Sort::Unique => all.uniques.push(index),
                Some(Constraint::Index(index)) => all.indexes.push(index),
                Some(Constraint::Check(check)) => all.checks.push(check),
                Some(Constraint::ForeignKey(key)) => all.foreign_keys.push(key),
                None => {}
            }
        }
        // Rules between fields are checked where a definition is read.
        Self::read(&all.to_bytes()).map_err(|e| e.to_string())?;
        Ok((all, order))
    }
}

/// What each column is called. Where two databases gave one name to two columns the lesser id has it, and the other that name
/// with its id behind it, until it comes free.
fn names(elements: &Elements, ids: &[ColumnId]) -> Result<BTreeMap<ColumnId, String>, String> {
    let generated =
        elements.keys().filter_map(|e| if let Element::Generated(name) = e { Some(name.clone()) } else { None });
    let mut taken: BTreeSet<String> = generated.collect();
    let wished = |id: &ColumnId| {
        let says = elements.get(&Element::ColumnName(*id)).ok_or("a column has no name")?;
        Ok::<_, String>((*id, String::from_utf8_lossy(says).into_owned()))
    };
    let mut names = BTreeMap::new();
    let wished: BTreeMap<ColumnId, String> = ids.iter().map(wished).collect::<Result<_, _>>()?;
    let all: BTreeSet<String> = wished.values().map(|name| name.to_ascii_lowercase()).collect();
    for (id, name) in wished {
        let mut free = name.clone();
        if !taken.insert(free.to_ascii_lowercase()) {
            let hex: String = id.0.iter().map(|b| format!("{b:02x}")).collect();
            let candidates = (4..=8).map(|digits| format!("{name}_{}", &hex[..digits]));
            let is_free = |name: &String| {
                !all.contains(&name.to_ascii_lowercase()) && !taken.contains(&name.to_ascii_lowercase())
            };
            free = candidates
                .into_iter()
                .find(is_free)
                .ok_or_else(|| format!("too many columns are called \"{name}\""))?;
            taken.insert(free.to_ascii_lowercase());
        }
        names.insert(id, free);
    }
    Ok(names)
}

struct Named {
    column: Column,
    generated: Generated,
}

impl Numbered for Named {
    fn map(&mut self, to: &dyn Fn(usize) -> usize) {
        self.generated.map(to);
    }
}

/// A constraint or an index.
#[derive(Clone)]
enum Constraint {
    Index(Index),
    Check(Check),
    ForeignKey(ForeignKey),
}

impl Constraint {
    fn nameless(&self) -> Self {
        let mut nameless = self.clone();
        match &mut nameless {
            Self::Index(index) => index.name = None,
            Self::Check(check) => check.name = None,
            Self::ForeignKey(key) => {
                key.parent.make_ascii_lowercase();
                key.parent_columns.iter_mut().for_each(|c| c.make_ascii_lowercase());
            }
        }
        nameless
    }

    /// The same; an index whose name is taken gets a number behind it.
    fn named_freely(mut self, is_taken: &dyn Fn(&str) -> bool) -> Self {
        if let Self::Index(Index { name: Some(name), .. }) = &mut self
            && is_taken(name)
        {
            let free = (2..).map(|n| format!("{name}_{n}")).find(|name| !is_taken(name));
            *name = free.unwrap_or_default();
        }
        self
    }

    fn write(&self, ids: &[ColumnId]) -> Vec<u8> {
        match self {
            Self::Index(index) => write_piece(index, ids, bytes::write_index),
            Self::Check(check) => write_piece(check, ids, bytes::write_check),
            Self::ForeignKey(key) => write_piece(key, ids, bytes::write_foreign_key),
        }
    }

    fn read(sort: Sort, says: &[u8], ids: &[ColumnId]) -> Result<Option<Self>, Malformed> {
        Ok(match sort {
            Sort::Unique | Sort::Index => read_piece(says, ids, bytes::read_index)?.map(Self::Index),
            Sort::Check => read_piece(says, ids, bytes::read_check)?.map(Self::Check),
            Sort::ForeignKey => read_piece(says, ids, bytes::read_foreign_key)?.map(Self::ForeignKey),
        })
    }

    fn renumbered(&self, from: &[ColumnId], to: &[ColumnId]) -> Option<Self> {
        let mut piece = self.clone();
        let numbers = match &piece {
            Self::Index(index) => index.numbers(),
            Self::Check(check) => check.numbers(),
            Self::ForeignKey(key) => key.numbers(),
        };
        let place = |c: usize| to.iter().position(|id| Some(id) == from.get(c));
        if !numbers.iter().all(|c| place(*c).is_some()) {
            return None;
        }
        let map = |c: usize| place(c).unwrap_or_default();
        match &mut piece {
            Self::Index(index) => index.map(&map),
            Self::Check(check) => check.map(&map),
            Self::ForeignKey(key) => key.map(&map),
        }
        Some(piece)
    }
}

/// A stored column without its name.
fn write_column(column: &Column) -> Vec<u8> {
    let mut out = Vec::new();
    bytes::write_column_type(column, &mut out);
    out
}

fn read_column(name: String, says: &[u8]) -> Result<Column, Malformed> {
    let r = &mut Reader::new(says);
    let column = bytes::read_column_type(r, name)?;
    r.end()?;
    Ok(column)
}

/// What a column shows in older rows, as an element says it.
pub fn write_fill(fill: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    fill.write(&mut out);
    out
}

/// The same read; NULL if it is no value, or none that a column can hold by itself.
pub fn read_fill(says: &[u8]) -> Value {
    let r = &mut Reader::new(says);
    let value = Value::read(r).ok().filter(|v| r.end().is_ok() && !matches!(v, Value::Ref(_)));
    value.unwrap_or(Value::Null)
}

#[cfg(test)]
mod tests;
