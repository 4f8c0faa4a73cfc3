//! A bit of everything on one database.
//!
//! What must stay true: the workloads that it is made of have managers of their own, so that each
//! promise is judged by itself; and all faults make sense with all of them.

use super::{Parts, Settings, Workload, rng};
use super::{
    bank, blob_replace, collection_states, dict_increment, dict_registers, dict_transactions,
    list_edits, lock_exclusion, log_delivery, queue_batches, queue_delivery, write_skew,
};
use crate::check::CheckSpec;
use crate::protocol::Capability;
use crate::step::Step;
use rand::Rng as _;

pub(super) const WORKLOAD: Workload = Workload {
    name: "mixed",
    promise: "All promises hold when everything happens at once on one database.",
    requires: &[
        Capability::Dict,
        Capability::List,
        Capability::Queue,
        Capability::QueueBatch,
        Capability::Collection,
        Capability::Blob,
        Capability::Log,
        Capability::Locks,
        Capability::Transactions,
    ],
    unfit: &[],
    parts: |settings| {
        parts(
            settings,
            &[
                dict_increment::WORKLOAD,
                dict_registers::WORKLOAD,
                dict_transactions::WORKLOAD,
                queue_delivery::WORKLOAD,
                queue_batches::BATCHES,
                queue_batches::LOCKED,
                list_edits::WORKLOAD,
                collection_states::WORKLOAD,
                blob_replace::WORKLOAD,
                lock_exclusion::WORKLOAD,
                bank::WORKLOAD,
                write_skew::WORKLOAD,
                log_delivery::UNFOLLOWED,
            ],
        )
    },
};

pub(super) const LOCKED: Workload = Workload {
    name: "mixed-locked",
    promise: "All promises of locks hold when everything happens at once on one database.",
    requires: &[
        Capability::Dict,
        Capability::List,
        Capability::Queue,
        Capability::Blob,
        Capability::Log,
        Capability::Locks,
    ],
    unfit: &[],
    parts: |settings| {
        parts(
            settings,
            &[
                dict_increment::WORKLOAD,
                dict_registers::WORKLOAD,
                queue_delivery::WORKLOAD,
                queue_batches::LOCKED,
                list_edits::WORKLOAD,
                blob_replace::WORKLOAD,
                lock_exclusion::WORKLOAD,
                write_skew::LOCKED,
                log_delivery::UNFOLLOWED,
            ],
        )
    },
};

fn parts(settings: &Settings, of: &[Workload]) -> Parts {
    let seed = settings.seed;
    let (mut steps, mut set_up, mut tear_down) = (Vec::new(), Vec::new(), Vec::new());
    let mut checks: Vec<CheckSpec> = Vec::new();
    for (at, workload) in (1..).zip(of) {
        let own = Settings {
            // Each makes choices of its own.
            seed: seed.wrapping_add(0x9E37_79B9_7F4A_7C15_u64.wrapping_mul(at)),
            ..*settings
        };
        let parts = (workload.parts)(&own);
        steps.push(parts.step);
        set_up.extend(parts.set_up);
        tear_down.extend(parts.tear_down);
        for check in parts.checks {
            add(&mut checks, check);
        }
    }
    let step = move |worker, number| -> Step {
        let one = rng(seed, worker, number).random_range(0..steps.len());
        steps[one](worker, number)
    };
    Parts {
        set_up,
        tear_down,
        ..Parts::new(step, checks)
    }
}

/// Adds a check once; what one part allows, all do.
fn add(checks: &mut Vec<CheckSpec>, new: CheckSpec) {
    if let CheckSpec::Errors { allow } = &new {
        let known = checks.iter_mut().find_map(|known| match known {
            CheckSpec::Errors { allow } => Some(allow),
            _ => None,
        });
        if let Some(known) = known {
            for code in allow {
                if !known.contains(code) {
                    known.push(*code);
                }
            }
            return;
        }
    }
    if !checks.contains(&new) {
        checks.push(new);
    }
}
