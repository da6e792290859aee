//! Files that were copied, or restored, together with their keys.

use rusqlite::Connection;
use std::path::Path;

use crate::world::{World, join, one, patiently, tried, until};

const SALE: &str = "CREATE TABLE sale(id INTEGER PRIMARY KEY, item TEXT)";
const ITEMS: &str = "SELECT group_concat(item) FROM (SELECT item FROM sale ORDER BY item)";
const PEER: &str = "SELECT peer_id FROM p2p_status";

/// A member of two, and its database closed.
fn member(world: &World) -> Connection {
    let a = world.tracked("a", SALE);
    a.execute_batch("INSERT INTO sale(item) VALUES('tea')").unwrap();
    let b = world.joined("b", &a);
    until(&b, ITEMS, "tea");
    b.execute_batch("INSERT INTO sale(item) VALUES('milk')").unwrap();
    until(&a, ITEMS, "milk,tea");
    drop(b);
    a
}

fn sidecar(database: &Path) -> std::path::PathBuf {
    database.with_extension("db-p2pdb")
}

/// Has everybody these items, and nothing wrong?
fn all_have(databases: &[&Connection], items: &str) {
    for conn in databases {
        until(conn, ITEMS, items);
        patiently(|| tried(conn, "SELECT p2p_verify()").is_ok_and(|a| a == "ok"), || one(conn, "SELECT p2p_verify()"));
    }
}

#[test]
fn a_file_copied_with_its_keys_is_a_new_device() {
    // Both wrote under one key, and every peer refused one of them for ever.
    let world = World::new();
    let a = member(&world);
    std::fs::copy(world.path("b"), world.path("c")).unwrap();
    std::fs::copy(sidecar(&world.path("b")), sidecar(&world.path("c"))).unwrap();
    if std::fs::metadata(world.path("b")).and_then(|m| m.created()).is_err() {
        // This file system does not say when a file was made.
        return;
    }
    let (b, c) = (world.open("b"), world.open("c"));
    b.execute_batch("INSERT INTO sale(item) VALUES('by b')").unwrap();
    c.execute_batch("INSERT INTO sale(item) VALUES('by c')").unwrap();
    all_have(&[&a, &b, &c], "by b,by c,milk,tea");
    let peers = [one(&a, PEER), one(&b, PEER), one(&c, PEER)];
    assert!(peers[0] != peers[1] && peers[1] != peers[2] && peers[0] != peers[2], "{peers:?}");
}

#[test]
fn a_file_restored_in_place_is_told_and_joins_again_with_nothing_lost() {
    let world = World::new();
    let a = member(&world);
    let (database, keys) = (world.path("b"), sidecar(&world.path("b")));
    one(&world.open("b"), "SELECT p2p_config('network', 'off')");
    let backup = (std::fs::read(&database).unwrap(), std::fs::read(&keys).unwrap());
    let b = world.open("b");
    one(&b, "SELECT p2p_config('network', 'on')");
    b.execute_batch("INSERT INTO sale(item) VALUES('bread')").unwrap();
    until(&a, ITEMS, "bread,milk,tea");
    drop(b);
    // Over the files that are there: they are the same files, and were made when they were made.
    std::fs::write(&database, &backup.0).unwrap();
    std::fs::write(&keys, &backup.1).unwrap();
    let b = world.open("b");
    b.execute_batch("INSERT INTO sale(item) VALUES('salt'); DELETE FROM sale WHERE item = 'tea'").unwrap();
    one(&b, "SELECT p2p_seal()");
    one(&b, "SELECT p2p_config('network', 'on')");
    until(&b, "SELECT state FROM p2p_status", "failing");
    let detail = one(&b, "SELECT detail FROM p2p_status");
    assert!(
        detail.ends_with("where peers refuse it, remove the file <database>-p2pdb and call p2p_join(ticket)"),
        "{detail}"
    );
    drop(b);
    std::fs::remove_file(&keys).unwrap();
    let b = world.open("b");
    b.execute_batch("INSERT INTO sale(item) VALUES('while it had no keys')").unwrap();
    join(&b, &a);
    all_have(&[&a, &b], "bread,milk,salt,while it had no keys");
    a.execute_batch("INSERT INTO sale(item) VALUES('and on')").unwrap();
    all_have(&[&a, &b], "and on,bread,milk,salt,while it had no keys");
}
