//! One random history: transactions, seals and exchanges, and what each replica shows on the way.

use p2pdb::store::Offered;
use p2pdb_core::id::AuthorId;
use p2pdb_core::name::Name;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::export::{Export, stamp};
use super::replica::Replica;
use super::rng::Rng;
use super::schema::{self, Table};
use super::statement;

const NAMES: [&str; 5] = ["A", "B", "C", "D", "late"];

struct History<'a> {
    seed: u64,
    rng: Rng,
    now_ms: u64,
    tables: &'a [Table],
    export: Export<'a>,
    written: BTreeSet<(AuthorId, u64)>,
    lines: &'a mut String,
}

/// Runs the history of a seed and appends what the model is to judge.
pub(crate) fn run(seed: u64, lines: &mut String) {
    let mut rng = Rng::new(seed);
    let tables = schema::random(&mut rng);
    let json: Vec<_> = tables.iter().map(Table::to_json).collect();
    tables.iter().for_each(|table| trace(&table.sql));
    writeln!(lines, "{}", json!({"seed": seed, "tables": json})).unwrap();
    let shm = std::path::Path::new("/dev/shm");
    let dir = if shm.is_dir() { tempfile::tempdir_in(shm) } else { tempfile::tempdir() }.unwrap();
    // A plain value in a key that is a foreign key may meet a reference that shows the same: UNIQUE decides then.
    let has_key_refs = tables.iter().any(|t| t.refs.iter().any(|r| t.key.contains(&r.column)));
    let has_foreign_keys = rng.chance(70) || has_key_refs;
    let count = 2 + rng.below(3);
    let mut replicas: Vec<Replica> = (0..count)
        .map(|at| Replica::new(dir.path(), NAMES[at], seed, (at == 0).then_some(&tables[..]), has_foreign_keys))
        .collect();
    if rng.chance(15) {
        replicas[count - 1].skew_ms = 30 * 60 * 1000;
    }
    let ids = table_ids(&replicas[0]);
    let export = Export { tables: &tables, ids, heads: BTreeMap::new() };
    let mut history =
        History { seed, rng, now_ms: 1_000_000, tables: &tables, export, written: BTreeSet::new(), lines };
    history.seal(&mut replicas[0]);
    for at in 1..count {
        history.deliver_all(&mut replicas, 0, at);
    }
    let steps = *history.rng.pick(&[8, 20, 40, 70]);
    for _ in 0..steps {
        history.step(&mut replicas);
    }
    history.end(&mut replicas, dir.path());
}

fn table_ids(replica: &Replica) -> BTreeMap<[u8; 8], usize> {
    let mut statement = replica.user.prepare("SELECT id, t FROM _p2p_table").unwrap();
    let ids = statement.query_map([], |row| Ok((row.get(0)?, row.get::<_, i64>(1)? as usize - 1))).unwrap();
    ids.collect::<Result<_, _>>().unwrap()
}

impl History<'_> {
    fn step(&mut self, replicas: &mut [Replica]) {
        self.now_ms += self.rng.next() % 4;
        let at = self.rng.below(replicas.len());
        if self.rng.chance(55) {
            for _ in 0..*self.rng.pick(&[1, 1, 1, 2, 3]) {
                self.transaction(&replicas[at]);
            }
            if self.rng.chance(75) {
                self.seal(&mut replicas[at]);
                self.check(&replicas[at], 25);
            }
        } else {
            let from = self.rng.below(replicas.len());
            if from == at {
                return;
            }
            match self.rng.below(3) {
                0 => self.deliver_all(replicas, from, at),
                1 => self.deliver_some(replicas, from, at),
                _ => self.import_some(replicas, from, at),
            }
            self.check(&replicas[at], 25);
        }
    }

    fn transaction(&mut self, replica: &Replica) {
        if self.rng.chance(8) {
            trace(&format!("{} VACUUM", replica.name));
            replica.user.execute_batch("VACUUM").unwrap();
        }
        replica.user.execute_batch("BEGIN").unwrap();
        if self.rng.chance(30) {
            replica.user.execute_batch("PRAGMA defer_foreign_keys=ON").unwrap();
        }
        for _ in 0..1 + self.rng.below(4) {
            let table = &self.tables[self.rng.below(self.tables.len())];
            for sql in statement::random(&mut self.rng, table) {
                let outcome = replica.user.execute_batch(&sql);
                if std::env::var("P2PDB_ORACLE_TRACE").is_ok() {
                    println!("{} {sql}   {:?}", replica.name, outcome.as_ref().err().map(ToString::to_string));
                }
            }
        }
        if self.rng.chance(5) || replica.user.execute_batch("COMMIT").is_err() {
            replica.user.execute_batch("ROLLBACK").unwrap();
        }
    }

    /// Seals, and the tables stay as the user left them (rule R12).
    fn seal(&mut self, replica: &mut Replica) {
        let before = replica.dump(self.tables);
        let now = self.now_ms + replica.skew_ms;
        // Sometimes time is up after each batch.
        let is_short = self.rng.chance(20);
        while replica.store.seal(now, || !is_short).unwrap().is_partial {}
        assert_eq!(before, replica.dump(self.tables), "seed {}: a seal changed the tables", self.seed);
        self.note(replica);
    }

    /// Writes the replica's entries that the model does not know yet.
    fn note(&mut self, replica: &Replica) {
        for entry in replica.store.arrivals_after(0, usize::MAX).unwrap() {
            if self.written.insert((entry.author, entry.seq.0)) {
                let line = self.export.entry(&entry.bytes);
                trace(&line);
                writeln!(self.lines, "{line}").unwrap();
            }
        }
    }

    fn deliver_all(&mut self, replicas: &mut [Replica], from: usize, to: usize) {
        let entries: Vec<_> = replicas[from].store.arrivals_after(0, usize::MAX).unwrap();
        self.receive(replicas, to, &entries.iter().map(|e| e.bytes.clone()).collect::<Vec<_>>());
    }

    /// A part of what is new, from each author's chain the beginning.
    fn deliver_some(&mut self, replicas: &mut [Replica], from: usize, to: usize) {
        let held: BTreeMap<_, _> =
            replicas[to].store.frontier().unwrap().into_iter().map(|h| (h.author, h.seq.0)).collect();
        let mut left: BTreeMap<AuthorId, usize> = BTreeMap::new();
        let mut part = Vec::new();
        for entry in replicas[from].store.arrivals_after(0, usize::MAX).unwrap() {
            let n = *left.entry(entry.author).or_insert_with(|| self.rng.below(4));
            if entry.seq.0 <= held.get(&entry.author).copied().unwrap_or_default() {
                continue;
            }
            if n > 0 {
                left.insert(entry.author, n - 1);
                part.push(entry.bytes);
            }
        }
        self.receive(replicas, to, &part);
    }

    /// In one batch or a few, offered together.
    fn receive(&mut self, replicas: &mut [Replica], to: usize, entries: &[Vec<u8>]) {
        let replica = &mut replicas[to];
        trace(&format!("{} receives {}", replica.name, entries.len()));
        let now = self.now_ms + replica.skew_ms;
        let is_short = self.rng.chance(20);
        let length = 1 + self.rng.below(entries.len() + 1);
        let mut offered: Vec<_> = entries.chunks(length).map(|entries| Offered { entries, cursor: None }).collect();
        let mut applied = replica.store.apply(now, || !is_short).unwrap_or_else(|e| panic!("seed {}: {e}", self.seed));
        while !offered.is_empty() {
            let received = replica.store.receive(&offered, now, || !is_short);
            let received = received.unwrap_or_else(|e| panic!("seed {}: {e}", self.seed));
            let taken = received.batches.into_iter().collect::<Result<Vec<_>, _>>().unwrap();
            offered.drain(..taken.len());
            applied = received.applied;
        }
        while applied.is_partial || applied.needs_seal {
            if applied.needs_seal {
                while replica.store.seal(now, || true).unwrap().is_partial {}
            }
            applied = replica.store.apply(now, || !is_short).unwrap_or_else(|e| panic!("seed {}: {e}", self.seed));
        }
        self.note(&replicas[to]);
    }

    /// Any entries, in any order, some twice.
    fn import_some(&mut self, replicas: &mut [Replica], from: usize, to: usize) {
        let mut entries: Vec<_> = replicas[from].store.arrivals_after(0, usize::MAX).unwrap();
        self.rng.shuffle(&mut entries);
        entries.truncate(self.rng.below(entries.len() + 1));
        let now = self.now_ms + replicas[to].skew_ms;
        trace(&format!("{} imports {}", replicas[to].name, entries.len()));
        for entry in entries {
            replicas[to].store.import(&entry.bytes, now).unwrap();
            if self.rng.chance(10) {
                replicas[to].store.import(&entry.bytes, now).unwrap();
            }
        }
        self.note(&replicas[to]);
    }

    fn check(&mut self, replica: &Replica, percent: u64) {
        let is_asked = self.rng.chance(percent) || std::env::var("P2PDB_ORACLE_TRACE").is_ok();
        if !replica.is_sealed() || !is_asked {
            return;
        }
        let has: serde_json::Map<String, Value> =
            replica.merged().into_iter().map(|(author, seq)| (author.to_string(), json!(seq))).collect();
        let conflicts: Vec<Value> = replica
            .view(|view| view.conflicts())
            .unwrap()
            .iter()
            .filter_map(|line| {
                let table = self.tables.iter().find(|t| t.name == line.table).unwrap();
                if matches!(line.name, Name::Key(_)) && table.key.contains(&line.column.as_str()) {
                    return None;
                }
                trace(&format!("{} conflict {line:?}", replica.name));
                let value = self.export.value(table, &line.column, &line.value);
                Some(json!([self.export.name(table, &line.name), line.column, value, stamp(&line.stamp)]))
            })
            .collect();
        let line =
            json!({"check": replica.name, "has": has, "rows": replica.dump(self.tables), "conflicts": conflicts});
        trace(&line.to_string());
        writeln!(self.lines, "{line}").unwrap();
        let findings = replica.view(|view| view.verify()).unwrap();
        assert!(findings.is_empty(), "seed {}, {}: {findings:?}", self.seed, replica.name);
    }

    /// Everybody hears everything.
    fn end(&mut self, replicas: &mut Vec<Replica>, dir: &std::path::Path) {
        self.now_ms += 60 * 60 * 1000;
        for replica in replicas.iter_mut() {
            self.seal(replica);
        }
        // Whatever was too far ahead is not any more.
        self.now_ms += 60 * 60 * 1000;
        for _ in 0..2 {
            for from in 0..replicas.len() {
                for to in (0..replicas.len()).filter(|to| *to != from) {
                    self.deliver_all(replicas, from, to);
                }
            }
        }
        replicas.push(Replica::new(dir, NAMES[4], self.seed, None, true));
        let (last, seed) = (replicas.len() - 1, self.seed);
        self.deliver_all(replicas, 0, last);
        for replica in replicas.iter() {
            self.check(replica, 100);
        }
        let first = &replicas[0];
        for other in &replicas[1..] {
            let (a, b) = (first.name, other.name);
            assert_eq!(first.merged(), other.merged(), "seed {seed}: {a} and {b} did not merge the same");
            let (here, there) = (first.dump(self.tables), other.dump(self.tables));
            for (table, rows) in &here {
                assert_eq!(Some(rows), there.get(table), "seed {seed}: {a} and {b} show different rows of {table}");
            }
            assert_eq!(first.store.digest(), other.store.digest(), "seed {seed}: digests of {a} and {b}");
            let (here, there) = (book(first), book(other));
            let only =
                |of: &[String], not: &[String]| of.iter().filter(|l| !not.contains(l)).cloned().collect::<Vec<_>>();
            let (only_a, only_b) = (only(&here, &there), only(&there, &here));
            assert!(here == there, "seed {seed}: of conflicts {a} alone tells {only_a:#?} and {b} alone {only_b:#?}");
        }
    }
}

/// Every line of p2p_conflicts, in an order of its own: as told, the lines of one row stand together.
fn book(replica: &Replica) -> Vec<String> {
    let lines = replica.view(|view| view.conflicts()).unwrap();
    let mut told: Vec<_> = lines
        .into_iter()
        .map(|mut line| {
            if line.key.starts_with("rowid ") {
                // A row without a key, told by what is this replica's own.
                line.key.clear();
            }
            format!("{line:?}")
        })
        .collect();
    told.sort_unstable();
    told
}

fn trace(text: &str) {
    if std::env::var("P2PDB_ORACLE_TRACE").is_ok() {
        println!("{text}");
    }
}
