//! The harness tried on the reference store: what is right passes every workload, and each
//! planted defect is found, by the check that is there for it.

use beaver_harness::check::{CheckResult, CheckSpec, Verdict, judge};
use beaver_harness::driver::reference::{Defect, Reference};
use beaver_harness::program::Plan;
use beaver_harness::run::{FaultKind, Progress, Settings, run};
use beaver_harness::step::Step;
use beaver_harness::workload::{self, Workload};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How many runs go on at once: most of them sleep most of the time.
const AT_ONCE: usize = 8;

/// See [`hurried`]: longer than the bounds of the checks.
const HURRIED_MS: u64 = 2000;

/// How many seeds are tried: some defects take two who want the same thing at once.
const SEEDS: u64 = 5;

/// One defect, and how it is to be found.
struct Case {
    defect: Defect,
    /// At how many opportunities it strikes once.
    every: u64,
    workload: &'static str,
    /// Which check must find it.
    check: &'static str,
    steps: u64,
}

const fn case(
    defect: Defect,
    every: u64,
    workload: &'static str,
    check: &'static str,
    steps: u64,
) -> Case {
    Case {
        defect,
        every,
        workload,
        check,
        steps,
    }
}

const CASES: &[Case] = &[
    case(Defect::LostUpdate, 20, "dict-increment", "counter", 60),
    case(Defect::LostUpdate, 20, "dict-registers", "linearizable", 60),
    case(Defect::StaleRead, 20, "dict-registers", "linearizable", 60),
    case(
        Defect::LostUpdate,
        20,
        "dict-operations",
        "linearizable",
        60,
    ),
    case(Defect::StaleRead, 20, "dict-increment", "counter", 60),
    case(
        Defect::DeniedWrite,
        20,
        "dict-registers",
        "linearizable",
        60,
    ),
    case(Defect::TornBlob, 5, "blob-replace", "linearizable", 40),
    case(
        Defect::QueueDuplicates,
        20,
        "queue-delivery",
        "queue-delivery",
        60,
    ),
    case(
        Defect::QueueLoses,
        20,
        "queue-delivery",
        "queue-delivery",
        60,
    ),
    case(
        Defect::QueueUnordered,
        5,
        "queue-delivery",
        "queue-order",
        100,
    ),
    case(Defect::TornBatch, 2, "queue-batches", "queue-order", 100),
    case(Defect::ShortBatch, 5, "queue-batches", "queue-batches", 60),
    case(
        Defect::PartialBatch,
        1,
        "queue-batches",
        "queue-delivery",
        100,
    ),
    case(Defect::ListMisplaces, 10, "list-edits", "list-edits", 60),
    case(
        Defect::HalfIndexed,
        5,
        "collection-states",
        "collection-states",
        60,
    ),
    case(
        Defect::HalfDropped,
        2,
        "collection-states",
        "collection-states",
        60,
    ),
    case(
        Defect::HalfIndexed,
        5,
        "collection-states-locked",
        "collection-states",
        60,
    ),
    case(
        Defect::LogOutOfOrder,
        10,
        "log-delivery",
        "log-delivery",
        60,
    ),
    case(Defect::LogLoses, 20, "log-delivery", "log-delivery", 60),
    case(Defect::LogLoses, 20, "log-appends", "log-delivery", 60),
    case(
        Defect::ChannelDrops,
        3,
        "channel-delivery",
        "channel-delivery",
        60,
    ),
    case(
        Defect::ChannelDuplicates,
        20,
        "channel-delivery",
        "channel-delivery",
        60,
    ),
    case(
        Defect::DirtyRead,
        1,
        "dict-transactions",
        "linearizable",
        100,
    ),
    case(Defect::HalfRollback, 1, "bank", "bank", 100),
    case(
        Defect::HalfRollback,
        1,
        "dict-transactions",
        "linearizable",
        60,
    ),
    case(Defect::SnapshotOnly, 1, "bank", "bank", 200),
    case(Defect::SnapshotOnly, 1, "write-skew", "write-skew", 200),
    case(
        Defect::WrongCommitNumber,
        5,
        "certified",
        "commit-order",
        100,
    ),
    case(
        Defect::SharedLock,
        2,
        "lock-exclusion",
        "mutual-exclusion",
        60,
    ),
    case(Defect::SharedLock, 2, "bank-locked", "mutual-exclusion", 60),
    case(Defect::LifoGrants, 2, "lock-fifo", "fifo-grants", 6),
    case(Defect::CountsTooMany, 1, "lock-fifo", "course", 6),
    case(Defect::CountsNobody, 1, "lock-fifo", "course", 6),
    case(Defect::TtlFromRequest, 1, "lock-ttl", "lock-ttl", 5),
    case(Defect::TtlIgnored, 1, "lock-ttl", "lock-ttl", 8),
    case(Defect::RenewIgnored, 1, "lock-renewal", "lock-ttl", 5),
    case(
        Defect::SilentStaleWrite,
        1,
        "lock-fencing",
        "stale-holders",
        10,
    ),
    case(
        Defect::TokenRepeats,
        10,
        "lock-exclusion",
        "fencing-tokens",
        60,
    ),
    case(
        Defect::AdvisoryLock,
        1,
        "queue-thief",
        "mandatory-locks",
        60,
    ),
    case(
        Defect::AdvisoryLock,
        1,
        "lock-mandatory",
        "mandatory-locks",
        60,
    ),
    case(
        Defect::LostWakeUp,
        20,
        "lock-exclusion",
        "lock-liveness",
        30,
    ),
    case(Defect::LeftBehind, 1, "lock-exclusion", "lock-liveness", 4),
    case(
        Defect::DeadHolder,
        1,
        "lock-exclusion",
        "lock-liveness",
        u64::MAX,
    ),
    case(Defect::EarlyTimeout, 5, "queue-timeouts", "timeouts", 20),
    case(Defect::EarlyTimeout, 5, "lock-timeouts", "timeouts", 20),
    case(Defect::LateTimeout, 20, "queue-timeouts", "timeouts", 20),
    case(Defect::Hangs, 100, "dict-registers", "completion", 30),
    case(Defect::OddError, 50, "dict-registers", "errors", 60),
];

/// Workloads whose steps take long.
fn steps(workload: &Workload) -> u64 {
    match workload.name {
        "lock-ttl" | "lock-renewal" | "lock-fencing" => 4,
        "lock-fifo" | "lock-timeouts" | "queue-timeouts" => 30,
        "mixed" | "mixed-locked" => 400,
        _ => 150,
    }
}

fn plan(workload: &Workload, workers: u32, seed: u64) -> Plan {
    workload.plan(&workload::Settings { workers, seed })
}

fn judged(driver: &Reference, plan: &Plan, settings: &Settings) -> Vec<CheckResult> {
    let name = &plan.frame.name;
    let ran = run(driver, plan, settings, &Progress::default(), None)
        .unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(ran.troubles, Vec::<String>::new(), "{name}");
    judge(&ran.history)
}

/// The same, but waiting in vain for a lock doesn't take as long.
fn hurried(mut plan: Plan) -> Plan {
    fn hurry(step: &mut Step) {
        if let Step::Locked {
            timeout_ms, body, ..
        } = step
        {
            *timeout_ms = Some(timeout_ms.unwrap_or(u64::MAX).min(HURRIED_MS));
            body.iter_mut().for_each(hurry);
        }
        if let Step::Repeat { body, .. } = step {
            body.iter_mut().for_each(hurry);
        }
    }
    let source = plan.source;
    plan.source = Box::new(move |worker, number| {
        let mut step = source(worker, number)?;
        hurry(&mut step);
        Some(step)
    });
    plan
}

/// Does all of it, several at once; what they say.
fn all<T: Sync>(of: &[T], each: impl Fn(&T) -> Option<String> + Sync) -> String {
    let (next, said) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(one) = of.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let line = each(one);
                    said.lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .extend(line);
                }
            });
        }
    });
    let said = said.into_inner().unwrap_or_else(PoisonError::into_inner);
    said.join("\n")
}

fn told(result: &CheckResult) -> String {
    let why = result
        .violations
        .first()
        .map(|violation| violation.message.clone());
    let why = why.or_else(|| result.unknown.clone()).unwrap_or_default();
    format!("{} {:?}: {why}", result.spec.name(), result.verdict)
}

#[test]
fn the_reference_store_passes_every_workload() {
    let mut runs = Vec::new();
    for workload in workload::all() {
        for (workers, seed) in [(1, 1), (2, 2), (6, 3), (16, 4)] {
            runs.push((workload, workers, seed, false));
        }
        if !workload.unfit.contains(&FaultKind::Drop) {
            runs.push((workload, 6, 5, true));
        }
    }
    let wrong = all(&runs, |(workload, workers, seed, faults)| {
        let settings = Settings {
            seed: *seed,
            steps_max: Some(steps(workload)),
            faults: faults
                .then_some([FaultKind::Drop, FaultKind::Trap])
                .map_or(Vec::new(), Vec::from),
            fault_interval: Duration::from_millis(60),
            ..Settings::default()
        };
        let plan = plan(workload, *workers, *seed);
        let results = judged(&Reference::new(), &plan, &settings);
        let wrong: Vec<_> = results
            .iter()
            .filter(|result| result.verdict != Verdict::Pass)
            .map(told)
            .collect();
        (!wrong.is_empty()).then(|| {
            let name = workload.name;
            format!(
                "{name}, {workers} workers, seed {seed}, faults {faults}: {}",
                wrong.join("; ")
            )
        })
    });
    assert!(wrong.is_empty(), "{wrong}");
}

/// What all checks say of the store with the defect.
fn tried(case: &Case, seed: u64) -> Vec<CheckResult> {
    let Some(workload) = workload::named(case.workload) else {
        panic!("there is no workload {}", case.workload);
    };
    let mut settings = Settings {
        seed,
        steps_max: Some(case.steps),
        // For those that make everybody wait in vain.
        duration: Some(Duration::from_secs(60)),
        patience: Duration::from_secs(2),
        patience_forever: Duration::from_secs(5),
        ..Settings::default()
    };
    // What doesn't come doesn't come sooner by waiting longer.
    settings.bounds.handover_ms = 500;
    if case.defect == Defect::DeadHolder {
        settings.faults = vec![FaultKind::Drop];
        // Often enough to hit a holder, and not so often that nobody lives long enough to
        // wait in vain.
        settings.fault_interval = Duration::from_millis(250);
        settings.duration = Some(Duration::from_secs(8));
    }
    let driver = Reference::broken(case.defect, case.every);
    let mut plan = hurried(plan(workload, 6, seed));
    for check in &mut plan.frame.checks {
        if let CheckSpec::LockLiveness { dead_holder_ms } = check {
            // The reference store knows at once.
            *dead_holder_ms = Some(500);
        }
    }
    judged(&driver, &plan, &settings)
}

#[test]
fn each_defect_is_found() {
    for defect in Defect::ALL {
        assert!(
            CASES.iter().any(|case| case.defect == *defect),
            "{defect:?}"
        );
    }
    let missed = all(CASES, |case| {
        let mut results = Vec::new();
        for seed in 1..=SEEDS {
            results = tried(case, seed);
            let mut of_it = results.iter().filter(|it| it.spec.name() == case.check);
            if of_it.any(|result| result.verdict == Verdict::Fail) {
                return None;
            }
        }
        let all: Vec<_> = results.iter().map(told).collect();
        let (defect, workload) = (case.defect, case.workload);
        Some(format!("{defect:?} in {workload}: {}", all.join("; ")))
    });
    assert!(missed.is_empty(), "{missed}");
}
