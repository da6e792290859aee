//! Which stream belongs to which database.

use p2pdb_core::id::GroupId;
use p2pdb_core::key::Secret;
use p2pdb_core::message::Hello;
use p2pdb_core::message::hello::Ends;
use p2pdb_core::session::find_group;
use std::collections::BTreeMap;
use std::path::PathBuf;

use super::swarm::{Opened, Stream};

/// Streams with a database, and accepted ones that have not said yet which group they want.
#[derive(Default)]
pub(super) struct Routes {
    databases: BTreeMap<Stream, PathBuf>,
    waiting: BTreeMap<Stream, Opened>,
}

impl Routes {
    pub(super) fn add(&mut self, stream: Stream, database: PathBuf) {
        self.databases.insert(stream, database);
    }

    /// Keeps an accepted stream until its first frame. The network bounds how many there are, and how long.
    pub(super) fn wait(&mut self, opened: Opened) {
        self.waiting.insert(opened.stream, opened);
    }

    pub(super) fn take_waiting(&mut self, stream: Stream) -> Option<Opened> {
        self.waiting.remove(&stream)
    }

    pub(super) fn remove(&mut self, stream: Stream) {
        self.databases.remove(&stream);
        self.waiting.remove(&stream);
    }

    pub(super) fn database(&self, stream: Stream) -> Option<PathBuf> {
        self.databases.get(&stream).cloned()
    }

    /// The group, by its place, that a first frame proves membership of.
    pub(super) fn find<'s>(
        frame: &[u8],
        opened: &Opened,
        groups: impl IntoIterator<Item = (GroupId, &'s Secret)>,
    ) -> Option<usize> {
        let hello = Hello::read(frame).ok()?;
        find_group(&hello, Ends { dialer: &opened.remote, listener: &opened.local }, groups)
    }
}
