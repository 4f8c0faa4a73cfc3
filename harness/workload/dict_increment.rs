//! Counters: read, add one, write, under the dictionary's lock.
//!
//! All faults make sense: a worker that dies between reading and writing has not
//! incremented, and its lock ends.

use super::ops::{get, lock};
use super::{PATIENT_MS, Parts, Settings, Workload, chance, held, locks, rng};
use crate::check::CheckSpec;
use crate::protocol::{Capability, ErrorCode, LockKind};
use crate::step::Step;
use rand::Rng as _;

pub(super) const WORKLOAD: Workload = Workload {
    name: "dict-increment",
    promise: "No increment under a dictionary's lock is lost or done twice.",
    requires: &[Capability::Dict, Capability::Locks],
    unfit: &[],
    parts,
};

const NAME: &str = "counters";
const KEYS: u32 = 3;

fn parts(settings: &Settings) -> Parts {
    let seed = settings.seed;
    let step = move |worker, number| {
        let mut random = rng(seed, worker, number);
        let key = format!("c{}", random.random_range(0..KEYS));
        if chance(&mut random, 1, 8) {
            return get(NAME, &key).into();
        }
        let name = NAME.to_owned();
        let body = vec![Step::Increment { name, key }];
        held(lock(LockKind::Dict, NAME), Some(PATIENT_MS), body)
    };
    let keys = || (0..KEYS).map(|key| format!("c{key}"));
    let counter = |key| CheckSpec::Counter {
        name: NAME.into(),
        key,
    };
    let checks = keys().map(counter).chain(locks(&[ErrorCode::Timeout]));
    Parts {
        tear_down: keys().map(|key| get(NAME, &key).into()).collect(),
        ..Parts::new(step, checks)
    }
}
