//! Making a guest trap from outside.
//!
//! What must stay true: a request is never forgotten and never taken back. Whoever waits first
//! registers, then looks at the flag; whoever requests first sets the flag, then notifies.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// Makes an [`Instance`](crate::Instance) trap, from any thread and in the middle of a call;
/// see [`Instance::interrupter`](crate::Instance::interrupter).
#[derive(Clone, Debug, Default)]
pub struct Interrupter(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    requested: AtomicBool,
    notify: Notify,
}

impl Interrupter {
    /// Makes the guest trap where it is: at once when it waits (for a lock, an item, a commit),
    /// within 10 ms when it computes, at the beginning of its next call when there is none. The
    /// call ends with [`Error::Interrupted`](crate::Error::Interrupted) and the instance is
    /// gone. Can't cut short a system call that is under way. Returns at once.
    pub fn interrupt(&self) {
        self.0.requested.store(true, Ordering::SeqCst);
        self.0.notify.notify_waiters();
    }

    pub(crate) fn is_requested(&self) -> bool {
        self.0.requested.load(Ordering::SeqCst)
    }

    /// Waits until it is requested.
    pub(crate) async fn requested(&self) {
        let notified = self.0.notify.notified();
        let mut notified = std::pin::pin!(notified);
        notified.as_mut().enable();
        if !self.is_requested() {
            notified.await;
        }
    }
}
