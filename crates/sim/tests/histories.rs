//! Short histories that the simulator once found, each told whole.

#![allow(clippy::unwrap_used)]

use p2pdb_core::cellhash::CellHasher;
use p2pdb_core::id::{GroupId, Life};
use p2pdb_core::key::{AuthorKey, Secret};
use p2pdb_core::local::Touch;
use p2pdb_core::merge::Key;
use p2pdb_core::value::Value;
use p2pdb_sim::apply::receive;
use p2pdb_sim::database::{Database, Identity};
use p2pdb_sim::rows::Shown;
use p2pdb_sim::schema::{ITEM, LINE};
use p2pdb_sim::{check, seal};

struct Replica {
    db: Database,
    identity: Identity,
    name: usize,
}

fn replica(name: usize) -> Replica {
    let group = GroupId([7; 16]);
    let key = AuthorKey::from_seed(&[name as u8; 32]);
    let identity = Identity { group, secret: Secret([9; 32]), key, hasher: CellHasher::new(group) };
    Replica { db: Database::new(Life([name as u8; 16])), identity, name }
}

impl Replica {
    fn insert(&mut self, t: usize, id: i64, rest: [Value; 2]) {
        let display = [Value::Integer(id)].into_iter().chain(rest).collect();
        self.db.grids[t].shown.insert(Key::Id(id), Shown { display, logged: Vec::new() });
        self.touch(t, Touch::Inserted(id));
    }

    fn item(&mut self, id: i64) {
        self.insert(ITEM, id, [Value::Null, Value::Null]);
    }

    fn line(&mut self, id: i64, item: i64) {
        self.insert(LINE, id, [Value::Integer(item), Value::Null]);
    }

    fn delete(&mut self, t: usize, id: i64) {
        self.db.grids[t].shown.remove(&Key::Id(id)).unwrap();
        self.touch(t, Touch::Deleted(id));
    }

    fn note(&mut self, line: i64, note: &str) {
        let row = self.db.grids[LINE].shown.get_mut(&Key::Id(line)).unwrap();
        row.display[2] = Value::Text(note.into());
        self.touch(LINE, Touch::Updated(line));
    }

    fn touch(&mut self, t: usize, touch: Touch<i64>) {
        self.db.markers.touches.entry(t).or_default().push(touch);
    }

    /// Seals; gives the bytes of the entry.
    fn seal(&mut self, at_ms: u64) -> Vec<u8> {
        assert_eq!(seal::seal(&mut self.db, &self.identity, at_ms).unwrap(), 1);
        self.db.log.all().last().unwrap().to_bytes()
    }

    /// All in one batch.
    fn receive(&mut self, entries: &[&Vec<u8>]) {
        let batch: Vec<Vec<u8>> = entries.iter().map(|e| e.to_vec()).collect();
        receive(&mut self.db, &self.identity, &batch, None, 10_000).unwrap();
        check::tables(&self.db, self.name).unwrap();
    }
}

/// A line that came after its item was gone could not be shown; its record stood in no list, and the note that was
/// written to it in the same batch was lost on replicas that met the entries in this order.
#[test]
fn a_row_that_was_hidden_at_birth_takes_later_writes() {
    let [mut a, mut b, mut c, mut d] = [1, 2, 3, 4].map(replica);
    a.item(1);
    let item = a.seal(100);
    b.receive(&[&item]);
    a.delete(ITEM, 1);
    let gone = a.seal(200);
    b.line(5, 1);
    let line = b.seal(300);
    b.note(5, "urgent");
    let note = b.seal(400);

    c.receive(&[&item, &gone, &line, &note]);
    d.receive(&[&item, &line, &note, &gone]);

    assert_eq!(c.db.digest, d.db.digest);
}

/// A line with the earlier claim to an id moved a visible one away and was then refused, because its item was gone; the
/// visible one never got its id back.
#[test]
fn a_row_that_made_room_for_a_hidden_one_takes_its_id_back() {
    let [mut a, mut b, mut c] = [1, 2, 3].map(replica);
    a.item(1);
    a.item(2);
    let items = a.seal(100);
    b.receive(&[&items]);
    b.line(5, 1);
    let early = b.seal(200);
    a.delete(ITEM, 1);
    let gone = a.seal(300);
    a.line(5, 2);
    let late = a.seal(400);

    c.receive(&[&items, &gone, &late]);
    c.receive(&[&early]);

    let shown: Vec<_> = c.db.grids[LINE].shown.keys().cloned().collect();
    assert_eq!(shown, [Key::Id(5)]);
}
