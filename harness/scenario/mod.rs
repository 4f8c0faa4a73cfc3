//! Named scenarios: short programs that show one promise each, as deterministically as the
//! system allows.
//!
//! The promises are those of BeaverDB's proposal: `with db.dict("config", timeout=5) as
//! config:` makes a multi-step change one process-safe, atomic unit. Each scenario stands for a
//! way in which a store was seen to break one of them.

mod batches;
mod clocks;
mod dead_holders;
mod holders;
mod lists;
mod threads;

use crate::check::CheckSpec;
use crate::program::Program;
use crate::protocol::{ErrorCode, LockKind, LockName, Op};
use crate::step::Step;

/// All scenarios, in the order in which they are listed.
pub fn all() -> Vec<Program> {
    vec![
        holders::slow_enqueue(),
        clocks::same_instant(),
        holders::ttl_from_request(),
        holders::waiter_outlives_ttl(),
        holders::stale_holder(),
        dead_holders::killed_holder(),
        dead_holders::waiter_behind_killed_holder(),
        threads::threads_exclude(),
        batches::exception_in_batch(),
        batches::thief_in_batches(),
        clocks::clock_behind(),
        clocks::clock_ahead(),
        clocks::clock_behind_releases(),
        holders::hand_over(),
        batches::plain_gets(),
        lists::appends(),
        lists::many_appends(),
    ]
}

fn scenario(name: &str, promise: &str, checks: Vec<CheckSpec>) -> Program {
    Program {
        program: 1,
        name: name.to_owned(),
        promise: promise.to_owned(),
        checks,
        ..Program::default()
    }
}

/// The checks that every scenario has beside its own: no errors but those in `allow`, an answer
/// to each operation, a whole file.
fn with(allow: &[ErrorCode], own: impl IntoIterator<Item = CheckSpec>) -> Vec<CheckSpec> {
    let mut checks: Vec<_> = own.into_iter().collect();
    checks.push(CheckSpec::Errors {
        allow: allow.to_vec(),
    });
    checks.push(CheckSpec::Completion);
    checks.push(CheckSpec::Integrity);
    checks
}

fn lock(name: &str) -> LockName {
    LockName::new(LockKind::Lock, name)
}

fn dict(name: &str) -> LockName {
    LockName::new(LockKind::Dict, name)
}

fn queue(name: &str) -> LockName {
    LockName::new(LockKind::Queue, name)
}

fn acquire(lock: LockName, timeout_ms: u64, ttl_ms: u64) -> Step {
    Op::LockAcquire {
        lock,
        timeout_ms: Some(timeout_ms),
        ttl_ms: Some(ttl_ms),
    }
    .into()
}

fn release(lock: LockName) -> Step {
    Op::LockRelease { lock }.into()
}

/// `body` under a lock that is waited for as long as it takes, and lasts.
fn locked(lock: LockName, body: Vec<Step>) -> Step {
    Step::Locked {
        lock,
        timeout_ms: Some(30_000),
        ttl_ms: Some(60_000),
        body,
    }
}

fn sleep(ms: u64) -> Step {
    Step::Sleep { ms }
}

fn signal(name: impl Into<String>) -> Step {
    Step::Signal(name.into())
}

fn wait_for(name: impl Into<String>) -> Step {
    Step::Await(name.into())
}

/// Goes on when so many hold or wait for the lock.
fn in_line(lock: LockName, count: u64) -> Step {
    Step::AwaitWaiting { lock, count }
}

fn set(name: &str, key: &str, value: impl Into<serde_json::Value>) -> Step {
    Op::DictSet {
        name: name.to_owned(),
        key: key.to_owned(),
        value: value.into(),
    }
    .into()
}

fn get(name: &str, key: &str) -> Step {
    Op::DictGet {
        name: name.to_owned(),
        key: key.to_owned(),
    }
    .into()
}

fn increment(name: &str, key: &str) -> Step {
    Step::Increment {
        name: name.to_owned(),
        key: key.to_owned(),
    }
}

fn put(name: &str, value: impl Into<serde_json::Value>, priority: f64) -> Step {
    Op::QueuePut {
        name: name.to_owned(),
        value: value.into(),
        priority,
    }
    .into()
}

fn take(name: &str, timeout_ms: u64) -> Step {
    Op::QueueGet {
        name: name.to_owned(),
        timeout_ms: Some(timeout_ms),
    }
    .into()
}

/// Takes whatever is left.
fn drain(name: &str) -> Step {
    Step::UntilTimeout {
        op: Op::QueueGet {
            name: name.to_owned(),
            timeout_ms: Some(0),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn scenarios_are_told_apart_and_can_be_written_down() {
        let mut names = BTreeSet::new();
        for program in all() {
            assert!(names.insert(program.name.clone()), "{}", program.name);
            assert!(program.promise.ends_with('.'), "{}", program.name);
            assert!(!program.workers.is_empty() && !program.checks.is_empty());
            let text = serde_json::to_string_pretty(&program).unwrap();
            assert_eq!(serde_json::from_str::<Program>(&text).unwrap(), program);
        }
    }

    #[test]
    fn counterexamples_are_scenarios_of_their_name() {
        let folder = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/counterexamples/beaver-db-1.3.0"
        );
        let mut count = 0;
        for file in std::fs::read_dir(folder).unwrap() {
            let path = file.unwrap().path();
            let text = std::fs::read_to_string(&path).unwrap();
            let program: Program = serde_json::from_str(&text).unwrap();
            assert_eq!(path.file_stem().unwrap().to_str(), Some(&*program.name));
            assert_eq!(program.checks.len(), 1, "{}", program.name);
            count += 1;
        }
        assert!(count > 10, "{count}");
    }
}
