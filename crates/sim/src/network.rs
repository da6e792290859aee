//! Connections: two sessions and two queues of frames, in order, with delay; a lost frame is a lost connection.

use crate::database::Identity;
use crate::random::Random;
use p2pdb_core::id::{AuthorId, Seq};
use p2pdb_core::session::{Config, Output, Session};
use std::collections::VecDeque;

/// One end of a connection.
#[derive(Debug)]
pub struct Side {
    /// The replica.
    pub node: usize,
    /// Its session.
    pub session: Session,
    /// Frames on their way to it.
    pub incoming: VecDeque<Vec<u8>>,
    /// When the last of them arrives.
    pub last_ms: u64,
    /// What it was promised to have once its question is answered: the ends of all chains at the other end when that sealed.
    pub promised: Option<Vec<(AuthorId, Seq)>>,
}

/// A connection between two replicas: the dialer's end, the listener's.
#[derive(Debug)]
pub struct Conn {
    /// Both ends.
    pub sides: [Side; 2],
    /// Which of the possible pairs it joins.
    pub pair: usize,
    /// Is it up?
    pub is_alive: bool,
    /// Milliseconds a frame takes at the least.
    pub delay_ms: u64,
}

/// Two replicas that can reach one another.
#[derive(Clone, Copy, Debug)]
pub struct Pair {
    /// The one.
    pub a: usize,
    /// The other.
    pub b: usize,
    /// Is the line cut?
    pub is_cut: bool,
    /// How the next try to dial waits.
    pub backoff: p2pdb_core::backoff::Backoff,
}

/// Dials. Gives the connection and what the two sessions want first.
pub fn dial(
    pair: usize,
    nodes: [usize; 2],
    identities: [&Identity; 2],
    now_ms: u64,
    random: &mut Random,
) -> (Conn, [Vec<Output>; 2]) {
    let (dialer, listener) = (random.bytes().to_vec(), random.bytes().to_vec());
    let mut open = |is_dialer: bool, identity: &Identity| {
        let config = Config {
            group: identity.group,
            secret: identity.secret.clone(),
            epoch: 0,
            is_dialer,
            dialer: dialer.clone(),
            listener: listener.clone(),
            author: identity.key.public().author(),
            features: 0,
            seed: random.draw(),
        };
        Session::new(config, now_ms)
    };
    let (first, to_listener) = open(true, identities[0]);
    let (second, to_dialer) = open(false, identities[1]);
    let side = |node, session| Side { node, session, incoming: VecDeque::new(), last_ms: now_ms, promised: None };
    let sides = [side(nodes[0], first), side(nodes[1], second)];
    let delay_ms = 1 + random.below(80);
    (Conn { sides, pair, is_alive: true, delay_ms }, [to_listener, to_dialer])
}

/// Who can reach whom: all, a line, or a star.
pub fn pairs(nodes: usize, random: &mut Random) -> Vec<Pair> {
    let shape = random.below(3);
    let mut pairs = Vec::new();
    for b in 1..nodes {
        for a in 0..b {
            let is_there = match shape {
                0 => true,
                1 => a + 1 == b,
                _ => a == 0,
            };
            if is_there {
                pairs.push(Pair { a, b, is_cut: false, backoff: Default::default() });
            }
        }
    }
    pairs
}
