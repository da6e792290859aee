//! Addresses as people and programs write them: `host:port`, or a multiaddr with or without a peer.

use std::net::{IpAddr, SocketAddr};

use libp2p::{Multiaddr, PeerId, multiaddr::Protocol};

use crate::{
    NetError,
    limit::{ADDRESS_CHARS_MAX, RESOLVED_MAX},
};

/// Where to dial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// The peer that must answer, where the address names one.
    pub(crate) peer: Option<PeerId>,
    pub(crate) place: Place,
}

/// An address, or a name that has some.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Address(Multiaddr),
    Name { host: String, family: Family, transport: Transport },
}

/// Which addresses of a name are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    Any,
    V4,
    V6,
}

/// What follows the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Tcp(u16),
    #[cfg(feature = "quic")]
    Quic(u16),
}

/// Reads an address to dial.
pub(crate) fn to_dial(text: &str) -> Result<Target, NetError> {
    let target = read(text)?;
    let is_dialable = match &target.place {
        Place::Address(address) => !address.iter().any(|part| matches!(part, Protocol::Tcp(0) | Protocol::Udp(0))),
        Place::Name { transport, .. } => transport.port() != 0,
    };
    if is_dialable { Ok(target) } else { Err(refuse(text, "has port 0, where nobody can be reached")) }
}

/// Reads an address to listen on: an IP address and a port, of which 0 means any.
pub(crate) fn to_listen(text: &str) -> Result<Multiaddr, NetError> {
    match read(text)? {
        Target { peer: None, place: Place::Address(address) } => Ok(address),
        Target { peer: Some(_), .. } => Err(refuse(text, "names a peer, which one can not listen as")),
        Target { place: Place::Name { .. }, .. } => Err(refuse(text, "is a name; listening takes an IP address")),
    }
}

/// Is this an address to dial?
///
/// # Errors
/// [`NetError::Address`], saying what is wrong with it.
pub fn check_dial(text: &str) -> Result<(), NetError> {
    to_dial(text).map(drop)
}

/// Is this an address to listen on?
///
/// # Errors
/// [`NetError::Address`], saying what is wrong with it.
pub fn check_listen(text: &str) -> Result<(), NetError> {
    to_listen(text).map(drop)
}

/// The addresses of a name, found by the system's own resolver on a thread of its own.
pub(crate) async fn resolve(host: &str, family: Family, transport: Transport) -> Result<Vec<Multiaddr>, String> {
    let found = tokio::net::lookup_host((host, transport.port())).await.map_err(|error| error.to_string())?;
    let is_wanted = |address: &IpAddr| match family {
        Family::Any => true,
        Family::V4 => address.is_ipv4(),
        Family::V6 => address.is_ipv6(),
    };
    let addresses: Vec<_> =
        found.map(|socket| socket.ip()).filter(is_wanted).take(RESOLVED_MAX).map(|ip| transport.at(ip)).collect();
    if addresses.is_empty() { Err("it has no address of the kind asked for".to_owned()) } else { Ok(addresses) }
}

/// An address without the peer it may name.
pub(crate) fn without_peer(address: &Multiaddr) -> Multiaddr {
    address.iter().filter(|part| !matches!(part, Protocol::P2p(_))).collect()
}

impl Transport {
    fn port(self) -> u16 {
        match self {
            Transport::Tcp(port) => port,
            #[cfg(feature = "quic")]
            Transport::Quic(port) => port,
        }
    }

    fn at(self, ip: IpAddr) -> Multiaddr {
        let address = Multiaddr::from(ip);
        match self {
            Transport::Tcp(port) => address.with(Protocol::Tcp(port)),
            #[cfg(feature = "quic")]
            Transport::Quic(port) => address.with(Protocol::Udp(port)).with(Protocol::QuicV1),
        }
    }
}

fn read(text: &str) -> Result<Target, NetError> {
    if text.len() > ADDRESS_CHARS_MAX {
        return Err(refuse(text, "is longer than any address"));
    }
    if text.starts_with('/') { read_multiaddr(text) } else { read_host_port(text) }
}

fn read_host_port(text: &str) -> Result<Target, NetError> {
    if let Ok(socket) = text.parse::<SocketAddr>() {
        let address = Transport::Tcp(socket.port()).at(socket.ip());
        return Ok(Target { peer: None, place: Place::Address(address) });
    }
    let (host, port) = text.rsplit_once(':').ok_or_else(|| refuse(text, "has no port"))?;
    let port = port.parse().map_err(|_| refuse(text, "has no port between 0 and 65535"))?;
    let is_name = !host.is_empty() && host.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '.' | '_'));
    if !is_name {
        return Err(refuse(text, "has a host that is neither a name nor an address (IPv6 goes in brackets)"));
    }
    let place = Place::Name { host: host.to_owned(), family: Family::Any, transport: Transport::Tcp(port) };
    Ok(Target { peer: None, place })
}

fn read_multiaddr(text: &str) -> Result<Target, NetError> {
    let address: Multiaddr = text.parse().map_err(|_| refuse(text, "is not a multiaddr"))?;
    let peer = match address.iter().last() {
        Some(Protocol::P2p(peer)) => Some(peer),
        _ => None,
    };
    let unsupported = || refuse(text, "is not a transport of this build");
    // The peer stands last or not at all.
    if address.iter().filter(|part| matches!(part, Protocol::P2p(_))).count() != usize::from(peer.is_some()) {
        return Err(unsupported());
    }
    let plain = without_peer(&address);
    let mut parts = plain.iter();
    let host = parts.next().ok_or_else(unsupported)?;
    let transport = match (parts.next(), parts.next(), parts.next()) {
        (Some(Protocol::Tcp(port)), None, None) => Transport::Tcp(port),
        #[cfg(feature = "quic")]
        (Some(Protocol::Udp(port)), Some(Protocol::QuicV1), None) => Transport::Quic(port),
        _ => return Err(unsupported()),
    };
    let name = |host: &str, family| Place::Name { host: host.to_owned(), family, transport };
    let place = match host {
        Protocol::Ip4(_) | Protocol::Ip6(_) => Place::Address(plain.clone()),
        Protocol::Dns(host) => name(&host, Family::Any),
        Protocol::Dns4(host) => name(&host, Family::V4),
        Protocol::Dns6(host) => name(&host, Family::V6),
        _ => return Err(unsupported()),
    };
    Ok(Target { peer, place })
}

fn refuse(text: &str, why: &'static str) -> NetError {
    NetError::Address { address: text.chars().take(80).collect(), why }
}

#[cfg(test)]
mod tests;
