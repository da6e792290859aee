//! Joining, leaving, and exchanging without a network.

use rusqlite::Connection;

use crate::world::{World, error, join, one, until};

const SALE: &str = "CREATE TABLE sale(id INTEGER PRIMARY KEY, item TEXT)";
const ITEMS: &str = "SELECT group_concat(item) FROM (SELECT item FROM sale ORDER BY item)";

fn founder(world: &World) -> Connection {
    let a = world.tracked("a", SALE);
    a.execute_batch("INSERT INTO sale(item) VALUES('tea')").unwrap();
    a
}

/// Everything in the schema that is not the user's.
fn private_objects(conn: &Connection) -> String {
    one(conn, "SELECT count(*) FROM sqlite_schema WHERE name LIKE '%p2p%' OR tbl_name LIKE '%p2p%'")
}

#[test]
fn tracked_tables_with_rows_are_not_merged_unless_told_so() {
    let world = World::new();
    let a = founder(&world);
    let b = world.tracked("b", SALE);
    b.execute_batch("INSERT INTO sale(item) VALUES('milk')").unwrap();
    let ticket = one(&a, "SELECT p2p_invite()");
    let before = one(&b, "SELECT group_id FROM p2p_status");
    let why = error(&b, &format!("SELECT p2p_join('{ticket}')"));
    assert!(why.starts_with("p2p_join: the tables sale are tracked here and hold rows; p2p_join(ticket, "), "{why}");
    // Nothing has happened.
    assert_eq!(one(&b, "SELECT group_id FROM p2p_status"), before);
    one(&b, "SELECT p2p_seal()");
    one(&b, &format!("SELECT p2p_join('{ticket}', '{{\"existing\":\"merge\"}}')"));
    for conn in [&a, &b] {
        until(conn, ITEMS, "milk,tea");
    }
    // Each till had a sale with id 1: they are two rows.
    until(&a, "SELECT count(DISTINCT id) FROM sale", "2");
}

#[test]
fn a_table_of_the_same_name_that_holds_rows_waits_for_a_word() {
    let world = World::new();
    let a = founder(&world);
    let b = world.open("b");
    b.execute_batch(SALE).unwrap();
    b.execute_batch("INSERT INTO sale(item) VALUES('milk')").unwrap();
    join(&b, &a);
    until(&b, "SELECT state FROM p2p_tables WHERE name = 'sale'", "parked");
    let note = one(&b, "SELECT note FROM p2p_tables WHERE name = 'sale'");
    assert!(note.starts_with("a table of this name holds rows here; p2p_join(ticket, "), "{note}");
    assert_eq!(one(&b, ITEMS), "milk");
    let ticket = one(&a, "SELECT p2p_invite()");
    let answer = one(&b, &format!("SELECT p2p_join('{ticket}', '{{\"existing\":\"merge\"}}')"));
    assert!(answer.starts_with("already in group "), "{answer}");
    assert!(answer.ends_with("; its addresses are noted; rows merged into the group's: sale"), "{answer}");
    for conn in [&a, &b] {
        until(conn, ITEMS, "milk,tea");
    }
}

#[test]
fn rows_of_a_table_that_was_tracked_by_nobody_are_merged_if_told_so_at_once() {
    let world = World::new();
    let a = founder(&world);
    let b = world.open("b");
    b.execute_batch(SALE).unwrap();
    b.execute_batch("INSERT INTO sale(item) VALUES('milk')").unwrap();
    let ticket = one(&a, "SELECT p2p_invite()");
    one(&b, &format!("SELECT p2p_join('{ticket}', '{{\"existing\":\"merge\"}}')"));
    for conn in [&a, &b] {
        until(conn, ITEMS, "milk,tea");
    }
    until(&b, "SELECT state || pending FROM p2p_status", "level0");
    // Each till had a sale with id 1: they are two rows, and each has the same id everywhere.
    let rows = "SELECT group_concat(id || item) FROM (SELECT * FROM sale ORDER BY item)";
    until(&a, "SELECT count(DISTINCT id) FROM sale", "2");
    until(&b, rows, &one(&a, rows));
}

#[test]
fn rows_that_name_the_same_things_as_the_group_s_are_the_same_rows() {
    let world = World::new();
    let price = "CREATE TABLE price(item TEXT PRIMARY KEY NOT NULL, cent INTEGER)";
    let a = world.tracked("a", price);
    a.execute_batch("INSERT INTO price VALUES('tea', 300), ('milk', 100)").unwrap();
    one(&a, "SELECT p2p_seal()");
    let b = world.open("b");
    b.execute_batch(price).unwrap();
    b.execute_batch("INSERT INTO price VALUES('tea', 350), ('bread', 200)").unwrap();
    let ticket = one(&a, "SELECT p2p_invite()");
    one(&b, &format!("SELECT p2p_join('{ticket}', '{{\"existing\":\"merge\"}}')"));
    for conn in [&a, &b] {
        until(
            conn,
            "SELECT group_concat(item || cent) FROM (SELECT * FROM price ORDER BY item)",
            "bread200,milk100,tea350",
        );
        until(conn, "SELECT count(*) FROM p2p_conflicts", "1");
        assert_eq!(one(conn, "SELECT p2p_verify()"), "ok");
    }
}

#[test]
fn an_empty_table_of_the_same_name_is_taken() {
    let world = World::new();
    let a = founder(&world);
    let b = world.open("b");
    b.execute_batch(SALE).unwrap();
    join(&b, &a);
    until(&b, ITEMS, "tea");
}

#[test]
fn a_ticket_that_is_none_says_what_is_wrong_with_it() {
    let world = World::new();
    let a = founder(&world);
    let ticket = one(&a, "SELECT p2p_invite()");
    let b = world.open("b");
    for (ticket, wanted) in [
        ("nonsense", "a ticket starts with p2pdb1; ask for it with SELECT p2p_invite() on a database of the group"),
        (&ticket[..ticket.len() - 8], "the ticket is damaged or cut short; copy it whole"),
        (&format!("{ticket}*"), "the ticket has a character that no ticket has; copy it whole, without spaces inside"),
    ] {
        assert_eq!(error(&b, &format!("SELECT p2p_join('{ticket}')")), format!("p2p_join: {wanted}"));
    }
    let why = error(&b, &format!("SELECT p2p_join('{ticket}', '{{\"existing\":\"overwrite\"}}')"));
    assert!(why.contains("the options of p2p_join are"), "{why}");
    assert_eq!(private_objects(&b), "0");
}

#[test]
fn leaving_makes_the_database_an_ordinary_one() {
    let world = World::new();
    let a = founder(&world);
    let b = world.joined("b", &a);
    until(&b, ITEMS, "tea");
    let was = one(&b, "SELECT group_id FROM p2p_status");
    one(&b, "SELECT p2p_leave()");
    assert_eq!(private_objects(&b), "0");
    assert!(!world.path("b").with_extension("db-p2pdb").exists());
    assert_eq!(one(&b, "SELECT state FROM p2p_status"), "unjoined");
    b.execute_batch("INSERT INTO sale(item) VALUES('milk'); ALTER TABLE sale DROP COLUMN item").unwrap();
    a.execute_batch("INSERT INTO sale(item) VALUES('bread')").unwrap();
    one(&a, "SELECT p2p_sync()");
    assert_eq!(one(&b, "SELECT count(*) FROM sale"), "2");
    // It may begin anew, as somebody else.
    one(&b, "SELECT p2p_track('*')");
    one(&b, "SELECT p2p_seal()");
    assert_ne!(one(&b, "SELECT group_id FROM p2p_status"), was);
    assert_eq!(one(&b, "SELECT state FROM p2p_status"), "local");
}

#[test]
fn leaving_twice_or_without_having_joined_is_no_error() {
    let world = World::new();
    let b = world.open("b");
    for _ in 0..2 {
        assert_eq!(one(&b, "SELECT p2p_leave()"), "left; the rows stay, nothing is captured or sent any more");
    }
}

#[test]
fn who_left_may_come_back() {
    let world = World::new();
    let a = founder(&world);
    let b = world.joined("b", &a);
    until(&b, ITEMS, "tea");
    one(&b, "SELECT p2p_leave()");
    b.execute_batch("DROP TABLE sale").unwrap();
    a.execute_batch("INSERT INTO sale(item) VALUES('milk')").unwrap();
    join(&b, &a);
    until(&b, ITEMS, "milk,tea");
}

#[test]
fn with_the_network_off_keys_are_exchanged_and_entries_move_by_hand() {
    let world = World::new();
    let a = founder(&world);
    assert_eq!(one(&a, "SELECT p2p_config('network', 'off')"), "off");
    let ticket = one(&a, "SELECT p2p_invite()");
    one(&a, "SELECT p2p_seal()");
    let b = world.open("b");
    b.execute_batch("CREATE TABLE note(id INTEGER PRIMARY KEY, text TEXT)").unwrap();
    one(&b, "SELECT p2p_track('*')");
    one(&b, "SELECT p2p_config('network', 'off')");
    one(&b, &format!("SELECT p2p_join('{ticket}')"));
    assert_eq!(one(&b, "SELECT p2p_config('network')"), "off", "a setting is this database's, whatever its group");
    for conn in [&a, &b] {
        until(conn, "SELECT state FROM p2p_status", "local");
        assert_eq!(one(conn, "SELECT listen FROM p2p_status"), "");
        assert_eq!(
            one(conn, "SELECT p2p_sync()"),
            "local: sealed; the network is off: nothing is sent, and tickets hold no address"
        );
    }
    let why = error(&b, "SELECT p2p_connect('127.0.0.1:1')");
    assert_eq!(why, "p2p_connect: the network is off; SELECT p2p_config('network', 'on') turns it on");
    carry(&world, &a, &b);
    one(&b, "SELECT p2p_sync()");
    assert_eq!(one(&b, ITEMS), "tea");
    b.execute_batch("INSERT INTO sale(item) VALUES('milk')").unwrap();
    one(&b, "SELECT p2p_sync()");
    carry(&world, &b, &a);
    one(&a, "SELECT p2p_sync()");
    assert_eq!(one(&a, ITEMS), "milk,tea");
    assert_eq!(one(&a, "SELECT count(*) FROM note"), "0");
}

#[test]
fn with_the_network_off_a_sync_comes_back_when_all_that_was_imported_is_merged() {
    let world = World::new();
    let a = world.tracked("a", SALE);
    // As many entries as one pass through the gate can't merge.
    for item in 0..300 {
        a.execute_batch(&format!("INSERT INTO sale(item) VALUES({item})")).unwrap();
        one(&a, "SELECT p2p_seal()");
    }
    let b = world.open("b");
    one(&b, "SELECT p2p_config('network', 'off')");
    join(&b, &a);
    carry(&world, &a, &b);
    one(&b, "SELECT p2p_sync()");
    assert_eq!(one(&b, "SELECT count(*) FROM sale"), "300");
}

/// Moves all entries in a file, as on a stick.
fn carry(world: &World, from: &Connection, to: &Connection) {
    let stick = world.path("stick");
    let attach = format!("ATTACH '{}' AS stick", stick.display());
    from.execute_batch(&format!("{attach}; CREATE TABLE stick.e AS SELECT entry FROM p2p_log; DETACH stick")).unwrap();
    to.execute_batch(&format!("{attach}; INSERT INTO p2p_log(entry) SELECT entry FROM stick.e; DETACH stick")).unwrap();
    std::fs::remove_file(stick).unwrap();
}
