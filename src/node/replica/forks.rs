//! One author in one file: what is done where a file was copied with its keys, or an author's chain is another elsewhere.
//!
//! A copy takes a new author key before it writes a word. Where that came too late, for both wrote, one of them is given new
//! keys by hand, and gives up its branch of the chain: see [`crate::store`]'s fork.

use p2pdb_core::chain::Refused;
use p2pdb_core::id::AuthorId;
use p2pdb_core::message::ErrorCode;
use p2pdb_core::session::Reason;

use super::links::Links;
use super::{Open, Replica, elsewhere};
use crate::node::driver::Tools;
use crate::node::sidecar::Sidecar;

/// A peer has another chain of an author: which, if it is known.
pub(super) fn fork_of(reason: &Reason) -> Option<Option<AuthorId>> {
    match reason {
        Reason::Fork(author, _) | Reason::Refused(Refused::Fork(author, _) | Refused::Chain(author, _)) => {
            Some(Some(*author))
        }
        Reason::PeerError(error) if error.code == ErrorCode::Fork => Some(None),
        _ => None,
    }
}

impl Replica {
    /// The sidecar as that of this very file: one that was copied with its database gets a new author.
    pub(super) fn at_home(&mut self, sidecar: Sidecar) -> Result<Sidecar, String> {
        if sidecar.is_copied(&self.shared.database) {
            tracing::info!(database = %self.database().display(), "a copy, which takes an author key of its own");
            let sidecar = sidecar.with_new_author().map_err(|e| e.to_string())?;
            self.keep(&sidecar)?;
            return Ok(sidecar);
        }
        if sidecar.is_homeless()
            && let Err(why) = self.keep(&sidecar)
        {
            tracing::debug!(why, "a copy of this file will not be told from it");
        }
        Ok(sidecar)
    }

    pub(super) fn keep(&mut self, sidecar: &Sidecar) -> Result<(), String> {
        sidecar.save(&self.shared.database).map_err(|e| e.to_string())?;
        self.sidecar_read = elsewhere::Writing::of(&self.shared.database);
        Ok(())
    }

    /// Looks whether sessions met forks, and whether what was in doubt is certain. After either the log is another than the
    /// sessions were told: they begin anew.
    pub(super) fn heed_forks(&mut self, tools: &mut Tools<'_>) {
        let forks = std::mem::take(&mut self.links.forks);
        let Some(open) = &mut self.open else { return };
        let is_told = self.links.fork_told.is_some() || open.store.is_in_doubt();
        // Mostly there is none, and no session is asked.
        let is_level = is_told && is_level_with_all(&self.links, open);
        // What was given up is the fork that the sessions tell of.
        let mut is_changed = open.store.has_given_up();
        if !is_changed {
            for author in &forks {
                is_changed |= open.store.doubt(*author);
            }
        }
        is_changed |= forks.is_empty() && is_level && open.store.trust();
        if is_changed || is_level {
            self.links.fork_told = None;
        }
        if !is_changed {
            return;
        }
        if open.store.is_retired() {
            self.close(tools);
            self.next_leader_ms = 0;
        } else {
            open.is_dirty = true;
            self.links.close_all(tools);
        }
        self.links.dialer.hurry_all(tools.now.mono_ms);
    }
}

fn is_level_with_all(links: &Links, open: &Open) -> bool {
    let mut levels = links.iter().map(|l| l.session.status(&open.store).is_ok_and(|s| s.is_level)).peekable();
    levels.peek().is_some() && levels.all(|is_level| is_level)
}
