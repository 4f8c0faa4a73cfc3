//! Whether the waits of case 3 ended as they should.

use crate::increments::micros;
use crate::protocol::{WaitEnd, WaitRecord};
use crate::table::time_text;
use crate::verdict::{Verdict, Who};
use std::time::Duration;

/// One who stood in line.
#[derive(Clone)]
pub(crate) struct Waiter {
    pub(crate) who: Who,
    /// None waits for ever.
    pub(crate) deadline: Option<Duration>,
    /// Its row of the lock table; none when it was gone before it was seen.
    pub(crate) row: Option<String>,
    pub(crate) record: Option<WaitRecord>,
}

impl Waiter {
    /// By how much a timeout came after its deadline.
    pub(crate) fn lateness_us(&self) -> Option<u64> {
        match (self.deadline, &self.record) {
            (
                Some(deadline),
                Some(WaitRecord {
                    ended: WaitEnd::Timeout,
                    waited_us,
                }),
            ) => Some(waited_us.saturating_sub(micros(deadline))),
            _ => None,
        }
    }

    pub(crate) fn granted_at_us(&self) -> Option<u64> {
        match self.record.as_ref()?.ended {
            WaitEnd::Granted { at_us, .. } => Some(at_us),
            _ => None,
        }
    }
}

/// The waits with a deadline, while the holder still held.
pub(crate) struct DeadlineEvidence {
    pub(crate) waiters: Vec<Waiter>,
    /// The lock's rows when all of them had answered.
    pub(crate) rows: Vec<String>,
    /// How many rows there must be then: the holder's, and those of the
    /// waiters without a deadline.
    pub(crate) rows_expected: usize,
    pub(crate) lateness_max: Duration,
}

pub(crate) fn judge_deadlines(evidence: &DeadlineEvidence) -> Verdict {
    let mut verdict = Verdict::default();
    if evidence.waiters.is_empty() {
        verdict.fail("nobody waited with a deadline, so this shows nothing");
    }
    verdict.fail_each(evidence.waiters.iter().filter_map(|waiter| {
        let name = &waiter.who.name;
        let deadline = waiter.deadline?;
        let deadline_us = micros(deadline);
        let Some(record) = &waiter.record else {
            return Some(format!("{name} never answered"));
        };
        let waited_us = record.waited_us;
        match &record.ended {
            WaitEnd::Failed { message } => Some(format!("{name}: {message}")),
            WaitEnd::Granted { .. } => Some(format!(
                "{name} was given the lock while somebody else held it"
            )),
            WaitEnd::Timeout if waited_us < deadline_us => Some(format!(
                "{name} timed out after {}, before its deadline of {}",
                time_text(waited_us),
                time_text(deadline_us)
            )),
            WaitEnd::Timeout if waited_us > deadline_us + micros(evidence.lateness_max) => {
                Some(format!(
                    "{name} timed out {} after its deadline, more than {}",
                    time_text(waited_us - deadline_us),
                    time_text(micros(evidence.lateness_max))
                ))
            }
            WaitEnd::Timeout => None,
        }
    }));
    verdict.fail_each(evidence.waiters.iter().filter_map(|waiter| {
        let row = waiter
            .row
            .as_ref()
            .filter(|row| evidence.rows.contains(row))?;
        Some(format!(
            "{} timed out and left its row {row} in the lock table",
            waiter.who.name
        ))
    }));
    if evidence.rows.len() != evidence.rows_expected {
        verdict.fail(format!(
            "the lock has {} rows after the timeouts, not {}",
            evidence.rows.len(),
            evidence.rows_expected
        ));
    }
    verdict
}

/// The waits without a deadline, after all is over.
pub(crate) struct LineEvidence {
    /// In the order of the line, which native SQLite saw grow.
    pub(crate) waiters: Vec<Waiter>,
    pub(crate) holder_token: u64,
    /// What each wrote while it held the lock, in commit order.
    pub(crate) log: Vec<String>,
    /// The lock's rows at the end.
    pub(crate) rows: Vec<String>,
}

pub(crate) fn judge_line(evidence: &LineEvidence) -> Verdict {
    let mut verdict = Verdict::default();
    if evidence.waiters.is_empty() {
        verdict.fail("nobody waited without a deadline, so this shows nothing");
    }
    let mut token_before = evidence.holder_token;
    verdict.fail_each(evidence.waiters.iter().enumerate().filter_map(|(index, waiter)| {
        let name = &waiter.who.name;
        let place = index + 1;
        match waiter.record.as_ref().map(|record| &record.ended) {
            None => Some(format!("{name}, number {place} in line, never had the lock")),
            Some(WaitEnd::Timeout) => {
                Some(format!("{name}, number {place} in line, timed out although it had no deadline"))
            }
            Some(WaitEnd::Failed { message }) => Some(format!("{name}: {message}")),
            Some(WaitEnd::Granted { token: None, .. }) => None,
            Some(WaitEnd::Granted { token: Some(token), .. }) => {
                let expected = token_before + 1;
                token_before = *token;
                (*token != expected).then(|| {
                    format!("{name}, number {place} in line, got fencing token {token}, not {expected}")
                })
            }
        }
    }));
    let expected: Vec<&str> = evidence
        .waiters
        .iter()
        .map(|waiter| waiter.who.name.as_str())
        .collect();
    if evidence.log != expected {
        let first = (0..expected.len().max(evidence.log.len()))
            .find(|&index| {
                evidence.log.get(index).map(String::as_str) != expected.get(index).copied()
            })
            .unwrap_or(0);
        let name = |name: Option<&str>| name.unwrap_or("nobody").to_owned();
        verdict.fail(format!(
            "as number {} the lock went to {}, though {} was next",
            first + 1,
            name(evidence.log.get(first).map(String::as_str)),
            name(expected.get(first).copied())
        ));
    }
    verdict.fail_each(
        evidence
            .rows
            .iter()
            .map(|row| format!("the lock's row {row} was left behind")),
    );
    verdict
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::Kind;

    fn waiter(name: &str, deadline_ms: Option<u64>, ended: WaitEnd, waited_ms: u64) -> Waiter {
        Waiter {
            who: Who {
                kind: Kind::Instance,
                name: name.into(),
            },
            deadline: deadline_ms.map(Duration::from_millis),
            row: Some(format!("row of {name}")),
            record: Some(WaitRecord {
                ended,
                waited_us: waited_ms * 1000,
            }),
        }
    }

    fn deadlines(waiters: Vec<Waiter>) -> DeadlineEvidence {
        DeadlineEvidence {
            waiters,
            rows: vec!["row of holder".into(), "row of c".into()],
            rows_expected: 2,
            lateness_max: Duration::from_millis(1000),
        }
    }

    fn deadline_reasons(evidence: &DeadlineEvidence) -> String {
        judge_deadlines(evidence).reasons().join("\n")
    }

    fn granted(token: u64) -> WaitEnd {
        WaitEnd::Granted {
            token: Some(token),
            at_us: token,
        }
    }

    fn line(tokens: &[Option<u64>], log: &[&str]) -> LineEvidence {
        let waiters = tokens
            .iter()
            .zip(["a", "b", "c", "d"])
            .map(|(&token, name)| waiter(name, None, WaitEnd::Granted { token, at_us: 0 }, 5));
        LineEvidence {
            waiters: waiters.collect(),
            holder_token: 7,
            log: log.iter().map(|&name| name.to_owned()).collect(),
            rows: Vec::new(),
        }
    }

    fn line_reasons(evidence: &LineEvidence) -> String {
        judge_line(evidence).reasons().join("\n")
    }

    #[test]
    fn timeouts_within_the_bound_pass() {
        let good = deadlines(vec![
            waiter("a", Some(500), WaitEnd::Timeout, 500),
            waiter("b", Some(500), WaitEnd::Timeout, 1500),
        ]);
        assert_eq!(deadline_reasons(&good), "");
    }

    #[test]
    fn an_early_timeout_fails() {
        let early = deadlines(vec![waiter("a", Some(500), WaitEnd::Timeout, 499)]);
        assert!(
            deadline_reasons(&early)
                .contains("a timed out after 499 ms, before its deadline of 500 ms")
        );
    }

    #[test]
    fn a_late_timeout_fails() {
        let late = deadlines(vec![waiter("a", Some(500), WaitEnd::Timeout, 1501)]);
        assert!(deadline_reasons(&late).contains("a timed out 1.00 s after its deadline"));
    }

    #[test]
    fn a_grant_in_spite_of_the_holder_and_a_failure_fail() {
        let broken = deadlines(vec![
            waiter("a", Some(500), granted(9), 100),
            waiter(
                "b",
                Some(500),
                WaitEnd::Failed {
                    message: "trap".into(),
                },
                0,
            ),
        ]);
        let text = deadline_reasons(&broken);
        assert!(
            text.contains("a was given the lock while") && text.contains("b: trap"),
            "{text}"
        );
    }

    #[test]
    fn a_row_left_over_fails_and_is_named() {
        let mut left = deadlines(vec![waiter("a", Some(500), WaitEnd::Timeout, 500)]);
        left.rows.push("row of a".into());
        let text = deadline_reasons(&left);
        assert!(
            text.contains("a timed out and left its row row of a"),
            "{text}"
        );
        assert!(text.contains("3 rows after the timeouts, not 2"), "{text}");
        // One that was never seen is counted all the same.
        left.waiters[0].row = None;
        assert!(deadline_reasons(&left).contains("3 rows"));
        // A holder or waiter that has vanished, too.
        left.rows.truncate(1);
        assert!(deadline_reasons(&left).contains("1 rows after the timeouts, not 2"));
    }

    #[test]
    fn a_line_in_order_passes_with_and_without_tokens() {
        assert_eq!(
            line_reasons(&line(&[Some(8), Some(9), Some(10)], &["a", "b", "c"])),
            ""
        );
        // Python takes no token; the log still tells its place.
        assert_eq!(
            line_reasons(&line(&[Some(8), None, Some(9)], &["a", "b", "c"])),
            ""
        );
    }

    #[test]
    fn tokens_out_of_order_fail() {
        let text = line_reasons(&line(&[Some(9), Some(8), Some(10)], &["a", "b", "c"]));
        assert!(
            text.contains("a, number 1 in line, got fencing token 9, not 8"),
            "{text}"
        );
    }

    #[test]
    fn a_token_in_between_fails() {
        let text = line_reasons(&line(&[Some(8), Some(10)], &["a", "b"]));
        assert!(
            text.contains("b, number 2 in line, got fencing token 10, not 9"),
            "{text}"
        );
    }

    #[test]
    fn grants_out_of_order_fail() {
        let text = line_reasons(&line(&[Some(8), None, Some(9)], &["a", "c", "b"]));
        assert!(
            text.contains("as number 2 the lock went to c, though b was next"),
            "{text}"
        );
        let text = line_reasons(&line(&[Some(8), Some(9)], &["a"]));
        assert!(
            text.contains("as number 2 the lock went to nobody, though b was next"),
            "{text}"
        );
    }

    #[test]
    fn rows_and_silence_at_the_end_fail() {
        let mut evidence = line(&[Some(8), Some(9)], &["a", "b"]);
        evidence.rows.push("row of x".into());
        evidence.waiters[1].record = None;
        let text = line_reasons(&evidence);
        assert!(text.contains("row of x was left behind"), "{text}");
        assert!(
            text.contains("b, number 2 in line, never had the lock"),
            "{text}"
        );
    }
}
