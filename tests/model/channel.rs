//! Channels: messages by their stamps, history, subscriptions.

use super::{Checked, Machine, Moment, Said, invalid};
use beaver_tests::{Channel, Cursor, Error, Message, Result, Store, Subscription, ms};
use proptest::prelude::*;
use std::collections::BTreeSet;

pub(crate) struct Channels;

#[derive(Clone, Debug)]
pub(crate) enum Op {
    Publish,
    /// What isn't JSON.
    PublishNothing,
    Len,
    History(Bound, Option<u64>, u32),
    Prune(Bound),
    Clear,
    /// Starts an iteration over the history, or goes on with it.
    Open(Bound, Option<u64>),
    Next(u32),
    Subscribe(Bound),
    Receive(u32),
}

/// A stamp.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Bound {
    None,
    /// That of the message with this index, or infinity.
    Of(usize),
    Nan,
}

impl Bound {
    fn stamp(self, contents: &[Held]) -> Option<f64> {
        match self {
            Self::None => None,
            Self::Of(at) => Some(contents.get(at).map_or(f64::INFINITY, |held| held.stamp)),
            Self::Nan => Some(f64::NAN),
        }
    }
}

#[derive(Debug, PartialEq)]
pub(crate) enum Answer {
    Done,
    Count(u64),
    Stamp(f64),
    Messages(Vec<(f64, String)>),
}

/// A message; the step in which it was published is its payload.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Held {
    stamp: f64,
    step: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Place {
    /// None: not open. The stamp of the last message returned; none: ended.
    cursor: Option<Option<f64>>,
    /// What the subscription is not to return, or has returned.
    subscription: Option<BTreeSet<u64>>,
}

pub(crate) struct Handle {
    channel: Channel,
    cursor: Option<Cursor<Message>>,
    subscription: Option<Subscription>,
}

fn bound() -> impl Strategy<Value = Bound> {
    prop_oneof![
        3 => Just(Bound::None),
        6 => (0..12_usize).prop_map(Bound::Of),
        1 => Just(Bound::Nan),
    ]
}

fn pairs(messages: Vec<Message>) -> Vec<(f64, String)> {
    messages
        .into_iter()
        .map(|message| (message.timestamp, message.payload))
        .collect()
}

fn held<'a>(messages: impl IntoIterator<Item = &'a Held>) -> Vec<(f64, String)> {
    messages
        .into_iter()
        .map(|held| (held.stamp, held.step.to_string()))
        .collect()
}

/// What `history` goes through: where it begins.
fn history(contents: &[Held], after: Bound, last: Option<u64>) -> Result<usize> {
    let after = after.stamp(contents).unwrap_or(f64::NEG_INFINITY);
    if after.is_nan() {
        return Err(invalid());
    }
    let first = contents.partition_point(|held| held.stamp <= after);
    let last = last.map_or(usize::MAX, |last| usize::try_from(last).unwrap());
    Ok(first.max(contents.len().saturating_sub(last)))
}

impl Machine for Channels {
    type Op = Op;
    type Answer = Answer;
    /// In the order of their stamps, which is that of the commits.
    type Contents = Vec<Held>;
    type Handle = Handle;
    type Place = Place;

    fn op() -> BoxedStrategy<Op> {
        let last = || prop::option::of(0..5_u64);
        prop_oneof![
            12 => Just(Op::Publish),
            1 => Just(Op::PublishNothing),
            1 => Just(Op::Len),
            3 => (bound(), last(), 0..4_u32)
                .prop_map(|(after, last, max)| Op::History(after, last, max)),
            2 => bound().prop_map(Op::Prune),
            1 => Just(Op::Clear),
            2 => (bound(), last()).prop_map(|(after, last)| Op::Open(after, last)),
            6 => (0..4_u32).prop_map(Op::Next),
            2 => bound().prop_map(Op::Subscribe),
            8 => (0..4_u32).prop_map(Op::Receive),
        ]
        .boxed()
    }

    fn open(store: &Store, name: &str) -> Result<Handle> {
        let channel = store.channel(name)?;
        // The first subscription of a file writes: not while another does.
        drop(channel.subscribe(None)?);
        Ok(Handle {
            channel,
            cursor: None,
            subscription: None,
        })
    }

    fn run(handle: &mut Handle, contents: &Vec<Held>, op: &Op, now: Moment) -> Result<Answer> {
        let channel = &handle.channel;
        Ok(match op {
            Op::Publish => Answer::Stamp(channel.publish(&now.step.to_string())?),
            Op::PublishNothing => Answer::Stamp(channel.publish("nothing")?),
            Op::Len => Answer::Count(channel.len()?),
            Op::History(after, last, max) => {
                let pages = channel.history_pages(after.stamp(contents), *last, *max)?;
                Answer::Messages(pairs(pages.concat()))
            }
            Op::Prune(before) => {
                let before = before.stamp(contents).unwrap_or(f64::NEG_INFINITY);
                Answer::Count(channel.prune(before)?)
            }
            Op::Clear => Answer::Count(channel.clear()?),
            Op::Open(after, last) => {
                handle.cursor = Some(channel.history(after.stamp(contents), *last)?);
                Answer::Done
            }
            Op::Next(max) => match &mut handle.cursor {
                Some(cursor) => Answer::Messages(pairs(cursor.next_page(*max)?)),
                None => Answer::Done,
            },
            Op::Subscribe(after) => {
                handle.subscription = Some(channel.subscribe(after.stamp(contents))?);
                Answer::Done
            }
            Op::Receive(max) => match &mut handle.subscription {
                Some(subscription) => {
                    Answer::Messages(pairs(subscription.next_page(*max, Some(ms(0)))?))
                }
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
            Op::PublishNothing => return Err(Error::InvalidJson(String::new())),
            Op::Publish => {
                now.needs_write_lock()?;
                let Ok(Answer::Stamp(stamp)) = said else {
                    return Ok(Answer::Stamp(f64::NAN));
                };
                if contents.last().is_some_and(|last| last.stamp >= *stamp) {
                    return Ok(Answer::Stamp(f64::NAN));
                }
                let (stamp, step) = (*stamp, now.step);
                contents.push(Held { stamp, step });
                Answer::Stamp(stamp)
            }
            Op::Len => Answer::Count(contents.len() as u64),
            Op::History(after, last, max) => {
                let first = history(contents, *after, *last)?;
                if *max == 0 {
                    return Err(invalid());
                }
                Answer::Messages(held(&contents[first..]))
            }
            Op::Prune(before) => {
                let before = before.stamp(contents).unwrap_or(f64::NEG_INFINITY);
                if before.is_nan() {
                    return Err(invalid());
                }
                now.needs_write_lock()?;
                let count = contents.partition_point(|held| held.stamp < before);
                contents.drain(..count);
                Answer::Count(count as u64)
            }
            Op::Clear => {
                now.needs_write_lock()?;
                Answer::Count(std::mem::take(contents).len() as u64)
            }
            Op::Open(after, last) => {
                let first = history(contents, *after, *last)?;
                let bound = after.stamp(contents).unwrap_or(f64::NEG_INFINITY);
                let before = first.checked_sub(1).map(|before| contents[before].stamp);
                let after = before.map_or(bound, |before| bound.max(before));
                place.cursor = Some(Some(after));
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
                let later = contents.iter().filter(|held| held.stamp > after);
                let page: Vec<_> = later.take(*max as usize).collect();
                place.cursor = Some(page.last().map(|last| last.stamp));
                Answer::Messages(held(page))
            }
            Op::Subscribe(Bound::Nan) => return Err(invalid()),
            Op::Subscribe(after) => {
                now.needs_no_transaction()?;
                let after = after.stamp(contents).unwrap_or(f64::INFINITY);
                let before = contents.iter().filter(|held| held.stamp <= after);
                place.subscription = Some(before.map(|held| held.step).collect());
                Answer::Done
            }
            Op::Receive(max) => {
                let Some(seen) = &mut place.subscription else {
                    return Ok(Answer::Done);
                };
                if *max == 0 {
                    return Err(invalid());
                }
                now.needs_no_transaction()?;
                let new = contents.iter().filter(|held| !seen.contains(&held.step));
                let page: Vec<_> = new.take(*max as usize).collect();
                if page.is_empty() {
                    return Err(Error::Timeout);
                }
                seen.extend(page.iter().map(|held| held.step));
                Answer::Messages(held(page))
            }
        })
    }

    fn check(handle: &mut Handle, contents: &Vec<Held>) -> Checked {
        let found = pairs(
            handle
                .channel
                .history_pages(None, None, 3)
                .unwrap()
                .concat(),
        );
        prop_assert_eq!(found, held(contents));
        Ok(())
    }
}
