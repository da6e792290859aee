//! Authors: local numbers, ends of chains, and what each had seen.

use p2pdb_core::clock::Clock;
use p2pdb_core::codec::{Malformed, Reader, Write};
use p2pdb_core::id::{AuthorId, EntryId, Seq};
use p2pdb_core::key::PublicKey;
use p2pdb_core::record::AuthorNumbers;
use rusqlite::{Connection, params};
use std::collections::BTreeMap;

use super::StoreError;

/// One author as stored here.
#[derive(Clone, Debug)]
pub(super) struct Author {
    pub(super) id: AuthorId,
    pub(super) key: PublicKey,
    /// The end of its chain as stored.
    pub(super) held: Seq,
    /// The id of the entry at `held`.
    pub(super) head: EntryId,
    /// The clock of the entry at `held`.
    pub(super) clock: Clock,
    /// The end of its chain as merged.
    pub(super) applied: Seq,
    /// The end of the first atomic group that is stored whole and not merged.
    pub(super) next_end: Option<Seq>,
    /// What the entry at `applied` had seen of others.
    pub(super) seen: BTreeMap<AuthorId, Seq>,
    is_changed: bool,
}

/// All authors of a group, in memory. Number n stands at index n - 1.
#[derive(Clone, Debug, Default)]
pub(super) struct Authors {
    all: Vec<Author>,
    numbers: BTreeMap<AuthorId, u32>,
}

impl AuthorNumbers for Authors {
    fn number(&mut self, author: &AuthorId) -> u32 {
        // A record only names authors whose entries are stored; 0 is nobody.
        self.numbers.get(author).copied().unwrap_or_default()
    }

    fn author(&self, number: u32) -> Option<AuthorId> {
        let at = usize::try_from(number).ok()?.checked_sub(1)?;
        self.all.get(at).map(|a| a.id)
    }
}

const LOAD: &str = "SELECT id, key, held, head, applied, clock, seen, n,
    (SELECT seq FROM _p2p_entry e WHERE e.author = a.n AND e.seq > a.applied AND NOT continues ORDER BY seq LIMIT 1)
    FROM _p2p_author a ORDER BY n";

impl Authors {
    pub(super) fn load(conn: &Connection) -> Result<Self, StoreError> {
        let mut authors = Self::default();
        let mut seen = Vec::new();
        let mut statement = conn.prepare(LOAD)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            seen.push(row.get::<_, Vec<u8>>(6)?);
            if row.get::<_, i64>(7)? != authors.all.len() as i64 + 1 {
                return Err(Malformed::Rule("a gap in the author numbers").into());
            }
            let id = AuthorId(row.get(0)?);
            authors.numbers.insert(id, authors.all.len() as u32 + 1);
            authors.all.push(Author {
                id,
                key: PublicKey(row.get(1)?),
                held: Seq(row.get::<_, i64>(2)? as u64),
                head: EntryId(row.get(3)?),
                applied: Seq(row.get::<_, i64>(4)? as u64),
                clock: Clock(row.get::<_, i64>(5)? as u64),
                next_end: row.get::<_, Option<i64>>(8)?.map(|seq| Seq(seq as u64)),
                seen: BTreeMap::new(),
                is_changed: false,
            });
        }
        for (at, bytes) in seen.iter().enumerate() {
            authors.all[at].seen = authors.read_seen(bytes)?;
        }
        Ok(authors)
    }

    pub(super) fn read_seen(&self, bytes: &[u8]) -> Result<BTreeMap<AuthorId, Seq>, Malformed> {
        let mut r = Reader::new(bytes);
        let mut seen = BTreeMap::new();
        while !r.is_empty() {
            let number = r.count("author number", u32::MAX as usize)? as u32;
            let author = self.author(number).ok_or(Malformed::Rule("an unknown author number"))?;
            seen.insert(author, Seq(r.uvarint("seq")?));
        }
        Ok(seen)
    }

    pub(super) fn write_seen(&self, seen: &BTreeMap<AuthorId, Seq>) -> Vec<u8> {
        let mut out = Vec::with_capacity(6 * seen.len());
        for (author, seq) in seen {
            out.uvarint(u64::from(self.numbers.get(author).copied().unwrap_or_default()));
            out.uvarint(seq.0);
        }
        out
    }

    /// Writes the authors that changed.
    pub(super) fn save(&mut self, conn: &Connection) -> Result<(), StoreError> {
        for at in 0..self.all.len() {
            if !self.all[at].is_changed {
                continue;
            }
            let seen = self.write_seen(&self.all[at].seen);
            let a = &mut self.all[at];
            conn.prepare_cached("INSERT OR REPLACE INTO _p2p_author(n, id, key, held, head, applied, clock, seen) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")?
                .execute(params![at as i64 + 1, a.id.0, a.key.0, a.held.0 as i64, a.head.0, a.applied.0 as i64, a.clock.0 as i64, seen])?;
            a.is_changed = false;
        }
        Ok(())
    }

    pub(super) fn get(&self, id: &AuthorId) -> Option<&Author> {
        let number = self.numbers.get(id)?;
        self.all.get(*number as usize - 1)
    }

    /// The author, to be changed and saved.
    pub(super) fn change(&mut self, id: &AuthorId) -> Option<&mut Author> {
        let number = *self.numbers.get(id)?;
        let author = self.all.get_mut(number as usize - 1)?;
        author.is_changed = true;
        Some(author)
    }

    pub(super) fn add(&mut self, id: AuthorId, key: PublicKey) -> &mut Author {
        let (at, seq, clock) = (self.all.len(), Seq(0), Clock(0));
        self.numbers.insert(id, at as u32 + 1);
        let (head, seen) = (EntryId::default(), BTreeMap::new());
        self.all.push(Author { id, key, held: seq, head, clock, applied: seq, next_end: None, seen, is_changed: true });
        &mut self.all[at]
    }

    /// Gives back the number of the author that was added last, if no entry of it came: only numbers that are stored may
    /// stay taken, or those after them mean others once the file is read again.
    pub(super) fn take_back(&mut self, id: &AuthorId) {
        if self.all.last().is_some_and(|a| a.id == *id && a.held.0 == 0) {
            self.all.pop();
            self.numbers.remove(id);
        }
    }

    pub(super) fn number_of(&self, id: &AuthorId) -> i64 {
        self.numbers.get(id).copied().unwrap_or_default().into()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Author> {
        self.all.iter()
    }

    /// What has been merged here: the context of the next local entry.
    pub(super) fn applied(&self) -> BTreeMap<AuthorId, Seq> {
        self.all.iter().filter(|a| a.applied.0 > 0).map(|a| (a.id, a.applied)).collect()
    }
}
