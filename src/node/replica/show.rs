//! What the node shows of a database: the view that `p2p_status` and `p2p_peers` read.

use std::sync::PoisonError;

use super::{HeldUp, PANICS_MAX, Replica};
use crate::node::driver::Tools;
use crate::node::view::{PeerView, State, View};

/// Milliseconds after which waiting for a host is told.
const WAITING_MS: u64 = 2_000;

impl Replica {
    pub(super) fn show(&mut self, tools: &Tools<'_>) {
        let peers = self.peer_views(tools);
        let (state, detail) = self.state(&peers, tools);
        let to_wall = |mono: u64| (tools.now.wall_ms + mono).saturating_sub(tools.now.mono_ms);
        let next_retry_ms = self.trouble.retry_ms.map(to_wall);
        let last_error = self.trouble.last_error.clone().or_else(|| self.links.last_error.clone());
        let last_error =
            last_error.or_else(|| if self.is_networked() { tools.swarm.last_error().map(str::to_owned) } else { None });
        let listen = if self.is_networked() { tools.swarm.listening().to_vec() } else { Vec::new() };
        let view = View { state, detail, listen, peers, last_error, next_retry_ms };
        *self.shared.view.lock().unwrap_or_else(PoisonError::into_inner) = view;
    }

    /// In one sentence, for one who waits in vain.
    pub(super) fn what_it_waits_for(&self, tools: &Tools<'_>) -> String {
        let peers = self.peer_views(tools);
        self.state(&peers, tools).1
    }

    fn state(&self, peers: &[PeerView], tools: &Tools<'_>) -> (State, String) {
        if self.panics >= PANICS_MAX {
            return (State::Degraded, "stopped after repeated internal errors; writes are still captured".into());
        }
        if let (Some(why), true) = (&self.trouble.last_error, self.trouble.retry_ms.is_some()) {
            return (State::Failing, format!("{why}; it is tried again"));
        }
        if self.is_follower {
            return (State::Follower, "another process runs the node of this file; writes here are captured".into());
        }
        if let Some(HeldUp { why, since_ms, .. }) = self.trouble.held_up
            && since_ms + WAITING_MS <= tools.now.mono_ms
        {
            let seconds = (tools.now.mono_ms - since_ms) / 1000;
            return (State::Waiting, format!("for {seconds} s: {why}"));
        }
        if self.open.is_none() {
            return match self.left_at {
                Some(_) => (State::Unjoined, "closed".into()),
                None => (State::Starting, "opening the database".into()),
            };
        }
        if !self.is_networked() {
            return (State::Local, format!("changes are logged; {}", self.why_local()));
        }
        self.network_state(peers)
    }

    /// Why the network is not used.
    pub(super) fn why_local(&self) -> &'static str {
        match self.sidecar().is_some_and(|sidecar| sidecar.is_joined) {
            true => "the network is off: nothing is sent, and tickets hold no address",
            false => "nobody was invited yet",
        }
    }

    fn network_state(&self, peers: &[PeerView]) -> (State, String) {
        let connected: Vec<_> = peers.iter().filter(|p| !p.path.is_empty() && !p.peer_id.is_empty()).collect();
        if self.links.is_any_diverged() {
            let what = "a peer with the same entries has another state; run p2p_verify() on both and report it";
            return (State::Failing, what.into());
        }
        if connected.is_empty() {
            if let Some(why) = &self.links.fork_told {
                return (State::Failing, why.clone());
            }
            return (State::Alone, "no peer is connected; changes are kept and sent once one is".into());
        }
        let (behind, ahead) =
            connected.iter().fold((0, 0), |(b, a), p| (b.max(p.behind.unwrap_or(0)), a.max(p.ahead.unwrap_or(0))));
        let peers = match connected.len() {
            1 => "1 peer".to_owned(),
            n => format!("{n} peers"),
        };
        let is_done = self.open.as_ref().is_some_and(|o| !o.is_dirty && !o.must_apply);
        if behind == 0 && ahead == 0 && !self.links.has_batches() && is_done {
            return (State::Level, format!("level with {peers}"));
        }
        (State::Syncing, format!("{peers} connected; {behind} entries to come, {ahead} to go"))
    }

    fn peer_views(&self, tools: &Tools<'_>) -> Vec<PeerView> {
        let Some(open) = &self.open else { return Vec::new() };
        let connected = self.links.iter().map(|link| {
            let status = link.session.status(&open.store).unwrap_or_default();
            let is_in = link.is_established();
            PeerView {
                peer_id: status.author.filter(|_| is_in).map(|a| a.to_string()).unwrap_or_default(),
                address: link.opened.address.clone(),
                path: if link.opened.is_dialer { "dialed" } else { "accepted" }.into(),
                state: match (is_in, status.is_level) {
                    (false, _) => "proving membership",
                    (true, true) => "level",
                    (true, false) => "syncing",
                }
                .into(),
                rtt_ms: link.rtt_micros.map(|us| us as f64 / 1000.0),
                last_seen_ms: link.last_heard_wall_ms,
                behind: is_in.then_some(status.behind),
                ahead: is_in.then_some(status.ahead),
                is_digest_equal: status.digest_equal,
            }
        });
        let in_vain = self.links.dialer.in_vain().map(|(address, why, next)| {
            let state = match (why, next) {
                (Some(why), Some(at)) => {
                    format!("next try in {} s: {why}", at.saturating_sub(tools.now.mono_ms).div_ceil(1000))
                }
                (Some(why), None) => format!("dialing again: {why}"),
                (None, _) => "dialing".into(),
            };
            PeerView { address: address.to_owned(), state, ..PeerView::default() }
        });
        connected.chain(in_vain).collect()
    }
}
