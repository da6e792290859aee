//! The network thread: how it starts, and that it never ends silently.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, mpsc::Sender},
    thread,
};

use libp2p::{PeerId, identity::Keypair};
use tokio::{
    runtime::{Builder, Runtime},
    sync::mpsc::{self, UnboundedReceiver},
};

use crate::{
    Event, Events, Handle, Limits, NetError,
    driver::{Order, drive},
    os::SignalsBlocked,
    queue::Queue,
    stream::Net,
    swarm::{build, panic_text},
};

/// Called on the network thread after an event was queued. It must not block; waking a waiting thread is
/// all it should do. A panic in it ends the network.
pub type Bell = Arc<dyn Fn() + Send + Sync>;

/// How a network is started.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// The secret of the transport key; a new one where there is none, which nobody can recognise again.
    pub seed: Option<[u8; 32]>,
    /// What it may use.
    pub limits: Limits,
}

/// Starts the network. It listens, dials and announces nothing until told to.
///
/// # Errors
/// [`NetError::Limits`] where they contradict each other, [`NetError::System`] where the system refuses a
/// thread or an event queue.
pub fn start(config: Config, bell: Bell) -> Result<(Handle, Events), NetError> {
    let Config { seed, limits } = config;
    limits.check()?;
    let key = match seed {
        Some(seed) => Keypair::ed25519_from_bytes(seed).map_err(std::io::Error::other)?,
        None => Keypair::generate_ed25519(),
    };
    let local_key = PeerId::from(key.public()).to_bytes();
    // One helper thread for names at a time, and one more for when a resolver hangs.
    let runtime = Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .max_blocking_threads(2)
        .thread_name("p2pdb-names")
        .build()?;
    let queue = Arc::new(Queue::new(limits.budget_bytes / 2, bell));
    let net = Arc::new(Net::new(limits, Arc::clone(&queue)));
    let (orders, ordered) = mpsc::unbounded_channel();
    let (over, is_over) = std::sync::mpsc::channel();
    let thread = {
        let (net, _blocked) = (Arc::clone(&net), SignalsBlocked::block());
        thread::Builder::new().name("p2pdb-net".to_owned()).spawn(move || run(runtime, &net, &key, ordered, over))?
    };
    Ok((Handle::new(net, orders, local_key, (thread, is_over)), Events::new(queue)))
}

/// The whole thread. Nothing unwinds out of it.
fn run(runtime: Runtime, net: &Arc<Net>, key: &Keypair, orders: UnboundedReceiver<Order>, over: Sender<()>) {
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        runtime.block_on(async {
            let (tripwire, tripped) = mpsc::unbounded_channel();
            let swarm = build(key, &net.limits, tripwire.clone()).map_err(|error| error.to_string())?;
            drive(Arc::clone(net), swarm, orders, tripwire, tripped).await
        })
    }));
    let why = match outcome {
        Ok(Ok(())) => "it was told to".to_owned(),
        Ok(Err(why)) => why,
        Err(panic) => panic_text(&*panic),
    };
    net.stop();
    // The bell is the caller's, and may be what panicked.
    let told = catch_unwind(AssertUnwindSafe(|| net.queue.push(Event::Stopped { why })));
    net.queue.close();
    // Not waiting for a resolver that hangs.
    let freed = catch_unwind(AssertUnwindSafe(|| runtime.shutdown_background()));
    if told.is_err() || freed.is_err() {
        tracing::warn!("the network thread panicked again while it ended");
    }
    if over.send(()).is_err() {
        tracing::trace!("nobody waited for the network thread");
    }
}
