//! What a run or a suite of runs comes to, for people and for machines.
//!
//! What must stay true:
//! - A report decides nothing: verdicts are those of the checks, put together by the rules of
//!   [`RunReport::verdict`] and [`Report::verdict`], and every format shows the same ones.
//! - Texts of drivers and histories are untrusted. No format lets them be anything but text: no
//!   markup, no terminal control.
//! - What a report leaves out it says.
//! - A [`Report`] stays small whatever was run: a run's history is condensed when the run
//!   ends ([`Run::condense`]).

mod crashes;
mod excerpt;
#[cfg(test)]
mod fixture;
mod holds;
mod html;
mod json;
mod junit;
mod latency;
mod statement;
mod summary;
mod table;
mod words;

pub use crashes::Crashes;
pub use excerpt::{Excerpt, Gap, operations_per_program};
pub use holds::{Hold, holds};
pub use html::write_html;
pub use json::write_json;
pub use junit::write_junit;
pub use latency::{Bucket, Latency};
pub use summary::{KindSummary, OpGroup, Summary};
pub use table::{TableStyle, print_table, write_table};
pub use words::{count, plain};

use crate::check::{CheckResult, Verdict};
use crate::history::{Header, History};
use crate::protocol::Description;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// A suite of programs on one driver.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The command that was given.
    pub command: String,
    /// What the driver is called on the command line.
    pub driver: String,
    /// What the driver says of itself; none if it never came so far.
    pub description: Option<Description>,
    /// What all random choices came from; none if each program has another.
    pub seed: Option<u64>,
    /// When it began, in seconds since 1970-01-01 UTC.
    pub started_unix_s: f64,
    /// How long all of it took.
    pub elapsed: Duration,
    /// Where it ran: names and values for the reader, such as the operating system.
    pub environment: Vec<(String, String)>,
    /// Each program, in the order in which they ran.
    pub programs: Vec<RunReport>,
}

/// One program of a suite.
#[derive(Clone, Debug)]
pub struct RunReport {
    /// Its name.
    pub program: String,
    /// What it shows, in words.
    pub promise: String,
    /// What its random choices came from.
    pub seed: u64,
    /// The command that repeats it.
    pub replay: String,
    /// Where its history is, if it was kept.
    pub history: Option<PathBuf>,
    /// The last of what the driver wrote for people.
    pub notes: String,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of a program.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// It ran and its checks decided.
    Judged(Box<Judged>),
    /// The driver doesn't offer what it needs.
    NotOffered {
        /// What isn't there.
        missing: Vec<&'static str>,
    },
    /// The harness or the driver failed, so that nothing was judged.
    HarnessError {
        /// Why.
        message: String,
    },
}

/// A run and what its checks decided.
#[derive(Clone, Debug)]
pub struct Run {
    /// What happened.
    pub history: History,
    /// What the checks say of it.
    pub results: Vec<CheckResult>,
    /// How long the workers were at work; rates are per second of this.
    pub elapsed: Duration,
}

/// What a report keeps of a [`Run`].
#[derive(Clone, Debug)]
pub struct Judged {
    /// What was run, on what.
    pub header: Header,
    /// What the checks say.
    pub results: Vec<CheckResult>,
    /// How long the workers were at work.
    pub elapsed: Duration,
    /// Counts and latencies of the whole history.
    pub summary: Summary,
    /// What kills hit.
    pub crashes: Crashes,
    /// What is shown of the history.
    pub excerpt: Excerpt,
}

impl Run {
    /// What a report keeps of it: about `operations_max` operations at most, chosen as
    /// [`Excerpt`] says. See [`operations_per_program`].
    pub fn condense(self, operations_max: usize) -> Judged {
        let summary = Summary::of(&self.history);
        let crashes = Crashes::of(&self.history);
        let header = self.history.header.clone();
        let excerpt = Excerpt::new(self.history, &self.results, operations_max);
        Judged {
            header,
            results: self.results,
            elapsed: self.elapsed,
            summary,
            crashes,
            excerpt,
        }
    }
}

impl Judged {
    /// Fail if a check says so, else unknown if a check could not decide or none judged
    /// anything: nothing judged is nothing shown.
    pub fn verdict(&self) -> Verdict {
        let worst = self.results.iter().map(|result| result.verdict).max();
        let own = || {
            self.results
                .iter()
                .filter(|result| !result.spec.is_general())
        };
        let examined = if own().next().is_some() {
            own().any(|result| result.examined > 0)
        } else {
            self.results.iter().any(|result| result.examined > 0)
        };
        match worst {
            Some(Verdict::Pass) if !examined => Verdict::Unknown,
            Some(verdict) => verdict,
            None => Verdict::Unknown,
        }
    }

    /// The first violation of the first check that has one.
    pub fn first_violation(&self) -> Option<&str> {
        let mut all = self.results.iter().flat_map(|result| &result.violations);
        all.next().map(|violation| violation.message.as_str())
    }

    /// Why there is no verdict, if there is none.
    pub fn why_unknown(&self) -> Option<String> {
        if self.verdict() != Verdict::Unknown {
            return None;
        }
        let undecided = self.results.iter().find_map(|result| {
            let why = result.unknown.as_ref()?;
            Some(format!("{}: {why}", result.spec.name()))
        });
        Some(undecided.unwrap_or_else(|| "no check had anything to judge".to_owned()))
    }

    /// Operations per second.
    #[expect(clippy::cast_precision_loss, reason = "a rate for the eye")]
    pub fn operations_per_s(&self) -> f64 {
        self.summary.operations as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }
}

impl RunReport {
    /// What it shows of the system: none if it wasn't offered, unknown if the harness failed.
    pub fn verdict(&self) -> Option<Verdict> {
        match &self.outcome {
            Outcome::Judged(judged) => Some(judged.verdict()),
            Outcome::NotOffered { .. } => None,
            Outcome::HarnessError { .. } => Some(Verdict::Unknown),
        }
    }

    /// Its result in one word (`harness-error` in two), as all formats have it.
    pub fn word(&self) -> &'static str {
        match &self.outcome {
            Outcome::Judged(judged) => word(judged.verdict()),
            Outcome::NotOffered { .. } => "not-offered",
            Outcome::HarnessError { .. } => "harness-error",
        }
    }

    /// What was run, if it was judged.
    pub fn judged(&self) -> Option<&Judged> {
        match &self.outcome {
            Outcome::Judged(judged) => Some(judged),
            _ => None,
        }
    }
}

impl Report {
    /// Fail if a program failed; else unknown if one is unknown or ended in a harness error, or
    /// if none ran at all; else pass. What isn't offered doesn't count.
    pub fn verdict(&self) -> Verdict {
        let verdicts = self.programs.iter().filter_map(RunReport::verdict);
        verdicts.max().unwrap_or(Verdict::Unknown)
    }

    /// 0 pass, 1 fail, 2 unknown or harness error.
    pub fn exit_code(&self) -> u8 {
        match self.verdict() {
            Verdict::Pass => 0,
            Verdict::Fail => 1,
            Verdict::Unknown => 2,
        }
    }

    /// How many programs came to each result, by [`RunReport::word`]; all five are there.
    pub fn counts(&self) -> BTreeMap<&'static str, usize> {
        let words = ["fail", "harness-error", "not-offered", "pass", "unknown"];
        let mut counts = BTreeMap::from(words.map(|word| (word, 0)));
        for program in &self.programs {
            *counts.entry(program.word()).or_insert(0) += 1;
        }
        counts
    }

    /// The result in one sentence.
    pub fn sentence(&self) -> String {
        let counts = self.counts();
        let part = |word: &str, said: &str| match counts.get(word) {
            None | Some(0) => None,
            Some(count) => Some(format!("{count} {said}")),
        };
        let parts = [
            part("fail", "failed"),
            part("unknown", "unknown"),
            part("harness-error", "ended in a harness error"),
            part("pass", "passed"),
            part("not-offered", "not offered"),
        ];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        let total = match self.programs.len() {
            0 => return "No program was run".to_owned(),
            1 => "1 program".to_owned(),
            n => format!("{n} programs"),
        };
        format!("{total}: {}", parts.join(", "))
    }
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "pass",
        Verdict::Fail => "fail",
        Verdict::Unknown => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{CheckSpec, Findings};

    fn result(verdict: Verdict, examined: u64) -> CheckResult {
        let mut findings = Findings::new(CheckSpec::Completion);
        findings.examined(examined);
        match verdict {
            Verdict::Pass => {}
            Verdict::Unknown => findings.unknown("too many"),
            Verdict::Fail => findings.violation("wrong", [1]),
        }
        findings.finish()
    }

    fn judged(results: Vec<CheckResult>) -> RunReport {
        let mut run = fixture::lost_update();
        run.results = results;
        fixture::run_report("p", Outcome::Judged(Box::new(run.condense(100))))
    }

    fn report(programs: Vec<RunReport>) -> Report {
        Report {
            programs,
            ..Report::default()
        }
    }

    #[test]
    fn the_worst_check_decides_about_a_program() {
        use Verdict::{Fail, Pass, Unknown};
        for (verdicts, expected) in [
            (vec![Pass, Pass], Pass),
            (vec![Pass, Unknown], Unknown),
            (vec![Fail, Unknown, Pass], Fail),
            (vec![], Unknown),
        ] {
            let results = verdicts.iter().map(|verdict| result(*verdict, 1)).collect();
            assert_eq!(judged(results).verdict(), Some(expected), "{verdicts:?}");
        }
    }

    #[test]
    fn nothing_judged_is_nothing_shown() {
        let none = judged(vec![result(Verdict::Pass, 0), result(Verdict::Pass, 0)]);
        assert_eq!(none.verdict(), Some(Verdict::Unknown));
        let why = none.judged().and_then(Judged::why_unknown).unwrap();
        assert!(why.contains("no check had anything to judge"), "{why}");
        let some = judged(vec![result(Verdict::Pass, 0), result(Verdict::Pass, 1)]);
        assert_eq!(some.verdict(), Some(Verdict::Pass));
        assert_eq!(report(vec![]).exit_code(), 2);
    }

    #[test]
    fn exit_codes_tell_a_failure_from_what_is_unknown() {
        let pass = || judged(vec![result(Verdict::Pass, 1)]);
        let fail = || judged(vec![result(Verdict::Fail, 1)]);
        let not_offered = || {
            let missing = vec!["log"];
            fixture::run_report("n", Outcome::NotOffered { missing })
        };
        let error = || {
            let message = "it did not start".to_owned();
            fixture::run_report("e", Outcome::HarnessError { message })
        };
        assert_eq!(report(vec![pass(), not_offered()]).exit_code(), 0);
        assert_eq!(report(vec![pass(), error()]).exit_code(), 2);
        assert_eq!(report(vec![error(), fail(), pass()]).exit_code(), 1);
        assert_eq!(report(vec![not_offered()]).exit_code(), 2);
        let all = report(vec![error(), fail(), pass(), not_offered()]);
        assert_eq!(all.counts().values().sum::<usize>(), 4);
        assert_eq!(
            all.sentence(),
            "4 programs: 1 failed, 1 ended in a harness error, 1 passed, 1 not offered"
        );
    }
}
