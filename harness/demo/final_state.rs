//! What is in the file when everybody has gone: through native SQLite, and
//! through BeaverDB's Python package.
//!
//! What must stay true: it compares with what the cases' table said, so that a
//! file that changes or breaks when the last process closes it is noticed.

use crate::observer::Observer;
use crate::verdict::Verdict;
use crate::worker_python::Python;
use crate::{batches, increments, timeouts};
use anyhow::Result;
use std::path::Path;

/// What must be there.
pub(crate) struct Expected {
    /// The counter, as it was right after case 1.
    pub(crate) counter: u64,
    /// How many labels are in the log of case 3.
    pub(crate) log_length: u64,
}

/// Checks the file; tells what it found, line by line.
pub(crate) fn check(
    database: &Path,
    python: Option<&Python>,
    expected: &Expected,
) -> Result<(Vec<String>, Verdict)> {
    let mut told = Vec::new();
    let mut verdict = Verdict::default();
    {
        let observer = Observer::open_alone(database)?;
        let integrity = observer.integrity()?;
        told.push(format!("PRAGMA integrity_check: {}", integrity.join("; ")));
        judge_integrity(&integrity, &mut verdict);

        let found = Found {
            counter: observer.dict_number(increments::DICT, increments::KEY)?,
            queue_lengths: vec![
                observer.queue_len(batches::FILLED)?,
                observer.queue_len(batches::MIXED)?,
            ],
            log_length: observer.queue_len(timeouts::LOG)?,
        };
        told.push(format!("native sqlite3:         {found}"));
        found.judge("native sqlite3", expected, &mut verdict);
        verdict.fail_each(
            observer
                .all_lock_rows()?
                .into_iter()
                .map(|row| format!("the lock table still has a row: {row}")),
        );
    }
    if let Some(python) = python {
        let read = python.read(
            database,
            (increments::DICT, increments::KEY),
            &[batches::FILLED, batches::MIXED],
            timeouts::LOG,
        )?;
        let found = Found {
            counter: read.counter,
            queue_lengths: read.queue_lengths,
            log_length: read.log_length,
        };
        told.push(format!("Python beaver-db 1.3.0: {found}"));
        found.judge("Python", expected, &mut verdict);
    }
    Ok((told, verdict))
}

fn judge_integrity(answer: &[String], verdict: &mut Verdict) {
    if answer != ["ok"] {
        verdict.fail_each(answer.iter().map(|line| format!("integrity_check: {line}")));
        if answer.is_empty() {
            verdict.fail("integrity_check gave no answer");
        }
    }
}

struct Found {
    counter: Option<u64>,
    queue_lengths: Vec<u64>,
    log_length: u64,
}

impl Found {
    fn counter_text(&self) -> String {
        self.counter
            .map_or("none".to_owned(), |counter| counter.to_string())
    }

    fn judge(&self, reader: &str, expected: &Expected, verdict: &mut Verdict) {
        if self.counter.unwrap_or(0) != expected.counter {
            verdict.fail(format!(
                "{reader} reads the counter as {}, but {} increments were acknowledged",
                self.counter_text(),
                expected.counter
            ));
        }
        if self.queue_lengths.iter().any(|&length| length != 0) {
            verdict.fail(format!(
                "{reader} finds {:?} items in the queues, which should be empty",
                self.queue_lengths
            ));
        }
        if self.log_length != expected.log_length {
            verdict.fail(format!(
                "{reader} finds {} grants in the log, not {}",
                self.log_length, expected.log_length
            ));
        }
    }
}

impl std::fmt::Display for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let counter = self.counter_text();
        write!(
            f,
            "counter = {counter}, items left = {:?}, grants logged = {}",
            self.queue_lengths, self.log_length
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXPECTED: Expected = Expected {
        counter: 10,
        log_length: 3,
    };

    fn reasons(counter: Option<u64>, lengths: &[u64], log_length: u64) -> String {
        let mut verdict = Verdict::default();
        let found = Found {
            counter,
            queue_lengths: lengths.to_vec(),
            log_length,
        };
        found.judge("somebody", &EXPECTED, &mut verdict);
        verdict.reasons().join("\n")
    }

    #[test]
    fn a_difference_fails() {
        assert_eq!(reasons(Some(10), &[0, 0], 3), "");
        assert!(reasons(Some(9), &[0, 0], 3).contains("counter as 9,"));
        assert!(reasons(None, &[0, 0], 3).contains("counter as none,"));
        assert!(reasons(Some(10), &[0, 1], 3).contains("[0, 1] items"));
        assert!(reasons(Some(10), &[0, 0], 4).contains("4 grants"));
    }

    #[test]
    fn a_damaged_file_fails() {
        for answer in [&[][..], &["row 3 missing from index".to_owned()]] {
            let mut verdict = Verdict::default();
            judge_integrity(answer, &mut verdict);
            assert!(!verdict.passed());
        }
        let mut verdict = Verdict::default();
        judge_integrity(&["ok".to_owned()], &mut verdict);
        assert!(verdict.passed());
    }
}
