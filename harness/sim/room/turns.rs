//! Whose turn it is: who can go on, who waits until when, and what is due meanwhile.
//!
//! What must stay true: time leaps only when nobody can go on; and whoever may have what it waits for
//! is able to look.

use super::{Actor, ActorWaker, NEVER, Room, STEPS_DONE, Stopped};
use crate::history::SessionEnd;
use crate::program::Fault;
use crate::sim::fault::Fault as Fallen;
use crate::sim::schedule::{SLICE_TAKES_NS, Scheduler};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Waker;

impl Room {
    /// The actor stops where it could go on; true: it does.
    pub(in crate::sim) fn stop(&mut self, actor: u32) -> bool {
        let chosen = self.choose(actor, false);
        self.next = chosen.filter(|chosen| *chosen != actor);
        chosen == Some(actor)
    }

    /// The actor can't go on before `until_ns` unless it is woken; true: that has come already.
    pub(in crate::sim) fn park(&mut self, actor: u32, until_ns: u64) -> bool {
        self.set_able(actor, false);
        if let Some(known) = self.actors.get_mut(actor as usize) {
            known.until_ns = until_ns;
        }
        self.alarm_ns = self.alarm_ns.min(until_ns);
        self.stop(actor)
    }

    pub(in crate::sim) fn set_able(&mut self, actor: u32, able: bool) {
        let Some(known) = self.actors.get_mut(actor as usize) else {
            return;
        };
        let able = able && !known.ended;
        known.until_ns = NEVER;
        if able {
            self.able |= 1 << actor;
        } else {
            self.able &= !(1 << actor);
        }
    }

    pub(in crate::sim) fn is_able(&self, actor: u32) -> bool {
        self.able & (1 << actor) != 0
    }

    /// The actor may go on.
    pub(in crate::sim) fn wake(&mut self, actor: u32) {
        self.set_able(actor, true);
    }

    /// Whoever comes next after the actor polled last; none: nobody can go on ever again.
    pub(in crate::sim) fn next(&mut self) -> Option<u32> {
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
    pub(in crate::sim) fn has_next(&self) -> bool {
        self.next.is_some()
    }

    /// The actor was polled and is pending, but stopped nowhere: it computed for long.
    pub(in crate::sim) fn was_cut(&mut self, actor: u32) {
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
    pub(in crate::sim) fn set_slice(
        &mut self,
        actor: u32,
        fuel: u32,
        away_us: u32,
        last: Option<Fallen>,
    ) {
        let known = &mut self.actors[actor as usize];
        (known.slice, known.away_us, known.last_slice) = (fuel, away_us, last);
    }

    /// Drops the actor's instance if it was not to come further; whether it did.
    pub(in crate::sim) fn drop_if_last(&mut self, actor: u32) -> bool {
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
    pub(in crate::sim) fn done(&mut self, actor: u32) {
        if let Some(known) = self.actors.get_mut(actor as usize) {
            known.ended = true;
        }
        self.set_able(actor, false);
        self.next = None;
    }

    pub(in crate::sim) fn choose(&mut self, last: u32, was_cut: bool) -> Option<u32> {
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
    pub(in crate::sim) fn standing_still(&self) -> u64 {
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
    pub(in crate::sim) fn due(&mut self) {
        let now_ns = self.now_ns();
        for number in 0..self.actors.len() {
            let actor = &self.actors[number];
            if !self.is_able(number as u32)
                && (actor.until_ns <= now_ns || actor.patience_ns <= now_ns)
            {
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

    pub(in crate::sim) fn earliest(&self) -> u64 {
        let numbered = (0..).zip(&self.actors);
        let actors = numbered.filter(|(number, _)| !self.is_able(*number));
        let actors = actors.map(|(_, actor)| actor.until_ns.min(actor.patience_ns));
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
    pub(in crate::sim) fn alarm(&mut self, at_ns: u64) {
        self.alarm_ns = self.alarm_ns.min(at_ns);
    }

    /// What wakes the actor when it is called.
    pub(in crate::sim) fn waker(&self, actor: u32) -> Waker {
        Waker::from(Arc::new(ActorWaker {
            actor,
            woken: Arc::clone(&self.woken),
        }))
    }

    /// Until when the actor's call may take.
    pub(in crate::sim) fn set_patience(&mut self, actor: u32, until_ns: Option<u64>) {
        let until_ns = until_ns.unwrap_or(NEVER);
        if let Some(known) = self.actors.get_mut(actor as usize) {
            known.patience_ns = until_ns;
            known.in_a_row = 0;
        }
        self.alarm_ns = self.alarm_ns.min(until_ns);
    }

    /// Everybody who only waits for others looks again.
    pub(in crate::sim) fn wake_all(&mut self) {
        for actor in 0..self.actors.len() as u32 {
            if !self.is_able(actor) {
                self.wake(actor);
            }
        }
    }

    /// A worker came to a phase; the number of the phase that is over when all have.
    pub(in crate::sim) fn at_phase(&mut self, workers: u32) -> u32 {
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
    pub(in crate::sim) fn may_blow(&self) -> bool {
        self.phases > 0 && (self.phases < STEPS_DONE || self.to_the_end)
    }

    /// How many phases are over.
    pub(in crate::sim) fn phases(&self) -> u32 {
        self.phases
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
