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

impl Ends {
    /// Of this history.
    pub(super) fn of(history: &History) -> Self {
        let mut ends = HashMap::new();
        for fault in history
            .faults
            .iter()
            .filter(|fault| !fault.fault.is_pause())
        {
            for session in &fault.sessions {
                ends.entry(*session).or_insert(fault.at_ns);
            }
        }
        let given_up = history
            .sessions
            .iter()
            .filter(|session| matches!(session.over, Some((_, SessionEnd::GivenUp))))
            .map(|session| session.session);
        Self {
            hit: ends,
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
        self.hit_by(operation.session, at_ns)
            || gone && self.given_up.contains(&operation.session)
    }

    /// Whether it was hit by the moment `at_ns`.
    pub(super) fn hit_by(&self, session: u64, at_ns: u64) -> bool {
        self.hit.get(&session).is_some_and(|hit_ns| *hit_ns <= at_ns)
    }
}
