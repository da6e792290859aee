//! Dials under way, from an address to an open stream.
//!
//! The one idea: a dial wants a stream, not a connection. Where one to that peer or address stands, or is
//! being made, the stream is opened there; so many groups may share a peer without as many handshakes.

use std::collections::{HashMap, VecDeque};

use futures::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use libp2p::{
    Multiaddr, PeerId, Swarm,
    swarm::{
        ConnectionId, DialError,
        dial_opts::{DialOpts, PeerCondition},
    },
};
use tokio::time::timeout;

use crate::{
    DialFailure, Limits,
    address::{Place, Target, resolve},
    link::Links,
    swarm::Behaviour,
};

/// The number of a dial inside the network. The caller's tokens need not differ, these do.
pub(crate) type Number = u64;

type Resolved = (Number, Result<Vec<Multiaddr>, String>);

/// All dials under way.
#[derive(Default)]
pub(crate) struct Dials {
    last: Number,
    wanted: HashMap<Number, Dial>,
    connecting: HashMap<ConnectionId, Connecting>,
    resolving: FuturesUnordered<BoxFuture<'static, Resolved>>,
}

struct Dial {
    token: u64,
    peer: Option<PeerId>,
    /// Addresses not yet tried.
    rest: VecDeque<Multiaddr>,
    /// What the last one came to.
    why: DialFailure,
}

struct Connecting {
    address: Multiaddr,
    peer: Option<PeerId>,
    dials: Vec<Number>,
}

/// A dial that has ended without a stream.
pub(crate) type Failed = (u64, DialFailure);

impl Dials {
    /// Begins a dial.
    pub(crate) fn begin(&mut self, target: Target, token: u64, limits: &Limits) -> Number {
        self.last += 1;
        let number = self.last;
        let why = DialFailure::Unreachable("no address".to_owned());
        let mut dial = Dial { token, peer: target.peer, rest: VecDeque::new(), why };
        match target.place {
            Place::Address(address) => dial.rest.push_back(address),
            Place::Name { host, family, transport } => {
                let time_max = limits.dial_time;
                self.resolving.push(Box::pin(async move {
                    let found = timeout(time_max, resolve(&host, family, transport)).await;
                    (number, found.unwrap_or_else(|_| Err("the resolver took too long".to_owned())))
                }));
            }
        }
        self.wanted.insert(number, dial);
        number
    }

    /// Counts a stream that is opened without dialling among the dials.
    pub(crate) fn adopt(&mut self, token: u64) -> Number {
        self.last += 1;
        let dial = Dial { token, peer: None, rest: VecDeque::new(), why: DialFailure::Closed };
        self.wanted.insert(self.last, dial);
        self.last
    }

    /// Waits for a name to be resolved, for ever where none is asked for; returns the dial to go on with.
    pub(crate) async fn resolved(&mut self) -> Number {
        match self.resolving.next().await {
            Some((number, found)) => {
                if let Some(dial) = self.wanted.get_mut(&number) {
                    match found {
                        Ok(addresses) => dial.rest.extend(addresses),
                        Err(why) => dial.why = DialFailure::Name(why),
                    }
                }
                number
            }
            None => std::future::pending().await,
        }
    }

    /// Tries a dial's next address until one leads somewhere; returns the failure where none is left.
    pub(crate) fn advance(
        &mut self,
        number: Number,
        swarm: &mut Swarm<Behaviour>,
        links: &mut Links,
        limits: &Limits,
    ) -> Option<Failed> {
        loop {
            let dial = self.wanted.get_mut(&number)?;
            let Some(address) = dial.rest.pop_front() else { return self.fail(number, None) };
            if dial.peer == Some(*swarm.local_peer_id()) {
                return self.fail(number, Some(DialFailure::Oneself));
            }
            let peer = dial.peer;
            if let Some(connection) = standing(links, &address, peer, limits) {
                open(connection, number, swarm, links);
                return None;
            }
            let alike = self.connecting.values_mut().find(|other| other.address == address && other.peer == peer);
            if let Some(connecting) = alike {
                connecting.dials.push(number);
                return None;
            }
            let options = options(&address, peer);
            let connection = options.connection_id();
            match swarm.dial(options) {
                Ok(()) => {
                    self.connecting.insert(connection, Connecting { address, peer, dials: vec![number] });
                    return None;
                }
                Err(error) => dial.why = failure(&error),
            }
        }
    }

    /// A connection stands; its dials get their streams.
    pub(crate) fn connected(&mut self, connection: ConnectionId, swarm: &mut Swarm<Behaviour>, links: &mut Links) {
        for number in self.connecting.remove(&connection).map(|made| made.dials).unwrap_or_default() {
            open(connection, number, swarm, links);
        }
    }

    /// A connection could not be made. Returns the dials that waited for it, to be advanced; those whose peer
    /// is connected already, where that is what stood in the way, get their streams there.
    pub(crate) fn not_connected(
        &mut self,
        connection: ConnectionId,
        peer: Option<PeerId>,
        error: &DialError,
        swarm: &mut Swarm<Behaviour>,
        links: &mut Links,
        limits: &Limits,
    ) -> Vec<Number> {
        let Some(connecting) = self.connecting.remove(&connection) else { return Vec::new() };
        let mut unserved = Vec::new();
        for number in connecting.dials {
            let other = peer.filter(|_| matches!(error, DialError::Denied { .. }));
            match other.and_then(|peer| with_room(links, limits, |link| link.peer == peer)) {
                Some(standing) => open(standing, number, swarm, links),
                None => {
                    if let Some(dial) = self.wanted.get_mut(&number) {
                        dial.why = failure(error);
                    }
                    unserved.push(number);
                }
            }
        }
        unserved
    }

    /// A dial has its stream: returns its token.
    pub(crate) fn opened(&mut self, number: Number) -> Option<u64> {
        self.wanted.remove(&number).map(|dial| dial.token)
    }

    /// Ends a dial without a stream, for that reason or the one that its last address gave.
    pub(crate) fn fail(&mut self, number: Number, why: Option<DialFailure>) -> Option<Failed> {
        self.wanted.remove(&number).map(|dial| (dial.token, why.unwrap_or(dial.why)))
    }
}

/// A standing connection on which a dial may open its stream: to the peer it names, else to its address.
fn standing(links: &Links, address: &Multiaddr, peer: Option<PeerId>, limits: &Limits) -> Option<ConnectionId> {
    match peer {
        Some(peer) => with_room(links, limits, |link| link.peer == peer),
        // The address of an inbound connection is not one that anybody listens on.
        None => with_room(links, limits, |link| link.is_dialer && link.address == *address),
    }
}

fn with_room(links: &Links, limits: &Limits, suits: impl Fn(&crate::link::Link) -> bool) -> Option<ConnectionId> {
    links.iter().find(|(_, link)| suits(link) && link.has_room(limits)).map(|(connection, _)| *connection)
}

fn open(connection: ConnectionId, number: Number, swarm: &mut Swarm<Behaviour>, links: &mut Links) {
    if let Some(link) = links.get_mut(&connection) {
        link.opening.insert(number);
        swarm.behaviour_mut().streams.open(link.peer, connection, number);
    }
}

fn options(address: &Multiaddr, peer: Option<PeerId>) -> DialOpts {
    // A new port each time: with the listener's reused, two connections to one address are the same four
    // numbers to the system, and the second fails.
    match peer {
        Some(peer) => DialOpts::peer_id(peer)
            .condition(PeerCondition::Always)
            .addresses(vec![address.clone()])
            .allocate_new_port()
            .build(),
        None => DialOpts::unknown_peer_id().address(address.clone()).allocate_new_port().build(),
    }
}

fn failure(error: &DialError) -> DialFailure {
    match error {
        // Without an address left, since libp2p strikes out those that we listen on.
        DialError::LocalPeerId { .. } | DialError::NoAddresses => DialFailure::Oneself,
        DialError::WrongPeerId { .. } => DialFailure::OtherPeer,
        DialError::Denied { .. } => DialFailure::Limit,
        DialError::Transport(tried) => DialFailure::Unreachable(match tried.first() {
            Some((_, error)) => innermost(error),
            None => "no address".to_owned(),
        }),
        DialError::Aborted | DialError::DialPeerConditionFalse(_) => DialFailure::Unreachable(error.to_string()),
    }
}

/// The text of the cause at the bottom: libp2p wraps "connection refused" in five layers of "other error".
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}
