//! Short waits for a lock that is held for longer.
//!
//! All faults make sense.

use super::ops::lock;
use super::{PATIENT_MS, Parts, Settings, Workload, chance, held, locks, rng};
use crate::protocol::{Capability, ErrorCode, LockKind};
use crate::step::Step;
use rand::Rng as _;

pub(super) const WORKLOAD: Workload = Workload {
    name: "lock-timeouts",
    promise: "Waiting for a lock ends when it is granted, or when its time is over: not before, and not much later.",
    requires: &[Capability::Locks],
    unfit: &[],
    parts,
};

fn parts(settings: &Settings) -> Parts {
    let seed = settings.seed;
    let step = move |worker, number| {
        let mut random = rng(seed, worker, number);
        let lock = lock(LockKind::Lock, "busy");
        if chance(&mut random, 1, 4) {
            let ms = random.random_range(20..60);
            return held(lock, Some(PATIENT_MS), vec![Step::Sleep { ms }]);
        }
        held(lock, Some(random.random_range(0..40)), Vec::new())
    };
    Parts::new(step, locks(&[ErrorCode::Timeout]))
}
