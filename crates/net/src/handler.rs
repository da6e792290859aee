//! Our protocol on one connection: opens streams that the behaviour asks for, passes on those that come in.
//!
//! It exists because a stream must be opened on the very connection that a dial made; `libp2p-stream` picks
//! one of the peer's at random, and drops inbound streams while nobody accepts.

use std::{
    collections::VecDeque,
    task::{Context, Poll},
    time::Duration,
};

use libp2p::{
    Stream, StreamProtocol,
    core::upgrade::ReadyUpgrade,
    swarm::{
        ConnectionHandler, ConnectionHandlerEvent, StreamUpgradeError, SubstreamProtocol,
        handler::{ConnectionEvent, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound},
    },
};

/// The one protocol of this version.
pub(crate) const PROTOCOL: StreamProtocol = StreamProtocol::new("/p2pdb/sync/1");

/// An order to open a stream, answered under the same token.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Open {
    pub(crate) token: u64,
}

/// What became of a stream.
#[derive(Debug)]
pub(crate) enum Report {
    /// The other side opened one.
    Inbound(Stream),
    /// One that was ordered is open.
    Outbound(u64, Stream),
    /// One that was ordered could not be opened.
    Failed(u64, String),
}

/// The state of our protocol on one connection. Its queues are bounded by the substreams of a connection.
pub(crate) struct Handler {
    orders: VecDeque<Open>,
    reports: VecDeque<Report>,
    inbound_time: Duration,
    outbound_time: Duration,
}

impl Handler {
    pub(crate) fn new(inbound_time: Duration, outbound_time: Duration) -> Handler {
        Handler { orders: VecDeque::new(), reports: VecDeque::new(), inbound_time, outbound_time }
    }
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Open;
    type ToBehaviour = Report;
    type InboundProtocol = ReadyUpgrade<StreamProtocol>;
    type OutboundProtocol = ReadyUpgrade<StreamProtocol>;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = u64;

    fn listen_protocol(&self) -> SubstreamProtocol<Self::InboundProtocol> {
        SubstreamProtocol::new(ReadyUpgrade::new(PROTOCOL), ()).with_timeout(self.inbound_time)
    }

    // No waker: a connection polls its handler after each of the two calls below.
    fn on_behaviour_event(&mut self, order: Open) {
        self.orders.push_back(order);
    }

    fn on_connection_event(&mut self, event: ConnectionEvent<Self::InboundProtocol, Self::OutboundProtocol, (), u64>) {
        let report = match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound { protocol, .. }) => {
                Report::Inbound(protocol)
            }
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound { protocol, info }) => {
                Report::Outbound(info, protocol)
            }
            ConnectionEvent::DialUpgradeError(DialUpgradeError { info, error }) => Report::Failed(info, why(error)),
            // libp2p's enum is open; the rest is about protocols, which we do not vary.
            _ => return,
        };
        self.reports.push_back(report);
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ConnectionHandlerEvent<Self::OutboundProtocol, u64, Report>> {
        if let Some(report) = self.reports.pop_front() {
            return Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(report));
        }
        match self.orders.pop_front() {
            Some(Open { token }) => Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest {
                protocol: SubstreamProtocol::new(ReadyUpgrade::new(PROTOCOL), token).with_timeout(self.outbound_time),
            }),
            None => Poll::Pending,
        }
    }
}

fn why(error: StreamUpgradeError<std::convert::Infallible>) -> String {
    match error {
        StreamUpgradeError::Timeout => "it took too long".to_owned(),
        StreamUpgradeError::NegotiationFailed => "it does not speak our protocol".to_owned(),
        StreamUpgradeError::Io(error) => error.to_string(),
        StreamUpgradeError::Apply(never) => match never {},
    }
}
