//! One replica's database file: tables, markers, log, ledger. What a crash may undo is a copy of it.

use crate::log::MemoryLog;
use crate::rows::{Grid, MemoryRows};
use crate::schema;
use p2pdb_core::cellhash::CellHasher;
use p2pdb_core::chain::Refused;
use p2pdb_core::codec::Malformed;
use p2pdb_core::id::{AuthorId, Digest, EntryId, GroupId, Life, Seq};
use p2pdb_core::key::{AuthorKey, Secret};
use p2pdb_core::local::Touch;
use p2pdb_core::log::{Head, Log, LogEntry};
use p2pdb_core::merge::Key;
use p2pdb_core::value::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;

/// Who writes here, and for whom.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The group.
    pub group: GroupId,
    /// Its secret.
    pub secret: Secret,
    /// This replica's author key.
    pub key: AuthorKey,
    /// The group's cell hash.
    pub hasher: CellHasher,
}

/// A marker of the text-keyed table.
#[derive(Clone, Debug)]
pub struct KeyMark {
    /// The row.
    pub key: Key,
    /// Was it deleted?
    pub is_delete: bool,
}

/// What capture wrote since the last seal.
#[derive(Clone, Debug, Default)]
pub struct Markers {
    /// Of the alias tables, by table.
    pub touches: BTreeMap<usize, Vec<Touch<i64>>>,
    /// Of the text-keyed table.
    pub keys: Vec<KeyMark>,
}

impl Markers {
    /// Nothing to seal?
    pub fn is_empty(&self) -> bool {
        self.touches.is_empty() && self.keys.is_empty()
    }
}

/// What users were told is written, kept apart from everything that P2PDB does. Values are unique in a run.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// Written since the last seal, by table, key and column.
    pub open: BTreeMap<(usize, Key, usize), u64>,
    /// Written and durable: each must be in the log for ever.
    pub due: BTreeSet<u64>,
}

/// The file.
#[derive(Clone, Debug)]
pub struct Database {
    /// The tables.
    pub grids: Vec<Grid>,
    /// Markers that wait for the seal.
    pub markers: Markers,
    /// The log.
    pub log: MemoryLog,
    /// The state digest.
    pub digest: u128,
    /// The life of the arrival order.
    pub life: Life,
    /// The ledger.
    pub ledger: Ledger,
    /// The planted bug's frontier: entries that are said to be here.
    pub promised: BTreeMap<AuthorId, (Seq, EntryId)>,
}

/// Why a replica stops: a refusal of what a peer sent, or damage.
#[derive(Clone, Debug)]
pub enum Trouble {
    /// The peer's batch breaks a rule.
    Refused(Refused),
    /// What was stored can't be merged.
    Damaged(Malformed),
}

impl From<Malformed> for Trouble {
    fn from(e: Malformed) -> Self {
        Self::Damaged(e)
    }
}

impl Database {
    /// An empty one.
    pub fn new(life: Life) -> Self {
        Self {
            grids: vec![Grid::default(); schema::TABLES],
            markers: Markers::default(),
            log: MemoryLog::default(),
            digest: 0,
            life,
            ledger: Ledger::default(),
            promised: BTreeMap::new(),
        }
    }

    /// The rows of one table, for a merge or a seal.
    pub fn rows<'a>(&'a mut self, t: usize, identity: &'a Identity) -> MemoryRows<'a> {
        MemoryRows { grids: &mut self.grids, t, digest: &mut self.digest, hasher: &identity.hasher, freed: Vec::new() }
    }

    /// What a `SELECT` on each table gives.
    pub fn tables(&self) -> Vec<BTreeMap<Key, Vec<Value>>> {
        let table = |grid: &Grid| grid.shown.iter().map(|(key, row)| (key.clone(), row.display.clone())).collect();
        self.grids.iter().map(table).collect()
    }
}

impl Log for Database {
    type Error = Infallible;

    fn frontier(&self) -> Result<Vec<Head>, Infallible> {
        let mut frontier = self.log.frontier();
        for (author, (seq, id)) in &self.promised {
            match frontier.iter_mut().find(|h| h.author == *author) {
                Some(head) if head.seq < *seq => (head.seq, head.id) = (*seq, *id),
                Some(_) => {}
                None => frontier.push(Head { author: *author, seq: *seq, id: *id, clock: Default::default() }),
            }
        }
        frontier.sort_unstable_by_key(|h| h.author);
        Ok(frontier)
    }

    fn life(&self) -> Life {
        self.life
    }

    fn last_arrival(&self) -> Result<u64, Infallible> {
        Ok(self.log.last_arrival())
    }

    fn arrivals_after(&self, n: u64, bytes_max: usize) -> Result<Vec<LogEntry>, Infallible> {
        Ok(self.log.arrivals_after(n, bytes_max))
    }

    fn entries(&self, author: &AuthorId, from: Seq, bytes_max: usize) -> Result<Vec<LogEntry>, Infallible> {
        Ok(self.log.entries(author, from, bytes_max))
    }

    fn cursor(&self, life: &Life) -> Result<Option<u64>, Infallible> {
        Ok(self.log.cursors.get(life).copied())
    }

    fn digest(&self) -> Result<Digest, Infallible> {
        Ok(Digest(self.digest.to_le_bytes()))
    }

    fn withheld_root(&self) -> Result<[u8; 16], Infallible> {
        let mut root = 0u64;
        for (author, a) in self.log.authors.iter().filter(|(_, a)| a.applied < a.held) {
            for part in author.0.iter().map(|b| u64::from(*b)).chain([a.applied.0, a.held.0]) {
                root = crate::random::mix(root.wrapping_add(part).wrapping_add(1));
            }
        }
        let mut out = [0; 16];
        out[..8].copy_from_slice(&root.to_le_bytes());
        Ok(out)
    }

    fn schema_hash(&self) -> Result<[u8; 16], Infallible> {
        Ok([1; 16])
    }
}
