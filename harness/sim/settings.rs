//! How one run is simulated; and what of it the seed decides.

use super::fault::{FaultPlan, Kind};
use super::room::Defects;
use super::schedule::Policy;
use super::script::Script;
use crate::program::Plan;
use crate::run::nemesis::digest;
use crate::workload;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use std::fmt;
use std::str::FromStr;

/// How to simulate.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// What everything comes from that isn't said otherwise.
    pub seed: u64,
    /// How many steps each worker of a workload does. Scenarios have their own.
    pub steps_max: u64,
    /// How choices are made.
    pub policy: Policy,
    /// After how many of 256 stops an actor's computing is cut, whatever it calls; none: the seed
    /// chooses, in half of the runs never.
    pub cuts: Option<u8>,
    /// The choices, for [`Policy::Script`].
    pub script: Script,
    /// What a schedule that isn't written down comes from; none: the seed.
    pub schedule_seed: Option<u64>,
    /// Which kinds of faults the seed may draw.
    pub kinds: Vec<Kind>,
    /// The faults themselves; none: the seed draws them.
    pub faults: Option<FaultPlan>,
    /// `durability: full` or `normal`; none: the seed chooses.
    pub full_durability: Option<bool>,
    /// A rollback journal instead of a write-ahead log; none: the seed chooses, mostly the log.
    pub rollback_journal: Option<bool>,
    /// Over how many processes workers are spread; none: the seed chooses.
    pub processes: Option<u32>,
    /// How often somebody checkpoints while the workers of a workload do their steps; none: the seed
    /// chooses, mostly never.
    pub checkpoints: Option<Checkpoints>,
    /// What is wrong on purpose.
    pub defects: Defects,
    /// Whether the trace is wanted in words.
    pub trace: bool,
    /// The command that repeats the run, for its history.
    pub replay: String,
    /// Whether [`Simulated::choices`](super::Simulated::choices) are wanted.
    pub choices: bool,
}

/// By how much a clock is off at most to begin with. Jumps come on top: see `Kind::draw`.
const OFFSET_MAX_MS: i64 = 1000;
/// By how much it is too fast or too slow at most: as far as a kernel slews a clock.
const DRIFT_MAX_PPM: i64 = 500;

/// What somebody does who checkpoints beside the workers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checkpoints {
    /// How often.
    pub count: u32,
    /// Each time as soon as somebody begins to write, so that it has to go without SQLite's write lock;
    /// otherwise whenever it is chosen.
    pub beside_writers: bool,
}

impl Checkpoints {
    /// So many, whenever.
    pub fn times(count: u32) -> Self {
        Self {
            count,
            beside_writers: false,
        }
    }
}

/// What the command line says for [`Checkpoints::beside_writers`].
const BESIDE_WRITERS: &str = "beside-writers";

impl fmt::Display for Checkpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.beside_writers {
            true => write!(f, "{}:{BESIDE_WRITERS}", self.count),
            false => write!(f, "{}", self.count),
        }
    }
}

impl FromStr for Checkpoints {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (count, how) = match text.split_once(':') {
            Some((count, how)) => (count, Some(how)),
            None => (text, None),
        };
        match (count.parse(), how) {
            (Ok(count), None | Some(BESIDE_WRITERS)) => Ok(Self {
                count,
                beside_writers: how.is_some(),
            }),
            _ => Err(format!("{text:?} is neither N nor N:{BESIDE_WRITERS}")),
        }
    }
}

/// In this part of the runs somebody checkpoints beside the workers: their own logs are too short for
/// the automatic checkpoint.
const CHECKPOINTING: f64 = 0.25;
const CHECKPOINTS_MAX: u32 = 12;

/// Streams of the seed. What one of them decides doesn't change when another decides more.
#[derive(Clone, Copy)]
pub(super) enum Stream {
    Settings,
    Faults,
    Schedule,
    Chance,
    Checkpoints,
}

/// What has been decided about a run.
#[derive(Clone, Debug)]
pub(super) struct Decided {
    pub(super) full_durability: bool,
    pub(super) rollback_journal: bool,
    pub(super) processes: u32,
    /// Of each process: milliseconds, and millionths.
    pub(super) clocks: Vec<(i64, i64)>,
    pub(super) faults: FaultPlan,
    pub(super) horizon: u64,
    /// How often somebody checkpoints beside the workers.
    pub(super) checkpoints: Checkpoints,
}

impl Settings {
    /// How the run with this seed is simulated when nobody says otherwise: eight steps for each worker,
    /// all faults, and random schedules and such by priority in turn.
    pub fn standard(seed: u64) -> Self {
        Self {
            seed,
            steps_max: 8,
            policy: Policy::mixed(seed),
            kinds: Kind::ALL.to_vec(),
            ..Self::default()
        }
    }

    pub(super) fn random(&self, plan: &Plan, stream: Stream) -> ChaCha8Rng {
        // Not the same choices for all programs.
        let seed = match stream {
            Stream::Schedule => self.schedule_seed.unwrap_or(self.seed),
            Stream::Settings | Stream::Faults | Stream::Chance | Stream::Checkpoints => self.seed,
        };
        let mut random = ChaCha8Rng::seed_from_u64(seed ^ digest(&plan.frame.name));
        random.set_stream(stream as u64);
        random
    }

    /// The kinds that the program can take.
    fn fitting(&self, plan: &Plan) -> Vec<Kind> {
        use crate::run::FaultKind;
        // Those of a scenario are in it: others would break what it shows.
        if !plan.frame.workers.is_empty() {
            return Vec::new();
        }
        let unfit = workload::named(&plan.frame.name).map_or(&[][..], |workload| workload.unfit);
        let fits = |kind: &&Kind| {
            let real = match kind {
                Kind::Drop => FaultKind::Drop,
                Kind::Kill | Kind::PowerLoss => FaultKind::Kill,
                Kind::Clock => FaultKind::Clock,
                Kind::Stop | Kind::Slow => FaultKind::Stop,
                Kind::Stranger => FaultKind::BusyWriter,
                Kind::Io | Kind::Full | Kind::Busy => FaultKind::Trap,
            };
            // Its grants may end by any clock: who is stale is refused all the same. (On real systems
            // its times to live would show nothing with clocks that are off all the time.)
            let is_fencing = plan.frame.name == "lock-fencing" && *kind == &Kind::Clock;
            is_fencing || !unfit.contains(&real)
        };
        self.kinds.iter().filter(fits).copied().collect()
    }

    pub(super) fn decide(&self, plan: &Plan) -> Decided {
        let mut random = self.random(plan, Stream::Settings);
        let kinds = self.fitting(plan);
        let is_workload = plan.frame.workers.is_empty();
        let (full, rollback) = (random.random_bool(0.5), random.random_ratio(1, 8));
        let any = random.random_range(1..=plan.workers.max(1));
        let processes = plan
            .frame
            .layout
            .processes(plan.workers, self.processes.or(is_workload.then_some(any)));
        let is_off = kinds.contains(&Kind::Clock) && random.random_bool(0.5);
        let clocks = (0..processes as usize).map(|process| {
            let offset_ms = random.random_range(-OFFSET_MAX_MS..=OFFSET_MAX_MS);
            let drift_ppm = random.random_range(-DRIFT_MAX_PPM..=DRIFT_MAX_PPM);
            if is_off {
                (offset_ms, drift_ppm)
            } else {
                let offsets = &plan.frame.clock_offsets_ms;
                (offsets.get(process).copied().unwrap_or(0), 0)
            }
        });
        let clocks = clocks.collect();
        let horizon = 32 << random.random_range(0..8_u32);
        let faults = self.faults.clone().unwrap_or_else(|| {
            let mut random = self.random(plan, Stream::Faults);
            FaultPlan::draw(&kinds, plan.workers, horizon, &mut random)
        });
        let mut random = self.random(plan, Stream::Checkpoints);
        let drawn = Checkpoints {
            count: if random.random_bool(CHECKPOINTING) {
                random.random_range(1..=CHECKPOINTS_MAX)
            } else {
                0
            },
            beside_writers: random.random_bool(0.5),
        };
        Decided {
            full_durability: self.full_durability.unwrap_or(is_workload && full),
            rollback_journal: self.rollback_journal.unwrap_or(is_workload && rollback),
            processes,
            clocks,
            faults,
            horizon,
            checkpoints: if is_workload {
                self.checkpoints.unwrap_or(drawn)
            } else {
                Checkpoints::default()
            },
        }
    }
}
