//! Waiting for items that seldom come.
//!
//! All faults make sense.

use super::ops::{drain, put, take};
use super::{Parts, Settings, Workload, chance, every, mark, rng};
use crate::check::CheckSpec;
use crate::protocol::{Capability, ErrorCode};
use rand::Rng as _;

pub(super) const WORKLOAD: Workload = Workload {
    name: "queue-timeouts",
    promise: "Waiting for an item ends when there is one, or when its time is over: not before, and not much later.",
    requires: &[Capability::Queue],
    unfit: &[],
    parts,
};

const NAME: &str = "rare";

fn parts(settings: &Settings) -> Parts {
    let seed = settings.seed;
    let step = move |worker, number| {
        let mut random = rng(seed, worker, number);
        if chance(&mut random, 1, 8) {
            return put(NAME, mark(worker, number), 0).into();
        }
        take(NAME, random.random_range(0..50)).into()
    };
    let mut checks = vec![CheckSpec::QueueDelivery {
        name: NAME.into(),
        drained: true,
    }];
    checks.extend(every(&[ErrorCode::Timeout]));
    Parts {
        tear_down: vec![drain(NAME)],
        ..Parts::new(step, checks)
    }
}
