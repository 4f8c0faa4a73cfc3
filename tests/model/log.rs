//! Logs: entries by their stamps, some of them given, and followers by the
//! order of the commits.

use super::{Checked, Machine, Moment, Said, invalid};
use beaver_tests::{Cursor, Error, Log, LogEntry, Result, Store, Tail, ms};
use proptest::prelude::*;
use std::collections::BTreeSet;

pub(crate) struct Logs;

#[derive(Clone, Debug)]
pub(crate) enum Op {
    Append(Option<f64>),
    /// What isn't JSON.
    AppendNothing,
    Len,
    Range(f64, f64, u32),
    Clear,
    /// Starts an iteration over all entries, or goes on with it.
    Open,
    Next(u32),
    /// Starts to follow, or goes on with it.
    Tail(Option<f64>),
    Follow(u32),
}

#[derive(Debug, PartialEq)]
pub(crate) enum Answer {
    Done,
    Count(u64),
    Stamp(f64),
    Entries(Vec<(f64, String)>),
}

/// An entry; the step in which it was appended is its data.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Held {
    stamp: f64,
    step: u64,
}

/// What a handle's cursor and follower have seen.
#[derive(Debug, Default)]
pub(crate) struct Place {
    /// None: not open. The stamp of the last entry returned; none: ended.
    cursor: Option<Option<f64>>,
    /// What the follower is not to return, or has returned. The order of the
    /// commits is that of the steps, because nobody else can write meanwhile.
    tail: Option<BTreeSet<u64>>,
}

pub(crate) struct Handle {
    log: Log,
    cursor: Option<Cursor<LogEntry>>,
    tail: Option<Tail>,
}

/// The stamps that are given are all before this, those of the clock after it,
/// and those of a time to come after [`TO_COME`].
const GIVEN: f64 = 1.0e9;
const TO_COME: f64 = 4.0e9;

fn stamp() -> impl Strategy<Value = f64> {
    prop_oneof![
        6 => (0..4_i32).prop_map(f64::from),
        1 => prop::sample::select(vec![-0.0, 0.5, -1.0e9, 1.0_f64.next_up(), TO_COME]),
        1 => prop::sample::select(vec![f64::NAN, f64::INFINITY, -1.0e12]),
    ]
}

fn bound() -> impl Strategy<Value = f64> {
    prop_oneof![
        6 => stamp(),
        1 => Just(f64::NEG_INFINITY),
        1 => Just(GIVEN),
    ]
}

fn pairs(entries: Vec<LogEntry>) -> Vec<(f64, String)> {
    entries
        .into_iter()
        .map(|entry| (entry.timestamp, entry.data))
        .collect()
}

fn held<'a>(entries: impl Iterator<Item = &'a Held>) -> Vec<(f64, String)> {
    entries
        .map(|held| (held.stamp, held.step.to_string()))
        .collect()
}

/// Where an entry goes that wants this stamp; by `>=` both zeros are one.
fn free(contents: &[Held], wanted: f64) -> f64 {
    let mut stamp = wanted + 0.0;
    while contents.iter().any(|held| held.stamp == stamp) {
        stamp = stamp.next_up();
    }
    stamp
}

impl Machine for Logs {
    type Op = Op;
    type Answer = Answer;
    /// In the order of their stamps.
    type Contents = Vec<Held>;
    type Handle = Handle;
    type Place = Place;

    fn op() -> BoxedStrategy<Op> {
        prop_oneof![
            12 => prop::option::weighted(0.6, stamp()).prop_map(Op::Append),
            1 => Just(Op::AppendNothing),
            1 => Just(Op::Len),
            4 => (bound(), bound(), 0..4_u32)
                .prop_map(|(start, end, max)| Op::Range(start, end, max)),
            1 => Just(Op::Clear),
            2 => Just(Op::Open),
            6 => (0..4_u32).prop_map(Op::Next),
            2 => prop::option::of(bound()).prop_map(Op::Tail),
            8 => (0..4_u32).prop_map(Op::Follow),
        ]
        .boxed()
    }

    fn open(store: &Store, name: &str) -> Result<Handle> {
        let log = store.log(name)?;
        // The first follower of a file writes: not while another does.
        drop(log.tail(None)?);
        Ok(Handle {
            log,
            cursor: None,
            tail: None,
        })
    }

    fn run(handle: &mut Handle, _: &Vec<Held>, op: &Op, now: Moment) -> Result<Answer> {
        let log = &handle.log;
        Ok(match op {
            Op::Append(stamp) => Answer::Stamp(log.append(&now.step.to_string(), *stamp)?),
            Op::AppendNothing => Answer::Stamp(log.append("nothing", None)?),
            Op::Len => Answer::Count(log.len()?),
            Op::Range(start, end, max) => {
                Answer::Entries(pairs(log.range_pages(*start, *end, *max)?.concat()))
            }
            Op::Clear => Answer::Count(log.clear()?),
            Op::Open => {
                handle.cursor = Some(log.entries()?);
                Answer::Done
            }
            Op::Next(max) => match &mut handle.cursor {
                Some(cursor) => Answer::Entries(pairs(cursor.next_page(*max)?)),
                None => Answer::Done,
            },
            Op::Tail(after) => {
                handle.tail = Some(log.tail(*after)?);
                Answer::Done
            }
            Op::Follow(max) => match &mut handle.tail {
                Some(tail) => Answer::Entries(pairs(tail.next_page(*max, Some(ms(0)))?)),
                None => Answer::Done,
            },
        })
    }

    fn expect(
        contents: &mut Vec<Held>,
        place: &mut Place,
        op: &Op,
        now: Moment,
        said: Said<'_, Answer>,
    ) -> Result<Answer> {
        Ok(match op {
            Op::AppendNothing => return Err(Error::InvalidJson(String::new())),
            Op::Append(Some(stamp)) if !(-6.0e10..1.0e11).contains(stamp) => return Err(invalid()),
            Op::Append(stamp) => {
                now.needs_write_lock()?;
                let before = |held: &&Held| held.stamp < TO_COME;
                let last = contents.iter().rfind(before);
                let stamp = match (stamp, said) {
                    (Some(wanted), _) => free(contents, *wanted),
                    // After all others, unless they are of a time to come.
                    (None, Ok(Answer::Stamp(stamp)))
                        if (GIVEN..TO_COME).contains(stamp)
                            && last.is_none_or(|last| last.stamp < *stamp) =>
                    {
                        *stamp
                    }
                    _ => return Ok(Answer::Stamp(f64::NAN)),
                };
                let at = contents.partition_point(|held| held.stamp < stamp);
                let step = now.step;
                contents.insert(at, Held { stamp, step });
                Answer::Stamp(stamp)
            }
            Op::Len => Answer::Count(contents.len() as u64),
            Op::Range(start, end, max) => {
                if start.is_nan() || end.is_nan() || *max == 0 {
                    return Err(invalid());
                }
                let within = |held: &&Held| (*start..=*end).contains(&held.stamp);
                Answer::Entries(held(contents.iter().filter(within)))
            }
            Op::Clear => {
                now.needs_write_lock()?;
                Answer::Count(std::mem::take(contents).len() as u64)
            }
            Op::Open => {
                place.cursor = Some(Some(f64::NEG_INFINITY));
                Answer::Done
            }
            Op::Next(max) => {
                let Some(after) = place.cursor else {
                    return Ok(Answer::Done);
                };
                if *max == 0 {
                    return Err(invalid());
                }
                let after = after.unwrap_or(f64::INFINITY);
                let page: Vec<_> = contents
                    .iter()
                    .filter(|held| held.stamp > after)
                    .take(*max as usize)
                    .collect();
                place.cursor = Some(page.last().map(|last| last.stamp));
                Answer::Entries(held(page.into_iter()))
            }
            Op::Tail(Some(after)) if after.is_nan() => return Err(invalid()),
            Op::Tail(after) => {
                now.needs_no_transaction()?;
                let after = after.unwrap_or(f64::INFINITY);
                let before = contents.iter().filter(|held| held.stamp <= after);
                place.tail = Some(before.map(|held| held.step).collect());
                Answer::Done
            }
            Op::Follow(max) => {
                let Some(seen) = &mut place.tail else {
                    return Ok(Answer::Done);
                };
                if *max == 0 {
                    return Err(invalid());
                }
                now.needs_no_transaction()?;
                let mut new: Vec<_> = contents
                    .iter()
                    .filter(|held| !seen.contains(&held.step))
                    .collect();
                if new.is_empty() {
                    return Err(Error::Timeout);
                }
                new.sort_by_key(|held| held.step);
                new.truncate(*max as usize);
                seen.extend(new.iter().map(|held| held.step));
                Answer::Entries(held(new.into_iter()))
            }
        })
    }

    fn check(handle: &mut Handle, contents: &Vec<Held>) -> Checked {
        let found = pairs(handle.log.entry_pages(3).unwrap().concat());
        prop_assert_eq!(found, held(contents.iter()));
        prop_assert_eq!(handle.log.len().unwrap(), contents.len() as u64);
        Ok(())
    }
}
