//! Is everything here what it says it is? The log against its hashes and signatures, the records against the rows, the
//! digest against the records.

use p2pdb_core::body::{Body, unpack};
use p2pdb_core::digest;
use p2pdb_core::entry::Entry;
use p2pdb_core::id::{AuthorId, EntryId, Seq, TableId};
use p2pdb_core::merge::{self, Key};
use p2pdb_core::record::Record;
use p2pdb_core::value::Value;
use rusqlite::{Statement, params};
use std::collections::BTreeMap;
use std::fmt;

use super::View;
use super::shown::{key_literal, key_shown_literal};
use crate::quote::Quoted;
use crate::schema;
use crate::store::mirror::{self, Difference};
use crate::store::rows::{SqliteRows, key_of, values_of};
use crate::store::tables::{self, Tracked};
use crate::store::{StoreError, places, records, seal};

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// An entry is not what its hash, its chain or its signature says.
    Entry {
        /// Its author.
        author: AuthorId,
        /// Its number.
        seq: Seq,
        /// What is wrong.
        what: String,
    },
    /// A row and its record do not agree.
    Row {
        /// The table.
        table: String,
        /// The row's key, as it is written in SQL.
        key: String,
        /// What is wrong.
        what: String,
    },
    /// The digest is not the sum over the records.
    Digest,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Entry { author, seq, what } => write!(f, "entry {seq} of author {author}: {what}"),
            Self::Row { table, key, what } => write!(f, "table \"{table}\", row {key}: {what}"),
            Self::Digest => f.write_str("the state digest is not the sum over the rows' records"),
        }
    }
}

/// Findings beyond this many are counted, not listed.
const FINDINGS_MAX: usize = 1000;

impl View<'_> {
    /// Checks everything. Rows that the user changed since the last seal are left out.
    ///
    /// # Errors
    /// SQLite's.
    pub fn verify(&mut self) -> Result<Vec<Finding>, StoreError> {
        let mut findings = Vec::new();
        self.verify_log(&mut findings)?;
        let mut sum = 0u128;
        let is_settled = seal::pending(self.conn)? == 0;
        for (t, merge) in self.recorded()? {
            sum = sum.wrapping_add(self.sum(t, &merge)?);
            // After a VACUUM the next seal finds out which row is which.
            if is_settled && (!merge.has_nameless || places::are_known(self.conn, t)?) {
                let found = self.rows(t, |rows, table| {
                    let mut found = Vec::new();
                    verify_records(rows, table, &mut found)?;
                    verify_rows(rows, table, &mut found)?;
                    Ok(found)
                })?;
                findings.extend(found.unwrap_or_default());
            }
        }
        let digest = self.meta::<[u8; 16]>("digest")?.unwrap_or_default();
        if u128::from_le_bytes(digest) != sum {
            findings.push(Finding::Digest);
        }
        findings.truncate(FINDINGS_MAX);
        Ok(findings)
    }

    /// Every table that has records, as the merge knows it: those too that are untracked, or gone, or not as they were
    /// announced. Their rows are the user's own; their records still count in the digest.
    fn recorded(&self) -> Result<Vec<(i64, merge::Table)>, StoreError> {
        let sql = "SELECT t, id, names, definition, columns FROM _p2p_table a
            WHERE EXISTS(SELECT 1 FROM main.sqlite_schema WHERE type = 'table' AND name = '_p2p_row_' || t) ORDER BY t";
        let mut statement = self.conn.prepare_cached(sql)?;
        let mut rows = statement.query([])?;
        let mut recorded = Vec::new();
        while let Some(row) = rows.next()? {
            let names = schema::read_names(&row.get::<_, String>(2)?);
            let Some(definition) = schema::read_definition(row.get_ref(3)?.as_blob()?)? else { continue };
            let columns = tables::column_ids(row.get_ref(4)?.as_blob()?);
            recorded.push((row.get(0)?, tables::merged(TableId(row.get(1)?), &definition, &columns, &names)));
        }
        Ok(recorded)
    }

    /// A table's share of the digest.
    fn sum(&self, t: i64, merge: &merge::Table) -> Result<u128, StoreError> {
        let mut statement = self.conn.prepare(&format!("SELECT key, record FROM {}", records::table(t)))?;
        let mut rows = statement.query([])?;
        let mut sum = 0u128;
        while let Some(row) = rows.next()? {
            let Some(key) = key_of(row.get_ref(0)?) else { continue };
            let record = Record::unpack(row.get_ref(1)?.as_blob()?, &self.authors)?;
            sum = sum.wrapping_add(digest::row(merge, &key, &record, &self.hasher));
        }
        Ok(sum)
    }

    /// Each chain from its start: hashes, predecessors, and the signature at its end, which vouches for the rest.
    fn verify_log(&self, findings: &mut Vec<Finding>) -> Result<(), StoreError> {
        let sql = "SELECT author, seq, hash, header, body FROM _p2p_entry ORDER BY author, seq";
        let mut statement = self.conn.prepare_cached(sql)?;
        let mut rows = statement.query([])?;
        let mut ends: BTreeMap<u32, (Seq, EntryId)> = BTreeMap::new();
        while let Some(row) = rows.next()? {
            let number: u32 = row.get(0)?;
            let (author, seq) = (self.author(number), Seq(row.get::<_, i64>(1)? as u64));
            let Some(body) = row.get_ref(4)?.as_blob_or_null()? else { continue };
            let bytes = [row.get_ref(3)?.as_blob()?, body].concat();
            let before = ends.get(&number).copied().unwrap_or_default();
            let checked = self.verify_entry(&bytes, author, seq, EntryId(row.get(2)?), before);
            if let Err(what) = checked
                && findings.len() < FINDINGS_MAX
            {
                findings.push(Finding::Entry { author, seq, what });
            }
            ends.insert(number, (seq, EntryId(row.get(2)?)));
        }
        for (number, (seq, id)) in ends {
            let author = self.author(number);
            if self.authors.get(&author).is_none_or(|a| (a.held, a.head) != (seq, id)) {
                findings.push(Finding::Entry { author, seq, what: "the chain does not end here".into() });
            }
        }
        Ok(())
    }

    fn verify_entry(
        &self,
        bytes: &[u8],
        author: AuthorId,
        seq: Seq,
        id: EntryId,
        before: (Seq, EntryId),
    ) -> Result<(), String> {
        let entry = Entry::from_bytes(bytes).map_err(|e| e.to_string())?;
        let h = &entry.header;
        let author_here = self.authors.get(&author);
        let raw = unpack(&entry.body).map_err(|e| e.to_string())?;
        Body::read(&raw, author).and_then(|body| body.check()).map_err(|e| e.to_string())?;
        if entry.id != id {
            Err("it does not have the hash that it is kept under".into())
        } else if (h.author, h.seq) != (author, seq) {
            Err("it is kept under another author or number than it has".into())
        } else if self.group.is_some_and(|group| group != h.group) {
            Err("it belongs to another group".into())
        } else if seq != before.0.next() || h.prev != before.1 {
            Err("the entry before it is missing or is not the one that it names".into())
        } else if author_here.is_none_or(|a| a.held == seq && !entry.is_signed_by(&a.key)) {
            Err("its signature does not verify".into())
        } else {
            Ok(())
        }
    }
}

/// Each record against its visible row.
fn verify_records(rows: &mut SqliteRows<'_>, table: &Tracked, findings: &mut Vec<Finding>) -> Result<(), StoreError> {
    let conn = rows.shared.conn;
    let mut statement = conn.prepare(&format!("SELECT key, record FROM {}", records::table(table.t)))?;
    let mut select = conn.prepare_cached(&table.sql.select)?;
    let mut records = statement.query([])?;
    while let Some(row) = records.next()? {
        let Some(key) = key_of(row.get_ref(0)?) else { continue };
        let record = Record::unpack(row.get_ref(1)?.as_blob()?, rows.authors)?;
        if findings.len() < FINDINGS_MAX
            && let Some(what) = compare(rows, &mut select, table, &key, &record)?
        {
            findings.push(Finding::Row { table: table.name.clone(), key: key_literal(rows, &key)?, what });
        }
    }
    Ok(())
}

fn compare(
    rows: &mut SqliteRows<'_>,
    select: &mut Statement<'_>,
    table: &Tracked,
    key: &Key,
    record: &Record,
) -> Result<Option<String>, StoreError> {
    if record.is_hidden {
        let is_stuck: bool = rows
            .shared
            .conn
            .prepare_cached("SELECT EXISTS(SELECT 1 FROM _p2p_stuck WHERE t = ?1 AND name = ?2)")?
            .query_row(params![table.t, crate::store::rows::bind_key(key)], |row| row.get(0))?;
        return Ok((!is_stuck).then(|| "it is hidden without a reason".into()));
    }
    Ok(mirror::difference(rows, select, key, record)?.map(|difference| match difference {
        Difference::Gone => "its row is missing".into(),
        Difference::Column(c) => format!("column \"{}\" holds another value than was merged", table.names[c]),
    }))
}

/// Each visible row has a record.
fn verify_rows(rows: &mut SqliteRows<'_>, table: &Tracked, findings: &mut Vec<Finding>) -> Result<(), StoreError> {
    let (columns, width) = (table.sql.key.join(", "), table.sql.key.len());
    let conn = rows.shared.conn;
    let mut statement = conn.prepare_cached(&format!("SELECT {columns} FROM main.{}", Quoted(&table.name)))?;
    let mut visible = statement.query([])?;
    while let Some(row) = visible.next()? {
        let values = values_of(row, width)?;
        let key = &values[..table.key().len()];
        // The seal leaves such a row alone.
        if key.contains(&Value::Null) && !table.merge.has_nameless {
            continue;
        }
        if !mirror::has_record(rows, &values)? && findings.len() < FINDINGS_MAX {
            let what = "it was written past the triggers and is not in the log".into();
            findings.push(Finding::Row { table: table.name.clone(), key: key_shown_literal(rows, &values), what });
        }
    }
    verify_places(rows, table, findings)
}

/// No two rows are kept as being in one place.
fn verify_places(rows: &SqliteRows<'_>, table: &Tracked, findings: &mut Vec<Finding>) -> Result<(), StoreError> {
    if !table.merge.has_nameless {
        return Ok(());
    }
    let sql = format!(
        "SELECT place FROM {} WHERE place IS NOT NULL GROUP BY place HAVING count(*) > 1",
        records::table(table.t)
    );
    let mut statement = rows.shared.conn.prepare(&sql)?;
    let mut twice = statement.query([])?;
    while let Some(row) = twice.next()? {
        let key = key_shown_literal(rows, &rows.at(row.get(0)?));
        let what = "two rows of the log are kept as this one".into();
        findings.push(Finding::Row { table: table.name.clone(), key, what });
    }
    Ok(())
}
