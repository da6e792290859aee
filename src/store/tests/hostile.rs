//! What a member may write who does not keep to the rules: the store goes on, and all stores find the same.

use super::*;
use p2pdb_core::body::write::Shape;
use p2pdb_core::body::{Cell, ColumnId, Kind};
use p2pdb_core::chain::Refused;
use p2pdb_core::clock::{Clock, Stamp};
use p2pdb_core::entry::First;
use p2pdb_core::id::{Dot, EntryId, Seq, TableId};
use p2pdb_core::name::Name;
use p2pdb_core::writer::{GroupWriter, Start};

/// A member that writes what it likes.
struct Rogue {
    identity: Identity,
    prev: EntryId,
    last: Seq,
    clock: u64,
}

impl Rogue {
    fn new() -> Self {
        Self { identity: identity(66), prev: EntryId::default(), last: Seq(0), clock: 5000 }
    }

    fn write(&mut self, work: impl FnOnce(&mut GroupWriter<'_>)) -> Vec<Vec<u8>> {
        let key = self.identity.key.clone();
        let mac = self.identity.secret.author_mac(self.identity.group, &key.public());
        self.clock += 1000;
        let mut group = GroupWriter::new(
            &key,
            Start {
                group: self.identity.group,
                parts: 0,
                prev: self.prev,
                last: self.last,
                deps: Vec::new(),
                clock: Clock::from_ms(self.clock),
                schema: [0; 16],
                first: First { key: key.public(), epoch: 0, mac },
            },
        );
        work(&mut group);
        let written = group.finish(false, false);
        let last = &written.last().unwrap().entry;
        (self.prev, self.last) = (last.id, last.header.seq);
        written.iter().map(|w| w.entry.to_bytes()).collect()
    }
}

fn table(r: &Replica, name: &str) -> (TableId, Vec<ColumnId>) {
    let t = r.store.tables.by_name(name).unwrap();
    (t.merge.id, t.columns.clone())
}

#[test]
fn operations_that_break_a_rule_have_no_effect_anywhere() {
    let schema = "CREATE TABLE sale(id INTEGER PRIMARY KEY, item TEXT, qty INTEGER);
        CREATE TABLE k(k TEXT PRIMARY KEY NOT NULL, v);
        CREATE TABLE c(id INTEGER PRIMARY KEY, sid INTEGER REFERENCES sale(id));";
    let mut a = Replica::new(1, schema, &["sale", "k", "c"]);
    let mut b = Replica::new(2, "", &[]);
    a.run("INSERT INTO sale VALUES(1, 'tea', 1); INSERT INTO k VALUES('a', 1)");
    a.seal(1000);
    b.take(&a);
    let (sale, sale_columns) = table(&a, "sale");
    let (k, k_columns) = table(&a, "k");
    let (c, c_columns) = table(&a, "c");
    let own = identity(1).key.public().author();
    let born = Dot { author: own, seq: Seq(1), op: 3 };
    let tea = Name::Born { dot: born, id: 1 };
    let key = p2pdb_core::name::key_name([(&p2pdb_core::value::Value::Text("a".into()), Default::default())]);
    let seen = Dot { author: own, seq: Seq(1), op: 4 };
    let mut rogue = Rogue::new();
    let entries = rogue.write(|group| {
        let insert = |t, columns: &[ColumnId]| Shape::new(Kind::Insert, t, columns.to_vec());
        let named = |kind, t, columns: Vec<ColumnId>, has_seen| {
            let mut shape = Shape::new(kind, t, columns);
            (shape.is_named, shape.has_seen) = (true, has_seen);
            shape
        };
        // Ids that are no integers; a row of another table's kind of name.
        group.row(&insert(sale, &sale_columns), None, &[], None, &[Cell::Text(b"x"), Cell::Null, Cell::Null]);
        group.row(&named(Kind::Update, sale, vec![sale_columns[0]], false), Some(&tea), &[], None, &[Cell::Null]);
        group.row(&named(Kind::Update, sale, vec![sale_columns[1]], true), Some(&key), &[seen], None, &[Cell::Null]);
        group.row(&named(Kind::Delete, k, vec![], true), Some(&tea), &[born], None, &[]);
        // A key that would be another row's; a column twice; columns that do not exist.
        group.row(&named(Kind::Update, k, vec![k_columns[0]], true), Some(&key), &[seen], None, &[Cell::Text(b"z")]);
        let twice = vec![k_columns[1], k_columns[1], ColumnId(*b"none")];
        let cells = [Cell::Integer(2), Cell::Integer(3), Cell::Null];
        group.row(&named(Kind::Update, k, twice, true), Some(&key), &[seen], None, &cells);
        // References to rows that are none, in columns that hold references and in ones that do not.
        let nobody = Name::Key(vec![99, 1, 2].into());
        group.row(&insert(c, &c_columns), None, &[], None, &[Cell::Integer(1), Cell::Ref(nobody.clone())]);
        group.row(&insert(c, &c_columns), None, &[], None, &[Cell::Integer(2), Cell::Ref(tea.clone())]);
        group.row(&insert(k, &k_columns), None, &[], None, &[Cell::Text(b"r"), Cell::Ref(nobody)]);
        // A long value without parts; a settle of a write that never was; a table that nobody knows.
        let long = Cell::Long { is_text: false, part: 7, bytes: 1 << 29 };
        group.row(&insert(k, &k_columns), None, &[], None, &[Cell::Text(b"long"), long]);
        let never = Stamp { clock: Clock(1), author: own, seq: Seq(1), op: 99 };
        let settle = named(Kind::Settle, sale, vec![sale_columns[0]], false);
        group.row(&settle, Some(&tea), &[], Some(&never), &[Cell::Integer(77)]);
        group.row(&insert(TableId([9; 8]), &k_columns), None, &[], None, &[Cell::Null, Cell::Null]);
    });
    for r in [&mut a, &mut b] {
        r.take_entries(&entries);
        assert_eq!(r.rows("SELECT * FROM sale"), [[Sql::Integer(1), Sql::Text("tea".into()), Sql::Integer(1)]]);
        assert_eq!(r.rows("SELECT * FROM k"), [[Sql::Text("a".into()), Sql::Integer(2)]]);
        assert_eq!(r.rows("SELECT * FROM c"), [[Sql::Integer(2), Sql::Integer(1)]]);
        assert_eq!((r.status().withheld, r.status().stuck), (1, 2));
    }
    a.equals(&b, &["sale", "k", "c"]);
    // And life goes on.
    a.run("UPDATE k SET v = 9; INSERT INTO c VALUES(3, 1)");
    a.seal(20_000);
    sync(&mut a, &mut b);
    a.equals(&b, &["sale", "k", "c"]);
}

#[test]
fn operations_on_rows_without_a_key_that_break_a_rule_have_no_effect_anywhere() {
    let schema = "CREATE TABLE n(x, y); CREATE TABLE q(k TEXT PRIMARY KEY, v)";
    let (mut a, mut b) = (Replica::new(1, schema, &["n", "q"]), Replica::new(2, "", &[]));
    a.run("INSERT INTO n VALUES(1, 1), (2, 2); INSERT INTO q VALUES(NULL, 1)");
    a.seal(1000);
    b.take(&a);
    let ((n, n_columns), (q, q_columns)) = (table(&a, "n"), table(&a, "q"));
    let born = |op| Dot { author: identity(1).key.public().author(), seq: Seq(1), op };
    let name = |op, id| Name::Born { dot: born(op), id };
    let entries = Rogue::new().write(|group| {
        let named = |kind, t, columns: &[ColumnId]| {
            let mut shape = Shape::new(kind, t, columns.to_vec());
            shape.is_named = true;
            shape
        };
        // Bytes as replicas keep them of a birth are no key.
        let forged = Name::Key(crate::store::places::write_born(&born(2)).into());
        let mut by_key = named(Kind::Update, n, &n_columns[..1]);
        by_key.has_seen = true;
        group.row(&by_key, Some(&forged), &[born(2)], None, &[Cell::Text(b"forged")]);
        // Any id is the same name.
        group.row(&named(Kind::Update, n, &n_columns[..1]), Some(&name(3, 77)), &[], None, &[Cell::Integer(3)]);
        // A key that would become whole: the other column counts. A birth that never was; one of another table.
        let cells = [Cell::Text(b"whole"), Cell::Integer(5)];
        group.row(&named(Kind::Update, q, &q_columns), Some(&name(4, 0)), &[], None, &cells);
        group.row(&named(Kind::Delete, n, &[]), Some(&name(99, 0)), &[], None, &[]);
        group.row(&named(Kind::Delete, q, &[]), Some(&name(2, 0)), &[], None, &[]);
        let mut over = Shape::new(Kind::Insert, n, n_columns.clone());
        over.has_seen = true;
        group.row(&over, None, &[born(2), born(3)], None, &[Cell::Null, Cell::Null]);
    });
    for r in [&mut a, &mut b] {
        r.take_entries(&entries);
        let rows = [[Sql::Null, Sql::Null], [Sql::Integer(1), Sql::Integer(1)], [Sql::Integer(3), Sql::Integer(2)]];
        assert_eq!(r.rows("SELECT * FROM n ORDER BY x"), rows);
        assert_eq!(r.rows("SELECT * FROM q"), [[Sql::Null, Sql::Integer(5)]]);
    }
    a.equals(&b, &["n", "q"]);
    a.run("DELETE FROM n; DELETE FROM q");
    a.seal(20_000);
    sync(&mut a, &mut b);
    assert_eq!(b.one("SELECT (SELECT count(*) FROM n) + (SELECT count(*) FROM q)"), Sql::Integer(0));
    a.equals(&b, &["n", "q"]);
}

/// Each new claim used to look at all rows that claimed the id before it: two thousand took a minute to merge.
#[test]
fn many_rows_that_claim_one_id_are_merged_and_shown() {
    let (mut a, mut b) = (Replica::new(1, SALE, &["sale"]), Replica::new(2, "", &[]));
    a.run("INSERT INTO sale VALUES(5, 'true', 1)");
    a.seal(50_000);
    b.take(&a);
    let mut rogue = Rogue::new();
    let (sale, columns) = table(&a, "sale");
    let crowd = |rogue: &mut Rogue| {
        let shape = Shape::new(Kind::Insert, sale, columns.clone());
        rogue.write(|group| {
            (0..3_000).for_each(|_| {
                _ = group.row(&shape, None, &[], None, &[Cell::Integer(5), Cell::Null, Cell::Integer(5)])
            });
        })
    };
    // Earlier than the true one, which gives way; then, for one who heard of that first, the other way about.
    let (early, late) = (
        crowd(&mut rogue),
        crowd({
            rogue.clock = 90_000;
            &mut rogue
        }),
    );
    for entries in [&early, &late] {
        b.take_entries(entries);
    }
    a.take_entries(&[early, late].concat());
    a.equals(&b, &["sale"]);
    assert_eq!(a.one("SELECT count(*) FROM sale"), Sql::Integer(6_001));
    assert_eq!(a.one("SELECT count(*) FROM sale WHERE item = 'true' AND id > 1 << 32"), Sql::Integer(1));
}

/// The same of values in unique indexes, which no honest author can write: of those whose rows can show another value, and of those
/// that can't. Each used to be decided with all the others.
#[test]
fn many_rows_that_claim_one_unique_value_are_merged_and_shown_or_listed() {
    let schema = "CREATE TABLE code(id INTEGER PRIMARY KEY, code TEXT UNIQUE);
        CREATE TABLE one(id INTEGER PRIMARY KEY, code INTEGER NOT NULL UNIQUE REFERENCES code(id))";
    let (mut a, mut b) = (Replica::new(1, schema, &["code", "one"]), Replica::new(2, "", &[]));
    a.run("INSERT INTO code VALUES(1, 'x'); INSERT INTO one VALUES(1, 1)");
    a.seal(50_000);
    b.take(&a);
    let mut rogue = Rogue::new();
    let (code, one) = (table(&a, "code"), table(&a, "one"));
    // Two tables are announced before it.
    let born = Dot { author: identity(1).key.public().author(), seq: Seq(1), op: 2 };
    let parent = Name::Born { dot: born, id: 1 };
    let crowd = |rogue: &mut Rogue, first: i64| {
        let shapes = [&code, &one].map(|(t, columns)| Shape::new(Kind::Insert, *t, columns.clone()));
        rogue.write(|group| {
            for id in first..first + 2_000 {
                group.row(&shapes[0], None, &[], None, &[Cell::Integer(id), Cell::Text(b"x")]);
                group.row(&shapes[1], None, &[], None, &[Cell::Integer(id), Cell::Ref(parent.clone())]);
            }
        })
    };
    rogue.clock = 90_000;
    let late = crowd(&mut rogue, 10);
    b.take_entries(&late);
    a.take_entries(&late);
    a.equals(&b, &["code", "one"]);
    assert_eq!(a.one("SELECT count(*) FROM code"), Sql::Integer(2_001));
    assert_eq!(a.one("SELECT count(*) FROM one"), Sql::Integer(1));
    // The one that all wait for gives it up.
    a.run("UPDATE code SET code = 'y' WHERE id = 1; DELETE FROM one");
    a.seal(100_000);
    b.take(&a);
    a.equals(&b, &["code", "one"]);
    assert_eq!(a.one("SELECT count(*) FROM code WHERE code = 'x'"), Sql::Integer(0), "its user sees none");
}

#[test]
fn operations_on_a_table_that_comes_later_wait_for_it() {
    let mut a = Replica::new(1, SALE, &["sale"]);
    let mut b = Replica::new(2, "", &[]);
    a.run("INSERT INTO sale VALUES(1, 'tea', 1)");
    a.seal(1000);
    let (sale, columns) = table(&a, "sale");
    let mut rogue = Rogue::new();
    let big = vec![b'x'; 300_000];
    let entries = rogue.write(|group| {
        let shape = Shape::new(Kind::Insert, sale, columns.clone());
        group.row(&shape, None, &[], None, &[Cell::Integer(5), Cell::Text(&big), Cell::Integer(5)]);
    });
    assert!(entries.len() > 1);
    b.take_entries(&entries);
    assert_eq!((b.status().withheld, b.status().parked()), (1, 1));
    assert_ne!(b.store.withheld_root().unwrap(), [0; 16]);
    b.take(&a);
    assert_eq!(b.rows("SELECT id, length(item) FROM sale ORDER BY id")[1], [Sql::Integer(5), Sql::Integer(300_000)]);
    assert_eq!(b.status().parked(), 0);
    a.take_entries(&entries);
    a.equals(&b, &["sale"]);
}

#[test]
fn a_chain_that_does_not_fit_is_refused_whole() {
    let mut a = Replica::new(1, SALE, &["sale"]);
    let mut b = Replica::new(2, "", &[]);
    a.run("INSERT INTO sale VALUES(1, 'tea', 1)");
    a.seal(1000);
    b.take(&a);
    let mut rogue = Rogue::new();
    let (sale, columns) = table(&a, "sale");
    let row = |group: &mut GroupWriter<'_>| {
        let shape = Shape::new(Kind::Insert, sale, columns.clone());
        group.row(&shape, None, &[], None, &[Cell::Integer(5), Cell::Null, Cell::Integer(5)]);
    };
    let first = rogue.write(row);
    rogue.clock = 0;
    let backwards = rogue.write(row);
    b.take_entries(&first);
    let refused = |b: &mut Replica, entry| b.receive(&[entry], LATE).batches.remove(0).unwrap_err();
    assert!(matches!(refused(&mut b, &backwards[0]), Refused::Clock(..)));
    let mut other = Rogue::new();
    other.clock = 7777;
    let fork = other.write(row);
    assert!(matches!(refused(&mut b, &fork[0]), Refused::Fork(..)));
    let mut stranger = Rogue::new();
    stranger.identity.secret = Secret([3; 32]);
    stranger.identity.key = AuthorKey::from_seed(&[67; 32]);
    let uninvited = stranger.write(row);
    assert!(matches!(refused(&mut b, &uninvited[0]), Refused::Entry(..)));
    assert_eq!(b.status().entries, 2);
}
