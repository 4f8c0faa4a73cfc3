//! The models of what threads share, run by the model checker loom.
//!
//! What must stay true: `test` runs the same models as `loom`, only not as deep; and a package
//! in which no model ran has failed, or a renamed module would pass for a checked one.

use std::process::ExitCode;

use anyhow::{Result, ensure};

use crate::counted::run_and_count;
use crate::process::cargo;

/// What every model's path has in it, and no other test's.
const FILTER: &str = "loom_models";
/// loom's own variable: how often threads may be interrupted where they could have gone on.
const PREEMPTIONS_ENV: &str = "LOOM_MAX_PREEMPTIONS";
/// Ours: there is no such bound. (The largest models have one of their own, which this raises.)
const EXHAUSTIVE_ENV: &str = "BEAVER_LOOM_EXHAUSTIVE";

/// The packages with models. They are ordinary tests, which `test` runs with all others, as deep
/// as they go by themselves.
const PACKAGES: &[&str] = &["beaver-core", "beaver-host-models"];

/// Runs all models to the end, the largest to four preemptions, or all as deep as `LOOM_MAX_PREEMPTIONS` says.
pub(crate) fn run() -> Result<ExitCode> {
    for package in PACKAGES {
        let mut tests = cargo();
        tests
            .args(["test", "--package", package, "--tests"])
            .args(["--", "--nocapture", FILTER])
            // A fault that is caught panics; nobody needs to know where from.
            .env("RUST_BACKTRACE", "0");
        if std::env::var_os(PREEMPTIONS_ENV).is_none() {
            tests.env(EXHAUSTIVE_ENV, "1");
        }
        let (ran, failed) = run_and_count(&mut tests)?;
        if let Some(code) = failed {
            return Ok(code);
        }
        ensure!(ran > 0, "no model ran in {package}");
    }
    Ok(ExitCode::SUCCESS)
}
