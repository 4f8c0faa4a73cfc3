//! Waiting for a slot of the wal-index without holding up a thread.
//!
//! What must stay true:
//! - The future is `'static` and needs no particular runtime.
//! - Dropped at any moment before it is ready, it leaves no lock and no place
//!   in the queue, and a wake-up that was meant for it goes to the next one.
//! - The lock is taken and recorded inside the one poll that answers, so there
//!   is no moment at which it is held by nobody.

use super::error::ErrorCode;
use super::queue::{SlotLock, Ticket};
use super::shm::{Attempt, Shm};
use super::sync::Arc;
use super::timer::{Alarm, Deadline, deadline, passed};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// How soon to ask again when another process holds the lock: Linux has no
/// timed wait for OFD locks. Starts below the length of a short write
/// transaction; ends where asking costs a waiter less than a percent of a core.
const POLL_FIRST: Duration = Duration::from_micros(50);
const POLL_LONGEST: Duration = Duration::from_millis(1);

/// Waits for slots; see [`super::OpenFile::shm_lock`].
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct ShmWait {
    state: State,
}

#[derive(Debug)]
enum State {
    /// Nothing to wait for; `None` once told.
    Known(Option<Result<(), ErrorCode>>),
    Waiting(Waiting),
}

#[derive(Debug)]
struct Waiting {
    shm: Arc<Shm>,
    wants: SlotLock,
    deadline: Deadline,
    ticket: Option<Ticket>,
    pause: Duration,
    alarm: Alarm,
}

impl ShmWait {
    pub(crate) fn known(result: Result<(), ErrorCode>) -> ShmWait {
        ShmWait {
            state: State::Known(Some(result)),
        }
    }

    /// Tries at once when `timeout` is zero; else nothing happens until polled,
    /// but the time runs from here.
    pub(crate) fn new(shm: Arc<Shm>, wants: SlotLock, timeout: Duration) -> ShmWait {
        if timeout.is_zero() {
            return ShmWait::known(shm.try_lock(wants));
        }
        match shm.check_wanted(wants) {
            Ok(false) => {}
            // Shared already: nothing changes.
            Ok(true) => return ShmWait::known(Ok(())),
            Err(error) => return ShmWait::known(Err(error)),
        }
        ShmWait {
            state: State::Waiting(Waiting {
                shm,
                wants,
                deadline: deadline(timeout),
                ticket: None,
                pause: POLL_FIRST,
                alarm: Alarm::default(),
            }),
        }
    }
}

impl Waiting {
    fn poll(&mut self, waker: &Waker) -> Poll<Result<(), ErrorCode>> {
        let mut queue = self.shm.queue().lock();
        let first = queue.is_first(self.ticket, self.wants);
        let attempt = if first {
            match self.shm.attempt(&mut queue, self.wants) {
                Ok(attempt) => attempt,
                Err(error) => {
                    drop(queue);
                    return Poll::Ready(Err(error));
                }
            }
        } else {
            // Whoever is ahead wakes us when it leaves.
            Attempt::HeldHere
        };
        if attempt == Attempt::Acquired {
            return Poll::Ready(Ok(()));
        }
        // After the attempt, so that a deadline that passes while the lock is
        // free isn't a failure.
        if passed(self.deadline) {
            return Poll::Ready(Err(ErrorCode::TimedOut));
        }
        match self.ticket {
            Some(ticket) => queue.set_waker(ticket, waker),
            None => self.ticket = Some(queue.join(self.wants, waker.clone())),
        }
        drop(queue);
        let alarm_at = match attempt {
            Attempt::HeldElsewhere => {
                let again = Instant::now() + self.pause;
                self.pause = (self.pause * 2).min(POLL_LONGEST);
                Some(self.deadline.map_or(again, |deadline| again.min(deadline)))
            }
            Attempt::HeldHere | Attempt::Acquired => {
                // It will have been held for a while by the time we are woken,
                // so another process is likely to be in the middle of nothing.
                self.pause = POLL_FIRST;
                self.deadline
            }
        };
        match self.alarm.set(alarm_at, waker) {
            Ok(()) => Poll::Pending,
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    fn leave(&mut self) {
        self.alarm.clear();
        if let Some(ticket) = self.ticket.take() {
            let wakers = self.shm.queue().lock().leave(ticket);
            wakers.into_iter().for_each(Waker::wake);
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.leave();
    }
}

impl Future for ShmWait {
    type Output = Result<(), ErrorCode>;

    /// Once it has answered, it answers `invalid-argument`.
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.state {
            State::Known(result) => {
                Poll::Ready(result.take().unwrap_or(Err(ErrorCode::InvalidArgument)))
            }
            State::Waiting(waiting) => {
                let answer = waiting.poll(context.waker());
                if answer.is_ready() {
                    // Drops `waiting`, which leaves the queue.
                    self.state = State::Known(None);
                }
                answer
            }
        }
    }
}

#[cfg(test)]
#[path = "shm_wait_tests.rs"]
mod tests;
