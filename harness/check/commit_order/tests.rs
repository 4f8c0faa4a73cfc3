use super::super::generate::{Slot, script, slots};
use super::super::script::Script;
use super::super::{CheckSpec, Verdict};
use crate::history::Outcome;
use crate::protocol::{ErrorCode, Failure, Op};
use proptest::prelude::*;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use std::collections::BTreeSet;

fn put(value: i64, priority: f64) -> Op {
    Op::QueuePut {
        name: "q".into(),
        value: value.into(),
        priority,
    }
}

fn take() -> Op {
    Op::QueueGet {
        name: "q".into(),
        timeout_ms: Some(0),
    }
}

fn item(value: i64, priority: f64) -> Value {
    json!({"value": value, "priority": priority})
}

fn push(value: &str) -> Op {
    Op::ListPush {
        name: "l".into(),
        value: value.into(),
    }
}

fn items() -> Op {
    Op::ListItems { name: "l".into() }
}

fn new() -> (Script, u64, u64) {
    let mut script = Script::new(CheckSpec::CommitOrder);
    let one = script.session(0, 0);
    let two = script.session(1, 0);
    (script, one, two)
}

fn judge(script: &Script) -> (Verdict, String, Vec<u64>) {
    let result = script.judge();
    let first = result.violations.into_iter().next();
    let (message, ids) =
        first.map_or_else(Default::default, |first| (first.message, first.operations));
    (result.verdict, message, ids)
}

const NULL: Value = Value::Null;

#[test]
fn numbers_are_distinct_and_respect_time() {
    let (mut script, one, two) = new();
    script.certified(one, 0, 5, put(1, 0.0), NULL, 2);
    script.certified(two, 2, 6, put(2, 0.0), NULL, 1);
    assert_eq!(judge(&script).0, Verdict::Pass);
    script.certified(two, 7, 8, put(3, 0.0), NULL, 2);
    let (verdict, message, ids) = judge(&script);
    assert_eq!((verdict, ids), (Verdict::Fail, vec![1, 3]));
    assert!(message.contains("same place"), "{message}");
    let (mut script, one, two) = new();
    script.certified(one, 0, 5, put(1, 0.0), NULL, 2);
    script.certified(two, 6, 7, put(2, 0.0), NULL, 1);
    let (verdict, message, ids) = judge(&script);
    assert_eq!((verdict, ids), (Verdict::Fail, vec![1, 2]), "{message}");
    // Out of order by more than one.
    let (mut script, one, two) = new();
    script.certified(one, 0, 1, put(1, 0.0), NULL, 5);
    script.certified(two, 2, 9, put(2, 0.0), NULL, 6);
    script.certified(one, 3, 4, put(2, 0.0), NULL, 4);
    assert_eq!(judge(&script).2, [1, 3]);
}

#[test]
fn a_queue_gives_the_least_first_and_each_once() {
    let (mut script, one, two) = new();
    script.certified(one, 0, 1, put(1, 2.0), NULL, 1);
    script.certified(one, 2, 3, put(2, 1.0), NULL, 2);
    script.certified(one, 4, 5, put(3, 1.0), NULL, 3);
    script.certified(two, 6, 7, take(), item(2, 1.0), 4);
    assert_eq!(judge(&script).0, Verdict::Pass);
    let mut wrong = Script::new(CheckSpec::CommitOrder);
    wrong.history = script.history.clone();
    wrong.certified(two, 8, 9, take(), item(1, 2.0), 5);
    let (verdict, message, ids) = judge(&wrong);
    assert_eq!((verdict, ids), (Verdict::Fail, vec![3, 5]));
    assert!(message.contains("3 comes first and was there"), "{message}");
    // Said once, not again for what was passed over.
    wrong.certified(two, 10, 11, take(), item(3, 1.0), 6);
    assert_eq!(wrong.judge().violation_count, 1);
    script.certified(two, 8, 9, take(), item(2, 1.0), 5);
    let (verdict, message, ids) = judge(&script);
    assert_eq!((verdict, ids), (Verdict::Fail, vec![4, 5]));
    assert!(message.contains("not there (any more)"), "{message}");
}

#[test]
fn batches_are_items_at_once() {
    let (mut script, one, _) = new();
    let batch = Op::QueueGetBatch {
        name: "q".into(),
        count: 2,
        timeout_ms: None,
    };
    script.certified(one, 0, 1, put(1, 0.0), NULL, 1);
    script.certified(one, 2, 3, put(2, 0.0), NULL, 2);
    script.certified(one, 4, 5, put(3, 0.0), NULL, 3);
    let both = json!([item(1, 0.0), item(2, 0.0)]);
    script.certified(one, 6, 7, batch, both, 4);
    script.certified(one, 8, 9, take(), item(3, 0.0), 5);
    assert_eq!(judge(&script).0, Verdict::Pass);
    script.certified(one, 10, 11, take(), item(2, 0.0), 6);
    assert_eq!(judge(&script).2, [4, 6]);
}

#[test]
fn what_has_no_answer_may_have_taken_one_and_only_one() {
    let (mut script, one, two) = new();
    script.certified(one, 0, 1, put(1, 0.0), NULL, 1);
    script.certified(one, 2, 3, put(2, 0.0), NULL, 2);
    script.certified(one, 4, 5, put(3, 0.0), NULL, 3);
    script.info(one, 6, Some(7), take());
    script.certified(two, 8, 9, take(), item(2, 0.0), 5);
    assert_eq!(judge(&script).0, Verdict::Pass);
    // It took 1; so 1 can't come, and neither can 3 be missing.
    let mut wrong = Script::new(CheckSpec::CommitOrder);
    wrong.history = script.history.clone();
    wrong.certified(two, 10, 11, take(), item(1, 0.0), 6);
    let (verdict, message, ids) = judge(&wrong);
    assert_eq!((verdict, ids), (Verdict::Fail, vec![5, 6]));
    assert!(message.contains("comes first, but before it"), "{message}");
    script.certified(two, 10, 11, put(4, 0.0), NULL, 6);
    script.certified(two, 12, 13, take(), item(4, 0.0), 7);
    assert_eq!(judge(&script).2, [3, 7]);
}

#[test]
fn what_has_no_answer_may_have_been_put_as_early_as_it_was_asked_for() {
    let (mut script, one, two) = new();
    script.certified(one, 0, 1, put(1, 0.0), NULL, 1);
    script.info(one, 2, Some(3), put(2, 0.0));
    script.certified(two, 4, 5, put(3, 0.0), NULL, 3);
    script.certified(two, 6, 7, take(), item(1, 0.0), 4);
    script.certified(two, 8, 9, take(), item(2, 0.0), 5);
    script.certified(two, 10, 11, take(), item(3, 0.0), 6);
    assert_eq!(judge(&script).0, Verdict::Pass);
    script.certified(two, 12, 13, take(), item(2, 0.0), 7);
    assert_eq!(judge(&script).0, Verdict::Fail);
    // But not before 1, which was there already.
    let (mut script, one, two) = new();
    script.certified(one, 0, 1, put(1, 0.0), NULL, 1);
    script.info(one, 2, Some(3), put(2, 0.0));
    script.certified(two, 8, 9, take(), item(2, 0.0), 5);
    assert_eq!(judge(&script).2, [1, 3]);
}

#[test]
fn a_key_is_what_was_written_last_in_commit_order() {
    let (mut script, one, two) = new();
    let (name, key) = ("d".to_owned(), "k".to_owned());
    let get = Op::DictGet {
        name: name.clone(),
        key: key.clone(),
    };
    let set = |value: i64| Op::DictSet {
        name: name.clone(),
        key: key.clone(),
        value: value.into(),
    };
    let delete = Op::DictDelete {
        name: name.clone(),
        key: key.clone(),
    };
    script.certified(one, 0, 9, set(1), NULL, 2);
    script.certified(two, 1, 8, set(2), NULL, 1);
    script.certified(two, 10, 11, get.clone(), 1, 3);
    script.certified(two, 12, 13, delete.clone(), true, 4);
    script.certified(two, 14, 15, delete, false, 5);
    script.info(one, 16, None, set(7));
    script.certified(two, 18, 19, get.clone(), NULL, 6);
    script.certified(two, 20, 21, get.clone(), 7, 7);
    assert_eq!(judge(&script).0, Verdict::Pass);
    script.certified(two, 22, 23, get, 2, 8);
    let (verdict, message, _) = judge(&script);
    assert_eq!(verdict, Verdict::Fail);
    assert!(message.contains("in commit order it was 7"), "{message}");
}

#[test]
fn lists_and_logs_are_what_was_added_in_commit_order() {
    let (mut script, one, two) = new();
    let insert = Op::ListInsert {
        name: "l".into(),
        index: 1,
        value: "c".into(),
    };
    let delete = |index| Op::ListDelete {
        name: "l".into(),
        index,
    };
    let append = |value: &str| Op::LogAppend {
        name: "g".into(),
        value: value.into(),
    };
    let read = || Op::LogRead { name: "g".into() };
    script.certified(one, 0, 1, push("a"), NULL, 1);
    script.certified(one, 2, 3, push("b"), NULL, 2);
    script.certified(one, 4, 5, insert, NULL, 3);
    script.certified(one, 6, 7, items(), json!(["a", "c", "b"]), 4);
    script.certified(one, 8, 9, delete(0), NULL, 5);
    script.info(one, 10, Some(11), push("x"));
    script.certified(two, 12, 13, push("d"), NULL, 7);
    script.certified(two, 14, 15, append("1"), NULL, 8);
    script.info(one, 16, Some(17), append("2"));
    script.certified(two, 18, 19, append("3"), NULL, 10);
    let before = script.history.clone();
    for (shown, logged, verdict) in [
        (json!(["c", "b", "d"]), json!(["1", "3"]), Verdict::Pass),
        (
            json!(["c", "b", "x", "d"]),
            json!(["1", "2", "3"]),
            Verdict::Pass,
        ),
        (
            json!(["c", "b", "d", "x"]),
            json!(["1", "3", "2"]),
            Verdict::Pass,
        ),
        (
            json!(["c", "x", "b", "d"]),
            json!(["1", "3"]),
            Verdict::Fail,
        ),
        (json!(["c", "b"]), json!(["1", "3"]), Verdict::Fail),
        (json!(["c", "b", "d"]), json!(["3", "1"]), Verdict::Fail),
        (json!(["c", "b", "d"]), json!(["1"]), Verdict::Fail),
        (
            json!(["c", "b", "d"]),
            json!(["1", "3", "3"]),
            Verdict::Fail,
        ),
    ] {
        script.history = before.clone();
        script.certified(two, 20, 21, items(), shown.clone(), 11);
        script.certified(two, 22, 23, read(), logged.clone(), 12);
        let (found, message, _) = judge(&script);
        assert_eq!(found, verdict, "{shown} {logged} {message}");
    }
    // No item of this index.
    script.history = before;
    script.certified(two, 20, 21, delete(7), NULL, 11);
    let (found, message, _) = judge(&script);
    assert_eq!(found, Verdict::Fail);
    assert!(message.contains("the list had 3 items"), "{message}");
}

#[test]
fn what_asked_for_no_number_belongs_where_time_says() {
    let (mut script, one, two) = new();
    script.ok(one, 0, 1, push("a"), NULL);
    script.ok(one, 2, 3, push("b"), NULL);
    script.certified(one, 4, 5, push("c"), NULL, 1);
    script.ok(two, 6, 7, items(), json!(["a", "b", "c"]));
    assert_eq!(judge(&script).0, Verdict::Pass);
    script.ok(two, 8, 9, items(), json!(["b", "a", "c"]));
    assert_eq!(judge(&script).0, Verdict::Fail);
    let (mut script, one, two) = new();
    script.ok(one, 0, 4, push("a"), NULL);
    script.certified(two, 2, 5, push("c"), NULL, 1);
    script.certified(two, 6, 7, items(), json!(["c", "a"]), 2);
    assert_eq!(judge(&script).0, Verdict::Unknown);
}

#[test]
fn only_what_is_committed_has_a_place() {
    let (mut script, one, two) = new();
    script.ok(one, 0, 1, Op::Begin, NULL);
    script.certified(one, 2, 3, push("a"), NULL, 1);
    script.ok(one, 4, 5, Op::Rollback, NULL);
    script.certified(two, 6, 7, push("b"), NULL, 1);
    script.certified(two, 8, 9, items(), json!(["b"]), 2);
    assert_eq!(judge(&script).0, Verdict::Pass);
}

/// A queue of several workers, some of whose operations get no answer; `swap`: two numbers of
/// gets of different items that were there together are exchanged.
fn queue(seed: u64, count: usize, priorities: u32, infos: bool, swap: bool) -> (Script, bool) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut inside = BTreeSet::new();
    let mut gets: Vec<usize> = Vec::new();
    let mut done: Vec<(Slot, Op, Outcome)> = Vec::new();
    for (at, slot) in slots(&mut rng, 4, count).into_iter().enumerate() {
        let number = at as u64 + 1;
        let info = infos && rng.random_range(0..20) == 0;
        let ok = |value| Outcome::Ok {
            value,
            commit: Some(number),
        };
        let gone = || Outcome::Info(Failure::new(ErrorCode::Gone, ""));
        let happens = !info || rng.random();
        if rng.random() || inside.is_empty() {
            let priority = rng.random_range(0..priorities);
            if happens {
                inside.insert((priority, at));
            }
            let op = put(at as i64, f64::from(priority));
            done.push((slot, op, if info { gone() } else { ok(NULL) }));
            continue;
        }
        let Some((priority, value)) = inside.first().copied() else {
            continue;
        };
        if happens {
            inside.pop_first();
        }
        if info {
            done.push((slot, take(), gone()));
        } else {
            gets.push(at);
            done.push((slot, take(), ok(item(value as i64, f64::from(priority)))));
        }
    }
    // Neighbours in number: nothing happened between them.
    let pair = gets.windows(2).find(|pair| pair[1] == pair[0] + 1);
    if let (true, Some(&[one, other])) = (swap, pair) {
        let (first, second) = done.split_at_mut(other);
        std::mem::swap(&mut first[one].2, &mut second[0].2);
        // The numbers stay with the operations; only the items are exchanged.
        for at in [one, other] {
            if let Outcome::Ok { commit, .. } = &mut done[at].2 {
                *commit = Some(at as u64 + 1);
            }
        }
    }
    (script(CheckSpec::CommitOrder, done), swap && pair.is_some())
}

proptest! {
    #[test]
    fn a_correct_queue_passes_and_exchanged_items_fail(
        seed: u64,
        count in 1_usize..200,
        priorities in 1_u32..4,
    ) {
        for infos in [false, true] {
            let result = queue(seed, count, priorities, infos, false).0.judge();
            prop_assert_eq!(result.verdict, Verdict::Pass, "{:?}", result.violations);
        }
        let (script, swapped) = queue(seed, count, priorities, false, true);
        let verdict = script.judge().verdict;
        prop_assert_eq!(verdict == Verdict::Fail, swapped);
    }

    #[test]
    fn a_queue_that_loses_or_doubles_an_item_fails(seed: u64, count in 10_usize..200, which: u64) {
        let (mut script, _) = queue(seed, count, 1, false, false);
        let gets: Vec<usize> = (0..script.history.operations.len())
            .filter(|at| matches!(script.history.operations[*at].op, Op::QueueGet { .. }))
            .collect();
        prop_assume!(gets.len() > 1);
        // The item of one get is that of another, too.
        let one = gets[which as usize % gets.len()];
        let other = gets[(which as usize + 1) % gets.len()];
        let value = script.history.operations[other].ok().cloned().unwrap();
        if let Outcome::Ok { value: got, .. } = &mut script.history.operations[one].outcome {
            *got = value;
        }
        prop_assert_eq!(script.judge().verdict, Verdict::Fail);
    }
}

#[test]
fn a_hundred_thousand_operations_are_judged() {
    let (script, _) = queue(3, 100_000, 3, true, false);
    let result = script.judge();
    assert_eq!(result.verdict, Verdict::Pass, "{:?}", result.violations);
    assert!(result.examined > 90_000);
}
