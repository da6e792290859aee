//! What was asked of the node, and when it can be answered.

use rusqlite::{Connection, OpenFlags};
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::sync::mpsc::SyncSender;

use p2pdb_core::limit;

use super::Replica;
use crate::node::driver::Tools;
use crate::node::{Ask, Request};

/// A question that is not answered yet.
pub(super) struct Asked {
    ask: Ask,
    reply: SyncSender<Result<String, String>>,
    /// When it is answered whatever the state is.
    pub(super) deadline_ms: Option<u64>,
    /// Entries sealed since it was asked.
    sealed: usize,
    /// Has it been answered?
    is_done: bool,
}

impl Asked {
    fn answer(&mut self, answer: Result<String, String>) {
        self.is_done = true;
        if self.reply.try_send(answer).is_err() {
            // Its asker has stopped waiting.
            tracing::trace!(ask = ?self.ask, "answered to nobody");
        }
    }
}

impl Replica {
    pub(super) fn take_requests(&mut self, tools: &mut Tools<'_>) {
        let requests = std::mem::take(&mut *self.shared.inbox.lock().unwrap_or_else(PoisonError::into_inner));
        for Request { ask, reply } in requests {
            let now = tools.now.mono_ms;
            let deadline_ms = match ask {
                Ask::Sync { timeout_ms } | Ask::Leave { timeout_ms } => Some(now + timeout_ms),
                _ => None,
            };
            // Whatever is asked, it is about what is committed now; and a failure is tried again at once.
            (self.next_leader_ms, self.trouble.retry_ms, self.trouble.gate_ms) = (0, None, 0);
            if let Some(open) = &mut self.open {
                open.is_dirty = true;
            }
            let mut asked = Asked { ask, reply, deadline_ms, sealed: 0, is_done: false };
            match &asked.ask {
                Ask::Reload => {
                    let done = self.reload(tools).map(|()| String::new());
                    asked.answer(done);
                }
                Ask::Connect(address) => {
                    if !self.links.dialer.hurry(address, now) {
                        let max = limit::TARGETS_MAX;
                        asked.answer(Err(format!("{max} addresses are dialed already, the most that are")));
                    }
                }
                Ask::Sync { .. } => {
                    self.links.dialer.hurry_all(now);
                    self.links.ask_all();
                }
                Ask::Close => {
                    self.close(tools);
                    self.left_at = Some(self.shared.attachments.load(Ordering::Relaxed));
                    asked.answer(Ok(String::new()));
                }
                Ask::Seal | Ask::WaitRemote | Ask::Addresses | Ask::Leave { .. } => {}
            }
            if !asked.is_done {
                self.asked.push(asked);
            }
        }
    }

    /// Entries of other authors were merged.
    pub(super) fn remote_change(&mut self, entries: usize) {
        for asked in self.asked.iter_mut().filter(|a| a.ask == Ask::WaitRemote) {
            asked.answer(Ok(entries.to_string()));
        }
    }

    pub(super) fn note_sealed(&mut self, entries: usize) {
        self.asked.iter_mut().for_each(|a| a.sealed += entries);
    }

    pub(super) fn refuse_all(&mut self, why: &str) {
        let requests = std::mem::take(&mut *self.shared.inbox.lock().unwrap_or_else(PoisonError::into_inner));
        for request in requests {
            if request.reply.try_send(Err(why.to_owned())).is_err() {
                tracing::trace!("refused to nobody");
            }
        }
        for mut asked in self.asked.drain(..) {
            asked.answer(Err(why.to_owned()));
        }
    }

    /// Answers what can be answered.
    pub(super) fn answer(&mut self, tools: &mut Tools<'_>) {
        let mut asked = std::mem::take(&mut self.asked);
        for one in &mut asked {
            if one.is_done {
                continue;
            }
            if let Some(answer) = self.try_answer(one, tools) {
                one.answer(answer);
            }
        }
        let must_close = asked.iter().any(|a| a.is_done && matches!(a.ask, Ask::Leave { .. }));
        asked.retain(|a| !a.is_done);
        self.asked = asked;
        if must_close {
            // The answer has gone out: who asked goes on to close its connection, the last one on the file.
            self.left_at = Some(self.shared.attachments.load(Ordering::Relaxed));
        }
    }

    fn try_answer(&mut self, asked: &Asked, tools: &mut Tools<'_>) -> Option<Result<String, String>> {
        let is_over = asked.deadline_ms.is_some_and(|at| at <= tools.now.mono_ms);
        match &asked.ask {
            Ask::Seal => self.settled().map(|done| done.map(|()| asked.sealed.to_string())),
            Ask::Sync { timeout_ms } => self.level(tools).or_else(|| {
                is_over.then(|| Err(format!("not level after {timeout_ms} ms: {}", self.what_it_waits_for(tools))))
            }),
            Ask::Leave { .. } => {
                if !is_over && !self.is_handed_over() {
                    return None;
                }
                self.close(tools);
                Some(Ok(String::new()))
            }
            Ask::Addresses => self.addresses(tools),
            Ask::Connect(address) => self.connected(address),
            Ask::WaitRemote | Ask::Reload | Ask::Close => None,
        }
    }

    /// Is everything sealed? None: not yet.
    fn settled(&self) -> Option<Result<(), String>> {
        if let Some(why) = &self.trouble.last_error {
            return Some(Err(why.clone()));
        }
        match &self.open {
            Some(open) => (!open.is_dirty).then_some(Ok(())),
            // Another process seals; what it does shows in the file.
            None if self.is_follower => self.is_sealed_elsewhere().then_some(Ok(())),
            None => None,
        }
    }

    fn is_sealed_elsewhere(&self) -> bool {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_PRIVATE_CACHE;
        let conn = Connection::open_with_flags(&self.shared.database, flags);
        conn.and_then(|c| c.query_row("SELECT NOT EXISTS(SELECT 1 FROM _p2p_mark)", [], |row| row.get(0)))
            .unwrap_or(false)
    }

    /// Level with every peer that is connected, and every address tried.
    fn level(&self, tools: &Tools<'_>) -> Option<Result<String, String>> {
        match self.settled()? {
            Ok(()) if self.is_follower => {
                return Some(Ok("sealed; another process runs the node of this file and exchanges its entries".into()));
            }
            Ok(()) => {}
            Err(why) => return Some(Err(why)),
        }
        // What came in is not level before it is merged, a peer's and what was imported by hand alike.
        let open = self.open.as_ref().filter(|o| !o.must_apply)?;
        if !self.is_networked() {
            return Some(Ok(format!("local: sealed; {}", self.why_local())));
        }
        if self.links.has_batches() || self.links.is_proving() || self.links.dialer.is_trying() {
            return None;
        }
        let (mut peers, mut holding_back) = (0, 0);
        for link in self.links.iter() {
            let status = link.session.status(&open.store).ok()?;
            let is_level =
                status.is_level && status.unacknowledged_bytes == 0 && status.ahead == 0 && status.behind == 0;
            if !is_level || !status.is_answered {
                return None;
            }
            peers += 1;
            holding_back += usize::from(status.is_held_back);
        }
        let level = match peers {
            0 => format!(
                "offline: sealed; no peer was reached{}",
                tools.swarm.last_error().map(|e| format!(" ({e})")).unwrap_or_default()
            ),
            1 => "level with 1 peer".into(),
            n => format!("level with {n} peers"),
        };
        Some(Ok(match holding_back {
            0 => level,
            n => format!("{level}; {n} of them may have committed more, and a transaction that is open there keeps it"),
        }))
    }

    fn is_handed_over(&self) -> bool {
        let Some(open) = &self.open else { return true };
        if self.settled().is_none() {
            return false;
        }
        self.links
            .iter()
            .filter(|l| l.is_established())
            .all(|link| link.session.status(&open.store).is_ok_and(|s| s.unacknowledged_bytes == 0 && s.ahead == 0))
    }

    fn addresses(&self, tools: &Tools<'_>) -> Option<Result<String, String>> {
        if self.is_follower {
            return self.addresses_elsewhere(tools);
        }
        if let Some(why) = self.why_not_open() {
            return Some(Err(why));
        }
        if self.open.is_some() && !self.is_networked() {
            return Some(Ok(String::new()));
        }
        if let Some(why) = tools.swarm.last_error() {
            return Some(Err(why.to_owned()));
        }
        let listening = tools.swarm.listening();
        let is_none_wanted = self.listen().is_empty();
        (!listening.is_empty() || is_none_wanted && self.open.is_some()).then(|| Ok(listening.join("\n")))
    }

    /// Why the file could not be opened. Whoever asks is not kept waiting for the next try.
    fn why_not_open(&self) -> Option<String> {
        let is_failing = self.open.is_none() && self.trouble.retry_ms.is_some();
        self.trouble.last_error.clone().filter(|_| is_failing)
    }

    fn connected(&self, address: &str) -> Option<Result<String, String>> {
        if self.is_follower {
            return Some(Ok(format!("{address} is noted; another process runs the node of this file and dials it")));
        }
        if let Some(why) = self.why_not_open() {
            return Some(Err(why));
        }
        if self.open.is_some() && !self.is_networked() {
            return Some(Err("the network is off; SELECT p2p_config('network', 'on') turns it on".into()));
        }
        if self.links.dialer.good().any(|a| a == address) {
            return Some(Ok(format!("connected to {address}")));
        }
        // What turns out to be our own is not dialed any more.
        if !self.links.dialer.has(address) {
            return Some(Err(format!("{address} is an address of this very process")));
        }
        let why = self.links.dialer.error_of(address)?;
        Some(Err(format!("{address} can't be reached: {why}; it is noted and will be tried again")))
    }
}
