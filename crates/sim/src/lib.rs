//! Many replicas of the pure core over a seeded lossy network, against an independent oracle.
//!
//! The idea: the core takes time, randomness, frames and storage as arguments, so one thread and one seed can run a
//! whole swarm through a day of dropped lines, partitions and crashes in milliseconds, and run it again. What the
//! simulator adds is storage in memory, a network of queues and users who write; merge, seal, session, chain and causal
//! order are the product's own.
//!
//! Beside the swarm stands [`hostile`]: what a peer may send that keeps to no rule, and what the core promises about it.
//!
//! It does not know SQLite, libp2p or the wall clock.
#![forbid(unsafe_code)]

pub mod apply;
pub mod check;
pub mod database;
pub mod hostile;
pub mod log;
pub mod network;
pub mod node;
pub mod oracle;
pub mod random;
pub mod rows;
pub mod schema;
pub mod seal;
pub mod workload;
pub mod world;

pub use world::{Failure, Report, run};
