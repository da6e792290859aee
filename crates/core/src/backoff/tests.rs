use super::*;

#[test]
fn waits_double_from_half_a_second_to_a_minute() {
    let mut backoff = Backoff::default();
    let bounds: Vec<u64> = (0..10).map(bound_ms).collect();
    assert_eq!(bounds, [500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000, 60_000]);
    for bound in bounds {
        assert_eq!(backoff.next_ms(bound - 1), bound, "the whole bound can be drawn");
    }
}

#[test]
fn a_wait_is_never_zero_and_failures_never_overflow() {
    let mut backoff = Backoff { failures: u32::MAX };
    assert_eq!(backoff.next_ms(0), 1);
    assert_eq!(backoff.failures(), u32::MAX);
    backoff.reset();
    assert_eq!(backoff.next_ms(499), 500);
}
