//! What was appended to a log or published on a channel, and what readers and followers saw of it.
//!
//! A *sequence* is what one reading returned, or what one follower was delivered from the moment from which
//! it followed, in order.
//!
//! What must stay true: of a follower's sequence, a *part* is what was delivered between two answers that it
//! may have missed; within a part, what lies between two values was delivered or lost.

use super::effects::{Effect, Fate, effects};
use crate::history::{History, Operation};
use crate::protocol::{ErrorCode, Op};
use serde_json::Value;
use std::collections::HashMap;

/// What an operation is to a stream.
pub(super) enum Role<'h> {
    /// Adds a value.
    Append(&'h Value),
    /// Returns all there is.
    Read,
    /// From here on its session is delivered what is added.
    Follow,
    /// Delivers what has been added.
    Next,
}

/// What an operation is to the log `name`.
pub(super) fn log_role<'h>(op: &'h Op, name: &str) -> Option<Role<'h>> {
    match op {
        Op::LogAppend { name: of, value } if of == name => Some(Role::Append(value)),
        Op::LogRead { name: of } if of == name => Some(Role::Read),
        Op::LogFollow { name: of } if of == name => Some(Role::Follow),
        Op::LogNext { name: of, .. } if of == name => Some(Role::Next),
        _ => None,
    }
}

/// What an operation is to the channel `name`.
pub(super) fn channel_role<'h>(op: &'h Op, name: &str) -> Option<Role<'h>> {
    match op {
        Op::ChannelPublish { name: of, value } if of == name => Some(Role::Append(value)),
        Op::ChannelSubscribe { name: of } if of == name => Some(Role::Follow),
        Op::ChannelNext { name: of, .. } if of == name => Some(Role::Next),
        _ => None,
    }
}

/// All that is known about one value.
#[derive(Debug)]
pub(super) struct Entry<'h> {
    /// The value.
    pub(super) value: &'h Value,
    /// Its appends, those that did not happen too: where they are in the history, and what
    /// became of them.
    pub(super) appends: Vec<(usize, Effect)>,
}

impl Entry<'_> {
    /// The append that brought it in, if that is clear: there is one that may have happened.
    pub(super) fn append(&self) -> Option<(usize, &Effect)> {
        let mut possible = self.possible();
        possible.next().filter(|_| possible.next().is_none())
    }

    /// The appends that may have happened.
    pub(super) fn possible(&self) -> impl Iterator<Item = (usize, &Effect)> {
        self.appends
            .iter()
            .filter(|(_, effect)| effect.may_be())
            .map(|(at, effect)| (*at, effect))
    }

    /// When it was certainly there, if it was.
    pub(super) fn done(&self) -> Option<&Effect> {
        self.append()
            .map(|(_, effect)| effect)
            .filter(|effect| effect.fate == Fate::Done)
    }
}

/// A value in a sequence.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    /// Which, in [`Stream::entries`].
    pub(super) entry: usize,
    /// The operation that returned it, by its place in the history.
    pub(super) at: usize,
}

/// What a follower was delivered without a doubt between.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    /// Its first value's place in the sequence.
    pub(super) first: usize,
    /// The place behind its last value's.
    pub(super) end: usize,
    /// The last time that nothing more came: when that was asked, and by which operation.
    pub(super) nothing_more: Option<(u64, usize)>,
}

/// What one reader or follower saw.
#[derive(Debug)]
pub(super) struct Sequence {
    /// The reading, or the beginning of following, by its place in the history.
    pub(super) at: usize,
    /// Not before this moment.
    pub(super) from_ns: u64,
    /// Not after this moment.
    pub(super) to_ns: u64,
    /// In order.
    pub(super) seen: Vec<Seen>,
    /// Of a follower.
    pub(super) parts: Option<Vec<Part>>,
}

/// A log or channel.
#[derive(Debug, Default)]
pub(super) struct Stream<'h> {
    /// In the order in which the values are first mentioned.
    pub(super) entries: Vec<Entry<'h>>,
    /// In the order of their beginnings.
    pub(super) sequences: Vec<Sequence>,
    /// Answers that are no arrays.
    pub(super) malformed: Vec<usize>,
    /// How many operations there were.
    pub(super) operations: u64,
}

impl<'h> Stream<'h> {
    /// What the history says about it.
    pub(super) fn of(history: &'h History, role: impl Fn(&'h Op) -> Option<Role<'h>>) -> Self {
        let mut all = Self::default();
        let mut places: HashMap<&'h Value, usize> = HashMap::new();
        // The sequence that a session's follower adds to.
        let mut following: HashMap<u64, usize> = HashMap::new();
        let touched = history.operations.iter().zip(effects(history));
        for (at, (operation, effect)) in touched.enumerate() {
            let Some(role) = role(&operation.op) else {
                continue;
            };
            all.operations += 1;
            match role {
                Role::Append(value) => {
                    let place = all.place(&mut places, value);
                    all.entries[place].appends.push((at, effect));
                }
                Role::Read => {
                    // What a transaction that was undone saw may have been its own.
                    if effect.fate == Fate::Done
                        && let Some(values) = all.values(at, operation)
                    {
                        let seen = all.seen(&mut places, at, values);
                        all.sequences.push(Sequence {
                            at,
                            from_ns: effect.from_ns,
                            to_ns: effect.to_ns,
                            seen,
                            parts: None,
                        });
                    }
                }
                Role::Follow => {
                    following.remove(&operation.session);
                    if let (Some(_), Some(to_ns)) = (operation.ok(), operation.completed_ns) {
                        following.insert(operation.session, all.sequences.len());
                        all.sequences.push(Sequence {
                            at,
                            from_ns: operation.invoked_ns,
                            to_ns,
                            seen: Vec::new(),
                            parts: Some(vec![Part {
                                first: 0,
                                end: 0,
                                nothing_more: None,
                            }]),
                        });
                    }
                }
                Role::Next => {
                    if let Some(sequence) = following.get(&operation.session) {
                        let plain = effect.transaction.is_none();
                        all.next(&mut places, *sequence, at, operation, plain);
                    }
                }
            }
        }
        all
    }

    fn place(&mut self, places: &mut HashMap<&'h Value, usize>, value: &'h Value) -> usize {
        *places.entry(value).or_insert_with(|| {
            self.entries.push(Entry {
                value,
                appends: Vec::new(),
            });
            self.entries.len() - 1
        })
    }

    fn values(&mut self, at: usize, operation: &'h Operation) -> Option<&'h [Value]> {
        let values = operation.ok()?.as_array();
        if values.is_none() {
            self.malformed.push(at);
        }
        values.map(Vec::as_slice)
    }

    fn seen(
        &mut self,
        places: &mut HashMap<&'h Value, usize>,
        at: usize,
        values: &'h [Value],
    ) -> Vec<Seen> {
        let places = values.iter().map(|value| self.place(places, value));
        places.map(|entry| Seen { entry, at }).collect()
    }

    /// A follower's answer.
    fn next(
        &mut self,
        places: &mut HashMap<&'h Value, usize>,
        sequence: usize,
        at: usize,
        operation: &'h Operation,
        plain: bool,
    ) {
        let values = if plain {
            self.values(at, operation).unwrap_or_default()
        } else {
            &[]
        };
        let seen = self.seen(places, at, values);
        let sequence = &mut self.sequences[sequence];
        sequence.seen.extend(seen);
        let end = sequence.seen.len();
        let Some(parts) = &mut sequence.parts else {
            return;
        };
        let failure = operation.failure();
        let definite = failure.is_none_or(|failure| failure.definite) && plain;
        let timeout = failure.is_some_and(|failure| failure.error == ErrorCode::Timeout);
        if !definite {
            // It may have been delivered something.
            parts.push(Part {
                first: end,
                end,
                nothing_more: None,
            });
        } else if let Some(part) = parts.last_mut() {
            part.end = end;
            if timeout {
                part.nothing_more = Some((operation.invoked_ns, at));
            }
        }
    }
}
