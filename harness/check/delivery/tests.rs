//! Logs and channels by hand, and by simulation.

use super::super::script::Script;
use super::super::stream_history::{append, certain_losses, follow, moves, next, read, simulate};
use super::super::{CheckSpec, Verdict};
use crate::history::{Outcome, SessionEnd};
use crate::protocol::{ErrorCode, Op};
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Value, json};

fn spec() -> CheckSpec {
    CheckSpec::LogDelivery { name: "l".into() }
}

fn script() -> (Script, u64, u64, u64) {
    let mut script = Script::new(spec());
    let sessions = [0, 1, 2].map(|worker| script.session(worker, 0));
    (script, sessions[0], sessions[1], sessions[2])
}

fn fails(script: &Script, words: &str, operations: &[u64]) {
    let result = script.judge();
    assert_eq!(result.violation_count, 1, "{result:?}");
    let violation = &result.violations[0];
    assert!(violation.message.contains(words), "{}", violation.message);
    assert_eq!(violation.operations, operations, "{}", violation.message);
}

fn passes(script: &Script) {
    let result = script.judge();
    assert_eq!(result.verdict, Verdict::Pass, "{result:?}");
}

#[test]
fn a_log_that_all_agree_on_is_fine() {
    let (mut script, a, b, c) = script();
    script.ok(c, 0, 0, follow(), ());
    script.ok(a, 1, 5, append("x"), ());
    script.ok(b, 2, 6, append("y"), ());
    script.ok(c, 3, 7, next(), json!(["y"]));
    script.ok(b, 7, 8, read(), json!(["y", "x"]));
    script.info(a, 9, Some(10), append("z"));
    script.ok(c, 11, 12, next(), json!(["x"]));
    script.fail(c, 13, 14, next(), ErrorCode::Timeout);
    script.ok(b, 15, 16, read(), json!(["y", "x"]));
    passes(&script);
    script.ok(b, 17, 18, read(), json!(["y", "x", "z"]));
    passes(&script);
}

#[test]
fn what_nobody_appended_is_found() {
    let (mut script, a, b, _) = script();
    script.ok(b, 1, 2, read(), json!(["x"]));
    fails(
        &script,
        r#"worker 1 saw "x" in log "l", which nobody appended"#,
        &[1],
    );
    script.fail(a, 3, 4, append("x"), ErrorCode::Busy);
    fails(&script, "whose log-append had failed (worker 0)", &[2, 1]);
    script.info(a, 5, None, append("x"));
    fails(&script, "before it was appended by worker 0", &[1, 3]);
}

#[test]
fn what_was_undone_must_not_be_seen() {
    let (mut script, a, b, _) = script();
    script.ok(a, 1, 2, Op::Begin, ());
    script.ok(a, 3, 4, append("x"), ());
    // Its own reading may.
    script.ok(a, 5, 6, read(), json!(["x"]));
    script.ok(a, 7, 8, Op::Rollback, ());
    passes(&script);
    script.ok(b, 9, 10, read(), json!(["x"]));
    fails(
        &script,
        "which was appended in a transaction that was undone",
        &[2, 5],
    );
}

#[test]
fn a_reading_that_lacks_or_repeats_something_is_found() {
    let (mut script, a, b, c) = script();
    script.ok(a, 1, 2, append("x"), ());
    script.info(a, 3, Some(4), append("y"));
    script.ok(b, 5, 6, read(), json!(["x", "y"]));
    script.ok(c, 7, 8, read(), json!(["x"]));
    fails(
        &script,
        r#"worker 2's reading of log "l" lacks "y": worker 1 had seen it before"#,
        &[3, 4],
    );
    script.history.operations.pop();
    script.ok(c, 7, 8, read(), json!(["y", "x", "x"]));
    let result = script.judge();
    let words: Vec<_> = result
        .violations
        .iter()
        .map(|found| &found.message)
        .collect();
    assert_eq!(words.len(), 3, "{words:?}");
    assert!(words[0].contains(r#"has "x" 2 times"#));
    assert!(words[1].contains(r#"has "y" before "x", which had been appended"#));
    assert!(words[2].contains(r#""x" before "y" for worker 1, "y" before "x" for worker 2"#));
}

#[test]
fn orders_that_contradict_each_other_in_a_circle_are_found() {
    let (mut script, a, b, c) = script();
    for session in [a, b, c] {
        script.ok(session, 0, 1, follow(), ());
    }
    // All three overlap.
    let writers = [3, 4, 5].map(|worker| script.session(worker, 0));
    for (writer, value) in writers.into_iter().zip(["x", "y", "z"]) {
        script.ok(writer, 2, 90, append(value), ());
    }
    script.ok(a, 10, 11, next(), json!(["x", "y"]));
    script.ok(b, 10, 11, next(), json!(["y", "z"]));
    script.ok(c, 10, 11, next(), json!(["z", "x"]));
    fails(&script, "orders that contradict each other", &[7, 8, 9]);
    script.history.operations.pop();
    passes(&script);
}

#[test]
fn a_follower_that_misses_something_is_found() {
    let (mut script, a, b, c) = script();
    script.ok(b, 0, 1, follow(), ());
    script.ok(c, 0, 1, follow(), ());
    for (at, value) in [(2, "x"), (4, "y"), (6, "z")] {
        script.ok(a, at, at + 1, append(value), ());
    }
    // In the middle, and at the end.
    script.ok(b, 8, 9, next(), json!(["x", "z"]));
    fails(
        &script,
        r#"worker 1's follower of log "l" was never delivered "y""#,
        &[1, 4, 6],
    );
    script.history.operations.pop();
    script.ok(b, 8, 9, next(), json!(["x"]));
    passes(&script);
    script.fail(b, 10, 11, next(), ErrorCode::Timeout);
    fails(&script, r#""y" and 1 more"#, &[1, 4, 6, 7]);
    // One whose answer was lost before may have had them.
    script.history.operations.pop();
    script.info(b, 10, Some(11), next());
    script.fail(b, 12, 13, next(), ErrorCode::Timeout);
    script.over(c, 20, SessionEnd::Killed);
    passes(&script);
}

#[test]
fn a_follower_misses_what_others_saw_between() {
    let (mut script, a, b, c) = script();
    let d = script.session(3, 0);
    script.ok(b, 0, 0, follow(), ());
    script.ok(a, 1, 90, append("x"), ());
    script.ok(c, 1, 90, append("y"), ());
    script.ok(d, 1, 90, append("z"), ());
    script.ok(b, 10, 20, next(), json!(["x", "z"]));
    passes(&script);
    script.ok(a, 91, 92, read(), json!(["x", "y", "z"]));
    fails(&script, r#"never delivered "y""#, &[1, 3, 5]);
    let z = &mut script.history.operations[5];
    z.outcome = Outcome::Ok {
        value: json!(["x", "z", "y"]),
        commit: None,
    };
    passes(&script);
}

#[test]
fn what_was_there_before_is_not_delivered() {
    let (mut script, a, b, _) = script();
    script.ok(a, 1, 2, append("x"), ());
    script.ok(b, 3, 4, follow(), ());
    script.ok(b, 5, 6, next(), json!(["x"]));
    fails(
        &script,
        "which had been appended before it followed",
        &[1, 2, 3],
    );
    script.history.operations[2].outcome = Outcome::Ok {
        value: Value::Null,
        commit: None,
    };
    fails(&script, "log-next was answered with null", &[3]);
}

#[test]
fn what_nobody_looked_at_shows_nothing() {
    let (mut script, a, b, _) = script();
    script.ok(a, 1, 2, append("x"), ());
    assert_eq!(script.judge().verdict, Verdict::Unknown);
    script.ok(b, 3, 4, read(), json!(["x"]));
    passes(&script);
    script.ok(a, 5, 6, append("y"), ());
    assert_eq!(script.judge().verdict, Verdict::Unknown);
}

#[test]
fn a_channel_is_judged_as_a_log_is_followed() {
    let name = || "c".to_owned();
    let mut script = Script::new(CheckSpec::ChannelDelivery { name: name() });
    let (a, b) = (script.session(0, 0), script.session(1, 0));
    script.ok(b, 1, 2, Op::ChannelSubscribe { name: name() }, ());
    for (at, value) in [(3, "x"), (5, "y")] {
        let publish = Op::ChannelPublish {
            name: name(),
            value: value.into(),
        };
        script.ok(a, at, at + 1, publish, ());
    }
    let next = || Op::ChannelNext {
        name: name(),
        timeout_ms: Some(5),
    };
    script.ok(b, 7, 8, next(), json!(["x", "y"]));
    script.fail(b, 9, 10, next(), ErrorCode::Timeout);
    passes(&script);
    script.history.operations[3].outcome = Outcome::Ok {
        value: json!(["x"]),
        commit: None,
    };
    fails(
        &script,
        r#"worker 1's follower of channel "c" was never delivered "y", published by worker 0"#,
        &[1, 3, 4, 5],
    );
}

proptest! {
    #![proptest_config(super::super::queue_history::patient())]

    #[test]
    fn correct_histories_pass(moves in moves()) {
        let result = simulate(spec(), &moves).judge();
        prop_assert_eq!(result.verdict, Verdict::Pass, "{:?}", result);
    }

    #[test]
    fn a_value_that_is_lost_for_one_is_found(moves in moves(), which in any::<Index>()) {
        let mut script = simulate(spec(), &moves);
        let losses = certain_losses(&script);
        prop_assume!(!losses.is_empty());
        let (at, place) = losses[which.index(losses.len())];
        let Outcome::Ok { value: Value::Array(values), .. } =
            &mut script.history.operations[at].outcome
        else {
            unreachable!("{at} is no answer with values")
        };
        let lost = values.remove(place).to_string();
        let result = script.judge();
        let found = result.violations.iter().any(|found| found.message.contains(&lost)
            || found.message.contains("more"));
        prop_assert!(found, "{} is lost: {:?}", lost, result);
    }

    #[test]
    fn a_value_that_comes_twice_is_found(moves in moves(), which in any::<Index>()) {
        let mut script = simulate(spec(), &moves);
        let losses = certain_losses(&script);
        prop_assume!(!losses.is_empty());
        let (at, place) = losses[which.index(losses.len())];
        let Outcome::Ok { value: Value::Array(values), .. } =
            &mut script.history.operations[at].outcome
        else {
            unreachable!("{at} is no answer with values")
        };
        values.push(values[place].clone());
        let result = script.judge();
        let found = result.violations.iter().any(|found| found.message.contains("2 times"));
        prop_assert!(found, "{:?}", result);
    }

    #[test]
    fn two_values_that_change_places_for_one_are_found(
        moves in moves(),
        which in any::<Index>(),
    ) {
        let mut script = simulate(spec(), &moves);
        // All but the last reading, which has all values in order.
        let operations = &mut script.history.operations;
        let last = operations.len() - 1;
        let pairs = operations[..last].iter().enumerate().flat_map(|(at, operation)| {
            let values = operation.ok().and_then(Value::as_array).map_or(0, Vec::len);
            (1..values).map(move |place| (at, place))
        });
        let pairs: Vec<_> = pairs.collect();
        prop_assume!(!pairs.is_empty());
        let (at, place) = pairs[which.index(pairs.len())];
        if let Outcome::Ok { value: Value::Array(values), .. } = &mut operations[at].outcome {
            values.swap(place - 1, place);
        }
        let result = script.judge();
        let found = result.violations.iter().any(|found| found.message.contains("contradict"));
        prop_assert!(found, "{:?}", result);
    }
}
