//! What can be asked for.

use anyhow::{Context as _, Result, bail, ensure};
use beaver_harness::run::FaultKind;
use lexopt::prelude::*;
use serde_json::{Map, Value};
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

pub(crate) enum Command {
    Help,
    Run(Box<Run>),
    Check(Check),
    Crash(Box<super::crash::Asked>),
    CheckDriver(Which),
    List(List),
    Shrink(Box<Run>),
    #[cfg(feature = "component")]
    Sim(super::sim::Asked),
    Serve(Which),
    KeepWriteLock {
        database: PathBuf,
        duration: Duration,
    },
}

/// Which system.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Which {
    pub(crate) driver: Option<String>,
    pub(crate) command: Vec<OsString>,
    pub(crate) component: Option<PathBuf>,
    pub(crate) python: Option<PathBuf>,
    pub(crate) settings: Map<String, Value>,
}

#[derive(Debug, PartialEq)]
pub(crate) struct Run {
    pub(crate) which: Which,
    /// None: all.
    pub(crate) programs: Option<String>,
    pub(crate) scenario: Option<PathBuf>,
    pub(crate) workers: u32,
    pub(crate) processes: Option<u32>,
    pub(crate) duration: Duration,
    pub(crate) steps_max: Option<u64>,
    pub(crate) repeat_for: Option<Duration>,
    pub(crate) seed: Option<u64>,
    pub(crate) faults: Option<String>,
    pub(crate) fault_interval: Duration,
    pub(crate) patience: Duration,
    pub(crate) patience_forever: Duration,
    pub(crate) late_ms: Option<u64>,
    pub(crate) handover_ms: Option<u64>,
    pub(crate) outputs: Outputs,
    pub(crate) histories: Option<PathBuf>,
    pub(crate) keep: Option<PathBuf>,
    pub(crate) out: Option<PathBuf>,
    pub(crate) check: Option<String>,
    pub(crate) candidates_max: u32,
    pub(crate) tries: u32,
    pub(crate) every_try: bool,
    pub(crate) quiet: bool,
    /// The arguments, for whoever wants to repeat it.
    pub(crate) given: Vec<String>,
}

impl Default for Run {
    fn default() -> Self {
        Self {
            which: Which::default(),
            programs: None,
            scenario: None,
            workers: 8,
            processes: None,
            duration: Duration::from_secs(3),
            steps_max: None,
            repeat_for: None,
            seed: None,
            faults: None,
            fault_interval: Duration::from_millis(500),
            patience: Duration::from_secs(30),
            patience_forever: Duration::from_secs(60),
            late_ms: None,
            handover_ms: None,
            outputs: Outputs::default(),
            histories: None,
            keep: None,
            out: None,
            check: None,
            candidates_max: 200,
            tries: 3,
            every_try: false,
            quiet: false,
            given: Vec::new(),
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Outputs {
    pub(crate) html: Option<PathBuf>,
    pub(crate) junit: Option<PathBuf>,
    pub(crate) json: Option<PathBuf>,
}

#[derive(Debug, Default)]
pub(crate) struct Check {
    /// The arguments, for whoever wants to repeat it.
    pub(crate) given: Vec<String>,
    pub(crate) files: Vec<PathBuf>,
    pub(crate) outputs: Outputs,
}

#[derive(Debug, Default)]
pub(crate) struct List {
    /// Print this one as a scenario file.
    pub(crate) json: Option<String>,
    pub(crate) workers: u32,
    pub(crate) steps: u64,
    pub(crate) seed: u64,
}

/// A month.
const SECONDS_MAX: Duration = Duration::from_secs(31 * 24 * 3600);

/// What only `shrink` does something with, and what only `run` does.
const OF_SHRINK: &[&str] = &["check", "out", "candidates", "tries", "every-try"];
const OF_RUN: &[&str] = &["html", "junit", "json", "histories", "keep", "for"];

/// Far above what anybody can run.
pub(super) const WORKERS_MAX: u32 = 10_000;

pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Command> {
    let args: Vec<OsString> = args.into_iter().collect();
    let given = args
        .iter()
        .map(|arg| arg.to_string_lossy().into_owned())
        .collect();
    // In any place, but for what is the driver's.
    let mut own = args.iter().take_while(|arg| *arg != "--");
    if own.any(|arg| arg == "--help" || arg == "-h") {
        return Ok(Command::Help);
    }
    let mut parser = lexopt::Parser::from_args(args);
    let command = match parser.next()? {
        None => return Ok(Command::Help),
        Some(Value(command)) => command.string()?,
        Some(other) => return Err(other.unexpected().into()),
    };
    match command.as_str() {
        "help" => Ok(Command::Help),
        "run" => Ok(Command::Run(Box::new(run(&mut parser, given, false)?))),
        "shrink" => Ok(Command::Shrink(Box::new(run(&mut parser, given, true)?))),
        #[cfg(feature = "component")]
        "sim" => {
            let rest = parser.raw_args()?.collect();
            Ok(Command::Sim(super::sim::parse(rest, given)?))
        }
        "crash" => Ok(Command::Crash(Box::new(super::crash::parse(
            &mut parser,
            given,
        )?))),
        "check" => check(&mut parser, given),
        "check-driver" => {
            let mut which = Which::default();
            while let Some(arg) = next(&mut parser, &mut which)? {
                if !which_option(&arg, &mut parser, &mut which)? {
                    return Err(unexpected(&arg));
                }
            }
            Ok(Command::CheckDriver(which))
        }
        "list" => list(&mut parser),
        "serve" => serve(&mut parser),
        "keep-write-lock" => {
            let database = parser.value()?.into();
            let ms = parser.value()?.parse()?;
            Ok(Command::KeepWriteLock {
                database,
                duration: Duration::from_millis(ms),
            })
        }
        other => bail!("there is no command {other:?}"),
    }
}

/// An option, by its name.
pub(super) struct Opt(pub(super) String);

pub(super) fn unexpected(option: &Opt) -> anyhow::Error {
    anyhow::anyhow!("there is no option --{}", option.0)
}

/// The next option; what stands behind `--` is the driver's command.
pub(super) fn next(parser: &mut lexopt::Parser, which: &mut Which) -> Result<Option<Opt>> {
    if let Some(mut rest) = parser.try_raw_args()
        && rest.peek().is_some_and(|arg| arg == "--")
    {
        rest.next();
        which.command = rest.collect();
        ensure!(!which.command.is_empty(), "a command is expected behind --");
        return Ok(None);
    }
    match parser.next()? {
        None => Ok(None),
        Some(Long(name)) => Ok(Some(Opt(name.to_owned()))),
        Some(Short('q')) => Ok(Some(Opt("quiet".to_owned()))),
        Some(other) => Err(other.unexpected().into()),
    }
}

/// Whether the option says which system, and what it says.
pub(super) fn which_option(
    option: &Opt,
    parser: &mut lexopt::Parser,
    which: &mut Which,
) -> Result<bool> {
    match option.0.as_str() {
        "driver" => which.driver = Some(parser.value()?.string()?),
        "component" => which.component = Some(parser.value()?.into()),
        "python" => which.python = Some(parser.value()?.into()),
        "set" => {
            let text = parser.value()?.string()?;
            let (key, value) = text.split_once('=').context("--set expects KEY=VALUE")?;
            // What isn't JSON is text.
            let value = serde_json::from_str(value).unwrap_or_else(|_| value.into());
            which.settings.insert(key.to_owned(), value);
        }
        _ => return Ok(false),
    }
    Ok(true)
}

pub(super) fn output_option(
    option: &Opt,
    parser: &mut lexopt::Parser,
    outputs: &mut Outputs,
) -> Result<bool> {
    match option.0.as_str() {
        "html" => outputs.html = Some(parser.value()?.into()),
        "junit" => outputs.junit = Some(parser.value()?.into()),
        "json" => outputs.json = Some(parser.value()?.into()),
        _ => return Ok(false),
    }
    Ok(true)
}

fn seconds(parser: &mut lexopt::Parser) -> Result<Duration> {
    let seconds: f64 = parser.value()?.parse()?;
    let time = Duration::try_from_secs_f64(seconds);
    let time = time.ok().filter(|time| *time <= SECONDS_MAX);
    time.with_context(|| format!("{seconds} is no time in seconds, or too long"))
}

fn run(parser: &mut lexopt::Parser, given: Vec<String>, shrinks: bool) -> Result<Run> {
    let mut run = Run {
        given,
        ..Run::default()
    };
    while let Some(option) = next(parser, &mut run.which)? {
        let name = option.0.as_str();
        ensure!(
            shrinks || !OF_SHRINK.contains(&name),
            "--{name} is for `shrink`"
        );
        ensure!(!shrinks || !OF_RUN.contains(&name), "--{name} is for `run`");
        if which_option(&option, parser, &mut run.which)?
            || output_option(&option, parser, &mut run.outputs)?
        {
            continue;
        }
        match option.0.as_str() {
            "workload" => run.programs = Some(parser.value()?.string()?),
            "scenario" => run.scenario = Some(parser.value()?.into()),
            "workers" => run.workers = parser.value()?.parse()?,
            "processes" => run.processes = Some(parser.value()?.parse()?),
            "seconds" => run.duration = seconds(parser)?,
            "steps" => run.steps_max = Some(parser.value()?.parse()?),
            "for" => run.repeat_for = Some(seconds(parser)?),
            "seed" => run.seed = Some(parser.value()?.parse()?),
            "faults" => run.faults = Some(parser.value()?.string()?),
            "fault-interval-ms" => {
                run.fault_interval = Duration::from_millis(parser.value()?.parse()?);
            }
            "patience" => run.patience = seconds(parser)?,
            "patience-forever" => run.patience_forever = seconds(parser)?,
            "late-ms" => run.late_ms = Some(parser.value()?.parse()?),
            "handover-ms" => run.handover_ms = Some(parser.value()?.parse()?),
            "histories" => run.histories = Some(parser.value()?.into()),
            "keep" => run.keep = Some(parser.value()?.into()),
            "out" => run.out = Some(parser.value()?.into()),
            "check" => run.check = Some(parser.value()?.string()?),
            "candidates" => run.candidates_max = parser.value()?.parse()?,
            "tries" => run.tries = parser.value()?.parse()?,
            "every-try" => run.every_try = true,
            "quiet" => run.quiet = true,
            _ => return Err(unexpected(&option)),
        }
    }
    ensure!(
        (1..=WORKERS_MAX).contains(&run.workers),
        "--workers takes 1 to {WORKERS_MAX}"
    );
    ensure!(run.processes != Some(0), "--processes takes 1 or more");
    ensure!(run.tries != 0, "--tries takes 1 or more");
    ensure!(
        run.programs.is_none() || run.scenario.is_none(),
        "either --workload or --scenario, not both"
    );
    ensure!(
        run.keep.is_none() || run.repeat_for.is_none(),
        "--keep is for one run, and --for makes many"
    );
    ensure!(
        !run.fault_interval.is_zero(),
        "--fault-interval-ms takes 1 or more"
    );
    Ok(run)
}

fn check(parser: &mut lexopt::Parser, given: Vec<String>) -> Result<Command> {
    let mut check = Check {
        given,
        ..Check::default()
    };
    while let Some(arg) = parser.next()? {
        match arg {
            Long(name) => {
                let option = Opt(name.to_owned());
                if !output_option(&option, parser, &mut check.outputs)? {
                    return Err(unexpected(&option));
                }
            }
            Value(file) => check.files.push(file.into()),
            other => return Err(other.unexpected().into()),
        }
    }
    ensure!(
        !check.files.is_empty(),
        "check expects one or more histories"
    );
    Ok(Command::Check(check))
}

fn list(parser: &mut lexopt::Parser) -> Result<Command> {
    let mut list = List {
        workers: 2,
        steps: 10,
        seed: 1,
        ..List::default()
    };
    while let Some(arg) = parser.next()? {
        match arg {
            Long("json") => list.json = Some(parser.value()?.string()?),
            Long("workers") => list.workers = parser.value()?.parse()?,
            Long("steps") => list.steps = parser.value()?.parse()?,
            Long("seed") => list.seed = parser.value()?.parse()?,
            other => return Err(other.unexpected().into()),
        }
    }
    ensure!(
        (1..=WORKERS_MAX).contains(&list.workers),
        "--workers takes 1 to {WORKERS_MAX}"
    );
    Ok(Command::List(list))
}

fn serve(parser: &mut lexopt::Parser) -> Result<Command> {
    let mut which = Which::default();
    while let Some(arg) = parser.next()? {
        match arg {
            Value(driver) if which.driver.is_none() => which.driver = Some(driver.string()?),
            Value(component) if which.component.is_none() => {
                which.component = Some(component.into());
            }
            other => return Err(other.unexpected().into()),
        }
    }
    ensure!(
        which.driver.is_some(),
        "serve expects component, native or reference"
    );
    Ok(Command::Serve(which))
}

/// The kinds that a list names; none: `all`.
pub(crate) fn faults(list: &str) -> Result<Option<Vec<FaultKind>>> {
    if list == "all" {
        return Ok(None);
    }
    let names = list
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty() && *name != "none");
    let kinds = names.map(|name| name.parse().map_err(anyhow::Error::msg));
    Ok(Some(kinds.collect::<Result<_>>()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Command> {
        parse(line.split_whitespace().map(OsString::from))
    }

    fn run_of(line: &str) -> Run {
        match parsed(line) {
            Ok(Command::Run(run)) => *run,
            Ok(_) => panic!("{line}: another command"),
            Err(error) => panic!("{line}: {error:#}"),
        }
    }

    #[test]
    fn a_run_alone_is_everything_on_the_component() {
        let run = run_of("run");
        assert_eq!((&run.programs, run.workers), (&None, 8));
        assert!(run.which.driver.is_none() && run.which.command.is_empty());
    }

    #[test]
    fn both_patiences_can_be_set() {
        let run = run_of("run --patience 2 --patience-forever 0.5");
        assert_eq!(run.patience, Duration::from_secs(2));
        assert_eq!(run.patience_forever, Duration::from_millis(500));
    }

    #[test]
    fn what_stands_behind_two_dashes_is_the_driver() {
        let run = run_of(
            "run --workers 3 --set poll_interval_ms=1 --set defect=stale -- node x.mjs --workers 9",
        );
        assert_eq!(run.workers, 3);
        assert_eq!(run.which.command, ["node", "x.mjs", "--workers", "9"]);
        assert_eq!(run.which.settings["poll_interval_ms"], 1);
        assert_eq!(run.which.settings["defect"], "stale");
    }

    #[test]
    fn help_is_given_to_every_command_but_the_driver_s() {
        for line in [
            "",
            "help",
            "-h",
            "run --help",
            "check -h",
            "list --workers --help",
        ] {
            assert!(matches!(parsed(line), Ok(Command::Help)), "{line}");
        }
        assert_eq!(run_of("run -- x --help").which.command, ["x", "--help"]);
    }

    #[test]
    fn the_last_of_two_counts() {
        let run = run_of("run --workers 3 --set a=1 --workers 4 --set a=2 --set b=3");
        assert_eq!(run.workers, 4);
        assert_eq!(
            (&run.which.settings["a"], run.which.settings.len()),
            (&2.into(), 2)
        );
    }

    #[test]
    fn nonsense_is_refused_in_words() {
        let said = |line: &str| {
            parsed(line)
                .err()
                .map(|error| format!("{error:#}"))
                .unwrap_or_default()
        };
        assert!(said("run --workers 0").contains("1 to"));
        assert!(said("run --seconds -1").contains("seconds"));
        assert!(said("run --nonsense").contains("--nonsense"));
        assert!(said("dance").contains("dance"));
        assert!(said("check").contains("histories"));
        assert!(said("run --").contains("behind --"));
        assert!(said("run --workload a --scenario b").contains("not both"));
        assert!(said("run --keep a --for 9").contains("one run"));
        assert!(said("run --tries 2").contains("is for `shrink`"));
        assert!(said("shrink --html a.html").contains("is for `run`"));
        assert!(said("shrink --tries 0").contains("--tries"));
        assert!(faults("kill,nonsense").is_err());
        assert_eq!(
            faults("kill, stop").unwrap().unwrap(),
            [FaultKind::Kill, FaultKind::Stop]
        );
        assert!(faults("all").unwrap().is_none());
        assert!(faults("none").unwrap().unwrap().is_empty());
    }
}
