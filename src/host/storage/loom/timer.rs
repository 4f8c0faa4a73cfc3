//! The timer's place in a model: its time stands still until the model moves it.
//!
//! What must stay true: as the real one, it wakes without holding a lock, and
//! an alarm rings once.

use super::error::ErrorCode;
use super::sync::{AtomicBool, Mutex, Ordering};
use std::collections::BTreeMap;
use std::task::Waker;
use std::thread::panicking;
use std::time::{Duration, Instant};

/// An instant that passes when the model says so; `None` is never.
pub(crate) type Deadline = Option<Instant>;

/// As long as this, or longer, is never.
pub(crate) const NEVER: Duration = Duration::from_secs(3600);
/// What a model's waits have as their timeout. Shorter ones are intervals, at
/// which somebody looks again.
pub(crate) const SOON: Duration = Duration::from_secs(1000);

#[derive(Debug, Default)]
struct Timer {
    passed: AtomicBool,
    alarms: Mutex<Alarms>,
}

#[derive(Debug, Default)]
struct Alarms {
    set: BTreeMap<u64, (Kind, Waker)>,
    next: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Deadline,
    Interval,
}

loom::lazy_static! {
    static ref TIMER: Timer = Timer::default();
}

pub(crate) fn deadline(timeout: Duration) -> Deadline {
    (timeout < NEVER).then(|| Instant::now() + timeout)
}

pub(crate) fn passed(deadline: Deadline) -> bool {
    deadline.is_some() && TIMER.passed.load(Ordering::Acquire)
}

/// Lets all deadlines pass. Once more, it rings those set since.
pub(crate) fn pass() {
    TIMER.passed.store(true, Ordering::Release);
    ring(Kind::Deadline);
}

/// Lets all intervals pass that somebody waits for.
pub(crate) fn tick() {
    ring(Kind::Interval);
}

fn ring(kind: Kind) {
    let mut due = Vec::new();
    let mut alarms = TIMER.alarms.lock();
    alarms.set.retain(|_, (set, waker)| {
        if *set == kind {
            due.push(waker.clone());
        }
        *set != kind
    });
    drop(alarms);
    due.into_iter().for_each(Waker::wake);
}

/// How many alarms are set.
pub(crate) fn alarms() -> usize {
    TIMER.alarms.lock().set.len()
}

#[derive(Debug, Default)]
pub(crate) struct Alarm(Mutex<Option<u64>>);

impl Alarm {
    pub(crate) fn set(&self, at: Deadline, waker: &Waker) -> Result<(), ErrorCode> {
        self.clear();
        let Some(at) = at else { return Ok(()) };
        let kind = if at.saturating_duration_since(Instant::now()) > SOON / 2 {
            Kind::Deadline
        } else {
            Kind::Interval
        };
        let mut mine = self.0.lock();
        let mut alarms = TIMER.alarms.lock();
        let key = alarms.next;
        alarms.next += 1;
        let raced = mine.take().and_then(|old| alarms.set.remove(&old));
        alarms.set.insert(key, (kind, waker.clone()));
        *mine = Some(key);
        drop((alarms, mine));
        drop(raced);
        Ok(())
    }

    pub(crate) fn is_armed(&self) -> bool {
        !panicking() && self.0.lock().is_some()
    }

    pub(crate) fn clear(&self) {
        // The model's time ends with it.
        if panicking() {
            return;
        }
        if let Some(old) = self.0.lock().take() {
            let removed = TIMER.alarms.lock().set.remove(&old);
            drop(removed);
        }
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        self.clear();
    }
}
