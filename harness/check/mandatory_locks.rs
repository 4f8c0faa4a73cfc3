//! A lock binds those who don't take it.

use super::Findings;
use super::holds::{Line, Locks};
use super::lock_words::{span, time, who};
use crate::history::History;
use crate::protocol::LockKind;

pub(super) fn check(history: &History, findings: &mut Findings) {
    for line in &Locks::of(history).lines {
        // What a lock by itself protects, nobody knows.
        if line.lock.kind != LockKind::Lock {
            judge(line, findings);
        }
    }
}

fn judge(line: &Line<'_>, findings: &mut Findings) {
    let mut spans: Vec<(u64, u64, usize)> = Vec::new();
    for (at, hold) in line.holds.iter().enumerate() {
        spans.extend(hold.certain.iter().map(|(from, to)| (*from, *to, at)));
    }
    spans.sort_unstable();
    let session = |at: usize| line.holds[at].acquire.session;
    let mut begun = spans.into_iter().peekable();
    // Of the spans that have begun: the one that lasts longest, and the one of
    // another session that does.
    let mut longest: [Option<(u64, usize)>; 2] = [None; 2];
    for write in &line.writes {
        let operation = write.operation;
        while let Some((_, to, at)) = begun.next_if(|(from, _, _)| *from < operation.invoked_ns) {
            longest = super::mutual_exclusion::longer(longest, (to, at), session);
        }
        // Who once held the lock and was not told that it lost it is another check's concern.
        let Some(done_ns) = write.done_by.filter(|_| !write.as_holder) else {
            continue;
        };
        findings.examined(1);
        let holder = longest
            .into_iter()
            .flatten()
            .find(|(to, at)| session(*at) != operation.session && *to > done_ns);
        let Some((until, holder)) = holder else {
            continue;
        };
        let hold = &line.holds[holder];
        let message = format!(
            "{}'s {} {} went ahead without the lock, while {} held {} from {} to {} at \
             least",
            who(operation),
            operation.op.name(),
            span(operation.invoked_ns, done_ns),
            who(hold.acquire),
            line.lock,
            time(hold.answered_ns),
            time(until),
        );
        findings.violation(message, [hold.acquire.id, operation.id]);
    }
}

#[cfg(test)]
mod tests {
    use super::super::script::Script;
    use super::super::{CheckSpec, Verdict};
    use crate::protocol::LockKind;
    use crate::protocol::{ErrorCode, LockName, Op};
    use serde_json::json;

    fn lock() -> LockName {
        LockName::new(LockKind::Queue, "q")
    }

    fn acquire() -> Op {
        Op::LockAcquire {
            lock: lock(),
            timeout_ms: None,
            ttl_ms: None,
        }
    }

    fn get() -> Op {
        Op::QueueGet {
            name: "q".into(),
            timeout_ms: Some(0),
        }
    }

    fn script() -> (Script, u64, u64) {
        let mut script = Script::new(CheckSpec::MandatoryLocks);
        let (one, two) = (script.session(1, 0), script.session(2, 0));
        (script, one, two)
    }

    #[test]
    fn writes_that_wait_or_are_refused_pass() {
        let (mut script, one, two) = script();
        script.ok(two, 0, 1, get(), json!({"value": 1, "priority": 0}));
        script.ok(one, 2, 5, acquire(), json!({}));
        script.ok(one, 6, 7, get(), json!({"value": 2, "priority": 0}));
        script.fail(two, 8, 9, get(), ErrorCode::Locked);
        script.ok(two, 10, 30, get(), json!({"value": 3, "priority": 0}));
        script.ok(one, 20, 29, Op::LockRelease { lock: lock() }, ());
        let other = Op::QueueGet {
            name: "other".into(),
            timeout_ms: None,
        };
        script.ok(two, 31, 32, other, json!({"value": 3, "priority": 0}));
        let result = script.judge();
        assert_eq!((result.verdict, result.examined), (Verdict::Pass, 2));
    }

    #[test]
    fn a_thief_fails() {
        let (mut script, one, two) = script();
        script.ok(one, 2, 5, acquire(), json!({}));
        script.ok(two, 10, 19, get(), json!({"value": 3, "priority": 0}));
        script.ok(one, 20, 29, Op::LockRelease { lock: lock() }, ());
        let result = script.judge();
        assert_eq!(result.violation_count, 1);
        assert_eq!(
            result.violations[0].message,
            "worker 2's queue-get from 10 ms to 19 ms went ahead without the lock, while worker 1 \
             held queue:q from 5 ms to 20 ms at least"
        );
    }

    #[test]
    fn a_transaction_counts_until_its_commit() {
        let (mut script, one, two) = script();
        script.ok(one, 2, 5, acquire(), json!({}));
        script.ok(two, 6, 7, Op::Begin, ());
        script.ok(two, 10, 19, get(), json!({"value": 3, "priority": 0}));
        script.ok(one, 20, 29, Op::LockRelease { lock: lock() }, ());
        let commit = script.ok(two, 30, 31, Op::Commit, ());
        assert_eq!(script.judge().verdict, Verdict::Pass);
        let commit = &mut script.history.operations[commit as usize - 1];
        (commit.invoked_ns, commit.completed_ns) = (19_500_000, Some(19_900_000));
        assert_eq!(script.judge().verdict, Verdict::Fail);
    }
}
