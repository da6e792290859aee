//! What users do: short transactions on the tables as they see them, as SQLite would let them.
//!
//! Every value written is unique in a run, so that what became of it can be told afterwards.

use crate::database::{Database, KeyMark};
use crate::random::Random;
use crate::rows::{Shown, shown_id};
use crate::schema::{ITEM, LINE, TAG};
use p2pdb_core::local::Touch;
use p2pdb_core::merge::Key;
use p2pdb_core::name::{Name, key_name};
use p2pdb_core::value::Value;

/// One user's transaction.
pub fn transaction(db: &mut Database, random: &mut Random, next_value: &mut u64) {
    for _ in 0..1 + random.below(3) {
        let mut user = User { db, random, next_value };
        match user.random.below(20) {
            0..=3 => user.insert_item(),
            4..=6 => user.update(ITEM),
            7 => user.move_item(),
            8 => user.delete_item(),
            9 => user.replace_item(),
            10..=11 => user.insert_tag(),
            12..=13 => user.update(TAG),
            14 => user.delete_tag(),
            15..=16 => user.insert_line(),
            17 => user.update(LINE),
            18 => user.repoint_line(),
            _ => user.delete_line(),
        }
    }
}

struct User<'a> {
    db: &'a mut Database,
    random: &'a mut Random,
    next_value: &'a mut u64,
}

impl User<'_> {
    fn insert_item(&mut self) {
        let id = self.new_id(ITEM);
        self.insert_item_at(id);
    }

    fn insert_item_at(&mut self, id: i64) {
        let cells = [Value::Integer(id), Value::Null, Value::Null];
        self.insert(ITEM, Key::Id(id), cells, &[1, 2]);
        self.touch(ITEM, Touch::Inserted(id));
    }

    fn insert_line(&mut self) {
        let Some(Key::Id(item)) = self.any(ITEM) else { return };
        let id = self.new_id(LINE);
        let cells = [Value::Integer(id), Value::Integer(item), Value::Null];
        self.insert(LINE, Key::Id(id), cells, &[2]);
        self.touch(LINE, Touch::Inserted(id));
    }

    fn insert_tag(&mut self) {
        let k = Value::Text(vec![b'a' + self.random.below(6) as u8]);
        let Name::Key(bytes) = key_name([(&k, Default::default())]) else { return };
        let key = Key::Name(bytes);
        // What is alive but not shown is not the user's to see: its key looks free, but this shop never hides a tag.
        if !self.db.grids[TAG].shown.contains_key(&key) {
            self.insert(TAG, key.clone(), [k, Value::Null, Value::Null], &[1, 2]);
            self.db.markers.keys.push(KeyMark { key, is_delete: false });
        }
    }

    fn update(&mut self, t: usize) {
        let Some(key) = self.any(t) else { return };
        let column = if t == LINE { 2 } else { 1 + self.random.below(2) as usize };
        self.write(t, &key, column);
        match key {
            Key::Id(id) => self.touch(t, Touch::Updated(id)),
            key @ (Key::Name(_) | Key::Born(_)) => self.db.markers.keys.push(KeyMark { key, is_delete: false }),
        }
    }

    fn repoint_line(&mut self) {
        let (Some(key), Some(Key::Id(item))) = (self.any(LINE), self.any(ITEM)) else { return };
        if let (Some(row), Key::Id(id)) = (self.db.grids[LINE].shown.get_mut(&key), &key) {
            row.display[1] = Value::Integer(item);
            self.touch(LINE, Touch::Updated(*id));
        }
    }

    /// `UPDATE item SET id = ?`, with ON UPDATE CASCADE.
    fn move_item(&mut self) {
        let Some(Key::Id(old)) = self.any(ITEM) else { return };
        let new = 1 + self.random.below(12) as i64;
        if self.db.grids[ITEM].shown.contains_key(&Key::Id(new)) {
            return;
        }
        let Some(mut row) = self.db.grids[ITEM].shown.remove(&Key::Id(old)) else { return };
        row.display[0] = Value::Integer(new);
        self.db.grids[ITEM].shown.insert(Key::Id(new), row);
        self.touch(ITEM, Touch::Moved(old, new));
        for column in [1, 2] {
            if let Some(value) = self.db.ledger.open.remove(&(ITEM, Key::Id(old), column)) {
                self.db.ledger.open.insert((ITEM, Key::Id(new), column), value);
            }
        }
        for line in self.lines_of(old) {
            if let Some(row) = self.db.grids[LINE].shown.get_mut(&Key::Id(line)) {
                row.display[1] = Value::Integer(new);
            }
            self.touch(LINE, Touch::Updated(line));
        }
    }

    fn delete_item(&mut self) {
        let Some(Key::Id(id)) = self.any(ITEM) else { return };
        self.delete_item_at(id);
    }

    fn replace_item(&mut self) {
        let Some(Key::Id(id)) = self.any(ITEM) else { return };
        if self.delete_item_at(id) {
            self.insert_item_at(id);
        }
    }

    /// Refused while a line refers to it.
    fn delete_item_at(&mut self, id: i64) -> bool {
        let is_free = self.lines_of(id).is_empty();
        if is_free {
            self.delete(ITEM, &Key::Id(id));
            self.touch(ITEM, Touch::Deleted(id));
        }
        is_free
    }

    fn delete_line(&mut self) {
        if let Some(key @ Key::Id(id)) = self.any(LINE) {
            self.delete(LINE, &key);
            self.touch(LINE, Touch::Deleted(id));
        }
    }

    fn delete_tag(&mut self) {
        let Some(key) = self.any(TAG) else { return };
        self.delete(TAG, &key);
        self.db.markers.keys.push(KeyMark { key: key.clone(), is_delete: true });
        if self.random.percent(40) {
            let Key::Name(bytes) = &key else { return };
            let Ok(values) = p2pdb_core::name::key_values(bytes) else { return };
            let Some(k) = values.into_iter().next() else { return };
            self.insert(TAG, key.clone(), [k, Value::Null, Value::Null], &[1, 2]);
            self.db.markers.keys.push(KeyMark { key, is_delete: false });
        }
    }

    // ---- what SQLite does below

    fn insert(&mut self, t: usize, key: Key, display: [Value; 3], written: &[usize]) {
        let row = Shown { display: display.to_vec(), logged: Vec::new() };
        self.db.grids[t].shown.insert(key.clone(), row);
        for column in written {
            self.write(t, &key, *column);
        }
    }

    fn write(&mut self, t: usize, key: &Key, column: usize) {
        *self.next_value += 1;
        let n = *self.next_value;
        let value = if (t, column) == (ITEM, 2) { Value::Integer(n as i64) } else { text(n) };
        if let Some(row) = self.db.grids[t].shown.get_mut(key) {
            row.display[column] = value;
            self.db.ledger.open.insert((t, key.clone(), column), n);
        }
    }

    fn delete(&mut self, t: usize, key: &Key) {
        self.db.grids[t].shown.remove(key);
        self.db.ledger.open.retain(|(table, k, _), _| *table != t || k != key);
    }

    fn touch(&mut self, t: usize, touch: Touch<i64>) {
        self.db.markers.touches.entry(t).or_default().push(touch);
    }

    /// SQLite's own next id, or one that the user chose.
    fn new_id(&mut self, t: usize) -> i64 {
        let shown = &self.db.grids[t].shown;
        let chosen = 1 + self.random.below(8) as i64;
        if self.random.percent(30) && !shown.contains_key(&Key::Id(chosen)) {
            return chosen;
        }
        match shown.keys().next_back() {
            Some(Key::Id(last)) => (*last).max(0) + 1,
            Some(Key::Name(_) | Key::Born(_)) | None => 1,
        }
    }

    /// A row that the user may touch: a line whose item is gone is left alone until the projection of foreign keys says
    /// what becomes of it.
    fn any(&mut self, t: usize) -> Option<Key> {
        let grid = &self.db.grids[t];
        let free = grid.shown.iter().filter(|(key, row)| !grid.stuck.contains_key(key) && !self.is_orphan(row));
        let keys: Vec<_> = free.map(|(key, _)| key).collect();
        self.random.pick(&keys).map(|key| (*key).clone())
    }

    fn is_orphan(&self, row: &Shown) -> bool {
        match row.logged.get(1) {
            Some(Value::Ref(name)) => shown_id(&self.db.grids[ITEM], name).is_none(),
            _ => false,
        }
    }

    fn lines_of(&self, item: i64) -> Vec<i64> {
        let is_of = |row: &Shown| row.display[1] == Value::Integer(item) && !self.is_orphan(row);
        let lines = self.db.grids[LINE].shown.iter().filter(|(_, row)| is_of(row));
        lines.filter_map(|(key, _)| if let Key::Id(id) = key { Some(*id) } else { None }).collect()
    }
}

fn text(n: u64) -> Value {
    Value::Text(format!("v{n}").into_bytes())
}

/// The number that a written value carries.
pub fn number(value: &Value) -> Option<u64> {
    match value {
        Value::Integer(n) => u64::try_from(*n).ok(),
        Value::Text(t) => std::str::from_utf8(t).ok()?.strip_prefix('v')?.parse().ok(),
        Value::Null | Value::Real(_) | Value::Blob(_) | Value::Ref(_) => None,
    }
}
