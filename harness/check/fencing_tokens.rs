//! Fencing tokens grow from grant to grant.
//!
//! In which order grants came is known from their times and from exclusion
//! ([`super::hold_order`]): if that order is wrong, the lock was held by two.

use super::Findings;
use super::hold_order::greatest;
use super::holds::Locks;
use super::lock_words::{time, who};
use crate::history::History;
use std::collections::HashMap;

pub(super) fn check(history: &History, findings: &mut Findings) {
    for line in &Locks::of(history).lines {
        let tokens = greatest(&line.holds, |hold| hold.token);
        let mut seen: HashMap<i128, usize> = HashMap::new();
        for (at, hold) in line.holds.iter().enumerate() {
            let Some(token) = hold.token else { continue };
            findings.examined(1);
            let twice = seen.insert(token, at).filter(|other| {
                // The same grant, told twice.
                !hold.again || line.holds[*other].acquire.session != hold.acquire.session
            });
            let before = tokens[hold.after].filter(|other| line.holds[*other].token > hold.token);
            let Some(other) = before.or(twice) else {
                continue;
            };
            let other = &line.holds[other];
            let message = if other.token == hold.token {
                format!(
                    "two grants of {} have the fencing token {token}: {}'s by {} and {}'s by {}",
                    line.lock,
                    who(other.acquire),
                    time(other.answered_ns),
                    who(hold.acquire),
                    time(hold.answered_ns),
                )
            } else {
                format!(
                    "{} was granted {} with the fencing token {token} (by {}) after {}, whose \
                     token was {} (by {}): tokens must grow",
                    who(hold.acquire),
                    line.lock,
                    time(hold.answered_ns),
                    who(other.acquire),
                    other.token.unwrap_or_default(),
                    time(other.answered_ns),
                )
            };
            findings.violation(message, [other.acquire.id, hold.acquire.id]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::script::Script;
    use super::super::{CheckSpec, Verdict};
    use crate::protocol::{LockKind, LockName, Op};
    use serde_json::{Value, json};

    /// Two workers, one after the other; the second asks while the first holds.
    fn tokens(first: Value, second: Value) -> super::super::CheckResult {
        let lock = LockName::new(LockKind::Lock, "l");
        let acquire = Op::LockAcquire {
            lock: lock.clone(),
            timeout_ms: None,
            ttl_ms: None,
        };
        let release = Op::LockRelease { lock };
        let mut script = Script::new(CheckSpec::FencingTokens);
        let (one, two) = (script.session(1, 0), script.session(2, 0));
        script.ok(one, 0, 5, acquire.clone(), json!({ "token": first }));
        script.ok(two, 1, 12, acquire, json!({ "token": second }));
        script.ok(one, 11, 20, release.clone(), ());
        script.ok(two, 20, 21, release, ());
        script.judge()
    }

    #[test]
    fn growing_tokens_pass() {
        let result = tokens(json!(3), json!(9));
        assert_eq!((result.verdict, result.examined), (Verdict::Pass, 2));
    }

    #[test]
    fn no_tokens_are_nothing_to_judge() {
        let result = tokens(json!(null), json!(null));
        assert_eq!((result.verdict, result.examined), (Verdict::Pass, 0));
    }

    #[test]
    fn a_token_used_twice_fails() {
        let result = tokens(json!(3), json!(3));
        assert_eq!(result.violation_count, 1);
        assert!(
            result.violations[0]
                .message
                .starts_with("two grants of lock:l have the fencing token 3: worker 1's by 5 ms"),
            "{:?}",
            result.violations
        );
    }

    #[test]
    fn a_smaller_token_fails() {
        let result = tokens(json!(3), json!(2));
        assert_eq!(result.violation_count, 1);
        assert_eq!(result.violations[0].operations, [1, 2]);
        assert!(result.violations[0].message.contains("tokens must grow"));
    }
}
