//! A list and what changes it.

use super::values::{Datum, Numbers};
use crate::history::Operation;
use crate::protocol::Op;

/// The numbers of the items.
pub(super) type State = Vec<u32>;

/// A change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Change {
    Push(u32),
    Insert(i64, u32),
    Set(i64, u32),
    Delete(i64),
}

impl Change {
    /// What an operation changes, if it may have.
    pub(super) fn of<'a>(operation: &'a Operation, numbers: &mut Numbers<'a>) -> Option<Self> {
        if !operation.may_have_happened() {
            return None;
        }
        Some(match &operation.op {
            Op::ListPush { value, .. } => Self::Push(numbers.of(Datum::Value(value))),
            Op::ListInsert { index, value, .. } => {
                Self::Insert(*index, numbers.of(Datum::Value(value)))
            }
            Op::ListSet { index, value, .. } => Self::Set(*index, numbers.of(Datum::Value(value))),
            Op::ListDelete { index, .. } => Self::Delete(*index),
            _ => return None,
        })
    }

    /// Whether the protocol doesn't say what it does: an index counted from the end, or one beyond it
    /// where something is inserted.
    pub(super) fn is_unclear(&self) -> bool {
        match self {
            Self::Push(_) => false,
            Self::Insert(index, _) | Self::Set(index, _) | Self::Delete(index) => *index < 0,
        }
    }

    /// Makes it; whether it could be made.
    pub(super) fn apply(&self, state: &mut State) -> bool {
        let place = |index: i64| usize::try_from(index).ok();
        match *self {
            Self::Push(item) => state.push(item),
            Self::Insert(index, item) => match place(index) {
                // At or beyond the end: at the end.
                Some(at) => state.insert(at.min(state.len()), item),
                None => return false,
            },
            Self::Set(index, item) => match place(index).and_then(|at| state.get_mut(at)) {
                Some(known) => *known = item,
                None => return false,
            },
            Self::Delete(index) => match place(index) {
                Some(at) if at < state.len() => {
                    state.remove(at);
                }
                _ => return false,
            },
        }
        true
    }
}
