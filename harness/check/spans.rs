//! Times during which something lasted: pauses, open transactions.

use crate::history::{FaultRecord, History, Outcome};
use crate::protocol::{ErrorCode, Op};
use std::collections::HashMap;

/// Spans of time that don't touch, in order.
#[derive(Debug, Default)]
pub(super) struct Spans {
    /// From, to, and how long all before it are together.
    spans: Vec<(u64, u64, u64)>,
}

impl Spans {
    /// The union of some spans.
    pub(super) fn new(mut all: Vec<(u64, u64)>) -> Self {
        all.sort_unstable();
        let mut spans: Vec<(u64, u64, u64)> = Vec::new();
        for (from, to) in all {
            match spans.last_mut() {
                Some((_, last, _)) if from <= *last => *last = to.max(*last),
                last => {
                    let before = last.map_or(0, |(from, to, before)| *before + (*to - *from));
                    spans.push((from, to.max(from), before));
                }
            }
        }
        Self { spans }
    }

    /// For how long of the time between the two it lasted.
    pub(super) fn within(&self, from: u64, to: u64) -> u64 {
        let until = |at: u64| match self.spans[..self.spans.partition_point(|it| it.0 < at)].last()
        {
            Some((from, to, before)) => before + (at.min(*to) - from),
            None => 0,
        };
        if to > from {
            until(to) - until(from)
        } else {
            0
        }
    }

    /// When processes were stopped.
    pub(super) fn pauses(history: &History) -> Self {
        Self::new(paused(history).map(|(span, _)| span).collect())
    }

    /// When each session's process was stopped.
    pub(super) fn pauses_of_sessions(history: &History) -> HashMap<u64, Self> {
        let mut all: HashMap<u64, Vec<(u64, u64)>> = HashMap::new();
        for (span, fault) in paused(history) {
            for session in &fault.sessions {
                all.entry(*session).or_default().push(span);
            }
        }
        let spans = |(session, spans)| (session, Self::new(spans));
        all.into_iter().map(spans).collect()
    }

    /// When nobody's fault but a program's own kept a system with a single writer from doing
    /// anything: processes were stopped, perhaps in the middle of a write, or transactions open.
    pub(super) fn hindrances(history: &History) -> Self {
        let mut all: Vec<_> = paused(history).map(|(span, _)| span).collect();
        all.extend(transactions(history));
        Self::new(all)
    }
}

fn paused(history: &History) -> impl Iterator<Item = ((u64, u64), &FaultRecord)> {
    history.faults.iter().filter_map(|fault| {
        let for_ns = fault.fault.for_ms()?.saturating_mul(1_000_000);
        // Without an end it lasted as long as it was to: no excuse is for ever.
        let planned = fault.at_ns.saturating_add(for_ns);
        Some(((fault.at_ns, fault.until_ns.unwrap_or(planned)), fault))
    })
}

/// When transactions may have been open.
fn transactions(history: &History) -> Vec<(u64, u64)> {
    let mut open: HashMap<u64, u64> = HashMap::new();
    let mut all = Vec::new();
    for operation in &history.operations {
        match operation.op {
            Op::Begin if operation.may_have_happened() => {
                open.entry(operation.session)
                    .or_insert(operation.invoked_ns);
            }
            Op::Commit | Op::Rollback if is_end_of_transaction(&operation.outcome) => {
                if let Some(from) = open.remove(&operation.session) {
                    all.push((from, operation.latest_ns()));
                }
            }
            _ => {}
        }
    }
    for (session, from) in open {
        let over = history.session(session).and_then(|it| it.over);
        all.push((from, over.map_or(u64::MAX, |(at, _)| at)));
    }
    all
}

/// Whether no transaction is open after a `commit` or `rollback` with this outcome.
pub(super) fn is_end_of_transaction(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Ok { .. } => true,
        Outcome::Fail(failure) => matches!(
            failure.error,
            ErrorCode::Conflict | ErrorCode::NoTransaction
        ),
        Outcome::Info(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::CheckSpec;
    use super::super::script::Script;
    use super::*;
    use crate::history::SessionEnd;
    use crate::program::Fault;

    #[test]
    fn a_pause_without_an_end_is_no_excuse_for_ever() {
        let mut script = Script::new(CheckSpec::Completion);
        let one = script.session(0, 0);
        let stop = Fault::Stop {
            worker: 0,
            for_ms: 30,
        };
        script.fault(10, stop, &[one], None);
        let ms = |at: u64| at * 1_000_000;
        assert_eq!(Spans::pauses(&script.history).within(0, ms(99)), ms(30));
        let of_sessions = Spans::pauses_of_sessions(&script.history);
        assert_eq!(of_sessions[&one].within(ms(20), ms(99)), ms(20));
    }

    #[test]
    fn overlaps_count_once() {
        let spans = Spans::new(vec![(10, 20), (50, u64::MAX), (15, 30), (30, 31)]);
        assert_eq!(spans.within(0, 5), 0);
        assert_eq!(spans.within(0, 12), 2);
        assert_eq!(spans.within(12, 25), 13);
        assert_eq!(spans.within(0, 60), 31);
        assert_eq!(spans.within(55, 60), 5);
        assert_eq!(spans.within(60, 55), 0);
        assert_eq!(Spans::default().within(0, u64::MAX), 0);
    }

    #[test]
    fn a_transaction_is_open_until_it_certainly_is_not() {
        let mut script = Script::new(CheckSpec::LockLiveness {
            dead_holder_ms: None,
        });
        let (one, two) = (script.session(0, 0), script.session(1, 0));
        script.ok(one, 10, 11, Op::Begin, ());
        script.fail(one, 12, 13, Op::Commit, ErrorCode::Busy);
        script.ok(one, 14, 16, Op::Rollback, ());
        script.ok(two, 20, 21, Op::Begin, ());
        script.over(two, 30, SessionEnd::Killed);
        let spans = Spans::hindrances(&script.history);
        let ms = |at: u64| at * 1_000_000;
        assert_eq!(spans.within(0, ms(18)), ms(6));
        assert_eq!(spans.within(ms(18), ms(99)), ms(10));
    }
}
