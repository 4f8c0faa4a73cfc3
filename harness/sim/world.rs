//! The simulator's world: a worker is an actor of the room, and waiting is in virtual time.
//!
//! What must stay true: whatever a worker waits for, it stops in the room; so one goes on at a time,
//! and who that is is the scheduler's choice.

use super::machine::SimulatedMachine;
use super::room::{DATABASE, Room, SharedRoom};
use super::run::AFTER_ALL;
use super::time::InstanceClocks;
use crate::driver::beaver::Settings;
use crate::driver::instance::{InstanceSession, Pace};
use crate::driver::{Answer, gone};
use crate::history::{Recorder, Seen, SessionEnd};
use crate::program::Fault;
use crate::protocol::{ErrorCode, Failure, Op};
use crate::run::Progress;
use crate::run::signals::Prospect;
use crate::run::world::{Opened, Refused, World, WorldClient};
use beaver_host::machine::MachineHost;
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

/// How long a worker tries to open its client, and how long it waits between: as on real systems.
const OPEN_PATIENCE: Duration = Duration::from_secs(5);
const OPEN_PAUSE: Duration = Duration::from_millis(100);

/// How often whoever waits for a writer looks for one, and how long it waits between: less than the
/// shortest transaction takes.
const WRITER_LOOKS: u32 = 200;
const WRITER_PAUSE: Duration = Duration::from_micros(3);

/// What all actors of a run share.
pub(super) struct Stage<'a> {
    pub(super) room: SharedRoom,
    pub(super) host: &'a MachineHost,
    pub(super) settings: &'a Settings,
    pub(super) progress: &'a Progress,
    pub(super) recorder: Arc<Recorder>,
    pub(super) seed: u64,
    pub(super) workers: u32,
    pub(super) halted: Arc<AtomicBool>,
}

/// What one actor sees of the world.
pub(super) struct SimulatedWorld<'a> {
    stage: &'a Stage<'a>,
    actor: u32,
}

/// A duration in nanoseconds, as far as they go.
fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl<'a> SimulatedWorld<'a> {
    pub(super) fn new(stage: &'a Stage<'a>, actor: u32) -> Self {
        Self { stage, actor }
    }

    fn room(&self) -> &'a SharedRoom {
        &self.stage.room
    }

    /// Waits until `is_over`, asked whenever it may be; at the latest until then.
    async fn until(&self, at_ns: u64, is_over: impl FnMut(&mut Room) -> bool) {
        until(self.room(), self.actor, at_ns, is_over).await;
    }

    /// Starts an instance and opens the database in it.
    async fn start(&self) -> Result<(u64, InstanceSession), Failure> {
        let (instance, clocks) = {
            let mut room = self.room().lock();
            let instance = room.new_instance(self.actor);
            let wall = Arc::clone(&room.process_of(self.actor).wall);
            let mut random = ChaCha8Rng::seed_from_u64(self.stage.seed);
            random.set_stream(STREAM_OF_INSTANCES + instance);
            let clocks = InstanceClocks::new(room.time.clone(), wall, random);
            (instance, clocks)
        };
        let machine = SimulatedMachine::new(self.room().clone(), self.actor, instance);
        let pace = SimulatedPace {
            room: self.room().clone(),
            actor: self.actor,
        };
        let opening = async {
            let started = self.stage.host.boot(machine, Arc::new(clocks)).await;
            let started = started.map_err(|error| gone(error.to_string()))?;
            let settings = self.stage.settings;
            InstanceSession::open(started, DATABASE, settings, Arc::new(pace)).await
        };
        let opened = while_alive(self.room(), instance, opening).await;
        let session = opened.unwrap_or_else(|| Err(gone("the instance is gone")))?;
        Ok((instance, session))
    }

    async fn try_open(&self) -> Result<Opened<SimulatedClient>, Failure> {
        let (instance, session) = self.start().await?;
        let mut room = self.room().lock();
        if !room.is_alive(instance) {
            return Err(gone("the instance is gone"));
        }
        Ok(Opened {
            session: room.enter_session(self.actor),
            client: SimulatedClient {
                session,
                instance,
                room: self.room().clone(),
                actor: self.actor,
                given_up: false,
            },
        })
    }
}

/// The random numbers of instance `n` are the stream of the seed with this number and `n`.
const STREAM_OF_INSTANCES: u64 = 1 << 32;

/// What `future`, a call into the instance, comes to; none if the instance is ended before. Then it is
/// not polled again: a guest that was cut in the middle of computing must not write another word to
/// the wal-index that it shares with those who live on.
async fn while_alive<T>(
    room: &SharedRoom,
    instance: u64,
    future: impl Future<Output = T>,
) -> Option<T> {
    let mut future = pin!(future);
    poll_fn(|context| {
        if !room.lock().is_alive(instance) {
            return Poll::Ready(None);
        }
        future.as_mut().poll(context).map(Some)
    })
    .await
}

async fn until(
    room: &SharedRoom,
    actor: u32,
    at_ns: u64,
    mut is_over: impl FnMut(&mut Room) -> bool,
) {
    poll_fn(move |_| {
        let mut room = room.lock();
        loop {
            if room.now_ns() >= at_ns || is_over(&mut room) {
                return Poll::Ready(());
            }
            if !room.park(actor, at_ns) {
                return Poll::Pending;
            }
        }
    })
    .await;
}

impl World for SimulatedWorld<'_> {
    type Client = SimulatedClient;

    fn recorder(&self) -> &Recorder {
        &self.stage.recorder
    }

    fn now(&self) -> Duration {
        Duration::from_nanos(self.room().lock().now_ns())
    }

    async fn sleep(&self, duration: Duration) {
        let at_ns = (self.room().lock().now_ns()).saturating_add(nanoseconds(duration));
        self.until(at_ns, |_| self.is_halted()).await;
    }

    async fn phase(&self) {
        let phase = self.room().lock().at_phase(self.stage.workers);
        self.until(u64::MAX, |room| room.phases() > phase).await;
    }

    fn is_halted(&self) -> bool {
        self.stage.progress.halt.load(Ordering::Relaxed)
            || self.stage.halted.load(Ordering::Relaxed)
    }

    fn time_is_up(&self) -> bool {
        self.is_halted()
    }

    fn has_deadline(&self) -> bool {
        false
    }

    async fn open(
        &self,
        worker: u32,
        patience: Option<Duration>,
    ) -> Result<Opened<SimulatedClient>, Refused> {
        let limit = patience.map_or(OPEN_PATIENCE, |patience| patience.max(OPEN_PATIENCE));
        let began = self.now();
        let mut noted = false;
        loop {
            if self.is_halted() {
                return Err(Refused::Harness("the run was halted".to_owned()));
            }
            let failure = match self.try_open().await {
                Ok(opened) => return Ok(opened),
                Err(failure) => failure,
            };
            // Ended in the middle by a fault: nobody's refusal.
            if failure.error == ErrorCode::Gone && !self.room().lock().fallen.is_empty() {
                self.sleep(OPEN_PAUSE).await;
                if self.now().saturating_sub(began) < limit * 4 {
                    continue;
                }
            }
            if self.now().saturating_sub(began) >= limit {
                return Err(Refused::System(failure));
            }
            if !noted {
                let note = format!("worker {worker} could not open a client at once: {failure}");
                self.recorder().seen(Seen::Note(note));
                noted = true;
            }
            self.sleep(OPEN_PAUSE).await;
        }
    }

    fn is_live(&self, worker: u32, session: u64) -> bool {
        self.room().lock().is_live(worker, session)
    }

    fn over(&self, worker: u32, session: u64, how: SessionEnd) {
        self.room().lock().over(worker, session, how);
    }

    fn finished(&self) {
        let mut room = self.room().lock();
        room.signals.finished();
        room.wake_all();
    }

    fn trouble(&self, what: String) {
        self.room().lock().troubles.push(what);
    }

    fn give(&self, name: &str) {
        let mut room = self.room().lock();
        room.signals.give(name);
        room.wake_all();
    }

    async fn await_signal(&self, name: &str, limit: Duration, is_over: &dyn Fn() -> bool) -> bool {
        let at_ns = {
            let mut room = self.room().lock();
            if room.signals.await_begins(name) {
                return true;
            }
            room.now_ns().saturating_add(nanoseconds(limit))
        };
        let mut came = false;
        self.until(at_ns, |room| match room.signals.still_awaits(name) {
            Prospect::Came => {
                came = true;
                true
            }
            Prospect::Open if !is_over() => false,
            Prospect::Open | Prospect::Hopeless => {
                room.signals.gives_up(name);
                room.wake_all();
                true
            }
        })
        .await;
        came
    }

    fn others_are_idle(&self) -> bool {
        self.room().lock().signals.others_are_idle()
    }

    async fn inflict(&self, fault: Fault) -> anyhow::Result<bool> {
        let worker = fault.worker().unwrap_or(0);
        anyhow::ensure!(worker < self.stage.workers, "there is no worker {worker}");
        let for_ms = |ms: u64| u32::try_from(ms).unwrap_or(u32::MAX);
        let mut until_ns = None;
        let done = {
            let mut room = self.room().lock();
            match fault {
                Fault::Kill { .. } => room.kill(worker),
                Fault::Drop { .. } => room.drop_instance(worker, fault, SessionEnd::Dropped),
                Fault::Trap { .. } => room.drop_instance(worker, fault, SessionEnd::Trapped),
                Fault::BusyWriter { for_ms: ms } => room.stranger(for_ms(ms)),
                Fault::KillAll { .. } => {
                    anyhow::bail!(
                        "only real processes are all killed at once: here the power is lost"
                    )
                }
                Fault::PowerLoss => {
                    let chance = rand::RngCore::next_u64(&mut room.chance);
                    room.power_loss(chance);
                    true
                }
                Fault::ClockJump { by_ms, .. } => {
                    room.process_of(worker).wall.jump(by_ms);
                    room.recorder.fault(fault, Vec::new());
                    true
                }
                Fault::Stop { for_ms: ms, .. } => {
                    until_ns = Some(room.now_ns().saturating_add(ms.saturating_mul(1_000_000)));
                    room.stop_process(worker, for_ms(ms))
                }
            }
        };
        // As on real systems, whoever does it sees it through.
        if let Some(until_ns) = until_ns {
            self.until(until_ns, |_| false).await;
        }
        Ok(done)
    }
}

/// Virtual time for a client.
struct SimulatedPace {
    room: SharedRoom,
    actor: u32,
}

impl Pace for SimulatedPace {
    fn now(&self) -> Duration {
        Duration::from_nanos(self.room.lock().now_ns())
    }

    fn nap(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        let at_ns = (self.room.lock().now_ns()).saturating_add(nanoseconds(duration));
        Box::pin(until(&self.room, self.actor, at_ns, |_| false))
    }
}

/// A client in an instance on the simulated machine.
pub(super) struct SimulatedClient {
    session: InstanceSession,
    instance: u64,
    room: SharedRoom,
    actor: u32,
    given_up: bool,
}

impl WorldClient for SimulatedClient {
    async fn call(&mut self, op: &Op, certify: bool, patience: Duration) -> Answer {
        let own = op.timeout_ms().flatten().unwrap_or(0);
        let limit = nanoseconds(patience).saturating_add(own.saturating_mul(1_000_000));
        let until_ns = self.room.lock().now_ns().saturating_add(limit);
        self.room.lock().set_patience(self.actor, Some(until_ns));
        let room = &self.room;
        let mut call = pin!(while_alive(
            room,
            self.instance,
            self.session.call(op, certify)
        ));
        let is_gone = || Err(gone("the instance is gone"));
        let answer = poll_fn(
            |context: &mut Context<'_>| match call.as_mut().poll(context) {
                Poll::Ready(answer) => Poll::Ready(Some(answer.unwrap_or_else(is_gone))),
                Poll::Pending if room.lock().now_ns() >= until_ns => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            },
        )
        .await;
        let mut room = self.room.lock();
        room.set_patience(self.actor, None);
        match answer {
            Some(answer) => answer,
            None => {
                self.given_up = op.timeout_ms() == Some(None);
                // Whoever was chosen meanwhile goes on when this one stops next.
                room.wake(self.actor);
                Err(gone("no answer in time"))
            }
        }
    }

    fn was_given_up(&self) -> bool {
        self.given_up
    }

    async fn close(self) -> Result<(), Failure> {
        while_alive(&self.room, self.instance, self.session.close())
            .await
            .unwrap_or_else(|| Err(gone("the instance is gone")))
    }
}

// For whoever is there beside the workers.
impl SimulatedWorld<'_> {
    /// Waits until so many phases are over.
    pub(super) async fn after_phases(&self, phases: u32) {
        self.until(u64::MAX, |room| room.phases() >= phases).await;
    }

    /// How many faults came to pass.
    pub(super) fn fallen(&self) -> usize {
        self.room().lock().fallen.len()
    }

    /// Opens the database when all faults are over.
    pub(super) async fn open_at_last(&self) -> Result<InstanceSession, Failure> {
        self.room().lock().calm_down();
        let began = self.now();
        loop {
            match self.start().await {
                Ok((_, session)) => return Ok(session),
                Err(failure) if self.now().saturating_sub(began) >= AFTER_ALL => {
                    return Err(failure);
                }
                Err(failure) => {
                    let note = format!("it could not be opened after all at once: {failure}");
                    self.recorder().seen(Seen::Note(note));
                    let at_ns =
                        (self.room().lock().now_ns()).saturating_add(nanoseconds(OPEN_PAUSE));
                    self.until(at_ns, |_| false).await;
                }
            }
        }
    }

    /// Waits until somebody begins to write, but not for long.
    pub(super) async fn until_somebody_begins_to_write(&self) {
        let mut was_free = false;
        for _ in 0..WRITER_LOOKS {
            let is_free = !self.room().lock().somebody_writes();
            if was_free && !is_free || self.is_halted() {
                break;
            }
            was_free = is_free;
            self.sleep(WRITER_PAUSE).await;
        }
    }

    /// Checkpoints, in this session or another one; the session, unless it has ended.
    pub(super) async fn checkpoint(
        &self,
        session: Option<InstanceSession>,
    ) -> Option<InstanceSession> {
        if self.is_halted() {
            return session;
        }
        let mut session = match session {
            Some(session) => session,
            None => match self.start().await {
                Ok((_, session)) => session,
                Err(failure) => {
                    self.unless_a_fault_explains(Some(failure), "opened for a checkpoint");
                    return None;
                }
            },
        };
        match session.checkpoint().await {
            Ok(_) => Some(session),
            Err(failure) if failure.error == ErrorCode::Gone => None,
            Err(failure) => {
                self.unless_a_fault_explains(Some(failure), "checkpointed");
                Some(session)
            }
        }
    }

    /// The database could not be `done` to: a finding, unless a fault or somebody else explains it.
    pub(super) fn unless_a_fault_explains(&self, failure: Option<Failure>, done: &str) {
        if let Some(failure) = failure
            && failure.error != ErrorCode::Busy
            && self.room().lock().fallen.is_empty()
        {
            self.found(format!("{DATABASE} could not be {done}: {failure}"));
        }
    }

    /// Something is wrong with the system.
    pub(super) fn found(&self, what: String) {
        self.room().lock().findings.push(what);
    }
}
