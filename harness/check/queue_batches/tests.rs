//! Batches by hand, and by simulation.

use super::super::batch_history;
use super::super::queue_history::{get, get_batch, item, put, until_empty};
use super::super::script::Script;
use super::super::{CheckSpec, Verdict};
use super::batches::count;
use super::*;
use crate::protocol::{LockKind, LockName};
use crate::step::Step;
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::json;

fn spec() -> CheckSpec {
    CheckSpec::QueueBatches { name: "q".into() }
}

fn lock() -> LockName {
    LockName::new(LockKind::Queue, "q")
}

fn batch_step(mut body: Vec<Step>) -> Step {
    body.insert(0, Step::from(get(0)));
    Step::locked(lock(), None, body)
}

fn two_gets() -> Step {
    batch_step(vec![Step::from(get(0))])
}

/// Four items put one after the other, until 8.
fn script() -> (Script, u64, u64) {
    let mut script = Script::new(spec());
    let (a, b) = (script.session(0, 0), script.session(1, 0));
    for (number, value) in ["w", "x", "y", "z"].into_iter().enumerate() {
        let at = 1 + 2 * number as u64;
        script.ok(a, at, at + 1, put(value, 1.0), ());
    }
    (script, a, b)
}

fn acquire(ttl_ms: Option<u64>) -> Op {
    Op::LockAcquire {
        lock: lock(),
        timeout_ms: None,
        ttl_ms,
    }
}

/// A batch of worker 0 from 10 to 60: granted by 12, takes at 20 to 22 and 40 to 42; between them
/// `meanwhile`.
fn batch(
    script: &mut Script,
    session: u64,
    values: [&str; 2],
    ttl_ms: Option<u64>,
    meanwhile: impl FnOnce(&mut Script),
) {
    let task = script.task(0, 10, 60, two_gets(), TaskOutcome::Done);
    let within = |script: &mut Script, from, to, op, value: Value| {
        let id = script.ok(session, from, to, op, value);
        script.within(task, id);
    };
    within(script, 10, 12, acquire(ttl_ms), json!({"token": null}));
    within(script, 20, 22, get(0), item(values[0], 1.0));
    meanwhile(script);
    within(script, 40, 42, get(0), item(values[1], 1.0));
    within(
        script,
        50,
        52,
        Op::LockRelease { lock: lock() },
        Value::Null,
    );
}

fn fails(script: &Script, words: &str, operations: &[u64]) {
    let result = script.judge();
    assert_eq!(result.violation_count, 1, "{result:?}");
    let violation = &result.violations[0];
    assert!(violation.message.contains(words), "{}", violation.message);
    assert_eq!(violation.operations, operations);
}

fn passes(script: &Script, examined: u64) {
    let result = script.judge();
    assert_eq!(result.verdict, Verdict::Pass, "{result:?}");
    assert_eq!(result.examined, examined);
}

#[test]
fn whole_batches_pass_with_others_before_and_after() {
    let (mut script, a, b) = script();
    script.ok(b, 9, 11, get(0), item("w", 1.0));
    batch(&mut script, a, ["x", "y"], None, |script| {
        // It waits for the lock.
        script.ok(b, 30, 70, get(0), item("z", 1.0));
    });
    script.fail(
        a,
        80,
        81,
        get_batch(2, 0),
        crate::protocol::ErrorCode::Timeout,
    );
    passes(&script, 1);
}

#[test]
fn a_thief_in_the_middle_is_found() {
    let (mut script, a, b) = script();
    batch(&mut script, a, ["w", "y"], None, |script| {
        script.ok(b, 30, 35, get(0), item("x", 1.0));
    });
    fails(
        &script,
        r#"worker 1 took "x" from queue "q" in the middle of worker 0's batch of 2"#,
        &[5, 6, 7, 8],
    );
}

#[test]
fn an_item_from_between_is_found_whenever_its_take_ended() {
    let (mut script, a, b) = script();
    batch(&mut script, a, ["w", "y"], None, |script| {
        script.ok(b, 30, 70, get(0), item("x", 1.0));
    });
    fails(
        &script,
        r#"and "y" of that batch comes after it in line"#,
        &[2, 5, 6, 7, 8],
    );
}

#[test]
fn a_take_that_began_before_the_grant_may_have_come_first() {
    let (mut script, a, b) = script();
    script.ok(b, 9, 70, get(0), item("x", 1.0));
    batch(&mut script, a, ["w", "y"], None, |_| {});
    passes(&script, 1);
}

#[test]
fn who_does_not_take_the_lock_may_take_items_until_the_batch_begins() {
    let (mut script, a, b) = script();
    let task = script.task(0, 10, 60, two_gets(), TaskOutcome::Done);
    let within = |script: &mut Script, from, op, value: Value| {
        let id = script.ok(a, from, from + 2, op, value);
        script.within(task, id);
    };
    within(&mut script, 10, acquire(None), json!({"token": null}));
    script.ok(b, 14, 70, get(0), item("w", 1.0));
    within(&mut script, 20, get(0), item("x", 1.0));
    within(&mut script, 40, get(0), item("y", 1.0));
    within(
        &mut script,
        50,
        Op::LockRelease { lock: lock() },
        Value::Null,
    );
    passes(&script, 1);
    // Unless the lock binds everybody.
    script
        .history
        .header
        .driver
        .capabilities
        .push(Capability::MandatoryLocks);
    let result = script.judge();
    assert_eq!(result.verdict, Verdict::Fail, "{result:?}");
    let message = &result.violations[0].message;
    assert!(message.contains(r#"took "w""#), "{message}");
}

#[test]
fn a_grant_that_may_have_run_out_protects_nobody() {
    let (mut script, a, b) = script();
    batch(&mut script, a, ["w", "y"], Some(5), |script| {
        script.ok(b, 30, 35, get(0), item("x", 1.0));
    });
    passes(&script, 1);
    // Unless the system would have said so.
    script
        .history
        .header
        .driver
        .capabilities
        .push(Capability::Fencing);
    fails(&script, "in the middle", &[5, 6, 7, 8]);
}

#[test]
fn a_batch_that_is_not_whole_is_found() {
    let (mut script, a, _) = script();
    batch(&mut script, a, ["w", "w"], None, |_| {});
    fails(&script, r#"brought "w" more than once"#, &[6, 7]);
    let (mut script, a, _) = self::script();
    let one = json!([item("w", 1.0)]);
    script.ok(a, 10, 11, get_batch(2, 0), one);
    fails(&script, "batch of 2 from queue \"q\" brought 1 items", &[5]);
}

#[test]
fn an_item_lost_with_a_batch_that_was_given_up_is_found() {
    let (mut script, a, b) = script();
    let step = batch_step(vec![Step::Raise, Step::from(get(0))]);
    let task = script.task(0, 10, 60, step, TaskOutcome::Failed("raised".into()));
    for (from, op, value) in [
        (10, acquire(None), Value::Null),
        (20, get(0), item("w", 1.0)),
        (30, Op::LockRelease { lock: lock() }, Value::Null),
    ] {
        let id = script.ok(a, from, from + 2, op, value);
        script.within(task, id);
    }
    assert_eq!(script.judge().verdict, Verdict::Unknown);
    for (from, value) in [(70, "x"), (72, "y"), (74, "z")] {
        script.ok(b, from, from + 1, get(0), item(value, 1.0));
    }
    until_empty(&mut script, b, 80);
    fails(
        &script,
        r#""w" was lost with the batch that failed"#,
        &[6, 11],
    );
    // It came back.
    script.history.operations.pop();
    script.ok(b, 80, 81, get(0), item("w", 1.0));
    until_empty(&mut script, b, 90);
    passes(&script, 1);
}

#[test]
fn a_batch_in_a_transaction_that_was_rolled_back_lost_nothing() {
    let (mut script, a, b) = script();
    let inner = vec![Step::from(get(0)), Step::Raise, Step::from(get(0))];
    let body = vec![Step::Transaction { body: inner }];
    let step = Step::locked(lock(), None, body);
    let task = script.task(0, 10, 60, step, TaskOutcome::Failed("raised".into()));
    for (from, op, value) in [
        (10, acquire(None), Value::Null),
        (20, Op::Begin, Value::Null),
        (22, get(0), item("w", 1.0)),
        (24, Op::Rollback, Value::Null),
        (30, Op::LockRelease { lock: lock() }, Value::Null),
    ] {
        let id = script.ok(a, from, from + 1, op, value);
        script.within(task, id);
    }
    until_empty(&mut script, b, 80);
    passes(&script, 1);
}

#[test]
fn what_depends_on_what_is_found_is_no_batch() {
    let (mut script, a, _) = script();
    let body = vec![Step::UntilTimeout { op: get(0) }];
    let step = Step::locked(lock(), None, body);
    let task = script.task(0, 10, 60, step, TaskOutcome::Done);
    let id = script.ok(a, 10, 11, acquire(None), ());
    script.within(task, id);
    passes(&script, 0);
    let twice = Step::Repeat {
        count: 3,
        body: vec![Step::from(get(0)), Step::from(put("a", 1.0))],
    };
    assert_eq!(count(&[twice, Step::from(get(0))], "q"), Some(4));
}

proptest! {
    #[test]
    fn correct_histories_pass(moves in batch_history::moves()) {
        let (script, _) = batch_history::simulate(spec(), &moves, None);
        let result = script.judge();
        prop_assert_eq!(result.verdict, Verdict::Pass, "{:?}", result);
    }

    #[test]
    fn a_thief_in_any_batch_is_found(
        moves in batch_history::moves(),
        which in any::<Index>(),
        whose in any::<Index>(),
    ) {
        let (script, thief) = batch_history::simulate(spec(), &moves, Some((which, whose)));
        prop_assume!(thief.is_some());
        let result = script.judge();
        prop_assert_eq!(result.violation_count, 1, "{:?}", result);
        prop_assert!(result.violations[0].message.contains("in the middle of"));
        prop_assert!(thief.is_some_and(|id| result.violations[0].operations.contains(&id)));
    }
}
