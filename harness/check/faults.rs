//! Which sessions were ended by a fault of the harness.

use crate::history::History;
use std::collections::HashMap;

/// When sessions were hit by a fault that ends them: not by a pause, which goes by.
#[derive(Debug)]
pub(super) struct Ends(HashMap<u64, u64>);

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
        Self(ends)
    }

    /// Whether it was hit by the moment `at_ns`.
    pub(super) fn hit_by(&self, session: u64, at_ns: u64) -> bool {
        self.0.get(&session).is_some_and(|hit_ns| *hit_ns <= at_ns)
    }
}
