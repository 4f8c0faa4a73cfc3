//! The crash sweep: one fault at every host call of a run, one run each.
//!
//! First a schedule is run without faults, which says how many calls there are. Each of them is a
//! crash point: the run is repeated with one fault there, for each [`Ending`]. Up to the fault both go
//! the same way; what comes after is judged as ever.
//!
//! What must stay true:
//! - A sweep leaves out nothing without saying so: it counts the calls that there are, those at
//!   which something was done, and the runs in which it was done indeed.
//! - Its parts can be run apart, and together they are the whole.

use super::fault::{Blow, Fault};
use super::schedule::Policy;
use super::script::Script;
use super::settings::Settings;
use super::{Simulated, Simulator};
use crate::program::Plan;
use anyhow::{Context as _, Result, ensure};

/// Which calls are crash points, and what happens there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// What is done at each crash point, one run each.
    pub endings: Vec<Blow>,
    /// Each so manieth call of an actor is a crash point; at least 1. Which one is the first differs from
    /// seed to seed.
    pub every: u64,
    /// This part of so many, counted from 1.
    pub part: (u64, u64),
}

/// After how many instructions it drops an instance if nobody says otherwise.
pub const DROPS_AFTER: [u32; 2] = [100, 1000];
/// By how many losses a sweep tries a power loss if nobody says otherwise: each style once.
pub const LOSSES: u32 = 4;

impl Default for Options {
    fn default() -> Self {
        Self {
            endings: endings(&DROPS_AFTER, LOSSES),
            every: 1,
            part: (1, 1),
        }
    }
}

/// All that can end an instance: a drop at the call, drops so many instructions after it, a kill,
/// and the power losses below this number, whose styles are given: see [`given_loss`](super::given_loss).
pub fn endings(drops_after: &[u32], losses: u32) -> Vec<Blow> {
    let mut endings = vec![Blow::Drop, Blow::Kill];
    endings.extend(drops_after.iter().copied().map(Blow::DropAfter));
    endings.extend((0..losses).map(Blow::PowerLoss));
    endings
}

/// A run without faults.
#[derive(Clone, Debug)]
pub struct Ground {
    /// How to do it again. The script is written down, whatever made it.
    pub settings: Settings,
    /// How many host calls each actor made: workers, then who opens the database after all.
    pub calls: Vec<u64>,
    /// The same for runs that went the same way.
    pub trace_hash: u64,
}

impl Ground {
    /// Runs `plan` without faults, and writes the schedule down.
    ///
    /// # Errors
    /// There was no run, or something is wrong without any fault.
    pub fn run(simulator: &Simulator, plan: &Plan, settings: &Settings) -> Result<Self> {
        let mut settings = Settings {
            faults: Some([].into_iter().collect()),
            kinds: Vec::new(),
            trace: false,
            choices: false,
            ..settings.clone()
        };
        let ran = simulator.run(plan, &settings)?;
        ensure!(
            !ran.failed() && ran.troubles.is_empty(),
            "{} is wrong without any fault: {}",
            plan.frame.name,
            said(&ran).join("; ")
        );
        settings.policy = Policy::Script;
        settings.script = ran.script;
        settings.full_durability = Some(ran.full_durability);
        settings.rollback_journal = Some(ran.rollback_journal);
        settings.processes = Some(ran.processes);
        Ok(Self {
            settings,
            calls: ran.calls,
            trace_hash: ran.trace_hash,
        })
    }

    /// The calls at which something is done: who makes it, and its number.
    pub fn crash_points(&self, every: u64) -> impl Iterator<Item = (u32, u64)> {
        let step = usize::try_from(every.max(1)).unwrap_or(usize::MAX);
        let first = self.settings.seed % every.max(1);
        let numbered = (0_u32..).zip(&self.calls);
        numbered.flat_map(move |(actor, calls)| {
            let numbers = (first..*calls).step_by(step);
            numbers.map(move |number| (actor, number))
        })
    }
}

/// A run of the sweep that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What was done, and where.
    pub fault: Fault,
    /// The call at which it was done, in words.
    pub call: String,
    /// What is wrong.
    pub complaints: Vec<String>,
    /// What went wrong in the harness itself.
    pub troubles: Vec<String>,
}

/// What a sweep, or a part of one, came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// How many host calls each actor makes without faults.
    pub calls: Vec<u64>,
    /// How many of these calls were crash points.
    pub crash_points: u64,
    /// How many runs there were: each crash point with each ending.
    pub runs: u64,
    /// In how many of them the fault came to pass. The others are among the failures.
    pub hits: u64,
    /// How many were ended by a power loss that may take commits back.
    pub cut_short: u64,
    /// Where no check says that something is wrong, but one doesn't know.
    pub undecided: Vec<Fault>,
    /// By where the fault fell.
    pub failures: Vec<Failure>,
    /// The same for sweeps all of whose runs went the same way, however they were parted.
    pub hash: u64,
}

impl Swept {
    /// Adds another part of the same sweep.
    pub fn merge(&mut self, other: Self) {
        self.calls = other.calls;
        self.crash_points += other.crash_points;
        self.runs += other.runs;
        self.hits += other.hits;
        self.cut_short += other.cut_short;
        self.undecided.extend(other.undecided);
        self.undecided.sort_unstable();
        self.failures.extend(other.failures);
        self.failures.sort_by_key(|failure| failure.fault);
        self.hash = self.hash.wrapping_add(other.hash);
    }
}

/// Sweeps over one schedule. `after_run` is called after each run; false: the sweep ends there.
///
/// # Errors
/// Something is wrong without any fault, or a run couldn't be done at all.
pub fn sweep(
    simulator: &Simulator,
    plan: &Plan,
    ground: &Ground,
    options: &Options,
    after_run: &mut dyn FnMut(&Swept) -> bool,
) -> Result<Swept> {
    let mut swept = Swept {
        calls: ground.calls.clone(),
        ..Swept::default()
    };
    let (part, of) = options.part;
    ensure!((1..=of).contains(&part), "there is no part {part} of {of}");
    let points = (1..).zip(ground.crash_points(options.every));
    let mine = points.filter(|(number, _)| number % of == part % of);
    for (_, (worker, call)) in mine {
        swept.crash_points += 1;
        for blow in &options.endings {
            let fault = Fault {
                worker,
                call,
                blow: *blow,
            };
            try_fault(simulator, plan, ground, fault, &mut swept)
                .with_context(|| format!("{} with {fault}", plan.frame.name))?;
            if !after_run(&swept) {
                return Ok(swept);
            }
        }
    }
    Ok(swept)
}

fn try_fault(
    simulator: &Simulator,
    plan: &Plan,
    ground: &Ground,
    fault: Fault,
    swept: &mut Swept,
) -> Result<()> {
    let mut settings = Settings {
        faults: Some([fault].into_iter().collect()),
        ..ground.settings.clone()
    };
    let ran = simulator.run(plan, &settings)?;
    let is_hit = ran.faults == [fault];
    swept.runs += 1;
    swept.hits += u64::from(is_hit);
    swept.cut_short += u64::from(ran.was_cut_short);
    swept.hash = swept.hash.wrapping_add(ran.trace_hash);
    if !ran.failed() && ran.troubles.is_empty() && is_hit {
        if ran.is_undecided() {
            swept.undecided.push(fault);
        }
        return Ok(());
    }
    settings.trace = true;
    let traced = simulator.run(plan, &settings)?;
    let mut troubles = ran.troubles.clone();
    if traced.trace_hash != ran.trace_hash {
        troubles.push("the same run went another way when it was done again".to_owned());
    }
    if !is_hit {
        troubles.push("the fault didn't come to pass".to_owned());
    }
    swept.failures.push(Failure {
        fault,
        call: call_at(&traced.trace, fault),
        complaints: ran.complaints(),
        troubles,
    });
    Ok(())
}

/// The call at which the fault fell, from the trace: the line before it.
fn call_at(trace: &[String], fault: Fault) -> String {
    let falls = format!("! {}", fault.blow);
    let mut pairs = trace.iter().zip(trace.iter().skip(1));
    let found = pairs.find(|(_, line)| line.trim_end().ends_with(&falls));
    found.map_or_else(String::new, |(call, _)| call.trim().to_owned())
}

/// All that is wrong with a run.
fn said(ran: &Simulated) -> Vec<String> {
    let mut said = ran.complaints();
    said.extend(ran.troubles.iter().cloned());
    said
}

/// The schedules that a sweep is worth doing on: the one without any switch that nobody
/// forces, then those of these seeds. `settings` says the rest.
pub fn schedules(settings: &Settings, seeds: u64) -> Vec<Settings> {
    let undisturbed = Settings {
        policy: Policy::Script,
        script: Script::default(),
        ..settings.clone()
    };
    let others = (1..=seeds).map(|seed| Settings {
        seed,
        policy: Policy::Random,
        ..settings.clone()
    });
    std::iter::once(undisturbed).chain(others).collect()
}
