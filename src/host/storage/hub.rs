//! Waits for the next commit that matters, by anybody.
//!
//! In this process a handle announces what its commit concerned, and those are
//! woken: see `watch`. Of other processes nothing is told, so while somebody
//! waits, and only then, the token is read about once a millisecond, once per
//! database however many wait; and what nobody here spoke for (`commits`) may
//! concern anybody. The same goes for handles that never announce.
//!
//! What must stay true: no wake-up is lost. A waiter first registers, then
//! compares the token; a committer first changes what the token is made of,
//! then looks for waiters. With a full fence between the two steps on both
//! sides, at least one of them sees the other.

use super::claim;
use super::commits::Commits;
use super::error::ErrorCode;
use super::registry::{Registry, Shared};
use super::sync::{Arc, AtomicUsize, Mutex, Ordering, fence};
use super::timer::{Alarm, Deadline, deadline, passed};
use super::token::TokenSource;
use super::watch::{Begin, Interest, WatcherId, Watchers};
use std::future::Future;
use std::pin::Pin;
use std::sync::Weak;
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

/// How often to look while others commit too: a look is a microsecond, waking the
/// timer's thread a few, so a few percent of a core, while there is that to be
/// gained.
const POLL_HOT: Duration = Duration::from_micros(200);
/// How long after a commit of another process.
const HOT_FOR: Duration = Duration::from_millis(50);
/// Otherwise: less than a percent of a core per watched database, and no person
/// notices the delay.
const POLL_BUSY: Duration = Duration::from_millis(1);
/// After this long without a change, the interval becomes `POLL_QUIET`.
const QUIET_AFTER: Duration = Duration::from_secs(1);
const POLL_QUIET: Duration = Duration::from_millis(5);
/// Asking for a claim is a system call for each that somebody watches; how often
/// it is done at most.
const CLAIMS_EVERY: Duration = Duration::from_millis(4);
/// How many then; of more, the others the next time.
const CLAIMS_AT_ONCE: usize = 64;

/// The hub of each database that this process has open.
pub(crate) static HUBS: Registry<Hub> = Registry::new();

pub(crate) type SharedHub = Arc<Shared<Hub>>;

/// Who waits for one database's next commit.
#[derive(Debug, Default)]
pub(crate) struct Hub {
    /// How many wait: lets a committer pass without the lock.
    waiting: AtomicUsize,
    state: Mutex<State>,
    alarm: Alarm,
    /// A test looks when it wants to: the timer's looks would come at any time.
    #[cfg(test)]
    ticks_by_hand: std::sync::atomic::AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    watchers: Watchers<Arc<TokenSource>>,
    commits: Commits,
    changed_at: Option<Instant>,
    /// When something was last found that nobody here spoke for.
    foreign_at: Option<Instant>,
    claims_at: Option<Instant>,
    claims_asked: usize,
}

impl Hub {
    /// Whether anybody waits. Only a hint, unless a fence separates it from what
    /// the answer is about.
    pub(crate) fn is_watched(&self) -> bool {
        self.waiting.load(Ordering::SeqCst) > 0
    }

    /// To be called after a lock was released under which a handle that
    /// announces nothing may have committed.
    pub(crate) fn released(&self, last: impl FnOnce() -> Result<u32, ErrorCode>) {
        // Pairs with the fence in `ChangeWait::poll`.
        fence(Ordering::SeqCst);
        if self.is_watched() {
            let last = last();
            self.change(|state, wakers| state.look(last, wakers));
        }
    }

    /// To be called after a commit: it concerned `topics`, and was `number`, if
    /// that was asked for (somebody waited already).
    pub(crate) fn announce(&self, topics: &[u64], number: Option<u32>) {
        // Pairs with the fence in `ChangeWait::poll`.
        fence(Ordering::SeqCst);
        if !self.is_watched() {
            return;
        }
        self.change(|state, wakers| {
            if let Some(number) = number {
                state.commits.announce(number);
            }
            let now = Instant::now();
            state.changed_at = Some(now);
            for topic in topics {
                state.watchers.tell_topic(*topic, now, wakers);
            }
        });
    }

    /// Claims of a handle of this process have ended.
    pub(crate) fn claims_ended(&self, has_ended: impl Fn(u64) -> bool) {
        self.change(|state, wakers| {
            let now = Instant::now();
            state.watchers.tell_claims(has_ended, now, wakers);
        });
    }

    /// Changes the state; wakes, without the lock, who is to be woken.
    fn change<T>(&self, change: impl FnOnce(&mut State, &mut Vec<Waker>) -> T) -> T {
        let mut wakers = Vec::new();
        let mut state = self.state.lock();
        let result = change(&mut state, &mut wakers);
        self.count(&mut state);
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
        result
    }

    /// Under the lock, so that no alarm is set once nobody waits.
    fn count(&self, state: &mut State) {
        let waiting = state.watchers.waiting();
        self.waiting.store(waiting, Ordering::SeqCst);
        if waiting == 0 && self.alarm.is_armed() {
            self.alarm.clear();
            state.commits.restart();
        }
    }

    fn begin(
        hub: &SharedHub,
        id: WatcherId,
        waker: Waker,
        source: Arc<TokenSource>,
    ) -> Result<Begin, ErrorCode> {
        let mut state = hub.state.lock();
        let first = state.watchers.waiting() == 0;
        let begin = state.watchers.begin(id, waker, source);
        let mut result = Ok(begin);
        if first && begin != Begin::News {
            state.changed_at = Some(Instant::now());
            if let Err(error) = Hub::set_alarm(hub, POLL_BUSY) {
                state.watchers.end(id, false);
                result = Err(error);
            }
        }
        hub.count(&mut state);
        result
    }

    fn set_alarm(hub: &SharedHub, after: Duration) -> Result<(), ErrorCode> {
        let ticker = Waker::from(Arc::new(Ticker(Arc::downgrade(hub))));
        hub.alarm.set(deadline(after), &ticker)
    }

    /// Looks for other processes' commits and ends, and sets the next alarm. All
    /// under the lock: whoever has ended its wait has its files to itself.
    fn tick(hub: &SharedHub) {
        hub.change(|state, wakers| {
            let Some(source) = state.watchers.any_source() else {
                return;
            };
            state.look(source.commits(), wakers);
            state.ask_claims(wakers);
            state.watchers.pass_over(Instant::now(), wakers);
        });

        let state = hub.state.lock();
        if state.watchers.waiting() > 0 {
            // The timer runs (it called us), so this can't fail.
            let _ = Hub::set_alarm(hub, state.interval());
        }
    }

    #[cfg(test)]
    pub(crate) fn is_idle(&self) -> bool {
        let state = self.state.lock();
        state.watchers.is_empty() && !self.is_watched() && !self.alarm.is_set()
    }
}

impl State {
    /// Looks whether anything was committed up to `last` that nobody spoke for. A
    /// number that can't be read wakes everybody: they will meet the error where it
    /// can be reported.
    fn look(&mut self, last: Result<u32, ErrorCode>, wakers: &mut Vec<Waker>) {
        let is_news = match last {
            Ok(last) => self.commits.look(last),
            Err(_) => true,
        };
        if is_news {
            let now = Instant::now();
            (self.changed_at, self.foreign_at) = (Some(now), Some(now));
            self.watchers.tell_all(now, wakers);
        }
    }

    /// Asks, if that is due, whether the claims that somebody watches still hold.
    fn ask_claims(&mut self, wakers: &mut Vec<Waker>) {
        if self.claims_at.is_some_and(|at| at.elapsed() < CLAIMS_EVERY) {
            return;
        }
        self.claims_at = Some(Instant::now());
        let claims = self.watchers.claims();
        let first = self.claims_asked.checked_rem(claims.len()).unwrap_or(0);
        self.claims_asked = first + CLAIMS_AT_ONCE;
        let now = claims.iter().cycle().skip(first);
        let ended: Vec<u64> = now
            .take(claims.len().min(CLAIMS_AT_ONCE))
            .filter(|(claim, source)| claim::is_claimed(&*source.database, *claim) == Ok(false))
            .map(|(claim, _)| *claim)
            .collect();
        if !ended.is_empty() {
            let has_ended = |claim| ended.contains(&claim);
            self.watchers.tell_claims(has_ended, Instant::now(), wakers);
        }
    }

    fn interval(&self) -> Duration {
        if self.foreign_at.is_some_and(|at| at.elapsed() < HOT_FOR) {
            POLL_HOT
        } else if self.changed_at.is_none_or(|at| at.elapsed() >= QUIET_AFTER) {
            POLL_QUIET
        } else {
            POLL_BUSY
        }
    }
}

/// The timer's handle to a hub.
struct Ticker(Weak<Shared<Hub>>);

impl Wake for Ticker {
    fn wake(self: Arc<Self>) {
        if let Some(hub) = self.0.upgrade() {
            #[cfg(test)]
            if hub.ticks_by_hand.load(Ordering::Relaxed) {
                return;
            }
            Hub::tick(&hub);
        }
    }
}

/// What a handle watches, from one wait to the next; gone when dropped.
#[derive(Debug)]
pub(crate) struct Watch {
    hub: SharedHub,
    id: WatcherId,
}

impl Watch {
    pub(crate) fn new(hub: &SharedHub, interest: Option<Interest>) -> Self {
        let id = hub.change(|state, wakers| state.watchers.join(interest, Instant::now(), wakers));
        Self {
            hub: Arc::clone(hub),
            id,
        }
    }

    pub(crate) fn change(&self, interest: Interest) {
        self.hub.change(|state, wakers| {
            wakers.extend(state.watchers.change(self.id, interest, Instant::now()));
        });
    }

    /// Waits; see [`super::OpenFile::wait_change`].
    pub(crate) fn wait(
        watch: &Arc<Self>,
        source: TokenSource,
        seen: u64,
        timeout: Duration,
    ) -> ChangeWait {
        ChangeWait {
            watch: Arc::clone(watch),
            source: Arc::new(source),
            seen,
            deadline: deadline(timeout),
            begun: None,
            alarm: Alarm::default(),
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.hub
            .change(|state, wakers| wakers.extend(state.watchers.leave(self.id, Instant::now())));
    }
}

/// Waits for a commit; see [`super::OpenFile::wait_change`].
///
/// Dropped before it is ready, it leaves nothing behind.
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct ChangeWait {
    watch: Arc<Watch>,
    source: Arc<TokenSource>,
    seen: u64,
    deadline: Deadline,
    begun: Option<Begin>,
    alarm: Alarm,
}

impl ChangeWait {
    /// `looks`: whoever waited is told to look.
    fn end(&mut self, looks: bool) {
        self.alarm.clear();
        if self.begun.take().is_some() {
            let id = self.watch.id;
            self.watch
                .hub
                .change(|state, _| state.watchers.end(id, looks));
        }
    }

    fn poll_inner(&mut self, waker: &Waker) -> Result<Poll<bool>, ErrorCode> {
        let hub = &self.watch.hub;
        match self.begun {
            None => {
                let source = Arc::clone(&self.source);
                let begin = Hub::begin(hub, self.watch.id, waker.clone(), source)?;
                self.begun = Some(begin);
                match begin {
                    Begin::News => return Ok(Poll::Ready(true)),
                    Begin::Wait => {}
                    Begin::Compare => {
                        // Pairs with the fences of those who commit.
                        fence(Ordering::SeqCst);
                        let token = self.source.token()?;
                        hub.state.lock().commits.start(token.commits);
                        if token.hash != self.seen {
                            return Ok(Poll::Ready(true));
                        }
                    }
                }
            }
            Some(_) => {
                if !hub.state.lock().watchers.is_waiting(self.watch.id, waker) {
                    return Ok(Poll::Ready(true));
                }
            }
        }
        if passed(self.deadline) {
            // The last look, so that the answer is true at its own time.
            let changed =
                self.begun == Some(Begin::Compare) && self.source.token()?.hash != self.seen;
            return Ok(Poll::Ready(changed));
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
        self.end(answer == Ok(true));
        Poll::Ready(answer)
    }
}

impl Drop for ChangeWait {
    fn drop(&mut self) {
        self.end(false);
    }
}

#[cfg(test)]
#[path = "hub_tests.rs"]
mod tests;
