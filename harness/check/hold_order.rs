//! In which order the grants of a lock must have come, and what follows from it for their times.
//!
//! The times of answers alone say little: a session that waits in line with others asked
//! long before it was granted. But a lock that is held is not granted, so whoever is granted
//! comes before or after each other holder as a whole. If somebody's hold lasted longer than until
//! another was answered, it can't have been the earlier of the two. So it began after the other
//! had ended, hence (if its end is counted from its grant) ends later than was known,
//! hence outlasts more of the others; and so on.

use super::clocks::Clocks;
use super::holds::Hold;
use crate::history::Outcome;
use crate::protocol::Op;

/// Later rounds only make more known of holds that ended long before they were answered.
const ROUNDS_MAX: u32 = 1000;

/// Fills in what is certain of holds that are in the order of their answers.
pub(super) fn settle(holds: &mut [Hold<'_>], clocks: Clocks) {
    let answered: Vec<u64> = holds.iter().map(|hold| hold.answered_ns).collect();
    // The latest end of the first so many.
    let mut ends = vec![0];
    for (at, hold) in holds.iter_mut().enumerate() {
        let earlier = &answered[..at];
        let asked = hold.acquire.invoked_ns;
        let mut after = earlier.partition_point(|answered| *answered < asked);
        for _ in 0..ROUNDS_MAX {
            hold.granted_ns = asked.max(ends[after]).min(hold.answered_ns);
            (hold.certain, hold.promised_ns) = certain(hold, clocks);
            let end = hold.end_ns();
            let more = earlier.partition_point(|answered| *answered < end);
            if more <= after {
                break;
            }
            after = more;
        }
        hold.after = after;
        ends.push(ends[at].max(hold.end_ns()));
    }
}

/// When a hold lasted that began no earlier than its `granted_ns`, and until when it was to.
fn certain(hold: &Hold<'_>, clocks: Clocks) -> (Vec<(u64, u64)>, u64) {
    let mut spans = Vec::new();
    let mut from = hold.answered_ns;
    let mut to = clocks.held_until(hold.granted_ns, hold.ttl_ms);
    for renewal in &hold.renewals {
        let Op::LockRenew { ttl_ms, .. } = renewal.op else {
            continue;
        };
        // A system may let the renewed time replace what was left of the old.
        let renewed = clocks.held_until(renewal.invoked_ns, Some(ttl_ms));
        match (&renewal.outcome, renewal.completed_ns) {
            (Outcome::Ok { .. }, Some(completed)) => {
                if renewal.invoked_ns > to {
                    spans.push((from, to));
                    from = completed;
                }
                to = renewed;
            }
            _ => to = to.min(renewed),
        }
    }
    spans.push((from, to));
    for span in &mut spans {
        span.1 = span.1.min(hold.kept_until_ns);
    }
    (spans, to)
}

/// For each number of first holds: which of them has the greatest key.
pub(super) fn greatest<K: Ord>(
    holds: &[Hold<'_>],
    key: impl Fn(&Hold<'_>) -> Option<K>,
) -> Vec<Option<usize>> {
    let mut greatest: Option<(K, usize)> = None;
    let mut all = vec![None];
    for (at, hold) in holds.iter().enumerate() {
        if let Some(key) = key(hold)
            && greatest.as_ref().is_none_or(|(known, _)| key > *known)
        {
            greatest = Some((key, at));
        }
        all.push(greatest.as_ref().map(|(_, at)| *at));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::super::CheckSpec;
    use super::super::holds::Locks;
    use super::super::script::Script;
    use crate::protocol::{LockKind, LockName, Op};
    use serde_json::json;

    fn lock() -> LockName {
        LockName::new(LockKind::Lock, "l")
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

    const MS: u64 = 1_000_000;

    #[test]
    fn a_grant_comes_after_all_that_it_outlasts() {
        let mut script = Script::new(CheckSpec::MutualExclusion);
        let sessions: Vec<u64> = (0..3).map(|worker| script.session(worker, 0)).collect();
        // All ask at once, each gives back after 1000 ms; the time to live is 1500.
        for (at, session) in sessions.iter().enumerate() {
            let answered = 10 + 1000 * at as u64;
            script.ok(
                *session,
                at as u64,
                answered,
                acquire(Some(1500)),
                json!({}),
            );
        }
        for (at, session) in sessions.iter().enumerate() {
            let at = 1000 * at as u64;
            script.ok(*session, at + 1005, at + 1009, release(), ());
        }
        let locks = Locks::of(&script.history);
        let granted: Vec<_> = locks.lines[0]
            .holds
            .iter()
            .map(|hold| (hold.after, hold.granted_ns / MS, hold.end_ns() / MS))
            .collect();
        // The second lasts until 1436 even if it was granted when it asked, so it comes after
        // the first; and the third, from 2010 on, would have run out without this.
        assert_eq!(granted, [(0, 0, 1005), (1, 1005, 2005), (2, 2005, 3005)]);
    }

    #[test]
    fn a_grant_that_was_answered_late_may_have_come_before() {
        let mut script = Script::new(CheckSpec::MutualExclusion);
        let (one, two) = (script.session(0, 0), script.session(1, 0));
        script.ok(one, 0, 5000, acquire(Some(1000)), json!({}));
        script.ok(two, 1, 2000, acquire(Some(1000)), json!({}));
        script.ok(two, 2100, 2101, release(), ());
        let locks = Locks::of(&script.history);
        let holds = &locks.lines[0].holds;
        assert_eq!(holds[1].acquire.session, one);
        assert_eq!((holds[1].after, holds[1].granted_ns), (0, 0));
        assert!(holds[1].end_ns() < holds[1].answered_ns);
    }

    #[test]
    fn renewals_extend_and_what_nobody_knows_does_not() {
        let mut script = Script::new(CheckSpec::MutualExclusion);
        let session = script.session(0, 0);
        let renew = |ttl_ms| Op::LockRenew {
            lock: lock(),
            ttl_ms,
        };
        script.ok(session, 0, 1, acquire(Some(1000)), json!({}));
        script.ok(session, 900, 901, renew(1000), ());
        // The first of its time may have run out by now; it hadn't, since this succeeds.
        script.ok(session, 1890, 1891, renew(1000), ());
        script.info(session, 2000, Some(2001), renew(500));
        let certain =
            |script: &Script| Locks::of(&script.history).lines[0].holds[0].certain.clone();
        assert_eq!(certain(&script), [(MS, 1840 * MS), (1891 * MS, 2445 * MS)]);
        script.ok(session, 2002, 2003, release(), ());
        assert_eq!(certain(&script)[1], (1891 * MS, 2002 * MS));
    }
}
