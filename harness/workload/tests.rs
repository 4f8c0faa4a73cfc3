//! What all workloads have in common.

use super::*;
use crate::protocol::Capability;
use std::collections::BTreeSet;

const WORKERS: [u32; 4] = [1, 2, 8, 64];

fn settings(workers: u32, seed: u64) -> Settings {
    Settings { workers, seed }
}

#[test]
fn each_has_a_name_of_its_own_and_a_promise() {
    let names: BTreeSet<_> = all().iter().map(|workload| workload.name).collect();
    assert_eq!(names.len(), all().len());
    for workload in all() {
        assert!(workload.promise.ends_with('.'), "{workload:?}");
        assert_eq!(named(workload.name).unwrap().name, workload.name);
    }
    assert!(named("nothing").is_none());
}

#[test]
fn what_is_required_is_what_the_steps_need() {
    // What the checks make sense with alone.
    let for_checks = [
        Capability::MandatoryLocks,
        Capability::Fencing,
        // Locks of managers.
        Capability::Dict,
        Capability::List,
        Capability::Queue,
        Capability::Collection,
        Capability::Blob,
    ];
    for workload in all() {
        for workers in WORKERS {
            let plan = workload.plan(&settings(workers, 7));
            let steps = 1600 / u64::from(workers);
            let written = plan.write_down(&vec![steps; workers as usize]);
            let needs: BTreeSet<_> = written.requires(true).into_iter().collect();
            let said: BTreeSet<_> = plan.requires.iter().copied().collect();
            let missing: Vec<_> = needs.difference(&said).collect();
            assert!(missing.is_empty(), "{workload:?} needs {missing:?}");
            let idle = said.difference(&needs);
            let idle: Vec<_> = idle.filter(|idle| !for_checks.contains(idle)).collect();
            assert!(idle.is_empty() || workers == 1, "{workload:?}: {idle:?}");
        }
    }
}

#[test]
fn steps_come_from_the_seed_and_nothing_else() {
    for workload in all() {
        for workers in WORKERS {
            let counts = vec![20; workers as usize];
            let plan = workload.plan(&settings(workers, 7));
            let program = plan.write_down(&counts);
            assert_eq!(
                workload.plan(&settings(workers, 7)).write_down(&counts),
                program,
                "{workload:?}"
            );
            assert_eq!(program.workers.len(), workers as usize);
            for (worker, steps) in (0..).zip(&program.workers) {
                assert_eq!(steps.len(), 20, "{workload:?}");
                // Backwards: no step knows what was asked before.
                for number in (0..20).rev() {
                    let step = &steps[usize::try_from(number).unwrap()];
                    assert_eq!((plan.source)(worker, number).as_ref(), Some(step));
                }
            }
            assert!((plan.source)(workers, 0).is_none());
            assert!(!program.checks.is_empty());
            let text = serde_json::to_string(&program).unwrap();
            assert_eq!(serde_json::from_str::<Program>(&text).unwrap(), program);
        }
        if workload.name != "lock-fifo" {
            let other = |seed| workload.plan(&settings(2, seed)).write_down(&[20, 20]);
            assert_ne!(other(7), other(8), "{workload:?}");
        }
    }
}

/// All values that the steps may write.
fn values(steps: &[Step], into: &mut Vec<String>) {
    use crate::protocol::Op;
    for step in steps {
        if let Step::Call(call) = step {
            match &call.op {
                Op::DictSet { value, .. }
                | Op::ListPush { value, .. }
                | Op::ListInsert { value, .. }
                | Op::ListSet { value, .. }
                | Op::QueuePut { value, .. }
                | Op::LogAppend { value, .. }
                | Op::ChannelPublish { value, .. } => into.push(value.to_string()),
                Op::BlobPut { data, .. } => into.push(data.clone()),
                _ => {}
            }
        }
        values(step.body(), into);
    }
}

#[test]
fn no_value_is_written_twice() {
    for workload in all() {
        let plan = workload.plan(&settings(8, 7));
        let program = plan.write_down(&[100; 8]);
        let mut written = Vec::new();
        for steps in &program.workers {
            values(steps, &mut written);
        }
        let distinct: BTreeSet<_> = written.iter().collect();
        assert_eq!(distinct.len(), written.len(), "{workload:?}");
    }
}

#[test]
fn a_mixture_judges_each_promise_once() {
    for name in ["mixed", "mixed-locked"] {
        let plan = named(name).unwrap().plan(&settings(8, 7));
        let checks = &plan.frame.checks;
        for (at, check) in checks.iter().enumerate() {
            assert!(!checks[..at].contains(check), "{check:?}");
        }
        let errors = checks.iter().filter(|check| check.name() == "errors");
        assert_eq!(errors.count(), 1);
    }
}

#[test]
fn no_two_steps_share_their_choices() {
    let first = |seed, worker, number| rng(seed, worker, number).random::<u64>();
    let mut drawn = BTreeSet::new();
    for seed in 0..4 {
        for worker in 0..8 {
            for number in 0..32 {
                assert!(drawn.insert(first(seed, worker, number)));
            }
        }
    }
}
