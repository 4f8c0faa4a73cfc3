//! Runs programs on a driver and judges them: what the command line and `cargo test` use.
//!
//! ```no_run
//! use beaver_harness::driver::StdioDriver;
//! use beaver_harness::suite::{self, Options};
//!
//! // Any command that speaks PROTOCOL.md.
//! let driver = StdioDriver::new("python3").arg("my_driver.py");
//! suite::assert(&driver, "dict-increment", &Options::default());
//! ```

mod cargo_test;

pub use cargo_test::{SECONDS, SEED, assert};
#[doc(hidden)]
pub use cargo_test::{offers_something, test};

use crate::catalog;
use crate::check::{CheckResult, Verdict, judge};
use crate::driver::Driver;
use crate::program::Plan;
use crate::report::{Outcome, Run, RunReport};
use crate::run::{self, FaultKind, Progress, RunError, Settings};
use crate::workload;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How to run a suite.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many workers a workload has. Scenarios have their own.
    pub workers: u32,
    /// What all random choices come from.
    pub seed: u64,
    /// How each program runs. Its seed and its duration are set from these options.
    pub run: Settings,
    /// How long a workload runs. Scenarios end by themselves.
    pub duration: Duration,
    /// Where histories are kept; none: nowhere.
    pub histories: Option<PathBuf>,
    /// How many operations of each program a report shows at most.
    pub shown_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            workers: 8,
            seed: 1,
            run: Settings::default(),
            duration: Duration::from_secs(3),
            histories: None,
            shown_max: 100_000,
        }
    }
}

/// Runs the program of this name.
///
/// # Errors
/// There is none.
pub fn run_named(
    driver: &dyn Driver,
    name: &str,
    options: &Options,
    progress: &Progress,
) -> Result<RunReport, String> {
    let plan = catalog::plan(name, options.workers, options.seed)
        .ok_or_else(|| format!("there is no workload or scenario {name:?}"))?;
    Ok(run_plan(driver, &plan, options, progress))
}

/// How `options` let a plan run.
pub fn settings(plan: &Plan, options: &Options) -> Settings {
    let mut settings = Settings {
        seed: options.seed,
        ..options.run.clone()
    };
    // The steps of a program written down end by themselves.
    if plan.frame.workers.is_empty() {
        // Enough faults end a run as well.
        settings.duration = settings.faults_max.is_none().then_some(options.duration);
        if let Some(workload) = workload::named(&plan.frame.name) {
            let fit = |fault: &FaultKind| {
                // All at once is the same to each.
                let like = match fault {
                    FaultKind::KillAll => &FaultKind::Kill,
                    other => other,
                };
                !workload.unfit.contains(like)
            };
            settings.faults.retain(fit);
        }
    } else {
        settings.duration = None;
        // Faults from outside would break what a scenario shows.
        settings.faults.clear();
        settings.faults_max = None;
    }
    settings
}

/// Creates a file and its folder. Whoever is done takes an empty folder away, maybe between the two.
fn create_within(folder: &Path, path: &Path) -> io::Result<File> {
    let mut tries = 100;
    loop {
        tries -= 1;
        match std::fs::create_dir_all(folder).and_then(|()| File::create(path)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && tries > 0 => {}
            created => return created,
        }
    }
}

/// Runs a plan and judges it.
pub fn run_plan(
    driver: &dyn Driver,
    plan: &Plan,
    options: &Options,
    progress: &Progress,
) -> RunReport {
    let settings = settings(plan, options);
    let mut report = RunReport {
        program: plan.frame.name.clone(),
        promise: plan.frame.promise.clone(),
        seed: options.seed,
        replay: settings.replay.clone(),
        history: None,
        notes: String::new(),
        outcome: Outcome::HarnessError {
            message: String::new(),
        },
    };
    let mut file: Option<Box<dyn Write + Send>> = None;
    if let Some(folder) = &options.histories {
        let path = folder.join(format!("{}-{}.jsonl", plan.frame.name, options.seed));
        match create_within(folder, &path) {
            Ok(created) => file = Some(Box::new(BufWriter::new(created))),
            Err(error) => {
                let message = format!("{}: {error}", path.display());
                report.outcome = Outcome::HarnessError { message };
                return report;
            }
        }
        report.history = Some(path);
    }
    match run::run(driver, plan, &settings, progress, file) {
        Ok(ran) => {
            report.notes = ran.notes;
            let mut results = judge(&ran.history);
            if progress.halt.load(Ordering::Relaxed) {
                results.iter_mut().for_each(CheckResult::is_of_a_part);
            }
            let failed = results.iter().any(|result| result.verdict == Verdict::Fail);
            // What is certainly wrong stays so, whatever else went wrong.
            report.outcome = if failed || ran.troubles.is_empty() {
                let run = Run {
                    history: ran.history,
                    results,
                    elapsed: ran.at_work,
                };
                Outcome::Judged(Box::new(run.condense(options.shown_max)))
            } else {
                Outcome::HarnessError {
                    message: ran.troubles.join("\n"),
                }
            };
        }
        Err(RunError::NotOffered(missing)) => {
            if let Some(path) = report.history.take() {
                // Nothing has been written to it.
                let _ = std::fs::remove_file(path);
            }
            report.outcome = Outcome::NotOffered { missing };
        }
        Err(error) => {
            report.outcome = Outcome::HarnessError {
                message: error.to_string(),
            };
        }
    }
    report
}
