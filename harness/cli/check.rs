//! `beaver-harness check`: judges histories again.

use super::args::Check;
use super::run;
use anyhow::{Context as _, Result};
use beaver_harness::check::judge;
use beaver_harness::history;
use beaver_harness::report::{self, Outcome, Report, Run, RunReport};
use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

pub(crate) fn check(check: &Check) -> Result<ExitCode> {
    let began = Instant::now();
    let mut report = Report {
        command: "beaver-harness check".to_owned(),
        ..Report::default()
    };
    let shown_max = report::operations_per_program(check.files.len());
    for file in &check.files {
        report
            .programs
            .push(one(file, shown_max, &mut report.driver)?);
    }
    report.elapsed = began.elapsed();
    run::write(&report, &check.outputs)?;
    report::print_table(&report)?;
    Ok(ExitCode::from(report.exit_code()))
}

fn one(file: &Path, shown_max: usize, driver: &mut String) -> Result<RunReport> {
    let context = || file.display().to_string();
    let read = BufReader::with_capacity(1 << 20, File::open(file).with_context(context)?);
    let history = history::read(read).with_context(context)?;
    let header = &history.header;
    if driver.is_empty() {
        *driver = format!("{} {}", header.driver.name, header.driver.version);
    }
    let about = RunReport {
        program: header.program.clone(),
        promise: header.promise.clone(),
        seed: header.seed,
        replay: header.replay.clone(),
        history: Some(file.to_owned()),
        notes: String::new(),
        outcome: Outcome::HarnessError {
            message: String::new(),
        },
    };
    let results = judge(&history);
    let elapsed = Duration::from_nanos(history.end_ns());
    let judged = Run {
        history,
        results,
        elapsed,
    }
    .condense(shown_max);
    Ok(RunReport {
        outcome: Outcome::Judged(Box::new(judged)),
        ..about
    })
}
