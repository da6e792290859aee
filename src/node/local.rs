//! Databases of one group in one process: streams between them that never leave it.
//!
//! A process can't dial itself, and need not: a frame handed in at one end is an event at the other.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};

use super::swarm::{Happened, Opened, Stream};

/// Milliseconds before two databases whose stream ended are joined again.
const AGAIN_MS: u64 = 1_000;

/// Two databases, in the order of their paths.
type Pair = (PathBuf, PathBuf);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// The number of the first end; the second's is one more.
    Joined(u64),
    /// Not before that time.
    Parted(u64),
}

/// All streams of this kind.
#[derive(Default)]
pub(super) struct Local {
    pairs: BTreeMap<Pair, Standing>,
    queue: VecDeque<Happened>,
    next: u64,
}

impl Local {
    /// Joins two databases that are not joined yet.
    pub(super) fn join(&mut self, one: &Path, other: &Path, now_ms: u64) {
        let pair = (one.to_owned(), other.to_owned());
        match self.pairs.get(&pair) {
            Some(Standing::Joined(_)) => return,
            Some(Standing::Parted(until)) if *until > now_ms => return,
            Some(Standing::Parted(_)) | None => {}
        }
        let first = self.next;
        self.next += 2;
        let key = |path: &Path| path.as_os_str().as_encoded_bytes().to_vec();
        for (end, is_dialer, here, there) in [(first, true, one, other), (first + 1, false, other, one)] {
            let opened = Opened {
                stream: Stream::Local(end),
                is_dialer,
                local: key(here),
                remote: key(there),
                address: there.display().to_string(),
                token: None,
            };
            self.queue.push_back(Happened::Joined(here.to_owned(), opened));
        }
        self.pairs.insert(pair, Standing::Joined(first));
    }

    /// Hands a frame to the other end. False if there is none any more.
    pub(super) fn send(&mut self, end: u64, frame: Vec<u8>) -> bool {
        let is_open = self.pairs.values().any(|s| *s == Standing::Joined(end & !1));
        if is_open {
            self.queue.push_back(Happened::Frame { stream: Stream::Local(end ^ 1), frame });
        }
        is_open
    }

    /// Ends a stream; what was sent before still arrives.
    pub(super) fn close(&mut self, end: u64, now_ms: u64) {
        let Some(standing) = self.pairs.values_mut().find(|s| **s == Standing::Joined(end & !1)) else { return };
        *standing = Standing::Parted(now_ms + AGAIN_MS);
        let why = "closed by the other side".to_owned();
        self.queue.push_back(Happened::Closed { stream: Stream::Local(end ^ 1), why });
    }

    pub(super) fn next(&mut self) -> Option<Happened> {
        self.queue.pop_front()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}
