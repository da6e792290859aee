//! A peer that speaks the wire by hand, and may say anything on it. It shares the handshake with the library
//! and nothing above: so it also pins what stands on the wire.

use std::{
    future::poll_fn,
    thread::{self, JoinHandle},
    time::Duration,
};

use futures::{AsyncReadExt, AsyncWriteExt};
use libp2p::{
    Multiaddr, PeerId, Transport,
    core::{
        Endpoint,
        muxing::{StreamMuxerBox, StreamMuxerExt, SubstreamBox},
        transport::{DialOpts, PortUse},
        upgrade::Version,
    },
    identity::Keypair,
    noise, tcp, yamux,
};
use p2pdb_net::{CloseReason, Limits};
use tokio::{
    runtime::{Builder, Runtime},
    sync::{
        mpsc::{UnboundedSender, unbounded_channel},
        oneshot,
    },
};

use crate::node::Node;

/// What both sides write at the start of a stream of ours.
const NEGOTIATION: &[u8] = b"\x13/multistream/1.0.0\n\x0e/p2pdb/sync/1\n";

/// A connection, kept going by a thread of its own until either side ends it.
pub(crate) struct Peer {
    wanted: UnboundedSender<oneshot::Sender<SubstreamBox>>,
    connection: JoinHandle<()>,
}

impl Peer {
    pub(crate) fn connect(address: &str) -> Peer {
        let address = address.parse().unwrap();
        let (wanted, mut wanting) = unbounded_channel::<oneshot::Sender<SubstreamBox>>();
        let connection = thread::spawn(move || {
            runtime().block_on(async {
                let mut muxer = dial(address).await;
                let mut inbound = Vec::new();
                loop {
                    tokio::select! {
                        stream = poll_fn(|context| muxer.poll_inbound_unpin(context)) => match stream {
                            // A ping, which stays unanswered.
                            Ok(stream) => inbound.push(stream),
                            Err(_) => return,
                        },
                        Some(reply) = wanting.recv() => {
                            let stream = poll_fn(|context| muxer.poll_outbound_unpin(context)).await.unwrap();
                            assert!(reply.send(stream).is_ok());
                        }
                    }
                }
            });
        });
        Peer { wanted, connection }
    }

    /// Waits until the other side has ended the connection.
    pub(crate) fn wait_end(self) {
        self.connection.join().unwrap();
    }

    /// Opens a stream, writes the negotiation and then `bytes`, in pieces of that length.
    fn say(&self, bytes: &[u8], piece: usize) -> SubstreamBox {
        let (reply, replied) = oneshot::channel();
        self.wanted.send(reply).unwrap();
        runtime().block_on(async {
            let mut stream = replied.await.unwrap();
            stream.write_all(NEGOTIATION).await.unwrap();
            for piece in bytes.chunks(piece) {
                stream.write_all(piece).await.unwrap();
                stream.flush().await.unwrap();
            }
            stream
        })
    }
}

async fn dial(address: Multiaddr) -> StreamMuxerBox {
    let key = Keypair::generate_ed25519();
    let mut transport = tcp::tokio::Transport::new(tcp::Config::default())
        .upgrade(Version::V1)
        .authenticate(noise::Config::new(&key).unwrap())
        .multiplex(yamux::Config::default())
        .map(|(_, muxer): (PeerId, _), _| StreamMuxerBox::new(muxer))
        .boxed();
    let options = DialOpts { role: Endpoint::Dialer, port_use: PortUse::New };
    transport.dial(address, options).unwrap().await.unwrap()
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_io().enable_time().build().unwrap()
}

fn listening() -> (Node, Peer) {
    let mut node = Node::start(Limits::default());
    let address = node.listen();
    let peer = Peer::connect(&address);
    (node, peer)
}

#[test]
fn the_wire_is_a_negotiation_and_frames_with_their_lengths() {
    let (mut node, peer) = listening();
    let mut stream = peer.say(b"\x05hello\x00\x02ab", 1);
    let at_node = node.opened();
    assert_eq!(node.frame(at_node), b"hello");
    assert_eq!(node.frame(at_node), b"");
    assert_eq!(node.frame(at_node), b"ab");
    node.handle.send(at_node, vec![b'x'; 200]).unwrap();
    let mut answer = vec![0; NEGOTIATION.len() + 2 + 200];
    runtime().block_on(async { stream.read_exact(&mut answer).await.unwrap() });
    let mut expected = NEGOTIATION.to_vec();
    expected.extend([0xc8, 0x01]);
    expected.extend([b'x'; 200]);
    assert_eq!(answer, expected);
}

#[test]
fn four_announced_gigabytes_close_the_stream() {
    let (mut node, peer) = listening();
    let _stream = peer.say(&[0xff, 0xff, 0xff, 0xff, 0x0f], 5);
    let at_node = node.opened();
    let max = Limits::default().frame_bytes_max;
    assert_eq!(node.closed(at_node), CloseReason::FrameTooLong { claimed: u64::from(u32::MAX), max });
}

#[test]
fn a_malformed_length_closes_the_stream_and_not_the_others() {
    let (mut node, peer) = listening();
    let _good = peer.say(b"\x01a", 2);
    let good = node.opened();
    assert_eq!(node.frame(good), b"a");
    for bytes in [&[0x80, 0x00][..], &[0xff; 10]] {
        let _bad = peer.say(bytes, 10);
        let bad = node.opened();
        assert_eq!(node.closed(bad), CloseReason::Malformed);
    }
    node.handle.send(good, b"still open".to_vec()).unwrap();
}

#[test]
fn a_frame_that_never_ends_is_given_up() {
    let mut node = Node::start(Limits { frame_time: Duration::from_millis(200), ..Limits::default() });
    let address = node.listen();
    let peer = Peer::connect(&address);
    let _stream = peer.say(&[0x80, 0x20, 1, 2, 3], 5);
    let at_node = node.opened();
    node.handle.promote(at_node);
    assert_eq!(node.closed(at_node), CloseReason::Slow(200));
}

#[test]
fn a_stream_that_ends_inside_a_frame_is_told_apart() {
    let (mut node, peer) = listening();
    let mut stream = peer.say(&[5, 1, 2], 3);
    let at_node = node.opened();
    runtime().block_on(async { stream.close().await.unwrap() });
    assert!(matches!(node.closed(at_node), CloseReason::Broken(why) if why.contains("middle of a frame")));
}
