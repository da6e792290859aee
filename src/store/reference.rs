//! What becomes of a row when the one that it refers to is not visible: what the schema says of its foreign key (rule P2).

use p2pdb_core::value::Value;
use std::collections::BTreeSet;

use super::StoreError;
use super::define::stored_default;
use crate::schema::{Action, Definition};

/// The mode of a reference.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Mode {
    /// CASCADE: the row is not visible without the one that it refers to.
    Cascade,
    /// SET NULL, and SET DEFAULT with a constant: the row is visible and shows NULL, or what the default means where that is a row
    /// of the other table.
    Weak(Value),
    /// NO ACTION and RESTRICT, and SET NULL where the column can't be NULL at will: the schema does not let the row go without the
    /// one that it refers to, nor tell what it would be then.
    Need,
}

impl Mode {
    /// Does the row show something else, where it can't show the reference?
    pub(crate) fn is_weak(&self) -> bool {
        matches!(self, Self::Weak(_))
    }

    /// Is there a default, which may mean a row?
    pub(crate) fn has_default(&self) -> bool {
        matches!(self, Self::Weak(default) if *default != Value::Null)
    }

    /// The mode of the foreign key of one column, by its number among all columns of the definition.
    ///
    /// # Errors
    /// SQLite's.
    pub(super) fn of(definition: &Definition, column: usize, action: Action) -> Result<Self, StoreError> {
        let can_be_null = || {
            let is_free = definition.columns.get(column).is_some_and(|c| c.not_null.is_none());
            is_free && !is_in_key(definition, column) && !checked(definition).contains(&column)
        };
        Ok(match action {
            Action::Cascade => Self::Cascade,
            Action::SetNull if can_be_null() => Self::Weak(Value::Null),
            Action::SetDefault if can_be_null() => {
                let default = definition.columns.get(column).map(stored_default).transpose()?;
                Self::Weak(default.flatten().unwrap_or(Value::Null))
            }
            Action::NoAction | Action::Restrict | Action::SetNull | Action::SetDefault => Self::Need,
        })
    }
}

fn is_in_key(definition: &Definition, column: usize) -> bool {
    let name = definition.columns.get(column).map(|c| c.name.as_str());
    definition.key_columns().iter().any(|(c, _)| name.is_some_and(|name| name.eq_ignore_ascii_case(c)))
}

/// The columns that a CHECK is about.
fn checked(definition: &Definition) -> BTreeSet<usize> {
    definition.checks.iter().flat_map(|check| definition.real_columns(check.expr.columns())).collect()
}
