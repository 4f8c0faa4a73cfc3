//! Queues: by priority and then by turn, batches, cursors.

use super::{Checked, Machine, Moment, Said, invalid};
use beaver_tests::{Cursor, Error, Item, Queue, Result, Store, ms};
use proptest::prelude::*;
use std::cmp::Ordering;

pub(crate) struct Queues;

#[derive(Clone, Debug)]
pub(crate) enum Op {
    Put(f64),
    /// What isn't JSON.
    PutNothing,
    TryGet,
    Get,
    GetBatch(u32),
    Peek,
    Len,
    Items(u32),
    Clear,
    /// Starts an iteration in one of two places, or goes on with it.
    Open(usize),
    Next(usize, u32),
}

#[derive(Debug, PartialEq)]
pub(crate) enum Answer {
    Done,
    Count(u64),
    Item(Option<Held>),
    Items(Vec<Held>),
}

/// An item: its priority and the number of the step that put it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Held {
    priority: f64,
    step: u64,
}

impl Held {
    fn of(item: &Item) -> Self {
        Self {
            priority: item.priority,
            step: item.data.parse().unwrap(),
        }
    }

    fn order(&self, other: &Self) -> Ordering {
        // Not the total order, which has two zeros.
        let priorities = self.priority.partial_cmp(&other.priority).unwrap();
        priorities.then(self.step.cmp(&other.step))
    }
}

#[derive(Debug, Default)]
pub(crate) enum Iteration {
    #[default]
    Closed,
    Begun,
    After(Held),
    Ended,
}

pub(crate) struct Handle {
    queue: Queue,
    cursors: [Option<Cursor<Item>>; 2],
}

fn all(items: &[Item]) -> Vec<Held> {
    // What the interface says of the items of one priority.
    for pair in items.windows(2) {
        assert!(
            pair[0].priority < pair[1].priority || pair[0].timestamp < pair[1].timestamp,
            "{pair:?}"
        );
    }
    items.iter().map(Held::of).collect()
}

impl Machine for Queues {
    type Op = Op;
    type Answer = Answer;
    type Contents = Vec<Held>;
    type Handle = Handle;
    type Place = [Iteration; 2];

    fn op() -> BoxedStrategy<Op> {
        let priority = prop_oneof![
            8 => prop::sample::select(vec![0.0, -0.0, 1.0, -1.5]),
            2 => prop::sample::select(vec![f64::INFINITY, f64::NEG_INFINITY, f64::NAN]),
            1 => any::<f64>(),
        ];
        prop_oneof![
            12 => priority.prop_map(Op::Put),
            1 => Just(Op::PutNothing),
            4 => Just(Op::TryGet),
            2 => Just(Op::Get),
            4 => (0..4_u32).prop_map(Op::GetBatch),
            2 => Just(Op::Peek),
            1 => Just(Op::Len),
            2 => (1..4_u32).prop_map(Op::Items),
            1 => Just(Op::Clear),
            2 => (0..2_usize).prop_map(Op::Open),
            8 => (0..2_usize, 0..4_u32).prop_map(|(place, max)| Op::Next(place, max)),
        ]
        .boxed()
    }

    fn open(store: &Store, name: &str) -> Result<Handle> {
        Ok(Handle {
            queue: store.queue(name)?,
            cursors: [None, None],
        })
    }

    fn run(handle: &mut Handle, _: &Vec<Held>, op: &Op, now: Moment) -> Result<Answer> {
        let queue = &handle.queue;
        Ok(match op {
            Op::Put(priority) => {
                queue.put(&now.step.to_string(), *priority)?;
                Answer::Done
            }
            Op::PutNothing => {
                queue.put("nothing", 0.0)?;
                Answer::Done
            }
            Op::TryGet => Answer::Item(queue.try_get()?.as_ref().map(Held::of)),
            Op::Get => Answer::Item(Some(Held::of(&queue.get(Some(ms(0))).map_err(time_is_up)?))),
            Op::GetBatch(count) => Answer::Items(all(&queue
                .get_batch(*count, Some(ms(0)))
                .map_err(time_is_up)?)),
            Op::Peek => Answer::Item(queue.peek()?.as_ref().map(Held::of)),
            Op::Len => Answer::Count(queue.len()?),
            Op::Items(max) => Answer::Items(all(&queue.item_pages(*max)?.concat())),
            Op::Clear => Answer::Count(queue.clear()?),
            Op::Open(place) => {
                handle.cursors[*place] = Some(queue.items()?);
                Answer::Done
            }
            Op::Next(place, max) => match &mut handle.cursors[*place] {
                Some(cursor) => Answer::Items(all(&cursor.next_page(*max)?)),
                None => Answer::Done,
            },
        })
    }

    fn expect(
        contents: &mut Vec<Held>,
        places: &mut Self::Place,
        op: &Op,
        now: Moment,
        _: Said<'_, Answer>,
    ) -> Result<Answer> {
        Ok(match op {
            Op::Put(priority) if priority.is_nan() => return Err(invalid()),
            Op::PutNothing => return Err(Error::InvalidJson(String::new())),
            Op::GetBatch(0) => return Err(invalid()),
            Op::Put(priority) => {
                now.needs_write_lock()?;
                let item = Held {
                    priority: *priority,
                    step: now.step,
                };
                let at = contents.partition_point(|held| held.order(&item).is_lt());
                contents.insert(at, item);
                Answer::Done
            }
            Op::TryGet => {
                now.needs_write_lock()?;
                Answer::Item((!contents.is_empty()).then(|| contents.remove(0)))
            }
            // Whose time is up while somebody else writes, whatever there may be.
            Op::Get | Op::GetBatch(_) if now.is_blocked => return Err(Error::Timeout),
            Op::Get if contents.is_empty() => return Err(Error::Timeout),
            Op::Get => Answer::Item(Some(contents.remove(0))),
            Op::GetBatch(count) if contents.len() < *count as usize => return Err(Error::Timeout),
            Op::GetBatch(count) => Answer::Items(contents.drain(..*count as usize).collect()),
            Op::Peek => Answer::Item(contents.first().copied()),
            Op::Len => Answer::Count(contents.len() as u64),
            Op::Items(_) => Answer::Items(contents.clone()),
            Op::Clear => {
                now.needs_write_lock()?;
                Answer::Count(std::mem::take(contents).len() as u64)
            }
            Op::Open(place) => {
                places[*place] = Iteration::Begun;
                Answer::Done
            }
            Op::Next(place, max) => {
                let place = &mut places[*place];
                let from = match &*place {
                    Iteration::Closed => return Ok(Answer::Done),
                    _ if *max == 0 => return Err(invalid()),
                    Iteration::Ended => return Ok(Answer::Items(Vec::new())),
                    Iteration::Begun => 0,
                    Iteration::After(last) => {
                        contents.partition_point(|held| held.order(last).is_le())
                    }
                };
                let page: Vec<_> = contents[from..]
                    .iter()
                    .take(*max as usize)
                    .copied()
                    .collect();
                *place = page
                    .last()
                    .map_or(Iteration::Ended, |last| Iteration::After(*last));
                Answer::Items(page)
            }
        })
    }

    fn check(handle: &mut Handle, contents: &Vec<Held>) -> Checked {
        let found = all(&handle.queue.item_pages(3).unwrap().concat());
        prop_assert_eq!(&found, contents);
        Ok(())
    }
}

/// Which of the two it is depends on what others have committed, which `tests/queue.rs` tries.
fn time_is_up(error: Error) -> Error {
    match error {
        Error::Busy => Error::Timeout,
        other => other,
    }
}
