//! Producers and consumers of one queue with priorities.
//!
//! All faults make sense: an item whose `queue-get` was not answered may be gone, one whose
//! `queue-put` was not answered may be there.

use super::ops::{drain, put, take};
use super::{Parts, Settings, Workload, chance, every, mark, rng};
use crate::check::CheckSpec;
use crate::protocol::{Capability, ErrorCode};
use rand::Rng as _;

pub(super) const WORKLOAD: Workload = Workload {
    name: "queue-delivery",
    promise: "Each item of a queue is taken exactly once, and never before one with priority over it.",
    requires: &[Capability::Queue],
    unfit: &[],
    parts,
};

const NAME: &str = "jobs";

fn parts(settings: &Settings) -> Parts {
    let (seed, alone) = (settings.seed, settings.workers == 1);
    let step = move |worker: u32, number| {
        let mut random = rng(seed, worker, number);
        // More is taken than put, so that the queue is empty now and then, and never long.
        let puts = if alone {
            chance(&mut random, 1, 2)
        } else {
            worker.is_multiple_of(2) && chance(&mut random, 3, 4)
        };
        if puts {
            return put(NAME, mark(worker, number), random.random_range(0..4)).into();
        }
        let timeout_ms = match random.random_range(0..4) {
            0 => 0,
            1 => random.random_range(1..10),
            _ => random.random_range(10..60),
        };
        take(NAME, timeout_ms).into()
    };
    let mut checks = vec![
        CheckSpec::QueueDelivery {
            name: NAME.into(),
            drained: true,
        },
        CheckSpec::QueueOrder { name: NAME.into() },
    ];
    checks.extend(every(&[ErrorCode::Timeout]));
    Parts {
        tear_down: vec![drain(NAME)],
        ..Parts::new(step, checks)
    }
}
