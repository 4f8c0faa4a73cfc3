//! Takes in what runs came to, in the order of their seeds: counts them, tells of those that don't
//! pass, and shrinks the first of each kind of failure.

use super::progress::Live;
use super::tally::{Fate, Tally};
use super::{Done, Sim, replay, told};
use crate::cli::interrupt::Interrupt;
use crate::cli::output;
use anyhow::{Context as _, Result};
use beaver_harness::report::{self, Outcome, Run, RunReport};
use beaver_harness::sim::shrink::{self, Case, Limits, Reduced, Subject};
use beaver_harness::sim::{Simulated, Simulator};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::BufWriter;
use std::path::PathBuf;
use std::time::Duration;

pub(super) struct Exploration<'a> {
    sim: &'a Sim,
    simulator: &'a Simulator,
    interrupt: &'a Interrupt,
    live: &'a Live,
    is_reported: bool,
    pub(super) tally: Tally,
    pub(super) programs: Vec<RunReport>,
    /// Programs of which a run that passed is in the report.
    shown: BTreeSet<String>,
    /// Ways to fail of which one was shrunk.
    shrunk: BTreeSet<String>,
}

impl<'a> Exploration<'a> {
    pub(super) fn new(
        sim: &'a Sim,
        simulator: &'a Simulator,
        interrupt: &'a Interrupt,
        live: &'a Live,
        is_reported: bool,
    ) -> Self {
        Self {
            sim,
            simulator,
            interrupt,
            live,
            is_reported,
            tally: Tally::default(),
            programs: Vec::new(),
            shown: BTreeSet::new(),
            shrunk: BTreeSet::new(),
        }
    }

    /// Whether to go on. `is_told`: even if it passed.
    pub(super) fn take(&mut self, seed: u64, done: Done, is_told: bool) -> Result<bool> {
        let Done {
            case, counted, ran, ..
        } = done;
        let fate = counted.fate;
        self.tally.add(case.name(), seed, &counted);
        {
            let mut far = self.live.far();
            far.runs = self.tally.runs();
            far.failed = self.tally.failed();
        }
        let Some(ran) = ran else { return Ok(true) };
        if self.sim.trace {
            let _aside = self.live.aside();
            for line in &ran.trace {
                output::say(line)?;
            }
        }
        let is_bad = fate != Fate::Passed && fate != Fate::CutShort;
        if is_bad || is_told {
            let _aside = self.live.aside();
            output::say_all(told::run(&case, fate, &ran))?;
        }
        let is_new = is_bad || is_told || fate == Fate::Passed && !self.shown.contains(case.name());
        let is_shrunk = fate == Fate::Failed && self.sim.shrinks;
        if fate == Fate::Passed {
            self.shown.insert(case.name().to_owned());
        }
        let history = if is_bad { self.keep(&case, "")? } else { None };
        let reduced = match is_shrunk {
            true => self.shrink(&case, &ran)?,
            false => None,
        };
        if self.is_reported && is_new {
            let title = format!("{} (seed {seed})", case.name());
            self.programs
                .push(in_report(title, &case, *ran, history, String::new()));
            if let Some((reduced, history)) = reduced {
                let title = format!("{} (seed {seed}, shrunk)", case.name());
                let story = reduced.story.join("\n");
                let Reduced { case, ran, .. } = reduced;
                self.programs
                    .push(in_report(title, &case, ran, history, story));
            }
        }
        Ok(self.tally.failed() < self.sim.failures_max)
    }

    /// Shrinks it, unless one that fails in the same way was.
    fn shrink(
        &mut self,
        case: &Case,
        failed: &Simulated,
    ) -> Result<Option<(Reduced, Option<PathBuf>)>> {
        let Some(kind) = shrink::kind(failed) else {
            return Ok(None);
        };
        if self.interrupt.by().is_some() || !self.shrunk.insert(kind) {
            return Ok(None);
        }
        let limits = Limits {
            runs_max: self.sim.candidates_max,
            // Only a file can hold it.
            writes_down: self.sim.histories.is_some(),
        };
        let mut watch = |size| {
            self.live.far().doing = Some(told::size(&size));
            self.interrupt.by().is_none()
        };
        let reduced = shrink::shrink(self.simulator, case, failed, limits, &mut watch)?;
        self.live.far().doing = None;
        let Some(mut reduced) = reduced else {
            return Ok(None);
        };
        let file = self.written(&reduced.case)?;
        let replay = replay::of_case(self.sim, &reduced.case, file.as_deref());
        reduced.case.settings.replay = replay;
        let history = self.keep(&reduced.case, "-shrunk")?;
        let _aside = self.live.aside();
        output::say_all(told::reduced(&reduced))?;
        Ok(Some((reduced, history)))
    }

    fn file(&self, case: &Case, what: &str) -> Option<PathBuf> {
        let folder = self.sim.histories.as_ref()?;
        let (name, seed) = (case.name(), case.settings.seed);
        Some(folder.join(format!("{name}-{seed}{what}")))
    }

    /// The file of a program that was written down.
    fn written(&self, case: &Case) -> Result<Option<PathBuf>> {
        let Subject::Written(program) = &case.subject else {
            return Ok(None);
        };
        let Some(file) = self.file(case, ".scenario.json") else {
            return Ok(self.sim.scenario.clone());
        };
        let text = serde_json::to_string_pretty(program)? + "\n";
        std::fs::write(&file, text).with_context(|| file.display().to_string())?;
        Ok(Some(file))
    }

    /// Writes the history, if that is wanted: it goes the same way once more.
    fn keep(&self, case: &Case, what: &str) -> Result<Option<PathBuf>> {
        let Some(file) = self.file(case, &format!("{what}.jsonl")) else {
            return Ok(None);
        };
        let into = File::create(&file).with_context(|| file.display().to_string())?;
        let into = Box::new(BufWriter::new(into));
        self.simulator.record(&case.plan()?, &case.settings, into)?;
        Ok(Some(file))
    }
}

fn in_report(
    program: String,
    case: &Case,
    ran: Simulated,
    history: Option<PathBuf>,
    notes: String,
) -> RunReport {
    let promise = ran.history.header.promise.clone();
    // What is certainly wrong stays so, whatever else went wrong.
    let outcome = if ran.failed() || ran.troubles.is_empty() {
        let run = Run {
            history: ran.history,
            results: ran.results,
            elapsed: Duration::from_nanos(ran.virtual_ns),
        };
        let shown_max = report::operations_per_program(usize::MAX);
        Outcome::Judged(Box::new(run.condense(shown_max)))
    } else {
        Outcome::HarnessError {
            message: ran.troubles.join("\n"),
        }
    };
    RunReport {
        program,
        promise,
        seed: case.settings.seed,
        replay: case.settings.replay.clone(),
        history,
        notes,
        outcome,
    }
}
