//! No two withdrawals both relied on the same money.
//!
//! Nobody who reads all accounts together finds a sum below `least`; and the withdrawals (in
//! transactions, or under the lock) have an order in which each finds what the one before left.

use super::Findings;
use super::balances::{Balances, deed_of};
use super::wording::list;
use crate::history::History;

pub(super) fn check(
    history: &History,
    name: &str,
    accounts: &[String],
    least: i64,
    findings: &mut Findings,
) {
    let balances = match Balances::of(history, name, accounts) {
        Ok(balances) => balances,
        Err(why) => return findings.unknown(why),
    };
    findings.examined(balances.len());
    for reading in balances.readings() {
        let Some(sum) = reading.sum else {
            findings.unknown(format!("dict {name}: a balance is no whole number"));
            continue;
        };
        if sum >= least {
            continue;
        }
        if reading.doubtful {
            findings.unknown(format!(
                "dict {name}: a sum of {sum} was read while something without an answer may have \
                 been done"
            ));
            continue;
        }
        let told: Vec<_> = reading.steps.iter().map(|step| deed_of(step)).collect();
        findings.violation(
            format!(
                "dict {name}: a sum of {sum}, less than {least}: {}",
                list(&told)
            ),
            reading.steps.iter().map(|step| step.id),
        );
    }
    balances.check_order(
        findings,
        "withdrawals that relied on the same money, as no order of them explains what they found",
    );
}

#[cfg(test)]
mod tests {
    use super::super::script::Script;
    use super::super::{CheckSpec, Verdict};
    use crate::protocol::{ErrorCode, Op};
    use proptest::prelude::*;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;
    use serde_json::Value;

    const NULL: Value = Value::Null;

    fn set(key: &str, value: i64) -> Op {
        Op::DictSet {
            name: "d".into(),
            key: key.into(),
            value: value.into(),
        }
    }

    fn new() -> (Script, Vec<u64>) {
        let mut script = Script::new(CheckSpec::WriteSkew {
            name: "d".into(),
            accounts: vec!["a".into(), "b".into()],
            least: 0,
        });
        let sessions: Vec<u64> = (0..3).map(|worker| script.session(worker, 0)).collect();
        script.ok(sessions[0], 0, 0, set("a", 50), NULL);
        script.ok(sessions[0], 1, 1, set("b", 50), NULL);
        (script, sessions)
    }

    /// A withdrawal in three parts, so that two may overlap.
    fn begin(script: &mut Script, session: u64, at: u64, found: [i64; 2]) {
        script.ok(session, at, at, Op::Begin, NULL);
        for (key, balance) in ["a", "b"].into_iter().zip(found) {
            let key = key.to_owned();
            let name = "d".to_owned();
            script.ok(session, at, at, Op::DictGet { name, key }, balance);
        }
    }

    fn end(script: &mut Script, session: u64, at: u64, new: (&str, i64), undone: bool) {
        script.ok(session, at, at, set(new.0, new.1), NULL);
        if undone {
            script.fail(session, at, at + 1, Op::Commit, ErrorCode::Conflict);
        } else {
            script.ok(session, at, at + 1, Op::Commit, NULL);
        }
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

    #[test]
    fn two_that_rely_on_the_same_money_are_found() {
        let (mut script, sessions) = new();
        begin(&mut script, sessions[0], 10, [50, 50]);
        begin(&mut script, sessions[1], 11, [50, 50]);
        end(&mut script, sessions[0], 12, ("a", -20), false);
        end(&mut script, sessions[1], 14, ("b", -20), false);
        let (verdict, message, ids) = judge(&script);
        assert_eq!(verdict, Verdict::Fail);
        assert!(message.contains("relied on the same money"), "{message}");
        for id in [4, 5, 7, 8, 9, 11] {
            assert!(ids.contains(&id), "{ids:?}");
        }
        // Unless one of them is undone.
        let (mut script, sessions) = new();
        begin(&mut script, sessions[0], 10, [50, 50]);
        begin(&mut script, sessions[1], 11, [50, 50]);
        end(&mut script, sessions[0], 12, ("a", -20), false);
        end(&mut script, sessions[1], 14, ("b", -20), true);
        assert_eq!(judge(&script).0, Verdict::Pass);
    }

    #[test]
    fn a_sum_below_the_least_is_shown_by_who_read_it() {
        let (mut script, sessions) = new();
        begin(&mut script, sessions[0], 10, [50, 50]);
        end(&mut script, sessions[0], 12, ("a", -60), false);
        begin(&mut script, sessions[1], 20, [-60, 50]);
        script.ok(sessions[1], 21, 22, Op::Commit, NULL);
        let (verdict, message, ids) = judge(&script);
        assert_eq!((verdict, ids), (Verdict::Fail, vec![9, 10]));
        assert!(message.contains("a sum of -10, less than 0"), "{message}");
    }

    /// Withdrawals, two at a time, of which one is undone; `both`: once none is.
    fn run(seed: u64, count: u64, both: Option<u64>) -> Script {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let (mut script, sessions) = new();
        let mut state = [50, 50];
        let keys = ["a", "b"];
        for round in 0..count {
            let at = 10 + round * 10;
            let undone = rng.random_range(0..2);
            begin(&mut script, sessions[0], at, state);
            begin(&mut script, sessions[1], at + 1, state);
            let before = state;
            for which in 0..2 {
                let new = (keys[which], before[which] - 1);
                let undone = which == undone && both != Some(round);
                end(
                    &mut script,
                    sessions[which],
                    at + 2 + which as u64 * 2,
                    new,
                    undone,
                );
                if !undone {
                    state[which] -= 1;
                }
            }
        }
        script
    }

    proptest! {
        #[test]
        fn snapshots_that_conflict_are_always_found(seed: u64, count in 1_u64..40, both in 0_u64..40) {
            let (verdict, message, _) = judge(&run(seed, count, None));
            prop_assert_eq!(verdict, Verdict::Pass, "{}", message);
            prop_assert_eq!(judge(&run(seed, count, Some(both % count))).0, Verdict::Fail);
        }
    }
}
