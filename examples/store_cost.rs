//! What seal and merge cost against plain SQLite, in one run: CPU of the thread, sizes, bytes on the wire.
//!
//! `cargo run --release --example store_cost [rows]`. Ratios are to the same rows inserted, or updated, by prepared
//! statements into a table that nobody tracks, in WAL with `synchronous=NORMAL`.
#![allow(clippy::unwrap_used)]

use p2pdb::store::{Identity, Offered, Pass, Store, create_private_tables, testing};
use p2pdb_core::id::GroupId;
use p2pdb_core::key::{AuthorKey, Secret};
use rusqlite::Connection;
use rusqlite::config::DbConfig;
use std::path::Path;

struct Shape {
    title: &'static str,
    create: &'static str,
    insert: &'static str,
    update: &'static str,
    values: fn(u64) -> Vec<rusqlite::types::Value>,
}

fn main() {
    let rows: u64 = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(100_000);
    let eight = Shape {
        title: "integer key, 8 columns, 100 bytes",
        create: "CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT, b TEXT, c INTEGER, d REAL, e TEXT, f INTEGER, g TEXT)",
        insert: "INSERT INTO t VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        update: "UPDATE t SET c = ?2 WHERE id = ?1",
        values: |i| {
            vec![
                (i as i64).into(),
                format!("customer {i:08}").into(),
                format!("{:032x}", mix(i) as u128 * 77).into(),
                ((mix(i) % 100_000) as i64).into(),
                ((mix(i + 1) % 10_000) as f64 / 100.0).into(),
                "a city somewhere".to_owned().into(),
                (i as i64 % 7).into(),
                format!("note {}", mix(i) % 1000).into(),
            ]
        },
    };
    let key = Shape {
        title: "16-byte key, 4 columns",
        create: "CREATE TABLE t(id BLOB PRIMARY KEY NOT NULL, a TEXT, b INTEGER, c TEXT)",
        insert: "INSERT INTO t VALUES(?1, ?2, ?3, ?4)",
        update: "UPDATE t SET b = ?2 WHERE id = ?1",
        values: |i| {
            let id = [mix(i).to_le_bytes(), mix(i ^ 0xabcd).to_le_bytes()].concat();
            vec![
                id.into(),
                format!("item {i:08} of the list").into(),
                ((mix(i) % 100_000) as i64).into(),
                format!("{:024x}", mix(i) as u128 * 77).into(),
            ]
        },
    };
    for shape in [eight, key] {
        measure(&shape, rows);
    }
}

fn mix(i: u64) -> u64 {
    let z = i.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z ^ (z >> 27)
}

fn measure(shape: &Shape, rows: u64) {
    println!("{} x {rows}", shape.title);
    let dir = tempfile::tempdir().unwrap();
    let plain = open(&dir.path().join("plain.db"));
    plain.execute_batch(shape.create).unwrap();
    let insert = cpu(|| fill(&plain, shape, rows));
    let update = cpu(|| touch(&plain, shape, rows, 9));
    let plain_bytes = size(&plain);

    let user = open(&dir.path().join("a.db"));
    prepare(&user);
    user.execute_batch(shape.create).unwrap();
    testing::track(&user, "t").unwrap();
    let mut a = store(&dir.path().join("a.db"), 1);
    let captured = cpu(|| fill(&user, shape, rows));
    let (seal, seal_kib) = peak(|| cpu(|| seal(&mut a)));
    let raw: u64 = (0..rows).map(|i| (shape.values)(i).iter().map(raw_bytes).sum::<u64>()).sum();
    let bytes = size(&user);
    let inserts = entries(&a, 0);
    let wire: usize = inserts.iter().map(Vec::len).sum();

    prepare(&open(&dir.path().join("b.db")));
    let mut b = store(&dir.path().join("b.db"), 2);
    let (merge, merge_kib) = peak(|| cpu(|| receive(&mut b, &inserts)));
    let peer_bytes = size(b.connection());

    let last = a.last_arrival().unwrap();
    touch(&user, shape, rows, 9);
    let seal_updates = cpu(|| self::seal(&mut a));
    let updates = entries(&a, last);
    let merge_updates = cpu(|| receive(&mut b, &updates));
    assert_eq!(a.digest(), b.digest());

    println!(
        "  plain insert {:>7.1} ms   capture {:.2}x  seal {:.2}x  merge {:.2}x",
        insert,
        captured / insert,
        seal / insert,
        merge / insert
    );
    println!(
        "  plain update {:>7.1} ms   seal {:.2}x  merge {:.2}x",
        update,
        seal_updates / update,
        merge_updates / update
    );
    user.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    let mut pass = Pass::default();
    let clean = cpu(|| assert!(a.look_through(&mut pass, || true).unwrap()));
    assert_eq!(a.mark_found(&mut pass).unwrap(), 0);
    user.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false).unwrap();
    touch(&user, shape, rows, 77);
    let mut pass = Pass::default();
    let reconcile = cpu(|| {
        assert!(a.look_through(&mut pass, || true).unwrap());
        a.mark_found(&mut pass).unwrap();
    });
    let reconcile_seal = cpu(|| self::seal(&mut a));
    println!(
        "  reconcile, nothing differs {clean:>7.1} ms   each row differs {reconcile:>7.1} ms, sealed in {reconcile_seal:>7.1} ms"
    );
    println!(
        "  size: plain {plain_bytes}  author {:.2}x  peer {:.2}x",
        bytes as f64 / plain_bytes as f64,
        peer_bytes as f64 / plain_bytes as f64
    );
    println!("  memory beyond what was there before: seal {seal_kib} KiB, merge {merge_kib} KiB");
    println!("  wire: {wire} bytes, {:.2}x of the raw values; entries {}", wire as f64 / raw as f64, inserts.len());
}

fn open(path: &Path) -> Connection {
    let conn = Connection::open(path).unwrap();
    conn.execute_batch("PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL").unwrap();
    conn
}

fn prepare(conn: &Connection) {
    create_private_tables(conn).unwrap();
    conn.execute_batch(
        "CREATE TABLE IF NOT EXISTS _p2p_mark(n INTEGER PRIMARY KEY, t, m, r, k1, k2, k3, k4, o1, o2, o3, o4)",
    )
    .unwrap();
}

fn store(path: &Path, seed: u8) -> Store {
    let key = AuthorKey::from_seed(&[seed; 32]);
    let identity = Identity { group: GroupId([1; 16]), secret: Secret([2; 32]), epoch: 0, key };
    Store::open(Connection::open(path).unwrap(), identity).unwrap()
}

fn fill(conn: &Connection, shape: &Shape, rows: u64) {
    conn.execute_batch("BEGIN").unwrap();
    let mut insert = conn.prepare(shape.insert).unwrap();
    for i in 0..rows {
        insert.execute(rusqlite::params_from_iter((shape.values)(i))).unwrap();
    }
    conn.execute_batch("COMMIT").unwrap();
}

fn touch(conn: &Connection, shape: &Shape, rows: u64, salt: u64) {
    conn.execute_batch("BEGIN").unwrap();
    let mut update = conn.prepare(shape.update).unwrap();
    for i in 0..rows {
        let key = (shape.values)(i).swap_remove(0);
        update.execute(rusqlite::params![key, (mix(i + salt) % 1_000_000) as i64]).unwrap();
    }
    conn.execute_batch("COMMIT").unwrap();
}

fn seal(store: &mut Store) {
    while store.seal(1_700_000_000_000, || true).unwrap().is_partial {}
}

fn entries(store: &Store, after: u64) -> Vec<Vec<u8>> {
    store.arrivals_after(after, usize::MAX).unwrap().into_iter().map(|e| e.bytes).collect()
}

fn receive(store: &mut Store, entries: &[Vec<u8>]) {
    for batch in entries.chunks(2) {
        store.receive(&[Offered { entries: batch, cursor: None }], 1_700_000_000_000, || true).unwrap();
    }
}

fn raw_bytes(value: &rusqlite::types::Value) -> u64 {
    use rusqlite::types::Value::{Blob, Integer, Null, Real, Text};
    match value {
        Null => 0,
        Integer(_) | Real(_) => 8,
        Text(t) => t.len() as u64,
        Blob(b) => b.len() as u64,
    }
}

fn size(conn: &Connection) -> u64 {
    conn.query_row("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size", [], |row| {
        row.get::<_, i64>(0)
    })
    .unwrap() as u64
}

/// What `work` gives, and the memory in KiB that it took at its peak.
fn peak<T>(work: impl FnOnce() -> T) -> (T, u64) {
    let read = |what: &str| {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|l| l.starts_with(what)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
    };
    let before = read("VmRSS");
    // 5: the high-water mark starts over.
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let done = work();
    (done, read("VmHWM").saturating_sub(before))
}

/// Milliseconds of CPU that this thread spent on `work`.
fn cpu(work: impl FnOnce()) -> f64 {
    let now = || {
        let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
        stat.split(' ').next().unwrap().parse::<f64>().unwrap() / 1e6
    };
    let before = now();
    work();
    now() - before
}
