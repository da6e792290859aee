//! A definition as canonical bytes, as it stands in the log.
//!
//! Byte by byte in `docs/format.md`. The first byte is the version of this format; a reader refuses one that it does
//! not know with [`Malformed::Unknown`], and so it does with any number that has no meaning in its version. Nothing is
//! allocated by a count that the bytes left can't hold.

use p2pdb_core::codec::{Malformed, Reader, Write};
use p2pdb_core::limit;

use super::expr::{Expr, Place};
use super::list;
use super::{Action, Check, Column, Definition, ForeignKey, Generated, Index, OnConflict, Part, PrimaryKey, Term};

const VERSION: u8 = 1;

impl Definition {
    /// Appends the definition.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.u8(VERSION);
        out.bytes(self.name.as_bytes());
        out.u8(u8::from(self.without_rowid) | u8::from(self.strict) << 1);
        list_of(&self.columns, out, write_column);
        option(self.key.as_ref(), out, write_key);
        list_of(&self.uniques, out, write_index);
        list_of(&self.indexes, out, write_index);
        list_of(&self.foreign_keys, out, write_foreign_key);
        list_of(&self.checks, out, write_check);
        list_of(&self.notes, out, |note, out| out.bytes(note.as_bytes()));
    }

    /// The definition as bytes of its own.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(&mut out);
        out
    }

    /// Reads a definition that fills `bytes`, and checks all that can be checked without a database.
    ///
    /// # Errors
    /// [`Malformed`] if the bytes are none, or if it breaks a bound or the white list.
    pub fn read(bytes: &[u8]) -> Result<Self, Malformed> {
        if bytes.len() > limit::DEFINITION_BYTES_MAX {
            let (got, max) = (bytes.len() as u64, limit::DEFINITION_BYTES_MAX as u64);
            return Err(Malformed::OverLimit { what: "bytes of a definition", got, max });
        }
        let r = &mut Reader::new(bytes);
        let version = r.u8("definition")?;
        if version != VERSION {
            return Err(Malformed::Unknown { what: "version of a definition", got: version.into() });
        }
        let table = name(r)?;
        let table_flags = flags(r, 2)?;
        let count = r.clone().count("columns", limit::COLUMNS_MAX)?;
        let columns = items(r, "columns", |r| read_column(r, count))?;
        let key = optional(r, |r| read_key(r, count))?;
        let definition = Self {
            name: table,
            key,
            without_rowid: table_flags & 1 != 0,
            strict: table_flags & 2 != 0,
            uniques: items(r, "unique indexes", |r| read_index(r, count))?,
            indexes: items(r, "indexes", |r| read_index(r, count))?,
            foreign_keys: items(r, "foreign keys", |r| read_foreign_key(r, count))?,
            checks: items(r, "checks", |r| read_check(r, count))?,
            notes: items(r, "notes", |r| text(r, "note", limit::IDENTIFIER_BYTES_MAX))?,
            columns,
        };
        r.end()?;
        definition.check()?;
        Ok(definition)
    }

    /// Rules between fields.
    fn check(&self) -> Result<(), Malformed> {
        let mut names: Vec<String> = self.columns.iter().map(|c| c.name.to_ascii_lowercase()).collect();
        names.sort_unstable();
        names.dedup();
        if names.len() != self.columns.len() || names.is_empty() {
            return Err(Malformed::Rule("a table has no columns, or two of one name"));
        }
        let is_reserved =
            |n: &str| ["sqlite_", "_p2p_"].iter().any(|p| n.get(..p.len()).is_some_and(|h| h.eq_ignore_ascii_case(p)));
        let index_names = self.uniques.iter().chain(&self.indexes).filter_map(|i| i.name.as_ref());
        if index_names.chain([&self.name]).any(|n| is_reserved(n)) {
            return Err(Malformed::Rule("a table or index has a name that is reserved"));
        }
        if self.columns.iter().all(|c| c.generated.is_some()) {
            return Err(Malformed::Rule("a table has generated columns only"));
        }
        let Some(key) = &self.key else { return Ok(()) };
        let id = key.terms.first().and_then(|t| if let Part::Column(c) = t.part { self.columns.get(c) } else { None });
        let is_integer = key.terms.len() == 1
            && !self.without_rowid
            && id.is_some_and(|c| c.declared.eq_ignore_ascii_case("integer"));
        if (key.is_rowid && !is_integer) || ((key.is_autoincrement || key.is_natural) && !key.is_rowid) {
            return Err(Malformed::Rule("only a sole INTEGER column is the rowid"));
        }
        let generated = |t: &Term| matches!(t.part, Part::Column(c) if self.columns[c].generated.is_none());
        if key.terms.is_empty() || !key.terms.iter().all(generated) {
            return Err(Malformed::Rule("a primary key is made of one or more stored columns"));
        }
        Ok(())
    }
}

/// UTF-8 without NUL, of at most `max` bytes.
pub(super) fn text(r: &mut Reader<'_>, what: &'static str, max: usize) -> Result<String, Malformed> {
    let text =
        std::str::from_utf8(r.bytes(what, max)?).map_err(|_| Malformed::Rule("text of a definition is not UTF-8"))?;
    if text.contains('\0') {
        return Err(Malformed::Rule("text of a definition holds NUL"));
    }
    Ok(text.into())
}

/// A byte of which only the lowest `bits` may be set.
pub(super) fn flags(r: &mut Reader<'_>, bits: u32) -> Result<u8, Malformed> {
    let got = r.u8("flags")?;
    if got >> bits != 0 {
        return Err(Malformed::Unknown { what: "flags of a definition", got: got.into() });
    }
    Ok(got)
}

pub(super) fn name(r: &mut Reader<'_>) -> Result<String, Malformed> {
    let name = text(r, "name", limit::IDENTIFIER_BYTES_MAX)?;
    if name.is_empty() { Err(Malformed::Rule("a name is empty")) } else { Ok(name) }
}

fn list_of<T>(all: &[T], out: &mut Vec<u8>, write: impl Fn(&T, &mut Vec<u8>)) {
    out.uvarint(all.len() as u64);
    all.iter().for_each(|item| write(item, out));
}

pub(super) fn items<'a, T>(
    r: &mut Reader<'a>,
    what: &'static str,
    mut read: impl FnMut(&mut Reader<'a>) -> Result<T, Malformed>,
) -> Result<Vec<T>, Malformed> {
    let n = r.items(what, 1)?;
    let mut all = Vec::new();
    for _ in 0..n {
        all.push(read(r)?);
    }
    Ok(all)
}

fn option<T>(value: Option<&T>, out: &mut Vec<u8>, write: impl Fn(&T, &mut Vec<u8>)) {
    out.u8(u8::from(value.is_some()));
    if let Some(value) = value {
        write(value, out);
    }
}

pub(super) fn optional<'a, T>(
    r: &mut Reader<'a>,
    read: impl FnOnce(&mut Reader<'a>) -> Result<T, Malformed>,
) -> Result<Option<T>, Malformed> {
    if flags(r, 1)? == 1 { read(r).map(Some) } else { Ok(None) }
}

fn column(r: &mut Reader<'_>, columns: usize) -> Result<usize, Malformed> {
    let c = r.count("column number", limit::COLUMNS_MAX)?;
    if c < columns { Ok(c) } else { Err(Malformed::Rule("a constraint names a column that is not there")) }
}

fn write_column(column: &Column, out: &mut Vec<u8>) {
    out.bytes(column.name.as_bytes());
    write_column_type(column, out);
    option(column.generated.as_ref(), out, write_generated);
}

fn read_column(r: &mut Reader<'_>, columns: usize) -> Result<Column, Malformed> {
    let name = name(r)?;
    let column = read_column_type(r, name)?;
    Ok(Column { generated: optional(r, |r| read_generated(r, columns))?, ..column })
}

/// A column but for its name and what it is generated from.
pub(super) fn write_column_type(column: &Column, out: &mut Vec<u8>) {
    out.bytes(column.declared.as_bytes());
    out.bytes(column.collation.as_bytes());
    option(column.not_null.as_ref(), out, |n, out| out.u8(conflict_byte(*n)));
    option(column.default.as_ref(), out, |d, out| d.write(out));
}

pub(super) fn read_column_type(r: &mut Reader<'_>, name: String) -> Result<Column, Malformed> {
    let declared = text(r, "type", limit::IDENTIFIER_BYTES_MAX)?;
    if !list::is_type(&declared) {
        return Err(Malformed::Rule("a column's type is none"));
    }
    Ok(Column {
        name,
        declared,
        collation: self::name(r)?,
        not_null: optional(r, read_conflict)?,
        default: optional(r, |r| Expr::read(r, 0, Place::Default))?,
        generated: None,
    })
}

pub(super) fn write_generated(generated: &Generated, out: &mut Vec<u8>) {
    generated.expr.write(out);
    out.u8(u8::from(generated.is_stored));
}

pub(super) fn read_generated(r: &mut Reader<'_>, columns: usize) -> Result<Generated, Malformed> {
    Ok(Generated { expr: Expr::read(r, columns, Place::Row)?, is_stored: flags(r, 1)? != 0 })
}

pub(super) fn write_check(check: &Check, out: &mut Vec<u8>) {
    option(check.name.as_ref(), out, |name, out| out.bytes(name.as_bytes()));
    check.expr.write(out);
}

pub(super) fn read_check(r: &mut Reader<'_>, columns: usize) -> Result<Check, Malformed> {
    Ok(Check { name: optional(r, name)?, expr: Expr::read(r, columns, Place::Row)? })
}

pub(super) fn write_key(key: &PrimaryKey, out: &mut Vec<u8>) {
    list_of(&key.terms, out, write_term);
    let flags = [key.is_rowid, key.is_autoincrement, key.is_natural];
    let flags = flags.iter().enumerate().fold(0, |all, (bit, is)| all | u8::from(*is) << bit);
    out.raw(&[flags, conflict_byte(key.on_conflict)]);
}

pub(super) fn read_key(r: &mut Reader<'_>, columns: usize) -> Result<PrimaryKey, Malformed> {
    let terms = items(r, "columns of a key", |r| read_term(r, columns))?;
    let flags = flags(r, 3)?;
    let has = |bit: u8| flags & bit != 0;
    let (is_rowid, is_autoincrement, is_natural) = (has(1), has(2), has(4));
    Ok(PrimaryKey { terms, is_rowid, is_autoincrement, is_natural, on_conflict: read_conflict(r)? })
}

fn write_term(term: &Term, out: &mut Vec<u8>) {
    match &term.part {
        Part::Column(c) => {
            out.u8(0);
            out.uvarint(*c as u64);
        }
        Part::Expr(expr) => {
            out.u8(1);
            expr.write(out);
        }
    }
    out.bytes(term.collation.as_bytes());
    out.u8(u8::from(term.is_descending));
}

fn read_term(r: &mut Reader<'_>, columns: usize) -> Result<Term, Malformed> {
    let part = match flags(r, 1)? {
        0 => Part::Column(column(r, columns)?),
        _ => Part::Expr(Expr::read(r, columns, Place::Row)?),
    };
    Ok(Term { part, collation: name(r)?, is_descending: flags(r, 1)? != 0 })
}

pub(super) fn write_index(index: &Index, out: &mut Vec<u8>) {
    option(index.name.as_ref(), out, |name, out| out.bytes(name.as_bytes()));
    list_of(&index.terms, out, write_term);
    option(index.filter.as_ref(), out, |filter, out| filter.write(out));
    out.u8(conflict_byte(index.on_conflict));
}

pub(super) fn read_index(r: &mut Reader<'_>, columns: usize) -> Result<Index, Malformed> {
    let index = Index {
        name: optional(r, name)?,
        terms: items(r, "terms of an index", |r| read_term(r, columns))?,
        filter: optional(r, |r| Expr::read(r, columns, Place::Row))?,
        on_conflict: read_conflict(r)?,
    };
    let is_plain = index.filter.is_none() && index.terms.iter().all(|t| matches!(t.part, Part::Column(_)));
    match (&index.name, index.on_conflict) {
        _ if index.terms.is_empty() => Err(Malformed::Rule("an index without columns")),
        (None, _) if !is_plain => Err(Malformed::Rule("a UNIQUE constraint is about columns")),
        (Some(_), OnConflict::Rollback | OnConflict::Fail | OnConflict::Ignore | OnConflict::Replace) => {
            Err(Malformed::Rule("an index has no ON CONFLICT"))
        }
        _ => Ok(index),
    }
}

pub(super) fn write_foreign_key(key: &ForeignKey, out: &mut Vec<u8>) {
    list_of(&key.columns, out, |c, out| out.uvarint(*c as u64));
    out.bytes(key.parent.as_bytes());
    list_of(&key.parent_columns, out, |c, out| out.bytes(c.as_bytes()));
    out.raw(&[action_byte(key.on_delete), action_byte(key.on_update), u8::from(key.is_deferred)]);
}

pub(super) fn read_foreign_key(r: &mut Reader<'_>, columns: usize) -> Result<ForeignKey, Malformed> {
    let key = ForeignKey {
        columns: items(r, "columns of a foreign key", |r| column(r, columns))?,
        parent: name(r)?,
        parent_columns: items(r, "columns of a foreign key", name)?,
        on_delete: read_action(r)?,
        on_update: read_action(r)?,
        is_deferred: flags(r, 1)? != 0,
    };
    let is_paired = key.parent_columns.is_empty() || key.parent_columns.len() == key.columns.len();
    if key.columns.is_empty() || !is_paired {
        return Err(Malformed::Rule("a foreign key's columns do not pair"));
    }
    Ok(key)
}

fn conflict_byte(on_conflict: OnConflict) -> u8 {
    match on_conflict {
        OnConflict::Abort => 0,
        OnConflict::Rollback => 1,
        OnConflict::Fail => 2,
        OnConflict::Ignore => 3,
        OnConflict::Replace => 4,
    }
}

fn read_conflict(r: &mut Reader<'_>) -> Result<OnConflict, Malformed> {
    Ok(match r.u8("ON CONFLICT")? {
        0 => OnConflict::Abort,
        1 => OnConflict::Rollback,
        2 => OnConflict::Fail,
        3 => OnConflict::Ignore,
        4 => OnConflict::Replace,
        got => return Err(Malformed::Unknown { what: "ON CONFLICT", got: got.into() }),
    })
}

fn action_byte(action: Action) -> u8 {
    match action {
        Action::NoAction => 0,
        Action::Restrict => 1,
        Action::SetNull => 2,
        Action::SetDefault => 3,
        Action::Cascade => 4,
    }
}

fn read_action(r: &mut Reader<'_>) -> Result<Action, Malformed> {
    Ok(match r.u8("foreign key action")? {
        0 => Action::NoAction,
        1 => Action::Restrict,
        2 => Action::SetNull,
        3 => Action::SetDefault,
        4 => Action::Cascade,
        got => return Err(Malformed::Unknown { what: "foreign key action", got: got.into() }),
    })
}
