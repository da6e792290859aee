//! Settings: what does not fit is refused, what fits is kept.

use crate::world::{World, error, one};

const SALE: &str = "CREATE TABLE sale(id INTEGER PRIMARY KEY)";

#[test]
fn a_value_that_does_not_fit_is_refused_and_nothing_is_changed() {
    let world = World::new();
    let host = world.tracked("a", SALE);
    for (key, value) in [
        ("network", "yes"),
        ("network", ""),
        ("network", "ON"),
        ("mdns", "1"),
        ("linger_ms", "-1"),
        ("linger_ms", "10001"),
        ("linger_ms", "soon"),
        ("busy_timeout", "60001"),
        ("busy_timeout", "1.5"),
        ("listen", "my-host"),
        ("listen", "localhost:4001"),
        ("listen", "/ip4/0.0.0.0/tcp/99999"),
        ("listen", "0.0.0.0:4001 nonsense"),
    ] {
        let before = one(&host, &format!("SELECT p2p_config('{key}')"));
        let why = error(&host, &format!("SELECT p2p_config('{key}', '{value}')"));
        assert!(why.starts_with(&format!("p2p_config: {value:?} does not fit {key}: ")), "{why}");
        assert_eq!(one(&host, &format!("SELECT p2p_config('{key}')")), before);
    }
}

#[test]
fn each_limit_is_a_value_that_fits() {
    let world = World::new();
    let host = world.tracked("a", SALE);
    for (key, value) in [
        ("network", "off"),
        ("network", "on"),
        ("mdns", "on"),
        ("linger_ms", "0"),
        ("linger_ms", "10000"),
        ("busy_timeout", "0"),
        ("busy_timeout", "60000"),
    ] {
        let is_env = std::env::var(format!("P2PDB_{}", key.to_ascii_uppercase())).is_ok();
        let kept = one(&host, &format!("SELECT p2p_config('{key}', '{value}')"));
        assert!(kept == value || is_env, "{key}: {kept}");
    }
    for listen in ["", "127.0.0.1:0", "/ip4/127.0.0.1/tcp/0 /ip6/::1/tcp/0"] {
        one(&host, &format!("SELECT p2p_config('listen', '{listen}')"));
    }
}

#[test]
fn an_unknown_key_is_answered_with_those_that_are() {
    let world = World::new();
    let host = world.tracked("a", SALE);
    let wanted = "p2p_config: there is no key \"netwerk\"; the keys are network, listen, mdns, linger_ms, busy_timeout";
    assert_eq!(error(&host, "SELECT p2p_config('netwerk')"), wanted);
    assert_eq!(one(&host, "SELECT p2p_config('NETWORK')"), "on");
}

#[test]
fn a_setting_outlives_its_connection() {
    let world = World::new();
    one(&world.tracked("a", SALE), "SELECT p2p_config('linger_ms', '777')");
    assert_eq!(one(&world.open("a"), "SELECT p2p_config('linger_ms')"), "777");
}

#[test]
fn the_environment_wins_over_what_is_set() {
    let world = World::new();
    let host = world.tracked("a", SALE);
    let env = std::env::var("P2PDB_LISTEN").unwrap();
    assert_eq!(one(&host, "SELECT p2p_config('listen', '127.0.0.2:4001')"), env);
}

#[test]
fn a_connection_without_a_busy_timeout_gets_the_one_that_is_set() {
    let world = World::new();
    one(&world.tracked("a", SALE), "SELECT p2p_config('busy_timeout', '1234')");
    // rusqlite sets five seconds on each connection that it opens: that one stays.
    assert_eq!(one(&world.open("a"), "PRAGMA busy_timeout"), "5000");
}

#[test]
fn a_setting_made_before_there_is_a_group_holds_once_there_is_one() {
    let world = World::new();
    let host = world.open("a");
    host.execute_batch(SALE).unwrap();
    assert_eq!(one(&host, "SELECT p2p_config('network', 'off')"), "off");
    assert_eq!(one(&host, "SELECT state FROM p2p_status"), "unjoined");
    one(&host, "SELECT p2p_track('*')");
    assert_eq!(one(&host, "SELECT p2p_config('network')"), "off");
}

#[test]
fn a_setting_made_inside_a_transaction_holds_and_is_answered() {
    // It was kept, and answered with an error: it waited for the transaction that it was called in.
    let world = World::new();
    let host = world.tracked("a", SALE);
    host.execute_batch("BEGIN; INSERT INTO sale VALUES(1)").unwrap();
    assert_eq!(one(&host, "SELECT p2p_config('linger_ms', '777')"), "777");
    assert_eq!(one(&host, "SELECT p2p_config('linger_ms', '20') FROM sale"), "20");
    host.execute_batch("ROLLBACK").unwrap();
    assert_eq!(one(&host, "SELECT p2p_config('linger_ms')"), "20");
}

#[test]
fn what_can_not_be_done_inside_a_transaction_is_refused_before_anything_is_kept() {
    let world = World::new();
    let host = world.tracked("a", SALE);
    let sidecar = world.path("a").with_extension("db-p2pdb");
    let refused = |call: &str| {
        let before = std::fs::read(&sidecar).unwrap();
        host.execute_batch("BEGIN").unwrap();
        let why = error(&host, &format!("SELECT {call}"));
        host.execute_batch("COMMIT").unwrap();
        assert!(why.contains("inside a transaction; COMMIT first"), "{call}: {why}");
        assert_eq!(std::fs::read(&sidecar).unwrap(), before, "{call}");
    };
    refused("p2p_invite()");
    one(&host, "SELECT p2p_invite()");
    refused("p2p_invite()");
    refused("p2p_listen('127.0.0.1:0')");
    refused("p2p_connect('127.0.0.1:1')");
}

#[test]
fn addresses_that_are_none_are_refused_and_not_remembered() {
    let world = World::new();
    let host = world.tracked("a", SALE);
    one(&host, "SELECT p2p_invite()");
    let why = error(&host, "SELECT p2p_connect('nowhere')");
    assert!(why.starts_with("p2p_connect: address \"nowhere\" has no port"), "{why}");
    assert_eq!(one(&host, "SELECT count(*) FROM p2p_peers"), "0");
    let why = error(&host, "SELECT p2p_listen('nowhere')");
    assert!(why.starts_with("p2p_listen: address \"nowhere\" has no port"), "{why}");
}

#[test]
fn the_address_of_this_very_process_is_told_apart_from_a_dead_one() {
    let world = World::new();
    let host = world.tracked("a", SALE);
    one(&host, "SELECT p2p_invite()");
    let own = one(&host, "SELECT listen FROM p2p_status");
    let why = error(&host, &format!("SELECT p2p_connect('{own}')"));
    assert!(why.ends_with("is an address of this very process"), "{why}");
    let why = error(&host, "SELECT p2p_connect('127.0.0.1:1')");
    assert!(why.starts_with("p2p_connect: 127.0.0.1:1 can't be reached: no connection: "), "{why}");
    assert!(why.ends_with("; it is noted and will be tried again"), "{why}");
}
