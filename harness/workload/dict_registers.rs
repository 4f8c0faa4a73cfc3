//! Registers: set, get, delete on few keys, and compare-and-set.
//!
//! - `dict-registers`: some of that under the dictionary's lock.
//! - `dict-operations`: none of it, so that also a store without locks and transactions is tried.
//!
//! All faults make sense: a write whose answer is lost has happened at one moment or never.

use super::ops::{delete, get, lock, set};
use super::{PATIENT_MS, Parts, Settings, Workload, chance, every, held, key, locks, mark, rng};
use crate::check::CheckSpec;
use crate::protocol::{Capability, ErrorCode, LockKind};
use crate::step::Step;
use rand::Rng as _;
use serde_json::{Value, json};

pub(super) const WORKLOAD: Workload = Workload {
    name: "dict-registers",
    promise: "Each key of a dictionary is an atomic register.",
    requires: &[Capability::Dict, Capability::Locks],
    unfit: &[],
    parts: |settings| parts(settings, "registers", true),
};

pub(super) const OPERATIONS: Workload = Workload {
    name: "dict-operations",
    promise: "Each key of a dictionary is an atomic register, also for those who take no lock.",
    requires: &[Capability::Dict],
    unfit: &[],
    parts: |settings| parts(settings, "operations", false),
};

fn parts(settings: &Settings, name: &'static str, locked: bool) -> Parts {
    let (seed, workers) = (settings.seed, settings.workers.max(1));
    let keys = 3 + workers / 4;
    let step = move |worker, number: u64| {
        let mut random = rng(seed, worker, number);
        let key = key(&mut random, keys, number);
        match random.random_range(0..10) {
            0..4 => get(name, &key).into(),
            4..7 => set(name, &key, mark(worker, number)).into(),
            7 => delete(name, &key).into(),
            _ => {
                let expected = if chance(&mut random, 1, 2) {
                    Value::Null
                } else {
                    let other = random.random_range(0..workers);
                    json!(mark(
                        other,
                        number.saturating_sub(random.random_range(1..20))
                    ))
                };
                let compare = Step::CompareAndSet {
                    name: name.into(),
                    key,
                    expected,
                    new: json!(mark(worker, number)),
                };
                if locked && chance(&mut random, 2, 3) {
                    held(lock(LockKind::Dict, name), Some(PATIENT_MS), vec![compare])
                } else {
                    compare
                }
            }
        }
    };
    let mut checks = vec![CheckSpec::Linearizable];
    checks.extend(if locked {
        // A write without the lock may have to wait for it too long.
        locks(&[ErrorCode::Timeout, ErrorCode::Locked])
    } else {
        every(&[])
    });
    Parts::new(step, checks)
}
