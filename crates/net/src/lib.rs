//! The network: streams of frames to other processes, behind a handle and a queue of events.
//!
//! The one idea: everything asynchronous lives on one thread of its own, and the caller, a blocking loop,
//! meets it in two places only. A [`Handle`] takes orders and never waits; [`Events`] is a queue that the
//! caller drains when its bell rings. Both ways are bounded in bytes: inbound by not reading a stream whose
//! frames were not taken yet, outbound by [`SendError::Full`].
//!
//! A frame is a length (unsigned varint) and that many bytes. Until the caller says [`Handle::promote`] the
//! other side is a stranger: a few kilobytes, a few seconds, and no more than a few of them at a time.
//!
//! What it does not know: groups, entries, membership, what a frame means, and when to dial again. It holds
//! no address book and retries nothing.
//!
//! ```
//! use std::sync::{Arc, mpsc};
//! use p2pdb_net::{Config, Event, start};
//!
//! let (ring, rung) = mpsc::channel();
//! let (handle, mut events) = start(Config::default(), Arc::new(move || ring.send(()).unwrap_or(())))?;
//! handle.listen("127.0.0.1:0")?;
//! rung.recv()?;
//! assert!(matches!(events.try_recv(), Some(Event::Listening { .. })));
//! handle.shutdown();
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod address;
mod behaviour;
mod dial;
mod driver;
mod error;
mod event;
mod frame;
mod handle;
mod handler;
pub mod host;
#[cfg(feature = "mdns")]
mod lan;
pub mod limit;
mod link;
mod os;
mod process;
mod queue;
mod read;
mod room;
mod stream;
mod swarm;
mod task;
mod thread;
mod write;

pub use address::{check_dial, check_listen};
pub use error::{CloseReason, DialFailure, NetError, SendError};
pub use event::{Event, StreamId};
pub use handle::Handle;
pub use limit::Limits;
pub use os::SignalsBlocked;
pub use queue::Events;
pub use thread::{Bell, Config, start};
