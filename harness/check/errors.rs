//! Every error is one of these, or follows from a fault.
//!
//! The rule, without any "shortly after": an error is excused if
//! - its code is in `allow` (which the program chooses: a `timeout` where it drains a queue, `lock-lost`
//!   where grants run out);
//! - it says that a lock or a place in its line is gone, and the session's process was stopped since it asked for
//!   that: meanwhile its time to live may have passed;
//! - it is `busy`, of an operation whose time may run out (it waits, and `timeout` is allowed): others wrote
//!   all that time;
//! - it is `no-transaction`, for a `rollback` after an operation that failed in the same transaction
//!   (and is judged itself): some systems undo a transaction with the first error.
//!
//! Whether the error is definite makes no difference here: "in doubt" is never wrong, it only weakens what the
//! other checks can prove. An operation that was never answered, or only by `gone`, has no
//! error of the system's: [`completion`](super::completion) judges it.

use super::Findings;
use super::failures::Failures;
use super::spans::Spans;
use crate::history::{History, Operation};
use crate::protocol::{ErrorCode, LockName, Op};
use std::collections::{HashMap, HashSet};

const MS: u64 = 1_000_000;

pub(super) fn check(history: &History, allow: &[ErrorCode], findings: &mut Findings) {
    let paused = Spans::pauses_of_sessions(history);
    let mut failures = Failures::default();
    // Sessions with a failure since their transaction began.
    let mut failed: HashSet<u64> = HashSet::new();
    let mut held = Held::default();
    let was_paused = |operation: &Operation, since_ns| {
        let pauses = paused.get(&operation.session);
        let until_ns = operation.latest_ns();
        pauses.is_some_and(|pauses| pauses.within(since_ns, until_ns) > 0)
    };
    for operation in &history.operations {
        let Some(completed_ns) = operation.completed_ns else {
            continue;
        };
        held.add(operation);
        if operation.op == Op::Begin {
            failed.remove(&operation.session);
        }
        let Some(failure) = operation.failure() else {
            findings.examined(1);
            continue;
        };
        if failure.error == ErrorCode::Gone {
            continue;
        }
        findings.examined(1);
        let excused = allow.contains(&failure.error)
            || match failure.error {
                ErrorCode::WaitCleared => was_paused(operation, operation.invoked_ns),
                ErrorCode::LockLost | ErrorCode::NotHeld => {
                    was_paused(operation, held.since(operation))
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

/// The locks that each session holds, as far as it knows, and since when it asked for them.
#[derive(Default)]
struct Held<'h> {
    now: HashMap<u64, Vec<(&'h LockName, u64)>>,
    /// What was given back last, whose end the error may be about.
    given_back: HashMap<u64, u64>,
}

impl<'h> Held<'h> {
    fn add(&mut self, operation: &'h Operation) {
        let held = self.now.entry(operation.session).or_default();
        match &operation.op {
            Op::LockAcquire { lock, .. } if operation.ok().is_some() => {
                held.push((lock, operation.invoked_ns));
            }
            Op::LockRelease { lock } => {
                if let Some(at) = held.iter().rposition(|(name, _)| *name == lock) {
                    let (_, since_ns) = held.remove(at);
                    self.given_back.insert(operation.session, since_ns);
                }
            }
            _ => {}
        }
    }

    /// Since when the lock may have been held that the operation failed for.
    fn since(&self, operation: &Operation) -> u64 {
        let held = self.now.get(&operation.session).into_iter().flatten();
        let first = held.map(|(_, since_ns)| *since_ns).min();
        let given_back = match operation.op {
            Op::LockRelease { .. } => self.given_back.get(&operation.session).copied(),
            _ => None,
        };
        [first, given_back]
            .into_iter()
            .flatten()
            .fold(operation.invoked_ns, u64::min)
    }
}

#[cfg(test)]
mod tests {
    use super::super::script::Script;
    use super::super::{CheckSpec, Verdict, judge};
    use crate::history::{Outcome, SessionEnd};
    use crate::program::Fault;
    use crate::protocol::{ErrorCode, Failure, LockKind, LockName, Op};

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
    fn what_is_allowed_is_no_violation() {
        let (mut script, a) = script();
        script.ok(a, 1, 2, read(), ());
        script.fail(a, 3, 4, read(), ErrorCode::Timeout);
        let result = script.judge();
        assert_eq!(result.verdict, Verdict::Pass, "{result:?}");
        assert_eq!(result.examined, 2);
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
        // It asked once more, when all was well again.
        script.fail(a, 10, 11, read(), ErrorCode::WaitCleared);
        assert_eq!(script.judge().violation_count, 1);
        script.history.operations.pop();
        let other = script.session(1, 0);
        script.fail(other, 10, 11, read(), ErrorCode::WaitCleared);
        assert_eq!(script.judge().violation_count, 1);
    }

    #[test]
    fn a_lock_may_be_lost_by_a_stop_since_it_was_asked_for() {
        let lock = || LockName::new(LockKind::Lock, "l");
        let acquire = || Op::LockAcquire {
            lock: lock(),
            timeout_ms: None,
            ttl_ms: None,
        };
        let release = || Op::LockRelease { lock: lock() };
        let (mut script, a) = script();
        let stop = Fault::Stop {
            worker: 0,
            for_ms: 5,
        };
        script.ok(a, 1, 2, acquire(), ());
        script.fault(3, stop, &[a], Some(8));
        script.fail(a, 9, 10, read(), ErrorCode::LockLost);
        script.fail(a, 11, 12, release(), ErrorCode::LockLost);
        assert_eq!(script.judge().verdict, Verdict::Pass);
        script.ok(a, 13, 14, acquire(), ());
        script.fail(a, 15, 16, read(), ErrorCode::LockLost);
        script.fail(a, 17, 18, release(), ErrorCode::NotHeld);
        assert_eq!(script.judge().violation_count, 2);
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
    fn what_is_wrong_is_judged_once() {
        for (error, definite, by) in [
            // Allowed, so that to be in doubt about it is no fault.
            (ErrorCode::Timeout, false, None),
            (ErrorCode::Failed, false, Some("errors")),
            (ErrorCode::Failed, true, Some("errors")),
            (ErrorCode::Gone, false, Some("completion")),
        ] {
            let (mut script, a) = script();
            script.history.header.checks.push(CheckSpec::Completion);
            script.info(a, 1, Some(2), read());
            let failure = Failure {
                definite,
                ..Failure::new(error, "")
            };
            script.history.operations[0].outcome = if definite {
                Outcome::Fail(failure)
            } else {
                Outcome::Info(failure)
            };
            script.over(a, 3, SessionEnd::Closed);
            let results = judge(&script.history);
            let accusers = results.iter().filter(|it| it.verdict == Verdict::Fail);
            let accusers: Vec<_> = accusers.map(|it| it.spec.name()).collect();
            assert_eq!(accusers, Vec::from_iter(by), "{error} {definite}");
        }
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
