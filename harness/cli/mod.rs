//! The command line.
//!
//! What must stay true: the exit code is 0 if all passed, 1 if something is certainly wrong, 2 if
//! nobody knows or the harness itself failed.

mod args;
mod check;
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
    #[cfg(feature = "component")]
    if std::env::args_os()
        .nth(1)
        .is_some_and(|first| first == "sim")
    {
        let args: Vec<_> = std::env::args_os().skip(2).collect();
        let done = match args.split_first() {
            Some((first, rest)) if first == "sweep" => {
                sim::sweep::parse(rest.to_vec()).and_then(|sweep| sim::sweep::run(&sweep))
            }
            Some((first, rest)) if first == "calibrate" => sim::calibrate(rest),
            _ => sim::parse(args).and_then(|sim| sim::run(&sim)),
        };
        return done.unwrap_or_else(|error| {
            output::note(format_args!("beaver-harness: {error:#}"));
            ExitCode::from(EXIT_UNKNOWN)
        });
    }
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
        Command::CheckDriver(which) => drivers::check(&which),
        Command::List(list) => list::list(&list),
        Command::Shrink(run) => shrink::shrink(*run),
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
