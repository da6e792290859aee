//! Rows that are changed past the triggers: the node finds them by itself.

use rusqlite::config::DbConfig;
use std::io::Write;

use crate::world::{World, one, until};

const PICTURE: &str = "CREATE TABLE picture(id INTEGER PRIMARY KEY, name TEXT, bytes BLOB)";

#[test]
fn a_blob_that_is_written_in_place_reaches_the_others() {
    let world = World::new();
    let a = world.tracked("a", PICTURE);
    a.execute_batch("INSERT INTO picture VALUES(1, 'cat', zeroblob(10)), (2, 'dog', zeroblob(10))").unwrap();
    let b = world.joined("b", &a);
    until(&b, "SELECT count(*) FROM picture", "2");
    // On a connection that loaded us, and on one that did not.
    for (conn, id) in [(&a, 1), (&world.plain("a"), 2)] {
        let mut blob = conn.blob_open("main", "picture", "bytes", id, false).unwrap();
        blob.write_all(b"whiskers").unwrap();
        blob.close().unwrap();
        until(&b, &format!("SELECT CAST(substr(bytes, 1, 8) AS TEXT) FROM picture WHERE id = {id}"), "whiskers");
    }
    until(&a, "SELECT pending FROM p2p_status", "0");
    assert_eq!(one(&a, "SELECT p2p_verify()"), "ok");
}

#[test]
fn what_was_written_with_triggers_off_while_nobody_was_there_is_found_at_the_next_opening() {
    let world = World::new();
    let a = world.tracked("a", PICTURE);
    a.execute_batch("INSERT INTO picture(name) VALUES('cat'), ('dog'), ('cow')").unwrap();
    let b = world.joined("b", &a);
    until(&b, "SELECT count(*) FROM picture", "3");
    drop(a);
    let writer = world.plain("a");
    writer.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false).unwrap();
    writer
        .execute_batch(
            "UPDATE picture SET name = 'lion' WHERE name = 'cat'; DELETE FROM picture WHERE name = 'dog';
             INSERT INTO picture(name) VALUES('hen')",
        )
        .unwrap();
    drop(writer);
    let _a = world.open("a");
    until(&b, "SELECT group_concat(name) FROM (SELECT name FROM picture ORDER BY name)", "cow,hen,lion");
}
