//! The network, from outside: real sockets on loopback, ports chosen by the system, and no waiting but for
//! events with a deadline.
#![allow(clippy::unwrap_used, missing_docs)]

mod ends;
mod exchange;
mod forward;
mod node;
mod pressure;
mod raw;
mod strangers;
