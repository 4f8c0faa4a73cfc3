//! What befalls instances, processes and the machine.
//!
//! What must stay true: whoever is hit is entered in the history with the fault, before anything follows
//! from it.

use super::{NEVER, Room, Stopped, Stranger, Waiter};
use crate::history::SessionEnd;
use crate::program::Fault;
use crate::sim::audit::{Durability, Fall};
use crate::sim::disk::{Loss, LossStyle, NameSync, SectorSize, Unwritten};
use crate::sim::fault::given_loss;
use crate::sim::locks::{LockLevel, ShmAnswer, ShmKind};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use std::sync::atomic::Ordering;

impl Room {
    /// Ends the actor's instance in the middle of whatever it does.
    pub(in crate::sim) fn drop_instance(
        &mut self,
        actor: u32,
        fault: Fault,
        how: SessionEnd,
    ) -> bool {
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
    pub(in crate::sim) fn mates(&self, process: usize) -> Vec<u32> {
        let numbered = (0..).zip(&self.actors);
        let mates = numbered.filter(|(_, actor)| actor.process == process);
        mates.map(|(number, _)| number).collect()
    }

    /// Ends all instances of the actor's process, which so is another one from now on.
    pub(in crate::sim) fn kill(&mut self, actor: u32) -> bool {
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
    pub(in crate::sim) fn power_loss(&mut self, chance: u64) {
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
    pub(in crate::sim) fn stop_process(&mut self, actor: u32, for_ms: u32) -> bool {
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
    pub(in crate::sim) fn stranger(&mut self, for_ms: u32) -> bool {
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
    pub(in crate::sim) fn strangers_due(&mut self, now_ns: u64) {
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
    pub(in crate::sim) fn calm_down(&mut self) {
        self.full_until_ns = 0;
        self.disk.set_capacity_bytes(None);
        for stranger in std::mem::take(&mut self.strangers) {
            self.locks.drop_holder(stranger.holder);
            self.detach(stranger.holder);
            self.recorder.resumed(stranger.pause, Vec::new());
        }
    }

    /// There is no room on the disk for a while.
    pub(in crate::sim) fn fill_disk(&mut self, for_ms: u32) {
        self.disk.set_capacity_bytes(Some(0));
        self.full_until_ns = self.now_ns() + u64::from(for_ms) * 1_000_000;
        self.alarm(self.full_until_ns);
    }
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
