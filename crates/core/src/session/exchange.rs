//! The exchange after the proof: STATE, WANT, ENTRIES, ACK and DIGEST, and what the store answers.

use super::{Batch, Outcome, Output, Pending, Phase, Reason, Session, Told, summary};
use crate::codec::Reader;
use crate::entry::Header;
use crate::id::{AuthorId, Life, Seq};
use crate::limit;
use crate::log::{Head, Log, frontier_root};
use crate::message::{Ack, Entries, Message, State, Summary, Tip, Want};

/// How far a message went wrong, if it did; or the store's failure.
type Answer<E> = Result<Option<Reason>, E>;

impl Session {
    // ---- STATE

    /// Says what we hold. The frontier goes along unless the peer's root is ours, or it is too long.
    pub(super) fn send_state<L: Log>(
        &mut self,
        is_reply: bool,
        theirs: Option<&State>,
        log: &L,
        out: &mut Vec<Output>,
    ) -> Result<(), L::Error> {
        let frontier = log.frontier()?;
        let summary = summary(log, &frontier)?;
        let is_told = theirs.is_some_and(|s| s.summary.root == summary.root);
        let is_short = frontier.len() <= limit::FRONTIER_INLINE_MAX;
        let tips = (!is_told && is_short).then(|| frontier.iter().map(Tip::from).collect());
        let cursor = match self.peer.life {
            Some(life) if self.trusts_cursors() => log.cursor(&life)?.filter(|n| *n > 0).map(|n| (life, n)),
            _ => None,
        };
        let (author, life, schema) = (self.config.author, log.life(), log.schema_hash()?);
        let must_page = is_reply && !is_told && !is_short && cursor.is_none();
        let state = State { is_reply, author, life, summary, schema, cursor, frontier: tips };
        self.send(&Message::State(state), out);
        if must_page {
            self.send_pages(&frontier, out);
        }
        if !is_reply {
            let Summary { root, last_arrival, .. } = summary;
            self.told = Some(Told { root, frontier, last_arrival, is_inline: is_short });
        }
        Ok(())
    }

    /// A cursor that led to a difference is not trusted again: the frontier decides from then on.
    fn trusts_cursors(&self) -> bool {
        self.reopened_ms.is_none() && self.peer_reopened_ms.is_none()
    }

    fn send_pages(&mut self, frontier: &[Head], out: &mut Vec<Output>) {
        let mut pages = frontier.chunks(limit::FRONTIER_INLINE_MAX).peekable();
        while let Some(page) = pages.next() {
            let (tips, is_last) = (page.iter().map(Tip::from).collect(), pages.peek().is_none());
            self.send(&Message::Want(Want::Page { tips, is_last }), out);
        }
    }

    pub(super) fn on_state<L: Log>(
        &mut self,
        state: State,
        now_ms: u64,
        log: &L,
        out: &mut Vec<Output>,
    ) -> Answer<L::Error> {
        let told = self.told.take_if(|_| state.is_reply);
        if let Some(reason) = self.check_state(&state, told.is_some(), now_ms) {
            return Ok(Some(reason));
        }
        (self.peer.author, self.peer.life) = (Some(state.author), Some(state.life));
        self.peer.summary = Some(state.summary);
        self.phase = Phase::Open;
        let frontier = log.frontier()?;
        if let Some((author, seq)) = fork(&frontier, state.frontier.iter().flatten()) {
            return Ok(Some(Reason::Fork(author, seq)));
        }
        if !state.is_reply {
            self.send_state(true, Some(&state), log, out)?;
        }
        self.outgoing.wait(self.pending.iter().flat_map(|p| p.heads.iter().copied()));
        if state.summary.root == frontier_root(&frontier) {
            self.is_equal(&state.summary, &frontier, log, out)?;
            return Ok(None);
        }
        self.must_announce = true;
        match told {
            // It held what we did when we spoke, and says no more than that.
            Some(told) if told.root == state.summary.root => {
                self.peer.holds(told.frontier.iter().map(|h| (h.author, h.seq)));
                self.outgoing.start_arrivals(told.last_arrival);
            }
            told => {
                if told.is_some_and(|t| !t.is_inline) {
                    self.ask(&state, &frontier, log, out)?;
                }
                self.start(state, now_ms, &frontier, log, out)?;
            }
        }
        Ok(None)
    }

    fn check_state(&mut self, state: &State, was_asked: bool, now_ms: u64) -> Option<Reason> {
        if self.peer.author.is_some_and(|a| a != state.author) || self.peer.life.is_some_and(|l| l != state.life) {
            return Some(Reason::Rule("STATE names another author or life than before"));
        }
        if state.is_reply {
            return (!was_asked).then_some(Reason::Rule("STATE replies to no question"));
        }
        if self.phase == Phase::State {
            return (!self.config.is_dialer).then_some(Reason::Rule("the dialer's first STATE is no reply"));
        }
        let last = self.peer_reopened_ms.replace(now_ms);
        let is_hasty = last.is_some_and(|at| now_ms.saturating_sub(at) < limit::REOPEN_INTERVAL_MS_MIN);
        is_hasty.then_some(Reason::Rule("STATE comes too often"))
    }

    /// Says where the peer has to start, where our frontier is too long for STATE.
    fn ask<L: Log>(
        &mut self,
        state: &State,
        frontier: &[Head],
        log: &L,
        out: &mut Vec<Output>,
    ) -> Result<(), L::Error> {
        let cursor = if self.trusts_cursors() { log.cursor(&state.life)?.filter(|n| *n > 0) } else { None };
        match cursor {
            Some(n) => self.send(&Message::Want(Want::After(state.life, n)), out),
            None => self.send_pages(frontier, out),
        }
        Ok(())
    }

    /// Starts to send what the peer lacks, as far as it said.
    fn start<L: Log>(
        &mut self,
        state: State,
        now_ms: u64,
        frontier: &[Head],
        log: &L,
        out: &mut Vec<Output>,
    ) -> Result<(), L::Error> {
        if let Some(tips) = state.frontier {
            self.peer.holds(tips.iter().map(|t| (t.author, t.seq)));
            return self.outgoing.start_catch_up(frontier, &self.peer, log);
        }
        self.peer.is_unknown();
        match state.cursor {
            Some((life, n)) => self.start_after(life, n, now_ms, log, out),
            None => Ok(()),
        }
    }

    /// Goes on after an arrival. A number that we never gave tells that our file is older than the peer thinks: then the
    /// frontier is asked for.
    fn start_after<L: Log>(
        &mut self,
        life: Life,
        n: u64,
        now_ms: u64,
        log: &L,
        out: &mut Vec<Output>,
    ) -> Result<(), L::Error> {
        if life == log.life() && n <= log.last_arrival()? {
            self.outgoing.start_arrivals(n);
        } else if self.reopened_ms.is_none() {
            self.reopen(now_ms, log, out)?;
        }
        Ok(())
    }

    fn reopen<L: Log>(&mut self, now_ms: u64, log: &L, out: &mut Vec<Output>) -> Result<(), L::Error> {
        self.reopened_ms = Some(now_ms);
        self.send_state(false, None, log, out)
    }

    /// Both held the same when the peer said so: everything that arrived there until then is here.
    fn is_equal<L: Log>(
        &mut self,
        theirs: &Summary,
        frontier: &[Head],
        log: &L,
        out: &mut Vec<Output>,
    ) -> Result<(), L::Error> {
        self.peer.holds(frontier.iter().map(|h| (h.author, h.seq)));
        if self.outgoing.is_waiting() {
            self.outgoing.start_arrivals(log.last_arrival()?);
        }
        self.peer.cursor = self.peer.cursor.max(theirs.last_arrival);
        if theirs.withheld == log.withheld_root()? {
            let is_same = theirs.digest == log.digest()?;
            if !is_same && self.digest_equal != Some(false) {
                out.push(Output::Diverged);
            }
            self.digest_equal = Some(is_same);
        }
        Ok(())
    }

    // ---- WANT

    pub(super) fn on_want<L: Log>(
        &mut self,
        want: Want,
        now_ms: u64,
        log: &L,
        out: &mut Vec<Output>,
    ) -> Answer<L::Error> {
        // Where both sides reopened at once the same is asked for twice.
        if !self.outgoing.is_waiting() {
            return Ok(None);
        }
        match want {
            Want::After(life, n) => self.start_after(life, n, now_ms, log, out)?,
            Want::Page { tips, is_last } => {
                let frontier = log.frontier()?;
                if let Some((author, seq)) = fork(&frontier, tips.iter()) {
                    return Ok(Some(Reason::Fork(author, seq)));
                }
                if !self.peer.holds_also(&tips, is_last) {
                    return Ok(Some(Reason::Rule("more authors than a session remembers")));
                }
                if is_last {
                    self.outgoing.start_catch_up(&frontier, &self.peer, log)?;
                }
            }
        }
        Ok(None)
    }

    // ---- ENTRIES and ACK

    /// Sends while there is something, credit and room.
    pub(super) fn pump<L: Log>(&mut self, log: &L, out: &mut Vec<Output>) -> Result<(), L::Error> {
        while self.outgoing.has_room() {
            let Some(batch) = self.outgoing.next_batch(&self.peer, log)? else { break };
            let entries = batch.entries.iter().map(|e| e.bytes.as_slice()).collect();
            let frame = Message::Entries(Entries { cursor: batch.cursor, has_more: batch.has_more, entries }).write();
            self.outgoing.unwritten_bytes += frame.len();
            out.push(Output::Send(frame));
        }
        Ok(())
    }

    pub(super) fn on_entries(&mut self, entries: &Entries<'_>, out: &mut Vec<Output>) -> Option<Reason> {
        let bytes: usize = entries.entries.iter().map(|e| e.len()).sum();
        if entries.entries.is_empty() {
            return Some(Reason::Rule("ENTRIES without an entry"));
        }
        // The sender stops once its credit is used up: it is over by one batch at most.
        if self.pending_bytes > limit::CREDIT_BYTES {
            return Some(Reason::Rule("more ENTRIES than the credit allows"));
        }
        let mut heads = Vec::with_capacity(entries.entries.len());
        for entry in &entries.entries {
            match Header::read(&mut Reader::new(entry)) {
                Ok(header) => heads.push((header.author, header.seq)),
                Err(malformed) => return Some(Reason::Malformed(malformed)),
            }
        }
        // They are not in our log yet; when they are, another session's news must not send them back.
        heads.iter().for_each(|(author, seq)| self.outgoing.skip(*author, *seq));
        self.peer.cursor = self.peer.cursor.max(entries.cursor);
        let cursor =
            self.peer.life.filter(|_| entries.cursor > self.peer.remembered).map(|life| (life, entries.cursor));
        let token = self.next_token;
        self.next_token += 1;
        self.pending.push_back(Pending { token, bytes, heads, cursor: cursor.map(|c| c.1) });
        self.pending_bytes += bytes;
        let entries = entries.entries.iter().map(|e| e.to_vec()).collect();
        out.push(Output::Store(Batch { token, entries, cursor }));
        None
    }

    /// # Panics
    /// If the store answers batches in another order than it got them: a bug of the driver.
    pub(super) fn on_stored(&mut self, token: u64, outcome: Outcome, out: &mut Vec<Output>) -> Option<Reason> {
        let done = self.pending.pop_front();
        let done = done.filter(|p| p.token == token);
        assert!(done.is_some(), "batch {token} was answered out of order");
        let done = done?;
        self.pending_bytes -= done.bytes;
        match outcome {
            Outcome::Durable { after, last } => {
                done.heads.iter().for_each(|(author, seq)| self.peer.gained(*author, *seq));
                self.outgoing.arrived_from_peer(after, last);
                self.peer.remembered = self.peer.remembered.max(done.cursor.unwrap_or_default());
                self.stored += 1;
                self.must_announce |= !self.peer.is_complete();
                let ack = Ack { batches: self.stored, cursor: self.outgoing.acked_cursor() };
                self.send(&Message::Ack(ack), out);
                None
            }
            Outcome::Refused(refused) => {
                // A gap tells that a cursor was wrong: the next session starts from the frontier.
                if let (crate::chain::Refused::Gap { .. }, Some(life)) = (&refused, self.peer.life) {
                    (self.peer.cursor, self.peer.remembered) = (0, 0);
                    out.push(Output::Remember(life, 0));
                }
                Some(Reason::Refused(refused))
            }
            Outcome::Failed => Some(Reason::StoreFailed),
        }
    }

    pub(super) fn on_ack(&mut self, ack: Ack) -> Option<Reason> {
        let Some(heads) = self.outgoing.acknowledge(ack.batches) else {
            return Some(Reason::Rule("ACK counts batches that were not sent, or again"));
        };
        heads.into_iter().for_each(|(author, seq)| self.peer.gained(author, seq));
        self.peer.cursor = self.peer.cursor.max(ack.cursor);
        self.must_announce |= !self.peer.is_complete();
        None
    }

    /// Has the store remember how far of the peer's arrival order is here, once that is durable.
    pub(super) fn remember(&mut self, out: &mut Vec<Output>) {
        let Some(life) = self.peer.life.filter(|_| self.pending.is_empty()) else { return };
        if self.peer.cursor > self.peer.remembered {
            self.peer.remembered = self.peer.cursor;
            out.push(Output::Remember(life, self.peer.cursor));
        }
    }

    // ---- DIGEST

    /// Nothing is under way when it comes, in either direction, and the roots differ: something was missed.
    pub(super) fn on_digest<L: Log>(
        &mut self,
        theirs: Summary,
        now_ms: u64,
        log: &L,
        out: &mut Vec<Output>,
    ) -> Answer<L::Error> {
        self.peer.summary = Some(theirs);
        if !self.pending.is_empty() {
            return Ok(None);
        }
        let frontier = log.frontier()?;
        if theirs.root == frontier_root(&frontier) {
            self.is_equal(&theirs, &frontier, log, out)?;
            return Ok(None);
        }
        // What is ready to be sent makes the difference, or it is asked for already.
        self.pump(log, out)?;
        let is_recent = self.reopened_ms.is_some_and(|at| now_ms.saturating_sub(at) < limit::REOPEN_INTERVAL_MS);
        if self.is_quiet() && self.told.is_none() && !is_recent {
            self.reopen(now_ms, log, out)?;
        }
        Ok(None)
    }
}

/// The first author whose chain ends at the same number here and there with another entry.
fn fork<'a>(frontier: &[Head], tips: impl Iterator<Item = &'a Tip>) -> Option<(AuthorId, Seq)> {
    tips.filter_map(|tip| {
        let at = frontier.binary_search_by_key(&tip.author, |h| h.author).ok()?;
        let ours = frontier.get(at).map(Tip::from)?;
        (ours.seq == tip.seq && ours.hash != tip.hash).then_some((tip.author, tip.seq))
    })
    .next()
}
