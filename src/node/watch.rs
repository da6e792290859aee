//! Notices that a file changed: the operating system tells, one watcher a process.
//!
//! A notification only rings the bell; whether something was committed is what `data_version` says. Where the system can't
//! watch, the driver's slow poll finds it a second later.

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::registry::Bell;

/// Watches files and folders, counting who wants them.
pub(super) struct Watch {
    watcher: Option<RecommendedWatcher>,
    wanted: BTreeMap<PathBuf, usize>,
}

impl Watch {
    pub(super) fn new(bell: &Arc<Bell>) -> Self {
        let bell = Arc::clone(bell);
        let heard = move |event: notify::Result<notify::Event>| {
            let is_change = |e: notify::Event| {
                matches!(e.kind, EventKind::Modify(_) | EventKind::Create(_) | EventKind::Remove(_) | EventKind::Any)
            };
            if event.map_or(true, is_change) {
                bell.ring();
            }
        };
        let watcher = notify::recommended_watcher(heard);
        if let Err(why) = &watcher {
            tracing::warn!(%why, "files can't be watched; changes of other processes are found by polling");
        }
        Self { watcher: watcher.ok(), wanted: BTreeMap::new() }
    }

    pub(super) fn add(&mut self, path: &Path) {
        let count = self.wanted.entry(path.to_owned()).or_default();
        *count += 1;
        if *count == 1
            && let Some(watcher) = &mut self.watcher
            && let Err(why) = watcher.watch(path, RecursiveMode::NonRecursive)
        {
            tracing::debug!(path = %path.display(), %why, "not watched");
        }
    }

    pub(super) fn remove(&mut self, path: &Path) {
        let Some(count) = self.wanted.get_mut(path) else { return };
        *count -= 1;
        if *count > 0 {
            return;
        }
        self.wanted.remove(path);
        if let Some(watcher) = &mut self.watcher
            && let Err(why) = watcher.unwatch(path)
        {
            // The file is gone, and its watch with it.
            tracing::trace!(path = %path.display(), %why, "no longer watched");
        }
    }
}
