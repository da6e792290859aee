//! Sealing: markers and rows in, signed entries out, in one transaction.
//!
//! A seal works off markers in batches while its time lasts. Where they outlast it the atomic group stays open: what
//! is sealed so far is stored, with records and without its markers, and the next call goes on. Peers merge the group
//! only once its last entry is there, and that one is written when no marker is left: then the group is what whole
//! transactions left, whatever was committed meanwhile.

use p2pdb_core::clock::Clock;
use p2pdb_core::entry::First;
use p2pdb_core::id::{AuthorId, EntryId, Seq};
use p2pdb_core::writer::{GroupWriter, Start, Written};
use rusqlite::{Connection, params};

use super::rows::Shared;
use super::seen::Seen;
use super::{Store, StoreError};

mod alias;
mod batch;
mod contend;
mod dangle;
mod decide;
mod follow;
mod marker;
mod named;
mod nameless;
mod places;
mod work;

use batch::Sealing;
pub(super) use marker::pending;
pub(super) use work::fold;

/// Markers read at a time, at first: has the time that was given run out is asked between two batches.
const BATCH: usize = 1024;

/// Markers read at a time, at most. A batch is worked off in the order of keys: the larger it is the more of its rows
/// share a page. With 4,096 random keys a row costs a tenth less than with 1,024.
const BATCH_MAX: usize = 4096;

/// Markers that an apply seals inside its own transaction; where there are more they are sealed first, in steps.
pub(super) const MARKERS_INLINE_MAX: i64 = 200;

/// What the seal learned of its open group, so that each step of it costs what it does and not what is behind or before
/// it: a group of a million rows takes a thousand steps.
#[derive(Debug, Default)]
pub(super) struct OpenGroup {
    /// Up to this entry it has so many parts.
    pub(super) parts: Option<(Seq, EntryId, u64)>,
    /// Under this schema cookie no marker up to this number says that an id moved.
    unmoved: Option<(i64, i64)>,
}

/// What a seal did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sealed {
    /// Entries written.
    pub entries: usize,
    /// Are markers left? Then the group is open: call again.
    pub is_partial: bool,
}

impl Store {
    /// Seals what the user committed, for as long as `has_time` says so. `wall_ms` is the time it is stamped with.
    ///
    /// # Errors
    /// SQLite's; nothing is changed then.
    pub fn seal(&mut self, wall_ms: u64, mut has_time: impl FnMut() -> bool) -> Result<Sealed, StoreError> {
        self.tend()?;
        if !self.has_to_seal()? {
            return Ok(Sealed::default());
        }
        self.write(|store| store.seal_in(wall_ms, &mut has_time))
    }

    /// Is there a marker, a table to announce or to tell a change of, or a group to close? Needs no write lock.
    pub(super) fn has_to_seal(&mut self) -> Result<bool, StoreError> {
        self.refresh_tables()?;
        let has_news = self.has_markers()? || self.tables.has_news();
        Ok(has_news || decide::any(&self.conn)? || self.is_group_open()? || !self.lost_places()?.is_empty())
    }

    /// About how many changes of the user are not sealed yet.
    ///
    /// # Errors
    /// SQLite's.
    pub fn pending(&self) -> Result<u64, StoreError> {
        Ok(marker::pending(&self.conn)? as u64)
    }

    /// Are there changes of the user that are not sealed yet?
    pub(super) fn has_markers(&self) -> Result<bool, StoreError> {
        Ok(marker::pending(&self.conn)? > 0)
    }

    /// The same inside a write transaction.
    pub(super) fn seal_in(&mut self, wall_ms: u64, has_time: &mut dyn FnMut() -> bool) -> Result<Sealed, StoreError> {
        self.refresh_tables()?;
        let is_open = self.is_group_open()?;
        let key = self.identity.key.clone();
        let own = key.public().author();
        let start = self.start(wall_ms, is_open)?;
        if self.authors.get(&own).is_none() {
            self.authors.add(own, key.public());
        }
        let (seen, unseen, lost) = (self.authors.applied(), self.unseen()?, self.lost_places()?);
        let number = self.authors.number_of(&own);
        let Self { conn, tables, authors, hasher, digest, flags, open_group, .. } = self;
        let shared = Shared { conn, tables, hasher, flags };
        let mut sealing = Sealing::new(shared, authors, digest, GroupWriter::new(&key, start), seen, unseen);
        sealing.announce()?;
        if !lost.is_empty() {
            sealing.find_places(&lost)?;
            // Markers went, and others came in their place.
            open_group.unmoved = None;
        }
        let has_revived = sealing.revive()?;
        // Where ids moved the markers of all rows are read together: an identity is followed to its end.
        let mut limit = if sealing.has_moves(&mut open_group.unmoved)? { usize::MAX } else { BATCH };
        let mut sealed = Sealed::default();
        let (mut last, mut read) = (None, 0usize);
        // Under the write lock no marker comes between: when none is left the group is whole.
        while marker::pending(conn)? > 0 {
            sealing.batch(limit)?;
            let written = sealing.group.take();
            store_all(conn, number, &sealing.seen, sealing.authors, &written, &mut sealed, &mut last)?;
            if !has_time() {
                break;
            }
            // As many as were read before it: no batch takes much longer than has passed.
            read = read.saturating_add(limit);
            limit = limit.max(read.min(BATCH_MAX));
        }
        sealed.is_partial = marker::pending(conn)? > 0;
        if !sealed.is_partial {
            sealing.decide()?;
        }
        let must_close = is_open && !sealed.is_partial;
        let (seen, written) = sealing.finish(sealed.is_partial, must_close)?;
        store_all(conn, number, &seen, authors, &written, &mut sealed, &mut last)?;
        if !sealed.is_partial {
            // The marker table is empty: its numbers start anew.
            *open_group = OpenGroup::default();
        }
        self.tables.set_announced();
        if let (Some((head, seq, clock)), Some(author)) = (last, self.authors.change(&own)) {
            (author.held, author.head, author.clock, author.applied) = (seq, head, clock, seq);
            author.seen = seen;
            author.seen.insert(own, seq);
            self.floor = self.floor.max(clock);
        }
        self.authors.take_back(&own);
        if has_revived && !sealed.is_partial {
            // Rows that waited for one that its user brought back come with it, here as on peers.
            self.flags.woke.set(true);
            self.retry_stuck(false)?;
            self.write_events(wall_ms)?;
        }
        Ok(sealed)
    }

    /// Reads the tables anew if the schema moved.
    pub(super) fn refresh_tables(&mut self) -> Result<(), StoreError> {
        let cookie: i64 = self.conn.query_row("PRAGMA schema_version", [], |row| row.get(0))?;
        if cookie != self.tables.cookie {
            self.tables = super::tables::Tables::load(&self.conn)?;
        }
        Ok(())
    }

    /// Does the own author's last entry say that its group goes on?
    pub(super) fn is_group_open(&self) -> Result<bool, StoreError> {
        let own = self.authors.number_of(&self.identity.key.public().author());
        let sql = "SELECT continues FROM _p2p_entry WHERE author = ?1 ORDER BY seq DESC LIMIT 1";
        let mut statement = self.conn.prepare_cached(sql)?;
        let mut rows = statement.query([own])?;
        Ok(match rows.next()? {
            Some(row) => row.get(0)?,
            None => false,
        })
    }

    /// Where the next own entry starts.
    fn start(&mut self, wall_ms: u64, is_open: bool) -> Result<Start, StoreError> {
        let key = self.identity.key.public();
        let own = self.authors.get(&key.author());
        let known = own.map(|a| a.seen.clone()).unwrap_or_default();
        let news: Vec<(AuthorId, Seq)> = self
            .authors
            .iter()
            .filter(|a| a.id != key.author() && a.applied > known.get(&a.id).copied().unwrap_or_default())
            .map(|a| (a.id, a.applied))
            .collect();
        let mut deps = news.iter().map(|(id, seq)| self.id_of(id, *seq)).collect::<Result<Vec<_>, _>>()?;
        deps.sort_unstable();
        let mac = self.identity.secret.author_mac(self.identity.group, &key);
        let (prev, last) = own.map(|a| (a.head, a.held)).unwrap_or_default();
        Ok(Start {
            group: self.identity.group,
            parts: if is_open { self.parts_of_open_group(prev, last)? } else { 0 },
            prev,
            last,
            deps,
            clock: self.floor.tick(wall_ms),
            schema: self.tables.schema_hash(),
            first: First { key, epoch: self.identity.epoch, mac },
        })
    }

    /// Parts that the open group has so far: their numbers go on across transactions.
    fn parts_of_open_group(&mut self, head: EntryId, held: Seq) -> Result<u64, StoreError> {
        let author = self.identity.key.public().author();
        let own = self.authors.number_of(&author);
        let (counted, mut parts) = match self.open_group.parts {
            Some((seq, id, parts)) if self.id_of(&author, seq).is_ok_and(|known| known == id) => (seq, parts),
            _ => (Seq(0), 0),
        };
        let sql = "SELECT body FROM _p2p_entry WHERE author = ?1 AND seq > max(?2,
                   (SELECT coalesce(max(seq), 0) FROM _p2p_entry WHERE author = ?1 AND NOT continues)) ORDER BY seq";
        let mut statement = self.conn.prepare_cached(sql)?;
        let mut rows = statement.query([own, counted.0 as i64])?;
        while let Some(row) = rows.next()? {
            let raw = p2pdb_core::body::unpack(row.get_ref(0)?.as_blob()?)?;
            let body = p2pdb_core::body::Body::read(&raw, self.identity.key.public().author())?;
            let mut sections = body.sections();
            while let Some(section) = sections.next()? {
                parts += u64::from(section.kind == p2pdb_core::body::Kind::Part);
            }
        }
        // What stands before this transaction: if it fails this still holds.
        self.open_group.parts = Some((held, head, parts));
        Ok(parts)
    }
}

type Last = Option<(p2pdb_core::id::EntryId, Seq, Clock)>;

/// Appends own entries to the log; the first of them carries what its author had seen.
fn store_all(
    conn: &Connection,
    number: i64,
    seen: &Seen,
    authors: &super::authors::Authors,
    written: &[Written],
    sealed: &mut Sealed,
    last: &mut Last,
) -> Result<(), StoreError> {
    for Written { entry, ops } in written {
        let seen = (!entry.header.deps.is_empty()).then(|| authors.write_seen(seen));
        super::log::insert(conn, number, entry, *ops, seen)?;
        *last = Some((entry.id, entry.header.seq, entry.header.clock));
        sealed.entries += 1;
    }
    Ok(())
}

/// Removes sealed markers.
fn drop_markers(conn: &Connection, top: i64) -> Result<(), StoreError> {
    conn.prepare_cached("DELETE FROM _p2p_mark WHERE n <= ?1")?.execute(params![top])?;
    Ok(())
}
