//! Who is who after the markers (rule R3): a delete ends an identity, a key change moves it, an insert on a key whose
//! row is still there (REPLACE on its own key) keeps it; an insert on a key that was deleted, moved away or evicted by
//! a REPLACE starts a new row.

use std::collections::{BTreeMap, BTreeSet};

/// One marker, in the order they were written; keys as the table shows them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Touch<K> {
    /// A row was inserted under this key.
    Inserted(K),
    /// The row of this key was deleted.
    Deleted(K),
    /// The row of this key was updated.
    Updated(K),
    /// A row went from the first key to the second.
    Moved(K, K),
    /// A row came to this key from none: what it was is told by a touch of its own, or is gone.
    Arrived(K),
    /// The row of this key, if it is there, is to be compared with what is known of it.
    Look(K),
    /// The write that comes next, if it comes at all, may evict the row of this key.
    Hint(K),
}

/// Who stands where: per touched key the key under which the row stood before, none for a new row.
///
/// A hint is about the write that follows it: where that write is under the hinted key itself nothing is evicted, and
/// where none follows the write was refused.
pub fn who_is_who<K: Ord + Clone>(touches: impl IntoIterator<Item = Touch<K>>) -> BTreeMap<K, Option<K>> {
    let mut here: BTreeMap<K, Option<K>> = BTreeMap::new();
    let mut victims = BTreeSet::new();
    let mut hinted: Vec<K> = Vec::new();
    let evict = |hinted: &mut Vec<K>, victims: &mut BTreeSet<K>, own: &K| {
        victims.extend(hinted.drain(..).filter(|k| k != own));
    };
    for touch in touches {
        match touch {
            Touch::Hint(key) => {
                here.entry(key.clone()).or_insert_with(|| Some(key.clone()));
                hinted.push(key);
            }
            Touch::Look(key) => {
                here.entry(key.clone()).or_insert(Some(key));
            }
            Touch::Updated(key) => {
                evict(&mut hinted, &mut victims, &key);
                here.entry(key.clone()).or_insert(Some(key));
            }
            Touch::Deleted(key) => {
                hinted.clear();
                here.insert(key, None);
            }
            Touch::Inserted(key) => {
                evict(&mut hinted, &mut victims, &key);
                let stays = here.entry(key.clone()).or_insert_with(|| Some(key.clone()));
                if victims.remove(&key) {
                    *stays = None;
                }
            }
            Touch::Arrived(key) => {
                evict(&mut hinted, &mut victims, &key);
                here.insert(key, None);
            }
            Touch::Moved(old, new) => {
                evict(&mut hinted, &mut victims, &old);
                let who = here.insert(old.clone(), None).unwrap_or(Some(old));
                here.insert(new, who);
            }
        }
    }
    here
}

#[cfg(test)]
mod tests;
