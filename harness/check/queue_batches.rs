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

use super::Findings;
use super::effects::Fate;
use super::held_by_others::certainly_lasts;
use super::queue_items::{self, Empty, Item, Items, Touch};
use crate::history::{History, Operation, Task, TaskOutcome};
use crate::protocol::{Capability, LockKind, LockName, Op};
use crate::step::Step;
use serde_json::Value;
use std::collections::HashMap;

pub(super) fn check(history: &History, name: &str, findings: &mut Findings) {
    let items = Items::of(history, name);
    let all = Takes::of(&items);
    let judge = Judge {
        history,
        name,
        lock: LockName::new(LockKind::Queue, name),
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
    lock: LockName,
    takes: Takes<'i, 'h>,
}

/// The operations of a task on the queue and its lock.
#[derive(Default)]
struct Batch<'h> {
    acquire: Option<&'h Operation>,
    /// Where they are in the history.
    gets: Vec<usize>,
    released: bool,
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
        let mut batches: HashMap<u64, Batch<'h>> = HashMap::new();
        for task in &self.history.tasks {
            if self.wanted(task).is_some() {
                batches.insert(task.task, Batch::default());
            }
        }
        for (at, operation) in self.history.operations.iter().enumerate() {
            let Some(batch) = operation.task.and_then(|task| batches.get_mut(&task)) else {
                continue;
            };
            match &operation.op {
                Op::LockAcquire { lock, .. } if *lock == self.lock => {
                    batch.acquire = batch.acquire.or(Some(operation));
                }
                Op::LockRelease { lock } if *lock == self.lock => {
                    batch.released = operation.ok().is_some();
                }
                Op::QueueGet { name, .. } if name == self.name && operation.ok().is_some() => {
                    batch.gets.push(at);
                }
                _ => {}
            }
        }
        let last_look = items.last_look(self.history, self.name);
        for task in &self.history.tasks {
            let Some(batch) = batches.get(&task.task) else {
                continue;
            };
            match (&task.outcome, self.wanted(task)) {
                (TaskOutcome::Done, Some(wanted)) => {
                    findings.examined(1);
                    self.done(wanted, batch, &batches, findings);
                }
                (TaskOutcome::Failed(_), Some(_)) if raises(task.step.body()) => {
                    findings.examined(1);
                    let seen = last_look.filter(|_| items.swallows.is_empty());
                    self.failed(task, batch, seen, findings);
                }
                _ => {}
            }
        }
    }

    /// How many items the task takes under the lock, if it is a batch.
    fn wanted(&self, task: &Task) -> Option<usize> {
        let Step::Locked { lock, body, .. } = &task.step else {
            return None;
        };
        if *lock != self.lock {
            return None;
        }
        count(body, self.name).filter(|wanted| *wanted > 0)
    }

    fn done(
        &self,
        wanted: usize,
        batch: &Batch<'h>,
        batches: &HashMap<u64, Batch<'h>>,
        findings: &mut Findings,
    ) {
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

/// How many items these steps take from the queue; none if that depends on what they find.
fn count(steps: &[Step], of: &str) -> Option<usize> {
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

#[cfg(test)]
mod tests {
    use super::super::batch_history;
    use super::super::queue_history::{get, get_batch, item, put, until_empty};
    use super::super::script::Script;
    use super::super::{CheckSpec, Verdict};
    use super::*;
    use proptest::prelude::*;
    use proptest::sample::Index;
    use serde_json::json;

    fn spec() -> CheckSpec {
        CheckSpec::QueueBatches { name: "q".into() }
    }

    fn lock() -> LockName {
        LockName::new(LockKind::Queue, "q")
    }

    fn batch_step(mut body: Vec<Step>) -> Step {
        body.insert(0, Step::from(get(0)));
        Step::locked(lock(), None, body)
    }

    fn two_gets() -> Step {
        batch_step(vec![Step::from(get(0))])
    }

    /// Four items put one after the other, until 8.
    fn script() -> (Script, u64, u64) {
        let mut script = Script::new(spec());
        let (a, b) = (script.session(0, 0), script.session(1, 0));
        for (number, value) in ["w", "x", "y", "z"].into_iter().enumerate() {
            let at = 1 + 2 * number as u64;
            script.ok(a, at, at + 1, put(value, 1.0), ());
        }
        (script, a, b)
    }

    fn acquire(ttl_ms: Option<u64>) -> Op {
        Op::LockAcquire {
            lock: lock(),
            timeout_ms: None,
            ttl_ms,
        }
    }

    /// A batch of worker 0 from 10 to 60: granted by 12, takes at 20 to 22 and 40 to 42; between them
    /// `meanwhile`.
    fn batch(
        script: &mut Script,
        session: u64,
        values: [&str; 2],
        ttl_ms: Option<u64>,
        meanwhile: impl FnOnce(&mut Script),
    ) {
        let task = script.task(0, 10, 60, two_gets(), TaskOutcome::Done);
        let within = |script: &mut Script, from, to, op, value: Value| {
            let id = script.ok(session, from, to, op, value);
            script.within(task, id);
        };
        within(script, 10, 12, acquire(ttl_ms), json!({"token": null}));
        within(script, 20, 22, get(0), item(values[0], 1.0));
        meanwhile(script);
        within(script, 40, 42, get(0), item(values[1], 1.0));
        within(
            script,
            50,
            52,
            Op::LockRelease { lock: lock() },
            Value::Null,
        );
    }

    fn fails(script: &Script, words: &str, operations: &[u64]) {
        let result = script.judge();
        assert_eq!(result.violation_count, 1, "{result:?}");
        let violation = &result.violations[0];
        assert!(violation.message.contains(words), "{}", violation.message);
        assert_eq!(violation.operations, operations);
    }

    fn passes(script: &Script, examined: u64) {
        let result = script.judge();
        assert_eq!(result.verdict, Verdict::Pass, "{result:?}");
        assert_eq!(result.examined, examined);
    }

    #[test]
    fn whole_batches_pass_with_others_before_and_after() {
        let (mut script, a, b) = script();
        script.ok(b, 9, 11, get(0), item("w", 1.0));
        batch(&mut script, a, ["x", "y"], None, |script| {
            // It waits for the lock.
            script.ok(b, 30, 70, get(0), item("z", 1.0));
        });
        script.fail(
            a,
            80,
            81,
            get_batch(2, 0),
            crate::protocol::ErrorCode::Timeout,
        );
        passes(&script, 1);
    }

    #[test]
    fn a_thief_in_the_middle_is_found() {
        let (mut script, a, b) = script();
        batch(&mut script, a, ["w", "y"], None, |script| {
            script.ok(b, 30, 35, get(0), item("x", 1.0));
        });
        fails(
            &script,
            r#"worker 1 took "x" from queue "q" in the middle of worker 0's batch of 2"#,
            &[5, 6, 7, 8],
        );
    }

    #[test]
    fn an_item_from_between_is_found_whenever_its_take_ended() {
        let (mut script, a, b) = script();
        batch(&mut script, a, ["w", "y"], None, |script| {
            script.ok(b, 30, 70, get(0), item("x", 1.0));
        });
        fails(
            &script,
            r#"and "y" of that batch comes after it in line"#,
            &[2, 5, 6, 7, 8],
        );
    }

    #[test]
    fn a_take_that_began_before_the_grant_may_have_come_first() {
        let (mut script, a, b) = script();
        script.ok(b, 9, 70, get(0), item("x", 1.0));
        batch(&mut script, a, ["w", "y"], None, |_| {});
        passes(&script, 1);
    }

    #[test]
    fn who_does_not_take_the_lock_may_take_items_until_the_batch_begins() {
        let (mut script, a, b) = script();
        let task = script.task(0, 10, 60, two_gets(), TaskOutcome::Done);
        let within = |script: &mut Script, from, op, value: Value| {
            let id = script.ok(a, from, from + 2, op, value);
            script.within(task, id);
        };
        within(&mut script, 10, acquire(None), json!({"token": null}));
        script.ok(b, 14, 70, get(0), item("w", 1.0));
        within(&mut script, 20, get(0), item("x", 1.0));
        within(&mut script, 40, get(0), item("y", 1.0));
        within(
            &mut script,
            50,
            Op::LockRelease { lock: lock() },
            Value::Null,
        );
        passes(&script, 1);
        // Unless the lock binds everybody.
        script
            .history
            .header
            .driver
            .capabilities
            .push(Capability::MandatoryLocks);
        let result = script.judge();
        assert_eq!(result.verdict, Verdict::Fail, "{result:?}");
        let message = &result.violations[0].message;
        assert!(message.contains(r#"took "w""#), "{message}");
    }

    #[test]
    fn a_grant_that_may_have_run_out_protects_nobody() {
        let (mut script, a, b) = script();
        batch(&mut script, a, ["w", "y"], Some(5), |script| {
            script.ok(b, 30, 35, get(0), item("x", 1.0));
        });
        passes(&script, 1);
        // Unless the system would have said so.
        script
            .history
            .header
            .driver
            .capabilities
            .push(Capability::Fencing);
        fails(&script, "in the middle", &[5, 6, 7, 8]);
    }

    #[test]
    fn a_batch_that_is_not_whole_is_found() {
        let (mut script, a, _) = script();
        batch(&mut script, a, ["w", "w"], None, |_| {});
        fails(&script, r#"brought "w" more than once"#, &[6, 7]);
        let (mut script, a, _) = self::script();
        let one = json!([item("w", 1.0)]);
        script.ok(a, 10, 11, get_batch(2, 0), one);
        fails(&script, "batch of 2 from queue \"q\" brought 1 items", &[5]);
    }

    #[test]
    fn an_item_lost_with_a_batch_that_was_given_up_is_found() {
        let (mut script, a, b) = script();
        let step = batch_step(vec![Step::Raise, Step::from(get(0))]);
        let task = script.task(0, 10, 60, step, TaskOutcome::Failed("raised".into()));
        for (from, op, value) in [
            (10, acquire(None), Value::Null),
            (20, get(0), item("w", 1.0)),
            (30, Op::LockRelease { lock: lock() }, Value::Null),
        ] {
            let id = script.ok(a, from, from + 2, op, value);
            script.within(task, id);
        }
        assert_eq!(script.judge().verdict, Verdict::Unknown);
        for (from, value) in [(70, "x"), (72, "y"), (74, "z")] {
            script.ok(b, from, from + 1, get(0), item(value, 1.0));
        }
        until_empty(&mut script, b, 80);
        fails(
            &script,
            r#""w" was lost with the batch that failed"#,
            &[6, 11],
        );
        // It came back.
        script.history.operations.pop();
        script.ok(b, 80, 81, get(0), item("w", 1.0));
        until_empty(&mut script, b, 90);
        passes(&script, 1);
    }

    #[test]
    fn a_batch_in_a_transaction_that_was_rolled_back_lost_nothing() {
        let (mut script, a, b) = script();
        let inner = vec![Step::from(get(0)), Step::Raise, Step::from(get(0))];
        let body = vec![Step::Transaction { body: inner }];
        let step = Step::locked(lock(), None, body);
        let task = script.task(0, 10, 60, step, TaskOutcome::Failed("raised".into()));
        for (from, op, value) in [
            (10, acquire(None), Value::Null),
            (20, Op::Begin, Value::Null),
            (22, get(0), item("w", 1.0)),
            (24, Op::Rollback, Value::Null),
            (30, Op::LockRelease { lock: lock() }, Value::Null),
        ] {
            let id = script.ok(a, from, from + 1, op, value);
            script.within(task, id);
        }
        until_empty(&mut script, b, 80);
        passes(&script, 1);
    }

    #[test]
    fn what_depends_on_what_is_found_is_no_batch() {
        let (mut script, a, _) = script();
        let body = vec![Step::UntilTimeout { op: get(0) }];
        let step = Step::locked(lock(), None, body);
        let task = script.task(0, 10, 60, step, TaskOutcome::Done);
        let id = script.ok(a, 10, 11, acquire(None), ());
        script.within(task, id);
        passes(&script, 0);
        let twice = Step::Repeat {
            count: 3,
            body: vec![Step::from(get(0)), Step::from(put("a", 1.0))],
        };
        assert_eq!(count(&[twice, Step::from(get(0))], "q"), Some(4));
    }

    proptest! {
        #[test]
        fn correct_histories_pass(moves in batch_history::moves()) {
            let (script, _) = batch_history::simulate(spec(), &moves, None);
            let result = script.judge();
            prop_assert_eq!(result.verdict, Verdict::Pass, "{:?}", result);
        }

        #[test]
        fn a_thief_in_any_batch_is_found(
            moves in batch_history::moves(),
            which in any::<Index>(),
            whose in any::<Index>(),
        ) {
            let (script, thief) = batch_history::simulate(spec(), &moves, Some((which, whose)));
            prop_assume!(thief.is_some());
            let result = script.judge();
            prop_assert_eq!(result.violation_count, 1, "{:?}", result);
            prop_assert!(result.violations[0].message.contains("in the middle of"));
            prop_assert!(thief.is_some_and(|id| result.violations[0].operations.contains(&id)));
        }
    }
}
