//! The processes and clients of a run, and what is done to them.
//!
//! What must stay true: a session is entered in the history once it is ready, and as over exactly
//! once; a fault is entered before it is done, so that whatever follows from it comes later; once
//! the run is halted no process stays stopped and no client is opened.

mod everybody;
mod inflict;

use super::Progress;
use super::busy_writer::BusyWriter;
use super::remains::PlantedLoss;
use super::world::{Opened, Refused};
use crate::driver::{Abandon, Client, Driver, Process};
use crate::history::{Recorder, Seen, SessionEnd};
use crate::protocol::{ErrorCode, Failure, Init};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a worker tries to open its first client, and how long it waits between.
const OPEN_PATIENCE: Duration = Duration::from_secs(5);
const OPEN_PAUSE: Duration = Duration::from_millis(100);

/// How long a halted run may go unnoticed.
const HALT_SLICE: Duration = Duration::from_millis(20);

/// A place for a process and its successors.
struct Slot {
    /// Held while a process starts or a client is opened, until the session is entered: so a kill
    /// knows whom it hits.
    opening: Mutex<()>,
    started: Mutex<Option<Started>>,
    clock_offset_ms: i64,
}

impl Slot {
    fn started(&self) -> Option<Started> {
        lock(&self.started).clone()
    }
}

/// A process and its number.
#[derive(Clone)]
struct Started {
    number: u32,
    process: Arc<dyn Process>,
    /// All its sessions so far. Locked while one is entered, so that a pause knows whom it hits.
    entered: Arc<Mutex<Vec<u64>>>,
    /// How many pauses it is in: it stands still until the last of them is over.
    pauses: Arc<Mutex<u32>>,
}

/// A session that goes on.
#[derive(Clone)]
struct Live {
    session: u64,
    abandoner: Arc<dyn Abandon>,
    doom: Option<Doom>,
}

/// How a session is about to end.
#[derive(Clone, Copy)]
enum Doom {
    Sure(SessionEnd),
    /// Its process is being killed, unless it has ended already: whoever kills it will know, and
    /// enter it.
    Dying,
}

pub(super) struct Crew<'a> {
    driver: &'a dyn Driver,
    recorder: &'a Recorder,
    progress: &'a Progress,
    init: Init,
    slots: Vec<Slot>,
    /// By worker.
    live: Vec<Mutex<Option<Live>>>,
    processes: AtomicU32,
    unfinished: AtomicU32,
    /// All clients were given up: what is lost from now on is so for that reason.
    given_up: AtomicBool,
    notes: Mutex<String>,
    troubles: Mutex<Vec<String>>,
    helper: Option<PathBuf>,
    /// And the numbers of their pauses.
    writers: Mutex<Vec<(u64, BusyWriter)>>,
    on_file: OnFile,
}

/// What can be done with the file while no process is left.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct OnFile {
    /// Whether it is a database of SQLite's.
    pub(super) is_sqlite: bool,
    pub(super) planted: Option<PlantedLoss>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<'a> Crew<'a> {
    /// A process for each of `clock_offsets_ms`.
    #[expect(clippy::too_many_arguments, reason = "each is another side of a run")]
    pub(super) fn new(
        driver: &'a dyn Driver,
        recorder: &'a Recorder,
        progress: &'a Progress,
        init: Init,
        workers: u32,
        clock_offsets_ms: Vec<i64>,
        helper: Option<PathBuf>,
        on_file: OnFile,
    ) -> Self {
        let slots = clock_offsets_ms.into_iter().map(|clock_offset_ms| Slot {
            opening: Mutex::new(()),
            started: Mutex::new(None),
            clock_offset_ms,
        });
        Self {
            driver,
            recorder,
            progress,
            init,
            slots: slots.collect(),
            live: (0..workers).map(|_| Mutex::new(None)).collect(),
            processes: AtomicU32::new(0),
            unfinished: AtomicU32::new(workers),
            given_up: AtomicBool::new(false),
            notes: Mutex::new(String::new()),
            troubles: Mutex::new(Vec::new()),
            helper,
            writers: Mutex::new(Vec::new()),
            on_file,
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

    /// The worker's first client.
    pub(super) fn open(&self, worker: u32) -> Result<Opened<Box<dyn Client>>, Refused> {
        self.open_within(OPEN_PATIENCE, worker)
    }

    /// Another one, tried for at least as long as `patience`: the system may have to recover.
    pub(super) fn reopen(
        &self,
        worker: u32,
        patience: Duration,
    ) -> Result<Opened<Box<dyn Client>>, Refused> {
        self.open_within(patience.max(OPEN_PATIENCE), worker)
    }

    fn open_within(
        &self,
        limit: Duration,
        worker: u32,
    ) -> Result<Opened<Box<dyn Client>>, Refused> {
        let began = Instant::now();
        let mut noted = false;
        loop {
            let refused = match self.try_open(worker) {
                Ok(opened) => return Ok(opened),
                Err(refused) => refused,
            };
            if began.elapsed() >= limit || self.is_halted() {
                return Err(refused);
            }
            if !noted {
                let note = format!("worker {worker} could not open a client at once: {refused}");
                self.recorder.seen(Seen::Note(note));
                noted = true;
            }
            self.sleep(OPEN_PAUSE);
        }
    }

    fn try_open(&self, worker: u32) -> Result<Opened<Box<dyn Client>>, Refused> {
        if self.is_halted() {
            return Err(Refused::Harness("the run was halted".to_owned()));
        }
        let slot = self.slot(worker);
        let _opening = lock(&slot.opening);
        let Started {
            number,
            process,
            entered,
            ..
        } = match slot.started() {
            Some(started) => started,
            None => {
                let init = Init {
                    clock_offset_ms: slot.clock_offset_ms,
                    ..self.init.clone()
                };
                let process = self.driver.start(&init);
                let process = process.map_err(|error| {
                    let why = format!("{error:#}");
                    // What the operating system refuses is no answer of the system's.
                    if error.chain().any(|cause| cause.is::<std::io::Error>()) {
                        Refused::Harness(why)
                    } else {
                        Refused::System(Failure::new(ErrorCode::Failed, why))
                    }
                })?;
                let number = self.processes.fetch_add(1, Ordering::Relaxed) + 1;
                lock(&slot.started)
                    .insert(Started {
                        number,
                        process,
                        entered: Arc::default(),
                        pauses: Arc::default(),
                    })
                    .clone()
            }
        };
        match process.open(worker) {
            Ok(client) => {
                let mut entered = lock(&entered);
                let mut live = lock(&self.live[worker as usize]);
                let session = self.recorder.session(worker, number, slot.clock_offset_ms);
                entered.push(session);
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
                    *lock(&slot.started) = None;
                }
                Err(Refused::System(error))
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

    fn is_halted(&self) -> bool {
        self.progress.halt.load(Ordering::Relaxed)
    }

    /// Sleeps; not longer than the run goes on.
    fn sleep(&self, duration: Duration) {
        let began = Instant::now();
        while !self.is_halted()
            && let Some(left) = duration.checked_sub(began.elapsed())
        {
            std::thread::sleep(left.min(HALT_SLICE));
        }
    }

    /// The worker's session is over; `how` if nothing is known to have been done to it.
    pub(super) fn over(&self, worker: u32, session: u64, how: SessionEnd) {
        let how = match how {
            SessionEnd::Lost if self.given_up.load(Ordering::Relaxed) => SessionEnd::GivenUp,
            how => how,
        };
        let mut live = lock(&self.live[worker as usize]);
        let ends =
            |known: &mut Live| known.session == session && !matches!(known.doom, Some(Doom::Dying));
        if let Some(known) = live.take_if(ends) {
            let how = match known.doom {
                Some(Doom::Sure(known)) => known,
                Some(Doom::Dying) | None => how,
            };
            self.recorder.over(session, how);
        }
    }

    /// Ends whatever clients do, and all processes; again for those that come up meanwhile.
    pub(super) fn give_up(&self) {
        self.given_up.store(true, Ordering::Relaxed);
        self.driver.give_up_starts();
        if self.driver.has_processes() {
            for slot in &self.slots {
                // Not `opening`: that may take as long as the process wants.
                let started = lock(&slot.started).take();
                if let Some(Started {
                    number, process, ..
                }) = started
                {
                    let _ = process.kill();
                    self.keep_notes(number, &process);
                }
            }
            return;
        }
        for live in &self.live {
            let abandoner = lock(live).as_ref().map(|it| Arc::clone(&it.abandoner));
            if let Some(abandoner) = abandoner {
                abandoner.give_up();
            }
        }
    }

    /// Something is wrong in the harness.
    pub(super) fn trouble(&self, what: impl Into<String>) {
        lock(&self.troubles).push(what.into());
    }

    /// Enters the ends of the busy writers that have ended; with `all`, ends the others.
    pub(super) fn reap_writers(&self, all: bool) {
        let mut writers = lock(&self.writers);
        writers.retain_mut(|(pause, writer)| {
            if all || self.is_halted() {
                writer.end();
            }
            let ended = writer.has_ended();
            if ended {
                self.recorder.resumed(*pause, Vec::new());
            }
            !ended
        });
    }

    /// Ends all processes; returns what they wrote for people, and the troubles.
    pub(super) fn end(&self) -> (String, Vec<String>) {
        self.reap_writers(true);
        for slot in &self.slots {
            let started = lock(&slot.started).take();
            if let Some(Started {
                number, process, ..
            }) = started
            {
                self.keep_notes(number, &process);
            }
        }
        (
            std::mem::take(&mut lock(&self.notes)),
            std::mem::take(&mut lock(&self.troubles)),
        )
    }
}
