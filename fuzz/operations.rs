//! Sequences of operations on all managers, by one worker or two, with faults at any host calls; in
//! the shipped component, simulated.
//!
//! What must stay true: all checks of the harness that fit pass, the audit of the files finds nothing,
//! and native SQLite calls the file sound. Of one worker alone each answer is the reference store's:
//! an operation that definitely did not happen is as if it had never been asked, and
//! one of which nobody knows happened or didn't.

mod sequential;

use crate::Target;
use crate::ops::{KEYS, NAMES, Ops, WORDS};
use arbitrary::{Result, Unstructured};
use beaver_harness::check::CheckSpec;
use beaver_harness::program::{Plan, Program};
use beaver_harness::protocol::{ErrorCode, Op};
use beaver_harness::sim::{Blow, Checkpoints, Fault, Policy, Settings, Simulated, Simulator};
use beaver_harness::step::Step;
use std::sync::{Mutex, OnceLock, PoisonError};

/// See the module.
pub const TARGET: Target = Target {
    name: "operations",
    run,
    tries: 25,
    bytes_max: 512,
};

const STEPS_MAX: usize = 24;
const FAULTS_MAX: usize = 4;
/// A step makes some ten host calls, and opening some fifty.
const CALLS_MAX: u64 = 400;

fn run(bytes: &[u8]) {
    let Ok((program, settings)) = case(&mut Unstructured::new(bytes)) else {
        return;
    };
    let is_alone = program.workers.len() == 1;
    let plan = Plan::from(program);
    let simulator = simulator().lock().unwrap_or_else(PoisonError::into_inner);
    let ran = simulator.run(&plan, &settings).unwrap();
    drop(simulator);
    let told = || told(&plan.frame, &ran, &settings);
    assert!(ran.troubles.is_empty(), "{:?}\n{}", ran.troubles, told());
    assert!(!ran.failed(), "{:?}\n{}", ran.complaints(), told());
    if is_alone && let Err(wrong) = sequential::compare(&ran) {
        panic!("{wrong}\n{}", told());
    }
}

/// What was done and said, for whoever looks for the reason.
fn told(program: &Program, ran: &Simulated, settings: &Settings) -> String {
    let mut text = serde_json::to_string(program).unwrap() + "\n";
    for operation in &ran.history.operations {
        let op = serde_json::to_string(&operation.op).unwrap();
        let (worker, session) = (operation.worker, operation.session);
        text += &format!("{worker}/{session} {op}: {:?}\n", operation.outcome);
    }
    text + &format!("{:?}\n{settings:?}", ran.faults)
}

/// The component, compiled once.
fn simulator() -> &'static Mutex<Simulator> {
    static SIMULATOR: OnceLock<Mutex<Simulator>> = OnceLock::new();
    SIMULATOR.get_or_init(|| {
        let component = beaver_host::default_component_path();
        Mutex::new(Simulator::new(&component).unwrap())
    })
}

fn case(input: &mut Unstructured<'_>) -> Result<(Program, Settings)> {
    let is_alone = input.arbitrary()?;
    let workers: u32 = if is_alone { 1 } else { 2 };
    let (full, rollback) = (input.arbitrary()?, input.ratio(1, 8)?);
    let schedule_seed = input.int_in_range(0..=255)?;
    let faults = input.int_in_range(0..=FAULTS_MAX)?;
    let faults = (0..faults).map(|_| fault(input, workers));
    let faults = faults.collect::<Result<Vec<_>>>()?;
    let mut ops = Ops::new(input);
    let mut lists = vec![Vec::new(); workers as usize];
    for _ in 0..STEPS_MAX {
        if ops.input.is_empty() {
            break;
        }
        let worker = ops.input.int_in_range(0..=lists.len() - 1)?;
        lists[worker].push(step(&mut ops, is_alone)?);
    }
    let settings = Settings {
        seed: 1,
        policy: if is_alone {
            Policy::Script
        } else {
            Policy::mixed(schedule_seed)
        },
        cuts: Some(0),
        schedule_seed: Some(schedule_seed),
        faults: Some(faults.into_iter().collect()),
        full_durability: Some(full),
        rollback_journal: Some(rollback),
        processes: Some(workers),
        checkpoints: Some(Checkpoints::default()),
        ..Settings::default()
    };
    Ok((program(lists, is_alone), settings))
}

fn fault(input: &mut Unstructured<'_>, workers: u32) -> Result<Fault> {
    let few_ms = u32::from(input.arbitrary::<u8>()?);
    let blow = match input.int_in_range(0..=12)? {
        0..=3 => Blow::Io,
        4 | 5 => Blow::ShortWrite,
        6 => Blow::Full(few_ms + 1),
        7 => Blow::Busy,
        8 => Blow::Slow(few_ms),
        9 => Blow::Drop,
        10 => Blow::DropAfter(few_ms * 16 + 1),
        11 => Blow::Kill,
        _ => Blow::PowerLoss(few_ms),
    };
    Ok(Fault {
        worker: input.int_in_range(0..=workers - 1)?,
        call: input.int_in_range(0..=CALLS_MAX)?,
        blow,
    })
}

fn step(ops: &mut Ops<'_, '_>, is_alone: bool) -> Result<Step> {
    Ok(match ops.input.int_in_range(0..=9)? {
        0..=4 => ops.stored()?.into(),
        5 => ops.streamed(!is_alone)?.into(),
        // Alone nobody minds a transaction that stays open, or a lock.
        6 if is_alone => ops.bracket()?.into(),
        6 | 7 => Step::Transaction {
            body: body(ops, is_alone)?,
        },
        8 => Step::locked(ops.lock()?, Some(3000), body(ops, is_alone)?),
        _ => Step::Transaction {
            body: [body(ops, is_alone)?, vec![Step::Raise]].concat(),
        },
    })
}

fn body(ops: &mut Ops<'_, '_>, is_alone: bool) -> Result<Vec<Step>> {
    let mut body = Vec::new();
    for _ in 0..ops.input.int_in_range(1..=4)? {
        body.push(match ops.input.int_in_range(0..=7)? {
            0 => ops.streamed(false)?.into(),
            1 if is_alone => ops.bracket()?.into(),
            _ => ops.stored()?.into(),
        });
    }
    Ok(body)
}

fn program(workers: Vec<Vec<Step>>, is_alone: bool) -> Program {
    let mut checks = vec![CheckSpec::Completion, CheckSpec::Integrity];
    if !is_alone {
        checks.extend(together());
    }
    Program {
        program: 1,
        name: "operations".into(),
        workers,
        tear_down: readings(),
        checks,
        ..Program::default()
    }
}

/// What holds for workers beside each other, whatever they do.
fn together() -> Vec<CheckSpec> {
    let mut checks = vec![
        CheckSpec::Errors {
            allow: vec![
                ErrorCode::Timeout,
                ErrorCode::Locked,
                ErrorCode::OutOfRange,
                ErrorCode::Deadlock,
                ErrorCode::InTransaction,
                ErrorCode::Invalid,
            ],
        },
        CheckSpec::Linearizable,
        CheckSpec::MutualExclusion,
        CheckSpec::FencingTokens,
        CheckSpec::FifoGrants,
        CheckSpec::Timeouts,
        CheckSpec::StaleHolders,
        CheckSpec::MandatoryLocks,
    ];
    for name in NAMES.map(str::to_owned) {
        checks.extend([
            CheckSpec::QueueDelivery {
                name: name.clone(),
                drained: false,
            },
            CheckSpec::QueueOrder { name: name.clone() },
            CheckSpec::LogDelivery { name: name.clone() },
            CheckSpec::ChannelDelivery { name },
        ]);
    }
    checks
}

/// All that is there at the end.
fn readings() -> Vec<Step> {
    let mut ops = Vec::new();
    for name in NAMES.map(str::to_owned) {
        for key in KEYS.map(str::to_owned) {
            ops.extend([
                Op::DictGet {
                    name: name.clone(),
                    key: key.clone(),
                },
                Op::BlobGet {
                    name: name.clone(),
                    key: key.clone(),
                },
                Op::CollectionGet {
                    name: name.clone(),
                    key: key.clone(),
                },
                Op::CollectionNeighbors {
                    name: name.clone(),
                    key,
                    label: "to".into(),
                },
            ]);
        }
        for word in WORDS {
            ops.push(Op::CollectionMatch {
                name: name.clone(),
                text: word.into(),
            });
        }
        ops.push(Op::ListItems { name: name.clone() });
        ops.push(Op::LogRead { name: name.clone() });
        let take = Op::QueueGet {
            name,
            timeout_ms: Some(0),
        };
        ops.extend([take.clone(), take.clone(), take]);
    }
    // A lock or a transaction that stayed is in the way of none of them.
    ops.into_iter().map(Step::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use beaver_harness::history::Outcome;
    use beaver_harness::protocol::Failure;
    use serde_json::json;

    fn push(value: u64) -> Step {
        Step::from(Op::ListPush {
            name: "a".into(),
            value: json!(value),
        })
    }

    fn items() -> Step {
        Step::from(Op::ListItems { name: "a".into() })
    }

    fn simulated(steps: Vec<Step>, faults: Vec<Fault>) -> Simulated {
        let plan = Plan::from(program(vec![steps], true));
        let settings = Settings {
            policy: Policy::Script,
            faults: Some(faults.into_iter().collect()),
            ..Settings::default()
        };
        let simulator = simulator().lock().unwrap_or_else(PoisonError::into_inner);
        simulator.run(&plan, &settings).unwrap()
    }

    /// The comparison has to see a wrong answer, or it would show nothing.
    #[test]
    fn an_answer_that_is_not_the_reference_stores_is_found() {
        let mut ran = simulated(vec![push(1), push(2)], Vec::new());
        sequential::compare(&ran).unwrap();
        let mut all = ran.history.operations.iter_mut();
        let read = all.find(|it| it.ok() == Some(&json!([1, 2]))).unwrap();
        read.outcome = Outcome::Ok {
            value: json!([2, 1]),
            commit: None,
        };
        let wrong = sequential::compare(&ran).unwrap_err();
        assert!(wrong.contains("ListItems"), "{wrong}");
    }

    /// A fault is why what it meets fails, and what comes after it; never what was over before.
    #[test]
    fn a_failure_before_the_first_fault_is_found() {
        let steps = || vec![items(), push(1), push(2)];
        let calls = simulated(steps(), Vec::new()).calls[0];
        for blow in [Blow::Full(1), Blow::Drop] {
            let fault = Fault {
                worker: 0,
                // After the steps, before the last of the readings.
                call: calls * 3 / 4,
                blow,
            };
            let fails = |at: fn(usize) -> usize| {
                let mut ran = simulated(steps(), vec![fault]);
                sequential::compare(&ran).unwrap();
                assert_eq!(ran.faults.len(), 1);
                let at = at(ran.history.operations.len());
                ran.history.operations[at].outcome = Outcome::Fail(Failure {
                    error: ErrorCode::Busy,
                    definite: true,
                    message: String::new(),
                });
                sequential::compare(&ran)
            };
            let wrong = fails(|_| 0).unwrap_err();
            assert!(wrong.contains("ListItems"), "{wrong}");
            fails(|count| count - 1).unwrap();
        }
    }
}
