//! The node: where the pure core, the disk and the wire meet.
//!
//! One node a database file and process, found through one registry; one driver thread serves all nodes of
//! a process. The surface asks (a *request* with a reply) and looks (a *view*, a snapshot of what the node last
//! knew); it never touches a store that the driver owns. Among processes the holder of a lock file beside the database
//! runs the node; the others only write, since capture needs no node.
//!
//! A process forked from one with a driver has none: there the node is inert, and says so.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

pub mod config;
mod dialer;
mod driver;
mod leader;
mod local;
mod log;
pub mod pace;
mod registry;
mod replica;
mod route;
pub mod sidecar;
mod swarm;
mod view;
mod watch;

pub(crate) use registry::{Paused, pause};
pub use registry::{as_ours, is_forked, is_ours};
pub use view::{PeerView, State, View};

/// Milliseconds that an answer which has its own deadline may be late.
const GRACE_MS: u64 = 500;

/// Why it is not the node's turn to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Busy {
    /// A statement is running on a host connection.
    #[error("a statement is running on a connection of this process")]
    Statement,
    /// A host connection is in a transaction, or has a read open.
    #[error("a connection of this process has a transaction or a read open; COMMIT it, or reset the statement")]
    Transaction,
    /// Another process holds the write lock, or somebody the whole file.
    #[error("another process is writing to the file, or a connection keeps it locked (PRAGMA locking_mode=EXCLUSIVE)")]
    OtherProcess,
}

/// What the host connections of this process did on a file since the gate was entered last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hosts {
    /// None of them ran a statement, came or went.
    Idle,
    /// One did.
    Active,
}

/// Decides when the node may write to a database file.
pub trait Gate: Send + Sync {
    /// Runs `work` while no host connection of this process is in a transaction on the file.
    ///
    /// # Errors
    /// [`Busy`] if it is not the node's turn; `work` has not run then.
    fn enter(&self, work: &mut dyn FnMut(Hosts)) -> Result<(), Busy>;
}

/// The gate of a process whose only connection to the file is the node's.
#[derive(Debug)]
pub struct NoHosts;

impl Gate for NoHosts {
    fn enter(&self, work: &mut dyn FnMut(Hosts)) -> Result<(), Busy> {
        work(Hosts::Idle);
        Ok(())
    }
}

/// What can be asked of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// The sidecar changed: read it anew.
    Reload,
    /// Seal what is committed.
    Seal,
    /// Be level with the connected peers.
    Sync { timeout_ms: u64 },
    /// Tell when a change of another author was merged.
    WaitRemote,
    /// Where does it listen? Answers once it does.
    Addresses,
    /// Dial an address now.
    Connect(String),
    /// Seal and hand over what is left, then close the file, for the last host is leaving.
    Leave { timeout_ms: u64 },
    /// Give the database up at once.
    Close,
}

pub(crate) struct Request {
    pub(crate) ask: Ask,
    pub(crate) reply: SyncSender<Result<String, String>>,
}

/// What node and surface share of one database.
pub(crate) struct Shared {
    pub(crate) database: PathBuf,
    pub(crate) gate: Arc<dyn Gate>,
    pub(crate) inbox: Mutex<Vec<Request>>,
    pub(crate) view: Mutex<View>,
    /// How often it was attached to.
    pub(crate) attachments: AtomicU64,
}

impl Shared {
    pub(crate) fn view(&self) -> View {
        self.view.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A database's node, held by one connection or by the daemon.
pub struct Node {
    shared: Arc<Shared>,
}

/// Why a node did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NodeError {
    /// It said no, and why.
    #[error("{0}")]
    Refused(String),
    /// The time was over before it answered.
    #[error("no answer within {0} ms; p2p_status says what it waits for")]
    Timeout(u64),
    /// There is no driver in this process.
    #[error("this process was forked from one that runs P2PDB; open the database in a process of its own to sync")]
    Forked,
    /// The driver could not be started.
    #[error("the background thread could not be started: {0}")]
    Thread(String),
}

impl Node {
    /// The node of a database file; the first one starts it. Each must be left again: see [`Node::leave`].
    ///
    /// # Errors
    /// [`NodeError::Forked`], [`NodeError::Thread`].
    pub fn attach(database: &Path, gate: Arc<dyn Gate>) -> Result<Self, NodeError> {
        registry::attach(database, gate).map(|shared| Self { shared })
    }

    /// The database file.
    pub fn database(&self) -> &Path {
        &self.shared.database
    }

    /// What the node last knew.
    pub fn view(&self) -> View {
        if registry::is_forked() {
            return View { state: State::Inert, detail: NodeError::Forked.to_string(), ..View::default() };
        }
        self.shared.view()
    }

    /// Seals what is committed. Answers with the number of entries written.
    ///
    /// # Errors
    /// [`NodeError`].
    pub fn seal(&self, timeout_ms: u64) -> Result<String, NodeError> {
        self.ask(Ask::Seal, timeout_ms)
    }

    /// Waits until everything committed here is at the connected peers, and what they had is here.
    ///
    /// # Errors
    /// [`NodeError`].
    pub fn sync(&self, timeout_ms: u64) -> Result<String, NodeError> {
        // The node answers by then, with what it waits for.
        self.ask(Ask::Sync { timeout_ms }, timeout_ms.saturating_add(GRACE_MS))
    }

    /// Waits for the next change of another author.
    ///
    /// # Errors
    /// [`NodeError`].
    pub fn wait_remote(&self, timeout_ms: u64) -> Result<String, NodeError> {
        self.ask(Ask::WaitRemote, timeout_ms)
    }

    /// Reads the sidecar anew after it was changed.
    ///
    /// # Errors
    /// [`NodeError`].
    pub fn reload(&self, timeout_ms: u64) -> Result<String, NodeError> {
        self.ask(Ask::Reload, timeout_ms)
    }

    /// Where it listens, one address a line; starts the network if it may.
    ///
    /// # Errors
    /// [`NodeError`].
    pub fn addresses(&self, timeout_ms: u64) -> Result<Vec<String>, NodeError> {
        Ok(self.ask(Ask::Addresses, timeout_ms)?.lines().map(str::to_owned).collect())
    }

    /// Dials an address.
    ///
    /// # Errors
    /// [`NodeError`].
    pub fn connect(&self, address: &str, timeout_ms: u64) -> Result<String, NodeError> {
        self.ask(Ask::Connect(address.to_owned()), timeout_ms)
    }

    /// Gives the database up, so that its private tables can be dropped.
    ///
    /// # Errors
    /// [`NodeError`].
    pub fn close(&self, timeout_ms: u64) -> Result<String, NodeError> {
        self.ask(Ask::Close, timeout_ms)
    }

    fn ask(&self, ask: Ask, timeout_ms: u64) -> Result<String, NodeError> {
        if registry::is_forked() {
            return Err(NodeError::Forked);
        }
        let (reply, answer) = sync_channel(1);
        self.shared.inbox.lock().unwrap_or_else(PoisonError::into_inner).push(Request { ask, reply });
        registry::ring();
        match answer.recv_timeout(Duration::from_millis(timeout_ms)) {
            Ok(answer) => answer.map_err(NodeError::Refused),
            Err(RecvTimeoutError::Timeout) => Err(NodeError::Timeout(timeout_ms)),
            Err(RecvTimeoutError::Disconnected) => Err(NodeError::Refused("the node was restarted; try again".into())),
        }
    }

    /// Leaves the node. The last to leave waits up to `linger_ms` for what is committed to be sealed and handed over.
    pub fn leave(self, linger_ms: u64) {
        if registry::is_forked() {
            return;
        }
        if registry::is_last(&self.shared) && linger_ms > 0 {
            // In vain is no loss: what was not handed over is in the file, and moves when it is opened next.
            if let Err(why) = self.ask(Ask::Leave { timeout_ms: linger_ms.saturating_sub(GRACE_MS / 10) }, linger_ms) {
                tracing::debug!(database = %self.shared.database.display(), %why, "left before all was handed over");
            }
        }
        registry::detach(&self.shared);
    }
}
