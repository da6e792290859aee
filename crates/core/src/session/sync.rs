//! SYNC: "seal what is committed at your place, send it, and tell me when that is done".
//!
//! Entries tell of themselves once they are sealed; what was committed a moment ago is not yet. Who wants all that was
//! committed before it asked has to ask. The answer follows the last entry that it promises, on the same stream.

use super::{Output, Reason, Session};
use crate::log::Log;
use crate::message::{Message, Sync};

/// Questions and answers of one session, each side's numbered from 1.
#[derive(Debug, Default)]
pub(super) struct Syncs {
    asked: u64,
    sent: u64,
    answered: u64,
    is_held_back: bool,
    /// The peer's last question that waits to be sealed for.
    question: Option<u64>,
    /// What will be said once everything up to that arrival is sent.
    answer: Option<(Sync, u64)>,
}

impl Syncs {
    /// Is there no question of ours without an answer?
    pub(super) fn is_answered(&self) -> bool {
        self.answered == self.asked
    }

    /// Did the last answer say that not all could be sealed?
    pub(super) fn is_held_back(&self) -> bool {
        self.is_held_back
    }

    /// One more question.
    pub(super) fn ask(&mut self) {
        self.asked += 1;
    }
}

impl Session {
    pub(super) fn on_sync(&mut self, sync: Sync, out: &mut Vec<Output>) -> Option<Reason> {
        match sync {
            Sync::Question { number } => {
                self.syncs.question = Some(number);
                out.push(Output::Seal);
                None
            }
            Sync::Answer { number, is_held_back } => {
                let Syncs { answered, sent, .. } = self.syncs;
                if number <= answered || number > sent {
                    return Some(Reason::Rule("SYNC answers no question"));
                }
                (self.syncs.answered, self.syncs.is_held_back) = (number, is_held_back);
                None
            }
        }
    }

    /// What was committed when the peer asked is sealed now, or can't be.
    pub(super) fn on_sealed<L: Log>(&mut self, is_held_back: bool, log: &L) -> Result<(), L::Error> {
        if let Some(number) = self.syncs.question.take() {
            self.syncs.answer = Some((Sync::Answer { number, is_held_back }, log.last_arrival()?));
        }
        Ok(())
    }

    /// Sends the question that waits, and the answer once what it promises is sent.
    pub(super) fn sync(&mut self, out: &mut Vec<Output>) {
        if self.syncs.asked > self.syncs.sent {
            self.syncs.sent = self.syncs.asked;
            self.send(&Message::Sync(Sync::Question { number: self.syncs.sent }), out);
        }
        if let Some((answer, _)) = self.syncs.answer.take_if(|(_, until)| self.outgoing.has_sent(*until)) {
            self.send(&Message::Sync(answer), out);
        }
    }
}
