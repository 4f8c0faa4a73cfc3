//! Who has signalled what, and who awaits it; not how one waits.
//!
//! What must stay true: a worker counts as at work again from the moment of the signal it awaits,
//! not from when it notices.

use std::collections::{BTreeMap, BTreeSet};

/// Which names have been signalled, once being for ever, and how many workers still wait.
#[derive(Debug)]
pub(crate) struct SignalState {
    workers: u32,
    given: BTreeSet<String>,
    /// How many await a name that wasn't signalled.
    awaited: BTreeMap<String, u32>,
    /// How many have ended their steps.
    finished: u32,
}

/// What there is for a worker that awaits a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Prospect {
    /// It was signalled.
    Came,
    /// Somebody is still at work, and may signal it.
    Open,
    /// Nobody can signal it unless some worker gives up first.
    Hopeless,
}

impl SignalState {
    pub(crate) fn new(workers: u32) -> Self {
        Self {
            workers,
            given: BTreeSet::new(),
            awaited: BTreeMap::new(),
            finished: 0,
        }
    }

    /// Workers that do nothing any more unless another does something first.
    fn idle(&self) -> u32 {
        self.finished + self.awaited.values().sum::<u32>()
    }

    /// The name is signalled: whoever awaits it is to look again.
    pub(crate) fn give(&mut self, name: &str) {
        self.awaited.remove(name);
        self.given.insert(name.to_owned());
    }

    /// One worker has ended its steps: whoever awaits anything is to look again.
    pub(crate) fn finished(&mut self) {
        self.finished += 1;
    }

    /// Whether all workers but the one that asks are idle, so that nothing happens until it
    /// does something itself.
    pub(crate) fn others_are_idle(&self) -> bool {
        self.idle() + 1 >= self.workers
    }

    /// A worker is about to await the name; returns whether it came already. If not, the worker is
    /// to look at once: perhaps it was the last that was at work.
    pub(crate) fn await_begins(&mut self, name: &str) -> bool {
        let came = self.given.contains(name);
        if !came {
            *self.awaited.entry(name.to_owned()).or_default() += 1;
        }
        came
    }

    /// What there is for a worker that began to await the name and hasn't given up. One that finds
    /// it [`Prospect::Hopeless`] gives up at once, before another looks: so only one does.
    pub(crate) fn still_awaits(&self, name: &str) -> Prospect {
        if self.given.contains(name) {
            Prospect::Came
        } else if self.idle() >= self.workers {
            Prospect::Hopeless
        } else {
            Prospect::Open
        }
    }

    /// A worker that began to await the name goes on without it.
    pub(crate) fn gives_up(&mut self, name: &str) {
        if let Some(count) = self.awaited.get_mut(name) {
            *count -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_those_who_await_each_other_the_first_that_looks_gives_up() {
        let mut state = SignalState::new(2);
        assert!(!state.await_begins("a"));
        assert_eq!(state.still_awaits("a"), Prospect::Open);
        assert!(state.others_are_idle());
        assert!(!state.await_begins("b"));
        assert_eq!(state.still_awaits("a"), Prospect::Hopeless);
        state.gives_up("a");
        assert_eq!(state.still_awaits("b"), Prospect::Open);
        state.give("b");
        assert_eq!(state.still_awaits("b"), Prospect::Came);
        assert!(state.await_begins("b"));
        assert!(!state.others_are_idle());
    }

    #[test]
    fn who_was_signalled_is_at_work_before_it_looks() {
        let mut state = SignalState::new(3);
        state.await_begins("a");
        state.await_begins("a");
        assert!(state.others_are_idle());
        state.give("a");
        assert!(!state.others_are_idle());
        state.finished();
        state.finished();
        assert!(state.others_are_idle());
        state.await_begins("b");
        assert_eq!(state.still_awaits("b"), Prospect::Hopeless);
    }
}
