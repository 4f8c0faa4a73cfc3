//! Runs a plan on a driver, with faults, and takes down what happens.
//!
//! What must stay true: the runner judges nothing. Whatever a driver does, a run ends: each
//! operation has its patience, each wait of the harness its limit.

mod blob_text;
mod busy_writer;
mod crew;
mod halt;
pub(crate) mod integrity;
pub(crate) mod nemesis;
mod real;
mod remains;
pub(crate) mod signals;
#[cfg(test)]
mod tests;
pub(crate) mod worker;
pub(crate) mod world;

pub use blob_text::pattern;
pub use busy_writer::keep_write_lock;
pub use nemesis::FaultKind;
pub use remains::PlantedLoss;

use crate::check::{Bounds, CheckSpec};
use crate::driver::Driver;
use crate::history::{Header, History, Recorder, Seen};
use crate::program::Plan;
use crate::protocol::{Capability, Description, Init, VERSION};
use crew::Crew;
use serde_json::{Map, Value};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use world::Course;

/// How to run a plan.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where all random choices of the run come from; the plan has its own.
    pub seed: u64,
    /// When workers stop; none: when their steps are done.
    pub duration: Option<Duration>,
    /// How many steps each worker does at most.
    pub steps_max: Option<u64>,
    /// What the nemesis does.
    pub faults: Vec<FaultKind>,
    /// The mean time between two faults.
    pub fault_interval: Duration,
    /// After how many faults workers stop; none: when their steps are done or their time is up.
    pub faults_max: Option<u64>,
    /// A loss to plant, so that it can be seen to be found.
    pub planted: Option<PlantedLoss>,
    /// How many processes the workers are spread over; none: each has its own.
    pub processes: Option<u32>,
    /// How long an operation may take beyond its own timeout before its process is given up.
    pub patience: Duration,
    /// How long an operation that waits for ever may take.
    pub patience_forever: Duration,
    /// What "in time" means to the checks.
    pub bounds: Bounds,
    /// The driver's own settings.
    pub driver_settings: Map<String, Value>,
    /// What the driver says of itself with these settings; none: it is asked.
    pub description: Option<Description>,
    /// Where to keep the database; none: in a temporary folder that is removed.
    pub folder: Option<PathBuf>,
    /// The command that repeats the run, for reports.
    pub replay: String,
    /// The executable `beaver-harness`, for what must happen in a process of its own; without it
    /// there are no busy writers.
    pub helper: Option<PathBuf>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            seed: 0,
            duration: None,
            steps_max: None,
            faults: Vec::new(),
            fault_interval: Duration::from_millis(500),
            faults_max: None,
            planted: None,
            processes: None,
            patience: Duration::from_secs(30),
            patience_forever: Duration::from_secs(60),
            bounds: Bounds::default(),
            driver_settings: Map::new(),
            description: None,
            folder: None,
            replay: String::new(),
            helper: None,
        }
    }
}

/// How far a run is; may be read while it goes on.
#[derive(Debug, Default)]
pub struct Progress {
    /// Operations that were answered.
    pub operations: AtomicU64,
    /// Operations that failed.
    pub failures: AtomicU64,
    /// Faults that were done.
    pub faults: AtomicU64,
    /// Set it to end the run early: what is under way then has a second to end, processes are
    /// resumed and ended, and what a program does last is left out.
    pub halt: AtomicBool,
}

/// What a run leaves.
#[derive(Debug)]
pub struct Ran {
    /// What happened.
    pub history: History,
    /// How long it took, set-up and all.
    pub elapsed: Duration,
    /// When the workers began their steps, in nanoseconds of the history.
    pub began_ns: u64,
    /// How many steps of its source each worker began.
    pub steps: Vec<u64>,
    /// How many processes the workers were spread over.
    pub processes: u32,
    /// By how much the clock of each was off.
    pub clock_offsets_ms: Vec<i64>,
    /// How many steps ended because what they waited for did not come.
    pub in_vain: u64,
    /// How long the workers were at their steps.
    pub at_work: Duration,
    /// What went wrong in the harness itself while the run went on.
    pub troubles: Vec<String>,
    /// The last of what the processes wrote for people.
    pub notes: String,
}

/// Why there was no run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The driver lacks something that the plan needs.
    #[error("not offered: {}", .0.join(", "))]
    NotOffered(Vec<&'static str>),
    /// The driver doesn't start.
    #[error("the driver doesn't start: {0:#}")]
    Driver(anyhow::Error),
    /// Whatever is in it would be taken for what the run did.
    #[error("{} is there already: a run begins with an empty database", .0.display())]
    DatabaseExists(PathBuf),
    /// The harness can't do its own part.
    #[error("{0:#}")]
    Harness(#[from] anyhow::Error),
}

/// What all threads of a run share.
struct Shared<'a> {
    course: Course<'a>,
    recorder: &'a Recorder,
    crew: &'a Crew<'a>,
    signals: signals::Signals,
    /// All wait here between the phases: the workers and the main thread.
    phase: Barrier,
    /// When workers stop.
    until: std::sync::OnceLock<Instant>,
    /// As many faults were done as were asked for: workers stop.
    enough: AtomicBool,
}

impl<'a> Shared<'a> {
    fn new(course: Course<'a>, recorder: &'a Recorder, crew: &'a Crew<'a>) -> Self {
        let workers = course.plan.workers;
        Self {
            course,
            recorder,
            crew,
            signals: signals::Signals::new(workers),
            phase: Barrier::new(usize::try_from(workers).unwrap_or(0) + 1),
            until: std::sync::OnceLock::new(),
            enough: AtomicBool::new(false),
        }
    }

    fn time_is_up(&self) -> bool {
        self.course.progress.halt.load(Ordering::Relaxed)
            || self.enough.load(Ordering::Relaxed)
            || self
                .until
                .get()
                .is_some_and(|until| Instant::now() >= *until)
    }
}

/// Runs `plan` on `driver`; `history` gets the history's lines as they happen.
///
/// # Errors
/// There was no run.
pub fn run(
    driver: &dyn Driver,
    plan: &Plan,
    settings: &Settings,
    progress: &Progress,
    history: Option<Box<dyn Write + Send>>,
) -> Result<Ran, RunError> {
    let began = Instant::now();
    let temporary = match &settings.folder {
        Some(folder) => {
            refuse_database(folder)?;
            std::fs::create_dir_all(folder).map_err(anyhow::Error::from)?;
            None
        }
        None => Some(tempfile::tempdir().map_err(anyhow::Error::from)?),
    };
    let folder = temporary
        .as_ref()
        .map(tempfile::TempDir::path)
        .or(settings.folder.as_deref());
    let database = folder.unwrap_or(Path::new(".")).join(DATABASE);
    let init = Init {
        protocol: VERSION,
        database: database.clone(),
        clock_offset_ms: 0,
        clock_resolution_ms: plan.frame.clock_resolution_ms,
        settings: settings.driver_settings.clone(),
    };
    let description = match &settings.description {
        Some(description) => description.clone(),
        None => describe(driver, settings)?,
    };
    let missing = missing(driver, plan, settings, &description);
    if !missing.is_empty() {
        return Err(RunError::NotOffered(missing));
    }
    let recorder = Recorder::new(header(plan, settings, &description), history);
    // Whoever can have one client alone has a process for each.
    let processes = if description.offers(Capability::Clients) {
        let any = settings.processes;
        plan.frame.layout.processes(plan.workers, any)
    } else {
        plan.workers
    };
    let mut offsets = nemesis::clock_offsets(plan, settings, processes);
    offsets.resize(processes as usize, 0);
    let crew = Crew::new(
        driver,
        &recorder,
        progress,
        init,
        plan.workers,
        offsets.clone(),
        settings.helper.clone(),
        crew::OnFile {
            is_sqlite: description.offers(Capability::Sqlite),
            planted: settings.planted,
        },
    );
    let transactions = description.offers(Capability::Transactions);
    let course = Course::new(plan, settings, progress, transactions);
    let shared = Shared::new(course, &recorder, &crew);
    let phase = &shared.phase;
    let (mut began_ns, mut ended_ns) = (0, 0);
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| halt::watch(&shared, &ended));
        for number in 0..plan.workers {
            let shared = &shared;
            scope.spawn(move || real::live(shared, number));
        }
        // Set-up, then prologue, then steps.
        phase.wait();
        phase.wait();
        if let Some(duration) = settings.duration {
            let _ = shared.until.set(Instant::now() + duration);
        }
        began_ns = recorder.now_ns();
        nemesis::rage(&shared);
        phase.wait();
        ended_ns = recorder.now_ns();
        // Epilogue, then tear-down.
        phase.wait();
        phase.wait();
        ended.store(true, Ordering::Relaxed);
    });
    let steps = shared
        .course
        .steps
        .iter()
        .map(|steps| steps.load(Ordering::Relaxed))
        .collect();
    let in_vain = shared.course.in_vain.load(Ordering::Relaxed);
    let (notes, mut troubles) = crew.end();
    if description.offers(Capability::Sqlite) {
        match integrity::check(&database) {
            Ok(said) => recorder.seen(Seen::IntegrityCheck(said)),
            // Perhaps there is no file yet.
            Err(_) if progress.halt.load(Ordering::Relaxed) => {}
            Err(error) => troubles.push(format!("integrity_check: {error}")),
        }
    }
    let (history, error) = recorder.finish();
    troubles.extend(error);
    Ok(Ran {
        history,
        elapsed: began.elapsed(),
        began_ns,
        steps,
        processes,
        clock_offsets_ms: offsets,
        in_vain,
        at_work: Duration::from_nanos(ended_ns - began_ns),
        troubles,
        notes,
    })
}

/// What the database is called in its folder.
const DATABASE: &str = "store.db";

/// Sees to it that the folder, where a database is to be kept, has none yet.
///
/// # Errors
/// It has one.
pub fn refuse_database(folder: &Path) -> Result<(), RunError> {
    let database = folder.join(DATABASE);
    match std::fs::symlink_metadata(&database) {
        Ok(_) => Err(RunError::DatabaseExists(database)),
        Err(_) => Ok(()),
    }
}

/// What a driver says of itself.
///
/// # Errors
/// It doesn't start.
pub fn describe(driver: &dyn Driver, settings: &Settings) -> Result<Description, RunError> {
    // In a folder of its own: it may create the file.
    let aside = tempfile::tempdir().map_err(anyhow::Error::from)?;
    let init = Init {
        protocol: VERSION,
        database: aside.path().join(DATABASE),
        clock_offset_ms: 0,
        clock_resolution_ms: 0,
        settings: settings.driver_settings.clone(),
    };
    let process = driver.start(&init).map_err(RunError::Driver)?;
    Ok(process.description().clone())
}

/// What the driver lacks, by name.
pub(crate) fn missing(
    driver: &dyn Driver,
    plan: &Plan,
    settings: &Settings,
    description: &Description,
) -> Vec<&'static str> {
    let mut needs = plan.requires.clone();
    needs.extend(
        plan.frame
            .requires(description.offers(Capability::Transactions)),
    );
    needs.extend(settings.faults.iter().filter_map(|fault| fault.requires()));
    needs.sort_unstable();
    needs.dedup();
    let lacking = needs.into_iter().filter(|need| !description.offers(*need));
    let mut missing: Vec<_> = lacking.map(Capability::name).collect();
    let wants_processes = settings.faults.iter().any(|fault| fault.needs_processes());
    if (wants_processes || plan.frame.needs_processes()) && !driver.has_processes() {
        missing.push("processes");
    }
    let wants_helper =
        settings.faults.contains(&FaultKind::BusyWriter) || plan.frame.has_busy_writers();
    if plan.frame.needs_simulator() {
        missing.push("simulator");
    }
    if wants_helper && settings.helper.is_none() {
        missing.push("helper");
    }
    missing
}

/// The plan's checks, without what is never looked at.
pub(crate) fn checks(plan: &Plan, description: &Description) -> Vec<CheckSpec> {
    let mut checks = plan.frame.checks.clone();
    checks.retain(|check| *check != CheckSpec::Integrity || description.offers(Capability::Sqlite));
    checks
}

/// What a history of the plan begins with.
pub(crate) fn header(plan: &Plan, settings: &Settings, description: &Description) -> Header {
    Header {
        history: 1,
        program: plan.frame.name.clone(),
        promise: plan.frame.promise.clone(),
        seed: settings.seed,
        workers: plan.workers,
        driver: description.clone(),
        bounds: settings.bounds.clone(),
        checks: checks(plan, description),
        replay: settings.replay.clone(),
        unix_s: SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0.0, |since| since.as_secs_f64()),
        virtual_time: false,
    }
}
