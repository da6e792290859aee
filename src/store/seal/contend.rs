//! Rows that show something else than was merged because of a unique index stay as the user sees them (rule R12): what a local
//! statement lets go of does not jump to a row that claimed it before.

use p2pdb_core::merge::Rows;
use p2pdb_core::name::Name;
use p2pdb_core::value::Value;
use std::collections::BTreeSet;

use super::batch::Sealing;
use crate::store::StoreError;
use crate::store::unique::{self, Component, Refused};

/// How often it is looked again: what is settled may change what the rule says of others.
const ROUNDS_MAX: usize = 16;

impl Sealing<'_, '_> {
    /// Has what contenders show stay: by a settle where they are visible, by a delete that its user knows nothing of where one would
    /// come back.
    pub(super) fn keep_shown(&mut self, order: &[i64]) -> Result<(), StoreError> {
        for t in order {
            let Some(table) = self.shared.tables.get(*t).filter(|t| !t.uniques.is_empty()) else { continue };
            let contended = std::mem::take(&mut *self.shared.flags.contended.borrow_mut());
            let (here, elsewhere): (BTreeSet<_>, BTreeSet<_>) = contended.into_iter().partition(|(of, _)| of == t);
            *self.shared.flags.contended.borrow_mut() = elsewhere;
            let mut names: BTreeSet<Name> = here.into_iter().map(|(_, name)| name).collect();
            if names.is_empty() {
                continue;
            }
            self.merge(table, |merge, pen| {
                // The user let go of a row that this one refers to, and sees NULL there.
                for name in &names {
                    for (key, column) in unique::lost_references(merge.rows, name)? {
                        merge.seal_shown(pen, &key, &[(column, &Value::Null)])?;
                    }
                }
                for _ in 0..ROUNDS_MAX {
                    let component = Component::around(merge.rows, names.iter().cloned(), &Refused::new())?;
                    names.extend(component.members.keys().cloned());
                    let is_back = |(name, member): &(_, &unique::Member)| {
                        member.shown.is_none() && component.places[*name].hidden_by.is_none()
                    };
                    let back: Vec<_> = component.members.iter().filter(is_back).collect();
                    for (_, member) in &back {
                        if let Some(record) = merge.rows.record(&member.key)? {
                            merge.seal_death(pen, &member.key, &record, true)?;
                        }
                    }
                    // Where a row that shows what it holds would lose it, it is to those that claim it and show something else.
                    let is_robbed = component.members.iter().any(|(name, member)| {
                        member.shown.as_ref() == Some(&member.row.values) && member.differs(&component.places[name])
                    });
                    let mut is_settled = false;
                    for (name, member) in component.members.iter().filter(|_| back.is_empty()) {
                        let shown = member.shown.iter().flatten().zip(&member.row.values).enumerate();
                        let other = shown.filter(|(_, (shown, merged))| shown != merged);
                        let other: Vec<_> = other.map(|(column, (shown, _))| (column, shown)).collect();
                        if !other.is_empty() && (is_robbed || member.differs(&component.places[name])) {
                            merge.seal_shown(pen, &member.key, &other)?;
                            is_settled = true;
                        }
                    }
                    if back.is_empty() && !is_settled {
                        return unique::keep(merge.rows, &component);
                    }
                }
                Ok(())
            })?;
            // What it did to rows of this table asks for nothing more.
            self.shared.flags.contended.borrow_mut().retain(|(of, _)| of != t);
        }
        Ok(())
    }
}
