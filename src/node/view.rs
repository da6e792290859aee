//! What the node shows of itself: plain data, copied out.

/// How the node of a database is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// It has not looked yet.
    #[default]
    Starting,
    /// No sidecar: capture goes on, nothing is sealed or sent.
    Unjoined,
    /// Another process runs the node of this file.
    Follower,
    /// Sealing; the network is off, or nobody was invited yet.
    Local,
    /// On the network, with no peer connected.
    Alone,
    /// Connected, and not level yet.
    Syncing,
    /// Level with every connected peer.
    Level,
    /// Waits for a host connection.
    Waiting,
    /// Something failed; it will try again.
    Failing,
    /// It panicked too often and stands still.
    Degraded,
    /// This process was forked from the node's.
    Inert,
}

impl State {
    /// One word, as `p2p_status` shows it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Unjoined => "unjoined",
            Self::Follower => "follower",
            Self::Local => "local",
            Self::Alone => "alone",
            Self::Syncing => "syncing",
            Self::Level => "level",
            Self::Waiting => "waiting",
            Self::Failing => "failing",
            Self::Degraded => "degraded",
            Self::Inert => "inert",
        }
    }
}

/// One peer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PeerView {
    /// Its author id, once it has proved membership; empty before.
    pub peer_id: String,
    /// Its address.
    pub address: String,
    /// `dialed` or `accepted`, empty where not connected.
    pub path: String,
    /// One word.
    pub state: String,
    /// Round trip in milliseconds.
    pub rtt_ms: Option<f64>,
    /// Milliseconds since 1970 when it was last heard.
    pub last_seen_ms: Option<u64>,
    /// Entries that it has and we lack.
    pub behind: Option<u64>,
    /// Entries that we have and it lacks.
    pub ahead: Option<u64>,
    /// Were the state digests equal when last compared?
    pub is_digest_equal: Option<bool>,
}

/// The node as it last was.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct View {
    /// In one word.
    pub state: State,
    /// In a sentence.
    pub detail: String,
    /// Where it listens.
    pub listen: Vec<String>,
    /// Peers connected, and addresses that are dialed in vain.
    pub peers: Vec<PeerView>,
    /// What went wrong last.
    pub last_error: Option<String>,
    /// Milliseconds since 1970 of the next try.
    pub next_retry_ms: Option<u64>,
}
