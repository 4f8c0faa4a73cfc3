//! Dictionaries: keys in order, entries that have expired, cursors.

use super::{Checked, Machine, Moment, Said, invalid};
use beaver_tests::{Cursor, Dict, Entry, Error, Result, Store, s};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::time::Duration;

pub(crate) struct Dicts;

#[derive(Clone, Debug)]
pub(crate) enum Op {
    Set(String, Ttl),
    /// What isn't JSON.
    SetNothing(String),
    Get(String),
    Contains(String),
    Delete(String),
    Pop(String),
    Len,
    Clear,
    Keys(u32),
    Values(u32),
    Items(u32),
    /// Starts an iteration in one of two places, or goes on with it.
    Open(usize),
    Next(usize, u32),
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Ttl {
    None,
    /// So short that no clock can tell its end from its beginning.
    Expired,
    Hour,
    /// Beyond what a float of seconds can tell.
    Longest,
    /// Refused.
    Zero,
}

impl Ttl {
    fn duration(self) -> Option<Duration> {
        match self {
            Self::None => None,
            Self::Expired => Some(Duration::from_nanos(1)),
            Self::Hour => Some(s(3600)),
            Self::Longest => Some(Duration::from_nanos(u64::MAX)),
            Self::Zero => Some(Duration::ZERO),
        }
    }
}

#[derive(Debug, PartialEq)]
pub(crate) enum Answer {
    Done,
    Is(bool),
    Count(u64),
    Text(Option<String>),
    Texts(Vec<String>),
    Entries(Vec<(String, String)>),
}

#[derive(Clone, Debug)]
pub(crate) struct Value {
    text: String,
    has_expired: bool,
}

#[derive(Debug, Default)]
pub(crate) enum Iteration {
    #[default]
    Closed,
    Begun,
    After(String),
    Ended,
}

pub(crate) struct Handle {
    dict: Dict,
    cursors: [Option<Cursor<Entry>>; 2],
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof![4 => "[a-e]", 1 => "[aé😀 ]{0,3}"]
}

fn live(contents: &BTreeMap<String, Value>) -> impl Iterator<Item = (&String, &Value)> {
    contents.iter().filter(|(_, value)| !value.has_expired)
}

fn get(contents: &BTreeMap<String, Value>, key: &str) -> Option<String> {
    let value = contents.get(key).filter(|value| !value.has_expired)?;
    Some(value.text.clone())
}

fn pairs(page: Vec<Entry>) -> Vec<(String, String)> {
    page.into_iter()
        .map(|entry| (entry.key, entry.value))
        .collect()
}

impl Machine for Dicts {
    type Op = Op;
    type Answer = Answer;
    type Contents = BTreeMap<String, Value>;
    type Handle = Handle;
    type Place = [Iteration; 2];

    fn op() -> BoxedStrategy<Op> {
        let ttl = prop_oneof![
            6 => Just(Ttl::None),
            3 => Just(Ttl::Expired),
            2 => Just(Ttl::Hour),
            1 => Just(Ttl::Longest),
            1 => Just(Ttl::Zero),
        ];
        prop_oneof![
            12 => (key(), ttl).prop_map(|(key, ttl)| Op::Set(key, ttl)),
            1 => key().prop_map(Op::SetNothing),
            4 => key().prop_map(Op::Get),
            2 => key().prop_map(Op::Contains),
            3 => key().prop_map(Op::Delete),
            3 => key().prop_map(Op::Pop),
            2 => Just(Op::Len),
            1 => Just(Op::Clear),
            1 => (0..4_u32).prop_map(Op::Keys),
            1 => (1..4_u32).prop_map(Op::Values),
            2 => (1..4_u32).prop_map(Op::Items),
            2 => (0..2_usize).prop_map(Op::Open),
            8 => (0..2_usize, 0..4_u32).prop_map(|(place, max)| Op::Next(place, max)),
        ]
        .boxed()
    }

    fn open(store: &Store, name: &str) -> Result<Handle> {
        Ok(Handle {
            dict: store.dict(name)?,
            cursors: [None, None],
        })
    }

    fn run(handle: &mut Handle, _: &Self::Contents, op: &Op, now: Moment) -> Result<Answer> {
        let dict = &handle.dict;
        Ok(match op {
            Op::Set(key, ttl) => {
                dict.set(key, &now.step.to_string(), ttl.duration())?;
                Answer::Done
            }
            Op::SetNothing(key) => {
                dict.set(key, "nothing", None)?;
                Answer::Done
            }
            Op::Get(key) => Answer::Text(dict.get(key)?),
            Op::Contains(key) => Answer::Is(dict.contains(key)?),
            Op::Delete(key) => Answer::Is(dict.delete(key)?),
            Op::Pop(key) => Answer::Text(dict.pop(key)?),
            Op::Len => Answer::Count(dict.len()?),
            Op::Clear => Answer::Count(dict.clear()?),
            Op::Keys(max) => Answer::Texts(dict.key_pages(*max)?.concat()),
            Op::Values(max) => Answer::Texts(dict.value_pages(*max)?.concat()),
            Op::Items(max) => Answer::Entries(pairs(dict.item_pages(*max)?.concat())),
            Op::Open(place) => {
                handle.cursors[*place] = Some(dict.items()?);
                Answer::Done
            }
            Op::Next(place, max) => match &mut handle.cursors[*place] {
                Some(cursor) => Answer::Entries(pairs(cursor.next_page(*max)?)),
                None => Answer::Done,
            },
        })
    }

    fn expect(
        contents: &mut Self::Contents,
        places: &mut Self::Place,
        op: &Op,
        now: Moment,
        _: Said<'_, Answer>,
    ) -> Result<Answer> {
        Ok(match op {
            Op::Set(_, Ttl::Zero) | Op::Keys(0) => return Err(invalid()),
            Op::SetNothing(_) => return Err(Error::InvalidJson(String::new())),
            Op::Set(key, ttl) => {
                now.needs_write_lock()?;
                let value = Value {
                    text: now.step.to_string(),
                    has_expired: matches!(ttl, Ttl::Expired),
                };
                contents.insert(key.clone(), value);
                Answer::Done
            }
            Op::Get(key) => Answer::Text(get(contents, key)),
            Op::Contains(key) => Answer::Is(get(contents, key).is_some()),
            Op::Delete(key) => {
                now.needs_write_lock()?;
                let found = get(contents, key).is_some();
                contents.remove(key);
                Answer::Is(found)
            }
            Op::Pop(key) => {
                now.needs_write_lock()?;
                let found = get(contents, key);
                contents.remove(key);
                Answer::Text(found)
            }
            Op::Len => Answer::Count(live(contents).count() as u64),
            Op::Clear => {
                now.needs_write_lock()?;
                let count = live(contents).count() as u64;
                contents.clear();
                Answer::Count(count)
            }
            Op::Keys(_) => Answer::Texts(live(contents).map(|(key, _)| key.clone()).collect()),
            Op::Values(_) => Answer::Texts(
                live(contents)
                    .map(|(_, value)| value.text.clone())
                    .collect(),
            ),
            Op::Items(_) => Answer::Entries(
                live(contents)
                    .map(|(key, value)| (key.clone(), value.text.clone()))
                    .collect(),
            ),
            Op::Open(place) => {
                places[*place] = Iteration::Begun;
                Answer::Done
            }
            Op::Next(place, max) => {
                let place = &mut places[*place];
                let after = match &*place {
                    Iteration::Closed => return Ok(Answer::Done),
                    _ if *max == 0 => return Err(invalid()),
                    Iteration::Ended => return Ok(Answer::Entries(Vec::new())),
                    Iteration::Begun => Bound::Unbounded,
                    Iteration::After(key) => Bound::Excluded(key.clone()),
                };
                let page: Vec<_> = contents
                    .range((after, Bound::Unbounded))
                    .filter(|(_, value)| !value.has_expired)
                    .take(*max as usize)
                    .map(|(key, value)| (key.clone(), value.text.clone()))
                    .collect();
                *place = match page.last() {
                    Some((key, _)) => Iteration::After(key.clone()),
                    None => Iteration::Ended,
                };
                Answer::Entries(page)
            }
        })
    }

    fn check(handle: &mut Handle, contents: &Self::Contents) -> Checked {
        let found = pairs(handle.dict.item_pages(3).unwrap().concat());
        let held: Vec<_> = live(contents)
            .map(|(key, value)| (key.clone(), value.text.clone()))
            .collect();
        prop_assert_eq!(found, held);
        Ok(())
    }
}
