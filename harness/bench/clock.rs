//! One clock for all processes: CLOCK_MONOTONIC in nanoseconds.
//!
//! Linux counts it from boot, so moments of two processes can be compared.
//! `std::time::Instant` reads the same clock, but has no number that could be
//! sent; Python's `time.monotonic_ns()` is that number.

use rustix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// Now.
pub(crate) fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    // Neither is ever negative: the time since boot.
    now.tv_sec.cast_unsigned() * 1_000_000_000 + now.tv_nsec.cast_unsigned()
}

/// How long it is until `at_ns`; nothing when it has passed.
pub(crate) fn until(at_ns: u64) -> Duration {
    Duration::from_nanos(at_ns.saturating_sub(now_ns()))
}
