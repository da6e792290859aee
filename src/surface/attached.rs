//! One host connection: its database, its node, and what it must keep alive.

use rusqlite::Connection;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::actions::{ASK_MS, IN_TRANSACTION};
use super::fork;
use super::hosts::{self, Db, HostGate, Lent};
use crate::node::sidecar::{SetAside, Sidecar, SidecarError};
use crate::node::{Node, NodeError, State, View, config, is_forked};

/// A connection that loaded us.
pub struct Attached {
    db: Db,
    /// None for `:memory:` and temporary databases: no node there, entries move through `p2p_log`.
    file: Option<PathBuf>,
    seat: Mutex<Seat>,
    /// The sidecar of a database without a file: it lives as long as the connection.
    memory: Mutex<Option<Sidecar>>,
    me: Weak<Self>,
}

/// A connection's part in the node of its file.
#[derive(Default)]
struct Seat {
    node: Option<Node>,
    /// Was the connection closed? A close that SQLite refused leaves it alive: it may come back.
    is_over: bool,
}

impl Attached {
    pub(super) fn new(conn: &Connection, db: Db) -> rusqlite::Result<Arc<Self>> {
        let file = conn.path().filter(|p| !p.is_empty()).map(|p| whole(Path::new(p)));
        let (seat, memory) = Default::default();
        Ok(Arc::new_cyclic(|me| Self { db, file, seat, memory, me: Weak::clone(me) }))
    }

    /// Lists the connection in the gate, and attaches to the node where there is one to be.
    pub(super) fn begin(&self, conn: &Connection) {
        if is_forked() {
            return;
        }
        self.lock_seat().is_over = false;
        hosts::enter(self.db, self.file.as_deref(), &self.me);
        let Some(file) = &self.file else { return };
        let sidecar = match Sidecar::load(file) {
            Ok(Some(sidecar)) => sidecar,
            Ok(None) => return,
            Err(why) => {
                tracing::warn!(%why, "the sidecar can't be read");
                return;
            }
        };
        set_busy_timeout(conn, &sidecar);
        if !sidecar.has_group {
            return;
        }
        if let Err(why) = self.start() {
            tracing::warn!(%why, "the node can't be started");
        }
    }

    /// Attaches to the node, which starts if it is not running. All connections of this process to the file do: the node
    /// runs until the last of them closes, whichever made the database join.
    pub(super) fn start(&self) -> Result<(), NodeError> {
        let Some(file) = &self.file else { return Ok(()) };
        {
            let mut seat = self.lock_seat();
            if seat.node.is_some() {
                return Ok(());
            }
            hosts::enter(self.db, self.file.as_deref(), &self.me);
            take_seat(&mut seat, file)?;
        }
        for other in hosts::others(self.db, file) {
            // Where its seat is locked its own thread is at it.
            if let Ok(mut seat) = other.seat.try_lock()
                && let Err(why) = take_seat(&mut seat, file)
            {
                tracing::debug!(%why, "another connection was not attached");
            }
        }
        Ok(())
    }

    /// Another connection, of this process or not, may have joined the file to a group since this one was opened.
    fn start_if_joined(&self) {
        let is_left_out = || {
            let seat = self.lock_seat();
            seat.node.is_none() && !seat.is_over
        };
        if is_left_out()
            && self.file.is_some()
            && matches!(self.sidecar(), Ok(Some(_)))
            && let Err(why) = self.start()
        {
            tracing::warn!(%why, "the node can't be started");
        }
    }

    /// Was the connection closed, in vain?
    pub(super) fn is_over(&self) -> bool {
        self.lock_seat().is_over
    }

    /// The connection is closing.
    pub(super) fn end(&self) {
        if is_forked() {
            return;
        }
        // Off the list first: the node must not wait for the mutex that this thread holds.
        hosts::leave(self.db);
        let node = {
            let mut seat = self.lock_seat();
            seat.is_over = true;
            seat.node.take()
        };
        if let Some(node) = node {
            node.leave(self.linger_ms());
        }
    }

    fn linger_ms(&self) -> u64 {
        let set = self.sidecar().ok().flatten().map(|s| s.config).unwrap_or_default();
        config::of("linger_ms", &set).parse().unwrap_or_default()
    }

    /// The database file, if it has one.
    pub(super) fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// Runs `ask` on the node while the gate passes this connection by.
    pub(super) fn ask<T>(&self, ask: impl FnOnce(&Node) -> Result<T, NodeError>) -> Result<T, String> {
        if is_forked() {
            return Err(NodeError::Forked.to_string());
        }
        self.start_if_joined();
        let Some(lent) = self.lend() else { return Err(IN_TRANSACTION.into()) };
        let seat = self.lock_seat();
        let answer = match &seat.node {
            Some(node) => ask(node).map_err(|e| e.to_string()),
            None => Err("this connection is closed; open the database again".into()),
        };
        drop(lent);
        answer
    }

    /// Tells the node, if there is one, that the sidecar changed. It answers without a turn at the file, so this is safe inside
    /// a transaction.
    pub(super) fn reload(&self) -> Result<(), String> {
        if is_forked() {
            return Ok(());
        }
        self.start_if_joined();
        let seat = self.lock_seat();
        seat.node.as_ref().map_or(Ok(()), |node| node.reload(ASK_MS).map(drop).map_err(|e| e.to_string()))
    }

    /// Passes this connection by in the gate; not while it is in a transaction.
    pub(super) fn lend(&self) -> Option<Lent> {
        (!hosts::is_busy(self.db)).then(|| hosts::lend(self.db))
    }

    pub(super) fn is_in_transaction(&self) -> bool {
        hosts::is_busy(self.db)
    }

    /// The node's view; none where there is no node.
    pub(super) fn view(&self) -> Option<View> {
        if is_forked() {
            return Some(View { state: State::Inert, detail: NodeError::Forked.to_string(), ..View::default() });
        }
        self.start_if_joined();
        self.lock_seat().node.as_ref().map(Node::view)
    }

    /// The sidecar of a database that has a group: of the file, or of the connection.
    pub(super) fn sidecar(&self) -> Result<Option<Sidecar>, SidecarError> {
        Ok(self.settings()?.filter(|s| s.has_group))
    }

    /// The same before there is a group: only its configuration counts then.
    pub(super) fn settings(&self) -> Result<Option<Sidecar>, SidecarError> {
        match &self.file {
            Some(file) => Sidecar::load(file),
            None => Ok(self.memory.lock().unwrap_or_else(PoisonError::into_inner).clone()),
        }
    }

    /// Keeps the sidecar.
    pub(super) fn keep(&self, sidecar: Sidecar) -> Result<(), SidecarError> {
        match &self.file {
            Some(file) => sidecar.save(file),
            None => {
                *self.memory.lock().unwrap_or_else(PoisonError::into_inner) = Some(sidecar);
                Ok(())
            }
        }
    }

    /// Leaves the node and takes the sidecar away, if `work` succeeds in between; else the sidecar stays, for its keys are
    /// nowhere else.
    pub(super) fn forget(&self, work: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
        // The node has closed the file before anything goes: it would seal into tables that are not its own.
        if self.sidecar().map_err(|e| e.to_string())?.is_some() && self.view().is_some() {
            self.ask(|node| node.close(ASK_MS))?;
        }
        let node = self.lock_seat().node.take();
        let had_node = node.is_some();
        if let Some(node) = node {
            node.leave(0);
        }
        let aside = self.file.as_deref().map_or(Ok(None), Sidecar::set_aside).map_err(|e| e.to_string())?;
        match work() {
            Ok(()) => {
                *self.memory.lock().unwrap_or_else(PoisonError::into_inner) = None;
                aside.map_or(Ok(()), SetAside::remove).map_err(|e| e.to_string())
            }
            Err(why) => {
                aside.map_or(Ok(()), SetAside::put_back).map_err(|e| e.to_string())?;
                if had_node && let Err(also) = self.start() {
                    tracing::warn!(why = %also, "the node can't be started again");
                }
                Err(why)
            }
        }
    }

    fn lock_seat(&self) -> MutexGuard<'_, Seat> {
        self.seat.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Attaches a connection to the node, unless it is or has been closed.
fn take_seat(seat: &mut Seat, file: &Path) -> Result<(), NodeError> {
    if seat.node.is_none() && !seat.is_over {
        fork::watch();
        seat.node = Some(Node::attach(file, Arc::new(HostGate::new(file.to_owned())))?);
    }
    Ok(())
}

/// One path for one file, however it was opened: the folder's links resolved, for the file itself may not be there yet.
fn whole(path: &Path) -> PathBuf {
    if let Ok(path) = path.canonicalize() {
        return path;
    }
    let folder = path.parent().and_then(|f| f.canonicalize().ok());
    match (folder, path.file_name()) {
        (Some(folder), Some(name)) => folder.join(name),
        _ => path.to_owned(),
    }
}

/// A connection without a busy timeout gets the configured one, if one is.
fn set_busy_timeout(conn: &Connection, sidecar: &Sidecar) {
    let ms: u64 = config::of("busy_timeout", &sidecar.config).parse().unwrap_or_default();
    let has_none = conn.query_row("PRAGMA busy_timeout", [], |row| row.get(0)).is_ok_and(|ms: i64| ms == 0);
    if ms > 0
        && has_none
        && let Err(why) = conn.busy_timeout(std::time::Duration::from_millis(ms))
    {
        tracing::debug!(%why, "the busy timeout was not set");
    }
}
