//! What happened to each item of a queue: its puts and its takes.
//!
//! What must stay true: each put and each take of the queue is here once, with its
//! transaction taken into account; a take of which nobody knows what it took is among
//! the `swallows`.

use super::effects::{Effect, Fate, effects};
use super::held_by_others::HeldByOthers;
use crate::history::{History, Operation};
use crate::protocol::{ErrorCode, LockKind, LockName, Op};
use serde_json::Value;
use std::collections::HashMap;

/// One put or take of an item.
#[derive(Clone, Copy, Debug)]
pub(super) struct Touch {
    /// Where it is in `history.operations`.
    pub(super) at: usize,
    /// Whether and when it took effect.
    pub(super) effect: Effect,
    /// The priority that was given or answered.
    pub(super) priority: Option<f64>,
}

/// All that is known about one value.
#[derive(Debug)]
pub(super) struct Item<'h> {
    /// The value.
    pub(super) value: &'h Value,
    /// Its puts in the order of their invocations, those that did not happen too.
    pub(super) puts: Vec<Touch>,
    /// The takes that were answered with it, those that were undone too.
    pub(super) takes: Vec<Touch>,
}

/// A take that may have taken something that nobody saw.
#[derive(Clone, Copy, Debug)]
pub(super) struct Swallow {
    /// Where it is in `history.operations`.
    pub(super) at: usize,
    /// Not before this moment.
    pub(super) from_ns: u64,
    /// How many items at most.
    pub(super) count: u64,
}

/// A take that found too little.
#[derive(Clone, Copy, Debug)]
pub(super) struct Empty {
    /// Where it is in `history.operations`.
    pub(super) at: usize,
    /// When it looked: not before this moment,
    pub(super) from_ns: u64,
    /// and not after this one.
    pub(super) to_ns: u64,
    /// How many items it wanted.
    pub(super) wanted: u64,
    /// Whether it was part of a transaction, in which what was taken out before is missing even
    /// if it comes back later.
    pub(super) in_transaction: bool,
}

/// All that is known about one queue.
#[derive(Debug, Default)]
pub(super) struct Items<'h> {
    /// In the order in which the values are first mentioned.
    pub(super) items: Vec<Item<'h>>,
    /// See [`Swallow`].
    pub(super) swallows: Vec<Swallow>,
    /// See [`Empty`].
    pub(super) empties: Vec<Empty>,
    /// Answers to takes that are no items.
    pub(super) malformed: Vec<usize>,
    /// How many operations on the queue there were.
    pub(super) operations: u64,
}

impl Item<'_> {
    /// The takes that certainly happened.
    pub(super) fn taken(&self) -> impl Iterator<Item = &Touch> {
        self.takes
            .iter()
            .filter(|take| take.effect.fate == Fate::Done)
    }

    /// The put that brought it in, if that is clear: there is one that may have happened.
    pub(super) fn put(&self) -> Option<&Touch> {
        let mut possible = self.puts.iter().filter(|put| put.effect.may_be());
        possible.next().filter(|_| possible.next().is_none())
    }

    /// The moments from which on, and up to which, it was certainly in the queue, as a correct
    /// system has it. `swallowed_ns` is when the first unknown take may have taken anything.
    pub(super) fn certainly_in(&self, swallowed_ns: u64) -> Option<(u64, u64)> {
        let put = self.put().filter(|put| put.effect.fate == Fate::Done)?;
        let takes = self.takes.iter().filter(|take| take.effect.may_be());
        let first_take = takes.map(|take| take.effect.from_ns).min();
        // What somebody got was not swallowed by an unknown take before.
        let until = match first_take {
            Some(at) if self.taken().next().is_some() => at,
            first_take => swallowed_ns.min(first_take.unwrap_or(u64::MAX)),
        };
        (put.effect.to_ns < until).then_some((put.effect.to_ns, until))
    }

    /// The value as a person writes it.
    pub(super) fn shown(&self) -> String {
        shown(self.value)
    }
}

/// A value as a person writes it, cut if it is long.
pub(super) fn shown(value: &Value) -> String {
    const CHARS_MAX: usize = 80;
    let text = value.to_string();
    if text.chars().count() <= CHARS_MAX {
        return text;
    }
    let cut: String = text.chars().take(CHARS_MAX).collect();
    format!("{cut}…")
}

impl<'h> Items<'h> {
    /// What the history says about the queue `name`.
    pub(super) fn of(history: &'h History, name: &str) -> Self {
        let mut all = Self::default();
        let mut places: HashMap<&'h Value, usize> = HashMap::new();
        let touched = history.operations.iter().zip(effects(history));
        for (at, (operation, effect)) in touched.enumerate() {
            match &operation.op {
                Op::QueuePut {
                    name: of,
                    value,
                    priority,
                } if of == name => {
                    let priority = Some(*priority);
                    let place = all.place(&mut places, value);
                    all.items[place].puts.push(Touch {
                        at,
                        effect,
                        priority,
                    });
                }
                Op::QueueGet { name: of, .. } if of == name => {
                    match operation.ok() {
                        Some(answer) => all.take(&mut places, at, effect, answer),
                        None => all.no_answer(operation, at, effect, 1),
                    };
                }
                Op::QueueGetBatch {
                    name: of, count, ..
                } if of == name => match operation.ok() {
                    Some(Value::Array(answers)) => {
                        for answer in answers {
                            all.take(&mut places, at, effect, answer);
                        }
                    }
                    Some(_) => all.malformed.push(at),
                    None => all.no_answer(operation, at, effect, u64::from(*count)),
                },
                _ => continue,
            }
            all.operations += 1;
        }
        all
    }

    /// When the first unknown take may have taken anything: the end of time if there is none.
    pub(super) fn swallowed_ns(&self) -> u64 {
        let swallows = self.swallows.iter();
        swallows
            .map(|swallow| swallow.from_ns)
            .min()
            .unwrap_or(u64::MAX)
    }

    /// The last `queue-get` that shows that the queue was empty: it found nothing, was in no transaction, and
    /// can't have waited for somebody else.
    pub(super) fn last_look(&self, history: &History, name: &str) -> Option<&Empty> {
        let held = HeldByOthers::of(history, &LockName::new(LockKind::Queue, name));
        self.empties.iter().rev().find(|empty| {
            let session = history.operations[empty.at].session;
            let plain = empty.wanted == 1 && !empty.in_transaction;
            plain && !held.at(session, empty.from_ns, empty.to_ns)
        })
    }

    fn place(&mut self, places: &mut HashMap<&'h Value, usize>, value: &'h Value) -> usize {
        *places.entry(value).or_insert_with(|| {
            self.items.push(Item {
                value,
                puts: Vec::new(),
                takes: Vec::new(),
            });
            self.items.len() - 1
        })
    }

    fn take(
        &mut self,
        places: &mut HashMap<&'h Value, usize>,
        at: usize,
        effect: Effect,
        answer: &'h Value,
    ) {
        let Some(value) = answer.get("value") else {
            self.malformed.push(at);
            return;
        };
        let priority = answer.get("priority").and_then(Value::as_f64);
        let place = self.place(places, value);
        self.items[place].takes.push(Touch {
            at,
            effect,
            priority,
        });
    }

    /// A take that wasn't answered with items.
    fn no_answer(&mut self, operation: &Operation, at: usize, effect: Effect, count: u64) {
        if effect.fate == Fate::Unknown {
            self.swallows.push(Swallow {
                at,
                from_ns: effect.from_ns,
                count,
            });
        } else if operation
            .failure()
            .is_some_and(|failure| failure.definite && failure.error == ErrorCode::Timeout)
        {
            self.empties.push(Empty {
                at,
                from_ns: effect.from_ns,
                to_ns: effect.to_ns,
                wanted: count,
                in_transaction: effect.transaction.is_some(),
            });
        }
    }
}
