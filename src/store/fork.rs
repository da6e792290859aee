//! A fork of an author that wrote here before: two copies of this file went on under one key, and this one has a new key now.
//!
//! Both branches begin with the same entries, and which of them the group goes on with is not for this copy to say: it *gives
//! up* its own. The entries of its branch are taken back, and what they left in the rows is sealed again, by the author of today.
//!
//! Where two branches part can't be told from their ends. So the author is *doubted* first: peers are shown its chain only as
//! far as it was compared with theirs, which is nothing at the start, and send all of it. The first entry that differs is where.

use p2pdb_core::codec::Reader;
use p2pdb_core::entry::Header;
use p2pdb_core::id::{AuthorId, Life, Seq};
use p2pdb_core::record::AuthorNumbers;
use rusqlite::params;
use std::collections::BTreeMap;

use super::authors::Authors;
use super::{Store, StoreError};

/// Authors that wrote here before, and how sure their chains are.
#[derive(Debug, Default)]
pub(super) struct Former {
    authors: Vec<AuthorId>,
    doubted: BTreeMap<AuthorId, Doubt>,
    /// Compared to the end, and found equal.
    trusted: Vec<AuthorId>,
    has_given_up: bool,
}

/// A chain that a peer may have otherwise.
#[derive(Clone, Copy, Debug, Default)]
struct Doubt {
    /// How far it was compared with a peer's.
    compared: Seq,
    /// A peer has it otherwise; else only some chain is another there.
    is_certain: bool,
}

/// By author: the first entry of its chain that goes.
type Cut = BTreeMap<AuthorId, Seq>;

impl Store {
    /// Notes who writes here from now on. Who did before is former; and the order of arrival begins a new life, for the file
    /// may be a copy, and peers count what they have of each life.
    pub(super) fn note_author(&mut self) -> Result<(), StoreError> {
        let own = self.identity.key.public().author();
        let former: Vec<u8> = self.meta("former")?.unwrap_or_default();
        self.former.authors = former.chunks_exact(AuthorId::BYTES).filter_map(AuthorId::from_slice).collect();
        let before = self.meta::<[u8; AuthorId::BYTES]>("author")?.map(AuthorId);
        if before == Some(own) {
            return Ok(());
        }
        self.write(|store| {
            store.set_meta("author", own.0)?;
            if store.last_arrival()? > 0 {
                store.conn.execute("UPDATE _p2p_meta SET value = randomblob(16) WHERE key = 'life'", [])?;
                store.life = Life(store.meta::<[u8; 16]>("life")?.unwrap_or_default());
            }
            before.map_or(Ok(()), |before| store.add_former(before))
        })
    }

    fn add_former(&mut self, author: AuthorId) -> Result<(), StoreError> {
        if !self.former.authors.contains(&author) {
            self.former.authors.push(author);
            let bytes: Vec<u8> = self.former.authors.iter().flat_map(|a| a.0).collect();
            self.set_meta("former", bytes)?;
        }
        Ok(())
    }

    /// Must this author write no more? It has given up entries, or its keys were put back after others took over: what it would
    /// write next may have the number of an entry that is elsewhere.
    pub fn is_retired(&self) -> bool {
        self.former.authors.contains(&self.identity.key.public().author())
    }

    /// A peer holds another chain of this author, or of one that it could not name. True if it is one that wrote here before,
    /// and is doubted from now on.
    pub fn doubt(&mut self, author: Option<AuthorId>) -> bool {
        let Former { authors, doubted, trusted, .. } = &mut self.former;
        let is_meant = |a: &&AuthorId| author.map_or(!trusted.contains(a), |author| author == **a);
        let before = doubted.len();
        for meant in authors.iter().filter(is_meant) {
            doubted.entry(*meant).or_default().is_certain |= author.is_some();
        }
        doubted.len() > before
    }

    /// Is any author doubted?
    pub fn is_in_doubt(&self) -> bool {
        !self.former.doubted.is_empty()
    }

    /// All that the peers have was compared, and nothing differs: chains that were doubted without a name are whole again. True
    /// if there was any.
    pub fn trust(&mut self) -> bool {
        let Former { doubted, trusted, .. } = &mut self.former;
        let before = doubted.len();
        trusted.extend(doubted.iter().filter(|(_, doubt)| !doubt.is_certain).map(|(author, _)| *author));
        doubted.retain(|_, doubt| doubt.is_certain);
        doubted.len() < before
    }

    /// Was a branch given up since this was asked last?
    pub fn has_given_up(&mut self) -> bool {
        std::mem::take(&mut self.former.has_given_up)
    }

    /// How far the chain of a doubted author may be shown; none of one that is not.
    pub(super) fn compared(&self, author: &AuthorId) -> Option<Seq> {
        self.former.doubted.get(author).map(|doubt| doubt.compared)
    }

    /// These entries are the same here and at a peer.
    pub(super) fn note_compared(&mut self, heads: &[(AuthorId, Seq)]) {
        if !self.is_in_doubt() {
            return;
        }
        for (author, seq) in heads {
            let held = self.authors.get(author).map_or(Seq(0), |a| a.held);
            if let Some(doubt) = self.former.doubted.get_mut(author) {
                doubt.compared = (*seq).min(held).max(doubt.compared);
            }
        }
    }

    /// Takes back the entries of a doubted author from `from` on, and all that were written in knowledge of them. The rows stay
    /// as they are: what the log does not say of them any more is marked, to be sealed again.
    pub(super) fn give_up(&mut self, author: &AuthorId, from: Seq, now_ms: u64) -> Result<(), StoreError> {
        let own = self.identity.key.public().author();
        self.write(|store| {
            store.seal_in(now_ms, &mut || true)?;
            let cut = store.dependents(author, from)?;
            store.cut(&cut)?;
            store.replay(now_ms)?;
            if cut.contains_key(&own) {
                store.add_former(own)?;
            }
            Ok(())
        })?;
        self.former.doubted.remove(author);
        self.former.has_given_up = true;
        Ok(())
    }

    /// All entries that had seen the one given, directly or not.
    fn dependents(&self, author: &AuthorId, from: Seq) -> Result<Cut, StoreError> {
        let mut cut = BTreeMap::from([(*author, from)]);
        loop {
            let mut is_whole = true;
            let mut statement = self.conn.prepare_cached("SELECT author, seq, header FROM _p2p_entry ORDER BY n")?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                let (author, seq) = (self.authors.author(row.get(0)?), Seq(row.get::<_, i64>(1)? as u64));
                let Some(author) = author.filter(|a| !is_in(&cut, a, seq)) else { continue };
                for dep in Header::read(&mut Reader::new(row.get_ref(2)?.as_blob()?))?.deps {
                    if self.place(&dep)?.is_some_and(|(author, seq)| is_in(&cut, &author, seq)) {
                        // Those after it in its chain are in as well.
                        cut.insert(author, seq);
                        is_whole = false;
                        break;
                    }
                }
            }
            if is_whole {
                return Ok(cut);
            }
        }
    }

    fn cut(&mut self, cut: &Cut) -> Result<(), StoreError> {
        self.authors.save(&self.conn)?;
        self.conn.execute("UPDATE _p2p_author SET applied = 0, seen = x''", [])?;
        for (author, from) in cut {
            let n = self.authors.number_of(author);
            self.conn.execute("DELETE FROM _p2p_entry WHERE author = ?1 AND seq >= ?2", params![n, from.0 as i64])?;
            let sql = "UPDATE _p2p_author SET held = ?2 - 1,
                head = coalesce((SELECT hash FROM _p2p_entry WHERE author = ?1 AND seq = ?2 - 1), zeroblob(32)),
                clock = coalesce((SELECT clock FROM _p2p_entry WHERE author = ?1 AND seq = ?2 - 1), 0) WHERE n = ?1";
            self.conn.execute(sql, params![n, from.0 as i64])?;
        }
        if cut.contains_key(&self.identity.key.public().author()) {
            self.open_group = super::seal::OpenGroup::default();
            self.conn.execute("DELETE FROM _p2p_before", [])?;
        }
        self.authors = Authors::load(&self.conn)?;
        Ok(())
    }
}

fn is_in(cut: &Cut, author: &AuthorId, seq: Seq) -> bool {
    cut.get(author).is_some_and(|from| *from <= seq)
}
