//! Clocks that stand still but while somebody waits, and count how often they are asked.
//!
//! What must stay true: nothing in here depends on the machine, so that what was found is found again;
//! and an operation that goes on for ever panics.

use beaver_core::rusqlite::Connection;
use beaver_core::{Error, Runtime};
use std::cell::Cell;
use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

/// When each input begins, in seconds since 1970.
pub(crate) const START_UNIX_S: f64 = 1.7e9;

/// The longest wait before a waiter looks again.
pub(crate) const STEP: Duration = Duration::from_millis(10);

/// More calls than any operation makes that ends.
const CALLS_MAX: u32 = 100_000;

/// See the module. Claims on even numbers are held, those on odd ones are not, and of every fourth
/// nothing is known.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    now: Cell<Duration>,
    calls: Cell<u32>,
    random: Cell<u128>,
}

impl Clock {
    pub(crate) fn new() -> Rc<Self> {
        Rc::default()
    }

    /// Begins to count anew.
    pub(crate) fn begin(&self) -> Duration {
        self.calls.set(0);
        self.now.get()
    }

    fn called(&self) {
        self.calls.set(self.calls.get() + 1);
        assert!(self.calls.get() < CALLS_MAX, "an operation without end");
    }
}

impl Runtime for Clock {
    fn unix_seconds(&self) -> f64 {
        self.called();
        START_UNIX_S + self.now.get().as_secs_f64()
    }

    fn monotonic(&self) -> Duration {
        self.called();
        self.now.get()
    }

    fn random(&self) -> u128 {
        // The upper bits are the claim, the lower ones an id.
        let next = self.random.get() + 1;
        self.random.set(next);
        next << 96 | next
    }

    fn sleep(&self, duration: Duration) {
        self.called();
        self.now.set(self.now.get() + duration);
    }

    fn wait_change(&self, _: &Connection, _: Option<u64>, timeout: Duration) {
        self.sleep(timeout.min(STEP));
    }

    fn claim(&self, _: &Connection, _: Range<u64>) -> bool {
        true
    }

    fn is_claimed(&self, _: &Connection, token: u64) -> Option<bool> {
        self.called();
        (token % 4 != 3).then_some(token.is_multiple_of(2))
    }

    fn explain_cannot_open(&self, _: &str) -> Error {
        Error::NotFound
    }
}
