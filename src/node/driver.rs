//! The driver: one thread that gives every database of the process its turns.
//!
//! It waits on one bell, which is rung by requests, by the network and by the system's file notifications; each turn of a
//! database says when it wants the next. A panic in a turn costs that database its open state, not the thread.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::registry::{self, Bell};
use super::replica::Replica;
use super::swarm::{Happened, Opened, Stream, Swarm};
use super::watch::Watch;
use super::{config, route::Routes};

/// Time, on two clocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    /// Milliseconds since the driver started: deadlines.
    pub(super) mono_ms: u64,
    /// Milliseconds since 1970: stamps, and what people read.
    pub(super) wall_ms: u64,
}

/// Random enough for jitter; nothing secret comes of it.
pub(super) struct Random(u64);

impl Random {
    /// xorshift64*; source: Vigna, *An experimental exploration of Marsaglia's xorshift generators, scrambled*, 2016.
    pub(super) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}

/// What a turn works with beside its own database.
pub(super) struct Tools<'a> {
    pub(super) now: Now,
    pub(super) swarm: &'a mut Swarm,
    pub(super) watch: &'a mut Watch,
    pub(super) random: &'a mut Random,
}

/// Starts a thread in which no signal of the host's is delivered.
pub(super) fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
    // A thread inherits the mask of the one that makes it.
    let _blocked = p2pdb_net::SignalsBlocked::block();
    std::thread::Builder::new().name(name.into()).spawn(body).map(drop)
}

struct Driver {
    replicas: BTreeMap<PathBuf, Replica>,
    routes: Routes,
    swarm: Swarm,
    watch: Watch,
    random: Random,
    started: Instant,
}

/// Serves all nodes of the process, for ever.
pub(super) fn run(bell: &Arc<Bell>) {
    let seed =
        super::sidecar::random().map_or(1, |r| u64::from_le_bytes([r[0], r[1], r[2], r[3], r[4], r[5], r[6], r[7]]));
    let mut driver = Driver {
        replicas: BTreeMap::new(),
        routes: Routes::default(),
        swarm: Swarm::new(bell),
        watch: Watch::new(bell),
        random: Random(seed | 1),
        started: Instant::now(),
    };
    let mut is_rung = true;
    loop {
        let next_ms = {
            let _at_work = registry::work();
            driver.turn(is_rung)
        };
        let deadline = driver.started + Duration::from_millis(next_ms.min(u64::from(u32::MAX)));
        is_rung = bell.wait(deadline);
    }
}

impl Driver {
    fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now { mono_ms: self.started.elapsed().as_millis() as u64, wall_ms: wall.as_millis() as u64 }
    }

    /// One turn of everything. Gives the time of the next, in milliseconds since the start.
    fn turn(&mut self, is_rung: bool) -> u64 {
        if is_rung {
            self.replicas.values_mut().for_each(Replica::rung);
        }
        self.meet();
        self.take_events();
        let mut next_ms = self.now().mono_ms + 60_000;
        let databases: Vec<_> = self.replicas.keys().cloned().collect();
        for database in databases {
            let at = self.with(&database, |replica, tools| replica.turn(tools));
            // A turn that panicked asks for none: the next is when its database may be tried again.
            if let Some(at) = at.or_else(|| self.replicas.get(&database)?.retry_ms()) {
                next_ms = next_ms.min(at);
            }
        }
        self.want();
        self.join_local();
        if self.swarm.local.is_empty() { next_ms } else { self.now().mono_ms }
    }

    /// Runs `work` on one database; a panic in it is that database's alone.
    fn with<T>(&mut self, database: &PathBuf, work: impl FnOnce(&mut Replica, &mut Tools<'_>) -> T) -> Option<T> {
        let now = self.now();
        let Self { replicas, swarm, watch, random, .. } = self;
        let replica = replicas.get_mut(database)?;
        let mut tools = Tools { now, swarm, watch, random };
        // A replica that panicked is emptied by `recover`; the tools only hold queues and handles.
        match catch_unwind(AssertUnwindSafe(|| work(replica, &mut tools))) {
            Ok(done) => Some(done),
            Err(panic) => {
                let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
                let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
                replica.recover(format!("internal error, please report it: {text}"), &mut tools);
                None
            }
        }
    }

    /// Databases come and go with the connections that hold them.
    fn meet(&mut self) {
        let held = registry::held();
        let gone: Vec<_> = self.replicas.keys().filter(|d| !held.iter().any(|s| s.database == **d)).cloned().collect();
        for database in gone {
            self.with(&database, |replica, tools| replica.close(tools));
            self.replicas.remove(&database);
        }
        for shared in held {
            let is_other = self.replicas.get(&shared.database).is_some_and(|r| !r.is_of(&shared));
            if is_other {
                self.with(&shared.database.clone(), |replica, tools| replica.close(tools));
                self.replicas.remove(&shared.database);
            }
            self.replicas.entry(shared.database.clone()).or_insert_with(|| Replica::new(shared));
        }
    }

    /// Brings the network to what all databases together want.
    fn want(&mut self) {
        let networked: Vec<_> = self.replicas.values().filter(|r| r.is_networked()).collect();
        let mut listen = BTreeSet::new();
        let mut mdns = false;
        for replica in &networked {
            listen.extend(replica.listen());
            mdns |= replica.sidecar().is_some_and(|s| config::of("mdns", &s.config) == "on");
        }
        let is_on = !networked.is_empty();
        self.swarm.want(is_on, &listen, mdns);
    }

    fn take_events(&mut self) {
        while let Some(happened) = self.swarm.next() {
            self.take(happened);
        }
    }

    fn take(&mut self, happened: Happened) {
        match happened {
            Happened::Opened(opened) => self.opened(opened),
            Happened::Joined(database, opened) => self.opened_for(&database, opened),
            Happened::Frame { stream, frame } => self.frame(stream, &frame),
            Happened::Writable(stream) => self.with_stream(stream, |replica, tools| replica.writable(stream, tools)),
            Happened::Rtt { stream, micros } => {
                self.with_stream(stream, |replica, tools| replica.rtt(stream, micros, tools));
            }
            Happened::Closed { stream, why } => {
                self.with_stream(stream, |replica, tools| replica.closed(stream, &why, tools));
                self.routes.remove(stream);
            }
            Happened::DialFailed { token, why } => {
                if let Some(database) = self.find_dial(token) {
                    self.with(&database, |replica, tools| replica.dial_failed(token, &why, tools));
                }
            }
            Happened::Seen(address) => self.all(|replica, tools| replica.seen(&address, tools)),
            Happened::Lost(address) => self.all(|replica, _| replica.lost(&address)),
            Happened::Stopped => {
                self.routes = Routes::default();
                self.all(|replica, tools| replica.network_stopped(tools));
            }
        }
    }

    /// Databases of one group in this process exchange without a network.
    fn join_local(&mut self) {
        let now_ms = self.now().mono_ms;
        let members: Vec<_> = self
            .replicas
            .iter()
            .filter(|(_, r)| r.is_networked())
            .filter_map(|(database, r)| Some((database, r.sidecar()?.identity().group)))
            .collect();
        for (at, (one, group)) in members.iter().enumerate() {
            for (other, _) in members.iter().skip(at + 1).filter(|(_, its)| its == group) {
                self.swarm.local.join(one, other, now_ms);
            }
        }
    }

    fn opened(&mut self, opened: Opened) {
        let database = opened.token.and_then(|token| self.find_dial(token));
        match database {
            Some(database) => self.opened_for(&database, opened),
            // Which group it wants is in its first frame.
            None => self.routes.wait(opened),
        }
    }

    fn opened_for(&mut self, database: &PathBuf, opened: Opened) {
        self.routes.add(opened.stream, database.clone());
        self.with(database, |replica, tools| replica.opened(opened, tools));
    }

    fn frame(&mut self, stream: Stream, frame: &[u8]) {
        if let Some(opened) = self.routes.take_waiting(stream) {
            let groups = self.replicas.iter().filter(|(_, r)| r.is_networked());
            let groups: Vec<_> = groups.filter_map(|(d, r)| Some((d, r.sidecar()?.identity()))).collect();
            // A stranger is answered by any group alike: it learns that somebody is here, as it did from the transport.
            let found = Routes::find(frame, &opened, groups.iter().map(|(_, i)| (i.group, &i.secret)));
            let Some(database) = groups.get(found.unwrap_or_default()).map(|(d, _)| (*d).clone()) else {
                let now_ms = self.now().mono_ms;
                self.swarm.close(stream, now_ms);
                return;
            };
            self.opened_for(&database, opened);
        }
        self.with_stream(stream, |replica, tools| replica.frame(stream, frame, tools));
    }

    fn with_stream(&mut self, stream: Stream, work: impl FnOnce(&mut Replica, &mut Tools<'_>)) {
        if let Some(database) = self.routes.database(stream) {
            self.with(&database, work);
        }
    }

    fn all(&mut self, mut work: impl FnMut(&mut Replica, &mut Tools<'_>)) {
        let databases: Vec<_> = self.replicas.keys().cloned().collect();
        for database in databases {
            self.with(&database, &mut work);
        }
    }

    fn find_dial(&self, token: u64) -> Option<PathBuf> {
        self.replicas.values().find(|r| r.is_dialing(token)).map(|r| r.database().to_owned())
    }
}
