//! Our protocol on all connections: hands orders to the right one, and bounds inbound strangers.

use std::{
    collections::{HashSet, VecDeque},
    task::{Context, Poll},
};

use libp2p::{
    Multiaddr, PeerId,
    core::{Endpoint, transport::PortUse},
    swarm::{
        ConnectionClosed, ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, NotifyHandler, THandler,
        THandlerInEvent, THandlerOutEvent, ToSwarm,
    },
};

use crate::{
    Limits,
    handler::{Handler, Open, Report},
};

/// A report, and the connection it came from.
#[derive(Debug)]
pub(crate) struct Happened {
    pub(crate) connection: ConnectionId,
    pub(crate) report: Report,
}

/// Our protocol's share of the swarm.
pub(crate) struct Streams {
    limits: Limits,
    strangers: HashSet<ConnectionId>,
    pending: VecDeque<ToSwarm<Happened, Open>>,
}

#[derive(Debug, thiserror::Error)]
#[error("{0} inbound connections have proved nothing yet, the most allowed")]
struct TooManyStrangers(usize);

impl Streams {
    pub(crate) fn new(limits: Limits) -> Streams {
        Streams { limits, strangers: HashSet::new(), pending: VecDeque::new() }
    }

    /// Orders a stream on that connection. Where it has closed meanwhile, no report comes.
    pub(crate) fn open(&mut self, peer_id: PeerId, connection: ConnectionId, token: u64) {
        let handler = NotifyHandler::One(connection);
        self.pending.push_back(ToSwarm::NotifyHandler { peer_id, handler, event: Open { token } });
    }

    /// A stream of the connection has proved membership: it counts as a stranger's no longer.
    pub(crate) fn prove(&mut self, connection: ConnectionId) {
        self.strangers.remove(&connection);
    }

    fn handler(&self) -> Handler {
        Handler::new(self.limits.stranger_time, self.limits.dial_time)
    }
}

impl NetworkBehaviour for Streams {
    type ConnectionHandler = Handler;
    type ToSwarm = Happened;

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        if self.strangers.len() >= self.limits.strangers {
            return Err(ConnectionDenied::new(TooManyStrangers(self.limits.strangers)));
        }
        self.strangers.insert(connection);
        Ok(self.handler())
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.handler())
    }

    fn on_swarm_event(&mut self, event: FromSwarm) {
        match event {
            FromSwarm::ConnectionClosed(ConnectionClosed { connection_id, .. }) => {
                self.strangers.remove(&connection_id);
            }
            // Another behaviour denied it after we had counted it.
            FromSwarm::ListenFailure(failure) => {
                self.strangers.remove(&failure.connection_id);
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, _: PeerId, connection: ConnectionId, report: THandlerOutEvent<Self>) {
        self.pending.push_back(ToSwarm::GenerateEvent(Happened { connection, report }));
    }

    // No waker: the swarm polls us after each of its own calls, and the driver polls the swarm after `open`.
    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Happened, THandlerInEvent<Self>>> {
        self.pending.pop_front().map_or(Poll::Pending, Poll::Ready)
    }
}
