//! The reference store: one mutex, one condition variable. Whoever can't go on waits until
//! anything at all has changed, and tries again.
//!
//! What must stay true: a call ends with its time, or its patience, or its client.

use super::defect::{Defect, Sabotage};
use super::lock::Owner;
use super::state::{Attempt, NOT_NOW, Request, State, Why};
use crate::driver::{Answer, gone};
use crate::protocol::{ErrorCode, Failure, Op};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a write waits for a lock that somebody else holds.
const LOCKED_WAIT: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
pub(super) struct Store {
    state: Mutex<State>,
    changed: Condvar,
}

impl Store {
    pub(super) fn new(sabotage: Sabotage) -> Self {
        Self {
            state: Mutex::new(State::new(sabotage)),
            ..Self::default()
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn open(&self) -> Owner {
        self.state().open()
    }

    /// Ends a client: nothing of it stays.
    pub(super) fn end(&self, owner: Owner) {
        self.state().end(owner);
        self.changed.notify_all();
    }

    pub(super) fn call(&self, owner: Owner, op: &Op, certify: bool, patience: Duration) -> Answer {
        let began = Instant::now();
        let mut request = Request {
            owner,
            op,
            certify,
            place: None,
        };
        let mut state = self.state();
        let limit = op.timeout_ms().map(|timeout| state.limit(timeout));
        let deadline = limit.and_then(|limit| began.checked_add(limit?));
        let locked_until = began.checked_add(LOCKED_WAIT);
        let given_up = deadline.unwrap_or(began).checked_add(patience);
        let hangs = state.sabotage.strikes(Defect::Hangs);
        loop {
            if !state.knows(owner) {
                return Err(gone("the client is no more"));
            }
            let now = Instant::now();
            let stood_in_line = request.place.is_some();
            let attempt = if hangs {
                NOT_NOW
            } else {
                state.attempt(&mut request, now)
            };
            let (wake, why) = match attempt {
                Attempt::Done(answer) => {
                    if state.leave(&mut request) || !is_plain_read(op, certify) {
                        self.changed.notify_all();
                    }
                    return answer;
                }
                Attempt::Wait { wake, why } => {
                    if stood_in_line && request.place.is_none() {
                        // It passed, and found nothing: the next may.
                        self.changed.notify_all();
                    }
                    (wake, why)
                }
            };
            let (until, error) = match why {
                Why::Nothing => (deadline, ErrorCode::Timeout),
                Why::Locked => (deadline.or(locked_until), ErrorCode::Locked),
                Why::Transaction => (None, ErrorCode::Busy),
            };
            if until.is_some_and(|until| now >= until) {
                let stays = request.place.is_some() && state.sabotage.strikes(Defect::LeftBehind);
                if !stays && state.leave(&mut request) {
                    self.changed.notify_all();
                }
                return Err(Failure::new(error, ""));
            }
            if given_up.is_some_and(|at| now >= at) {
                state.end(owner);
                self.changed.notify_all();
                return Err(gone("no answer in time"));
            }
            let next = [until, given_up, wake].into_iter().flatten().min();
            // Even the longest waits look up now and then.
            let nap = next.map_or(Duration::from_secs(1), |at| {
                at.saturating_duration_since(now)
            });
            state = self
                .changed
                .wait_timeout(state, nap)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }
}

/// Whether it changes nothing that somebody could wait for.
fn is_plain_read(op: &Op, certify: bool) -> bool {
    !op.is_write() && !certify
}
