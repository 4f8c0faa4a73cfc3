//! Batches of a queue's items.

use super::{drain, locked, put, queue, scenario, signal, take, wait_for, with};
use crate::check::CheckSpec;
use crate::program::Program;
use crate::protocol::ErrorCode;
use crate::step::Step;

fn delivery(name: &str) -> CheckSpec {
    CheckSpec::QueueDelivery {
        name: name.into(),
        drained: true,
    }
}

/// Probe 8: an exception between two gets of a batch loses the item that was taken.
pub(super) fn exception_in_batch() -> Program {
    let mut program = scenario(
        "exception-in-batch",
        "A batch that fails half way through takes nothing.",
        with(
            &[ErrorCode::Timeout],
            [
                delivery("jobs"),
                CheckSpec::QueueBatches {
                    name: "jobs".into(),
                },
            ],
        ),
    );
    program.set_up = (0..4).map(|n| put("jobs", n, 1.0)).collect();
    let body = vec![take("jobs", 1000), Step::Raise, take("jobs", 1000)];
    program.workers = vec![vec![Step::Atomic {
        lock: queue("jobs"),
        timeout_ms: Some(10_000),
        body,
    }]];
    program.tear_down = vec![drain("jobs")];
    program
}

/// Probe 9: the lock is advisory, so a worker that doesn't take it steals from the middle of a batch.
pub(super) fn thief_in_batches() -> Program {
    const BATCHES: usize = 5;
    let mut program = scenario(
        "thief-in-batches",
        "Who doesn't take a queue's lock can't take items from the middle of a batch.",
        with(
            &[ErrorCode::Timeout, ErrorCode::Locked],
            [
                delivery("jobs"),
                CheckSpec::QueueBatches {
                    name: "jobs".into(),
                },
                CheckSpec::MandatoryLocks,
            ],
        ),
    );
    program.set_up = (0..4 * BATCHES).map(|n| put("jobs", n, 1.0)).collect();
    let (mut batches, mut thief) = (Vec::new(), Vec::new());
    for batch in 0..BATCHES {
        let (middle, tried) = (format!("middle-{batch}"), format!("tried-{batch}"));
        batches.push(locked(
            queue("jobs"),
            vec![
                take("jobs", 0),
                signal(middle.clone()),
                wait_for(tried.clone()),
                take("jobs", 0),
            ],
        ));
        thief.extend([wait_for(middle), take("jobs", 0), signal(tried)]);
    }
    program.workers = vec![batches, thief];
    program.tear_down = vec![drain("jobs")];
    program
}

/// Four processes that take items without a lock get some of them twice.
pub(super) fn plain_gets() -> Program {
    const ITEMS: usize = 400;
    let mut program = scenario(
        "plain-gets",
        "An item is taken once, also by those who take no lock.",
        with(
            &[ErrorCode::Timeout],
            [
                delivery("jobs"),
                CheckSpec::QueueOrder {
                    name: "jobs".into(),
                },
            ],
        ),
    );
    program.set_up = (0..ITEMS).map(|n| put("jobs", n, 1.0)).collect();
    program.workers = vec![vec![take("jobs", 0); ITEMS / 4 + 20]; 4];
    program.tear_down = vec![drain("jobs")];
    program
}
