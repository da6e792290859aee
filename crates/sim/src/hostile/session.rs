//! A peer that says and does what it likes, against a session and the replica behind it.
//!
//! The idea: the input is a script. Its first byte says which end the replica under attack is and whether the peer can
//! prove that it is a member; then come steps. Frames are taken from the script as they stand. What only a member can
//! make, entries of a chain of its own, is signed here: else no mutation would ever get past the hashes, and the merge
//! behind them would never meet nonsense that is well formed.
//!
//! ```text
//! u8 flags   1 the replica dialed, 2 the peer proves membership; other bits count for nothing
//! steps      u8 kind, then
//!              0 frame      u16 length ‖ bytes      the peer sends it
//!              1 entry      u16 length ‖ raw body   the peer seals it as its next entry and sends it
//!              2 tick       u8 tenths of a second   time goes by
//!              3 store                              the oldest batch that waits is stored and merged
//!              4 log grew, 5 writable
//!            any other kind, or a step cut short, ends the script
//! ```

use super::{GROUP, MIB, SECRET, Target, body, entry, key};
use crate::apply::receive;
use crate::database::{Database, Identity, Trouble};
use p2pdb_core::cellhash::CellHasher;
use p2pdb_core::codec::{Malformed, Reader, Write};
use p2pdb_core::entry::Entry;
use p2pdb_core::id::{Digest, EntryId, Life, Seq};
use p2pdb_core::limit;
use p2pdb_core::message::hello::Ends;
use p2pdb_core::message::{Ack, Entries, ErrorCode, Hello, Message, State, Summary, Sync, Tip, Want};
use p2pdb_core::session::{Batch, Config, Input, Outcome, Output, Session};
use std::collections::VecDeque;

/// Sessions: [`Session::handle`], [`p2pdb_core::chain::check`] and the merge of what passes.
pub const TARGET: Target = Target {
    name: "session",
    claim,
    valid,
    kept: include_str!("kept/session.hex"),
    memory_base: 64 * MIB,
    memory_per_byte: 4096,
};

const REPLICA_DIALED: u8 = 1;
const PEER_IS_MEMBER: u8 = 2;

const FRAME: u8 = 0;
const ENTRY: u8 = 1;
const TICK: u8 = 2;
const STORE: u8 = 3;
const LOG_GREW: u8 = 4;
const WRITABLE: u8 = 5;

/// Steps that one script may have: a fuzzer shall look for new ones, not for more of the same.
const STEPS_MAX: usize = 256;

/// Frames that one input may call for at most, in a log as small as the one here.
const OUTPUTS_MAX: usize = 64;

const DIALER: &[u8] = b"dialer";
const LISTENER: &[u8] = b"listener";

fn claim(script: &[u8]) {
    let mut r = Reader::new(script);
    let Ok(flags) = r.u8("flags") else { return };
    let mut victim = Victim::new(flags & REPLICA_DIALED != 0, flags & PEER_IS_MEMBER != 0);
    for _ in 0..STEPS_MAX {
        if victim.step(&mut r).is_err() {
            return;
        }
    }
}

/// The replica under attack, and what the peer needs to keep its own chain.
struct Victim {
    session: Session,
    db: Database,
    identity: Identity,
    waiting: VecDeque<Batch>,
    now_ms: u64,
    is_dialer: bool,
    peer_is_member: bool,
    /// Does the peer wait for what is committed here to be sealed?
    is_asked: bool,
    is_closed: bool,
    peer_last: Seq,
    peer_head: EntryId,
}

impl Victim {
    fn new(is_dialer: bool, peer_is_member: bool) -> Self {
        let identity = Identity { group: GROUP, secret: SECRET, key: key(1), hasher: CellHasher::new(GROUP) };
        let mut db = Database::new(Life([1; 16]));
        let honest = entry::seal(&key(2), Seq(1), EntryId::default(), Vec::new(), &body::honest());
        let stored = receive(&mut db, &identity, &[honest.to_bytes()], None, 2_000);
        assert!(stored.is_ok(), "the honest entry is stored: {stored:?}");
        let config = Config {
            group: GROUP,
            secret: SECRET,
            epoch: 0,
            is_dialer,
            dialer: DIALER.to_vec(),
            listener: LISTENER.to_vec(),
            author: identity.key.public().author(),
            features: 0,
            seed: 1,
        };
        let (session, outputs) = Session::new(config, 0);
        let (peer_last, peer_head) = (Seq(0), EntryId::default());
        let (waiting, now_ms, is_asked, is_closed) = (VecDeque::new(), 2_000, false, false);
        let mut victim = Self {
            session,
            db,
            identity,
            waiting,
            now_ms,
            is_dialer,
            peer_is_member,
            is_asked,
            is_closed,
            peer_last,
            peer_head,
        };
        victim.take(outputs);
        if peer_is_member {
            let ends = Ends { dialer: DIALER, listener: LISTENER };
            let hello = Hello::new(GROUP, &SECRET, 0, 0, ends, !is_dialer);
            victim.frame(&Message::Hello(hello).write());
        }
        victim
    }

    fn step(&mut self, r: &mut Reader<'_>) -> Result<(), Malformed> {
        match r.u8("step")? {
            FRAME => self.frame(sized(r)?),
            ENTRY => {
                let entry = self.seal(sized(r)?).to_bytes();
                let entries = Entries { cursor: self.peer_last.0, has_more: false, entries: vec![&entry] };
                self.frame(&Message::Entries(entries).write());
            }
            TICK => {
                self.now_ms += 100 * u64::from(r.u8("tenths of a second")?);
                self.input(Input::Tick);
            }
            STORE => self.store(),
            LOG_GREW => self.input(Input::LogGrew),
            WRITABLE => self.input(Input::Writable),
            got => return Err(Malformed::Unknown { what: "step", got: got.into() }),
        }
        Ok(())
    }

    /// The peer's next entry.
    fn seal(&mut self, raw: &[u8]) -> Entry {
        let entry = entry::seal(&key(3), self.peer_last.next(), self.peer_head, Vec::new(), raw);
        (self.peer_last, self.peer_head) = (entry.header.seq, entry.id);
        entry
    }

    fn frame(&mut self, frame: &[u8]) {
        self.input(Input::Frame(frame));
    }

    fn store(&mut self) {
        let Some(batch) = self.waiting.pop_front() else { return };
        let stored = receive(&mut self.db, &self.identity, &batch.entries, batch.cursor, self.now_ms);
        let outcome = match stored {
            Ok((after, last)) => Outcome::Durable { after, last },
            Err(Trouble::Refused(refused)) => Outcome::Refused(refused),
            Err(Trouble::Damaged(malformed)) => panic!("what passed the check did not merge: {malformed}"),
        };
        self.input(Input::Stored { token: batch.token, outcome });
    }

    fn input(&mut self, input: Input<'_>) {
        let outputs = match self.session.handle(input, self.now_ms, &self.db) {
            Ok(outputs) => outputs,
            Err(never) => match never {},
        };
        self.take(outputs);
        self.check_bounds();
        if std::mem::take(&mut self.is_asked) {
            self.input(Input::Sealed { is_held_back: false });
        }
    }

    fn check_bounds(&self) {
        let status = match self.session.status(&self.db) {
            Ok(status) => status,
            Err(never) => match never {},
        };
        assert!(status.is_established <= self.peer_is_member, "a stranger is no member");
        // A batch over the credit is under way at most, either way.
        assert!(status.unstored_bytes <= limit::CREDIT_BYTES + limit::FRAME_BYTES_MAX);
        assert!(status.unacknowledged_bytes <= limit::CREDIT_BYTES + limit::ENTRY_BYTES_MAX);
    }

    fn take(&mut self, outputs: Vec<Output>) {
        assert!(outputs.len() <= OUTPUTS_MAX, "{} outputs", outputs.len());
        for output in outputs {
            assert!(!self.is_closed, "nothing comes after the close: {output:?}");
            match output {
                Output::Send(frame) => self.check_sent(&frame),
                Output::Close { .. } => self.is_closed = true,
                Output::Remember(life, n) => _ = self.db.log.cursors.insert(life, n),
                Output::Store(batch) => {
                    assert!(self.peer_is_member && batch.entries.len() <= limit::BATCH_ENTRIES_MAX);
                    self.waiting.push_back(batch);
                }
                Output::Peers(addresses) => {
                    assert!(self.peer_is_member && addresses.len() <= limit::ADDRESSES_MAX);
                    assert!(addresses.iter().all(|a| a.len() <= limit::ADDRESS_BYTES_MAX));
                }
                Output::Seal => {
                    assert!(self.peer_is_member, "a stranger asks for nothing");
                    self.is_asked = true;
                }
                Output::Established | Output::Level | Output::Diverged => {
                    assert!(self.peer_is_member, "a stranger learns nothing");
                }
            }
        }
    }

    fn check_sent(&self, frame: &[u8]) {
        assert!(frame.len() <= limit::FRAME_BYTES_MAX, "a frame of {} bytes", frame.len());
        let message = Message::read(frame).expect("a frame of ours reads").expect("and is of a type we know");
        assert!(message.write() == frame, "a frame of ours has one encoding: {message:?}");
        let is_for_strangers = match &message {
            Message::Hello(_) => self.is_dialer,
            message => *message == Message::stranger(),
        };
        assert!(self.peer_is_member || is_for_strangers, "a stranger is sent {message:?}");
    }
}

/// `u16 length ‖ bytes`.
fn sized<'a>(r: &mut Reader<'a>) -> Result<&'a [u8], Malformed> {
    let length = u16::from_le_bytes(r.array("length")?);
    r.raw(length.into(), "bytes of a step")
}

fn valid() -> Vec<Vec<u8>> {
    let bodies = [body::every_kind(), body::honest(), vec![0]];
    let mut scripts = Vec::new();
    for flags in [PEER_IS_MEMBER, PEER_IS_MEMBER | REPLICA_DIALED] {
        let is_reply = flags & REPLICA_DIALED == 0;
        for raw in &bodies {
            let mut script = vec![flags];
            put(&mut script, FRAME, &state(is_reply, [0; 32], Some(Vec::new())));
            script.extend([WRITABLE, TICK, 2]);
            put(&mut script, ENTRY, raw);
            put(&mut script, ENTRY, &[0]);
            script.extend([STORE, STORE, LOG_GREW]);
            put(&mut script, FRAME, &Message::Ack(Ack { batches: 1, cursor: 1 }).write());
            script.extend([TICK, 250, TICK, 250, TICK, 250]);
            scripts.push(script);
        }
        scripts.push(talk(flags, is_reply));
    }
    let stranger = Hello::new(GROUP, &SECRET, 0, 0, Ends { dialer: b"another", listener: LISTENER }, true);
    for flags in [0, REPLICA_DIALED] {
        let mut script = vec![flags];
        put(&mut script, FRAME, &Message::error(ErrorCode::Failure, "not now").write());
        put(&mut script, FRAME, &Message::Hello(stranger.clone()).write());
        script.extend([TICK, 255]);
        scripts.push(script);
    }
    scripts
}

/// A member that says everything there is to say, in an order that the rules allow.
fn talk(flags: u8, is_reply: bool) -> Vec<u8> {
    let tip = Tip { author: key(2).public().author(), seq: Seq(1), hash: [0; 8] };
    let frames = [
        state(is_reply, [7; 32], None),
        Message::Want(Want::Page { tips: Vec::new(), is_last: false }).write(),
        Message::Want(Want::After(Life([1; 16]), 0)).write(),
        Message::Digest(summary([9; 32])).write(),
        Message::peers(&["/ip4/192.0.2.7/tcp/4001".to_owned()]).write(),
        Message::Have(vec![tip]).write(),
        Message::Sync(Sync::Question { number: 1 }).write(),
        state(false, [8; 32], Some(Vec::new())),
        vec![0x80, 1],
        Message::error(ErrorCode::Other(9), "later").write(),
    ];
    let mut script = vec![flags];
    frames.iter().for_each(|frame| put(&mut script, FRAME, frame));
    script
}

fn put(script: &mut Vec<u8>, kind: u8, bytes: &[u8]) {
    script.u8(kind);
    script.raw(&(bytes.len() as u16).to_le_bytes());
    script.raw(bytes);
}

fn summary(root: [u8; 32]) -> Summary {
    Summary { root, digest: Digest([0; 16]), withheld: [0; 16], last_arrival: 3 }
}

fn state(is_reply: bool, root: [u8; 32], frontier: Option<Vec<Tip>>) -> Vec<u8> {
    let (author, life) = (key(3).public().author(), Life([3; 16]));
    let summary = summary(root);
    Message::State(State { is_reply, author, life, summary, schema: [1; 16], cursor: None, frontier }).write()
}
