use super::super::script::Script;
use super::super::{CheckSpec, Verdict};
use super::*;
use crate::history::TaskOutcome;
use crate::protocol::ErrorCode;
use proptest::prelude::*;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

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

fn locked() -> Step {
    Step::locked(LockName::new(LockKind::Dict, "d"), None, vec![increment()])
}

struct Made {
    script: Script,
    sessions: Vec<u64>,
}

fn new() -> Made {
    let mut script = Script::new(CheckSpec::Counter {
        name: "d".into(),
        key: "n".into(),
    });
    let sessions = (0..4).map(|worker| script.session(worker, 0)).collect();
    Made { script, sessions }
}

impl Made {
    /// An increment in four units of time from `at`; whether it was acknowledged.
    fn add(&mut self, worker: u32, at: u64, read: i64, step: Step, acknowledged: bool) {
        let session = self.sessions[worker as usize];
        let in_transaction = matches!(step, Step::Transaction { .. });
        let task = self
            .script
            .task(worker, at, at + 4, step, TaskOutcome::Done);
        let script = &mut self.script;
        let value = if read == 0 { Value::Null } else { read.into() };
        if in_transaction {
            script.ok(session, at, at, Op::Begin, Value::Null);
        }
        let one = script.ok(session, at, at + 1, get(), value);
        let two = if acknowledged || in_transaction {
            script.ok(session, at + 2, at + 3, set(read + 1), Value::Null)
        } else {
            script.info(session, at + 2, Some(at + 3), set(read + 1))
        };
        script.within(task, one);
        script.within(task, two);
        if in_transaction && acknowledged {
            script.ok(session, at + 3, at + 4, Op::Commit, Value::Null);
        } else if in_transaction {
            script.fail(session, at + 3, at + 4, Op::Commit, ErrorCode::Conflict);
        }
    }

    fn read(&mut self, worker: u32, at: u64, number: i64) {
        let session = self.sessions[worker as usize];
        self.script.ok(session, at, at + 1, get(), number);
    }

    fn judge(&self) -> (Verdict, Vec<Vec<u64>>, String) {
        let result = self.script.judge();
        let ids = result.violations.iter().map(|one| one.operations.clone());
        let ids = ids.collect();
        let message = result.violations.into_iter().next().map(|one| one.message);
        (
            result.verdict,
            ids,
            message.or(result.unknown).unwrap_or_default(),
        )
    }
}

#[test]
fn a_lost_update_is_shown_by_two_increments() {
    let mut made = new();
    made.add(0, 0, 0, locked(), true);
    made.add(1, 10, 1, locked(), true);
    made.read(2, 20, 2);
    assert_eq!(made.judge().0, Verdict::Pass);
    assert_eq!(made.script.judge().examined, 5);
    made.add(2, 30, 2, locked(), true);
    made.add(3, 33, 2, locked(), true);
    let (verdict, ids, message) = made.judge();
    assert_eq!((verdict, ids), (Verdict::Fail, vec![vec![6, 7, 8, 9]]));
    assert_eq!(
        message,
        "dict d, key n: two increments wrote 3, so one is lost: worker 2 read 2 (operation 6, \
         30.000 ms to 31.000 ms) and worker 2 set 3 (operation 7, 32.000 ms to 33.000 ms); \
         worker 3 read 2 (operation 8, 33.000 ms to 34.000 ms) and worker 3 set 3 (operation 9, \
         35.000 ms to 36.000 ms)"
    );
}

#[test]
fn a_number_that_was_acknowledged_is_found_by_who_comes_later() {
    let mut made = new();
    made.add(0, 0, 0, locked(), true);
    made.add(1, 10, 1, locked(), true);
    made.read(2, 12, 1);
    assert_eq!(made.judge().0, Verdict::Pass);
    made.read(2, 14, 1);
    let (verdict, ids, _) = made.judge();
    assert_eq!((verdict, ids), (Verdict::Fail, vec![vec![3, 4, 6]]));
}

#[test]
fn what_nobody_knows_of_counts_once_or_not_at_all() {
    let mut made = new();
    made.add(0, 0, 0, locked(), false);
    made.add(1, 10, 0, locked(), true);
    made.read(2, 20, 1);
    assert_eq!(made.judge().0, Verdict::Pass);
    let mut made = new();
    made.add(0, 0, 0, locked(), false);
    made.add(1, 10, 1, locked(), true);
    made.read(2, 20, 2);
    assert_eq!(made.judge().0, Verdict::Pass);
    made.read(2, 30, 3);
    let (verdict, ids, message) = made.judge();
    assert_eq!((verdict, ids), (Verdict::Fail, vec![vec![6]]));
    assert!(message.contains("the next lower number"), "{message}");
}

#[test]
fn only_what_was_committed_counts() {
    let step = || Step::Transaction {
        body: vec![increment()],
    };
    let mut made = new();
    made.add(0, 0, 0, step(), true);
    made.add(1, 10, 1, step(), false);
    made.add(2, 15, 1, step(), true);
    made.read(2, 20, 2);
    assert_eq!(made.judge().0, Verdict::Pass);
    let mut made = new();
    made.add(0, 0, 0, step(), true);
    made.add(1, 10, 0, step(), true);
    assert_eq!(made.judge().0, Verdict::Fail);
    // Undone, and yet there.
    let mut made = new();
    made.add(1, 10, 0, step(), false);
    made.read(2, 20, 1);
    assert_eq!(made.judge().0, Verdict::Fail);
}

#[test]
fn nothing_is_said_where_nothing_is_promised() {
    let mut made = new();
    made.add(0, 0, 0, increment(), true);
    made.add(1, 5, 0, increment(), true);
    assert_eq!(made.judge().0, Verdict::Unknown);
    let mut made = new();
    let leader = LockName::new(LockKind::Lock, "leader");
    made.add(0, 0, 0, locked(), true);
    made.add(1, 5, 0, Step::locked(leader, None, vec![increment()]), true);
    assert_eq!(made.judge().0, Verdict::Unknown);
    let mut made = new();
    made.add(0, 0, 0, locked(), true);
    let session = made.sessions[1];
    made.script.ok(session, 3, 4, set(0), Value::Null);
    assert_eq!(made.judge().0, Verdict::Unknown);
}

#[test]
fn where_the_counter_begins_is_no_increment() {
    let mut made = new();
    let session = made.sessions[0];
    made.script.ok(session, 1, 2, set(100), Value::Null);
    made.add(0, 3, 100, locked(), true);
    made.read(0, 10, 101);
    assert_eq!(made.judge().0, Verdict::Pass);
    made.read(0, 20, 1);
    assert_eq!(made.judge().0, Verdict::Fail);
}

/// Increments one after the other, some without an answer, some waiting long for the lock;
/// `lost`: the write of one is lost.
fn run(seed: u64, count: usize, lost: Option<usize>) -> Made {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut made = new();
    let mut state = 0;
    for at in 0..count {
        let acknowledged = Some(at) == lost || rng.random_range(0..8) > 0;
        let worker = rng.random_range(0..4);
        let wrote = Some(at) != lost && (acknowledged || rng.random());
        made.add(worker, at as u64 * 10, state, locked(), acknowledged);
        if wrote {
            state += 1;
        }
        if rng.random_range(0..4) == 0 {
            made.read(rng.random_range(0..4), at as u64 * 10 + 6, state);
        }
    }
    made.read(0, count as u64 * 10 + 6, state);
    made
}

proptest! {
    #[test]
    fn a_lost_increment_is_always_found(seed: u64, count in 1_usize..100, lost in 0_usize..100) {
        let right = run(seed, count, None).judge();
        prop_assert_eq!(right.0, Verdict::Pass, "{}", right.2);
        let wrong = run(seed, count, Some(lost % count)).judge();
        prop_assert_eq!(wrong.0, Verdict::Fail);
    }
}
