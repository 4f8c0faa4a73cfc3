//! What can be asked of `sim`.

use anyhow::{Result, bail, ensure};
use beaver_harness::sim::{Cut, Defects, Fault, Kind, Policy, Switch};
use lexopt::prelude::*;
use std::ffi::OsString;
use std::path::PathBuf;

#[derive(Clone, Debug)]
pub(crate) struct Sim {
    pub(crate) component: Option<PathBuf>,
    /// None: all workloads.
    pub(crate) programs: Option<String>,
    pub(crate) workers: u32,
    pub(crate) steps: u64,
    pub(crate) seed: u64,
    pub(crate) seeds: u64,
    /// This part of so many, counted from 1.
    pub(crate) shard: (u64, u64),
    pub(crate) jobs: usize,
    pub(crate) policy: Scheduler,
    pub(crate) kinds: Vec<Kind>,
    pub(crate) faults: Option<Vec<Fault>>,
    pub(crate) switches: Vec<Switch>,
    pub(crate) cuts: Vec<Cut>,
    pub(crate) processes: Option<u32>,
    pub(crate) full_durability: Option<bool>,
    pub(crate) rollback_journal: Option<bool>,
    pub(crate) defects: Defects,
    pub(crate) trace: bool,
    pub(crate) html: Option<PathBuf>,
    pub(crate) shrink: bool,
    pub(crate) quiet: bool,
    pub(crate) failures_max: u64,
}

/// How choices are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheduler {
    /// Random and by priority in turn, by the seed.
    Mixed,
    /// As `Policy` says.
    One(Policy),
    /// All schedules with at most so many switches.
    Exhaustive(u32),
}

impl Default for Sim {
    fn default() -> Self {
        Self {
            component: None,
            programs: None,
            workers: 3,
            steps: 8,
            seed: 1,
            seeds: 100,
            shard: (1, 1),
            jobs: std::thread::available_parallelism().map_or(1, Into::into),
            policy: Scheduler::Mixed,
            kinds: Kind::ALL.to_vec(),
            faults: None,
            switches: Vec::new(),
            cuts: Vec::new(),
            processes: None,
            full_durability: None,
            rollback_journal: None,
            defects: Defects::default(),
            trace: false,
            html: None,
            shrink: true,
            quiet: false,
            failures_max: 10,
        }
    }
}

/// Reads the arguments after `sim`.
pub(crate) fn parse(args: Vec<OsString>) -> Result<Sim> {
    let mut parser = lexopt::Parser::from_args(args);
    let mut sim = Sim::default();
    let mut is_written = false;
    while let Some(arg) = parser.next()? {
        match arg {
            Long("component") => sim.component = Some(parser.value()?.into()),
            Long("workload") => sim.programs = Some(parser.value()?.string()?),
            Long("workers") => sim.workers = parser.value()?.parse()?,
            Long("steps") => sim.steps = parser.value()?.parse()?,
            Long("seed") => sim.seed = parser.value()?.parse()?,
            Long("seeds") => sim.seeds = parser.value()?.parse()?,
            Long("shard") => sim.shard = shard(&parser.value()?.string()?)?,
            Long("jobs") => sim.jobs = parser.value()?.parse()?,
            Long("scheduler") => sim.policy = scheduler(&parser.value()?.string()?)?,
            Long("faults") => sim.kinds = kinds(&parser.value()?.string()?)?,
            Long("fault") => {
                let text = parser.value()?.string()?;
                let faults = sim.faults.get_or_insert_default();
                for fault in text.split(',').filter(|fault| !fault.is_empty()) {
                    faults.push(fault.parse().map_err(anyhow::Error::msg)?);
                }
            }
            Long("script") => {
                is_written = true;
                for word in parser.value()?.string()?.split(',') {
                    match word {
                        "" => {}
                        word if word.contains('+') => {
                            sim.cuts.push(word.parse().map_err(anyhow::Error::msg)?);
                        }
                        word => sim.switches.push(word.parse().map_err(anyhow::Error::msg)?),
                    }
                }
            }
            Long("processes") => sim.processes = Some(parser.value()?.parse()?),
            Long("durability") => {
                sim.full_durability = Some(one_of(&parser.value()?.string()?, "normal", "full")?);
            }
            Long("journal") => {
                sim.rollback_journal = Some(one_of(&parser.value()?.string()?, "wal", "rollback")?);
            }
            Long("defect") => defect(&mut sim.defects, &parser.value()?.string()?)?,
            Long("trace") => sim.trace = true,
            Long("html") => sim.html = Some(parser.value()?.into()),
            Long("no-shrink") => sim.shrink = false,
            Long("failures") => sim.failures_max = parser.value()?.parse()?,
            Long("quiet") => sim.quiet = true,
            _ => bail!(arg.unexpected()),
        }
    }
    if is_written {
        sim.policy = Scheduler::One(Policy::Script);
        sim.seeds = 1;
    }
    ensure!((1..=16).contains(&sim.workers), "--workers: 1 to 16");
    ensure!(sim.jobs >= 1, "--jobs: at least 1");
    Ok(sim)
}

pub(super) fn one_of(text: &str, off: &str, on: &str) -> Result<bool> {
    match text {
        text if text == off => Ok(false),
        text if text == on => Ok(true),
        _ => bail!("{text:?} is neither {off} nor {on}"),
    }
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
    let (name, number) = match text.split_once(':') {
        Some((name, number)) => (name, Some(number.parse()?)),
        None => (text, None),
    };
    Ok(match name {
        "mixed" => Scheduler::Mixed,
        "random" => Scheduler::One(Policy::Random),
        "pct" => Scheduler::One(Policy::Pct {
            depth: number.unwrap_or(3),
        }),
        "exhaustive" => Scheduler::Exhaustive(number.unwrap_or(1)),
        _ => bail!("--scheduler is mixed, random, pct[:DEPTH] or exhaustive[:SWITCHES]"),
    })
}

fn kinds(text: &str) -> Result<Vec<Kind>> {
    match text {
        "all" => Ok(Kind::ALL.to_vec()),
        "none" => Ok(Vec::new()),
        list => list
            .split(',')
            .map(|kind| kind.parse().map_err(anyhow::Error::msg))
            .collect(),
    }
}

pub(super) fn defect(defects: &mut Defects, name: &str) -> Result<()> {
    match name {
        "sync-does-nothing" => defects.sync_does_nothing = true,
        "lock-level-dropped" => defects.lock_level_dropped = true,
        "shm-lock-ignored" => defects.shm_lock_ignored = true,
        _ => bail!("--defect is sync-does-nothing, lock-level-dropped or shm-lock-ignored"),
    }
    Ok(())
}
