//! Those who append to a log, and those who follow it.
//!
//! - `log-delivery`: half of the workers follow it.
//! - `log-appends`: nobody follows, some read all of it, for systems without `log-follow`.
//!
//! Faults that end a client make no sense where there are followers: a client that is opened
//! again follows nothing.

use super::ops::{append, read_log};
use super::{Parts, Settings, Workload, all_of, chance, every, mark, rng};
use crate::check::CheckSpec;
use crate::protocol::{Capability, ErrorCode, Op};
use crate::run::FaultKind;
use crate::step::Step;
use rand::Rng as _;

pub(super) const WORKLOAD: Workload = Workload {
    name: "log-delivery",
    promise: "Whatever is appended to a log reaches each of its followers once, for all in the same order.",
    requires: &[Capability::Log, Capability::LogFollow],
    unfit: &[FaultKind::Kill, FaultKind::Drop, FaultKind::Trap],
    parts: followed,
};

pub(super) const UNFOLLOWED: Workload = Workload {
    name: "log-appends",
    promise: "Whatever is appended to a log is read once, by all in the same order.",
    requires: &[Capability::Log],
    unfit: &[],
    parts: unfollowed,
};

const NAME: &str = "journal";
const UNFOLLOWED_NAME: &str = "ledger";

/// An entry, with a little time to breathe: the log is read as a whole at the end.
fn entry(name: &str, worker: u32, number: u64, ms: u64) -> Step {
    let value = mark(worker, number);
    all_of(vec![append(name, value).into(), Step::Sleep { ms }])
}

fn followed(settings: &Settings) -> Parts {
    let (seed, workers) = (settings.seed, settings.workers);
    let follows = move |worker: u32| workers == 1 || !worker.is_multiple_of(2);
    let next = |timeout_ms| Op::LogNext {
        name: NAME.into(),
        timeout_ms: Some(timeout_ms),
    };
    let step = move |worker, number| {
        let mut random = rng(seed, worker, number);
        if follows(worker) && (workers > 1 || chance(&mut random, 1, 2)) {
            return next(random.random_range(0..60)).into();
        }
        entry(NAME, worker, number, random.random_range(0..3))
    };
    let of_followers = |step: &dyn Fn() -> Step| -> Vec<Vec<Step>> {
        let each = (0..workers).map(|worker| follows(worker).then(step));
        each.map(|step| step.into_iter().collect()).collect()
    };
    let mut checks = vec![CheckSpec::LogDelivery { name: NAME.into() }];
    checks.extend(every(&[ErrorCode::Timeout]));
    Parts {
        prologue: of_followers(&|| Op::LogFollow { name: NAME.into() }.into()),
        epilogue: of_followers(&|| Step::UntilTimeout { op: next(500) }),
        tear_down: vec![read_log(NAME).into()],
        ..Parts::new(step, checks)
    }
}

fn unfollowed(settings: &Settings) -> Parts {
    let seed = settings.seed;
    let name = UNFOLLOWED_NAME;
    let step = move |worker, number| {
        let mut random = rng(seed, worker, number);
        if chance(&mut random, 1, 100) {
            return read_log(name).into();
        }
        entry(name, worker, number, random.random_range(0..3))
    };
    let mut checks = vec![CheckSpec::LogDelivery { name: name.into() }];
    checks.extend(every(&[]));
    Parts {
        tear_down: vec![read_log(name).into()],
        ..Parts::new(step, checks)
    }
}
