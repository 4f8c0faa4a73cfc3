//! What a time to live, counted on the system's wall clocks, promises on the harness's.
//!
//! What must stay true: [`Clocks::held_until`] is no later, and [`Clocks::expired_by`] no
//! earlier, than the moment at which a correct system lets a grant expire.

use crate::history::History;
use crate::program::Fault;

const MS: u64 = 1_000_000;

/// `PROTOCOL.md` promises that a grant without a time to live of its own lasts so long at least.
pub(super) const DEFAULT_TTL_MIN_MS: u64 = 30_000;

/// The wall clocks of a run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clocks {
    /// How far they are apart. A grant may be stamped by any of them and be looked at by any
    /// other, the holder's need not be among them: with clocks that are further apart than a time to live,
    /// nothing is promised about who holds a lock when, only that a stale holder is refused.
    spread_ns: u64,
}

impl Clocks {
    pub(super) fn of(history: &History) -> Self {
        let offsets = || {
            let offsets = history.sessions.iter().map(|it| it.clock_offset_ms);
            offsets.chain(std::iter::once(0))
        };
        // Whoever is set while it goes on may be as far from the others as all that adds up to.
        let jumps = history.faults.iter().map(|fault| match fault.fault {
            Fault::ClockJump { by_ms, .. } => by_ms.unsigned_abs(),
            _ => 0,
        });
        let spread_ms = (offsets().max().unwrap_or(0))
            .abs_diff(offsets().min().unwrap_or(0))
            .saturating_add(jumps.fold(0, u64::saturating_add));
        Self {
            spread_ns: spread_ms.saturating_mul(MS),
        }
    }

    /// How far they are apart.
    pub(super) fn spread_ns(self) -> u64 {
        self.spread_ns
    }

    /// By how much a time to live may seem shorter or longer than it was given: the system
    /// may read a clock that ticks every 10 ms, a virtual machine's wall clock is adjusted now
    /// and then, and kernels slew clocks by up to 500 ppm.
    fn slack_ns(self, ttl_ns: u64) -> u64 {
        (50 * MS + ttl_ns / 100).saturating_add(self.spread_ns)
    }

    /// Until when a grant made or renewed no earlier than `from_ns` certainly lasts, if its
    /// holder leaves it alone.
    pub(super) fn held_until(self, from_ns: u64, ttl_ms: Option<u64>) -> u64 {
        let ttl_ns = ttl_ms.unwrap_or(DEFAULT_TTL_MIN_MS).saturating_mul(MS);
        from_ns.saturating_add(ttl_ns.saturating_sub(self.slack_ns(ttl_ns)))
    }

    /// When a grant made or renewed no later than `by_ns` is certainly over; never, as far as
    /// is known, if the time to live was left to the system.
    pub(super) fn expired_by(self, by_ns: u64, ttl_ms: Option<u64>) -> u64 {
        let Some(ttl_ms) = ttl_ms else {
            return u64::MAX;
        };
        let ttl_ns = ttl_ms.saturating_mul(MS);
        let lasts = ttl_ns.saturating_add(self.slack_ns(ttl_ns));
        by_ns.saturating_add(lasts)
    }
}

#[cfg(test)]
mod tests {
    use super::super::CheckSpec;
    use super::super::script::Script;
    use super::*;

    #[test]
    fn clocks_that_are_apart_promise_less() {
        let mut script = Script::new(CheckSpec::MutualExclusion);
        script.session(0, 0);
        let right = Clocks::of(&script.history);
        assert_eq!(right.held_until(5 * MS, Some(1000)), (5 + 940) * MS);
        assert_eq!(right.held_until(5 * MS, Some(10)), 5 * MS);
        assert_eq!(right.expired_by(5 * MS, Some(1000)), (5 + 1060) * MS);
        assert_eq!(right.expired_by(5 * MS, None), u64::MAX);
        assert_eq!(right.expired_by(5 * MS, Some(u64::MAX)), u64::MAX);
        script.history.sessions[0].clock_offset_ms = -300;
        let apart = Clocks::of(&script.history);
        assert_eq!(apart.held_until(0, Some(1000)), 640 * MS);
        assert_eq!(apart.expired_by(0, Some(1000)), 1360 * MS);
        assert_eq!(apart.held_until(0, None), (30_000 - 300 - 350) * MS);
    }
}
