//! What can be asked of `sim`.

use crate::cli::args::Outputs;
use anyhow::{Result, bail, ensure};
use beaver_harness::sim::{Checkpoints, Defects, Fault, Kind, Policy, Script};
use lexopt::prelude::*;
use std::ops::Range;
use std::path::PathBuf;

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sim {
    pub(crate) component: Option<PathBuf>,
    /// None: all workloads.
    pub(crate) programs: Option<String>,
    pub(crate) scenario: Option<PathBuf>,
    pub(crate) workers: u32,
    pub(crate) steps: u64,
    pub(crate) seed: u64,
    /// None: one if a seed or a script is given, else [`SEEDS`].
    pub(crate) seeds: Option<u64>,
    /// This part of so many, counted from 1.
    pub(crate) shard: (u64, u64),
    pub(crate) jobs: usize,
    pub(crate) scheduler: Scheduler,
    pub(crate) script: Option<Script>,
    pub(crate) kinds: Vec<Kind>,
    pub(crate) faults: Option<Vec<Fault>>,
    pub(crate) processes: Option<u32>,
    pub(crate) full_durability: Option<bool>,
    pub(crate) rollback_journal: Option<bool>,
    pub(crate) checkpoints: Option<Checkpoints>,
    pub(crate) defects: Defects,
    pub(crate) trace: bool,
    pub(crate) outputs: Outputs,
    pub(crate) histories: Option<PathBuf>,
    pub(crate) shrinks: bool,
    pub(crate) candidates_max: u32,
    pub(crate) failures_max: u64,
    pub(crate) quiet: bool,
    /// The arguments, for whoever wants to repeat it.
    pub(crate) given: Vec<String>,
}

/// How choices are made that no script makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheduler {
    /// Random or by priority, by the seed.
    Mixed,
    Random,
    Pct(u32),
    /// All schedules with at most so many switches.
    Exhaustive(u32),
}

impl Scheduler {
    pub(crate) fn policy(self, seed: u64) -> Policy {
        match self {
            Self::Mixed => Policy::mixed(seed),
            Self::Random | Self::Exhaustive(_) => Policy::Random,
            Self::Pct(depth) => Policy::Pct { depth },
        }
    }
}

/// How many seeds there are if nobody says so.
const SEEDS: u64 = 100;

/// Above that, an exploration takes too long to say anything.
const WORKERS_MAX: u32 = 16;
pub(super) const JOBS_MAX: usize = 60;
/// Of a program with a hundred stops, 10^10 schedules.
const SWITCHES_MAX: u32 = 5;

impl Default for Sim {
    fn default() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, Into::into);
        Self {
            component: None,
            programs: None,
            scenario: None,
            workers: 3,
            steps: 8,
            seed: 1,
            seeds: None,
            shard: (1, 1),
            jobs: processors.min(JOBS_MAX),
            scheduler: Scheduler::Mixed,
            script: None,
            kinds: Kind::ALL.to_vec(),
            faults: None,
            processes: None,
            full_durability: None,
            rollback_journal: None,
            checkpoints: None,
            defects: Defects::default(),
            trace: false,
            outputs: Outputs::default(),
            histories: None,
            shrinks: true,
            candidates_max: 2000,
            failures_max: 10,
            quiet: false,
            given: Vec::new(),
        }
    }
}

impl Sim {
    /// How many seeds there are in all parts; of an exhaustive exploration, how many schedules at most.
    pub(crate) fn count(&self) -> u64 {
        self.seeds.unwrap_or(SEEDS)
    }

    /// The seeds of its part.
    pub(crate) fn range(&self) -> Range<u64> {
        let seeds = self.count();
        let (part, of) = self.shard;
        // Before part `part`; exact for all that fits.
        let before = |part: u64| {
            let share = u128::from(seeds) * u128::from(part) / u128::from(of.max(1));
            u64::try_from(share).unwrap_or(u64::MAX)
        };
        let at = |part| self.seed.saturating_add(before(part));
        at(part - 1)..at(part)
    }
}

/// Reads the arguments after `sim`.
pub(crate) fn parse(parser: &mut lexopt::Parser, given: Vec<String>) -> Result<Sim> {
    let mut sim = Sim {
        given,
        ..Sim::default()
    };
    let mut is_one = false;
    while let Some(arg) = parser.next()? {
        match arg {
            Long("component") => sim.component = Some(parser.value()?.into()),
            Long("workload") => sim.programs = Some(parser.value()?.string()?),
            Long("scenario") => sim.scenario = Some(parser.value()?.into()),
            Long("workers") => sim.workers = parser.value()?.parse()?,
            Long("steps") => sim.steps = parser.value()?.parse()?,
            Long("seed") => {
                is_one = true;
                sim.seed = parser.value()?.parse()?;
            }
            Long("seeds") => sim.seeds = Some(parser.value()?.parse()?),
            Long("shard") => sim.shard = shard(&parser.value()?.string()?)?,
            Long("jobs") => sim.jobs = parser.value()?.parse()?,
            Long("scheduler") => sim.scheduler = scheduler(&parser.value()?.string()?)?,
            Long("script") => {
                is_one = true;
                sim.script = Some(script(&parser.value()?.string()?)?);
            }
            Long("faults") => sim.kinds = kinds(&parser.value()?.string()?)?,
            Long("fault") => {
                let text = parser.value()?.string()?;
                sim.faults
                    .get_or_insert_default()
                    .extend(list::<Fault>(&text)?);
            }
            Long("processes") => sim.processes = Some(parser.value()?.parse()?),
            Long("durability") => {
                let text = parser.value()?.string()?;
                sim.full_durability = Some(one_of(&text, "normal", "full")?);
            }
            Long("journal") => {
                let text = parser.value()?.string()?;
                sim.rollback_journal = Some(one_of(&text, "wal", "rollback")?);
            }
            Long("defect") => defect(&mut sim.defects, &parser.value()?.string()?)?,
            Long("checkpoints") => sim.checkpoints = Some(parser.value()?.parse()?),
            Long("trace") => sim.trace = true,
            Long("html") => sim.outputs.html = Some(parser.value()?.into()),
            Long("junit") => sim.outputs.junit = Some(parser.value()?.into()),
            Long("json") => sim.outputs.json = Some(parser.value()?.into()),
            Long("histories") => sim.histories = Some(parser.value()?.into()),
            Long("no-shrink") => sim.shrinks = false,
            Long("candidates") => sim.candidates_max = parser.value()?.parse()?,
            Long("failures") => sim.failures_max = parser.value()?.parse()?,
            Long("quiet") | Short('q') => sim.quiet = true,
            other => return Err(other.unexpected().into()),
        }
    }
    if is_one {
        sim.seeds.get_or_insert(1);
    }
    ensure!(
        (1..=WORKERS_MAX).contains(&sim.workers),
        "--workers takes 1 to {WORKERS_MAX}"
    );
    ensure!(
        (1..=JOBS_MAX).contains(&sim.jobs),
        "--jobs takes 1 to {JOBS_MAX}"
    );
    ensure!(sim.processes != Some(0), "--processes takes 1 or more");
    ensure!(sim.failures_max != 0, "--failures takes 1 or more");
    ensure!(
        sim.programs.is_none() || sim.scenario.is_none(),
        "either --workload or --scenario, not both"
    );
    Ok(sim)
}

type Flag = fn(&mut Defects) -> &mut bool;

/// What can be wrong on purpose.
pub(crate) const DEFECTS: [(&str, Flag); 3] = [
    ("sync-does-nothing", |it| &mut it.sync_does_nothing),
    ("lock-level-dropped", |it| &mut it.lock_level_dropped),
    ("shm-lock-ignored", |it| &mut it.shm_lock_ignored),
];

pub(super) fn defect(defects: &mut Defects, name: &str) -> Result<()> {
    let known = DEFECTS.iter().find(|(known, _)| *known == name);
    let Some((_, of)) = known else {
        let names = DEFECTS.map(|(name, _)| name).join(", ");
        bail!("--defect is one of {names}");
    };
    *of(defects) = true;
    Ok(())
}

pub(super) fn one_of(text: &str, off: &str, on: &str) -> Result<bool> {
    match text {
        text if text == off => Ok(false),
        text if text == on => Ok(true),
        _ => bail!("{text:?} is neither {off} nor {on}"),
    }
}

/// What stands between commas.
fn list<T: std::str::FromStr<Err = String>>(text: &str) -> Result<Vec<T>> {
    let words = text.split(',').filter(|word| !word.is_empty());
    words
        .map(|word| word.parse().map_err(anyhow::Error::msg))
        .collect()
}

fn script(text: &str) -> Result<Script> {
    let (cuts, switches): (Vec<&str>, Vec<&str>) = text.split(',').partition(|it| it.contains('+'));
    Ok(Script {
        switches: list(&switches.join(","))?,
        cuts: list(&cuts.join(","))?,
    })
}

fn shard(text: &str) -> Result<(u64, u64)> {
    let parts = text.split_once('/');
    let parts = parts.and_then(|(part, of)| Some((part.parse().ok()?, of.parse().ok()?)));
    match parts {
        Some((part, of)) if part >= 1 && part <= of => Ok((part, of)),
        _ => bail!("--shard is PART/OF, such as 1/4"),
    }
}

fn scheduler(text: &str) -> Result<Scheduler> {
    Ok(match text.split_once(':') {
        None if text == "mixed" => Scheduler::Mixed,
        None if text == "random" => Scheduler::Random,
        None if text == "pct" => Scheduler::Pct(3),
        None if text == "exhaustive" => Scheduler::Exhaustive(1),
        Some(("exhaustive", switches)) => {
            let switches = switches.parse()?;
            ensure!(
                switches <= SWITCHES_MAX,
                "exhaustive takes up to {SWITCHES_MAX} switches"
            );
            Scheduler::Exhaustive(switches)
        }
        Some(("pct", depth)) => Scheduler::Pct(depth.parse()?),
        _ => bail!("--scheduler is mixed, random, pct[:DEPTH] or exhaustive[:SWITCHES]"),
    })
}

fn kinds(text: &str) -> Result<Vec<Kind>> {
    match text {
        "all" => Ok(Kind::ALL.to_vec()),
        "none" => Ok(Vec::new()),
        text => list(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsString;

    fn parsed(line: &str) -> Result<Sim> {
        let words = line.split_whitespace().map(OsString::from);
        parse(&mut lexopt::Parser::from_args(words), Vec::new())
    }

    fn sim(line: &str) -> Sim {
        parsed(line).unwrap_or_else(|error| panic!("{line}: {error:#}"))
    }

    #[test]
    fn a_seed_alone_is_one_run() {
        assert_eq!(sim("").range(), 1..101);
        assert_eq!(sim("--seeds 7").range(), 1..8);
        assert_eq!(sim("--seed 7").range(), 7..8);
        assert_eq!(sim("--seed 7 --seeds 3").range(), 7..10);
        assert_eq!(sim("--script=").range(), 1..2);
        assert_eq!(sim(&format!("--seed {}", u64::MAX)).range().count(), 0);
    }

    #[test]
    fn shards_are_the_whole_and_none_of_it_twice() {
        for seeds in [0, 1, 5, 100, 101] {
            for of in 1..7 {
                let ranges = (1..=of).map(|part| {
                    let line = format!("--seed 3 --seeds {seeds} --shard {part}/{of}");
                    sim(&line).range()
                });
                let all: Vec<u64> = ranges.flatten().collect();
                assert_eq!(all, (3..3 + seeds).collect::<Vec<_>>(), "{seeds} {of}");
            }
        }
    }

    #[test]
    fn faults_and_choices_are_read() {
        let sim = sim("--fault 0:5:io,1:7:slow=3 --fault 2:1:drop --script 0@1>2,1@3+500,2@9>0");
        let faults = sim.faults.unwrap();
        let faults: Vec<_> = faults.iter().map(ToString::to_string).collect();
        assert_eq!(faults, ["0:5:io", "1:7:slow=3", "2:1:drop"]);
        let script = sim.script.unwrap();
        assert_eq!((script.switches.len(), script.cuts.len()), (2, 1));
        // None at all is something else than none said.
        assert_eq!(parsed("--fault=").unwrap().faults, Some(Vec::new()));
        assert_eq!(parsed("--script=").unwrap().script, Some(Script::default()));
        assert!(parsed("--faults none").unwrap().kinds.is_empty());
        assert_eq!(
            parsed("--faults io,clock").unwrap().kinds,
            [Kind::Io, Kind::Clock]
        );
        assert_eq!(
            parsed("--scheduler pct:5").unwrap().scheduler,
            Scheduler::Pct(5)
        );
    }

    #[test]
    fn nonsense_is_refused_in_words() {
        for (line, word) in [
            ("--workers 17", "--workers"),
            ("--jobs 0", "--jobs"),
            ("--shard 5/4", "1/4"),
            ("--shard 0/4", "1/4"),
            ("--fault 1:2", "WORKER:CALL:FAULT"),
            ("--script 1@2", "ACTOR@STOP"),
            ("--faults rain", "rain"),
            ("--defect x", "shm-lock-ignored"),
            ("--journal x", "rollback"),
            ("--scheduler x", "pct"),
            ("--workload a --scenario b", "not both"),
            ("--nonsense", "nonsense"),
            ("word", "word"),
        ] {
            let said = parsed(line).err().map(|error| format!("{error:#}"));
            assert!(
                said.as_ref().is_some_and(|said| said.contains(word)),
                "{line}: {said:?}"
            );
        }
    }
}
