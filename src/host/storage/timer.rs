//! Wakes tasks at an instant, to a tenth of a millisecond, from one thread for
//! the whole process.
//!
//! Why not tokio's timer: its tick is a millisecond, which is many write
//! transactions long when another process holds a lock; and a wait that needs
//! no runtime can't hang because the runtime that carried its timer is not
//! being driven.
//!
//! What must stay true: the thread sleeps without ticking while no alarm is
//! set; it calls wakers without holding a lock; an alarm that was dropped or
//! cleared isn't kept (its waker may still be called once).

use super::error::ErrorCode;
use super::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::LazyLock;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

/// A deadline; `None` is never.
pub(crate) type Deadline = Option<Instant>;

/// `timeout` from now. One too far away to be an `Instant` is never.
pub(crate) fn deadline(timeout: Duration) -> Deadline {
    Instant::now().checked_add(timeout)
}

pub(crate) fn passed(deadline: Deadline) -> bool {
    deadline.is_some_and(|at| at <= Instant::now())
}

/// Instant first, so that the first entry is the next; the number keeps
/// alarms of one instant apart.
type Key = (Instant, u64);

#[derive(Debug, Default)]
struct State {
    alarms: BTreeMap<Key, Waker>,
    next: u64,
    running: bool,
}

#[derive(Debug, Default)]
struct Timer {
    state: Mutex<State>,
    earlier: Condvar,
}

static TIMER: LazyLock<Arc<Timer>> = LazyLock::new(Arc::default);

impl Timer {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    fn run(&self) {
        let mut state = self.lock();
        loop {
            let now = Instant::now();
            let mut due = Vec::new();
            while let Some(first) = state.alarms.first_entry() {
                if first.key().0 > now {
                    break;
                }
                due.push(first.remove());
            }
            if !due.is_empty() {
                drop(state);
                for waker in due {
                    // Somebody's panicking waker must not take everybody's
                    // timer away.
                    let _ = catch_unwind(AssertUnwindSafe(|| waker.wake()));
                }
                state = self.lock();
                continue;
            }
            let next = state.alarms.first_key_value().map(|((at, _), _)| *at);
            state = match next {
                Some(at) => {
                    let wait = at.saturating_duration_since(now);
                    self.earlier.wait_timeout(state, wait)
                }
                None => self.earlier.wait(state),
            };
        }
    }
}

/// At most one set wake-up; gone when dropped.
#[derive(Debug, Default)]
pub(crate) struct Alarm(Mutex<Option<Key>>);

impl Alarm {
    /// Wakes `waker` at `at` and forgets what was set before.
    pub(crate) fn set(&self, at: Deadline, waker: &Waker) -> Result<(), ErrorCode> {
        self.clear();
        let Some(at) = at else { return Ok(()) };
        let mut mine = self.0.lock();
        let mut state = TIMER.lock();
        if !state.running {
            let timer = Arc::clone(&TIMER);
            thread::Builder::new()
                .name("beaver-timer".into())
                .spawn(move || timer.run())
                .map_err(|_| ErrorCode::Io)?;
            state.running = true;
        }
        let key = (at, state.next);
        state.next += 1;
        // Somebody else may have set this alarm since `clear`: take theirs away.
        let raced = mine.take().and_then(|old| state.alarms.remove(&old));
        let sooner = state
            .alarms
            .first_key_value()
            .is_none_or(|(first, _)| key < *first);
        state.alarms.insert(key, waker.clone());
        *mine = Some(key);
        drop(state);
        if sooner {
            TIMER.earlier.notify_one();
        }
        drop(mine);
        drop(raced);
        Ok(())
    }

    /// Forgets what was set.
    pub(crate) fn clear(&self) {
        if let Some(old) = self.0.lock().take() {
            // The removed waker is dropped after the guard: dropping the last
            // reference to a task may run its destructor, which may come here.
            let removed = TIMER.lock().alarms.remove(&old);
            drop(removed);
        }
    }

    /// Whether it was set and not cleared since; it may have rung.
    pub(crate) fn is_armed(&self) -> bool {
        self.0.lock().is_some()
    }

    #[cfg(test)]
    pub(crate) fn is_set(&self) -> bool {
        self.0
            .lock()
            .is_some_and(|key| TIMER.lock().alarms.contains_key(&key))
    }
}

/// Waits for a while, to a tenth of a millisecond; see the module's comment for why
/// not tokio's sleep.
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub(crate) struct Nap {
    deadline: Deadline,
    alarm: Alarm,
}

impl Nap {
    pub(crate) fn new(time: Duration) -> Self {
        Self {
            deadline: deadline(time),
            alarm: Alarm::default(),
        }
    }
}

impl Future for Nap {
    type Output = Result<(), ErrorCode>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if passed(self.deadline) {
            return Poll::Ready(Ok(()));
        }
        match self.alarm.set(self.deadline, context.waker()) {
            Ok(()) => Poll::Pending,
            Err(error) => Poll::Ready(Err(error)),
        }
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::task::Wake;

    struct Tell(mpsc::Sender<u32>, u32);
    impl Wake for Tell {
        fn wake(self: Arc<Self>) {
            let _ = self.0.send(self.1);
        }
    }

    #[test]
    fn alarms_ring_in_order_and_cleared_ones_do_not() {
        let (tell, told) = mpsc::channel();
        let waker = |n| Waker::from(Arc::new(Tell(tell.clone(), n)));
        let (late, soon, never) = (Alarm::default(), Alarm::default(), Alarm::default());
        // Long enough for all to be set before the first one rings.
        let from = Instant::now() + Duration::from_secs(1);
        late.set(Some(from + Duration::from_millis(30)), &waker(2))
            .unwrap();
        never
            .set(Some(from + Duration::from_millis(10)), &waker(3))
            .unwrap();
        soon.set(Some(from + Duration::from_millis(5)), &waker(1))
            .unwrap();
        never.clear();
        assert!(!never.is_set());
        assert_eq!(told.recv().unwrap(), 1);
        assert_eq!(told.recv().unwrap(), 2);
        assert!(Instant::now() >= from + Duration::from_millis(30));
    }

    #[test]
    fn setting_again_moves_the_alarm_and_dropping_removes_it() {
        let (tell, told) = mpsc::channel();
        let waker = |n| Waker::from(Arc::new(Tell(tell.clone(), n)));
        let alarm = Alarm::default();
        alarm
            .set(deadline(Duration::from_secs(3600)), &waker(1))
            .unwrap();
        alarm
            .set(deadline(Duration::from_millis(1)), &waker(2))
            .unwrap();
        assert_eq!(told.recv().unwrap(), 2);
        alarm
            .set(deadline(Duration::from_secs(3600)), &waker(3))
            .unwrap();
        drop(alarm);
        drop(tell);
        // The timer's clone of the sender went with the alarm's waker.
        assert!(told.recv().is_err());
    }

    #[test]
    fn a_timeout_beyond_the_clock_is_never() {
        assert!(deadline(Duration::MAX).is_none());
        assert!(!passed(None));
        assert!(passed(Some(Instant::now())));
    }
}
