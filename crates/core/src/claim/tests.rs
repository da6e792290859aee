use super::*;
use crate::clock::Clock;
use crate::id::{AuthorId, Seq};
use proptest::prelude::*;

fn claim(clock: u64, author: u8, id: i64) -> Claim {
    let stamp = Stamp { clock: Clock(clock), author: AuthorId([author; 16]), seq: Seq(1), op: 0 };
    Claim { stamp, name: stamp.dot(), id }
}

#[test]
fn the_earlier_claim_keeps_the_id_and_the_later_shows_a_derived_one() {
    let shown = assign(&[claim(20, 2, 7), claim(10, 1, 7)]);
    assert_eq!(shown[1], Some(7));
    assert_eq!(shown[0], Some(derived_id(&claim(20, 2, 7).name, 0)));
}

#[test]
fn an_explicit_claim_to_a_derived_id_wins() {
    let loser = claim(20, 2, 7);
    let derived = derived_id(&loser.name, 0);
    let shown = assign(&[claim(10, 1, 7), loser, claim(40, 3, derived)]);
    assert_eq!(shown, [Some(7), Some(derived_id(&loser.name, 1)), Some(derived)]);
}

proptest! {
    #[test]
    fn who_shows_what_does_not_depend_on_the_order(mut claims in proptest::collection::vec((0u64..5, 0u8..6, 1i64..4), 1..12), turn in 0usize..12) {
        claims.sort_unstable_by_key(|c| c.1);
        claims.dedup_by_key(|c| c.1);
        let claims: Vec<_> = claims.into_iter().map(|(clock, author, id)| claim(clock, author, id)).collect();
        let mut turned = claims.clone();
        turned.rotate_left(turn % claims.len());
        let by_name = |cs: &[Claim]| cs.iter().zip(assign(cs)).map(|(c, id)| (c.name, id)).collect::<std::collections::BTreeMap<_, _>>();
        let shown = by_name(&claims);
        prop_assert_eq!(&shown, &by_name(&turned));
        let ids: BTreeSet<_> = shown.values().flatten().collect();
        prop_assert_eq!(ids.len(), claims.len());
        prop_assert!(ids.iter().all(|id| **id > 0 && **id < 1 << 52));
    }
}
