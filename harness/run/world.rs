//! What surrounds a worker: time, its clients, the other workers.
//!
//! What must stay true: a worker's code takes nothing but from its world and its [`Course`], so
//! that real threads and a simulator run the very same worker.

use super::{Progress, Settings};
use crate::driver::Answer;
use crate::history::{Recorder, SessionEnd};
use crate::program::{Fault, Plan};
use crate::protocol::{Failure, Op};
use std::fmt;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

/// How often each worker, and whoever leads the run, comes to a phase: after the set-up, the
/// prologue, the steps, the epilogue, and the tear-down.
pub(crate) const PHASES: u32 = 5;

/// Where workers are at work. Futures are polled by whoever made the world, and where a worker may
/// be kept waiting they may be pending.
pub(crate) trait World {
    /// What its clients are.
    type Client: WorldClient;

    /// Where what happens is taken down.
    fn recorder(&self) -> &Recorder;

    /// Monotonic, from any fixed moment.
    fn now(&self) -> Duration;

    /// Ends early only if the run is halted.
    async fn sleep(&self, duration: Duration);

    /// Waits for all workers, and whoever leads the run.
    async fn phase(&self);

    /// Whether the run is to end early.
    fn is_halted(&self) -> bool;

    /// Whether workers are to begin no more steps.
    fn time_is_up(&self) -> bool;

    /// Whether there is a time at which workers stop.
    fn has_deadline(&self) -> bool;

    /// Opens a client for the worker and enters its session. With a `patience` it is another one,
    /// and tried for at least so long: the system may have to recover.
    async fn open(
        &self,
        worker: u32,
        patience: Option<Duration>,
    ) -> Result<Opened<Self::Client>, Refused>;

    /// Whether nothing is known to have ended the worker's session.
    fn is_live(&self, worker: u32, session: u64) -> bool;

    /// The worker's session is over; `how` if nothing is known to have been done to it.
    fn over(&self, worker: u32, session: u64, how: SessionEnd);

    /// A worker has done its steps.
    fn finished(&self);

    /// Something is wrong in the harness.
    fn trouble(&self, what: String);

    /// Signals the name.
    fn give(&self, name: &str);

    /// Waits for the name; false if nobody can signal it any more, it wasn't signalled within
    /// `limit`, or `is_over` says that nobody need wait.
    async fn await_signal(&self, name: &str, limit: Duration, is_over: &dyn Fn() -> bool) -> bool;

    /// Whether all workers but the one that asks are idle, so that nothing happens until it
    /// does something itself.
    fn others_are_idle(&self) -> bool;

    /// Does it; returns whether there was anybody to do it to.
    async fn inflict(&self, fault: Fault) -> anyhow::Result<bool>;
}

/// One user of the system: see [`Client`](crate::driver::Client).
pub(crate) trait WorldClient {
    /// Does one operation. If it isn't answered within `patience` beyond its own timeout, the
    /// error is `gone`.
    async fn call(&mut self, op: &Op, certify: bool, patience: Duration) -> Answer;

    /// Whether it is gone because an operation that waits for ever was given up.
    fn was_given_up(&self) -> bool;

    /// Ends it in good order; it is no more even if that could not be.
    async fn close(self) -> Result<(), Failure>;
}

/// An open client and its session.
pub(crate) struct Opened<C> {
    pub(crate) session: u64,
    pub(crate) client: C,
}

/// Why there is no client.
pub(crate) enum Refused {
    /// The system says so.
    System(Failure),
    /// Nobody could be asked.
    Harness(String),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System(failure) => failure.fmt(f),
            Self::Harness(why) => f.write_str(why),
        }
    }
}

/// What workers are to do, and how far they are: the same in every world.
pub(crate) struct Course<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) settings: &'a Settings,
    pub(crate) progress: &'a Progress,
    /// Whether the system offers them.
    pub(crate) transactions: bool,
    /// How many steps each worker began.
    pub(crate) steps: Vec<AtomicU64>,
    /// How many steps waited in vain.
    pub(crate) in_vain: AtomicU64,
}

impl<'a> Course<'a> {
    pub(crate) fn new(
        plan: &'a Plan,
        settings: &'a Settings,
        progress: &'a Progress,
        transactions: bool,
    ) -> Self {
        Self {
            plan,
            settings,
            progress,
            transactions,
            steps: (0..plan.workers).map(|_| AtomicU64::new(0)).collect(),
            in_vain: AtomicU64::new(0),
        }
    }
}
