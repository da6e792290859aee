use super::Touch::*;
use super::*;

fn after(touches: &[Touch<i64>], key: i64) -> Option<i64> {
    who_is_who(touches.iter().cloned())[&key]
}

#[test]
fn an_update_and_a_replace_on_the_own_key_keep_the_row() {
    assert_eq!(after(&[Updated(1)], 1), Some(1));
    assert_eq!(after(&[Inserted(1)], 1), Some(1));
    assert_eq!(after(&[Hint(1), Inserted(1)], 1), Some(1));
    assert_eq!(after(&[Hint(1), Updated(1)], 1), Some(1));
}

#[test]
fn an_insert_after_a_delete_an_eviction_or_a_move_is_a_new_row() {
    assert_eq!(after(&[Deleted(1), Inserted(1)], 1), None);
    assert_eq!(after(&[Hint(1), Inserted(2), Inserted(1)], 1), None);
    assert_eq!(after(&[Moved(1, 2), Inserted(1)], 1), None);
    assert_eq!(after(&[Moved(1, 2), Inserted(1)], 2), Some(1));
}

#[test]
fn rows_to_be_looked_at_do_not_evict_each_other() {
    // A rebuilt table: all rows that it had, then all that it has.
    let touches = [Look(1), Look(2), Look(3), Inserted(1), Inserted(2)];
    assert_eq!(who_is_who(touches).into_iter().collect::<Vec<_>>(), [(1, Some(1)), (2, Some(2)), (3, Some(3))]);
}

#[test]
fn a_hint_before_a_write_that_was_refused_evicts_nothing() {
    // INSERT OR IGNORE meets row 1 and does nothing; then row 1 goes, and row 1 is written by REPLACE on its own key.
    assert_eq!(after(&[Hint(1), Hint(1), Inserted(1)], 1), Some(1));
}

#[test]
fn rows_that_swap_keys_keep_who_they_are() {
    let swap = [Moved(1, -1), Moved(2, 1), Moved(-1, 2)];
    assert_eq!(after(&swap, 1), Some(2));
    assert_eq!(after(&swap, 2), Some(1));
}
