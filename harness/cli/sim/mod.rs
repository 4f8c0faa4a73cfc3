//! `beaver-harness sim`: simulates many seeds, and shrinks what fails.
//!
//! What must stay true: what is written to standard output, and the exit code, are the same for the same
//! seeds, however many threads there are.

mod args;
mod calibrate;
mod exploration;
mod fleet;
mod progress;
mod replay;
pub(crate) mod sweep;
mod tally;
mod told;

use args::{Scheduler, Sim};
use sweep::Sweep;

use super::interrupt::Interrupt;
use super::run as files;
use super::{EXIT_UNKNOWN, output, replay as shell};
use anyhow::{Result, ensure};
use beaver_harness::report::Report;
use beaver_harness::sim::shrink::{Case, Subject};
use beaver_harness::sim::{Policy, Settings, Simulated, Simulator, cases};
use exploration::Exploration;
use progress::Live;
use std::ffi::OsString;
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tally::{Counted, Fate};

/// What is asked for.
pub(crate) enum Asked {
    Explore(Box<Sim>),
    Sweep(Box<Sweep>),
    Calibrate(Vec<OsString>),
}

/// Reads the arguments after `sim`.
pub(crate) fn parse(args: Vec<OsString>, given: Vec<String>) -> Result<Asked> {
    Ok(match args.split_first() {
        Some((first, rest)) if first == "sweep" => {
            Asked::Sweep(Box::new(sweep::parse(rest.to_vec())?))
        }
        Some((first, rest)) if first == "calibrate" => Asked::Calibrate(rest.to_vec()),
        _ => {
            let mut parser = lexopt::Parser::from_args(args);
            Asked::Explore(Box::new(args::parse(&mut parser, given)?))
        }
    })
}

pub(crate) fn run(asked: &Asked) -> Result<ExitCode> {
    match asked {
        Asked::Explore(sim) => match sim.scheduler {
            Scheduler::Exhaustive(switches_max) => {
                sweep::explore_as(sim, settings(sim, sim.seed), switches_max)
            }
            _ => explore(sim),
        },
        Asked::Sweep(asked) => sweep::run(asked),
        Asked::Calibrate(args) => calibrate::calibrate(args),
    }
}

/// What is simulated, one for each seed in turn.
struct Subjects(Vec<Subject>);

impl Subjects {
    fn read(sim: &Sim) -> Result<Self> {
        if let Some(file) = &sim.scenario {
            let program = files::read_scenario(file)?;
            return Ok(Self(vec![Subject::Written(Box::new(program))]));
        }
        let names = sim.programs.as_deref().unwrap_or("workloads");
        let names = cases::select(names).map_err(anyhow::Error::msg)?;
        ensure!(!names.is_empty(), "--workload names nothing");
        let subject = |name| Subject::Named {
            name,
            workers: sim.workers,
        };
        Ok(Self(names.into_iter().map(subject).collect()))
    }

    /// The run with this seed.
    fn case(&self, sim: &Sim, seed: u64) -> Case {
        let count = self.0.len() as u64;
        let at = usize::try_from(seed % count.max(1)).unwrap_or(0);
        let mut case = Case {
            subject: self.0[at].clone(),
            settings: settings(sim, seed),
        };
        case.settings.replay = replay::of_seed(sim, case.name(), seed);
        case
    }
}

fn settings(sim: &Sim, seed: u64) -> Settings {
    Settings {
        seed,
        steps_max: sim.steps,
        policy: match sim.script {
            Some(_) => Policy::Script,
            None => sim.scheduler.policy(seed),
        },
        script: sim.script.clone().unwrap_or_default(),
        kinds: sim.kinds.clone(),
        faults: (sim.faults.as_ref()).map(|faults| faults.iter().copied().collect()),
        full_durability: sim.full_durability,
        rollback_journal: sim.rollback_journal,
        processes: sim.processes,
        checkpoints: sim.checkpoints,
        defects: sim.defects,
        trace: sim.trace,
        ..Settings::default()
    }
}

/// What a thread hands over: a run that passed is no more than its numbers, unless it is wanted.
struct Done {
    case: Case,
    counted: Counted,
    ran: Option<Box<Simulated>>,
    took: Duration,
}

fn explore(sim: &Sim) -> Result<ExitCode> {
    let began = Instant::now();
    let component = match &sim.component {
        Some(component) => component.clone(),
        None => beaver_host::default_component_path(),
    };
    let subjects = Subjects::read(sim)?;
    let simulator = Simulator::new(&component)?;
    if let Some(folder) = &sim.histories {
        std::fs::create_dir_all(folder)?;
    }
    let interrupt = Interrupt::watch()?;
    let seeds = sim.range();
    let total = seeds.end - seeds.start;
    let live = Live::show(total, sim.quiet || total <= 1);
    let outputs = &sim.outputs;
    let is_reported = outputs.html.is_some() || outputs.junit.is_some() || outputs.json.is_some();
    let mut exploration = Exploration::new(sim, &simulator, &interrupt, &live, is_reported);
    let one = |simulator: &Simulator, seed: u64| -> Result<Done> {
        let began = Instant::now();
        let case = subjects.case(sim, seed);
        let ran = simulator.run(&case.plan()?, &case.settings)?;
        let counted = Counted::of(&ran);
        let is_wanted = counted.fate != Fate::Passed && counted.fate != Fate::CutShort
            || is_reported
            || total == 1
            || sim.trace;
        Ok(Done {
            case,
            counted,
            ran: is_wanted.then(|| Box::new(ran)),
            took: began.elapsed(),
        })
    };
    let mut busy = Duration::ZERO;
    let mut failed = Ok(());
    fleet::each(
        &simulator,
        sim.jobs,
        seeds.clone(),
        &|| interrupt.by().is_some(),
        &one,
        &mut |seed, done| {
            let taken = done.and_then(|done| {
                busy += done.took;
                exploration.take(seed, done, total == 1)
            });
            match taken {
                Ok(goes_on) => goes_on,
                Err(error) => {
                    failed = Err(error);
                    false
                }
            }
        },
    )?;
    failed?;
    let Exploration {
        tally, programs, ..
    } = exploration;
    drop(live);
    let is_whole = tally.runs() == total;
    let mut report = Report {
        command: shell::command_line(&sim.given),
        driver: "sim".to_owned(),
        seed: (total == 1).then_some(sim.seed),
        started_unix_s: since_1970() - began.elapsed().as_secs_f64(),
        elapsed: began.elapsed(),
        programs,
        ..Report::default()
    };
    let judged = report.programs.first().and_then(|program| program.judged());
    report.description = judged.map(|judged| judged.header.driver.clone());
    let about = "what did not pass, and the first of each program that did";
    let simulated = ("Simulated".to_owned(), tally.sentence());
    report.environment = vec![simulated, ("In this report".to_owned(), about.to_owned())];
    if let Some(signal) = interrupt.by() {
        let how = format!("by {signal}, after {} of {total} runs", tally.runs());
        report.environment.push(("interrupted".to_owned(), how));
    }
    files::write(&report, outputs)?;
    output::say(tally.text())?;
    if !sim.quiet {
        output::note(speed(&tally, began.elapsed(), busy));
    }
    Ok(match (tally.failed(), is_whole) {
        (0, true) if !tally.is_unknown() => ExitCode::SUCCESS,
        (0, _) => {
            if let Some(signal) = interrupt.by() {
                output::note(format_args!("beaver-harness: interrupted by {signal}"));
            }
            ExitCode::from(EXIT_UNKNOWN)
        }
        _ => ExitCode::FAILURE,
    })
}

fn since_1970() -> f64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0.0, |since| since.as_secs_f64())
}

#[expect(clippy::cast_precision_loss, reason = "for the eye")]
fn speed(tally: &tally::Tally, elapsed: Duration, busy: Duration) -> String {
    let (runs, calls) = (tally.runs() as f64, tally.calls() as f64);
    let (elapsed, busy) = (elapsed.as_secs_f64(), busy.as_secs_f64().max(1e-9));
    format!(
        "{elapsed:.1} s, {:.1} runs/s; {:.1} runs/s and {:.0} host calls/s per thread",
        runs / elapsed.max(1e-9),
        runs / busy,
        calls / busy
    )
}
