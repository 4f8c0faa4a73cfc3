//! Operations of all kinds that say at which place in commit order they took effect.
//!
//! All faults make sense: an operation that was not answered has one of the places that are
//! missing, or none.

use super::ops::{
    append, blob_delete, blob_get, blob_put, delete, get, insert, items, push, put, read_log,
    remove, replace, set, take,
};
use super::{LIST_LEAST, Parts, Settings, Workload, every, first_items, mark, rng};
use crate::check::CheckSpec;
use crate::protocol::{Capability, ErrorCode};
use crate::step::Step;
use rand::Rng as _;

pub(super) const WORKLOAD: Workload = Workload {
    name: "certified",
    promise: "The order in which operations say that they took effect is legal, and none contradicts real time.",
    requires: &[
        Capability::Certificates,
        Capability::Dict,
        Capability::List,
        Capability::Queue,
        Capability::Blob,
        Capability::Log,
    ],
    unfit: &[],
    parts,
};

/// The name of all managers.
const NAME: &str = "certified";

/// After so many steps another log is written to, because a log is read as a whole.
const LOG_STEPS: u64 = 100;

fn parts(settings: &Settings) -> Parts {
    let seed = settings.seed;
    let step = move |worker, number| {
        let mut random = rng(seed, worker, number);
        let value = mark(worker, number);
        let key = format!("k{}", random.random_range(0..3));
        let near = random.random_range(0..LIST_LEAST);
        let far = random.random_range(LIST_LEAST..LIST_LEAST + 8);
        let log = format!("certified{}", number / LOG_STEPS);
        Step::certified(match random.random_range(0..20) {
            0..2 => set(NAME, &key, value),
            2..4 => get(NAME, &key),
            4 => delete(NAME, &key),
            5 => push(NAME, value),
            6 => insert(NAME, near, value),
            7 => replace(NAME, far, value),
            8..10 => remove(NAME, far),
            10..12 => items(NAME),
            12..14 => put(NAME, value, random.random_range(0..3)),
            14..16 => take(NAME, random.random_range(0..2) * 10),
            16 => blob_put(NAME, &key, value),
            17 => match random.random_range(0..4) {
                0 => blob_delete(NAME, &key),
                _ => blob_get(NAME, &key),
            },
            18 => append(&log, value),
            _ => read_log(&log),
        })
    };
    let mut checks = vec![CheckSpec::CommitOrder];
    checks.extend(every(&[ErrorCode::Timeout, ErrorCode::OutOfRange]));
    let first = first_items().map(|item| Step::certified(push(NAME, item)));
    Parts {
        set_up: first.collect(),
        ..Parts::new(step, checks)
    }
}
