//! The file: changes in it are noticed without asking for them.

use std::time::{Duration, Instant};

use crate::world::{World, error, join, one, until};

#[test]
fn a_commit_of_a_plain_connection_is_sealed_without_polling() {
    let world = World::new();
    let host = world.tracked("a", "CREATE TABLE sale(id INTEGER PRIMARY KEY, item TEXT)");
    let writer = world.plain("a");
    let mut entries: i64 = one(&host, "SELECT entries FROM p2p_status").parse().unwrap();
    let mut took = Vec::new();
    for _ in 0..9 {
        let begun = Instant::now();
        writer.execute_batch("INSERT INTO sale(item) VALUES('tea')").unwrap();
        entries += 1;
        until(&host, "SELECT entries FROM p2p_status", &entries.to_string());
        took.push(begun.elapsed());
    }
    took.sort();
    // Without notifications each would wait for the look that comes once a second; one may meet other work of the machine.
    assert!(took[took.len() / 2] < Duration::from_millis(500), "{took:?}");
}

#[test]
fn the_last_connection_to_close_leaves_nothing_unsealed() {
    let world = World::new();
    let host = world.tracked("a", "CREATE TABLE sale(id INTEGER PRIMARY KEY, item TEXT)");
    host.execute_batch("INSERT INTO sale(item) VALUES('tea')").unwrap();
    drop(host);
    assert_eq!(one(&world.plain("a"), "SELECT count(*) FROM _p2p_mark"), "0");
}

#[test]
fn what_was_written_while_no_node_ran_is_sealed_when_one_does() {
    let world = World::new();
    drop(world.tracked("a", "CREATE TABLE sale(id INTEGER PRIMARY KEY, item TEXT)"));
    world.plain("a").execute_batch("INSERT INTO sale(item) VALUES('tea')").unwrap();
    let host = world.open("a");
    until(&host, "SELECT pending FROM p2p_status", "0");
    assert_eq!(one(&host, "SELECT p2p_verify()"), "ok");
}

#[test]
fn a_database_whose_keys_are_gone_goes_on_capturing_and_says_what_to_do() {
    let world = World::new();
    drop(world.tracked("a", "CREATE TABLE sale(id INTEGER PRIMARY KEY, item TEXT)"));
    std::fs::remove_file(world.path("a").with_extension("db-p2pdb")).unwrap();
    let host = world.open("a");
    host.execute_batch("INSERT INTO sale(item) VALUES('tea')").unwrap();
    assert_eq!(one(&host, "SELECT state || ' ' || pending FROM p2p_status"), "unjoined 1");
    let detail = one(&host, "SELECT detail FROM p2p_status");
    assert!(detail.starts_with("the keys beside the database are missing"), "{detail}");
}

#[test]
fn a_database_whose_keys_are_gone_founds_no_second_group() {
    // p2p_track() made new keys beside the old log: the node refused to open the file for ever, and p2p_invite() waited for
    // it until its time was over.
    let world = World::new();
    let member = world.tracked("m", "CREATE TABLE sale(id INTEGER PRIMARY KEY, item TEXT)");
    let host = world.joined("a", &member);
    until(&host, "SELECT count(*) FROM sale", "0");
    drop(host);
    let sidecar = world.path("a").with_extension("db-p2pdb");
    std::fs::remove_file(&sidecar).unwrap();
    let host = world.open("a");
    for call in
        ["p2p_track('*')", "p2p_track('sale')", "p2p_invite()", "p2p_seal()", "p2p_sync()", "p2p_listen('127.0.0.1:0')"]
    {
        let why = error(&host, &format!("SELECT {call}"));
        assert!(why.contains("the keys of this database are missing; put the file "), "{call}: {why}");
        assert!(
            why.contains("a.db-p2pdb back, or p2p_join(ticket) makes it a new device of its group"),
            "{call}: {why}"
        );
        assert!(!sidecar.exists(), "{call}");
    }
    host.execute_batch("INSERT INTO sale(item) VALUES('tea')").unwrap();
    join(&host, &member);
    until(&member, "SELECT item FROM sale", "tea");
}

#[test]
fn the_keys_of_another_group_are_told_at_once_by_whatever_needs_the_node() {
    let world = World::new();
    let member = world.tracked("m", "CREATE TABLE sale(id INTEGER PRIMARY KEY)");
    one(&member, "SELECT p2p_invite()");
    drop(world.tracked("a", "CREATE TABLE sale(id INTEGER PRIMARY KEY)"));
    std::fs::copy(world.path("m").with_extension("db-p2pdb"), world.path("a").with_extension("db-p2pdb")).unwrap();
    let host = world.open("a");
    for call in ["p2p_invite()", "p2p_listen('127.0.0.1:0')", "p2p_connect('127.0.0.1:1')", "p2p_seal()"] {
        let begun = Instant::now();
        let why = error(&host, &format!("SELECT {call}"));
        assert!(why.contains("belongs to another group"), "{call}: {why}");
        assert!(begun.elapsed() < Duration::from_secs(10), "{call} took {:?}", begun.elapsed());
    }
}

#[test]
fn a_damaged_sidecar_is_told_with_its_name() {
    let world = World::new();
    drop(world.tracked("a", "CREATE TABLE sale(id INTEGER PRIMARY KEY, item TEXT)"));
    let sidecar = world.path("a").with_extension("db-p2pdb");
    std::fs::write(&sidecar, b"\x01 not a sidecar").unwrap();
    let host = world.open("a");
    let why = one(&host, "SELECT last_error FROM p2p_status");
    assert!(why.contains("a.db-p2pdb is damaged or was written by a newer version"), "{why}");
    host.execute_batch("INSERT INTO sale(item) VALUES('tea')").unwrap();
    assert_eq!(one(&host, "SELECT pending FROM p2p_status"), "1");
}

#[cfg(unix)]
#[test]
fn keys_stand_beside_the_database_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::new();
    let _host = world.tracked("a", "CREATE TABLE sale(id INTEGER PRIMARY KEY)");
    let mode = std::fs::metadata(world.path("a").with_extension("db-p2pdb")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_file_that_is_tracked_within_a_transaction_is_in_wal_mode_after_it() {
    // It stayed in rollback-journal mode for good: nothing but the answer of p2p_track() said so.
    let world = World::new();
    let host = world.open("a");
    host.execute_batch("BEGIN; CREATE TABLE sale(id INTEGER PRIMARY KEY)").unwrap();
    let answer = one(&host, "SELECT p2p_track('sale')");
    assert_eq!(answer, "sale: tracked, 0 rows\nthe file changes to WAL mode after your COMMIT");
    host.execute_batch("COMMIT").unwrap();
    until(&host, "SELECT journal_mode FROM pragma_journal_mode", "wal");
}

#[test]
fn a_journal_mode_that_hinders_is_told() {
    let world = World::new();
    let host = world.tracked("a", "CREATE TABLE sale(id INTEGER PRIMARY KEY)");
    let detail = one(&host, "SELECT detail FROM p2p_status");
    assert!(!detail.contains("journal"), "{detail}");
    drop(host);
    let plain = world.plain("a");
    assert_eq!(one(&plain, "PRAGMA journal_mode=DELETE"), "delete");
    // A read of the rollback journal's kind keeps the file from changing.
    plain.execute_batch("BEGIN; SELECT count(*) FROM sale").unwrap();
    let host = world.open("a");
    let detail = one(&host, "SELECT detail FROM p2p_status");
    assert!(
        detail.contains("; the journal mode is delete: run PRAGMA journal_mode=WAL outside a transaction"),
        "{detail}"
    );
}

#[test]
fn a_connection_that_keeps_the_file_locked_is_told_how_to_let_go() {
    let world = World::new();
    let host = world.open("a");
    host.execute_batch("PRAGMA locking_mode=EXCLUSIVE; CREATE TABLE sale(id INTEGER PRIMARY KEY)").unwrap();
    let answer = one(&host, "SELECT p2p_track('sale')");
    assert!(answer.contains("the journal mode stays delete: database is locked"), "{answer}");
    // A look at the table is a statement under way too: that is what keeps the node out where it knocks meanwhile.
    let told = "SELECT state = 'waiting'
        AND instr(detail, 'a connection keeps it locked (PRAGMA locking_mode=EXCLUSIVE)') > 0
        AND detail LIKE '%; this connection keeps the file locked: PRAGMA locking_mode=NORMAL, and a read after it, let go'
        FROM p2p_status";
    until(&host, told, "1");
    host.execute_batch("PRAGMA locking_mode=NORMAL; SELECT count(*) FROM sale").unwrap();
    until(&host, "SELECT state FROM p2p_status", "local");
    until(&host, "SELECT journal_mode FROM pragma_journal_mode", "wal");
}
