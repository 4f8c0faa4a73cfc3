//! Correct concurrent histories of a queue with batches under its lock, for the tests of checks; and
//! the same with a thief.
//!
//! What must stay true: a queue whose lock binds everybody could have made each history without a thief.

use super::CheckSpec;
use super::queue_history::{get, item, put};
use super::script::Script;
use crate::history::TaskOutcome;
use crate::protocol::{LockKind, LockName, Op};
use crate::step::Step;
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Value, json};
use std::collections::VecDeque;

/// What happens next, one after the other.
#[derive(Clone, Copy, Debug)]
enum Act {
    /// A batch of so many, for whose lock its worker waits this long before.
    Batch { count: u8, waits: u8 },
    /// A take, which waits this long before for whoever holds the lock.
    Get { waits: u8 },
    /// A put, at any time.
    Put { waits: u8 },
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Move(Act);

/// Moves of a simulation.
pub(crate) fn moves() -> impl Strategy<Value = Vec<Move>> {
    let act = prop_oneof![
        3 => (2_u8..4, any::<u8>()).prop_map(|(count, waits)| Act::Batch { count, waits }),
        3 => any::<u8>().prop_map(|waits| Act::Get { waits }),
        2 => any::<u8>().prop_map(|waits| Act::Put { waits }),
    ];
    prop::collection::vec(act.prop_map(Move), 1..25)
}

/// An operation to be written down: who, from, to, what, its answer, and its batch.
struct Line {
    who: usize,
    from: u64,
    to: u64,
    op: Op,
    value: Value,
    batch: Option<usize>,
}

/// How far apart acts are; a batch is over within.
const PACE: u64 = 100;

/// Simulates the moves, each by a session of its own, to be judged by `check`. With `thief`, one
/// take by somebody else is moved into the middle of one batch: then also the number of that
/// take, or none if there is no take or no batch.
pub(crate) fn simulate(
    check: CheckSpec,
    moves: &[Move],
    thief: Option<(Index, Index)>,
) -> (Script, Option<u64>) {
    let lock = LockName::new(LockKind::Queue, "q");
    let mut queue: VecDeque<u64> = (1..=moves.len() as u64).collect();
    let mut lines: Vec<Line> = Vec::new();
    let mut values = queue.len() as u64;
    // One after the other, so that their order is certain.
    for (number, value) in queue.iter().enumerate() {
        let from = 2 * number as u64;
        lines.push(Line {
            who: moves.len(),
            from,
            to: from + 1,
            op: put(*value, 1.0),
            value: Value::Null,
            batch: None,
        });
    }
    let mut batches: Vec<(usize, u64, u64, u8)> = Vec::new();
    for (number, Move(act)) in moves.iter().enumerate() {
        let at = (number as u64 + 5) * PACE;
        let since = |waits: u8| at - u64::from(waits);
        let mut write = |from, to, op, value, batch| {
            lines.push(Line {
                who: number,
                from,
                to,
                op,
                value,
                batch,
            });
        };
        match *act {
            Act::Put { waits } => {
                values += 1;
                queue.push_back(values);
                write(since(waits), at, put(values, 1.0), Value::Null, None);
            }
            Act::Get { waits } => {
                if let Some(value) = queue.pop_front() {
                    write(since(waits), at, get(1000), item(value, 1.0), None);
                }
            }
            Act::Batch { count, waits } => {
                if queue.len() < usize::from(count) {
                    continue;
                }
                let batch = Some(batches.len());
                batches.push((number, since(waits), at + 90, count));
                let acquire = Op::LockAcquire {
                    lock: lock.clone(),
                    timeout_ms: None,
                    ttl_ms: None,
                };
                write(since(waits), at + 1, acquire, json!({"token": null}), batch);
                for (place, value) in queue.drain(..usize::from(count)).enumerate() {
                    let from = at + 10 + 20 * place as u64;
                    write(from, from + 2, get(0), item(value, 1.0), batch);
                }
                let release = Op::LockRelease { lock: lock.clone() };
                write(at + 80, at + 90, release, Value::Null, batch);
            }
        }
    }
    let stolen = thief.and_then(|(which, whose)| {
        let takes = lines.iter().enumerate();
        let takes = takes
            .filter(|(_, line)| line.batch.is_none() && matches!(line.op, Op::QueueGet { .. }));
        let takes: Vec<usize> = takes.map(|(at, _)| at).collect();
        if takes.is_empty() || batches.is_empty() {
            return None;
        }
        let take = &mut lines[takes[which.index(takes.len())]];
        let (number, ..) = batches[whose.index(batches.len())];
        let at = (number as u64 + 5) * PACE;
        (take.from, take.to) = (at + 15, at + 20);
        Some(take.who)
    });
    let mut script = Script::new(check);
    let sessions = (0..=moves.len()).map(|who| script.session(who as u32, 0));
    let sessions: Vec<u64> = sessions.collect();
    let tasks: Vec<u64> = batches
        .iter()
        .map(|(who, from, to, count)| {
            let body = vec![Step::from(get(0)); usize::from(*count)];
            let step = Step::locked(lock.clone(), None, body);
            script.task(*who as u32, *from, *to, step, TaskOutcome::Done)
        })
        .collect();
    lines.sort_by_key(|line| line.from);
    let mut shown = None;
    for line in lines {
        let id = script.ok(sessions[line.who], line.from, line.to, line.op, line.value);
        if let Some(batch) = line.batch {
            script.within(tasks[batch], id);
        }
        if Some(line.who) == stolen {
            shown = Some(id);
        }
    }
    (script, shown)
}
