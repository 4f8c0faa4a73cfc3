//! Pairs of documents that are indexed, connected and dropped together, and readers of all that.
//!
//! A document's body is `{"text": "<words>", "version": n}` with three words: one of this
//! version of this document, one of this version of its pair, and one of its pair. Both documents of a
//! pair get the same version in one unit: a transaction, or the collection's lock
//! (`collection-states-locked`).
//!
//! With the lock, faults that end a client make no sense: who dies in the middle leaves half
//! of its unit, as a lock promises nothing about that.

use super::ops::lock;
use super::{Parts, Settings, Workload, chance, every, locks, rng, unit};
use crate::check::CheckSpec;
use crate::protocol::{Capability, ErrorCode, LockKind, Op};
use crate::run::FaultKind;
use crate::step::Step;
use rand::Rng as _;
use serde_json::json;

pub(super) const WORKLOAD: Workload = Workload {
    name: "collection-states",
    promise: "Documents, edges and index entries that a transaction writes are seen together or not at all.",
    requires: &[Capability::Collection, Capability::Transactions],
    unfit: &[],
    parts: |settings| parts(settings, "documents", false),
};

pub(super) const LOCKED: Workload = Workload {
    name: "collection-states-locked",
    promise: "Documents, edges and index entries that are written under a collection's lock are seen together by its next holder.",
    requires: &[Capability::Collection, Capability::Locks],
    unfit: &[FaultKind::Kill, FaultKind::Drop, FaultKind::Trap],
    parts: |settings| parts(settings, "locked-documents", true),
};

const LABEL: &str = "next";

/// What a step does.
enum What {
    Write { pair: u32 },
    Drop { pair: u32 },
    Read { pair: u32 },
    Look { pair: u32 },
}

/// Pure, so that a reader can look for a word that another step has written.
fn what(seed: u64, worker: u32, number: u64, pairs: u32) -> What {
    let mut random = rng(seed, worker, number);
    let pair = random.random_range(0..pairs);
    match random.random_range(0..10) {
        0..4 => What::Write { pair },
        4 => What::Drop { pair },
        5..9 => What::Read { pair },
        _ => What::Look { pair },
    }
}

/// Distinct for each step.
fn version(workers: u32, worker: u32, number: u64) -> u64 {
    number * u64::from(workers) + u64::from(worker)
}

/// A version that some worker has written to the pair at about this step.
fn recent(seed: u64, worker: u32, number: u64, workers: u32, pairs: u32, pair: u32) -> Option<u64> {
    let mut random = rng(seed ^ 2, worker, number);
    let other = random.random_range(0..workers);
    let last = number.checked_sub(random.random_range(0..4))?;
    let wrote = (last.saturating_sub(30)..=last).rev().find(|number| {
        matches!(what(seed, other, *number, pairs), What::Write { pair: of } if of == pair)
    });
    Some(version(workers, other, wrote?))
}

fn parts(settings: &Settings, name: &'static str, locked: bool) -> Parts {
    let (seed, workers) = (settings.seed, settings.workers.max(1));
    let pairs = 2 + workers / 8;
    let step = move |worker: u32, number: u64| {
        let name = || name.to_owned();
        let lock = locked.then(|| lock(LockKind::Collection, name()));
        let get = |key: String| Step::from(Op::CollectionGet { name: name(), key });
        let find = |text: String| Step::from(Op::CollectionMatch { name: name(), text });
        let leads = |key: String| {
            Step::from(Op::CollectionNeighbors {
                name: name(),
                key,
                label: LABEL.into(),
            })
        };
        let both = |pair: u32| (format!("a{pair}"), format!("b{pair}"));
        match what(seed, worker, number, pairs) {
            What::Write { pair } => {
                let (left, right) = both(pair);
                let version = version(workers, worker, number);
                let index = |key: &str| {
                    let text = format!("{key}v{version} v{version} pair{pair}");
                    Step::from(Op::CollectionIndex {
                        name: name(),
                        key: key.to_owned(),
                        body: json!({"text": text, "version": version}),
                    })
                };
                let connect = Op::CollectionConnect {
                    name: name(),
                    source: left.clone(),
                    target: right.clone(),
                    label: LABEL.into(),
                };
                unit(
                    lock.as_ref(),
                    vec![index(&left), index(&right), connect.into()],
                )
            }
            What::Drop { pair } => {
                let (left, right) = both(pair);
                let drop = |key: String| Step::from(Op::CollectionDrop { name: name(), key });
                unit(lock.as_ref(), vec![drop(left), drop(right)])
            }
            What::Read { pair } => {
                let (left, right) = both(pair);
                let mut body = vec![get(left.clone()), get(right), leads(left.clone())];
                body.push(find(format!("pair{pair}")));
                if let Some(version) = recent(seed, worker, number, workers, pairs, pair) {
                    body.push(find(format!("v{version}")));
                    body.push(find(format!("{left}v{version}")));
                }
                unit(lock.as_ref(), body)
            }
            What::Look { pair } => {
                let (left, right) = both(pair);
                // One operation by itself is a unit too.
                let mut random = rng(seed ^ 1, worker, number);
                if chance(&mut random, 1, 2) {
                    get(right)
                } else {
                    leads(left)
                }
            }
        }
    };
    let mut checks = vec![CheckSpec::CollectionStates { name: name.into() }];
    checks.extend(if locked {
        locks(&[ErrorCode::Timeout])
    } else {
        every(&[ErrorCode::Conflict])
    });
    Parts::new(step, checks)
}
