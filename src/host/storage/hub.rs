//! Waits for the next commit, by anybody.
//!
//! In this process a commit is known when its lock is released: the releaser
//! reads the token once and wakes whoever saw another. Of other processes
//! nothing is told, so while somebody waits, and only then, the token is read
//! about once a millisecond, once per database however many wait.
//!
//! What must stay true: no wake-up is lost. A waiter first registers, then
//! compares the token; a releaser first changes what the token is made of,
//! then looks for waiters. With a full fence between the two steps on both
//! sides, at least one of them sees the other.

use super::error::ErrorCode;
use super::registry::{Registry, Shared};
use super::sync::{Arc, AtomicUsize, Mutex, Ordering, fence};
use super::timer::{Alarm, Deadline, deadline, passed};
use super::token::TokenSource;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Weak;
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

/// A read of the token costs a few microseconds: at this interval less than a
/// percent of a core per watched database, and no person notices the delay.
const POLL_BUSY: Duration = Duration::from_millis(1);
/// After this long without a change, the interval becomes `POLL_QUIET`.
const QUIET_AFTER: Duration = Duration::from_secs(1);
const POLL_QUIET: Duration = Duration::from_millis(5);

/// The hub of each database that this process has open.
pub(crate) static HUBS: Registry<Hub> = Registry::new();

pub(crate) type SharedHub = Arc<Shared<Hub>>;

/// Who waits for one database's next commit.
#[derive(Debug, Default)]
pub(crate) struct Hub {
    /// How many are in `state.waiters`: lets a releaser pass without the lock.
    waiting: AtomicUsize,
    state: Mutex<State>,
    alarm: Alarm,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    waiters: BTreeMap<u64, Waiter>,
    /// The last token read. Whoever joined since compared its own with one at
    /// least as new, so an equal one is news to nobody.
    last: Option<u64>,
    changed_at: Option<Instant>,
}

#[derive(Debug)]
struct Waiter {
    seen: u64,
    changed: bool,
    waker: Waker,
    source: Arc<TokenSource>,
}

impl Hub {
    /// To be called after a lock was released under which somebody may have
    /// committed.
    pub(crate) fn released(&self, token: impl FnOnce() -> Result<u64, ErrorCode>) {
        // Pairs with the fence in `ChangeWait::poll`.
        fence(Ordering::SeqCst);
        if self.waiting.load(Ordering::SeqCst) > 0 {
            self.compare(token());
        }
    }

    /// Wakes all who saw another token. One that can't be read wakes
    /// everybody: they will meet the error where it can be reported.
    fn compare(&self, token: Result<u64, ErrorCode>) {
        let mut state = self.state.lock();
        if token.is_ok() && state.last == token.ok() {
            return;
        }
        state.last = token.ok();
        state.changed_at = Some(Instant::now());
        let mut wakers = Vec::new();
        for waiter in state.waiters.values_mut() {
            if !waiter.changed && token != Ok(waiter.seen) {
                waiter.changed = true;
                wakers.push(waiter.waker.clone());
            }
        }
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }

    fn join(hub: &SharedHub, waiter: Waiter) -> Result<u64, ErrorCode> {
        let mut state = hub.state.lock();
        let id = state.next;
        state.next += 1;
        state.waiters.insert(id, waiter);
        let first = hub.waiting.fetch_add(1, Ordering::SeqCst) == 0;
        if first {
            state.changed_at = Some(Instant::now());
            Hub::set_alarm(hub, POLL_BUSY).inspect_err(|_| {
                state.waiters.remove(&id);
                hub.waiting.fetch_sub(1, Ordering::SeqCst);
            })?;
        }
        Ok(id)
    }

    /// Answers whether it was told of a change.
    fn leave(&self, id: u64) -> bool {
        let mut state = self.state.lock();
        let Some(waiter) = state.waiters.remove(&id) else {
            return false;
        };
        if self.waiting.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.alarm.clear();
        }
        drop(state);
        // Only now, without the lock: it may hold the last reference to files.
        waiter.changed
    }

    fn set_alarm(hub: &SharedHub, after: Duration) -> Result<(), ErrorCode> {
        let ticker = Waker::from(Arc::new(Ticker(Arc::downgrade(hub))));
        hub.alarm.set(deadline(after), &ticker)
    }

    /// Looks for other processes' commits and sets the next alarm.
    fn tick(hub: &SharedHub) {
        let source = {
            let state = hub.state.lock();
            match state.waiters.values().next() {
                Some(waiter) => Arc::clone(&waiter.source),
                None => return,
            }
        };
        hub.compare(source.token());
        drop(source);

        let state = hub.state.lock();
        // Under the lock, as in `leave`: no alarm is set once nobody waits.
        if !state.waiters.is_empty() {
            let quiet = state
                .changed_at
                .is_none_or(|at| at.elapsed() >= QUIET_AFTER);
            // The timer runs (it called us), so this can't fail.
            let _ = Hub::set_alarm(hub, if quiet { POLL_QUIET } else { POLL_BUSY });
        }
    }

    #[cfg(test)]
    pub(crate) fn is_idle(&self) -> bool {
        let state = self.state.lock();
        state.waiters.is_empty() && self.waiting.load(Ordering::SeqCst) == 0 && !self.alarm.is_set()
    }
}

/// The timer's handle to a hub.
struct Ticker(Weak<Shared<Hub>>);

impl Wake for Ticker {
    fn wake(self: Arc<Self>) {
        if let Some(hub) = self.0.upgrade() {
            Hub::tick(&hub);
        }
    }
}

/// Waits for a commit; see [`super::OpenFile::wait_change`].
///
/// Dropped before it is ready, it leaves nothing behind.
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct ChangeWait {
    hub: SharedHub,
    source: Arc<TokenSource>,
    seen: u64,
    deadline: Deadline,
    id: Option<u64>,
    alarm: Alarm,
}

impl ChangeWait {
    pub(crate) fn new(
        hub: SharedHub,
        source: TokenSource,
        seen: u64,
        timeout: Duration,
    ) -> ChangeWait {
        ChangeWait {
            hub,
            source: Arc::new(source),
            seen,
            deadline: deadline(timeout),
            id: None,
            alarm: Alarm::default(),
        }
    }

    fn leave(&mut self) -> bool {
        self.alarm.clear();
        self.id.take().is_some_and(|id| self.hub.leave(id))
    }

    fn poll_inner(&mut self, waker: &Waker) -> Result<Poll<bool>, ErrorCode> {
        match self.id {
            None => {
                let waiter = Waiter {
                    seen: self.seen,
                    changed: false,
                    waker: waker.clone(),
                    source: Arc::clone(&self.source),
                };
                self.id = Some(Hub::join(&self.hub, waiter)?);
                // Pairs with the fence in `Hub::released`.
                fence(Ordering::SeqCst);
                if self.source.token()? != self.seen {
                    return Ok(Poll::Ready(true));
                }
            }
            Some(id) => {
                let mut state = self.hub.state.lock();
                match state.waiters.get_mut(&id) {
                    Some(waiter) if !waiter.changed => waiter.waker.clone_from(waker),
                    _ => return Ok(Poll::Ready(true)),
                }
            }
        }
        if passed(self.deadline) {
            // The last look, so that the answer is true at its own time.
            return Ok(Poll::Ready(self.source.token()? != self.seen));
        }
        self.alarm.set(self.deadline, waker)?;
        Ok(Poll::Pending)
    }
}

impl Future for ChangeWait {
    type Output = Result<bool, ErrorCode>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = match self.poll_inner(context.waker()) {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(changed)) => Ok(changed),
            Err(error) => Err(error),
        };
        self.leave();
        Poll::Ready(answer)
    }
}

impl Drop for ChangeWait {
    fn drop(&mut self) {
        self.leave();
    }
}

#[cfg(test)]
#[path = "hub_tests.rs"]
mod tests;
