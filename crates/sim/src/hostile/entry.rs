//! One entry, and the check that a receiver puts it to.

use super::{GROUP, MIB, SECRET, Target, body, key};
use crate::log::MemoryLog;
use p2pdb_core::body::pack;
use p2pdb_core::chain;
use p2pdb_core::clock::Clock;
use p2pdb_core::entry::{Entry, First, Header, check_first};
use p2pdb_core::id::{EntryId, Seq};
use p2pdb_core::key::AuthorKey;

/// Entries: [`Entry::from_bytes`], [`check_first`], the signature, and [`chain::check`] over them all.
pub const TARGET: Target = Target {
    name: "entry",
    claim,
    valid,
    kept: include_str!("kept/entry.hex"),
    memory_base: 48 * MIB,
    memory_per_byte: 128,
};

fn claim(bytes: &[u8]) {
    let Ok(entry) = Entry::from_bytes(bytes) else { return };
    assert!(entry.to_bytes() == bytes, "an entry has one encoding, and this has another: {:?}", entry.header);
    assert_eq!(entry.id, entry.header.id(), "the id is the hash of the header");
    let is_own = entry.header.first.as_ref().is_some_and(|first| entry.is_signed_by(&first.key));
    let is_member = check_first(&entry.header, &SECRET).is_ok();
    if let Ok(checked) = chain::check(GROUP, &SECRET, &[bytes], &MemoryLog::default()) {
        assert!(is_own && is_member && entry.header.seq == Seq(1), "only a member starts a chain");
        assert_eq!(checked.fresh.len(), 1);
    }
}

fn valid() -> Vec<Vec<u8>> {
    let key = key(3);
    let first = seal(&key, Seq(1), EntryId::default(), Vec::new(), &body::every_kind());
    let deps = vec![EntryId([4; 32]), EntryId([5; 32])];
    let second = seal(&key, Seq(2), first.id, deps, &[0]);
    let empty = seal(&key, Seq(1), EntryId::default(), Vec::new(), &[0]);
    let certified = Header { certificate: [1; 32], continues: true, ..second.header.clone() };
    let certified = Entry::seal(certified, pack(&[0]), &key);
    [first, second, empty, certified].iter().map(Entry::to_bytes).collect()
}

/// An entry of `key` with a raw body.
pub(super) fn seal(key: &AuthorKey, seq: Seq, prev: EntryId, deps: Vec<EntryId>, raw: &[u8]) -> Entry {
    let public = key.public();
    let first = First { key: public, epoch: 0, mac: SECRET.author_mac(GROUP, &public) };
    let header = Header {
        group: GROUP,
        author: public.author(),
        seq,
        prev,
        deps,
        clock: Clock::from_ms(1_000 + seq.0),
        schema: [1; 16],
        certificate: [0; 32],
        first: (seq == Seq(1)).then_some(first),
        continues: false,
        body_bytes: 0,
        body_hash: [0; 32],
    };
    Entry::seal(header, pack(raw), key)
}
