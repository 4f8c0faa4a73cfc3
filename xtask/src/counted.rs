//! Runs of `cargo test` that are worth something only if tests ran.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result};

use crate::process::exit_code;

/// How many tests ran, and the exit code if something failed.
pub(crate) fn run_and_count(tests: &mut Command) -> Result<(usize, Option<ExitCode>)> {
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
