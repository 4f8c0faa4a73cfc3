//! How well the simulator finds what is wrong: faults planted on purpose, and how many seeds each takes
//! to be found.
//!
//! What must stay true: a planted fault is found by the runs that the product is judged by, or by
//! those that its entry names, within the number of seeds that it names; and the control, which goes
//! through as many of the same runs, has no fault, and none is found.

use super::checkpointing;
use super::{Checkpoints, Defects, Policy, Settings, Simulated, Simulator};
use crate::catalog;
use crate::program::Plan;
use anyhow::Context as _;

/// Something that is wrong on purpose.
#[derive(Clone, Copy, Debug)]
pub struct Planted {
    /// Its name: of the defect, or of the component's file less `.wasm`.
    pub name: &'static str,
    /// What is wrong, in one sentence.
    pub wrong: &'static str,
    /// Where.
    pub place: Place,
    /// What is run.
    pub runs: Runs,
    /// It is found within so many seeds, counted from 1.
    pub seeds_max: u64,
}

/// Where something is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In what the simulator offers to the component.
    Host(Defects),
    /// In the component: `cargo xtask planted` makes it, of a patch in `harness/sim/planted/`.
    Component,
    /// In the component's SQLite.
    Sqlite,
}

impl Place {
    /// In a word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Host(_) => "host",
            Self::Component => "component",
            Self::Sqlite => "SQLite",
        }
    }

    fn defects(self) -> Defects {
        match self {
            Self::Host(defects) => defects,
            Self::Component | Self::Sqlite => Defects::default(),
        }
    }
}

/// What is run to find it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runs {
    /// All workloads in turn, with three workers, as [`Settings::standard`] says.
    Standard,
    /// Transactions of one worker beside somebody who checkpoints during each of them, with many cuts
    /// and no fault.
    Checkpoints,
}

impl Runs {
    /// In a word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Standard => "all workloads",
            Self::Checkpoints => "checkpoints",
        }
    }

    /// The run with this seed.
    ///
    /// # Errors
    /// There is no such workload.
    pub fn run(self, seed: u64) -> anyhow::Result<(Plan, Settings)> {
        let settings = Settings::standard(seed);
        Ok(match self {
            Self::Standard => {
                let all = catalog::select("workloads").map_err(anyhow::Error::msg)?;
                let number = seed % (all.len() as u64).max(1);
                let workload = all.get(number as usize).context("there is no workload")?;
                let plan = catalog::plan(&workload.name, WORKERS, seed);
                (plan.context("there is no such workload")?, settings)
            }
            Self::Checkpoints => {
                let settings = Settings {
                    steps_max: checkpointing::STEPS,
                    policy: Policy::Random,
                    cuts: Some(CUTS),
                    kinds: Vec::new(),
                    rollback_journal: Some(false),
                    checkpoints: Some(Checkpoints {
                        count: CHECKPOINTS,
                        beside_writers: true,
                    }),
                    ..settings
                };
                (checkpointing::plan(1, seed), settings)
            }
        })
    }
}

const WORKERS: u32 = 3;
const CHECKPOINTS: u32 = 24;
/// Of 256: the moment that SQLite's bug takes lies between two host calls.
const CUTS: u8 = 128;

/// All that is planted.
pub const PLANTED: &[Planted] = &[
    Planted {
        name: "sync-does-nothing",
        wrong: "A sync returns at once and makes nothing durable",
        place: Place::Host(Defects {
            sync_does_nothing: true,
            ..NO_DEFECTS
        }),
        runs: Runs::Standard,
        seeds_max: 600,
    },
    Planted {
        name: "lock-level-dropped",
        wrong: "Who asks for a database file's lock gets it, whoever has it",
        place: Place::Host(Defects {
            lock_level_dropped: true,
            ..NO_DEFECTS
        }),
        runs: Runs::Standard,
        seeds_max: 300,
    },
    Planted {
        name: "shm-lock-ignored",
        wrong: "Who asks for a lock of the wal-index gets it, whoever has it",
        place: Place::Host(Defects {
            shm_lock_ignored: true,
            ..NO_DEFECTS
        }),
        runs: Runs::Standard,
        seeds_max: 50,
    },
    component(
        "begin-immediate-removed",
        "Write transactions are not begun",
        100,
    ),
    component(
        "batch-deleted-later",
        "A batch of a queue is read in one transaction and deleted after it",
        1000,
    ),
    component(
        "sync-does-nothing",
        "The host is never asked to make anything durable",
        600,
    ),
    component(
        "write-lock-shared",
        "SQLite's write lock in the wal-index is taken as a shared one",
        50,
    ),
    component(
        "any-grant-is-mine",
        "A write under a lock looks for some grant of the lock, not for its own",
        500,
    ),
    component(
        "grant-not-moved-to-front",
        "A waiter that is granted the lock stays where it was in line",
        100,
    ),
    component(
        "head-released",
        "Giving a lock back deletes the first grant, whosever it is",
        200,
    ),
    component(
        "ttl-from-request",
        "The time to live of a waiter that grants itself counts from its request",
        200,
    ),
    Planted {
        name: "sqlite-3.50-point",
        wrong: "SQLite 3.50.2 with its WAL-reset bug, and a host call where it takes one",
        place: Place::Sqlite,
        runs: Runs::Checkpoints,
        seeds_max: 6000,
    },
    Planted {
        name: "sqlite-3.50",
        wrong: "SQLite 3.50.2 with its WAL-reset bug",
        place: Place::Sqlite,
        runs: Runs::Checkpoints,
        seeds_max: 6000,
    },
];

/// Nothing may be found in these components.
pub const CONTROLS: &[(&str, Runs)] = &[
    ("unchanged", Runs::Standard),
    ("unchanged", Runs::Checkpoints),
    ("sqlite-point", Runs::Checkpoints),
];

const NO_DEFECTS: Defects = Defects {
    sync_does_nothing: false,
    lock_level_dropped: false,
    shm_lock_ignored: false,
};

const fn component(name: &'static str, wrong: &'static str, seeds_max: u64) -> Planted {
    Planted {
        name,
        wrong,
        place: Place::Component,
        runs: Runs::Standard,
        seeds_max,
    }
}

/// What was found.
#[derive(Clone, Debug)]
pub struct Found {
    /// How many seeds that took.
    pub seeds: u64,
    /// What ran with the last of them.
    pub workload: String,
    /// The first of what was wrong.
    pub complaint: String,
}

impl Planted {
    /// Runs the seeds from `first` on, `seeds_max` of them at most, until it is found.
    ///
    /// # Errors
    /// There was no run, or the harness itself went wrong.
    pub fn find(&self, simulator: &Simulator, first: u64) -> anyhow::Result<Option<Found>> {
        let defects = self.place.defects();
        find(simulator, self.runs, defects, first, self.seeds_max)
    }
}

/// Runs that many seeds from `first` on until something is found.
///
/// # Errors
/// There was no run, or the harness itself went wrong.
pub fn find(
    simulator: &Simulator,
    runs: Runs,
    defects: Defects,
    first: u64,
    seeds: u64,
) -> anyhow::Result<Option<Found>> {
    for count in 1..=seeds {
        let seed = first + (count - 1);
        let (plan, settings) = runs.run(seed)?;
        let settings = Settings {
            defects,
            ..settings
        };
        let ran = simulator.run(&plan, &settings)?;
        if ran.failed() {
            return Ok(Some(Found {
                seeds: count,
                workload: plan.frame.name.clone(),
                complaint: first_complaint(&ran),
            }));
        }
        anyhow::ensure!(
            ran.troubles.is_empty(),
            "seed {seed}, {}: {:?}",
            plan.frame.name,
            ran.troubles
        );
    }
    Ok(None)
}

fn first_complaint(ran: &Simulated) -> String {
    ran.complaints().into_iter().next().unwrap_or_default()
}
