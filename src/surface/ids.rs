//! Ids that need no coordination.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::node::sidecar::random;

const RANDOM_BITS: u32 = 21;

/// A positive 63-bit id: 42 bits of milliseconds since 1970, then 21 random ones; in one process each is greater than the one
/// before. Two devices that draw in the same millisecond meet once in two million times.
///
/// # Errors
/// If the system gives no random numbers.
pub(super) fn id() -> Result<i64, getrandom::Error> {
    static LAST: AtomicI64 = AtomicI64::new(0);
    let ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as i64) & ((1 << 42) - 1);
    let [a, b, c, ..] = random()?;
    let drawn = (ms << RANDOM_BITS) | i64::from(u32::from_le_bytes([a, b, c, 0]) & ((1 << RANDOM_BITS) - 1));
    let next = |last| Some(drawn.max(last + 1));
    let last = LAST.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).unwrap_or_default();
    Ok(drawn.max(last + 1))
}

/// A UUID of version 7.
pub(super) fn uuid() -> String {
    uuid::Uuid::now_v7().to_string()
}
