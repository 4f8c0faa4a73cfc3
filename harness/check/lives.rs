//! How long sessions lived, as far as is certain.

use super::faults;
use crate::history::{History, Seen, SessionEnd};
use std::collections::HashMap;

/// One session.
#[derive(Clone, Copy, Debug)]
pub(super) struct Life {
    /// Until then it certainly lived and had not begun to close.
    pub(super) lived_until_ns: u64,
    /// From then on it was certainly over, and how; none: it lived to the end.
    pub(super) over: Option<(u64, SessionEnd)>,
}

impl Life {
    /// By when its locks were given back because it closed in good order.
    pub(super) fn closed_ns(&self) -> u64 {
        match self.over {
            Some((at, SessionEnd::Closed)) => at,
            _ => u64::MAX,
        }
    }

    /// By when it died, without giving anything back.
    pub(super) fn died_ns(&self) -> Option<u64> {
        self.over
            .filter(|(_, how)| *how != SessionEnd::Closed)
            .map(|(at, _)| at)
    }
}

/// All sessions.
#[derive(Debug)]
pub(super) struct Lives(HashMap<u64, Life>);

impl Lives {
    pub(super) fn of(history: &History) -> Self {
        // (last moment at which it certainly lived, last answer)
        let mut last: HashMap<u64, (u64, u64)> = HashMap::new();
        for operation in &history.operations {
            if let Some(completed) = operation.completed_ns
                && !operation.is_info()
            {
                let (asked, answered) = last.entry(operation.session).or_default();
                *asked = operation.invoked_ns.max(*asked);
                *answered = completed.max(*answered);
            }
        }
        let hit = faults::hit(history);
        // Who was given up lived and waited until then.
        let mut waited: HashMap<u64, u64> = HashMap::new();
        for observation in &history.observations {
            if let Seen::GaveUp { id, after_ms } = observation.seen
                && let Some(operation) = history.operation(id)
            {
                let until = after_ms.saturating_mul(1_000_000);
                let until = operation.invoked_ns.saturating_add(until);
                waited.insert(operation.session, until.min(observation.at_ns));
            }
        }
        let lives = history.sessions.iter().map(|session| {
            let number = session.session;
            let (asked, answered) = last
                .get(&number)
                .copied()
                .unwrap_or((session.opened_ns, session.opened_ns));
            let lived_until_ns = match (session.over, hit.get(&number)) {
                (None, None) => u64::MAX,
                // Noted before it is done.
                (_, Some(at)) => *at,
                // Noted after it was done; it isn't an operation, so it was asked for after the last.
                (Some((_, SessionEnd::Closed)), None) => answered,
                (Some((_, SessionEnd::GivenUp)), None) => {
                    waited.get(&number).map_or(asked, |until| asked.max(*until))
                }
                // Noticed later. Whoever answers lived when he was asked.
                (Some(_), None) => asked,
            };
            let over = session.over;
            (
                number,
                Life {
                    lived_until_ns,
                    over,
                },
            )
        });
        Self(lives.collect())
    }

    /// Of a session; one that isn't in the history lives for ever.
    pub(super) fn get(&self, session: u64) -> Life {
        self.0.get(&session).copied().unwrap_or(Life {
            lived_until_ns: u64::MAX,
            over: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::CheckSpec;
    use super::super::script::Script;
    use super::*;
    use crate::program::Fault;
    use crate::protocol::Op;

    #[test]
    fn a_session_lived_no_longer_than_is_certain() {
        let mut script = Script::new(CheckSpec::MutualExclusion);
        let sessions: Vec<u64> = (0..4).map(|worker| script.session(worker, 0)).collect();
        for session in &sessions {
            script.ok(*session, 10, 20, Op::Begin, ());
        }
        script.fault(30, Fault::Kill { worker: 1 }, &[sessions[1]], None);
        script.over(sessions[1], 40, SessionEnd::Killed);
        script.over(sessions[2], 40, SessionEnd::Closed);
        script.over(sessions[3], 40, SessionEnd::Lost);
        let lives = Lives::of(&script.history);
        let until = |at: usize| lives.get(sessions[at]).lived_until_ns;
        assert_eq!(until(0), u64::MAX);
        assert_eq!(until(1), 30_000_000);
        assert_eq!(until(2), 20_000_000);
        assert_eq!(until(3), 10_000_000);
        assert_eq!(lives.get(sessions[1]).died_ns(), Some(40_000_000));
        assert_eq!(lives.get(sessions[2]).closed_ns(), 40_000_000);
    }
}
