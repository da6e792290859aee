//! Are two definitions one table?

use super::{Column, Definition, Index};

impl Definition {
    /// The first thing in which `theirs` is another table than this one, as a sentence; none if both are one table.
    /// Indexes that constrain nothing, and names of indexes and constraints, make no difference.
    pub fn difference(&self, theirs: &Self) -> Option<String> {
        if !self.name.eq_ignore_ascii_case(&theirs.name) {
            return Some(format!("it is named \"{}\" there and \"{}\" here", theirs.name, self.name));
        }
        let mut columns = self.columns.iter().zip(&theirs.columns);
        if let Some(difference) = columns.find_map(|(a, b)| column(a, b)) {
            return Some(difference);
        }
        if self.columns.len() != theirs.columns.len() {
            return Some(format!("it has {} columns there and {} here", theirs.columns.len(), self.columns.len()));
        }
        let nameless = |all: &[Index]| {
            let mut all: Vec<Vec<u8>> =
                all.iter().map(|i| Self::only(Index { name: None, ..i.clone() }).to_bytes()).collect();
            all.sort_unstable();
            all
        };
        let sorted = |d: &Self| {
            let mut checks: Vec<Vec<u8>> = d.checks.iter().map(|c| Self::only_check(c).to_bytes()).collect();
            checks.sort_unstable();
            checks
        };
        let parts = [
            (self.key == theirs.key, "primary key"),
            (self.without_rowid == theirs.without_rowid, "WITHOUT ROWID"),
            (self.strict == theirs.strict, "STRICT"),
            (nameless(&self.uniques) == nameless(&theirs.uniques), "unique indexes"),
            (self.has_keys_of(theirs) && theirs.has_keys_of(self), "foreign keys"),
            (sorted(self) == sorted(theirs), "CHECKs"),
        ];
        parts.iter().find(|p| !p.0).map(|p| format!("the {} differ{}", p.1, if p.1.ends_with('s') { "" } else { "s" }))
    }

    fn has_keys_of(&self, other: &Self) -> bool {
        let fold = |k: &super::ForeignKey| {
            let mut k = k.clone();
            k.parent = k.parent.to_ascii_lowercase();
            k.parent_columns.iter_mut().for_each(|c| c.make_ascii_lowercase());
            k
        };
        other.foreign_keys.iter().all(|k| self.foreign_keys.iter().any(|mine| fold(mine) == fold(k)))
    }

    /// A definition that says this index and nothing else: its bytes are what is compared.
    fn only(index: Index) -> Self {
        Self { uniques: vec![index], ..Self::nothing() }
    }

    fn only_check(check: &super::Check) -> Self {
        Self { checks: vec![super::Check { name: None, expr: check.expr.clone() }], ..Self::nothing() }
    }

    pub(super) fn nothing() -> Self {
        Self {
            name: String::new(),
            columns: Vec::new(),
            key: None,
            without_rowid: false,
            strict: false,
            uniques: Vec::new(),
            indexes: Vec::new(),
            foreign_keys: Vec::new(),
            checks: Vec::new(),
            notes: Vec::new(),
        }
    }
}

fn column(ours: &Column, theirs: &Column) -> Option<String> {
    let name = &ours.name;
    if !name.eq_ignore_ascii_case(&theirs.name) {
        return Some(format!("it has the column \"{}\" there where it has \"{name}\" here", theirs.name));
    }
    let bytes = |e: Option<&super::Expr>| {
        let mut out = Vec::new();
        e.into_iter().for_each(|e| e.write(&mut out));
        out
    };
    let generated =
        |c: &Column| (bytes(c.generated.as_ref().map(|g| &g.expr)), c.generated.as_ref().is_some_and(|g| g.is_stored));
    let parts = [
        (ours.declared.eq_ignore_ascii_case(&theirs.declared), "type"),
        (ours.collation.eq_ignore_ascii_case(&theirs.collation), "collation"),
        (ours.not_null == theirs.not_null, "NOT NULL"),
        (bytes(ours.default.as_ref()) == bytes(theirs.default.as_ref()), "DEFAULT"),
        (generated(ours) == generated(theirs), "expression"),
    ];
    parts.iter().find(|p| !p.0).map(|p| format!("the {} of column \"{name}\" differs", p.1))
}
