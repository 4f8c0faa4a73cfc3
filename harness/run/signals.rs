//! Names that workers signal and await.
//!
//! What must stay true: nobody waits for a signal that can't come any more. That is so once every
//! worker has ended its steps or awaits a name that wasn't signalled: no time need pass to know it.
//! Then one of them gives up and goes on with its steps, which may help the others.

mod state;

pub(crate) use state::{Prospect, SignalState};

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Which names have been signalled, for workers that are threads.
#[derive(Debug)]
pub(super) struct Signals {
    state: Mutex<SignalState>,
    changed: Condvar,
}

impl Signals {
    pub(super) fn new(workers: u32) -> Self {
        Self {
            state: Mutex::new(SignalState::new(workers)),
            changed: Condvar::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, SignalState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn give(&self, name: &str) {
        self.state().give(name);
        self.changed.notify_all();
    }

    /// One worker has ended its steps.
    pub(super) fn finished(&self) {
        self.state().finished();
        self.changed.notify_all();
    }

    /// Whether all workers but the one that asks are idle, so that nothing happens until it
    /// does something itself.
    pub(super) fn others_are_idle(&self) -> bool {
        self.state().others_are_idle()
    }

    /// Waits for the name; false if nobody can signal it any more, it wasn't signalled within
    /// `limit`, or `halted` says so.
    pub(super) fn wait(&self, name: &str, limit: Duration, halted: impl Fn() -> bool) -> bool {
        let until = Instant::now() + limit;
        let mut state = self.state();
        if state.await_begins(name) {
            return true;
        }
        loop {
            let prospect = state.still_awaits(name);
            if prospect == Prospect::Came {
                return true;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || halted() || prospect == Prospect::Hopeless {
                state.gives_up(name);
                return false;
            }
            // In slices, because nobody signals that a run was halted.
            let slice = left.min(Duration::from_millis(50));
            state = self
                .changed
                .wait_timeout(state, slice)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    #[test]
    fn a_signal_reaches_who_comes_before_and_after_it() {
        let signals = Signals::new(3);
        std::thread::scope(|scope| {
            let early = scope.spawn(|| signals.wait("a", LONG, || false));
            signals.give("a");
            assert!(early.join().unwrap());
        });
        assert!(signals.wait("a", Duration::ZERO, || false));
        assert!(!signals.wait("b", Duration::ZERO, || false));
        assert!(!signals.wait("b", LONG, || true));
    }

    #[test]
    fn nobody_waits_for_those_who_have_finished() {
        let signals = Signals::new(2);
        assert!(!signals.others_are_idle());
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| signals.wait("a", LONG, || false));
            signals.finished();
            assert!(!waits.join().unwrap());
        });
        assert!(signals.others_are_idle());
    }

    #[test]
    fn of_those_who_await_each_other_one_gives_up_and_may_help_the_other() {
        let signals = Signals::new(2);
        std::thread::scope(|scope| {
            let workers = [["a", "b"], ["b", "a"]].map(|[awaits, signal]| {
                let signals = &signals;
                scope.spawn(move || {
                    let came = signals.wait(awaits, LONG, || false);
                    signals.give(signal);
                    came
                })
            });
            let came = workers.map(|worker| worker.join().unwrap());
            assert_eq!(came.into_iter().filter(|came| *came).count(), 1);
        });
    }

    #[test]
    fn who_was_signalled_is_at_work_even_before_it_wakes() {
        let signals = Signals::new(2);
        std::thread::scope(|scope| {
            let first = scope.spawn(|| {
                assert!(signals.wait("a", LONG, || false));
                signals.give("b");
            });
            signals.give("a");
            assert!(signals.wait("b", LONG, || false));
            first.join().unwrap();
        });
    }
}
