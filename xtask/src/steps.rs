//! The steps of `cargo xtask test`: a heading for each, the time that it took, and a summary,
//! so that the log of a slow or failed run on a small machine says where the time went.

use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::process::{exit_code, run_live};

#[derive(Default)]
pub(crate) struct Steps {
    done: Vec<(&'static str, Duration, bool)>,
}

impl Steps {
    pub(crate) fn run<T>(
        &mut self,
        name: &'static str,
        step: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        self.timed(name, step, Result::is_ok)
    }

    /// Runs a command; its exit code comes back only when it failed.
    pub(crate) fn command(
        &mut self,
        name: &'static str,
        command: &mut Command,
    ) -> Result<Option<ExitCode>> {
        let status = self.timed(
            name,
            || run_live(command),
            |status| status.as_ref().is_ok_and(|status| status.success()),
        )?;
        Ok((!status.success()).then(|| exit_code(status)))
    }

    pub(crate) fn summary(&self) {
        let total: Duration = self.done.iter().map(|(_, time, _)| *time).sum();
        eprintln!("\n==== {:.1} s in all", total.as_secs_f64());
        for (name, time, ok) in &self.done {
            let verdict = if *ok { "ok" } else { "FAILED" };
            eprintln!("  {name:<16}{:>8.1} s  {verdict}", time.as_secs_f64());
        }
    }

    fn timed<T>(
        &mut self,
        name: &'static str,
        step: impl FnOnce() -> T,
        succeeded: impl FnOnce(&T) -> bool,
    ) -> T {
        eprintln!("\n==== {name}");
        let start = Instant::now();
        let result = step();
        let time = start.elapsed();
        self.done.push((name, time, succeeded(&result)));
        eprintln!("==== {name}: {:.1} s", time.as_secs_f64());
        result
    }
}
