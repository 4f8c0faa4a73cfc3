//! Indices and slices of a list, against Python's.
//!
//! What must stay true: an index means the item that it means in a Python list, whatever number it
//! is; where Python raises, so do we, and nothing has changed.

use crate::Target;
use crate::scratch::Scratch;
use arbitrary::{Result, Unstructured};
use beaver_core::{Error, List};

/// See the module.
pub const TARGET: Target = Target {
    name: "list",
    run,
    tries: 1000,
    bytes_max: 512,
};

const STEPS_MAX: usize = 64;

#[derive(Debug)]
enum Step {
    Push,
    Prepend,
    Pop,
    PopFirst,
    Insert(Index),
    Set(Index),
    Delete(Index),
    Get(Index),
    Slice(Option<Index>, Option<Index>),
    Clear,
}

impl Step {
    fn of(input: &mut Unstructured<'_>) -> Result<Self> {
        Ok(match input.int_in_range(0..=9)? {
            0 => Self::Push,
            1 => Self::Prepend,
            2 => Self::Pop,
            3 => Self::PopFirst,
            4 => Self::Insert(Index::of(input)?),
            5 => Self::Set(Index::of(input)?),
            6 => Self::Delete(Index::of(input)?),
            7 => Self::Get(Index::of(input)?),
            8 => Self::Slice(Index::perhaps(input)?, Index::perhaps(input)?),
            _ => Self::Clear,
        })
    }
}

/// Mostly one that may be in the list.
#[derive(Clone, Copy, Debug)]
enum Index {
    Near(i8),
    Any(i64),
}

impl Index {
    fn of(input: &mut Unstructured<'_>) -> Result<Self> {
        Ok(if input.ratio(3, 4)? {
            Self::Near(input.arbitrary()?)
        } else {
            Self::Any(input.arbitrary()?)
        })
    }

    fn perhaps(input: &mut Unstructured<'_>) -> Result<Option<Self>> {
        let is_given = input.ratio(3, 4)?;
        is_given.then(|| Self::of(input)).transpose()
    }

    fn get(self) -> i64 {
        match self {
            Self::Near(index) => index.into(),
            Self::Any(index) => index,
        }
    }
}

fn run(bytes: &[u8]) {
    let mut input = Unstructured::new(bytes);
    let scratch = Scratch::new();
    let database = scratch.open();
    let list = database.list("l").unwrap();
    let mut model: Vec<String> = Vec::new();
    for number in 0..STEPS_MAX {
        if input.is_empty() {
            break;
        }
        let Ok(step) = Step::of(&mut input) else {
            break;
        };
        take(&list, &mut model, &step, number.to_string());
        let items: Vec<String> = list.items().unwrap().map(|item| item.unwrap()).collect();
        assert_eq!(items, model, "after {step:?}");
        assert_eq!(list.len().unwrap(), model.len() as u64);
    }
}

fn take(list: &List, model: &mut Vec<String>, step: &Step, new: String) {
    match *step {
        Step::Push => {
            list.push(&new).unwrap();
            model.push(new);
        }
        Step::Prepend => {
            list.prepend(&new).unwrap();
            model.insert(0, new);
        }
        Step::Pop => assert_eq!(list.pop().unwrap(), model.pop()),
        Step::PopFirst => {
            let first = (!model.is_empty()).then(|| model.remove(0));
            assert_eq!(list.pop_first().unwrap(), first);
        }
        Step::Insert(index) => {
            list.insert(index.get(), &new).unwrap();
            model.insert(clamped(model.len(), index.get()), new);
        }
        Step::Set(index) => match (item(model.len(), index.get()), list.set(index.get(), &new)) {
            (Some(at), Ok(())) => model[at] = new,
            (None, Err(Error::OutOfRange)) => {}
            (_, said) => panic!("{step:?}: {said:?}"),
        },
        Step::Delete(index) => match (item(model.len(), index.get()), list.delete(index.get())) {
            (Some(at), Ok(())) => drop(model.remove(at)),
            (None, Err(Error::OutOfRange)) => {}
            (_, said) => panic!("{step:?}: {said:?}"),
        },
        Step::Get(index) => {
            let at = item(model.len(), index.get());
            let wanted = at.map(|at| model[at].clone());
            assert_eq!(list.get(index.get()).unwrap(), wanted);
        }
        Step::Slice(start, stop) => {
            let bound = |index: Option<Index>, without: usize| {
                index.map_or(without, |index| clamped(model.len(), index.get()))
            };
            let (from, to) = (bound(start, 0), bound(stop, model.len()));
            let wanted = model.get(from..to).unwrap_or_default();
            let items = list.slice(start.map(Index::get), stop.map(Index::get));
            let items: Vec<String> = items.unwrap().map(|item| item.unwrap()).collect();
            assert_eq!(items, wanted, "{step:?}");
        }
        Step::Clear => {
            assert_eq!(list.clear().unwrap(), model.len() as u64);
            model.clear();
        }
    }
}

/// Where an item is, as Python's `list[index]` finds it.
fn item(len: usize, index: i64) -> Option<usize> {
    let len = len as i128;
    let at = i128::from(index) + if index < 0 { len } else { 0 };
    usize::try_from(at).ok().filter(|at| (*at as i128) < len)
}

/// Where `list.insert(index, …)` and the bounds of a slice are in Python: none is out of range.
fn clamped(len: usize, index: i64) -> usize {
    let len = len as i128;
    let at = i128::from(index) + if index < 0 { len } else { 0 };
    at.clamp(0, len) as usize
}
