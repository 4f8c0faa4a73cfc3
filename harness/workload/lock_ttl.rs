//! Grants with a short time to live, and holders who stay longer.
//!
//! All faults make sense.

use super::ops::lock;
use super::{Parts, Settings, Workload, chance, locks, rng};
use crate::protocol::{Capability, ErrorCode, LockKind};
use crate::run::FaultKind;
use crate::step::Step;
use rand::Rng as _;

pub(super) const WORKLOAD: Workload = Workload {
    name: "lock-ttl",
    promise: "A grant lasts for its time to live, counted from the grant; then the next in line gets the lock.",
    requires: &[Capability::Locks],
    // The times to live are shorter than such clocks differ.
    unfit: &[FaultKind::Clock],
    parts,
};

fn parts(settings: &Settings) -> Parts {
    let seed = settings.seed;
    // Lines must move although each holder may take a second.
    let names = 1 + settings.workers / 4;
    let step = move |worker, number| {
        let mut random = rng(seed, worker, number);
        let ttl_ms = random.random_range(300..800);
        let ms = match random.random_range(0..16) {
            0..8 => random.random_range(0..100),
            // So late that a grant that doesn't end is told from one that ends late.
            8 => ttl_ms + 6000,
            _ => ttl_ms + random.random_range(50..400),
        };
        Step::Locked {
            lock: lock(
                LockKind::Lock,
                format!("short{}", random.random_range(0..names)),
            ),
            timeout_ms: chance(&mut random, 3, 4).then_some(60_000),
            ttl_ms: Some(ttl_ms),
            body: vec![Step::Sleep { ms }],
        }
    };
    Parts::new(step, locks(&[ErrorCode::Timeout]))
}
