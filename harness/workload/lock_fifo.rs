//! Lines in a known order: one holds the lock until all others stand in line, of whom each
//! has made sure that the one before it does.
//!
//! A round is one step of each worker. Faults that end a client make no sense: the others
//! would wait for it in vain.

use super::ops::lock;
use super::{PATIENT_MS, Parts, Settings, Workload, all_of, held, locks};
use crate::check::CheckSpec;
use crate::protocol::{Capability, LockKind};
use crate::run::FaultKind;
use crate::step::Step;

pub(super) const WORKLOAD: Workload = Workload {
    name: "lock-fifo",
    promise: "Who stood in a lock's line first gets it first.",
    requires: &[Capability::Locks, Capability::LockWaiting],
    unfit: &[FaultKind::Kill, FaultKind::Drop, FaultKind::Trap],
    parts,
};

fn parts(settings: &Settings) -> Parts {
    let workers = settings.workers.max(1);
    let step = move |worker: u32, round: u64| {
        let lock = lock(LockKind::Lock, "line");
        let begun = format!("held {round}");
        // Who holds first goes round too.
        let first = u32::try_from(round % u64::from(workers)).unwrap_or(0);
        let place = (worker + workers - first) % workers;
        let await_waiting = |count: u32| Step::AwaitWaiting {
            lock: lock.clone(),
            count: count.into(),
        };
        if place == 0 {
            let body = vec![Step::Signal(begun), await_waiting(workers)];
            return held(lock, Some(PATIENT_MS), body);
        }
        all_of(vec![
            Step::Await(begun),
            await_waiting(place),
            held(lock, Some(PATIENT_MS), Vec::new()),
        ])
    };
    let mut checks = vec![CheckSpec::FifoGrants];
    checks.extend(locks(&[]));
    Parts::new(step, checks)
}
