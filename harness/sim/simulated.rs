//! What a simulated run came to.

use super::allowed::meets_device;
use super::fault::Fault;
use super::places::Places;
use super::schedule::Choice;
use super::script::Script;
use crate::check::{CheckResult, CheckSpec, Verdict};
use crate::history::History;

/// What a run came to.
#[derive(Debug)]
pub struct Simulated {
    /// What happened, in virtual time.
    pub history: History,
    /// What the checks say.
    pub results: Vec<CheckResult>,
    /// What is wrong by the audit, by native SQLite, or because nobody could go on.
    pub findings: Vec<String>,
    /// What went wrong in the harness itself.
    pub troubles: Vec<String>,
    /// The same for runs that went the same way.
    pub trace_hash: u64,
    /// The trace in words, if it was wanted.
    pub trace: Vec<String>,
    /// Where stops and host calls were, if the trace was wanted.
    pub(crate) places: Places,
    /// The faults that came to pass.
    pub faults: Vec<Fault>,
    /// The choices that were made.
    pub script: Script,
    /// Where more than one actor could go on, if that was wanted.
    pub choices: Vec<Choice>,
    /// How many host calls each actor made: workers, then who opens the database after all.
    pub calls: Vec<u64>,
    /// How much virtual time went by.
    pub virtual_ns: u64,
    /// `durability: full`.
    pub full_durability: bool,
    /// A rollback journal.
    pub rollback_journal: bool,
    /// Over how many processes the workers were spread.
    pub processes: u32,
    /// A power loss ended it: with `synchronous=NORMAL` it may take acknowledged commits back, so
    /// what comes after says nothing about what was before. What must survive was audited.
    pub was_cut_short: bool,
}

impl Simulated {
    /// Whether something is certainly wrong.
    pub fn failed(&self) -> bool {
        !self.findings.is_empty() || self.worst() == Verdict::Fail
    }

    /// Whether a check could not decide, though nothing kept it from that: neither a power loss that ended
    /// the run nor operations that failed on a device's error.
    pub fn is_undecided(&self) -> bool {
        let is_explained = self.was_cut_short || meets_device(&self.faults);
        self.worst() == Verdict::Unknown && !is_explained
    }

    fn worst(&self) -> Verdict {
        let is = |verdict| self.results.iter().any(|result| result.verdict == verdict);
        if is(Verdict::Fail) {
            Verdict::Fail
        } else if is(Verdict::Unknown) {
            Verdict::Unknown
        } else {
            Verdict::Pass
        }
    }

    /// What is wrong, a line each.
    pub fn complaints(&self) -> Vec<String> {
        // Its violations are the findings.
        let judged = |result: &&CheckResult| result.spec != CheckSpec::Audit;
        let violated = self.results.iter().filter(judged).flat_map(|result| {
            let said = result.violations.iter();
            said.map(|violation| format!("{}: {}", result.spec.name(), violation.message))
        });
        self.findings.iter().cloned().chain(violated).collect()
    }
}
