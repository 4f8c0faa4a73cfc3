//! What is run, and how it fails.

use crate::check::{CheckResult, CheckSpec};
use crate::program::{Layout, Plan, Program};
use crate::sim::cases;
use crate::sim::fault::{FaultPlan, Kind};
use crate::sim::schedule::Policy;
use crate::sim::settings::Settings;
use crate::sim::simulated::Simulated;
use anyhow::Context as _;

/// What is run, and how.
#[derive(Clone, Debug)]
pub struct Case {
    /// What.
    pub subject: Subject,
    /// How.
    pub settings: Settings,
}

/// A program.
#[derive(Clone, Debug, PartialEq)]
pub enum Subject {
    /// A workload or a scenario by its name.
    Named {
        /// Its name.
        name: String,
        /// How many workers a workload has; scenarios have their own.
        workers: u32,
    },
    /// A program written down.
    Written(Box<Program>),
}

impl Case {
    /// The plan. The steps of a workload come from the seed in the settings.
    ///
    /// # Errors
    /// There is no program of this name.
    pub fn plan(&self) -> anyhow::Result<Plan> {
        match &self.subject {
            Subject::Named { name, workers } => cases::plan(name, *workers, self.settings.seed)
                .with_context(|| format!("there is no program {name:?}")),
            Subject::Written(program) => Ok(Plan::from((**program).clone())),
        }
    }

    /// The name of the program.
    pub fn name(&self) -> &str {
        match &self.subject {
            Subject::Named { name, .. } => name,
            Subject::Written(program) => &program.name,
        }
    }

    /// How many workers it has.
    pub(super) fn workers(&self) -> u32 {
        self.plan().map_or(0, |plan| plan.workers)
    }

    /// Whether its steps come from a seed, as many as are wanted.
    pub(super) fn is_workload(&self) -> bool {
        matches!(self.subject, Subject::Named { .. })
            && self.plan().is_ok_and(|plan| plan.frame.workers.is_empty())
    }

    pub(super) fn decided_faults(&self) -> anyhow::Result<FaultPlan> {
        Ok(self.settings.decide(&self.plan()?).faults)
    }

    /// The same as a program that has its steps, processes and clocks in itself, and of the
    /// checks the one that this is about.
    pub(super) fn written_down(&self, kind: &str) -> anyhow::Result<Self> {
        let plan = self.plan()?;
        let decided = self.settings.decide(&plan);
        let mut program = if plan.frame.workers.is_empty() {
            let workers = plan.workers as usize;
            plan.write_down(&vec![self.settings.steps_max; workers])
        } else {
            plan.frame.clone()
        };
        program.clock_offsets_ms = decided.clocks.iter().map(|(offset, _)| *offset).collect();
        if program.clock_offsets_ms.iter().all(|offset| *offset == 0) {
            program.clock_offsets_ms.clear();
        }
        if decided.processes < plan.workers && program.layout == Layout::Any {
            program.layout = Layout::Processes(decided.processes);
        }
        let is_it = |check: &CheckSpec| kind.split(':').next() == Some(check.name());
        if program.checks.iter().any(is_it) {
            program.checks.retain(is_it);
        }
        Ok(Self {
            subject: Subject::Written(Box::new(program)),
            settings: Settings {
                processes: None,
                kinds: Vec::new(),
                ..self.settings.clone()
            },
        })
    }
}

/// The case with all said that the seed decided: `failed` is what it came to.
pub(super) fn pinned(case: &Case, failed: &Simulated, faults: FaultPlan) -> anyhow::Result<Case> {
    let plan = case.plan()?;
    let decided = case.settings.decide(&plan);
    // The seed still says how clocks are off, if they may be.
    let are_off =
        plan.frame.workers.is_empty() && decided.clocks.iter().any(|clock| *clock != (0, 0));
    let settings = Settings {
        policy: Policy::Script,
        script: failed.script.clone(),
        schedule_seed: None,
        kinds: if are_off {
            vec![Kind::Clock]
        } else {
            Vec::new()
        },
        faults: Some(faults),
        full_durability: Some(decided.full_durability),
        rollback_journal: Some(decided.rollback_journal),
        processes: Some(decided.processes),
        checkpoints: Some(decided.checkpoints),
        ..case.settings.clone()
    };
    Ok(Case {
        subject: case.subject.clone(),
        settings,
    })
}

/// In what way a run fails: the name of the first check or, first of all, what kind of thing the audit
/// found. None if it doesn't.
pub fn kind(ran: &Simulated) -> Option<String> {
    kinds(ran).into_iter().next()
}

/// All ways in which it fails.
pub fn kinds(ran: &Simulated) -> Vec<String> {
    let findings = ran.findings.iter().map(|finding| in_general(finding));
    let violated = ran.results.iter().filter_map(of_check);
    let mut kinds: Vec<String> = Vec::new();
    for kind in findings.chain(violated) {
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    kinds
}

fn of_check(result: &CheckResult) -> Option<String> {
    let first = result.violations.first()?;
    match &result.spec {
        // Those are the findings.
        CheckSpec::Audit => None,
        // One operation that fails in one way is no example of another.
        CheckSpec::Errors { .. } => Some(format!("errors: {}", in_general(&first.message))),
        spec => Some(spec.name().to_owned()),
    }
}

/// A finding without what differs from run to run: times, numbers, names, and what is told in detail.
fn in_general(finding: &str) -> String {
    let without_time = finding
        .strip_prefix("at ")
        .and_then(|rest| rest.split_once(": "));
    let finding = without_time.map_or(finding, |(_, rest)| rest);
    let general = finding
        .split_once(": ")
        .map_or(finding, |(general, _)| general);
    let is_name = |word: &&str| word.contains(|c: char| c.is_ascii_digit() || ":[(=".contains(c));
    let words = general.split_whitespace().filter(|word| !is_name(word));
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_of_a_kind_whatever_its_numbers() {
        let same = |one, other| assert_eq!(in_general(one), in_general(other));
        same(
            "at 0.267 ms: the wal-index publishes frame 4, but the log is valid only to 0",
            "at 1.2 ms: the wal-index publishes frame 17, but the log is valid only to 12",
        );
        same(
            "a row of the lock dict:a was left behind by live:00ab:1, who has ended in good order",
            "a row of the lock queue:b was left behind by live:77:9, who has ended in good order",
        );
        same(
            "at 3 ms: commit 7 had to survive, but the files hold commit 5",
            "at 4 ms: commit 12 had to survive, but the files hold commit 11",
        );
        same(
            "integrity_check: row 5 missing",
            "integrity_check: *** in database main ***",
        );
        assert_ne!(
            in_general("at 1 ms: commit 7 had to survive, but the files hold commit 5"),
            in_general(
                "at 1 ms: the log's frames up to 3 were published twice, replacing commit 5"
            ),
        );
        assert!(in_general("nobody can ever go on: 0 able=false").starts_with("nobody"));
    }
}
