//! A queue, in commit order: the least priority first, equal ones in order of arrival.
//!
//! What must stay true: an item that was passed over although it came first was perhaps taken by an
//! operation without an answer, as long as there are enough of those; each takes what it can
//! have taken once.

use super::super::Findings;
use super::super::values::same;
use super::super::wording::{deed, place, value};
use super::Deeds;
use crate::history::Operation;
use crate::protocol::Op;
use serde_json::Value;
use std::cmp::Ordering;
use std::collections::{BTreeMap, VecDeque};

/// After so many violations the rest of a queue isn't judged.
const VIOLATIONS_MAX: usize = 100;

/// A priority; the least comes first.
#[derive(Clone, Copy, Debug)]
struct Priority(f64);

impl Priority {
    fn new(priority: f64) -> Self {
        // 0.0 and -0.0 are equal.
        Self(priority + 0.0)
    }
}

impl PartialEq for Priority {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Priority {}

impl PartialOrd for Priority {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Priority {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

/// What was put.
#[derive(Clone, Copy)]
struct Item<'a> {
    /// The number of its operation; at the earliest, if it perhaps wasn't put.
    number: u64,
    put: &'a Operation,
    value: &'a Value,
}

/// An item that others were taken before.
struct Passed<'a> {
    item: Item<'a>,
    priority: Priority,
    /// By whom, if that was not reported.
    by: Option<&'a Operation>,
}

struct Queue<'a, 'd> {
    deeds: &'d Deeds<'a>,
    title: String,
    present: BTreeMap<Priority, VecDeque<Item<'a>>>,
    /// What perhaps was put.
    pending: Vec<(Priority, Item<'a>)>,
    /// How many items may have been taken by operations without an answer.
    tickets: u64,
    passed: Vec<Passed<'a>>,
    /// Equal items could stand for each other, and one was chosen.
    chosen: bool,
    violations: usize,
}

/// Why an item can't have been taken.
enum Odd<'a> {
    /// This one comes first.
    Before(Item<'a>),
    /// Others that come later were taken before it.
    After(&'a Operation),
    /// It wasn't there.
    Absent,
}

pub(super) fn replay(deeds: &Deeds<'_>, findings: &mut Findings) {
    let title = deeds
        .order
        .first()
        .and_then(|(_, operation)| place(&operation.op))
        .unwrap_or_default();
    let queue = Queue {
        deeds,
        title,
        present: BTreeMap::new(),
        pending: Vec::new(),
        tickets: 0,
        passed: Vec::new(),
        chosen: false,
        violations: 0,
    };
    queue.replay(findings);
}

/// The value and the priority of an item that was taken.
fn taken(got: &Value) -> Option<(&Value, Priority)> {
    let priority = got.get("priority")?.as_f64()?;
    Some((got.get("value")?, Priority::new(priority)))
}

impl<'a> Queue<'a, '_> {
    fn replay(mut self, findings: &mut Findings) {
        let deeds = self.deeds;
        let mut perhaps = deeds.perhaps.iter().peekable();
        for (number, operation) in &deeds.order {
            while let Some((after, other)) = perhaps.next_if(|(after, _)| after < number) {
                match &other.op {
                    Op::QueuePut {
                        value, priority, ..
                    } => {
                        let item = Item {
                            number: *after,
                            put: other,
                            value,
                        };
                        self.pending.push((Priority::new(*priority), item));
                    }
                    Op::QueueGet { .. } => self.tickets += 1,
                    Op::QueueGetBatch { count, .. } => self.tickets += u64::from(*count),
                    _ => {}
                }
            }
            match (&operation.op, operation.ok()) {
                (
                    Op::QueuePut {
                        value, priority, ..
                    },
                    _,
                ) => {
                    let item = Item {
                        number: *number,
                        put: operation,
                        value,
                    };
                    let of_priority = self.present.entry(Priority::new(*priority)).or_default();
                    of_priority.push_back(item);
                }
                (Op::QueueGet { .. }, Some(got)) => self.take(operation, got, findings),
                (Op::QueueGetBatch { .. }, Some(Value::Array(all))) => {
                    for got in all {
                        self.take(operation, got, findings);
                    }
                }
                _ => {}
            }
            if self.violations >= VIOLATIONS_MAX {
                return;
            }
        }
    }

    fn take(&mut self, operation: &'a Operation, got: &Value, findings: &mut Findings) {
        let Some((wanted, priority)) = taken(got) else {
            self.violations += 1;
            findings.violation(
                format!("{}: {}, which is no item", self.title, deed(operation)),
                [operation.id],
            );
            return;
        };
        if let Some(mut first) = self.present.first_entry()
            && *first.key() == priority
            && first
                .get()
                .front()
                .is_some_and(|item| same(item.value, wanted))
        {
            first.get_mut().pop_front();
            if first.get().is_empty() {
                first.remove();
            }
            return;
        }
        let Err(odd) = self.take_other(operation, wanted, priority) else {
            return;
        };
        self.violations += 1;
        if self.chosen {
            findings.unknown(format!(
                "{}: equal items were put, some without an answer",
                self.title
            ));
            self.violations = VIOLATIONS_MAX;
            return;
        }
        self.tell(operation, wanted, odd, findings);
    }

    /// Takes an item that isn't the first.
    fn take_other(
        &mut self,
        operation: &'a Operation,
        wanted: &Value,
        priority: Priority,
    ) -> Result<(), Odd<'a>> {
        let of_priority = self.present.get(&priority);
        let at =
            of_priority.and_then(|items| items.iter().position(|item| same(item.value, wanted)));
        let perhaps = self
            .pending
            .iter()
            .position(|(known, item)| *known == priority && same(item.value, wanted));
        self.chosen |= at.is_some() && perhaps.is_some();
        let (same_priority, found) = match (at, perhaps) {
            (Some(at), _) => (at, true),
            (None, Some(perhaps)) => {
                // It may have been put as early as this.
                let (_, item) = self.pending.swap_remove(perhaps);
                let before = of_priority.map_or(0, |items| {
                    items.partition_point(|other| other.number <= item.number)
                });
                (before, false)
            }
            (None, None) => return self.take_passed(wanted, priority),
        };
        // All that come before it.
        let mut before: Vec<(Priority, Item<'a>)> = Vec::new();
        while let Some(first) = self.present.first_entry() {
            if *first.key() >= priority {
                break;
            }
            let (priority, items) = first.remove_entry();
            before.extend(items.into_iter().map(|item| (priority, item)));
        }
        if let Some(items) = self.present.get_mut(&priority) {
            before.extend(items.drain(..same_priority).map(|item| (priority, item)));
            if found {
                items.pop_front();
            }
            if items.is_empty() {
                self.present.remove(&priority);
            }
        }
        let explained = u64::try_from(before.len()).is_ok_and(|count| count <= self.tickets);
        let odd = usize::try_from(self.tickets)
            .ok()
            .and_then(|tickets| before.get(tickets))
            .map(|(_, item)| *item);
        let used = self.tickets.min(before.len() as u64);
        self.tickets -= used;
        let by = explained.then_some(operation);
        self.passed
            .extend(
                before
                    .into_iter()
                    .map(|(priority, item)| Passed { item, priority, by }),
            );
        match odd {
            Some(first) => Err(Odd::Before(first)),
            None => Ok(()),
        }
    }

    /// Takes an item that others were taken before.
    fn take_passed(&mut self, wanted: &Value, priority: Priority) -> Result<(), Odd<'a>> {
        let known = self
            .passed
            .iter()
            .position(|passed| passed.priority == priority && same(passed.item.value, wanted));
        let Some(known) = known else {
            return Err(Odd::Absent);
        };
        match self.passed.swap_remove(known).by {
            Some(by) => Err(Odd::After(by)),
            None => Ok(()),
        }
    }

    fn tell(&self, operation: &Operation, wanted: &Value, odd: Odd<'_>, findings: &mut Findings) {
        let title = &self.title;
        let told = deed(operation);
        match odd {
            Odd::Before(first) => findings.violation(
                format!(
                    "{title}: {told}, but {} comes first and was there: {}",
                    value(first.value),
                    deed(first.put)
                ),
                [first.put.id, operation.id],
            ),
            Odd::After(other) => findings.violation(
                format!("{title}: {told} comes first, but before it {}", deed(other)),
                [other.id, operation.id],
            ),
            Odd::Absent => {
                let mut earlier = None;
                for (_, other) in &self.deeds.order {
                    if other.id == operation.id {
                        break;
                    }
                    let has = match (&other.op, other.ok()) {
                        (Op::QueuePut { value, .. }, _) => same(value, wanted),
                        (Op::QueueGetBatch { .. }, Some(Value::Array(all))) => all
                            .iter()
                            .any(|got| taken(got).is_some_and(|(value, _)| same(value, wanted))),
                        (_, Some(got)) => taken(got).is_some_and(|(value, _)| same(value, wanted)),
                        _ => false,
                    };
                    if has {
                        earlier = Some(*other);
                    }
                }
                let why = earlier.map_or_else(
                    || "nobody had put it by then".to_owned(),
                    |earlier| format!("it was not there (any more): {}", deed(earlier)),
                );
                findings.violation(
                    format!("{title}: {told}, but in commit order {why}"),
                    earlier
                        .map(|earlier| earlier.id)
                        .into_iter()
                        .chain([operation.id]),
                );
            }
        }
    }
}
