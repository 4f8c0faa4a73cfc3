//! One lock: who has it, and who stands in line.
//!
//! What must stay true: whoever has joined first is granted first; a grant lasts from the grant
//! to its end, and then is no more, whether anybody looks or not.

use super::defect::{Defect, Sabotage};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Which client, for the whole life of the store.
pub(super) type Owner = u64;

#[derive(Debug, Default)]
pub(super) struct Lock {
    /// At most one, but for defects.
    grants: Vec<Grant>,
    line: VecDeque<Place>,
    granted: u64,
    token: u64,
}

#[derive(Debug)]
struct Grant {
    number: u64,
    owner: Owner,
    /// None: never.
    ends: Option<Instant>,
}

/// A place in line.
#[derive(Debug)]
struct Place {
    ticket: u64,
    owner: Owner,
    asked: Instant,
    /// It is never told that it is its turn.
    deaf: bool,
    /// It doesn't wait for its turn.
    barges: bool,
}

fn after(now: Instant, ms: u64) -> Option<Instant> {
    now.checked_add(Duration::from_millis(ms))
}

impl Lock {
    /// Grants that have ended are no more.
    pub(super) fn expire(&mut self, now: Instant) {
        self.grants
            .retain(|grant| grant.ends.is_none_or(|ends| ends > now));
    }

    /// Nobody has it or waits for it.
    pub(super) fn is_idle(&self) -> bool {
        self.grants.is_empty() && self.line.is_empty()
    }

    /// How many have it or wait for it.
    pub(super) fn waiting(&self) -> usize {
        self.grants.len() + self.line.len()
    }

    /// When it may change although nobody does anything.
    pub(super) fn next_end(&self) -> Option<Instant> {
        self.grants.iter().filter_map(|grant| grant.ends).min()
    }

    /// Joins the line.
    pub(super) fn join(
        &mut self,
        ticket: u64,
        owner: Owner,
        now: Instant,
        sabotage: &mut Sabotage,
    ) {
        let held = !self.grants.is_empty();
        let place = Place {
            ticket,
            owner,
            asked: now,
            deaf: held && sabotage.strikes(Defect::LostWakeUp),
            barges: held && sabotage.strikes(Defect::SharedLock),
        };
        if !self.line.is_empty() && sabotage.strikes(Defect::LifoGrants) {
            self.line.push_front(place);
        } else {
            self.line.push_back(place);
        }
    }

    pub(super) fn leave(&mut self, ticket: u64) {
        self.line.retain(|place| place.ticket != ticket);
    }

    /// Whether the place may have it now.
    pub(super) fn is_turn(&self, ticket: u64) -> bool {
        let first = self.line.front().filter(|_| self.grants.is_empty());
        first.is_some_and(|place| place.ticket == ticket && !place.deaf)
            || self
                .line
                .iter()
                .any(|place| place.ticket == ticket && place.barges)
    }

    /// Grants it to the place, whose turn it is: the grant's number and the fencing token.
    pub(super) fn grant(
        &mut self,
        ticket: u64,
        ttl_ms: u64,
        now: Instant,
        sabotage: &mut Sabotage,
    ) -> Option<(u64, u64)> {
        let at = self.line.iter().position(|place| place.ticket == ticket)?;
        let place = self.line.remove(at)?;
        self.granted += 1;
        if !sabotage.strikes(Defect::TokenRepeats) {
            self.token += 1;
        }
        let from = if sabotage.strikes(Defect::TtlFromRequest) {
            place.asked
        } else {
            now
        };
        let ends = after(from, ttl_ms).filter(|_| !sabotage.strikes(Defect::TtlIgnored));
        self.grants.push(Grant {
            number: self.granted,
            owner: place.owner,
            ends,
        });
        Some((self.granted, self.token))
    }

    /// Whether this grant still is.
    pub(super) fn has(&self, number: u64) -> bool {
        self.grants.iter().any(|grant| grant.number == number)
    }

    /// Ends the grant; false if it was no more.
    pub(super) fn release(&mut self, number: u64) -> bool {
        let had = self.has(number);
        self.grants.retain(|grant| grant.number != number);
        had
    }

    /// Lets the grant last so long from now; false if it is no more.
    pub(super) fn renew(&mut self, number: u64, ttl_ms: u64, now: Instant) -> bool {
        let grant = self.grants.iter_mut().find(|grant| grant.number == number);
        grant.is_some_and(|grant| {
            grant.ends = after(now, ttl_ms);
            true
        })
    }

    /// The client is no more.
    pub(super) fn forget(&mut self, owner: Owner, sabotage: &mut Sabotage) {
        self.line.retain(|place| place.owner != owner);
        let held = self.grants.iter().any(|grant| grant.owner == owner);
        if !(held && sabotage.strikes(Defect::DeadHolder)) {
            self.grants.retain(|grant| grant.owner != owner);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_is_served_in_order_and_a_grant_lasts_from_the_grant() {
        let mut none = Sabotage::default();
        let (mut lock, start) = (Lock::default(), Instant::now());
        let at = |ms: u64| start + Duration::from_millis(ms);
        lock.join(1, 10, at(0), &mut none);
        lock.join(2, 20, at(1), &mut none);
        assert!(lock.is_turn(1) && !lock.is_turn(2));
        let (first, token) = lock.grant(1, 100, at(5), &mut none).unwrap();
        assert_eq!((lock.waiting(), lock.next_end()), (2, Some(at(105))));
        lock.expire(at(104));
        assert!(lock.has(first) && !lock.is_turn(2));
        assert!(lock.renew(first, 100, at(104)));
        lock.expire(at(203));
        assert!(lock.has(first));
        lock.expire(at(204));
        assert!(!lock.has(first) && lock.is_turn(2));
        assert!(!lock.release(first) && !lock.renew(first, 100, at(204)));
        let (second, later) = lock.grant(2, 100, at(300), &mut none).unwrap();
        assert!(later > token);
        lock.join(3, 20, at(301), &mut none);
        lock.forget(20, &mut none);
        assert!(!lock.has(second) && lock.is_idle());
    }
}
