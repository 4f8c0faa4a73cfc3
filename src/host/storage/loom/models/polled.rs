//! Futures polled by hand, in a model.

use super::sync::{Arc, AtomicBool, Ordering};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Wake, Waker};

/// A future and whether it was woken since its last poll.
pub(crate) struct Polled<F> {
    future: Pin<Box<F>>,
    woken: Arc<Woken>,
}

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Release);
    }
}

impl<F: Future> Polled<F> {
    pub(crate) fn new(future: F) -> Polled<F> {
        Polled {
            future: Box::pin(future),
            woken: Arc::default(),
        }
    }

    pub(crate) fn poll(&mut self) -> Poll<F::Output> {
        self.woken.0.swap(false, Ordering::AcqRel);
        let waker = Waker::from(Arc::clone(&self.woken));
        self.future.as_mut().poll(&mut Context::from_waker(&waker))
    }

    /// Polls again if it was woken, as whoever runs it would.
    pub(crate) fn poll_if_woken(&mut self) -> Poll<F::Output> {
        if self.woken.0.load(Ordering::Acquire) {
            self.poll()
        } else {
            Poll::Pending
        }
    }
}

struct Bell(loom::sync::Notify);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.notify();
    }
}

/// Runs a future to its end; one that is never woken again is a deadlock.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = Box::pin(future);
    let bell = Arc::new(Bell(loom::sync::Notify::new()));
    let waker = Waker::from(Arc::clone(&bell));
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        bell.0.wait();
    }
}

/// Runs `here` and `there` at the same time.
pub(crate) fn together<A, B: 'static>(
    here: impl FnOnce() -> A,
    there: impl FnOnce() -> B + 'static,
) -> (A, B) {
    let thread = loom::thread::spawn(there);
    let ours = here();
    (ours, thread.join().expect("a panic ends the model"))
}
