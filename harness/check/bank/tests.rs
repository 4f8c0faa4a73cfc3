use super::super::script::Script;
use super::super::{CheckSpec, Verdict};
use crate::history::SessionEnd;
use crate::protocol::{ErrorCode, LockKind, LockName, Op};
use proptest::prelude::*;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;

const NULL: Value = Value::Null;

fn get(key: &str) -> Op {
    Op::DictGet {
        name: "d".into(),
        key: key.into(),
    }
}

fn set(key: &str, value: i64) -> Op {
    Op::DictSet {
        name: "d".into(),
        key: key.into(),
        value: value.into(),
    }
}

fn new() -> (Script, Vec<u64>) {
    let mut script = Script::new(CheckSpec::Bank {
        name: "d".into(),
        accounts: vec!["a".into(), "b".into(), "c".into()],
        total: 300,
    });
    let sessions: Vec<u64> = (0..3).map(|worker| script.session(worker, 0)).collect();
    for (at, key) in (0..).zip(["a", "b", "c"]) {
        script.ok(sessions[0], at, at, set(key, 100), NULL);
    }
    (script, sessions)
}

fn judge(script: &Script) -> (Verdict, String, Vec<u64>) {
    let result = script.judge();
    let first = result.violations.into_iter().next();
    let (message, ids) =
        first.map_or_else(Default::default, |first| (first.message, first.operations));
    (
        result.verdict,
        message + &result.unknown.unwrap_or_default(),
        ids,
    )
}

/// From `from` to `to` in one transaction, from `at` to `at` + 7.
fn transfer(
    script: &mut Script,
    session: u64,
    at: u64,
    from: (&str, i64),
    to: (&str, i64),
    error: Option<ErrorCode>,
) {
    script.ok(session, at, at + 1, Op::Begin, NULL);
    script.ok(session, at + 2, at + 2, get(from.0), from.1);
    script.ok(session, at + 3, at + 3, get(to.0), to.1);
    script.ok(session, at + 4, at + 4, set(from.0, from.1 - 10), NULL);
    script.ok(session, at + 5, at + 5, set(to.0, to.1 + 10), NULL);
    match error {
        None => script.ok(session, at + 6, at + 7, Op::Commit, NULL),
        Some(ErrorCode::Gone) => script.info(session, at + 6, Some(at + 7), Op::Commit),
        Some(error) => script.fail(session, at + 6, at + 7, Op::Commit, error),
    };
}

fn read(script: &mut Script, session: u64, at: u64, all: [i64; 3]) {
    script.ok(session, at, at + 1, Op::Begin, NULL);
    for (key, balance) in ["a", "b", "c"].into_iter().zip(all) {
        script.ok(session, at + 2, at + 2, get(key), balance);
    }
    script.ok(session, at + 3, at + 4, Op::Commit, NULL);
}

#[test]
fn sums_are_right_in_every_transaction() {
    let (mut script, sessions) = new();
    transfer(&mut script, sessions[0], 10, ("a", 100), ("b", 100), None);
    read(&mut script, sessions[1], 20, [90, 110, 100]);
    assert_eq!(judge(&script).0, Verdict::Pass);
    read(&mut script, sessions[1], 30, [90, 100, 100]);
    let (verdict, message, ids) = judge(&script);
    assert_eq!((verdict, ids), (Verdict::Fail, vec![16, 17, 18]));
    assert!(
        message.starts_with("dict d: a sum of 290, not 300: [a] worker 1 read 90"),
        "{message}"
    );
}

#[test]
fn what_is_undone_or_in_doubt_is_there_as_a_whole_or_not_at_all() {
    for (error, all, verdict) in [
        (ErrorCode::Conflict, [100, 100, 100], Verdict::Pass),
        (ErrorCode::Conflict, [90, 110, 100], Verdict::Fail),
        (ErrorCode::Gone, [100, 100, 100], Verdict::Pass),
        (ErrorCode::Gone, [90, 110, 100], Verdict::Pass),
        (ErrorCode::Gone, [90, 100, 100], Verdict::Fail),
    ] {
        let (mut script, sessions) = new();
        transfer(
            &mut script,
            sessions[0],
            10,
            ("a", 100),
            ("b", 100),
            Some(error),
        );
        read(&mut script, sessions[1], 20, all);
        let (found, message, _) = judge(&script);
        assert_eq!(found, verdict, "{error} {all:?} {message}");
    }
}

#[test]
fn transfers_that_rely_on_the_same_balance_are_found_though_the_sum_is_right() {
    let (mut script, sessions) = new();
    transfer(&mut script, sessions[0], 10, ("a", 100), ("b", 100), None);
    transfer(&mut script, sessions[1], 20, ("b", 110), ("c", 100), None);
    assert_eq!(judge(&script).0, Verdict::Pass);
    // Reads what was there before both.
    read(&mut script, sessions[1], 30, [100, 100, 100]);
    let (verdict, message, ids) = judge(&script);
    assert_eq!(verdict, Verdict::Fail, "{message}");
    assert!(
        message.contains("can't have come one after the other"),
        "{message}"
    );
    assert!(ids.contains(&18) && ids.len() < 12, "{ids:?}");
}

#[test]
fn half_a_transfer_under_a_lock_is_shown_with_who_left_it() {
    let lock = || LockName::new(LockKind::Dict, "d");
    let acquire = || Op::LockAcquire {
        lock: lock(),
        timeout_ms: None,
        ttl_ms: None,
    };
    let (mut script, sessions) = new();
    script.ok(sessions[1], 10, 11, acquire(), NULL);
    script.ok(sessions[1], 12, 13, get("a"), 100);
    script.ok(sessions[1], 14, 15, get("b"), 100);
    script.ok(sessions[1], 16, 17, set("a", 90), NULL);
    script.info(sessions[1], 18, Some(19), set("b", 110));
    script.over(sessions[1], 19, SessionEnd::Killed);
    script.ok(sessions[2], 20, 21, acquire(), NULL);
    for (at, (key, balance)) in (22..).zip([("a", 90), ("b", 100), ("c", 100)]) {
        script.ok(sessions[2], at, at, get(key), balance);
    }
    script.ok(sessions[2], 30, 31, Op::LockRelease { lock: lock() }, NULL);
    let (verdict, message, ids) = judge(&script);
    assert_eq!((verdict, ids), (Verdict::Fail, vec![5, 6, 7, 10, 11, 12]));
    assert!(
        message.contains("this was all that was done together"),
        "{message}"
    );
}

#[test]
fn the_last_state_counts_when_all_is_quiet() {
    let (mut script, sessions) = new();
    transfer(&mut script, sessions[0], 10, ("a", 100), ("b", 100), None);
    for (at, (key, balance)) in (22..).zip([("a", 90), ("b", 110), ("c", 90)]) {
        script.ok(sessions[2], at, at, get(key), balance);
    }
    let (verdict, message, _) = judge(&script);
    assert_eq!(verdict, Verdict::Fail);
    assert!(message.contains("a sum of 290"), "{message}");
    // While somebody is at it, nothing is certain.
    let (mut script, sessions) = new();
    script.ok(sessions[1], 10, 11, get("a"), 100);
    script.ok(sessions[1], 12, 13, get("b"), 100);
    transfer(&mut script, sessions[0], 20, ("b", 100), ("c", 100), None);
    script.ok(sessions[1], 30, 31, get("c"), 110);
    assert_eq!(judge(&script).0, Verdict::Pass);
}

/// Transfers one after the other in transactions, some of them undone or in doubt, and readings;
/// `half`: one of them loses its second write.
fn run(seed: u64, count: u64, half: Option<u64>) -> Script {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let (mut script, mut sessions) = new();
    let mut state = [100, 100, 100];
    let keys = ["a", "b", "c"];
    for at in 0..count {
        let worker = rng.random_range(0..3);
        let (from, to) = (at as usize % 3, (at as usize + rng.random_range(1..3)) % 3);
        let error = match rng.random_range(0..6) {
            _ if half == Some(at) => None,
            0 => Some(ErrorCode::Gone),
            1 => Some(ErrorCode::Conflict),
            _ => None,
        };
        let at_ms = 10 + at * 20;
        let (one, other) = ((keys[from], state[from]), (keys[to], state[to]));
        transfer(&mut script, sessions[worker], at_ms, one, other, error);
        if error.is_none() || (error == Some(ErrorCode::Gone) && rng.random()) {
            state[from] -= 10;
            if half != Some(at) {
                state[to] += 10;
            }
        }
        if error == Some(ErrorCode::Gone) {
            sessions[worker] = script.session(worker as u32, at_ms + 7);
        }
        if rng.random_range(0..3) == 0 || half == Some(at) {
            read(
                &mut script,
                sessions[rng.random_range(0..3)],
                at_ms + 10,
                state,
            );
        }
    }
    script
}

proptest! {
    #[test]
    fn a_correct_bank_passes_and_half_a_transfer_is_found(
        seed: u64, count in 1_u64..60, half in 0_u64..60,
    ) {
        let (verdict, message, _) = judge(&run(seed, count, None));
        prop_assert_eq!(verdict, Verdict::Pass, "{}", message);
        prop_assert_eq!(judge(&run(seed, count, Some(half % count))).0, Verdict::Fail);
    }
}
