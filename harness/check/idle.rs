//! When a lock was free though somebody waited for it.
//!
//! A lock counts as free from when whoever had been granted it had certainly ended, and
//! everybody who might stand in its line without waiting (the dead) is allowed for,
//! until the next grant is answered. That somebody was granted it and told only later is no excuse:
//! the bounds are about answers.

use super::holds::{Hold, Line, Locks};
use super::spans::Spans;
use crate::history::Operation;
use std::cmp::Reverse;

const MS: u64 = 1_000_000;

/// A lock stayed free for too long.
#[derive(Debug)]
pub(super) struct Idle<'l, 'h> {
    /// From then on.
    pub(super) free_ns: u64,
    /// Since when it was free.
    pub(super) since: Since<'l, 'h>,
    /// Who waited longest for it meanwhile.
    pub(super) waiter: &'h Operation,
    /// How long.
    pub(super) waited_ns: u64,
    /// How long it may have waited at most.
    pub(super) allowed_ns: u64,
    /// Who was granted it next.
    pub(super) next: Option<&'l Hold<'h>>,
}

/// What made a lock free.
#[derive(Clone, Copy, Debug)]
pub(super) enum Since<'l, 'h> {
    /// Nobody had held it.
    Ever,
    /// The holder's session ended this hold or closed.
    GivenBack(&'l Hold<'h>),
    /// The time to live of this hold had passed.
    Expired(&'l Hold<'h>),
    /// Who had been granted it, or asked for it or for a write under it, was gone.
    Gone(&'h Operation),
    /// A write that went ahead by itself was done.
    Written(&'h Operation),
}

/// Somebody may have had the lock from `from` to `to`, and it is to be granted by `due`.
struct Busy<'l, 'h> {
    from: u64,
    to: u64,
    due: u64,
    since: Since<'l, 'h>,
    /// Which grant that was.
    next: Option<&'l Hold<'h>>,
}

/// For how long locks may be free while somebody waits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allowed {
    /// After they were given back or ran out.
    pub(super) handover_ms: u64,
    /// After a death; none: the dead may keep their place until their time has passed.
    pub(super) dead_ms: Option<u64>,
}

/// Finds those times for one lock.
pub(super) fn find<'l, 'h>(
    locks: &'l Locks<'h>,
    line: &'l Line<'h>,
    hindrances: &Spans,
    allowed: Allowed,
    end_ns: u64,
) -> Vec<Idle<'l, 'h>> {
    let handover = allowed.handover_ms.saturating_mul(MS);
    let first_ns = line.holds.first().map_or(u64::MAX, |it| it.answered_ns);
    let mut last = Busy {
        from: 0,
        to: 0,
        due: handover.min(first_ns),
        since: Since::Ever,
        next: None,
    };
    let mut requests = line.requests.iter().copied().peekable();
    let mut waiting: Vec<(&Operation, u64)> = Vec::new();
    let mut found = Vec::new();
    let end = Busy {
        from: end_ns,
        to: u64::MAX,
        due: u64::MAX,
        since: Since::Ever,
        next: None,
    };
    for busy in busy(locks, line, allowed).into_iter().chain([end]) {
        // Only what is long enough to matter.
        if busy.from > last.due {
            while let Some(request) = requests.next_if(|it| it.invoked_ns < busy.from) {
                waiting.push((request, waits_until(locks, request, end_ns)));
            }
            waiting.retain(|(_, until)| *until > last.to);
            let late = waiting.iter().filter_map(|(request, until)| {
                let (from, to) = (request.invoked_ns.max(last.to), busy.from.min(*until));
                let waited = to
                    .saturating_sub(from)
                    .saturating_sub(hindrances.within(from, to));
                let mut may_wait = last.due.saturating_sub(from);
                if request.invoked_ns > last.to {
                    may_wait = may_wait.max(handover);
                }
                (waited > may_wait).then_some((waited, may_wait, *request))
            });
            let longest = late.max_by_key(|(waited, _, request)| (*waited, Reverse(request.id)));
            if let Some((waited_ns, allowed_ns, waiter)) = longest {
                found.push(Idle {
                    free_ns: last.to,
                    since: last.since,
                    waiter,
                    waited_ns,
                    allowed_ns,
                    next: busy.next,
                });
            }
        }
        last = after_both(last, busy);
    }
    found
}

/// The lock is free when both have ended.
fn after_both<'l, 'h>(one: Busy<'l, 'h>, other: Busy<'l, 'h>) -> Busy<'l, 'h> {
    let due = one.due.max(other.due);
    let later = if other.to >= one.to { other } else { one };
    Busy { due, ..later }
}

/// Until when it certainly waited.
fn waits_until(locks: &Locks<'_>, request: &Operation, end_ns: u64) -> u64 {
    let lived = locks.lives.get(request.session).lived_until_ns;
    request.completed_ns.unwrap_or(end_ns).min(lived)
}

/// Who may have had the lock when, by beginning.
fn busy<'l, 'h>(locks: &'l Locks<'h>, line: &'l Line<'h>, allowed: Allowed) -> Vec<Busy<'l, 'h>> {
    let handover = allowed.handover_ms.saturating_mul(MS);
    let dead = allowed.dead_ms.map(|ms| ms.saturating_mul(MS));
    let mut all = Vec::new();
    for (at, hold) in line.holds.iter().enumerate() {
        // Once another was granted it, nothing is left of this.
        let next = line.holds[at + 1..].iter().find(|next| next.after > at);
        let next_ns = next.map_or(u64::MAX, |next| next.answered_ns);
        let over = hold.over_by(locks.clocks, &locks.lives).min(next_ns);
        let expired = hold.expired_ns(locks.clocks) == over && over < hold.ended_ns;
        let mut to = over.max(hold.answered_ns);
        let mut due = to.saturating_add(handover);
        let mut since = if expired {
            Since::Expired(hold)
        } else {
            Since::GivenBack(hold)
        };
        if let Some(dead) = dead
            && let Some(died) = locks.lives.get(hold.acquire.session).died_ns()
            && let died = died.max(hold.answered_ns)
            && died.saturating_add(dead) < due
        {
            (to, due) = (died.min(to), died.saturating_add(dead));
            since = Since::Gone(hold.acquire);
        }
        all.push(Busy {
            from: hold.answered_ns,
            to,
            due: due.min(next_ns),
            since,
            next: Some(hold),
        });
    }
    // Nobody knows what became of these; their rows may still stand in the line.
    let writes = line.writes.iter().map(|write| write.operation);
    let unknown = line.requests.iter().copied().chain(writes);
    for operation in unknown.filter(|it| it.is_info()) {
        let life = locks.lives.get(operation.session);
        // As long as it is under way, it is to be answered in time like the others.
        let from = operation.completed_ns.unwrap_or(u64::MAX);
        let from = from.min(life.lived_until_ns).max(operation.invoked_ns);
        if from == u64::MAX {
            continue;
        }
        let (to, allowed) = match (life.died_ns(), dead) {
            (Some(died), Some(dead)) => (died.max(from), dead),
            _ => (life.closed_ns().max(from), handover),
        };
        all.push(Busy {
            from,
            to,
            due: to.saturating_add(allowed),
            since: Since::Gone(operation),
            next: None,
        });
    }
    // A write by somebody who doesn't hold the lock waits in the line, too.
    for write in line.writes.iter().filter(|write| !write.as_holder) {
        if let Some(done) = write.done_by {
            all.push(Busy {
                from: done,
                to: done,
                due: done.saturating_add(handover),
                since: Since::Written(write.operation),
                next: None,
            });
        }
    }
    all.sort_by_key(|busy| busy.from);
    all
}
