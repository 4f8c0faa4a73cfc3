//! What a check found.

use super::CheckSpec;
use serde::{Deserialize, Serialize};

/// What a check decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Nothing is certainly wrong.
    Pass,
    /// It could not decide.
    Unknown,
    /// Something is certainly wrong.
    Fail,
}

/// Something that is certainly wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violation {
    /// In words that name workers, keys and values: for a person who hasn't seen the history.
    pub message: String,
    /// The numbers of the operations that show it, in the order in which to read them; as
    /// few as will do.
    pub operations: Vec<u64>,
}

/// What one check decided, and why.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckResult {
    /// Which check.
    #[serde(flatten)]
    pub spec: CheckSpec,
    /// What it decided.
    pub verdict: Verdict,
    /// The first of what is wrong.
    pub violations: Vec<Violation>,
    /// How many violations there are in all.
    pub violation_count: u64,
    /// How many things it judged (operations, grants, …: its own measure). Nothing judged is
    /// nothing shown.
    pub examined: u64,
    /// Why it could not decide.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unknown: Option<String>,
}

impl CheckResult {
    /// The run was ended early: what is wrong stays so, what isn't means nothing.
    pub(crate) fn is_of_a_part(&mut self) {
        if self.verdict == Verdict::Pass {
            self.verdict = Verdict::Unknown;
            self.unknown = Some("the run was interrupted".to_owned());
        }
    }
}

/// How many violations are kept with their words.
const VIOLATIONS_MAX: usize = 100;

/// Collects what a check finds.
#[derive(Debug)]
pub struct Findings {
    result: CheckResult,
}

impl Findings {
    /// Nothing yet.
    pub fn new(spec: CheckSpec) -> Self {
        Self {
            result: CheckResult {
                spec,
                verdict: Verdict::Pass,
                violations: Vec::new(),
                violation_count: 0,
                examined: 0,
                unknown: None,
            },
        }
    }

    /// So many things were judged.
    pub fn examined(&mut self, count: u64) {
        self.result.examined += count;
    }

    /// Something is certainly wrong, as these operations show.
    pub fn violation(
        &mut self,
        message: impl Into<String>,
        operations: impl IntoIterator<Item = u64>,
    ) {
        self.result.violation_count += 1;
        if self.result.violations.len() < VIOLATIONS_MAX {
            self.result.violations.push(Violation {
                message: message.into(),
                operations: operations.into_iter().collect(),
            });
        }
    }

    /// Something could not be decided.
    pub fn unknown(&mut self, why: impl Into<String>) {
        self.result.unknown.get_or_insert(why.into());
    }

    /// The result: a violation outweighs what could not be decided.
    pub fn finish(mut self) -> CheckResult {
        self.result.verdict = if self.result.violation_count > 0 {
            Verdict::Fail
        } else if self.result.unknown.is_some() {
            Verdict::Unknown
        } else {
            Verdict::Pass
        };
        self.result
    }
}
