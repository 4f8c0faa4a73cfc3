//! Every error is one of these, or follows from a fault.
//!
//! The rule, without any "shortly after": an error is excused if
//! - its code is in `allow` (which the program chooses: a `timeout` where it drains a queue, `lock-lost`
//!   where grants run out);
//! - it is `gone`, and a fault that ends a session hit the operation's session before the error came, or
//!   the harness gave the session up;
//! - it says that a lock or a place in its line is gone, and the session's process was stopped before the
//!   error came: meanwhile its time to live may have passed;
//! - it is `busy`, of an operation whose time may run out (it waits, and `timeout` is allowed): others wrote
//!   all that time;
//! - it is `no-transaction`, for a `rollback` after an operation that failed in the same transaction
//!   (and is judged itself): some systems undo a transaction with the first error.
//!
//! An operation that was never answered has no error: [`completion`](super::completion) judges it.

use super::Findings;
use super::failures::Failures;
use super::faults::Ends;
use super::spans::Spans;
use crate::history::History;
use crate::protocol::{ErrorCode, Op};
use std::collections::HashSet;

const MS: u64 = 1_000_000;

pub(super) fn check(history: &History, allow: &[ErrorCode], findings: &mut Findings) {
    let ends = Ends::of(history);
    let paused = Spans::pauses_of_sessions(history);
    let mut failures = Failures::default();
    // Sessions with a failure since their transaction began.
    let mut failed: HashSet<u64> = HashSet::new();
    for operation in &history.operations {
        let Some(completed_ns) = operation.completed_ns else {
            continue;
        };
        findings.examined(1);
        if operation.op == Op::Begin {
            failed.remove(&operation.session);
        }
        let Some(failure) = operation.failure() else {
            continue;
        };
        let excused = allow.contains(&failure.error)
            || match failure.error {
                ErrorCode::WaitCleared | ErrorCode::LockLost | ErrorCode::NotHeld => {
                    let pauses = paused.get(&operation.session);
                    pauses.is_some_and(|pauses| pauses.within(0, completed_ns) > 0)
                }
                ErrorCode::Busy => {
                    let timeout_ns = operation
                        .op
                        .timeout_ms()
                        .flatten()
                        .map(|ms| ms.saturating_mul(MS));
                    // A millisecond for a driver that rounds.
                    let lasted_ns = completed_ns
                        .saturating_sub(operation.invoked_ns)
                        .saturating_add(MS);
                    timeout_ns.is_some_and(|timeout_ns| lasted_ns >= timeout_ns)
                        && allow.contains(&ErrorCode::Timeout)
                }
                ErrorCode::Gone => ends.explain(operation),
                ErrorCode::NoTransaction => {
                    operation.op == Op::Rollback && failed.contains(&operation.session)
                }
                _ => false,
            };
        failed.insert(operation.session);
        if !excused {
            failures.add(operation);
        }
    }
    failures.report("failed with", findings);
}

#[cfg(test)]
mod tests {
    use super::super::script::Script;
    use super::super::{CheckSpec, Verdict};
    use crate::history::{Outcome, SessionEnd};
    use crate::program::Fault;
    use crate::protocol::{ErrorCode, Failure, Op};

    fn script() -> (Script, u64) {
        let mut script = Script::new(CheckSpec::Errors {
            allow: vec![ErrorCode::Timeout],
        });
        let session = script.session(0, 0);
        (script, session)
    }

    fn read() -> Op {
        Op::ListItems { name: "l".into() }
    }

    #[test]
    fn what_is_allowed_or_follows_from_a_fault_is_no_violation() {
        let (mut script, a) = script();
        script.ok(a, 1, 2, read(), ());
        script.fail(a, 3, 4, read(), ErrorCode::Timeout);
        script.info(a, 5, Some(8), read());
        script.fault(7, Fault::Kill { worker: 0 }, &[a], None);
        script.over(a, 7, SessionEnd::Killed);
        let result = script.judge();
        assert_eq!(result.verdict, Verdict::Pass, "{result:?}");
        assert_eq!(result.examined, 3);
    }

    #[test]
    fn a_place_may_be_lost_while_its_owner_is_stopped_and_not_before() {
        let (mut script, a) = script();
        script.fail(a, 1, 2, read(), ErrorCode::WaitCleared);
        assert_eq!(script.judge().violation_count, 1);
        script.history.operations.clear();
        script.fault(
            3,
            Fault::Stop {
                worker: 0,
                for_ms: 5,
            },
            &[a],
            Some(8),
        );
        script.fail(a, 4, 9, read(), ErrorCode::WaitCleared);
        assert_eq!(script.judge().verdict, Verdict::Pass);
        let other = script.session(1, 0);
        script.fail(other, 10, 11, read(), ErrorCode::WaitCleared);
        assert_eq!(script.judge().violation_count, 1);
    }

    #[test]
    fn time_may_run_out_while_others_write() {
        let (mut script, a) = script();
        let get = |timeout_ms| Op::QueueGet {
            name: "q".into(),
            timeout_ms,
        };
        script.fail(a, 1, 6, get(Some(5)), ErrorCode::Busy);
        assert_eq!(script.judge().verdict, Verdict::Pass);
        // Long before its time.
        script.fail(a, 7, 8, get(Some(500)), ErrorCode::Busy);
        assert_eq!(script.judge().violation_count, 1);
        script.history.operations.pop();
        script.fail(a, 9, 10, get(None), ErrorCode::Busy);
        script.fail(a, 11, 12, read(), ErrorCode::Busy);
        assert_eq!(script.judge().violation_count, 2);
    }

    #[test]
    fn errors_that_are_alike_are_one_violation_in_the_drivers_words() {
        let (mut script, a) = script();
        for (from, row) in [(1, 17), (3, 4), (5, 1234)] {
            let id = script.info(a, from, Some(from + 1), read());
            script.history.operations[id as usize - 1].outcome = Outcome::Fail(Failure::new(
                ErrorCode::Failed,
                format!("IntegrityError: UNIQUE constraint failed in row {row}"),
            ));
        }
        script.fail(a, 7, 8, read(), ErrorCode::Locked);
        let result = script.judge();
        assert_eq!((result.verdict, result.violation_count), (Verdict::Fail, 2));
        assert_eq!(
            result.violations[0].message,
            "list-items failed with failed: IntegrityError: UNIQUE constraint failed in row 17 \
             (3 times, first for worker 0)"
        );
        assert_eq!(result.violations[0].operations, [1, 2, 3]);
        assert_eq!(
            result.violations[1].message,
            "list-items failed with locked (worker 0)"
        );
    }

    #[test]
    fn gone_without_a_fault_that_ends_sessions_is_found() {
        let (mut script, a) = script();
        let stop = Fault::Stop {
            worker: 0,
            for_ms: 1,
        };
        script.fault(0, stop, &[a], Some(1));
        script.info(a, 2, Some(3), read());
        script.fault(4, Fault::Drop { worker: 0 }, &[a], None);
        script.info(a, 5, Some(6), read());
        let result = script.judge();
        assert_eq!((result.verdict, result.violation_count), (Verdict::Fail, 1));
        assert_eq!(result.violations[0].operations, [1]);
    }

    #[test]
    fn a_rollback_of_what_is_undone_already_is_no_violation_of_its_own() {
        let (mut script, a) = script();
        script.ok(a, 1, 2, Op::Begin, ());
        script.fail(a, 3, 4, read(), ErrorCode::Timeout);
        script.fail(a, 5, 6, Op::Rollback, ErrorCode::NoTransaction);
        assert_eq!(script.judge().verdict, Verdict::Pass);
        script.ok(a, 7, 8, Op::Begin, ());
        script.fail(a, 9, 10, Op::Rollback, ErrorCode::NoTransaction);
        assert_eq!(script.judge().violations[0].operations, [5]);
    }
}
