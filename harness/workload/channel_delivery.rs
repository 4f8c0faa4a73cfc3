//! Those who publish on a channel, and those who subscribe to it.
//!
//! Faults that end a client make no sense: one that is opened again subscribes to nothing.

use super::{Parts, Settings, Workload, all_of, chance, every, mark, rng};
use crate::check::CheckSpec;
use crate::protocol::{Capability, ErrorCode, Op};
use crate::run::FaultKind;
use crate::step::Step;
use rand::Rng as _;
use serde_json::json;

pub(super) const WORKLOAD: Workload = Workload {
    name: "channel-delivery",
    promise: "Whatever is published on a channel reaches each subscriber once, for all in the same order.",
    requires: &[Capability::Channel],
    unfit: &[FaultKind::Kill, FaultKind::Drop, FaultKind::Trap],
    parts,
};

const NAME: &str = "news";

fn parts(settings: &Settings) -> Parts {
    let (seed, workers) = (settings.seed, settings.workers);
    let subscribes = move |worker: u32| workers == 1 || !worker.is_multiple_of(2);
    let next = |timeout_ms| Op::ChannelNext {
        name: NAME.into(),
        timeout_ms: Some(timeout_ms),
    };
    let step = move |worker, number| {
        let mut random = rng(seed, worker, number);
        if subscribes(worker) && (workers > 1 || chance(&mut random, 1, 2)) {
            return next(random.random_range(0..60)).into();
        }
        let publish = Op::ChannelPublish {
            name: NAME.into(),
            value: json!(mark(worker, number)),
        };
        let ms = random.random_range(0..3);
        all_of(vec![publish.into(), Step::Sleep { ms }])
    };
    let of_subscribers = |step: &dyn Fn() -> Step| -> Vec<Vec<Step>> {
        let each = (0..workers).map(|worker| subscribes(worker).then(step));
        each.map(|step| step.into_iter().collect()).collect()
    };
    let mut checks = vec![CheckSpec::ChannelDelivery { name: NAME.into() }];
    checks.extend(every(&[ErrorCode::Timeout]));
    Parts {
        prologue: of_subscribers(&|| Op::ChannelSubscribe { name: NAME.into() }.into()),
        epilogue: of_subscribers(&|| Step::UntilTimeout { op: next(500) }),
        ..Parts::new(step, checks)
    }
}
