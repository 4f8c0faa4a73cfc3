//! Holders who stay for longer than their grant, and renew it.
//!
//! All faults make sense: a pause may cost a holder its lock, which it is told.

use super::ops::{lock, renew};
use super::{Parts, Settings, Workload, chance, locks, rng};
use crate::protocol::{Capability, ErrorCode, LockKind};
use crate::run::FaultKind;
use crate::step::Step;
use rand::Rng as _;

pub(super) const WORKLOAD: Workload = Workload {
    name: "lock-renewal",
    promise: "A grant that is renewed lasts for the new time to live, counted from the renewal.",
    requires: &[Capability::Locks, Capability::LockRenew],
    // The times to live are shorter than such clocks differ.
    unfit: &[FaultKind::Clock],
    parts,
};

fn parts(settings: &Settings) -> Parts {
    let seed = settings.seed;
    let names = 1 + settings.workers / 4;
    let step = move |worker, number| {
        let mut random = rng(seed, worker, number);
        let lock = lock(
            LockKind::Lock,
            format!("kept{}", random.random_range(0..names)),
        );
        let ttl_ms = random.random_range(300..500);
        let mut body = Vec::new();
        if chance(&mut random, 2, 3) {
            for _ in 0..random.random_range(1..4) {
                let ms = random.random_range(ttl_ms / 3..ttl_ms * 2 / 3);
                body.extend([Step::Sleep { ms }, renew(&lock, ttl_ms).into()]);
            }
        }
        let ms = random.random_range(0..ttl_ms * 2 / 3);
        body.push(Step::Sleep { ms });
        Step::Locked {
            lock,
            timeout_ms: Some(60_000),
            ttl_ms: Some(ttl_ms),
            body,
        }
    };
    Parts::new(step, locks(&[ErrorCode::Timeout]))
}
