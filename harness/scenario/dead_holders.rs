//! Holders that are killed.

use super::{acquire, in_line, lock, release, scenario, signal, wait_for, with};
use crate::check::CheckSpec;
use crate::program::{Fault, Layout, Program};
use crate::step::Step;

/// Probe 6: a killed holder keeps everybody out for its time to live, a minute by default. That is what a
/// system promises that doesn't notice deaths; one that says it does is held to that.
pub(super) fn killed_holder() -> Program {
    let mut program = scenario(
        "killed-holder",
        "A holder that is killed keeps nobody out beyond its time to live, or hardly at all where its death is noticed.",
        with(
            &[],
            [CheckSpec::LockLiveness {
                dead_holder_ms: Some(5000),
            }],
        ),
    );
    program.layout = Layout::Apart;
    let line = lock("killed");
    program.workers = vec![
        // Twice as long as a death may go unnoticed.
        vec![
            acquire(line.clone(), 0, 10_000),
            signal("held"),
            wait_for("over"),
        ],
        // Patient enough to see the time to live pass, and the lock not granted in time after that.
        vec![
            wait_for("held"),
            Step::Fault(Fault::Kill { worker: 0 }),
            acquire(line.clone(), 20_000, 60_000),
            release(line),
            signal("over"),
        ],
    ];
    program
}

/// A waiter that comes just after a holder that is killed, with the same time to live, is
/// cleared away with it and waits for ever: unless it happens to look in the few milliseconds
/// between the one's end and the other's.
pub(super) fn waiter_behind_killed_holder() -> Program {
    let mut program = scenario(
        "waiter-behind-killed-holder",
        "Who waits behind a holder that is killed gets the lock when its time to live is over.",
        with(
            &[],
            [
                CheckSpec::LockLiveness {
                    dead_holder_ms: None,
                },
                CheckSpec::Timeouts,
            ],
        ),
    );
    program.layout = Layout::Apart;
    let line = lock("behind");
    program.workers = vec![
        vec![
            acquire(line.clone(), 0, 2000),
            signal("held"),
            wait_for("over"),
        ],
        vec![
            wait_for("held"),
            acquire(line.clone(), 15_000, 2000),
            release(line.clone()),
            signal("over"),
        ],
        vec![
            wait_for("held"),
            in_line(line, 2),
            Step::Fault(Fault::Kill { worker: 0 }),
        ],
    ];
    program
}
