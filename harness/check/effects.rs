//! Whether and when operations took effect, once their transactions are taken into account.
//!
//! An operation between `begin` and `commit` takes effect with the commit, or never: if the
//! transaction was rolled back, or its session ended first, it did not happen; if nobody
//! knows what became of the commit, nobody knows what became of the operation.
//!
//! What must stay true: the moment at which an operation that was `Done` took effect lies between
//! `from_ns` and `to_ns` on every correct system; an operation that is `Undone` took none on any.

use crate::history::{History, Operation, Outcome};
use crate::protocol::{ErrorCode, Op};
use std::collections::HashMap;

/// Whether an operation took effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It did.
    Done,
    /// It definitely did not: it failed, or its transaction was undone.
    Undone,
    /// Nobody knows.
    Unknown,
}

/// Whether and when an operation took effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Effect {
    /// Whether it did.
    pub(super) fate: Fate,
    /// Not before this moment.
    pub(super) from_ns: u64,
    /// Not after this moment, if it is `Done`; the end of time if it is `Unknown`. For what
    /// is `Undone`: when its answer was there, so that a reading can still be placed.
    pub(super) to_ns: u64,
    /// The transaction that it is part of, as a number of this history.
    pub(super) transaction: Option<usize>,
}

impl Effect {
    /// Whether it was over before the other began, for certain.
    pub(super) fn precedes(&self, other: &Self) -> bool {
        self.fate == Fate::Done && self.to_ns < other.from_ns
    }

    /// Whether it may have taken effect.
    pub(super) fn may_be(&self) -> bool {
        self.fate != Fate::Undone
    }
}

/// A transaction that is open.
struct Open {
    /// Where its operations are.
    members: Vec<usize>,
    begun_ns: u64,
    number: usize,
    /// Nobody knows whether it is open at all, or its commit was refused and not undone.
    doubtful: bool,
    /// Its commit was refused. Kept because another commit or a rollback may follow; what else
    /// follows is no part of it (PROTOCOL.md: after a commit, also one that failed, none is open).
    over: bool,
}

/// The effect of each operation, in the order of `history.operations`.
pub(super) fn effects(history: &History) -> Vec<Effect> {
    let mut effects: Vec<Effect> = history.operations.iter().map(alone).collect();
    let mut open: HashMap<u64, Open> = HashMap::new();
    let mut transactions = 0;
    for (at, operation) in history.operations.iter().enumerate() {
        let session = operation.session;
        match operation.op {
            Op::Begin => {
                let refused = matches!(operation.outcome, Outcome::Fail(_));
                if refused && !is(operation, ErrorCode::InTransaction) {
                    continue;
                }
                // Whatever was open and never committed is gone, unless this one was refused
                // because it still goes on.
                match open.remove(&session) {
                    Some(known) if refused => {
                        open.insert(session, known);
                        continue;
                    }
                    Some(known) => undo(&mut effects, &known),
                    None => {}
                }
                let begun = Open {
                    members: Vec::new(),
                    begun_ns: operation.invoked_ns,
                    number: transactions,
                    doubtful: operation.ok().is_none(),
                    over: false,
                };
                transactions += 1;
                open.insert(session, begun);
            }
            Op::Commit => {
                let Some(mut known) = open.remove(&session) else {
                    continue;
                };
                match &operation.outcome {
                    Outcome::Ok { .. } => commit(&mut effects, &known, operation),
                    Outcome::Info(_) => doubt(&mut effects, &known),
                    Outcome::Fail(failure) => match failure.error {
                        ErrorCode::Conflict => undo(&mut effects, &known),
                        // It is no longer open, and nobody says since when.
                        ErrorCode::NoTransaction => doubt(&mut effects, &known),
                        _ => {
                            known.doubtful = true;
                            known.over = true;
                            open.insert(session, known);
                        }
                    },
                }
            }
            Op::Rollback => {
                let Some(known) = open.remove(&session) else {
                    continue;
                };
                if known.doubtful && known.members.iter().any(|at| effects[*at].may_be()) {
                    doubt(&mut effects, &known);
                } else {
                    undo(&mut effects, &known);
                }
            }
            _ => {
                if let Some(known) = open.get_mut(&session).filter(|known| !known.over) {
                    known.members.push(at);
                    effects[at].transaction = Some(known.number);
                    effects[at].from_ns = known.begun_ns;
                }
            }
        }
    }
    for known in open.values() {
        if known.doubtful {
            doubt(&mut effects, known);
        } else {
            undo(&mut effects, known);
        }
    }
    effects
}

/// Of an operation outside of transactions.
fn alone(operation: &Operation) -> Effect {
    let fate = match (&operation.outcome, operation.completed_ns) {
        (Outcome::Ok { .. }, Some(_)) => Fate::Done,
        (Outcome::Fail(_), _) => Fate::Undone,
        _ => Fate::Unknown,
    };
    Effect {
        fate,
        from_ns: operation.invoked_ns,
        to_ns: operation.latest_ns(),
        transaction: None,
    }
}

fn is(operation: &Operation, code: ErrorCode) -> bool {
    operation
        .failure()
        .is_some_and(|failure| failure.error == code)
}

fn commit(effects: &mut [Effect], open: &Open, operation: &Operation) {
    for at in &open.members {
        let effect = &mut effects[*at];
        match effect.fate {
            Fate::Done if open.doubtful => make_unknown(effect),
            Fate::Done => effect.to_ns = operation.latest_ns(),
            Fate::Undone | Fate::Unknown => {}
        }
    }
}

fn undo(effects: &mut [Effect], open: &Open) {
    for at in &open.members {
        effects[*at].fate = Fate::Undone;
    }
}

fn doubt(effects: &mut [Effect], open: &Open) {
    for at in &open.members {
        let effect = &mut effects[*at];
        if effect.fate == Fate::Done {
            make_unknown(effect);
        }
    }
}

fn make_unknown(effect: &mut Effect) {
    effect.fate = Fate::Unknown;
    effect.to_ns = u64::MAX;
}

#[cfg(test)]
mod tests {
    use super::super::CheckSpec;
    use super::super::script::Script;
    use super::*;
    use crate::history::SessionEnd;

    fn put(value: &str) -> Op {
        Op::QueuePut {
            name: "q".into(),
            value: value.into(),
            priority: 0.0,
        }
    }

    fn fates(script: &Script) -> Vec<Fate> {
        let history = &script.history;
        let puts = history.operations.iter().zip(effects(history));
        puts.filter(|(operation, _)| matches!(operation.op, Op::QueuePut { .. }))
            .map(|(_, effect)| effect.fate)
            .collect()
    }

    #[test]
    fn what_is_committed_takes_effect_between_begin_and_commit() {
        let mut script = Script::new(CheckSpec::Completion);
        let s = script.session(0, 0);
        script.ok(s, 1, 2, put("alone"), ());
        script.ok(s, 3, 4, Op::Begin, ());
        script.ok(s, 5, 6, put("a"), ());
        script.fail(s, 7, 8, put("b"), ErrorCode::Locked);
        script.ok(s, 9, 10, Op::Commit, ());
        script.ok(s, 11, 12, put("after"), ());
        assert_eq!(
            fates(&script),
            [Fate::Done, Fate::Done, Fate::Undone, Fate::Done]
        );
        let effect = effects(&script.history)[2];
        assert_eq!((effect.from_ns, effect.to_ns), (3_000_000, 10_000_000));
        assert_eq!(effect.transaction, Some(0));
        assert_eq!(effects(&script.history)[5].transaction, None);
    }

    #[test]
    fn what_is_not_committed_did_not_happen() {
        let mut script = Script::new(CheckSpec::Completion);
        let s = script.session(0, 0);
        script.ok(s, 1, 2, Op::Begin, ());
        script.ok(s, 3, 4, put("a"), ());
        script.ok(s, 5, 6, Op::Rollback, ());
        script.ok(s, 7, 8, Op::Begin, ());
        script.ok(s, 9, 10, put("b"), ());
        script.fail(s, 11, 12, Op::Commit, ErrorCode::Conflict);
        script.ok(s, 13, 14, Op::Begin, ());
        script.ok(s, 15, 16, put("c"), ());
        script.fail(s, 17, 18, Op::Commit, ErrorCode::Busy);
        script.ok(s, 19, 20, Op::Commit, ());
        script.ok(s, 21, 22, Op::Begin, ());
        script.ok(s, 23, 24, put("d"), ());
        script.info(s, 25, None, put("e"));
        script.over(s, 26, SessionEnd::Killed);
        use Fate::{Undone, Unknown};
        assert_eq!(fates(&script), [Undone, Undone, Unknown, Undone, Undone]);
    }

    #[test]
    fn what_follows_a_commit_that_was_refused_is_no_part_of_the_transaction() {
        let mut script = Script::new(CheckSpec::Completion);
        let s = script.session(0, 0);
        script.ok(s, 1, 2, Op::Begin, ());
        script.ok(s, 3, 4, put("a"), ());
        script.fail(s, 5, 6, Op::Commit, ErrorCode::Failed);
        script.ok(s, 7, 8, put("after"), ());
        script.ok(s, 9, 10, Op::Begin, ());
        script.ok(s, 11, 12, put("b"), ());
        script.ok(s, 13, 14, Op::Commit, ());
        assert_eq!(fates(&script), [Fate::Undone, Fate::Done, Fate::Done]);
        assert_eq!(effects(&script.history)[3].transaction, None);
    }

    #[test]
    fn a_commit_that_nobody_knows_of_leaves_all_in_doubt() {
        let mut script = Script::new(CheckSpec::Completion);
        let s = script.session(0, 0);
        script.ok(s, 1, 2, Op::Begin, ());
        script.ok(s, 3, 4, put("a"), ());
        script.fail(s, 5, 6, put("b"), ErrorCode::Locked);
        script.info(s, 7, None, Op::Commit);
        let t = script.session(0, 8);
        script.info(t, 9, Some(10), Op::Begin);
        script.ok(t, 11, 12, put("c"), ());
        assert_eq!(fates(&script), [Fate::Unknown, Fate::Undone, Fate::Unknown]);
        assert_eq!(effects(&script.history)[1].to_ns, u64::MAX);
    }
}
