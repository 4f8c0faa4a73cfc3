//! No item was taken while one that comes before it was certainly there.
//!
//! The least priority comes first; among equal ones, whatever was put first. A monitor for distinct values
//! (the idea is that of arXiv 2410.04581, "Efficient Linearizability Monitoring"), which looks for one
//! pair at a time. It reports
//! - a take of `x` while `y` was certainly in the queue during the whole take, and `y` comes before `x`:
//!   its priority is less; or it is equal, and `y`'s put was over before `x`'s began;
//! - a take that found nothing (for a batch: fewer than it wanted) while so many were
//!   certainly in the queue during the whole take, whatever its timeout: it had to look once.
//!
//! `y` is certainly there from the end of its put to the beginning of its take. One that was
//! never taken may have been taken by any take without an answer, from that one's
//! beginning on. A take in a transaction lasts from `begin` to the end of `commit`; one that was
//! rolled back never happened, not even meanwhile.
//!
//! A take that found nothing is excused if it may have waited for somebody else, who held
//! the queue's lock, stood in its line, or had a transaction open, or for a process that was stopped or wrote: there are
//! systems whose takes then run out of time. And so is one in a transaction of its own, where what it took out before is missing.
//!
//! What must stay true: n log n. The takes are gone through in the order of their
//! beginnings; items are entered in a tree once they are certainly there, at their place in
//! the queue's order, with the end of that time. Whether there is one that comes before `x` and stays
//! until after the take is a question for the maximum of a prefix.

use super::held_by_others::HeldByOthers;
use super::prefix::{Counts, Maxima};
use super::queue_items::{Items, Touch};
use super::spans::Spans;
use super::{Findings, queue_items};
use crate::history::History;
use crate::protocol::{LockKind, LockName, Op};
use std::cmp::Ordering;

/// An item that was certainly there for some time.
struct Present<'i, 'h> {
    item: &'i queue_items::Item<'h>,
    put: &'i Touch,
    priority: f64,
    from_ns: u64,
    to_ns: u64,
}

/// A take, to be looked at when all that was there at its beginning has been entered.
enum Question<'i, 'h> {
    Taken {
        item: &'i queue_items::Item<'h>,
        put: &'i Touch,
        take: &'i Touch,
    },
    Empty(&'i queue_items::Empty),
}

impl Question<'_, '_> {
    fn begun_ns(&self) -> u64 {
        match self {
            Self::Taken { take, .. } => take.effect.from_ns,
            Self::Empty(empty) => empty.from_ns,
        }
    }
}

pub(super) fn check(history: &History, name: &str, findings: &mut Findings) {
    let items = Items::of(history, name);
    let swallowed_ns = items.swallowed_ns();
    let present = items.items.iter().filter_map(|item| {
        let put = item.put()?;
        let (from_ns, to_ns) = item.certainly_in(swallowed_ns)?;
        Some(Present {
            item,
            put,
            priority: put.priority?,
            from_ns,
            to_ns,
        })
    });
    let mut present: Vec<_> = present.collect();
    let questions = questions(history, name, &items);
    findings.examined(questions.len() as u64);

    // The queue's order, as far as it matters: by priority, then by the end of the put.
    present.sort_unstable_by(|a, b| rank((a.priority, a.from_ns), (b.priority, b.from_ns)));
    let mut arrivals: Vec<usize> = (0..present.len()).collect();
    arrivals.sort_unstable_by_key(|place| present[*place].from_ns);
    let mut ends: Vec<u64> = present.iter().map(|item| item.to_ns).collect();
    ends.sort_unstable();

    let mut arrivals = arrivals.into_iter().peekable();
    let mut latest = Maxima::new(present.len());
    let mut counts = Counts::new(ends.len());
    for question in questions {
        while let Some(place) =
            arrivals.next_if(|place| present[*place].from_ns < question.begun_ns())
        {
            let to_ns = present[place].to_ns;
            latest.raise(place, to_ns);
            counts.add(ends.partition_point(|end| *end < to_ns));
        }
        match question {
            Question::Taken { item, put, take } => {
                let Some(priority) = put.priority else {
                    continue;
                };
                let before = present.partition_point(|known| {
                    rank(
                        (known.priority, known.from_ns),
                        (priority, put.effect.from_ns),
                    )
                    .is_lt()
                });
                if let Some((to_ns, place)) = latest.first(before)
                    && to_ns > take.effect.to_ns
                {
                    report_overtaken(history, name, (item, put, take), &present[place], findings);
                }
            }
            Question::Empty(empty) => {
                let gone = counts.before(ends.partition_point(|end| *end <= empty.to_ns));
                let there = counts.all() - gone;
                if empty.wanted > 0
                    && there >= empty.wanted
                    && let Some((_, place)) = latest.first(present.len())
                {
                    report_missed(history, name, empty, there, &present[place], findings);
                }
            }
        }
    }
}

fn rank(a: (f64, u64), b: (f64, u64)) -> Ordering {
    // 0.0 and -0.0 are the same priority.
    (a.0 + 0.0).total_cmp(&(b.0 + 0.0)).then(a.1.cmp(&b.1))
}

/// All takes that can be judged, in the order of their beginnings.
fn questions<'i, 'h>(history: &History, name: &str, items: &'i Items<'h>) -> Vec<Question<'i, 'h>> {
    let taken = items.items.iter().filter_map(|item| {
        let mut taken = item.taken();
        // What was taken twice came from nowhere once: that is for `queue_delivery`.
        let take = taken.next().filter(|_| taken.next().is_none())?;
        let put = item.put()?;
        Some(Question::Taken { item, put, take })
    });
    let lock = LockName::new(LockKind::Queue, name);
    let held = HeldByOthers::with_line(history, &lock, |op| match op {
        Op::QueueGet { name: of, .. }
        | Op::QueueGetBatch { name: of, .. }
        | Op::QueuePut { name: of, .. } => of == name,
        _ => false,
    });
    let pauses = Spans::pauses(history);
    let empties = items.empties.iter().filter(|empty| {
        let session = history.operations[empty.at].session;
        let (from, to) = (empty.from_ns, empty.to_ns);
        !empty.in_transaction && !held.at(session, from, to) && pauses.within(from, to) == 0
    });
    let mut questions: Vec<_> = taken.chain(empties.map(Question::Empty)).collect();
    questions.sort_by_key(Question::begun_ns);
    questions
}

fn report_overtaken(
    history: &History,
    name: &str,
    (item, put, take): (&queue_items::Item<'_>, &Touch, &Touch),
    first: &Present<'_, '_>,
    findings: &mut Findings,
) {
    let at = |touch: &Touch| &history.operations[touch.at];
    let priority = put.priority.unwrap_or_default();
    let why = if first.priority < priority {
        format!("with priority {} against {priority}", first.priority)
    } else {
        format!("with the same priority {priority}, put before it")
    };
    let until = match first.item.taken().next() {
        Some(other) => format!("taken only later, by worker {}", at(other).worker),
        None => "never taken".to_owned(),
    };
    let mut shown = vec![at(first.put).id, at(put).id, at(take).id];
    shown.extend(first.item.taken().next().map(|other| at(other).id));
    findings.violation(
        format!(
            "worker {} took {} from queue {name:?} while {} was there all the time, {why} and {until}",
            at(take).worker,
            item.shown(),
            first.item.shown()
        ),
        shown,
    );
}

fn report_missed(
    history: &History,
    name: &str,
    empty: &queue_items::Empty,
    there: u64,
    example: &Present<'_, '_>,
    findings: &mut Findings,
) {
    let look = &history.operations[empty.at];
    let found = match empty.wanted {
        1 => "nothing".to_owned(),
        wanted => format!("fewer than {wanted} items"),
    };
    let there = match there {
        1 => format!("{} was there all the time", example.item.shown()),
        there => format!(
            "{there} were there all the time, such as {}",
            example.item.shown()
        ),
    };
    let mut shown = vec![history.operations[example.put.at].id, look.id];
    let taken = example.item.taken().next();
    shown.extend(taken.map(|take| history.operations[take.at].id));
    findings.violation(
        format!(
            "worker {} found {found} in queue {name:?} though {there}",
            look.worker
        ),
        shown,
    );
}

#[cfg(test)]
mod tests {
    use super::super::effects::Fate;
    use super::super::queue_history::{self, get, get_batch, item, put, simulate, until_empty};
    use super::super::script::Script;
    use super::super::{CheckSpec, Verdict};
    use super::*;
    use crate::program::Fault;
    use crate::protocol::{ErrorCode, Op};
    use proptest::prelude::*;
    use proptest::sample::Index;
    use serde_json::json;
    use std::collections::HashMap;

    fn spec() -> CheckSpec {
        CheckSpec::QueueOrder { name: "q".into() }
    }

    fn script() -> (Script, u64, u64) {
        let mut script = Script::new(spec());
        let (a, b) = (script.session(0, 0), script.session(1, 0));
        (script, a, b)
    }

    fn fails(script: &Script, words: &str, operations: &[u64]) {
        let result = script.judge();
        assert_eq!(result.violation_count, 1, "{result:?}");
        let violation = &result.violations[0];
        assert!(violation.message.contains(words), "{}", violation.message);
        assert_eq!(violation.operations, operations);
    }

    fn passes(script: &Script) {
        let result = script.judge();
        assert_eq!(result.verdict, Verdict::Pass, "{result:?}");
    }

    /// What the monitor computes, one pair after the other.
    fn naive(history: &History) -> usize {
        let items = Items::of(history, "q");
        let swallowed_ns = items.swallowed_ns();
        let there = |from_ns: u64, to_ns: u64| {
            items.items.iter().filter(move |item| {
                item.certainly_in(swallowed_ns)
                    .is_some_and(|(since, until)| since < from_ns && until > to_ns)
            })
        };
        let wrong = questions(history, "q", &items).into_iter();
        let wrong = wrong.filter(|question| match question {
            Question::Taken { put, take, .. } => {
                there(take.effect.from_ns, take.effect.to_ns).any(|item| {
                    let other = item.put().unwrap();
                    other.priority < put.priority
                        || (other.priority == put.priority && other.effect.precedes(&put.effect))
                })
            }
            Question::Empty(empty) => {
                let count = there(empty.from_ns, empty.to_ns).count();
                count as u64 >= empty.wanted
            }
        });
        wrong.count()
    }

    #[test]
    fn whatever_overlaps_may_come_in_any_order() {
        let (mut script, a, b) = script();
        // Equal priorities, puts at the same time.
        script.ok(a, 1, 5, put("x", 1.0), ());
        script.ok(b, 2, 6, put("y", 1.0), ());
        script.ok(a, 10, 11, get(0), item("y", 1.0));
        script.ok(a, 12, 13, get(0), item("x", 1.0));
        // The one that comes first is put while the other is taken, or taken at the same time.
        script.ok(a, 20, 21, put("u", 2.0), ());
        script.ok(a, 22, 30, put("v", 1.0), ());
        script.ok(b, 23, 31, get(0), item("u", 2.0));
        script.ok(b, 40, 41, get(0), item("v", 1.0));
        until_empty(&mut script, a, 50);
        passes(&script);
    }

    #[test]
    fn a_take_out_of_order_is_found() {
        let (mut script, a, b) = script();
        script.ok(a, 1, 2, put("low", 2.0), ());
        script.ok(a, 3, 4, put("high", 1.0), ());
        script.ok(b, 5, 6, get(0), item("low", 2.0));
        script.ok(a, 7, 8, get(0), item("high", 1.0));
        fails(
            &script,
            r#"worker 1 took "low" from queue "q" while "high" was there all the time, with priority 1 against 2 and taken only later, by worker 0"#,
            &[2, 1, 3, 4],
        );
    }

    #[test]
    fn the_first_of_equals_comes_first() {
        let (mut script, a, b) = script();
        script.ok(a, 1, 2, put("first", 1.0), ());
        script.ok(b, 3, 4, put("second", 1.0), ());
        script.ok(b, 5, 6, get(0), item("second", 1.0));
        fails(&script, "put before it and never taken", &[1, 2, 3]);
        // Unless a take of which nobody knows may have taken it.
        script.history.operations[2].invoked_ns = 7_000_000;
        script.history.operations[2].completed_ns = Some(8_000_000);
        let taken = script.history.operations.pop().unwrap();
        script.info(a, 6, None, get(0));
        script.ok(b, 7, 8, taken.op, item("second", 1.0));
        passes(&script);
    }

    #[test]
    fn nothing_found_where_something_was_is_found() {
        let (mut script, a, b) = script();
        script.ok(a, 1, 2, put("x", 1.0), ());
        script.fail(b, 3, 4, get(500), ErrorCode::Timeout);
        script.fail(b, 5, 6, get_batch(2, 0), ErrorCode::Timeout);
        script.fail(b, 7, 20, get(500), ErrorCode::Timeout);
        script.ok(a, 8, 9, get(0), item("x", 1.0));
        fails(
            &script,
            r#"worker 1 found nothing in queue "q" though "x" was there"#,
            &[1, 2, 5],
        );
        script.ok(a, 21, 22, put("y", 1.0), ());
        script.ok(a, 23, 24, put("z", 1.0), ());
        script.fail(b, 25, 26, get_batch(2, 0), ErrorCode::Timeout);
        let result = script.judge();
        assert_eq!(result.violation_count, 2, "{result:?}");
        let words = "found fewer than 2 items in queue \"q\" though 2 were there";
        assert!(result.violations[1].message.contains(words), "{result:?}");
    }

    #[test]
    fn who_may_have_waited_for_another_is_excused() {
        let lock = LockName::new(LockKind::Queue, "q");
        let (mut script, a, b) = script();
        script.ok(a, 1, 2, put("x", 1.0), ());
        let acquire = Op::LockAcquire {
            lock: lock.clone(),
            timeout_ms: None,
            ttl_ms: None,
        };
        script.ok(a, 3, 4, acquire, ());
        script.fail(b, 5, 6, get(0), ErrorCode::Timeout);
        script.ok(a, 7, 8, Op::LockRelease { lock }, ());
        script.ok(a, 9, 10, Op::Begin, ());
        script.ok(a, 11, 12, get(0), item("x", 1.0));
        script.fail(b, 13, 14, get(0), ErrorCode::Timeout);
        script.fail(a, 15, 16, get(0), ErrorCode::Timeout);
        script.ok(a, 17, 18, Op::Rollback, ());
        passes(&script);
        script.fault(19, Fault::BusyWriter { for_ms: 2 }, &[], Some(21));
        script.fail(b, 20, 22, get(0), ErrorCode::Timeout);
        passes(&script);
        script.fail(b, 22, 23, get(0), ErrorCode::Timeout);
        fails(&script, "found nothing", &[1, 11]);
    }

    #[test]
    fn a_batch_is_one_take() {
        let (mut script, a, b) = script();
        script.ok(a, 1, 2, put("x", 1.0), ());
        script.ok(a, 3, 4, put("y", 2.0), ());
        script.ok(a, 5, 6, put("z", 3.0), ());
        // In one step, whatever order the answer has.
        let batch = json!([item("y", 2.0), item("x", 1.0)]);
        script.ok(b, 7, 8, get_batch(2, 0), batch);
        passes(&script);
        script.history.operations.pop();
        let batch = json!([item("x", 1.0), item("z", 3.0)]);
        script.ok(b, 7, 8, get_batch(2, 0), batch);
        fails(
            &script,
            r#"took "z" from queue "q" while "y" was there"#,
            &[2, 3, 4],
        );
    }

    proptest! {
        #![proptest_config(queue_history::patient())]

        #[test]
        fn correct_histories_pass(moves in queue_history::moves(2, 80)) {
            let result = simulate(spec(), &moves).judge();
            prop_assert_eq!(result.verdict, Verdict::Pass, "{:?}", result);
        }

        #[test]
        fn the_monitor_finds_what_comparing_all_pairs_finds(
            moves in queue_history::moves(1, 60),
            changes in prop::collection::vec((any::<Index>(), any::<Index>(), any::<bool>()), 0..5),
        ) {
            let mut script = simulate(spec(), &moves);
            let gets = queue_history::plain_gets(&script);
            for (one, other, swap) in changes {
                if gets.is_empty() {
                    continue;
                }
                let (one, other) = (gets[one.index(gets.len())], gets[other.index(gets.len())]);
                let operations = &mut script.history.operations;
                if swap {
                    let kept = operations[one].outcome.clone();
                    operations[one].outcome = operations[other].outcome.clone();
                    operations[other].outcome = kept;
                } else {
                    let late = crate::protocol::Failure::new(ErrorCode::Timeout, "");
                    operations[one].outcome = crate::history::Outcome::Fail(late);
                }
            }
            let result = script.judge();
            prop_assert_eq!(result.violation_count as usize, naive(&script.history), "{:?}", result);
        }

        #[test]
        fn two_takes_that_change_places_are_found(
            moves in queue_history::moves(2, 60),
            which in any::<Index>(),
        ) {
            let mut script = simulate(spec(), &moves);
            let pairs = certain_pairs(&script);
            prop_assume!(!pairs.is_empty());
            let (one, other) = pairs[which.index(pairs.len())];
            let operations = &mut script.history.operations;
            let kept = operations[one].outcome.clone();
            operations[one].outcome = operations[other].outcome.clone();
            operations[other].outcome = kept;
            let id = operations[one].id;
            let result = script.judge();
            prop_assert!(
                result.violations.iter().any(|violation| violation.operations.contains(&id)),
                "{:?}",
                result
            );
        }
    }

    /// Takes that don't overlap, of items of which the first comes before the second, was put for
    /// certain before the first take, and can have been taken by nothing else.
    fn certain_pairs(script: &Script) -> Vec<(usize, usize)> {
        let operations = &script.history.operations;
        let items = Items::of(&script.history, "q");
        let takes = items.items.iter().flat_map(|item| {
            let once = item
                .takes
                .iter()
                .filter(|take| take.effect.may_be())
                .count()
                == 1;
            let takes = item.takes.iter().map(|take| take.at);
            takes.map(move |at| (at, (item, once)))
        });
        let by_take: HashMap<usize, _> = takes.collect();
        let gets: Vec<usize> = queue_history::plain_gets(script)
            .into_iter()
            .filter(|at| by_take.contains_key(at))
            .collect();
        let mut pairs = Vec::new();
        for one in &gets {
            for other in gets.iter().filter(|other| *other > one) {
                let (first, second) = (&operations[*one], &operations[*other]);
                let ((item, once), (later, _)) = (by_take[one], by_take[other]);
                let (Some(x), Some(y)) = (item.put(), later.put()) else {
                    continue;
                };
                let there = x.effect.fate == Fate::Done && x.effect.to_ns < first.invoked_ns;
                let before = x.priority < y.priority
                    || (x.priority == y.priority && x.effect.precedes(&y.effect));
                if once && there && before && first.completed_ns.unwrap() < second.invoked_ns {
                    pairs.push((*one, *other));
                }
            }
        }
        pairs
    }
}
