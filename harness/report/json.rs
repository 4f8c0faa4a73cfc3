//! The report as one JSON document.
//!
//! ```text
//! {"report": 1,                     the version of this format
//!  "harness": "0.1.0",              the version of the harness
//!  "command": "beaver-harness …",
//!  "verdict": "fail",               pass, fail, unknown
//!  "exit_code": 1,                  0, 1, 2
//!  "counts": {"fail": 1, "harness-error": 0, "not-offered": 2, "pass": 7, "unknown": 0},
//!  "driver": {"argument": "python:1.3.0", "protocol": 1, "name": …, "version": …, "capabilities": […]},
//!  "environment": {"Operating system": …},
//!  "seed": 7,                       not if each program has another
//!  "started_unix_s": 1795538744.0, "elapsed_s": 12.3,
//!  "programs": [{
//!    "program": "dict-increment", "promise": …, "seed": 7, "replay": "beaver-harness …",
//!    "history": "…",                the file, if it was kept
//!    "outcome": "fail",             pass, fail, unknown, not-offered, harness-error
//!    "missing": ["log-follow"],     only if not offered
//!    "error": "…",                  only if harness-error
//!    "notes": "…",                  what the driver wrote for people, if anything
//!    "run": {                       only if it was judged
//!      "workers": 2, "elapsed_s": 5.0, "sessions": 2, "processes": 2,
//!      "operations": {"all": 9, "ok": 7, "fail": 1, "info": 1}, "operations_per_s": 1.8,
//!      "errors": {"timeout": 1}, "faults": {"kill": 1},
//!      "latency": L, "latencies": [{"op": "dict-get", "ok": 7, "fail": 0, "info": 0, "latency": L}],
//!      "checks": [{"check": "counter", "name": "d", "key": "n",      its parameters
//!                  "claim": "…", "verdict": "fail", "examined": 9,
//!                  "violation_count": 1,
//!                  "violations": [{"message": "…", "operations": [O, …]}],
//!                  "unknown": "…"}]}}]}     why it could not decide, if so
//! ```
//!
//! `L` is `{"count": …, "p50_ns": …, "p90_ns": …, "p99_ns": …, "p999_ns": …, "max_ns": …}`, of the
//! operations that took effect. `O` is an operation with everything that the history has of it:
//! `{"id": 3, "session": 1, "worker": 0, "task": 2, "op": {"op": "dict-get", …}, "invoked_ns": …,
//! "completed_ns": …, "ok": value}`, with `fail` or `info` in place of `ok` for an error; only `id` if
//! the report didn't keep it. Fields come in this order. Later versions may add some.

use super::statement::statement;
use super::{Judged, Latency, Outcome, Report, RunReport};
use crate::check::{CheckResult, CheckSpec};
use crate::history::{Operation, Outcome as End};
use crate::protocol::{Description, Failure, Op};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{self, Write};

/// Writes the report as one JSON document and a line end.
///
/// # Errors
/// `into` can't be written to.
pub fn write_json(report: &Report, into: &mut dyn Write) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *into, &document(report)).map_err(io::Error::from)?;
    into.write_all(b"\n")
}

#[derive(Serialize)]
struct Document<'a> {
    report: u32,
    harness: &'static str,
    command: &'a str,
    verdict: &'static str,
    exit_code: u8,
    counts: BTreeMap<&'static str, usize>,
    driver: Driver<'a>,
    environment: BTreeMap<&'a str, &'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<u64>,
    started_unix_s: f64,
    elapsed_s: f64,
    programs: Vec<Program<'a>>,
}

#[derive(Serialize)]
struct Driver<'a> {
    argument: &'a str,
    #[serde(flatten)]
    description: Option<&'a Description>,
}

#[derive(Serialize)]
struct Program<'a> {
    program: &'a str,
    promise: &'a str,
    seed: u64,
    replay: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    history: Option<String>,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    missing: Option<&'a [&'static str]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    notes: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    run: Option<Ran<'a>>,
}

#[derive(Serialize)]
struct Ran<'a> {
    workers: u32,
    elapsed_s: f64,
    sessions: u64,
    processes: u64,
    operations: Counts,
    operations_per_s: f64,
    errors: BTreeMap<&'static str, u64>,
    faults: &'a BTreeMap<&'static str, u64>,
    latency: Percentiles,
    latencies: Vec<Kind>,
    checks: Vec<Check<'a>>,
}

#[derive(Serialize)]
struct Counts {
    all: u64,
    ok: u64,
    fail: u64,
    info: u64,
}

#[derive(Serialize)]
struct Kind {
    op: &'static str,
    ok: u64,
    fail: u64,
    info: u64,
    latency: Percentiles,
}

#[derive(Serialize)]
struct Percentiles {
    count: u64,
    p50_ns: u64,
    p90_ns: u64,
    p99_ns: u64,
    p999_ns: u64,
    max_ns: u64,
}

#[derive(Serialize)]
struct Check<'a> {
    #[serde(flatten)]
    spec: &'a CheckSpec,
    claim: &'static str,
    verdict: &'static str,
    examined: u64,
    violation_count: u64,
    violations: Vec<Violation<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unknown: Option<&'a str>,
}

#[derive(Serialize)]
struct Violation<'a> {
    message: &'a str,
    operations: Vec<Evidence<'a>>,
}

#[derive(Default, Serialize)]
struct Evidence<'a> {
    id: u64,
    #[serde(flatten)]
    known: Option<Known<'a>>,
}

#[derive(Serialize)]
struct Known<'a> {
    session: u64,
    worker: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    task: Option<u64>,
    op: &'a Op,
    invoked_ns: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    completed_ns: Option<u64>,
    #[serde(flatten)]
    end: Ended<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    commit: Option<u64>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
enum Ended<'a> {
    Ok(&'a Value),
    Fail(&'a Failure),
    Info(&'a Failure),
}

fn document(report: &Report) -> Document<'_> {
    let environment = report.environment.iter();
    Document {
        report: 1,
        harness: env!("CARGO_PKG_VERSION"),
        command: &report.command,
        verdict: super::word(report.verdict()),
        exit_code: report.exit_code(),
        counts: report.counts(),
        driver: Driver {
            argument: &report.driver,
            description: report.description.as_ref(),
        },
        environment: environment
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect(),
        seed: report.seed,
        started_unix_s: report.started_unix_s,
        elapsed_s: report.elapsed.as_secs_f64(),
        programs: report.programs.iter().map(program).collect(),
    }
}

fn program(program: &RunReport) -> Program<'_> {
    let (mut missing, mut error, mut run) = (None, None, None);
    match &program.outcome {
        Outcome::Judged(judged) => run = Some(ran(judged)),
        Outcome::NotOffered { missing: not_there } => missing = Some(not_there.as_slice()),
        Outcome::HarnessError { message } => error = Some(message.as_str()),
    }
    Program {
        program: &program.program,
        promise: &program.promise,
        seed: program.seed,
        replay: &program.replay,
        history: program
            .history
            .as_ref()
            .map(|path| path.display().to_string()),
        outcome: program.word(),
        missing,
        error,
        notes: &program.notes,
        run,
    }
}

fn ran(judged: &Judged) -> Ran<'_> {
    let summary = &judged.summary;
    let kinds = summary.kinds.iter().map(|kind| Kind {
        op: kind.op,
        ok: kind.ok,
        fail: kind.fail,
        info: kind.info,
        latency: percentiles(&kind.latency),
    });
    let errors = summary.errors.iter();
    Ran {
        workers: judged.header.workers,
        elapsed_s: judged.elapsed.as_secs_f64(),
        sessions: summary.sessions,
        processes: summary.processes,
        operations: Counts {
            all: summary.operations,
            ok: summary.ok,
            fail: summary.fail,
            info: summary.info,
        },
        operations_per_s: judged.operations_per_s(),
        errors: errors.map(|(code, count)| (code.name(), *count)).collect(),
        faults: &summary.faults,
        latency: percentiles(&summary.latency),
        latencies: kinds.collect(),
        checks: judged
            .results
            .iter()
            .map(|result| check(judged, result))
            .collect(),
    }
}

fn percentiles(latency: &Latency) -> Percentiles {
    Percentiles {
        count: latency.count,
        p50_ns: latency.p50_ns,
        p90_ns: latency.p90_ns,
        p99_ns: latency.p99_ns,
        p999_ns: latency.p999_ns,
        max_ns: latency.max_ns,
    }
}

fn check<'a>(judged: &'a Judged, result: &'a CheckResult) -> Check<'a> {
    let violations = result.violations.iter().map(|violation| Violation {
        message: &violation.message,
        operations: violation
            .operations
            .iter()
            .map(|id| Evidence {
                id: *id,
                known: judged.excerpt.operation(*id).map(known),
            })
            .collect(),
    });
    Check {
        spec: &result.spec,
        claim: statement(&result.spec),
        verdict: super::word(result.verdict),
        examined: result.examined,
        violation_count: result.violation_count,
        violations: violations.collect(),
        unknown: result.unknown.as_deref(),
    }
}

fn known(operation: &Operation) -> Known<'_> {
    Known {
        session: operation.session,
        worker: operation.worker,
        task: operation.task,
        op: &operation.op,
        invoked_ns: operation.invoked_ns,
        completed_ns: operation.completed_ns,
        end: match &operation.outcome {
            End::Ok { value, .. } => Ended::Ok(value),
            End::Fail(failure) => Ended::Fail(failure),
            End::Info(failure) => Ended::Info(failure),
        },
        commit: operation.commit(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;
    use serde_json::json;

    fn written(report: &Report) -> (String, Value) {
        let mut bytes = Vec::new();
        write_json(report, &mut bytes).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        let value = serde_json::from_str(&text).unwrap();
        (text, value)
    }

    #[test]
    fn what_was_found_is_there_with_its_operations() {
        let report = fixture::suite(vec![("lost-update", fixture::lost_update())]);
        let (_, value) = written(&report);
        assert_eq!(
            (&value["verdict"], &value["exit_code"]),
            (&json!("fail"), &json!(1))
        );
        assert_eq!(value["counts"]["not-offered"], json!(1));
        let run = &value["programs"][0]["run"];
        assert_eq!(
            run["operations"],
            json!({"all": 17, "ok": 15, "fail": 1, "info": 1})
        );
        assert_eq!(run["faults"], json!({"kill": 1, "stop": 1}));
        let check = &run["checks"][0];
        assert_eq!(
            (&check["check"], &check["key"]),
            (&json!("counter"), &json!("n"))
        );
        let first = &check["violations"][0]["operations"][0];
        assert_eq!(first["op"]["op"], json!("dict-get"));
        assert_eq!((&first["ok"], &first["worker"]), (&json!(1), &json!(1)));
        assert_eq!(
            value["programs"][1]["missing"],
            json!(["log-follow", "clock"])
        );
        assert_eq!(value["programs"][2]["outcome"], json!("harness-error"));
    }

    #[test]
    fn fields_come_in_the_order_of_the_page() {
        let report = fixture::suite(vec![("lost-update", fixture::lost_update())]);
        let (text, _) = written(&report);
        let at = |name: &str| {
            let field = format!("\"{name}\":");
            text.find(&field)
                .unwrap_or_else(|| panic!("{name} is missing"))
        };
        let order = [
            "report",
            "harness",
            "command",
            "verdict",
            "exit_code",
            "counts",
            "driver",
            "environment",
            "seed",
            "started_unix_s",
            "elapsed_s",
            "programs",
            "program",
            "promise",
            "replay",
            "history",
            "outcome",
            "run",
            "workers",
            "sessions",
            "processes",
            "operations",
            "operations_per_s",
            "errors",
            "faults",
            "latency",
            "latencies",
            "checks",
            "claim",
            "examined",
            "violation_count",
            "violations",
            "message",
        ];
        assert!(order.map(at).is_sorted(), "{text}");
        assert_eq!(text, written(&report).0, "twice the same");
    }

    #[test]
    fn a_name_that_the_report_did_not_keep_is_a_number() {
        let mut run = fixture::lost_update();
        run.results[0].violations[0].operations = vec![999];
        let report = fixture::suite(vec![("p", run)]);
        let (_, value) = written(&report);
        let check = &value["programs"][0]["run"]["checks"][0];
        assert_eq!(check["violations"][0]["operations"], json!([{"id": 999}]));
    }

    #[test]
    fn hostile_text_is_text() {
        let (_, value) = written(&fixture::hostile());
        assert_eq!(value["command"], json!(fixture::HOSTILE));
    }
}
