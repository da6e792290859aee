//! Rows that show something else than was merged because of a unique index stay as the user sees them (rule R12): what a local
//! statement lets go of does not jump to a row that claimed it before.

use p2pdb_core::merge::Rows;
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
        let mut noted = unique::drain(self.shared)?;
        for t in order {
            let Some(table) = self.shared.tables.get(*t).filter(|t| !t.uniques.is_empty()) else { continue };
            let mut names = noted.remove(t).unwrap_or_default();
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
                    // What would come to be shown, or would be lost by a row that shows it: whoever claims it comes next.
                    let mut freed = BTreeSet::new();
                    for (name, member) in &component.members {
                        let place = &component.places[name];
                        if place.hidden_by.is_none() && member.differs(place) {
                            freed.extend(unique::claims_of(merge.rows, member)?);
                        }
                    }
                    let mut claiming = Vec::new();
                    for (_, member) in component.members.iter().filter(|_| !freed.is_empty()) {
                        let claims = unique::claims_of(merge.rows, member)?;
                        claiming.extend(claims.iter().any(|claim| freed.contains(claim)).then_some(member));
                    }
                    let back: Vec<_> = claiming.iter().filter(|member| member.shown.is_none()).collect();
                    for member in &back {
                        if let Some(record) = merge.rows.record(&member.key)? {
                            merge.seal_death(pen, &member.key, &record, true)?;
                        }
                    }
                    let mut is_settled = false;
                    for member in claiming.iter().filter(|_| back.is_empty()) {
                        let shown = member.shown.iter().flatten().zip(&member.row.values).enumerate();
                        let other = shown.filter(|(_, (shown, merged))| shown != merged);
                        let other: Vec<_> = other.map(|(column, (shown, _))| (column, shown)).collect();
                        if !other.is_empty() {
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
            for (of, names) in unique::drain(self.shared)?.into_iter().filter(|(of, _)| of != t) {
                noted.entry(of).or_default().extend(names);
            }
        }
        Ok(())
    }
}
