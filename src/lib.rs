//! P2PDB: any SQLite database as a peer. Ordinary SQL that syncs, without a server.
#![cfg_attr(not(feature = "extension"), forbid(unsafe_code))]

pub mod capture;
pub mod quote;
pub mod schema;
pub mod store;
