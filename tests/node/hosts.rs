//! The node and the host connections of its process: who waits for whom.

use crate::world::{World, one, until};

const SALE: &str = "CREATE TABLE sale(id INTEGER PRIMARY KEY, item TEXT)";

#[test]
fn a_host_in_a_transaction_keeps_the_node_waiting_and_status_says_so() {
    let world = World::new();
    let host = world.tracked("a", SALE);
    host.execute_batch("BEGIN").unwrap();
    assert_eq!(one(&host, "SELECT count(*) FROM sale"), "0");
    world.plain("a").execute_batch("INSERT INTO sale(item) VALUES('tea')").unwrap();
    until(&host, "SELECT state FROM p2p_status", "waiting");
    let detail = one(&host, "SELECT detail FROM p2p_status");
    let why = "a connection of this process has a transaction or a read open; COMMIT it, or reset the statement";
    assert!(detail.starts_with("for ") && detail.ends_with(why), "{detail}");
    // It has its snapshot to the end.
    assert_eq!(one(&host, "SELECT count(*) FROM sale"), "0");
    host.execute_batch("COMMIT").unwrap();
    until(&host, "SELECT state FROM p2p_status", "local");
    assert_eq!(one(&host, "SELECT pending FROM p2p_status"), "0");
}

#[test]
fn a_host_that_read_can_write_in_the_same_transaction_though_changes_arrive() {
    let world = World::new();
    let a = world.tracked("a", SALE);
    let b = world.joined("b", &a);
    until(&b, "SELECT count(*) FROM p2p_tables WHERE name = 'sale'", "1");
    b.execute_batch("BEGIN").unwrap();
    one(&b, "SELECT count(*) FROM sale");
    a.execute_batch("INSERT INTO sale(item) VALUES('tea')").unwrap();
    // Sealed and on its way; b's node may not commit under b's feet.
    one(&a, "SELECT p2p_seal()");
    b.execute_batch("INSERT INTO sale(item) VALUES('milk'); COMMIT").unwrap();
    until(&a, "SELECT group_concat(item) FROM (SELECT item FROM sale ORDER BY item)", "milk,tea");
    until(&b, "SELECT group_concat(item) FROM (SELECT item FROM sale ORDER BY item)", "milk,tea");
}

#[test]
fn a_read_left_open_holds_the_node_until_it_is_reset() {
    let world = World::new();
    let host = world.tracked("a", SALE);
    host.execute_batch("INSERT INTO sale(item) VALUES('tea'), ('milk')").unwrap();
    one(&host, "SELECT p2p_seal()");
    let mut statement = host.prepare("SELECT item FROM sale").unwrap();
    let mut rows = statement.query([]).unwrap();
    assert!(rows.next().unwrap().is_some());
    world.plain("a").execute_batch("INSERT INTO sale(item) VALUES('bread')").unwrap();
    until(&host, "SELECT state FROM p2p_status", "waiting");
    drop(rows);
    drop(statement);
    until(&host, "SELECT pending FROM p2p_status", "0");
}

#[test]
fn what_waits_for_the_node_is_refused_inside_a_transaction() {
    let world = World::new();
    let host = world.tracked("a", SALE);
    let ticket = one(&host, "SELECT p2p_invite()");
    host.execute_batch("BEGIN").unwrap();
    for call in ["p2p_seal()", "p2p_sync()", "p2p_wait()", "p2p_leave()", &format!("p2p_join('{ticket}')")] {
        let name = call.split('(').next().unwrap();
        let wanted = format!("{name}: inside a transaction; COMMIT first, and call it in a statement of its own");
        assert_eq!(crate::world::error(&host, &format!("SELECT {call}")), wanted);
    }
    host.execute_batch("COMMIT").unwrap();
}

#[test]
fn p2p_sync_brings_what_a_peer_committed_just_before() {
    let world = World::new();
    let a = world.tracked("a", SALE);
    let b = world.joined("b", &a);
    until(&b, "SELECT count(*) FROM p2p_tables WHERE name = 'sale'", "1");
    for n in 1..=50 {
        a.execute_batch("INSERT INTO sale(item) VALUES('tea')").unwrap();
        assert_eq!(one(&b, "SELECT p2p_sync(30000)"), "level with 1 peer");
        assert_eq!(one(&b, "SELECT count(*) FROM sale"), n.to_string());
    }
}

#[test]
fn p2p_sync_says_that_an_open_transaction_of_a_peer_holds_something_back() {
    let world = World::new();
    let a = world.tracked("a", SALE);
    let b = world.joined("b", &a);
    until(&b, "SELECT count(*) FROM p2p_tables WHERE name = 'sale'", "1");
    a.execute_batch("BEGIN; SELECT count(*) FROM sale").unwrap();
    world.plain("a").execute_batch("INSERT INTO sale(item) VALUES('tea')").unwrap();
    let wanted = "level with 1 peer; 1 of them may have committed more, and a transaction that is open there keeps it";
    assert_eq!(one(&b, "SELECT p2p_sync(30000)"), wanted);
    a.execute_batch("COMMIT").unwrap();
    assert_eq!(one(&b, "SELECT p2p_sync(30000)"), "level with 1 peer");
    assert_eq!(one(&b, "SELECT item FROM sale"), "tea");
}

#[test]
fn p2p_wait_ends_when_a_peer_s_change_is_merged() {
    let world = World::new();
    let a = world.tracked("a", SALE);
    let b = world.joined("b", &a);
    until(&b, "SELECT count(*) FROM p2p_tables WHERE name = 'sale'", "1");
    one(&b, "SELECT p2p_sync()");
    assert_eq!(one(&b, "SELECT p2p_wait(1)"), "0");
    let waiting = std::thread::spawn(move || {
        let answer = one(&b, "SELECT p2p_wait(30000)");
        (answer, one(&b, "SELECT count(*) > 0 FROM sale"))
    });
    // Changes until one falls into its wait.
    while !waiting.is_finished() {
        a.execute_batch("INSERT INTO sale(item) VALUES('tea')").unwrap();
        one(&a, "SELECT p2p_sync()");
    }
    assert_eq!(waiting.join().unwrap(), ("1".into(), "1".into()));
}
