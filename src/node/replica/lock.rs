//! Waiting for the write lock while another process has it: SQLite's busy handler.
//!
//! A process that writes without a pause leaves a gap of microseconds after each transaction. SQLite's own handler, with naps
//! of milliseconds, seldom met one where the transactions were long: a node stood still for twenty seconds.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// How long the lock is waited for.
const WRITE_LOCK: Duration = Duration::from_millis(10);
/// Between two tries; the system makes about a tenth of a millisecond of it.
const NAP: Duration = Duration::from_micros(50);

thread_local! {
    /// When the wait under way ends.
    static UNTIL: Cell<Option<Instant>> = const { Cell::new(None) };
    static IS_SPINNING: Cell<bool> = const { Cell::new(false) };
}

/// Says whether waits of this thread are without naps from now on, as rounds of knocking are that come after long waits.
pub(super) fn spin(is_spinning: bool) {
    IS_SPINNING.set(is_spinning);
}

/// The busy handler: true to try once more.
pub(super) fn wait(tries: i32) -> bool {
    let now = Instant::now();
    let until = UNTIL.get().filter(|_| tries > 0).unwrap_or(now + WRITE_LOCK);
    UNTIL.set(Some(until));
    if !IS_SPINNING.get() {
        std::thread::sleep(NAP);
    }
    now < until
}
