//! What the author of an entry had seen: for each author the last entry (rules R11, R19).
//!
//! An entry had seen what the entry before it had, itself, and all that its deps had *at the time they were written*:
//! what the authors of those deps saw later does not count. So the vector is kept with each entry that has deps; an
//! entry without any has that of the entry before.

use p2pdb_core::entry::Header;
use p2pdb_core::id::{AuthorId, Seq, TableId};
use p2pdb_core::record::AuthorNumbers;
use rusqlite::{OptionalExtension, params};
use std::collections::BTreeMap;

use super::{Store, StoreError};

/// The last entry of each author that was seen.
pub(super) type Seen = BTreeMap<AuthorId, Seq>;

/// What is left of it without these entries and what follows them in their chains.
pub(super) fn without(seen: &Seen, unseen: &[(AuthorId, Seq)]) -> Seen {
    let mut left = seen.clone();
    for (author, first) in unseen {
        if let Some(seq) = left.get_mut(author) {
            *seq = Seq(first.0 - 1).min(*seq);
        }
    }
    left
}

impl Store {
    /// For each table here, the first entries of others with operations that are withheld: of the table's rows nothing that they
    /// say was seen, though the entries count as merged.
    pub(super) fn unseen(&self) -> Result<BTreeMap<TableId, Vec<(AuthorId, Seq)>>, StoreError> {
        let sql = "SELECT table_id, author, min(seq) FROM _p2p_withheld GROUP BY table_id, author";
        let mut statement = self.conn.prepare_cached(sql)?;
        let mut rows = statement.query([])?;
        let mut unseen: BTreeMap<_, Vec<_>> = BTreeMap::new();
        let own = self.identity.key.public().author();
        while let Some(row) = rows.next()? {
            let table = TableId(row.get(0)?);
            let author = self.authors.author(row.get(1)?).filter(|author| *author != own);
            let seq = Seq(row.get::<_, i64>(2)? as u64);
            unseen.entry(table).or_default().extend(author.map(|author| (author, seq)));
        }
        unseen.retain(|table, authors| self.tables.by_id(table).is_some() && !authors.is_empty());
        Ok(unseen)
    }

    /// What an entry's author had seen. Its deps are merged.
    pub(super) fn see(&self, header: &Header) -> Result<Seen, StoreError> {
        let mut seen = match self.authors.get(&header.author) {
            Some(a) if a.applied.next() == header.seq => a.seen.clone(),
            _ => self.seen_at(&header.author, Seq(header.seq.0.saturating_sub(1)))?,
        };
        for dep in &header.deps {
            let Some((author, seq)) = self.place(dep)? else { continue };
            for (other, s) in self.seen_at(&author, seq)? {
                let known = seen.entry(other).or_default();
                *known = s.max(*known);
            }
        }
        seen.insert(header.author, header.seq);
        Ok(seen)
    }

    /// Keeps it with the entry where it is not what follows from the entry before.
    pub(super) fn keep_seen(&self, header: &Header, seen: &Seen) -> Result<(), StoreError> {
        if header.deps.is_empty() {
            return Ok(());
        }
        let params =
            params![self.authors.number_of(&header.author), header.seq.0 as i64, self.authors.write_seen(seen)];
        let sql = "UPDATE _p2p_entry SET seen = ?3 WHERE author = ?1 AND seq = ?2";
        self.conn.prepare_cached(sql)?.execute(params)?;
        Ok(())
    }

    /// What the author of a merged entry had seen when it wrote it.
    pub(super) fn seen_at(&self, author: &AuthorId, seq: Seq) -> Result<Seen, StoreError> {
        if let Some(a) = self.authors.get(author).filter(|a| a.applied == seq) {
            return Ok(a.seen.clone());
        }
        let sql = "SELECT seen FROM _p2p_entry WHERE author = ?1 AND seq <= ?2 AND seen IS NOT NULL ORDER BY seq DESC LIMIT 1";
        let params = params![self.authors.number_of(author), seq.0 as i64];
        let bytes: Option<Vec<u8>> = self.conn.prepare_cached(sql)?.query_row(params, |row| row.get(0)).optional()?;
        let mut seen = self.authors.read_seen(&bytes.unwrap_or_default())?;
        if seq.0 > 0 {
            seen.insert(*author, seq);
        }
        Ok(seen)
    }
}
