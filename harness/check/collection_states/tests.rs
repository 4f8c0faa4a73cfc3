//! Collections by hand, and by simulation.

use super::super::document_history::{
    body, connect, drop_it, get, index, matching, moves, neighbors, readings, simulate,
};
use super::super::script::Script;
use super::super::{CheckSpec, Verdict};
use crate::history::Outcome;
use crate::protocol::{Capability, ErrorCode, LockKind, LockName, Op};
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Value, json};

fn spec() -> CheckSpec {
    CheckSpec::CollectionStates { name: "c".into() }
}

fn script() -> (Script, u64, u64) {
    let mut script = Script::new(spec());
    let (a, b) = (script.session(0, 0), script.session(1, 0));
    (script, a, b)
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

fn set(script: &mut Script, id: u64, value: Value) {
    script.history.operations[id as usize - 1].outcome = Outcome::Ok {
        value,
        commit: None,
    };
}

#[test]
fn a_document_is_what_was_written_last() {
    let (mut script, a, b) = script();
    script.ok(a, 1, 2, index("k", 1), ());
    script.ok(b, 3, 9, index("k", 2), ());
    script.ok(a, 4, 5, get("k"), body("k", 1));
    let late = script.ok(a, 10, 11, get("k"), body("k", 2));
    let word = script.ok(a, 12, 13, matching("k2"), json!(["k"]));
    script.ok(a, 14, 15, matching("k1"), json!([]));
    script.ok(a, 16, 17, matching("all"), json!(["k"]));
    passes(&script);
    set(&mut script, late, body("k", 1));
    fails(&script, "and nobody can have changed it since", &[2, late]);
    set(&mut script, late, body("k", 3));
    fails(&script, "which nobody had written", &[late]);
    set(&mut script, late, body("k", 2));
    set(&mut script, word, json!([]));
    fails(
        &script,
        r#"did not find "k", which worker 1 had written with this word"#,
        &[2, word],
    );
    set(&mut script, word, json!(["k"]));
    script.ok(a, 18, 19, matching("k1"), json!(["k"]));
    fails(&script, "had replaced by one without this word", &[2, 8]);
}

#[test]
fn what_nobody_knows_of_leaves_open_what_came_last() {
    let (mut script, a, b) = script();
    script.ok(a, 1, 2, index("k", 1), ());
    script.info(b, 3, Some(4), index("k", 2));
    script.ok(a, 5, 6, get("k"), body("k", 1));
    script.ok(a, 7, 8, get("k"), body("k", 2));
    script.ok(a, 9, 10, matching("k1"), json!([]));
    passes(&script);
}

#[test]
fn what_was_dropped_is_nowhere() {
    let (mut script, a, b) = script();
    script.ok(a, 1, 2, index("k", 1), ());
    script.ok(a, 3, 4, index("l", 1), ());
    script.ok(a, 5, 6, connect("l", "k"), ());
    let linked = script.ok(a, 7, 8, neighbors("l"), json!(["k"]));
    let dropped = script.ok(b, 9, 10, drop_it("k"), true);
    let read = script.ok(a, 11, 12, get("k"), Value::Null);
    let word = script.ok(a, 13, 14, matching("all"), json!(["l"]));
    let edges = script.ok(a, 15, 16, neighbors("l"), json!([]));
    passes(&script);
    set(&mut script, read, body("k", 1));
    fails(&script, "though worker 1 had dropped it", &[dropped, read]);
    set(&mut script, read, Value::Null);
    set(&mut script, word, json!(["k", "l"]));
    fails(
        &script,
        r#"found "k", which worker 1 had dropped"#,
        &[dropped, word],
    );
    set(&mut script, word, json!(["l"]));
    set(&mut script, edges, json!(["k"]));
    fails(
        &script,
        r#"had dropped "k" and nobody can have connected them since"#,
        &[dropped, edges],
    );
    set(&mut script, edges, json!([]));
    set(&mut script, linked, json!(["m"]));
    fails(&script, "which nobody had connected", &[linked]);
}

#[test]
fn an_edge_that_was_made_is_there() {
    let (mut script, a, b) = script();
    script.ok(a, 1, 2, Op::Begin, ());
    script.ok(a, 3, 4, index("k", 1), ());
    script.ok(a, 5, 6, index("l", 1), ());
    script.ok(a, 7, 8, connect("l", "k"), ());
    script.ok(a, 9, 10, Op::Commit, ());
    let edges = script.ok(b, 11, 12, neighbors("l"), json!(["k"]));
    passes(&script);
    set(&mut script, edges, json!([]));
    fails(
        &script,
        r#"did not find "k", though worker 0 had connected them"#,
        &[4, edges],
    );
    // Somebody may have dropped it meanwhile.
    script.history.operations.pop();
    script.info(a, 10, None, drop_it("k"));
    script.ok(b, 11, 12, neighbors("l"), json!([]));
    passes(&script);
}

#[test]
fn half_of_what_another_transaction_wrote_is_found() {
    let (mut script, a, b) = script();
    let write = |script: &mut Script, at: u64, version: u64| {
        let (session, last) = (a, Op::Commit);
        script.ok(session, at, at, Op::Begin, ());
        script.ok(session, at + 1, at + 1, index("k", version), ());
        script.ok(session, at + 2, at + 2, index("l", version), ());
        script.ok(session, at + 3, at + 3, last, ())
    };
    write(&mut script, 1, 1);
    let committed = write(&mut script, 10, 2);
    // While others may write, so that nothing else is certain; and one like the first, or not.
    let writer = script.session(2, 0);
    script.ok(writer, 14, 99, index("k", 3), ());
    let other = script.session(3, 0);
    let late = script.ok(other, 15, 99, index("l", 3), ());
    unit(
        &mut script,
        b,
        20,
        &[(get("k"), body("k", 2)), (get("l"), body("l", 1))],
    );
    fails(
        &script,
        "which the same transaction had made of it",
        &[6, 7, 12, 13],
    );
    // Also if nobody heard of the commit: what is seen was committed.
    let kept = script.history.operations[committed as usize - 1]
        .outcome
        .clone();
    let gone = crate::protocol::Failure::new(ErrorCode::Gone, "");
    script.history.operations[committed as usize - 1].outcome = Outcome::Info(gone);
    fails(
        &script,
        "which the same transaction had made of it",
        &[6, 7, 12, 13],
    );
    script.history.operations[committed as usize - 1].outcome = kept;
    // The other way round: a newer one of the other is somebody else's.
    set(&mut script, 12, body("k", 3));
    set(&mut script, 13, body("l", 2));
    passes(&script);
    // It may have been written again.
    set(&mut script, 12, body("k", 2));
    set(&mut script, 13, body("l", 1));
    script.history.operations[late as usize - 1].op = index("l", 1);
    passes(&script);
    // Gone, though nobody can have dropped it.
    set(&mut script, 13, Value::Null);
    fails(&script, r#"but "l" as null"#, &[6, 7, 12, 13]);
    script.history.operations[late as usize - 1].op = drop_it("l");
    passes(&script);
}

/// A transaction in which these are read, one millisecond after the other.
fn unit(script: &mut Script, session: u64, at: u64, read: &[(Op, Value)]) {
    script.ok(session, at, at, Op::Begin, ());
    for (number, (op, value)) in read.iter().enumerate() {
        let at = at + number as u64 + 1;
        script.ok(session, at, at, op.clone(), value.clone());
    }
    script.ok(session, at + 50, at + 51, Op::Commit, ());
}

#[test]
fn torn_readings_in_a_transaction_are_found() {
    let cases = [
        (get("k"), body("k", 1), get("k"), body("k", 2), "and then"),
        (
            get("k"),
            body("k", 1),
            matching("k2"),
            json!(["k"]),
            "is found for",
        ),
        (
            matching("k2"),
            json!([]),
            get("k"),
            body("k", 2),
            "is not found for",
        ),
        (
            matching("all"),
            json!(["k"]),
            get("k"),
            Value::Null,
            "is not there, and is found",
        ),
        (
            neighbors("l"),
            json!(["k"]),
            get("k"),
            Value::Null,
            "and that \"k\" is not there",
        ),
        (
            get("l"),
            Value::Null,
            neighbors("l"),
            json!(["k"]),
            "and that \"l\" is not there",
        ),
    ];
    for (one, saw, other, seen, words) in cases {
        let (mut script, a, b) = script();
        script.ok(a, 1, 2, Op::Begin, ());
        script.ok(a, 3, 4, index("k", 1), ());
        script.ok(a, 5, 6, index("l", 1), ());
        script.ok(a, 7, 8, connect("l", "k"), ());
        script.ok(a, 9, 10, Op::Commit, ());
        // While others write all the time, so that nothing else is certain.
        for (at, op) in [(11, index("k", 2)), (12, drop_it("k")), (13, drop_it("l"))] {
            let writer = script.session(2, 0);
            script.ok(writer, at, 99, op, ());
        }
        unit(&mut script, b, 20, &[(one, saw), (other, seen)]);
        fails(&script, words, &[10, 11]);
        assert!(
            script.judge().violations[0]
                .message
                .contains("in one transaction")
        );
        // Two readings by themselves are no unit.
        let end = script.history.operations.len() - 1;
        script.history.operations[end].op = Op::Rollback;
        passes(&script);
    }
}

#[test]
fn a_unit_sees_what_it_wrote() {
    let (mut script, a, _) = script();
    script.ok(a, 1, 2, Op::Begin, ());
    script.ok(a, 3, 4, matching("k1"), json!([]));
    script.ok(a, 5, 6, get("k"), Value::Null);
    script.ok(a, 7, 8, index("k", 1), ());
    script.ok(a, 9, 10, get("k"), body("k", 1));
    let word = script.ok(a, 11, 12, matching("k1"), json!(["k"]));
    script.ok(a, 13, 14, Op::Commit, ());
    passes(&script);
    set(&mut script, word, json!([]));
    fails(&script, "is not found for", &[4, word]);
}

#[test]
fn a_lock_makes_a_unit_if_it_keeps_everybody_out() {
    let lock = LockName::new(LockKind::Collection, "c");
    let (mut script, a, b) = script();
    let acquire = Op::LockAcquire {
        lock: lock.clone(),
        timeout_ms: None,
        ttl_ms: None,
    };
    script.ok(a, 1, 99, index("k", 1), ());
    script.ok(b, 2, 3, acquire, ());
    script.ok(b, 4, 5, get("k"), Value::Null);
    script.ok(b, 6, 7, get("k"), body("k", 1));
    script.ok(b, 8, 9, Op::LockRelease { lock }, ());
    passes(&script);
    let capabilities = &mut script.history.header.driver.capabilities;
    capabilities.push(Capability::MandatoryLocks);
    fails(&script, "in one hold of the collection's lock", &[3, 4]);
    // Nobody writes but under the lock.
    script.history.header.driver.capabilities.clear();
    script.history.operations.remove(0);
    let result = script.judge();
    assert_eq!(result.violation_count, 2, "{result:?}");
    assert!(
        result.violations[0]
            .message
            .contains("which nobody had written")
    );
    assert!(result.violations[1].message.contains("in one hold"));
}

#[test]
fn an_operation_that_failed_wrote_nothing() {
    let (mut script, a, b) = script();
    script.fail(a, 1, 2, index("k", 1), ErrorCode::Locked);
    script.ok(b, 3, 4, matching("k1"), json!([]));
    passes(&script);
    script.ok(b, 5, 6, matching("all"), json!(["k"]));
    fails(&script, "which nobody had written", &[3]);
}

proptest! {
    #![proptest_config(super::super::queue_history::patient())]

    #[test]
    fn correct_histories_pass(moves in moves()) {
        let result = simulate(spec(), &moves).judge();
        prop_assert_eq!(result.verdict, Verdict::Pass, "{:?}", result);
    }

    #[test]
    fn a_reading_that_is_turned_over_in_a_unit_is_found(moves in moves(), which in any::<Index>()) {
        let mut script = simulate(spec(), &moves);
        // Each unit reads a document, and matches its common word.
        let units = readings(&script);
        prop_assume!(!units.is_empty());
        let at = units[which.index(units.len())];
        let Op::CollectionGet { key, .. } = &script.history.operations[at].op else {
            unreachable!()
        };
        let key = key.clone();
        let Outcome::Ok { value: Value::Array(found), .. } =
            &mut script.history.operations[at + 1].outcome
        else {
            unreachable!()
        };
        match found.iter().position(|known| *known == key) {
            Some(place) => drop(found.remove(place)),
            None => found.push(key.clone().into()),
        }
        let result = script.judge();
        let id = at as u64 + 2;
        let found = result.violations.iter().any(|found| found.operations.contains(&id));
        prop_assert!(found, "{}: {:?}", id, result);
    }
}
