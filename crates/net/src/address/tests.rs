use proptest::prelude::*;

use super::{Family, Place, Transport, resolve, to_dial, to_listen};
use crate::limit::ADDRESS_CHARS_MAX;

const PEER: &str = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";

#[test]
fn both_spellings_of_an_address_are_one() {
    for (short, long) in [("127.0.0.1:41", "/ip4/127.0.0.1/tcp/41"), ("[::1]:41", "/ip6/::1/tcp/41")] {
        assert_eq!(to_dial(short).unwrap(), to_dial(long).unwrap());
    }
}

#[test]
fn a_peer_in_an_address_is_kept_apart() {
    let target = to_dial(&format!("/ip4/127.0.0.1/tcp/41/p2p/{PEER}")).unwrap();
    assert_eq!(target.peer.unwrap().to_string(), PEER);
    assert_eq!(target.place, to_dial("127.0.0.1:41").unwrap().place);
}

#[test]
fn names_wait_for_a_resolver() {
    let host = "hub.example".to_owned();
    let transport = Transport::Tcp(41);
    for (text, family) in [
        ("hub.example:41", Family::Any),
        ("/dns/hub.example/tcp/41", Family::Any),
        ("/dns4/hub.example/tcp/41", Family::V4),
        ("/dns6/hub.example/tcp/41", Family::V6),
    ] {
        let place = Place::Name { host: host.clone(), family, transport };
        assert_eq!(to_dial(text).unwrap().place, place, "{text}");
    }
}

#[test]
fn what_can_not_be_dialled_is_refused_with_a_reason() {
    let long = format!("{}:1", "a".repeat(ADDRESS_CHARS_MAX));
    for text in [
        "",
        ":",
        "host",
        "host:",
        ":1",
        "host:70000",
        "host:0",
        "1.2.3.4:0",
        "ho st:1",
        "::1:5x",
        "/",
        "/ip4/1.2.3.4",
        "/ip4/1.2.3.4/udp/5",
        "/ip4/1.2.3.4/tcp/5/ws",
        "/tcp/5",
        "/ip4/1.2.3.4/tcp/0",
        "/memory/5",
        &long,
    ] {
        assert!(to_dial(text).is_err(), "{text:?}");
    }
    let error = to_dial("host").unwrap_err().to_string();
    assert_eq!(error, "address \"host\" has no port; write host:port or /ip4/…/tcp/…");
}

#[test]
fn listening_takes_an_address_and_any_port() {
    assert_eq!(to_listen("127.0.0.1:0").unwrap().to_string(), "/ip4/127.0.0.1/tcp/0");
    assert_eq!(to_listen("[::]:7").unwrap().to_string(), "/ip6/::/tcp/7");
    assert!(to_listen("localhost:0").is_err());
    assert!(to_listen(&format!("/ip4/127.0.0.1/tcp/0/p2p/{PEER}")).is_err());
}

#[test]
fn localhost_resolves() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let found = runtime.block_on(resolve("localhost", Family::V4, Transport::Tcp(5))).unwrap();
    assert_eq!(found.first().unwrap().to_string(), "/ip4/127.0.0.1/tcp/5");
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in ".{0,80}", path in "(/(ip4|ip6|tcp|udp|dns|p2p|quic-v1|[a-z]{1,8}|[0-9.:]{1,9})){0,6}") {
        for text in [text, path] {
            if let Ok(target) = to_dial(&text) {
                prop_assert!(text.len() <= ADDRESS_CHARS_MAX, "{:?}", target);
            }
            let _ = to_listen(&text);
        }
    }
}
