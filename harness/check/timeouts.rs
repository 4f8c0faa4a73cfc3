//! No wait ended before its time without success, and none late.

use super::Findings;
use super::lives::Lives;
use super::lock_words::{time, who};
use super::spans::{Spans, is_end_of_transaction};
use crate::history::{History, Operation};
use crate::protocol::{ErrorCode, Op};
use std::collections::HashSet;

const MS: u64 = 1_000_000;

/// A driver counts in milliseconds and may round down.
const EARLY_NS: u64 = MS;

pub(super) fn check(history: &History, findings: &mut Findings) {
    // A process that is stopped in the middle of a write holds up all the others.
    let pauses = Spans::pauses(history);
    let lives = Lives::of(history);
    let end_ns = history.end_ns();
    let late_ns = history.bounds().late_ms.saturating_mul(MS);
    let mut in_transaction: HashSet<u64> = HashSet::new();
    for operation in &history.operations {
        match operation.op {
            Op::Begin if operation.may_have_happened() => {
                in_transaction.insert(operation.session);
            }
            Op::Commit | Op::Rollback if is_end_of_transaction(&operation.outcome) => {
                in_transaction.remove(&operation.session);
            }
            _ => {}
        }
        let Some(Some(timeout_ms)) = operation.op.timeout_ms() else {
            continue;
        };
        findings.examined(1);
        let timeout_ns = timeout_ms.saturating_mul(MS);
        // In a transaction of its own, on a store with one writer, waiting can't help.
        if !in_transaction.contains(&operation.session) {
            early(operation, timeout_ns, findings);
        }
        let lived = lives.get(operation.session).lived_until_ns;
        let until = operation.completed_ns.unwrap_or(end_ns);
        let until = until.min(lived.max(operation.invoked_ns));
        let due = operation
            .invoked_ns
            .saturating_add(timeout_ns)
            .saturating_add(late_ns)
            .saturating_add(pauses.within(operation.invoked_ns, until));
        if until > due {
            late(operation, timeout_ns, late_ns, until, findings);
        }
    }
}

fn early(operation: &Operation, timeout_ns: u64, findings: &mut Findings) {
    let is_timeout = |failure: &crate::protocol::Failure| failure.error == ErrorCode::Timeout;
    let Some(completed) = operation.completed_ns else {
        return;
    };
    let waited = completed.saturating_sub(operation.invoked_ns);
    if operation.failure().is_some_and(is_timeout) && waited.saturating_add(EARLY_NS) < timeout_ns {
        let message = format!(
            "{}'s {} gave up after {}, though it was to wait for {}",
            who(operation),
            what(&operation.op),
            time(waited),
            time(timeout_ns),
        );
        findings.violation(message, [operation.id]);
    }
}

fn late(operation: &Operation, timeout_ns: u64, late_ns: u64, until: u64, findings: &mut Findings) {
    let ended = match (operation.ok(), operation.completed_ns) {
        (Some(_), _) => "succeeded",
        (None, Some(_)) if !operation.is_info() => "failed",
        _ => "still had no answer",
    };
    let message = format!(
        "{}'s {} {ended} after {}, though it was to wait for no longer than {} (more than {} late)",
        who(operation),
        what(&operation.op),
        time(until - operation.invoked_ns),
        time(timeout_ns),
        time(late_ns),
    );
    findings.violation(message, [operation.id]);
}

fn what(op: &Op) -> String {
    match op {
        Op::LockAcquire { lock, .. } => format!("{} of {lock}", op.name()),
        Op::QueueGet { name, .. }
        | Op::QueueGetBatch { name, .. }
        | Op::LogNext { name, .. }
        | Op::ChannelNext { name, .. } => format!("{} of {name:?}", op.name()),
        _ => op.name().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::script::Script;
    use super::super::{CheckSpec, Verdict};
    use super::*;
    use crate::history::SessionEnd;
    use crate::program::Fault;
    use serde_json::json;

    fn get(timeout_ms: Option<u64>) -> Op {
        Op::QueueGet {
            name: "q".into(),
            timeout_ms,
        }
    }

    fn script() -> (Script, u64) {
        let mut script = Script::new(CheckSpec::Timeouts);
        let session = script.session(3, 0);
        (script, session)
    }

    #[test]
    fn waits_that_end_in_time_pass() {
        let (mut script, session) = script();
        script.fail(session, 0, 100, get(Some(100)), ErrorCode::Timeout);
        script.fail(session, 101, 200, get(Some(100)), ErrorCode::Timeout);
        script.fail(session, 200, 3300, get(Some(100)), ErrorCode::Timeout);
        script.ok(session, 3400, 3401, get(Some(100)), json!({}));
        script.fail(session, 3402, 3403, get(Some(100)), ErrorCode::Locked);
        script.ok(session, 3500, 90_000, get(None), json!({}));
        script.fail(session, 90_000, 90_001, get(Some(0)), ErrorCode::Timeout);
        let result = script.judge();
        assert_eq!((result.verdict, result.examined), (Verdict::Pass, 6));
    }

    #[test]
    fn early_and_late_fail_in_words() {
        let (mut script, session) = script();
        script.fail(session, 0, 98, get(Some(100)), ErrorCode::Timeout);
        script.ok(session, 200, 3301, get(Some(100)), json!({}));
        script.info(session, 4000, None, get(Some(100)));
        let other = script.session(4, 0);
        script.ok(other, 5000, 9000, Op::Begin, ());
        let said: Vec<_> = script
            .judge()
            .violations
            .into_iter()
            .map(|violation| violation.message)
            .collect();
        assert_eq!(
            said,
            [
                "worker 3's queue-get of \"q\" gave up after 98 ms, though it was to wait for 100 ms",
                "worker 3's queue-get of \"q\" succeeded after 3.101 s, though it was to wait for \
                 no longer than 100 ms (more than 3 s late)",
                "worker 3's queue-get of \"q\" still had no answer after 5 s, though it was to wait \
                 for no longer than 100 ms (more than 3 s late)",
            ]
        );
    }

    #[test]
    fn pauses_and_deaths_are_no_lateness() {
        let (mut script, session) = script();
        let stop = Fault::Stop {
            worker: 9,
            for_ms: 2000,
        };
        script.fault(1000, stop, &[], Some(3000));
        script.fail(session, 0, 5100, get(Some(100)), ErrorCode::Timeout);
        script.info(session, 6000, Some(20_000), get(Some(100)));
        script.fault(7000, Fault::Kill { worker: 3 }, &[session], None);
        script.over(session, 20_000, SessionEnd::Killed);
        assert_eq!(script.judge().verdict, Verdict::Pass);
        script.history.operations[0].completed_ns = Some(5_101_000_000);
        assert_eq!(script.judge().violation_count, 1);
        script.history.faults[1].at_ns = 10_000_000_000;
        assert_eq!(script.judge().violation_count, 2);
    }

    #[test]
    fn a_transaction_may_refuse_to_wait() {
        let (mut script, session) = script();
        script.ok(session, 0, 1, Op::Begin, ());
        script.fail(session, 2, 3, get(Some(100)), ErrorCode::Timeout);
        script.ok(session, 4, 5, Op::Commit, ());
        assert_eq!(script.judge().verdict, Verdict::Pass);
        script.fail(session, 6, 7, get(Some(100)), ErrorCode::Timeout);
        assert_eq!(script.judge().verdict, Verdict::Fail);
    }
}
