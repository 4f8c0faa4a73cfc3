//! Names that workers signal and await.

use std::collections::HashSet;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Which names have been signalled: once is for ever.
#[derive(Debug, Default)]
pub(super) struct Signals {
    given: Mutex<HashSet<String>>,
    changed: Condvar,
}

impl Signals {
    pub(super) fn give(&self, name: &str) {
        self.given
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(name.to_owned());
        self.changed.notify_all();
    }

    /// Waits for the name; false if it wasn't signalled within `limit`, or `halted` says so.
    pub(super) fn wait(&self, name: &str, limit: Duration, halted: impl Fn() -> bool) -> bool {
        let until = Instant::now() + limit;
        let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if given.contains(name) {
                return true;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || halted() {
                return false;
            }
            // In slices, because nobody signals that a run was halted.
            let slice = left.min(Duration::from_millis(50));
            given = self
                .changed
                .wait_timeout(given, slice)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_reaches_who_comes_before_and_after_it() {
        let signals = Signals::default();
        std::thread::scope(|scope| {
            let early = scope.spawn(|| signals.wait("a", Duration::from_secs(60), || false));
            signals.give("a");
            assert!(early.join().unwrap());
        });
        assert!(signals.wait("a", Duration::ZERO, || false));
        assert!(!signals.wait("b", Duration::ZERO, || false));
        assert!(!signals.wait("b", Duration::from_secs(60), || true));
    }
}
