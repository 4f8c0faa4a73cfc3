//! The three cases of BeaverDB's proposal, as programs so small that every crash and many schedules
//! of them can be tried: see [`sweep`](super::sweep) and [`exhaustive`](super::exhaustive).
//!
//! What must stay true: each has two workers who meet, and checks that fail if the promise is
//! broken. Whatever the checks need from the end of it is done twice: a crash may hit the first.

use crate::catalog;
use crate::check::CheckSpec;
use crate::program::{Plan, Program};
use crate::protocol::{ErrorCode, LockKind, LockName, Op};
use crate::step::Step;
use serde_json::json;
use std::collections::BTreeSet;

/// As long as it takes.
const PATIENT_MS: u64 = 30_000;
/// Longer than any of these programs.
const TTL_MS: u64 = 60_000;

/// Within how long a death must be noticed. The component looks some hundred times as often.
const DEATH_MS: u64 = 1000;

/// All there are.
pub fn all() -> Vec<Program> {
    vec![increments(), batches(), timeouts()]
}

/// The case of this name, with or without the prefix `sweep-`.
pub fn named(name: &str) -> Option<Plan> {
    let known = all().into_iter();
    let is_it =
        |case: &Program| case.name.strip_prefix("sweep-") == Some(name) || case.name == name;
    known.into_iter().find(is_it).map(Plan::from)
}

/// The programs that a list of names means: cases, `cases` for all of them, and whatever
/// [`catalog::select`] takes.
///
/// # Errors
/// The name that is none.
pub fn select(names: &str) -> Result<Vec<String>, String> {
    let mut selected: Vec<String> = Vec::new();
    for name in names.split(',').map(str::trim) {
        let found: Vec<String> = if name == "cases" {
            all().into_iter().map(|case| case.name).collect()
        } else if let Some(case) = named(name) {
            vec![case.frame.name]
        } else {
            let entries = catalog::select(name)?;
            entries.into_iter().map(|entry| entry.name).collect()
        };
        selected.extend(found);
    }
    let mut known = BTreeSet::new();
    selected.retain(|name| known.insert(name.clone()));
    Ok(selected)
}

/// The plan of a name that [`select`] gave; `workers` and `seed` are for workloads.
pub fn plan(name: &str, workers: u32, seed: u64) -> Option<Plan> {
    named(name).or_else(|| catalog::plan(name, workers, seed))
}

/// Atomic read-modify-write: everybody adds one under the dictionary's lock.
fn increments() -> Program {
    let one = || {
        vec![held(
            LockKind::Dict,
            "counters",
            vec![Step::Increment {
                name: "counters".into(),
                key: "n".into(),
            }],
        )]
    };
    let read = Step::from(Op::DictGet {
        name: "counters".into(),
        key: "n".into(),
    });
    Program {
        workers: vec![one(), one()],
        tear_down: vec![read.clone(), read],
        ..program(
            "sweep-increments",
            "No crash loses or repeats an increment under a dictionary's lock.",
            vec![CheckSpec::Counter {
                name: "counters".into(),
                key: "n".into(),
            }],
            &[],
        )
    }
}

/// Batches of a queue: one worker takes two items under the queue's lock, the other puts one and
/// takes two at once.
fn batches() -> Program {
    let name = "jobs".to_owned();
    let batch = Op::QueueGetBatch {
        name: name.clone(),
        count: 2,
        timeout_ms: Some(PATIENT_MS),
    };
    // Under the lock: the check can't know that it isn't in the hands of somebody who crashed.
    let drain = || {
        let op = Op::QueueGet {
            name: "jobs".into(),
            timeout_ms: Some(0),
        };
        held(LockKind::Queue, "jobs", vec![Step::UntilTimeout { op }])
    };
    Program {
        set_up: vec![put(1), put(2), put(3)],
        workers: vec![
            vec![held(LockKind::Queue, "jobs", vec![take(0), take(0)])],
            vec![put(4), batch.into()],
        ],
        tear_down: vec![drain(), drain()],
        ..program(
            "sweep-batches",
            "No crash loses an item, gives one twice, or tears a batch.",
            vec![
                CheckSpec::QueueBatches { name: name.clone() },
                CheckSpec::QueueDelivery {
                    name: name.clone(),
                    drained: true,
                },
                CheckSpec::QueueOrder { name },
                CheckSpec::MandatoryLocks,
            ],
            // Who stands behind a worker that crashed in its batch may find nothing left.
            &[ErrorCode::Timeout],
        )
    }
}

/// Timeouts: one worker keeps a lock for a while; the other gives up waiting for it, waits for it
/// again, and waits for an item that never comes.
fn timeouts() -> Program {
    Program {
        workers: vec![
            vec![held(LockKind::Lock, "gate", vec![Step::Sleep { ms: 60 }])],
            vec![
                Step::Sleep { ms: 20 },
                within(10, LockKind::Lock, "gate", Vec::new()),
                held(LockKind::Lock, "gate", Vec::new()),
                take(10),
            ],
        ],
        ..program(
            "sweep-timeouts",
            "No crash makes a wait end early, or for ever.",
            Vec::new(),
            &[ErrorCode::Timeout],
        )
    }
}

fn program(name: &str, promise: &str, mut checks: Vec<CheckSpec>, allow: &[ErrorCode]) -> Program {
    checks.extend([
        CheckSpec::MutualExclusion,
        CheckSpec::FencingTokens,
        CheckSpec::FifoGrants,
        CheckSpec::LockTtl,
        CheckSpec::LockLiveness {
            dead_holder_ms: Some(DEATH_MS),
        },
        CheckSpec::StaleHolders,
        CheckSpec::Errors {
            allow: allow.to_vec(),
        },
        CheckSpec::Timeouts,
        CheckSpec::Completion,
        CheckSpec::Integrity,
    ]);
    Program {
        program: 1,
        name: name.to_owned(),
        promise: promise.to_owned(),
        checks,
        ..Program::default()
    }
}

fn held(kind: LockKind, name: &str, body: Vec<Step>) -> Step {
    within(PATIENT_MS, kind, name, body)
}

fn within(timeout_ms: u64, kind: LockKind, name: &str, body: Vec<Step>) -> Step {
    Step::Locked {
        lock: LockName::new(kind, name),
        timeout_ms: Some(timeout_ms),
        ttl_ms: Some(TTL_MS),
        body,
    }
}

fn put(value: u64) -> Step {
    Op::QueuePut {
        name: "jobs".into(),
        value: json!(value),
        priority: 1.0,
    }
    .into()
}

fn take(timeout_ms: u64) -> Step {
    Op::QueueGet {
        name: "jobs".into(),
        timeout_ms: Some(timeout_ms),
    }
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases_are_found_by_their_name_and_are_no_part_of_the_catalog() {
        for case in all() {
            let short = case.name.strip_prefix("sweep-").unwrap();
            assert_eq!(named(short).unwrap().frame, case);
            assert_eq!(named(&case.name).unwrap().frame, case);
            assert!(catalog::plan(&case.name, 2, 1).is_none());
            assert_eq!(case.workers.len(), 2);
        }
        assert!(named("sweep-").is_none());
    }

    #[test]
    fn lists_of_names_mix_cases_with_what_the_catalog_has() {
        let names = select("cases,timeouts, killed-holder,workloads").unwrap();
        assert_eq!(
            names[..3],
            ["sweep-increments", "sweep-batches", "sweep-timeouts"]
        );
        assert_eq!(names[3], "killed-holder");
        let all: BTreeSet<_> = names.iter().collect();
        assert_eq!(all.len(), names.len());
        for name in &names {
            assert_eq!(plan(name, 2, 1).unwrap().frame.name, *name);
        }
        assert!(select("cases,nonsense").unwrap_err().contains("nonsense"));
    }
}
