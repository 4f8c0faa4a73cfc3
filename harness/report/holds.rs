//! Who held which lock when, as far as the history shows it.
//!
//! What must stay true: this is for drawing. Whether two holds contradict each other is for the checks.

use crate::history::{History, Outcome};
use crate::protocol::{ErrorCode, LockName, Op};
use std::collections::HashMap;

/// A lock held by a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// The lock.
    pub lock: LockName,
    /// Whose.
    pub worker: u32,
    /// The operation that acquired it.
    pub acquire: u64,
    /// The operation that gave it back; none if the session or the run ended first.
    pub release: Option<u64>,
    /// When the acquisition was answered: it was held from then on at the latest.
    pub from_ns: u64,
    /// When its release was invoked or its session was over; the end of the run if neither came.
    pub until_ns: u64,
    /// When the grant must have run out, if it was given for a limited time and that is before
    /// `until_ns`. Nothing is certain from here on.
    pub lapsed_ns: Option<u64>,
}

struct Open {
    hold: Hold,
    /// The end of the grant.
    lapses_ns: Option<u64>,
}

impl Open {
    fn end(self, until_ns: u64, release: Option<u64>) -> Hold {
        let mut hold = self.hold;
        hold.until_ns = until_ns.max(hold.from_ns);
        hold.release = release;
        hold.lapsed_ns = self.lapses_ns.filter(|at| *at < hold.until_ns);
        hold
    }
}

/// All holds, in the order in which they began.
pub fn holds(history: &History) -> Vec<Hold> {
    let end_ns = history.end_ns();
    let mut over = HashMap::new();
    for session in &history.sessions {
        if let Some((at, _)) = session.over {
            over.insert(session.session, at);
        }
    }
    let mut open: HashMap<(u64, &LockName), Open> = HashMap::new();
    let mut all = Vec::new();
    for operation in &history.operations {
        let completed = operation.completed_ns;
        match (&operation.op, &operation.outcome, completed) {
            (Op::LockAcquire { lock, ttl_ms, .. }, Outcome::Ok { .. }, Some(at)) => {
                let hold = Hold {
                    lock: lock.clone(),
                    worker: operation.worker,
                    acquire: operation.id,
                    release: None,
                    from_ns: at,
                    until_ns: end_ns,
                    lapsed_ns: None,
                };
                let lapses_ns = ttl_ms.map(|ttl| after_ms(at, ttl));
                let new = Open { hold, lapses_ns };
                // Acquired twice without a release between: the second ends the first's band.
                if let Some(old) = open.insert((operation.session, lock), new) {
                    all.push(old.end(operation.invoked_ns, None));
                }
            }
            (Op::LockRenew { lock, ttl_ms }, Outcome::Ok { .. }, Some(at)) => {
                if let Some(open) = open.get_mut(&(operation.session, lock)) {
                    open.lapses_ns = Some(after_ms(at, *ttl_ms));
                }
            }
            (Op::LockRelease { lock }, outcome, _) => {
                let still_held = matches!(outcome, Outcome::Fail(failure)
                    if !matches!(failure.error, ErrorCode::NotHeld | ErrorCode::LockLost));
                if !still_held && let Some(open) = open.remove(&(operation.session, lock)) {
                    all.push(open.end(operation.invoked_ns, Some(operation.id)));
                }
            }
            _ => {}
        }
    }
    for ((session, _), open) in open {
        let until_ns = over.get(&session).copied().unwrap_or(end_ns);
        all.push(open.end(until_ns, None));
    }
    all.sort_by_key(|hold| (hold.from_ns, hold.acquire));
    all
}

fn after_ms(at_ns: u64, ms: u64) -> u64 {
    at_ns.saturating_add(ms.saturating_mul(1_000_000))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::CheckSpec;
    use crate::check::script::Script;
    use crate::history::SessionEnd;
    use crate::protocol::LockKind;
    use serde_json::Value;

    const MS: u64 = 1_000_000;

    fn lock() -> LockName {
        LockName::new(LockKind::Lock, "a")
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

    fn bands(script: &Script) -> Vec<(u64, u64, Option<u64>)> {
        let all = holds(&script.history).into_iter();
        let ms = |ns: u64| ns / MS;
        all.map(|hold| (ms(hold.from_ns), ms(hold.until_ns), hold.lapsed_ns.map(ms)))
            .collect()
    }

    #[test]
    fn a_hold_is_from_the_answer_to_the_release() {
        let mut script = Script::new(CheckSpec::MutualExclusion);
        let session = script.session(0, 0);
        script.ok(session, 10, 20, acquire(None), Value::Null);
        // A release that was refused because the system was busy releases nothing.
        script.fail(session, 30, 31, release(), ErrorCode::Busy);
        script.ok(session, 40, 50, release(), Value::Null);
        script.fail(session, 60, 70, acquire(None), ErrorCode::Timeout);
        assert_eq!(bands(&script), [(20, 40, None)]);
    }

    #[test]
    fn a_dead_session_holds_nothing() {
        let mut script = Script::new(CheckSpec::MutualExclusion);
        let dead = script.session(0, 0);
        let alive = script.session(1, 0);
        script.ok(dead, 10, 20, acquire(None), Value::Null);
        script.over(dead, 35, SessionEnd::Killed);
        script.ok(alive, 30, 40, acquire(None), Value::Null);
        script.info(alive, 100, Some(110), release());
        assert_eq!(bands(&script), [(20, 35, None), (40, 100, None)]);
    }

    #[test]
    fn a_grant_lapses_unless_it_is_renewed() {
        let mut script = Script::new(CheckSpec::LockTtl);
        let session = script.session(0, 0);
        script.ok(session, 10, 20, acquire(Some(100)), Value::Null);
        let renew = Op::LockRenew {
            lock: lock(),
            ttl_ms: 200,
        };
        script.ok(session, 50, 60, renew, Value::Null);
        script.fail(session, 400, 410, release(), ErrorCode::LockLost);
        assert_eq!(bands(&script), [(20, 400, Some(260))]);
    }
}
