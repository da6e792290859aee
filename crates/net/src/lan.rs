//! Finding peers on the local network by multicast DNS.
//!
//! The one idea: libp2p's behaviour leaves its tasks running when it is dropped, answering the network for
//! ever, and keeps every peer that anybody claims to be. So it runs apart, on a thread and runtime of its
//! own that exist only while it is switched on: off is off, and past a bound it starts anew.

use std::{
    collections::HashSet,
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread,
    time::Duration,
};

use libp2p::{
    Multiaddr, PeerId,
    core::transport::ListenerId,
    mdns,
    swarm::{ExpiredListenAddr, FromSwarm, NetworkBehaviour, NewListenAddr, ToSwarm},
};
use tokio::{
    runtime::Builder,
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    time::timeout,
};

use crate::{Event, NetError, limit::SEEN_MAX, os::SignalsBlocked, queue::Queue, swarm::panic_text};

/// How long to stay quiet after more peers were claimed than are kept.
const PAUSE: Duration = Duration::from_secs(60);

/// Discovery, while it is on. Dropped, it ends.
pub(crate) struct Lan {
    changes: UnboundedSender<Change>,
}

enum Change {
    Listening(ListenerId, Multiaddr),
    Unlistening(ListenerId, Multiaddr),
}

impl Lan {
    pub(crate) fn start(
        local: PeerId,
        mut listening: Vec<(ListenerId, Multiaddr)>,
        queue: Arc<Queue>,
    ) -> Result<Lan, NetError> {
        let (changes, mut changed) = unbounded_channel();
        let _blocked = SignalsBlocked::block();
        thread::Builder::new().name("p2pdb-mdns".to_owned()).spawn(move || {
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                while look(local, &mut listening, &mut changed, &queue)? == Next::Again {}
                Ok::<_, NetError>(())
            }));
            let why = match outcome {
                Ok(Ok(())) => return,
                Ok(Err(error)) => error.to_string(),
                Err(panic) => panic_text(&*panic),
            };
            queue.push(Event::MdnsFailed { why });
        })?;
        Ok(Lan { changes })
    }

    pub(crate) fn listening(&self, listener: ListenerId, address: Multiaddr) {
        self.tell(Change::Listening(listener, address));
    }

    pub(crate) fn unlistening(&self, listener: ListenerId, address: Multiaddr) {
        self.tell(Change::Unlistening(listener, address));
    }

    fn tell(&self, change: Change) {
        if self.changes.send(change).is_err() {
            tracing::debug!("mDNS has ended");
        }
    }
}

#[derive(PartialEq, Eq)]
enum Next {
    Again,
    End,
}

/// Runs discovery once, until it is switched off or has seen too many.
fn look(
    local: PeerId,
    listening: &mut Vec<(ListenerId, Multiaddr)>,
    changed: &mut UnboundedReceiver<Change>,
    queue: &Queue,
) -> Result<Next, NetError> {
    let runtime = Builder::new_current_thread().enable_io().enable_time().build()?;
    let mut seen = HashSet::new();
    let next = runtime.block_on(async {
        let mut behaviour = mdns::tokio::Behaviour::new(mdns::Config::default(), local)?;
        for (listener, address) in listening.iter() {
            announce(&mut behaviour, *listener, address, true);
        }
        while seen.len() <= SEEN_MAX {
            tokio::select! {
                change = changed.recv() => match change {
                    None => return Ok(Next::End),
                    Some(change) => {
                        let (listener, address, is_new) = apply(change, listening);
                        announce(&mut behaviour, listener, &address, is_new);
                    }
                },
                action = poll_fn(|context| behaviour.poll(context)) => {
                    if let ToSwarm::GenerateEvent(event) = action {
                        tell(event, &mut seen, queue);
                    }
                }
            }
        }
        Ok::<_, NetError>(Next::Again)
    });
    // Its interface tasks with it.
    runtime.shutdown_background();
    for address in seen {
        queue.push_optional(Event::Lost { address: address.to_string() });
    }
    if matches!(next, Ok(Next::Again)) {
        tracing::warn!("more peers than {SEEN_MAX} are claimed on the local network; pausing mDNS");
        return pause(listening, changed);
    }
    next
}

/// Waits, while changes go on being noted.
fn pause(
    listening: &mut Vec<(ListenerId, Multiaddr)>,
    changed: &mut UnboundedReceiver<Change>,
) -> Result<Next, NetError> {
    let runtime = Builder::new_current_thread().enable_time().build()?;
    let until_off = async {
        while let Some(change) = changed.recv().await {
            apply(change, listening);
        }
    };
    let is_off = runtime.block_on(async { timeout(PAUSE, until_off).await.is_ok() });
    Ok(if is_off { Next::End } else { Next::Again })
}

fn apply(change: Change, listening: &mut Vec<(ListenerId, Multiaddr)>) -> (ListenerId, Multiaddr, bool) {
    match change {
        Change::Listening(listener, address) => {
            listening.push((listener, address.clone()));
            (listener, address, true)
        }
        Change::Unlistening(listener, address) => {
            listening.retain(|(other, known)| *other != listener || *known != address);
            (listener, address, false)
        }
    }
}

fn announce(behaviour: &mut mdns::tokio::Behaviour, listener_id: ListenerId, addr: &Multiaddr, is_new: bool) {
    behaviour.on_swarm_event(if is_new {
        FromSwarm::NewListenAddr(NewListenAddr { listener_id, addr })
    } else {
        FromSwarm::ExpiredListenAddr(ExpiredListenAddr { listener_id, addr })
    });
}

fn tell(event: mdns::Event, seen: &mut HashSet<Multiaddr>, queue: &Queue) {
    match event {
        mdns::Event::Discovered(found) => {
            for (peer, address) in found {
                let address = address.with_p2p(peer).unwrap_or_else(|address| address);
                if seen.insert(address.clone()) {
                    queue.push_optional(Event::Seen { address: address.to_string() });
                }
            }
        }
        mdns::Event::Expired(gone) => {
            for (peer, address) in gone {
                let address = address.with_p2p(peer).unwrap_or_else(|address| address);
                if seen.remove(&address) {
                    queue.push_optional(Event::Lost { address: address.to_string() });
                }
            }
        }
    }
}
