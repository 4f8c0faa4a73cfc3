//! Each batch (taken under the queue's lock or at once) is whole and has no
//! item of another between.
//!
//! A batch is
//! - a task `locked` with the queue's lock, with `queue-get`s in its body and no other way to take
//!   items: so many in one go, nobody between;
//! - a `queue-get-batch`, which must bring as many items as it asked for, all different. That nothing
//!   lies between those is for [`queue_order`](super::queue_order), as it is one take.
//!
//! Of a batch under the lock that is `done` (so its worker held the lock throughout, by what the system
//! said) it reports
//! - fewer or other than so many different items;
//! - a take by somebody else whose whole interval lies between the end of the batch's first take and the
//!   beginning of its last: the lock kept nobody out;
//! - a take by somebody else, begun after the batch's first take and before its last was over, of an
//!   item that was there before the batch began and comes before one of the batch's: either it was taken
//!   in the middle, or the batch passed it over. If the lock binds the other too (it takes its own
//!   items under it, or managers' locks are mandatory), begun after the lock was granted will do. A lock
//!   that binds only those who take it lets others take what they like until the batch begins.
//!
//! Where grants run out and nothing tells their holders (a driver without `fencing`), only batches that certainly
//! ended in time are looked at.
//!
//! Of a batch that failed half way because its caller raised (`raise` in its body), it reports an item that it
//! had taken and that never came back: a batch is all or nothing. That it didn't come back is
//! certain if nobody got it later, no take without an answer may have, and a later `queue-get`
//! found the queue empty. Note that a lock alone can't bring anything back: it takes a transaction, whose
//! takes are undone and so aren't looked at here.

mod batches;

use super::Findings;
use super::effects::Fate;
use super::held_by_others::certainly_lasts;
use super::queue_items::{self, Empty, Item, Items, Touch};
use crate::history::{History, Operation, Task, TaskOutcome};
use crate::protocol::{Capability, Op};
use batches::Batch;
use serde_json::Value;
use std::collections::HashMap;

pub(super) fn check(history: &History, name: &str, findings: &mut Findings) {
    let items = Items::of(history, name);
    let all = Takes::of(&items);
    let judge = Judge {
        history,
        name,
        takes: all,
    };
    judge.at_once(findings);
    judge.under_the_lock(&items, findings);
}

/// A take and its item.
#[derive(Clone, Copy)]
struct Take<'i, 'h> {
    item: &'i Item<'h>,
    touch: &'i Touch,
}

/// The takes that certainly happened, in the order of their beginnings.
struct Takes<'i, 'h> {
    all: Vec<Take<'i, 'h>>,
    /// By the operation's place in the history; of a batch the first.
    by_operation: HashMap<usize, Take<'i, 'h>>,
}

impl<'i, 'h> Takes<'i, 'h> {
    fn of(items: &'i Items<'h>) -> Self {
        let all = items.items.iter();
        let all = all.flat_map(|item| item.taken().map(move |touch| Take { item, touch }));
        let mut all: Vec<_> = all.collect();
        all.sort_by_key(|take| take.touch.effect.from_ns);
        let by_operation = all.iter().map(|take| (take.touch.at, *take)).collect();
        Self { all, by_operation }
    }

    /// Those that began in this time.
    fn begun(&self, from_ns: u64, to_ns: u64) -> impl Iterator<Item = Take<'i, 'h>> {
        let effect = |take: &Take<'_, '_>| take.touch.effect.from_ns;
        let first = self.all.partition_point(|take| effect(take) < from_ns);
        let rest = self.all[first..].iter().copied();
        rest.take_while(move |take| effect(take) <= to_ns)
    }
}

struct Judge<'i, 'h> {
    history: &'h History,
    name: &'i str,
    takes: Takes<'i, 'h>,
}

impl<'i, 'h> Judge<'i, 'h> {
    fn at_once(&self, findings: &mut Findings) {
        for operation in &self.history.operations {
            let (Op::QueueGetBatch { name, count, .. }, Some(answer)) =
                (&operation.op, operation.ok())
            else {
                continue;
            };
            if name != self.name {
                continue;
            }
            findings.examined(1);
            let answers = answer.as_array().map_or(&[][..], Vec::as_slice);
            let values: Vec<_> = answers
                .iter()
                .filter_map(|item| item.get("value"))
                .collect();
            self.whole(
                operation,
                *count as usize,
                &values,
                [operation.id],
                findings,
            );
        }
    }

    /// So many items, all different.
    fn whole(
        &self,
        first: &Operation,
        wanted: usize,
        values: &[&Value],
        shown: impl IntoIterator<Item = u64>,
        findings: &mut Findings,
    ) {
        let who = format!(
            "worker {}'s batch of {wanted} from queue {:?}",
            first.worker, self.name
        );
        if values.len() != wanted {
            findings.violation(format!("{who} brought {} items", values.len()), shown);
            return;
        }
        let mut seen: Vec<&Value> = Vec::new();
        for value in values {
            if seen.contains(value) {
                let value = queue_items::shown(value);
                findings.violation(format!("{who} brought {value} more than once"), shown);
                return;
            }
            seen.push(value);
        }
    }

    fn under_the_lock(&self, items: &Items<'_>, findings: &mut Findings) {
        let batches = batches::of(self.history, self.name);
        let last_look = items.last_look(self.history, self.name);
        for task in &self.history.tasks {
            let Some(batch) = batches.get(&task.task) else {
                continue;
            };
            match &task.outcome {
                TaskOutcome::Done => {
                    findings.examined(1);
                    self.done(batch, &batches, findings);
                }
                TaskOutcome::Failed(_) if batch.raises => {
                    findings.examined(1);
                    let seen = last_look.filter(|_| items.swallows.is_empty());
                    self.failed(task, batch, seen, findings);
                }
                _ => {}
            }
        }
    }

    fn done(&self, batch: &Batch<'h>, batches: &HashMap<u64, Batch<'h>>, findings: &mut Findings) {
        let wanted = batch.wanted;
        let (Some(first), Some(last), Some(acquire)) =
            (batch.gets.first(), batch.gets.last(), batch.acquire)
        else {
            return;
        };
        let [first, last] = [*first, *last].map(|at| &self.history.operations[at]);
        let ids: Vec<u64> = batch
            .gets
            .iter()
            .map(|at| self.history.operations[*at].id)
            .collect();
        let answers = batch.gets.iter().map(|at| &self.history.operations[*at]);
        let values: Vec<_> = answers
            .filter_map(|get| get.ok().and_then(|answer| answer.get("value")))
            .collect();
        self.whole(first, wanted, &values, ids.iter().copied(), findings);
        let (Op::LockAcquire { ttl_ms, .. }, Some(granted_ns)) =
            (&acquire.op, acquire.completed_ns)
        else {
            return;
        };
        let (first_done_ns, last_done_ns) = (first.latest_ns(), last.latest_ns());
        let fencing = self.history.header.driver.offers(Capability::Fencing);
        let mandatory = self
            .history
            .header
            .driver
            .offers(Capability::MandatoryLocks);
        let lasted = certainly_lasts(*ttl_ms, acquire.invoked_ns, last_done_ns);
        if !batch.released || acquire.ok().is_none() || !(fencing || lasted) {
            return;
        }
        let ours =
            |take: &Take<'_, '_>| self.history.operations[take.touch.at].session == acquire.session;
        // What the batch took, with its puts; the last in line decides.
        let taken = batch
            .gets
            .iter()
            .filter_map(|at| self.takes.by_operation.get(at));
        let puts: Vec<_> = taken
            .filter_map(|take| Some((*take, take.item.put()?)))
            .collect();
        for take in self.takes.begun(granted_ns, last_done_ns) {
            if ours(&take) {
                continue;
            }
            let thief = &self.history.operations[take.touch.at];
            let effect = &take.touch.effect;
            let who = format!(
                "worker {} took {} from queue {:?}",
                thief.worker,
                take.item.shown(),
                self.name
            );
            if effect.from_ns > first_done_ns && effect.to_ns < last.invoked_ns {
                findings.violation(
                    format!(
                        "{who} in the middle of worker {}'s batch of {wanted}, made under the queue's lock",
                        first.worker
                    ),
                    [acquire.id, first.id, thief.id, last.id],
                );
                return;
            }
            let bound = mandatory || thief.task.is_some_and(|task| batches.contains_key(&task));
            if !bound && effect.from_ns <= first_done_ns {
                continue;
            }
            let Some(put) = take.item.put() else {
                continue;
            };
            if put.effect.fate != Fate::Done || put.effect.to_ns >= first.invoked_ns {
                continue;
            }
            let passed = puts.iter().find(|(_, other)| comes_before(put, other));
            if let Some((other, _)) = passed {
                let other_get = &self.history.operations[other.touch.at];
                findings.violation(
                    format!(
                        "{who} while worker {} made a batch of {wanted} under the queue's lock, and {} of \
                         that batch comes after it in line",
                        first.worker,
                        other.item.shown()
                    ),
                    [
                        self.history.operations[put.at].id,
                        acquire.id,
                        first.id,
                        thief.id,
                        other_get.id,
                    ],
                );
                return;
            }
        }
    }

    fn failed(
        &self,
        task: &Task,
        batch: &Batch<'h>,
        seen: Option<&Empty>,
        findings: &mut Findings,
    ) {
        for at in &batch.gets {
            let Some(take) = self.takes.by_operation.get(at) else {
                continue;
            };
            let again = take.item.takes.iter();
            let mut again = again.filter(|other| other.at != *at && other.effect.may_be());
            if again.next().is_some() {
                continue;
            }
            let get = &self.history.operations[*at];
            let what = format!(
                "{} was lost with the batch that failed: worker {} had taken it from queue {:?} when its \
                 batch was given up",
                take.item.shown(),
                get.worker,
                self.name
            );
            let ended_ns = task.ended_ns.unwrap_or(u64::MAX);
            match seen {
                Some(empty) if ended_ns < empty.from_ns => {
                    let seen = &self.history.operations[empty.at];
                    findings.violation(
                        format!(
                            "{what}, and the queue is empty for worker {} afterwards",
                            seen.worker
                        ),
                        [get.id, seen.id],
                    );
                }
                _ => findings.unknown(format!(
                    "whether {what} is unclear: no queue-get afterwards shows that it isn't there again"
                )),
            }
        }
    }
}

/// Whether one item certainly comes before another in line.
fn comes_before(one: &Touch, other: &Touch) -> bool {
    match (one.priority, other.priority) {
        (Some(one_priority), Some(other_priority)) => {
            one_priority < other_priority
                || (one_priority == other_priority && one.effect.precedes(&other.effect))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests;
