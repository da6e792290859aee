use super::*;
use crate::clock::Clock;
use crate::id::{AuthorId, Seq};

fn stamp(author: u8, op: u32) -> Stamp {
    Stamp { clock: Clock(u64::from(op)), author: AuthorId([author; 16]), seq: Seq(1), op }
}

/// 285 bytes, an entry that inserted one row 2,000 times, once took half a minute to merge and twice as many rows eight
/// times as long: each insert was kept beside all before it.
#[test]
fn an_author_has_one_incarnation_of_a_row_however_often_it_inserts_it() {
    let mut row = RowState::new(2);
    for op in 0..100 {
        row.insert(stamp(1, op), &[], [(0, Value::Integer(op.into())), (1, Value::Null)]);
        row.insert(stamp(2, op), &[], [(0, Value::Null), (1, Value::Null)]);
    }
    assert_eq!(row.incarnations, [stamp(1, 99), stamp(2, 99)]);
    assert!(row.writes.iter().all(|writes| writes.len() == 2));
}

#[test]
fn an_insert_spares_incarnations_of_others_that_it_has_not_seen() {
    let mut row = RowState::new(1);
    row.insert(stamp(1, 0), &[], [(0, Value::Integer(1))]);
    row.insert(stamp(2, 1), &[], [(0, Value::Integer(2))]);
    row.insert(stamp(1, 2), &[], [(0, Value::Integer(3))]);
    assert_eq!(row.incarnations, [stamp(2, 1), stamp(1, 2)]);
    row.insert(stamp(1, 3), &[stamp(2, 1).dot()], [(0, Value::Integer(4))]);
    assert_eq!(row.incarnations, [stamp(1, 3)]);
    assert!(row.is_simple());
}
