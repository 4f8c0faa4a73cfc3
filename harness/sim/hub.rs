//! Waiting for a commit that matters, in virtual time: what `src/host/storage/hub.rs` does with a
//! thread's timer. Who is woken by what is decided by the host's own code, [`Watchers`] and
//! [`Commits`].
//!
//! There is one for each process that instances live in, as on a real machine: what is announced
//! in one process is heard there alone, and found by the others at their next look.
//!
//! What must stay true: as long as somebody waits, there is a next look.

use super::locks::Holder;
use beaver_host::machine::{Begin, Commits, Interest, WatcherId, Watchers};
use rangemap::RangeSet;
use std::task::Waker;
use std::time::{Duration, Instant};

/// As in the host: how often to look, in nanoseconds.
const POLL_HOT_NS: u64 = 200_000;
const HOT_FOR_NS: u64 = 50_000_000;
const POLL_BUSY_NS: u64 = 1_000_000;
const QUIET_AFTER_NS: u64 = 1_000_000_000;
const POLL_QUIET_NS: u64 = 5_000_000;
const CLAIMS_EVERY_NS: u64 = 4_000_000;

/// Who waits in one process.
pub(super) struct Hub {
    /// The moment 0 of virtual time.
    origin: Instant,
    watchers: Watchers<Holder>,
    commits: Commits,
    changed_ns: Option<u64>,
    foreign_ns: Option<u64>,
    claims_ns: Option<u64>,
    /// When it looks next; only while somebody waits.
    pub(super) look_ns: Option<u64>,
}

impl Hub {
    pub(super) fn new(origin: Instant) -> Self {
        Self {
            origin,
            watchers: Watchers::default(),
            commits: Commits::default(),
            changed_ns: None,
            foreign_ns: None,
            claims_ns: None,
            look_ns: None,
        }
    }

    fn instant(&self, now_ns: u64) -> Instant {
        self.origin + Duration::from_nanos(now_ns)
    }

    /// Changes who waits for what; wakes who is to be woken.
    fn change<T>(&mut self, change: impl FnOnce(&mut Self, &mut Vec<Waker>) -> T) -> T {
        let mut wakers = Vec::new();
        let result = change(self, &mut wakers);
        if self.watchers.waiting() == 0 && self.look_ns.take().is_some() {
            self.commits.restart();
        }
        wakers.into_iter().for_each(Waker::wake);
        result
    }

    pub(super) fn is_watched(&self) -> bool {
        self.watchers.waiting() > 0
    }

    pub(super) fn join(&mut self, interest: Option<Interest>, now_ns: u64) -> WatcherId {
        let now = self.instant(now_ns);
        self.change(|hub, wakers| hub.watchers.join(interest, now, wakers))
    }

    pub(super) fn watch(&mut self, id: WatcherId, interest: Interest, now_ns: u64) {
        let now = self.instant(now_ns);
        self.change(|hub, wakers| wakers.extend(hub.watchers.change(id, interest, now)));
    }

    pub(super) fn leave(&mut self, id: WatcherId, now_ns: u64) {
        let now = self.instant(now_ns);
        self.change(|hub, wakers| wakers.extend(hub.watchers.leave(id, now)));
    }

    /// A commit concerned `topics`; its number, if the handle may speak for it.
    pub(super) fn announce(&mut self, topics: &[u64], number: Option<u32>, now_ns: u64) {
        if !self.is_watched() {
            return;
        }
        let now = self.instant(now_ns);
        self.change(|hub, wakers| {
            if let Some(number) = number {
                hub.commits.announce(number);
            }
            hub.changed_ns = Some(now_ns);
            for topic in topics {
                hub.watchers.tell_topic(*topic, now, wakers);
            }
        });
    }

    /// A lock was released under which a handle that announces nothing may have committed.
    pub(super) fn released(&mut self, last: u32, now_ns: u64) {
        if self.is_watched() {
            self.change(|hub, wakers| hub.look(last, now_ns, wakers));
        }
    }

    pub(super) fn claims_ended(&mut self, claims: &RangeSet<u64>, now_ns: u64) {
        if !claims.is_empty() {
            let now = self.instant(now_ns);
            self.change(|hub, wakers| {
                let has_ended = |claim| claims.contains(&claim);
                hub.watchers.tell_claims(has_ended, now, wakers);
            });
        }
    }

    /// `id` begins to wait.
    pub(super) fn begin(
        &mut self,
        id: WatcherId,
        holder: Holder,
        waker: Waker,
        now_ns: u64,
    ) -> Begin {
        let is_first = !self.is_watched();
        self.change(|hub, _| {
            let begin = hub.watchers.begin(id, waker, holder);
            if is_first && begin != Begin::News {
                hub.changed_ns = Some(now_ns);
                hub.look_ns = Some(now_ns + POLL_BUSY_NS);
            }
            begin
        })
    }

    /// Whoever waits has looked, and `last` was the last commit then.
    pub(super) fn start(&mut self, last: u32) {
        self.commits.start(last);
    }

    pub(super) fn is_waiting(&mut self, id: WatcherId, waker: &Waker) -> bool {
        self.watchers.is_waiting(id, waker)
    }

    pub(super) fn end(&mut self, id: WatcherId, looks: bool) {
        self.change(|hub, _| hub.watchers.end(id, looks));
    }

    fn look(&mut self, last: u32, now_ns: u64, wakers: &mut Vec<Waker>) {
        if self.commits.look(last) {
            (self.changed_ns, self.foreign_ns) = (Some(now_ns), Some(now_ns));
            self.watchers.tell_all(self.instant(now_ns), wakers);
        }
    }

    /// The look that was due. `last`: the last commit; `is_claimed` as the storage interface's.
    pub(super) fn tick(
        &mut self,
        last: u32,
        is_claimed: impl Fn(Holder, u64) -> bool,
        now_ns: u64,
    ) {
        let now = self.instant(now_ns);
        self.change(|hub, wakers| {
            hub.look(last, now_ns, wakers);
            if hub
                .claims_ns
                .is_none_or(|at| now_ns >= at + CLAIMS_EVERY_NS)
            {
                hub.claims_ns = Some(now_ns);
                let ended: Vec<u64> = (hub.watchers.claims().into_iter())
                    .filter(|(claim, holder)| !is_claimed(*holder, *claim))
                    .map(|(claim, _)| claim)
                    .collect();
                if !ended.is_empty() {
                    let has_ended = |claim| ended.contains(&claim);
                    hub.watchers.tell_claims(has_ended, now, wakers);
                }
            }
            hub.watchers.pass_over(now, wakers);
        });
        self.look_ns = self.is_watched().then(|| now_ns + self.interval_ns(now_ns));
    }

    fn interval_ns(&self, now_ns: u64) -> u64 {
        if self.foreign_ns.is_some_and(|at| now_ns < at + HOT_FOR_NS) {
            POLL_HOT_NS
        } else if self
            .changed_ns
            .is_none_or(|at| now_ns >= at + QUIET_AFTER_NS)
        {
            POLL_QUIET_NS
        } else {
            POLL_BUSY_NS
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_announced_is_found_at_the_next_look_and_looks_end_with_the_waiting() {
        let mut hub = Hub::new(Instant::now());
        let interest = Interest {
            topic: 1,
            turn: None,
            claim: None,
        };
        let id = hub.join(Some(interest), 0);
        assert_eq!(hub.look_ns, None);
        let begin = hub.begin(id, Holder(1), Waker::noop().clone(), 0);
        assert_eq!(begin, Begin::Compare);
        hub.start(7);
        hub.tick(7, |_, _| true, POLL_BUSY_NS);
        assert!(hub.is_waiting(id, Waker::noop()));
        assert_eq!(hub.look_ns, Some(2 * POLL_BUSY_NS));
        hub.tick(8, |_, _| true, 2 * POLL_BUSY_NS);
        assert!(!hub.is_waiting(id, Waker::noop()));
        hub.end(id, true);
        assert_eq!(hub.look_ns, None);
    }

    #[test]
    fn what_is_announced_wakes_at_once() {
        let mut hub = Hub::new(Instant::now());
        let interest = |topic| {
            Some(Interest {
                topic,
                turn: Some(1),
                claim: None,
            })
        };
        let (one, other) = (hub.join(interest(1), 0), hub.join(interest(2), 0));
        for id in [one, other] {
            hub.begin(id, Holder(1), Waker::noop().clone(), 0);
        }
        hub.announce(&[2], None, 5);
        assert!(hub.is_waiting(one, Waker::noop()));
        assert!(!hub.is_waiting(other, Waker::noop()));
    }
}
