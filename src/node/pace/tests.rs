use super::*;

#[test]
fn passes_grow_to_their_bound_while_nobody_else_is_there() {
    let mut pace = Pace::default();
    let lengths: Vec<_> = [false, true, true, true, true].map(|alone| pace.seal(alone).as_millis()).into();
    assert_eq!(lengths, [5, 10, 20, 40, 40]);
}

#[test]
fn the_first_sign_of_somebody_makes_them_short_again() {
    let mut pace = Pace::default();
    for _ in 0..9 {
        pace.seal(true);
    }
    assert_eq!(pace.seal(false), SHORT);
    pace.seal(true);
    pace.met();
    assert_eq!(pace.seal(false), SHORT);
}

#[test]
fn a_longer_pass_is_followed_by_a_gap_and_one_in_company_too() {
    let mut pace = Pace::default();
    assert_eq!(pace.gap(), None);
    pace.merge(true);
    assert_eq!(pace.gap(), None);
    pace.merge(false);
    assert_eq!(pace.gap(), Some(GAP_IN_COMPANY));
    pace.seal(false);
    assert_eq!(pace.gap(), Some(GAP_IN_COMPANY));
    while pace.seal(true) < LONG {}
    assert_eq!(pace.gap(), Some(Duration::from_millis(2)));
}
