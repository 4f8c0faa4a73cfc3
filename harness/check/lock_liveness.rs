//! A lock that is free is granted in time to who waits for it, also after its holder died.
//!
//! A holder that died may keep the lock for its time to live, and a waiter that died its place for
//! ever: a time to live is all that many systems have against deaths. Where the driver says that
//! its system notices them, by `crash-detection`, the program may demand how soon, by `dead_holder_ms`.

use super::Findings;
use super::holds::Locks;
use super::idle::{Allowed, Idle, Since, find};
use super::lock_words::{time, who};
use super::spans::Spans;
use crate::history::History;
use crate::protocol::Capability;

pub(super) fn check(history: &History, dead_holder_ms: Option<u64>, findings: &mut Findings) {
    let locks = Locks::of(history);
    let hindrances = Spans::hindrances(history);
    let notices = history.header.driver.offers(Capability::CrashDetection);
    let allowed = Allowed {
        handover_ms: history.bounds().handover_ms,
        dead_ms: dead_holder_ms.filter(|_| notices),
    };
    let end_ns = history.end_ns();
    for line in &locks.lines {
        findings.examined(line.requests.len() as u64);
        for idle in find(&locks, line, &hindrances, allowed, end_ns) {
            let message = format!(
                "{} waited {} for {} although nobody held it: {}; {}",
                who(idle.waiter),
                time(idle.waited_ns),
                line.lock,
                since(&idle),
                next(&idle),
            );
            findings.violation(message, operations(&idle));
        }
    }
}

/// The operations that show it.
pub(super) fn operations(idle: &Idle<'_, '_>) -> Vec<u64> {
    let mut all = match idle.since {
        Since::Ever => Vec::new(),
        Since::GivenBack(hold) | Since::Expired(hold) => {
            let release = hold.release.map(|release| release.id);
            [Some(hold.acquire.id), release]
                .into_iter()
                .flatten()
                .collect()
        }
        Since::Gone(operation) | Since::Written(operation) => vec![operation.id],
    };
    all.push(idle.waiter.id);
    all.extend(
        idle.next
            .map(|next| next.acquire.id)
            .filter(|id| *id != idle.waiter.id),
    );
    all
}

fn since(idle: &Idle<'_, '_>) -> String {
    let at = time(idle.free_ns);
    match idle.since {
        Since::Ever => "nobody had it before".to_owned(),
        Since::GivenBack(hold) if hold.told.is_some() => {
            format!("{} had lost it by {at}", who(hold.acquire))
        }
        Since::GivenBack(hold) => format!("{} gave it back by {at}", who(hold.acquire)),
        Since::Expired(hold) => format!(
            "the time to live of {}'s grant had passed by {at}",
            who(hold.acquire)
        ),
        Since::Gone(operation) => format!(
            "{}, who had asked for it at {}, was gone by {at}",
            who(operation),
            time(operation.invoked_ns)
        ),
        Since::Written(operation) => format!("{} wrote without it until {at}", who(operation)),
    }
}

/// What became of it.
pub(super) fn next(idle: &Idle<'_, '_>) -> String {
    let within = time(idle.allowed_ns);
    match idle.next {
        Some(next) => format!(
            "it was to be granted within {within}, and {} had it by {}",
            who(next.acquire),
            time(next.answered_ns)
        ),
        None => format!("it was to be granted within {within}, and nobody got it"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::script::Script;
    use super::super::{CheckSpec, Verdict};
    use crate::history::{Seen, SessionEnd};
    use crate::program::Fault;
    use crate::protocol::{Capability, ErrorCode, LockKind, LockName, Op};
    use serde_json::json;

    fn lock() -> LockName {
        LockName::new(LockKind::Lock, "l")
    }

    fn acquire(timeout_ms: Option<u64>, ttl_ms: Option<u64>) -> Op {
        Op::LockAcquire {
            lock: lock(),
            timeout_ms,
            ttl_ms,
        }
    }

    fn release() -> Op {
        Op::LockRelease { lock: lock() }
    }

    fn script(dead_holder_ms: Option<u64>) -> (Script, u64, u64) {
        let mut script = Script::new(CheckSpec::LockLiveness { dead_holder_ms });
        let capabilities = &mut script.history.header.driver.capabilities;
        capabilities.push(Capability::CrashDetection);
        let (one, two) = (script.session(1, 0), script.session(2, 0));
        (script, one, two)
    }

    #[test]
    fn the_spec_reads_with_and_without_its_parameter() {
        for (text, dead_holder_ms) in [
            (r#"{"check":"lock-liveness"}"#, None),
            (r#"{"check":"lock-liveness","dead-holder-ms":5}"#, Some(5)),
        ] {
            let spec = CheckSpec::LockLiveness { dead_holder_ms };
            assert_eq!(serde_json::from_str::<CheckSpec>(text).unwrap(), spec);
            assert_eq!(serde_json::to_string(&spec).unwrap(), text);
        }
    }

    #[test]
    fn waiting_for_who_holds_it_passes() {
        let (mut script, one, two) = script(None);
        script.ok(one, 0, 5, acquire(None, None), json!({}));
        script.ok(two, 10, 64_000, acquire(None, None), json!({}));
        script.ok(one, 60_000, 60_001, release(), ());
        script.fail(
            one,
            64_500,
            70_000,
            acquire(Some(5500), None),
            ErrorCode::Timeout,
        );
        assert_eq!(script.judge().verdict, Verdict::Pass);
        assert_eq!(script.judge().examined, 3);
    }

    #[test]
    fn a_free_lock_that_nobody_gets_fails() {
        let (mut script, one, two) = script(None);
        script.ok(one, 0, 5, acquire(None, Some(9000)), json!({}));
        script.fail(
            two,
            10,
            10_010,
            acquire(Some(10_000), Some(2000)),
            ErrorCode::Timeout,
        );
        script.ok(one, 3000, 3001, release(), ());
        let result = script.judge();
        assert_eq!(
            result.violations[0].message,
            "worker 2 waited 7.009 s for lock:l although nobody held it: worker 1 gave it back by \
             3.001 s; it was to be granted within 5 s, and nobody got it"
        );
        assert_eq!(result.violations[0].operations, [1, 3, 2]);
        // Also who hasn't been answered yet waits.
        script.history.operations[1].completed_ns = None;
        script.ok(one, 9000, 9001, release(), ());
        assert_eq!(script.judge().violation_count, 1);
        script.history.operations[3].completed_ns = Some(8_000_000_000);
        assert_eq!(script.judge().verdict, Verdict::Pass);
    }

    #[test]
    fn who_was_given_up_waited_until_then() {
        for (released, verdict) in [(3000, Verdict::Fail), (58_000, Verdict::Pass)] {
            let (mut script, one, two) = script(None);
            script.ok(one, 0, 5, acquire(None, Some(90_000)), json!({}));
            let id = script.info(two, 10, Some(60_011), acquire(None, None));
            script.ok(one, released, released + 1, release(), ());
            script.seen(
                60_011,
                Seen::GaveUp {
                    id,
                    after_ms: 60_000,
                },
            );
            script.over(two, 60_012, SessionEnd::GivenUp);
            let result = script.judge();
            assert_eq!(result.verdict, verdict, "{result:?}");
        }
    }

    #[test]
    fn a_late_hand_over_fails() {
        let (mut script, one, two) = script(None);
        script.ok(one, 0, 5, acquire(None, None), json!({}));
        script.ok(two, 10, 5102, acquire(None, None), json!({}));
        script.ok(one, 100, 101, release(), ());
        let result = script.judge();
        assert_eq!(result.violation_count, 1);
        assert!(
            result.violations[0]
                .message
                .ends_with("and worker 2 had it by 5.102 s")
        );
        // Not if something kept everybody from it.
        let stop = Fault::Stop {
            worker: 9,
            for_ms: 10,
        };
        script.fault(200, stop, &[], Some(210));
        assert_eq!(script.judge().verdict, Verdict::Pass);
    }

    #[test]
    fn a_time_to_live_that_has_passed_frees_the_lock() {
        let (mut script, one, two) = script(None);
        script.ok(one, 0, 5, acquire(None, Some(1000)), json!({}));
        script.ok(two, 10, 7000, acquire(None, None), json!({}));
        let result = script.judge();
        assert_eq!(result.violation_count, 1);
        assert!(
            result.violations[0]
                .message
                .contains("the time to live of worker 1's grant had passed by 1.065 s")
        );
        // Unless it was renewed, perhaps.
        let renew = Op::LockRenew {
            lock: lock(),
            ttl_ms: 2000,
        };
        script.info(one, 900, Some(901), renew);
        assert_eq!(script.judge().verdict, Verdict::Pass);
    }

    #[test]
    fn the_dead_are_noticed_in_time() {
        for (dead_holder_ms, verdict) in [
            (None, Verdict::Pass),
            (Some(60_100), Verdict::Pass),
            (Some(2000), Verdict::Fail),
        ] {
            let (mut script, one, two) = script(dead_holder_ms);
            script.ok(one, 0, 5, acquire(None, Some(60_000)), json!({}));
            script.ok(two, 10, 60_100, acquire(None, None), json!({}));
            script.fault(20, Fault::Kill { worker: 1 }, &[one], None);
            script.over(one, 30, SessionEnd::Killed);
            let result = script.judge();
            assert_eq!(result.verdict, verdict, "{dead_holder_ms:?}");
            if verdict == Verdict::Fail {
                assert!(
                    result.violations[0].message.contains("was gone by 30 ms"),
                    "{result:?}"
                );
            }
        }
    }

    #[test]
    fn a_system_with_times_to_live_alone_is_held_to_these() {
        // Noticed by the time that passed, and the bound after that.
        for (granted, verdict) in [(10_100, Verdict::Pass), (15_200, Verdict::Fail)] {
            let (mut script, one, two) = script(Some(5000));
            script.ok(one, 0, 5, acquire(None, Some(10_000)), json!({}));
            script.fault(10, Fault::Kill { worker: 1 }, &[one], None);
            script.over(one, 20, SessionEnd::Killed);
            script.ok(two, 30, granted, acquire(None, None), json!({}));
            let claimed = script.judge();
            assert_eq!(claimed.verdict, Verdict::Fail, "{granted}");
            script.history.header.driver.capabilities.clear();
            assert_eq!(script.judge().verdict, verdict, "{granted}");
        }
    }

    #[test]
    fn a_dead_waiter_may_stand_in_the_way_for_as_long_as_is_allowed() {
        for (dead_holder_ms, verdict) in [(None, Verdict::Pass), (Some(5000), Verdict::Fail)] {
            let (mut script, one, two) = script(dead_holder_ms);
            script.info(one, 0, Some(40), acquire(None, None));
            script.ok(two, 10, 5031, acquire(None, None), json!({}));
            script.fault(20, Fault::Kill { worker: 1 }, &[one], None);
            script.over(one, 30, SessionEnd::Killed);
            assert_eq!(script.judge().verdict, verdict, "{dead_holder_ms:?}");
        }
    }

    #[test]
    fn writes_without_the_lock_take_turns_too() {
        let (mut script, one, two) = script(None);
        let three = script.session(3, 0);
        let lock = LockName::new(LockKind::Dict, "d");
        let acquire = Op::LockAcquire {
            lock: lock.clone(),
            timeout_ms: None,
            ttl_ms: None,
        };
        let set = Op::DictSet {
            name: "d".into(),
            key: "k".into(),
            value: json!(1),
        };
        script.ok(one, 0, 5, acquire.clone(), json!({}));
        script.ok(three, 8, 4000, set, ());
        script.ok(two, 10, 8000, acquire, json!({}));
        script.ok(one, 20, 21, Op::LockRelease { lock }, ());
        assert_eq!(script.judge().verdict, Verdict::Pass);
        script.history.operations[1].op = Op::LockWaiting {
            lock: LockName::new(LockKind::Dict, "d"),
        };
        assert_eq!(script.judge().verdict, Verdict::Fail);
    }
}
