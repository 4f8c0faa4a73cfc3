//! Every operation was answered in time, and no process ended by itself.
//!
//! The rule: unless a fault that ends sessions hit its session, or the harness gave it up,
//! - each operation has an answer: `gone` is none, for it only says that the client is no more. An answer
//!   that leaves in doubt whether the operation happened is one: to be in doubt is never
//!   wrong, and whether the error may come at all is for [`errors`](super::errors);
//! - no session is `lost`: its process never ended by itself, nor had to be given up by the harness
//!   because it no longer answered;
//! - whoever had a client gets another, whatever became of the first.
//!
//! An operation that waits for ever and was given up by the harness is no broken answer. Whether a
//! lock could have been had is for [`lock_liveness`](super::lock_liveness); without that check, and of
//! other operations, nobody knows.
//!
//! How late an answer may be is for [`timeouts`](super::timeouts). A pause excuses nothing: it is
//! over, and then the answer comes. An operation without an end in a session without an end
//! is where the history itself was cut off: about that one nothing is known.

use super::failures::Failures;
use super::faults::Ends;
use super::{CheckSpec, Findings};
use crate::history::{History, Operation, Seen, SessionEnd};
use crate::protocol::{ErrorCode, Failure, Op};
use std::collections::{BTreeMap, HashMap};

pub(super) fn check(history: &History, findings: &mut Findings) {
    let ends = Ends::of(history);
    let mut lost: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
    for session in &history.sessions {
        if let Some((at, SessionEnd::Lost)) = session.over
            && !ends.hit_by(session.session, at)
        {
            lost.entry(session.process)
                .or_default()
                .push(session.session);
        }
    }
    let is_lost = |session| {
        let known = history.session(session);
        known.is_some_and(|known| {
            lost.get(&known.process)
                .is_some_and(|all| all.contains(&session))
        })
    };
    let mut unanswered = Failures::default();
    // What a lost session was last asked.
    let mut last: HashMap<u64, &Operation> = HashMap::new();
    for operation in &history.operations {
        findings.examined(1);
        let session = operation.session;
        if is_lost(session) {
            last.insert(session, operation);
            continue;
        }
        if operation.is_answered() || ends.explain(operation) {
            continue;
        }
        let over = history.session(session).and_then(|known| known.over);
        if operation.completed_ns.is_none() && over.is_none() {
            findings.unknown(format!(
                "the history ends while worker {}'s {} is under way",
                operation.worker,
                operation.op.name()
            ));
        } else {
            unanswered.add(operation);
        }
    }
    for (process, sessions) in lost {
        let known = sessions
            .iter()
            .filter_map(|session| history.session(*session));
        let mut workers: Vec<_> = known.map(|known| known.worker.to_string()).collect();
        workers.dedup();
        let asked: Vec<_> = sessions
            .iter()
            .filter_map(|session| last.get(session))
            .collect();
        let open: Vec<_> = asked.iter().filter(|last| !last.is_answered()).collect();
        let during = match open[..] {
            [] => String::new(),
            [one] => format!(" during {}", one.op.name()),
            [one, ..] => format!(" during {} and {} more", one.op.name(), open.len() - 1),
        };
        let shown = if open.is_empty() {
            asked.iter().map(|last| last.id).collect::<Vec<_>>()
        } else {
            open.iter().map(|last| last.id).collect()
        };
        findings.violation(
            format!(
                "process {process} (worker {}) ended by itself or no longer answered{during}, though nothing \
                 was done to it",
                workers.join(", ")
            ),
            shown,
        );
    }
    not_reopened(history, findings);
    given_up(history, findings);
    unanswered.report(
        "has no answer, though nothing was done to its session:",
        findings,
    );
}

impl Operation {
    /// Whether the system itself said something of it.
    fn is_answered(&self) -> bool {
        let gone = |failure: &Failure| failure.error == ErrorCode::Gone;
        self.completed_ns.is_some() && !self.failure().is_some_and(gone)
    }
}

fn given_up(history: &History, findings: &mut Findings) {
    let liveness = |spec: &CheckSpec| matches!(spec, CheckSpec::LockLiveness { .. });
    let locks_are_judged = history.checks().iter().any(liveness);
    for observation in &history.observations {
        let Seen::GaveUp { id, after_ms } = observation.seen else {
            continue;
        };
        let Some(operation) = history.operation(id) else {
            continue;
        };
        if !(locks_are_judged && matches!(operation.op, Op::LockAcquire { .. })) {
            findings.unknown(format!(
                "worker {}'s {} was given up after {after_ms} ms: nobody knows whether it should have \
                 been answered",
                operation.worker,
                operation.op.name()
            ));
        }
    }
}

fn not_reopened(history: &History, findings: &mut Findings) {
    for observation in &history.observations {
        let Seen::NotReopened { worker, message } = &observation.seen else {
            continue;
        };
        let of_worker = history
            .sessions
            .iter()
            .rev()
            .filter(|it| it.worker == *worker);
        let after = match of_worker.filter_map(|it| it.over).next() {
            Some((_, SessionEnd::Closed)) => "it had closed it",
            Some((_, SessionEnd::Dropped)) => "its client was dropped",
            Some((_, SessionEnd::Trapped)) => "its client trapped",
            Some((_, SessionEnd::Killed)) => "its process was killed",
            Some((_, SessionEnd::Lost)) | None => {
                "its process ended by itself or no longer answered"
            }
            Some((_, SessionEnd::GivenUp)) => "the harness had given it up",
        };
        let mut operations = history.operations.iter().rev();
        let last = operations.find(|it| it.worker == *worker).map(|it| it.id);
        findings.violation(
            format!("worker {worker} could not open the store again after {after}: {message}"),
            last,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::super::script::Script;
    use super::super::{CheckSpec, Verdict};
    use crate::history::{Seen, SessionEnd};
    use crate::program::Fault;
    use crate::protocol::{ErrorCode, LockKind, LockName, Op};

    fn read() -> Op {
        Op::ListItems { name: "l".into() }
    }

    #[test]
    fn whatever_a_fault_hit_needs_no_answer() {
        let mut script = Script::new(CheckSpec::Completion);
        let (a, b) = (script.session(0, 0), script.session(1, 0));
        script.ok(a, 1, 2, read(), ());
        script.fail(b, 1, 2, read(), ErrorCode::Failed);
        script.info(a, 3, None, read());
        script.info(b, 3, Some(6), read());
        script.fault(4, Fault::Kill { worker: 0 }, &[a, b], None);
        script.over(a, 4, SessionEnd::Killed);
        script.over(b, 4, SessionEnd::Killed);
        let result = script.judge();
        assert_eq!(result.verdict, Verdict::Pass, "{result:?}");
        assert_eq!(result.examined, 4);
    }

    #[test]
    fn an_operation_of_which_nobody_knows_is_found() {
        let mut script = Script::new(CheckSpec::Completion);
        let a = script.session(0, 0);
        script.info(a, 1, Some(2), read());
        script.fault(3, Fault::Drop { worker: 0 }, &[a], None);
        script.over(a, 3, SessionEnd::Dropped);
        let b = script.session(0, 4);
        script.info(b, 5, None, read());
        script.over(b, 6, SessionEnd::Closed);
        let result = script.judge();
        assert_eq!((result.verdict, result.violation_count), (Verdict::Fail, 1));
        assert_eq!(result.violations[0].operations, [1, 2]);
        assert!(result.violations[0].message.contains("2 times"));
    }

    #[test]
    fn a_lost_process_is_found_once() {
        let mut script = Script::new(CheckSpec::Completion);
        let (a, b) = (script.session(0, 0), script.session(1, 0));
        script.history.sessions[1].process = 0;
        script.ok(a, 1, 2, read(), ());
        script.info(b, 3, None, read());
        script.info(a, 4, Some(5), read());
        script.over(a, 6, SessionEnd::Lost);
        script.over(b, 6, SessionEnd::Lost);
        let result = script.judge();
        assert_eq!((result.verdict, result.violation_count), (Verdict::Fail, 1));
        assert_eq!(result.violations[0].operations, [3, 2]);
        assert_eq!(
            result.violations[0].message,
            "process 0 (worker 0, 1) ended by itself or no longer answered during list-items and 1 more, though \
             nothing was done to it"
        );
    }

    #[test]
    fn a_store_that_does_not_open_again_is_found() {
        let mut script = Script::new(CheckSpec::Completion);
        let a = script.session(0, 0);
        script.ok(a, 1, 2, read(), ());
        script.fault(3, Fault::Kill { worker: 0 }, &[a], None);
        script.over(a, 3, SessionEnd::Killed);
        let seen = Seen::NotReopened {
            worker: 0,
            message: "failed: malformed".to_owned(),
        };
        script.seen(9, seen);
        let result = script.judge();
        assert_eq!(result.violations[0].operations, [1]);
        assert_eq!(
            result.violations[0].message,
            "worker 0 could not open the store again after its process was killed: failed: malformed"
        );
    }

    #[test]
    fn what_was_given_up_is_no_broken_answer() {
        let acquire = Op::LockAcquire {
            lock: LockName::new(LockKind::Lock, "l"),
            timeout_ms: None,
            ttl_ms: None,
        };
        let get = Op::QueueGet {
            name: "q".into(),
            timeout_ms: None,
        };
        let liveness = CheckSpec::LockLiveness {
            dead_holder_ms: None,
        };
        for (op, more, verdict) in [
            (acquire.clone(), vec![liveness.clone()], Verdict::Pass),
            (acquire, vec![], Verdict::Unknown),
            (get, vec![liveness], Verdict::Unknown),
        ] {
            let mut script = Script::new(CheckSpec::Completion);
            script.history.header.checks.extend(more);
            let (a, b) = (script.session(0, 0), script.session(1, 0));
            let id = script.info(a, 1, Some(61), op);
            // In the same process.
            script.info(b, 50, Some(61), read());
            script.seen(61, Seen::GaveUp { id, after_ms: 60 });
            script.over(a, 61, SessionEnd::GivenUp);
            script.over(b, 61, SessionEnd::GivenUp);
            let result = script.judge();
            assert_eq!(result.verdict, verdict, "{result:?}");
        }
    }

    #[test]
    fn who_ended_by_itself_before_it_was_killed_is_lost() {
        let mut script = Script::new(CheckSpec::Completion);
        let a = script.session(0, 0);
        script.info(a, 1, Some(3), read());
        script.fault(2, Fault::Kill { worker: 0 }, &[a], None);
        script.over(a, 3, SessionEnd::Lost);
        assert_eq!(script.judge().violation_count, 1);
    }

    #[test]
    fn a_history_that_was_cut_off_decides_nothing() {
        let mut script = Script::new(CheckSpec::Completion);
        let a = script.session(0, 0);
        script.info(a, 1, None, read());
        assert_eq!(script.judge().verdict, Verdict::Unknown);
    }
}
