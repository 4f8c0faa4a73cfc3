//! The demo: many component instances in several host processes, a native
//! process and a Python process, all at once on one database file; three cases,
//! and whether nothing was lost.
//!
//! ```text
//! main.rs                     the evening's programme, the exit code
//!  ├─ increments.rs batches.rs timeouts.rs   a case each: work, orders, evidence
//!  │    └─ *_verdict.rs         pure checks of recordings
//!  ├─ processes.rs ── protocol.rs ── child.rs   both ends of the pipes
//!  │    worker_instance.rs worker_native.rs (store.rs)  worker_python.rs
//!  └─ observer.rs final_state.rs   the file as native SQLite sees it
//! ```
//!
//! What must stay true:
//! - A process opens the file either through a host or through stock SQLite,
//!   never both. This one, the demo's own, is of the second kind.
//! - Verdicts rest on what the workers recorded and on plain SQL, not on
//!   `beaver-core`.
//! - Whatever fails (a check, a child, a pipe) makes the exit code 1.

mod args;
mod batches;
mod batches_verdict;
mod child;
mod final_state;
mod increments;
mod observer;
mod processes;
mod progress;
mod protocol;
mod store;
mod table;
mod timeouts;
mod timeouts_verdict;
mod verdict;
mod worker_instance;
mod worker_native;
mod worker_python;

use anyhow::{Context as _, Result, bail};
use args::{Demo, HOST_PROCESS, NATIVE_PROCESS, Task};
use final_state::Expected;
use observer::Observer;
use processes::Crew;
use progress::Progress;
use protocol::Event;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};
use table::Row;
use verdict::Kind;
use worker_python::Python;

/// What the cases play on.
pub(crate) struct Stage {
    pub(crate) crew: Crew,
    pub(crate) observer: Observer,
    pub(crate) progress: Progress,
}

/// How much of each case there is.
struct Amounts {
    increments: Duration,
    filled_items: u64,
    mixed_items: u64,
    /// How long items are put at most, in each of the two queues.
    put: Duration,
}

const FULL: Amounts = Amounts {
    increments: Duration::from_secs(12),
    filled_items: 6_000,
    mixed_items: 6_000,
    put: Duration::from_secs(5),
};
const QUICK: Amounts = Amounts {
    increments: Duration::from_secs(3),
    filled_items: 1_000,
    mixed_items: 1_000,
    put: Duration::from_secs(1),
};

fn main() -> ExitCode {
    let result = match args::parse(std::env::args_os().skip(1)) {
        Ok(Task::Help) => {
            print!("{}", args::USAGE);
            return ExitCode::SUCCESS;
        }
        Ok(Task::HostProcess {
            database,
            instances,
        }) => as_child(worker_instance::run(&database, instances)),
        Ok(Task::NativeProcess { database, workers }) => {
            as_child(worker_native::run(&database, workers))
        }
        Ok(Task::Demo(settings)) => demo(&settings),
        Err(error) => Err(anyhow::anyhow!("{error:#} (try --help)")),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Tells the demo, too, why this child can't go on.
fn as_child(result: Result<()>) -> Result<bool> {
    if let Err(error) = &result {
        child::emit(&Event::Failed {
            message: format!("{error:#}"),
        });
    }
    result.map(|()| true)
}

fn demo(settings: &Demo) -> Result<bool> {
    let started = Instant::now();
    let scratch = tempfile::Builder::new()
        .prefix("beaver-demo-")
        .tempdir()
        .context("making a directory for the demo")?;
    let database = database_path(settings, scratch.path())?;
    let python = match Python::find(scratch.path()) {
        Ok(python) => Some(python),
        Err(reason) => {
            println!("No Python process takes part: {reason:#}.");
            None
        }
    };
    println!(
        "{} instances in {} host processes, 1 native process with {} threads{}, one file: {}",
        settings.instances,
        settings.processes,
        worker_native::WORKERS,
        if python.is_some() {
            ", 1 Python process"
        } else {
            ""
        },
        database.display()
    );

    let mut progress = Progress::new();
    let crew = assemble(settings, &database, python.as_ref(), &mut progress)?;
    let mut stage = Stage {
        crew,
        observer: Observer::open(&database)?,
        progress,
    };
    let amounts = if settings.quick { &QUICK } else { &FULL };
    let mut rows = Vec::new();
    let played = play(&mut stage, amounts, &mut rows);
    // The order matters: everybody is gone before the last look.
    let Stage {
        crew,
        observer,
        mut progress,
    } = stage;
    progress.clear();
    drop(crew);
    drop(observer);

    if !rows.is_empty() {
        println!("\n{}", table::render(&rows));
    }
    played.context("the demo could not be finished")?;
    let expected = expected(&rows);
    let (told, last) = final_state::check(&database, python.as_ref(), &expected)?;
    for line in told {
        println!("{line}");
    }
    for reason in last.reasons() {
        println!("  - {reason}");
    }
    let passed = last.passed() && rows.iter().all(|row| row.verdict.passed());
    println!(
        "{} in {:.1} s",
        if passed { "Passed" } else { "FAILED" },
        started.elapsed().as_secs_f64()
    );
    Ok(passed)
}

fn database_path(settings: &Demo, scratch: &Path) -> Result<PathBuf> {
    let directory = match &settings.keep {
        None => scratch.to_owned(),
        Some(directory) => std::fs::create_dir_all(directory)
            .and_then(|()| directory.canonicalize())
            .with_context(|| format!("the directory {}", directory.display()))?,
    };
    let database = directory.join("demo.db");
    if database.exists() {
        bail!(
            "{} is there already; the demo wants a new file",
            database.display()
        );
    }
    Ok(database)
}

/// Starts everybody and waits until all have the file open: nobody starts
/// working before.
fn assemble(
    settings: &Demo,
    database: &Path,
    python: Option<&Python>,
    progress: &mut Progress,
) -> Result<Crew> {
    progress.phase("starting processes");
    let mut crew = Crew::new();
    let program = std::env::current_exe().context("finding this program")?;
    for number in 0..settings.processes {
        let instances = share(settings.instances, settings.processes, number);
        let mut command = Command::new(&program);
        command
            .arg(HOST_PROCESS)
            .arg(database)
            .arg(instances.to_string());
        crew.start(
            command,
            &format!("host {number}"),
            Kind::Instance,
            instances,
        )?;
        if number == 0 {
            // The first compiles the component, the others find it in the
            // cache; and it makes the file, which Python could not do amid others.
            crew.await_ready()?;
        }
    }
    let mut command = Command::new(&program);
    command
        .arg(NATIVE_PROCESS)
        .arg(database)
        .arg(worker_native::WORKERS.to_string());
    crew.start(command, "native", Kind::Native, worker_native::WORKERS)?;
    if settings.processes == 0 {
        crew.await_ready()?;
    }
    if let Some(python) = python {
        crew.start(python.worker(database), "Python", Kind::Python, 1)?;
    }
    crew.await_ready()?;
    Ok(crew)
}

/// How many of `total` fall to one of `parts`.
fn share(total: usize, parts: usize, number: usize) -> usize {
    total / parts + usize::from(number < total % parts)
}

/// The three cases, then the orderly end. What was finished is in `rows` even
/// if something breaks on the way.
fn play(stage: &mut Stage, amounts: &Amounts, rows: &mut Vec<Row>) -> Result<()> {
    rows.push(increments::run(stage, amounts.increments)?);
    rows.push(batches::run_filled(
        stage,
        amounts.filled_items,
        amounts.put,
    )?);
    rows.push(batches::run_mixed(stage, amounts.mixed_items, amounts.put)?);
    rows.extend(timeouts::run(stage)?);
    stage.progress.phase("everybody closes the file");
    stage.crew.quit()
}

/// What the table says must be in the file.
fn expected(rows: &[Row]) -> Expected {
    let operations = |unit: &str| {
        let row = rows.iter().find(|row| row.unit == unit);
        row.map_or(0, |row| row.operations)
    };
    Expected {
        counter: operations(increments::UNIT),
        log_length: operations(timeouts::UNIT_GRANTS),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instances_are_shared_out_without_a_rest() {
        for (total, parts) in [(64, 4), (10, 3), (3, 3), (1, 1)] {
            let shares: Vec<usize> = (0..parts)
                .map(|number| share(total, parts, number))
                .collect();
            assert_eq!(shares.iter().sum::<usize>(), total);
            assert!(shares.iter().max().unwrap() - shares.iter().min().unwrap() <= 1);
        }
    }
}
