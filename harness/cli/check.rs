//! `beaver-harness check`: judges histories again.
//!
//! What must stay true: a file that can't be read hides nothing of the others.

use super::args::Check;
use super::{output, replay, run};
use anyhow::Result;
use beaver_harness::check::judge;
use beaver_harness::history::{self, Header, History};
use beaver_harness::report::{self, Outcome, Report, Run, RunReport};
use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

pub(crate) fn check(check: &Check) -> Result<ExitCode> {
    let began = Instant::now();
    let shown_max = report::operations_per_program(check.files.len());
    let judged = check.files.iter().map(|file| one(file, shown_max));
    let programs: Vec<RunReport> = judged.collect();
    let mut report = of_all(programs);
    report.command = replay::command_line(&check.given);
    report.elapsed = began.elapsed();
    run::write(&report, &check.outputs)?;
    output::read_or_not(report::print_table(&report))?;
    Ok(ExitCode::from(report.exit_code()))
}

/// What the histories have in common is said of all of them.
fn of_all(programs: Vec<RunReport>) -> Report {
    let headers: Vec<&Header> = programs
        .iter()
        .filter_map(|program| Some(&program.judged()?.header))
        .collect();
    let mut drivers: Vec<String> = Vec::new();
    for header in &headers {
        let driver = format!("{} {}", header.driver.name, header.driver.version);
        if !drivers.contains(&driver) {
            drivers.push(driver);
        }
    }
    Report {
        driver: drivers.join(", "),
        description: common(headers.iter().map(|header| &header.driver)).cloned(),
        seed: common(headers.iter().map(|header| header.seed)),
        started_unix_s: headers
            .iter()
            .map(|header| header.unix_s)
            .min_by(f64::total_cmp)
            .unwrap_or_default(),
        programs,
        ..Report::default()
    }
}

/// What all of them are.
fn common<T: PartialEq>(mut all: impl Iterator<Item = T>) -> Option<T> {
    let first = all.next()?;
    all.all(|other| other == first).then_some(first)
}

fn one(file: &Path, shown_max: usize) -> RunReport {
    let history = match read(file) {
        Ok(history) => history,
        Err(error) => {
            return RunReport {
                program: file.display().to_string(),
                promise: String::new(),
                seed: 0,
                replay: String::new(),
                history: Some(file.to_owned()),
                notes: String::new(),
                outcome: Outcome::HarnessError {
                    message: format!("can't be read: {error:#}"),
                },
            };
        }
    };
    let header = history.header.clone();
    let results = judge(&history);
    let elapsed = Duration::from_nanos(history.end_ns());
    let run = Run {
        history,
        results,
        elapsed,
    };
    RunReport {
        program: header.program,
        promise: header.promise,
        seed: header.seed,
        replay: header.replay,
        history: Some(file.to_owned()),
        notes: String::new(),
        outcome: Outcome::Judged(Box::new(run.condense(shown_max))),
    }
}

fn read(file: &Path) -> Result<History> {
    let read = BufReader::with_capacity(1 << 20, File::open(file)?);
    Ok(history::read(read)?)
}
