//! The world: an ordered queue of events, and what each of them does. One seed, one course of events.

use crate::check;
use crate::database::{Database, Identity, Trouble};
use crate::network::{Conn, Pair, dial, pairs};
use crate::node::{Node, Waiting};
use crate::random::{Random, mix};
use crate::workload;
use p2pdb_core::cellhash::CellHasher;
use p2pdb_core::id::Life;
use p2pdb_core::key::{AuthorKey, Secret, found_group};
use p2pdb_core::session::{Input, Outcome};
use std::collections::{BTreeMap, VecDeque};

mod sessions;

/// How long users write and lines fail.
const STORM_MS: u64 = 40_000;
/// How long it may take after that until all are level. Longer than two digests, the last resort.
const CALM_MS_MAX: u64 = 300_000;
/// How long all must stay silent then: at least one digest on each line.
const SILENCE_MS: u64 = 75_000;
/// Steps of time, once a second, as the driver's.
const TICK_MS: u64 = 1_000;
/// Milliseconds since 1970 at which a run starts.
const START_MS: u64 = 1_000_000_000_000;

/// A run that went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The seed: run it again.
    pub seed: u64,
    /// Milliseconds into the run.
    pub at_ms: u64,
    /// What is wrong.
    pub what: String,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { seed, at_ms, what } = self;
        write!(f, "seed {seed} failed at {at_ms} ms: {what}; run `p2pdb-sim --seed {seed}` to see it again")
    }
}

impl std::error::Error for Failure {}

/// A run that went right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Hash over everything that happened.
    pub trace: u64,
    /// Replicas.
    pub nodes: u64,
    /// Entries in the log at the end.
    pub entries: u64,
    /// Frames delivered.
    pub frames: u64,
    /// Entries sent over all lines, copies included.
    pub sent: u64,
    /// Connections made.
    pub connections: u64,
    /// Crashes.
    pub crashes: u64,
    /// Transactions of users that a crash took with it.
    pub undone: u64,
    /// Rows that show a derived id at the end.
    pub renumbered: u64,
    /// Lines in the books of conflicts at the end.
    pub conflicts: u64,
    /// Milliseconds from calm to level.
    pub level_ms: u64,
}

#[derive(Clone, Debug)]
enum Event {
    User(usize),
    Seal(usize, u64),
    Disk(usize, u64),
    Frame(usize, usize),
    Tick,
    Dial(usize),
    Again(usize),
    Ask(usize),
    Drop(usize),
    Cut(usize, bool),
    Crash(usize),
    Start(usize),
    Look(usize),
}

/// One run.
pub struct World {
    seed: u64,
    random: Random,
    now_ms: u64,
    events: BTreeMap<(u64, u64), Event>,
    scheduled: u64,
    nodes: Vec<Node>,
    pairs: Vec<Pair>,
    conns: Vec<Conn>,
    next_value: u64,
    is_storm: bool,
    is_silence: bool,
    report: Report,
}

/// Runs a seed to its end.
///
/// # Errors
/// [`Failure`] at the first broken promise.
pub fn run(seed: u64) -> Result<Report, Failure> {
    let mut world = World::new(seed);
    let outcome = world.storm().and_then(|()| world.calm()).and_then(|()| world.silence());
    let outcome = outcome.and_then(|()| check::all(&world.nodes, &mut world.report));
    let at_ms = world.now_ms - START_MS;
    outcome.map(|()| world.report).map_err(|what| Failure { seed, at_ms, what })
}

type Step = Result<(), String>;

impl World {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let founder = AuthorKey::from_seed(&random.bytes());
        let group = found_group(&random.bytes(), &founder.public());
        let secret = Secret(random.bytes());
        let count = 2 + random.below(3) as usize;
        let nodes = (0..count).map(|_| new_node(group, &secret, &mut random)).collect();
        let pairs = pairs(count, &mut random);
        let report = Report { nodes: count as u64, ..Report::default() };
        let (events, conns) = (BTreeMap::new(), Vec::new());
        Self {
            seed,
            random,
            now_ms: START_MS,
            events,
            scheduled: 0,
            nodes,
            pairs,
            conns,
            next_value: 1_000,
            is_storm: true,
            is_silence: false,
            report,
        }
    }

    // ---- the course of a run

    fn storm(&mut self) -> Step {
        for n in 0..self.nodes.len() {
            let at = self.random.below(2_000);
            self.after(at, Event::User(n));
            let looks = 1 + self.random.below(3);
            for _ in 0..looks {
                let at = self.random.below(STORM_MS);
                self.after(at, Event::Look(n));
            }
            if self.random.percent(50) {
                let at = self.random.below(STORM_MS);
                self.after(at, Event::Crash(n));
            }
        }
        for pair in 0..self.pairs.len() {
            let at = self.random.below(5_000);
            self.after(at, Event::Dial(pair));
            self.trouble(pair);
        }
        self.after(TICK_MS, Event::Tick);
        self.run_until(START_MS + STORM_MS)
    }

    /// Cuts, drops and second connections on one line.
    fn trouble(&mut self, pair: usize) {
        for _ in 0..self.random.below(3) {
            let (from, long) = (self.random.below(STORM_MS), 500 + self.random.below(15_000));
            self.after(from, Event::Cut(pair, true));
            self.after((from + long).min(STORM_MS), Event::Cut(pair, false));
        }
        for _ in 0..self.random.below(4) {
            let at = self.random.below(STORM_MS);
            self.after(at, Event::Drop(pair));
        }
        for _ in 0..self.random.below(3) {
            let at = self.random.below(STORM_MS);
            self.after(at, Event::Again(pair));
        }
        for _ in 0..self.random.below(6) {
            let at = self.random.below(STORM_MS);
            self.after(at, Event::Ask(pair));
        }
    }

    fn calm(&mut self) -> Step {
        self.is_storm = false;
        for pair in &mut self.pairs {
            pair.is_cut = false;
        }
        for n in 0..self.nodes.len() {
            self.start(n);
            self.seal(n)?;
        }
        let calm_ms = self.now_ms;
        while !self.is_level() {
            if self.now_ms > calm_ms + CALM_MS_MAX {
                return Err(format!("not level {} s after the storm: {}", CALM_MS_MAX / 1000, self.describe()));
            }
            self.run_until(self.now_ms + TICK_MS / 4)?;
        }
        self.report.level_ms = self.now_ms - calm_ms;
        if self.nodes.iter().any(|n| n.db.log.authors.values().any(|a| a.applied < a.held)) {
            // Clocks ahead of ours: time catches up.
            self.now_ms += 2 * p2pdb_core::limit::CLOCK_AHEAD_MS_MAX;
            self.run_until(self.now_ms + 2 * TICK_MS)?;
        }
        Ok(())
    }

    /// Once all are level nobody sends an entry or a frontier any more.
    fn silence(&mut self) -> Step {
        self.is_silence = true;
        self.run_until(self.now_ms + SILENCE_MS)
    }

    fn run_until(&mut self, until_ms: u64) -> Step {
        while let Some(next) = self.events.first_entry().filter(|e| e.key().0 <= until_ms) {
            let ((at, _), event) = next.remove_entry();
            self.now_ms = self.now_ms.max(at);
            self.happen(event)?;
        }
        self.now_ms = self.now_ms.max(until_ms);
        Ok(())
    }

    fn is_level(&self) -> bool {
        let is_idle = |n: &Node| n.db.markers.is_empty() && n.disk.is_empty();
        let roots: Vec<_> = self.nodes.iter().map(|n| p2pdb_core::log::frontier_root(&n.db.log.frontier())).collect();
        let is_told = |c: &Conn| c.sides.iter().all(|s| self.status(s).is_level);
        self.nodes.iter().all(is_idle)
            && roots.windows(2).all(|w| w[0] == w[1])
            && (0..self.pairs.len()).all(|p| self.conns.iter().any(|c| c.is_alive && c.pair == p))
            && self.conns.iter().filter(|c| c.is_alive).all(is_told)
    }

    fn status(&self, side: &crate::network::Side) -> p2pdb_core::session::Status {
        match side.session.status(&self.nodes[side.node].db) {
            Ok(status) => status,
            Err(never) => match never {},
        }
    }

    fn describe(&self) -> String {
        let entries: Vec<_> = self.nodes.iter().map(|n| n.db.log.last_arrival()).collect();
        let sides = self.conns.iter().filter(|c| c.is_alive).flat_map(|c| &c.sides);
        let sides: Vec<_> = sides.map(|s| (s.node, self.status(s))).collect();
        format!("entries {entries:?}, sessions {sides:?}")
    }

    // ---- events

    fn after(&mut self, ms: u64, event: Event) {
        self.at(self.now_ms + ms, event);
    }

    fn at(&mut self, at_ms: u64, event: Event) {
        self.scheduled += 1;
        self.events.insert((at_ms, self.scheduled), event);
    }

    fn happen(&mut self, event: Event) -> Step {
        match event {
            Event::User(n) => {
                self.user(n);
                Ok(())
            }
            Event::Seal(n, start) if self.is_running(n, start) => self.seal(n),
            Event::Disk(n, start) if self.is_running(n, start) => self.disk(n),
            Event::Seal(..) | Event::Disk(..) => Ok(()),
            Event::Frame(conn, side) => self.frame(conn, side),
            Event::Tick => self.tick(),
            Event::Dial(pair) => self.dial(pair, false),
            Event::Again(pair) => self.dial(pair, true),
            Event::Ask(pair) => self.ask(pair),
            Event::Drop(pair) => {
                self.drop_line(pair);
                Ok(())
            }
            Event::Cut(pair, is_cut) => {
                self.pairs[pair].is_cut = is_cut && self.is_storm;
                if is_cut {
                    self.drop_line(pair);
                }
                Ok(())
            }
            Event::Crash(n) => {
                self.crash(n);
                Ok(())
            }
            Event::Start(n) => {
                self.start(n);
                Ok(())
            }
            Event::Look(n) => self.look(n),
        }
    }

    fn is_running(&self, n: usize, start: u64) -> bool {
        self.nodes[n].is_up && self.nodes[n].start == start
    }

    fn user(&mut self, n: usize) {
        if !self.is_storm {
            return;
        }
        let node = &mut self.nodes[n];
        if node.is_up {
            node.before_user();
            workload::transaction(&mut node.db, &mut self.random, &mut self.next_value);
            let start = node.start;
            // Mostly at once; now and then the driver is busy, or there is none, and what was written waits.
            let busy_ms = if self.random.percent(20) { 4_000 } else { 150 };
            let seal_ms = 1 + self.random.below(busy_ms);
            self.after(seal_ms, Event::Seal(n, start));
            // Now and then the machine stops while that is not durable yet.
            if self.random.below(150) == 0 {
                let crash_ms = self.random.below(seal_ms);
                self.after(crash_ms, Event::Crash(n));
            }
        }
        // Bursts, then breaks.
        let pause = if self.random.percent(70) { self.random.below(400) } else { self.random.below(6_000) };
        self.after(pause, Event::User(n));
    }

    fn seal(&mut self, n: usize) -> Step {
        let is_new = self.nodes[n].seal(self.now_ms).map_err(|t| format!("replica {n}: seal: {t:?}"))?;
        self.note(1, n as u64);
        if is_new { self.log_grew(n, None) } else { Ok(()) }
    }

    fn disk(&mut self, n: usize) -> Step {
        let now_ms = self.now_ms;
        let Some(Waiting { conn, side, batch }) = self.nodes[n].disk.pop_front() else { return Ok(()) };
        let before = self.nodes[n].db.log.last_arrival();
        let outcome = match self.nodes[n].commit(&batch, now_ms) {
            Ok((after, last)) => Outcome::Durable { after, last },
            Err(Trouble::Refused(refused)) => Outcome::Refused(refused),
            Err(Trouble::Damaged(e)) => return Err(format!("replica {n}: an entry can't be merged: {e}")),
        };
        self.note(2, n as u64);
        if !self.nodes[n].disk.is_empty() {
            self.disk_later(n);
        }
        let has_more = self.nodes[n].db.log.last_arrival() > before;
        self.input(conn, side, Input::Stored { token: batch.token, outcome })?;
        if has_more { self.log_grew(n, Some((conn, side))) } else { Ok(()) }
    }

    fn disk_later(&mut self, n: usize) {
        let (ms, start) = (1 + self.random.below(20), self.nodes[n].start);
        self.after(ms, Event::Disk(n, start));
    }

    fn log_grew(&mut self, n: usize, except: Option<(usize, usize)>) -> Step {
        for conn in 0..self.conns.len() {
            for side in 0..2 {
                if self.conns[conn].sides[side].node == n && except != Some((conn, side)) {
                    self.input(conn, side, Input::LogGrew)?;
                }
            }
        }
        Ok(())
    }

    fn frame(&mut self, conn: usize, side: usize) -> Step {
        let line = &mut self.conns[conn];
        if !line.is_alive {
            return Ok(());
        }
        let Some(frame) = line.sides[side].incoming.pop_front() else { return Ok(()) };
        let is_written = line.sides[side].incoming.is_empty();
        self.report.frames += 1;
        self.note(3, frame.iter().fold(conn as u64, |h, b| h.rotate_left(5).wrapping_mul(31) ^ u64::from(*b)));
        self.input(conn, side, Input::Frame(&frame))?;
        if is_written { self.input(conn, 1 - side, Input::Writable) } else { Ok(()) }
    }

    fn tick(&mut self) -> Step {
        for n in (0..self.nodes.len()).filter(|n| self.nodes[*n].is_up).collect::<Vec<_>>() {
            let caught_up = self.nodes[n].catch_up(self.now_ms).map_err(|t| format!("replica {n}: catch up: {t:?}"))?;
            if caught_up {
                self.log_grew(n, None)?;
            }
        }
        for conn in 0..self.conns.len() {
            self.input(conn, 0, Input::Tick)?;
            self.input(conn, 1, Input::Tick)?;
        }
        self.after(TICK_MS, Event::Tick);
        Ok(())
    }

    // ---- lines

    fn dial(&mut self, pair: usize, is_second: bool) -> Step {
        let Pair { a, b, is_cut, .. } = self.pairs[pair];
        let has_one = self.conns.iter().any(|c| c.is_alive && c.pair == pair);
        if has_one && !is_second {
            return Ok(());
        }
        if is_cut || !self.nodes[a].is_up || !self.nodes[b].is_up {
            self.dial_later(pair);
            return Ok(());
        }
        let ends = if self.random.percent(50) { [a, b] } else { [b, a] };
        let identities = ends.map(|n| &self.nodes[n].identity);
        let (line, firsts) = dial(pair, ends, identities, self.now_ms, &mut self.random);
        self.conns.push(line);
        self.report.connections += 1;
        self.pairs[pair].backoff.reset();
        let conn = self.conns.len() - 1;
        for (side, first) in firsts.into_iter().enumerate() {
            self.outputs(conn, side, first)?;
        }
        Ok(())
    }

    fn dial_later(&mut self, pair: usize) {
        let random = self.random.draw();
        let ms = self.pairs[pair].backoff.next_ms(random);
        self.after(ms, Event::Dial(pair));
    }

    fn drop_line(&mut self, pair: usize) {
        for conn in 0..self.conns.len() {
            if self.conns[conn].is_alive && self.conns[conn].pair == pair {
                self.drop_conn(conn);
            }
        }
    }

    fn drop_conn(&mut self, conn: usize) {
        let line = &mut self.conns[conn];
        line.is_alive = false;
        line.sides.iter_mut().for_each(|s| s.incoming.clear());
        let pair = line.pair;
        self.dial_later(pair);
    }

    fn crash(&mut self, n: usize) {
        if !self.is_storm || !self.nodes[n].is_up {
            return;
        }
        let is_lucky = self.random.percent(50);
        self.report.crashes += 1;
        self.report.undone += u64::from(!is_lucky && self.nodes[n].durable.is_some());
        self.nodes[n].crash(is_lucky);
        for conn in 0..self.conns.len() {
            let line = &self.conns[conn];
            if line.is_alive && line.sides.iter().any(|s| s.node == n) {
                self.drop_conn(conn);
            }
        }
        let ms = 100 + self.random.below(8_000);
        self.after(ms, Event::Start(n));
    }

    fn start(&mut self, n: usize) {
        if !self.nodes[n].is_up {
            self.nodes[n].is_up = true;
            let start = self.nodes[n].start;
            // Markers of before are sealed by whoever opens the file next.
            self.after(1, Event::Seal(n, start));
        }
    }

    /// At any moment: what a replica shows is what the oracle makes of the entries that it has merged.
    fn look(&mut self, n: usize) -> Step {
        let node = &self.nodes[n];
        if node.is_up && node.db.markers.is_empty() {
            check::tables(&node.db, n)?;
        }
        Ok(())
    }

    fn note(&mut self, what: u64, detail: u64) {
        self.report.trace = mix(self.report.trace ^ mix(what ^ detail.rotate_left(8)) ^ self.now_ms);
    }
}

fn new_node(group: p2pdb_core::id::GroupId, secret: &Secret, random: &mut Random) -> Node {
    let key = AuthorKey::from_seed(&random.bytes());
    let mut life = Life::default();
    life.0.copy_from_slice(&random.bytes()[..16]);
    // One replica in thirty runs eleven minutes ahead: its entries wait in quarantine.
    let skew_ms = if random.percent(3) { 11 * 60 * 1000 } else { random.below(300) };
    let identity = Identity { group, secret: secret.clone(), key, hasher: CellHasher::new(group) };
    Node { db: Database::new(life), durable: None, identity, is_up: true, start: 0, disk: VecDeque::new(), skew_ms }
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "World(seed {}, {} ms)", self.seed, self.now_ms)
    }
}
