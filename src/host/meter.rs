//! How long a call has computed.
//!
//! What must stay true: all computing of a call is counted, wherever it is done (in the guest or on its
//! behalf) and however it is cut up by waits: a guest that sleeps whenever somebody may look at it is
//! counted like any other. What other tasks of the thread do meanwhile isn't, and neither is waiting,
//! be it for a lock, for the disk or for the processor.

use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use crate::interrupt::Interrupter;
use crate::limits::Stopped;
use crate::storage::thread_time;

/// The computing time of one instance's calls, one at a time.
#[derive(Clone, Debug)]
pub(crate) struct Meter {
    limit: Option<Duration>,
    used: Arc<Mutex<Used>>,
}

#[derive(Debug, Default)]
struct Used {
    before: Duration,
    /// What this thread had computed when the call's future was polled, while it is.
    polled_at: Option<Duration>,
}

impl Meter {
    pub(crate) fn new(limit: Option<Duration>) -> Self {
        Self {
            limit,
            used: Arc::default(),
        }
    }

    /// The most that a call may compute.
    pub(crate) fn limit(&self) -> Option<Duration> {
        self.limit
    }

    /// A call begins.
    pub(crate) fn restart(&self) {
        *self.lock() = Used::default();
    }

    /// Whether the call has computed for longer than it may.
    pub(crate) fn is_exceeded(&self) -> bool {
        let Some(limit) = self.limit else {
            return false;
        };
        let used = self.lock();
        let now = used.polled_at.map(|at| thread_time().saturating_sub(at));
        used.before + now.unwrap_or_default() > limit
    }

    /// Awaits a call, and ends it when it has computed for too long or somebody interrupts it while it
    /// waits. (While it computes, the epoch's callback asks for both.) By reference, because a future that
    /// is handed on is copied, in builds that aren't optimised at each step, and calls are large.
    pub(crate) async fn watch<R>(
        &self,
        interrupter: &Interrupter,
        mut call: Pin<&mut impl Future<Output = wasmtime::Result<R>>>,
    ) -> wasmtime::Result<R> {
        let mut interrupted = pin!(interrupter.requested());
        std::future::poll_fn(|context| {
            self.resume();
            let polled = call.as_mut().poll(context);
            self.pause();
            if polled.is_ready() {
                return polled;
            }
            if self.is_exceeded() {
                return Poll::Ready(Err(wasmtime::Error::new(Stopped::CpuLimit)));
            }
            let interrupted = interrupted.as_mut().poll(context);
            interrupted.map(|()| Err(wasmtime::Error::new(Stopped::Interrupted)))
        })
        .await
    }

    fn resume(&self) {
        if self.limit.is_some() {
            self.lock().polled_at = Some(thread_time());
        }
    }

    fn pause(&self) {
        if self.limit.is_some() {
            let mut used = self.lock();
            if let Some(at) = used.polled_at.take() {
                used.before += thread_time().saturating_sub(at);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Used> {
        // Nothing panics under it.
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_millis(20);

    fn compute(time: Duration) {
        let until = thread_time() + time;
        while thread_time() < until {}
    }

    fn stopped<R>(result: wasmtime::Result<R>) -> Option<Stopped> {
        result.err()?.downcast_ref::<Stopped>().copied()
    }

    #[tokio::test]
    async fn what_is_computed_between_waits_adds_up() {
        let meter = Meter::new(Some(LIMIT));
        for _ in 0..2 {
            meter.restart();
            let mut turns = 0;
            let call = async {
                for _ in 0..1000 {
                    compute(LIMIT / 10);
                    turns += 1;
                    tokio::task::yield_now().await;
                }
                Ok(())
            };
            let result = meter.watch(&Interrupter::default(), pin!(call)).await;
            assert_eq!(stopped(result), Some(Stopped::CpuLimit));
            assert!((9..=10).contains(&turns), "{turns}");
        }
    }

    #[tokio::test]
    async fn what_others_compute_and_waiting_do_not_count() {
        let meter = Meter::new(Some(LIMIT));
        let call = pin!(async {
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
            tokio::time::sleep(LIMIT * 2).await;
            Ok(7)
        });
        let others = async {
            for _ in 0..10 {
                compute(LIMIT);
                tokio::task::yield_now().await;
            }
        };
        let interrupter = Interrupter::default();
        let (result, ()) = tokio::join!(meter.watch(&interrupter, call), others);
        assert_eq!(result.unwrap(), 7);
        assert!(!meter.is_exceeded());
    }

    #[tokio::test]
    async fn the_callback_sees_what_is_being_computed() {
        let meter = Meter::new(Some(LIMIT));
        let call = async {
            assert!(!meter.is_exceeded());
            compute(LIMIT * 2);
            Ok(meter.is_exceeded())
        };
        assert!(
            meter
                .watch(&Interrupter::default(), pin!(call))
                .await
                .unwrap()
        );
    }

    /// As a guest's in a wait of WASI's, which knows nothing of us.
    #[tokio::test]
    async fn any_wait_can_be_interrupted() {
        let interrupter = Interrupter::default();
        let meter = Meter::new(None);
        let forever = pin!(std::future::pending::<wasmtime::Result<()>>());
        let interrupt = async { interrupter.interrupt() };
        let (result, ()) = tokio::join!(meter.watch(&interrupter, forever), interrupt);
        assert_eq!(stopped(result), Some(Stopped::Interrupted));
        assert!(!meter.is_exceeded());
    }
}
