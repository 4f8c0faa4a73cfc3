//! Which tasks are batches under the queue's lock, and what they did.

use crate::history::{History, Operation, Task};
use crate::protocol::{LockKind, LockName, Op};
use crate::step::Step;
use std::collections::HashMap;

/// A task that takes items under the queue's lock, and its operations on both.
pub(super) struct Batch<'h> {
    /// How many items it is to take.
    pub(super) wanted: usize,
    /// Whether its caller raises an exception in it.
    pub(super) raises: bool,
    pub(super) acquire: Option<&'h Operation>,
    /// Where they are in the history.
    pub(super) gets: Vec<usize>,
    pub(super) released: bool,
}

/// All of the queue's, by task.
pub(super) fn of<'h>(history: &'h History, queue: &str) -> HashMap<u64, Batch<'h>> {
    let line = LockName::new(LockKind::Queue, queue);
    let batch = |task: &Task| {
        let batch = Batch {
            wanted: wanted(task, &line)?,
            raises: raises(task.step.body()),
            acquire: None,
            gets: Vec::new(),
            released: false,
        };
        Some((task.task, batch))
    };
    let mut batches: HashMap<u64, Batch<'h>> = history.tasks.iter().filter_map(batch).collect();
    for (at, operation) in history.operations.iter().enumerate() {
        let Some(batch) = operation.task.and_then(|task| batches.get_mut(&task)) else {
            continue;
        };
        match &operation.op {
            Op::LockAcquire { lock, .. } if *lock == line => {
                batch.acquire = batch.acquire.or(Some(operation));
            }
            Op::LockRelease { lock } if *lock == line => {
                batch.released = operation.ok().is_some();
            }
            Op::QueueGet { name, .. } if name == queue && operation.ok().is_some() => {
                batch.gets.push(at);
            }
            _ => {}
        }
    }
    batches
}

/// How many items the task takes under the lock, if it is a batch.
fn wanted(task: &Task, line: &LockName) -> Option<usize> {
    match &task.step {
        Step::Locked { lock, body, .. } if lock == line => {
            count(body, &line.name).filter(|wanted| *wanted > 0)
        }
        _ => None,
    }
}

/// How many items these steps take from the queue; none if that depends on what they find.
pub(super) fn count(steps: &[Step], of: &str) -> Option<usize> {
    let mut sum = 0_usize;
    for step in steps {
        let more = match step {
            Step::Call(call) => match &call.op {
                Op::QueueGet { name, .. } if name == of => 1,
                Op::QueueGetBatch { name, .. } if name == of => return None,
                _ => 0,
            },
            Step::UntilTimeout {
                op: Op::QueueGet { name, .. } | Op::QueueGetBatch { name, .. },
            } if name == of => return None,
            Step::Repeat { count: times, body } => {
                count(body, of)?.checked_mul(usize::try_from(*times).ok()?)?
            }
            other => count(other.body(), of)?,
        };
        sum = sum.checked_add(more)?;
    }
    Some(sum)
}

/// Whether the caller's own exception is among these steps.
fn raises(steps: &[Step]) -> bool {
    steps
        .iter()
        .any(|step| matches!(step, Step::Raise) || raises(step.body()))
}
