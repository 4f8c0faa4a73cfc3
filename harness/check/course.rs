//! The program took its course: no step waited in vain for the others, and none went on before they
//! were there.
//!
//! A scenario shows its promise by what happens in which order. If a step gave up waiting, or was told of a
//! line longer than it can have been, the rest happened in another order, and whatever the
//! other checks say of it, the promise was not shown: the verdict is no pass.
//!
//! A count is certainly wrong if it is more than all operations that may have stood in the line then. What else
//! a system counts in the line of a manager (reads that wait, a transaction that goes on) isn't
//! known, so there a count that is too large only makes the verdict unknown.

use super::Findings;
use super::holds::Locks;
use super::in_line::{TooMany, Watch};
use super::lock_words::time;
use crate::history::{History, Task, TaskOutcome};
use crate::protocol::LockKind;
use crate::step::Step;

pub(super) fn check(history: &History, findings: &mut Findings) {
    let (watch, locks) = (Watch::new(history), Locks::of(history));
    findings.examined(history.tasks.len() as u64 + watch.counts());
    waited_in_vain(history, findings);
    all_late(history, findings);
    for wrong in watch.too_few(&locks) {
        findings.violation(
            format!(
                "asked at {}, the system said by {} that nobody holds or waits for {}, though it was held",
                time(wrong.from_ns),
                time(wrong.to_ns),
                wrong.lock
            ),
            [wrong.holder],
        );
    }
    for wrong in watch.too_many(&locks) {
        let message = said(&wrong);
        if wrong.lock.kind == LockKind::Lock {
            findings.violation(message, wrong.possible);
        } else {
            findings.unknown(message);
        }
    }
}

fn waited_in_vain(history: &History, findings: &mut Findings) {
    let in_vain = |task: &'_ Task| matches!(task.outcome, TaskOutcome::InVain(_));
    let mut all = history.tasks.iter().filter(|task| in_vain(task));
    let Some(first) = all.next() else { return };
    let TaskOutcome::InVain(what) = &first.outcome else {
        return;
    };
    let more = match all.count() {
        0 => String::new(),
        1 => " (and one more step did)".to_owned(),
        more => format!(" (and {more} more steps did)"),
    };
    findings.unknown(format!(
        "worker {}'s step {:?} waited in vain{more}, so what the program is to show may not have happened: {what}",
        first.worker,
        first.step.name(),
    ));
}

/// Nothing was shown of a line that nobody ever saw.
fn all_late(history: &History, findings: &mut Findings) {
    let waits = |task: &&Task| waits_for_a_line(std::slice::from_ref(&task.step));
    let tasks = || history.tasks.iter().filter(waits);
    if tasks().any(|task| matches!(task.outcome, TaskOutcome::Done)) {
        return;
    }
    let late = |task: &Task| match &task.outcome {
        TaskOutcome::Late(what) => Some((task.worker, what.clone())),
        _ => None,
    };
    if let Some((worker, what)) = tasks().find_map(late) {
        findings.unknown(format!(
            "no step that waits for a lock's line ever saw it, until the run ended; worker {worker}'s saw {what}"
        ));
    }
}

fn waits_for_a_line(steps: &[Step]) -> bool {
    steps
        .iter()
        .any(|step| matches!(step, Step::AwaitWaiting { .. }) || waits_for_a_line(step.body()))
}

fn said(wrong: &TooMany<'_>) -> String {
    let most = wrong.possible.len();
    let possible = if most == 0 {
        "nobody".to_owned()
    } else {
        format!("no more than {most}")
    };
    format!(
        "asked at {}, the system said by {} that {} hold or wait for {}, when {possible} could",
        time(wrong.from_ns),
        time(wrong.to_ns),
        wrong.count,
        wrong.lock,
    )
}

#[cfg(test)]
mod tests {
    use super::super::script::Script;
    use super::super::{CheckSpec, Verdict, judge};
    use super::*;
    use crate::history::Seen;
    use crate::protocol::{ErrorCode, LockName, Op};
    use serde_json::json;

    const MS: u64 = 1_000_000;

    fn lock(kind: LockKind) -> LockName {
        LockName::new(kind, "l")
    }

    fn acquire(kind: LockKind) -> Op {
        Op::LockAcquire {
            lock: lock(kind),
            timeout_ms: None,
            ttl_ms: None,
        }
    }

    fn waiting(kind: LockKind, count: u64, asked: u64) -> Seen {
        Seen::Waiting {
            lock: lock(kind),
            count,
            asked_ns: asked * MS,
        }
    }

    #[test]
    fn a_step_that_waited_in_vain_leaves_no_program_a_pass() {
        // The program names another check, which has nothing to complain about.
        let mut script = Script::new(CheckSpec::MutualExclusion);
        let session = script.session(1, 0);
        script.ok(session, 1, 2, acquire(LockKind::Lock), json!({}));
        let awaits = || Step::Await("held".into());
        script.task(1, 3, 4, awaits(), TaskOutcome::Failed("timeout".into()));
        let verdicts = |script: &Script| -> Vec<_> {
            let results = judge(&script.history);
            results.iter().map(|result| result.verdict).collect()
        };
        assert_eq!(verdicts(&script), [Verdict::Pass]);
        let what = "nobody signalled \"held\"".to_owned();
        script.task(1, 5, 6, awaits(), TaskOutcome::InVain(what.clone()));
        script.task(0, 5, 6, awaits(), TaskOutcome::InVain(what));
        assert_eq!(verdicts(&script), [Verdict::Pass, Verdict::Unknown]);
        assert_eq!(
            judge(&script.history)[1].unknown.as_deref(),
            Some(
                "worker 1's step \"await\" waited in vain (and one more step did), so what the program is to show \
                 may not have happened: nobody signalled \"held\""
            )
        );
    }

    #[test]
    fn a_count_of_more_than_can_stand_in_the_line_is_found() {
        let line = |kind, count| {
            let mut script = Script::new(CheckSpec::Course);
            let (one, two) = (script.session(1, 0), script.session(2, 0));
            script.ok(one, 0, 5, acquire(kind), json!({}));
            // Its time was up, but its row may still be there.
            script.fail(two, 10, 20, acquire(kind), ErrorCode::Timeout);
            script.seen(40, waiting(kind, count, 30));
            // Not yet there.
            script.ok(two, 50, 60, acquire(kind), json!({}));
            script.judge()
        };
        let right = line(LockKind::Lock, 2);
        assert_eq!((right.verdict, right.examined), (Verdict::Pass, 1));
        let wrong = line(LockKind::Lock, 3);
        assert_eq!(wrong.verdict, Verdict::Fail);
        assert_eq!(
            wrong.violations[0].message,
            "asked at 30 ms, the system said by 40 ms that 3 hold or wait for lock:l, when no more than 2 could"
        );
        assert_eq!(wrong.violations[0].operations, [1, 2]);
        // A read may wait there, too.
        assert_eq!(line(LockKind::Dict, 3).verdict, Verdict::Unknown);
    }

    #[test]
    fn a_line_that_no_step_ever_saw_leaves_no_pass() {
        let mut script = Script::new(CheckSpec::Course);
        let stands = || Step::AwaitWaiting {
            lock: lock(LockKind::Lock),
            count: 2,
        };
        let what = "1 of 2 in the line of lock:l".to_owned();
        script.task(0, 1, 9, stands(), TaskOutcome::Late(what));
        assert_eq!(script.judge().verdict, Verdict::Unknown);
        script.task(1, 1, 9, Step::Sleep { ms: 1 }, TaskOutcome::Done);
        assert_eq!(script.judge().verdict, Verdict::Unknown);
        let repeat = Step::Repeat {
            count: 1,
            body: vec![stands()],
        };
        script.task(1, 10, 12, repeat, TaskOutcome::Done);
        assert_eq!(script.judge().verdict, Verdict::Pass);
    }

    #[test]
    fn a_count_of_nobody_where_somebody_holds_the_lock_is_found() {
        let mut script = Script::new(CheckSpec::Course);
        let session = script.session(0, 0);
        let id = script.ok(session, 1, 2, acquire(LockKind::Dict), json!({}));
        script.seen(2, waiting(LockKind::Dict, 0, 1));
        assert_eq!(script.judge().verdict, Verdict::Pass);
        script.seen(5, waiting(LockKind::Dict, 0, 4));
        let release = Op::LockRelease {
            lock: lock(LockKind::Dict),
        };
        script.ok(session, 10, 11, release, ());
        script.seen(13, waiting(LockKind::Dict, 0, 12));
        let wrong = script.judge();
        assert_eq!(wrong.violation_count, 1, "{wrong:?}");
        assert_eq!(wrong.violations[0].operations, [id]);
    }

    #[test]
    fn who_is_counted_where_nobody_ever_asked_is_found() {
        let mut script = Script::new(CheckSpec::Course);
        let session = script.session(0, 0);
        let op = Op::LockWaiting {
            lock: lock(LockKind::Lock),
        };
        script.ok(session, 1, 2, op.clone(), json!(0));
        assert_eq!(script.judge().verdict, Verdict::Pass);
        script.ok(session, 3, 4, op, json!(1));
        let wrong = script.judge();
        assert_eq!(wrong.violation_count, 1);
        assert!(wrong.violations[0].message.ends_with("when nobody could"));
    }

    #[test]
    fn a_grant_that_was_lost_may_stand_in_the_line_until_the_next() {
        let mut script = Script::new(CheckSpec::Course);
        let one = script.session(1, 0);
        script.ok(one, 0, 5, acquire(LockKind::Lock), json!({}));
        let release = Op::LockRelease {
            lock: lock(LockKind::Lock),
        };
        script.fail(one, 10, 11, release, ErrorCode::LockLost);
        script.seen(40, waiting(LockKind::Lock, 1, 30));
        assert_eq!(script.judge().verdict, Verdict::Pass);
    }
}
