//! libp2p put together: transport, behaviours, limits.

use std::{num::NonZeroUsize, panic::AssertUnwindSafe, pin::Pin, time::Duration};

use futures::FutureExt;
use libp2p::{
    PeerId, Swarm, Transport,
    connection_limits::{self, ConnectionLimits},
    core::{
        muxing::StreamMuxerBox,
        transport::{Boxed, timeout::TransportTimeout},
        upgrade::Version,
    },
    identity::Keypair,
    noise, ping,
    swarm::{self, NetworkBehaviour},
    tcp, yamux,
};
use tokio::sync::mpsc;

use crate::{Limits, NetError, behaviour::Streams, limit::NEGOTIATING_MAX};

/// Everything that speaks or refuses on a connection.
#[derive(NetworkBehaviour)]
pub(crate) struct Behaviour {
    // First, so that a connection over the limit is refused before the others count it.
    limits: connection_limits::Behaviour,
    pub(crate) streams: Streams,
    ping: ping::Behaviour,
}

/// Where a task that panicked leaves word.
pub(crate) type Tripwire = mpsc::UnboundedSender<String>;

/// Runs a future as a task. tokio would swallow its panic and leave a stream or connection that is neither
/// open nor closed; here the panic ends the network, which says so.
pub(crate) fn spawn(task: impl Future<Output = ()> + Send + 'static, tripwire: &Tripwire) {
    let tripwire = tripwire.clone();
    tokio::spawn(AssertUnwindSafe(task).catch_unwind().map(move |outcome| {
        if let Err(panic) = outcome
            && tripwire.send(panic_text(&*panic)).is_err()
        {
            tracing::debug!("a task panicked after the network had stopped");
        }
    }));
}

/// The message of a panic, if it has one.
pub(crate) fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("the network thread panicked: {}", text.unwrap_or("no message"))
}

/// A swarm that does nothing yet.
pub(crate) fn build(key: &Keypair, limits: &Limits, tripwire: Tripwire) -> Result<Swarm<Behaviour>, NetError> {
    let executor = move |task: Pin<Box<dyn Future<Output = ()> + Send>>| spawn(task, &tripwire);
    let config = swarm::Config::with_executor(executor)
        // A dialer's first frame travels with the name of the protocol: one round trip less.
        .with_substream_upgrade_protocol_override(Version::V1Lazy)
        .with_max_negotiating_inbound_streams(NEGOTIATING_MAX)
        .with_notify_handler_buffer_size(NonZeroUsize::MIN.saturating_add(7))
        .with_per_connection_event_buffer_size(8)
        .with_idle_connection_timeout(limits.idle_time);
    let behaviour = Behaviour {
        limits: connection_limits::Behaviour::new(
            ConnectionLimits::default()
                .with_max_established(Some(limits.connections))
                .with_max_established_per_peer(Some(limits.connections_per_peer))
                .with_max_pending_incoming(Some(limits.pending_in))
                .with_max_pending_outgoing(Some(limits.pending_out)),
        ),
        streams: Streams::new(limits.clone()),
        ping: ping::Behaviour::new(ping::Config::new().with_interval(limits.ping_time).with_timeout(limits.dead_time)),
    };
    Ok(Swarm::new(transport(key, limits)?, behaviour, PeerId::from(key.public()), config))
}

fn transport(key: &Keypair, limits: &Limits) -> Result<Boxed<(PeerId, StreamMuxerBox)>, NetError> {
    let noise = noise::Config::new(key).map_err(std::io::Error::other)?;
    let mut yamux = yamux::Config::default();
    yamux.set_max_num_streams(limits.substreams);
    let time_max = limits.ping_time + limits.dead_time;
    let tcp = tcp::tokio::Transport::new(tcp::Config::default().nodelay(true))
        .map(move |stream, _| bound_silence(stream, time_max))
        .upgrade(Version::V1Lazy)
        .authenticate(noise)
        .multiplex(yamux)
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));
    #[cfg(feature = "quic")]
    let tcp = tcp
        .or_transport(
            libp2p::quic::tokio::Transport::new(libp2p::quic::Config::new(key))
                .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer))),
        )
        .map(|either, _| either.into_inner());
    // Two clocks: a dial crosses the world, a stranger at the door gets less.
    let inbound = TransportTimeout::with_ingoing_timeout(tcp, limits.stranger_time);
    Ok(TransportTimeout::with_outgoing_timeout(inbound, limits.dial_time).boxed())
}

/// Has the system give up a connection whose other end acknowledges nothing for that long. A connection that
/// we close flushes first, and to a host that is gone it would flush for a quarter of an hour.
fn bound_silence(stream: tcp::tokio::TcpStream, time_max: Duration) -> tcp::tokio::TcpStream {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if let Err(error) = socket2::SockRef::from(&stream.0).set_tcp_user_timeout(Some(time_max)) {
        tracing::debug!(%error, "a connection keeps the system's own time-out");
    }
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    tracing::trace!(?time_max, "the system has no time-out for silent connections");
    stream
}
