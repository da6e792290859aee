//! Reading the definition of a table that is here.
//!
//! The PRAGMAs say which columns there are and by which collations indexes compare; the text in `sqlite_schema` says
//! the rest. Where the text can't be read the definition is made of what the PRAGMAs tell, and notes it: the table can
//! be captured all the same.

use rusqlite::{Connection, OptionalExtension};

use super::{Column, Definition, Expr, Index, OnConflict, Part, PrimaryKey, Term, list, parse};

/// Why there is no definition.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// No table of that name in the main database.
    #[error("it does not exist")]
    Missing,
    /// A view or a virtual table.
    #[error("it is a {0}")]
    NotATable(&'static str),
    /// SQLite's.
    #[error("{0}")]
    Sqlite(#[from] rusqlite::Error),
}

impl Definition {
    /// Reads the definition of a table of the main database.
    ///
    /// # Errors
    /// [`ReadError`] if there is no such table, or SQLite can't read the schema.
    pub fn read_local(conn: &Connection, table: &str) -> Result<Self, ReadError> {
        let sql = "SELECT type, name, sql FROM main.sqlite_schema WHERE name = ?1 COLLATE NOCASE AND type IN ('table', 'view')";
        let found = conn.prepare_cached(sql)?.query_row([table], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, Option<String>>(2)?))
        });
        let (kind, name, sql) = found.optional()?.ok_or(ReadError::Missing)?;
        let sql = sql.unwrap_or_default();
        if kind == "view" {
            return Err(ReadError::NotATable("view"));
        }
        if is_virtual(&sql) {
            return Err(ReadError::NotATable("virtual table"));
        }
        let mut definition = Self::bare(conn, name)?;
        let fallback = definition.clone();
        if let Err(reason) = parse::table(&sql, &mut definition) {
            definition = fallback;
            definition.notes.push(reason);
            definition.key_by_pragma(conn)?;
        }
        definition.find_rowid(conn)?;
        definition.read_indexes(conn)?;
        definition.note_types();
        Ok(definition)
    }

    /// Columns only.
    fn bare(conn: &Connection, name: String) -> Result<Self, ReadError> {
        let sql = "SELECT name, type, hidden FROM pragma_table_xinfo(?1, 'main') ORDER BY cid";
        let mut statement = conn.prepare_cached(sql)?;
        let columns = statement.query_map([&name], |row| {
            // What it is generated from only the text says.
            let generated = (row.get::<_, i64>(2)? > 1).then(|| super::Generated {
                expr: Expr::Unlisted { text: String::new(), reason: "its expression can't be read".into() },
                is_stored: false,
            });
            let declared = row.get::<_, Option<String>>(1)?.unwrap_or_default();
            Ok(Column {
                name: row.get(0)?,
                declared,
                collation: "BINARY".into(),
                not_null: None,
                default: None,
                generated,
            })
        });
        let columns: Vec<Column> = columns?.collect::<rusqlite::Result<_>>()?;
        Ok(Self {
            name,
            columns,
            key: None,
            without_rowid: false,
            strict: false,
            uniques: Vec::new(),
            indexes: Vec::new(),
            foreign_keys: Vec::new(),
            checks: Vec::new(),
            notes: Vec::new(),
        })
    }

    /// The key as the PRAGMAs tell it.
    fn key_by_pragma(&mut self, conn: &Connection) -> Result<(), ReadError> {
        let sql = "SELECT cid FROM pragma_table_xinfo(?1, 'main') WHERE pk > 0 ORDER BY pk";
        let mut statement = conn.prepare_cached(sql)?;
        let numbers: Vec<i64> =
            statement.query_map([&self.name], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
        let terms: Vec<Term> = numbers
            .into_iter()
            .map(|c| Term { part: Part::Column(c as usize), collation: "BINARY".into(), is_descending: false })
            .collect();
        self.without_rowid =
            conn.prepare(&format!("SELECT _rowid_ FROM main.{}", crate::quote::Quoted(&self.name))).is_err();
        if !terms.is_empty() {
            self.key = Some(PrimaryKey {
                terms,
                is_rowid: false,
                is_autoincrement: false,
                is_natural: false,
                on_conflict: OnConflict::Abort,
            });
        }
        Ok(())
    }

    /// A sole INTEGER key is the rowid exactly where no index serves it.
    fn find_rowid(&mut self, conn: &Connection) -> Result<(), ReadError> {
        let sql = "SELECT EXISTS(SELECT 1 FROM pragma_index_list(?1, 'main') WHERE origin = 'pk')";
        let has_index: bool = conn.prepare_cached(sql)?.query_row([&self.name], |row| row.get(0))?;
        if let Some(key) = self.key.as_mut() {
            key.is_rowid = !self.without_rowid && !has_index;
            if key.is_rowid {
                // Said in a constraint of its own, DESC and COLLATE mean nothing for the rowid.
                key.terms.iter_mut().for_each(|t| (t.is_descending, t.collation) = (false, "BINARY".into()));
            }
        }
        Ok(())
    }

    fn read_indexes(&mut self, conn: &Connection) -> Result<(), ReadError> {
        let sql = "SELECT l.name, l.\"unique\", s.sql FROM pragma_index_list(?1, 'main') l
                   JOIN main.sqlite_schema s ON s.type = 'index' AND s.name = l.name
                   WHERE l.origin = 'c' ORDER BY lower(l.name), l.name";
        let mut statement = conn.prepare_cached(sql)?;
        let all = statement.query_map([&self.name], |row| {
            Ok((row.get::<_, String>(0)?, row.get(1)?, row.get::<_, Option<String>>(2)?))
        });
        let all: Vec<(String, bool, Option<String>)> = all?.collect::<rusqlite::Result<_>>()?;
        for (name, is_unique, sql) in all {
            match (parse::index(sql.as_deref().unwrap_or_default(), &name, self), is_unique) {
                (Ok(mut index), true) => {
                    set_collations(conn, &mut index)?;
                    self.uniques.push(index);
                }
                (Ok(mut index), false) => {
                    set_collations(conn, &mut index)?;
                    let is_listed = |t: &Term| !matches!(t.part, Part::Expr(Expr::Unlisted { .. }));
                    let has_filter = index.filter.as_ref().is_some_and(|f| f.unlisted().is_some());
                    // It constrains nothing: a peer does as well without.
                    if index.terms.iter().all(is_listed) && !has_filter {
                        self.indexes.push(index);
                    }
                }
                (Err(reason), true) => self.notes.push(format!("the unique index \"{name}\": {reason}")),
                (Err(_), false) => {}
            }
        }
        Ok(())
    }

    /// Types that can't be said go nowhere.
    fn note_types(&mut self) {
        for column in &mut self.columns {
            if !list::is_type(&column.declared) {
                self.notes.push(format!("the type of column \"{}\" can't be read", column.name));
                column.declared.clear();
            }
        }
        self.notes.iter_mut().for_each(|n| *n = n.chars().take(200).collect());
    }
}

/// The collations that the index's terms really compare by.
fn set_collations(conn: &Connection, index: &mut Index) -> Result<(), ReadError> {
    let Some(name) = &index.name else { return Ok(()) };
    let sql = "SELECT coll FROM pragma_index_xinfo(?1, 'main') WHERE key ORDER BY seqno";
    let mut statement = conn.prepare_cached(sql)?;
    let all: Vec<Option<String>> = statement.query_map([name], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    for (term, collation) in index.terms.iter_mut().zip(all) {
        if let Some(collation) = collation {
            term.collation = match collation.to_ascii_uppercase() {
                upper if ["BINARY", "NOCASE", "RTRIM"].contains(&upper.as_str()) => upper,
                _ => collation,
            };
        }
    }
    Ok(())
}

/// Is this the text of a virtual table?
pub(crate) fn is_virtual(sql: &str) -> bool {
    let mut words = sql.split_ascii_whitespace();
    words.next().is_some_and(|w| w.eq_ignore_ascii_case("create"))
        && words.next().is_some_and(|w| w.eq_ignore_ascii_case("virtual"))
}
