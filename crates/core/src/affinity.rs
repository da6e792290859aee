//! What a column's declared type makes of a value that is put into it.
//!
//! SQLite stores the text '2' in an INTEGER column as 2, and 2 in a REAL one as 2.0. What was written and what the table shows
//! are two things then: the merged state keeps the one, for it must not depend on which type the column had when the
//! write came; the row's record keeps the hash of the other, for that is what a seal will find.

use crate::body::Cell;
use crate::value::Value;

/// A column's affinity.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Affinity {
    /// Every value stays as it is.
    #[default]
    None,
    /// Whole numbers.
    Integer,
    /// Floating-point numbers.
    Real,
    /// Numbers of either kind.
    Numeric,
    /// Text.
    Text,
}

impl Affinity {
    /// Of a declared type, by SQLite's rules.
    pub fn of(declared: &str) -> Self {
        let declared = declared.to_ascii_uppercase();
        let has = |words: &[&str]| words.iter().any(|w| declared.contains(w));
        match () {
            () if has(&["INT"]) => Self::Integer,
            () if has(&["CHAR", "CLOB", "TEXT"]) => Self::Text,
            () if declared.is_empty() || has(&["BLOB"]) => Self::None,
            () if has(&["REAL", "FLOA", "DOUB"]) => Self::Real,
            () => Self::Numeric,
        }
    }

    /// May a column of this affinity store the value as another?
    pub fn may_change(self, cell: &Cell<'_>) -> bool {
        match self {
            Self::None => false,
            Self::Integer | Self::Numeric => matches!(cell, Cell::Text(_) | Cell::Real(_)),
            Self::Real => matches!(cell, Cell::Text(_) | Cell::Integer(_)),
            Self::Text => matches!(cell, Cell::Integer(_) | Cell::Real(_)),
        }
    }
}

/// Values that a column of some affinity may have made `shown` of: those that are written as one would write them.
pub fn sources(shown: &Value) -> Vec<Value> {
    let text = |s: String| Value::Text(s.into_bytes());
    match shown {
        Value::Integer(i) => vec![Value::Real(*i as f64), text(i.to_string())],
        Value::Real(r) => {
            let whole = (r.fract() == 0.0 && r.abs() < 9e18).then_some(Value::Integer(*r as i64));
            whole.into_iter().chain([text(format!("{r:?}")), text(r.to_string())]).collect()
        }
        Value::Text(t) => {
            let Ok(t) = std::str::from_utf8(t) else { return Vec::new() };
            let (whole, real) = (t.parse().ok().map(Value::Integer), t.parse().ok().map(Value::Real));
            whole.into_iter().chain(real).collect()
        }
        Value::Null | Value::Blob(_) | Value::Ref(_) => Vec::new(),
    }
}
