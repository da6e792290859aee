//! What goes into the sessions of a run and what comes out: frames, batches, questions and what their answers promise.

use super::{Event, Step, World};
use crate::check;
use crate::node::Waiting;
use p2pdb_core::session::{Input, Output, Reason};
use std::collections::BTreeMap;

impl World {
    /// One end of a line asks for all that is committed at the other.
    pub(super) fn ask(&mut self, pair: usize) -> Step {
        let side = self.random.below(2) as usize;
        match self.conns.iter().position(|c| c.is_alive && c.pair == pair) {
            Some(conn) => self.input(conn, side, Input::Ask),
            None => Ok(()),
        }
    }

    /// The other end asks. Everything that is in the log now is promised to it.
    fn asked(&mut self, conn: usize, side: usize) -> Step {
        let node = self.conns[conn].sides[side].node;
        self.seal(node)?;
        let promised = self.nodes[node].db.log.frontier().iter().map(|h| (h.author, h.seq)).collect();
        self.conns[conn].sides[1 - side].promised = Some(promised);
        self.input(conn, side, Input::Sealed { is_held_back: false })
    }

    /// Once its question is answered, and what came with the answer is stored, a side holds what it was promised.
    fn check_promise(&mut self, conn: usize, side: usize) -> Step {
        let end = &self.conns[conn].sides[side];
        let status = self.status(end);
        if end.promised.is_none() || !status.is_answered || status.unstored_bytes > 0 {
            return Ok(());
        }
        let held: BTreeMap<_, _> = self.nodes[end.node].db.log.frontier().iter().map(|h| (h.author, h.seq)).collect();
        let promised = self.conns[conn].sides[side].promised.take().unwrap_or_default();
        match promised.iter().find(|(author, seq)| held.get(author) < Some(seq)) {
            Some((author, seq)) => Err(format!("an answer promised entry {seq} of {author}, and it is not here")),
            None => Ok(()),
        }
    }

    pub(super) fn input(&mut self, conn: usize, side: usize, input: Input<'_>) -> Step {
        let line = &mut self.conns[conn];
        if !line.is_alive {
            return Ok(());
        }
        let node = line.sides[side].node;
        let outputs = match line.sides[side].session.handle(input, self.now_ms, &self.nodes[node].db) {
            Ok(outputs) => outputs,
            Err(never) => match never {},
        };
        self.outputs(conn, side, outputs)?;
        self.check_promise(conn, side)
    }

    pub(super) fn outputs(&mut self, conn: usize, side: usize, outputs: Vec<Output>) -> Step {
        let node = self.conns[conn].sides[side].node;
        for output in outputs {
            match output {
                Output::Send(frame) => self.send(conn, side, frame)?,
                Output::Store(batch) => {
                    if cfg!(feature = "bug-frontier-before-apply") {
                        self.nodes[node].promise(&batch);
                    }
                    self.report.sent += batch.entries.len() as u64;
                    self.nodes[node].disk.push_back(Waiting { conn, side, batch });
                    if self.nodes[node].disk.len() == 1 {
                        self.disk_later(node);
                    }
                }
                Output::Remember(life, n) => {
                    self.nodes[node].db.log.cursors.insert(life, n);
                }
                Output::Diverged => {
                    let other = self.conns[conn].sides[1 - side].node;
                    check::tables(&self.nodes[node].db, node)?;
                    check::tables(&self.nodes[other].db, other)?;
                    return Err(format!("replicas {node} and {other} hold the same entries and their digests differ"));
                }
                Output::Close { reason, .. } => self.closed(conn, node, &reason)?,
                Output::Seal => self.asked(conn, side)?,
                Output::Established | Output::Level | Output::Peers(_) => {}
            }
        }
        Ok(())
    }

    /// Among honest peers nobody breaks a rule.
    fn closed(&mut self, conn: usize, node: usize, reason: &Reason) -> Step {
        match reason {
            Reason::Left | Reason::PeerLeft { .. } => {
                self.drop_conn(conn);
                Ok(())
            }
            reason => Err(format!("replica {node} closed a session: {reason}")),
        }
    }

    fn send(&mut self, conn: usize, side: usize, frame: Vec<u8>) -> Step {
        const STATE: u8 = 0x02;
        const ENTRIES: u8 = 0x04;
        if self.is_silence && matches!(frame.first(), Some(&STATE | &ENTRIES)) {
            return Err(format!("replica {} is not silent once all are level", self.conns[conn].sides[side].node));
        }
        // A lost frame is a lost connection.
        if self.is_storm && self.random.below(400) == 0 {
            if self.conns[conn].is_alive {
                self.drop_conn(conn);
            }
            return Ok(());
        }
        let jitter = self.random.below(20);
        let line = &mut self.conns[conn];
        if !line.is_alive {
            return Ok(());
        }
        let to = &mut line.sides[1 - side];
        to.last_ms = to.last_ms.max(self.now_ms + line.delay_ms + jitter);
        to.incoming.push_back(frame);
        let at_ms = to.last_ms;
        self.at(at_ms, Event::Frame(conn, 1 - side));
        Ok(())
    }
}
