//! Lists: places counted from either end, slices, and cursors over a list that
//! others change meanwhile.

use super::{Checked, Machine, Moment, Said, invalid};
use beaver_tests::{Error, List, ListItems, Result, Store};
use proptest::prelude::*;

pub(crate) struct Lists;

#[derive(Clone, Debug)]
pub(crate) enum Op {
    Push,
    /// What isn't JSON.
    PushNothing,
    Prepend,
    Insert(i64),
    /// The same place again and again, by two handles in turn.
    Crowd(i64, u32),
    Get(i64),
    Set(i64),
    Delete(i64),
    Pop,
    PopFirst,
    /// An item by its index, or one that was never there.
    Contains(usize),
    Len,
    Slice(Option<i64>, Option<i64>, u32),
    Clear,
    /// Starts an iteration, over all or over a slice.
    Items,
    OpenSlice(Option<i64>, Option<i64>),
    Next(u32),
}

#[derive(Debug, PartialEq)]
pub(crate) enum Answer {
    Done,
    Is(bool),
    Count(u64),
    Text(Option<String>),
    Texts(Vec<String>),
}

/// An item: a text that no other has. Setting makes it another.
type Held = String;

/// An iteration. Where it stands among items that come and go isn't for the
/// model to say, but what it may return is.
#[derive(Debug, Default)]
pub(crate) enum Iteration {
    #[default]
    Closed,
    /// Over a whole list.
    All {
        /// What has been there ever since, and not been returned.
        due: Vec<Held>,
        /// What has been returned, and is still there.
        returned: Vec<Held>,
        has_ended: bool,
    },
    /// Over a slice: how many more there may be.
    Slice {
        left: usize,
        returned: Vec<Held>,
        has_ended: bool,
    },
}

pub(crate) struct Handle {
    lists: [List; 2],
    items: Option<ListItems>,
}

fn index() -> impl Strategy<Value = i64> {
    prop_oneof![8 => -12..12_i64, 2 => -200..200_i64, 1 => any::<i64>()]
}

/// The place of an index, clamped as Python clamps it.
fn place(contents: &[Held], index: i64) -> usize {
    let len = i64::try_from(contents.len()).unwrap();
    let place = if index < 0 {
        index.saturating_add(len)
    } else {
        index
    };
    usize::try_from(place.clamp(0, len)).unwrap()
}

/// The place of an item that is there.
fn existing(contents: &[Held], index: i64) -> Result<usize> {
    let len = i64::try_from(contents.len()).unwrap();
    if !(-len..len).contains(&index) {
        return Err(Error::OutOfRange);
    }
    Ok(place(contents, index))
}

fn slice(contents: &[Held], start: Option<i64>, stop: Option<i64>) -> &[Held] {
    let from = place(contents, start.unwrap_or(0));
    let to = stop.map_or(contents.len(), |stop| place(contents, stop));
    &contents[from..to.max(from)]
}

/// How many items a slice has at most, also when items are added meanwhile. That
/// takes no more than the indices where both count from one end.
fn at_most(contents: &[Held], start: i64, stop: Option<i64>) -> usize {
    let begins = place(contents, start);
    let is_from_one_end = stop.is_none_or(|stop| (start < 0) == (stop < 0));
    if begins == contents.len() {
        0
    } else if is_from_one_end && existing(contents, start).is_ok() {
        stop.map_or(usize::MAX, |stop| {
            usize::try_from(stop.saturating_sub(start)).unwrap_or(0)
        })
    } else {
        slice(contents, Some(start), stop).len()
    }
}

/// A new item; several in one step have numbers.
fn fresh(now: Moment, number: u32) -> Held {
    format!("[{}, {number}]", now.step)
}

impl Iteration {
    /// Whether a page is one that the interface allows.
    fn allows(&mut self, contents: &[Held], max: u32, page: &[Held]) -> bool {
        // In the list's order, none of them twice: hence each is there.
        let places: Option<Vec<usize>> = page
            .iter()
            .map(|item| contents.iter().position(|held| held == item))
            .collect();
        let Some(places) = places else { return false };
        let is_in_order = places.windows(2).all(|pair| pair[0] < pair[1]);
        let (returned, has_ended) = match self {
            Self::Closed => return false,
            Self::All {
                returned,
                has_ended,
                ..
            }
            | Self::Slice {
                returned,
                has_ended,
                ..
            } => (returned, has_ended),
        };
        // Nothing again, and nothing from before what was returned.
        let is_new = places.first().is_none_or(|first| {
            returned
                .iter()
                .all(|item| contents[..*first].contains(item))
        });
        if !is_in_order || !is_new || page.len() > max as usize || *has_ended && !page.is_empty() {
            return false;
        }
        *has_ended = page.is_empty();
        returned.extend_from_slice(page);
        match self {
            Self::All { due, .. } => {
                // What was passed over can't come any more.
                let until = places.last().copied().unwrap_or(usize::MAX);
                due.retain(|item| !page.contains(item));
                due.iter()
                    .all(|item| contents.iter().position(|held| held == item) > Some(until))
                    || page.is_empty() && due.is_empty()
            }
            Self::Slice { left, .. } => match left.checked_sub(page.len()) {
                Some(fewer) => {
                    *left = fewer;
                    true
                }
                None => false,
            },
            Self::Closed => false,
        }
    }
}

impl Machine for Lists {
    type Op = Op;
    type Answer = Answer;
    type Contents = Vec<Held>;
    type Handle = Handle;
    type Place = Iteration;

    fn op() -> BoxedStrategy<Op> {
        let bound = || prop::option::of(index());
        prop_oneof![
            5 => Just(Op::Push),
            1 => Just(Op::PushNothing),
            3 => Just(Op::Prepend),
            6 => index().prop_map(Op::Insert),
            3 => (index(), 1..90_u32).prop_map(|(index, count)| Op::Crowd(index, count)),
            3 => index().prop_map(Op::Get),
            2 => index().prop_map(Op::Set),
            3 => index().prop_map(Op::Delete),
            2 => Just(Op::Pop),
            2 => Just(Op::PopFirst),
            1 => (0..30_usize).prop_map(Op::Contains),
            1 => Just(Op::Len),
            3 => (bound(), bound(), 1..50_u32)
                .prop_map(|(start, stop, max)| Op::Slice(start, stop, max)),
            1 => Just(Op::Clear),
            2 => Just(Op::Items),
            1 => (bound(), bound()).prop_map(|(start, stop)| Op::OpenSlice(start, stop)),
            8 => (0..9_u32).prop_map(Op::Next),
        ]
        .boxed()
    }

    fn open(store: &Store, name: &str) -> Result<Handle> {
        Ok(Handle {
            lists: [store.list(name)?, store.list(name)?],
            items: None,
        })
    }

    fn run(handle: &mut Handle, contents: &Vec<Held>, op: &Op, now: Moment) -> Result<Answer> {
        let list = &handle.lists[0];
        let item = fresh(now, 0);
        Ok(match op {
            Op::Push => {
                list.push(&item)?;
                Answer::Done
            }
            Op::PushNothing => {
                list.push("nothing")?;
                Answer::Done
            }
            Op::Prepend => {
                list.prepend(&item)?;
                Answer::Done
            }
            Op::Insert(index) => {
                list.insert(*index, &item)?;
                Answer::Done
            }
            Op::Crowd(index, count) => {
                for number in 0..*count {
                    let list = &handle.lists[(number % 2) as usize];
                    list.insert(*index, &fresh(now, number))?;
                }
                Answer::Done
            }
            Op::Get(index) => Answer::Text(list.get(*index)?),
            Op::Set(index) => {
                list.set(*index, &item)?;
                Answer::Done
            }
            Op::Delete(index) => {
                list.delete(*index)?;
                Answer::Done
            }
            Op::Pop => Answer::Text(list.pop()?),
            Op::PopFirst => Answer::Text(list.pop_first()?),
            Op::Contains(at) => {
                Answer::Is(list.contains(contents.get(*at).map_or("0", String::as_str))?)
            }
            Op::Len => Answer::Count(list.len()?),
            Op::Slice(start, stop, max) => {
                Answer::Texts(list.slice_pages(*start, *stop, *max)?.concat())
            }
            Op::Clear => Answer::Count(list.clear()?),
            Op::Items => {
                handle.items = Some(list.items()?);
                Answer::Done
            }
            Op::OpenSlice(start, stop) => {
                handle.items = Some(list.slice(*start, *stop)?);
                Answer::Done
            }
            Op::Next(max) => match &mut handle.items {
                Some(items) => Answer::Texts(items.next_page(*max)?),
                None => Answer::Done,
            },
        })
    }

    fn expect(
        contents: &mut Vec<Held>,
        iteration: &mut Iteration,
        op: &Op,
        now: Moment,
        said: Said<'_, Answer>,
    ) -> Result<Answer> {
        match op {
            Op::PushNothing => return Err(Error::InvalidJson(String::new())),
            Op::Push
            | Op::Prepend
            | Op::Insert(_)
            | Op::Crowd(..)
            | Op::Set(_)
            | Op::Delete(_)
            | Op::Pop
            | Op::PopFirst
            | Op::Clear => now.needs_write_lock()?,
            _ => {}
        }
        let item = fresh(now, 0);
        Ok(match op {
            Op::PushNothing => Answer::Done,
            Op::Push => {
                contents.push(item);
                Answer::Done
            }
            Op::Prepend => {
                contents.insert(0, item);
                Answer::Done
            }
            Op::Insert(index) => {
                contents.insert(place(contents, *index), item);
                Answer::Done
            }
            Op::Crowd(index, count) => {
                for number in 0..*count {
                    contents.insert(place(contents, *index), fresh(now, number));
                }
                Answer::Done
            }
            Op::Get(index) => Answer::Text(
                existing(contents, *index)
                    .ok()
                    .map(|at| contents[at].clone()),
            ),
            Op::Set(index) => {
                let at = existing(contents, *index)?;
                contents[at] = item;
                Answer::Done
            }
            Op::Delete(index) => {
                contents.remove(existing(contents, *index)?);
                Answer::Done
            }
            Op::Pop => Answer::Text(contents.pop()),
            Op::PopFirst => Answer::Text((!contents.is_empty()).then(|| contents.remove(0))),
            Op::Contains(at) => Answer::Is(*at < contents.len()),
            Op::Len => Answer::Count(contents.len() as u64),
            Op::Slice(start, stop, _) => Answer::Texts(slice(contents, *start, *stop).to_vec()),
            Op::Clear => Answer::Count(std::mem::take(contents).len() as u64),
            Op::Items => {
                *iteration = Iteration::All {
                    due: contents.clone(),
                    returned: Vec::new(),
                    has_ended: false,
                };
                Answer::Done
            }
            Op::OpenSlice(start, stop) => {
                let left = at_most(contents, start.unwrap_or(0), *stop);
                *iteration = Iteration::Slice {
                    left,
                    returned: Vec::new(),
                    has_ended: false,
                };
                Answer::Done
            }
            Op::Next(_) if matches!(iteration, Iteration::Closed) => Answer::Done,
            Op::Next(0) => return Err(invalid()),
            Op::Next(max) => match said {
                Ok(Answer::Texts(page)) if iteration.allows(contents, *max, page) => {
                    Answer::Texts(page.clone())
                }
                _ => Answer::Texts(vec![format!("not from {contents:?} at {iteration:?}")]),
            },
        })
    }

    fn look(contents: &Vec<Held>, iteration: &mut Iteration, _: Option<bool>) {
        match iteration {
            Iteration::Closed => {}
            Iteration::All { due, returned, .. } => {
                due.retain(|item| contents.contains(item));
                returned.retain(|item| contents.contains(item));
            }
            Iteration::Slice { returned, .. } => returned.retain(|item| contents.contains(item)),
        }
    }

    fn check(handle: &mut Handle, contents: &Vec<Held>) -> Checked {
        let found = handle.lists[1].item_pages(7).unwrap().concat();
        prop_assert_eq!(&found, contents);
        Ok(())
    }
}
