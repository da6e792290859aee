//! Several processes have the file open: what this one's node learns of what another does.
//!
//! The sidecar is theirs in common. One invites, joins, configures or leaves, and the node may run in another: it looks
//! whether the file is still the one it read.

use std::path::Path;
use std::time::SystemTime;

use super::{Replica, is_networked};
use crate::node::config;
use crate::node::driver::Tools;
use crate::node::sidecar::Sidecar;

/// Milliseconds between two looks at the sidecar. A look is one call into the system.
const SIDECAR_MS: u64 = 100;

/// Which writing of the sidecar this is: each makes a new file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Writing {
    modified: Option<SystemTime>,
    bytes: u64,
    file: u64,
}

impl Writing {
    /// None where there is no sidecar.
    pub(super) fn of(database: &Path) -> Option<Self> {
        let found = Sidecar::path(database).metadata().ok()?;
        #[cfg(unix)]
        let file = std::os::unix::fs::MetadataExt::ino(&found);
        #[cfg(not(unix))]
        let file = 0;
        Some(Self { modified: found.modified().ok(), bytes: found.len(), file })
    }
}

impl Replica {
    /// Reads the sidecar anew if another process wrote it.
    pub(super) fn heed_sidecar(&mut self, tools: &mut Tools<'_>) {
        let now = tools.now.mono_ms;
        if self.next_sidecar_ms > now || self.open.is_none() {
            return;
        }
        self.next_sidecar_ms = now + SIDECAR_MS;
        let writing = Writing::of(&self.shared.database);
        if writing == self.sidecar_read {
            return;
        }
        if let Err(why) = self.reload(tools) {
            self.fail(why, tools);
        }
    }

    /// Where the process listens that runs the node of this file, or another of the group on this host, which is as good.
    /// None: not yet.
    pub(super) fn addresses_elsewhere(&self, tools: &Tools<'_>) -> Option<Result<String, String>> {
        let sidecar = match Sidecar::load(&self.shared.database) {
            Ok(Some(sidecar)) => sidecar,
            Ok(None) => return Some(Ok(String::new())),
            Err(why) => return Some(Err(why.to_string())),
        };
        if !is_networked(&sidecar) || config::of("listen", &sidecar.config).is_empty() {
            return Some(Ok(String::new()));
        }
        let identity = sidecar.identity();
        match tools.swarm.others(&identity.secret.host_tag(identity.group)) {
            Ok(found) if found.is_empty() => None,
            Ok(found) => Some(Ok(found.join("\n"))),
            Err(why) => Some(Err(why.to_string())),
        }
    }
}
