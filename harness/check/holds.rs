//! Who asked for which lock, who held it from when to when, and what was written meanwhile.
//!
//! What must stay true: two moments with the same time may have come in either order, and everything here holds for every correct system that could have had
//! this history. So what contradicts it is certainly wrong.
//! - A [`Hold`] lasts, without a gap, over each of its [`certain`](Hold::certain) spans, and is over
//!   by [`over_by`](Hold::over_by).
//! - A hold begins no earlier than [`granted_ns`](Hold::granted_ns), and after each of the first
//!   [`after`](Hold::after) holds of its line had ended.

use super::clocks::Clocks;
use super::hold_order;
use super::lives::Lives;
use super::spans::is_end_of_transaction;
use crate::history::{History, Operation, Outcome};
use crate::protocol::{ErrorCode, LockKind, LockName, Op};
use serde_json::Value;
use std::collections::HashMap;

/// All locks of a history.
#[derive(Debug)]
pub(super) struct Locks<'h> {
    /// Each lock that somebody asked for.
    pub(super) lines: Vec<Line<'h>>,
    pub(super) lives: Lives,
    pub(super) clocks: Clocks,
}

/// One lock.
#[derive(Debug)]
pub(super) struct Line<'h> {
    pub(super) lock: &'h LockName,
    /// All requests, in the order of their invocations.
    pub(super) requests: Vec<&'h Operation>,
    /// All grants, in the order of their answers.
    pub(super) holds: Vec<Hold<'h>>,
    /// All writes to the lock's manager, in the order of their invocations.
    pub(super) writes: Vec<Write<'h>>,
}

/// A grant and what its holder did with it.
#[derive(Debug)]
pub(super) struct Hold<'h> {
    pub(super) acquire: &'h Operation,
    /// When the answer to `acquire` came.
    pub(super) answered_ns: u64,
    pub(super) ttl_ms: Option<u64>,
    pub(super) token: Option<i128>,
    /// Whether its session held the lock already, as far as it knew.
    pub(super) again: bool,
    /// Those that succeeded or may have.
    pub(super) renewals: Vec<&'h Operation>,
    /// The writes to the manager that its session made as the holder, as numbers in [`Line::writes`].
    pub(super) writes: Vec<usize>,
    /// The first attempt to give it back.
    pub(super) release: Option<&'h Operation>,
    /// The first answer that said that it was lost; its session knows from then on.
    pub(super) told: Option<&'h Operation>,
    /// Its session does nothing before that may end it.
    pub(super) kept_until_ns: u64,
    /// An answer showed by then that it was over.
    pub(super) ended_ns: u64,
    /// It was not granted before.
    pub(super) granted_ns: u64,
    /// Whole while it lasts; in order, the last may be empty. The hold
    /// didn't end before the end of the last.
    pub(super) certain: Vec<(u64, u64)>,
    /// Until when it was to last if its holder left it alone.
    pub(super) promised_ns: u64,
    /// So many of the first holds of the line certainly ended before it was granted.
    pub(super) after: usize,
}

/// A write to a manager.
#[derive(Debug)]
pub(super) struct Write<'h> {
    pub(super) operation: &'h Operation,
    /// It certainly changed something, between its invocation and this time.
    pub(super) done_by: Option<u64>,
    /// Whether its session was the holder of the manager's lock as far as it knew.
    pub(super) as_holder: bool,
}

impl Hold<'_> {
    /// It lasted until then at least.
    pub(super) fn end_ns(&self) -> u64 {
        self.certain.last().map_or(self.granted_ns, |last| last.1)
    }

    /// Its time to live has certainly passed then.
    pub(super) fn expired_ns(&self, clocks: Clocks) -> u64 {
        let renewals = self.renewals.iter().map(|renewal| match renewal.op {
            Op::LockRenew { ttl_ms, .. } => clocks.expired_by(renewal.latest_ns(), Some(ttl_ms)),
            _ => u64::MAX,
        });
        let granted = clocks.expired_by(self.answered_ns, self.ttl_ms);
        renewals.fold(granted, u64::max)
    }

    /// It is certainly over then, whatever becomes of dead holders.
    pub(super) fn over_by(&self, clocks: Clocks, lives: &Lives) -> u64 {
        let closed = lives.get(self.acquire.session).closed_ns();
        self.expired_ns(clocks).min(self.ended_ns).min(closed)
    }

    /// The last moment at which its session may do something as the holder.
    pub(super) fn used_until_ns(&self) -> u64 {
        let release = self.release.map_or(u64::MAX, |it| it.invoked_ns);
        let told = self.told.map_or(u64::MAX, |it| it.invoked_ns);
        release.min(told)
    }
}

impl<'h> Locks<'h> {
    pub(super) fn of(history: &'h History) -> Self {
        let mut reading = Reading::default();
        for operation in &history.operations {
            if let Op::LockAcquire { lock, .. } = &operation.op {
                reading.line(lock);
            }
        }
        for operation in &history.operations {
            reading.add(operation);
        }
        let (lives, clocks) = (Lives::of(history), Clocks::of(history));
        let mut lines = reading.lines;
        for line in &mut lines {
            for hold in &mut line.holds {
                let lived = lives.get(hold.acquire.session).lived_until_ns;
                hold.kept_until_ns = hold.kept_until_ns.min(lived);
            }
            line.holds
                .sort_by_key(|hold| (hold.answered_ns, hold.acquire.id));
            hold_order::settle(&mut line.holds, clocks);
        }
        Self {
            lines,
            lives,
            clocks,
        }
    }
}

/// Goes through the operations in the order of their invocations, which is each session's own.
#[derive(Default)]
struct Reading<'h> {
    lines: Vec<Line<'h>>,
    numbers: HashMap<(LockKind, &'h str), usize>,
    /// By session and line: the last hold that may not have been given back.
    open: HashMap<(u64, usize), usize>,
    /// By session: the writes of the transaction that is open.
    transactions: HashMap<u64, Vec<(usize, usize)>>,
}

impl<'h> Reading<'h> {
    fn line(&mut self, lock: &'h LockName) {
        let next = self.lines.len();
        let number = self.numbers.entry((lock.kind, &lock.name)).or_insert(next);
        if *number == next {
            self.lines.push(Line {
                lock,
                requests: Vec::new(),
                holds: Vec::new(),
                writes: Vec::new(),
            });
        }
    }

    fn number(&self, lock: &LockName) -> Option<usize> {
        self.numbers.get(&(lock.kind, lock.name.as_str())).copied()
    }

    fn open(&mut self, session: u64, line: usize) -> Option<&mut Hold<'h>> {
        let hold = *self.open.get(&(session, line))?;
        self.lines.get_mut(line)?.holds.get_mut(hold)
    }

    fn add(&mut self, operation: &'h Operation) {
        let session = operation.session;
        match &operation.op {
            Op::LockAcquire { lock, ttl_ms, .. } => {
                if let Some(line) = self.number(lock) {
                    self.acquire(operation, line, *ttl_ms);
                }
            }
            Op::LockRenew { lock, .. } => {
                if let Some(line) = self.number(lock)
                    && let Some(hold) = self.open(session, line)
                    && hold.release.is_none()
                {
                    if operation.may_have_happened() {
                        hold.renewals.push(operation);
                    }
                    self.notice_loss(operation, line);
                }
            }
            Op::LockRelease { lock } => {
                if let Some(line) = self.number(lock)
                    && let Some(hold) = self.open(session, line)
                {
                    if hold.release.is_none() {
                        hold.release = Some(operation);
                        hold.kept_until_ns = hold.kept_until_ns.min(operation.invoked_ns);
                    }
                    if operation.ok().is_some() {
                        hold.ended_ns = operation.latest_ns();
                        self.open.remove(&(session, line));
                    }
                    self.notice_loss(operation, line);
                }
            }
            Op::Begin if operation.may_have_happened() => {
                self.transactions.entry(session).or_default();
            }
            Op::Commit | Op::Rollback if is_end_of_transaction(&operation.outcome) => {
                let writes = self.transactions.remove(&session).unwrap_or_default();
                if operation.op == Op::Commit && operation.ok().is_some() {
                    for (line, write) in writes {
                        self.lines[line].writes[write].done_by = operation.completed_ns;
                    }
                }
            }
            op if op.is_write() => {
                if let Some(key) = op.manager()
                    && let Some(line) = self.numbers.get(&key).copied()
                {
                    self.write(operation, line);
                }
            }
            _ => {}
        }
    }

    fn acquire(&mut self, operation: &'h Operation, line: usize, ttl_ms: Option<u64>) {
        self.lines[line].requests.push(operation);
        let (Some(value), Some(answered_ns)) = (operation.ok(), operation.completed_ns) else {
            return;
        };
        let mut again = false;
        if let Some(hold) = self.open(operation.session, line) {
            again = hold.release.is_none();
            hold.kept_until_ns = hold.kept_until_ns.min(operation.invoked_ns);
            // From here on it is the new grant that counts.
            hold.ended_ns = answered_ns;
        }
        let holds = &mut self.lines[line].holds;
        self.open.insert((operation.session, line), holds.len());
        holds.push(Hold {
            acquire: operation,
            answered_ns,
            ttl_ms,
            token: token(value),
            again,
            renewals: Vec::new(),
            writes: Vec::new(),
            release: None,
            told: None,
            kept_until_ns: u64::MAX,
            ended_ns: u64::MAX,
            granted_ns: operation.invoked_ns,
            certain: Vec::new(),
            promised_ns: 0,
            after: 0,
        });
    }

    fn write(&mut self, operation: &'h Operation, line: usize) {
        let session = operation.session;
        let number = self.lines[line].writes.len();
        // `false`: there was nothing to delete.
        let changed = operation.ok().is_some_and(|value| *value != false);
        let done_by = match self.transactions.get_mut(&session) {
            Some(writes) if changed => {
                writes.push((line, number));
                None
            }
            Some(_) => None,
            None => operation.completed_ns.filter(|_| changed),
        };
        let mut as_holder = false;
        if let Some(hold) = self.open(session, line)
            && hold.release.is_none()
        {
            as_holder = true;
            hold.writes.push(number);
        }
        self.lines[line].writes.push(Write {
            operation,
            done_by,
            as_holder,
        });
        self.notice_loss(operation, line);
    }

    /// Whether the answer says that the session doesn't hold the lock.
    fn notice_loss(&mut self, operation: &'h Operation, line: usize) {
        let Outcome::Fail(failure) = &operation.outcome else {
            return;
        };
        let is_loss = match failure.error {
            ErrorCode::LockLost => true,
            ErrorCode::NotHeld => {
                matches!(operation.op, Op::LockRenew { .. } | Op::LockRelease { .. })
            }
            _ => false,
        };
        if !is_loss {
            return;
        }
        if let Some(hold) = self.open(operation.session, line) {
            hold.ended_ns = operation.latest_ns();
            hold.kept_until_ns = hold.kept_until_ns.min(operation.invoked_ns);
            if hold.release.is_none_or(|first| first.id == operation.id) {
                hold.told = Some(operation);
            }
            self.open.remove(&(operation.session, line));
        }
    }
}

fn token(value: &Value) -> Option<i128> {
    let token = value.get("token")?;
    let unsigned = token.as_u64().map(i128::from);
    unsigned.or_else(|| token.as_i64().map(i128::from))
}

#[cfg(test)]
mod tests {
    use super::super::CheckSpec;
    use super::super::script::Script;
    use super::*;
    use serde_json::json;

    fn set(key: &str) -> Op {
        Op::DictSet {
            name: "d".into(),
            key: key.into(),
            value: json!(1),
        }
    }

    #[test]
    fn a_hold_knows_what_was_done_with_it() {
        let mut script = Script::new(CheckSpec::MutualExclusion);
        let session = script.session(0, 0);
        let lock = LockName::new(LockKind::Dict, "d");
        let acquire = Op::LockAcquire {
            lock: lock.clone(),
            timeout_ms: None,
            ttl_ms: Some(1000),
        };
        let renew = Op::LockRenew {
            lock: lock.clone(),
            ttl_ms: 2000,
        };
        let release = Op::LockRelease { lock };
        script.ok(session, 0, 1, set("before"), ());
        script.ok(session, 10, 12, acquire.clone(), json!({"token": 7}));
        script.ok(session, 20, 21, set("within"), ());
        script.ok(session, 500, 501, renew, ());
        script.ok(session, 510, 511, Op::Begin, ());
        script.ok(session, 512, 513, set("undone"), ());
        script.ok(session, 514, 515, Op::Rollback, ());
        script.ok(session, 516, 517, Op::Begin, ());
        script.ok(session, 518, 519, set("committed"), ());
        script.ok(session, 520, 521, Op::Commit, ());
        script.fail(session, 600, 601, release.clone(), ErrorCode::Busy);
        script.ok(session, 610, 612, release.clone(), ());
        script.ok(session, 700, 712, acquire, json!({"token": null}));
        script.fail(session, 720, 721, set("refused"), ErrorCode::LockLost);
        script.ok(session, 722, 723, set("after"), ());
        script.fail(session, 724, 725, release, ErrorCode::NotHeld);

        let locks = Locks::of(&script.history);
        let [line] = &locks.lines[..] else { panic!() };
        let [first, second] = &line.holds[..] else {
            panic!()
        };
        let ms = |at: u64| at * 1_000_000;
        assert_eq!(first.token, Some(7));
        assert_eq!(first.certain, [(ms(12), ms(600))]);
        assert_eq!(first.ended_ns, ms(612));
        assert_eq!(first.expired_ns(locks.clocks), ms(501 + 2000 + 70));
        assert_eq!((second.granted_ns, second.after), (ms(700), 1));
        assert_eq!(second.token, None);
        assert_eq!(second.told.map(|told| told.invoked_ns), Some(ms(720)));
        assert!(second.release.is_none());
        let of = |hold: &Hold<'_>| -> Vec<_> {
            hold.writes
                .iter()
                .map(|at| line.writes[*at].done_by)
                .collect()
        };
        assert_eq!(of(first), [Some(ms(21)), None, Some(ms(521))]);
        assert_eq!(of(second), [None]);
        let plain = line.writes.iter().filter(|write| !write.as_holder);
        assert_eq!(plain.count(), 2);
    }
}
