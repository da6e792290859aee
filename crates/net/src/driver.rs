//! The loop of the network thread: orders in, libp2p's events in, streams and events out.
//!
//! It holds what belongs to connections. Frames do not pass through here: they go between a stream's task and
//! the queues, so that a busy stream does not wait for the bookkeeping of others.

use std::{collections::HashMap, sync::Arc};

use futures::StreamExt;
use libp2p::{
    Multiaddr, PeerId, Stream as Substream, Swarm,
    core::transport::ListenerId,
    ping,
    swarm::{ConnectionId, SwarmEvent},
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

use crate::{
    CloseReason, DialFailure, Event, StreamId,
    address::{Target, without_peer},
    behaviour::Happened,
    dial::{Dials, Failed, Number},
    handler::Report,
    limit::LINGER,
    link::{Expiry, Link, Links},
    stream::Net,
    swarm::{Behaviour, BehaviourEvent, Tripwire, spawn},
    task::{self, millis},
};

/// What a handle asks for.
pub(crate) enum Order {
    Listen(Multiaddr),
    UnlistenAll,
    Dial(Target, u64),
    OpenBeside(StreamId, u64),
    Promoted(StreamId),
    Mdns(bool),
    Shutdown,
}

/// The state of the loop.
pub(crate) struct Driver {
    net: Arc<Net>,
    swarm: Swarm<Behaviour>,
    local: PeerId,
    links: Links,
    dials: Dials,
    listeners: HashMap<ListenerId, Listener>,
    tripwire: Tripwire,
    ended: mpsc::UnboundedSender<(ConnectionId, StreamId)>,
    #[cfg(feature = "mdns")]
    lan: Option<crate::lan::Lan>,
}

struct Listener {
    order: String,
    addresses: Vec<Multiaddr>,
}

/// Runs until told to stop; an error is the message of a panic in a task.
pub(crate) async fn drive(
    net: Arc<Net>,
    swarm: Swarm<Behaviour>,
    mut orders: mpsc::UnboundedReceiver<Order>,
    tripwire: Tripwire,
    mut tripped: mpsc::UnboundedReceiver<String>,
) -> Result<(), String> {
    let (ended, mut ends) = mpsc::unbounded_channel();
    let mut driver = Driver {
        net,
        local: *swarm.local_peer_id(),
        swarm,
        links: Links::new(),
        dials: Dials::default(),
        listeners: HashMap::new(),
        tripwire,
        ended,
        #[cfg(feature = "mdns")]
        lan: None,
    };
    loop {
        let expiry = driver.next_expiry();
        tokio::select! {
            Some(panic) = tripped.recv() => return Err(panic),
            order = orders.recv() => match order {
                // Without a handle nobody could ever give another order.
                None | Some(Order::Shutdown) => break,
                Some(order) => driver.obey(order),
            },
            Some((connection, stream)) = ends.recv() => driver.stream_ended(connection, stream),
            number = driver.dials.resolved() => driver.advance(number),
            event = driver.swarm.select_next_some() => driver.on_swarm(event),
            () = sleep_until(expiry.unwrap_or_else(Instant::now)), if expiry.is_some() => driver.expire(),
        }
    }
    driver.part(&mut ends).await;
    Ok(())
}

impl Driver {
    fn obey(&mut self, order: Order) {
        match order {
            Order::Listen(address) => self.listen(address),
            Order::UnlistenAll => {
                for listener in self.listeners.keys() {
                    self.swarm.remove_listener(*listener);
                }
            }
            Order::Dial(target, token) => {
                let is_named = matches!(target.place, crate::address::Place::Name { .. });
                let number = self.dials.begin(target, token, &self.net.limits);
                if !is_named {
                    self.advance(number);
                }
            }
            Order::OpenBeside(stream, token) => self.open_beside(stream, token),
            Order::Promoted(stream) => self.promoted(stream),
            Order::Mdns(is_on) => self.mdns(is_on),
            Order::Shutdown => {}
        }
    }

    fn listen(&mut self, address: Multiaddr) {
        let order = address.to_string();
        match self.swarm.listen_on(address) {
            Ok(listener) => {
                self.listeners.insert(listener, Listener { order, addresses: Vec::new() });
            }
            Err(error) => self.net.queue.push(Event::ListenFailed { address: order, why: error.to_string() }),
        }
    }

    fn advance(&mut self, number: Number) {
        let failed = self.dials.advance(number, &mut self.swarm, &mut self.links, &self.net.limits);
        self.report(failed);
    }

    fn report(&self, failed: Option<Failed>) {
        if let Some((token, why)) = failed {
            self.net.dial_ended();
            self.net.queue.push(Event::DialFailed { token, why });
        }
    }

    /// Opens a stream on the connection of another.
    fn open_beside(&mut self, stream: StreamId, token: u64) {
        let limits = &self.net.limits;
        let link = self.links.iter_mut().find(|(_, link)| link.streams.contains_key(&stream));
        let why = match link {
            Some((connection, link)) if link.has_room(limits) => {
                let number = self.dials.adopt(token);
                link.opening.insert(number);
                self.swarm.behaviour_mut().streams.open(link.peer, *connection, number);
                return;
            }
            Some(_) => DialFailure::Limit,
            None => DialFailure::Closed,
        };
        self.report(Some((token, why)));
    }

    fn promoted(&mut self, stream: StreamId) {
        let link = self.links.iter_mut().find(|(_, link)| link.streams.contains_key(&stream));
        if let Some((connection, link)) = link {
            link.is_proved = true;
            self.swarm.behaviour_mut().streams.prove(*connection);
        }
    }

    fn on_swarm(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(BehaviourEvent::Streams(happened)) => self.on_report(happened),
            SwarmEvent::Behaviour(BehaviourEvent::Ping(event)) => self.on_ping(event),
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                let now = Instant::now();
                let link = Link {
                    peer: peer_id,
                    address: without_peer(endpoint.get_remote_address()),
                    is_dialer: endpoint.is_dialer(),
                    is_proved: false,
                    is_closing: false,
                    since: now,
                    heard: now,
                    opening: Default::default(),
                    streams: Default::default(),
                };
                self.links.insert(connection_id, link);
                self.dials.connected(connection_id, &mut self.swarm, &mut self.links);
            }
            SwarmEvent::ConnectionClosed { connection_id, .. } => self.on_closed(connection_id),
            SwarmEvent::OutgoingConnectionError { connection_id, peer_id, error } => {
                let limits = &self.net.limits;
                let (swarm, links) = (&mut self.swarm, &mut self.links);
                for number in self.dials.not_connected(connection_id, peer_id, &error, swarm, links, limits) {
                    self.advance(number);
                }
            }
            SwarmEvent::NewListenAddr { listener_id, address } => self.on_listening(listener_id, address),
            SwarmEvent::ExpiredListenAddr { listener_id, address } => self.on_unlistening(listener_id, address),
            SwarmEvent::ListenerClosed { listener_id, addresses, reason } => {
                for address in addresses {
                    self.on_unlistening(listener_id, address);
                }
                let listener = self.listeners.remove(&listener_id);
                if let (Some(Listener { order: address, .. }), Err(error)) = (listener, reason) {
                    self.net.queue.push(Event::ListenFailed { address, why: error.to_string() });
                }
            }
            SwarmEvent::ListenerError { error, .. } => tracing::debug!(%error, "a listener had an error"),
            // Strangers who fail the handshake, our own echo included, are not worth anybody's attention;
            // neither is anything that later versions of libp2p add.
            _ => {}
        }
    }

    fn on_listening(&mut self, listener: ListenerId, address: Multiaddr) {
        #[cfg(feature = "mdns")]
        if let Some(lan) = &self.lan {
            lan.listening(listener, address.clone());
        }
        self.net.queue.push(Event::Listening { address: address.to_string() });
        if let Some(listener) = self.listeners.get_mut(&listener) {
            listener.addresses.push(address);
        }
    }

    fn on_unlistening(&mut self, listener: ListenerId, address: Multiaddr) {
        if let Some(listener) = self.listeners.get_mut(&listener) {
            listener.addresses.retain(|other| *other != address);
        }
        self.net.queue.push(Event::ListenEnded { address: address.to_string() });
        #[cfg(feature = "mdns")]
        if let Some(lan) = &self.lan {
            lan.unlistening(listener, address);
        }
    }

    fn on_report(&mut self, Happened { connection, report }: Happened) {
        match report {
            Report::Inbound(substream) => {
                let limits = &self.net.limits;
                let is_welcome = self.links.get(&connection).is_some_and(|link| link.has_room_inbound(limits));
                // Dropped, the substream is reset: the other side sees its stream end.
                if is_welcome && !self.net.queue.is_crowded() {
                    self.admit(connection, substream, None);
                }
            }
            Report::Outbound(number, substream) => {
                if let Some(link) = self.links.get_mut(&connection) {
                    link.opening.remove(&number);
                    self.admit(connection, substream, Some(number));
                }
            }
            Report::Failed(number, why) => {
                if let Some(link) = self.links.get_mut(&connection) {
                    link.opening.remove(&number);
                }
                let failed = self.dials.fail(number, Some(DialFailure::NoStream(why)));
                self.report(failed);
            }
        }
    }

    /// Makes a stream of a substream, if the limits allow it.
    fn admit(&mut self, connection: ConnectionId, substream: Substream, number: Option<Number>) {
        let Some(link) = self.links.get_mut(&connection) else { return };
        let Some(stream) = self.net.open(number.is_some()) else {
            let failed = number.and_then(|number| self.dials.fail(number, Some(DialFailure::Limit)));
            self.report(failed);
            return;
        };
        let token = number.and_then(|number| self.dials.opened(number));
        if token.is_some() {
            self.net.dial_ended();
        }
        link.streams.insert(stream.id, stream.is_dialer);
        self.net.queue.push(Event::Opened {
            stream: stream.id,
            is_dialer: stream.is_dialer,
            local: self.local.to_bytes(),
            remote: link.peer.to_bytes(),
            address: link.address.to_string(),
            token,
        });
        let (net, ended) = (Arc::clone(&self.net), self.ended.clone());
        let life = async move {
            let id = stream.id;
            task::run(substream, stream, net).await;
            if ended.send((connection, id)).is_err() {
                tracing::trace!("a stream ended after the loop");
            }
        };
        spawn(life, &self.tripwire);
    }

    fn stream_ended(&mut self, connection: ConnectionId, stream: StreamId) {
        if let Some(link) = self.links.get_mut(&connection) {
            link.streams.remove(&stream);
        }
    }

    fn on_closed(&mut self, connection: ConnectionId) {
        let Some(link) = self.links.remove(&connection) else { return };
        for number in link.opening {
            let failed = self.dials.fail(number, Some(DialFailure::Closed));
            self.report(failed);
        }
        // Streams notice by themselves, and empty what had arrived before.
    }

    fn on_ping(&mut self, ping::Event { connection, result, .. }: ping::Event) {
        let Some(link) = self.links.get_mut(&connection) else { return };
        match result {
            Ok(round_trip) => {
                link.heard = Instant::now();
                let micros = u64::try_from(round_trip.as_micros()).unwrap_or(u64::MAX);
                for stream in link.streams.keys() {
                    self.net.queue.push_optional(Event::Rtt { stream: *stream, micros });
                }
            }
            // One failure may be a substream's; silence is measured from the last answer, in `expire`.
            Err(error) => tracing::debug!(%error, "a ping failed"),
        }
    }

    fn next_expiry(&self) -> Option<Instant> {
        let standing = self.links.values().filter(|link| !link.is_closing);
        standing.map(|link| link.expires(&self.net.limits).0).min()
    }

    /// Closes the connections whose time is up.
    fn expire(&mut self) {
        let now = Instant::now();
        let limits = &self.net.limits;
        for (connection, link) in &mut self.links {
            let (at, expiry) = link.expires(limits);
            if link.is_closing || at > now {
                continue;
            }
            link.is_closing = true;
            for stream in link.streams.keys().filter_map(|id| self.net.stream(*id)) {
                stream.abort(match expiry {
                    Expiry::Dead => CloseReason::Dead,
                    Expiry::Strange => CloseReason::NotProved(millis(2 * limits.stranger_time)),
                });
            }
            self.swarm.close_connection(*connection);
        }
    }

    #[cfg(feature = "mdns")]
    fn mdns(&mut self, is_on: bool) {
        if !is_on {
            self.lan = None;
        } else if self.lan.is_none() {
            let listening = self.listeners.iter();
            let addresses = listening.flat_map(|(id, listener)| listener.addresses.iter().map(|a| (*id, a.clone())));
            match crate::lan::Lan::start(self.local, addresses.collect(), Arc::clone(&self.net.queue)) {
                Ok(lan) => self.lan = Some(lan),
                Err(error) => self.net.queue.push(Event::MdnsFailed { why: error.to_string() }),
            }
        }
    }

    #[cfg(not(feature = "mdns"))]
    fn mdns(&mut self, is_on: bool) {
        if is_on {
            self.net.queue.push(Event::MdnsFailed { why: "this build has no mDNS".to_owned() });
        }
    }

    /// Lets the streams say goodbye.
    async fn part(&mut self, ends: &mut mpsc::UnboundedReceiver<(ConnectionId, StreamId)>) {
        #[cfg(feature = "mdns")]
        drop(self.lan.take());
        for listener in self.listeners.keys() {
            self.swarm.remove_listener(*listener);
        }
        self.net.close_all();
        let deadline = Instant::now() + LINGER;
        while self.net.streams_open() > 0 {
            tokio::select! {
                _ = ends.recv() => {}
                _ = self.swarm.select_next_some() => {}
                () = sleep_until(deadline) => break,
            }
        }
    }
}
