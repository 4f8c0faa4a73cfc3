//! The simulated machine room: everything that instances share, and who goes on.
//!
//! A run has an actor for each worker, and a few more. An actor is a future, and exactly one of them is
//! polled at a time. It stops at each host call, when it has to wait, and when it has computed for
//! long; whenever one stops, the room chooses who goes on.
//!
//! What must stay true:
//! - Everything that happens is decided by the seed and by what instances do; nothing by the real
//!   machine's time, addresses, threads or the order of a hash table.
//! - Who waits for something is able to go on as soon as it may have come, and looks again.
//! - An instance that is gone holds nothing from that moment, though its guest's memory is given
//!   back later.

mod actors;
mod blows;
mod commits;
mod turns;

pub(super) use commits::DiskFiles;

use super::audit::{Durability, Ledger};
use super::disk::{Disk, FileId};
use super::fault::FaultPlan;
use super::hub::Hub;
use super::locks::{Attachments, Claims, FileLocks, Holder, LockFaults, ShmLocks, Ticket};
use super::schedule::Scheduler;
use super::time::{Time, WallClock};
use super::trace::Trace;
use crate::history::Recorder;
use crate::run::signals::SignalState;
use beaver_host::machine::{FileKind, SharedMemory, WatcherId};
use rand_chacha::ChaCha8Rng;
use rangemap::RangeSet;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Wake;
use std::time::Instant;

/// What the database is called.
pub(super) const DATABASE: &str = "store.db";

/// The wal-index of a log of 64 MiB.
pub(super) const REGIONS: usize = 4;

/// Where the first copy of the wal-index's header stands.
pub(super) const INDEX_HEADER_BYTES: usize = 48;

/// When so many phases are over, the workers have done their steps.
const STEPS_DONE: u32 = 3;

/// So many host calls are more than any operation of a sound database takes.
const CIRCLE_CALLS: u64 = 100_000;

/// Whoever is never waited for any longer.
const NEVER: u64 = u64::MAX;

/// What is wrong on purpose, to see whether it is found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Defects {
    /// A sync returns at once and makes nothing durable.
    pub sync_does_nothing: bool,
    /// See [`LockFaults::level_dropped`].
    pub lock_level_dropped: bool,
    /// See [`LockFaults::shm_ignored`].
    pub shm_lock_ignored: bool,
}

/// Somebody who acts: a worker, or who opens the database after all.
struct Actor {
    /// It never goes on again.
    ended: bool,
    /// When it may go on at the latest.
    until_ns: u64,
    /// When whoever waits for its call loses patience.
    patience_ns: u64,
    process: usize,
    /// Its instance, from before it is started until it is known to be gone.
    instance: Option<u64>,
    /// Its session, once it is entered.
    session: Option<u64>,
    /// How many host calls it made.
    calls: u64,
    /// How many of them since its instance or the operation under way began.
    in_a_row: u64,
    /// For how many instructions its guest may compute.
    slice: u32,
    /// For how long it stays away when it has.
    away_us: u32,
    /// When it has, or calls somebody before, it is dropped, by this fault.
    last_slice: Option<super::fault::Fault>,
}

/// What instances live in.
pub(super) struct Process {
    /// Its number in the history.
    pub(super) number: u32,
    pub(super) clock_offset_ms: i64,
    pub(super) wall: Arc<WallClock>,
    pub(super) hub: Hub,
    stopped: Option<Stopped>,
}

/// That a process stands still.
struct Stopped {
    until_ns: u64,
    /// The pause's number in the history.
    pause: u64,
    /// Whom it hit.
    sessions: Vec<u64>,
}

/// One instance.
pub(super) struct Instance {
    actor: u32,
    process: usize,
    pub(super) files: Vec<Option<OpenFile>>,
}

impl Instance {
    pub(super) fn process(&self) -> usize {
        self.process
    }
}

/// An open file.
pub(super) struct OpenFile {
    pub(super) id: FileId,
    pub(super) kind: FileKind,
    pub(super) name: String,
    pub(super) holder: Holder,
    pub(super) is_read_only: bool,
    pub(super) delete_on_close: bool,
    /// Whether its directory has yet to be synced for it to be found.
    pub(super) sync_directory: bool,
    /// Whether it says what its commits concern.
    pub(super) announces: bool,
    /// The last commit when it became the writer, if somebody waited then.
    pub(super) since: Option<u32>,
    /// Its own commit, once it isn't the writer any more.
    pub(super) committed: Option<u32>,
    pub(super) watcher: Option<WatcherId>,
}

/// Somebody else who keeps SQLite's write lock.
struct Stranger {
    holder: Holder,
    ticket: Option<Ticket>,
    for_ms: u32,
    /// Once it has the lock.
    until_ns: u64,
    pause: u64,
}

/// Whom a freed lock may let go first.
#[derive(Clone, Copy, Debug)]
enum Waiter {
    Actor(u32),
    Stranger,
}

/// See the module.
pub(super) struct Room {
    pub(super) time: Time,
    pub(super) disk: Disk,
    pub(super) recorder: Arc<Recorder>,
    pub(super) scheduler: Scheduler,
    pub(super) trace: Trace,
    pub(super) faults: FaultPlan,
    pub(super) locks: FileLocks,
    pub(super) shm: ShmLocks,
    pub(super) claims: Claims,
    pub(super) attached: Attachments,
    pub(super) memory: Arc<SharedMemory>,
    /// How many regions of it there are.
    pub(super) regions: u32,
    pub(super) processes: Vec<Process>,
    pub(super) instances: BTreeMap<u64, Instance>,
    pub(super) ledger: Option<Ledger>,
    pub(super) chance: ChaCha8Rng,
    pub(super) signals: SignalState,
    pub(super) defects: Defects,
    pub(super) durability: Durability,
    /// What was claimed by those who ended otherwise than in good order.
    pub(super) crashed_tokens: RangeSet<u64>,
    /// What isn't right, by the audit.
    pub(super) findings: Vec<String>,
    /// How many host calls each has made, when all is over.
    pub(super) actors_calls: Vec<u64>,
    /// What is wrong with the harness.
    pub(super) troubles: Vec<String>,
    /// The run is to end early.
    pub(super) halted: Arc<AtomicBool>,
    /// How many power losses there were.
    pub(super) power_losses: u32,
    /// The faults that came to pass.
    pub(super) fallen: Vec<super::fault::Fault>,
    /// Whether faults may come once workers have done their steps.
    pub(super) to_the_end: bool,
    /// When there is room on the disk again.
    full_until_ns: u64,
    actors: Vec<Actor>,
    /// Actors that were woken by whoever keeps their wakers, one bit each.
    woken: Arc<AtomicU64>,
    able: u64,
    /// No moment before which nothing is due.
    alarm_ns: u64,
    /// Who went on last.
    current: u32,
    /// Who was chosen to go on and isn't going on yet.
    next: Option<u32>,
    waiters: BTreeMap<Ticket, Waiter>,
    strangers: Vec<Stranger>,
    holders: u64,
    slices_used_up: u64,
    next_process: u32,
    instances_made: u64,
    /// Who came to a phase, and how many phases there were.
    at_phase: u32,
    phases: u32,
}

/// The room, as everybody in it has it.
#[derive(Clone)]
pub(super) struct SharedRoom(Arc<Mutex<Room>>);

impl SharedRoom {
    pub(super) fn lock(&self) -> MutexGuard<'_, Room> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn into_inner(self) -> Option<Room> {
        let inner = Arc::into_inner(self.0)?;
        Some(inner.into_inner().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Marks an actor as woken.
struct ActorWaker {
    actor: u32,
    woken: Arc<AtomicU64>,
}

impl Wake for ActorWaker {
    fn wake(self: Arc<Self>) {
        self.woken.fetch_or(1 << self.actor, Ordering::Relaxed);
    }
}

/// What a room begins with.
pub(super) struct Furniture {
    pub(super) time: Time,
    pub(super) disk: Disk,
    pub(super) recorder: Arc<Recorder>,
    pub(super) scheduler: Scheduler,
    pub(super) trace: Trace,
    pub(super) faults: FaultPlan,
    pub(super) memory: Arc<SharedMemory>,
    /// The process of each actor. The workers come first.
    pub(super) actors: Vec<usize>,
    pub(super) workers: u32,
    /// What the clock of each process is.
    pub(super) clocks: Vec<(i64, WallClock)>,
    pub(super) chance: ChaCha8Rng,
    pub(super) defects: Defects,
    pub(super) durability: Durability,
    pub(super) to_the_end: bool,
}

impl Room {
    pub(super) fn furnish(furniture: Furniture) -> SharedRoom {
        let origin = Instant::now();
        let lock_faults = LockFaults {
            level_dropped: furniture.defects.lock_level_dropped,
            shm_ignored: furniture.defects.shm_lock_ignored,
        };
        let processes: Vec<_> = (1..)
            .zip(furniture.clocks)
            .map(|(number, (clock_offset_ms, wall))| Process {
                number,
                clock_offset_ms,
                wall: Arc::new(wall),
                hub: Hub::new(origin),
                stopped: None,
            })
            .collect();
        let actor = |process: &usize| Actor {
            ended: false,
            until_ns: NEVER,
            patience_ns: NEVER,
            process: *process,
            instance: None,
            session: None,
            calls: 0,
            in_a_row: 0,
            slice: 0,
            away_us: 0,
            last_slice: None,
        };
        furniture.memory.clear();
        let mut room = Self {
            next_process: u32::try_from(processes.len()).unwrap_or(u32::MAX),
            able: u64::MAX >> (u64::BITS - furniture.actors.len().clamp(1, 64) as u32),
            actors: furniture.actors.iter().map(actor).collect(),
            time: furniture.time,
            disk: furniture.disk,
            recorder: furniture.recorder,
            scheduler: furniture.scheduler,
            trace: furniture.trace,
            faults: furniture.faults,
            locks: FileLocks::new(lock_faults),
            shm: ShmLocks::new(lock_faults),
            claims: Claims::default(),
            attached: Attachments::default(),
            memory: furniture.memory,
            regions: 0,
            processes,
            instances: BTreeMap::new(),
            ledger: None,
            chance: furniture.chance,
            signals: SignalState::new(furniture.workers),
            defects: furniture.defects,
            durability: furniture.durability,
            crashed_tokens: RangeSet::new(),
            findings: Vec::new(),
            troubles: Vec::new(),
            actors_calls: Vec::new(),
            halted: Arc::default(),
            power_losses: 0,
            fallen: Vec::new(),
            to_the_end: furniture.to_the_end,
            full_until_ns: 0,
            woken: Arc::default(),
            alarm_ns: NEVER,
            current: 0,
            next: None,
            waiters: BTreeMap::new(),
            strangers: Vec::new(),
            holders: 0,
            instances_made: 0,
            slices_used_up: 0,
            at_phase: 0,
            phases: 0,
        };
        room.ledger = Some(Ledger::new(&DiskFiles(&room.disk), 0));
        SharedRoom(Arc::new(Mutex::new(room)))
    }

    pub(super) fn now_ns(&self) -> u64 {
        self.time.now_ns()
    }
}
