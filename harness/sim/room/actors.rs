//! Actors, their instances and sessions.
//!
//! What must stay true: an instance that is gone holds nothing from that moment, and its session is
//! entered as over exactly once.

use super::{Actor, CIRCLE_CALLS, Instance, OpenFile, Process, Room};
use crate::history::SessionEnd;
use crate::sim::locks::{Holder, ShmKind};
use std::sync::atomic::Ordering;

impl Room {
    pub(in crate::sim) fn process_of(&mut self, actor: u32) -> &mut Process {
        let process = self.actors[actor as usize].process;
        &mut self.processes[process]
    }

    /// The number of the actor's next host call.
    pub(in crate::sim) fn count_call(&mut self, actor: u32) -> u64 {
        let actor = &mut self.actors[actor as usize];
        actor.in_a_row += 1;
        actor.calls += 1;
        actor.calls - 1
    }

    /// Ends the run if the actor goes in circles, as SQLite may in a damaged database: time hardly goes
    /// by while it does, and nobody's patience would end.
    pub(in crate::sim) fn end_circles(&mut self, actor: u32) {
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
    pub(in crate::sim) fn slices_used_up(&self) -> u64 {
        self.slices_used_up
    }

    /// How many host calls were made.
    pub(in crate::sim) fn total_calls(&self) -> u64 {
        self.actors.iter().map(|actor| actor.calls).sum()
    }

    /// Who waits, for a person.
    pub(in crate::sim) fn waiting(&self) -> String {
        let actors = (0..).zip(&self.actors);
        let said = actors.map(|(number, actor): (u32, _)| {
            format!(
                "{number} able={} calls={}",
                self.is_able(number),
                actor.calls
            )
        });
        said.collect::<Vec<_>>().join(", ")
    }

    /// How many host calls each has made.
    pub(in crate::sim) fn calls(&self) -> Vec<u64> {
        self.actors.iter().map(|actor| actor.calls).collect()
    }

    /// A place for a new instance of the actor's.
    pub(in crate::sim) fn new_instance(&mut self, actor: u32) -> u64 {
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
    pub(in crate::sim) fn enter_session(&mut self, actor: u32) -> u64 {
        let process = self.process_of(actor);
        let (number, offset_ms) = (process.number, process.clock_offset_ms);
        let session = self.recorder.session(actor, number, offset_ms);
        self.actors[actor as usize].session = Some(session);
        session
    }

    /// Whether nothing has ended the session.
    pub(in crate::sim) fn is_live(&self, actor: u32, session: u64) -> bool {
        self.actors[actor as usize].session == Some(session)
    }

    /// The session is over, if nothing has ended it before.
    pub(in crate::sim) fn over(&mut self, actor: u32, session: u64, how: SessionEnd) {
        let known = &mut self.actors[actor as usize];
        if known.session.take_if(|known| *known == session).is_some() {
            self.recorder.over(session, how);
        }
    }

    pub(in crate::sim) fn is_alive(&self, instance: u64) -> bool {
        self.instances.contains_key(&instance)
    }

    /// A number for an open file.
    pub(in crate::sim) fn new_holder(&mut self) -> Holder {
        self.holders += 1;
        Holder(self.holders)
    }

    /// Ends an instance: everything that it holds is given up.
    pub(in crate::sim) fn end_instance(&mut self, number: u64, in_good_order: bool) {
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
    pub(in crate::sim) fn close(&mut self, file: OpenFile, process: usize, in_good_order: bool) {
        let now_ns = self.now_ns();
        let was_writer = self.shm.holds(file.holder, 0, 1, ShmKind::Exclusive);
        self.detach(file.holder);
        self.locks.drop_holder(file.holder);
        let ended = self.claims.drop_holder(file.holder);
        if !in_good_order {
            self.crashed_tokens.extend(ended.iter().cloned());
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
    pub(in crate::sim) fn detach(&mut self, holder: Holder) {
        let woken = self.shm.drop_holder(holder);
        self.wake_waiters(&woken);
        if self.attached.detach(holder) {
            self.regions = 0;
        }
    }
}
