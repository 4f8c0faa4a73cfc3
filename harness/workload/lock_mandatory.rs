//! Holders of managers' locks who write twice, and others who write without the lock.
//!
//! All faults make sense.

use super::ops::{blob_delete, blob_put, delete, lock, push, put, set, take};
use super::{PATIENT_MS, Parts, Settings, Workload, chance, held, key, locks, mark, rng};
use crate::check::CheckSpec;
use crate::protocol::{Capability, ErrorCode, LockKind, Op};
use crate::step::Step;
use rand::Rng as _;
use rand_chacha::ChaCha8Rng;
use serde_json::json;

pub(super) const WORKLOAD: Workload = Workload {
    name: "lock-mandatory",
    promise: "Nobody writes to a manager whose lock somebody else holds.",
    requires: &[
        Capability::Locks,
        Capability::MandatoryLocks,
        Capability::Dict,
        Capability::List,
        Capability::Queue,
        Capability::Collection,
        Capability::Blob,
    ],
    unfit: &[],
    parts,
};

const NAME: &str = "bound";

fn write(random: &mut ChaCha8Rng, kind: LockKind, key: &str, mark: String) -> Op {
    let other = chance(random, 1, 3);
    match kind {
        LockKind::List => push(NAME, mark),
        LockKind::Queue if other => take(NAME, 0),
        LockKind::Queue => put(NAME, mark, 0),
        LockKind::Collection if other => Op::CollectionDrop {
            name: NAME.into(),
            key: key.into(),
        },
        LockKind::Collection => Op::CollectionIndex {
            name: NAME.into(),
            key: key.into(),
            body: json!({"text": mark}),
        },
        LockKind::Blob if other => blob_delete(NAME, key),
        LockKind::Blob => blob_put(NAME, key, mark),
        LockKind::Dict | LockKind::Lock if other => delete(NAME, key),
        LockKind::Dict | LockKind::Lock => set(NAME, key, mark),
    }
}

fn parts(settings: &Settings) -> Parts {
    const KINDS: [LockKind; 5] = [
        LockKind::Dict,
        LockKind::List,
        LockKind::Queue,
        LockKind::Collection,
        LockKind::Blob,
    ];
    let seed = settings.seed;
    let step = move |worker, number| {
        let mut random = rng(seed, worker, number);
        let kind = KINDS[random.random_range(0..KINDS.len())];
        let key = key(&mut random, 1, number);
        let first = write(&mut random, kind, &key, mark(worker, number));
        if chance(&mut random, 1, 2) {
            return first.into();
        }
        let ms = random.random_range(0..4);
        let last = write(
            &mut random,
            kind,
            &key,
            format!("{}.last", mark(worker, number)),
        );
        let body = vec![first.into(), Step::Sleep { ms }, last.into()];
        held(lock(kind, NAME), Some(PATIENT_MS), body)
    };
    let mut checks = vec![CheckSpec::MandatoryLocks, CheckSpec::Linearizable];
    checks.extend(locks(&[ErrorCode::Timeout, ErrorCode::Locked]));
    Parts::new(step, checks)
}
