//! What stands under one instance: takes its host calls to the room, one stop each.
//!
//! What must stay true: a call has its effect all at once, when the room has chosen its actor to go
//! on, and never after the instance was ended.

use super::calls::{Effect, Wait, is_shm};
use super::fault::Blow;
use super::room::{Room, SharedRoom};
use crate::history::{Seen, SessionEnd};
use crate::program::Fault;
use beaver_host::machine::{Crashed, ErrorCode, HostCall, Machine, Reply};
use rand::Rng as _;
use std::num::NonZeroU64;
use std::task::{Context, Poll};

/// See the module. Dropped, it ends the instance.
pub(super) struct SimulatedMachine {
    room: SharedRoom,
    actor: u32,
    instance: u64,
    stage: Stage,
    /// What befalls the call under way.
    blow: Option<Blow>,
    /// For how many instructions the guest goes on after the call, and then no more: by what.
    last_slice: Option<(u32, super::fault::Fault)>,
}

/// How far a call is.
enum Stage {
    /// There is none.
    Idle,
    /// It takes longer than others.
    Slow { until_ns: u64 },
    /// Its actor has stopped, and may go on.
    Arrived,
    /// It waits.
    Waiting(Wait),
}

impl SimulatedMachine {
    pub(super) fn new(room: SharedRoom, actor: u32, instance: u64) -> Self {
        Self {
            room,
            actor,
            instance,
            stage: Stage::Idle,
            blow: None,
            last_slice: None,
        }
    }

    /// The call arrives: what befalls it there is done.
    fn arrive(&mut self, room: &mut Room, call: &HostCall<'_>) -> Result<(), Crashed> {
        let actor = self.actor;
        let number = room.count_call(actor);
        room.trace.call(room.now_ns(), actor, number, call);
        self.stage = Stage::Arrived;
        if room.drop_if_last(actor) {
            return Err(Crashed);
        }
        room.end_circles(actor);
        if !room.is_alive(self.instance) {
            return Err(Crashed);
        }
        // Without what was set up the program wouldn't make sense.
        let blows = if room.may_blow() {
            room.faults.at(actor, number).to_vec()
        } else {
            Vec::new()
        };
        for blow in blows {
            room.trace.line(|| format!("{:>18} {actor}  ! {blow}", ""));
            let is_done = match blow {
                Blow::Drop => {
                    let fault = Fault::Drop { worker: actor };
                    room.drop_instance(actor, fault, SessionEnd::Dropped)
                }
                Blow::DropAfter(fuel) => {
                    let fault = super::fault::Fault {
                        worker: actor,
                        call: number,
                        blow,
                    };
                    self.last_slice = Some((fuel.max(1), fault));
                    // It falls later.
                    false
                }
                Blow::Kill => room.kill(actor),
                Blow::PowerLoss(chance) => {
                    room.power_loss(chance.into());
                    true
                }
                Blow::Io | Blow::ShortWrite | Blow::Busy if fits(blow, call) => {
                    self.blow = Some(blow);
                    true
                }
                Blow::Io | Blow::ShortWrite | Blow::Busy => false,
                Blow::Full(ms) => {
                    room.fill_disk(ms);
                    true
                }
                Blow::Slow(ms) => {
                    let until_ns = room.now_ns() + u64::from(ms) * 1_000_000;
                    self.stage = Stage::Slow { until_ns };
                    true
                }
                Blow::Jump(ms) => {
                    let process = room.process_of(actor);
                    process.wall.jump(ms.into());
                    let fault = Fault::ClockJump {
                        worker: actor,
                        by_ms: ms.into(),
                    };
                    room.recorder.fault(fault, Vec::new());
                    true
                }
                Blow::Stop(ms) => room.stop_process(actor, ms),
                Blow::Stranger(ms) => room.stranger(ms),
            };
            if is_done {
                if let Some(words) = blow.unseen() {
                    let note = format!("worker {actor}, host call {number}: {words}");
                    room.recorder.seen(Seen::Note(note));
                }
                room.fallen.push(super::fault::Fault {
                    worker: actor,
                    call: number,
                    blow,
                });
            }
            if !room.is_alive(self.instance) {
                return Err(Crashed);
            }
        }
        Ok(())
    }

    /// Carries the call out; none: it waits, and isn't to go on yet.
    fn go_on(&mut self, room: &mut Room, call: &mut HostCall<'_>) -> Option<Reply> {
        loop {
            let effect = match std::mem::replace(&mut self.stage, Stage::Arrived) {
                Stage::Slow { until_ns } if room.now_ns() < until_ns => {
                    self.stage = Stage::Slow { until_ns };
                    if room.park(self.actor, until_ns) {
                        continue;
                    }
                    return None;
                }
                Stage::Idle | Stage::Slow { .. } | Stage::Arrived => match self.blow.take() {
                    Some(blow) => befall(room, self.instance, blow, call),
                    None => room.carry_out(self.actor, self.instance, call),
                },
                Stage::Waiting(wait) => room.wait_on(self.actor, self.instance, wait),
            };
            match effect {
                Effect::Reply(reply) => {
                    self.stage = Stage::Idle;
                    room.trace.reply(self.actor, call, &reply);
                    return Some(reply);
                }
                Effect::Wait(wait) => {
                    let until_ns = wait.until_ns();
                    self.stage = Stage::Waiting(wait);
                    if !room.park(self.actor, until_ns) {
                        return None;
                    }
                }
            }
        }
    }
}

impl Machine for SimulatedMachine {
    fn poll_call(
        &mut self,
        call: &mut HostCall<'_>,
        _context: &mut Context<'_>,
    ) -> Poll<Result<Reply, Crashed>> {
        let shared = self.room.clone();
        let mut room = shared.lock();
        if !room.is_alive(self.instance) {
            return Poll::Ready(Err(Crashed));
        }
        if matches!(self.stage, Stage::Idle) {
            if let Err(crashed) = self.arrive(&mut room, call) {
                return Poll::Ready(Err(crashed));
            }
            if !room.stop(self.actor) {
                return Poll::Pending;
            }
        }
        match self.go_on(&mut room, call) {
            Some(reply) => Poll::Ready(Ok(reply)),
            // It may have been ended while it parked and was chosen at once.
            None if !room.is_alive(self.instance) => Poll::Ready(Err(Crashed)),
            None => Poll::Pending,
        }
    }

    fn slice(&mut self) -> NonZeroU64 {
        let mut room = self.room.lock();
        let last = self.last_slice.take();
        let (fuel, away_us) = match last {
            Some((fuel, _)) => (fuel, 0),
            None => room.scheduler.slice(self.actor),
        };
        let fault = last.map(|(_, fault)| fault);
        room.set_slice(self.actor, fuel, away_us, fault);
        NonZeroU64::new(fuel.into()).unwrap_or(NonZeroU64::MAX)
    }
}

impl Drop for SimulatedMachine {
    fn drop(&mut self) {
        let mut room = self.room.lock();
        if let Stage::Waiting(wait) = std::mem::replace(&mut self.stage, Stage::Idle) {
            room.wait_no_more(wait);
        }
        // Files that the guest has closed are closed: nothing was left to crash.
        let left = room
            .instances
            .get(&self.instance)
            .is_some_and(|instance| instance.files.iter().any(Option::is_some));
        room.end_instance(self.instance, !left);
    }
}

/// Whether that can befall the call.
fn fits(blow: Blow, call: &HostCall<'_>) -> bool {
    match call {
        HostCall::WriteAt { .. } => matches!(blow, Blow::Io | Blow::ShortWrite),
        HostCall::ReadAt { .. }
        | HostCall::ReadInto { .. }
        | HostCall::Size { .. }
        | HostCall::Truncate { .. }
        | HostCall::Sync { .. }
        | HostCall::OpenFile { .. }
        | HostCall::DeleteFile { .. } => matches!(blow, Blow::Io | Blow::ShortWrite),
        HostCall::Lock { .. } | HostCall::ShmLock { .. } | HostCall::ShmLockWait { .. } => {
            matches!(blow, Blow::Busy)
        }
        _ => false,
    }
}

/// The call fails.
fn befall(room: &mut Room, instance: u64, blow: Blow, call: &HostCall<'_>) -> Effect {
    if let (Blow::ShortWrite, HostCall::WriteAt { file, offset, data }) = (blow, call)
        && let Some(open) = room.file(instance, *file)
    {
        let id = open.id;
        let mut chance = room.chance.clone();
        let _ = room.disk.short_write(id, *offset, data, &mut chance);
        room.chance = chance;
        room.look();
    }
    // The name is gone, and what failed was the sync of its directory.
    if let (
        Blow::ShortWrite,
        HostCall::DeleteFile {
            name,
            sync_directory: true,
        },
    ) = (blow, call)
        && !is_shm(name)
    {
        let _ = room.disk.delete(name, false);
        room.look();
    }
    // Part of the changes may get to the device all the same, unless it is lost.
    if let (Blow::Io, HostCall::Sync { file, .. }) = (blow, call)
        && room.chance.random_bool(0.5)
        && let Some(open) = room.file(instance, *file)
    {
        let id = open.id;
        let begun = room.disk.sync_begins();
        let _ = room.disk.sync(id, begun);
    }
    let error = match (blow, call) {
        (Blow::Busy, HostCall::ShmLockWait { .. }) => ErrorCode::TimedOut,
        (Blow::Busy, _) => ErrorCode::Busy,
        _ => ErrorCode::Io,
    };
    Effect::Reply(Reply::Failed(error))
}
