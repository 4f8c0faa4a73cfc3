use super::super::generate::{Slot, script, slots};
use super::super::script::Script;
use super::super::{CheckSpec, Verdict};
use crate::history::Outcome;
use crate::protocol::{ErrorCode, Failure, Op};
use proptest::prelude::*;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

fn get() -> Op {
    Op::DictGet {
        name: "d".into(),
        key: "k".into(),
    }
}

fn set(value: impl Into<Value>) -> Op {
    Op::DictSet {
        name: "d".into(),
        key: "k".into(),
        value: value.into(),
    }
}

fn delete() -> Op {
    Op::DictDelete {
        name: "d".into(),
        key: "k".into(),
    }
}

fn new() -> (Script, u64, u64) {
    let mut script = Script::new(CheckSpec::Linearizable);
    let one = script.session(0, 0);
    let two = script.session(1, 0);
    (script, one, two)
}

/// The verdict, and what the only violation says and names.
fn judge(script: &Script) -> (Verdict, String, Vec<u64>) {
    let result = script.judge();
    let first = result.violations.into_iter().next();
    let (message, ids) =
        first.map_or_else(Default::default, |first| (first.message, first.operations));
    (result.verdict, message, ids)
}

#[test]
fn a_stale_reading_is_told_with_what_had_replaced_it() {
    let (mut script, one, two) = new();
    script.ok(one, 0, 5, set(5), Value::Null);
    script.ok(two, 2, 8, get(), 5);
    script.ok(one, 10, 15, set(6), Value::Null);
    script.ok(two, 14, 16, get(), 5);
    assert_eq!(judge(&script).0, Verdict::Pass);
    script.ok(two, 17, 19, get(), 5);
    let (verdict, message, ids) = judge(&script);
    assert_eq!(verdict, Verdict::Fail);
    assert_eq!(
        message,
        "dict d, key k: worker 1 read 5 (operation 5, 17.000 ms to 19.000 ms), but by then 5 \
         had been replaced by 6 for good: worker 0 set 5 (operation 1, 0.000 ms to 5.000 ms); \
         then worker 0 set 6 (operation 3, 10.000 ms to 15.000 ms)"
    );
    assert_eq!(ids, [1, 3, 5]);
}

#[test]
fn absent_is_what_is_there_first() {
    let (mut script, one, two) = new();
    script.ok(one, 0, 5, get(), Value::Null);
    script.ok(one, 10, 15, set(1), Value::Null);
    assert_eq!(judge(&script).0, Verdict::Pass);
    script.ok(two, 16, 19, get(), Value::Null);
    let (verdict, message, ids) = judge(&script);
    assert_eq!((verdict, ids), (Verdict::Fail, vec![2, 3]));
    assert!(message.contains("worker 1 read nothing"), "{message}");
}

#[test]
fn what_nobody_wrote_cannot_be_read() {
    let (mut script, one, _) = new();
    script.fail(one, 0, 5, set(7), ErrorCode::Busy);
    script.ok(one, 6, 7, get(), 7);
    let (verdict, message, ids) = judge(&script);
    assert_eq!((verdict, ids), (Verdict::Fail, vec![1, 2]));
    assert!(message.contains("certainly failed"), "{message}");
    let (mut script, one, _) = new();
    script.ok(one, 6, 7, get(), 7);
    script.ok(one, 8, 9, set(7), Value::Null);
    let (verdict, message, _) = judge(&script);
    assert_eq!(verdict, Verdict::Fail);
    assert!(message.contains("and not before"), "{message}");
    let (mut script, one, _) = new();
    script.ok(one, 6, 7, get(), 7);
    assert!(judge(&script).1.contains("nobody ever wrote"));
}

#[test]
fn an_operation_without_an_answer_may_come_late_or_never() {
    let (mut script, one, two) = new();
    script.ok(two, 0, 1, set(1), Value::Null);
    script.info(one, 2, Some(3), set(2));
    script.ok(two, 4, 5, get(), 1);
    script.ok(two, 6, 7, get(), 2);
    assert_eq!(judge(&script).0, Verdict::Pass);
    script.ok(two, 8, 9, get(), 1);
    let (verdict, _, ids) = judge(&script);
    assert_eq!((verdict, ids), (Verdict::Fail, vec![1, 2, 4, 5]));
}

#[test]
fn deletions_say_whether_it_was_there() {
    let (mut script, one, two) = new();
    script.ok(two, 0, 1, delete(), false);
    script.ok(two, 2, 3, set(1), Value::Null);
    script.ok(two, 4, 9, delete(), true);
    script.ok(one, 5, 8, delete(), false);
    assert_eq!(judge(&script).0, Verdict::Pass);
    script.ok(one, 10, 11, delete(), true);
    let (verdict, message, ids) = judge(&script);
    assert_eq!(verdict, Verdict::Fail, "{message}");
    assert!(ids.contains(&5), "{message}");
}

#[test]
fn the_same_value_again_is_no_contradiction_but_too_few_writes_are() {
    let (mut script, one, two) = new();
    script.ok(one, 0, 1, set(1), Value::Null);
    script.ok(one, 2, 3, set(2), Value::Null);
    script.ok(one, 4, 5, set(1), Value::Null);
    script.ok(two, 6, 7, get(), 1.0);
    assert_eq!(judge(&script).0, Verdict::Pass);
    script.ok(two, 8, 9, get(), 2);
    let (verdict, message, ids) = judge(&script);
    assert_eq!((verdict, ids), (Verdict::Fail, vec![2, 3, 5]), "{message}");
    assert_eq!(
        message,
        "dict d, key k: worker 1 read 2 (operation 5, 8.000 ms to 9.000 ms), which no order \
         of the operations explains: worker 0 set 2 (operation 2, 2.000 ms to 3.000 ms) and \
         worker 0 set 1 (operation 3, 4.000 ms to 5.000 ms)"
    );
}

fn in_transaction(end: Op, error: Option<ErrorCode>) -> (Script, u64, u64) {
    let (mut script, one, two) = new();
    script.ok(one, 0, 1, Op::Begin, Value::Null);
    script.ok(one, 2, 3, get(), Value::Null);
    script.ok(one, 4, 5, set(1), Value::Null);
    script.ok(one, 6, 7, get(), 1);
    script.ok(one, 8, 9, set(2), Value::Null);
    match error {
        None => script.ok(one, 20, 25, end, Value::Null),
        Some(error) if error.is_definite() => script.fail(one, 20, 25, end, error),
        Some(_) => script.info(one, 20, Some(25), end),
    };
    (script, one, two)
}

#[test]
fn a_transaction_is_one_step() {
    let (mut script, _, two) = in_transaction(Op::Commit, None);
    script.ok(two, 22, 26, get(), Value::Null);
    script.ok(two, 27, 28, get(), 2);
    assert_eq!(judge(&script).0, Verdict::Pass);
    let (mut script, _, two) = in_transaction(Op::Commit, None);
    script.ok(two, 27, 28, get(), Value::Null);
    assert_eq!(judge(&script).0, Verdict::Fail);
    // What is written over in the transaction is never seen.
    let (mut script, _, two) = in_transaction(Op::Commit, None);
    script.ok(two, 21, 28, get(), 1);
    let (verdict, message, _) = judge(&script);
    assert_eq!(verdict, Verdict::Fail);
    assert!(message.contains("wrote it over itself"), "{message}");
}

#[test]
fn what_is_undone_is_never_seen_and_what_is_in_doubt_perhaps() {
    for (end, error) in [
        (Op::Rollback, None),
        (Op::Commit, Some(ErrorCode::Conflict)),
    ] {
        let (mut script, _, two) = in_transaction(end, error);
        script.ok(two, 27, 28, get(), 2);
        assert_eq!(judge(&script).0, Verdict::Fail);
    }
    let (mut script, _, two) = in_transaction(Op::Commit, Some(ErrorCode::Gone));
    script.ok(two, 27, 28, get(), Value::Null);
    script.ok(two, 29, 30, get(), 2);
    assert_eq!(judge(&script).0, Verdict::Pass);
    script.ok(two, 31, 32, get(), Value::Null);
    assert_eq!(judge(&script).0, Verdict::Fail);
}

#[test]
fn a_transaction_reads_its_own_writes_and_no_others() {
    let (mut script, one, two) = new();
    script.ok(one, 0, 1, Op::Begin, Value::Null);
    script.ok(one, 4, 5, get(), Value::Null);
    script.ok(two, 6, 7, set(9), Value::Null);
    script.ok(one, 8, 9, get(), 9);
    script.ok(one, 10, 11, Op::Commit, Value::Null);
    let (verdict, message, ids) = judge(&script);
    assert_eq!((verdict, ids), (Verdict::Fail, vec![2, 4]));
    assert!(message.contains("in one transaction"), "{message}");
}

#[test]
fn what_is_not_committed_is_not_seen() {
    let (mut script, one, two) = new();
    script.ok(one, 0, 1, Op::Begin, Value::Null);
    script.ok(one, 4, 5, set(1), Value::Null);
    script.ok(two, 6, 7, get(), 1);
    script.ok(one, 8, 9, Op::Commit, Value::Null);
    let (verdict, message, ids) = judge(&script);
    assert_eq!((verdict, ids), (Verdict::Fail, vec![3, 2]));
    assert!(message.contains("had not been committed"), "{message}");
}

#[test]
fn torn_blobs_are_what_nobody_wrote() {
    let (mut script, one, two) = new();
    let (name, key) = ("b".to_owned(), "k".to_owned());
    let put = |data: &str| Op::BlobPut {
        name: name.clone(),
        key: key.clone(),
        data: data.into(),
    };
    let get = Op::BlobGet {
        name: name.clone(),
        key: key.clone(),
    };
    script.ok(one, 0, 1, put("repeat:65536:a"), Value::Null);
    script.ok(one, 2, 9, put("repeat:65536:b"), Value::Null);
    script.ok(two, 3, 4, get.clone(), "repeat:65536:a");
    assert_eq!(judge(&script).0, Verdict::Pass);
    script.ok(two, 5, 6, get, "torn:65536:10000*b,22768*a");
    let (verdict, message, _) = judge(&script);
    assert_eq!(verdict, Verdict::Fail);
    assert!(
        message.starts_with("blobs b, key k: worker 1 read \"torn:"),
        "{message}"
    );
}

/// What workers do with several keys, each an atomic register; unless a write is dropped.
fn run(seed: u64, count: usize, drop: bool) -> (Script, bool) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let keys = ["a", "b", "c"];
    let mut state = [json!(null), json!(null), json!(null)];
    // The key whose acknowledged write was dropped; and whether a reading has shown it.
    let mut dropped: Option<(usize, usize)> = None;
    // Since when what is there has been there; never, if it isn't certain that it was written
    // by then and not again.
    let mut since = [Some(0); 3];
    let mut shown = false;
    let done = slots(&mut rng, 4, count)
        .into_iter()
        .enumerate()
        .map(|(at, slot): (usize, Slot)| {
            let which = rng.random_range(0..keys.len());
            let (name, key) = ("d".to_owned(), keys[which].to_owned());
            let fate = rng.random_range(0..20);
            let info = Outcome::Info(Failure::new(ErrorCode::Gone, ""));
            let ok = |value: Value| Outcome::Ok {
                value,
                commit: None,
            };
            if rng.random() {
                shown |= dropped.is_some_and(|(key, when)| key == which && at > when + 20);
                return (slot, Op::DictGet { name, key }, ok(state[which].clone()));
            }
            let value = json!(at);
            let op = Op::DictSet {
                name,
                key,
                value: value.clone(),
            };
            if dropped.is_some_and(|(key, _)| key == which) {
                // Nothing more is written there, so that it stays visible.
                let busy = Failure::new(ErrorCode::Busy, "");
                return (slot, op, Outcome::Fail(busy));
            }
            if fate == 0 {
                if rng.random() {
                    state[which] = value;
                    since[which] = None;
                }
                return (slot, op, info);
            }
            let long = since[which].is_some_and(|since| at > since + 20);
            if drop && dropped.is_none() && long {
                dropped = Some((which, at));
            } else {
                state[which] = value;
                since[which] = Some(at);
            }
            (slot, op, ok(Value::Null))
        })
        .collect();
    (script(CheckSpec::Linearizable, done), shown)
}

proptest! {
    #[test]
    fn what_is_correct_passes_and_a_dropped_write_fails(seed: u64, count in 10_usize..300) {
        let (script, _) = run(seed, count, false);
        let result = script.judge();
        prop_assert_eq!(result.verdict, Verdict::Pass, "{:#?}", result.violations);
        let (script, shown) = run(seed, count, true);
        let verdict = script.judge().verdict;
        prop_assert!(!shown || verdict == Verdict::Fail);
    }
}

/// So that the property above shows something.
#[test]
fn dropped_writes_are_often_shown() {
    let shown = (0..100).filter(|seed| run(*seed, 250, true).1).count();
    assert!(shown > 30, "{shown}");
}

#[test]
fn a_hundred_thousand_operations_are_judged() {
    let (script, _) = run(7, 100_000, false);
    let result = script.judge();
    assert_eq!(result.verdict, Verdict::Pass, "{:?}", result.violations);
    assert!(result.examined > 90_000);
}
