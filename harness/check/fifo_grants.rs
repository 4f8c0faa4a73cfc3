//! Who was certainly in line first was granted first.
//!
//! A waiter that was stopped, or whose session ended, may have lost its place; so may one
//! that waited without an end that is known. Nothing is said of them.

use super::Findings;
use super::hold_order::greatest;
use super::holds::{Hold, Line, Locks};
use super::in_line::Watch;
use super::lock_words::{time, who};
use super::spans::Spans;
use crate::history::{History, Operation};
use crate::protocol::ErrorCode;
use std::collections::HashMap;

const MS: u64 = 1_000_000;

/// A place in line may have to be renewed when it is older, and be lost if it isn't.
const PLACE_NS: u64 = 10_000 * MS;

pub(super) fn check(history: &History, findings: &mut Findings) {
    let locks = Locks::of(history);
    let (pauses, watch) = (Spans::pauses_of_sessions(history), Watch::new(history));
    let wrong = watch.too_many(&locks);
    for line in &locks.lines {
        if wrong.iter().any(|wrong| wrong.lock == line.lock) {
            findings.unknown(format!(
                "more were counted in the line of {} than can have stood there, so who came first is not known",
                line.lock
            ));
            continue;
        }
        let since = watch.in_line(&locks, line);
        if since.is_empty() {
            continue;
        }
        let stopped = |request: &Operation, from: u64, to: u64| {
            let pauses = pauses.get(&request.session);
            pauses.is_some_and(|pauses| pauses.within(from, to) > 0)
        };
        passed_over(line, &since, stopped, findings);
        let spread = locks.clocks.spread_ns();
        never_granted(line, &since, spread, stopped, findings);
    }
}

/// Granted, but after somebody who came later.
fn passed_over(
    line: &Line<'_>,
    since: &HashMap<u64, u64>,
    stopped: impl Fn(&Operation, u64, u64) -> bool,
    findings: &mut Findings,
) {
    let came_last = greatest(&line.holds, |hold| Some(hold.acquire.invoked_ns));
    let by_token = ByToken::new(line);
    for hold in &line.holds {
        let Some(in_line_ns) = since.get(&hold.acquire.id).copied() else {
            continue;
        };
        if stopped(hold.acquire, in_line_ns, hold.answered_ns) {
            continue;
        }
        findings.examined(1);
        let before = came_last[hold.after].into_iter();
        let before = before.chain(by_token.came_last_before(hold));
        let later = before
            .map(|at| &line.holds[at])
            .filter(|other| other.acquire.session != hold.acquire.session)
            .find(|other| other.acquire.invoked_ns > in_line_ns);
        if let Some(later) = later {
            report(line, hold.acquire, in_line_ns, later, findings);
        }
    }
}

/// Not granted until its time was up, but somebody who came later was.
fn never_granted(
    line: &Line<'_>,
    since: &HashMap<u64, u64>,
    spread_ns: u64,
    stopped: impl Fn(&Operation, u64, u64) -> bool,
    findings: &mut Findings,
) {
    let came_last = greatest(&line.holds, |hold| Some(hold.acquire.invoked_ns));
    for request in &line.requests {
        let (Some(in_line_ns), Some(completed)) =
            (since.get(&request.id).copied(), request.completed_ns)
        else {
            continue;
        };
        let is_timeout = !request.is_info()
            && (request.failure()).is_some_and(|failure| failure.error == ErrorCode::Timeout);
        if !is_timeout || stopped(request, in_line_ns, completed) {
            continue;
        }
        findings.examined(1);
        // It stood in the line until then.
        let timeout_ms = request.op.timeout_ms().flatten().unwrap_or(u64::MAX);
        let waited = timeout_ms
            .saturating_mul(MS)
            .min(PLACE_NS.saturating_sub(spread_ns));
        let left_ns = request.invoked_ns.saturating_add(waited).min(completed);
        let granted = line
            .holds
            .partition_point(|hold| hold.answered_ns < left_ns);
        let later = came_last[granted]
            .map(|at| &line.holds[at])
            .filter(|other| other.acquire.invoked_ns > in_line_ns);
        if let Some(later) = later {
            report(line, request, in_line_ns, later, findings);
        }
    }
}

fn report(
    line: &Line<'_>,
    first: &Operation,
    in_line_ns: u64,
    later: &Hold<'_>,
    findings: &mut Findings,
) {
    let outcome = match first.completed_ns {
        Some(at) if first.ok().is_some() => format!("got it by {}", time(at)),
        Some(at) => format!("gave up at {} without it", time(at)),
        None => "never got it".to_owned(),
    };
    let message = format!(
        "{} was passed over in the line of {}: it stood there by {}, {} asked at {} and was granted \
         it by {}; {} {outcome}",
        who(first),
        line.lock,
        time(in_line_ns),
        who(later.acquire),
        time(later.acquire.invoked_ns),
        time(later.answered_ns),
        who(first),
    );
    findings.violation(message, [first.id, later.acquire.id]);
}

/// The grants that have fencing tokens, in their order.
struct ByToken {
    /// The token, and which of those up to here asked last.
    grants: Vec<(i128, usize)>,
}

impl ByToken {
    fn new(line: &Line<'_>) -> Self {
        let tokens = line.holds.iter().enumerate();
        let mut grants: Vec<(i128, usize)> = tokens
            .filter_map(|(at, hold)| Some((hold.token?, at)))
            .collect();
        grants.sort_unstable();
        let mut last: Option<usize> = None;
        for (_, at) in &mut grants {
            let invoked = |at: usize| line.holds[at].acquire.invoked_ns;
            if let Some(last) = last.filter(|last| invoked(*last) > invoked(*at)) {
                *at = last;
            }
            last = Some(*at);
        }
        Self { grants }
    }

    fn came_last_before(&self, hold: &Hold<'_>) -> Option<usize> {
        let token = hold.token?;
        let before = self.grants.partition_point(|(other, _)| *other < token);
        self.grants.get(before.checked_sub(1)?).map(|(_, at)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::super::script::Script;
    use super::super::{CheckSpec, Verdict};
    use super::*;
    use crate::history::Seen;
    use crate::program::Fault;
    use crate::protocol::{LockKind, LockName, Op};
    use serde_json::{Value, json};

    fn lock() -> LockName {
        LockName::new(LockKind::Dict, "d")
    }

    fn acquire(timeout_ms: Option<u64>) -> Op {
        Op::LockAcquire {
            lock: lock(),
            timeout_ms,
            ttl_ms: None,
        }
    }

    fn release() -> Op {
        Op::LockRelease { lock: lock() }
    }

    fn waiting(count: u64, asked: u64) -> Seen {
        Seen::Waiting {
            lock: lock(),
            count,
            asked_ns: asked * MS,
        }
    }

    /// Worker 1 holds; worker 2 asks, is seen in the line, and only then worker 3 asks.
    fn line(second: u64, third: u64, token: impl Fn(u64) -> Value) -> Script {
        let mut script = Script::new(CheckSpec::FifoGrants);
        let sessions: Vec<u64> = (1..=3).map(|worker| script.session(worker, 0)).collect();
        let answer = |at| json!({ "token": token(at) });
        script.ok(sessions[0], 0, 5, acquire(None), answer(5));
        script.ok(sessions[1], 10, second, acquire(None), answer(second));
        script.seen(29, waiting(2, 20));
        script.ok(sessions[2], 30, third, acquire(None), answer(third));
        let mut releases = [
            (sessions[0], 100),
            (sessions[1], second + 50),
            (sessions[2], third + 50),
        ];
        releases.sort_by_key(|(_, at)| *at);
        for (session, at) in releases {
            script.ok(session, at, at + 1, release(), ());
        }
        script
    }

    #[test]
    fn first_come_first_served_passes() {
        let result = line(101, 200, |_| json!(null)).judge();
        assert_eq!(result.verdict, Verdict::Pass, "{result:?}");
        // The holder and the one that waited.
        assert_eq!(result.examined, 2);
    }

    #[test]
    fn who_was_passed_over_is_named() {
        let result = line(200, 101, |_| json!(null)).judge();
        assert_eq!(result.violation_count, 1);
        assert_eq!(
            result.violations[0].message,
            "worker 2 was passed over in the line of dict:d: it stood there by 29 ms, worker 3 asked \
             at 30 ms and was granted it by 101 ms; worker 2 got it by 200 ms"
        );
        assert_eq!(result.violations[0].operations, [2, 3]);
    }

    #[test]
    fn what_nobody_saw_in_line_may_come_later() {
        let mut script = line(200, 101, |_| json!(null));
        script.history.observations.clear();
        let result = script.judge();
        assert_eq!((result.verdict, result.examined), (Verdict::Pass, 0));
        // Two of three: nobody knows which.
        script.seen(35, waiting(2, 31));
        let result = script.judge();
        assert_eq!((result.verdict, result.examined), (Verdict::Pass, 0));
        // The third wasn't there yet when it asked.
        script.seen(40, waiting(3, 36));
        let result = script.judge();
        assert_eq!((result.verdict, result.examined), (Verdict::Pass, 3));
    }

    #[test]
    fn a_write_without_the_lock_may_be_the_one_that_was_counted() {
        let mut script = line(200, 101, |_| json!(null));
        let other = script.session(4, 0);
        let set = Op::DictSet {
            name: "d".into(),
            key: "k".into(),
            value: json!(1),
        };
        script.ok(other, 270, 271, set, ());
        let id = script.history.operations.len() - 1;
        let mut write = script.history.operations.remove(id);
        (write.invoked_ns, write.id) = (8 * MS, 99);
        script.history.operations.insert(1, write);
        assert_eq!(script.judge().verdict, Verdict::Pass);
    }

    #[test]
    fn tokens_tell_what_times_do_not() {
        // The answer to the second is late; its token is the larger one.
        let script = line(500, 101, |at| json!(at));
        assert_eq!(script.judge().verdict, Verdict::Fail);
        let script = line(500, 101, |at| json!(if at == 500 { 6 } else { at }));
        let mut script = script;
        // Without its release the second may have had it for a moment before the third.
        for operation in &mut script.history.operations {
            if let Op::LockAcquire { ttl_ms, .. } = &mut operation.op {
                *ttl_ms = Some(60);
            }
        }
        assert_eq!(script.judge().verdict, Verdict::Pass);
    }

    #[test]
    fn a_stopped_waiter_may_be_passed_over() {
        let mut script = line(200, 101, |_| json!(null));
        let stop = Fault::Stop {
            worker: 2,
            for_ms: 50,
        };
        script.fault(50, stop, &[2], Some(120));
        assert_eq!(script.judge().verdict, Verdict::Pass);
    }

    #[test]
    fn a_waiter_whose_time_is_up_was_not_to_be_passed_over_before() {
        for (timeout, verdict) in [(150, Verdict::Fail), (90, Verdict::Pass)] {
            let mut script = line(200, 101, |_| json!(null));
            let second = &mut script.history.operations[1];
            second.op = acquire(Some(timeout));
            second.completed_ns = Some((10 + timeout + 1) * MS);
            second.outcome = crate::history::Outcome::Fail(crate::protocol::Failure::new(
                ErrorCode::Timeout,
                "",
            ));
            assert_eq!(script.judge().verdict, verdict, "{timeout}");
        }
    }
}
