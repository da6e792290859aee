//! Configuration: a few keys, each with its default, kept in the sidecar; `P2PDB_<KEY>` in the environment overrides it.

use p2pdb_core::limit;
use std::collections::BTreeMap;

/// One key.
#[derive(Debug)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// What holds where nothing is set.
    pub default: &'static str,
    /// What it is for, and what may be set.
    pub about: &'static str,
    check: fn(&str) -> bool,
}

/// All keys.
pub const KEYS: [Key; 5] = [
    Key {
        name: "network",
        default: "on",
        about: "on or off; with off, entries move through p2p_log only",
        check: is_switch,
    },
    Key {
        name: "listen",
        default: "/ip4/0.0.0.0/tcp/0",
        about: "addresses to listen on, at most 16, separated by spaces; empty: only dial",
        check: is_listen,
    },
    Key {
        name: "mdns",
        default: "on",
        about: "on or off: find peers on the local network, where it listens on one",
        check: is_switch,
    },
    Key {
        name: "linger_ms",
        default: "250",
        about: "milliseconds, 0 to 10000, that closing waits to hand over",
        check: is_linger,
    },
    Key {
        name: "busy_timeout",
        default: "0",
        about: "milliseconds, 0 to 60000, set on a connection that has none when it loads P2PDB; 0 leaves it alone",
        check: is_busy_timeout,
    },
];

fn is_switch(value: &str) -> bool {
    matches!(value, "on" | "off")
}

fn is_listen(value: &str) -> bool {
    value.split_whitespace().count() <= limit::TICKET_ADDRESSES_MAX && check_listen(value).is_ok()
}

fn is_linger(value: &str) -> bool {
    value.parse().is_ok_and(|ms: u64| ms <= 10_000)
}

fn is_busy_timeout(value: &str) -> bool {
    value.parse().is_ok_and(|ms: u64| ms <= 60_000)
}

/// Why a setting is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// There is no such key.
    #[error("p2p_config: there is no key {0:?}; the keys are {names}", names = names())]
    Unknown(String),
    /// The value does not fit the key.
    #[error("p2p_config: {value:?} does not fit {name}: {about}")]
    Value {
        /// The key.
        name: &'static str,
        /// What was given.
        value: String,
        /// What may be.
        about: &'static str,
    },
    /// An address can't be read.
    #[error("{0}")]
    Address(String),
}

fn names() -> String {
    KEYS.map(|k| k.name).join(", ")
}

/// The key of that name, in any case.
///
/// # Errors
/// [`ConfigError::Unknown`].
pub fn key(name: &str) -> Result<&'static Key, ConfigError> {
    KEYS.iter().find(|k| k.name.eq_ignore_ascii_case(name)).ok_or_else(|| ConfigError::Unknown(name.to_owned()))
}

/// Checks a value for a key.
///
/// # Errors
/// [`ConfigError::Value`].
pub fn check(key: &'static Key, value: &str) -> Result<(), ConfigError> {
    let Key { name, about, .. } = *key;
    if (key.check)(value) { Ok(()) } else { Err(ConfigError::Value { name, value: value.to_owned(), about }) }
}

/// Checks addresses to listen on, separated by spaces.
///
/// # Errors
/// [`ConfigError::Address`].
pub fn check_listen(addresses: &str) -> Result<(), ConfigError> {
    let check = |address| p2pdb_net::check_listen(address).map_err(|e| ConfigError::Address(e.to_string()));
    addresses.split_whitespace().try_for_each(check)
}

/// Checks an address to dial.
///
/// # Errors
/// [`ConfigError::Address`].
pub fn check_dial(address: &str) -> Result<(), ConfigError> {
    p2pdb_net::check_dial(address).map_err(|e| ConfigError::Address(e.to_string()))
}

/// What holds: the environment's value, else the sidecar's, else the default. A value in the environment that does not fit
/// is passed over.
pub fn value(key: &'static Key, set: &BTreeMap<String, String>) -> String {
    let from_env = std::env::var(format!("P2PDB_{}", key.name.to_ascii_uppercase())).ok();
    from_env.filter(|v| (key.check)(v)).or_else(|| set.get(key.name).cloned()).unwrap_or_else(|| key.default.to_owned())
}

/// The same for a key by name; a name that is none has no value.
pub(crate) fn of(name: &str, set: &BTreeMap<String, String>) -> String {
    key(name).map(|k| value(k, set)).unwrap_or_default()
}
