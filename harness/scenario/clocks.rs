//! Wall clocks that are coarse or wrong.

use super::{
    acquire, dict, get, increment, lock, locked, release, scenario, set, signal, sleep, wait_for,
    with,
};
use crate::check::CheckSpec;
use crate::program::{Layout, Program};
use crate::protocol::ErrorCode;
use crate::step::Step;

/// Probe 2: two requests with the same stamp.
pub(super) fn same_instant() -> Program {
    let mut program = scenario(
        "same-instant",
        "Requests that a coarse clock gives the same stamp are served one after the other.",
        with(
            &[],
            [
                CheckSpec::Counter {
                    name: "counters".into(),
                    key: "n".into(),
                },
                CheckSpec::MutualExclusion,
            ],
        ),
    );
    program.clock_resolution_ms = 1000;
    let one = locked(dict("counters"), vec![increment("counters", "n")]);
    program.workers = vec![vec![one; 10]; 4];
    program.tear_down = vec![get("counters", "n")];
    program
}

/// Probe 10: a clock ten seconds behind puts its requests ahead of the holder.
pub(super) fn clock_behind() -> Program {
    let mut program = scenario(
        "clock-behind",
        "Who asks by a clock ten seconds behind waits for the holder like everybody else.",
        with(&[], [CheckSpec::MutualExclusion, CheckSpec::StaleHolders]),
    );
    program.layout = Layout::Apart;
    program.clock_offsets_ms = vec![0, -10_000];
    let line = dict("config");
    program.workers = vec![
        vec![
            acquire(line.clone(), 0, 60_000),
            signal("held"),
            sleep(700),
            set("config", "owner", "first"),
            release(line.clone()),
        ],
        vec![
            wait_for("held"),
            acquire(line.clone(), 10_000, 60_000),
            set("config", "owner", "second"),
            release(line),
        ],
    ];
    program
}

/// Probe 10: a clock 61 seconds ahead takes the holder for expired. Nobody can tell it from a
/// clock that is right, so what is promised is that the old holder can't write any more.
pub(super) fn clock_ahead() -> Program {
    let mut program = scenario(
        "clock-ahead",
        "Where a clock a minute ahead takes the lock early, the old holder is told and can't write over the new one.",
        with(
            &[ErrorCode::LockLost, ErrorCode::NotHeld],
            [CheckSpec::StaleHolders],
        ),
    );
    program.layout = Layout::Apart;
    program.clock_offsets_ms = vec![0, 61_000];
    let line = dict("config");
    program.workers = vec![
        vec![
            acquire(line.clone(), 0, 60_000),
            signal("held"),
            wait_for("second"),
            set("config", "owner", "first"),
            release(line.clone()),
            signal("written"),
        ],
        vec![
            wait_for("held"),
            acquire(line.clone(), 10_000, 60_000),
            set("config", "owner", "second"),
            signal("second"),
            wait_for("written"),
            release(line),
        ],
    ];
    program
}

/// A holder whose clock is ten seconds behind gives its lock back, and whoever is next wants it for
/// five: by the clocks of all others that is over before it begins, if the holder's clock decides.
pub(super) fn clock_behind_releases() -> Program {
    let mut program = scenario(
        "clock-behind-releases",
        "Who is next in line gets the lock from a holder whose clock is ten seconds behind.",
        with(&[], [CheckSpec::MutualExclusion]),
    );
    program.layout = Layout::Apart;
    program.clock_offsets_ms = vec![-10_000, 0, 0];
    let mut workers = vec![Vec::new(); 3];
    // Others may look before the next one does, or after.
    for round in 0..10 {
        let line = lock(&format!("l{round}"));
        let held = format!("held{round}");
        let stands = |count| Step::AwaitWaiting {
            lock: line.clone(),
            count,
        };
        let short = [acquire(line.clone(), 30_000, 5_000), release(line.clone())];
        workers[0].extend([
            acquire(line.clone(), 0, 60_000),
            signal(held.clone()),
            stands(3),
            release(line.clone()),
        ]);
        workers[1].push(wait_for(held.clone()));
        workers[1].extend(short.clone());
        workers[2].extend([wait_for(held), stands(2)]);
        workers[2].extend(short);
    }
    program.workers = workers;
    program
}
