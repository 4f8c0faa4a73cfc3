//! Who holds a lock, from when, for how long.

use super::{
    acquire, dict, get, in_line, increment, lock, locked, release, scenario, set, signal, sleep,
    wait_for, with,
};
use crate::check::CheckSpec;
use crate::program::{Fault, Program};
use crate::protocol::{ErrorCode, Op};
use crate::step::Step;

/// Probe 1: the place in line is stamped before the row is there, so whoever is slow to insert
/// lands ahead of a holder.
pub(super) fn slow_enqueue() -> Program {
    const ROUNDS: usize = 12;
    let mut program = scenario(
        "slow-enqueue",
        "Two who ask for a lock while somebody else writes to the file get it one after the other.",
        with(
            &[],
            [
                CheckSpec::MutualExclusion,
                CheckSpec::LockLiveness {
                    dead_holder_ms: None,
                },
            ],
        ),
    );
    // Both wait for the writer; the second comes just before it ends, when the first, after many
    // failures, looks seldom.
    let (mut first, mut second, mut writer) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let line = lock(&format!("slow-{round}"));
        let (writing, done) = (
            format!("writing-{round}"),
            [format!("first-{round}"), format!("second-{round}")],
        );
        writer.push(Step::Fault(Fault::BusyWriter { for_ms: 400 }));
        writer.push(signal(writing.clone()));
        writer.extend(done.iter().map(|done| wait_for(done.clone())));
        for (steps, delay, done) in [(&mut first, 0, &done[0]), (&mut second, 360, &done[1])] {
            steps.push(wait_for(writing.clone()));
            steps.push(sleep(delay));
            steps.push(locked(line.clone(), vec![sleep(250)]));
            steps.push(signal(done.clone()));
        }
    }
    program.set_up = vec![set("warm", "up", 1), locked(lock("warm"), Vec::new())];
    program.workers = vec![first, second, writer];
    program
}

/// Probe 3: the time to live runs from the request, so waiting burns it.
pub(super) fn ttl_from_request() -> Program {
    let mut program = scenario(
        "ttl-from-request",
        "A lock's time to live counts from the moment at which it was granted.",
        with(&[], [CheckSpec::LockTtl, CheckSpec::MutualExclusion]),
    );
    let line = lock("ttl");
    program.workers = vec![
        vec![
            acquire(line.clone(), 0, 60_000),
            signal("held"),
            in_line(line.clone(), 2),
            sleep(1500),
            release(line.clone()),
        ],
        // Granted after 1.5 s for 2 s: at 1.2 s more, nobody else may hold it.
        vec![
            wait_for("held"),
            acquire(line.clone(), 20_000, 2000),
            signal("second"),
            sleep(1200),
            release(line.clone()),
        ],
        vec![
            wait_for("second"),
            acquire(line.clone(), 20_000, 60_000),
            release(line),
        ],
    ];
    program
}

/// Probe 4: who waits longer than its own time to live is taken out of the line, and then
/// waits for ever.
pub(super) fn waiter_outlives_ttl() -> Program {
    let mut program = scenario(
        "waiter-outlives-ttl",
        "Who waits longer than its own time to live still gets the lock.",
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
    let line = lock("patience");
    program.workers = vec![
        vec![
            acquire(line.clone(), 0, 60_000),
            signal("held"),
            in_line(line.clone(), 2),
            sleep(2500),
            release(line.clone()),
        ],
        vec![
            wait_for("held"),
            acquire(line.clone(), 12_000, 1000),
            release(line.clone()),
        ],
        // Somebody must come by to clean up.
        vec![
            wait_for("held"),
            in_line(line.clone(), 2),
            sleep(1500),
            acquire(line.clone(), 12_000, 60_000),
            release(line),
        ],
    ];
    program
}

/// Probe 5: a holder past its time to live writes over the next one, and is never told.
pub(super) fn stale_holder() -> Program {
    let mut program = scenario(
        "stale-holder",
        "Who lost a lock can't write over the next holder, and is told so.",
        with(
            &[ErrorCode::LockLost, ErrorCode::NotHeld],
            [CheckSpec::StaleHolders],
        ),
    );
    let line = dict("config");
    program.workers = vec![
        vec![
            acquire(line.clone(), 0, 500),
            set("config", "owner", "first"),
            signal("held"),
            wait_for("second"),
            set("config", "owner", "first, late"),
            release(line.clone()),
            signal("written"),
        ],
        vec![
            wait_for("held"),
            acquire(line.clone(), 20_000, 60_000),
            set("config", "owner", "second"),
            signal("second"),
            wait_for("written"),
            get("config", "owner"),
            release(line),
        ],
    ];
    program
}

/// Probe 11: after a release the next one gets the lock when it looks, a tenth of a second later.
pub(super) fn hand_over() -> Program {
    const ROUNDS: u32 = 25;
    let mut program = scenario(
        "hand-over",
        "Eight who count up one number lose no increment; the report shows how long a hand-over takes.",
        with(
            &[],
            [
                CheckSpec::Counter {
                    name: "counters".into(),
                    key: "n".into(),
                },
                CheckSpec::MutualExclusion,
                CheckSpec::LockLiveness {
                    dead_holder_ms: None,
                },
            ],
        ),
    );
    let one = Step::Repeat {
        count: 1,
        body: vec![locked(dict("counters"), vec![increment("counters", "n")])],
    };
    program.workers = (0..8).map(|_| vec![one.clone(); ROUNDS as usize]).collect();
    program.tear_down = vec![
        Op::DictGet {
            name: "counters".into(),
            key: "n".into(),
        }
        .into(),
    ];
    program
}
