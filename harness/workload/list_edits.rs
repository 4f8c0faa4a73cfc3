//! Edits of a list under its lock, which begin with reading it.
//!
//! All faults make sense: each edit is one step, and who dies leaves the ones it has done.

use super::ops::{insert, items, lock, push, remove, replace};
use super::{
    LIST_LEAST, PATIENT_MS, Parts, Settings, Workload, first_items, held, locks, mark, rng,
};
use crate::check::CheckSpec;
use crate::protocol::{Capability, ErrorCode, LockKind, Op};
use crate::step::Step;
use rand::Rng as _;

pub(super) const WORKLOAD: Workload = Workload {
    name: "list-edits",
    promise: "Edits of a list under its lock come one after the other, and whoever reads it then sees exactly those.",
    requires: &[Capability::List, Capability::Locks],
    unfit: &[],
    parts,
};

const NAME: &str = "edits";

fn parts(settings: &Settings) -> Parts {
    let seed = settings.seed;
    let step = move |worker, number| {
        let mut random = rng(seed, worker, number);
        let mut body: Vec<Step> = vec![items(NAME).into()];
        let edits = random.random_range(0..4);
        for edit in 0..edits {
            // Distinct, also within the step.
            let value = format!("{}.{edit}", mark(worker, number));
            let near = random.random_range(0..LIST_LEAST);
            let far = random.random_range(LIST_LEAST..LIST_LEAST + 8);
            // As many go as come, so that the list stays short.
            let op: Op = match random.random_range(0..10) {
                0..2 => push(NAME, value),
                2..5 => insert(NAME, near, value),
                5 => replace(NAME, near, value),
                6 => replace(NAME, far, value),
                _ => remove(NAME, far),
            };
            body.push(op.into());
        }
        held(lock(LockKind::List, NAME), Some(PATIENT_MS), body)
    };
    let mut checks = vec![CheckSpec::ListEdits { name: NAME.into() }];
    checks.extend(locks(&[ErrorCode::Timeout, ErrorCode::OutOfRange]));
    let last = held(
        lock(LockKind::List, NAME),
        Some(PATIENT_MS),
        vec![items(NAME).into()],
    );
    Parts {
        set_up: first_items().map(|item| push(NAME, item).into()).collect(),
        tear_down: vec![last],
        ..Parts::new(step, checks)
    }
}
