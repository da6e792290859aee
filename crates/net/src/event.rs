//! What the network tells its caller.

use crate::{CloseReason, DialFailure};

/// A stream's number. Never used twice in a process's life of the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(pub(crate) u64);

/// Something that happened. A stream's events come in this order: one `Opened`, any number of `Frame`,
/// `Writable` and `Rtt`, one `Closed`. After `Stopped` nothing follows, and every stream is closed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// We listen on this address. One order may bring several, one for each interface.
    Listening {
        /// A multiaddr without a peer, `/ip4/192.168.0.7/tcp/41234`.
        address: String,
    },
    /// An order to listen failed, or a listener broke.
    ListenFailed {
        /// The address of the order.
        address: String,
        /// The system's reason.
        why: String,
    },
    /// We no longer listen there: the interface went, or we were told to stop.
    ListenEnded {
        /// The address as it was in `Listening`.
        address: String,
    },
    /// A stream is open. The other side is a stranger until [`crate::Handle::promote`].
    Opened {
        /// Its number.
        stream: StreamId,
        /// Whether this side opened the stream.
        is_dialer: bool,
        /// Our transport key's peer id, which the other side has verified.
        local: Vec<u8>,
        /// Theirs, which we have verified.
        remote: Vec<u8>,
        /// The other end of the connection, as a multiaddr.
        address: String,
        /// The token of the dial, where this side opened it.
        token: Option<u64>,
    },
    /// A dial opened no stream.
    DialFailed {
        /// The token of the dial.
        token: u64,
        /// Why.
        why: DialFailure,
    },
    /// A frame arrived.
    Frame {
        /// On this stream.
        stream: StreamId,
        /// Its bytes, without the length.
        frame: Vec<u8>,
    },
    /// A queue that had been full has drained.
    Writable {
        /// The stream.
        stream: StreamId,
    },
    /// A stream ended.
    Closed {
        /// The stream.
        stream: StreamId,
        /// Why.
        why: CloseReason,
    },
    /// A ping on the stream's connection came back.
    Rtt {
        /// The stream.
        stream: StreamId,
        /// Microseconds there and back.
        micros: u64,
    },
    /// A peer, of whatever program, was seen on the local network.
    Seen {
        /// A multiaddr with the peer's id.
        address: String,
    },
    /// A peer seen before is gone.
    Lost {
        /// The address as it was in `Seen`.
        address: String,
    },
    /// Peers on the local network are no longer looked for.
    MdnsFailed {
        /// The system's reason.
        why: String,
    },
    /// The network has ended. Unless it was told to, this is a fault of ours and it should be started anew.
    Stopped {
        /// What happened.
        why: String,
    },
}
