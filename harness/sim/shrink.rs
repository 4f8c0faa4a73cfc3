//! From a run that fails to the least that still fails in the same way: few faults, workers and
//! steps, and few choices of the scheduler.
//!
//! A shorter program goes through the same schedule otherwise than the whole, so a candidate may
//! need another schedule to fail. Some are tried; the one that fails is written down, and what comes
//! next starts from it. In the end there is a script of the choices that matter.
//!
//! What must stay true: whatever comes out was run, and failed in the same way.

mod case;
mod moved;
mod story;

pub use case::{Case, Subject, kind, kinds};

use super::fault::Fault;
use super::run::Simulator;
use super::schedule::Policy;
use super::script::{Cut, Script, Switch};
use super::settings::{Checkpoints, Settings};
use super::simulated::Simulated;
use crate::check::CheckSpec;
use crate::program::Program;
use crate::shrink::{deltas, size};
use case::pinned;
use moved::{without_actor, without_worker};

/// How much work is allowed, and what may come out.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How many runs there are at most.
    pub runs_max: u32,
    /// Whether it may be a program written down, which can be smaller than what a name stands for.
    pub writes_down: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            runs_max: 2000,
            writes_down: true,
        }
    }
}

/// How small it is by now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// How many runs that took.
    pub runs: u32,
    /// How many workers do something.
    pub workers: usize,
    /// How many steps they do, all together.
    pub steps: usize,
    /// How many faults there are.
    pub faults: usize,
    /// How often somebody makes way who could go on.
    pub switches: usize,
    /// How often somebody is interrupted who computes.
    pub cuts: usize,
}

/// What came out.
#[derive(Debug)]
pub struct Reduced {
    /// What to run.
    pub case: Case,
    /// What it comes to, with its trace in words.
    pub ran: Simulated,
    /// How small it is.
    pub size: Size,
    /// What happens to whom and who makes way for whom, in order, a line each.
    pub story: Vec<String>,
}

/// The least that fails as `failed` does, which is what running `case` came to. `watch` is told
/// at each run how small it is by now, and says whether to go on. None: nothing fails so when its faults and its
/// schedule are written down.
///
/// # Errors
/// There was no run.
pub fn shrink(
    simulator: &Simulator,
    case: &Case,
    failed: &Simulated,
    limits: Limits,
    watch: &mut dyn FnMut(Size) -> bool,
) -> anyhow::Result<Option<Reduced>> {
    let Some(kind) = kind(failed) else {
        return Ok(None);
    };
    let mut search = Search {
        simulator,
        kind,
        limits,
        runs: 0,
        is_over: false,
        best: None,
        error: None,
        watch,
    };
    search.pin(case, failed)?;
    search.fewer_faults();
    search.fewer_checkpoints();
    search.less_of_a_workload();
    if limits.writes_down {
        search.written_down()?;
    }
    search.lighter_schedule();
    search.shorter_script();
    search.finish()
}

/// So many other schedules are tried before a candidate counts as passing.
const SCHEDULES: u64 = 6;
/// So many are tried to find one with fewer choices.
const LIGHTER: u64 = 30;

struct Search<'a> {
    simulator: &'a Simulator,
    kind: String,
    limits: Limits,
    runs: u32,
    is_over: bool,
    best: Option<Case>,
    error: Option<anyhow::Error>,
    watch: &'a mut dyn FnMut(Size) -> bool,
}

impl Search<'_> {
    /// Runs it; none: it doesn't fail in the same way, or nothing may run any more.
    fn run(&mut self, case: &Case) -> Option<Simulated> {
        if self.is_over || self.runs >= self.limits.runs_max {
            return None;
        }
        self.runs += 1;
        if let Some(best) = &self.best
            && !(self.watch)(size_of(best, self.runs))
        {
            self.is_over = true;
        }
        let ran = case
            .plan()
            .and_then(|plan| self.simulator.run(&plan, &case.settings));
        match ran {
            Ok(ran) => (ran.troubles.is_empty() && kinds(&ran).contains(&self.kind)).then_some(ran),
            Err(error) => {
                self.error = Some(error);
                self.is_over = true;
                None
            }
        }
    }

    /// It fails: it is the best from now on, by the choices that were made.
    fn accept(&mut self, mut case: Case, ran: &Simulated) {
        case.settings.policy = Policy::Script;
        case.settings.script = ran.script.clone();
        case.settings.schedule_seed = None;
        self.best = Some(case);
    }

    /// Whether it fails by its own script.
    fn fails_as_it_is(&mut self, case: Case) -> bool {
        let Some(ran) = self.run(&case) else {
            return false;
        };
        self.accept(case, &ran);
        true
    }

    /// Whether it fails by its own script or by another schedule.
    fn fails(&mut self, case: Case) -> bool {
        if self.fails_as_it_is(case.clone()) {
            return true;
        }
        (0..SCHEDULES).any(|number| self.fails_as_it_is(with_schedule(&case, number)))
    }

    fn best(&self) -> anyhow::Result<&Case> {
        self.best
            .as_ref()
            .ok_or_else(|| anyhow::anyhow!("nothing was seen to fail"))
    }

    /// Whether the best fails with other settings.
    fn fails_with(&mut self, others: bool, change: impl FnOnce(&mut Settings)) -> bool {
        let Some(mut case) = self.best.clone() else {
            return false;
        };
        change(&mut case.settings);
        if others {
            self.fails(case)
        } else {
            self.fails_as_it_is(case)
        }
    }

    /// Whether the program fails in place of the best.
    fn fails_written(&mut self, program: &Program) -> bool {
        let Some(best) = &self.best else {
            return false;
        };
        let case = Case {
            subject: Subject::Written(Box::new(program.clone())),
            settings: best.settings.clone(),
        };
        self.fails(case)
    }

    /// Says whatever the seed decided.
    fn pin(&mut self, case: &Case, failed: &Simulated) -> anyhow::Result<()> {
        let fell = pinned(case, failed, failed.faults.iter().copied().collect())?;
        if !self.fails_as_it_is(fell) {
            let all = pinned(case, failed, case.decided_faults()?)?;
            self.fails_as_it_is(all);
        }
        Ok(())
    }

    fn faults(&self) -> Vec<Fault> {
        let plan = self
            .best
            .as_ref()
            .and_then(|case| case.settings.faults.as_ref());
        plan.map(super::FaultPlan::faults).unwrap_or_default()
    }

    fn fewer_faults(&mut self) {
        let all = self.faults();
        if all.is_empty()
            || self.fails_with(true, |settings| {
                settings.faults = Some([].into_iter().collect());
            })
        {
            return;
        }
        deltas::fewer(all, &mut |faults: &[Fault]| {
            let faults = faults.iter().copied().collect();
            self.fails_with(true, |settings| settings.faults = Some(faults))
        });
    }

    fn fewer_checkpoints(&mut self) {
        let now = |search: &Self| {
            let best = search.best.as_ref();
            let checkpoints = best.and_then(|case| case.settings.checkpoints);
            checkpoints.unwrap_or_default()
        };
        let none = Some(Checkpoints::times(0));
        if now(self).count > 0 && self.fails_with(true, |settings| settings.checkpoints = none) {
            return;
        }
        while now(self).count > 1 {
            let half = Some(Checkpoints {
                count: now(self).count / 2,
                ..now(self)
            });
            if !self.fails_with(true, |settings| settings.checkpoints = half) {
                return;
            }
        }
    }

    /// Fewer workers, then fewer steps, as long as its name is enough.
    fn less_of_a_workload(&mut self) {
        while let Some(case) = &self.best
            && let Subject::Named { name, workers } = &case.subject
            && case.is_workload()
            && *workers > 1
        {
            let last = workers - 1;
            let fewer = Case {
                subject: Subject::Named {
                    name: name.clone(),
                    workers: last,
                },
                settings: without_worker(&case.settings, last),
            };
            if !self.fails(fewer) {
                break;
            }
        }
        let steps = |search: &Self| match &search.best {
            Some(case) if case.is_workload() => case.settings.steps_max,
            _ => 0,
        };
        while steps(self) > 1 {
            let (half, less) = (steps(self) / 2, steps(self) - 1);
            if !self.fails_with(true, |settings| settings.steps_max = half)
                && !self.fails_with(true, |settings| settings.steps_max = less)
            {
                break;
            }
        }
    }

    /// Writes the program down and leaves out what it can do without.
    fn written_down(&mut self) -> anyhow::Result<()> {
        if self.best.is_none() {
            return Ok(());
        }
        let whole = self.best()?.written_down(&self.kind)?;
        if !self.fails_as_it_is(whole) {
            return Ok(());
        }
        loop {
            let before = self.size();
            self.fewer_workers();
            for shorter in [deltas::fewer_steps, deltas::shorter_bodies] {
                if let Some(program) = self.program() {
                    shorter(program, &mut |program| self.fails_written(program));
                }
            }
            if let Some(program) = self.program()
                && !program.checks.iter().any(CheckSpec::presumes_set_up)
            {
                deltas::less_set_up(program, &mut |program| self.fails_written(program));
            }
            if self.size() == before {
                return Ok(());
            }
        }
    }

    /// The best, if it is written down.
    fn program(&self) -> Option<Program> {
        match &self.best.as_ref()?.subject {
            Subject::Written(program) => Some((**program).clone()),
            Subject::Named { .. } => None,
        }
    }

    fn fewer_workers(&mut self) {
        let workers = self.program().map_or(0, |program| program.workers.len());
        for worker in (0..workers).rev() {
            let (Some(case), Some(program)) = (&self.best, self.program()) else {
                return;
            };
            if program.workers.len() < 2 {
                return;
            }
            let keep: Vec<usize> = (0..program.workers.len())
                .filter(|at| *at != worker)
                .collect();
            let number = u32::try_from(worker).unwrap_or(u32::MAX);
            let fewer = Case {
                subject: Subject::Written(Box::new(deltas::restricted(&program, &keep))),
                settings: without_worker(&case.settings, number),
            };
            self.fails(fewer);
        }
    }

    fn size(&self) -> (usize, usize) {
        self.program().map_or((0, 0), |program| size(&program))
    }

    /// Another schedule may do with fewer choices.
    fn lighter_schedule(&mut self) {
        for number in 0..LIGHTER {
            let Some(best) = &self.best else { return };
            let weight = weight(&best.settings.script);
            let case = with_schedule(best, number);
            if let Some(ran) = self.run(&case)
                && self::weight(&ran.script) < weight
            {
                self.accept(case, &ran);
            }
        }
    }

    fn script(&self) -> Script {
        let best = self.best.as_ref();
        best.map(|case| case.settings.script.clone())
            .unwrap_or_default()
    }

    fn shorter_script(&mut self) {
        loop {
            let before = self.script();
            for actor in 0..u64::BITS {
                let without = without_actor(&self.script(), actor);
                if without != self.script() {
                    self.fails_with(false, |settings| settings.script = without);
                }
            }
            if !self.script().cuts.is_empty()
                && !self.fails_with(false, |settings| settings.script.cuts.clear())
            {
                deltas::fewer(self.script().cuts, &mut |cuts: &[Cut]| {
                    self.fails_with(false, |settings| settings.script.cuts = cuts.to_vec())
                });
            }
            deltas::fewer(self.script().switches, &mut |switches: &[Switch]| {
                self.fails_with(false, |settings| {
                    settings.script.switches = switches.to_vec();
                })
            });
            let faults = self.faults();
            deltas::fewer(faults, &mut |faults: &[Fault]| {
                let faults = faults.iter().copied().collect();
                self.fails_with(false, |settings| settings.faults = Some(faults))
            });
            if self.script() == before {
                return;
            }
        }
    }

    /// Runs the best once more, with its trace in words.
    fn finish(self) -> anyhow::Result<Option<Reduced>> {
        if let Some(error) = self.error {
            return Err(error);
        }
        let Some(case) = self.best else {
            return Ok(None);
        };
        let traced = Settings {
            trace: true,
            ..case.settings.clone()
        };
        let ran = self.simulator.run(&case.plan()?, &traced)?;
        let fails = kinds(&ran).contains(&self.kind);
        Ok(fails.then(|| Reduced {
            size: size_of(&case, self.runs),
            story: story::story(&case, &ran),
            ran,
            case,
        }))
    }
}

/// The same by one of other schedules, few switches first.
fn with_schedule(case: &Case, number: u64) -> Case {
    let mut case = case.clone();
    case.settings.policy = match number % 3 {
        0 => Policy::Pct { depth: 2 },
        1 => Policy::Random,
        _ => Policy::Pct { depth: 4 },
    };
    case.settings.schedule_seed = Some(number);
    case
}

fn weight(script: &Script) -> usize {
    script.switches.len() + script.cuts.len()
}

fn size_of(case: &Case, runs: u32) -> Size {
    let (workers, steps) = match &case.subject {
        Subject::Written(program) => size(program),
        Subject::Named { workers, .. } => {
            let each = usize::try_from(case.settings.steps_max).unwrap_or(usize::MAX);
            let workers = *workers as usize;
            (workers, workers.saturating_mul(each))
        }
    };
    let settings = &case.settings;
    Size {
        runs,
        workers,
        steps,
        faults: settings
            .faults
            .as_ref()
            .map_or(0, |plan| plan.faults().len()),
        switches: settings.script.switches.len(),
        cuts: settings.script.cuts.len(),
    }
}
