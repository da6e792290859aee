//! Rows that show something else than was merged because of a unique index stay as the user sees them (rule R12): what a local
//! statement lets go of does not jump to a row that claimed it before.

use p2pdb_core::local::Pen;
use p2pdb_core::merge::{Merge, Rows};
use p2pdb_core::name::Name;
use p2pdb_core::value::Value;
use std::collections::BTreeSet;

use super::batch::Sealing;
use crate::store::StoreError;
use crate::store::rows::SqliteRows;
use crate::store::unique::{self, Component, Member, Refused};

/// How often it is looked again: what is settled may change what the rule says of others.
const ROUNDS_MAX: usize = 16;

impl Sealing<'_, '_> {
    /// Has what contenders show stay, in every table where the user's rows let go of something or took it.
    pub(super) fn keep_shown(&mut self, order: &[i64]) -> Result<(), StoreError> {
        let mut noted = unique::drain(self.shared)?;
        for t in order {
            let Some(table) = self.shared.tables.get(*t).filter(|t| !t.uniques.is_empty()) else { continue };
            let Some(names) = noted.remove(t) else { continue };
            self.merge(table, |merge, pen| keep_table(merge, pen, names))?;
            // What it did to rows of this table asks for nothing more.
            for (of, names) in unique::drain(self.shared)?.into_iter().filter(|(of, _)| of != t) {
                noted.entry(of).or_default().extend(names);
            }
        }
        Ok(())
    }
}

/// Settles what rows show in place of merged values that they could show now, and deletes hidden rows that would come back, which
/// their user knows nothing of. `names` are the rows that it may be about.
fn keep_table(
    merge: &mut Merge<'_, SqliteRows<'_>>,
    pen: &mut Pen<'_, '_>,
    mut names: BTreeSet<Name>,
) -> Result<(), StoreError> {
    for name in &names {
        // The user let go of a row that this one refers to, and sees NULL there.
        for (key, column) in unique::lost_references(merge.rows, name)? {
            merge.seal_shown(pen, &key, &[(column, &Value::Null)])?;
        }
    }
    for _ in 0..ROUNDS_MAX {
        let component = Component::around(merge.rows, names.iter().cloned(), &Refused::new())?;
        names.extend(component.members.keys().cloned());
        let next = next_in_line(merge.rows, &component)?;
        let hidden: Vec<_> = next.iter().filter(|member| member.shown.is_none()).collect();
        for member in &hidden {
            if let Some(record) = merge.rows.record(&member.key)? {
                merge.seal_death(pen, &member.key, &record, true)?;
            }
        }
        let mut is_settled = false;
        for member in next.iter().filter(|_| hidden.is_empty()) {
            let other = member.shown_otherwise();
            if !other.is_empty() {
                merge.seal_shown(pen, &member.key, &other)?;
                is_settled = true;
            }
        }
        if hidden.is_empty() && !is_settled {
            return unique::keep(merge.rows, &component);
        }
    }
    Ok(())
}

/// The rows that would come to show what they do not, or lose what they do, and those that claim the same: one after the other they
/// would be next. One that claims nothing any more is alone in that: the user made NULL of another column of the index.
fn next_in_line<'c>(rows: &SqliteRows<'_>, component: &'c Component) -> Result<Vec<&'c Member>, StoreError> {
    let (mut moving, mut is_moving) = (BTreeSet::new(), BTreeSet::new());
    for (name, member) in &component.members {
        if component.places.get(name).is_some_and(|place| place.hidden_by.is_none() && member.differs(place)) {
            moving.extend(unique::claims_of(rows, member)?);
            is_moving.insert(name);
        }
    }
    let mut next = Vec::new();
    for (name, member) in component.members.iter().filter(|_| !is_moving.is_empty()) {
        let is_next = is_moving.contains(name) || unique::claims_of(rows, member)?.iter().any(|c| moving.contains(c));
        next.extend(is_next.then_some(member));
    }
    Ok(next)
}
