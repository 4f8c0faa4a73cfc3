//! `cargo xtask bench [args]`: what the component costs.
//!
//! The component and the same core built natively do the same things in turns,
//! in one run, so that the ratio of the two means something even on a machine
//! that is busy or changes its speed. BeaverDB's Python package does beside
//! them what it can.
//!
//! The rooms: `run` is the parent, which starts processes, asks them in turns
//! and collects; `report` prints. Each side of each round is a process of its
//! own with a file of its own (`side` is its main loop), because stock SQLite
//! and a host must never have one database open in one process. `store` is
//! what both sides can do, `native` and `component` are the two, and
//! `workloads` and `lifecycle` are written once for both.
//!
//! What several workers do with one file is measured from outside: `crew` is a
//! process whose workers do what they are told, `fleet` the parent's end of
//! several, `hand_off`, `contention` and `kill` what they are told, and `line`
//! looks on. `crews` says which processes each of these needs.

mod args;
mod child;
mod clock;
mod component;
mod contention;
mod crew;
mod crews;
mod figures;
mod fleet;
mod hand_off;
mod json;
mod kill;
mod lifecycle;
mod line;
mod machine;
mod measurement;
mod native;
mod protocol;
mod recorder;
mod report;
mod run;
mod side;
mod store;
mod workloads;

use args::Task;
use std::process::ExitCode;

fn main() -> ExitCode {
    match work() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn work() -> anyhow::Result<()> {
    match args::parse(std::env::args_os().skip(1))? {
        Task::Bench(settings) => run::run(&settings),
        Task::Side(side, place) => side::serve(side, &place),
        Task::Crew(side, cache) => crew::serve(side, &cache),
        Task::Help => {
            print!("{}", args::USAGE);
            Ok(())
        }
    }
}
