//! The store: what it does with a request at the moment at which it takes effect.

use super::{DEFAULT_TTL_MS, Event, Grant, MS, Planted, Row, Simulation, WRITE_WAIT_MS};
use crate::history::Outcome;
use crate::protocol::{ErrorCode, Failure, Op};
use serde_json::{Value, json};

impl Simulation {
    pub(super) fn lock_of(&self, op: &Op) -> usize {
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
        let sessions = self.script.history.sessions.iter();
        let offsets: Vec<i64> = sessions.map(|it| it.clock_offset_ms).chain([0]).collect();
        let off = (self.pick(&offsets) - self.pick(&offsets)) * MS as i64;
        (from + ttl_ms * MS).saturating_add_signed(off)
    }

    pub(super) fn arrive(&mut self, operation: usize) {
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

    pub(super) fn advance(&mut self, lock: usize) {
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
        self.at(expires, Event::Look(lock));
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

    pub(super) fn time_up(&mut self, operation: usize) {
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
}
