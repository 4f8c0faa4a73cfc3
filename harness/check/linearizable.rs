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

use super::Findings;
use super::register::{
    Access, Finds, Register, Step, Wrong, Zone, each_value_is_written_once, useless, zones,
};
use super::search::{Found, Timed, core, prune, search};
use super::transactions::{Fate, Place, Transactions};
use super::values::{ABSENT, Datum, Numbers};
use super::wording::{datum, deed, list, place};
use crate::history::{History, Operation};
use crate::protocol::Op;
use serde_json::Value;
use std::collections::HashMap;

/// Steps of the search for one key, and for all keys together.
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
        let before = BUDGET_KEY.min(*budget);
        match search(&Register, &self.actions, before) {
            Found::Order => {}
            Found::None(_) => self.tell_core(),
            Found::Unknown => {
                *budget = budget.saturating_sub(before);
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

    fn tell_early(&mut self, read: usize, write: usize) {
        let (Some(reader), Some(writer)) = (self.operation(read), self.operation(write)) else {
            return;
        };
        let when = match self.transactions.place(write) {
            Place::In(_) => "whose transaction had not been committed by then",
            _ => "and not before",
        };
        self.findings.violation(
            format!(
                "{}: {}, but {}, {when}",
                self.title,
                deed(reader),
                deed(writer)
            ),
            [reader.id, writer.id],
        );
    }

    fn tell_unwritten(&mut self, read: usize) {
        let Some(reader) = self.operation(read) else {
            return;
        };
        let got = match touch(reader) {
            Some(Touch::Read(got)) => got,
            _ => return,
        };
        // Somebody may have tried.
        let mut tried = self.operations.iter().filter_map(|at| {
            let operation = self.operation(*at)?;
            let wrote = match &operation.op {
                Op::DictSet { value, .. } => Datum::Value(value) == got,
                Op::BlobPut { data, .. } => Datum::Text(data) == got,
                _ => false,
            };
            wrote.then_some((*at, operation))
        });
        let Some((at, tried)) = tried.next_back() else {
            self.findings.violation(
                format!("{}: {}, which nobody ever wrote", self.title, deed(reader)),
                [reader.id],
            );
            return;
        };
        let why = match self.transactions.place(at) {
            Place::In(_) if tried.may_have_happened() => {
                "only in a transaction that was undone or wrote it over itself"
            }
            _ => "only what certainly failed wrote it",
        };
        self.findings.violation(
            format!(
                "{}: {}, but {why}: {}",
                self.title,
                deed(reader),
                deed(tried)
            ),
            [tried.id, reader.id],
        );
    }

    /// The operations that an action stands for.
    fn made_of(&self, action: usize) -> impl Iterator<Item = &'a Operation> + use<'a> {
        let both = self
            .actions
            .get(action)
            .map_or([None, None], |action| action.action.0.operations);
        let history = self.history;
        both.into_iter()
            .flatten()
            .filter_map(|at| history.operations.get(at))
    }

    fn deed(&self, action: Option<usize>) -> String {
        let all: Vec<_> = action
            .into_iter()
            .flat_map(|action| self.made_of(action))
            .map(deed)
            .collect();
        list(&all)
    }

    fn ids(&self, actions: impl IntoIterator<Item = usize>) -> Vec<u64> {
        let mut ids: Vec<u64> = actions
            .into_iter()
            .flat_map(|action| self.made_of(action).map(|operation| operation.id))
            .collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    fn tell_twice(&mut self, again: Zone, between: Zone) {
        let value = |zone: Zone| {
            let written = zone.write.and_then(|at| self.actions.get(at));
            let number = written.and_then(|action| action.action.0.leaves);
            datum(self.numbers.datum(number.unwrap_or(ABSENT)))
        };
        let mut before = vec![again.first_end.1, between.last_begin.1, between.first_end.1];
        before.dedup();
        let told: Vec<_> = before
            .iter()
            .flatten()
            .map(|action| self.deed(Some(*action)))
            .collect();
        let message = format!(
            "{}: {}, but by then {} had been replaced by {} for good: {}",
            self.title,
            self.deed(again.last_begin.1),
            value(again),
            value(between),
            told.join("; then "),
        );
        let shown = [again.write, between.write, again.last_begin.1];
        let ids = self.ids(shown.into_iter().chain(before).flatten());
        self.findings.violation(message, ids);
    }

    fn tell_core(&mut self) {
        let mut actions = self.actions.clone();
        core(&Register, &mut actions, BUDGET_CORE, useless);
        // What was finished last is what can't be explained.
        let last = actions
            .iter()
            .enumerate()
            .filter(|(_, action)| action.certain)
            .max_by_key(|(_, action)| (action.action.0.finds != Finds::Any, action.to))
            .map(|(at, _)| at);
        self.actions = actions;
        let odd = self.deed(last);
        let mut others: Vec<usize> = (0..self.actions.len())
            .filter(|at| Some(*at) != last)
            .collect();
        others.sort_by_key(|at| self.actions.get(*at).map(|action| action.from));
        let mut told: Vec<_> = others
            .iter()
            .take(TOLD_MAX)
            .map(|at| self.deed(Some(*at)))
            .collect();
        if others.len() > TOLD_MAX {
            told.push(format!("{} more", others.len() - TOLD_MAX));
        }
        let ids = self.ids(0..self.actions.len());
        let message = format!(
            "{}: {odd}, which no order of the operations explains: {}",
            self.title,
            list(&told)
        );
        self.findings.violation(message, ids);
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
mod tests {
    use super::super::generate::{Slot, script, slots};
    use super::super::script::Script;
    use super::super::{CheckSpec, Verdict};
    use crate::history::Outcome;
    use crate::protocol::{ErrorCode, Failure, Op};
    use proptest::prelude::*;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;
    use serde_json::{Value, json};

    fn get() -> Op {
        Op::DictGet {
            name: "d".into(),
            key: "k".into(),
        }
    }

    fn set(value: impl Into<Value>) -> Op {
        Op::DictSet {
            name: "d".into(),
            key: "k".into(),
            value: value.into(),
        }
    }

    fn delete() -> Op {
        Op::DictDelete {
            name: "d".into(),
            key: "k".into(),
        }
    }

    fn new() -> (Script, u64, u64) {
        let mut script = Script::new(CheckSpec::Linearizable);
        let one = script.session(0, 0);
        let two = script.session(1, 0);
        (script, one, two)
    }

    /// The verdict, and what the only violation says and names.
    fn judge(script: &Script) -> (Verdict, String, Vec<u64>) {
        let result = script.judge();
        let first = result.violations.into_iter().next();
        let (message, ids) =
            first.map_or_else(Default::default, |first| (first.message, first.operations));
        (result.verdict, message, ids)
    }

    #[test]
    fn a_stale_reading_is_told_with_what_had_replaced_it() {
        let (mut script, one, two) = new();
        script.ok(one, 0, 5, set(5), Value::Null);
        script.ok(two, 2, 8, get(), 5);
        script.ok(one, 10, 15, set(6), Value::Null);
        script.ok(two, 14, 16, get(), 5);
        assert_eq!(judge(&script).0, Verdict::Pass);
        script.ok(two, 17, 19, get(), 5);
        let (verdict, message, ids) = judge(&script);
        assert_eq!(verdict, Verdict::Fail);
        assert_eq!(
            message,
            "dict d, key k: worker 1 read 5 (operation 5, 17.000 ms to 19.000 ms), but by then 5 \
             had been replaced by 6 for good: worker 0 set 5 (operation 1, 0.000 ms to 5.000 ms); \
             then worker 0 set 6 (operation 3, 10.000 ms to 15.000 ms)"
        );
        assert_eq!(ids, [1, 3, 5]);
    }

    #[test]
    fn absent_is_what_is_there_first() {
        let (mut script, one, two) = new();
        script.ok(one, 0, 5, get(), Value::Null);
        script.ok(one, 10, 15, set(1), Value::Null);
        assert_eq!(judge(&script).0, Verdict::Pass);
        script.ok(two, 16, 19, get(), Value::Null);
        let (verdict, message, ids) = judge(&script);
        assert_eq!((verdict, ids), (Verdict::Fail, vec![2, 3]));
        assert!(message.contains("worker 1 read nothing"), "{message}");
    }

    #[test]
    fn what_nobody_wrote_cannot_be_read() {
        let (mut script, one, _) = new();
        script.fail(one, 0, 5, set(7), ErrorCode::Busy);
        script.ok(one, 6, 7, get(), 7);
        let (verdict, message, ids) = judge(&script);
        assert_eq!((verdict, ids), (Verdict::Fail, vec![1, 2]));
        assert!(message.contains("certainly failed"), "{message}");
        let (mut script, one, _) = new();
        script.ok(one, 6, 7, get(), 7);
        script.ok(one, 8, 9, set(7), Value::Null);
        let (verdict, message, _) = judge(&script);
        assert_eq!(verdict, Verdict::Fail);
        assert!(message.contains("and not before"), "{message}");
        let (mut script, one, _) = new();
        script.ok(one, 6, 7, get(), 7);
        assert!(judge(&script).1.contains("nobody ever wrote"));
    }

    #[test]
    fn an_operation_without_an_answer_may_come_late_or_never() {
        let (mut script, one, two) = new();
        script.ok(two, 0, 1, set(1), Value::Null);
        script.info(one, 2, Some(3), set(2));
        script.ok(two, 4, 5, get(), 1);
        script.ok(two, 6, 7, get(), 2);
        assert_eq!(judge(&script).0, Verdict::Pass);
        script.ok(two, 8, 9, get(), 1);
        let (verdict, _, ids) = judge(&script);
        assert_eq!((verdict, ids), (Verdict::Fail, vec![1, 2, 4, 5]));
    }

    #[test]
    fn deletions_say_whether_it_was_there() {
        let (mut script, one, two) = new();
        script.ok(two, 0, 1, delete(), false);
        script.ok(two, 2, 3, set(1), Value::Null);
        script.ok(two, 4, 9, delete(), true);
        script.ok(one, 5, 8, delete(), false);
        assert_eq!(judge(&script).0, Verdict::Pass);
        script.ok(one, 10, 11, delete(), true);
        let (verdict, message, ids) = judge(&script);
        assert_eq!(verdict, Verdict::Fail, "{message}");
        assert!(ids.contains(&5), "{message}");
    }

    #[test]
    fn the_same_value_again_is_no_contradiction_but_too_few_writes_are() {
        let (mut script, one, two) = new();
        script.ok(one, 0, 1, set(1), Value::Null);
        script.ok(one, 2, 3, set(2), Value::Null);
        script.ok(one, 4, 5, set(1), Value::Null);
        script.ok(two, 6, 7, get(), 1.0);
        assert_eq!(judge(&script).0, Verdict::Pass);
        script.ok(two, 8, 9, get(), 2);
        let (verdict, message, ids) = judge(&script);
        assert_eq!((verdict, ids), (Verdict::Fail, vec![2, 3, 5]), "{message}");
        assert_eq!(
            message,
            "dict d, key k: worker 1 read 2 (operation 5, 8.000 ms to 9.000 ms), which no order \
             of the operations explains: worker 0 set 2 (operation 2, 2.000 ms to 3.000 ms) and \
             worker 0 set 1 (operation 3, 4.000 ms to 5.000 ms)"
        );
    }

    fn in_transaction(end: Op, error: Option<ErrorCode>) -> (Script, u64, u64) {
        let (mut script, one, two) = new();
        script.ok(one, 0, 1, Op::Begin, Value::Null);
        script.ok(one, 2, 3, get(), Value::Null);
        script.ok(one, 4, 5, set(1), Value::Null);
        script.ok(one, 6, 7, get(), 1);
        script.ok(one, 8, 9, set(2), Value::Null);
        match error {
            None => script.ok(one, 20, 25, end, Value::Null),
            Some(error) if error.is_definite() => script.fail(one, 20, 25, end, error),
            Some(_) => script.info(one, 20, Some(25), end),
        };
        (script, one, two)
    }

    #[test]
    fn a_transaction_is_one_step() {
        let (mut script, _, two) = in_transaction(Op::Commit, None);
        script.ok(two, 22, 26, get(), Value::Null);
        script.ok(two, 27, 28, get(), 2);
        assert_eq!(judge(&script).0, Verdict::Pass);
        let (mut script, _, two) = in_transaction(Op::Commit, None);
        script.ok(two, 27, 28, get(), Value::Null);
        assert_eq!(judge(&script).0, Verdict::Fail);
        // What is written over in the transaction is never seen.
        let (mut script, _, two) = in_transaction(Op::Commit, None);
        script.ok(two, 21, 28, get(), 1);
        let (verdict, message, _) = judge(&script);
        assert_eq!(verdict, Verdict::Fail);
        assert!(message.contains("wrote it over itself"), "{message}");
    }

    #[test]
    fn what_is_undone_is_never_seen_and_what_is_in_doubt_perhaps() {
        for (end, error) in [
            (Op::Rollback, None),
            (Op::Commit, Some(ErrorCode::Conflict)),
        ] {
            let (mut script, _, two) = in_transaction(end, error);
            script.ok(two, 27, 28, get(), 2);
            assert_eq!(judge(&script).0, Verdict::Fail);
        }
        let (mut script, _, two) = in_transaction(Op::Commit, Some(ErrorCode::Gone));
        script.ok(two, 27, 28, get(), Value::Null);
        script.ok(two, 29, 30, get(), 2);
        assert_eq!(judge(&script).0, Verdict::Pass);
        script.ok(two, 31, 32, get(), Value::Null);
        assert_eq!(judge(&script).0, Verdict::Fail);
    }

    #[test]
    fn a_transaction_reads_its_own_writes_and_no_others() {
        let (mut script, one, two) = new();
        script.ok(one, 0, 1, Op::Begin, Value::Null);
        script.ok(one, 4, 5, get(), Value::Null);
        script.ok(two, 6, 7, set(9), Value::Null);
        script.ok(one, 8, 9, get(), 9);
        script.ok(one, 10, 11, Op::Commit, Value::Null);
        let (verdict, message, ids) = judge(&script);
        assert_eq!((verdict, ids), (Verdict::Fail, vec![2, 4]));
        assert!(message.contains("in one transaction"), "{message}");
    }

    #[test]
    fn what_is_not_committed_is_not_seen() {
        let (mut script, one, two) = new();
        script.ok(one, 0, 1, Op::Begin, Value::Null);
        script.ok(one, 4, 5, set(1), Value::Null);
        script.ok(two, 6, 7, get(), 1);
        script.ok(one, 8, 9, Op::Commit, Value::Null);
        let (verdict, message, ids) = judge(&script);
        assert_eq!((verdict, ids), (Verdict::Fail, vec![3, 2]));
        assert!(message.contains("had not been committed"), "{message}");
    }

    #[test]
    fn torn_blobs_are_what_nobody_wrote() {
        let (mut script, one, two) = new();
        let (name, key) = ("b".to_owned(), "k".to_owned());
        let put = |data: &str| Op::BlobPut {
            name: name.clone(),
            key: key.clone(),
            data: data.into(),
        };
        let get = Op::BlobGet {
            name: name.clone(),
            key: key.clone(),
        };
        script.ok(one, 0, 1, put("repeat:65536:a"), Value::Null);
        script.ok(one, 2, 9, put("repeat:65536:b"), Value::Null);
        script.ok(two, 3, 4, get.clone(), "repeat:65536:a");
        assert_eq!(judge(&script).0, Verdict::Pass);
        script.ok(two, 5, 6, get, "torn:65536:10000*b,22768*a");
        let (verdict, message, _) = judge(&script);
        assert_eq!(verdict, Verdict::Fail);
        assert!(
            message.starts_with("blobs b, key k: worker 1 read \"torn:"),
            "{message}"
        );
    }

    /// What workers do with several keys, each an atomic register; unless a write is dropped.
    fn run(seed: u64, count: usize, drop: bool) -> (Script, bool) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let keys = ["a", "b", "c"];
        let mut state = [json!(null), json!(null), json!(null)];
        // The key whose acknowledged write was dropped; and whether a reading has shown it.
        let mut dropped: Option<(usize, usize)> = None;
        // Since when what is there has been there; never, if it isn't certain that it was written
        // by then and not again.
        let mut since = [Some(0); 3];
        let mut shown = false;
        let done = slots(&mut rng, 4, count)
            .into_iter()
            .enumerate()
            .map(|(at, slot): (usize, Slot)| {
                let which = rng.random_range(0..keys.len());
                let (name, key) = ("d".to_owned(), keys[which].to_owned());
                let fate = rng.random_range(0..20);
                let info = Outcome::Info(Failure::new(ErrorCode::Gone, ""));
                let ok = |value: Value| Outcome::Ok {
                    value,
                    commit: None,
                };
                if rng.random() {
                    shown |= dropped.is_some_and(|(key, when)| key == which && at > when + 20);
                    return (slot, Op::DictGet { name, key }, ok(state[which].clone()));
                }
                let value = json!(at);
                let op = Op::DictSet {
                    name,
                    key,
                    value: value.clone(),
                };
                if dropped.is_some_and(|(key, _)| key == which) {
                    // Nothing more is written there, so that it stays visible.
                    let busy = Failure::new(ErrorCode::Busy, "");
                    return (slot, op, Outcome::Fail(busy));
                }
                if fate == 0 {
                    if rng.random() {
                        state[which] = value;
                        since[which] = None;
                    }
                    return (slot, op, info);
                }
                let long = since[which].is_some_and(|since| at > since + 20);
                if drop && dropped.is_none() && long {
                    dropped = Some((which, at));
                } else {
                    state[which] = value;
                    since[which] = Some(at);
                }
                (slot, op, ok(Value::Null))
            })
            .collect();
        (script(CheckSpec::Linearizable, done), shown)
    }

    proptest! {
        #[test]
        fn what_is_correct_passes_and_a_dropped_write_fails(seed: u64, count in 10_usize..300) {
            let (script, _) = run(seed, count, false);
            let result = script.judge();
            prop_assert_eq!(result.verdict, Verdict::Pass, "{:#?}", result.violations);
            let (script, shown) = run(seed, count, true);
            let verdict = script.judge().verdict;
            prop_assert!(!shown || verdict == Verdict::Fail);
        }
    }

    /// So that the property above shows something.
    #[test]
    fn dropped_writes_are_often_shown() {
        let shown = (0..100).filter(|seed| run(*seed, 250, true).1).count();
        assert!(shown > 30, "{shown}");
    }

    #[test]
    fn a_hundred_thousand_operations_are_judged() {
        let (script, _) = run(7, 100_000, false);
        let result = script.judge();
        assert_eq!(result.verdict, Verdict::Pass, "{:?}", result.violations);
        assert!(result.examined > 90_000);
    }
}
