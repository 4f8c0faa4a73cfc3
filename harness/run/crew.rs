//! The processes and clients of a run, and what is done to them.
//!
//! What must stay true: a session is entered in the history once it is ready, and as over exactly
//! once; a fault is entered before it is done, so that whatever follows from it comes later.

use super::busy_writer::BusyWriter;
use crate::driver::{Abandon, Client, Driver, Process};
use crate::history::{Recorder, Seen, SessionEnd};
use crate::program::Fault;
use crate::protocol::{ErrorCode, Failure, Init};
use anyhow::Context as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How often a client is tried to be opened, and how long to wait between.
const OPEN_TRIES: u32 = 50;
const OPEN_PAUSE: Duration = Duration::from_millis(100);

/// A place for a process and its successors.
struct Slot {
    process: Mutex<Option<(u32, Arc<dyn Process>)>>,
    clock_offset_ms: i64,
}

/// A session that goes on.
#[derive(Clone)]
struct Live {
    session: u64,
    abandoner: Arc<dyn Abandon>,
    /// How it is about to end.
    doom: Option<SessionEnd>,
}

/// An open client and its session.
pub(super) struct Opened {
    pub(super) session: u64,
    pub(super) client: Box<dyn Client>,
}

pub(super) struct Crew<'a> {
    driver: &'a dyn Driver,
    recorder: &'a Recorder,
    init: Init,
    slots: Vec<Slot>,
    /// By worker.
    live: Vec<Mutex<Option<Live>>>,
    processes: AtomicU32,
    unfinished: AtomicU32,
    notes: Mutex<String>,
    troubles: Mutex<Vec<String>>,
    helper: Option<PathBuf>,
    writers: Mutex<Vec<BusyWriter>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<'a> Crew<'a> {
    pub(super) fn new(
        driver: &'a dyn Driver,
        recorder: &'a Recorder,
        init: Init,
        processes: u32,
        workers: u32,
        offsets_ms: Vec<i64>,
        helper: Option<PathBuf>,
    ) -> Self {
        let slots = (0..processes as usize).map(|at| Slot {
            process: Mutex::new(None),
            clock_offset_ms: offsets_ms.get(at).copied().unwrap_or(0),
        });
        Self {
            driver,
            recorder,
            init,
            slots: slots.collect(),
            live: (0..workers).map(|_| Mutex::new(None)).collect(),
            processes: AtomicU32::new(0),
            unfinished: AtomicU32::new(workers),
            notes: Mutex::new(String::new()),
            troubles: Mutex::new(Vec::new()),
            helper,
            writers: Mutex::new(Vec::new()),
        }
    }

    fn slot(&self, worker: u32) -> &Slot {
        &self.slots[worker as usize % self.slots.len()]
    }

    /// Workers that share the process of `worker`.
    fn mates(&self, worker: u32) -> impl Iterator<Item = usize> {
        let slots = self.slots.len();
        (worker as usize % slots..self.live.len()).step_by(slots)
    }

    /// A client of its own for the worker.
    pub(super) fn open(&self, worker: u32) -> Result<Opened, Failure> {
        let mut failure = None;
        for _ in 0..OPEN_TRIES {
            match self.try_open(worker) {
                Ok(opened) => return Ok(opened),
                Err(error) => {
                    if failure.is_none() {
                        let note =
                            format!("worker {worker} could not open a client at once: {error}");
                        self.recorder.seen(Seen::Note(note));
                    }
                    failure = Some(error);
                    std::thread::sleep(OPEN_PAUSE);
                }
            }
        }
        Err(failure.unwrap_or_else(|| Failure::new(ErrorCode::Failed, "not tried")))
    }

    fn try_open(&self, worker: u32) -> Result<Opened, Failure> {
        let slot = self.slot(worker);
        // Held until the session is entered, so that a kill knows whom it hits.
        let mut current = lock(&slot.process);
        let (number, process) = match &*current {
            Some(started) => started.clone(),
            None => {
                let init = Init {
                    clock_offset_ms: slot.clock_offset_ms,
                    ..self.init.clone()
                };
                let started = self.driver.start(&init);
                let started = started
                    .map_err(|error| Failure::new(ErrorCode::Failed, format!("{error:#}")))?;
                let number = self.processes.fetch_add(1, Ordering::Relaxed) + 1;
                current.insert((number, started)).clone()
            }
        };
        match process.open(worker) {
            Ok(client) => {
                let mut live = lock(&self.live[worker as usize]);
                let session = self.recorder.session(worker, number, slot.clock_offset_ms);
                *live = Some(Live {
                    session,
                    abandoner: client.abandoner(),
                    doom: None,
                });
                Ok(Opened { session, client })
            }
            Err(error) => {
                if error.error == ErrorCode::Gone {
                    self.keep_notes(number, &process);
                    *current = None;
                }
                Err(error)
            }
        }
    }

    /// Whether nothing is known to have ended the worker's session.
    pub(super) fn is_live(&self, worker: u32, session: u64) -> bool {
        let live = lock(&self.live[worker as usize]);
        live.as_ref()
            .is_some_and(|live| live.session == session && live.doom.is_none())
    }

    /// A worker has done its steps.
    pub(super) fn finished(&self) {
        self.unfinished.fetch_sub(1, Ordering::Relaxed);
    }

    /// Whether all have.
    pub(super) fn idle(&self) -> bool {
        self.unfinished.load(Ordering::Relaxed) == 0
    }

    fn keep_notes(&self, number: u32, process: &Arc<dyn Process>) {
        let said = process.notes();
        if !said.is_empty() {
            let mut notes = lock(&self.notes);
            *notes += &format!("process {number}:\n{}\n", said.trim_end());
        }
    }

    /// The worker's session is over; `how` if nothing is known to have been done to it.
    pub(super) fn over(&self, worker: u32, session: u64, how: SessionEnd) {
        let mut live = lock(&self.live[worker as usize]);
        if let Some(known) = live.take_if(|known| known.session == session) {
            self.recorder.over(session, known.doom.unwrap_or(how));
        }
    }

    /// Does it; returns whether there was anybody to do it to.
    pub(super) fn inflict(&self, fault: Fault) -> anyhow::Result<bool> {
        let worker = fault.worker().unwrap_or(0);
        let known = (worker as usize) < self.live.len();
        anyhow::ensure!(known, "there is no worker {worker}");
        match fault {
            Fault::BusyWriter { for_ms } => {
                let helper = self
                    .helper
                    .as_ref()
                    .context("no executable for it is known")?;
                let duration = Duration::from_millis(for_ms);
                self.recorder.fault(fault, Vec::new());
                let started = BusyWriter::start(helper, &self.init.database, duration);
                lock(&self.writers).push(started.inspect_err(|_| {
                    self.recorder.resumed(Vec::new());
                })?);
            }
            Fault::Kill { .. } => {
                let mut slot = lock(&self.slot(worker).process);
                let Some((number, process)) = slot.take() else {
                    return Ok(false);
                };
                let doomed = self.doom(fault, self.mates(worker), SessionEnd::Killed);
                let killed = process.kill();
                self.keep_notes(number, &process);
                for (worker, live) in doomed {
                    self.over(worker, live.session, SessionEnd::Killed);
                }
                killed?;
            }
            Fault::Stop { for_ms, .. } => {
                let Some((_, process)) = lock(&self.slot(worker).process).clone() else {
                    return Ok(false);
                };
                let mates = self
                    .mates(worker)
                    .filter_map(|mate| lock(&self.live[mate]).as_ref().map(|live| live.session));
                let sessions: Vec<u64> = mates.collect();
                self.recorder.fault(fault, sessions.clone());
                let stopped = process.stop();
                std::thread::sleep(Duration::from_millis(for_ms));
                let resumed = process.resume();
                self.recorder.resumed(sessions);
                // One that has just ended is nobody's trouble.
                return Ok(stopped.is_ok() && resumed.is_ok());
            }
            Fault::Drop { .. } | Fault::Trap { .. } => {
                // Held, so that the worker opens no other client before this one is abandoned.
                let _slot = lock(&self.slot(worker).process);
                let trap = matches!(fault, Fault::Trap { .. });
                let how = if trap {
                    SessionEnd::Trapped
                } else {
                    SessionEnd::Dropped
                };
                let victim = std::iter::once(worker as usize);
                let Some((_, live)) = self.doom(fault, victim, how).pop() else {
                    return Ok(false);
                };
                let abandoned = live.abandoner.abandon(trap);
                self.over(worker, live.session, how);
                abandoned?;
            }
        }
        Ok(true)
    }

    /// Enters what is about to be done to the sessions of these workers, and notes how they end.
    /// All in one go: a worker that finds its session doomed gives it up at once, which must
    /// not come before the fault. Nothing is entered if a single client isn't there.
    fn doom(
        &self,
        fault: Fault,
        workers: impl Iterator<Item = usize>,
        how: SessionEnd,
    ) -> Vec<(u32, Live)> {
        let mut lives: Vec<_> = workers
            .filter_map(|worker| Some((u32::try_from(worker).ok()?, lock(&self.live[worker]))))
            .collect();
        lives.retain(|(_, live)| live.is_some());
        if lives.is_empty() && !matches!(fault, Fault::Kill { .. }) {
            return Vec::new();
        }
        let sessions = lives.iter().flat_map(|(_, live)| live.as_ref());
        let sessions = sessions.map(|live| live.session).collect();
        self.recorder.fault(fault, sessions);
        let doomed = lives.iter_mut().filter_map(|(worker, live)| {
            let live = live.as_mut()?;
            live.doom = Some(how);
            Some((*worker, live.clone()))
        });
        doomed.collect()
    }

    /// Something is wrong in the harness.
    pub(super) fn trouble(&self, what: impl Into<String>) {
        lock(&self.troubles).push(what.into());
    }

    /// Enters the ends of the busy writers that have ended; with `all`, waits for the others.
    pub(super) fn reap_writers(&self, all: bool) {
        let mut writers = lock(&self.writers);
        writers.retain_mut(|writer| {
            let ended = writer.has_ended(all);
            if ended {
                self.recorder.resumed(Vec::new());
            }
            !ended
        });
    }

    /// Ends all processes; returns what they wrote for people, and the troubles.
    pub(super) fn end(&self) -> (String, Vec<String>) {
        self.reap_writers(true);
        for slot in &self.slots {
            if let Some((number, process)) = lock(&slot.process).take() {
                self.keep_notes(number, &process);
            }
        }
        (
            std::mem::take(&mut lock(&self.notes)),
            std::mem::take(&mut lock(&self.troubles)),
        )
    }
}
