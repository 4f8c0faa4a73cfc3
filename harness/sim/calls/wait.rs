//! What a call waits for, and how it goes on.
//!
//! What must stay true: who waits is woken by what it waits for, or by its time, and leaves nothing
//! behind when it is dropped.

use super::{Answer, nanoseconds};
use crate::sim::audit::Mark;
use crate::sim::disk::SyncPoint;
use crate::sim::locks::{ShmAnswer, Ticket};
use crate::sim::room::Room;
use beaver_host::machine::{Begin, ErrorCode, Interest, Reply, ShmLockKind, WatcherId};
use std::time::Duration;

/// What comes of a call.
pub(in crate::sim) enum Effect {
    Reply(Reply),
    Wait(Wait),
}

/// What a call waits for.
pub(in crate::sim) enum Wait {
    Sleep {
        until_ns: u64,
    },
    /// For slots of the wal-index.
    Slots {
        ticket: Ticket,
        until_ns: u64,
        file: u32,
        first: u32,
        kind: ShmLockKind,
    },
    /// For a change.
    Change {
        id: WatcherId,
        begun: Begin,
        seen: u64,
        until_ns: u64,
        process: usize,
        /// It watches nothing else, and leaves when the wait is over.
        is_passing: bool,
    },
    /// For the device.
    Sync {
        file: u32,
        begun: Option<Mark>,
        from: SyncPoint,
        until_ns: u64,
    },
}

impl Wait {
    pub(in crate::sim) fn until_ns(&self) -> u64 {
        match self {
            Self::Sleep { until_ns }
            | Self::Slots { until_ns, .. }
            | Self::Change { until_ns, .. }
            | Self::Sync { until_ns, .. } => *until_ns,
        }
    }
}

impl Room {
    /// What waited is able to go on: it is done, or waits again.
    pub(in crate::sim) fn wait_on(&mut self, actor: u32, instance: u64, wait: Wait) -> Effect {
        let now_ns = self.now_ns();
        match wait {
            Wait::Sleep { until_ns } if now_ns < until_ns => Effect::Wait(wait),
            Wait::Sleep { .. } => Effect::Reply(Reply::Done),
            Wait::Sync { until_ns, .. } if now_ns < until_ns => Effect::Wait(wait),
            Wait::Sync {
                file, begun, from, ..
            } => Effect::Reply(self.end_sync(instance, file, from, begun)),
            Wait::Slots {
                ticket,
                until_ns,
                file,
                first,
                kind,
            } => {
                let (answer, woken) = self.shm.retry(ticket);
                self.wake_waiters(&woken);
                if answer == ShmAnswer::Busy && now_ns < until_ns {
                    return Effect::Wait(wait);
                }
                self.awaits_no_more(ticket);
                match answer {
                    ShmAnswer::Done => {
                        self.note_slots(instance, file, first, kind);
                        Effect::Reply(Reply::Done)
                    }
                    ShmAnswer::Busy => {
                        let woken = self.shm.cancel(ticket);
                        self.wake_waiters(&woken);
                        Effect::Reply(Reply::Failed(ErrorCode::TimedOut))
                    }
                    ShmAnswer::Invalid => Effect::Reply(Reply::Failed(ErrorCode::InvalidArgument)),
                }
            }
            Wait::Change {
                id,
                begun,
                seen,
                until_ns,
                process,
                ..
            } => {
                let waker = self.waker(actor);
                if !self.processes[process].hub.is_waiting(id, &waker) {
                    return self.end_change(&wait, true);
                }
                if now_ns < until_ns {
                    return Effect::Wait(wait);
                }
                let changed = begun == Begin::Compare && self.token() != seen;
                self.end_change(&wait, changed)
            }
        }
    }

    /// What waited is gone.
    pub(in crate::sim) fn wait_no_more(&mut self, wait: Wait) {
        match wait {
            Wait::Slots { ticket, .. } => {
                self.awaits_no_more(ticket);
                let woken = self.shm.cancel(ticket);
                self.wake_waiters(&woken);
            }
            Wait::Change { .. } => {
                self.end_change(&wait, false);
            }
            _ => {}
        }
    }

    pub(super) fn watch(
        &mut self,
        instance: u64,
        file: u32,
        interest: Option<Interest>,
    ) -> Answer<()> {
        let (now_ns, process) = (self.now_ns(), self.process(instance));
        let open = self.main_db(instance, file)?;
        let is_read_only = open.is_read_only;
        let watcher = open.watcher;
        let interest = interest.map(|interest| Interest {
            turn: interest.turn.filter(|_| !is_read_only),
            ..interest
        });
        let hub = &mut self.processes[process].hub;
        let watcher = match (interest, watcher) {
            (Some(interest), Some(id)) => {
                hub.watch(id, interest, now_ns);
                Some(id)
            }
            (Some(interest), None) => Some(hub.join(Some(interest), now_ns)),
            (None, Some(id)) => {
                hub.leave(id, now_ns);
                None
            }
            (None, None) => None,
        };
        self.main_db(instance, file)?.watcher = watcher;
        Ok(())
    }

    pub(super) fn begin_change(
        &mut self,
        actor: u32,
        instance: u64,
        file: u32,
        seen: u64,
        timeout: Duration,
    ) -> Answer<Effect> {
        let (now_ns, process, waker) = (self.now_ns(), self.process(instance), self.waker(actor));
        let open = self.main_db(instance, file)?;
        let (holder, watcher) = (open.holder, open.watcher);
        let hub = &mut self.processes[process].hub;
        let is_passing = watcher.is_none();
        let id = watcher.unwrap_or_else(|| hub.join(None, now_ns));
        let begun = hub.begin(id, holder, waker, now_ns);
        let look_ns = hub.look_ns;
        let wait = Wait::Change {
            id,
            begun,
            seen,
            until_ns: now_ns.saturating_add(nanoseconds(timeout)),
            process,
            is_passing,
        };
        if begun == Begin::News {
            return Ok(self.end_change(&wait, true));
        }
        if let Some(look_ns) = look_ns {
            self.alarm(look_ns);
        }
        if begun == Begin::Compare {
            let last = self.last_commit();
            self.processes[process].hub.start(last);
            if self.token() != seen {
                return Ok(self.end_change(&wait, true));
            }
        }
        Ok(Effect::Wait(wait))
    }

    pub(super) fn end_change(&mut self, wait: &Wait, changed: bool) -> Effect {
        if let Wait::Change {
            id,
            is_passing,
            process,
            ..
        } = wait
        {
            let now_ns = self.now_ns();
            let hub = &mut self.processes[*process].hub;
            hub.end(*id, changed);
            if *is_passing {
                hub.leave(*id, now_ns);
            }
        }
        Effect::Reply(Reply::Bool(changed))
    }
}
