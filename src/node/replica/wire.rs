//! What the network tells a database, and whom it dials.

use p2pdb_core::session::Input;
use p2pdb_net::DialFailure;
use std::collections::BTreeSet;
use std::sync::Arc;

use super::Replica;
use crate::node::dialer::Origin;
use crate::node::driver::Tools;
use crate::node::swarm::{Opened, Stream};
use crate::node::{Shared, config};

/// Milliseconds between two looks for other processes of this host.
const HOST_MS: u64 = 1_000;
/// Milliseconds for which a peer that asks for what is committed here waits, while a host keeps it from being sealed.
const HELD_BACK_MS: u64 = 200;

impl Replica {
    pub(in crate::node) fn is_of(&self, shared: &Arc<Shared>) -> bool {
        Arc::ptr_eq(&self.shared, shared)
    }

    /// The addresses that it wants to listen on.
    pub(in crate::node) fn listen(&self) -> BTreeSet<String> {
        let listen = self.open.as_ref().map(|o| config::of("listen", &o.sidecar.config)).unwrap_or_default();
        listen.split_whitespace().map(str::to_owned).collect()
    }

    pub(in crate::node) fn is_dialing(&self, token: u64) -> bool {
        self.links.dialer.is_dialing(token)
    }

    pub(in crate::node) fn opened(&mut self, opened: Opened, tools: &mut Tools<'_>) {
        match &self.open {
            Some(open) if super::is_networked(&open.sidecar) => self.links.open(opened, open, tools),
            _ => tools.swarm.close(opened.stream, tools.now.mono_ms),
        }
    }

    pub(in crate::node) fn frame(&mut self, stream: Stream, frame: &[u8], tools: &mut Tools<'_>) {
        self.links.heard(stream, None, tools.now.wall_ms);
        self.links.one(stream, Input::Frame(frame), self.open.as_ref(), tools);
    }

    pub(in crate::node) fn writable(&mut self, stream: Stream, tools: &mut Tools<'_>) {
        self.links.writable(stream, self.open.as_ref(), tools);
    }

    pub(in crate::node) fn rtt(&mut self, stream: Stream, micros: u64, tools: &mut Tools<'_>) {
        self.links.heard(stream, Some(micros), tools.now.wall_ms);
    }

    pub(in crate::node) fn closed(&mut self, stream: Stream, why: &str, tools: &mut Tools<'_>) {
        self.links.end_because(stream, why, 0, tools);
    }

    pub(in crate::node) fn dial_failed(&mut self, token: u64, why: &DialFailure, tools: &mut Tools<'_>) {
        let address = self.links.dialer.failed(token, &why.to_string(), tools.now.mono_ms, tools.random.next());
        if let (Some(address), DialFailure::Oneself) = (address, why) {
            self.links.dialer.drop_own(&address);
        }
    }

    pub(in crate::node) fn seen(&mut self, address: &str, tools: &mut Tools<'_>) {
        if self.is_networked() {
            self.links.dialer.add(address, Origin::Mdns, tools.now.mono_ms);
        }
    }

    pub(in crate::node) fn lost(&mut self, address: &str) {
        self.links.dialer.lost(address, Origin::Mdns);
    }

    pub(in crate::node) fn network_stopped(&mut self, tools: &mut Tools<'_>) {
        self.links.close_all(tools);
    }

    /// Feeds the sessions with what came in since, and with time.
    pub(super) fn stream(&mut self, tools: &mut Tools<'_>) {
        if let Some(open) = &mut self.open {
            match open.store.last_arrival() {
                Ok(last) if last != open.told => {
                    open.told = last;
                    self.log_grew(tools);
                }
                Ok(_) => {}
                Err(why) => tracing::debug!(%why, "the log can't be read"),
            }
        }
        self.links.tick(self.open.as_ref(), tools);
    }

    /// Asks the peers for what is committed there, and answers theirs.
    pub(super) fn sync(&mut self, tools: &mut Tools<'_>) {
        self.links.ask(self.open.as_ref(), tools);
        let Some(open) = self.open.as_ref().filter(|_| self.links.is_waited_for()) else { return };
        let is_kept = self.trouble.held_up.is_some_and(|held_up| held_up.since_ms + HELD_BACK_MS <= tools.now.mono_ms);
        let is_held_back = open.is_dirty;
        if !is_held_back || is_kept || self.trouble.last_error.is_some() {
            self.links.sealed(is_held_back, self.open.as_ref(), tools);
        }
    }

    pub(super) fn dial(&mut self, tools: &mut Tools<'_>) {
        let now = tools.now.mono_ms;
        if !self.is_networked() || !tools.swarm.is_on() {
            return;
        }
        self.meet_host(tools);
        for address in self.links.dialer.due(now) {
            match tools.swarm.dial(&address) {
                Ok(token) => self.links.dialer.dialing(&address, token),
                Err(why) => self.links.dialer.refused(&address, &why, now, tools.random.next()),
            }
        }
    }

    /// Tells the processes of this host where we listen, and hears where they do.
    fn meet_host(&mut self, tools: &mut Tools<'_>) {
        let now = tools.now.mono_ms;
        let listening = tools.swarm.listening().to_vec();
        if self.next_host_ms > now && self.announced == listening {
            return;
        }
        self.next_host_ms = now + HOST_MS;
        let Some(open) = &self.open else { return };
        let identity = open.store.identity();
        let tag = identity.secret.host_tag(identity.group);
        if self.announced != listening {
            match tools.swarm.announce(&tag) {
                Ok(()) => self.announced = listening,
                Err(why) => self.links.last_error = Some(format!("other processes of this host can't find us: {why}")),
            }
        }
        match tools.swarm.others(&tag) {
            Ok(others) => {
                self.links.dialer.keep_only(Origin::Host, &others);
                for address in others {
                    self.links.dialer.add(&address, Origin::Host, now);
                }
            }
            Err(why) => tracing::debug!(%why, "the folder of this host's processes can't be read"),
        }
    }

    /// No longer to be found by the processes of this host.
    pub(super) fn withdraw(&mut self, tools: &mut Tools<'_>) {
        let Some(open) = &self.open else { return };
        if self.announced.is_empty() {
            return;
        }
        let identity = open.store.identity();
        tools.swarm.withdraw(&identity.secret.host_tag(identity.group));
        self.announced.clear();
    }
}
