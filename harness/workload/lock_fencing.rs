//! Holders who sleep past their time to live and write then.
//!
//! All faults make sense.

use super::ops::{get, lock, set};
use super::{Parts, Settings, Workload, chance, locks, mark, rng};
use crate::check::CheckSpec;
use crate::protocol::{Capability, ErrorCode, LockKind};
use crate::run::FaultKind;
use crate::step::Step;
use rand::Rng as _;

pub(super) const WORKLOAD: Workload = Workload {
    name: "lock-fencing",
    promise: "Who lost a lock can't write over the next holder, and is told that it lost it.",
    requires: &[Capability::Dict, Capability::Locks, Capability::Fencing],
    // The times to live are shorter than such clocks differ.
    unfit: &[FaultKind::Clock],
    parts,
};

fn parts(settings: &Settings) -> Parts {
    let seed = settings.seed;
    let names = 1 + settings.workers / 4;
    let step = move |worker, number| {
        let mut random = rng(seed, worker, number);
        let name = format!("fenced{}", random.random_range(0..names));
        let write =
            |at: &str| Step::from(set(&name, "k", format!("{}.{at}", mark(worker, number))));
        let mut body = vec![write("first")];
        let ttl_ms = if chance(&mut random, 1, 3) {
            let ttl_ms = random.random_range(200..400);
            let ms = ttl_ms + random.random_range(50..300);
            body.push(Step::Sleep { ms });
            ttl_ms
        } else {
            let ms = random.random_range(0..10);
            body.extend([get(&name, "k").into(), Step::Sleep { ms }]);
            10_000
        };
        body.push(write("last"));
        Step::Locked {
            lock: lock(LockKind::Dict, name.clone()),
            timeout_ms: Some(60_000),
            ttl_ms: Some(ttl_ms),
            body,
        }
    };
    let mut checks = vec![CheckSpec::StaleHolders, CheckSpec::Linearizable];
    checks.extend(locks(&[ErrorCode::Timeout]));
    Parts::new(step, checks)
}
