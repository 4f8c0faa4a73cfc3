//! Who lost a lock can't write under it, and is told so.
//!
//! A holder has lost its lock, whatever any clock says, once the lock was granted to another
//! before it was given back. Until its session is told (by an error, or by acquiring anew), all that it
//! does on the lock's manager it does as the holder; none of that may succeed.

use super::Findings;
use super::hold_order::greatest;
use super::holds::{Hold, Line, Locks};
use super::lock_words::{time, who};
use crate::history::{History, Operation};
use crate::protocol::Op;

pub(super) fn check(history: &History, findings: &mut Findings) {
    for line in &Locks::of(history).lines {
        let tokens = greatest(&line.holds, |hold| hold.token);
        for (at, hold) in line.holds.iter().enumerate() {
            if let Some((next, lost_ns)) = loss(line, at, &tokens) {
                findings.examined(1);
                judge(line, hold, next, lost_ns, findings);
            }
        }
    }
}

/// To whom the lock was granted before it was given back, and by when.
fn loss<'a>(
    line: &'a Line<'_>,
    at: usize,
    tokens: &[Option<usize>],
) -> Option<(&'a Hold<'a>, u64)> {
    let hold = &line.holds[at];
    let other = |next: &Hold<'_>| next.acquire.session != hold.acquire.session;
    let larger =
        |next: &Hold<'_>| next.token.is_some() && hold.token.is_some() && next.token > hold.token;
    // Lost before it was answered.
    if let Some(next) = tokens[at].map(|next| &line.holds[next])
        && larger(next)
        && other(next)
    {
        return Some((next, hold.answered_ns));
    }
    // Whoever asked after this was answered comes later, so no more are looked at than there
    // were waiting then.
    line.holds[at + 1..]
        .iter()
        .take_while(|next| next.answered_ns < hold.used_until_ns().min(hold.ended_ns))
        .find(|next| other(next) && (next.after > at || larger(next)))
        .map(|next| (next, next.answered_ns))
}

fn judge(line: &Line<'_>, hold: &Hold<'_>, next: &Hold<'_>, lost_ns: u64, findings: &mut Findings) {
    let until = hold.used_until_ns();
    for write in &hold.writes {
        let Some(write) = line.writes.get(*write) else {
            continue;
        };
        let operation = write.operation;
        if write.done_by.is_some()
            && operation.invoked_ns > lost_ns
            && operation.invoked_ns <= until
        {
            let message = format!(
                "{}'s {} at {} silently wrote over the next holder: {}",
                who(operation),
                operation.op.name(),
                time(operation.invoked_ns),
                story(line, hold, next),
            );
            findings.violation(message, [hold.acquire.id, next.acquire.id, operation.id]);
        }
    }
    let told = hold.renewals.iter().chain(&hold.release);
    for operation in told.filter(|it| it.invoked_ns > lost_ns && it.ok().is_some()) {
        let message = format!(
            "{} was not told that it had lost {}: its {} at {} succeeded; {}",
            who(operation),
            line.lock,
            verb(operation),
            time(operation.invoked_ns),
            story(line, hold, next),
        );
        findings.violation(message, [hold.acquire.id, next.acquire.id, operation.id]);
    }
}

fn story(line: &Line<'_>, hold: &Hold<'_>, next: &Hold<'_>) -> String {
    format!(
        "{} held {} since {}, and by {} it was granted to {}",
        who(hold.acquire),
        line.lock,
        time(hold.answered_ns),
        time(next.answered_ns),
        who(next.acquire),
    )
}

fn verb(operation: &Operation) -> &'static str {
    match operation.op {
        Op::LockRelease { .. } => "release",
        _ => "renewal",
    }
}

#[cfg(test)]
mod tests {
    use super::super::script::Script;
    use super::super::{CheckSpec, Verdict};
    use super::*;
    use crate::protocol::{ErrorCode, LockKind, LockName};
    use serde_json::json;

    fn lock() -> LockName {
        LockName::new(LockKind::Dict, "d")
    }

    fn acquire() -> Op {
        Op::LockAcquire {
            lock: lock(),
            timeout_ms: None,
            ttl_ms: Some(100),
        }
    }

    fn set() -> Op {
        Op::DictSet {
            name: "d".into(),
            key: "k".into(),
            value: json!(1),
        }
    }

    fn delete() -> Op {
        Op::DictDelete {
            name: "d".into(),
            key: "k".into(),
        }
    }

    fn release() -> Op {
        Op::LockRelease { lock: lock() }
    }

    /// Worker 2 has the lock after worker 1, which stays past its time.
    fn lost() -> (Script, u64, u64) {
        let mut script = Script::new(CheckSpec::StaleHolders);
        let (one, two) = (script.session(1, 0), script.session(2, 0));
        script.ok(one, 0, 5, acquire(), json!({"token": null}));
        script.ok(two, 10, 300, acquire(), json!({"token": null}));
        (script, one, two)
    }

    #[test]
    fn a_holder_that_is_told_passes() {
        let (mut script, one, two) = lost();
        script.ok(one, 20, 30, set(), ());
        script.ok(two, 310, 311, set(), ());
        script.ok(one, 315, 316, delete(), false);
        script.fail(one, 320, 321, set(), ErrorCode::LockLost);
        // From here on it knows, and writes as anybody may.
        script.ok(two, 330, 331, release(), ());
        script.ok(one, 340, 341, set(), ());
        let result = script.judge();
        assert_eq!((result.verdict, result.examined), (Verdict::Pass, 1));
    }

    #[test]
    fn nobody_else_was_granted_it_and_nothing_is_lost() {
        let mut script = Script::new(CheckSpec::StaleHolders);
        let (one, two) = (script.session(1, 0), script.session(2, 0));
        script.ok(one, 0, 5, acquire(), json!({"token": 1}));
        script.ok(one, 500, 501, set(), ());
        script.ok(two, 502, 510, acquire(), json!({"token": 2}));
        // Begun before the other was granted it, perhaps.
        script.ok(one, 505, 520, release(), ());
        script.ok(two, 530, 531, release(), ());
        let result = script.judge();
        assert_eq!((result.verdict, result.examined), (Verdict::Pass, 0));
    }

    #[test]
    fn a_silent_write_fails() {
        let (mut script, one, _) = lost();
        script.ok(one, 320, 321, set(), ());
        script.fail(one, 330, 331, release(), ErrorCode::LockLost);
        let result = script.judge();
        assert_eq!(result.violation_count, 1);
        assert_eq!(result.violations[0].operations, [1, 2, 3]);
        assert_eq!(
            result.violations[0].message,
            "worker 1's dict-set at 320 ms silently wrote over the next holder: worker 1 held \
             dict:d since 5 ms, and by 300 ms it was granted to worker 2"
        );
    }

    #[test]
    fn a_write_counts_once_it_is_committed() {
        let (mut script, one, _) = lost();
        script.ok(one, 320, 321, Op::Begin, ());
        script.ok(one, 322, 323, set(), ());
        let commit = script.fail(one, 324, 325, Op::Commit, ErrorCode::Conflict);
        assert_eq!(script.judge().verdict, Verdict::Pass);
        script.history.operations[commit as usize - 1].outcome = crate::history::Outcome::Ok {
            value: json!(null),
            commit: None,
        };
        assert_eq!(script.judge().verdict, Verdict::Fail);
    }

    #[test]
    fn a_release_or_renewal_that_reports_no_loss_fails() {
        let (mut script, one, _) = lost();
        let renew = Op::LockRenew {
            lock: lock(),
            ttl_ms: 100,
        };
        script.ok(one, 320, 321, renew, ());
        script.ok(one, 330, 331, release(), ());
        let result = script.judge();
        assert_eq!(result.violation_count, 2);
        assert!(
            result.violations[1]
                .message
                .contains("its release at 330 ms succeeded")
        );
    }

    #[test]
    fn a_grant_that_was_stale_when_it_was_answered_fails_by_its_token() {
        let mut script = Script::new(CheckSpec::StaleHolders);
        let (one, two) = (script.session(1, 0), script.session(2, 0));
        script.ok(one, 0, 500, acquire(), json!({"token": 1}));
        script.ok(two, 10, 300, acquire(), json!({"token": 2}));
        script.ok(one, 510, 511, set(), ());
        assert_eq!(script.judge().violation_count, 1);
        // Without tokens either may have come first.
        for operation in &mut script.history.operations[..2] {
            operation.outcome = crate::history::Outcome::Ok {
                value: json!({"token": null}),
                commit: None,
            };
        }
        assert_eq!(script.judge().verdict, Verdict::Pass);
    }
}
