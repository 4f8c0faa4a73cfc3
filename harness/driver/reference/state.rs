//! What the reference store is at a moment, and one attempt at an operation.
//!
//! What must stay true: an attempt either does the whole operation or changes nothing but
//! places in line. There is at most one transaction at a time, and meanwhile nobody else writes.

use super::data::{Data, Stream};
use super::defect::{Defect, Sabotage};
use super::lock::{Lock, Owner};
use crate::driver::Answer;
use crate::protocol::{ErrorCode, Failure, LockKind, LockName, Op};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// How long a grant lasts if nothing is said: BeaverDB's default.
const TTL_MS: u64 = 60_000;

/// How late the defect that is late is.
const LATE: Duration = Duration::from_secs(4);

#[derive(Debug, Default)]
pub(super) struct State {
    data: Data,
    locks: BTreeMap<LockName, Lock>,
    sessions: BTreeMap<Owner, Session>,
    /// Whose transaction is open.
    writer: Option<Owner>,
    /// Drawn for clients and for places in line.
    numbers: u64,
    pub(super) sabotage: Sabotage,
}

/// An open client.
#[derive(Debug, Default)]
struct Session {
    transaction: Option<Transaction>,
    /// The numbers of the grants that it got and hasn't given back.
    held: BTreeMap<LockName, u64>,
    /// How many values of each stream that it follows it has had.
    followed: BTreeMap<(Stream, String), usize>,
}

#[derive(Debug)]
struct Transaction {
    data: Data,
    /// What it wrote, in order.
    writes: Vec<Op>,
    /// The locks that its writes relied on.
    under: BTreeSet<LockName>,
    /// Nobody else writes meanwhile.
    exclusive: bool,
}

/// What came of an attempt.
pub(super) enum Attempt {
    Done(Answer),
    /// Not now. `wake`: when it may be otherwise although nobody does anything.
    Wait {
        wake: Option<Instant>,
        why: Why,
    },
}

/// Why an operation can't be done now.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// What it waits for hasn't come.
    Nothing,
    /// Somebody else has the manager's lock.
    Locked,
    /// Somebody else's transaction is open. That is soon over, and no answer to what was asked.
    Transaction,
}

pub(super) const NOT_NOW: Attempt = Attempt::Wait {
    wake: None,
    why: Why::Nothing,
};

const KEPT_OUT: Attempt = Attempt::Wait {
    wake: None,
    why: Why::Transaction,
};

fn fail(error: ErrorCode) -> Attempt {
    Attempt::Done(Err(Failure::new(error, "")))
}

fn done(value: Value) -> Attempt {
    Attempt::Done(Ok((value, None)))
}

/// A caller's request, from its beginning to its end.
pub(super) struct Request<'a> {
    pub(super) owner: Owner,
    pub(super) op: &'a Op,
    pub(super) certify: bool,
    /// Its place in line.
    pub(super) place: Option<(LockName, u64)>,
}

/// The lock of the manager that the operation writes to.
fn manager(op: &Op) -> Option<LockName> {
    let (kind, name) = match op {
        Op::DictSet { name, .. } | Op::DictDelete { name, .. } => (LockKind::Dict, name),
        Op::ListPush { name, .. }
        | Op::ListInsert { name, .. }
        | Op::ListSet { name, .. }
        | Op::ListDelete { name, .. } => (LockKind::List, name),
        Op::QueuePut { name, .. } | Op::QueueGet { name, .. } | Op::QueueGetBatch { name, .. } => {
            (LockKind::Queue, name)
        }
        Op::CollectionIndex { name, .. }
        | Op::CollectionDrop { name, .. }
        | Op::CollectionConnect { name, .. } => (LockKind::Collection, name),
        Op::BlobPut { name, .. } | Op::BlobDelete { name, .. } => (LockKind::Blob, name),
        _ => return None,
    };
    Some(LockName::new(kind, name))
}

impl State {
    /// The client is open.
    pub(super) fn knows(&self, owner: Owner) -> bool {
        self.sessions.contains_key(&owner)
    }

    /// A new client.
    pub(super) fn open(&mut self) -> Owner {
        let owner = self.draw();
        self.sessions.insert(owner, Session::default());
        owner
    }

    /// Nothing yet.
    pub(super) fn new(sabotage: Sabotage) -> Self {
        Self {
            sabotage,
            ..Self::default()
        }
    }

    fn draw(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    /// How long a wait of this length takes; none: for ever.
    pub(super) fn limit(&mut self, timeout_ms: Option<u64>) -> Option<Duration> {
        let right = Duration::from_millis(timeout_ms?);
        if !right.is_zero() && self.sabotage.strikes(Defect::EarlyTimeout) {
            return Some(right / 2);
        }
        Some(if self.sabotage.strikes(Defect::LateTimeout) {
            right + LATE
        } else {
            right
        })
    }

    fn session(&mut self, owner: Owner) -> &mut Session {
        self.sessions.entry(owner).or_default()
    }

    fn lock(&mut self, name: &LockName, now: Instant) -> &mut Lock {
        let lock = self.locks.entry(name.clone()).or_default();
        lock.expire(now);
        lock
    }

    /// Gives up the request's place in line; false if it has none.
    pub(super) fn leave(&mut self, request: &mut Request<'_>) -> bool {
        let Some((name, ticket)) = request.place.take() else {
            return false;
        };
        if let Some(lock) = self.locks.get_mut(&name) {
            lock.leave(ticket);
        }
        true
    }

    pub(super) fn end(&mut self, owner: Owner) {
        if self.sessions.remove(&owner).is_none() {
            return;
        }
        self.writer.take_if(|writer| *writer == owner);
        for lock in self.locks.values_mut() {
            lock.forget(owner, &mut self.sabotage);
        }
    }

    /// Somebody else's transaction is open.
    fn is_kept_out(&self, owner: Owner) -> bool {
        self.writer.is_some_and(|writer| writer != owner)
    }

    /// What the client has of this lock: nothing, a grant, or one that is no more.
    fn holds(&mut self, owner: Owner, name: &LockName, now: Instant) -> Option<bool> {
        let number = *self.session(owner).held.get(name)?;
        Some(self.lock(name, now).has(number))
    }

    pub(super) fn attempt(&mut self, request: &mut Request<'_>, now: Instant) -> Attempt {
        let owner = request.owner;
        match request.op {
            Op::LockAcquire { lock, ttl_ms, .. } => {
                self.acquire(request, lock, ttl_ms.unwrap_or(TTL_MS), now)
            }
            Op::LockRelease { lock } => {
                let holds = self.holds(owner, lock, now);
                let Some(number) = self.session(owner).held.remove(lock) else {
                    return fail(ErrorCode::NotHeld);
                };
                self.lock(lock, now).release(number);
                if holds == Some(true) {
                    done(Value::Null)
                } else {
                    fail(ErrorCode::LockLost)
                }
            }
            Op::LockRenew { lock, ttl_ms } => {
                let Some(number) = self.session(owner).held.get(lock).copied() else {
                    return fail(ErrorCode::NotHeld);
                };
                if self.sabotage.strikes(Defect::RenewIgnored)
                    || self.lock(lock, now).renew(number, *ttl_ms, now)
                {
                    done(Value::Null)
                } else {
                    fail(ErrorCode::LockLost)
                }
            }
            Op::LockWaiting { lock } => {
                let more = usize::from(self.sabotage.strikes(Defect::CountsTooMany));
                let none = self.sabotage.strikes(Defect::CountsNobody);
                let stand = self.lock(lock, now).waiting() + more;
                done(json!(if none { 0 } else { stand }))
            }
            Op::Begin => self.begin(owner),
            Op::Commit => self.commit(owner, now),
            Op::Rollback => self.roll_back(owner),
            Op::LogFollow { name } => self.follow(owner, Stream::Log, name),
            Op::ChannelSubscribe { name } => self.follow(owner, Stream::Channel, name),
            Op::LogNext { name, .. } => self.next(owner, Stream::Log, name),
            Op::ChannelNext { name, .. } => self.next(owner, Stream::Channel, name),
            _ => self.operate(request, now),
        }
    }

    fn acquire(
        &mut self,
        request: &mut Request<'_>,
        name: &LockName,
        ttl_ms: u64,
        now: Instant,
    ) -> Attempt {
        let owner = request.owner;
        if self.session(owner).transaction.is_some() {
            return fail(ErrorCode::InTransaction);
        }
        if self.holds(owner, name, now) == Some(true) {
            return fail(ErrorCode::AlreadyHeld);
        }
        let ticket = self.stand_in_line(request, name, now);
        // A grant is a write.
        let kept_out = self.is_kept_out(owner);
        self.lock(name, now);
        let lock = self.locks.entry(name.clone()).or_default();
        if !lock.is_turn(ticket) {
            return Attempt::Wait {
                wake: lock.next_end(),
                why: Why::Nothing,
            };
        }
        if kept_out {
            return KEPT_OUT;
        }
        let Some((number, token)) = lock.grant(ticket, ttl_ms, now, &mut self.sabotage) else {
            return NOT_NOW;
        };
        self.session(owner).held.insert(name.clone(), number);
        done(json!({"token": token}))
    }

    /// The request's ticket in the line of this lock.
    fn stand_in_line(&mut self, request: &mut Request<'_>, name: &LockName, now: Instant) -> u64 {
        if let Some((_, ticket)) = &request.place {
            return *ticket;
        }
        let ticket = self.draw();
        request.place = Some((name.clone(), ticket));
        let lock = self.locks.entry(name.clone()).or_default();
        lock.join(ticket, request.owner, now, &mut self.sabotage);
        ticket
    }

    fn begin(&mut self, owner: Owner) -> Attempt {
        if self.session(owner).transaction.is_some() {
            return fail(ErrorCode::InTransaction);
        }
        let exclusive = !self.sabotage.strikes(Defect::SnapshotOnly);
        if exclusive {
            if self.is_kept_out(owner) {
                return KEPT_OUT;
            }
            self.writer = Some(owner);
        }
        let data = self.data.clone();
        let transaction = Transaction {
            data,
            writes: Vec::new(),
            under: BTreeSet::new(),
            exclusive,
        };
        self.session(owner).transaction = Some(transaction);
        done(Value::Null)
    }

    fn commit(&mut self, owner: Owner, now: Instant) -> Attempt {
        let Some(transaction) = self.session(owner).transaction.take() else {
            return fail(ErrorCode::NoTransaction);
        };
        self.writer.take_if(|writer| *writer == owner);
        let mut under = transaction.under.iter();
        if under.any(|lock| self.holds(owner, lock, now) != Some(true)) {
            return fail(ErrorCode::LockLost);
        }
        if transaction.exclusive {
            self.data = transaction.data;
        } else {
            for op in &transaction.writes {
                self.data.apply(op, &mut self.sabotage);
            }
        }
        done(Value::Null)
    }

    fn roll_back(&mut self, owner: Owner) -> Attempt {
        let Some(transaction) = self.session(owner).transaction.take() else {
            return fail(ErrorCode::NoTransaction);
        };
        self.writer.take_if(|writer| *writer == owner);
        if let Some(first) = transaction.writes.first()
            && self.sabotage.strikes(Defect::HalfRollback)
        {
            self.data.apply(first, &mut self.sabotage);
        }
        done(Value::Null)
    }

    fn follow(&mut self, owner: Owner, stream: Stream, name: &str) -> Attempt {
        let so_far = self.data.stream(stream, name).len();
        self.session(owner)
            .followed
            .insert((stream, name.to_owned()), so_far);
        done(Value::Null)
    }

    fn next(&mut self, owner: Owner, stream: Stream, name: &str) -> Attempt {
        let all = self.data.stream(stream, name);
        let followed = self
            .sessions
            .get_mut(&owner)
            .and_then(|session| session.followed.get_mut(&(stream, name.to_owned())));
        let Some(had) = followed else {
            return fail(ErrorCode::Invalid);
        };
        if all.len() == *had {
            return NOT_NOW;
        }
        let mut new = all.get(*had..).unwrap_or_default();
        *had = all.len();
        if stream == Stream::Channel && new.len() > 1 && self.sabotage.strikes(Defect::ChannelDrops)
        {
            new = &new[1..];
        }
        if stream == Stream::Channel && self.sabotage.strikes(Defect::ChannelDuplicates) {
            *had -= 1;
        }
        done(json!(new))
    }

    /// An operation on data.
    fn operate(&mut self, request: &mut Request<'_>, now: Instant) -> Attempt {
        let (owner, op) = (request.owner, request.op);
        let inside = self.session(owner).transaction.is_some();
        let writes = op.is_write() || request.certify;
        if writes && !inside && self.is_kept_out(owner) {
            return KEPT_OUT;
        }
        let mut under = None;
        if let Some(lock) = manager(op) {
            match self.holds(owner, &lock, now) {
                Some(true) => under = Some(lock),
                Some(false) if self.sabotage.strikes(Defect::SilentStaleWrite) => {}
                Some(false) => return fail(ErrorCode::LockLost),
                None => match self.pass(request, &lock, inside, now) {
                    Ok(()) => {}
                    Err(attempt) => return attempt,
                },
            }
        }
        if self.sabotage.strikes(Defect::OddError) {
            return fail(ErrorCode::Failed);
        }
        let Some(result) = self.apply(owner, op) else {
            self.leave(request);
            let waits = op.timeout_ms().flatten() != Some(0);
            // Nobody can put anything while this transaction is open.
            return if inside && waits {
                fail(ErrorCode::Deadlock)
            } else {
                NOT_NOW
            };
        };
        let Ok(value) = result else {
            return Attempt::Done(result.map(|value| (value, None)));
        };
        let transaction = self
            .sessions
            .get_mut(&owner)
            .and_then(|session| session.transaction.as_mut());
        let data = match transaction {
            Some(transaction) => {
                if op.is_write() {
                    transaction.writes.push(op.clone());
                }
                transaction.under.extend(under);
                &mut transaction.data
            }
            None => &mut self.data,
        };
        let commit = request.certify.then(|| {
            data.commits += 1;
            self.sabotage.commit_number(data.commits)
        });
        if op.is_write() && self.sabotage.strikes(Defect::DeniedWrite) {
            return fail(ErrorCode::Busy);
        }
        Attempt::Done(Ok((value, commit)))
    }

    /// Does it to the data that the client sees.
    fn apply(&mut self, owner: Owner, op: &Op) -> Option<Result<Value, Failure>> {
        let dirty = self
            .writer
            .filter(|_| !op.is_write() && self.sabotage.strikes(Defect::DirtyRead));
        let own = self
            .sessions
            .get_mut(&owner)
            .and_then(|session| session.transaction.as_mut());
        if let Some(transaction) = own {
            return transaction.data.apply(op, &mut self.sabotage);
        }
        let others = dirty.and_then(|writer| self.sessions.get_mut(&writer)?.transaction.as_mut());
        let data = others.map_or(&mut self.data, |transaction| &mut transaction.data);
        data.apply(op, &mut self.sabotage)
    }

    /// Lets a write pass that isn't made under this manager's lock, if nobody has that.
    fn pass(
        &mut self,
        request: &mut Request<'_>,
        name: &LockName,
        inside: bool,
        now: Instant,
    ) -> Result<(), Attempt> {
        if request.place.is_none()
            && (self.lock(name, now).is_idle() || self.sabotage.strikes(Defect::AdvisoryLock))
        {
            return Ok(());
        }
        if inside {
            return Err(fail(ErrorCode::Locked));
        }
        let ticket = self.stand_in_line(request, name, now);
        let lock = self.lock(name, now);
        if lock.is_turn(ticket) {
            return Ok(());
        }
        Err(Attempt::Wait {
            wake: lock.next_end(),
            why: Why::Locked,
        })
    }
}
