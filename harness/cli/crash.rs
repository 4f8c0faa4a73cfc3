//! `beaver-harness crash`: kills of real processes until so many have hit, every file checked.
//!
//! What must stay true: a run that proved nothing ends it; what is asked for is what was done, or
//! the exit code is not 0.

use super::EXIT_UNKNOWN;
use super::args::{self, Outputs, WORKERS_MAX, Which, next, output_option, which_option};
use super::drivers;
use super::interrupt::Interrupt;
use super::output;
use super::progress::Live;
use super::replay;
use super::run::{describe, environment, seed_from_the_clock, write};
use anyhow::{Context as _, Result, ensure};
use beaver_harness::catalog;
use beaver_harness::check::{CheckSpec, Verdict};
use beaver_harness::driver::Driver;
use beaver_harness::program::Plan;
use beaver_harness::report::{self, Crashes, Report, RunReport};
use beaver_harness::run::{FaultKind, PlantedLoss, Settings};
use beaver_harness::suite::{self, Options};
use lexopt::ValueExt as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// What is done all the time.
const WORKLOAD: &str = "mixed";

/// Who is killed: one process, so that the others find out; or all, so that nobody is left.
const FAULTS: [FaultKind; 2] = [FaultKind::Kill, FaultKind::KillAll];

/// How long a lock may be out of reach because of a dead holder: less than half of any time to live
/// of the workload, so that only the noticed death can explain it.
const DEAD_HOLDER_MS: u64 = 5000;

#[derive(Debug)]
pub(crate) struct Asked {
    which: Which,
    kills: u64,
    kills_per_run: u64,
    workers: u32,
    processes: u32,
    fault_interval: Duration,
    seed: Option<u64>,
    /// None: one run with a log, the next with a rollback journal.
    journal: Option<Journal>,
    cut_commits: u32,
    histories: Option<PathBuf>,
    outputs: Outputs,
    quiet: bool,
    given: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Journal {
    Wal,
    Rollback,
}

impl Journal {
    const ALL: [Self; 2] = [Self::Wal, Self::Rollback];

    fn name(self) -> &'static str {
        match self {
            Self::Wal => "wal",
            Self::Rollback => "rollback",
        }
    }

    /// The setting of our drivers.
    fn setting(self) -> &'static str {
        match self {
            Self::Wal => "automatic",
            Self::Rollback => "rollback",
        }
    }
}

pub(super) fn parse(parser: &mut lexopt::Parser, given: Vec<String>) -> Result<Asked> {
    let mut asked = Asked {
        which: Which::default(),
        kills: 500,
        kills_per_run: 25,
        workers: 8,
        processes: 4,
        fault_interval: Duration::from_millis(150),
        seed: None,
        journal: None,
        cut_commits: 0,
        histories: None,
        outputs: Outputs::default(),
        quiet: false,
        given,
    };
    while let Some(option) = next(parser, &mut asked.which)? {
        if which_option(&option, parser, &mut asked.which)?
            || output_option(&option, parser, &mut asked.outputs)?
        {
            continue;
        }
        match option.0.as_str() {
            "kills" => asked.kills = parser.value()?.parse()?,
            "kills-per-run" => asked.kills_per_run = parser.value()?.parse()?,
            "workers" => asked.workers = parser.value()?.parse()?,
            "processes" => asked.processes = parser.value()?.parse()?,
            "fault-interval-ms" => {
                asked.fault_interval = Duration::from_millis(parser.value()?.parse()?);
            }
            "seed" => asked.seed = Some(parser.value()?.parse()?),
            "journal" => {
                let name = parser.value()?.string()?;
                let known = Journal::ALL.into_iter().find(|it| it.name() == name);
                ensure!(
                    known.is_some() || name == "both",
                    "--journal takes wal, rollback or both"
                );
                asked.journal = known;
            }
            "cut-commits" => asked.cut_commits = parser.value()?.parse()?,
            "histories" => asked.histories = Some(parser.value()?.into()),
            "quiet" => asked.quiet = true,
            _ => return Err(args::unexpected(&option)),
        }
    }
    ensure!(
        (1..=WORKERS_MAX).contains(&asked.workers) && (1..=WORKERS_MAX).contains(&asked.processes),
        "--workers and --processes take 1 to {WORKERS_MAX}"
    );
    ensure!(
        asked.kills_per_run != 0 && !asked.fault_interval.is_zero(),
        "--kills-per-run and --fault-interval-ms take 1 or more"
    );
    ensure!(
        !asked.which.settings.contains_key("journal"),
        "--journal says which journal, not --set journal"
    );
    Ok(asked)
}

pub(crate) fn crash(mut asked: Asked) -> Result<ExitCode> {
    let began = Instant::now();
    if asked.which.driver.is_none() && asked.which.command.is_empty() {
        asked.which.driver = Some("both".to_owned());
    }
    let interrupt = Interrupt::watch()?;
    let driver = drivers::open(&asked.which)?;
    ensure!(
        driver.has_processes(),
        "{} has no processes that could be killed",
        driver.name()
    );
    let first_seed = asked.seed.unwrap_or_else(seed_from_the_clock);
    let mut report = Report {
        command: replay::command_line(&asked.given),
        driver: driver.name(),
        description: Some(describe(&interrupt, driver.as_ref(), &Settings::default())?),
        seed: Some(first_seed),
        started_unix_s: SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0.0, |since| since.as_secs_f64()),
        environment: environment(),
        ..Report::default()
    };
    let mut totals = Journal::ALL.map(|journal| (journal, Crashes::default()));
    let hits = |totals: &[(Journal, Crashes); 2]| -> u64 {
        totals.iter().map(|(_, crashes)| crashes.kills).sum()
    };
    for (round, seed) in (first_seed..).enumerate() {
        let left = asked.kills.saturating_sub(hits(&totals));
        if left == 0 || interrupt.by().is_some() {
            break;
        }
        let kills = left.min(asked.kills_per_run);
        let journal = asked.journal.unwrap_or(Journal::ALL[round % 2]);
        let ran = one(&asked, &interrupt, driver.as_ref(), journal, seed, kills)?;
        let crashes = ran.judged().map_or_else(Crashes::default, |it| it.crashes);
        for (known, total) in &mut totals {
            if *known == journal {
                *total += crashes;
            }
        }
        // Another one wouldn't hit anybody either.
        let is_useless = crashes.kills == 0;
        report.programs.push(ran);
        if is_useless {
            break;
        }
    }
    report.elapsed = began.elapsed();
    for (journal, crashes) in &totals {
        if crashes.kills > 0 {
            let said = crashes.to_string();
            report.environment.push((journal.name().to_owned(), said));
        }
    }
    write(&report, &asked.outputs)?;
    output::read_or_not(report::print_table(&report))?;
    for (journal, crashes) in &totals {
        if crashes.kills > 0 {
            output::say(format_args!("{}: {crashes}", journal.name()))?;
        }
    }
    let hits = hits(&totals);
    if hits < asked.kills && report.verdict() != Verdict::Fail {
        output::note(format_args!(
            "beaver-harness: {hits} of {} kills were done",
            asked.kills
        ));
        return Ok(ExitCode::from(EXIT_UNKNOWN));
    }
    Ok(ExitCode::from(report.exit_code()))
}

/// One run with a file of its own.
fn one(
    asked: &Asked,
    interrupt: &Interrupt,
    driver: &dyn Driver,
    journal: Journal,
    seed: u64,
    kills: u64,
) -> Result<RunReport> {
    let mut plan = catalog::plan(WORKLOAD, asked.workers, seed)
        .with_context(|| format!("there is no {WORKLOAD}"))?;
    demand_prompt_recovery(&mut plan);
    let mut settings = asked.which.settings.clone();
    settings.insert("journal".to_owned(), journal.setting().into());
    let options = Options {
        workers: asked.workers,
        seed,
        histories: asked.histories.clone(),
        run: Settings {
            faults: FAULTS.to_vec(),
            faults_max: Some(kills),
            fault_interval: asked.fault_interval,
            processes: Some(asked.processes),
            planted: (asked.cut_commits > 0).then_some(PlantedLoss {
                commits: asked.cut_commits,
            }),
            driver_settings: settings,
            replay: replayed(asked, journal, seed, kills),
            ..Settings::default()
        },
        shown_max: report::operations_per_program(usize::try_from(
            asked.kills.div_ceil(asked.kills_per_run),
        )?),
        ..Options::default()
    };
    let name = format!("{WORKLOAD}, {} (seed {seed})", journal.name());
    let live = Live::show(name, asked.quiet);
    interrupt.ends(&live.progress);
    Ok(suite::run_plan(driver, &plan, &options, &live.progress))
}

/// A system that notices deaths has to hand on the locks of the dead at once.
fn demand_prompt_recovery(plan: &mut Plan) {
    for check in &mut plan.frame.checks {
        if let CheckSpec::LockLiveness { dead_holder_ms } = check {
            *dead_holder_ms = Some(DEAD_HOLDER_MS);
        }
    }
}

/// The command that does one run again.
fn replayed(asked: &Asked, journal: Journal, seed: u64, kills: u64) -> String {
    let mut args = vec!["crash".to_owned()];
    args.extend(replay::system(&asked.which));
    replay::option(&mut args, "seed", seed);
    replay::option(&mut args, "journal", journal.name());
    replay::option(&mut args, "kills", kills);
    replay::option(&mut args, "kills-per-run", kills);
    replay::option(&mut args, "workers", asked.workers);
    replay::option(&mut args, "processes", asked.processes);
    let interval_ms = asked.fault_interval.as_millis();
    replay::option(&mut args, "fault-interval-ms", interval_ms);
    if asked.cut_commits > 0 {
        replay::option(&mut args, "cut-commits", asked.cut_commits);
    }
    args.extend(replay::driver_command(&asked.which));
    replay::command_line(&args)
}
