//! Histories of a simulated store with a correct FIFO lock, or with one planted fault, for the
//! tests of lock checks.
//!
//! The store knows true moments; the history gets times that are earlier and later than those
//! by random delays. Grants expire, are renewed and lost, holders and waiters die or are stopped,
//! waits run out, and some write without the lock.

mod store;
mod tests;

use super::CheckSpec;
use super::script::Script;
use crate::history::{
    FaultRecord, History, Observation, Operation, Outcome, Seen, Session, SessionEnd,
};
use crate::program::Fault;
use crate::protocol::{Capability, ErrorCode, Failure, LockKind, LockName, Op};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde_json::json;
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
    Act(usize, u64),
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
        // Deaths are noticed after `NOTICE_MS`.
        let capabilities = &mut script.history.header.driver.capabilities;
        capabilities.push(Capability::CrashDetection);
        let bounds = &mut script.history.header.bounds;
        bounds.handover_ms = 2 * weather.delay_ms + 1;
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
            it.at(at, Event::Act(worker as usize, session));
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
        let time = time.max(self.now);
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
            Event::Act(worker, session) => self.act(worker, session),
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

    fn act(&mut self, worker: usize, session: u64) {
        let me = &self.workers[worker];
        if me.session != session || !me.alive || self.now > self.weather.for_ms * MS {
            return;
        }
        let awake = self.awake(worker, self.now);
        if awake > self.now {
            self.at(awake, Event::Act(worker, session));
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
        let mut gap = MS + self.delay();
        if me_holds(&self.workers[worker]) || self.chance(30) {
            gap += self.rng.random_range(0..=self.weather.hold_ms / 4) * MS;
        }
        self.at(now + gap, Event::Act(worker, session));
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
            self.at(over + MS, Event::Act(worker, again));
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
