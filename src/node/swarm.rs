//! The one network of a process, shared by all its databases; started when the first of them needs it.

use p2pdb_net::host::{Host, HostError};
use p2pdb_net::{Config, Event, Events, Handle, SendError, StreamId, start};
use std::collections::BTreeSet;
use std::sync::Arc;

use super::registry::Bell;

/// The network, or its absence.
pub(super) struct Swarm {
    bell: Arc<Bell>,
    net: Option<(Handle, Events)>,
    /// Addresses as ordered, and as the system gave them.
    ordered: BTreeSet<String>,
    listening: Vec<String>,
    next_token: u64,
    is_mdns_on: bool,
    last_error: Option<String>,
}

impl Swarm {
    pub(super) fn new(bell: &Arc<Bell>) -> Self {
        let (net, ordered, listening) = Default::default();
        Self { bell: Arc::clone(bell), net, ordered, listening, next_token: 0, is_mdns_on: false, last_error: None }
    }

    /// Brings the network to what the databases want: addresses to listen on, in any order, and whether to use mDNS.
    pub(super) fn want(&mut self, is_on: bool, listen: &BTreeSet<String>, mdns: bool) {
        if !is_on {
            if let Some((handle, _)) = self.net.take() {
                handle.shutdown();
                self.ordered.clear();
                self.listening.clear();
                self.is_mdns_on = false;
            }
            return;
        }
        let Some(handle) = self.handle() else { return };
        if *listen != self.ordered {
            handle.unlisten_all();
            let failures: Vec<_> =
                listen.iter().filter_map(|a| handle.listen(a).err().map(|why| format!("{a}: {why}"))).collect();
            self.last_error = failures.into_iter().next();
            self.ordered.clone_from(listen);
            self.listening.clear();
        }
        // Multicast only where we listen on something that it could tell of.
        let mdns = mdns && self.listening.iter().any(|a| !is_loopback(a));
        if mdns != self.is_mdns_on
            && let Some((handle, _)) = &self.net
        {
            handle.set_mdns(mdns);
            self.is_mdns_on = mdns;
        }
    }

    fn handle(&mut self) -> Option<Handle> {
        if self.net.is_none() {
            let bell = Arc::clone(&self.bell);
            match start(Config::default(), Arc::new(move || bell.ring())) {
                Ok(net) => self.net = Some(net),
                Err(why) => self.last_error = Some(why.to_string()),
            }
        }
        self.net.as_ref().map(|(handle, _)| handle.clone())
    }

    /// What happened since the last call, in order.
    pub(super) fn next(&mut self) -> Option<Event> {
        let event = self.net.as_mut()?.1.try_recv()?;
        match &event {
            Event::Listening { address } => self.listening.push(address.clone()),
            Event::ListenEnded { address } => self.listening.retain(|a| a != address),
            Event::ListenFailed { address, why } => self.last_error = Some(format!("{address}: {why}")),
            Event::Stopped { why } => {
                self.last_error = Some(why.clone());
                self.net = None;
                self.ordered.clear();
                self.listening.clear();
                self.is_mdns_on = false;
            }
            _ => {}
        }
        Some(event)
    }

    /// Dials. Gives the token that comes back with the stream or the failure.
    pub(super) fn dial(&mut self, address: &str) -> Result<u64, String> {
        let Some((handle, _)) = &self.net else { return Err("the network is off".into()) };
        self.next_token += 1;
        handle.dial(address, self.next_token).map(|()| self.next_token).map_err(|e| e.to_string())
    }

    pub(super) fn send(&self, stream: StreamId, frame: Vec<u8>) -> Result<(), SendError> {
        self.net.as_ref().map_or(Err(SendError::Gone), |(handle, _)| handle.send(stream, frame))
    }

    pub(super) fn promote(&self, stream: StreamId) {
        if let Some((handle, _)) = &self.net {
            handle.promote(stream);
        }
    }

    pub(super) fn close(&self, stream: StreamId) {
        if let Some((handle, _)) = &self.net {
            handle.close(stream);
        }
    }

    /// Tells the processes of this host that members with this tag are to be found where we listen.
    pub(super) fn announce(&self, tag: &str) -> Result<(), HostError> {
        Host::open(None)?.announce(tag, &self.listening)
    }

    /// Where other processes of this host with that tag listen.
    pub(super) fn others(&self, tag: &str) -> Result<Vec<String>, HostError> {
        Host::open(None)?.others(tag)
    }

    /// Takes the announcement back.
    pub(super) fn withdraw(&self, tag: &str) {
        if let Err(why) = Host::open(None).and_then(|host| host.withdraw(tag)) {
            tracing::debug!(%why, "an announcement stays behind; it is removed when its process is gone");
        }
    }

    pub(super) fn is_on(&self) -> bool {
        self.net.is_some()
    }

    /// Where we listen, as the system gave it.
    pub(super) fn listening(&self) -> &[String] {
        &self.listening
    }

    pub(super) fn last_error(&self) -> Option<&str> {
        self.last_error.as_deref()
    }
}

pub(super) fn is_loopback(address: &str) -> bool {
    address.starts_with("/ip4/127.") || address.starts_with("/ip6/::1/")
}
