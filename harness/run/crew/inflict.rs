//! What is done to the processes and clients of a run.
//!
//! What must stay true: whoever is hit is entered with the fault, before it is done; a process goes
//! on when its last pause is over; what a process died of is entered, not what was meant for it.

use super::super::busy_writer::BusyWriter;
use super::{Crew, Doom, Live, Started, lock};
use crate::driver::Ending;
use crate::history::{Seen, SessionEnd};
use crate::program::Fault;
use anyhow::Context as _;
use std::time::Duration;

impl Crew<'_> {
    /// Does it; returns whether there was anybody to do it to.
    pub(in crate::run) fn inflict(&self, fault: Fault) -> anyhow::Result<bool> {
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
                let pause = self.recorder.pause(fault, Vec::new());
                let started = BusyWriter::start(helper, &self.init.database, duration);
                let started = started.inspect_err(|_| self.recorder.resumed(pause, Vec::new()))?;
                lock(&self.writers).push((pause, started));
            }
            Fault::Kill { .. } => {
                let slot = self.slot(worker);
                let _opening = lock(&slot.opening);
                let Some(Started {
                    number, process, ..
                }) = lock(&slot.started).take()
                else {
                    return Ok(false);
                };
                let doomed = self.doom(fault, self.mates(worker), Doom::Dying);
                let ending = process.kill();
                self.keep_notes(number, &process);
                self.bury(number, doomed, &ending);
                ending?;
            }
            Fault::KillAll { sqlite_first } => return self.kill_all(fault, sqlite_first),
            Fault::Stop { for_ms, .. } => {
                let slot = self.slot(worker);
                let opening = lock(&slot.opening);
                let Some(started) = slot.started() else {
                    return Ok(false);
                };
                drop(opening);
                return Ok(self.pause(&started, fault, Duration::from_millis(for_ms)));
            }
            Fault::Drop { .. } | Fault::Trap { .. } => {
                // Held, so that the worker opens no other client before this one is abandoned.
                let _opening = lock(&self.slot(worker).opening);
                let trap = matches!(fault, Fault::Trap { .. });
                let how = if trap {
                    SessionEnd::Trapped
                } else {
                    SessionEnd::Dropped
                };
                let victim = std::iter::once(worker as usize);
                let Some((_, live)) = self.doom(fault, victim, Doom::Sure(how)).pop() else {
                    return Ok(false);
                };
                let abandoned = live.abandoner.abandon(trap);
                self.over(worker, live.session, how);
                abandoned?;
            }
            Fault::PowerLoss | Fault::ClockJump { .. } => {
                anyhow::bail!("only the simulator can do that")
            }
        }
        Ok(true)
    }

    /// Enters how the sessions of a process ended that was to be killed.
    pub(super) fn bury(
        &self,
        number: u32,
        doomed: Vec<(u32, Live)>,
        ending: &anyhow::Result<Ending>,
    ) {
        let how = match ending {
            Ok(Ending::Killed) | Err(_) => SessionEnd::Killed,
            Ok(Ending::GivenUp) => SessionEnd::GivenUp,
            Ok(Ending::Before(why)) => {
                let note = format!("process {number} was lost before it was killed: {why}");
                self.recorder.seen(Seen::Note(note));
                SessionEnd::Lost
            }
        };
        for (worker, live) in doomed {
            *lock(&self.live[worker as usize]) = None;
            self.recorder.over(live.session, how);
        }
    }

    /// Stops a process for a while. One that has just ended is nobody's trouble.
    fn pause(&self, started: &Started, fault: Fault, time: Duration) -> bool {
        let entered = lock(&started.entered);
        let is_live = |session: &u64| {
            let mut all = self.live.iter();
            all.any(|live| lock(live).as_ref().is_some_and(|it| it.session == *session))
        };
        let mut hit: Vec<u64> = entered.iter().copied().filter(is_live).collect();
        let pause = self.recorder.pause(fault, hit.clone());
        let known = entered.len();
        drop(entered);
        let stopped = {
            let mut pauses = lock(&started.pauses);
            *pauses += 1;
            *pauses > 1 || started.process.stop().is_ok()
        };
        self.sleep(time);
        let resumed = {
            let mut pauses = lock(&started.pauses);
            *pauses -= 1;
            *pauses > 0 || started.process.resume().is_ok()
        };
        let entered = lock(&started.entered);
        hit.extend(entered.iter().skip(known));
        self.recorder.resumed(pause, hit);
        stopped && resumed
    }

    /// Enters what is about to be done to the sessions of these workers, and notes how they end.
    /// All in one go: a worker that finds its session doomed gives it up at once, which must
    /// not come before the fault. Nothing is entered if a single client isn't there.
    pub(super) fn doom(
        &self,
        fault: Fault,
        workers: impl Iterator<Item = usize>,
        doom: Doom,
    ) -> Vec<(u32, Live)> {
        let mut lives: Vec<_> = workers
            .filter_map(|worker| Some((u32::try_from(worker).ok()?, lock(&self.live[worker]))))
            .collect();
        lives.retain(|(_, live)| live.is_some());
        if lives.is_empty() && !matches!(fault, Fault::Kill { .. } | Fault::KillAll { .. }) {
            return Vec::new();
        }
        let sessions = lives.iter().flat_map(|(_, live)| live.as_ref());
        let sessions = sessions.map(|live| live.session).collect();
        self.recorder.fault(fault, sessions);
        let doomed = lives.iter_mut().filter_map(|(worker, live)| {
            let live = live.as_mut()?;
            live.doom = Some(doom);
            Some((*worker, live.clone()))
        });
        doomed.collect()
    }
}
