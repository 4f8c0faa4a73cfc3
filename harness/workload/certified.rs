//! Operations of all kinds that say at which place in commit order they took effect.
//!
//! All faults make sense: an operation that was not answered has one of the places that are
//! missing, or none.

use super::ops::{
    append, blob_delete, blob_get, blob_put, delete, get, insert, items, push, put, read_log,
    remove, replace, set, take,
};
use super::{Parts, Settings, Workload, every, mark, rng};
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

/// After so many steps another log is written to, because a log is read as a whole.
const LOG_STEPS: u64 = 100;

fn parts(settings: &Settings) -> Parts {
    let seed = settings.seed;
    let step = move |worker, number| {
        let mut random = rng(seed, worker, number);
        let name = "certified";
        let value = mark(worker, number);
        let key = format!("k{}", random.random_range(0..3));
        let index = random.random_range(0..10);
        let log = format!("certified{}", number / LOG_STEPS);
        Step::certified(match random.random_range(0..20) {
            0..2 => set(name, &key, value),
            2..4 => get(name, &key),
            4 => delete(name, &key),
            5 => push(name, value),
            6 => insert(name, index, value),
            7 => replace(name, index, value),
            8..10 => remove(name, index),
            10..12 => items(name),
            12..14 => put(name, value, random.random_range(0..3)),
            14..16 => take(name, random.random_range(0..2) * 10),
            16 => blob_put(name, &key, value),
            17 => match random.random_range(0..4) {
                0 => blob_delete(name, &key),
                _ => blob_get(name, &key),
            },
            18 => append(&log, value),
            _ => read_log(&log),
        })
    };
    let mut checks = vec![CheckSpec::CommitOrder];
    checks.extend(every(&[ErrorCode::Timeout, ErrorCode::OutOfRange]));
    Parts::new(step, checks)
}
