//! Each key of each dictionary and blob store is an atomic register.
//!
//! What counts as one step, with one moment between its first and its last:
//! - an operation by itself;
//! - all that a committed transaction did with a key: what it found there first and what it left
//!   last, at one moment between its `begin` and the acknowledgement of its `commit`. What others
//!   can't have seen before `commit` was asked for is not visible earlier. Within the transaction, its
//!   own writes must be read back and readings must repeat.
//!
//! A transaction that was undone did nothing; what it read counts for nothing (a system may
//! let one that can't be committed see anything). If nobody knows whether it was committed, what it left
//! may be there from `commit` on, or never.
//!
//! A lock makes no step of several operations here: `counter`, `bank` and `list-edits` look at that.
//!
//! What must stay true: keys are absent before anything was done with them.

mod tell;

use super::Findings;
use super::register::{Access, Finds, Register, Step, Wrong, each_value_is_written_once, zones};
use super::search::{Found, Timed, prune, search};
use super::transactions::{Fate, Place, Transactions};
use super::values::{ABSENT, Datum, Numbers};
use super::wording::{deed, place};
use crate::history::{History, Operation};
use crate::protocol::Op;
use serde_json::Value;
use std::collections::HashMap;

/// Steps of the search for one key, and for all keys together, beside some for each operation.
const BUDGET_KEY: u64 = 500_000;
const BUDGET_ALL: u64 = 5_000_000;
/// The same for finding the fewest operations that show a violation.
const BUDGET_CORE: u64 = 50_000;
/// How many operations a violation tells of in words.
const TOLD_MAX: usize = 8;

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Dict,
    Blob,
}

/// What an operation does with its key.
#[derive(Clone, Copy)]
enum Touch<'a> {
    Read(Datum<'a>),
    Write(Datum<'a>),
    /// And whether it was there, if that is known.
    Delete(Option<bool>),
}

pub(super) fn check(history: &History, findings: &mut Findings) {
    let transactions = Transactions::of(history);
    let mut keys: HashMap<(Kind, &str, &str), Vec<usize>> = HashMap::new();
    let mut order: Vec<(Kind, &str, &str)> = Vec::new();
    for (at, operation) in history.operations.iter().enumerate() {
        if let Some(key) = key_of(&operation.op) {
            let of_key = keys.entry(key).or_default();
            if of_key.is_empty() {
                order.push(key);
            }
            of_key.push(at);
        }
    }
    let mut budget = BUDGET_ALL;
    for key in order {
        if let Some(operations) = keys.get(&key) {
            Key::new(history, &transactions, operations, findings).judge(&mut budget);
        }
    }
}

fn key_of(op: &Op) -> Option<(Kind, &str, &str)> {
    match op {
        Op::DictGet { name, key }
        | Op::DictSet { name, key, .. }
        | Op::DictDelete { name, key } => Some((Kind::Dict, name, key)),
        Op::BlobGet { name, key }
        | Op::BlobPut { name, key, .. }
        | Op::BlobDelete { name, key } => Some((Kind::Blob, name, key)),
        _ => None,
    }
}

fn touch(operation: &Operation) -> Option<Touch<'_>> {
    match &operation.op {
        Op::DictGet { .. } | Op::BlobGet { .. } => {
            operation.ok().map(|got| Touch::Read(Datum::Value(got)))
        }
        _ if !operation.may_have_happened() => None,
        Op::DictSet { value, .. } => Some(Touch::Write(Datum::Value(value))),
        Op::BlobPut { data, .. } => Some(Touch::Write(Datum::Text(data))),
        Op::DictDelete { .. } | Op::BlobDelete { .. } => {
            Some(Touch::Delete(operation.ok().and_then(Value::as_bool)))
        }
        _ => None,
    }
}

/// What a transaction did with the key.
struct Part {
    number: u32,
    /// What it found before it wrote anything.
    found: Option<(Finds, usize)>,
    left: Option<(u32, usize)>,
    /// Whether it is certain that it wrote what it left.
    sure: bool,
}

struct Key<'a, 'f> {
    history: &'a History,
    transactions: &'a Transactions,
    operations: &'a [usize],
    findings: &'f mut Findings,
    numbers: Numbers<'a>,
    actions: Vec<Timed<Step>>,
    parts: Vec<Part>,
    /// Whether `null` was stored, of which nobody knows whether it can be deleted.
    null: bool,
    title: String,
}

impl<'a, 'f> Key<'a, 'f> {
    fn new(
        history: &'a History,
        transactions: &'a Transactions,
        operations: &'a [usize],
        findings: &'f mut Findings,
    ) -> Self {
        let first = operations
            .first()
            .and_then(|at| history.operations.get(*at));
        Self {
            history,
            transactions,
            operations,
            findings,
            numbers: Numbers::default(),
            actions: Vec::with_capacity(operations.len()),
            parts: Vec::new(),
            null: false,
            title: first.and_then(|first| place(&first.op)).unwrap_or_default(),
        }
    }

    fn operation(&self, at: usize) -> Option<&'a Operation> {
        self.history.operations.get(at)
    }

    fn judge(mut self, budget: &mut u64) {
        let history = self.history;
        let touches = self.operations.iter().filter_map(|at| {
            let operation = history.operations.get(*at)?;
            touch(operation).map(|touch| (*at, operation, touch))
        });
        self.null = touches.clone().any(
            |(_, _, touch)| matches!(touch, Touch::Write(Datum::Value(value)) if value.is_null()),
        );
        for (at, operation, touch) in touches {
            self.add(at, operation, touch);
        }
        self.close_parts();
        self.findings.examined(self.actions.len() as u64);
        self.leave_out_what_nobody_wrote();
        let useless = useless_quickly(&self.actions, self.numbers.len());
        prune(&Register, &mut self.actions, &useless);
        if each_value_is_written_once(&self.actions) {
            for wrong in zones(&self.actions, self.numbers.len()) {
                match wrong {
                    Wrong::Early { read, write } => {
                        let of = |action: usize, part: usize| {
                            self.actions
                                .get(action)?
                                .action
                                .0
                                .operations
                                .get(part)
                                .copied()?
                        };
                        if let (Some(read), Some(write)) = (of(read, 0), of(write, 1)) {
                            self.tell_early(read, write);
                        }
                    }
                    Wrong::Twice { again, between } => self.tell_twice(again, between),
                }
            }
            return;
        }
        // An easy history takes a step or two for each operation.
        let before = BUDGET_KEY.min(*budget) + 10 * self.actions.len() as u64;
        match search(&Register, &self.actions, before) {
            Found::Order => {}
            Found::None(_) => self.tell_core(),
            Found::Unknown => {
                *budget = budget.saturating_sub(BUDGET_KEY);
                self.findings.unknown(format!(
                    "{}: too many possible orders of {} operations",
                    self.title,
                    self.actions.len()
                ));
            }
        }
    }

    fn add(&mut self, at: usize, operation: &'a Operation, touch: Touch<'a>) {
        let (finds, leaves) = match touch {
            Touch::Read(got) => (Finds::This(self.numbers.of(got)), None),
            Touch::Write(new) => (Finds::Any, Some(self.numbers.of(new))),
            Touch::Delete(Some(false)) if !self.null => (Finds::This(ABSENT), None),
            Touch::Delete(Some(true)) if !self.null => (Finds::Present, Some(ABSENT)),
            Touch::Delete(_) => (Finds::Any, Some(ABSENT)),
        };
        match self.transactions.place(at) {
            Place::In(number) => self.add_to_part(number, at, operation, finds, leaves),
            Place::Unsure if leaves.is_none() => {}
            place => {
                let certain = place == Place::Alone && !operation.is_info();
                let own = Some(at);
                self.actions.push(Timed {
                    action: Step(Access {
                        finds: if certain { finds } else { Finds::Any },
                        leaves,
                        operations: if leaves.is_none() {
                            [own, None]
                        } else {
                            [None, own]
                        },
                        visible: operation.invoked_ns,
                    }),
                    from: operation.invoked_ns,
                    to: operation.latest_ns(),
                    certain,
                });
            }
        }
    }

    fn add_to_part(
        &mut self,
        number: u32,
        at: usize,
        operation: &'a Operation,
        finds: Finds,
        leaves: Option<u32>,
    ) {
        let own = self.transactions.get(number);
        let committed = own.is_some_and(|own| own.fate == Fate::Committed);
        let known = self.parts.iter().rposition(|part| part.number == number);
        let known = known.unwrap_or_else(|| {
            self.parts.push(Part {
                number,
                found: None,
                left: None,
                sure: true,
            });
            self.parts.len() - 1
        });
        let Some(part) = self.parts.get_mut(known) else {
            return;
        };
        if operation.is_info() {
            part.sure = false;
        } else if finds != Finds::Any && part.sure {
            let now = match (part.left, part.found) {
                (Some((left, by)), _) => Some((Finds::This(left), by)),
                (None, found) => found,
            };
            match now {
                Some((Finds::This(now), by)) if committed && !agree(finds, now) => {
                    let earlier = self.history.operations.get(by);
                    let told = earlier.map_or_else(String::new, deed);
                    let ids = earlier.map(|earlier| earlier.id);
                    self.findings.violation(
                        format!(
                            "{}: in one transaction, {} after {told}",
                            self.title,
                            deed(operation)
                        ),
                        ids.into_iter().chain([operation.id]),
                    );
                }
                // Only a later reading says what it was that was there.
                None | Some((Finds::Present, _)) if part.left.is_none() => {
                    part.found = Some((finds, at));
                }
                _ => {}
            }
        }
        if let Some(left) = leaves {
            part.left = Some((left, at));
        }
    }

    fn close_parts(&mut self) {
        for part in std::mem::take(&mut self.parts) {
            let Some(own) = self.transactions.get(part.number) else {
                continue;
            };
            let certain = own.fate == Fate::Committed;
            let left = part.left.map(|(left, _)| left);
            let by = part.left.map(|(_, at)| at);
            let mut push = |finds, leaves, operations, certain, from| {
                self.actions.push(Timed {
                    action: Step(Access {
                        finds,
                        leaves,
                        operations,
                        visible: own.commit_ns,
                    }),
                    from,
                    to: own.ended_ns,
                    certain,
                });
            };
            let found = part.found.filter(|_| certain);
            match (own.fate, found) {
                (Fate::Undone, _) => {}
                (Fate::Committed, found) if part.sure => {
                    let (finds, reader) =
                        found.map_or((Finds::Any, None), |(finds, at)| (finds, Some(at)));
                    push(finds, left, [reader, by], true, own.begun_ns);
                }
                (_, found) => {
                    if let Some((finds, at)) = found {
                        push(finds, None, [Some(at), None], true, own.begun_ns);
                    }
                    if left.is_some() {
                        push(Finds::Any, left, [None, by], false, own.commit_ns);
                    }
                }
            }
        }
    }

    /// Reports what was read though nobody can have written it, or not by then.
    fn leave_out_what_nobody_wrote(&mut self) {
        // When each value can have been seen first, and who wrote it.
        let mut seen: Vec<(u64, Option<usize>)> = vec![(u64::MAX, None); self.numbers.len()];
        for action in &self.actions {
            let access = &action.action.0;
            if let Some(value) = access.leaves
                && let Some(seen) = seen.get_mut(value as usize)
                && access.visible < seen.0
            {
                *seen = (access.visible, access.operations[1]);
            }
        }
        if let Some(absent) = seen.first_mut() {
            absent.0 = 0;
        }
        let mut actions = std::mem::take(&mut self.actions);
        for action in &mut actions {
            let access = &mut action.action.0;
            let (Finds::This(value), [Some(read), _]) = (access.finds, access.operations) else {
                continue;
            };
            match seen.get(value as usize) {
                Some((from, _)) if *from <= action.to => continue,
                Some((_, Some(write))) => self.tell_early(read, *write),
                _ => self.tell_unwritten(read),
            }
            access.finds = Finds::Any;
        }
        actions.retain(|action| {
            action.action.0.finds != Finds::Any || action.action.0.leaves.is_some()
        });
        self.actions = actions;
    }
}

fn agree(finds: Finds, now: u32) -> bool {
    match finds {
        Finds::Any => true,
        Finds::This(value) => value == now,
        Finds::Present => now != ABSENT,
    }
}

/// [`useless`], without looking through all actions for each.
fn useless_quickly(
    actions: &[Timed<Step>],
    values: usize,
) -> impl Fn(&Timed<Step>, &[Timed<Step>]) -> bool + use<> {
    let mut wanted = vec![false; values];
    let mut any = false;
    for action in actions {
        match action.action.0.finds {
            Finds::Any => {}
            Finds::This(value) => {
                if let Some(wanted) = wanted.get_mut(value as usize) {
                    *wanted = true;
                }
            }
            Finds::Present => any = true,
        }
    }
    move |action, _| match action.action.0.leaves {
        None => true,
        Some(ABSENT) => !wanted.first().copied().unwrap_or(true),
        Some(value) => !any && !wanted.get(value as usize).copied().unwrap_or(true),
    }
}

#[cfg(test)]
mod tests;
