//! One simulated run, from the plan to the verdict.

use super::allowed;
use super::audit::{Durability, Verdict as Soundness};
use super::disk::Disk;
use super::room::{DATABASE, Furniture, REGIONS, Room, SharedRoom};
use super::schedule::{Policy, Scheduler};
use super::settings::{Checkpoints, Decided, Settings, Stream};
use super::simulated::Simulated;
use super::time::{Time, WallClock};
use super::trace::Trace;
use super::world::{SimulatedWorld, Stage};
use crate::check::{CheckResult, CheckSpec, judge};
use crate::driver::beaver::{self, Settings as DriverSettings};
use crate::history::{Recorder, Seen};
use crate::program::Plan;
use crate::protocol::{Description, VERSION};
use crate::run::worker::Worker;
use crate::run::world::{Course, PHASES, World as _};
use crate::run::{self, Progress};
use anyhow::Context as _;
use beaver_host::Host;
use beaver_host::machine::{MachineHost, SharedMemory};
use rand::Rng as _;
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// A component that is ready to be simulated. One run at a time.
pub struct Simulator {
    host: MachineHost,
    memory: Arc<SharedMemory>,
    soundness: Mutex<Soundness>,
    /// Disks with an empty database, by how it was opened.
    disks: Mutex<BTreeMap<(bool, bool), Disk>>,
}

/// How often guests may use up a whole slice without a host call: after some patience is known to end.
const SLICES_MAX: u64 = 20;

/// At the same time, of all simulators that share a compiled component.
const INSTANCES_MAX: u32 = 1024;

/// One bit each, and one for who opens the database after all.
const WORKERS_MAX: u32 = 63;

/// Host calls, more than any sensible run makes.
const CALLS_MAX: u64 = 3_000_000;

impl Simulator {
    /// The component in this file, compiled for the simulator (from the cache, if it is there).
    ///
    /// # Errors
    /// It can't be loaded.
    pub fn new(component: &Path) -> anyhow::Result<Self> {
        let host = Host::builder()
            .component_file(component)
            .max_instances(INSTANCES_MAX)
            .build_for_machines()
            .with_context(|| component.display().to_string())?;
        Ok(Self {
            host,
            memory: Arc::new(SharedMemory::new(REGIONS)?),
            soundness: Mutex::new(Soundness::new()?),
            disks: Mutex::default(),
        })
    }

    /// Another one of the same component, for a run at the same time.
    ///
    /// # Errors
    /// There is no memory for it.
    pub fn beside(&self) -> anyhow::Result<Self> {
        Ok(Self {
            host: self.host.clone(),
            memory: Arc::new(SharedMemory::new(REGIONS)?),
            soundness: Mutex::new(Soundness::new()?),
            disks: Mutex::default(),
        })
    }

    /// Simulates `plan`.
    ///
    /// # Errors
    /// There was no run.
    pub fn run(&self, plan: &Plan, settings: &Settings) -> anyhow::Result<Simulated> {
        anyhow::ensure!(
            plan.workers <= WORKERS_MAX,
            "the simulator takes up to {WORKERS_MAX} workers"
        );
        let decided = settings.decide(plan);
        let disk = self.prepared(&decided)?;
        self.enact(disk, plan, settings, decided, &mut Disk::new(), None)
    }

    /// Simulates `plan` once more, and writes its history.
    ///
    /// # Errors
    /// There was no run. Whether all was written, [`Simulated::troubles`] says.
    pub fn record(
        &self,
        plan: &Plan,
        settings: &Settings,
        into: Box<dyn Write + Send>,
    ) -> anyhow::Result<Simulated> {
        let decided = settings.decide(plan);
        let disk = self.prepared(&decided)?;
        self.enact(disk, plan, settings, decided, &mut Disk::new(), Some(into))
    }

    /// A disk with an empty database, that was opened and closed once.
    fn prepared(&self, decided: &Decided) -> anyhow::Result<Disk> {
        let key = (decided.full_durability, decided.rollback_journal);
        let mut disks = self.disks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(disk) = disks.get(&key) {
            return Ok(disk.clone());
        }
        let nothing = Plan::from(crate::program::Program {
            program: 1,
            name: "empty database".into(),
            workers: vec![Vec::new()],
            ..crate::program::Program::default()
        });
        let settings = Settings {
            policy: Policy::Script,
            full_durability: Some(decided.full_durability),
            rollback_journal: Some(decided.rollback_journal),
            ..Settings::default()
        };
        let decided = settings.decide(&nothing);
        let mut left = Disk::new();
        let ran = self.enact(Disk::new(), &nothing, &settings, decided, &mut left, None)?;
        anyhow::ensure!(
            ran.findings.is_empty() && ran.troubles.is_empty(),
            "an empty database can't be made: {:?} {:?}",
            ran.findings,
            ran.troubles
        );
        left.sync_all();
        disks.insert(key, left.clone());
        Ok(left)
    }

    fn enact(
        &self,
        disk: Disk,
        plan: &Plan,
        settings: &Settings,
        decided: Decided,
        left: &mut Disk,
        file: Option<Box<dyn Write + Send>>,
    ) -> anyhow::Result<Simulated> {
        let driver_settings = DriverSettings {
            full_durability: decided.full_durability,
            rollback_journal: decided.rollback_journal,
            ..DriverSettings::read(&serde_json::Map::new())?
        };
        let run_settings = run::Settings {
            seed: settings.seed,
            steps_max: plan.frame.workers.is_empty().then_some(settings.steps_max),
            ..run::Settings::default()
        };
        let description = Description {
            protocol: VERSION,
            name: "beaver-wasm, simulated".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            capabilities: beaver::capabilities(&driver_settings, true),
        };
        let mut header = run::header(plan, &run_settings, &description);
        header.unix_s = 0.0;
        header.virtual_time = true;
        header.replay.clone_from(&settings.replay);
        header.checks.push(CheckSpec::Audit);
        let time = Time::default();
        let clock = time.clone();
        let recorder = Recorder::with_clock(header, file, Box::new(move || clock.now_ns()));
        let recorder = Arc::new(recorder);
        let workers = plan.workers;
        // Who opens the database after all lives in the first process.
        let processes = decided.processes.max(1) as usize;
        let mut actors: Vec<usize> = (0..workers as usize).map(|w| w % processes).collect();
        actors.push(0);
        let resolution_ms = plan.frame.clock_resolution_ms;
        let wall = |(offset_ms, drift_ppm): &(i64, i64)| {
            let wall = WallClock::new(*offset_ms, *drift_ppm, resolution_ms);
            (*offset_ms, wall)
        };
        let room = Room::furnish(Furniture {
            time,
            disk,
            recorder: Arc::clone(&recorder),
            scheduler: Scheduler::new(
                settings.policy,
                settings.cuts,
                &settings.script,
                workers + 1,
                decided.horizon * u64::from(workers) * 2,
                settings.random(plan, Stream::Schedule),
            )
            .keep_choices(settings.choices),
            trace: Trace::new(settings.trace),
            faults: decided.faults.clone(),
            memory: Arc::clone(&self.memory),
            actors,
            workers,
            clocks: decided.clocks.iter().map(wall).collect(),
            chance: settings.random(plan, Stream::Chance),
            defects: settings.defects,
            to_the_end: settings.faults.is_some(),
            durability: if decided.full_durability {
                Durability::Full
            } else {
                Durability::Normal
            },
        });
        let progress = Progress::default();
        let halted = Arc::clone(&room.lock().halted);
        let stage = Stage {
            room,
            host: &self.host,
            settings: &driver_settings,
            progress: &progress,
            recorder,
            seed: settings.seed,
            workers,
            halted: Arc::clone(&halted),
        };
        let course = Course::new(plan, &run_settings, &progress, true);
        let worlds: Vec<_> = (0..=workers)
            .map(|actor| SimulatedWorld::new(&stage, actor))
            .collect();
        let mut lives: Vec<Pin<Box<dyn Future<Output = ()> + '_>>> = Vec::new();
        for (number, world) in (0..workers).zip(&worlds) {
            lives.push(Box::pin(Worker::new(world, &course, number).live()));
        }
        if let Some(world) = worlds.last() {
            let random = settings.random(plan, Stream::Checkpoints);
            lives.push(Box::pin(operate(world, decided.checkpoints, random)));
        }
        let is_stuck = !see_through(&stage.room, &mut lives);
        drop(lives);
        drop(worlds);
        let Stage { room, recorder, .. } = stage;
        let mut room = room.into_inner().context("somebody keeps the room")?;
        if is_stuck && room.findings.is_empty() && room.troubles.is_empty() {
            let waiting = room.waiting();
            room.findings
                .push(format!("nobody can ever go on: {waiting}"));
        }
        self.inspect(&mut room);
        tell(&recorder, &room.findings);
        *left = room.disk;
        drop(room.recorder);
        let recorder = Arc::into_inner(recorder).context("somebody keeps the history")?;
        let (mut history, error) = recorder.finish();
        allowed::allow(&mut history, &room.fallen);
        let mut troubles = room.troubles;
        troubles.extend(error);
        let mut results = judge(&history);
        if halted.load(Ordering::Relaxed) || is_stuck {
            results.iter_mut().for_each(CheckResult::is_of_a_part);
        }
        let trace_hash = room.trace.hash();
        let (lines, places) = room.trace.into_words();
        let calls = room.actors_calls;
        let (script, choices) = room.scheduler.into_script();
        Ok(Simulated {
            history,
            results,
            findings: room.findings,
            troubles,
            trace_hash,
            trace: lines,
            places,
            faults: room.fallen,
            script,
            choices,
            calls,
            virtual_ns: room.time.now_ns(),
            full_durability: decided.full_durability,
            rollback_journal: decided.rollback_journal,
            processes: decided.processes,
            was_cut_short: halted.load(Ordering::Relaxed),
        })
    }

    /// Looks at what is left when nobody has the database open any more.
    fn inspect(&self, room: &mut Room) {
        room.actors_calls = room.calls();
        room.look();
        let image = super::audit::recovered_image(&super::room::DiskFiles(&room.disk));
        let mut soundness = self
            .soundness
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        match soundness.check(image) {
            Err(wrong) => {
                room.recorder.seen(Seen::IntegrityCheck(wrong.clone()));
                room.findings.push(format!("integrity_check: {wrong}"));
            }
            Ok(contents) => {
                room.recorder.seen(Seen::IntegrityCheck("ok".to_owned()));
                // A power loss may have taken back the commit that put a row away.
                let is_taken_back = room.power_losses > 0 && room.durability == Durability::Normal;
                if is_taken_back || allowed::may_leave_rows(&room.fallen) {
                    return;
                }
                for waiter in contents.waiters {
                    let token = live_token(&waiter.waiter_id);
                    if token.is_none_or(|token| !room.crashed_tokens.contains(&token)) {
                        room.findings.push(format!(
                            "a row of the lock {} was left behind by {}, who has ended in good order",
                            waiter.lock_name, waiter.waiter_id
                        ));
                    }
                }
            }
        }
    }
}

/// Enters what the audit found, so that the history alone shows it.
fn tell(recorder: &Recorder, findings: &[String]) {
    for finding in findings {
        recorder.seen(Seen::Audit(finding.clone()));
    }
    if findings.is_empty() {
        recorder.seen(Seen::Audit("ok".to_owned()));
    }
}

/// The claim that the connection of a row's owner lives by: `live:<token><random>:<n>`.
fn live_token(waiter_id: &str) -> Option<u64> {
    let (token, _) = waiter_id.strip_prefix("live:")?.split_at_checked(16)?;
    u64::from_str_radix(token, 16).ok()
}

/// Polls whoever is to go on until all have ended; false: nobody can go on, or it comes to no end.
fn see_through(room: &SharedRoom, lives: &mut [Pin<Box<dyn Future<Output = ()> + '_>>]) -> bool {
    let mut context = Context::from_waker(Waker::noop());
    let mut left = lives.len();
    while left > 0 {
        let next = room.lock().next();
        let Some(life) = next.and_then(|next| lives.get_mut(next as usize)) else {
            return false;
        };
        let actor = next.unwrap_or(0);
        match life.as_mut().poll(&mut context) {
            Poll::Ready(()) => {
                room.lock().done(actor);
                left -= 1;
            }
            Poll::Pending => {
                let mut room = room.lock();
                if !room.has_next() {
                    room.was_cut(actor);
                }
                if room.slices_used_up() > SLICES_MAX {
                    room.findings
                        .push("guests compute for ever and call nobody".to_owned());
                    return false;
                }
                if room.total_calls() > CALLS_MAX {
                    room.troubles.push("the run comes to no end".to_owned());
                    return false;
                }
            }
        }
    }
    true
}

/// Somebody beside the workers: checkpoints while they do their steps, now and then after a pause,
/// and opens the database when they are done, and closes it.
async fn operate(world: &SimulatedWorld<'_>, checkpoints: Checkpoints, mut random: ChaCha8Rng) {
    world.after_phases(1).await;
    let mut session = None;
    for _ in 0..checkpoints.count {
        if !checkpoints.beside_writers && random.random_bool(0.5) {
            let pause = Duration::from_micros(random.random_range(0..CHECKPOINT_PAUSE_MAX_US));
            world.sleep(pause).await;
        }
        if checkpoints.beside_writers {
            world.until_somebody_begins_to_write().await;
        }
        session = world.checkpoint(session).await;
    }
    if let Some(session) = session {
        let closed = session.close().await;
        world.unless_a_fault_explains(closed.err(), "closed after a checkpoint");
    }
    world.after_phases(PHASES).await;
    loop {
        let fallen = world.fallen();
        let what = match world.open_at_last().await {
            Ok(session) => match session.close().await {
                Ok(()) => return,
                // Ended in the middle by a fault: nobody's refusal.
                Err(_) if world.fallen() > fallen => continue,
                Err(failure) => format!("closed after all: {failure}"),
            },
            Err(failure) => format!("opened after all: {failure}"),
        };
        world.found(format!("{DATABASE} could not be {what}"));
        return;
    }
}

/// How long whoever checkpoints does nothing in between, at most.
const CHECKPOINT_PAUSE_MAX_US: u64 = 1000;

/// How long who opens the database after all tries it.
pub(super) const AFTER_ALL: Duration = Duration::from_secs(60);
