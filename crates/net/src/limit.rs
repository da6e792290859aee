//! Every bound of the network, each with the reason for its number.
//!
//! A limit is checked before the allocation or the loop that it bounds, never after. What differs between an
//! extension and a daemon, or is shortened by a test, is a field of [`Limits`]; the rest is a constant.

use std::time::Duration;

use crate::NetError;

/// Bytes of a frame: one entry of the largest size, its envelope, and room.
pub const FRAME_BYTES_MAX: usize = 1024 * 1024;

/// Frames up to this length draw on a pool of their own, so that senders of long frames who stall can not
/// keep live changes from arriving.
pub const SMALL_FRAME_BYTES_MAX: usize = 64 * 1024;

/// Bytes that a queued frame costs beside its own: the event, the vector and their allocations. Without it
/// empty frames would be free and their queue unbounded.
pub const FRAME_OVERHEAD_BYTES: usize = 128;

/// Frames of a stranger before the proof: a HELLO, and room for a later protocol that needs a few rounds.
pub const STRANGER_FRAMES_MAX: usize = 8;

/// Bytes asked of a stream at once while the body of a frame arrives, and the most that a peer's announced
/// length makes us allocate before its bytes are there.
pub const READ_STEP_BYTES: usize = 64 * 1024;

/// Bytes gathered from the send queue into one write: past 16 KiB nothing is gained, and a longer block
/// would only keep more bytes outside the queue.
pub const WRITE_BLOCK_BYTES: usize = 64 * 1024;

/// Events queued, frames aside, past which nothing new is let in from outside: a caller that does not drain
/// its events gets no more strangers, round trips or sightings, but always the end of what it knows of.
pub const EVENTS_CROWDED: usize = 4096;

/// Addresses tried for one name.
pub const RESOLVED_MAX: usize = 8;

/// Characters of an address as text: more than the longest multiaddr of the kinds that we dial.
pub const ADDRESS_CHARS_MAX: usize = 512;

/// Substreams of a connection that are not ours: a ping each way, one being replaced, and one to spare.
pub const SUBSTREAMS_SPARE: usize = 4;

/// Inbound substreams of a connection whose protocol is being negotiated: pings, and a burst of groups.
pub const NEGOTIATING_MAX: usize = 8;

/// Addresses known from the local network at a time; past it the sightings start anew, since libp2p's own
/// list has no bound and anybody on the network can add to it.
pub const SEEN_MAX: usize = 256;

/// How long a closing stream waits for its last frames to leave and the other side to close too.
pub const LINGER: Duration = Duration::from_millis(300);

/// How long [`crate::Handle::shutdown`] waits for the thread before it lets it go.
pub const SHUTDOWN: Duration = Duration::from_millis(500);

/// What may differ from one process to another. The default is an extension's, in somebody else's process.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Established connections.
    pub connections: u32,
    /// Established connections to one peer: two that dialled each other at once need both for a moment.
    pub connections_per_peer: u32,
    /// Inbound connections whose handshake is under way.
    pub pending_in: u32,
    /// Outbound connections being made.
    pub pending_out: u32,
    /// Dials that have neither opened a stream nor failed, those that wait for a name included.
    pub dials: usize,
    /// Inbound connections, and inbound streams, that have proved nothing yet.
    pub strangers: usize,
    /// Bytes of a stranger's frame, and of all its frames.
    pub stranger_bytes_max: usize,
    /// How long a stranger has: for the handshake, and again for the proof.
    pub stranger_time: Duration,
    /// Bytes of a frame after the proof, and of any frame that is sent.
    pub frame_bytes_max: usize,
    /// Substreams of one connection. yamux lets a peer send 256 KiB into each before anyone reads, and ends
    /// the connection at the limit; so it is low, and each side opens at most its half.
    pub substreams: usize,
    /// Streams in all.
    pub streams: usize,
    /// Bytes of a stream's frames that arrived and were not taken.
    pub stream_in_bytes_max: usize,
    /// Bytes of a stream's frames that were sent and have not left.
    pub stream_out_bytes_max: usize,
    /// Bytes of all queues: half inbound, half outbound.
    pub budget_bytes: usize,
    /// How long a dial may take, for each address.
    pub dial_time: Duration,
    /// How long a frame may take from its first byte to its last (1 MiB over 140 kbit/s), and how long the
    /// other side may take none of our bytes.
    pub frame_time: Duration,
    /// Time between two pings.
    pub ping_time: Duration,
    /// How long after a ping was due its answer may come.
    pub dead_time: Duration,
    /// How long a connection without streams is kept.
    pub idle_time: Duration,
}

impl Limits {
    /// For a library in another program's process.
    #[must_use]
    pub fn extension() -> Limits {
        Limits {
            connections: 64,
            connections_per_peer: 2,
            pending_in: 16,
            pending_out: 16,
            dials: 64,
            strangers: 16,
            stranger_bytes_max: 4 * 1024,
            stranger_time: Duration::from_secs(3),
            frame_bytes_max: FRAME_BYTES_MAX,
            substreams: 24,
            streams: 256,
            stream_in_bytes_max: 2 * FRAME_BYTES_MAX,
            stream_out_bytes_max: FRAME_BYTES_MAX,
            budget_bytes: 32 * 1024 * 1024,
            dial_time: Duration::from_secs(10),
            frame_time: Duration::from_secs(60),
            ping_time: Duration::from_secs(30),
            dead_time: Duration::from_secs(20),
            idle_time: Duration::from_secs(30),
        }
    }

    /// For a process of our own that serves many.
    #[must_use]
    pub fn daemon() -> Limits {
        Limits {
            connections: 2048,
            connections_per_peer: 4,
            pending_in: 128,
            pending_out: 64,
            dials: 256,
            strangers: 128,
            substreams: 64,
            streams: 8192,
            stream_in_bytes_max: 4 * FRAME_BYTES_MAX,
            stream_out_bytes_max: 4 * FRAME_BYTES_MAX,
            budget_bytes: 512 * 1024 * 1024,
            ping_time: Duration::from_secs(15),
            idle_time: Duration::from_secs(60),
            ..Limits::extension()
        }
    }

    /// Streams that either side opens on one connection.
    pub(crate) fn streams_each_way(&self) -> usize {
        self.substreams.saturating_sub(SUBSTREAMS_SPARE) / 2
    }

    /// Refuses limits under which a frame could never pass.
    pub(crate) fn check(&self) -> Result<(), NetError> {
        let whole_frame = self.frame_bytes_max + FRAME_OVERHEAD_BYTES;
        if self.frame_bytes_max < self.stranger_bytes_max {
            return Err(NetError::Limits("a stranger's frame may not be longer than a member's"));
        }
        if self.frame_bytes_max >= 1 << 31 {
            return Err(NetError::Limits("a frame must be shorter than 2 GiB"));
        }
        if self.stream_in_bytes_max < whole_frame {
            return Err(NetError::Limits("a stream's inbound queue must hold one whole frame"));
        }
        if self.budget_bytes / 4 < whole_frame {
            return Err(NetError::Limits("a quarter of the budget must hold one whole frame"));
        }
        if self.budget_bytes > u32::MAX as usize {
            return Err(NetError::Limits("the budget must be below 4 GiB"));
        }
        if self.streams_each_way() == 0 {
            return Err(NetError::Limits("a connection needs at least six substreams"));
        }
        Ok(())
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits::extension()
    }
}
