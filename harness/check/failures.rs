//! Failures that are alike, put together: a driver that says the same thing a thousand times is
//! wrong in one way.

use super::Findings;
use crate::history::Operation;
use crate::protocol::ErrorCode;
use std::collections::HashMap;

/// How many operations of a kind are shown.
const SHOWN: usize = 5;

struct Group<'h> {
    first: &'h Operation,
    operations: Vec<u64>,
    count: u64,
}

/// Failures by operation, code and words without their numbers.
#[derive(Default)]
pub(super) struct Failures<'h> {
    groups: Vec<Group<'h>>,
    places: HashMap<(&'static str, Option<ErrorCode>, String), usize>,
}

impl<'h> Failures<'h> {
    /// One more.
    pub(super) fn add(&mut self, operation: &'h Operation) {
        let failure = operation.failure();
        let words = failure.map_or_else(String::new, |failure| without_numbers(&failure.message));
        let kind = (
            operation.op.name(),
            failure.map(|failure| failure.error),
            words,
        );
        let place = *self.places.entry(kind).or_insert_with(|| {
            self.groups.push(Group {
                first: operation,
                operations: Vec::new(),
                count: 0,
            });
            self.groups.len() - 1
        });
        let group = &mut self.groups[place];
        group.count += 1;
        if group.operations.len() < SHOWN {
            group.operations.push(operation.id);
        }
    }

    /// A violation for each kind: the operation, `what` about it, the driver's own words, how often.
    pub(super) fn report(self, what: &str, findings: &mut Findings) {
        for group in self.groups {
            let failure = group.first.failure().map(ToString::to_string);
            let often = match group.count {
                1 => format!("worker {}", group.first.worker),
                count => format!("{count} times, first for worker {}", group.first.worker),
            };
            findings.violation(
                format!(
                    "{} {what} {} ({often})",
                    group.first.op.name(),
                    failure.unwrap_or_default()
                ),
                group.operations,
            );
        }
    }
}

/// Each run of digits as one `0`.
fn without_numbers(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for next in text.chars() {
        if !next.is_ascii_digit() {
            plain.push(next);
        } else if !plain.ends_with('0') {
            plain.push('0');
        }
    }
    plain
}
