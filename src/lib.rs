//! P2PDB: any SQLite database as a peer. Ordinary SQL that syncs, without a server.
#![deny(unsafe_code)]

pub mod capture;
#[cfg(feature = "cli")]
pub mod cli;
pub mod node;
pub mod quote;
pub mod schema;
pub mod store;
// The border to C: the only module that calls SQLite by raw handles.
#[allow(unsafe_code)]
pub mod surface;
