//! Batches: several items of a queue that belong together.
//!
//! - `queue-batches`: by `queue-get-batch`, all or none.
//! - `queue-batches-locked`: by several `queue-get` under the queue's lock.
//! - `queue-thief`: the same, and some take single items without the lock, which must wait.
//!
//! All faults make sense: a worker that dies in its batch leaves a shorter one.

use super::ops::{drain, lock, put, take};
use super::{PATIENT_MS, Parts, Settings, Workload, chance, every, held, locks, mark, rng};
use crate::check::CheckSpec;
use crate::protocol::{Capability, ErrorCode, LockKind, Op};
use crate::step::Step;
use rand::Rng as _;
use rand_chacha::ChaCha8Rng;

pub(super) const BATCHES: Workload = Workload {
    name: "queue-batches",
    promise: "A batch gets all its items in one step, or none.",
    requires: &[Capability::Queue, Capability::QueueBatch],
    unfit: &[],
    parts: |settings| parts(settings, "batches", Form::Batch),
};

pub(super) const LOCKED: Workload = Workload {
    name: "queue-batches-locked",
    promise: "Items taken under a queue's lock come one after the other, with none of another worker between.",
    requires: &[Capability::Queue, Capability::Locks],
    unfit: &[],
    parts: |settings| parts(settings, "locked-batches", Form::Locked),
};

pub(super) const THIEF: Workload = Workload {
    name: "queue-thief",
    promise: "Who takes items without a queue's lock can't take any out of the middle of a batch.",
    requires: &[
        Capability::Queue,
        Capability::Locks,
        Capability::MandatoryLocks,
    ],
    unfit: &[],
    parts: |settings| parts(settings, "guarded-batches", Form::Thief),
};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Batch,
    Locked,
    Thief,
}

fn batch(name: &str, form: Form, random: &mut ChaCha8Rng) -> Step {
    let count = random.random_range(2..6);
    match form {
        Form::Batch => {
            let timeout_ms = Some(random.random_range(0..50));
            let name = name.to_owned();
            Step::from(Op::QueueGetBatch {
                name,
                count,
                timeout_ms,
            })
        }
        Form::Locked | Form::Thief => {
            let mut body = vec![take(name, random.random_range(0..2) * 10).into()];
            if chance(random, 1, 2) {
                // Time for others to come between.
                body.push(Step::Sleep { ms: 1 });
            }
            let whole = Step::Repeat { count, body };
            held(lock(LockKind::Queue, name), Some(PATIENT_MS), vec![whole])
        }
    }
}

fn parts(settings: &Settings, name: &'static str, form: Form) -> Parts {
    let (seed, alone) = (settings.seed, settings.workers == 1);
    let step = move |worker: u32, number| {
        let mut random = rng(seed, worker, number);
        let what: u32 = random.random_range(0..8);
        let puts = if alone {
            what < 5
        } else {
            worker.is_multiple_of(2) && what < 7
        };
        if puts {
            return put(name, mark(worker, number), random.random_range(0..3)).into();
        }
        if form == Form::Thief && what.is_multiple_of(2) {
            return take(name, random.random_range(0..20)).into();
        }
        batch(name, form, &mut random)
    };
    let name = name.to_owned();
    let mut checks = vec![
        CheckSpec::QueueBatches { name: name.clone() },
        CheckSpec::QueueDelivery {
            name: name.clone(),
            drained: true,
        },
        CheckSpec::QueueOrder { name: name.clone() },
    ];
    let allow = [ErrorCode::Timeout, ErrorCode::Locked];
    match form {
        Form::Batch => checks.extend(every(&allow[..1])),
        Form::Locked => checks.extend(locks(&allow)),
        Form::Thief => {
            checks.push(CheckSpec::MandatoryLocks);
            checks.extend(locks(&allow));
        }
    }
    Parts {
        tear_down: vec![drain(&name)],
        ..Parts::new(step, checks)
    }
}
