//! What a report shows of a history.
//!
//! What must stay true: the operations that violations name are there before all else, and what
//! is left out is said, with its place and number.

use super::holds::{Hold, holds};
use crate::check::CheckResult;
use crate::history::{FaultRecord, History, Observation, Operation, Seen, Session, Task};
use std::collections::{HashMap, HashSet};

/// A part of a history, in the order of the whole.
///
/// All of it if it is small enough. Otherwise, as far as there is room and in this order: the
/// operations that violations name; 100 operations before and after each of those;
/// as many around each fault; and 20 stretches, spread evenly from the first
/// operation on. Beyond that, what was under way when a stretch begins.
#[derive(Clone, Debug)]
pub struct Excerpt {
    /// What is shown.
    pub operations: Vec<Operation>,
    /// How many there were.
    pub total: u64,
    /// Where some are left out.
    pub gaps: Vec<Gap>,
    /// The tasks of the operations that are shown.
    pub tasks: Vec<Task>,
    /// All sessions.
    pub sessions: Vec<Session>,
    /// All faults.
    pub faults: Vec<FaultRecord>,
    /// All locks held while something is shown.
    pub holds: Vec<Hold>,
    /// Notes of the harness and what SQLite said.
    pub observations: Vec<Observation>,
    /// The last moment of the run, ends of sessions included.
    pub end_ns: u64,
}

/// Operations that are left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// When the last one before was invoked.
    pub from_ns: u64,
    /// When the next one after was invoked, or the end of the run.
    pub until_ns: u64,
    /// How many were invoked between and are left out.
    pub operations: u64,
}

/// So many operations before and after a marked one are shown.
pub(super) const NEIGHBOURS: usize = 100;
/// In so many stretches the rest of what is shown is spread over the run.
pub(super) const STRETCHES: usize = 20;

/// How many operations to show of each of so many programs, so that the report of them all can
/// still be opened: 100,000 of one, 5,000 of each of many.
pub fn operations_per_program(programs: usize) -> usize {
    (300_000 / programs.max(1)).clamp(5_000, 100_000)
}

/// Which operations are shown.
struct Choice {
    shown: Vec<bool>,
    count: usize,
}

impl Choice {
    fn add(&mut self, at: usize) {
        if let Some(shown) = self.shown.get_mut(at)
            && !*shown
        {
            *shown = true;
            self.count += 1;
        }
    }

    fn around(&mut self, at: usize) {
        for near in at.saturating_sub(NEIGHBOURS)..=at.saturating_add(NEIGHBOURS) {
            self.add(near);
        }
    }
}

impl Excerpt {
    /// Chooses about `max` operations at most.
    pub fn new(history: History, results: &[CheckResult], max: usize) -> Self {
        let all_holds = holds(&history);
        let lives = history.sessions.iter();
        let lives = lives.map(|session| session.over.map_or(session.opened_ns, |(at, _)| at));
        let end_ns = lives.max().unwrap_or(0).max(history.end_ns());
        let total = history.operations.len();
        let (shown, gaps) = if total <= max {
            (vec![true; total], Vec::new())
        } else {
            let mut choice = choose(&history, results, max);
            let gaps = gaps(&history, &mut choice, end_ns);
            (choice.shown, gaps)
        };
        let History {
            operations,
            mut tasks,
            sessions,
            faults,
            mut observations,
            ..
        } = history;
        let operations: Vec<Operation> = operations
            .into_iter()
            .zip(shown)
            .filter_map(|(operation, shown)| shown.then_some(operation))
            .collect();
        let wanted: HashSet<u64> = operations.iter().filter_map(|op| op.task).collect();
        tasks.retain(|task| wanted.contains(&task.task));
        observations.retain(|observation| !matches!(observation.seen, Seen::Waiting { .. }));
        let ids: HashSet<u64> = operations.iter().map(|operation| operation.id).collect();
        let in_gap = |hold: &Hold| {
            let within = |gap: &Gap| gap.from_ns <= hold.from_ns && hold.until_ns <= gap.until_ns;
            // Gaps are in order: only the last that begins before can hold all of it.
            let next = gaps.partition_point(|gap| gap.from_ns <= hold.from_ns);
            next.checked_sub(1)
                .and_then(|at| gaps.get(at))
                .is_some_and(within)
        };
        let named = |hold: &Hold| {
            ids.contains(&hold.acquire) || hold.release.is_some_and(|id| ids.contains(&id))
        };
        let mut holds = all_holds;
        holds.retain(|hold| named(hold) || !in_gap(hold));
        Self {
            operations,
            total: u64::try_from(total).unwrap_or(u64::MAX),
            gaps,
            tasks,
            sessions,
            faults,
            holds,
            observations,
            end_ns,
        }
    }

    /// The operation of this number, if it is shown.
    pub fn operation(&self, id: u64) -> Option<&Operation> {
        let at = self.operations.binary_search_by_key(&id, |op| op.id);
        at.ok().and_then(|at| self.operations.get(at))
    }

    /// How many are left out.
    pub fn left_out(&self) -> u64 {
        let shown = u64::try_from(self.operations.len()).unwrap_or(u64::MAX);
        self.total.saturating_sub(shown)
    }
}

fn choose(history: &History, results: &[CheckResult], max: usize) -> Choice {
    let operations = &history.operations;
    let total = operations.len();
    let mut choice = Choice {
        shown: vec![false; total],
        count: 0,
    };
    let violations = results.iter().flat_map(|result| &result.violations);
    let named = violations.flat_map(|violation| &violation.operations);
    let at = |id: &u64| operations.binary_search_by_key(id, |op| op.id).ok();
    let named: Vec<usize> = named.filter_map(at).collect();
    for at in &named {
        if choice.count < max {
            choice.add(*at);
        }
    }
    for at in &named {
        // Room is left for the rest of the run.
        if choice.count < max / 2 {
            choice.around(*at);
        }
    }
    for fault in &history.faults {
        if choice.count < max / 4 * 3 {
            choice.around(operations.partition_point(|op| op.invoked_ns < fault.at_ns));
        }
    }
    let length = max.saturating_sub(choice.count) / STRETCHES;
    for stretch in 0..STRETCHES {
        let begin = total / STRETCHES * stretch;
        for at in begin..begin.saturating_add(length) {
            choice.add(at);
        }
    }
    choice
}

/// The gaps, and into the choice what was under way when a stretch begins.
fn gaps(history: &History, choice: &mut Choice, end_ns: u64) -> Vec<Gap> {
    let operations = &history.operations;
    let mut gaps = Vec::new();
    let mut under_way: HashMap<u64, usize> = HashMap::new();
    let mut from: Option<u64> = Some(0);
    let mut left_out = 0;
    // Those of the gap that are shown after all belong to no other.
    let mut gap_begins = 0;
    for (at, operation) in operations.iter().enumerate() {
        if choice.shown.get(at).copied().unwrap_or_default() {
            if left_out > 0 {
                let mut late = 0;
                for (_, before) in under_way
                    .iter()
                    .filter(|(_, before)| **before >= gap_begins)
                {
                    let known = operations.get(*before);
                    if known.is_some_and(|known| {
                        known
                            .completed_ns
                            .is_none_or(|end| end > operation.invoked_ns)
                    }) {
                        late += 1;
                        choice.add(*before);
                    }
                }
                gaps.push(Gap {
                    from_ns: from.unwrap_or_default(),
                    until_ns: operation.invoked_ns,
                    operations: left_out - late,
                });
                left_out = 0;
            }
            from = Some(operation.invoked_ns);
            gap_begins = at + 1;
        } else {
            left_out += 1;
        }
        under_way.insert(operation.session, at);
    }
    if left_out > 0 {
        gaps.push(Gap {
            from_ns: from.unwrap_or_default(),
            until_ns: end_ns,
            operations: left_out,
        });
    }
    gaps.retain(|gap| gap.operations > 0);
    gaps
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{CheckSpec, Findings};
    use crate::report::fixture;

    fn naming(ids: &[u64]) -> Vec<CheckResult> {
        let mut findings = Findings::new(CheckSpec::Linearizable);
        findings.violation("stale", ids.iter().copied());
        vec![findings.finish()]
    }

    #[test]
    fn a_small_history_is_shown_whole() {
        let run = fixture::many(4, 1_000, 1);
        let excerpt = Excerpt::new(run.history, &[], 1_000);
        assert_eq!((excerpt.left_out(), excerpt.gaps.len()), (0, 0));
        assert_eq!(excerpt.operations.len(), 1_000);
    }

    #[test]
    fn offending_operations_and_their_neighbours_are_shown_and_gaps_add_up() {
        let run = fixture::many(8, 20_000, 1);
        let ids = [7_777, 7_900, 19_999];
        let excerpt = Excerpt::new(run.history.clone(), &naming(&ids), 4_000);
        for id in ids {
            assert!(excerpt.operation(id).is_some(), "{id}");
            for near in id - 100..=(id + 100).min(20_000) {
                assert!(excerpt.operation(near).is_some(), "{near}");
            }
        }
        assert!(excerpt.operation(1).is_some(), "the beginning is shown");
        let shown = excerpt.operations.len();
        assert!((3_000..=4_500).contains(&shown), "{shown}");
        let gone: u64 = excerpt.gaps.iter().map(|gap| gap.operations).sum();
        assert_eq!(gone, excerpt.left_out());
        assert!(excerpt.gaps.is_sorted_by(|a, b| a.until_ns <= b.from_ns));
        // What was under way when a stretch begins is there, so that nobody seems idle.
        for gap in &excerpt.gaps {
            let hidden = run.history.operations.iter().filter(|op| {
                op.invoked_ns < gap.until_ns && op.completed_ns.is_some_and(|at| at > gap.until_ns)
            });
            for op in hidden.filter(|op| op.invoked_ns > gap.from_ns) {
                assert!(excerpt.operation(op.id).is_some(), "{op:?} in {gap:?}");
            }
        }
    }

    #[test]
    fn a_violation_that_names_everything_keeps_to_the_limit() {
        let run = fixture::many(4, 10_000, 1);
        let ids: Vec<u64> = (1..=10_000).collect();
        let excerpt = Excerpt::new(run.history, &naming(&ids), 1_000);
        assert!(
            excerpt.operations.len() <= 1_100,
            "{}",
            excerpt.operations.len()
        );
    }

    #[test]
    fn many_programs_share_the_room() {
        assert_eq!(operations_per_program(0), 100_000);
        assert_eq!(operations_per_program(1), 100_000);
        assert_eq!(operations_per_program(30), 10_000);
        assert_eq!(operations_per_program(1_000), 5_000);
    }
}
