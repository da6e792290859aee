//! Why a session ends, and how long to wait before the next one.

use crate::chain::Refused;
use crate::codec::Malformed;
use crate::message::{Error, ErrorCode, Message};

/// Why a session ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// The other end does not prove that it is a member.
    #[error("the peer is no member of the group, or holds another secret; join it with a ticket of the group")]
    Stranger,
    /// The proof did not come in time.
    #[error("no proof of membership within {0} ms")]
    Timeout(u64),
    /// A frame breaks the format.
    #[error("a frame breaks the protocol: {0}")]
    Malformed(#[from] Malformed),
    /// A frame breaks a rule between frames.
    #[error("the peer breaks the protocol: {0}")]
    Rule(&'static str),
    /// A batch was refused.
    #[error("entries refused: {0}")]
    Refused(Refused),
    /// Two chains of one author exist.
    #[error(
        "author {0} has two chains that part at or before entry {1}: its database was copied or restored with its keys; where peers refuse it, remove the file <database>-p2pdb and call p2p_join(ticket)"
    )]
    Fork(crate::id::AuthorId, crate::id::Seq),
    /// Our own store failed.
    #[error("the local store failed; it is tried again")]
    StoreFailed,
    /// The peer said goodbye.
    #[error("the peer left")]
    PeerLeft {
        /// It wants no connection for so long.
        pause_ms: u64,
    },
    /// The peer sent ERR.
    #[error("the peer reports an error: {}", text_of(.0))]
    PeerError(Error),
    /// We leave.
    #[error("closed here")]
    Left,
}

/// A broken rule: a new try can only break it again.
const PAUSE_BROKEN_MS: u64 = 10 * 60 * 1000;
/// A fork lasts until somebody acts; the other members' entries come by other ways meanwhile.
const PAUSE_FORK_MS: u64 = 60 * 1000;
/// A peer can't keep itself away for longer by its goodbye.
const PAUSE_BYE_MS_MAX: u64 = 60 * 60 * 1000;

impl Reason {
    /// Did the other side break a rule?
    pub fn is_peer_at_fault(&self) -> bool {
        match self {
            Self::Stranger | Self::Timeout(_) | Self::Malformed(_) | Self::Rule(_) => true,
            Self::Refused(refused) => refused.is_peer_at_fault(),
            Self::Fork(..) | Self::StoreFailed | Self::PeerLeft { .. } | Self::PeerError(_) | Self::Left => false,
        }
    }

    /// Milliseconds to wait at the least before the next session with that peer, besides the usual back-off.
    pub fn pause_ms(&self) -> u64 {
        match self {
            Self::Malformed(_) | Self::Rule(_) => PAUSE_BROKEN_MS,
            Self::Refused(r) if r.is_fork() => PAUSE_FORK_MS,
            Self::Refused(r) if r.is_peer_at_fault() => PAUSE_BROKEN_MS,
            Self::Fork(..) => PAUSE_FORK_MS,
            Self::PeerLeft { pause_ms } => (*pause_ms).min(PAUSE_BYE_MS_MAX),
            Self::PeerError(error) => pause_after(error.code),
            // A gap heals by the next frontier exchange, a timeout or a failure by themselves, and a stranger may have
            // joined (or opened its database) a second later: the back-off is enough.
            Self::Refused(_) | Self::Stranger | Self::Timeout(_) | Self::StoreFailed | Self::Left => 0,
        }
    }

    /// What the other side is told; nothing where it told us.
    pub(super) fn farewell(&self) -> Option<Message<'static>> {
        let code = match self {
            Self::Stranger | Self::Timeout(_) => return Some(Message::stranger()),
            Self::Malformed(_) | Self::Rule(_) => ErrorCode::Protocol,
            Self::Refused(refused) if refused.is_fork() => ErrorCode::Fork,
            Self::Fork(..) => ErrorCode::Fork,
            Self::Refused(_) => ErrorCode::Entry,
            Self::StoreFailed => ErrorCode::Failure,
            Self::PeerLeft { .. } | Self::PeerError(_) | Self::Left => return None,
        };
        Some(Message::error(code, &self.to_string()))
    }
}

fn pause_after(code: ErrorCode) -> u64 {
    match code {
        ErrorCode::Protocol | ErrorCode::Entry => PAUSE_BROKEN_MS,
        ErrorCode::Fork => PAUSE_FORK_MS,
        ErrorCode::Stranger | ErrorCode::Failure | ErrorCode::Other(_) => 0,
    }
}

fn text_of(error: &Error) -> String {
    match (error.code, error.text.as_str()) {
        (ErrorCode::Stranger, _) => "it does not know us as a member".into(),
        (code, "") => format!("{code:?}"),
        (_, text) => text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect(),
    }
}
