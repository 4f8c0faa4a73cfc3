//! A grant lasts as long as it was given for, counted from the grant, and no longer.

use super::Findings;
use super::clocks::Clocks;
use super::hold_order::greatest;
use super::holds::{Hold, Line, Locks};
use super::idle::{Allowed, Since, find};
use super::lock_liveness::{next, operations};
use super::lock_words::{time, who};
use super::spans::Spans;
use crate::history::History;

const MS: u64 = 1_000_000;

pub(super) fn check(history: &History, findings: &mut Findings) {
    let locks = Locks::of(history);
    let hindrances = Spans::hindrances(history);
    let allowed = Allowed {
        handover_ms: history.bounds().handover_ms,
        dead_ms: None,
    };
    let end_ns = history.end_ns();
    for line in &locks.lines {
        let own = line.holds.iter().filter(|hold| hold.ttl_ms.is_some());
        findings.examined(own.count() as u64);
        taken_over(line, locks.clocks, findings);
        lost(line, findings);
        for idle in find(&locks, line, &hindrances, allowed, end_ns) {
            if let Since::Expired(hold) = idle.since {
                let message = format!(
                    "{} waited {} for {} after the time to live of {}'s grant{} had passed by {}: {}",
                    who(idle.waiter),
                    time(idle.waited_ns),
                    line.lock,
                    who(hold.acquire),
                    renewed(hold),
                    time(idle.free_ns),
                    next(&idle),
                );
                findings.violation(message, operations(&idle));
            }
        }
    }
}

/// Granted to another while it was to last.
fn taken_over(line: &Line<'_>, clocks: Clocks, findings: &mut Findings) {
    let ends = greatest(&line.holds, |hold| hold.ttl_ms.map(|_| hold.end_ns()));
    for hold in &line.holds {
        let Some(before) = ends[hold.after].map(|at| &line.holds[at]) else {
            continue;
        };
        if before.end_ns() <= hold.answered_ns {
            continue;
        }
        let ttl_ms = before.ttl_ms.unwrap_or_default();
        let asked_ns = before.acquire.invoked_ns;
        let from_request = before.renewals.is_empty()
            && clocks.held_until(asked_ns, before.ttl_ms) <= hold.answered_ns;
        let why = if from_request {
            format!(": it was counted from the request at {}", time(asked_ns))
        } else {
            String::new()
        };
        let message = format!(
            "{} was granted {} for {} at {} or later{}, and did not give it back; {} was granted it \
             by {}, after {} at most{why}",
            who(before.acquire),
            line.lock,
            time(ttl_ms.saturating_mul(MS)),
            time(before.granted_ns),
            renewed(before),
            who(hold.acquire),
            time(hold.answered_ns),
            time(hold.answered_ns - before.granted_ns),
        );
        let renewals = before.renewals.iter().map(|it| it.id);
        let all = std::iter::once(before.acquire.id).chain(renewals);
        findings.violation(message, all.chain([hold.acquire.id]));
    }
}

/// Its holder was told that it was lost while it was to last.
fn lost(line: &Line<'_>, findings: &mut Findings) {
    for hold in &line.holds {
        let Some((told, told_ns)) = hold.told.and_then(|it| Some((it, it.completed_ns?))) else {
            continue;
        };
        if told_ns >= hold.promised_ns {
            continue;
        }
        let message = format!(
            "{} was told by {} that it had lost {}, which was to be its own until {} at least: \
             granted by {}{}",
            who(told),
            time(told_ns),
            line.lock,
            time(hold.promised_ns),
            time(hold.answered_ns),
            renewed(hold),
        );
        findings.violation(message, [hold.acquire.id, told.id]);
    }
}

fn renewed(hold: &Hold<'_>) -> String {
    match hold.renewals.last() {
        Some(last) => format!(", and renewed last at {},", time(last.invoked_ns)),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::script::Script;
    use super::super::{CheckSpec, Verdict};
    use crate::protocol::{ErrorCode, LockKind, LockName, Op};
    use serde_json::json;

    fn lock() -> LockName {
        LockName::new(LockKind::Lock, "l")
    }

    fn acquire(ttl_ms: u64) -> Op {
        Op::LockAcquire {
            lock: lock(),
            timeout_ms: None,
            ttl_ms: Some(ttl_ms),
        }
    }

    fn renew(ttl_ms: u64) -> Op {
        Op::LockRenew {
            lock: lock(),
            ttl_ms,
        }
    }

    fn release() -> Op {
        Op::LockRelease { lock: lock() }
    }

    /// Worker 1 holds for 1500 ms, worker 2 then for its 2000 ms, worker 3 comes by `third`.
    fn line(third: u64) -> Script {
        let mut script = Script::new(CheckSpec::LockTtl);
        let sessions: Vec<u64> = (1..=3).map(|worker| script.session(worker, 0)).collect();
        script.ok(sessions[0], 0, 5, acquire(2000), json!({}));
        script.ok(sessions[1], 10, 1502, acquire(2000), json!({}));
        script.ok(sessions[2], 20, third, acquire(2000), json!({}));
        script.ok(sessions[0], 1500, 1501, release(), ());
        script
    }

    #[test]
    fn a_grant_that_lasts_passes() {
        let script = line(3450);
        let result = script.judge();
        assert_eq!((result.verdict, result.examined), (Verdict::Pass, 3));
    }

    #[test]
    fn a_time_to_live_counted_from_the_request_fails() {
        let result = line(2300).judge();
        assert_eq!(result.violation_count, 1);
        assert_eq!(
            result.violations[0].message,
            "worker 2 was granted lock:l for 2 s at 1.5 s or later, and did not give it back; worker \
             3 was granted it by 2.3 s, after 800 ms at most: it was counted from the request at 10 ms"
        );
        assert_eq!(result.violations[0].operations, [2, 3]);
    }

    #[test]
    fn a_grant_that_does_not_end_fails() {
        let result = line(9000).judge();
        assert_eq!(result.violation_count, 1);
        assert_eq!(
            result.violations[0].message,
            "worker 3 waited 5.428 s for lock:l after the time to live of worker 2's grant had passed \
             by 3.572 s: it was to be granted within 5 s, and worker 3 had it by 9 s"
        );
    }

    #[test]
    fn a_renewal_that_is_forgotten_fails() {
        let mut script = line(3450);
        script.ok(2, 2500, 2501, renew(2000), ());
        let result = script.judge();
        assert_eq!(result.violation_count, 1);
        assert!(
            result.violations[0]
                .message
                .contains("renewed last at 2.5 s"),
            "{result:?}"
        );
        script.history.operations[2].completed_ns = Some(4_431_000_000);
        assert_eq!(script.judge().verdict, Verdict::Pass);
    }

    #[test]
    fn a_loss_before_its_time_fails() {
        for (at, verdict) in [(3400, Verdict::Fail), (3500, Verdict::Pass)] {
            let mut script = line(6000);
            script.fail(2, at, at + 1, release(), ErrorCode::LockLost);
            assert_eq!(script.judge().verdict, verdict);
        }
    }
}
