//! Correct concurrent histories of a queue, for the tests of checks: an atomic queue is simulated, and
//! each operation is given an interval around the moment at which it took effect.
//!
//! What must stay true: a correct queue could have made each history that is made here.

use super::CheckSpec;
use super::script::Script;
use crate::history::{Outcome, SessionEnd};
use crate::protocol::{ErrorCode, Failure, Op};
use proptest::prelude::*;
use serde_json::{Value, json};

/// For tests that plant a fault where there is a place for it: however many histories are tried, those
/// without one must not end the test.
pub(crate) fn patient() -> ProptestConfig {
    ProptestConfig {
        max_global_rejects: 1_000_000,
        ..ProptestConfig::default()
    }
}

/// Puts into queue `q`.
pub(crate) fn put(value: impl Into<Value>, priority: f64) -> Op {
    Op::QueuePut {
        name: "q".into(),
        value: value.into(),
        priority,
    }
}

/// Takes from queue `q`.
pub(crate) fn get(timeout_ms: u64) -> Op {
    Op::QueueGet {
        name: "q".into(),
        timeout_ms: Some(timeout_ms),
    }
}

/// Takes several from queue `q`.
pub(crate) fn get_batch(count: u32, timeout_ms: u64) -> Op {
    Op::QueueGetBatch {
        name: "q".into(),
        count,
        timeout_ms: Some(timeout_ms),
    }
}

/// What a take is answered with.
pub(crate) fn item(value: impl Into<Value>, priority: f64) -> Value {
    let value = value.into();
    json!({"value": value, "priority": priority})
}

/// A take that finds nothing.
pub(crate) fn until_empty(script: &mut Script, session: u64, at: u64) -> u64 {
    script.fail(session, at, at + 1, get(0), ErrorCode::Timeout)
}

/// What happens next in a simulation.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Act {
    Put {
        priority: u8,
        answer: Answered,
    },
    Get {
        answer: Answered,
    },
    GetBatch {
        count: u8,
        answer: Answered,
    },
    /// A put and two takes as one transaction.
    Transaction {
        priority: u8,
        end: Ended,
    },
}

/// Whether an answer came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answered {
    Yes,
    /// No, and it happened.
    NoButDone,
    /// No, and it didn't.
    NoAndUndone,
}

/// How a transaction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    Committed,
    RolledBack,
    UnknownButDone,
    UnknownAndUndone,
}

/// One act, who does it, and how wide its interval is, before and after.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Move {
    act: Act,
    session: u8,
    before: u8,
    after: u8,
}

fn answered(unknown: u32) -> impl Strategy<Value = Answered> {
    prop_oneof![
        20 => Just(Answered::Yes),
        unknown => Just(Answered::NoButDone),
        unknown => Just(Answered::NoAndUndone),
    ]
}

fn act(unknown: u32) -> impl Strategy<Value = Act> {
    let end = prop_oneof![
        6 => Just(Ended::Committed),
        3 => Just(Ended::RolledBack),
        unknown => Just(Ended::UnknownButDone),
        unknown => Just(Ended::UnknownAndUndone),
    ];
    prop_oneof![
        10 => (0_u8..3, answered(unknown)).prop_map(|(priority, answer)| Act::Put { priority, answer }),
        8 => answered(unknown).prop_map(|answer| Act::Get { answer }),
        2 => (1_u8..4, answered(unknown)).prop_map(|(count, answer)| Act::GetBatch { count, answer }),
        2 => (0_u8..3, end).prop_map(|(priority, end)| Act::Transaction { priority, end }),
    ]
}

/// Moves of a simulation; `unknown`: how many in about 20 have no answer.
pub(crate) fn moves(unknown: u32, count: usize) -> impl Strategy<Value = Vec<Move>> {
    let one = (act(unknown), 0_u8..4, any::<u8>(), any::<u8>());
    let one = one.prop_map(|(act, session, before, after)| Move {
        act,
        session,
        before,
        after,
    });
    prop::collection::vec(one, 1..count)
}

/// An operation to be written down.
struct Line {
    lane: usize,
    from: u64,
    to: u64,
    op: Op,
    outcome: Option<Outcome>,
}

/// The queue itself: priority, number of arrival, value.
#[derive(Default)]
struct Queue {
    items: Vec<(u8, u64, u64)>,
    arrivals: u64,
}

impl Queue {
    fn put(&mut self, priority: u8) -> u64 {
        self.arrivals += 1;
        self.items.push((priority, self.arrivals, self.arrivals));
        self.items.sort_unstable();
        self.arrivals
    }

    fn take(&mut self) -> Option<Value> {
        (!self.items.is_empty()).then(|| {
            let (priority, _, value) = self.items.remove(0);
            item(value, f64::from(priority))
        })
    }

    fn take_many(&mut self, count: usize) -> Option<Value> {
        let enough = self.items.len() >= count;
        enough.then(|| (0..count).filter_map(|_| self.take()).collect())
    }
}

fn ok(value: Value) -> Option<Outcome> {
    Some(Outcome::Ok {
        value,
        commit: None,
    })
}

fn timeout_or(value: Option<Value>) -> Option<Outcome> {
    match value {
        Some(value) => ok(value),
        None => Some(Outcome::Fail(Failure::new(ErrorCode::Timeout, ""))),
    }
}

/// How far apart the moments are at which acts take effect.
const PACE: u64 = 100;
/// How much wider than that an interval may be, on each side.
const SPREAD: u64 = 5;

/// Simulates the moves, empties the queue, and writes it all down to be judged by `check`.
pub(crate) fn simulate(check: CheckSpec, moves: &[Move]) -> Script {
    let mut queue = Queue::default();
    let mut lines: Vec<Line> = Vec::new();
    // Lanes are sessions; one that has no answer is followed by another.
    let mut lanes: Vec<usize> = (0..4).collect();
    let mut free_at = vec![0_u64; 4];
    for (
        number,
        Move {
            act,
            session,
            before,
            after,
        },
    ) in moves.iter().enumerate()
    {
        let at = (number as u64 + 1) * PACE;
        let wanted = usize::from(*session) % lanes.len();
        let order = (wanted..lanes.len()).chain(0..wanted);
        let free = order
            .into_iter()
            .find(|slot| free_at[lanes[*slot]] + 50 < at);
        let slot = free.unwrap_or(wanted);
        if free.is_none() {
            lanes[slot] = free_at.len();
            free_at.push(0);
        }
        let lane = lanes[slot];
        let from = at - (u64::from(*before) * SPREAD * PACE / 256).min(at - free_at[lane] - 1);
        let to = at + u64::from(*after) * SPREAD * PACE / 256;
        free_at[lane] = to;
        let mut write = |from, to, op, outcome: Option<Outcome>| {
            lines.push(Line {
                lane,
                from,
                to,
                op,
                outcome,
            });
        };
        let mut lost = false;
        let mut settle = |answer: Answered, outcome: Option<Outcome>| {
            lost = answer != Answered::Yes;
            outcome.filter(|_| answer == Answered::Yes)
        };
        match *act {
            Act::Put { priority, answer } => {
                // A value of its own, even if it never gets in.
                let value = if answer == Answered::NoAndUndone {
                    queue.arrivals += 1;
                    queue.arrivals
                } else {
                    queue.put(priority)
                };
                let outcome = settle(answer, ok(Value::Null));
                write(from, to, put(value, f64::from(priority)), outcome);
            }
            Act::Get { answer } => {
                let taken = if answer == Answered::NoAndUndone {
                    None
                } else {
                    queue.take()
                };
                let outcome = settle(answer, timeout_or(taken));
                write(from, to, get(0), outcome);
            }
            Act::GetBatch { count, answer } => {
                let taken = if answer == Answered::NoAndUndone {
                    None
                } else {
                    queue.take_many(usize::from(count))
                };
                let outcome = settle(answer, timeout_or(taken));
                write(from, to, get_batch(u32::from(count), 0), outcome);
            }
            Act::Transaction { priority, end } => {
                let kept = queue.items.clone();
                let value = queue.put(priority);
                let first = queue.take();
                let second = queue.take();
                if matches!(end, Ended::RolledBack | Ended::UnknownAndUndone) {
                    queue.items = kept;
                }
                // Nobody else's act comes between what it reads and its end.
                write(from.min(at - 42), at - 40, Op::Begin, ok(Value::Null));
                let put = put(value, f64::from(priority));
                write(at - 38, at - 36, put, ok(Value::Null));
                write(at - 34, at - 32, get(0), timeout_or(first));
                write(at - 30, at - 28, get(0), timeout_or(second));
                let mut next = |op, outcome| write(at - 20, to, op, outcome);
                match end {
                    Ended::Committed => next(Op::Commit, ok(Value::Null)),
                    Ended::RolledBack => next(Op::Rollback, ok(Value::Null)),
                    Ended::UnknownButDone | Ended::UnknownAndUndone => {
                        next(Op::Commit, None);
                        lost = true;
                    }
                }
            }
        }
        if lost {
            lanes[slot] = free_at.len();
            free_at.push(0);
        }
    }
    // All is over; one session empties the queue.
    let mut at = (moves.len() as u64 + 2 * SPREAD) * PACE;
    let lane = free_at.len();
    loop {
        let taken = queue.take();
        let last = taken.is_none();
        lines.push(Line {
            lane,
            from: at,
            to: at + 1,
            op: get(0),
            outcome: timeout_or(taken),
        });
        at += 2;
        if last {
            break;
        }
    }
    write_down(check, lines, lane + 1)
}

fn write_down(check: CheckSpec, mut lines: Vec<Line>, lanes: usize) -> Script {
    let mut script = Script::new(check);
    let sessions: Vec<u64> = (0..lanes)
        .map(|lane| script.session(lane as u32, 0))
        .collect();
    lines.sort_by_key(|line| line.from);
    for line in lines {
        let session = sessions[line.lane];
        match line.outcome {
            Some(outcome) => {
                let id = script.ok(session, line.from, line.to, line.op, Value::Null);
                script.history.operations[id as usize - 1].outcome = outcome;
            }
            None => {
                script.info(session, line.from, None, line.op);
                script.over(session, line.to, SessionEnd::Killed);
            }
        }
    }
    script
}

/// The single items that were taken outside of transactions and answered, as places in the
/// history.
pub(crate) fn plain_gets(script: &Script) -> Vec<usize> {
    let effects = super::effects::effects(&script.history);
    let operations = script.history.operations.iter().zip(effects).enumerate();
    operations
        .filter(|(_, (operation, effect))| {
            matches!(operation.op, Op::QueueGet { .. })
                && operation.ok().is_some()
                && effect.transaction.is_none()
        })
        .map(|(at, _)| at)
        .collect()
}
