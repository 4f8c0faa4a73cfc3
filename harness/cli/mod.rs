//! The command line.
//!
//! What must stay true: the exit code is 0 if all passed, 1 if something is certainly wrong, 2 if
//! nobody knows or the harness itself failed.

mod args;
mod check;
mod crash;
mod drivers;
mod interrupt;
mod list;
mod output;
mod progress;
mod replay;
mod run;
mod shrink;
#[cfg(feature = "component")]
mod sim;
mod usage;

use args::Command;
use std::process::ExitCode;

/// Nobody knows, or the harness failed.
pub(crate) const EXIT_UNKNOWN: u8 = 2;

pub(crate) fn main() -> ExitCode {
    let command = match args::parse(std::env::args_os().skip(1)) {
        Ok(command) => command,
        Err(error) => {
            output::note(format_args!(
                "beaver-harness: {error:#}\n\n`beaver-harness help` tells more"
            ));
            return ExitCode::from(EXIT_UNKNOWN);
        }
    };
    let done = match command {
        Command::Help => output::say_all(usage::USAGE)
            .map(|()| ExitCode::SUCCESS)
            .map_err(anyhow::Error::from),
        Command::Run(run) => run::run(*run),
        Command::Check(check) => check::check(&check),
        Command::Crash(asked) => crash::crash(*asked),
        Command::CheckDriver(which) => drivers::check(&which),
        Command::List(list) => list::list(&list),
        Command::Shrink(run) => shrink::shrink(*run),
        #[cfg(feature = "component")]
        Command::Sim(asked) => sim::run(&asked),
        Command::Serve(which) => drivers::serve(&which),
        Command::KeepWriteLock { database, duration } => {
            beaver_harness::run::keep_write_lock(&database, duration).map(|()| ExitCode::SUCCESS)
        }
    };
    done.unwrap_or_else(|error| {
        output::note(format_args!("beaver-harness: {error:#}"));
        ExitCode::from(EXIT_UNKNOWN)
    })
}
