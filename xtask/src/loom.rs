//! The models of what threads share, run by the model checker loom.
//!
//! What must stay true: `test` runs the same models as `loom`, only not as deep; and a package
//! in which no model ran has failed, or a renamed module would pass for a checked one.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, ensure};

use crate::process::{cargo, exit_code};

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

/// How many tests ran, and the exit code if something failed.
fn run_and_count(tests: &mut Command) -> Result<(usize, Option<ExitCode>)> {
    let mut child = tests
        .stdout(Stdio::piped())
        .spawn()
        .context("could not start cargo")?;
    let mut ran = 0;
    if let Some(stdout) = child.stdout.take() {
        let mut ours = std::io::stdout().lock();
        for line in BufReader::new(stdout).lines() {
            let line = line.context("reading the tests' output")?;
            ran += passed(&line).unwrap_or(0);
            writeln!(ours, "{line}")?;
        }
    }
    let status = child.wait().context("waiting for cargo")?;
    Ok((ran, (!status.success()).then(|| exit_code(status))))
}

/// How many tests passed, in a test binary's last line.
fn passed(line: &str) -> Option<usize> {
    let rest = line.strip_prefix("test result: ok. ")?;
    rest.split_once(" passed")?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::passed;

    #[test]
    fn a_test_binary_says_how_many_passed() {
        let line = "test result: ok. 41 passed; 0 failed; 0 ignored; finished in 0.17s";
        assert_eq!(passed(line), Some(41));
        assert_eq!(passed("test result: FAILED. 40 passed; 1 failed"), None);
        assert_eq!(passed("test loom_models::one ... ok"), None);
    }
}
