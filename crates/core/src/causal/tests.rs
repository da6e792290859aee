use super::*;
use crate::clock::Clock;
use std::convert::Infallible;

fn author(n: u8) -> AuthorId {
    AuthorId([n; 16])
}

fn id(a: u8, seq: u64) -> EntryId {
    let mut id = EntryId([a; 32]);
    id.0[0] = seq as u8;
    id
}

fn header(a: u8, seq: u64, deps: &[(u8, u64)], continues: bool) -> Header {
    Header {
        group: Default::default(),
        author: author(a),
        seq: Seq(seq),
        prev: id(a, seq - 1),
        deps: deps.iter().map(|(a, seq)| id(*a, *seq)).collect(),
        clock: Clock::from_ms(1_000 * seq),
        schema: [0; 16],
        certificate: [0; 32],
        first: None,
        continues,
        body_bytes: 0,
        body_hash: [0; 32],
    }
}

/// Headers, and what is merged of authors 1 to 3.
struct Log(Vec<Header>, [u64; 3]);

impl Stored for Log {
    type Error = Infallible;

    fn held(&self, author: &AuthorId) -> Result<Seq, Infallible> {
        Ok(self.0.iter().filter(|h| h.author == *author).map(|h| h.seq).max().unwrap_or_default())
    }

    fn applied(&self, author: &AuthorId) -> Result<Seq, Infallible> {
        Ok(Seq(self.1[author.0[0] as usize - 1]))
    }

    fn group_end(&self, author: &AuthorId, from: Seq) -> Result<Option<Seq>, Infallible> {
        let ends = self.0.iter().filter(|h| h.author == *author && h.seq >= from && !h.continues);
        Ok(ends.map(|h| h.seq).min())
    }

    fn header(&self, author: &AuthorId, seq: Seq) -> Result<Option<Header>, Infallible> {
        Ok(self.0.iter().find(|h| h.author == *author && h.seq == seq).cloned())
    }

    fn place(&self, wanted: &EntryId) -> Result<Option<(AuthorId, Seq)>, Infallible> {
        let is_it = |h: &&Header| id(h.author.0[0], h.seq.0) == *wanted;
        Ok(self.0.iter().find(is_it).map(|h| (h.author, h.seq)))
    }
}

const LATE: u64 = 1_000_000;

fn next(log: &Log, a: u8, now_ms: u64) -> Option<(u64, u64)> {
    next_group(log, &author(a), now_ms).unwrap().map(|(first, last)| (first.0, last.0))
}

#[test]
fn an_entry_waits_for_what_its_author_had_seen() {
    let headers = vec![header(1, 1, &[(2, 1)], false), header(2, 1, &[], false)];
    assert_eq!(next(&Log(headers.clone(), [0, 0, 0]), 1, LATE), None, "the dep is stored and not merged");
    assert_eq!(next(&Log(headers.clone(), [0, 1, 0]), 1, LATE), Some((1, 1)));
    assert_eq!(next(&Log(headers[..1].to_vec(), [0, 0, 0]), 1, LATE), None, "the dep is not here");
    assert_eq!(next(&Log(headers, [1, 1, 0]), 1, LATE), None, "all is merged");
}

#[test]
fn a_group_is_merged_whole_or_not_at_all() {
    let open = vec![header(1, 1, &[], true), header(1, 2, &[], true)];
    assert_eq!(next(&Log(open.clone(), [0; 3]), 1, LATE), None);
    let mut whole = open;
    whole.push(header(1, 3, &[(2, 1)], false));
    assert_eq!(next(&Log(whole.clone(), [0; 3]), 1, LATE), None, "a dep of its last entry holds all of it back");
    whole.push(header(2, 1, &[], false));
    assert_eq!(next(&Log(whole, [0, 1, 0]), 1, LATE), Some((1, 3)));
}

#[test]
fn a_clock_too_far_ahead_waits_until_time_catches_up() {
    let mut ahead = header(1, 1, &[], false);
    ahead.clock = Clock::from_ms(limit::CLOCK_AHEAD_MS_MAX + 500);
    let log = Log(vec![ahead], [0; 3]);
    assert_eq!(next(&log, 1, 499), None);
    assert_eq!(next(&log, 1, 500), Some((1, 1)));
}

/// What the author of a dep saw later was not seen by the one who named it.
#[test]
fn what_was_seen_is_what_the_deps_say_and_no_more() {
    let headers = vec![header(2, 1, &[], false), header(2, 2, &[(3, 4)], false), header(3, 4, &[], false)];
    let log = Log(headers, [0, 2, 4]);
    let seen = see(&log, &header(1, 2, &[(2, 1)], false), Seen::from([(author(1), Seq(1))])).unwrap();
    assert_eq!(seen, Seen::from([(author(1), Seq(2)), (author(2), Seq(1))]));
}
