use super::*;

const A: &str = "/ip4/127.0.0.1/tcp/1";

#[test]
fn an_address_that_leads_to_a_peer_is_dialed_again_only_after_they_parted() {
    let mut dialer = Dialer::default();
    dialer.add(A, Origin::User, 0);
    assert_eq!(dialer.due(0), [A]);
    dialer.dialing(A, 7);
    assert!(dialer.due(1000).is_empty());
    assert!(dialer.is_trying());
    assert_eq!(dialer.reached(7, b"key"), Some((A.to_owned(), Origin::User)));
    assert!(!dialer.is_trying());
    dialer.add(A, Origin::Mdns, 1);
    assert!(dialer.due(1_000_000).is_empty());
    dialer.parted(b"other", 0, 2, 0);
    assert!(dialer.due(1_000_000).is_empty());
    dialer.parted(b"key", 0, 2, 0);
    assert_eq!(dialer.due(3), [A]);
}

#[test]
fn failures_wait_longer_and_hope_starts_over() {
    let mut dialer = Dialer::default();
    dialer.add(A, Origin::User, 0);
    let mut now = 0;
    for _ in 0..10 {
        dialer.dialing(A, 1);
        assert_eq!(dialer.failed(1, "refused", now, u64::MAX).as_deref(), Some(A));
        now = dialer.next_ms().unwrap();
    }
    dialer.dialing(A, 2);
    dialer.failed(2, "refused", now, 59_999);
    assert_eq!(dialer.next_ms(), Some(now + 60_000));
    assert_eq!(dialer.error_of(A), Some("refused"));
    dialer.hurry(A, now);
    assert_eq!(dialer.due(now), [A]);
}

#[test]
fn addresses_of_processes_that_ended_are_forgotten() {
    let mut dialer = Dialer::default();
    dialer.add(A, Origin::Host, 0);
    dialer.add("/ip4/127.0.0.1/tcp/2", Origin::User, 0);
    dialer.keep_only(Origin::Host, &[]);
    assert_eq!(dialer.due(0), ["/ip4/127.0.0.1/tcp/2"]);
}

#[test]
fn the_number_of_addresses_is_bounded() {
    let mut dialer = Dialer::default();
    for i in 0..limit::TARGETS_MAX + 10 {
        dialer.add(&format!("/ip4/127.0.0.1/tcp/{i}"), Origin::Peer, 0);
    }
    assert_eq!(dialer.due(0).len(), limit::TARGETS_MAX);
    dialer.add(&"x".repeat(limit::ADDRESS_BYTES_MAX + 1), Origin::Peer, 0);
    assert_eq!(dialer.due(0).len(), limit::TARGETS_MAX);
}
