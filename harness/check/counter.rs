//! Increments of a key were each done once: none lost, none done twice.
//!
//! An increment reads a number and writes the next. Made under a lock that all increments take, or
//! in a transaction, it is one step, and so:
//! - no two wrote the same number, if both were acknowledged (and committed);
//! - who reads after a number was acknowledged finds that number or more;
//! - a number that is read was written by somebody who had begun by then.
//!
//! Together these bound what is found at the end: at least as many as were acknowledged, at most
//! those and the ones that nobody knows of.
//!
//! What must stay true: an increment promises nothing if it is made without lock and transaction, or
//! under another lock than others (unless managers' locks are mandatory), and neither does a key
//! that is also written otherwise meanwhile. Then nothing is said.

use super::Findings;
use super::transactions::{Fate, Place, Transactions};
use super::wording::{deed, value};
use crate::history::{History, Operation};
use crate::protocol::{Capability, LockKind, LockName, Op};
use crate::step::Step;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap, HashSet};

/// One increment.
struct Increment<'a> {
    get: &'a Operation,
    set: &'a Operation,
    /// What it wrote.
    number: i64,
    /// Whether it was acknowledged, and so the latest moment at which it was done.
    done: Option<u64>,
    /// Before this nobody else can have seen it.
    visible: u64,
}

/// A reading from outside the transactions that wrote before it.
struct Reading<'a> {
    get: &'a Operation,
    number: i64,
    /// Not before this.
    from: u64,
}

pub(super) fn check(history: &History, name: &str, key: &str, findings: &mut Findings) {
    let transactions = Transactions::of(history);
    let guards = match guards(history, name, key) {
        Ok(guards) => guards,
        Err(why) => return findings.unknown(why),
    };
    let mut counter = Counter {
        title: format!("dict {name}, key {key}"),
        increments: Vec::new(),
        readings: Vec::new(),
        base: (0, 0),
    };
    if let Err(why) = counter.collect(history, &transactions, &guards, name, key) {
        return findings.unknown(why);
    }
    findings.examined((counter.increments.len() + counter.readings.len()) as u64);
    counter.find_twice(findings);
    counter.find_stale(findings);
    counter.find_invented(findings);
}

/// The tasks that increment the key, if all increments exclude each other.
fn guards(history: &History, name: &str, key: &str) -> Result<HashSet<u64>, String> {
    let mut tasks = HashSet::new();
    let mut all: HashSet<Vec<Guard<'_>>> = HashSet::new();
    for task in &history.tasks {
        let mut found = Vec::new();
        increments(&task.step, name, key, &mut Vec::new(), &mut found);
        if !found.is_empty() {
            tasks.insert(task.task);
            all.extend(found);
        }
    }
    if all.iter().any(Vec::is_empty) {
        return Err(format!(
            "{name}[{key:?}] is also incremented without lock and transaction"
        ));
    }
    let mut rest = all.iter();
    let first = rest.next().cloned().unwrap_or_default();
    let is_common = |guard: &Guard<'_>| all.iter().all(|other| other.contains(guard));
    let mandatory = history
        .header
        .driver
        .capabilities
        .contains(&Capability::MandatoryLocks);
    let is_bound = |guard: &Guard<'_>| match guard {
        Guard::Transaction => true,
        Guard::Lock(lock) => lock.kind == LockKind::Dict && lock.name == name,
    };
    let excluded = all.is_empty()
        || first.iter().any(is_common)
        || (mandatory && all.iter().all(|guards| guards.iter().any(is_bound)));
    if excluded {
        Ok(tasks)
    } else {
        Err(format!(
            "the increments of {name}[{key:?}] don't all take the same lock"
        ))
    }
}

#[derive(Clone, PartialEq, Eq, Hash)]
enum Guard<'a> {
    Transaction,
    Lock(&'a LockName),
}

/// Adds the guards around each increment in `step`.
fn increments<'a>(
    step: &'a Step,
    name: &str,
    key: &str,
    around: &mut Vec<Guard<'a>>,
    found: &mut Vec<Vec<Guard<'a>>>,
) {
    let guard = match step {
        Step::Increment {
            name: other,
            key: of,
        } if other == name && of == key => {
            found.push(around.clone());
            return;
        }
        Step::Locked { lock, .. } => Some(Guard::Lock(lock)),
        Step::Transaction { .. } => Some(Guard::Transaction),
        _ => None,
    };
    let guarded = guard.is_some();
    around.extend(guard);
    for inner in step.body() {
        increments(inner, name, key, around, found);
    }
    if guarded {
        around.pop();
    }
}

struct Counter<'a> {
    title: String,
    increments: Vec<Increment<'a>>,
    readings: Vec<Reading<'a>>,
    /// What was there before the first increment, and since when.
    base: (i64, u64),
}

impl<'a> Counter<'a> {
    fn collect(
        &mut self,
        history: &'a History,
        transactions: &Transactions,
        tasks: &HashSet<u64>,
        name: &str,
        key: &str,
    ) -> Result<(), String> {
        // The reading of each task that no write has followed yet.
        let mut open: HashMap<u64, (&Operation, i64)> = HashMap::new();
        let mut written: HashSet<u32> = HashSet::new();
        let mut others: Vec<&Operation> = Vec::new();
        for (at, operation) in history.operations.iter().enumerate() {
            let place = transactions.place(at);
            let own = match place {
                Place::In(number) => transactions.get(number),
                _ => None,
            };
            let undone = own.is_some_and(|own| own.fate == Fate::Undone);
            match &operation.op {
                Op::DictGet { name: of, key: at } if of == name && at == key => {
                    let Some(got) = operation.ok() else { continue };
                    let number = match got {
                        Value::Null => 0,
                        got => got
                            .as_i64()
                            .ok_or_else(|| format!("{} is no whole number", value(got)))?,
                    };
                    if let Some(task) = operation.task.filter(|task| tasks.contains(task)) {
                        open.insert(task, (operation, number));
                    }
                    let wrote = matches!(place, Place::In(number) if written.contains(&number));
                    let committed = own.is_none_or(|own| own.fate == Fate::Committed);
                    if committed && !wrote && place != Place::Unsure {
                        self.readings.push(Reading {
                            get: operation,
                            number,
                            from: own.map_or(operation.invoked_ns, |own| own.begun_ns),
                        });
                    }
                }
                Op::DictSet {
                    name: of,
                    key: at,
                    value,
                } if of == name && at == key => {
                    if !operation.may_have_happened() || undone {
                        continue;
                    }
                    if let Place::In(number) = place {
                        written.insert(number);
                    }
                    let read = operation.task.and_then(|task| open.remove(&task));
                    match (read, value.as_i64()) {
                        (Some((get, read)), Some(number)) if number == read.saturating_add(1) => {
                            let known = !operation.is_info() && place != Place::Unsure;
                            let done = match own {
                                Some(own) => (own.fate == Fate::Committed).then_some(own.ended_ns),
                                None => operation.completed_ns,
                            };
                            self.increments.push(Increment {
                                get,
                                set: operation,
                                number,
                                done: done.filter(|_| known),
                                visible: own.map_or(operation.invoked_ns, |own| own.commit_ns),
                            });
                        }
                        _ => others.push(operation),
                    }
                }
                Op::DictDelete { name: of, key: at }
                    if of == name && at == key && operation.may_have_happened() && !undone =>
                {
                    others.push(operation);
                }
                _ => {}
            }
        }
        self.set_base(&others)
    }

    /// What was written otherwise, one after the other and before all increments, is where the
    /// counter began.
    fn set_base(&mut self, others: &[&Operation]) -> Result<(), String> {
        let mut since = 0;
        let mut number = 0;
        for other in others {
            let apart = other.invoked_ns >= since && other.latest_ns() < u64::MAX;
            number = match &other.op {
                Op::DictSet { value, .. } => value.as_i64().filter(|_| apart),
                _ => Some(0).filter(|_| apart),
            }
            .ok_or_else(|| format!("{}: {}, and that is no increment", self.title, deed(other)))?;
            since = other.latest_ns();
        }
        let begin = self.increments.iter().map(|one| one.get.invoked_ns).min();
        if let (Some(last), Some(begin)) = (others.last(), begin)
            && begin < since
        {
            return Err(format!(
                "{}: {} while others incremented it",
                self.title,
                deed(last)
            ));
        }
        self.base = (number, since);
        self.readings.retain(|reading| reading.from >= since);
        Ok(())
    }

    /// Two that wrote the same number.
    fn find_twice(&self, findings: &mut Findings) {
        let mut by: HashMap<i64, &Increment<'_>> = HashMap::new();
        for increment in self.increments.iter().filter(|one| one.done.is_some()) {
            let Some(first) = by.insert(increment.number, increment) else {
                continue;
            };
            findings.violation(
                format!(
                    "{}: two increments wrote {}, so one is lost: {} and {}; {} and {}",
                    self.title,
                    increment.number,
                    deed(first.get),
                    deed(first.set),
                    deed(increment.get),
                    deed(increment.set),
                ),
                [
                    first.get.id,
                    first.set.id,
                    increment.get.id,
                    increment.set.id,
                ],
            );
        }
    }

    /// Readings that find less than was acknowledged before.
    fn find_stale(&self, findings: &mut Findings) {
        let mut done: Vec<_> = self
            .increments
            .iter()
            .filter_map(|one| one.done.map(|done| (done, one)))
            .collect();
        done.sort_unstable_by_key(|(done, _)| *done);
        let mut readings: Vec<_> = self.readings.iter().collect();
        readings.sort_unstable_by_key(|reading| reading.from);
        let mut done = done.into_iter().peekable();
        let mut most: Option<&Increment<'_>> = None;
        for reading in readings {
            while let Some((_, one)) = done.next_if(|(done, _)| *done < reading.from) {
                if most.is_none_or(|most| most.number < one.number) {
                    most = Some(one);
                }
            }
            if let Some(most) = most
                && reading.number < most.number
            {
                findings.violation(
                    format!(
                        "{}: {}, though {} before that",
                        self.title,
                        deed(reading.get),
                        deed(most.set)
                    ),
                    [most.get.id, most.set.id, reading.get.id],
                );
            }
        }
    }

    /// Readings of a number that nobody can have written by then.
    fn find_invented(&self, findings: &mut Findings) {
        let mut earliest: BTreeMap<i64, u64> = BTreeMap::new();
        for one in &self.increments {
            let known = earliest.entry(one.number).or_insert(u64::MAX);
            *known = one.visible.min(*known);
        }
        for reading in &self.readings {
            let ended = reading.get.completed_ns.unwrap_or(u64::MAX);
            let from = earliest.get(&reading.number).copied();
            if reading.number == self.base.0 || from.is_some_and(|from| from <= ended) {
                continue;
            }
            let most = earliest.range(..reading.number).next_back();
            findings.violation(
                format!(
                    "{}: {}, which no increment can have written by then; the next lower number \
                     that one wrote is {}",
                    self.title,
                    deed(reading.get),
                    most.map_or(self.base.0, |(number, _)| *number)
                ),
                [reading.get.id],
            );
        }
    }
}

#[cfg(test)]
mod tests;
