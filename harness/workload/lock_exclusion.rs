//! A few locks that everybody wants.
//!
//! - `lock-exclusion`: locks by themselves.
//! - `lock-exclusion-managers`: those of managers too.
//!
//! All faults make sense.

use super::ops::lock;
use super::{PATIENT_MS, Parts, Settings, TTL_MS, Workload, locks, rng};
use crate::protocol::{Capability, ErrorCode, LockKind};
use crate::step::Step;
use rand::Rng as _;

/// A system may give a lock for so long in another way: ours hands it over. Still shorter than the
/// others' patience.
const LONG_TTL_MS: u64 = 25_000;

pub(super) const WORKLOAD: Workload = Workload {
    name: "lock-exclusion",
    promise: "A lock is held by one at a time, and who waits for it gets it.",
    requires: &[Capability::Locks],
    unfit: &[],
    parts: |settings| parts(settings, &[LockKind::Lock]),
};

pub(super) const MANAGERS: Workload = Workload {
    name: "lock-exclusion-managers",
    promise: "The lock of any manager is held by one at a time, and who waits for it gets it.",
    requires: &[
        Capability::Locks,
        Capability::Dict,
        Capability::List,
        Capability::Queue,
        Capability::Collection,
        Capability::Blob,
    ],
    unfit: &[],
    parts: |settings| {
        parts(
            settings,
            &[
                LockKind::Lock,
                LockKind::Dict,
                LockKind::List,
                LockKind::Queue,
                LockKind::Collection,
                LockKind::Blob,
            ],
        )
    },
};

fn parts(settings: &Settings, kinds: &'static [LockKind]) -> Parts {
    let seed = settings.seed;
    let step = move |worker, number| {
        let mut random = rng(seed, worker, number);
        let kind = kinds[random.random_range(0..kinds.len())];
        let lock = lock(kind, format!("wanted{}", random.random_range(0..2)));
        let timeout_ms = match random.random_range(0..8) {
            0 => None,
            1 => Some(0),
            2 => Some(random.random_range(1..30)),
            _ => Some(PATIENT_MS),
        };
        let hold = Step::Sleep {
            ms: random.random_range(0..4),
        };
        Step::Locked {
            lock,
            timeout_ms,
            ttl_ms: Some(if random.random() { TTL_MS } else { LONG_TTL_MS }),
            body: vec![hold],
        }
    };
    Parts::new(step, locks(&[ErrorCode::Timeout]))
}
