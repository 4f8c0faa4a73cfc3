//! All schedules of a small program with few switches.
//!
//! Left to itself, whoever stopped goes on if it can, else the next one by number; a schedule is the
//! set of its switches, where it differs from that. Each is run once: first the one without any;
//! then, for each schedule with so many switches, those that have one more, later than all others.
//! Most bugs take few (Musuvathi & Qadeer, "Iterative context bounding for systematic testing of
//! multithreaded programs", 2007). A switch counts also where whoever stopped can't go on, so that
//! somebody else must: as in Emmi, Qadeer & Rakamaric, "Delay-bounded scheduling", 2011. To
//! vary these for nothing, as in the former, makes far too many schedules: whoever waits for a phase of
//! the run looks whenever anything happens.
//!
//! What must stay true:
//! - It says that a level is complete only if each schedule of it was run.
//! - A switch is at a host call or where somebody waits: what differs only by where an instance was
//!   cut while it computed is one schedule here.

use super::schedule::{Choice, Policy};
use super::script::{Script, Switch};
use super::settings::Settings;
use super::{Simulated, Simulator};
use crate::program::Plan;
use anyhow::{Result, ensure};

/// How far to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How many switches a schedule has at most.
    pub switches_max: u32,
    /// How many schedules are run at most.
    pub runs_max: u64,
    /// This part of so many, counted from 1.
    pub part: (u64, u64),
}

/// The schedules with so many switches, as their place in [`Explored::levels`] says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Level {
    /// How many of them were run.
    pub runs: u64,
    /// How many there are in this part: exactly if `is_complete`, else about, by how many there were of
    /// those that were looked for.
    pub expected: u64,
    /// Whether each was run.
    pub is_complete: bool,
}

/// A schedule with which something is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Which.
    pub script: Script,
    /// What is wrong.
    pub complaints: Vec<String>,
    /// What went wrong in the harness itself.
    pub troubles: Vec<String>,
}

/// How far an exploration came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Explored {
    /// By the number of switches.
    pub levels: Vec<Level>,
    /// In the order in which they were found.
    pub failures: Vec<Failure>,
    /// How many schedules had a check that didn't know.
    pub undecided: u64,
    /// The same for explorations all of whose runs went the same way, however they were parted.
    pub hash: u64,
}

impl Explored {
    /// How many schedules were run.
    pub fn runs(&self) -> u64 {
        self.levels.iter().map(|level| level.runs).sum()
    }

    /// Whether all schedules within the bound were run.
    pub fn is_complete(&self) -> bool {
        self.levels.iter().all(|level| level.is_complete)
    }

    /// Adds another part of the same exploration.
    pub fn merge(&mut self, other: Self) {
        for (level, added) in self.levels.iter_mut().zip(other.levels) {
            level.runs += added.runs;
            level.expected += added.expected;
            level.is_complete &= added.is_complete;
        }
        self.failures.extend(other.failures);
        self.undecided += other.undecided;
        self.hash = self.hash.wrapping_add(other.hash);
    }
}

/// Explores the schedules of `plan`. `after_run` is called after each run; false: it ends there.
///
/// # Errors
/// A run couldn't be done at all, or the same schedule went two ways.
pub fn explore(
    simulator: &Simulator,
    plan: &Plan,
    settings: &Settings,
    limits: &Limits,
    after_run: &mut dyn FnMut(&Explored) -> bool,
) -> Result<Explored> {
    let mut settings = Settings {
        policy: Policy::Script,
        choices: true,
        ..settings.clone()
    };
    if settings.faults.is_none() {
        settings.faults = Some([].into_iter().collect());
    }
    let run = |script: &Script| {
        settings.script = script.clone();
        simulator.run(plan, &settings).map(Ran::from)
    };
    Explorer::new(run, *limits, after_run).explore()
}

/// What there is to know about a run.
struct Ran {
    script: Script,
    choices: Vec<Choice>,
    failure: Option<(Vec<String>, Vec<String>)>,
    is_undecided: bool,
    hash: u64,
}

impl From<Simulated> for Ran {
    fn from(ran: Simulated) -> Self {
        let is_wrong = ran.failed() || !ran.troubles.is_empty();
        Self {
            failure: is_wrong.then(|| (ran.complaints(), ran.troubles.clone())),
            is_undecided: !is_wrong && ran.is_undecided(),
            hash: ran.trace_hash,
            script: ran.script,
            choices: ran.choices,
        }
    }
}

struct Explorer<'a, R> {
    run: R,
    limits: Limits,
    after_run: &'a mut dyn FnMut(&Explored) -> bool,
    explored: Explored,
    /// Something ended it.
    is_over: bool,
}

impl<'a, R: FnMut(&Script) -> Result<Ran>> Explorer<'a, R> {
    fn new(run: R, limits: Limits, after_run: &'a mut dyn FnMut(&Explored) -> bool) -> Self {
        Self {
            run,
            limits,
            after_run,
            explored: Explored::default(),
            is_over: false,
        }
    }

    fn explore(mut self) -> Result<Explored> {
        let (part, of) = self.limits.part;
        ensure!((1..=of).contains(&part), "there is no part {part} of {of}");
        let switches_max = self.limits.switches_max as usize;
        self.explored.levels = vec![Level::default(); switches_max + 1];
        let root = Script::default();
        // Schedules of the last level that was done, whose successors make up the next.
        let mut done = vec![root.clone()];
        // All parts begin here, and it counts once.
        if part == 1 {
            self.visit(&root, 0)?;
        }
        self.close(0, 1, 1);
        for level in 1..=switches_max {
            let mut next = Vec::new();
            let mut parents = 0;
            for parent in &done {
                if self.is_over {
                    break;
                }
                // Done again, because keeping what all could choose takes too much room.
                let ran = self.again(parent)?;
                for script in self.mine(parent, successors(&ran)) {
                    if self.visit(&script, level)? {
                        next.push(script);
                    }
                }
                parents += u64::from(!self.is_over);
            }
            self.close(level, parents, done.len() as u64);
            done = next;
        }
        Ok(self.explored)
    }

    /// Those successors of `parent` that belong to this part: what comes of one of the first
    /// schedule's belongs where that does.
    fn mine(&self, parent: &Script, all: Vec<Script>) -> Vec<Script> {
        let (part, of) = self.limits.part;
        if !parent.switches.is_empty() {
            return all;
        }
        let numbered = (1..).zip(all);
        let mine = numbered.filter(|(number, _): &(u64, _)| number % of == part % of);
        mine.map(|(_, script)| script).collect()
    }

    /// Runs a schedule, unless it is over; whether it did.
    fn visit(&mut self, script: &Script, level: usize) -> Result<bool> {
        if self.is_over || self.explored.runs() >= self.limits.runs_max {
            self.is_over = true;
            return Ok(false);
        }
        let ran = self.again(script)?;
        self.explored.levels[level].runs += 1;
        self.explored.hash = self.explored.hash.wrapping_add(ran.hash);
        self.explored.undecided += u64::from(ran.is_undecided);
        if let Some((complaints, troubles)) = ran.failure {
            self.explored.failures.push(Failure {
                script: script.clone(),
                complaints,
                troubles,
            });
        }
        // If that was all there was, it is complete all the same, but nobody knows.
        self.is_over = !(self.after_run)(&self.explored);
        Ok(true)
    }

    fn again(&mut self, script: &Script) -> Result<Ran> {
        let ran = (self.run)(script)?;
        ensure!(
            ran.script == *script,
            "a schedule went another way: {:?} instead of {script:?}",
            ran.script
        );
        Ok(ran)
    }

    /// A level is over: of so many parents the successors were looked for.
    fn close(&mut self, level: usize, parents: u64, of: u64) {
        let before = level
            .checked_sub(1)
            .map(|before| &self.explored.levels[before]);
        let is_whole = before.is_none_or(|before| before.is_complete);
        let (expected, runs) = (
            before.map_or(1, |before| before.expected),
            self.explored.levels[level].runs,
        );
        let is_complete = is_whole && !self.is_over && parents == of;
        let Some(level) = self.explored.levels.get_mut(level) else {
            return;
        };
        level.is_complete = is_complete;
        level.expected = if is_complete {
            runs
        } else {
            runs.saturating_mul(expected.max(1)) / parents.max(1)
        };
    }
}

/// The schedules that have one switch more, later than all.
fn successors(ran: &Ran) -> Vec<Script> {
    let last = ran.script.switches.last();
    let is_last = |choice: &Choice| {
        last.is_some_and(|last| (last.actor, last.stop) == (choice.last, choice.stop))
    };
    let from = ran.choices.iter().position(is_last).map_or(0, |at| at + 1);
    let later = ran.choices.iter().skip(from);
    let with = |switch: Switch| {
        let mut script = ran.script.clone();
        script.switches.push(switch);
        script
    };
    later.flat_map(Choice::switches).map(with).collect()
}

#[cfg(test)]
mod tests {
    use super::super::schedule::Scheduler;
    use super::*;
    use rand::SeedableRng as _;
    use rand_chacha::ChaCha8Rng;
    use std::collections::BTreeSet;

    /// Actors that each read a number and write one more, in so many stops.
    fn toy(actors: u32, script: &Script, seen: &mut BTreeSet<Vec<u32>>) -> Ran {
        let random = ChaCha8Rng::seed_from_u64(0);
        let mut scheduler =
            Scheduler::new(Policy::Script, None, script, actors, 9, random).keep_choices(true);
        let mut number = 0;
        let mut read = vec![0; actors as usize];
        let mut stage = vec![0; actors as usize];
        let mut order = Vec::new();
        let mut last = 0;
        loop {
            let left = (0..actors).filter(|actor| stage[*actor as usize] < 2);
            let able = left.fold(0, |able, actor| able | 1 << actor);
            if able == 0 {
                break;
            }
            last = scheduler.choose(last, able, false);
            order.push(last);
            let at = last as usize;
            match stage[at] {
                0 => read[at] = number,
                _ => number = read[at] + 1,
            }
            stage[at] += 1;
        }
        let is_new = seen.insert(order);
        assert!(is_new, "{script:?} is done twice");
        let lost = (number < actors).then(|| (vec![format!("{number} of {actors}")], Vec::new()));
        let (script, choices) = scheduler.into_script();
        Ran {
            script,
            choices,
            failure: lost,
            is_undecided: false,
            hash: 1,
        }
    }

    fn explored(actors: u32, limits: Limits) -> Explored {
        // A parent is done again to see its successors: only new schedules count.
        let mut seen = BTreeSet::new();
        let run = |script: &Script| {
            let mut fresh = BTreeSet::new();
            let ran = toy(actors, script, &mut fresh);
            seen.extend(fresh);
            Ok(ran)
        };
        let explored = Explorer::new(run, limits, &mut |_| true).explore().unwrap();
        if limits.part == (1, 1) {
            assert_eq!(seen.len() as u64, explored.runs());
        }
        explored
    }

    fn up_to(switches_max: u32) -> Limits {
        Limits {
            switches_max,
            runs_max: u64::MAX,
            part: (1, 1),
        }
    }

    #[test]
    fn a_lost_update_takes_one_switch() {
        let none = explored(2, up_to(0));
        assert!(none.is_complete() && none.failures.is_empty());
        let one = explored(2, up_to(1));
        assert!(one.is_complete());
        let scripts: Vec<_> = one.failures.iter().map(|it| &it.script.switches).collect();
        assert!(!scripts.is_empty() && scripts.iter().all(|switches| switches.len() == 1));
    }

    #[test]
    fn without_a_bound_that_matters_each_interleaving_is_run_once() {
        // Two actors of two stops each: (2+2)!/(2!2!).
        assert_eq!(explored(2, up_to(9)).runs(), 6);
        // Three: 6!/(2!2!2!).
        assert_eq!(explored(3, up_to(9)).runs(), 90);
    }

    #[test]
    fn parts_are_the_whole() {
        let whole = explored(3, up_to(2));
        for of in [2, 3, 7] {
            let part = |part| {
                let limits = Limits {
                    part: (part, of),
                    ..up_to(2)
                };
                explored(3, limits)
            };
            let mut sum = part(1);
            (2..=of).for_each(|number| sum.merge(part(number)));
            assert_eq!(sum.levels, whole.levels, "{of}");
            assert_eq!(sum.failures.len(), whole.failures.len());
            assert_eq!(sum.hash, whole.hash);
        }
    }

    #[test]
    fn what_a_budget_leaves_out_is_not_called_complete() {
        let whole = explored(3, up_to(3));
        let all = whole.runs();
        for runs_max in 1..all {
            let limits = Limits {
                runs_max,
                ..up_to(3)
            };
            let part = explored(3, limits);
            assert_eq!(part.runs(), runs_max);
            assert!(!part.is_complete(), "{runs_max} of {all}");
            for (level, of_whole) in part.levels.iter().zip(&whole.levels) {
                assert_eq!(level.is_complete, level.runs == of_whole.runs, "{runs_max}");
            }
        }
        let limits = Limits {
            runs_max: all,
            ..up_to(3)
        };
        assert_eq!(explored(3, limits), whole);
    }
}
