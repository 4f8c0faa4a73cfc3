//! Sweeps over crash points, and explorations of schedules, on the shipped component.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the failure")]

use beaver_harness::check::CheckSpec;
use beaver_harness::program::{Plan, Program};
use beaver_harness::protocol::{ErrorCode, LockKind, LockName, Op};
use beaver_harness::sim::exhaustive::{self, Explored, Limits};
use beaver_harness::sim::sweep::{self, Ground, Options, Swept};
use beaver_harness::sim::{Blow, Defects, Policy, Settings, Simulator, cases};
use beaver_harness::step::Step;
use serde_json::json;

fn simulator() -> Simulator {
    Simulator::new(&beaver_host::default_component_path()).unwrap()
}

fn settings(full_durability: bool) -> Settings {
    Settings {
        policy: Policy::Script,
        full_durability: Some(full_durability),
        rollback_journal: Some(false),
        ..Settings::default()
    }
}

fn plan(workers: Vec<Vec<Step>>, checks: Vec<CheckSpec>) -> Plan {
    Plan::from(Program {
        program: 1,
        name: "tiny".into(),
        workers,
        checks,
        ..Program::default()
    })
}

/// Somebody writes one thing.
fn tiny() -> Plan {
    let set = Op::DictSet {
        name: "d".into(),
        key: "k".into(),
        value: 1.into(),
    };
    plan(vec![vec![set.into()]], vec![CheckSpec::Integrity])
}

/// A power loss at each call that takes all that wasn't synced.
fn lose_power(simulator: &Simulator, settings: &Settings) -> (Ground, Swept) {
    let plan = tiny();
    let ground = Ground::run(simulator, &plan, settings).unwrap();
    let options = Options {
        endings: vec![Blow::PowerLoss(0)],
        ..Options::default()
    };
    let swept = sweep::sweep(simulator, &plan, &ground, &options, &mut |_| true).unwrap();
    (ground, swept)
}

#[test]
fn each_call_is_a_crash_point_and_a_sync_that_does_nothing_is_found_as_soon_as_it_matters() {
    let simulator = simulator();
    let (ground, sound) = lose_power(&simulator, &settings(true));
    let calls: u64 = ground.calls.iter().sum();
    assert!(ground.calls.iter().all(|calls| *calls > 10), "{ground:?}");
    assert_eq!(
        (sound.crash_points, sound.runs, sound.hits),
        (calls, calls, calls)
    );
    assert_eq!((sound.failures, sound.undecided), (vec![], vec![]));

    let defects = Defects {
        sync_does_nothing: true,
        ..Defects::default()
    };
    let settings = Settings {
        defects,
        ..settings(true)
    };
    let (ground, broken) = lose_power(&simulator, &settings);
    let failed: Vec<_> = (broken.failures.iter())
        .map(|failure| (failure.fault.worker, failure.fault.call))
        .collect();
    let points: Vec<_> = ground.crash_points(1).collect();
    let first = points.iter().position(|point| *point == failed[0]).unwrap();
    // Once the commit is acknowledged, nobody ever sees to it again.
    assert_eq!(failed, points[first..]);
    let (before, at) = (points[first - 1], &broken.failures[0]);
    assert_eq!(before.0, 0, "{at:?}");
    assert!(at.complaints[0].contains("had to survive"), "{at:?}");
    assert!(at.troubles.is_empty(), "{at:?}");
    // It has to survive as soon as all can see it, so once its frames are synced and the write lock is
    // given back.
    let trace = Settings {
        trace: true,
        ..settings
    };
    let ran = simulator.run(&tiny(), &trace).unwrap();
    let call = |(worker, number): (u32, u64)| {
        let wanted = format!("  {worker}:{number}  ");
        let line = ran.trace.iter().find(|line| line.contains(&wanted));
        line.unwrap()
    };
    assert!(
        call(before).contains("ShmUnlock { file: 0, first: 0,"),
        "{at:?}"
    );
    assert!(call((0, before.1 - 1)).contains("Sync {"), "{at:?}");
    assert_eq!(call((0, at.fault.call)).trim(), at.call);
}

/// Two workers who each take a queue's only item and put it back, until somebody finds the queue
/// empty.
fn borrow(simulator: &Simulator, switches_max: u32) -> (Plan, Explored) {
    let put = || {
        Step::from(Op::QueuePut {
            name: "q".into(),
            value: 1.into(),
            priority: 1.0,
        })
    };
    let take = Op::QueueGet {
        name: "q".into(),
        timeout_ms: Some(0),
    };
    let one = || vec![take.clone().into(), put()];
    let plan = Plan::from(Program {
        program: 1,
        name: "borrow".into(),
        set_up: vec![put()],
        workers: vec![one(), one()],
        checks: vec![CheckSpec::Errors { allow: Vec::new() }],
        ..Program::default()
    });
    let limits = Limits {
        switches_max,
        runs_max: 1000,
        part: (1, 1),
    };
    let explored = exhaustive::explore(simulator, &plan, &settings(false), &limits, &mut |it| {
        it.failures.is_empty()
    });
    (plan, explored.unwrap())
}

#[test]
fn what_is_no_atomic_step_is_found_with_one_switch_and_not_with_none() {
    let simulator = simulator();
    let (_, none) = borrow(&simulator, 0);
    assert!(none.is_complete() && none.failures.is_empty(), "{none:?}");
    assert_eq!((none.runs(), none.undecided), (1, 0));
    let (plan, one) = borrow(&simulator, 1);
    let [found] = &one.failures[..] else {
        panic!("{one:?}")
    };
    assert_eq!(found.script.switches.len(), 1);
    assert!(found.complaints[0].contains("timeout"), "{found:?}");
    assert!(!one.is_complete(), "it ended at the first: {one:?}");
    let again = Settings {
        script: found.script.clone(),
        faults: Some([].into_iter().collect()),
        ..settings(false)
    };
    let ran = simulator.run(&plan, &again).unwrap();
    assert_eq!(ran.complaints(), found.complaints);
}

#[test]
fn a_sweep_comes_to_the_same_whether_it_is_parted_or_not() {
    let (one, other) = (simulator(), simulator());
    for settings in sweep::schedules(&settings(true), 1) {
        let plan = cases::named("timeouts").unwrap();
        let ground = Ground::run(&one, &plan, &settings).unwrap();
        let part = |simulator: &Simulator, part| {
            let options = Options {
                every: 60,
                part,
                ..Options::default()
            };
            let ground = Ground::run(simulator, &plan, &settings).unwrap();
            sweep::sweep(simulator, &plan, &ground, &options, &mut |_| true).unwrap()
        };
        let whole = part(&one, (1, 1));
        assert_eq!(whole.crash_points as usize, ground.crash_points(60).count());
        assert_eq!(whole.failures, vec![]);
        let mut sum = part(&other, (2, 2));
        sum.merge(part(&one, (1, 2)));
        assert_eq!(sum, whole);
    }
}

#[test]
fn no_io_error_in_a_write_damages_a_text_index() {
    let index = |key: u32, version: u32| {
        Step::from(Op::CollectionIndex {
            name: "documents".into(),
            key: key.to_string(),
            body: json!({ "text": format!("word{version}") }),
        })
    };
    // Of its own documents: what it would read of others' would be in its cache. Whoever met
    // the error goes on with the same connection, and what it writes then counts.
    let steps = |worker: u32| (0..3).map(|version| index(worker, version)).collect();
    let plan = plan(vec![steps(0), steps(1)], vec![CheckSpec::Integrity]);
    let simulator = simulator();
    let ground = Ground::run(&simulator, &plan, &settings(false)).unwrap();
    let options = Options {
        endings: vec![Blow::Io],
        ..Options::default()
    };
    let swept = sweep::sweep(&simulator, &plan, &ground, &options, &mut |_| true).unwrap();
    assert!(swept.hits > 50, "{swept:?}");
    // Locks and clocks have no I/O errors: there it doesn't come to pass.
    let broken: Vec<_> = (swept.failures.iter())
        .filter(|failure| !failure.complaints.is_empty())
        .collect();
    assert!(broken.is_empty(), "{broken:?}");
}

/// Whoever gives a lock back may take long over it, and then the next one's time ends while it can't
/// delete its place. Its instance lives and does nothing more; nobody is to wait for it.
#[test]
fn no_place_that_was_given_up_keeps_a_lock() {
    let gate = |timeout_ms: u64, body: Vec<Step>| Step::Locked {
        lock: LockName::new(LockKind::Lock, "gate"),
        timeout_ms: Some(timeout_ms),
        ttl_ms: Some(60_000),
        body,
    };
    let sleep = |ms: u64| Step::Sleep { ms };
    let workers = vec![
        vec![gate(1000, vec![sleep(100)]), sleep(30_000)],
        vec![sleep(20), gate(130, Vec::new()), sleep(30_000)],
        vec![sleep(40), gate(20_000, Vec::new())],
    ];
    let checks = vec![
        CheckSpec::LockLiveness {
            dead_holder_ms: None,
        },
        CheckSpec::Errors {
            allow: vec![ErrorCode::Timeout],
        },
        CheckSpec::MutualExclusion,
        CheckSpec::Integrity,
    ];
    let plan = plan(workers, checks);
    let simulator = simulator();
    for rollback_journal in [false, true] {
        let settings = Settings {
            rollback_journal: Some(rollback_journal),
            ..settings(false)
        };
        let ground = Ground::run(&simulator, &plan, &settings).unwrap();
        let options = Options {
            endings: vec![Blow::Slow(2000)],
            ..Options::default()
        };
        let swept = sweep::sweep(&simulator, &plan, &ground, &options, &mut |_| true).unwrap();
        assert!(swept.hits > 100, "{swept:?}");
        assert_eq!(swept.failures, vec![], "{rollback_journal}");
    }
}
