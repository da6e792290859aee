//! Rows whose values in unique indexes hang on one another.

use p2pdb_core::body::Cell;
use p2pdb_core::merge::{Key, Rows};
use p2pdb_core::name::Name;
use p2pdb_core::row::RowState;
use p2pdb_core::unique::{Columns, Index, Place, Row, Table, Tuple, assign};
use p2pdb_core::value::Value;
use std::collections::{BTreeMap, BTreeSet};

use super::books;
use crate::store::StoreError;
use crate::store::define::fill::stored_by;
use crate::store::rows::SqliteRows;

/// Derived values that a row can't show for another reason: a CHECK. By row and column, the value's canonical bytes.
pub(in crate::store) type Refused = BTreeSet<(Name, usize, Vec<u8>)>;

pub(super) fn bytes_of(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    value.write(&mut bytes);
    bytes
}

/// One of them.
pub(in crate::store) struct Member {
    pub(in crate::store) key: Key,
    pub(in crate::store) state: RowState,
    /// As the rule sees it.
    pub(in crate::store) row: Row,
    /// What the table shows; none while it is hidden.
    pub(in crate::store) shown: Option<Vec<Value>>,
}

impl Member {
    /// The values that it is to show.
    pub(in crate::store) fn target(&self, place: &Place) -> Vec<Value> {
        let mut values = self.row.values.clone();
        place.repairs.iter().for_each(|(c, value)| values[*c] = value.clone());
        values
    }

    /// Does the table show something else?
    pub(in crate::store) fn differs(&self, place: &Place) -> bool {
        self.shown.as_ref() != Some(&self.target(place))
    }

    /// The columns in which the table shows something else than was merged, and what.
    pub(in crate::store) fn shown_otherwise(&self) -> Vec<(usize, &Value)> {
        let shown = self.shown.iter().flatten().zip(&self.row.values).enumerate();
        shown.filter(|(_, (shown, merged))| shown != merged).map(|(column, (shown, _))| (column, shown)).collect()
    }
}

/// All of them, and what the rule says.
pub(in crate::store) struct Component {
    pub(in crate::store) members: BTreeMap<Name, Member>,
    pub(in crate::store) places: BTreeMap<Name, Place>,
    /// Rows that were asked for and take no part: they are gone, or wait for what they refer to.
    pub(in crate::store) gone: BTreeSet<Name>,
}

impl Component {
    /// The rows of these names and all that hang on them.
    pub(in crate::store) fn around(
        rows: &mut SqliteRows<'_>,
        names: impl IntoIterator<Item = Name>,
        refused: &Refused,
    ) -> Result<Self, StoreError> {
        let mut found = Self { members: BTreeMap::new(), places: BTreeMap::new(), gone: BTreeSet::new() };
        let mut todo: Vec<Name> = names.into_iter().collect();
        // Tuples whose contenders were called up: a crowd that claims one is called once.
        let mut called = BTreeSet::new();
        loop {
            while let Some(name) = todo.pop() {
                if found.knows(&name) {
                    continue;
                }
                let mut met = books::claims(rows.shared.conn, rows.table.t, &name)?;
                match read(rows, &name)? {
                    Some(member) => {
                        neighbours(rows, &member, &mut met, &mut todo)?;
                        found.members.insert(name, member);
                    }
                    None => {
                        found.gone.insert(name);
                    }
                }
                for (number, tuple) in met {
                    if called.insert((number, tuple.clone())) {
                        todo.extend(books::contenders(rows.shared.conn, rows.table.t, number, &tuple)?);
                    }
                }
            }
            let more = found.place(rows, refused, false)?;
            if more.is_empty() {
                return Ok(found);
            }
            todo = more;
        }
    }

    /// A row that comes later than those which show what it claims, beside them alone: then no other place changes, however many claim
    /// the same. None where that is not so.
    pub(in crate::store) fn beside(rows: &mut SqliteRows<'_>, name: &Name) -> Result<Option<Self>, StoreError> {
        let (conn, t) = (rows.shared.conn, rows.table.t);
        if books::is_contender(conn, t, name)? {
            return Ok(None);
        }
        let Some(late) = read(rows, name)? else { return Ok(None) };
        let mut found = Self { members: BTreeMap::new(), places: BTreeMap::new(), gone: BTreeSet::new() };
        for number in 0..rows.table.uniques.len() {
            let Some(tuple) = tuple(rows, number, &late.row.values)? else { continue };
            match holder(rows, number, &late.row.values)? {
                Holder::Nobody if books::contenders(rows.shared.conn, rows.table.t, number, &tuple)?.is_empty() => {}
                Holder::Row(holder) if holder == *name => {}
                Holder::Row(holder) if !books::is_contender(conn, t, &holder)? => {
                    let Some(early) = read(rows, &holder)? else { return Ok(None) };
                    let index = &rows.table.uniques[number].index;
                    if (early.row.claim(index), &holder) > (late.row.claim(index), name) {
                        return Ok(None);
                    }
                    found.members.insert(holder, early);
                }
                _ => return Ok(None),
            }
        }
        if found.members.is_empty() {
            return Ok(None);
        }
        found.members.insert(name.clone(), late);
        let more = found.place(rows, &Refused::new(), true)?;
        let others = found.places.iter().filter(|(of, _)| *of != name);
        let are_left_alone = others.into_iter().all(|(_, place)| *place == Place::default());
        Ok((more.is_empty() && are_left_alone).then_some(found))
    }

    /// Applies the rule. Gives rows that stand in the way of a derived value and are not among them yet.
    /// With `is_apart` one that shows it is no reason to look at it: a row that derives another is not in its way.
    fn place(&mut self, rows: &mut SqliteRows<'_>, refused: &Refused, is_apart: bool) -> Result<Vec<Name>, StoreError> {
        let table = rows.table;
        let all: Vec<Row> = self.members.values().map(|m| m.row.clone()).collect();
        let indexes: Vec<Index> = table.uniques.iter().map(|unique| unique.index.clone()).collect();
        let columns = Columns { table: table.merge.id, ids: &table.columns };
        let mut asked = Asked { rows, component: self, refused, is_apart, more: Vec::new() };
        let places = assign(columns, &indexes, &all, &mut asked)?;
        let more = asked.more;
        self.places = self.members.keys().cloned().zip(places).collect();
        Ok(more)
    }

    fn knows(&self, name: &Name) -> bool {
        self.members.contains_key(name) || self.gone.contains(name)
    }
}

/// The table, as the rule asks it.
struct Asked<'a, 'r> {
    rows: &'a mut SqliteRows<'r>,
    component: &'a Component,
    refused: &'a Refused,
    is_apart: bool,
    more: Vec<Name>,
}

impl Table for Asked<'_, '_> {
    type Error = StoreError;

    fn tuple(&mut self, index: usize, values: &[Value]) -> Result<Option<Tuple>, StoreError> {
        tuple(self.rows, index, values)
    }

    fn is_taken(&mut self, index: usize, tuple: &Tuple, values: &[Value]) -> Result<bool, StoreError> {
        let holder = holder(self.rows, index, values)?;
        let is_held = match &holder {
            Holder::Nobody => false,
            Holder::Row(name) => !self.component.members.contains_key(name),
            Holder::Stranger => true,
        };
        if is_held && self.is_apart {
            return Ok(true);
        }
        let others = books::contenders(self.rows.shared.conn, self.rows.table.t, index, tuple)?;
        let holder = if let Holder::Row(name) = holder { Some(name) } else { None };
        let others = others.into_iter().chain(holder);
        self.more.extend(others.filter(|name| !self.component.knows(name)));
        Ok(is_held)
    }

    fn is_refused(&self, name: &Name, column: usize, value: &Value) -> bool {
        !self.refused.is_empty() && self.refused.contains(&(name.clone(), column, bytes_of(value)))
    }
}

/// What a row claims, by index.
pub(in crate::store) fn claims_of(rows: &SqliteRows<'_>, member: &Member) -> Result<Vec<(usize, Tuple)>, StoreError> {
    let mut claims = Vec::new();
    for number in 0..rows.table.uniques.len() {
        claims.extend(tuple(rows, number, &member.row.values)?.map(|tuple| (number, tuple)));
    }
    Ok(claims)
}

/// What a row with these visible values claims in an index.
pub(in crate::store) fn tuple(
    rows: &SqliteRows<'_>,
    index: usize,
    values: &[Value],
) -> Result<Option<Tuple>, StoreError> {
    let unique = &rows.table.uniques[index];
    Ok(unique.terms(rows, values)?.and_then(|terms| unique.tuple(&terms)))
}

/// The row of a name as it takes part, if it does.
fn read(rows: &mut SqliteRows<'_>, name: &Name) -> Result<Option<Member>, StoreError> {
    let Some((key, record)) = rows.merging(|merge| merge.located(name))? else { return Ok(None) };
    let shown = if record.is_hidden { None } else { rows.visible(&key)? };
    let Some(state) = rows.merging(|merge| merge.state_of(&key))? else { return Ok(None) };
    // Unique indexes are about what a reference shows. Where that is nothing the row waits, and takes no part.
    let Some(mut values) = as_shown(rows, &state)? else { return Ok(None) };
    if let (Key::Id(id), Some(column), Some(_)) = (&key, rows.table.merge.id_column, &shown) {
        values[column] = Value::Integer(*id);
    }
    // What nobody wrote is claimed as of the row's birth.
    let born = state.incarnations.first().copied().unwrap_or(record.born);
    let claims = (0..values.len()).map(|c| state.cell(c).map_or(born, |w| w.claim)).collect();
    Ok(Some(Member { key, state, row: Row { name: name.clone(), values, claims }, shown }))
}

/// The merged values as the table would show them; none while a row that they refer to is not there.
fn as_shown(rows: &mut SqliteRows<'_>, state: &RowState) -> Result<Option<Vec<Value>>, StoreError> {
    let table = &rows.table.merge;
    let mut cells: Vec<_> = (0..table.columns).map(|c| table.cell(state, c)).collect();
    let stand_ins = rows.standing_in(&cells)?;
    stand_ins.iter().for_each(|(c, value)| cells[*c] = Cell::from(value));
    let Ok(shown) = rows.resolve(cells.iter().enumerate())? else { return Ok(None) };
    let affinity = |c: usize| table.affinities.get(c).copied().unwrap_or_default();
    // Values that a column's type makes one claim one value: as they are stored they are compared.
    let stored = |(c, cell): (usize, &Cell<'_>)| stored_by(affinity(c), &cell.to_value().unwrap_or(Value::Null));
    shown.iter().enumerate().map(stored).collect::<Result<_, _>>().map(Some)
}

/// What a row claims and shows, and the rows that hold what it claims.
fn neighbours(
    rows: &mut SqliteRows<'_>,
    member: &Member,
    met: &mut Vec<(usize, Tuple)>,
    todo: &mut Vec<Name>,
) -> Result<(), StoreError> {
    for number in 0..rows.table.uniques.len() {
        if let Some(claimed) = tuple(rows, number, &member.row.values)? {
            met.push((number, claimed));
            if let Holder::Row(name) = holder(rows, number, &member.row.values)? {
                todo.push(name);
            }
        }
        if let Some(values) = &member.shown {
            met.extend(tuple(rows, number, values)?.map(|tuple| (number, tuple)));
        }
    }
    Ok(())
}

/// Who shows a tuple of an index.
enum Holder {
    Nobody,
    Row(Name),
    /// A row that is not in the log yet.
    Stranger,
}

fn holder(rows: &mut SqliteRows<'_>, number: usize, values: &[Value]) -> Result<Holder, StoreError> {
    let table = rows.table;
    let unique = &table.uniques[number];
    let Some(terms) = unique.terms(rows, values)? else { return Ok(Holder::Nobody) };
    let Some(visible) = unique.holder(rows, &terms)? else { return Ok(Holder::Nobody) };
    let Some(key) = rows.key_shown(&visible)? else { return Ok(Holder::Stranger) };
    Ok(match rows.record(&key)? {
        Some(record) => Holder::Row(rows.merging(|merge| Ok(merge.name_of(&key, &record)))?),
        None => Holder::Stranger,
    })
}
