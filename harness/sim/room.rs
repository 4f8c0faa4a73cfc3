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

use super::audit::{AuditError, Durability, Fall, Files, Ledger, Which};
use super::disk::{Disk, FileId, Loss, LossStyle, NameSync, SectorSize, Unwritten};
use super::fault::{FaultPlan, given_loss};
use super::hub::Hub;
use super::locks::{
    Attachments, Claims, FileLocks, Holder, LockFaults, LockLevel, ShmAnswer, ShmKind, ShmLocks,
    Ticket, Woken,
};
use super::schedule::{SLICE_TAKES_NS, Scheduler};
use super::time::{Time, WallClock};
use super::trace::Trace;
use crate::history::{Recorder, SessionEnd};
use crate::program::Fault;
use crate::run::signals::SignalState;
use beaver_host::machine::{FileKind, SharedMemory, WatcherId};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Wake, Waker};
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
    able: bool,
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
    /// The token of each claim, and whether its instance ended otherwise than in good order.
    pub(super) crashed_tokens: BTreeSet<u64>,
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
            able: true,
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
            crashed_tokens: BTreeSet::new(),
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

    // Who goes on.

    /// The actor stops where it could go on; true: it does.
    pub(super) fn stop(&mut self, actor: u32) -> bool {
        let chosen = self.choose(actor, false);
        self.next = chosen.filter(|chosen| *chosen != actor);
        chosen == Some(actor)
    }

    /// The actor can't go on before `until_ns` unless it is woken; true: that has come already.
    pub(super) fn park(&mut self, actor: u32, until_ns: u64) -> bool {
        self.set_able(actor, false);
        if let Some(known) = self.actors.get_mut(actor as usize) {
            known.until_ns = until_ns;
        }
        self.alarm_ns = self.alarm_ns.min(until_ns);
        self.stop(actor)
    }

    fn set_able(&mut self, actor: u32, able: bool) {
        let Some(known) = self.actors.get_mut(actor as usize) else {
            return;
        };
        let able = able && !known.ended;
        known.able = able;
        known.until_ns = NEVER;
        if able {
            self.able |= 1 << actor;
        } else {
            self.able &= !(1 << actor);
        }
    }

    /// The actor may go on.
    pub(super) fn wake(&mut self, actor: u32) {
        self.set_able(actor, true);
    }

    /// Whoever comes next after the actor polled last; none: nobody can go on ever again.
    pub(super) fn next(&mut self) -> Option<u32> {
        let next = match self.next.take() {
            Some(next) => Some(next),
            None => self.choose(self.current, false),
        };
        if let Some(next) = next {
            self.current = next;
        }
        next
    }

    /// Whether the actor that was polled and is pending said why.
    pub(super) fn has_next(&self) -> bool {
        self.next.is_some()
    }

    /// The actor was polled and is pending, but stopped nowhere: it computed for long.
    pub(super) fn was_cut(&mut self, actor: u32) {
        let takes_ns = Scheduler::takes_ns(self.actors[actor as usize].slice);
        self.slices_used_up += u64::from(takes_ns == SLICE_TAKES_NS);
        self.time.pass(takes_ns);
        self.drop_if_last(actor);
        let away_us = std::mem::take(&mut self.actors[actor as usize].away_us);
        if away_us > 0 {
            let until_ns = self.now_ns() + u64::from(away_us) * 1000;
            self.set_able(actor, false);
            self.actors[actor as usize].until_ns = until_ns;
            self.alarm(until_ns);
        }
        self.next = self.choose(actor, true);
    }

    /// For how long the actor's guest may compute, how long it then stays away, and whether it is
    /// dropped then.
    pub(super) fn set_slice(
        &mut self,
        actor: u32,
        fuel: u32,
        away_us: u32,
        last: Option<super::fault::Fault>,
    ) {
        let known = &mut self.actors[actor as usize];
        (known.slice, known.away_us, known.last_slice) = (fuel, away_us, last);
    }

    /// Drops the actor's instance if it was not to come further; whether it did.
    pub(super) fn drop_if_last(&mut self, actor: u32) -> bool {
        let Some(fallen) = self.actors[actor as usize].last_slice.take() else {
            return false;
        };
        let fault = Fault::Drop { worker: actor };
        let is_dropped = self.drop_instance(actor, fault, SessionEnd::Dropped);
        if is_dropped {
            self.fallen.push(fallen);
        }
        is_dropped
    }

    /// The actor has ended.
    pub(super) fn done(&mut self, actor: u32) {
        if let Some(known) = self.actors.get_mut(actor as usize) {
            known.ended = true;
        }
        self.set_able(actor, false);
        self.next = None;
    }

    fn choose(&mut self, last: u32, was_cut: bool) -> Option<u32> {
        loop {
            let woken = self.woken.swap(0, Ordering::Relaxed);
            for actor in bits(woken) {
                self.wake(actor);
            }
            if self.now_ns() >= self.alarm_ns {
                self.due();
                continue;
            }
            let able = self.able & !self.standing_still();
            if able != 0 {
                self.trace.stops(last);
                let chosen = self.scheduler.choose(last, able, was_cut);
                self.trace.number(u64::from(chosen));
                return Some(chosen);
            }
            if self.alarm_ns == NEVER {
                return None;
            }
            self.time.reach(self.alarm_ns);
        }
    }

    /// Those whose process is stopped.
    fn standing_still(&self) -> u64 {
        if self
            .processes
            .iter()
            .all(|process| process.stopped.is_none())
        {
            return 0;
        }
        let is_stopped = |actor: &Actor| self.processes[actor.process].stopped.is_some();
        let numbered = (0_u64..).zip(&self.actors);
        numbered
            .filter(|(_, actor)| is_stopped(actor))
            .fold(0, |all, (number, _)| all | 1 << number)
    }

    /// Does what is due, and sees what is next.
    fn due(&mut self) {
        let now_ns = self.now_ns();
        for number in 0..self.actors.len() {
            let actor = &self.actors[number];
            if !actor.able && (actor.until_ns <= now_ns || actor.patience_ns <= now_ns) {
                self.wake(number as u32);
            }
        }
        for process in &mut self.processes {
            let is_over = |stopped: &mut Stopped| stopped.until_ns <= now_ns;
            if let Some(stopped) = process.stopped.take_if(is_over) {
                self.recorder.resumed(stopped.pause, stopped.sessions);
            }
        }
        let last = self.last_commit();
        for process in &mut self.processes {
            let is_due = process.hub.look_ns.is_some_and(|at| at <= now_ns);
            if is_due && process.stopped.is_none() {
                let claims = &self.claims;
                let is_claimed =
                    |holder, token| claims.is_claimed_by_other(holder, token).unwrap_or(true);
                process.hub.tick(last, is_claimed, now_ns);
            }
        }
        self.strangers_due(now_ns);
        if self.full_until_ns <= now_ns && self.full_until_ns > 0 {
            self.full_until_ns = 0;
            self.disk.set_capacity_bytes(None);
        }
        self.alarm_ns = self.earliest();
    }

    fn earliest(&self) -> u64 {
        let actors = self.actors.iter().filter(|actor| !actor.able);
        let actors = actors.map(|actor| actor.until_ns.min(actor.patience_ns));
        let processes = self.processes.iter().map(|process| match &process.stopped {
            Some(stopped) => stopped.until_ns,
            None => process.hub.look_ns.unwrap_or(NEVER),
        });
        let strangers = self.strangers.iter().map(|stranger| stranger.until_ns);
        let full = (self.full_until_ns > 0).then_some(self.full_until_ns);
        let all = actors.chain(processes).chain(strangers).chain(full);
        all.min().unwrap_or(NEVER)
    }

    /// Something is to be done at `at_ns`.
    pub(super) fn alarm(&mut self, at_ns: u64) {
        self.alarm_ns = self.alarm_ns.min(at_ns);
    }

    /// What wakes the actor when it is called.
    pub(super) fn waker(&self, actor: u32) -> Waker {
        Waker::from(Arc::new(ActorWaker {
            actor,
            woken: Arc::clone(&self.woken),
        }))
    }

    /// Until when the actor's call may take.
    pub(super) fn set_patience(&mut self, actor: u32, until_ns: Option<u64>) {
        let until_ns = until_ns.unwrap_or(NEVER);
        if let Some(known) = self.actors.get_mut(actor as usize) {
            known.patience_ns = until_ns;
            known.in_a_row = 0;
        }
        self.alarm_ns = self.alarm_ns.min(until_ns);
    }

    /// Everybody who only waits for others looks again.
    pub(super) fn wake_all(&mut self) {
        for actor in 0..self.actors.len() as u32 {
            if self.actors[actor as usize].until_ns != NEVER || !self.actors[actor as usize].able {
                self.wake(actor);
            }
        }
    }

    /// A worker came to a phase; the number of the phase that is over when all have.
    pub(super) fn at_phase(&mut self, workers: u32) -> u32 {
        let phase = self.phases;
        self.at_phase += 1;
        if self.at_phase == workers {
            self.at_phase = 0;
            if self.phases == 0 {
                // What comes before is not what the program is about.
                self.actors.iter_mut().for_each(|actor| actor.calls = 0);
            }
            self.phases += 1;
            if self.phases == STEPS_DONE && !self.to_the_end {
                self.calm_down();
            }
            self.wake_all();
        }
        phase
    }

    /// Whether faults may come now: not while the program's premises are set up, and, unless wanted,
    /// not when all its steps are done.
    pub(super) fn may_blow(&self) -> bool {
        self.phases > 0 && (self.phases < STEPS_DONE || self.to_the_end)
    }

    /// How many phases are over.
    pub(super) fn phases(&self) -> u32 {
        self.phases
    }

    // Actors, their instances and sessions.

    pub(super) fn process_of(&mut self, actor: u32) -> &mut Process {
        let process = self.actors[actor as usize].process;
        &mut self.processes[process]
    }

    /// The number of the actor's next host call.
    pub(super) fn count_call(&mut self, actor: u32) -> u64 {
        let actor = &mut self.actors[actor as usize];
        actor.in_a_row += 1;
        actor.calls += 1;
        actor.calls - 1
    }

    /// Ends the run if the actor goes in circles, as SQLite may in a damaged database: time hardly goes
    /// by while it does, and nobody's patience would end.
    pub(super) fn end_circles(&mut self, actor: u32) {
        let Actor {
            in_a_row,
            instance: Some(instance),
            session,
            ..
        } = self.actors[actor as usize]
        else {
            return;
        };
        if in_a_row < CIRCLE_CALLS {
            return;
        }
        self.findings.push(format!(
            "an instance of worker {actor} comes to no end: it made {CIRCLE_CALLS} host calls in one operation"
        ));
        self.halted.store(true, Ordering::Relaxed);
        if let Some(session) = session {
            self.over(actor, session, SessionEnd::GivenUp);
        }
        self.end_instance(instance, false);
        self.wake_all();
    }

    /// How often a guest used up a whole slice without a host call.
    pub(super) fn slices_used_up(&self) -> u64 {
        self.slices_used_up
    }

    /// How many host calls were made.
    pub(super) fn total_calls(&self) -> u64 {
        self.actors.iter().map(|actor| actor.calls).sum()
    }

    /// Who waits, for a person.
    pub(super) fn waiting(&self) -> String {
        let actors = (0..).zip(&self.actors);
        let said = actors.map(|(number, actor): (u32, _)| {
            format!("{number} able={} calls={}", actor.able, actor.calls)
        });
        said.collect::<Vec<_>>().join(", ")
    }

    /// How many host calls each has made.
    pub(super) fn calls(&self) -> Vec<u64> {
        self.actors.iter().map(|actor| actor.calls).collect()
    }

    /// A place for a new instance of the actor's.
    pub(super) fn new_instance(&mut self, actor: u32) -> u64 {
        self.instances_made += 1;
        let number = self.instances_made;
        let known = &mut self.actors[actor as usize];
        known.instance = Some(number);
        known.in_a_row = 0;
        known.session = None;
        let process = known.process;
        self.instances.insert(
            number,
            Instance {
                actor,
                process,
                files: Vec::new(),
            },
        );
        number
    }

    /// The actor's instance is ready: its session begins.
    pub(super) fn enter_session(&mut self, actor: u32) -> u64 {
        let process = self.process_of(actor);
        let (number, offset_ms) = (process.number, process.clock_offset_ms);
        let session = self.recorder.session(actor, number, offset_ms);
        self.actors[actor as usize].session = Some(session);
        session
    }

    /// Whether nothing has ended the session.
    pub(super) fn is_live(&self, actor: u32, session: u64) -> bool {
        self.actors[actor as usize].session == Some(session)
    }

    /// The session is over, if nothing has ended it before.
    pub(super) fn over(&mut self, actor: u32, session: u64, how: SessionEnd) {
        let known = &mut self.actors[actor as usize];
        if known.session.take_if(|known| *known == session).is_some() {
            self.recorder.over(session, how);
        }
    }

    pub(super) fn is_alive(&self, instance: u64) -> bool {
        self.instances.contains_key(&instance)
    }

    /// A number for an open file.
    pub(super) fn new_holder(&mut self) -> Holder {
        self.holders += 1;
        Holder(self.holders)
    }

    /// Ends an instance: everything that it holds is given up.
    pub(super) fn end_instance(&mut self, number: u64, in_good_order: bool) {
        let Some(mut instance) = self.instances.remove(&number) else {
            return;
        };
        let actor = &mut self.actors[instance.actor as usize];
        if actor.instance == Some(number) {
            actor.instance = None;
        }
        for file in instance.files.drain(..).flatten() {
            self.close(file, instance.process, in_good_order);
        }
        // It may be waiting for what never comes.
        self.wake(instance.actor);
    }

    /// Closes a file of an instance in `process`.
    pub(super) fn close(&mut self, file: OpenFile, process: usize, in_good_order: bool) {
        let now_ns = self.now_ns();
        let was_writer = self.shm.holds(file.holder, 0, 1, ShmKind::Exclusive);
        self.detach(file.holder);
        self.locks.drop_holder(file.holder);
        let ended = self.claims.drop_holder(file.holder);
        if !in_good_order {
            self.crashed_tokens.extend(ended.iter().copied());
        }
        let last = self.last_commit();
        let hub = &mut self.processes[process].hub;
        if let Some(watcher) = file.watcher {
            hub.leave(watcher, now_ns);
        }
        hub.claims_ended(&ended, now_ns);
        if was_writer && !file.announces {
            hub.released(last, now_ns);
        }
        if file.delete_on_close && self.disk.find(&file.name) == Some(file.id) {
            let _ = self.disk.delete(&file.name, false);
        }
        self.disk.close(file.id);
        self.look();
    }

    /// The holder doesn't use the wal-index any more.
    pub(super) fn detach(&mut self, holder: Holder) {
        let woken = self.shm.drop_holder(holder);
        self.wake_waiters(&woken);
        if self.attached.detach(holder) {
            self.regions = 0;
        }
    }

    // What befalls them.

    /// Ends the actor's instance in the middle of whatever it does.
    pub(super) fn drop_instance(&mut self, actor: u32, fault: Fault, how: SessionEnd) -> bool {
        let Some(instance) = self.actors[actor as usize].instance else {
            return false;
        };
        if let Some(session) = self.actors[actor as usize].session.take() {
            self.recorder.fault(fault, vec![session]);
            self.recorder.over(session, how);
        }
        self.end_instance(instance, false);
        true
    }

    /// The actors of one process.
    fn mates(&self, process: usize) -> Vec<u32> {
        let numbered = (0..).zip(&self.actors);
        let mates = numbered.filter(|(_, actor)| actor.process == process);
        mates.map(|(number, _)| number).collect()
    }

    /// Ends all instances of the actor's process, which so is another one from now on.
    pub(super) fn kill(&mut self, actor: u32) -> bool {
        let process = self.actors[actor as usize].process;
        let mates = self.mates(process);
        let sessions: Vec<u64> = (mates.iter())
            .filter_map(|mate| self.actors[*mate as usize].session.take())
            .collect();
        let instances: Vec<u64> = (mates.iter())
            .filter_map(|mate| self.actors[*mate as usize].instance)
            .collect();
        if instances.is_empty() {
            return false;
        }
        // Who opens the database after all is no worker; the first of its process is one.
        let worker = mates.first().copied().unwrap_or(actor);
        self.recorder
            .fault(Fault::Kill { worker }, sessions.clone());
        for session in sessions {
            self.recorder.over(session, SessionEnd::Killed);
        }
        for instance in instances {
            self.end_instance(instance, false);
        }
        self.next_process += 1;
        self.processes[process].number = self.next_process;
        if let Some(stopped) = self.processes[process].stopped.take() {
            self.recorder.resumed(stopped.pause, stopped.sessions);
        }
        true
    }

    /// The power fails: nobody is left, and of what wasn't synced there is what chance leaves.
    pub(super) fn power_loss(&mut self, chance: u64) {
        self.power_losses += 1;
        let sessions: Vec<u64> = (self.actors.iter_mut())
            .filter_map(|actor| actor.session.take())
            .collect();
        self.recorder.fault(Fault::PowerLoss, sessions.clone());
        for session in sessions {
            self.recorder.over(session, SessionEnd::Killed);
        }
        for instance in self.instances.keys().copied().collect::<Vec<_>>() {
            self.end_instance(instance, false);
        }
        for stranger in std::mem::take(&mut self.strangers) {
            self.locks.drop_holder(stranger.holder);
            self.detach(stranger.holder);
            self.recorder.resumed(stranger.pause, Vec::new());
        }
        for process in &mut self.processes {
            self.next_process += 1;
            process.number = self.next_process;
            if let Some(stopped) = process.stopped.take() {
                self.recorder.resumed(stopped.pause, stopped.sessions);
            }
        }
        let mut random = ChaCha8Rng::seed_from_u64(chance);
        let given = u32::try_from(chance).ok().and_then(given_loss);
        let loss = given.unwrap_or_else(|| draw_loss(&mut random));
        let report = self.disk.power_loss(&loss, &mut random);
        self.trace
            .line(|| format!("power loss: {loss:?}, {report:?}"));
        // What is checked from here on can't know what was lost: only what must not be is.
        if self.durability == Durability::Normal {
            self.halted.store(true, Ordering::Relaxed);
            self.wake_all();
        }
        // The machine starts again.
        self.time.pass(1_000_000_000);
        let at_ns = self.now_ns();
        self.audit(|ledger, files, durability| {
            ledger
                .recovered(files, Fall::PowerLoss(durability), at_ns)
                .map(drop)
        });
    }

    /// The actor's process stands still for a while.
    pub(super) fn stop_process(&mut self, actor: u32, for_ms: u32) -> bool {
        let process = self.actors[actor as usize].process;
        if self.processes[process].stopped.is_some() {
            return false;
        }
        let sessions: Vec<u64> = (self.mates(process).into_iter())
            .filter_map(|mate| self.actors[mate as usize].session)
            .collect();
        let fault = Fault::Stop {
            worker: actor,
            for_ms: for_ms.into(),
        };
        let pause = self.recorder.pause(fault, sessions.clone());
        let until_ns = self.now_ns() + u64::from(for_ms) * 1_000_000;
        self.processes[process].stopped = Some(Stopped {
            until_ns,
            pause,
            sessions,
        });
        self.alarm(until_ns);
        true
    }

    /// Somebody else wants SQLite's write lock, and keeps it for a while.
    /// False: there is no write-ahead log whose lock it could want.
    pub(super) fn stranger(&mut self, for_ms: u32) -> bool {
        if self.regions == 0 {
            return false;
        }
        let fault = Fault::BusyWriter {
            for_ms: for_ms.into(),
        };
        let pause = self.recorder.pause(fault, Vec::new());
        let holder = self.new_holder();
        // As any connection, so that nobody takes the log away under it; in a process of its own.
        let _ = self.locks.lock(holder, LockLevel::Shared, false);
        self.attached.attach(holder);
        self.shm.belongs(holder, usize::MAX);
        let mut stranger = Stranger {
            holder,
            ticket: None,
            for_ms,
            until_ns: NEVER,
            pause,
        };
        match self.shm.lock_or_wait(holder, 0, 1, ShmKind::Exclusive) {
            Ok(ticket) => {
                self.waiters.insert(ticket, Waiter::Stranger);
                stranger.ticket = Some(ticket);
            }
            Err(_) => stranger.until_ns = self.now_ns() + u64::from(for_ms) * 1_000_000,
        }
        self.alarm(stranger.until_ns);
        self.strangers.push(stranger);
        true
    }

    /// Strangers whose turn it is take the lock, others give it back.
    fn strangers_due(&mut self, now_ns: u64) {
        // By place: each may wake another one of them.
        let mut at = 0;
        while let Some(stranger) = self.strangers.get_mut(at) {
            if stranger.until_ns > now_ns {
                at += 1;
                continue;
            }
            stranger.until_ns = NEVER;
            let Some(ticket) = stranger.ticket else {
                let stranger = self.strangers.remove(at);
                self.recorder.resumed(stranger.pause, Vec::new());
                self.locks.drop_holder(stranger.holder);
                self.detach(stranger.holder);
                at = 0;
                continue;
            };
            let for_ns = u64::from(stranger.for_ms) * 1_000_000;
            let (answer, woken) = self.shm.retry(ticket);
            if answer != ShmAnswer::Busy {
                self.waiters.remove(&ticket);
                stranger.ticket = None;
                stranger.until_ns = now_ns + for_ns;
            }
            self.wake_waiters(&woken);
            at = 0;
        }
    }

    /// Faults that go by are over.
    pub(super) fn calm_down(&mut self) {
        self.full_until_ns = 0;
        self.disk.set_capacity_bytes(None);
        for stranger in std::mem::take(&mut self.strangers) {
            self.locks.drop_holder(stranger.holder);
            self.detach(stranger.holder);
            self.recorder.resumed(stranger.pause, Vec::new());
        }
    }

    /// There is no room on the disk for a while.
    pub(super) fn fill_disk(&mut self, for_ms: u32) {
        self.disk.set_capacity_bytes(Some(0));
        self.full_until_ns = self.now_ns() + u64::from(for_ms) * 1_000_000;
        self.alarm(self.full_until_ns);
    }

    // Slots of the wal-index.

    /// The actor waits for the lock that the ticket stands for.
    pub(super) fn awaits(&mut self, ticket: Ticket, actor: u32) {
        self.waiters.insert(ticket, Waiter::Actor(actor));
    }

    pub(super) fn awaits_no_more(&mut self, ticket: Ticket) {
        self.waiters.remove(&ticket);
    }

    pub(super) fn wake_waiters(&mut self, woken: &Woken) {
        for ticket in woken {
            match self.waiters.get(ticket).copied() {
                Some(Waiter::Actor(actor)) => self.wake(actor),
                Some(Waiter::Stranger) => {
                    let now_ns = self.now_ns();
                    let mut strangers = self.strangers.iter_mut();
                    if let Some(stranger) = strangers.find(|it| it.ticket == Some(*ticket)) {
                        stranger.until_ns = now_ns;
                    }
                    self.alarm(now_ns);
                }
                None => {}
            }
        }
    }

    /// Whether an instance, or a stranger, has SQLite's write lock.
    pub(super) fn somebody_writes(&self) -> bool {
        let nobody = Holder(0);
        let blockers = self.shm.blockers(nobody, 0, 1, ShmKind::Exclusive);
        !blockers.is_empty()
    }

    // What has been committed.

    /// The first copy of the wal-index's header, while there is one.
    pub(super) fn index_header(&self) -> Option<[u8; INDEX_HEADER_BYTES]> {
        (self.regions > 0).then(|| {
            let mut header = [0; INDEX_HEADER_BYTES];
            self.memory.read(0, &mut header);
            header
        })
    }

    /// As `src/host/storage/token.rs`: the wal-index's `iChange`, else the database's change counter.
    pub(super) fn last_commit(&self) -> u32 {
        if let Some([v0, v1, v2, v3, _, _, _, _, c0, c1, c2, c3, ..]) = self.index_header()
            && u32::from_ne_bytes([v0, v1, v2, v3]) != 0
        {
            return u32::from_ne_bytes([c0, c1, c2, c3]);
        }
        u32::from_be_bytes(self.change_counter())
    }

    pub(super) fn change_counter(&self) -> [u8; 4] {
        let mut counter = [0; 4];
        DiskFiles(&self.disk).read(Which::Database, 24, &mut counter);
        counter
    }

    /// Looks whether anything was committed.
    pub(super) fn look(&mut self) {
        let header = self.index_header();
        let at_ns = self.now_ns();
        self.audit(|ledger, files, _| ledger.observe(files, header.as_ref(), at_ns).map(drop));
    }

    /// Asks the ledger something; what isn't right is a finding, and ends the audit.
    pub(super) fn audit<T>(
        &mut self,
        ask: impl FnOnce(&mut Ledger, &DiskFiles<'_>, Durability) -> Result<T, AuditError>,
    ) -> Option<T> {
        let mut ledger = self.ledger.take()?;
        match ask(&mut ledger, &DiskFiles(&self.disk), self.durability) {
            Ok(answer) => {
                self.ledger = Some(ledger);
                Some(answer)
            }
            Err(error) => {
                let now_ms = self.now_ns() as f64 / 1e6;
                self.findings.push(format!("at {now_ms:.3} ms: {error}"));
                None
            }
        }
    }
}

/// The bits that are set.
fn bits(mut set: u64) -> impl Iterator<Item = u32> {
    std::iter::from_fn(move || {
        (set != 0).then(|| {
            let bit = set.trailing_zeros();
            set &= set - 1;
            bit
        })
    })
}

/// How this power loss goes. Sectors are never torn, as our VFS counts on (`Loss::tears_sectors`).
fn draw_loss(random: &mut ChaCha8Rng) -> Loss {
    let styles = [
        LossStyle::Nothing,
        LossStyle::Everything,
        LossStyle::Prefix,
        LossStyle::Any,
        LossStyle::Any,
        LossStyle::Any,
    ];
    let is = |random: &mut ChaCha8Rng| random.random_bool(0.5);
    Loss {
        style: styles[random.random_range(0..styles.len())],
        sector: if is(random) {
            SectorSize::Bytes512
        } else {
            SectorSize::Bytes4096
        },
        unwritten: if is(random) {
            Unwritten::Zeros
        } else {
            Unwritten::Garbage
        },
        names: if is(random) {
            NameSync::Directory
        } else {
            NameSync::Journal
        },
        tears_sectors: false,
    }
}

/// The database's files on a disk.
pub(super) struct DiskFiles<'a>(pub(super) &'a Disk);

impl DiskFiles<'_> {
    fn find(&self, which: Which) -> Option<FileId> {
        self.0.find(match which {
            Which::Database => DATABASE,
            Which::Wal => "store.db-wal",
            Which::Journal => "store.db-journal",
        })
    }
}

impl Files for DiskFiles<'_> {
    fn size(&self, which: Which) -> u64 {
        self.find(which).map_or(0, |file| self.0.size(file))
    }

    fn read(&self, which: Which, offset: u64, buffer: &mut [u8]) -> usize {
        self.find(which)
            .map_or(0, |file| self.0.read_at(file, offset, buffer))
    }
}
