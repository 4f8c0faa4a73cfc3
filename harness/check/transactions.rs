//! Which operations were made in which transaction, and what became of it.
//!
//! What must stay true: a transaction is `Committed` only if its commit was acknowledged,
//! and `Undone` only if no commit of it can have taken effect. An operation of which it isn't
//! certain whether it was in one is `Unsure`.

use crate::history::{History, Operation};
use crate::protocol::{ErrorCode, Op};
use std::collections::HashMap;

/// What became of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Its commit was acknowledged.
    Committed,
    /// Nobody knows.
    Unknown,
    /// It certainly did not happen.
    Undone,
}

/// One transaction.
#[derive(Clone, Copy, Debug)]
pub(super) struct Transaction {
    /// What became of it.
    pub(super) fate: Fate,
    /// When its `begin` was invoked.
    pub(super) begun_ns: u64,
    /// When its first `commit` was invoked; the end of time if there was none.
    pub(super) commit_ns: u64,
    /// When its commit was acknowledged; the end of time if it wasn't.
    pub(super) ended_ns: u64,
}

/// Where an operation was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// By itself.
    Alone,
    /// In the transaction of this number.
    In(u32),
    /// Perhaps in a transaction.
    Unsure,
}

/// Where a session is.
struct State {
    place: Place,
    /// The transaction that a commit now might be of.
    last: Option<u32>,
}

/// The transactions of a history.
#[derive(Debug, Default)]
pub(super) struct Transactions {
    /// By the place of the operation in the history; empty if there are no transactions.
    places: Vec<Place>,
    list: Vec<Transaction>,
}

impl Transactions {
    /// Finds them.
    pub(super) fn of(history: &History) -> Self {
        let mut found = Self::default();
        if !history.operations.iter().any(|op| op.op == Op::Begin) {
            return found;
        }
        let mut states: HashMap<u64, State> = HashMap::new();
        for operation in &history.operations {
            let state = states.entry(operation.session).or_insert(State {
                place: Place::Alone,
                last: None,
            });
            found.places.push(state.place);
            found.follow(operation, state);
        }
        found
    }

    fn follow(&mut self, operation: &Operation, state: &mut State) {
        let error = operation.failure().map(|failure| failure.error);
        let acknowledged = operation.ok().is_some();
        match &operation.op {
            Op::Begin if acknowledged => {
                let number = u32::try_from(self.list.len()).unwrap_or(u32::MAX);
                self.list.push(Transaction {
                    fate: Fate::Undone,
                    begun_ns: operation.invoked_ns,
                    commit_ns: u64::MAX,
                    ended_ns: u64::MAX,
                });
                *state = State {
                    place: Place::In(number),
                    last: Some(number),
                };
            }
            Op::Begin if operation.is_info() => state.place = Place::Unsure,
            Op::Commit => {
                let last = state.last.and_then(|last| self.list.get_mut(last as usize));
                if let Some(last) = last
                    && operation.may_have_happened()
                {
                    last.commit_ns = last.commit_ns.min(operation.invoked_ns);
                    if acknowledged && matches!(state.place, Place::In(_)) {
                        last.fate = Fate::Committed;
                        last.ended_ns = operation.completed_ns.unwrap_or(u64::MAX);
                    } else {
                        last.fate = Fate::Unknown;
                    }
                }
                match error {
                    None | Some(ErrorCode::Conflict | ErrorCode::NoTransaction) => {
                        state.place = Place::Alone;
                        state.last = None;
                    }
                    // PROTOCOL.md: after a commit, also one that failed, none is open. A later commit
                    // that succeeds all the same leaves its fate open.
                    Some(_) if !operation.is_info() => state.place = Place::Alone,
                    Some(_) => state.place = Place::Unsure,
                }
            }
            Op::Rollback => match error {
                None | Some(ErrorCode::NoTransaction) => {
                    state.place = Place::Alone;
                    state.last = None;
                }
                Some(_) => state.place = Place::Unsure,
            },
            _ => {}
        }
    }

    /// Where the operation at this place of the history was made.
    pub(super) fn place(&self, at: usize) -> Place {
        self.places.get(at).copied().unwrap_or(Place::Alone)
    }

    /// The transaction of this number.
    pub(super) fn get(&self, number: u32) -> Option<&Transaction> {
        self.list.get(number as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::super::CheckSpec;
    use super::super::script::Script;
    use super::*;
    use serde_json::Value;

    fn get() -> Op {
        Op::ListItems { name: "l".into() }
    }

    #[test]
    fn a_transaction_is_committed_only_if_that_was_acknowledged() {
        let mut script = Script::new(CheckSpec::Linearizable);
        let session = script.session(0, 0);
        let mut at = 0;
        let mut add = |op: Op, error: Option<ErrorCode>| {
            at += 10;
            match error {
                None => script.ok(session, at, at + 5, op, Value::Null),
                Some(error) if error.is_definite() => script.fail(session, at, at + 5, op, error),
                Some(_) => script.info(session, at, Some(at + 5), op),
            }
        };
        add(get(), None);
        add(Op::Begin, None);
        add(get(), None);
        add(Op::Commit, None);
        add(get(), None);
        add(Op::Begin, None);
        add(Op::Rollback, None);
        add(Op::Begin, None);
        add(Op::Commit, Some(ErrorCode::Conflict));
        add(get(), None);
        add(Op::Begin, None);
        add(Op::Commit, Some(ErrorCode::Busy));
        add(get(), None);
        add(Op::Commit, None);
        add(Op::Begin, None);
        add(Op::Commit, Some(ErrorCode::Failed));
        let found = Transactions::of(&script.history);
        use Place::{Alone, In};
        assert_eq!(
            found.places,
            [
                Alone,
                Alone,
                In(0),
                In(0),
                Alone,
                Alone,
                In(1),
                Alone,
                In(2),
                Alone,
                Alone,
                In(3),
                Alone,
                Alone,
                Alone,
                In(4)
            ]
        );
        let fates: Vec<_> = found.list.iter().map(|one| one.fate).collect();
        use Fate::{Committed, Undone, Unknown};
        assert_eq!(fates, [Committed, Undone, Undone, Unknown, Unknown]);
        assert_eq!(found.list[0].begun_ns, 20_000_000);
        assert_eq!(found.list[0].commit_ns, 40_000_000);
        assert_eq!(found.list[0].ended_ns, 45_000_000);
    }
}
