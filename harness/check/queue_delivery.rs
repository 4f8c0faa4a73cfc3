//! Each item put was taken at most once, and nothing else was; with `drained`, exactly once.
//!
//! The program's contract: the values put into a queue are distinct. Then
//! - whatever was taken had been put, by a put that happened or may have, and not only later;
//! - it comes with the priority that it was put with;
//! - nobody else got it too (of takes of which nobody knows whether they happened, none counts);
//! - with `drained`, an item that was put for certain, was never taken, and was in the queue during
//!   a `queue-get` that found nothing, is lost; unless takes of which nobody knows what
//!   they took, begun before, are as many as such items. Whether the queue was emptied is seen from that `queue-get`,
//!   not believed: one that may have waited for somebody else's lock or transaction doesn't
//!   show it.

use super::effects::Fate;
use super::queue_items::{Item, Items, Touch};
use super::{Findings, queue_items};
use crate::history::{History, Operation};

pub(super) fn check(history: &History, name: &str, drained: bool, findings: &mut Findings) {
    let items = Items::of(history, name);
    findings.examined(items.operations);
    for at in &items.malformed {
        let take = &history.operations[*at];
        let answer = take.ok().map(queue_items::shown).unwrap_or_default();
        findings.violation(
            format!(
                "worker {} took {answer} from queue {name:?}, which is no item",
                take.worker
            ),
            [take.id],
        );
    }
    let judge = Judge { history, name };
    for item in &items.items {
        judge.came_from_a_put(item, findings);
        judge.taken_once(item, findings);
    }
    if drained {
        judge.nothing_lost(&items, findings);
    }
}

struct Judge<'h> {
    history: &'h History,
    name: &'h str,
}

impl<'h> Judge<'h> {
    fn operation(&self, touch: &Touch) -> &'h Operation {
        &self.history.operations[touch.at]
    }

    fn came_from_a_put(&self, item: &Item<'_>, findings: &mut Findings) {
        let Some(take) = item.taken().next() else {
            return;
        };
        let taken = self.operation(take);
        let who = format!(
            "worker {} took {} from queue {:?}",
            taken.worker,
            item.shown(),
            self.name
        );
        let possible = item.puts.iter().filter(|put| put.effect.may_be());
        let mut possible = possible.peekable();
        if possible.peek().is_none() {
            match item.puts.first() {
                None => findings.violation(format!("{who}, which nobody put"), [taken.id]),
                Some(put) => {
                    let put = self.operation(put);
                    let why = if put.ok().is_some() {
                        "whose put was rolled back"
                    } else {
                        "whose put had failed"
                    };
                    findings.violation(
                        format!("{who}, {why} (worker {})", put.worker),
                        [put.id, taken.id],
                    );
                }
            }
            return;
        }
        let done_ns = taken.latest_ns();
        let in_time = |put: &&Touch| self.operation(put).invoked_ns <= done_ns;
        let early: Vec<_> = possible.clone().filter(in_time).collect();
        if early.is_empty() {
            let put = possible.next().map_or(taken, |put| self.operation(put));
            findings.violation(
                format!("{who} before worker {} put it", put.worker),
                [taken.id, put.id],
            );
            return;
        }
        let [put] = early[..] else {
            return;
        };
        for take in item.taken().filter(|take| take.priority != put.priority) {
            let taken = self.operation(take);
            let given = put.priority.unwrap_or_default();
            let got = take
                .priority
                .map_or_else(|| "none".to_owned(), |priority| priority.to_string());
            findings.violation(
                format!(
                    "{} was put into queue {:?} with priority {given} by worker {} and came out with priority \
                     {got} for worker {}",
                    item.shown(),
                    self.name,
                    self.operation(put).worker,
                    taken.worker
                ),
                [self.operation(put).id, taken.id],
            );
        }
    }

    fn taken_once(&self, item: &Item<'_>, findings: &mut Findings) {
        let puts = item.puts.iter().filter(|put| put.effect.may_be()).count();
        let takes: Vec<_> = item.taken().collect();
        if takes.len() < 2 || takes.len() <= puts {
            return;
        }
        let (first, second) = (self.operation(takes[0]), self.operation(takes[1]));
        let whom = if first.worker == second.worker {
            format!("worker {} twice", first.worker)
        } else {
            format!("worker {} and to worker {}", first.worker, second.worker)
        };
        let more = match takes.len() {
            2 => String::new(),
            all => format!(", {all} times in all"),
        };
        let put = item.puts.iter().find(|put| put.effect.may_be());
        let mut shown: Vec<u64> = put.map(|put| self.operation(put).id).into_iter().collect();
        shown.push(first.id);
        if second.id != first.id {
            shown.push(second.id);
        }
        let value = item.shown();
        findings.violation(
            format!(
                "{value} was put into queue {:?} once and delivered to {whom}{more}",
                self.name
            ),
            shown,
        );
    }

    fn nothing_lost(&self, items: &Items<'_>, findings: &mut Findings) {
        let last = items.last_look(self.history, self.name);
        let missing = items.items.iter().filter_map(|item| {
            let put = item.put().filter(|put| put.effect.fate == Fate::Done)?;
            let taken = item.takes.iter().any(|take| take.effect.may_be());
            (!taken).then_some((item, put))
        });
        let missing: Vec<_> = missing.collect();
        let (lost, unseen): (Vec<_>, Vec<_>) = missing
            .into_iter()
            .partition(|(_, put)| last.is_some_and(|last| put.effect.to_ns < last.from_ns));
        if let Some((item, put)) = unseen.first() {
            findings.unknown(format!(
                "{} items, such as {} (put by worker {}), were never taken, but no queue-get afterwards shows \
                 that queue {:?} was empty",
                unseen.len(),
                item.shown(),
                self.operation(put).worker,
                self.name
            ));
        }
        let Some(last) = last else {
            return;
        };
        // What may have taken something before that look.
        let unknown = items.swallows.iter();
        let unknown: Vec<_> = unknown.filter(|take| take.from_ns < last.to_ns).collect();
        let swallowed = unknown.iter().map(|take| take.count).sum::<u64>();
        let last = &self.history.operations[last.at];
        if swallowed == 0 {
            for (item, put) in lost {
                let put = self.operation(put);
                findings.violation(
                    format!(
                        "{} was put into queue {:?} by worker {} and never taken, yet worker {} found the queue \
                         empty at the end",
                        item.shown(),
                        self.name,
                        put.worker,
                        last.worker
                    ),
                    [put.id, last.id],
                );
            }
        } else if lost.len() as u64 > swallowed {
            const SHOWN: usize = 5;
            let values: Vec<_> = lost
                .iter()
                .map(|(item, _)| item.shown())
                .take(SHOWN)
                .collect();
            let shown = lost.iter().map(|(_, put)| self.operation(put).id);
            let unknown_ids = unknown
                .iter()
                .map(|take| self.history.operations[take.at].id);
            let shown = shown.take(SHOWN).chain(unknown_ids.take(SHOWN));
            let shown = shown.chain([last.id]);
            findings.violation(
                format!(
                    "{} items (first {}) were put into queue {:?} and never taken, yet worker {} found the queue \
                     empty at the end; the {} takes with unknown results can have taken {swallowed} at \
                     most",
                    lost.len(),
                    values.join(", "),
                    self.name,
                    last.worker,
                    unknown.len()
                ),
                shown,
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::queue_history::{self, get, get_batch, item, put, simulate, until_empty};
    use super::super::script::Script;
    use super::super::{CheckSpec, Verdict, Violation};
    use super::Items;
    use crate::history::Outcome;
    use crate::protocol::{ErrorCode, Failure, Op};
    use proptest::prelude::*;
    use proptest::sample::Index;
    use serde_json::json;

    fn spec(drained: bool) -> CheckSpec {
        CheckSpec::QueueDelivery {
            name: "q".into(),
            drained,
        }
    }

    fn script(drained: bool) -> (Script, u64, u64) {
        let mut script = Script::new(spec(drained));
        let (a, b) = (script.session(0, 0), script.session(1, 0));
        (script, a, b)
    }

    fn fails(script: &Script, words: &str, operations: &[u64]) {
        let result = script.judge();
        assert_eq!(result.verdict, Verdict::Fail, "{result:?}");
        assert_eq!(result.violation_count, 1, "{result:?}");
        let violation = &result.violations[0];
        assert!(violation.message.contains(words), "{}", violation.message);
        assert_eq!(violation.operations, operations);
    }

    #[test]
    fn each_item_once_is_fine() {
        let (mut script, a, b) = script(true);
        script.ok(a, 1, 9, put("x", 2.0), ());
        script.ok(b, 2, 8, get(0), item("x", 2.0));
        script.ok(a, 10, 11, put("y", 1.0), ());
        // Another queue is no concern.
        script.ok(
            a,
            12,
            13,
            Op::QueueGet {
                name: "other".into(),
                timeout_ms: None,
            },
            item("z", 1.0),
        );
        script.ok(a, 14, 15, get(0), item("y", 1.0));
        until_empty(&mut script, a, 20);
        let result = script.judge();
        assert_eq!(result.verdict, Verdict::Pass, "{result:?}");
        assert_eq!(result.examined, 5);
    }

    #[test]
    fn an_item_delivered_twice_is_found() {
        let (mut script, a, b) = script(false);
        script.ok(a, 1, 2, put("x", 1.0), ());
        script.ok(a, 3, 9, get(0), item("x", 1.0));
        script.ok(b, 4, 8, get(0), item("x", 1.0));
        fails(
            &script,
            r#""x" was put into queue "q" once and delivered to worker 0 and to worker 1"#,
            &[1, 2, 3],
        );
    }

    #[test]
    fn an_item_twice_in_one_batch_is_found() {
        let (mut script, a, _) = script(false);
        script.ok(a, 1, 2, put("x", 1.0), ());
        let batch = json!([item("x", 1.0), item("x", 1.0)]);
        script.ok(a, 3, 9, get_batch(2, 0), batch);
        fails(&script, "delivered to worker 0 twice", &[1, 2]);
    }

    #[test]
    fn what_nobody_put_is_found() {
        let (mut script, a, b) = script(false);
        script.ok(a, 1, 2, get(0), item("x", 1.0));
        fails(&script, "which nobody put", &[1]);
        script.fail(a, 3, 4, put("x", 1.0), ErrorCode::Locked);
        fails(&script, "whose put had failed", &[2, 1]);
        script.info(b, 5, None, put("x", 1.0));
        fails(&script, "before worker 1 put it", &[1, 3]);
    }

    #[test]
    fn a_wrong_priority_is_found() {
        let (mut script, a, _) = script(false);
        script.ok(a, 1, 2, put("x", 1.0), ());
        script.ok(a, 3, 4, get(0), item("x", 2.0));
        fails(
            &script,
            "with priority 1 by worker 0 and came out with priority 2",
            &[1, 2],
        );
        script.ok(a, 5, 6, get(0), "x");
        assert_eq!(script.judge().violation_count, 2);
    }

    #[test]
    fn a_lost_item_is_found_only_where_the_queue_was_seen_empty() {
        let (mut script, a, b) = script(true);
        script.ok(a, 1, 2, put("x", 1.0), ());
        let result = script.judge();
        assert_eq!(result.verdict, Verdict::Unknown, "{result:?}");
        until_empty(&mut script, b, 10);
        fails(
            &script,
            r#""x" was put into queue "q" by worker 0 and never taken"#,
            &[1, 2],
        );
        // A take of which nobody knows, but begun later.
        script.info(b, 30, None, get(0));
        assert_eq!(script.judge().verdict, Verdict::Fail);
        // Seen from later on it may have taken it.
        until_empty(&mut script, a, 31);
        assert_eq!(script.judge().verdict, Verdict::Pass);
        script.ok(a, 33, 34, put("y", 1.0), ());
        until_empty(&mut script, a, 40);
        fails(
            &script,
            "the 1 takes with unknown results can have taken 1 at most",
            &[1, 5, 3, 6],
        );
    }

    #[test]
    fn a_take_that_was_rolled_back_did_not_happen() {
        let (mut script, a, b) = script(true);
        script.ok(a, 1, 2, put("x", 1.0), ());
        script.ok(a, 3, 4, Op::Begin, ());
        script.ok(a, 5, 6, get(0), item("x", 1.0));
        let end = script.ok(a, 7, 8, Op::Rollback, ());
        script.ok(b, 9, 10, get(0), item("x", 1.0));
        until_empty(&mut script, a, 20);
        assert_eq!(script.judge().verdict, Verdict::Pass);
        script.history.operations[end as usize - 1].op = Op::Commit;
        fails(&script, "delivered to worker 0 and to worker 1", &[1, 3, 5]);
        let gone = Failure::new(ErrorCode::Gone, "");
        script.history.operations[end as usize - 1].outcome = Outcome::Info(gone);
        assert_eq!(script.judge().verdict, Verdict::Pass);
    }

    #[test]
    fn what_was_rolled_back_cannot_be_taken() {
        let (mut script, a, b) = script(false);
        script.ok(a, 1, 2, Op::Begin, ());
        script.ok(a, 3, 4, put("x", 1.0), ());
        script.ok(b, 5, 6, get(0), item("x", 1.0));
        script.ok(a, 7, 8, Op::Rollback, ());
        fails(&script, "whose put was rolled back (worker 0)", &[2, 3]);
    }

    proptest! {
        #![proptest_config(queue_history::patient())]

        #[test]
        fn correct_histories_pass(moves in queue_history::moves(2, 60)) {
            let script = simulate(spec(true), &moves);
            let result = script.judge();
            prop_assert_eq!(result.violation_count, 0, "{:?}", result);
            prop_assert_eq!(result.verdict, Verdict::Pass, "{:?}", result);
        }

        #[test]
        fn an_item_that_replaces_another_is_found(
            moves in queue_history::moves(2, 60),
            of in any::<Index>(),
            by in any::<Index>(),
        ) {
            let mut script = simulate(spec(false), &moves);
            let gets = queue_history::plain_gets(&script);
            prop_assume!(gets.len() >= 2);
            let (of, by) = (gets[of.index(gets.len())], gets[by.index(gets.len())]);
            prop_assume!(of != by);
            let operations = &mut script.history.operations;
            operations[by].outcome = operations[of].outcome.clone();
            let result = script.judge();
            prop_assert_eq!(result.verdict, Verdict::Fail);
            let shown = [operations_id(&script, of), operations_id(&script, by)];
            let twice = |violation: &Violation| {
                shown.iter().all(|id| violation.operations.contains(id))
            };
            prop_assert!(result.violations.iter().any(twice), "{:?}", result);
        }

        #[test]
        fn an_item_that_nobody_got_is_found(
            moves in queue_history::moves(0, 60),
            which in any::<Index>(),
        ) {
            let mut script = simulate(spec(true), &moves);
            let gets = queue_history::plain_gets(&script);
            prop_assume!(!gets.is_empty());
            let at = gets[which.index(gets.len())];
            let timeout = Failure::new(ErrorCode::Timeout, "");
            script.history.operations[at].outcome = Outcome::Fail(timeout);
            let result = script.judge();
            prop_assert_eq!(result.verdict, Verdict::Fail, "{:?}", result);
            prop_assert!(result.violations[0].message.contains("never taken"));
        }

        #[test]
        fn more_than_unknown_takes_can_have_taken_is_found(
            moves in queue_history::moves(1, 40),
            more in 1_u64..4,
        ) {
            let mut script = simulate(spec(true), &moves);
            let swallowed: u64 = Items::of(&script.history, "q")
                .swallows
                .iter()
                .map(|swallow| swallow.count)
                .sum();
            // Items that appear in no take, put after all and before a last look.
            let at = script.history.end_ns() / 1_000_000 + 1;
            let session = script.session(99, at);
            for number in 0..swallowed + more {
                script.ok(session, at, at, put(1000 + number, 0.0), ());
            }
            until_empty(&mut script, session, at + 1);
            prop_assert_eq!(script.judge().verdict, Verdict::Fail);
        }
    }

    fn operations_id(script: &Script, at: usize) -> u64 {
        script.history.operations[at].id
    }
}
