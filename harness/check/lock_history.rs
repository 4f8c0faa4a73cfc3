//! Histories of a simulated store with a correct FIFO lock, or with one planted fault, for the
//! tests of lock checks.
//!
//! The store knows true moments; the history gets times that are earlier and later than those
//! by random delays. Grants expire, are renewed and lost, holders and waiters die or are stopped,
//! waits run out, and some write without the lock.

use super::CheckSpec;
use super::script::Script;
use crate::history::{
    FaultRecord, History, Observation, Operation, Outcome, Seen, Session, SessionEnd,
};
use crate::program::Fault;
use crate::protocol::{ErrorCode, Failure, LockKind, LockName, Op};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// What the store does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Planted {
    Nothing,
    GrantBeforeRelease,
    TokenTwice,
    LastComeFirst,
    EarlyTimeout,
    TtlFromRequest,
    LostWakeup,
    StaleWrite,
    StaleRelease,
    ThiefWrite,
}

/// How wild it gets. Times are milliseconds.
#[derive(Clone, Debug)]
pub(super) struct Weather {
    pub(super) workers: u32,
    /// How long everything goes on.
    pub(super) for_ms: u64,
    /// A request and an answer each take up to this.
    pub(super) delay_ms: u64,
    /// The longest that a holder keeps the lock.
    pub(super) hold_ms: u64,
    /// Times to live; 0 is the default, a minute.
    pub(super) ttls_ms: Vec<u64>,
    /// Timeouts; `None`: for ever.
    pub(super) timeouts_ms: Vec<Option<u64>>,
    /// Clocks that are off.
    pub(super) offsets_ms: Vec<i64>,
    pub(super) kills: bool,
    pub(super) stops: bool,
    pub(super) planted: Planted,
}

const US: u64 = 1000;
const MS: u64 = 1_000_000;
const DEFAULT_TTL_MS: u64 = 60_000;
/// How soon the store notices a death.
const NOTICE_MS: u64 = 400;
/// How long a write without the lock waits.
const WRITE_WAIT_MS: u64 = 300;

enum Event {
    /// A worker does its next operation.
    Act(usize),
    /// A request reaches the store.
    Arrive(usize),
    /// A wait runs out.
    TimeUp(usize),
    /// Somebody may have to go.
    Look(usize),
    Kill(usize),
    /// The answer is read.
    Answer(usize, Outcome),
    Observe,
}

struct Worker {
    session: u64,
    /// Which lock it holds as far as it knows, and until when it means to.
    holds: Option<(usize, u64)>,
    pauses: Vec<(u64, u64)>,
    alive: bool,
}

/// A row in a lock's line.
struct Row {
    operation: usize,
    ttl_ms: u64,
    arrived: u64,
    /// For a write: not a request for the lock.
    is_write: bool,
    granted: Option<Grant>,
    dead_at: Option<u64>,
}

struct Grant {
    at: u64,
    expires: u64,
}

#[derive(Default)]
struct Lock {
    line: Vec<Row>,
    token: u64,
    stuck: bool,
    /// Sessions whose failed waits left a row that no longer counts.
    left_behind: Vec<u64>,
    last_granted: Option<usize>,
}

pub(super) struct Simulation {
    weather: Weather,
    rng: ChaCha8Rng,
    now: u64,
    events: BinaryHeap<Reverse<(u64, u64)>>,
    bodies: Vec<Option<Event>>,
    script: Script,
    workers: Vec<Worker>,
    locks: [Lock; 2],
    names: [LockName; 2],
    /// How often the planted fault certainly shows.
    pub(super) shown: u32,
}

/// Runs it; returns the history and how often the planted fault certainly shows in it.
pub(super) fn simulate(seed: u64, weather: Weather) -> (History, u32) {
    let mut it = Simulation::new(seed, weather);
    while let Some(Reverse((at, number))) = it.events.pop() {
        it.now = at;
        if let Some(event) = it.bodies[number as usize].take() {
            it.handle(event);
        }
    }
    // What is still under way stays so; time goes on for a while.
    let end = it.now + 60_000 * MS;
    let session = it.open(0, end);
    let history = &mut it.script.history;
    history.operations.push(Operation {
        id: history.operations.len() as u64 + 1,
        session,
        worker: 0,
        task: None,
        op: Op::Begin,
        invoked_ns: end,
        completed_ns: Some(end),
        outcome: Outcome::Fail(Failure::new(ErrorCode::Busy, "")),
    });
    (it.script.history, it.shown)
}

impl Simulation {
    fn new(seed: u64, weather: Weather) -> Self {
        let mut script = Script::new(CheckSpec::MutualExclusion);
        let bounds = &mut script.history.header.bounds;
        bounds.handover_ms = weather.delay_ms + 1;
        bounds.late_ms = 2 * weather.delay_ms + 1;
        let mut it = Self {
            rng: ChaCha8Rng::seed_from_u64(seed),
            now: 0,
            events: BinaryHeap::new(),
            bodies: Vec::new(),
            script,
            workers: Vec::new(),
            locks: Default::default(),
            names: [
                LockName::new(LockKind::Dict, "d"),
                LockName::new(LockKind::Queue, "q"),
            ],
            shown: 0,
            weather,
        };
        for worker in 0..it.weather.workers {
            let session = it.open(worker, 0);
            it.workers.push(Worker {
                session,
                holds: None,
                pauses: Vec::new(),
                alive: true,
            });
            let at = it.delay();
            it.at(at, Event::Act(worker as usize));
            if it.weather.kills {
                let at = it.rng.random_range(0..it.weather.for_ms) * MS;
                it.at(at, Event::Kill(worker as usize));
            }
            if it.weather.stops {
                it.stop(worker);
            }
        }
        it.at(0, Event::Observe);
        it
    }

    fn stop(&mut self, worker: u32) {
        let from = self.rng.random_range(0..self.weather.for_ms) * MS;
        let to = from + self.rng.random_range(1..1500) * MS;
        let me = &mut self.workers[worker as usize];
        me.pauses.push((from, to));
        self.script.history.faults.push(FaultRecord {
            at_ns: from,
            fault: Fault::Stop { worker, for_ms: 0 },
            sessions: vec![me.session],
            until_ns: Some(to),
        });
    }

    fn open(&mut self, worker: u32, at: u64) -> u64 {
        let offset = self.pick(&self.weather.offsets_ms.clone());
        let session = self.script.history.sessions.len() as u64 + 1;
        self.script.history.sessions.push(Session {
            session,
            worker,
            process: worker,
            clock_offset_ms: offset,
            opened_ns: at,
            over: None,
        });
        session
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.rng.random_range(0..from.len())].clone()
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.rng.random_range(0..100) < percent
    }

    /// How long something takes on its way; mostly nothing much.
    fn delay(&mut self) -> u64 {
        let most = self.weather.delay_ms * MS / US;
        let most = if self.chance(20) { most } else { most / 20 };
        self.rng.random_range(0..=most) * US
    }

    fn at(&mut self, time: u64, event: Event) {
        self.events.push(Reverse((time, self.bodies.len() as u64)));
        self.bodies.push(Some(event));
    }

    /// When the worker's process runs again.
    fn awake(&self, worker: usize, time: u64) -> u64 {
        let pauses = self.workers[worker].pauses.iter();
        let pause = pauses
            .clone()
            .find(|(from, to)| (*from..*to).contains(&time));
        pause.map_or(time, |(_, to)| *to)
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Act(worker) => self.act(worker),
            Event::Arrive(operation) => self.arrive(operation),
            Event::TimeUp(operation) => self.time_up(operation),
            Event::Look(lock) => self.advance(lock),
            Event::Kill(worker) => self.kill(worker),
            Event::Answer(operation, outcome) => self.answer(operation, outcome),
            Event::Observe => self.observe(),
        }
    }

    fn operation(&self, operation: usize) -> &Operation {
        &self.script.history.operations[operation]
    }

    fn act(&mut self, worker: usize) {
        if !self.workers[worker].alive || self.now > self.weather.for_ms * MS {
            return;
        }
        let awake = self.awake(worker, self.now);
        if awake > self.now {
            self.at(awake, Event::Act(worker));
            return;
        }
        let op = self.next_op(worker);
        let history = &mut self.script.history;
        let operation = history.operations.len();
        history.operations.push(Operation {
            id: operation as u64 + 1,
            session: self.workers[worker].session,
            worker: worker as u32,
            task: None,
            op,
            invoked_ns: self.now,
            completed_ns: None,
            outcome: Outcome::Info(Failure::new(ErrorCode::Gone, "")),
        });
        let arrives = self.now + self.delay();
        let arrives = self.awake(worker, arrives);
        self.at(arrives, Event::Arrive(operation));
    }

    fn write_to(&self, lock: usize) -> Op {
        match lock {
            0 => Op::DictSet {
                name: "d".into(),
                key: "k".into(),
                value: json!(1),
            },
            _ => Op::QueuePut {
                name: "q".into(),
                value: json!(1),
                priority: 0.0,
            },
        }
    }

    fn next_op(&mut self, worker: usize) -> Op {
        let holds = self.workers[worker].holds;
        match holds {
            Some((lock, until)) if self.now < until => {
                let ttl_ms = self.ttl();
                match self.rng.random_range(0..10) {
                    0..2 if ttl_ms > 0 => Op::LockRenew {
                        lock: self.names[lock].clone(),
                        ttl_ms,
                    },
                    _ => self.write_to(lock),
                }
            }
            Some((lock, _)) => Op::LockRelease {
                lock: self.names[lock].clone(),
            },
            None if self.chance(20) => {
                let lock = self.rng.random_range(0..2);
                self.write_to(lock)
            }
            None => {
                let lock = usize::from(self.chance(25));
                let ttl_ms = self.ttl();
                Op::LockAcquire {
                    lock: self.names[lock].clone(),
                    timeout_ms: self.pick(&self.weather.timeouts_ms.clone()),
                    ttl_ms: (ttl_ms > 0).then_some(ttl_ms),
                }
            }
        }
    }

    fn ttl(&mut self) -> u64 {
        self.pick(&self.weather.ttls_ms.clone())
    }

    fn lock_of(&self, op: &Op) -> usize {
        let is_second = match op {
            Op::LockAcquire { lock, .. }
            | Op::LockRenew { lock, .. }
            | Op::LockRelease { lock } => *lock == self.names[1],
            op => matches!(op, Op::QueuePut { .. }),
        };
        usize::from(is_second)
    }

    /// When a grant made now expires, by the clocks of whoever stamps it and whoever looks.
    fn expires(&mut self, from: u64, ttl_ms: u64) -> u64 {
        let offsets = self.weather.offsets_ms.clone();
        let off = (self.pick(&offsets) - self.pick(&offsets)) * MS as i64;
        (from + ttl_ms * MS).saturating_add_signed(off)
    }

    fn arrive(&mut self, operation: usize) {
        let (session, op) = {
            let operation = self.operation(operation);
            (operation.session, operation.op.clone())
        };
        let worker = self.operation(operation).worker as usize;
        if self.workers[worker].session != session && self.chance(50) {
            // Lost with its process.
            return;
        }
        let lock = self.lock_of(&op);
        for lock in &mut self.locks {
            lock.left_behind.retain(|left| *left != session);
        }
        match &op {
            Op::LockAcquire {
                timeout_ms, ttl_ms, ..
            } => {
                self.enqueue(operation, lock, ttl_ms.unwrap_or(DEFAULT_TTL_MS), false);
                self.advance(lock);
                if let Some(timeout_ms) = timeout_ms {
                    let early = self.weather.planted == Planted::EarlyTimeout && *timeout_ms > 50;
                    let timeout = if early { timeout_ms / 2 } else { *timeout_ms };
                    let at = self.awake(worker, self.now + timeout * MS);
                    self.at(at, Event::TimeUp(operation));
                }
            }
            Op::LockRenew { ttl_ms, .. } => {
                let expires = self.expires(self.now, *ttl_ms);
                let row = self.grant_of(lock, session);
                if let Some(Row {
                    granted: Some(grant),
                    ..
                }) = row
                {
                    grant.expires = expires;
                    self.at(expires, Event::Look(lock));
                    self.reply(operation, Ok(json!(null)));
                } else {
                    self.reply(operation, Err(ErrorCode::LockLost));
                }
            }
            Op::LockRelease { .. } => {
                let held = self.grant_of(lock, session).is_some();
                self.locks[lock].line.retain(|row| {
                    row.granted.is_none()
                        || self.script.history.operations[row.operation].session != session
                });
                let stale = self.weather.planted == Planted::StaleRelease;
                if held && self.weather.planted == Planted::LostWakeup && self.chance(30) {
                    let long = self.locks[lock].line.iter().any(|row| {
                        !row.is_write && self.operation(row.operation).op.timeout_ms() == Some(None)
                    });
                    self.shown += u32::from(long && !self.locks[lock].stuck);
                    self.locks[lock].stuck = true;
                }
                if held || stale {
                    self.show_stale(operation, lock, held);
                    self.reply(operation, Ok(json!(null)));
                } else {
                    self.reply(operation, Err(ErrorCode::LockLost));
                }
                self.advance(lock);
            }
            _ => self.write(operation, lock),
        }
    }

    /// The planted fault shows if the next holder had its answer before this was asked for.
    fn show_stale(&mut self, operation: usize, lock: usize, held: bool) {
        if !held
            && let Some(last) = self.locks[lock].last_granted
            && let last = self.operation(last)
            && last.session != self.operation(operation).session
            && last
                .completed_ns
                .is_some_and(|at| at <= self.operation(operation).invoked_ns)
        {
            self.shown += 1;
        }
    }

    fn write(&mut self, operation: usize, lock: usize) {
        let (session, worker) = {
            let operation = self.operation(operation);
            (operation.session, operation.worker as usize)
        };
        let me = &self.workers[worker];
        let as_holder = me.session == session && me.holds.is_some_and(|(held, _)| held == lock);
        if as_holder {
            let held = self.grant_of(lock, session).is_some();
            if held || self.weather.planted == Planted::StaleWrite {
                self.show_stale(operation, lock, held);
                self.reply(operation, Ok(json!(null)));
            } else {
                self.reply(operation, Err(ErrorCode::LockLost));
            }
        } else if self.weather.planted == Planted::ThiefWrite {
            let holder = self.locks[lock].line.first();
            let holder = holder
                .filter(|row| row.granted.is_some())
                .map(|row| row.operation);
            if let Some(holder) = holder
                && let holder = self.operation(holder)
                && holder
                    .completed_ns
                    .is_some_and(|at| at <= self.operation(operation).invoked_ns)
                && let Some((_, until)) = self.workers[holder.worker as usize].holds
                && until > self.now + 5 * MS
            {
                self.shown += 1;
            }
            self.reply(operation, Ok(json!(null)));
        } else {
            self.enqueue(operation, lock, DEFAULT_TTL_MS, true);
            self.advance(lock);
            let at = self.awake(worker, self.now + WRITE_WAIT_MS * MS);
            self.at(at, Event::TimeUp(operation));
        }
    }

    fn grant_of(&mut self, lock: usize, session: u64) -> Option<&mut Row> {
        let operations = &self.script.history.operations;
        let line = &mut self.locks[lock].line;
        line.iter_mut()
            .find(|row| row.granted.is_some() && operations[row.operation].session == session)
    }

    fn enqueue(&mut self, operation: usize, lock: usize, ttl_ms: u64, is_write: bool) {
        let (session, worker) = {
            let operation = self.operation(operation);
            (operation.session, operation.worker as usize)
        };
        let is_dead = self.workers[worker].session != session || !self.workers[worker].alive;
        let dead_at = is_dead.then_some(self.now);
        let arrived = self.now;
        self.locks[lock].line.push(Row {
            operation,
            ttl_ms,
            arrived,
            is_write,
            granted: None,
            dead_at,
        });
        if self.weather.planted == Planted::GrantBeforeRelease && !is_write && self.chance(30) {
            let last = self.locks[lock].line.len() - 1;
            let first = &self.locks[lock].line[0];
            if last > 0 && first.granted.is_some() {
                let holder = self.operation(first.operation);
                let holds = self.workers[holder.worker as usize].holds;
                let shows = holder.completed_ns.is_some()
                    && holds.is_some_and(|(_, until)| until > self.now + 10 * MS);
                self.shown += u32::from(shows);
                self.grant(lock, last);
            }
        }
    }

    fn advance(&mut self, lock: usize) {
        while !self.locks[lock].stuck {
            let now = self.now;
            let line = &mut self.locks[lock].line;
            if line.is_empty() {
                return;
            }
            let others = line.len() > 1;
            let first = &line[0];
            let dead = first.dead_at.is_some_and(|at| at <= now);
            let expired = first
                .granted
                .as_ref()
                .is_some_and(|grant| grant.expires <= now);
            if dead || (expired && others) {
                let gone = line.remove(0);
                if let Some(grant) = gone.granted
                    && !dead
                    && self.weather.planted == Planted::TtlFromRequest
                    && grant.at + gone.ttl_ms * MS > now + (200 + gone.ttl_ms / 50) * MS
                    && !self.locks[lock].line[0].is_write
                {
                    let worker = self.operation(gone.operation).worker as usize;
                    let held = self.workers[worker].holds;
                    let answered = self.operation(gone.operation).completed_ns.is_some();
                    self.shown += u32::from(
                        answered && held.is_some_and(|(_, until)| until > now + 100 * MS),
                    );
                }
                continue;
            }
            if first.granted.is_some() {
                return;
            }
            if first.is_write {
                let row = line.remove(0);
                self.reply(row.operation, Ok(json!(null)));
                continue;
            }
            let last = line.len() - 1;
            if self.weather.planted == Planted::LastComeFirst && last > 1 && !line[last].is_write {
                let row = line.remove(last);
                line.insert(0, row);
                self.shown += 1;
            }
            self.grant(lock, 0);
        }
    }

    fn grant(&mut self, lock: usize, at: usize) {
        let twice = self.weather.planted == Planted::TokenTwice && self.chance(30);
        let (ttl_ms, arrived, operation) = {
            let row = &self.locks[lock].line[at];
            (row.ttl_ms, row.arrived, row.operation)
        };
        let from = if self.weather.planted == Planted::TtlFromRequest {
            arrived
        } else {
            self.now
        };
        let expires = self.expires(from, ttl_ms);
        let now = self.now;
        let lock_state = &mut self.locks[lock];
        lock_state.line[at].granted = Some(Grant { at: now, expires });
        lock_state.last_granted = Some(operation);
        if twice && lock_state.token > 0 {
            self.shown += 1;
        } else {
            // Numbers may be left out.
            lock_state.token += 1 + u64::from(operation % 3 == 0);
        }
        let token = lock_state.token;
        self.at(expires.max(now), Event::Look(lock));
        self.reply(operation, Ok(json!({ "token": token })));
    }

    /// What the store has decided is on its way.
    fn reply(&mut self, operation: usize, result: Result<Value, ErrorCode>) {
        let outcome = match result {
            Ok(value) => Outcome::Ok {
                value,
                commit: None,
            },
            Err(error) => Outcome::Fail(Failure::new(error, "")),
        };
        let worker = self.operation(operation).worker as usize;
        let at = self.now + self.delay();
        let at = self.awake(worker, at);
        self.at(at, Event::Answer(operation, outcome));
    }

    fn time_up(&mut self, operation: usize) {
        let lock = self.lock_of(&self.operation(operation).op.clone());
        let line = &mut self.locks[lock].line;
        let Some(at) = line
            .iter()
            .position(|row| row.operation == operation && row.granted.is_none())
        else {
            return;
        };
        if line[at].dead_at.is_some() {
            return;
        }
        let is_write = line.remove(at).is_write;
        let session = self.operation(operation).session;
        if self.chance(30) {
            self.locks[lock].left_behind.push(session);
        }
        if self.weather.planted == Planted::EarlyTimeout && !is_write {
            self.shown += u32::from(matches!(
                self.operation(operation).op.timeout_ms(),
                Some(Some(50..))
            ));
        }
        let error = if is_write {
            ErrorCode::Locked
        } else {
            ErrorCode::Timeout
        };
        self.reply(operation, Err(error));
        self.advance(lock);
    }

    fn answer(&mut self, operation: usize, outcome: Outcome) {
        let now = self.now;
        let (worker, session) = {
            let operation = self.operation(operation);
            (operation.worker as usize, operation.session)
        };
        if self.workers[worker].session != session || !self.workers[worker].alive {
            return;
        }
        let until = self.rng.random_range(0..=self.weather.hold_ms) * MS;
        let op = self.operation(operation).op.clone();
        let lock = self.lock_of(&op);
        let it = &mut self.script.history.operations[operation];
        it.completed_ns = Some(now);
        it.outcome = outcome.clone();
        let me = &mut self.workers[worker];
        match (&op, &outcome) {
            (Op::LockAcquire { .. }, Outcome::Ok { .. }) => me.holds = Some((lock, now + until)),
            (Op::LockRelease { .. }, _) => me.holds = None,
            (_, Outcome::Fail(failure)) if failure.error == ErrorCode::LockLost => me.holds = None,
            _ => {}
        }
        let mut gap = 1000 + self.delay();
        if me_holds(&self.workers[worker]) || self.chance(30) {
            gap += self.rng.random_range(0..=self.weather.hold_ms / 4) * MS;
        }
        self.at(now + gap, Event::Act(worker));
    }

    fn kill(&mut self, worker: usize) {
        let now = self.now;
        let session = self.workers[worker].session;
        let over = now + self.delay().min(5 * MS);
        self.script.history.faults.push(FaultRecord {
            at_ns: now,
            fault: Fault::Kill {
                worker: worker as u32,
            },
            sessions: vec![session],
            until_ns: None,
        });
        let at = session as usize - 1;
        self.script.history.sessions[at].over = Some((over, SessionEnd::Killed));
        let noticed = now + self.rng.random_range(0..=NOTICE_MS) * MS;
        let operations = &mut self.script.history.operations;
        for operation in operations.iter_mut().rev().take(200) {
            if operation.session == session && operation.completed_ns.is_none() {
                operation.completed_ns = Some(over);
            }
        }
        for lock in 0..2 {
            for row in &mut self.locks[lock].line {
                if operations_session(&self.script, row.operation) == session {
                    row.dead_at = Some(noticed);
                }
            }
            self.at(noticed, Event::Look(lock));
        }
        self.workers[worker].alive = false;
        if self.chance(70) {
            let again = self.open(worker as u32, over);
            self.workers[worker] = Worker {
                session: again,
                holds: None,
                pauses: Vec::new(),
                alive: true,
            };
            self.at(over + MS, Event::Act(worker));
        }
    }

    fn observe(&mut self) {
        for lock in 0..2 {
            let state = &self.locks[lock];
            let count = (state.line.len() + state.left_behind.len()) as u64;
            let (before, after) = (self.delay(), self.delay());
            self.script.history.observations.push(Observation {
                at_ns: self.now + after,
                seen: Seen::Waiting {
                    lock: self.names[lock].clone(),
                    count,
                    asked_ns: self.now.saturating_sub(before),
                },
            });
        }
        if self.now < self.weather.for_ms * MS {
            let next = self.now + self.rng.random_range(500..20_000) * US;
            self.at(next, Event::Observe);
        }
    }
}

fn me_holds(worker: &Worker) -> bool {
    worker.holds.is_some()
}

fn operations_session(script: &Script, operation: usize) -> u64 {
    script.history.operations[operation].session
}

mod tests {
    use super::super::{CheckResult, Verdict};
    use super::*;
    use proptest::prelude::*;

    fn all(weather: &Weather) -> Vec<CheckSpec> {
        vec![
            CheckSpec::MutualExclusion,
            CheckSpec::FencingTokens,
            CheckSpec::FifoGrants,
            CheckSpec::Timeouts,
            CheckSpec::LockTtl,
            CheckSpec::LockLiveness {
                dead_holder_ms: Some(NOTICE_MS + weather.delay_ms + 6),
            },
            CheckSpec::LockLiveness {
                dead_holder_ms: None,
            },
            CheckSpec::StaleHolders,
            CheckSpec::MandatoryLocks,
        ]
    }

    fn any_weather() -> impl Strategy<Value = Weather> {
        let ttls = proptest::sample::subsequence(vec![0, 60, 150, 400, 2000], 1..=5);
        let timeouts = proptest::sample::subsequence(
            vec![None, Some(0), Some(20), Some(300), Some(5000)],
            1..=5,
        );
        let offsets = proptest::sample::subsequence(vec![0, -30, 200, 10_000, 61_000], 0..=2);
        let faults = (any::<bool>(), any::<bool>());
        (
            2..8_u32,
            0..150_u64,
            1..1000_u64,
            ttls,
            timeouts,
            offsets,
            faults,
        )
            .prop_map(
                |(workers, delay_ms, hold_ms, ttls_ms, timeouts_ms, mut offsets_ms, faults)| {
                    offsets_ms.push(0);
                    Weather {
                        workers,
                        for_ms: 10_000,
                        delay_ms,
                        hold_ms,
                        ttls_ms,
                        timeouts_ms,
                        offsets_ms,
                        kills: faults.0,
                        stops: faults.1,
                        planted: Planted::Nothing,
                    }
                },
            )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn a_correct_lock_is_never_accused(seed: u64, weather in any_weather()) {
            let (history, _) = simulate(seed, weather.clone());
            for spec in all(&weather) {
                let result = spec.run(&history);
                prop_assert_eq!(result.verdict, Verdict::Pass, "{:#?}", result);
            }
        }
    }

    /// Nothing is late, so that what is wrong certainly shows.
    fn calm(planted: Planted) -> Weather {
        Weather {
            workers: 6,
            for_ms: 6000,
            delay_ms: 1,
            hold_ms: 120,
            ttls_ms: vec![0],
            timeouts_ms: vec![None],
            offsets_ms: vec![0],
            kills: false,
            stops: false,
            planted,
        }
    }

    fn catches(spec: &CheckSpec, weather: &Weather) -> Vec<CheckResult> {
        let mut shown = 0;
        let mut results = Vec::new();
        for seed in 0..40 {
            let (history, shows) = simulate(seed, weather.clone());
            let result = spec.run(&history);
            assert!(
                shows == 0 || result.verdict == Verdict::Fail,
                "seed {seed}: {:?} shows {shows} times, and {result:?}",
                weather.planted
            );
            shown += u32::from(shows > 0);
            results.push(result);
        }
        assert!(
            shown > 20,
            "{:?} showed in {shown} of 40 runs",
            weather.planted
        );
        results
    }

    #[test]
    fn a_grant_before_the_release_is_caught() {
        catches(
            &CheckSpec::MutualExclusion,
            &calm(Planted::GrantBeforeRelease),
        );
    }

    #[test]
    fn a_token_used_twice_is_caught() {
        catches(&CheckSpec::FencingTokens, &calm(Planted::TokenTwice));
    }

    #[test]
    fn a_line_served_from_its_end_is_caught() {
        catches(&CheckSpec::FifoGrants, &calm(Planted::LastComeFirst));
    }

    #[test]
    fn an_early_timeout_is_caught() {
        let weather = Weather {
            timeouts_ms: vec![None, Some(60), Some(200)],
            ..calm(Planted::EarlyTimeout)
        };
        catches(&CheckSpec::Timeouts, &weather);
    }

    #[test]
    fn a_time_to_live_from_the_request_is_caught() {
        let weather = Weather {
            ttls_ms: vec![1000],
            hold_ms: 700,
            for_ms: 20_000,
            ..calm(Planted::TtlFromRequest)
        };
        catches(&CheckSpec::LockTtl, &weather);
        catches(&CheckSpec::MutualExclusion, &weather);
    }

    #[test]
    fn a_lost_wake_up_is_caught() {
        let spec = CheckSpec::LockLiveness {
            dead_holder_ms: None,
        };
        catches(&spec, &calm(Planted::LostWakeup));
    }

    #[test]
    fn stale_holders_that_go_on_are_caught() {
        for planted in [Planted::StaleWrite, Planted::StaleRelease] {
            let weather = Weather {
                ttls_ms: vec![40],
                hold_ms: 400,
                ..calm(planted)
            };
            catches(&CheckSpec::StaleHolders, &weather);
        }
    }

    #[test]
    fn a_thief_is_caught() {
        catches(&CheckSpec::MandatoryLocks, &calm(Planted::ThiefWrite));
    }

    #[test]
    fn what_is_planted_disturbs_no_other_check() {
        // A token used twice says nothing of who held the lock when.
        for seed in 0..20 {
            let (history, _) = simulate(seed, calm(Planted::TokenTwice));
            for spec in all(&calm(Planted::TokenTwice)) {
                let is_tokens = spec == CheckSpec::FencingTokens;
                let verdict = spec.run(&history).verdict;
                assert!(is_tokens || verdict == Verdict::Pass, "{spec:?}");
            }
        }
    }
}
