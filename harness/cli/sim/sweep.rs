//! `beaver-harness sim sweep`: crashes at every host call; and `sim --scheduler exhaustive`: every
//! schedule with few switches.
//!
//! What must stay true: what ended early says how far it came, and isn't called passed.

use super::args::{Sim, defect, one_of};
use crate::cli::{EXIT_UNKNOWN, output};
use anyhow::{Context as _, Result, bail, ensure};
use beaver_harness::program::Plan;
use beaver_harness::sim::exhaustive::{self, Explored, Limits};
use beaver_harness::sim::sweep::{self, Ground, Options, Swept};
use beaver_harness::sim::{
    Blow, Defects, Fault, GIVEN_LOSSES_END, Script, Settings, Simulator, cases,
};
use lexopt::prelude::*;
use std::ffi::OsString;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

/// What can be asked of `sim sweep`.
#[derive(Clone, Debug)]
pub(crate) struct Sweep {
    component: Option<PathBuf>,
    programs: String,
    workers: u32,
    steps: u64,
    /// None: both, one after the other.
    full_durability: Option<bool>,
    rollback_journal: Option<bool>,
    processes: Option<u32>,
    /// How many schedules: one without switches, the others by seeds.
    schedules: u64,
    endings: Vec<Blow>,
    every: u64,
    jobs: u64,
    defects: Defects,
    failures_max: u64,
    quiet: bool,
}

/// Reads the arguments after `sim sweep`.
pub(crate) fn parse(args: Vec<OsString>) -> Result<Sweep> {
    let mut parser = lexopt::Parser::from_args(args);
    let mut sweep = Sweep {
        component: None,
        programs: "cases".to_owned(),
        workers: 2,
        steps: 2,
        full_durability: None,
        rollback_journal: None,
        processes: None,
        schedules: 1,
        endings: Options::default().endings,
        every: 1,
        jobs: processors(),
        defects: Defects::default(),
        failures_max: 10,
        quiet: false,
    };
    let (mut drops_after, mut losses) = (None, None);
    while let Some(arg) = parser.next()? {
        match arg {
            Long("component") => sweep.component = Some(parser.value()?.into()),
            Long("workload") => sweep.programs = parser.value()?.string()?,
            Long("case") => {
                let names = parser.value()?.string()?;
                sweep.programs = if names == "all" {
                    "cases".to_owned()
                } else {
                    names
                };
            }
            Long("workers") => sweep.workers = parser.value()?.parse()?,
            Long("steps") => sweep.steps = parser.value()?.parse()?,
            Long("durability") => sweep.full_durability = either(&mut parser, "normal", "full")?,
            Long("journal") => sweep.rollback_journal = either(&mut parser, "wal", "rollback")?,
            Long("processes") => sweep.processes = Some(parser.value()?.parse()?),
            Long("schedules") => sweep.schedules = parser.value()?.parse()?,
            Long("losses") => losses = Some(parser.value()?.parse()?),
            Long("drop-after") => {
                let text = parser.value()?.string()?;
                let numbers = text.split(',').filter(|number| !number.is_empty());
                drops_after = Some(numbers.map(str::parse).collect::<Result<Vec<u32>, _>>()?);
            }
            Long("every") => sweep.every = parser.value()?.parse()?,
            Long("jobs") => sweep.jobs = parser.value()?.parse()?,
            Long("defect") => defect(&mut sweep.defects, &parser.value()?.string()?)?,
            Long("failures") => sweep.failures_max = parser.value()?.parse()?,
            Long("quiet") => sweep.quiet = true,
            _ => bail!(arg.unexpected()),
        }
    }
    ensure!((1..=16).contains(&sweep.workers), "--workers: 1 to 16");
    let jobs_max = super::args::JOBS_MAX as u64;
    ensure!(
        (1..=jobs_max).contains(&sweep.jobs),
        "--jobs: 1 to {jobs_max}"
    );
    ensure!(sweep.every >= 1, "--every: at least 1");
    ensure!(
        (1..=1000).contains(&sweep.schedules),
        "--schedules: 1 to 1000"
    );
    if drops_after.is_some() || losses.is_some() {
        let drops_after = drops_after.unwrap_or_else(|| sweep::DROPS_AFTER.to_vec());
        let losses = losses.unwrap_or(sweep::LOSSES);
        ensure!(
            losses <= GIVEN_LOSSES_END,
            "--losses: {GIVEN_LOSSES_END} at most"
        );
        sweep.endings = sweep::endings(&drops_after, losses);
    }
    Ok(sweep)
}

fn either(parser: &mut lexopt::Parser, off: &str, on: &str) -> Result<Option<bool>> {
    match &*parser.value()?.string()? {
        "both" => Ok(None),
        text => one_of(text, off, on).map(Some),
    }
}

fn processors() -> u64 {
    thread::available_parallelism().map_or(1, |count| count.get() as u64)
}

/// One schedule of one program, in one way to keep it.
struct Job {
    name: String,
    plan: Plan,
    settings: Settings,
}

impl Sweep {
    fn jobs(&self) -> Result<Vec<Job>> {
        let mut jobs = Vec::new();
        let both = |one: Option<bool>| one.map_or(vec![false, true], |one| vec![one]);
        for name in cases::select(&self.programs).map_err(anyhow::Error::msg)? {
            for full_durability in both(self.full_durability) {
                for rollback_journal in both(self.rollback_journal) {
                    let settings = Settings {
                        steps_max: self.steps,
                        full_durability: Some(full_durability),
                        rollback_journal: Some(rollback_journal),
                        processes: self.processes,
                        defects: self.defects,
                        ..Settings::default()
                    };
                    for settings in sweep::schedules(&settings, self.schedules - 1) {
                        jobs.push(Job {
                            plan: cases::plan(&name, self.workers, settings.seed)
                                .context("a program")?,
                            name: name.clone(),
                            settings,
                        });
                    }
                }
            }
        }
        Ok(jobs)
    }
}

pub(crate) fn run(asked: &Sweep) -> Result<ExitCode> {
    let jobs = asked.jobs()?;
    let component = component(asked.component.as_deref());
    let (runs, failures) = (AtomicU64::new(0), AtomicU64::new(0));
    let shows = !asked.quiet && std::io::stderr().is_terminal();
    let parts = on_threads(&component, asked.jobs, |simulator, part| {
        let options = Options {
            endings: asked.endings.clone(),
            every: asked.every,
            part: (part, asked.jobs),
        };
        let mut swept = Vec::new();
        for (number, job) in (1..).zip(&jobs) {
            let ground = Ground::run(simulator, &job.plan, &job.settings)?;
            let mut known = 0;
            let done = sweep::sweep(simulator, &job.plan, &ground, &options, &mut |swept| {
                let new =
                    swept.failures.len() - std::mem::replace(&mut known, swept.failures.len());
                let failed = failures.fetch_add(new as u64, Ordering::Relaxed) + new as u64;
                let runs = runs.fetch_add(1, Ordering::Relaxed) + 1;
                if shows && runs.is_multiple_of(16) {
                    eprint!("\r{number}/{} {runs} runs, {failed} failed ", jobs.len());
                }
                failed < asked.failures_max
            })?;
            swept.push((ground, done));
        }
        Ok(swept)
    })?;
    if shows {
        eprintln!();
    }
    let mut parts = parts.into_iter();
    let mut whole = parts.next().unwrap_or_default();
    for part in parts {
        for ((_, sum), (_, swept)) in whole.iter_mut().zip(part) {
            sum.merge(swept);
        }
    }
    show(asked, &jobs, &whole)
}

/// Prints what came of it.
fn show(asked: &Sweep, jobs: &[Job], swept: &[(Ground, Swept)]) -> Result<ExitCode> {
    output::say(format_args!(
        "{:24} {:6} {:8} {:>8} {:>8} {:>12} {:>8} {:>9} {:>6} {:>9}",
        "program",
        "sync",
        "journal",
        "schedule",
        "calls",
        "crash points",
        "runs",
        "cut short",
        "failed",
        "undecided"
    ))?;
    let (mut failed, mut is_whole, mut undecided) = (0, true, 0);
    for (job, (ground, swept)) in jobs.iter().zip(swept) {
        let points = ground.crash_points(asked.every).count() as u64;
        let is_done = swept.runs == points * asked.endings.len() as u64;
        is_whole &= is_done;
        failed += swept.failures.len();
        undecided += swept.undecided.len();
        let schedule = match job.settings.seed {
            0 => "plain".to_owned(),
            seed => format!("seed {seed}"),
        };
        output::say(format_args!(
            "{:24} {:6} {:8} {schedule:>8} {:>8} {:>12} {:>8} {:>9} {:>6} {:>9}{}",
            job.name,
            durability(&ground.settings),
            journal(&ground.settings),
            ground.calls.iter().sum::<u64>(),
            swept.crash_points,
            swept.runs,
            swept.cut_short,
            swept.failures.len(),
            swept.undecided.len(),
            if is_done { "" } else { "  ended early" },
        ))?;
    }
    for (job, (ground, swept)) in jobs.iter().zip(swept) {
        for failure in &swept.failures {
            output::say(format_args!(
                "\n{}: {} at {}",
                job.name, failure.fault, failure.call
            ))?;
            for complaint in failure.complaints.iter().take(8) {
                output::say(format_args!("  {complaint}"))?;
            }
            for trouble in &failure.troubles {
                output::say(format_args!("  trouble: {trouble}"))?;
            }
            output::say(replay(
                &job.name,
                asked.workers,
                ground,
                Some(failure.fault),
            ))?;
        }
        for fault in swept.undecided.iter().take(4) {
            output::say(format_args!("\n{}: {fault} is undecided", job.name))?;
            output::say(replay(&job.name, asked.workers, ground, Some(*fault)))?;
        }
    }
    if !is_whole {
        output::say("\nIt ended early: not every crash point was tried.")?;
    }
    Ok(verdict(failed > 0, !is_whole || undecided > 0))
}

fn verdict(is_wrong: bool, is_unknown: bool) -> ExitCode {
    match (is_wrong, is_unknown) {
        (true, _) => ExitCode::FAILURE,
        (false, true) => ExitCode::from(EXIT_UNKNOWN),
        (false, false) => ExitCode::SUCCESS,
    }
}

fn component(asked: Option<&Path>) -> PathBuf {
    asked.map_or_else(beaver_host::default_component_path, Path::to_owned)
}

fn durability(settings: &Settings) -> &'static str {
    if settings.full_durability == Some(true) {
        "full"
    } else {
        "normal"
    }
}

fn journal(settings: &Settings) -> &'static str {
    if settings.rollback_journal == Some(true) {
        "rollback"
    } else {
        "wal"
    }
}

/// The command that does a run of it again.
fn replay(name: &str, workers: u32, ground: &Ground, fault: Option<Fault>) -> String {
    let settings = &ground.settings;
    let Script { switches, cuts } = &settings.script;
    let switches = switches.iter().map(ToString::to_string);
    let script: Vec<_> = switches
        .chain(cuts.iter().map(ToString::to_string))
        .collect();
    let defects = [
        (settings.defects.sync_does_nothing, "sync-does-nothing"),
        (settings.defects.lock_level_dropped, "lock-level-dropped"),
        (settings.defects.shm_lock_ignored, "shm-lock-ignored"),
    ];
    let defects = defects.iter().filter(|(is_there, _)| *is_there);
    let defects: String = defects
        .map(|(_, name)| format!(" --defect {name}"))
        .collect();
    format!(
        "  beaver-harness sim --workload {name} --workers {workers} --steps {} --seed {} --processes {} \
         --durability {} --journal {} --faults none{defects} --fault '{}' --script '{}' --trace",
        settings.steps_max,
        settings.seed,
        settings.processes.unwrap_or(workers),
        durability(settings),
        journal(settings),
        fault.map(|fault| fault.to_string()).unwrap_or_default(),
        script.join(","),
    )
}

/// Does the parts of something, each on a thread and with a simulator of its own.
fn on_threads<T: Send>(
    component: &Path,
    jobs: u64,
    work: impl Fn(&Simulator, u64) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> = (1..=jobs)
            .map(|part| scope.spawn(move || work(&Simulator::new(component)?, part)))
            .collect();
        let results = threads.into_iter().map(|thread| match thread.join() {
            Ok(result) => result,
            Err(_) => bail!("a thread of the harness panicked"),
        });
        results.collect()
    })
}

/// `sim --scheduler exhaustive`: as many schedules as `--seeds` says at most.
pub(super) fn explore_as(sim: &Sim, settings: Settings, switches_max: u32) -> Result<ExitCode> {
    let component = component(sim.component.as_deref());
    let names = cases::select(sim.programs.as_deref().unwrap_or("cases"));
    let jobs = sim.jobs as u64;
    let mut exit = (false, false);
    for name in names.map_err(anyhow::Error::msg)? {
        let plan = cases::plan(&name, sim.workers, sim.seed).context("a program")?;
        let mut settings = settings.clone();
        settings.kinds.clear();
        // What the seed would choose is said once, for all parts and for the replay.
        let ground = Ground::run(&Simulator::new(&component)?, &plan, &settings)?;
        settings.full_durability = ground.settings.full_durability;
        settings.rollback_journal = ground.settings.rollback_journal;
        settings.processes = ground.settings.processes;
        let failures = AtomicU64::new(0);
        let parts = on_threads(&component, jobs, |simulator, part| {
            let limits = Limits {
                switches_max,
                runs_max: sim.count() / jobs + u64::from(part <= sim.count() % jobs),
                part: (part, jobs),
            };
            let mut known = 0;
            exhaustive::explore(simulator, &plan, &settings, &limits, &mut |explored| {
                let new = explored.failures.len()
                    - std::mem::replace(&mut known, explored.failures.len());
                failures.fetch_add(new as u64, Ordering::Relaxed) + (new as u64) < sim.failures_max
            })
        })?;
        let mut parts = parts.into_iter();
        let mut explored = parts.next().unwrap_or_default();
        parts.for_each(|part| explored.merge(part));
        show_explored(&name, sim.workers, &settings, &explored)?;
        exit.0 |= !explored.failures.is_empty();
        exit.1 |= !explored.is_complete() || explored.undecided > 0;
    }
    Ok(verdict(exit.0, exit.1))
}

fn show_explored(name: &str, workers: u32, settings: &Settings, explored: &Explored) -> Result<()> {
    for (switches, level) in explored.levels.iter().enumerate() {
        let how_far = if level.is_complete {
            "all".to_owned()
        } else {
            format!("of about {}: not all", level.expected.max(level.runs))
        };
        output::say(format_args!(
            "{name}, sync {}, journal {}: schedules with {switches} switches: {}, {how_far}",
            durability(settings),
            journal(settings),
            level.runs,
        ))?;
    }
    if explored.undecided > 0 {
        output::say(format_args!("{} undecided", explored.undecided))?;
    }
    for failure in &explored.failures {
        output::say(format_args!("\n{name}:"))?;
        for complaint in failure.complaints.iter().chain(&failure.troubles).take(8) {
            output::say(format_args!("  {complaint}"))?;
        }
        let mut settings = settings.clone();
        settings.script = failure.script.clone();
        let ground = Ground {
            settings,
            calls: Vec::new(),
            trace_hash: 0,
        };
        output::say(replay(name, workers, &ground, None))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &[&str]) -> Result<Sweep> {
        parse(words.iter().map(OsString::from).collect())
    }

    #[test]
    fn unless_told_otherwise_it_is_all_cases_in_all_ways_to_keep_them() {
        let jobs = parsed(&[]).unwrap().jobs().unwrap();
        assert_eq!(jobs.len(), 3 * 2 * 2);
        let words = [
            "--case",
            "timeouts",
            "--durability",
            "full",
            "--schedules",
            "3",
        ];
        let jobs = parsed(&words).unwrap().jobs().unwrap();
        assert_eq!(jobs.len(), 2 * 3);
        assert!(jobs.iter().all(|job| job.name == "sweep-timeouts"));
        assert!(
            jobs.iter()
                .all(|job| job.settings.full_durability == Some(true))
        );
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for words in [
            ["--every", "0"],
            ["--jobs", "0"],
            ["--schedules", "0"],
            ["--losses", "1001"],
            ["--journal", "paper"],
        ] {
            assert!(parsed(&words).is_err(), "{words:?}");
        }
        assert!(parsed(&["--case", "nonsense"]).unwrap().jobs().is_err());
    }

    #[test]
    fn a_replay_is_read_again_as_what_it_was() {
        let settings = Settings {
            seed: 7,
            steps_max: 2,
            script: Script {
                switches: vec!["0@3>1".parse().unwrap()],
                cuts: vec!["1@9+300".parse().unwrap()],
            },
            full_durability: Some(true),
            rollback_journal: Some(false),
            processes: Some(1),
            ..Settings::default()
        };
        let ground = Ground {
            settings: settings.clone(),
            calls: Vec::new(),
            trace_hash: 0,
        };
        let fault = "1:4:power-loss=3".parse().unwrap();
        let text = replay("sweep-batches", 2, &ground, Some(fault));
        let words = text.split_whitespace().skip(2);
        let words = words.map(|word| OsString::from(word.trim_matches('\'')));
        let mut parser = lexopt::Parser::from_args(words);
        let sim = super::super::args::parse(&mut parser, Vec::new()).unwrap();
        assert_eq!(sim.count(), 1);
        assert_eq!(sim.programs.as_deref(), Some("sweep-batches"));
        let again = super::super::settings(&sim, sim.seed);
        assert_eq!(again.script, settings.script);
        assert_eq!(again.faults.unwrap().faults(), [fault]);
        assert!(again.kinds.is_empty());
        assert_eq!(
            (
                again.seed,
                again.full_durability,
                again.rollback_journal,
                again.processes
            ),
            (7, Some(true), Some(false), Some(1))
        );
    }
}
