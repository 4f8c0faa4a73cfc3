//! `beaver-harness run`.

use super::EXIT_UNKNOWN;
use super::args::{self, Outputs, Run};
use super::drivers;
use super::interrupt::Interrupt;
use super::output;
use super::progress::Live;
use super::replay;
use anyhow::{Context as _, Result, bail, ensure};
use beaver_harness::catalog::{self, Entry};
use beaver_harness::check::Verdict;
use beaver_harness::driver::Driver;
use beaver_harness::program::{Plan, Program};
use beaver_harness::protocol::Description;
use beaver_harness::report::{self, Report};
use beaver_harness::run::{self as runner, FaultKind, Settings};
use beaver_harness::suite::{self, Options};
use std::fs::File;
use std::io::BufWriter;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

pub(crate) fn run(run: Run) -> Result<ExitCode> {
    let began = Instant::now();
    if let Some(folder) = &run.keep {
        runner::refuse_database(folder)?;
    }
    let interrupt = Interrupt::watch()?;
    let driver = drivers::open(&run.which)?;
    let mut options = options(&run)?;
    let description = describe(&interrupt, driver.as_ref(), &options.run)?;
    options.run.description = Some(description.clone());
    options.run.faults = faults(&run, driver.as_ref(), &description)?;
    let programs = programs(&run)?;
    ensure!(
        run.keep.is_none() || programs.len() == 1,
        "--keep is for one program"
    );
    let mut report = Report {
        command: replay::command_line(&run.given),
        driver: driver.name(),
        description: Some(description),
        seed: Some(options.seed),
        started_unix_s: SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0.0, |since| since.as_secs_f64()),
        environment: environment(),
        ..Report::default()
    };
    if !run.quiet {
        output::note(format_args!(
            "{} on {}, seed {}",
            plural(programs.len()),
            report.driver,
            options.seed
        ));
    }
    let rounds = run.repeat_for.map(|time| began + time);
    options.shown_max = report::operations_per_program(programs.len());
    'rounds: loop {
        for chosen in &programs {
            if interrupt.by().is_some() {
                break 'rounds;
            }
            let name = chosen.name();
            options.run.replay = replay::replay(&run, name, options.seed);
            let live = Live::show(format!("{name} (seed {})", options.seed), run.quiet);
            interrupt.ends(&live.progress);
            let outcome = match chosen {
                Chosen::Named(entry) => {
                    suite::run_named(driver.as_ref(), &entry.name, &options, &live.progress)
                        .map_err(anyhow::Error::msg)?
                }
                Chosen::Written(program) => suite::run_plan(
                    driver.as_ref(),
                    &Plan::from((**program).clone()),
                    &options,
                    &live.progress,
                ),
            };
            drop(live);
            report.programs.push(outcome);
            if rounds.is_some_and(|until| Instant::now() >= until) {
                break 'rounds;
            }
        }
        if rounds.is_none() {
            break;
        }
        options.seed = options.seed.wrapping_add(1);
    }
    report.elapsed = began.elapsed();
    let interrupted = interrupt.by().map(|signal| {
        let ran = plural(report.programs.len());
        format!("by {signal}, after {ran} of {}", programs.len())
    });
    if let Some(how) = &interrupted {
        let how = ("interrupted".to_owned(), how.clone());
        report.environment.push(how);
    }
    write(&report, &run.outputs)?;
    output::read_or_not(report::print_table(&report))?;
    Ok(match interrupted {
        Some(how) if report.verdict() != Verdict::Fail => {
            output::note(format_args!("beaver-harness: interrupted {how}"));
            ExitCode::from(EXIT_UNKNOWN)
        }
        _ => ExitCode::from(report.exit_code()),
    })
}

/// What the driver says of itself, unless somebody doesn't want to wait for it.
pub(super) fn describe(
    interrupt: &Interrupt,
    driver: &dyn Driver,
    settings: &Settings,
) -> Result<Description> {
    let said = std::thread::scope(|scope| {
        let says = scope.spawn(|| runner::describe(driver, settings));
        while !says.is_finished() {
            if interrupt.by().is_some() {
                driver.give_up_starts();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        says.join()
    });
    if let Some(signal) = interrupt.by() {
        bail!("interrupted by {signal} while the driver started");
    }
    let said = said.map_err(|_| anyhow::anyhow!("the driver panicked"))?;
    Ok(said?)
}

fn plural(count: usize) -> String {
    if count == 1 {
        "1 program".to_owned()
    } else {
        format!("{count} programs")
    }
}

/// Something to run.
pub(crate) enum Chosen {
    Named(Entry),
    Written(Box<Program>),
}

impl Chosen {
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Named(entry) => &entry.name,
            Self::Written(program) => &program.name,
        }
    }
}

/// What the command line chooses.
pub(crate) fn programs(run: &Run) -> Result<Vec<Chosen>> {
    if let Some(file) = &run.scenario {
        return Ok(vec![Chosen::Written(Box::new(read_scenario(file)?))]);
    }
    let selected =
        catalog::select(run.programs.as_deref().unwrap_or("all")).map_err(anyhow::Error::msg)?;
    ensure!(!selected.is_empty(), "--workload names nothing");
    Ok(selected.into_iter().map(Chosen::Named).collect())
}

pub(crate) fn read_scenario(file: &Path) -> Result<Program> {
    let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
    let program: Program =
        serde_json::from_str(&text).with_context(|| format!("{}: no scenario", file.display()))?;
    ensure!(
        program.program == 1,
        "{}: version {} of the format is unknown",
        file.display(),
        program.program
    );
    ensure!(
        !program.workers.is_empty(),
        "{}: a scenario has one worker or more",
        file.display()
    );
    Ok(program)
}

/// How the suite runs, faults aside.
pub(crate) fn options(run: &Run) -> Result<Options> {
    let mut options = Options {
        workers: run.workers,
        seed: run.seed.unwrap_or_else(seed_from_the_clock),
        duration: run.duration,
        histories: run.histories.clone(),
        ..Options::default()
    };
    options.run = Settings {
        steps_max: run.steps_max,
        fault_interval: run.fault_interval,
        processes: run.processes,
        patience: run.patience,
        patience_forever: run.patience_forever,
        driver_settings: run.which.settings.clone(),
        folder: run.keep.clone(),
        helper: Some(std::env::current_exe().context("the path of this executable")?),
        ..Settings::default()
    };
    if let Some(late_ms) = run.late_ms {
        options.run.bounds.late_ms = late_ms;
    }
    if let Some(handover_ms) = run.handover_ms {
        options.run.bounds.handover_ms = handover_ms;
    }
    Ok(options)
}

/// Short enough to be typed again.
pub(super) fn seed_from_the_clock() -> u64 {
    let nanos = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.subsec_nanos());
    u64::from(nanos) % 1_000_000
}

/// Which faults: those named, or for `all` those that the driver can take.
pub(crate) fn faults(
    run: &Run,
    driver: &dyn Driver,
    description: &Description,
) -> Result<Vec<FaultKind>> {
    let Some(list) = &run.faults else {
        return Ok(Vec::new());
    };
    let possible = |kind: &FaultKind| {
        kind.requires().is_none_or(|need| description.offers(need))
            && (driver.has_processes() || !kind.needs_processes())
    };
    match args::faults(list)? {
        None => Ok(FaultKind::ALL.into_iter().filter(possible).collect()),
        Some(kinds) => match kinds.iter().find(|kind| !possible(kind)) {
            Some(kind) => bail!("{} can't take the fault {kind}", driver.name()),
            None => Ok(kinds),
        },
    }
}

pub(super) fn environment() -> Vec<(String, String)> {
    let mut about = vec![(
        "Operating system".to_owned(),
        format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
    )];
    if let Ok(processors) = std::thread::available_parallelism() {
        about.push(("Processors".to_owned(), processors.to_string()));
    }
    about
}

/// Writes the files that are wanted.
pub(crate) fn write(report: &Report, outputs: &Outputs) -> Result<()> {
    let create = |path: &Path| {
        File::create(path)
            .map(BufWriter::new)
            .with_context(|| path.display().to_string())
    };
    if let Some(path) = &outputs.html {
        report::write_html(report, &mut create(path)?)?;
    }
    if let Some(path) = &outputs.junit {
        report::write_junit(report, &mut create(path)?)?;
    }
    if let Some(path) = &outputs.json {
        report::write_json(report, &mut create(path)?)?;
    }
    Ok(())
}
