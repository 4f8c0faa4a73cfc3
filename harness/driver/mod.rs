//! What makes a system usable: processes, and clients in them.
//!
//! What must stay true: a call never takes longer than its patience; an error [`ErrorCode::Gone`]
//! (and only that) means that the client is no more.

mod alternating;
#[cfg(any(feature = "component", feature = "native"))]
pub(crate) mod beaver;
#[cfg(feature = "component")]
mod component;
mod embedded;
#[cfg(feature = "component")]
pub(crate) mod instance;
#[cfg(feature = "native")]
mod native;
pub mod own;
mod python;
pub mod reference;
pub mod serve;
mod stdio;
mod threaded;
pub mod validate;

pub use alternating::Alternating;
#[cfg(feature = "component")]
pub use component::ComponentDriver;
pub use embedded::{Embedded, Store};
#[cfg(feature = "native")]
pub use native::NativeDriver;
pub use python::{PythonDriver, VERSIONS as PYTHON_VERSIONS};
pub use reference::Reference;
pub use stdio::StdioDriver;

use crate::protocol::{Description, ErrorCode, Failure, Init, Op};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

/// What came of an operation: its result and, if wanted, its place in commit order.
pub type Answer = Result<(Value, Option<u64>), Failure>;

/// A system that can be started.
pub trait Driver: Send + Sync {
    /// What it is called on the command line.
    fn name(&self) -> String;

    /// Starts a process of it (or what stands for one).
    ///
    /// # Errors
    /// It doesn't start, or says something that makes no sense.
    fn start(&self, init: &Init) -> anyhow::Result<Arc<dyn Process>>;

    /// Lets whoever is in [`start`](Self::start) come back with an error, where that can be done.
    fn give_up_starts(&self) {}

    /// Whether processes are real: can be killed and stopped.
    fn has_processes(&self) -> bool;
}

/// A started process.
pub trait Process: Send + Sync {
    /// What it says of itself.
    fn description(&self) -> &Description;

    /// Makes a client ready. The number is free: not open, or closed since.
    ///
    /// # Errors
    /// The system refuses, or the process is gone.
    fn open(&self, client: u32) -> Result<Box<dyn Client>, Failure>;

    /// SIGKILL; returns when it is dead, and tells whether it died of that. What was under way ends
    /// with `gone`.
    ///
    /// # Errors
    /// It isn't a real process.
    fn kill(&self) -> anyhow::Result<Ending>;

    /// SIGSTOP.
    ///
    /// # Errors
    /// It isn't a real process, or is gone.
    fn stop(&self) -> anyhow::Result<()>;

    /// SIGCONT.
    ///
    /// # Errors
    /// It isn't a real process, or is gone.
    fn resume(&self) -> anyhow::Result<()>;

    /// The last of what it wrote for people.
    fn notes(&self) -> String;
}

/// What a process that was to be killed died of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Of that.
    Killed,
    /// It was lost before; in words, how.
    Before(String),
    /// It was killed before: an operation that waits for ever was given up.
    GivenUp,
}

/// One user of the system. Used by one thread at a time.
pub trait Client: Send {
    /// Does one operation. If it isn't answered within `patience` beyond its own timeout, its
    /// process is killed and the error is `gone`.
    ///
    /// # Errors
    /// As the protocol says.
    fn call(&mut self, op: &Op, certify: bool, patience: Duration) -> Answer;

    /// Ends it in good order.
    ///
    /// # Errors
    /// It could not be; it is no more all the same.
    fn close(self: Box<Self>) -> Result<(), Failure>;

    /// Whether it is gone because an operation that waits for ever, of its own or of another client
    /// of the same process, was not answered within the patience of whoever asked.
    fn was_given_up(&self) -> bool;

    /// For ending it from another thread, in the middle of a call.
    fn abandoner(&self) -> Arc<dyn Abandon>;
}

/// See [`Client::abandoner`].
pub trait Abandon: Send + Sync {
    /// Ends the client, whatever it is doing; a call under way ends with `gone`. Nothing if it has
    /// ended already.
    ///
    /// # Errors
    /// The driver can't.
    fn abandon(&self, trap: bool) -> Result<(), Failure>;

    /// For a run that ends early: a call under way ends with `gone`, and so does any that comes.
    /// What it goes on doing, if it can't be ended, nobody hears of.
    fn give_up(&self) {
        let _ = self.abandon(false);
    }
}

/// SIGKILL for all child processes that drivers started, without waiting for anything; no more are
/// started. For whoever exits at once.
pub fn kill_all() {
    stdio::kill_all();
}

/// The error of whoever is no more.
pub fn gone(why: impl Into<String>) -> Failure {
    Failure::new(ErrorCode::Gone, why)
}

/// The error of what was asked of somebody who was no more already: it was not even begun.
fn ended(why: impl Into<String>) -> Failure {
    Failure {
        definite: true,
        ..gone(why)
    }
}

/// Whether it may take as long as it likes.
fn waits_for_ever(op: &Op) -> bool {
    op.timeout_ms() == Some(None)
}

/// How long a call may take in all; none: for ever.
fn limit(op: &Op, patience: Duration) -> Option<Duration> {
    let own = op.timeout_ms().flatten().unwrap_or(0);
    patience
        .checked_add(Duration::from_millis(own))
        .filter(|limit| std::time::Instant::now().checked_add(*limit).is_some())
}
