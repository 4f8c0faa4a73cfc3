//! The report as JUnit XML, for continuous integration.
//!
//! A test suite per program, a test case per check. A violation is a failure, what could not be
//! decided and a harness error are errors, what the driver doesn't offer is skipped.

use super::statement::{parameters, statement};
use super::{Judged, Outcome, Report, RunReport};
use crate::check::{CheckResult, Verdict};
use quick_junit::{NonSuccessKind, TestCase, TestCaseStatus, TestSuite};
use std::io::{self, Write};
use std::time::Duration;

/// Writes the report as JUnit XML.
///
/// # Errors
/// `into` can't be written to.
pub fn write_junit(report: &Report, into: &mut dyn Write) -> io::Result<()> {
    let mut document = quick_junit::Report::new(format!("beaver-harness {}", report.driver));
    document.set_time(report.elapsed);
    for program in &report.programs {
        document.add_test_suite(suite(report, program));
    }
    document.serialize(into).map_err(io::Error::other)
}

fn suite(report: &Report, program: &RunReport) -> TestSuite {
    let mut suite = TestSuite::new(program.program.as_str());
    if let Some(when) = chrono::DateTime::from_timestamp(whole(report.started_unix_s), 0) {
        suite.set_timestamp(when);
    }
    suite.add_property(("seed", program.seed.to_string().as_str()));
    suite.add_property(("replay", program.replay.as_str()));
    suite.add_property(("promise", program.promise.as_str()));
    match &program.outcome {
        Outcome::Judged(judged) => {
            suite.set_time(judged.elapsed);
            for result in &judged.results {
                suite.add_test_case(check(program, judged, result));
            }
            if judged.verdict() == Verdict::Unknown
                && judged.results.iter().all(|result| result.unknown.is_none())
            {
                let why = judged.why_unknown().unwrap_or_default();
                suite.add_test_case(error(program, "judged", "unknown", &why));
            }
        }
        Outcome::NotOffered { missing } => {
            let mut status = TestCaseStatus::skipped();
            status.set_message(format!("not offered: {}", missing.join(", ")));
            suite.add_test_case(case(program, "offered", Duration::ZERO, status));
        }
        Outcome::HarnessError { message } => {
            suite.add_test_case(error(program, "run", "harness-error", message));
        }
    }
    if !program.notes.is_empty() {
        suite.set_system_err(program.notes.as_str());
    }
    suite
}

#[expect(clippy::cast_possible_truncation, reason = "a cast saturates")]
fn whole(seconds: f64) -> i64 {
    seconds as i64
}

fn case(program: &RunReport, name: &str, time: Duration, status: TestCaseStatus) -> TestCase {
    let mut case = TestCase::new(name, status);
    case.set_classname(program.program.as_str());
    case.set_time(time);
    case
}

fn error(program: &RunReport, name: &str, kind: &str, message: &str) -> TestCase {
    let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
    status
        .set_type(kind)
        .set_message(message)
        .set_description(format!("{message}\nreplay: {}", program.replay));
    case(program, name, Duration::ZERO, status)
}

fn check(program: &RunReport, judged: &Judged, result: &CheckResult) -> TestCase {
    let parameters = parameters(&result.spec);
    let name = match parameters.is_empty() {
        true => result.spec.name().to_owned(),
        false => format!("{} ({})", result.spec.name(), parameters.join(", ")),
    };
    let mut case = match result.verdict {
        Verdict::Pass => case(program, &name, judged.elapsed, TestCaseStatus::success()),
        Verdict::Unknown => {
            let why = result.unknown.clone().unwrap_or_default();
            error(program, &name, "unknown", &why)
        }
        Verdict::Fail => {
            let first = result.violations.first();
            let message = first.map_or("", |violation| violation.message.as_str());
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
            status
                .set_type("violation")
                .set_message(message)
                .set_description(in_words(program, result));
            case(program, &name, judged.elapsed, status)
        }
    };
    case.set_assertions(usize::try_from(result.examined).unwrap_or(usize::MAX));
    case
}

fn in_words(program: &RunReport, result: &CheckResult) -> String {
    let mut text = format!("Claim: {}\n", statement(&result.spec));
    for violation in &result.violations {
        let ids: Vec<String> = violation.operations.iter().map(u64::to_string).collect();
        text.push_str(&format!(
            "- {} (operations {})\n",
            violation.message,
            ids.join(", ")
        ));
    }
    let kept = u64::try_from(result.violations.len()).unwrap_or(u64::MAX);
    let more = result.violation_count.saturating_sub(kept);
    if more > 0 {
        text.push_str(&format!("- and {more} more\n"));
    }
    text.push_str(&format!("replay: {}", program.replay));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    fn written(report: &Report) -> String {
        let mut bytes = Vec::new();
        write_junit(report, &mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn each_outcome_has_its_element() {
        let report = fixture::suite(vec![("lost-update", fixture::lost_update())]);
        let document = quick_junit::Report::deserialize_from_str(&written(&report)).unwrap();
        assert_eq!(document.test_suites.len(), 3);
        let [judged, skipped, error] = document.test_suites.as_slice() else {
            panic!("{document:?}");
        };
        assert_eq!((judged.tests, judged.failures, judged.errors), (5, 2, 1));
        assert_eq!((skipped.tests, skipped.skipped, skipped.errors), (1, 1, 0));
        assert_eq!((error.tests, error.errors), (1, 1));
        let names: Vec<&str> = judged
            .test_cases
            .iter()
            .map(|case| case.name.as_str())
            .collect();
        assert_eq!(names[0], "counter (key=n, name=d)");
        let TestCaseStatus::NonSuccess { description, .. } = &judged.test_cases[0].status else {
            panic!("{judged:?}");
        };
        let text = description.as_ref().unwrap().as_str();
        assert!(text.contains("both read 1 and both wrote 2"), "{text}");
        assert!(text.contains("replay: beaver-harness run"), "{text}");
    }

    #[test]
    fn a_program_without_anything_judged_is_an_error_there_too() {
        let mut run = fixture::lost_update();
        run.results = Vec::new();
        let report = fixture::suite(vec![("empty", run)]);
        let document = quick_junit::Report::deserialize_from_str(&written(&report)).unwrap();
        assert_eq!(document.test_suites[0].errors, 1);
    }

    #[test]
    fn hostile_text_stays_text() {
        let report = fixture::hostile();
        let text = written(&report);
        assert!(!text.contains("<script"), "{text}");
        assert!(!text.contains('\u{1b}') && !text.contains('\0'));
        let document = quick_junit::Report::deserialize_from_str(&text).unwrap();
        assert_eq!(document.test_suites.len(), report.programs.len());
    }
}
