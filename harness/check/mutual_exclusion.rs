//! No lock was held by two at once.
//!
//! What two clocks disagree about is not judged here: see [`super::clocks`].

use super::Findings;
use super::hold_order::greatest;
use super::holds::{Hold, Line, Locks};
use super::lock_words::{both, span, time, who};
use crate::history::History;

pub(super) fn check(history: &History, findings: &mut Findings) {
    for line in &Locks::of(history).lines {
        findings.examined(line.holds.len() as u64);
        let mut reported = vec![false; line.holds.len()];
        overlaps(line, findings, &mut reported);
        within(line, findings, &reported);
    }
}

/// Both held it for some time.
fn overlaps(line: &Line<'_>, findings: &mut Findings, reported: &mut [bool]) {
    let spans = |(at, hold): (usize, &Hold<'_>)| {
        let spans = hold.certain.clone().into_iter();
        spans.map(move |(from, to)| (from, to, at))
    };
    let mut spans: Vec<(u64, u64, usize)> = line
        .holds
        .iter()
        .enumerate()
        .flat_map(spans)
        .filter(|(from, to, _)| from < to)
        .collect();
    spans.sort_unstable();
    // The span that lasts longest, and the one of another session that does.
    let mut longest: [Option<(u64, usize)>; 2] = [None; 2];
    let session = |at: usize| line.holds[at].acquire.session;
    for (from, to, at) in spans {
        let other = longest
            .into_iter()
            .flatten()
            .find(|(_, other)| session(*other) != session(at));
        if let Some((until, other)) = other
            && until > from
            && !std::mem::replace(&mut reported[at], true)
        {
            report(line, other, at, (from, until.min(to)), findings);
        }
        longest = longer(longest, (to, at), session);
    }
}

/// Takes another into account.
pub(super) fn longer(
    [first, second]: [Option<(u64, usize)>; 2],
    new: (u64, usize),
    session: impl Fn(usize) -> u64,
) -> [Option<(u64, usize)>; 2] {
    let same = |known: (u64, usize)| session(known.1) == session(new.1);
    match (first, second) {
        (None, _) => [Some(new), None],
        (Some(known), _) if same(known) => [Some(known.max(new)), second],
        (Some(known), _) if new.0 > known.0 => [Some(new), Some(known)],
        (first, Some(known)) if known.0 > new.0 => [first, Some(known)],
        (first, _) => [first, Some(new)],
    }
}

/// Somebody was granted it while another held it, for however short a time.
fn within(line: &Line<'_>, findings: &mut Findings, reported: &[bool]) {
    let ends = greatest(&line.holds, |hold| Some(hold.end_ns()));
    for (at, hold) in line.holds.iter().enumerate() {
        if let Some(other) = ends[hold.after]
            && line.holds[other].end_ns() > hold.answered_ns
            && !reported[at]
        {
            let until = line.holds[other].end_ns();
            report(line, other, at, (hold.answered_ns, until), findings);
        }
    }
}

fn report(
    line: &Line<'_>,
    first: usize,
    second: usize,
    (from, to): (u64, u64),
    findings: &mut Findings,
) {
    let (first, second) = (&line.holds[first], &line.holds[second]);
    let lock = line.lock;
    let spoken = if second.end_ns() > second.answered_ns {
        let both = both(first.acquire, second.acquire);
        format!("{both} held {lock} {}", span(from, to))
    } else {
        format!(
            "{} was granted {lock} by {} while {} held it",
            who(second.acquire),
            time(from),
            who(first.acquire)
        )
    };
    let message = format!(
        "{spoken}: granted to {} by {}, who {}; granted to {} by {}",
        who(first.acquire),
        time(first.answered_ns),
        kept(first),
        who(second.acquire),
        time(second.answered_ns),
    );
    let operations = [Some(first.acquire), Some(second.acquire), first.release];
    findings.violation(message, operations.into_iter().flatten().map(|it| it.id));
}

/// Until when it was kept, and why.
fn kept(hold: &Hold<'_>) -> String {
    if let Some(release) = hold.release
        && hold.kept_until_ns == release.invoked_ns
        && hold.end_ns() == hold.kept_until_ns
    {
        return format!("gave it back no earlier than {}", time(release.invoked_ns));
    }
    if hold.end_ns() == hold.kept_until_ns {
        return format!("lived until {}", time(hold.kept_until_ns));
    }
    let renewed = if hold.renewals.is_empty() {
        ""
    } else {
        ", with renewals,"
    };
    let ttl = hold.ttl_ms.map_or_else(
        || "the system's time to live".to_owned(),
        |ttl| {
            format!(
                "{} of its time to live",
                time(ttl.saturating_mul(1_000_000))
            )
        },
    );
    format!("had {ttl}{renewed} until {} at least", time(hold.end_ns()))
}

#[cfg(test)]
mod tests {
    use super::super::script::Script;
    use super::super::{CheckSpec, Verdict};
    use crate::history::SessionEnd;
    use crate::program::Fault;
    use crate::protocol::{LockKind, LockName, Op};
    use serde_json::json;

    fn lock() -> LockName {
        LockName::new(LockKind::Dict, "counter")
    }

    fn acquire(ttl_ms: Option<u64>) -> Op {
        Op::LockAcquire {
            lock: lock(),
            timeout_ms: None,
            ttl_ms,
        }
    }

    fn release() -> Op {
        Op::LockRelease { lock: lock() }
    }

    fn renew(ttl_ms: u64) -> Op {
        Op::LockRenew {
            lock: lock(),
            ttl_ms,
        }
    }

    fn script() -> (Script, u64, u64) {
        let mut script = Script::new(CheckSpec::MutualExclusion);
        let (one, two) = (script.session(1, 0), script.session(2, 0));
        (script, one, two)
    }

    fn passes(script: &Script) {
        let result = script.judge();
        assert_eq!(result.verdict, Verdict::Pass, "{result:?}");
        assert!(result.examined > 0);
    }

    #[test]
    fn one_after_the_other_passes() {
        let (mut script, one, two) = script();
        script.ok(one, 0, 5, acquire(None), json!({"token": 1}));
        script.ok(two, 1, 12, acquire(None), json!({"token": 2}));
        // Released while the answer to the other is on its way.
        script.ok(one, 11, 20, release(), ());
        script.ok(two, 20, 21, release(), ());
        passes(&script);
    }

    #[test]
    fn two_at_once_fail_and_are_named() {
        let (mut script, one, two) = script();
        script.ok(one, 0, 5, acquire(None), json!({"token": 1}));
        script.ok(two, 1, 12, acquire(None), json!({"token": 2}));
        script.ok(one, 15, 16, release(), ());
        script.ok(two, 20, 21, release(), ());
        let result = script.judge();
        assert_eq!(result.violation_count, 1);
        let violation = &result.violations[0];
        assert!(
            violation
                .message
                .starts_with("workers 1 and 2 both held dict:counter from 12 ms to 15 ms"),
            "{}",
            violation.message
        );
        assert_eq!(violation.operations, [1, 2, 3]);
    }

    #[test]
    fn other_locks_and_the_same_session_are_no_concern() {
        let (mut script, one, two) = script();
        let other = Op::LockAcquire {
            lock: LockName::new(LockKind::List, "counter"),
            timeout_ms: None,
            ttl_ms: None,
        };
        script.ok(one, 0, 5, acquire(None), json!({}));
        script.ok(two, 1, 12, other, json!({}));
        script.ok(one, 13, 14, acquire(None), json!({}));
        passes(&script);
    }

    #[test]
    fn a_hold_ends_with_its_time_and_not_before() {
        let (mut script, one, two) = script();
        script.ok(one, 0, 5, acquire(Some(1000)), json!({}));
        script.ok(two, 1, 1001, acquire(Some(1000)), json!({}));
        passes(&script);
        script.history.operations[1].completed_ns = Some(900_000_000);
        let result = script.judge();
        assert_eq!(result.verdict, Verdict::Fail);
        assert!(result.violations[0].message.contains("1 s of its time"));
    }

    #[test]
    fn a_renewed_hold_lasts_longer() {
        let (mut script, one, two) = script();
        script.ok(one, 0, 5, acquire(Some(1000)), json!({}));
        script.ok(two, 1, 1200, acquire(Some(1000)), json!({}));
        passes(&script);
        script.ok(one, 500, 501, renew(1000), ());
        assert_eq!(script.judge().verdict, Verdict::Fail);
        script.history.operations[2].outcome = crate::history::Outcome::Info(
            crate::protocol::Failure::new(crate::protocol::ErrorCode::Failed, ""),
        );
        passes(&script);
    }

    #[test]
    fn the_dead_hold_nothing() {
        let (mut script, one, two) = script();
        script.ok(one, 0, 5, acquire(None), json!({}));
        script.fault(10, Fault::Kill { worker: 1 }, &[one], None);
        script.over(one, 11, SessionEnd::Killed);
        script.ok(two, 11, 12, acquire(None), json!({}));
        passes(&script);
        script.history.faults[0].at_ns = 13_000_000;
        assert_eq!(script.judge().verdict, Verdict::Fail);
    }

    #[test]
    fn a_grant_given_back_at_once_counts_too() {
        let (mut script, one, two) = script();
        script.ok(one, 0, 5, acquire(None), json!({}));
        script.ok(two, 6, 12, acquire(None), json!({}));
        script.ok(two, 12, 13, release(), ());
        script.ok(one, 20, 21, release(), ());
        let result = script.judge();
        assert_eq!(result.violation_count, 1);
        assert!(
            result.violations[0]
                .message
                .starts_with("worker 2 was granted dict:counter by 12 ms while worker 1 held it"),
            "{:?}",
            result.violations
        );
    }

    #[test]
    fn clocks_that_are_too_far_apart_are_not_judged() {
        let (mut script, one, two) = script();
        script.ok(one, 0, 5, acquire(Some(60_000)), json!({}));
        script.ok(two, 6, 12, acquire(None), json!({}));
        assert_eq!(script.judge().verdict, Verdict::Fail);
        script.history.sessions[1].clock_offset_ms = -10_000;
        assert_eq!(script.judge().verdict, Verdict::Fail);
        script.history.sessions[1].clock_offset_ms = 61_000;
        passes(&script);
    }
}
