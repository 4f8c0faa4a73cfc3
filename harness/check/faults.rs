//! Which sessions were ended by the harness.

use crate::history::{History, Operation, SessionEnd};
use crate::protocol::ErrorCode;
use std::collections::{HashMap, HashSet};

/// When sessions were hit by a fault that ends them: not by a pause, which goes by. And which were
/// given up.
#[derive(Debug)]
pub(super) struct Ends {
    hit: HashMap<u64, u64>,
    given_up: HashSet<u64>,
}

/// When sessions were hit by what ended them. One that was lost or given up had ended before,
/// whatever was about to be done to it.
pub(super) fn hit(history: &History) -> HashMap<u64, u64> {
    let mut all: HashMap<u64, u64> = HashMap::new();
    for fault in history.faults.iter().filter(|it| !it.fault.is_pause()) {
        for session in &fault.sessions {
            let over = history.session(*session).and_then(|known| known.over);
            if !matches!(over, Some((_, SessionEnd::Lost | SessionEnd::GivenUp))) {
                let at = all.entry(*session).or_insert(fault.at_ns);
                *at = fault.at_ns.min(*at);
            }
        }
    }
    all
}

impl Ends {
    /// Of this history.
    pub(super) fn of(history: &History) -> Self {
        let given_up = history
            .sessions
            .iter()
            .filter(|session| matches!(session.over, Some((_, SessionEnd::GivenUp))))
            .map(|session| session.session);
        Self {
            hit: hit(history),
            given_up: given_up.collect(),
        }
    }

    /// Whether that is why the operation has no answer. Whatever ends with `gone` is the last of
    /// its session.
    pub(super) fn explain(&self, operation: &Operation) -> bool {
        let at_ns = operation.completed_ns.unwrap_or(u64::MAX);
        let gone = operation
            .failure()
            .is_some_and(|failure| failure.error == ErrorCode::Gone);
        self.hit_by(operation.session, at_ns) || gone && self.given_up.contains(&operation.session)
    }

    /// Whether it was hit by the moment `at_ns`.
    pub(super) fn hit_by(&self, session: u64, at_ns: u64) -> bool {
        self.hit
            .get(&session)
            .is_some_and(|hit_ns| *hit_ns <= at_ns)
    }
}
