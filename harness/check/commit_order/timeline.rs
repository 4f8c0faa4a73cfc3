//! Numbers and real time.
//!
//! What must stay true: an operation in a transaction takes effect between its own invocation and the
//! acknowledgement of the commit, if that came.

use super::super::Findings;
use super::super::transactions::{Fate, Place, Transactions};
use super::super::wording::deed_at;
use crate::history::{History, Operation};

/// An operation with a number.
#[derive(Clone, Copy)]
pub(super) struct Numbered<'a> {
    pub(super) number: u64,
    pub(super) operation: &'a Operation,
    /// When it had certainly been done.
    to: u64,
}

/// An operation without one.
pub(super) struct Other<'a> {
    pub(super) operation: &'a Operation,
    /// Whether it happened.
    pub(super) certain: bool,
    to: u64,
}

/// All operations that may have happened.
pub(super) struct Timeline<'a> {
    /// In the order of numbers.
    pub(super) order: Vec<Numbered<'a>>,
    /// In the order of their invocations.
    pub(super) others: Vec<Other<'a>>,
    /// Ends, and the greatest number that had ended by then.
    ended: Vec<(u64, u64)>,
    /// Begins, and the least number that begins then or later.
    begins: Vec<(u64, u64)>,
}

impl<'a> Timeline<'a> {
    pub(super) fn of(history: &'a History, transactions: &Transactions) -> Self {
        let mut order = Vec::new();
        let mut others = Vec::new();
        for (at, operation) in history.operations.iter().enumerate() {
            if !operation.may_have_happened() {
                continue;
            }
            let (certain, to) = match transactions.place(at) {
                Place::Alone => (!operation.is_info(), operation.latest_ns()),
                Place::Unsure => (false, u64::MAX),
                Place::In(number) => match transactions.get(number) {
                    Some(own) if own.fate == Fate::Committed => {
                        (!operation.is_info(), own.ended_ns)
                    }
                    Some(own) if own.fate == Fate::Unknown => (false, u64::MAX),
                    _ => continue,
                },
            };
            match operation.commit() {
                Some(number) if certain => order.push(Numbered {
                    number,
                    operation,
                    to,
                }),
                _ => others.push(Other {
                    operation,
                    certain,
                    to,
                }),
            }
        }
        let is_sorted = order.is_sorted_by_key(|one| one.number);
        if !is_sorted {
            order.sort_by_key(|one| one.number);
        }
        let mut timeline = Self {
            order,
            others,
            ended: Vec::new(),
            begins: Vec::new(),
        };
        if !timeline.others.is_empty() {
            timeline.index();
        }
        timeline
    }

    fn index(&mut self) {
        self.ended = self.order.iter().map(|one| (one.to, one.number)).collect();
        self.ended.sort_unstable();
        let mut greatest = 0;
        for (_, number) in &mut self.ended {
            greatest = greatest.max(*number);
            *number = greatest;
        }
        let begins = self
            .order
            .iter()
            .map(|one| (one.operation.invoked_ns, one.number));
        self.begins = begins.collect();
        self.begins.sort_unstable();
        let mut least = u64::MAX;
        for (_, number) in self.begins.iter_mut().rev() {
            least = least.min(*number);
            *number = least;
        }
    }

    /// The numbers between which an operation without one belongs.
    pub(super) fn between(&self, other: &Other<'_>) -> (u64, u64) {
        let from = other.operation.invoked_ns;
        let ended = self.ended.partition_point(|(end, _)| *end < from);
        let after = ended.checked_sub(1).and_then(|at| self.ended.get(at));
        let begins = self.begins.partition_point(|(begin, _)| *begin <= other.to);
        let before = self.begins.get(begins);
        (
            after.map_or(0, |(_, number)| *number),
            before.map_or(u64::MAX, |(_, number)| *number),
        )
    }

    /// No number twice.
    pub(super) fn check_numbers(&self, findings: &mut Findings) {
        for pair in self.order.windows(2) {
            if let [one, other] = pair
                && one.number == other.number
            {
                findings.violation(
                    format!(
                        "two operations have the same place in commit order: {} and {}",
                        deed_at(one.operation),
                        deed_at(other.operation)
                    ),
                    [one.operation.id, other.operation.id],
                );
            }
        }
    }

    /// No lower number for what began after the end of what has a higher one.
    pub(super) fn check_time(&self, findings: &mut Findings) {
        let mut latest: Option<&Numbered<'_>> = None;
        for one in &self.order {
            match latest {
                Some(before) if before.operation.invoked_ns > one.to => findings.violation(
                    format!(
                        "commit order contradicts real time: {} began after the end of {}, and \
                         has the lower number",
                        deed_at(before.operation),
                        deed_at(one.operation)
                    ),
                    [one.operation.id, before.operation.id],
                ),
                Some(before) if before.operation.invoked_ns >= one.operation.invoked_ns => {}
                _ => latest = Some(one),
            }
        }
    }
}
