//! When an operation on a manager may have had to wait for somebody else: for who may have held the
//! manager's lock, or had a transaction open.
//!
//! What must stay true: a moment at which somebody held the lock on a correct system, or had a
//! transaction open, is in one of the spans. They may be too wide, never too narrow.

use super::clocks::DEFAULT_TTL_MIN_MS;
use crate::history::{History, SessionEnd};
use crate::protocol::{ErrorCode, LockName, Op};
use std::collections::HashMap;

/// A time in which a session may have been in others' way.
#[derive(Clone, Copy, Debug)]
struct Span {
    session: u64,
    from_ns: u64,
    to_ns: u64,
}

/// The latest ends among the first spans, of two sessions.
#[derive(Clone, Copy, Debug, Default)]
struct Latest {
    first: Option<(u64, u64)>,
    second: Option<(u64, u64)>,
}

impl Latest {
    fn add(&mut self, session: u64, to_ns: u64) {
        match self.first {
            Some((known, end)) if known == session => {
                self.first = Some((session, end.max(to_ns)));
            }
            Some((_, end)) if end >= to_ns => {
                if self.second.is_none_or(|(_, end)| end < to_ns) {
                    self.second = Some((session, to_ns));
                }
            }
            first => {
                self.second = first;
                self.first = Some((session, to_ns));
            }
        }
    }

    fn of_others(&self, session: u64) -> Option<u64> {
        match self.first {
            Some((known, end)) if known != session => Some(end),
            _ => self.second.map(|(_, end)| end),
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct HeldByOthers {
    /// In the order of their beginnings.
    spans: Vec<Span>,
    /// For each: the latest ends up to it.
    latest: Vec<Latest>,
    /// When a session held the lock for certain, so that nobody else did.
    own: HashMap<u64, Vec<(u64, u64)>>,
}

impl HeldByOthers {
    /// For operations on the manager that `lock` belongs to.
    pub(super) fn of(history: &History, lock: &LockName) -> Self {
        let mut spans = Vec::new();
        let mut own: HashMap<u64, Vec<(u64, u64)>> = HashMap::new();
        // By session: when it asked and got an answer, and for how long.
        let mut held: HashMap<u64, (u64, Option<u64>, Option<u64>)> = HashMap::new();
        let mut begun: HashMap<u64, u64> = HashMap::new();
        let may_be = |operation: &&crate::history::Operation| operation.may_have_happened();
        for operation in &history.operations {
            let session = operation.session;
            match &operation.op {
                Op::LockAcquire {
                    lock: of, ttl_ms, ..
                } if of == lock && may_be(&operation) => {
                    let granted_ns = operation.ok().and(operation.completed_ns);
                    let asked = (operation.invoked_ns, granted_ns, *ttl_ms);
                    // Nobody knows what became of the one before.
                    if let Some((from_ns, ..)) = held.insert(session, asked) {
                        spans.push(Span {
                            session,
                            from_ns,
                            to_ns: u64::MAX,
                        });
                    }
                }
                Op::LockRelease { lock: of } if of == lock => {
                    let over = match operation.failure() {
                        None => true,
                        Some(failure) => {
                            failure.definite
                                && matches!(failure.error, ErrorCode::NotHeld | ErrorCode::LockLost)
                        }
                    };
                    if over && let Some((from_ns, granted_ns, ttl_ms)) = held.remove(&session) {
                        let to_ns = operation.latest_ns();
                        spans.push(Span {
                            session,
                            from_ns,
                            to_ns,
                        });
                        let lasted = certainly_lasts(ttl_ms, from_ns, operation.invoked_ns);
                        if let (Some(granted_ns), true) =
                            (granted_ns, operation.ok().is_some() && lasted)
                        {
                            own.entry(session)
                                .or_default()
                                .push((granted_ns, operation.invoked_ns));
                        }
                    }
                }
                Op::Begin if may_be(&operation) => {
                    begun.entry(session).or_insert(operation.invoked_ns);
                }
                Op::Commit | Op::Rollback if may_be(&operation) => {
                    if let Some(to_ns) = operation.completed_ns
                        && let Some(from_ns) = begun.remove(&session)
                    {
                        spans.push(Span {
                            session,
                            from_ns,
                            to_ns,
                        });
                    }
                }
                _ => {}
            }
        }
        let over = |session| history.session(session).and_then(|known| known.over);
        // What was neither given back nor ended with a session in good order may have gone on.
        spans.extend(held.into_iter().map(|(session, (from_ns, ..))| Span {
            session,
            from_ns,
            to_ns: match over(session) {
                Some((at, SessionEnd::Closed)) => at,
                _ => u64::MAX,
            },
        }));
        spans.extend(begun.into_iter().map(|(session, from_ns)| Span {
            session,
            from_ns,
            to_ns: over(session).map_or(u64::MAX, |(at, _)| at),
        }));
        bound_by_later_grants(history, lock, &mut spans);
        Self::assemble(spans, own)
    }

    /// The same, with those who stood in the lock's line and never held it: who asked in vain, and who
    /// writes without the lock, which where locks bind everybody takes a place in line.
    pub(super) fn with_line(
        history: &History,
        lock: &LockName,
        writes: impl Fn(&Op) -> bool,
    ) -> Self {
        let held = Self::of(history, lock);
        let stood = history.operations.iter().filter(|operation| {
            let to_ns = operation.latest_ns();
            match &operation.op {
                Op::LockAcquire { lock: of, .. } => of == lock,
                op => writes(op) && held.at(operation.session, operation.invoked_ns, to_ns),
            }
        });
        let stood = stood.map(|operation| Span {
            session: operation.session,
            from_ns: operation.invoked_ns,
            to_ns: operation.latest_ns(),
        });
        let spans = held.spans.iter().copied().chain(stood).collect();
        Self::assemble(spans, held.own)
    }

    fn assemble(mut spans: Vec<Span>, own: HashMap<u64, Vec<(u64, u64)>>) -> Self {
        spans.sort_unstable_by_key(|span| (span.from_ns, span.session));
        let mut sum = Latest::default();
        let latest = spans.iter().map(|span| {
            sum.add(span.session, span.to_ns);
            sum
        });
        let latest = latest.collect();
        Self { spans, latest, own }
    }

    /// Whether somebody else may have been in the way of this session at some moment from
    /// `from_ns` to `to_ns`.
    pub(super) fn at(&self, session: u64, from_ns: u64, to_ns: u64) -> bool {
        let certain = self.own.get(&session).is_some_and(|own| {
            let after = own.partition_point(|(granted_ns, _)| *granted_ns <= from_ns);
            after > 0 && own[after - 1].1 >= to_ns
        });
        if certain {
            return false;
        }
        let begun = self.spans.partition_point(|span| span.from_ns <= to_ns);
        begun > 0
            && self.latest[begun - 1]
                .of_others(session)
                .is_some_and(|end| end >= from_ns)
    }
}

/// Whether a grant that was asked for at `from_ns` goes on until `to_ns` at least, if it isn't given
/// back. Without a `ttl_ms` of its own it has the system's, which the protocol takes to be
/// thirty seconds at least.
pub(super) fn certainly_lasts(ttl_ms: Option<u64>, from_ns: u64, to_ns: u64) -> bool {
    let ttl_ns = ttl_ms
        .unwrap_or(DEFAULT_TTL_MIN_MS)
        .saturating_mul(1_000_000);
    to_ns < from_ns.saturating_add(ttl_ns)
}

/// A grant that was acknowledged and never given back is over when somebody else has one.
fn bound_by_later_grants(history: &History, lock: &LockName, spans: &mut [Span]) {
    let grants = history.operations.iter().filter_map(|operation| {
        let ours = matches!(&operation.op, Op::LockAcquire { lock: of, .. } if of == lock);
        let granted_ns = operation.ok().and(operation.completed_ns);
        granted_ns
            .filter(|_| ours)
            .map(|granted_ns| (operation.invoked_ns, granted_ns, operation.session))
    });
    let grants: Vec<_> = grants.collect();
    let is_grant: HashMap<(u64, u64), u64> = grants
        .iter()
        .map(|(from_ns, granted_ns, session)| ((*session, *from_ns), *granted_ns))
        .collect();
    for span in spans.iter_mut().filter(|span| span.to_ns == u64::MAX) {
        let Some(granted_ns) = is_grant.get(&(span.session, span.from_ns)) else {
            continue;
        };
        // In the order of their invocations; the first that was asked for after this one was
        // granted is near.
        let later = grants.partition_point(|(from_ns, _, _)| from_ns <= granted_ns);
        let next = grants[later..]
            .iter()
            .filter(|(_, _, session)| *session != span.session)
            .map(|(_, granted_ns, _)| *granted_ns)
            .next();
        span.to_ns = next.unwrap_or(u64::MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::super::CheckSpec;
    use super::super::script::Script;
    use super::*;
    use crate::protocol::LockKind;

    const MS: u64 = 1_000_000;

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

    #[test]
    fn who_stands_in_line_is_in_the_way_too() {
        let mut script = Script::new(CheckSpec::Completion);
        let sessions: Vec<u64> = (0..4).map(|worker| script.session(worker, 0)).collect();
        let get = || Op::QueueGet {
            name: "q".into(),
            timeout_ms: Some(5),
        };
        script.ok(sessions[0], 1, 2, acquire(), ());
        script.fail(sessions[1], 3, 9, acquire(), ErrorCode::Timeout);
        script.fail(sessions[2], 3, 12, get(), ErrorCode::Timeout);
        script.ok(sessions[0], 4, 5, Op::LockRelease { lock: lock() }, ());
        script.fail(sessions[2], 20, 21, get(), ErrorCode::Timeout);
        let held = HeldByOthers::of(&script.history, &lock());
        let line = HeldByOthers::with_line(&script.history, &lock(), |op| {
            matches!(op, Op::QueueGet { .. })
        });
        for (from, to, in_line) in [
            (7, 8, true),
            (10, 11, true),
            (13, 14, false),
            (20, 21, false),
        ] {
            assert!(!held.at(sessions[3], from * MS, to * MS));
            assert_eq!(line.at(sessions[3], from * MS, to * MS), in_line, "{from}");
        }
    }

    #[test]
    fn a_hold_is_in_the_way_of_others_from_its_request_to_its_release() {
        let mut script = Script::new(CheckSpec::Completion);
        let (a, b) = (script.session(0, 0), script.session(1, 0));
        script.ok(a, 10, 20, acquire(), ());
        script.ok(a, 30, 40, Op::LockRelease { lock: lock() }, ());
        script.ok(b, 50, 60, Op::Begin, ());
        script.ok(b, 70, 80, Op::Commit, ());
        let held = HeldByOthers::of(&script.history, &lock());
        let at = |session, from, to| held.at(session, from * MS, to * MS);
        assert!(!at(b, 0, 9) && at(b, 0, 10) && at(b, 25, 26) && at(b, 40, 49));
        assert!(!at(b, 41, 90) && !at(a, 0, 49) && at(a, 0, 55) && at(a, 80, 99));
        assert!(!at(a, 81, 99));
    }

    #[test]
    fn a_hold_of_the_dead_ends_with_the_next_grant() {
        let mut script = Script::new(CheckSpec::Completion);
        let (a, b, c) = (
            script.session(0, 0),
            script.session(1, 0),
            script.session(2, 0),
        );
        script.ok(a, 10, 20, acquire(), ());
        script.over(a, 25, SessionEnd::Killed);
        script.ok(b, 30, 100, acquire(), ());
        script.ok(b, 110, 120, Op::LockRelease { lock: lock() }, ());
        let held = HeldByOthers::of(&script.history, &lock());
        assert!(held.at(c, 50 * MS, 60 * MS) && held.at(c, 115 * MS, 116 * MS));
        assert!(!held.at(c, 121 * MS, 122 * MS));
        // A dead waiter may be granted at any time, except while another certainly holds it.
        script.info(c, 130, None, acquire());
        script.ok(b, 140, 150, acquire(), ());
        script.ok(b, 200, 210, Op::LockRelease { lock: lock() }, ());
        let held = HeldByOthers::of(&script.history, &lock());
        assert!(held.at(b, 220 * MS, 230 * MS) && !held.at(b, 160 * MS, 170 * MS));
    }
}
