//! A disk that fails, or is full, or a clock that is set back, at any host call of a run: the shipped component says what it knows of
//! the operation, leaves the files whole and serves again.
//!
//! Bugs these guard against: an operation that half happened, or that happened though it was reported not
//! to have; a file that an I/O error damages; a connection that never recovers from one.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the failure")]

use beaver_harness::check::CheckSpec;
use beaver_harness::program::{Plan, Program};
use beaver_harness::protocol::{LockKind, LockName, Op};
use beaver_harness::sim::sweep::{self, Ground, Options, Swept};
use beaver_harness::sim::{Blow, Fault, Policy, Settings, Simulator, cases};
use beaver_harness::step::Step;

/// A call in so many is tried, another for each seed. (Every second one takes ten minutes.)
const EVERY: u64 = 97;

/// Two workers do a bit of everything: dictionaries, lists, queues, collections with their text index,
/// blobs, logs, locks, transactions. Their checks know what a definite error promises.
fn sweep(seed: u64, rollback_journal: bool, blow: Blow) -> Swept {
    let simulator = Simulator::new(&beaver_host::default_component_path()).unwrap();
    let plan = cases::plan("mixed", 2, seed).unwrap();
    let settings = Settings {
        seed,
        steps_max: 6,
        policy: Policy::Random,
        full_durability: Some(seed.is_multiple_of(2)),
        rollback_journal: Some(rollback_journal),
        ..Settings::default()
    };
    let ground = Ground::run(&simulator, &plan, &settings).unwrap();
    let options = Options {
        endings: vec![blow],
        every: EVERY,
        ..Options::default()
    };
    let swept = sweep::sweep(&simulator, &plan, &ground, &options, &mut |_| true).unwrap();
    // What a fault can't befall, like a lock, meets none: that run isn't counted as hit.
    let broken: Vec<_> = (swept.failures.iter())
        .filter(|failure| !failure.complaints.is_empty())
        .collect();
    assert!(broken.is_empty(), "seed {seed}: {broken:#?}");
    swept
}

/// Each blow, with a write-ahead log and with a rollback journal.
fn all_is_well(blow: Blow) {
    for (seed, rollback_journal) in [(1, false), (2, true)] {
        let swept = sweep(seed, rollback_journal, blow);
        assert!(swept.hits > 1, "seed {seed}: {swept:?}");
    }
}

#[test]
fn an_io_error_is_survived() {
    all_is_well(Blow::Io);
}

#[test]
fn a_write_that_is_done_in_part_is_survived() {
    all_is_well(Blow::ShortWrite);
}

#[test]
fn a_disk_that_is_full_for_a_moment_is_survived() {
    all_is_well(Blow::Full(1));
}

#[test]
fn a_disk_that_is_full_for_long_is_survived() {
    all_is_well(Blow::Full(20_000));
}

#[test]
fn a_clock_that_is_set_back_an_hour_is_survived() {
    all_is_well(Blow::Jump(-3_600_000));
}

/// Whoever asked for a lock and met an error lives and does nothing more. Whether its grant is there or
/// not, the next one gets the lock.
#[test]
fn a_grant_whose_commit_may_have_happened_keeps_the_lock_from_nobody() {
    let acquire = |timeout_ms: u64| Op::LockAcquire {
        lock: LockName::new(LockKind::Lock, "gate"),
        timeout_ms: Some(timeout_ms),
        ttl_ms: Some(60_000),
    };
    let idle = |ms: u64| Step::Sleep { ms };
    let plan = Plan::from(Program {
        program: 1,
        name: "granted".into(),
        workers: vec![
            vec![acquire(1000).into(), idle(40_000)],
            vec![idle(300), acquire(20_000).into()],
        ],
        checks: vec![CheckSpec::Integrity],
        ..Program::default()
    });
    let simulator = Simulator::new(&beaver_host::default_component_path()).unwrap();
    for rollback_journal in [false, true] {
        let settings = Settings {
            policy: Policy::Script,
            full_durability: Some(true),
            rollback_journal: Some(rollback_journal),
            ..Settings::default()
        };
        let ground = Ground::run(&simulator, &plan, &settings).unwrap();
        let (mut failed, mut unknown) = (0, 0);
        let calls = 0..ground.calls[0];
        let faults = [Blow::Io, Blow::ShortWrite].map(|blow| (calls.clone(), blow));
        let faults = faults.into_iter().flat_map(|(calls, blow)| {
            calls.map(move |call| Fault {
                worker: 0,
                call,
                blow,
            })
        });
        for fault in faults {
            let settings = Settings {
                faults: Some([fault].into_iter().collect()),
                ..ground.settings.clone()
            };
            let ran = simulator.run(&plan, &settings).unwrap();
            assert!(!ran.failed(), "{fault}: {:?}", ran.complaints());
            // Of a worker whose database could not be opened there is but the other's.
            let [first, second] = &ran.history.operations[..] else {
                continue;
            };
            if let Some(failure) = first.failure() {
                failed += 1;
                unknown += u32::from(!failure.definite);
                let failure = second.failure();
                assert!(failure.is_none(), "{fault}: {failure:?}");
            }
        }
        println!("rollback journal {rollback_journal}: {failed} failed, {unknown} of them unknown");
        assert!(failed > 0 && (unknown > 0 || !rollback_journal));
    }
}
