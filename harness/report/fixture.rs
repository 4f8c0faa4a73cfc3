//! Made-up runs of all sizes, for the tests of reports.

use super::{Outcome, Report, Run, RunReport, operations_per_program};
use crate::check::script::Script;
use crate::check::{CheckResult, CheckSpec, Findings};
use crate::history::{
    FaultRecord, History, Observation, Operation, Outcome as End, Seen, Session, SessionEnd, Task,
    TaskOutcome,
};
use crate::program::Fault;
use crate::protocol::{Capability, Description, ErrorCode, Failure, LockKind, LockName, Op};
use crate::step::Step;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

const MS: u64 = 1_000_000;

fn description() -> Description {
    let but = [Capability::Clock, Capability::Trap, Capability::LogFollow];
    let all = Capability::ALL.iter().copied();
    Description {
        protocol: 1,
        name: "beaver-db (Python)".into(),
        version: "1.3.0, Python 3.13.0, SQLite 3.40.1".into(),
        capabilities: all.filter(|known| !but.contains(known)).collect(),
    }
}

/// What a program came to.
pub(crate) fn run_report(program: &str, outcome: Outcome) -> RunReport {
    let promise = match &outcome {
        Outcome::Judged(judged) => judged.header.promise.clone(),
        _ => "Followers of a log get each value once and in the same order.".into(),
    };
    RunReport {
        program: program.into(),
        promise,
        seed: 7,
        replay: format!(
            "beaver-harness run --driver python:1.3.0 --workload {program} --workers 2 --seed 7"
        ),
        history: Some(format!("histories/{program}.jsonl").into()),
        notes: String::new(),
        outcome,
    }
}

/// A suite that has one of each: failed, unknown, passed, not offered, harness error.
pub(crate) fn suite(runs: Vec<(&str, Run)>) -> Report {
    let room = operations_per_program(runs.len());
    let judged =
        |(name, run): (&str, Run)| run_report(name, Outcome::Judged(Box::new(run.condense(room))));
    let mut programs: Vec<RunReport> = runs.into_iter().map(judged).collect();
    programs.push(run_report(
        "log-delivery",
        Outcome::NotOffered {
            missing: vec!["log-follow", "clock"],
        },
    ));
    programs.push(run_report(
        "blob-replace",
        Outcome::HarnessError {
            message:
                "worker 3: the process did not answer `open` within 30 s; its last words were: \
                      sqlite3.OperationalError: unable to open database file"
                    .into(),
        },
    ));
    Report {
        command:
            "beaver-harness run --driver python:1.3.0 --workload all --seed 7 --html report.html"
                .into(),
        driver: "python:1.3.0".into(),
        description: Some(description()),
        seed: 7,
        started_unix_s: 1_795_538_744.0,
        elapsed: Duration::from_millis(12_345),
        environment: vec![("Machine".into(), "Linux 6.1, 2 processors".into())],
        programs,
    }
}

fn get() -> Op {
    Op::DictGet {
        name: "d".into(),
        key: "n".into(),
    }
}

fn set(value: i64) -> Op {
    Op::DictSet {
        name: "d".into(),
        key: "n".into(),
        value: value.into(),
    }
}

fn increment() -> Step {
    Step::Increment {
        name: "d".into(),
        key: "n".into(),
    }
}

fn lock() -> LockName {
    LockName::new(LockKind::Dict, "d")
}

fn acquire(timeout_ms: u64) -> Op {
    Op::LockAcquire {
        lock: lock(),
        timeout_ms: Some(timeout_ms),
        ttl_ms: None,
    }
}

fn release() -> Op {
    Op::LockRelease { lock: lock() }
}

fn counter() -> CheckSpec {
    CheckSpec::Counter {
        name: "d".into(),
        key: "n".into(),
    }
}

fn passed(spec: CheckSpec, examined: u64) -> CheckResult {
    let mut findings = Findings::new(spec);
    findings.examined(examined);
    findings.finish()
}

/// Two workers that both hold a lock, so that an increment is lost; a third that is killed.
pub(crate) fn lost_update() -> Run {
    let mut script = Script::new(counter());
    let [a, b, c] = [0, 1, 2].map(|worker| script.session(worker, u64::from(worker)));
    let both = |script: &mut Script, session: u64, worker: u32, times: [u64; 8], value: i64| {
        let step = Step::locked(lock(), Some(5000), vec![increment()]);
        let task = script.task(worker, times[0], times[7], step, TaskOutcome::Done);
        (session, task, times, value)
    };
    let first = both(&mut script, a, 0, [10, 14, 15, 19, 26, 31, 32, 36], 1);
    let second = both(&mut script, b, 1, [12, 38, 39, 42, 47, 51, 52, 55], 2);
    // The third was granted while the second held it.
    let third = both(&mut script, a, 0, [40, 43, 44, 46, 53, 60, 61, 64], 2);
    let mut todo = Vec::new();
    for (session, task, times, value) in [first, second, third] {
        todo.push((
            times[0],
            times[1],
            session,
            task,
            acquire(5000),
            json!({"token": null}),
        ));
        let found = if value == 1 {
            Value::Null
        } else {
            json!(value - 1)
        };
        todo.push((times[2], times[3], session, task, get(), found));
        todo.push((times[4], times[5], session, task, set(value), Value::Null));
        todo.push((times[6], times[7], session, task, release(), Value::Null));
    }
    todo.sort_by_key(|one| one.0);
    let mut ids = Vec::new();
    for (from, to, session, task, op, value) in todo {
        let id = script.ok(session, from, to, op, value);
        ids.push((task, script.within(task, id)));
    }
    let step = Step::locked(lock(), Some(5000), vec![increment()]);
    let task = script.task(2, 66, 90, step, TaskOutcome::Unknown);
    let one = script.ok(c, 66, 69, acquire(5000), json!({"token": null}));
    script.within(task, one);
    let one = script.ok(c, 70, 74, get(), 2);
    script.within(task, one);
    let one = script.info(c, 76, Some(85), set(3));
    script.within(task, one);
    let waits = script.fail(a, 78, 128, acquire(50), ErrorCode::Timeout);
    script.over(c, 85, SessionEnd::Killed);
    script.fault(85, Fault::Kill { worker: 2 }, &[c], None);
    script.fault(
        95,
        Fault::Stop {
            worker: 1,
            for_ms: 20,
        },
        &[b],
        Some(115),
    );
    script.ok(a, 130, 133, get(), 2);
    script.over(a, 140, SessionEnd::Closed);
    script.over(b, 141, SessionEnd::Closed);
    script.seen(142, Seen::IntegrityCheck("ok".into()));
    let of = |wanted: u64, nth: usize| {
        let mut own = ids.iter().filter(|(task, _)| *task == wanted);
        own.nth(nth).map(|(_, id)| *id).unwrap()
    };
    let mut lost = Findings::new(counter());
    lost.examined(4);
    lost.violation(
        "an increment of d[\"n\"] was lost: worker 1 and worker 0 both read 1 and both wrote 2, \
         so two increments that were answered with success count as one",
        [of(2, 1), of(3, 1), of(2, 2), of(3, 2)],
    );
    let mut two = Findings::new(CheckSpec::MutualExclusion);
    two.examined(4);
    two.violation(
        "dict:d was held by worker 1 and worker 0 at once: worker 0 was granted it no later than \
         at 43 ms, and worker 1 didn't begin to give it back before 52 ms",
        [of(2, 0), of(3, 0), of(2, 3)],
    );
    let mut unknown = Findings::new(CheckSpec::Linearizable);
    unknown.examined(1);
    unknown.unknown("key n of d: the search was given up after 1,000,000 states");
    let mut history = script.history;
    history.header.promise =
        "An increment under a dictionary's lock is never lost, whoever else increments it.".into();
    let _ = waits;
    finish(
        history,
        vec![
            lost.finish(),
            two.finish(),
            unknown.finish(),
            passed(CheckSpec::Completion, 16),
            passed(CheckSpec::Timeouts, 0),
        ],
        Duration::from_millis(142),
    )
}

fn finish(mut history: History, results: Vec<CheckResult>, elapsed: Duration) -> Run {
    history.header.driver = description();
    history.header.seed = 7;
    history.header.checks = results.iter().map(|result| result.spec.clone()).collect();
    Run {
        history,
        results,
        elapsed,
    }
}

/// A client in the making of [`many`].
struct Life {
    session: u64,
    worker: u32,
}

/// `workers` that increment under a lock, put and take; with faults, errors, and one lock
/// that is held twice.
pub(crate) fn many(workers: u32, operations: usize, seed: u64) -> Run {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut script = Script::new(counter());
    let mut lives: Vec<Life> = (0..workers)
        .map(|worker| Life {
            session: script.session(worker, 0),
            worker,
        })
        .collect();
    let mut history = script.history;
    let mut ready: BinaryHeap<Reverse<(u64, usize)>> = (0..lives.len())
        .map(|at| Reverse((MS + at as u64 * 10_000, at)))
        .collect();
    let (mut free_ns, mut value, mut item) = (0, 0, 0);
    let mut twice: Vec<u64> = Vec::new();
    while let Some(Reverse((now, at))) = ready.pop() {
        if history.operations.len() >= operations {
            break;
        }
        let life = &mut lives[at];
        let task = history.tasks.len() as u64 + 1;
        let mut time = now;
        let mut failed = None;
        let add = |history: &mut History, from: u64, to: u64, op: Op, outcome: End| {
            history.operations.push(Operation {
                id: 0,
                session: life.session,
                worker: life.worker,
                task: Some(task),
                op,
                invoked_ns: from,
                completed_ns: Some(to),
                outcome,
            });
        };
        let ok = |value: Value| End::Ok {
            value,
            commit: None,
        };
        let kind = random.random_range(0..10);
        let step;
        if kind < 5 {
            step = Step::locked(lock(), Some(200), vec![increment()]);
            let begin_twice = twice.is_empty() && history.operations.len() > operations * 3 / 5;
            let mut granted = (time + random.random_range(20_000..90_000)).max(free_ns + 30_000);
            if begin_twice {
                granted = time + 40_000;
                twice.push(task);
            }
            if granted - time > 200 * MS {
                time += 200 * MS + random.random_range(10_000..900_000);
                let failure = Failure::new(ErrorCode::Timeout, "LockTimeout: 0.2 s");
                add(&mut history, now, time, acquire(200), End::Fail(failure));
                failed = Some("lock-acquire: timeout".to_owned());
            } else {
                add(
                    &mut history,
                    time,
                    granted,
                    acquire(200),
                    ok(json!({"token": value})),
                );
                time = granted + 2_000;
                let to = time + random.random_range(15_000..70_000);
                add(&mut history, time, to, get(), ok(json!(value)));
                time = to + 3_000;
                value += 1;
                let to = time + random.random_range(60_000..400_000);
                add(&mut history, time, to, set(value), ok(Value::Null));
                time = to + 2_000;
                let to = time + random.random_range(40_000..120_000);
                add(&mut history, time, to, release(), ok(Value::Null));
                free_ns = free_ns.max(to);
                time = to;
            }
        } else if kind < 7 {
            let to = time + random.random_range(60_000..300_000);
            item += 1;
            let op = Op::QueuePut {
                name: "jobs".into(),
                value: json!(format!("item {item} of worker {}", life.worker)),
                priority: f64::from(random.random_range(0..4)),
            };
            step = op.clone().into();
            if random.random_ratio(1, 200) {
                let failure = Failure::new(ErrorCode::Failed, "OperationalError: disk I/O error");
                add(&mut history, time, to, op, End::Info(failure));
                failed = Some("queue-put: failed".to_owned());
            } else {
                add(&mut history, time, to, op, ok(Value::Null));
            }
            time = to;
        } else if kind < 9 {
            let to = time + random.random_range(60_000..2_000_000);
            let op = Op::QueueGet {
                name: "jobs".into(),
                timeout_ms: Some(50),
            };
            step = op.clone().into();
            let found = json!({"value": format!("item {item}"), "priority": 1.0});
            add(&mut history, time, to, op, ok(found));
            time = to;
        } else {
            let to = time + random.random_range(15_000..60_000);
            step = get().into();
            add(&mut history, time, to, get(), ok(json!(value)));
            time = to;
        }
        history.tasks.push(Task {
            task,
            worker: life.worker,
            step,
            begun_ns: now,
            ended_ns: Some(time),
            outcome: failed.map_or(TaskOutcome::Done, TaskOutcome::Failed),
        });
        if random.random_ratio(1, 400) {
            let session = life.session;
            strike(&mut history, life, &mut random, &mut time);
            if life.session != session {
                // Whoever comes next waits for the dead holder's place in the line.
                free_ns = free_ns.max(time + 180 * MS);
            }
        }
        let pause = if random.random_ratio(1, 50) {
            5 * MS
        } else {
            200_000
        };
        ready.push(Reverse((time + random.random_range(10_000..pause), at)));
    }
    renumber(&mut history, operations);
    let results = verdicts(&history, twice.first().copied());
    history.header.promise =
        "Whatever is killed, stopped or late: locks exclude, increments count, items come once."
            .into();
    let elapsed = Duration::from_nanos(history.end_ns());
    finish(history, results, elapsed)
}

/// A kill during an operation, or a pause.
fn strike(history: &mut History, life: &mut Life, random: &mut ChaCha8Rng, time: &mut u64) {
    if random.random_ratio(1, 2) {
        let begin = *time + 20_000;
        let at = begin + 50_000;
        history.operations.push(Operation {
            id: 0,
            session: life.session,
            worker: life.worker,
            task: None,
            op: set(-1),
            invoked_ns: begin,
            completed_ns: Some(at),
            outcome: End::Info(Failure::new(ErrorCode::Gone, "the process was killed")),
        });
        history.sessions[life.session as usize - 1].over = Some((at, SessionEnd::Killed));
        history.faults.push(FaultRecord {
            at_ns: at,
            fault: Fault::Kill {
                worker: life.worker,
            },
            sessions: vec![life.session],
            until_ns: None,
        });
        *time = at + 30 * MS;
        life.session = history.sessions.len() as u64 + 1;
        history.sessions.push(Session {
            session: life.session,
            worker: life.worker,
            process: life.session as u32,
            clock_offset_ms: 0,
            opened_ns: *time,
            over: None,
        });
        history.observations.push(Observation {
            at_ns: at,
            seen: Seen::Note(format!("worker {} was started again", life.worker)),
        });
    } else {
        history.faults.push(FaultRecord {
            at_ns: *time,
            fault: Fault::Stop {
                worker: life.worker,
                for_ms: 20,
            },
            sessions: vec![life.session],
            until_ns: Some(*time + 20 * MS),
        });
        *time += 20 * MS + 100_000;
    }
}

fn renumber(history: &mut History, operations: usize) {
    history.operations.sort_by_key(|op| op.invoked_ns);
    history.operations.truncate(operations);
    for (at, op) in history.operations.iter_mut().enumerate() {
        op.id = at as u64 + 1;
    }
    history.faults.sort_by_key(|fault| fault.at_ns);
}

fn verdicts(history: &History, twice: Option<u64>) -> Vec<CheckResult> {
    let examined = history.operations.len() as u64;
    let mut exclusion = Findings::new(CheckSpec::MutualExclusion);
    exclusion.examined(examined / 4);
    let all = super::holds(history);
    let second = all.iter().find(|hold| {
        let acquire = history.operation(hold.acquire).unwrap();
        twice.is_some() && acquire.task == twice
    });
    let other = second.and_then(|second| {
        all.iter().find(|first| {
            first.acquire != second.acquire
                && first.from_ns < second.until_ns
                && second.from_ns < first.until_ns
        })
    });
    if let (Some(second), Some(first)) = (second, other) {
        exclusion.violation(
            format!(
                "dict:d was held by worker {} and worker {} at once",
                first.worker, second.worker
            ),
            [first.acquire, second.acquire],
        );
    }
    vec![
        exclusion.finish(),
        passed(CheckSpec::Completion, examined),
        passed(
            CheckSpec::Errors {
                allow: vec![ErrorCode::Timeout],
            },
            examined,
        ),
        passed(
            CheckSpec::QueueDelivery {
                name: "jobs".into(),
                drained: false,
            },
            examined / 3,
        ),
        passed(CheckSpec::Integrity, 1),
    ]
}

/// What a driver could send to break out of a report's format.
pub(crate) const HOSTILE: &str = "</script><script>alert(1)</script><img src=x onerror=alert(2)> \
     ' onmouseover='alert(3)' \" onfocus=\"alert(4) <!-- ]]> &lt;b&gt; \u{1b}[31m\u{7}\u{202e} \u{2028}\0";

/// A run of a driver that puts [`HOSTILE`] text wherever it can.
pub(crate) fn hostile() -> Report {
    let mut run = lost_update();
    let hostile = || HOSTILE.to_owned();
    run.history.header.program = hostile();
    run.history.header.promise = hostile();
    run.history.header.replay = hostile();
    run.history.header.driver.name = hostile();
    run.history.header.driver.version = hostile();
    for (at, operation) in run.history.operations.iter_mut().enumerate() {
        match &mut operation.op {
            Op::DictGet { name, key } | Op::DictSet { name, key, .. } => {
                *name = hostile();
                *key = hostile();
            }
            Op::LockAcquire { lock, .. } | Op::LockRelease { lock } => lock.name = hostile(),
            _ => {}
        }
        match &mut operation.outcome {
            End::Ok { value, .. } if at % 2 == 0 => *value = json!({ HOSTILE: [HOSTILE] }),
            End::Ok { value, .. } => *value = json!(HOSTILE),
            End::Fail(failure) | End::Info(failure) => failure.message = hostile(),
        }
    }
    for task in &mut run.history.tasks {
        task.step = Step::Signal(hostile());
        task.outcome = TaskOutcome::Failed(hostile());
    }
    run.history.observations.push(Observation {
        at_ns: 1,
        seen: Seen::Note(hostile()),
    });
    for result in &mut run.results {
        if result.unknown.is_some() {
            result.unknown = Some(hostile());
        }
        for violation in &mut result.violations {
            violation.message = format!("{HOSTILE} {}", "long".repeat(100));
        }
        if let CheckSpec::Counter { name, key } = &mut result.spec {
            *name = hostile();
            *key = hostile();
        }
    }
    let mut report = suite(vec![("hostile", run)]);
    report.command = hostile();
    report.driver = hostile();
    report.environment.push((hostile(), hostile()));
    if let Some(description) = &mut report.description {
        description.name = hostile();
        description.version = hostile();
    }
    for program in &mut report.programs {
        program.program = hostile();
        program.promise = hostile();
        program.replay = hostile();
        program.notes = hostile();
        program.history = Some(hostile().into());
        if let Outcome::HarnessError { message } = &mut program.outcome {
            *message = hostile();
        }
    }
    report
}
