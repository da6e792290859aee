//! What can go wrong, told so that the caller can act on it and a person can read it.

/// An order that could not be given.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetError {
    /// The address does not parse, or names a transport that is not compiled in. Retrying is useless.
    #[error("address {address:?} {why}; write host:port or /ip4/…/tcp/…")]
    Address {
        /// The address as given, cut to a readable length.
        address: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A limit of the configuration contradicts another.
    #[error("network limits: {0}")]
    Limits(&'static str),
    /// As many dials are under way as are allowed; wait for one to end.
    #[error("{0} dials are under way, the most allowed; wait for one of them to end")]
    Busy(usize),
    /// No stream of that number is open.
    #[error("the stream is closed")]
    Gone,
    /// The network thread has ended.
    #[error("the network has stopped; start it anew")]
    Stopped,
    /// The handle was made before this process was forked.
    #[error("the network belongs to the parent process; start one in this process")]
    Forked,
    /// The system refused a thread, a socket or an event queue.
    #[error("the network could not start: {0}")]
    System(#[from] std::io::Error),
}

/// A frame that was not queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The stream's queue is full; an [`crate::Event::Writable`] follows when it has drained.
    #[error("the send queue is full; wait until the stream is writable")]
    Full,
    /// The stream is closed, the network has stopped, or this is another process than the one it was made in.
    #[error("the stream is closed")]
    Gone,
    /// No peer would accept a frame of this length.
    #[error("a frame of {length} bytes is longer than the {max} that a peer accepts; split it")]
    TooLong {
        /// Bytes of the frame.
        length: usize,
        /// Bytes allowed.
        max: usize,
    },
}

/// Why a stream ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CloseReason {
    /// We closed it.
    #[error("closed by this side")]
    Local,
    /// The other side closed it, or the connection ended between two frames.
    #[error("closed by the other side")]
    Remote,
    /// Membership was not proved in time.
    #[error("no proof of membership within {0} ms")]
    NotProved(u64),
    /// The other side announced a frame longer than allowed.
    #[error("a frame of {claimed} bytes was announced, {max} are allowed")]
    FrameTooLong {
        /// Bytes announced.
        claimed: u64,
        /// Bytes allowed at this moment.
        max: usize,
    },
    /// The length of a frame is not a varint in its shortest form.
    #[error("the length of a frame is malformed")]
    Malformed,
    /// A frame began to arrive and did not end in time, or the other side took no byte of ours for as long.
    #[error("the other side made no progress for {0} ms")]
    Slow(u64),
    /// Nothing was heard from the other side for too long.
    #[error("the other side answers no ping")]
    Dead,
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Broken(String),
}

/// Why a dial opened no stream.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DialFailure {
    /// The address is our own.
    #[error("the address is this process's own")]
    Oneself,
    /// The name has no address.
    #[error("the name could not be resolved: {0}")]
    Name(String),
    /// Nothing answered there, or not in time.
    #[error("no connection: {0}")]
    Unreachable(String),
    /// Another peer answered than the one named in the address.
    #[error("another peer than the one named answered at the address")]
    OtherPeer,
    /// A limit of ours on connections or streams stands in the way.
    #[error("a limit of this process on connections or streams is reached; close some first")]
    Limit,
    /// The peer is connected and does not speak our protocol, or gave no stream in time.
    #[error("the peer opened no stream: {0}")]
    NoStream(String),
    /// The connection closed before the stream was open, as it does where the peer's limits are reached.
    #[error("the peer closed the connection before a stream was open")]
    Closed,
}
