//! One established connection, as the driver keeps it.

use std::collections::{HashMap, HashSet};

use libp2p::{Multiaddr, PeerId, swarm::ConnectionId};
use tokio::time::Instant;

use crate::{Limits, StreamId};

/// All connections.
pub(crate) type Links = HashMap<ConnectionId, Link>;

/// A connection and what runs on it.
pub(crate) struct Link {
    pub(crate) peer: PeerId,
    /// The other end, without a peer.
    pub(crate) address: Multiaddr,
    /// Whether we made the connection.
    pub(crate) is_dialer: bool,
    /// Whether a stream on it was ever promoted.
    pub(crate) is_proved: bool,
    /// Whether it was told to close.
    pub(crate) is_closing: bool,
    pub(crate) since: Instant,
    /// When the last ping came back.
    pub(crate) heard: Instant,
    /// Dials that wait for a stream on it.
    pub(crate) opening: HashSet<u64>,
    /// Open streams, and whether we opened them.
    pub(crate) streams: HashMap<StreamId, bool>,
}

/// Why a connection must be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expiry {
    /// No ping came back.
    Dead,
    /// An inbound stranger never proved anything.
    Strange,
}

impl Link {
    /// When the connection must be closed, unless something happens before.
    pub(crate) fn expires(&self, limits: &Limits) -> (Instant, Expiry) {
        let dead = self.heard + limits.ping_time + limits.dead_time;
        // Twice a stream's own time: one that was opened at the last moment keeps all of it.
        let strange = self.since + 2 * limits.stranger_time;
        if self.is_dialer || self.is_proved || dead < strange {
            (dead, Expiry::Dead)
        } else {
            (strange, Expiry::Strange)
        }
    }

    /// Whether this side may open another stream.
    pub(crate) fn has_room(&self, limits: &Limits) -> bool {
        let ours = self.streams.values().filter(|&&is_dialer| is_dialer).count();
        !self.is_closing && ours + self.opening.len() < limits.streams_each_way()
    }

    /// Whether the other side may have opened another stream.
    pub(crate) fn has_room_inbound(&self, limits: &Limits) -> bool {
        self.streams.values().filter(|&&is_dialer| !is_dialer).count() < limits.streams_each_way()
    }
}
