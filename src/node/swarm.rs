//! The one network of a process, shared by all its databases; started when the first of them needs it.

use p2pdb_net::host::{Host, HostError};
use p2pdb_net::{Config, DialFailure, Event, Events, Handle, SendError, StreamId, start};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use super::local::Local;
use super::registry::Bell;

/// A stream of frames: over the network, or to another database of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stream {
    Net(StreamId),
    Local(u64),
}

/// A stream that was opened.
#[derive(Clone, Debug)]
pub(super) struct Opened {
    pub(super) stream: Stream,
    pub(super) is_dialer: bool,
    /// Our transport key, and the peer's, each as the other side verified it.
    pub(super) local: Vec<u8>,
    pub(super) remote: Vec<u8>,
    pub(super) address: String,
    /// The dial that it came of.
    pub(super) token: Option<u64>,
}

/// What happened on the wire.
pub(super) enum Happened {
    Opened(Opened),
    /// The same, and the database that it is for.
    Joined(PathBuf, Opened),
    Frame {
        stream: Stream,
        frame: Vec<u8>,
    },
    Writable(Stream),
    Rtt {
        stream: Stream,
        micros: u64,
    },
    Closed {
        stream: Stream,
        why: String,
    },
    DialFailed {
        token: u64,
        why: DialFailure,
    },
    Seen(String),
    Lost(String),
    /// Every stream of the network is closed.
    Stopped,
}

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
    pub(super) local: Local,
}

impl Swarm {
    pub(super) fn new(bell: &Arc<Bell>) -> Self {
        let (net, ordered, listening, last_error, local) = Default::default();
        Self { bell: Arc::clone(bell), net, ordered, listening, next_token: 0, is_mdns_on: false, last_error, local }
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

    /// The next of what happened.
    pub(super) fn next(&mut self) -> Option<Happened> {
        if let Some(happened) = self.local.next() {
            return Some(happened);
        }
        loop {
            let event = self.net.as_mut()?.1.try_recv()?;
            if let Some(happened) = self.take(event) {
                return Some(happened);
            }
        }
    }

    /// Keeps what is the network's own business; the rest is the databases'.
    fn take(&mut self, event: Event) -> Option<Happened> {
        Some(match event {
            Event::Opened { stream, is_dialer, local, remote, address, token } => {
                Happened::Opened(Opened { stream: Stream::Net(stream), is_dialer, local, remote, address, token })
            }
            Event::Frame { stream, frame } => Happened::Frame { stream: Stream::Net(stream), frame },
            Event::Writable { stream } => Happened::Writable(Stream::Net(stream)),
            Event::Rtt { stream, micros } => Happened::Rtt { stream: Stream::Net(stream), micros },
            Event::Closed { stream, why } => Happened::Closed { stream: Stream::Net(stream), why: why.to_string() },
            Event::DialFailed { token, why } => Happened::DialFailed { token, why },
            Event::Seen { address } => Happened::Seen(address),
            Event::Lost { address } => Happened::Lost(address),
            Event::Listening { address } => {
                self.listening.push(address);
                return None;
            }
            Event::ListenEnded { address } => {
                self.listening.retain(|a| *a != address);
                return None;
            }
            Event::ListenFailed { address, why } => {
                self.last_error = Some(format!("{address}: {why}"));
                return None;
            }
            Event::Stopped { why } => {
                self.last_error = Some(why);
                self.net = None;
                self.ordered.clear();
                self.listening.clear();
                self.is_mdns_on = false;
                Happened::Stopped
            }
            // Events of a later version of the network that this one has no use for.
            _ => return None,
        })
    }

    /// Dials. Gives the token that comes back with the stream or the failure.
    pub(super) fn dial(&mut self, address: &str) -> Result<u64, String> {
        let Some((handle, _)) = &self.net else { return Err("the network is off".into()) };
        self.next_token += 1;
        handle.dial(address, self.next_token).map(|()| self.next_token).map_err(|e| e.to_string())
    }

    pub(super) fn send(&mut self, stream: Stream, frame: Vec<u8>) -> Result<(), SendError> {
        match (stream, &self.net) {
            (Stream::Local(end), _) => self.local.send(end, frame).then_some(()).ok_or(SendError::Gone),
            (Stream::Net(stream), Some((handle, _))) => handle.send(stream, frame),
            (Stream::Net(_), None) => Err(SendError::Gone),
        }
    }

    /// The peer is a proven member.
    pub(super) fn promote(&self, stream: Stream) {
        if let (Stream::Net(stream), Some((handle, _))) = (stream, &self.net) {
            handle.promote(stream);
        }
    }

    pub(super) fn close(&mut self, stream: Stream, now_ms: u64) {
        match (stream, &self.net) {
            (Stream::Local(end), _) => self.local.close(end, now_ms),
            (Stream::Net(stream), Some((handle, _))) => handle.close(stream),
            (Stream::Net(_), None) => {}
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
