//! Virtual time: one monotonic clock for all, and a wall clock for each process, which may be wrong.
//!
//! What must stay true: time goes on only when somebody does something that takes time, or when
//! nobody can do anything before a certain moment. It never goes back; a wall clock may.

use beaver_host::machine::Clocks;
use rand::RngCore as _;
use rand_chacha::ChaCha8Rng;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Where all wall clocks that are right begin: 2026-01-01 00:00 UTC.
const EPOCH_S: u64 = 1_767_225_600;

/// What reading a clock costs.
const READING_NS: u64 = 25;

/// The monotonic clock, in nanoseconds since the run began.
#[derive(Clone, Debug, Default)]
pub(crate) struct Time(Arc<AtomicU64>);

impl Time {
    pub(crate) fn now_ns(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn pass(&self, ns: u64) {
        let now_ns = self.now_ns().saturating_add(ns);
        self.0.store(now_ns, Ordering::Relaxed);
    }

    /// Nothing happens if that is past.
    pub(crate) fn reach(&self, at_ns: u64) {
        self.0.store(self.now_ns().max(at_ns), Ordering::Relaxed);
    }
}

/// A process's wall clock.
#[derive(Debug, Default)]
pub(crate) struct WallClock {
    offset_ns: AtomicI64,
    /// By how much it is too fast, in millionths.
    drift_ppm: i64,
    /// In what steps it goes on; 0: as fine as time.
    resolution_ns: u64,
}

impl WallClock {
    pub(crate) fn new(offset_ms: i64, drift_ppm: i64, resolution_ms: u64) -> Self {
        Self {
            offset_ns: AtomicI64::new(offset_ms.saturating_mul(1_000_000)),
            drift_ppm,
            resolution_ns: resolution_ms.saturating_mul(1_000_000),
        }
    }

    /// Somebody sets it.
    pub(crate) fn jump(&self, by_ms: i64) {
        let by_ns = by_ms.saturating_mul(1_000_000);
        let offset_ns = self.offset_ns.load(Ordering::Relaxed);
        self.offset_ns
            .store(offset_ns.saturating_add(by_ns), Ordering::Relaxed);
    }

    fn read(&self, now_ns: u64) -> Duration {
        let now = i128::from(EPOCH_S) * 1_000_000_000 + i128::from(now_ns);
        let drift = i128::from(now_ns) * i128::from(self.drift_ppm) / 1_000_000;
        let offset = i128::from(self.offset_ns.load(Ordering::Relaxed));
        let ns = u64::try_from((now + drift + offset).max(0)).unwrap_or(u64::MAX);
        let past = ns.checked_rem(self.resolution_ns).unwrap_or(0);
        Duration::from_nanos(ns - past)
    }
}

/// What one instance reads.
pub(crate) struct InstanceClocks {
    time: Time,
    wall: Arc<WallClock>,
    random: Mutex<ChaCha8Rng>,
}

impl InstanceClocks {
    pub(crate) fn new(time: Time, wall: Arc<WallClock>, random: ChaCha8Rng) -> Self {
        Self {
            time,
            wall,
            random: Mutex::new(random),
        }
    }
}

impl Clocks for InstanceClocks {
    fn wall(&self) -> Duration {
        self.time.pass(READING_NS);
        self.wall.read(self.time.now_ns())
    }

    fn monotonic_ns(&self) -> u64 {
        self.time.pass(READING_NS);
        self.time.now_ns()
    }

    fn random(&self) -> u64 {
        let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
        random.next_u64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wall_clock_is_off_drifts_jumps_and_has_steps() {
        let second = 1_000_000_000;
        let right = WallClock::default().read(second);
        assert_eq!(right, Duration::from_secs(EPOCH_S + 1));
        let behind = WallClock::new(-2000, 0, 0);
        assert_eq!(behind.read(second), Duration::from_secs(EPOCH_S - 1));
        behind.jump(5000);
        assert_eq!(behind.read(second), Duration::from_secs(EPOCH_S + 4));
        let fast = WallClock::new(0, 100, 0);
        assert_eq!(fast.read(second) - right, Duration::from_micros(100));
        let coarse = WallClock::new(0, 0, 1000);
        assert_eq!(coarse.read(second + 999), right);
    }

    #[test]
    fn time_never_goes_back() {
        let time = Time::default();
        time.reach(10);
        time.reach(5);
        time.pass(1);
        assert_eq!(time.clone().now_ns(), 11);
    }
}
