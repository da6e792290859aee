use super::*;
use crate::clock::Clock;
use crate::entry::{First, Header};
use crate::key::AuthorKey;
use std::convert::Infallible;

const GROUP: GroupId = GroupId([1; 16]);

fn secret() -> Secret {
    Secret([2; 32])
}

fn key(n: u8) -> AuthorKey {
    AuthorKey::from_seed(&[n; 32])
}

/// An entry with an empty body (no authors, no sections) that follows `prev`.
fn entry(key: &AuthorKey, seq: u64, prev: EntryId, clock: u64) -> Entry {
    let public = key.public();
    let first = First { key: public, epoch: 0, mac: secret().author_mac(GROUP, &public) };
    let header = Header {
        group: GROUP,
        author: public.author(),
        seq: Seq(seq),
        prev,
        deps: Vec::new(),
        clock: Clock(clock),
        schema: [0; 16],
        certificate: [0; 32],
        first: (seq == 1).then_some(first),
        continues: false,
        body_bytes: 0,
        body_hash: [0; 32],
    };
    Entry::seal(header, crate::body::pack(&[0]), key)
}

/// The first `n` entries of an author.
fn chain(key: &AuthorKey, n: u64) -> Vec<Entry> {
    let mut all: Vec<Entry> = Vec::new();
    for seq in 1..=n {
        let prev = all.last().map(|e| e.id).unwrap_or_default();
        all.push(entry(key, seq, prev, seq));
    }
    all
}

#[derive(Default)]
struct Store(Vec<Entry>);

impl Chains for Store {
    type Error = Infallible;

    fn held(&self, author: &AuthorId) -> Result<Option<Held>, Infallible> {
        let last = self.0.iter().rfind(|e| e.header.author == *author);
        let first = self.0.iter().find_map(|e| e.header.first.as_ref().filter(|f| f.key.author() == *author));
        Ok(last.zip(first).map(|(e, first)| Held {
            seq: e.header.seq,
            id: e.id,
            clock: e.header.clock,
            key: first.key,
        }))
    }

    fn id_at(&self, author: &AuthorId, seq: Seq) -> Result<Option<EntryId>, Infallible> {
        Ok(self.0.iter().find(|e| e.header.author == *author && e.header.seq == seq).map(|e| e.id))
    }
}

fn run(held: &[Entry], batch: &[Entry]) -> Result<Vec<Seq>, Refused> {
    let bytes: Vec<_> = batch.iter().map(Entry::to_bytes).collect();
    match check(GROUP, &secret(), &bytes, &Store(held.to_vec())) {
        Ok(checked) => {
            assert_eq!(checked.heads.len(), batch.len());
            Ok(checked.fresh.iter().map(|c| c.entry.header.seq).collect())
        }
        Err(CheckError::Refused(refused)) => Err(refused),
        Err(CheckError::Store(never)) => match never {},
    }
}

fn forged(mut entry: Entry) -> Entry {
    entry.signature[0] ^= 1;
    entry
}

#[test]
fn a_run_passes_and_what_is_held_is_left_out() {
    let all = chain(&key(1), 5);
    assert_eq!(run(&[], &all), Ok((1..=5).map(Seq).collect()));
    assert_eq!(run(&all[..2], &all), Ok(vec![Seq(3), Seq(4), Seq(5)]));
    assert_eq!(run(&all, &all), Ok(vec![]));
    let twice = [all[0].clone(), all[1].clone(), all[0].clone(), all[1].clone()];
    assert_eq!(run(&[], &twice), Ok(vec![Seq(1), Seq(2)]));
}

#[test]
fn authors_may_be_mixed() {
    let (a, b) = (chain(&key(1), 2), chain(&key(2), 2));
    let mixed = [a[0].clone(), b[0].clone(), b[1].clone(), a[1].clone()];
    assert_eq!(run(&[], &mixed).map(|fresh| fresh.len()), Ok(4));
}

#[test]
fn a_gap_is_refused_and_is_not_the_senders_fault() {
    let all = chain(&key(1), 4);
    let author = key(1).public().author();
    let gap = run(&all[..1], &all[2..]).unwrap_err();
    assert_eq!(gap, Refused::Gap { author, got: Seq(3), wanted: Seq(2) });
    assert!(!gap.is_peer_at_fault());
    assert!(matches!(run(&[], &all[1..]), Err(Refused::Gap { .. })));
}

#[test]
fn a_fork_is_found_where_it_is_and_after_it() {
    let all = chain(&key(1), 3);
    let author = key(1).public().author();
    let other = entry(&key(1), 2, all[0].id, 77);
    let after = entry(&key(1), 3, other.id, 78);
    assert_eq!(run(&all, std::slice::from_ref(&other)), Err(Refused::Fork(author, Seq(2))));
    assert_eq!(run(&all[..2], std::slice::from_ref(&after)), Err(Refused::Chain(author, Seq(3))));
    let both = [all[0].clone(), all[1].clone(), other];
    assert_eq!(run(&[], &both), Err(Refused::Fork(author, Seq(2))), "both branches in one batch");
    assert!(!Refused::Fork(author, Seq(2)).is_peer_at_fault());
}

#[test]
fn the_last_signature_of_a_run_vouches_for_it() {
    let all = chain(&key(1), 3);
    let author = key(1).public().author();
    assert!(run(&[], &[all[0].clone(), forged(all[1].clone()), all[2].clone()]).is_ok());
    let bad = [all[0].clone(), all[1].clone(), forged(all[2].clone())];
    assert_eq!(run(&[], &bad), Err(Refused::Signature(author, Seq(3))));
    let of_another = entry(&key(2), 1, EntryId::default(), 1);
    assert!(run(&[], &[forged(of_another), all[0].clone()]).is_err(), "each author has its own last");
}

#[test]
fn an_author_without_the_secret_is_refused() {
    let mut alone = entry(&key(1), 1, EntryId::default(), 1).header;
    alone.first = alone.first.map(|first| First { mac: [0; 32], ..first });
    let refused = run(&[], &[Entry::seal(alone, crate::body::pack(&[0]), &key(1))]).unwrap_err();
    assert!(matches!(refused, Refused::Entry(_, Seq(1), Malformed::Rule(_))), "{refused}");
    assert!(refused.is_peer_at_fault());
}

#[test]
fn another_groups_entry_is_refused() {
    let mut header = entry(&key(1), 1, EntryId::default(), 1).header;
    header.group = GroupId([9; 16]);
    assert_eq!(run(&[], &[Entry::seal(header, crate::body::pack(&[0]), &key(1))]), Err(Refused::OtherGroup));
}

#[test]
fn a_body_that_can_not_be_read_is_refused() {
    let header = entry(&key(1), 1, EntryId::default(), 1).header;
    let bad = Entry::seal(header, crate::body::pack(&[0, 99]), &key(1));
    assert!(matches!(run(&[], &[bad]), Err(Refused::Entry(..))));
    let bytes = vec![b"no entry".to_vec()];
    let outcome = check(GROUP, &secret(), &bytes, &Store::default());
    assert!(matches!(outcome, Err(CheckError::Refused(Refused::Malformed(_)))));
}
