//! Two copies of one file that wrote on under one key.

use super::*;
use p2pdb_core::chain::Refused;

const SCHEMA: &str = "CREATE TABLE sale(id INTEGER PRIMARY KEY, item TEXT, qty INTEGER);
    CREATE TABLE note(k TEXT PRIMARY KEY NOT NULL, x);
    CREATE TABLE line(sale INTEGER REFERENCES sale(id), no INTEGER, PRIMARY KEY(sale, no)) WITHOUT ROWID;
    CREATE TABLE log(text, n);";
const TABLES: [&str; 4] = ["sale", "note", "line", "log"];

/// A file made of this one's, with the same keys.
fn copy(of: &Replica, seed: u8) -> Replica {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.db");
    of.user.execute("VACUUM INTO ?1", [path.to_str().unwrap()]).unwrap();
    let user = open(&path);
    user.execute_batch("PRAGMA journal_mode=WAL").unwrap();
    Replica { user, store: Store::open(open(&path), identity(seed)).unwrap(), _dir: dir }
}

/// The same file, opened as another author.
fn as_author(replica: &mut Replica, seed: u8) {
    replica.store = Store::open(open(&replica._dir.path().join("x.db")), identity(seed)).unwrap();
}

/// A founder, a member, and a copy of the member, its keys included, which both wrote on. The founder heard of the member.
fn forked() -> (Replica, Replica, Replica) {
    let mut a = Replica::new(1, SCHEMA, &TABLES);
    let mut b = Replica::new(2, "", &[]);
    a.run("INSERT INTO sale VALUES(1, 'tea', 2), (2, 'milk', 1), (3, 'salt', 1); INSERT INTO note VALUES('n', 1)");
    a.seal(1000);
    b.take(&a);
    b.run("INSERT INTO sale VALUES(4, 'bread', 1); INSERT INTO line VALUES(4, 1), (4, 2), (1, 1)");
    b.run("INSERT INTO log VALUES('both', 1), ('both', 1), ('both', 2)");
    b.seal(2000);
    a.take(&b);
    let mut c = copy(&b, 2);
    b.run("INSERT INTO sale VALUES(5, 'by b', 1); UPDATE sale SET qty = 10 WHERE id = 1; INSERT INTO log VALUES('by b', 1)");
    b.seal(3000);
    c.run(
        "INSERT INTO sale VALUES(5, 'by c', 1); INSERT INTO line VALUES(5, 1); UPDATE sale SET qty = 20 WHERE id = 2",
    );
    c.seal(3001);
    c.run("DELETE FROM sale WHERE id = 3; UPDATE note SET x = 2; DELETE FROM line WHERE sale = 4 AND no = 2");
    c.run("DELETE FROM log WHERE rowid = 1; INSERT INTO log VALUES('by c', 1)");
    c.seal(3002);
    a.take(&b);
    (a, b, c)
}

fn offer(to: &mut Replica, from: &Replica) -> Result<Taken, Refused> {
    to.receive(&from.entries(), LATE).batches.remove(0)
}

#[test]
fn a_copy_with_new_keys_gives_up_its_branch_and_writes_it_again() {
    // Whatever keys it had, its log held the other branch: every peer refused it for ever.
    let (mut a, b, mut c) = forked();
    as_author(&mut c, 3);
    c.run("INSERT INTO sale VALUES(6, 'by the new author', 1)");
    c.seal(4000);
    let rows = c.rows("SELECT * FROM sale ORDER BY id");
    let fork = Refused::Fork(identity(2).key.public().author(), p2pdb_core::id::Seq(2));
    assert_eq!(offer(&mut c, &a), Err(fork.clone()));
    assert!(!c.store.has_given_up(), "not before it is doubted");
    assert!(c.store.doubt(Some(identity(2).key.public().author())));
    assert!(c.store.frontier().unwrap().iter().all(|head| head.author != identity(2).key.public().author()));
    assert_eq!(offer(&mut c, &a), Err(fork));
    assert!(c.store.has_given_up());
    assert_eq!(c.rows("SELECT * FROM sale ORDER BY id"), rows, "the rows stay as they are");
    // Its entry had seen the branch, and went with it; somebody may have it.
    assert!(c.store.is_retired());
    as_author(&mut c, 4);
    assert!(!c.store.is_retired());
    c.seal(5000);
    sync(&mut a, &mut c);
    a.equals(&c, &TABLES);
    let sales = a.rows("SELECT item, qty FROM sale ORDER BY item");
    let wanted = [("bread", 1), ("by b", 1), ("by c", 1), ("by the new author", 1), ("milk", 20), ("tea", 10)];
    assert_eq!(sales, wanted.map(|(item, qty)| [Sql::Text(item.into()), Sql::Integer(qty)]));
    assert_eq!(a.one("SELECT x FROM note"), Sql::Integer(2));
    let lines =
        "SELECT group_concat(item || no) FROM (SELECT item, no FROM line JOIN sale ON id = sale ORDER BY item, no)";
    assert_eq!(a.one(lines), Sql::Text("bread1,by c1,tea1".into()), "children follow their parents");
    let log = "SELECT group_concat(text || n) FROM (SELECT * FROM log ORDER BY text, n)";
    assert_eq!(a.one(log), Sql::Text("both1,both2,by b1,by c1".into()), "rows without a key are found again");
    // The member itself goes on as before.
    let mut b = b;
    b.run("INSERT INTO note VALUES('late', 1)");
    b.seal(6000);
    sync(&mut a, &mut b);
    a.equals(&b, &TABLES);
}

#[test]
fn a_chain_that_is_equal_after_all_is_trusted_again() {
    let (a, b, _) = forked();
    let mut c = copy(&b, 3);
    c.run("INSERT INTO note VALUES('c', 1)");
    c.seal(4000);
    let frontier = c.store.frontier().unwrap();
    assert!(c.store.doubt(None));
    assert_eq!(c.store.frontier().unwrap().len(), frontier.len() - 1);
    offer(&mut c, &a).unwrap();
    assert_eq!(c.store.frontier().unwrap(), frontier, "compared to its end");
    assert!(c.store.trust());
    assert!(!c.store.doubt(None), "it is not doubted again for a fork that nobody names");
    assert!(!c.store.has_given_up());
    // One that is named is another somewhere, whatever those say that are here.
    assert!(c.store.doubt(Some(identity(2).key.public().author())));
    assert!(!c.store.trust() && c.store.is_in_doubt());
}

#[test]
fn keys_that_are_put_back_after_others_took_over_write_no_more() {
    let (_, b, _) = forked();
    let mut c = copy(&b, 3);
    assert!(!c.store.is_retired());
    as_author(&mut c, 2);
    assert!(c.store.is_retired());
}
