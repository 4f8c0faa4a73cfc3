//! One clock for all processes: CLOCK_MONOTONIC in nanoseconds.
//!
//! Linux counts it from boot, so moments of two processes can be compared.
//! `std::time::Instant` reads the same clock, but has no number that could be
//! sent; Python's `time.monotonic_ns()` is that number.

use rustix::time::{ClockId, clock_gettime};

/// Now.
pub(crate) fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    // Neither is ever negative: the time since boot.
    now.tv_sec.cast_unsigned() * 1_000_000_000 + now.tv_nsec.cast_unsigned()
}
