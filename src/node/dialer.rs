//! Whom to dial, and when next: addresses with where they are from and how they did.
//!
//! An address that leads to a peer which is connected already, by whatever way, is not dialed again while that lasts.
//! One that fails is tried later and later; new reason to hope (it was seen again) starts over.

use p2pdb_core::backoff::Backoff;
use p2pdb_core::limit;
use std::collections::BTreeMap;

/// Where an address is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Origin {
    /// A process on this host wrote it into the registry folder; gone with that process.
    Host,
    /// Seen on the local network; gone when it is no longer seen.
    Mdns,
    /// A member told it.
    Peer,
    /// The user's: a ticket, `p2p_connect`, or remembered.
    User,
}

#[derive(Clone, Debug)]
enum Standing {
    /// To be dialed at that time.
    Due(u64),
    /// The dial under way.
    Dialing(u64),
    /// It leads to the peer of that transport key.
    Leads(Vec<u8>),
}

#[derive(Clone, Debug)]
struct Target {
    origin: Origin,
    backoff: Backoff,
    standing: Standing,
    last_error: Option<String>,
    /// Has a try ended, since it was added or last asked for?
    is_tried: bool,
}

/// The addresses of one group's peers.
#[derive(Default)]
pub(super) struct Dialer {
    targets: BTreeMap<String, Target>,
}

impl Dialer {
    /// Adds an address, or gives one that waits new hope.
    pub(super) fn add(&mut self, address: &str, origin: Origin, now_ms: u64) {
        if address.is_empty() || address.len() > limit::ADDRESS_BYTES_MAX {
            return;
        }
        if let Some(target) = self.targets.get_mut(address) {
            target.origin = target.origin.max(origin);
            return;
        }
        if self.targets.len() >= limit::TARGETS_MAX {
            return;
        }
        let (backoff, standing) = (Backoff::default(), Standing::Due(now_ms));
        self.targets
            .insert(address.to_owned(), Target { origin, backoff, standing, last_error: None, is_tried: false });
    }

    /// Dials this address now, whatever it did before. False if there is no room for it.
    pub(super) fn hurry(&mut self, address: &str, now_ms: u64) -> bool {
        self.add(address, Origin::User, now_ms);
        if let Some(target) = self.targets.get_mut(address) {
            target.backoff.reset();
            target.is_tried = false;
            if matches!(target.standing, Standing::Due(_)) {
                target.standing = Standing::Due(now_ms);
            }
        }
        self.has(address)
    }

    /// Is this one of the addresses?
    pub(super) fn has(&self, address: &str) -> bool {
        self.targets.contains_key(address)
    }

    /// Every address that waits is due: someone asked for a sync.
    pub(super) fn hurry_all(&mut self, now_ms: u64) {
        for target in self.targets.values_mut() {
            if let Standing::Due(_) = target.standing {
                target.standing = Standing::Due(now_ms);
                target.is_tried = false;
            }
        }
    }

    /// Keeps of an origin only these addresses; the others are not dialed any more.
    pub(super) fn keep_only(&mut self, origin: Origin, addresses: &[String]) {
        self.targets.retain(|address, t| t.origin != origin || addresses.contains(address));
    }

    /// An address is no longer seen.
    pub(super) fn lost(&mut self, address: &str, origin: Origin) {
        self.targets.retain(|a, t| a != address || t.origin != origin);
    }

    /// The addresses to dial now.
    pub(super) fn due(&self, now_ms: u64) -> Vec<String> {
        let is_due = |t: &Target| matches!(t.standing, Standing::Due(at) if at <= now_ms);
        self.targets.iter().filter(|(_, t)| is_due(t)).map(|(a, _)| a.clone()).collect()
    }

    /// When the next one is due.
    pub(super) fn next_ms(&self) -> Option<u64> {
        self.targets.values().filter_map(|t| if let Standing::Due(at) = t.standing { Some(at) } else { None }).min()
    }

    /// A dial is under way.
    pub(super) fn dialing(&mut self, address: &str, token: u64) {
        if let Some(target) = self.targets.get_mut(address) {
            target.standing = Standing::Dialing(token);
        }
    }

    /// Is this dial one of ours?
    pub(super) fn is_dialing(&self, token: u64) -> bool {
        self.targets.values().any(|t| matches!(t.standing, Standing::Dialing(its) if its == token))
    }

    /// The address can't even be dialed.
    pub(super) fn refused(&mut self, address: &str, why: &str, now_ms: u64, random: u64) {
        if let Some(target) = self.targets.get_mut(address) {
            target.standing = Standing::Due(now_ms + target.backoff.next_ms(random));
            target.last_error = Some(why.to_owned());
            target.is_tried = true;
        }
    }

    /// The address is our own.
    pub(super) fn drop_own(&mut self, address: &str) {
        self.targets.remove(address);
    }

    /// A dial failed, or what it led to was no member. Gives the address.
    pub(super) fn failed(&mut self, token: u64, why: &str, now_ms: u64, random: u64) -> Option<String> {
        let is_it = |t: &Target| matches!(t.standing, Standing::Dialing(its) if its == token);
        let (address, target) = self.targets.iter_mut().find(|(_, t)| is_it(t))?;
        target.standing = Standing::Due(now_ms + target.backoff.next_ms(random));
        target.last_error = Some(why.to_owned());
        target.is_tried = true;
        Some(address.clone())
    }

    /// A dial led to a member. Gives the address, and where it is from.
    pub(super) fn reached(&mut self, token: u64, remote: &[u8]) -> Option<(String, Origin)> {
        let is_it = |t: &Target| matches!(t.standing, Standing::Dialing(its) if its == token);
        let (address, target) = self.targets.iter_mut().find(|(_, t)| is_it(t))?;
        target.standing = Standing::Leads(remote.to_owned());
        target.backoff.reset();
        target.last_error = None;
        target.is_tried = true;
        Some((address.clone(), target.origin))
    }

    /// A peer's last stream is closed: addresses that led to it are to be dialed again.
    pub(super) fn parted(&mut self, remote: &[u8], pause_ms: u64, now_ms: u64, random: u64) {
        for target in self.targets.values_mut() {
            if matches!(&target.standing, Standing::Leads(its) if its == remote) {
                target.standing = Standing::Due(now_ms + pause_ms + target.backoff.next_ms(random));
            }
        }
    }

    /// Is a first try outstanding?
    pub(super) fn is_trying(&self) -> bool {
        self.targets.values().any(|t| !t.is_tried)
    }

    /// Addresses that don't lead anywhere now, each with what went wrong last and when it is tried next.
    pub(super) fn in_vain(&self) -> impl Iterator<Item = (&str, Option<&str>, Option<u64>)> {
        self.targets.iter().filter_map(|(address, t)| match t.standing {
            Standing::Due(at) => Some((address.as_str(), t.last_error.as_deref(), Some(at))),
            Standing::Dialing(_) => Some((address.as_str(), t.last_error.as_deref(), None)),
            Standing::Leads(_) => None,
        })
    }

    /// How this address failed since it was last asked for.
    pub(super) fn error_of(&self, address: &str) -> Option<&str> {
        self.targets.get(address).filter(|t| t.is_tried)?.last_error.as_deref()
    }

    /// The addresses that lead to members.
    pub(super) fn good(&self) -> impl Iterator<Item = &str> {
        let leads = |t: &Target| matches!(t.standing, Standing::Leads(_)) && t.origin != Origin::Host;
        self.targets.iter().filter(move |(_, t)| leads(t)).map(|(a, _)| a.as_str())
    }
}

#[cfg(test)]
mod tests;
